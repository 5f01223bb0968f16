"""The outbox: nothing is lost, nothing overtakes, every entry keeps its number."""

from collections.abc import Callable

import pytest

from collectord.model import Alert
from collectord.store.alerts import Alerts
from collectord.store.db import Database
from collectord.store.outbox import Delivery, Outbox, OutboxCounts

MakeAlert = Callable[..., Alert]


@pytest.fixture
def alerts(database: Database) -> Alerts:
    return Alerts(database)


@pytest.fixture
def outbox(database: Database) -> Outbox:
    return Outbox(database)


def due(outbox: Outbox, output: str = "noc", now_ns: int = 0, limit: int = 100) -> list[str]:
    return [f"{entry.alert.id} {entry.alert.event}" for entry in outbox.due(output, now_ns, limit)]


def test_order_per_alert(alerts: Alerts, outbox: Outbox, make_alert: MakeAlert) -> None:
    """Each output gets the events of one alert one after the other; other alerts and outputs do not wait."""
    raised, cleared, other = make_alert("a"), make_alert("a", event="cleared"), make_alert("b")
    alerts.record([raised, cleared, other], [["noc", "log"], ["noc", "log"], ["noc"]])

    assert ["a raised", "a cleared", "b raised"] == due(outbox)
    first = outbox.due("noc", 0, 1)[0]
    outbox.failed(first.id, "no answer", 50)
    assert ["b raised"] == due(outbox, now_ns=49)
    assert ["a raised", "a cleared", "b raised"] == due(outbox, now_ns=50)
    assert ["a raised", "a cleared"] == due(outbox, "log")

    outbox.delivered([first.id], 60)
    assert ["a cleared", "b raised"] == due(outbox)
    assert ["a raised", "a cleared"] == due(outbox, "log")


def test_entry_is_the_state_of_its_event(alerts: Alerts, outbox: Outbox, make_alert: MakeAlert) -> None:
    """What was raised is sent as it was raised, though it has moved on meanwhile."""
    raised = make_alert(count=5001)
    alerts.record([raised], [["noc"]])
    alerts.record([make_alert(event="updated:2", count=60_000)], [["noc"]])

    entry, _ = outbox.due("noc", 0, 10)

    assert raised == entry.alert
    assert ("noc", 0, "") == (entry.output, entry.attempts, entry.error)


def test_failure_is_kept(alerts: Alerts, outbox: Outbox, make_alert: MakeAlert) -> None:
    """Number of tries and the last reason, which is bounded; the number stays."""
    alerts.record([make_alert()], [["noc"]])
    [before] = outbox.due("noc", 0, 10)
    outbox.failed(before.id, "x" * 10_000, 10)
    outbox.failed(before.id, "refused", 20)

    [entry] = outbox.due("noc", 20, 10)

    assert (before.id, 2, "refused") == (entry.id, entry.attempts, entry.error)
    assert 20 == outbox.next_try_ns("noc")
    assert outbox.next_try_ns("log") is None


def test_retry_now(alerts: Alerts, outbox: Outbox, make_alert: MakeAlert) -> None:
    """After a restart nothing waits for a time that an earlier run has set; errors and tries stay counted."""
    alerts.record([make_alert("a"), make_alert("b"), make_alert("c")], [["noc"], ["noc"], ["noc"]])
    first, second, _ = outbox.due("noc", 0, 10)
    outbox.failed(first.id, "no answer", 2**62)
    outbox.delivered([second.id], 5)
    assert ["c raised"] == due(outbox)

    assert 1 == outbox.retry_now()
    assert 0 == outbox.retry_now()
    assert ["a raised", "c raised"] == due(outbox)
    assert (1, "no answer") == (outbox.due("noc", 0, 1)[0].attempts, outbox.due("noc", 0, 1)[0].error)


def test_delivered_stays_delivered(alerts: Alerts, outbox: Outbox, make_alert: MakeAlert) -> None:
    """A late failure report of the same entry does not bring it back."""
    alerts.record([make_alert()], [["noc"]])
    [entry] = outbox.due("noc", 0, 10)
    outbox.delivered([entry.id], 5)
    outbox.failed(entry.id, "late", 6)
    outbox.delivered([entry.id], 7)

    assert [] == due(outbox)
    assert {"noc": OutboxCounts(0, 0, 1, 0)} == outbox.counts()


def test_counts(alerts: Alerts, outbox: Outbox, make_alert: MakeAlert) -> None:
    """Waiting, failing, delivered and the oldest, per output."""
    alerts.record([make_alert("a", last_time_ns=7), make_alert("b", last_time_ns=8)], [["noc", "log"], ["noc"]])
    outbox.failed(outbox.due("noc", 0, 1)[0].id, "no answer", 50)
    outbox.delivered([outbox.due("log", 0, 1)[0].id], 9)

    assert {"log": OutboxCounts(0, 0, 1, 0), "noc": OutboxCounts(2, 1, 0, 7)} == outbox.counts()


def test_numbers_are_never_used_twice(alerts: Alerts, outbox: Outbox, make_alert: MakeAlert) -> None:
    """Receivers tell lost notifications by gaps, so an expired number stays used."""
    alerts.record([make_alert("a")], [["noc"]])
    [raised] = outbox.due("noc", 0, 10)
    outbox.delivered([raised.id], 1)
    assert 0 == outbox.expire(100), "those of an active alert are what tells that it is known"
    alerts.record([make_alert("a", "cleared")], [[]])
    [cleared] = outbox.due("noc", 0, 10)
    outbox.delivered([cleared.id], 1)
    assert 0 == outbox.expire(1)
    assert 2 == outbox.expire(2)

    alerts.record([make_alert("b")], [["noc"]])
    [later] = outbox.due("noc", 0, 10)
    assert later.id > cleared.id
    assert 3 == later.sequence
    assert OutboxCounts(1, 0, 2, 2_000_000_000) == outbox.counts()["noc"]


def test_outputs_that_are_gone(alerts: Alerts, outbox: Outbox, make_alert: MakeAlert) -> None:
    """What waits for an output that was taken out of the configuration is given up, and told."""
    alerts.record([make_alert("a"), make_alert("b")], [["noc", "old"], ["old"]])

    assert {"old": 2} == outbox.retain({"noc"}, 5)
    assert {} == outbox.retain(["noc"], 6)
    assert ["a raised"] == due(outbox)
    assert [] == due(outbox, "old")


def test_waits_over_a_restart(path: object, database: Database, alerts: Alerts, make_alert: MakeAlert) -> None:
    """Entries are there when the file is opened again."""
    alerts.record([make_alert()], [["noc"]])
    database.close()

    with Database(database.path) as again:
        assert ["00000000000000aa raised"] == due(Outbox(again))


def test_deliveries(database: Database, make_alert: MakeAlert) -> None:
    """What became of each state of one alert at each output, the newest first."""
    alerts, outbox = Alerts(database), Outbox(database)
    alerts.record([make_alert(), make_alert("00000000000000bb")], [("noc", "siem"), ("noc",)])
    first, second = outbox.due("noc", 0, 1)[0], outbox.due("siem", 0, 1)[0]
    outbox.delivered([first.id], 77)
    outbox.failed(second.id, "nobody there", 88)

    assert [
        Delivery("siem", 1, "raised", 1, 2_000_000_000, 1, "nobody there", None),
        Delivery("noc", 1, "raised", 1, 2_000_000_000, 1, "", 77),
    ] == outbox.deliveries("00000000000000aa")
    assert 1 == len(outbox.deliveries("00000000000000aa", limit=1))
    assert [] == outbox.deliveries("none")
