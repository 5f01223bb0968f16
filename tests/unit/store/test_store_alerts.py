"""Alerts at rest: one transaction, once only, and back exactly as they were."""

from collections.abc import Callable
from typing import Any

import pytest

from collectord.errors import StoreError
from collectord.model import AlarmType, Alert, AlertState, Mode, Severity
from collectord.store import outbox_check
from collectord.store.alerts import Alerts
from collectord.store.db import Database
from collectord.store.outbox import Outbox

MakeAlert = Callable[..., Alert]


@pytest.fixture
def alerts(database: Database) -> Alerts:
    return Alerts(database)


def test_alert_comes_back_as_it_was(alerts: Alerts, make_alert: MakeAlert) -> None:
    """Every field, and what text the wire may hold."""
    strange = make_alert(
        key={"SrcUsername": "m\u00fcller\u202e\n'\"", "DstPortNumber": 0},
        details={"text": "half \ud800 a pair"},
        severity=Severity.HIGH,
        mode=Mode.REPORT,
        site="",
        tactics=(),
        alarm_type=AlarmType.DEVICE_SILENT,
    )
    alerts.record([strange], [[]])

    assert strange == alerts.show(strange.id)
    assert [strange] == alerts.active()
    assert [strange] == alerts.history(strange.id)
    assert strange == alerts.state(strange.id, 1, "raised")
    assert alerts.state(strange.id, 2, "raised") is None
    assert alerts.show("no such id") is None


def test_text_that_utf8_can_not_hold(alerts: Alerts, make_alert: MakeAlert) -> None:
    """Half a surrogate pair in a summary must not stop the alert."""
    alerts.record([make_alert(summary="half \ud800")], [[]])

    assert ["half \\ud800"] == [alert.summary for alert in alerts.active()]


def test_life_of_an_alert(alerts: Alerts, make_alert: MakeAlert) -> None:
    """One current state, the whole history, newest first."""
    states = [make_alert(event=event, last_time_ns=n) for n, event in enumerate(["raised", "updated:2", "cleared"])]
    for state in states:
        alerts.record([state], [["noc"]])

    assert [] == alerts.active()
    assert states[-1] == alerts.show(states[0].id)
    assert states[::-1] == alerts.history(states[0].id)


def test_recording_again_changes_nothing(database: Database, alerts: Alerts, make_alert: MakeAlert) -> None:
    """After an error nobody knows whether it was stored, so it is stored again: once in effect."""
    alert = make_alert()

    assert 2 == alerts.record([alert], [["noc", "log"]])
    assert 0 == alerts.record([alert], [["noc", "log"]])

    assert 1 == len(alerts.history(alert.id))
    assert {"noc": 1, "log": 1} == {name: counts.waiting for name, counts in Outbox(database).counts().items()}


def test_all_or_nothing(database: Database, alerts: Alerts, make_alert: MakeAlert) -> None:
    """A full disk stores neither alert nor outbox entry; with room, the same call works."""
    page_count = database.connection.execute("PRAGMA page_count").fetchone()[0]
    database.connection.execute(f"PRAGMA max_page_count = {page_count}")
    many = [make_alert(f"{number:016x}") for number in range(200)]
    outputs = [["noc"]] * len(many)

    with pytest.raises(StoreError, match="can't store the alerts: no space left"):
        alerts.record(many, outputs)
    assert [] == alerts.active()
    assert {} == Outbox(database).counts()

    database.connection.execute("PRAGMA max_page_count = 100000")
    assert 200 == alerts.record(many, outputs)


def test_record_survives_a_power_cut(database: Database, alerts: Alerts, make_alert: MakeAlert) -> None:
    """The alerts' transaction syncs fully; other writes do not pay for it."""
    statements: list[str] = []
    database.connection.set_trace_callback(statements.append)
    alerts.record([make_alert()], [["noc"]])
    database.connection.set_trace_callback(None)

    begin, commit = statements.index("BEGIN"), statements.index("COMMIT")
    assert statements.index("PRAGMA synchronous = FULL") < begin
    assert statements.index("PRAGMA synchronous = NORMAL") > commit


def test_each_alert_has_its_outputs(alerts: Alerts, make_alert: MakeAlert) -> None:
    """One list of names per alert."""
    with pytest.raises(ValueError, match="shorter"):
        alerts.record([make_alert(), make_alert("b")], [["noc"]])

    assert [] == alerts.active()


def test_seen_moves_what_a_restart_needs(alerts: Alerts, make_alert: MakeAlert) -> None:
    """Active alerts only; the told state is not touched."""
    alerts.record([make_alert("a"), make_alert("b", event="cleared")], [[], []])

    alerts.seen([("a", 99, 7000), ("b", 99, 7000), ("unknown", 1, 1)])

    [active] = alerts.active()
    assert (99, 7000, 5001) == (active.last_over_ns, active.peak, active.count)
    assert 5001 == alerts.find(active=False)[0].peak


def test_between(alerts: Alerts, make_alert: MakeAlert) -> None:
    """Each episode by itself, in its last state, if it was active at some time of the period."""
    for episode, raised, cleared in ((1, 10, 20), (2, 40, 50)):
        alerts.record([make_alert("a", episode=episode, first_time_ns=raised, last_time_ns=raised)], [[]])
        ended = {"first_time_ns": raised, "last_time_ns": cleared, "state": AlertState.CLEARED}
        alerts.record([make_alert("a", episode=episode, event="cleared", **ended)], [[]])
    alerts.record([make_alert("b", first_time_ns=30, last_time_ns=30, site="south", rule="port-misuse")], [[]])

    def found(since_ns: int, until_ns: int, **conditions: Any) -> list[tuple[str, int, str]]:
        return [(alert.id, alert.episode, alert.event) for alert in alerts.between(since_ns, until_ns, **conditions)]

    first, second, active = ("a", 1, "cleared"), ("a", 2, "cleared"), ("b", 1, "raised")
    assert found(0, 100) == [second, active, first]
    assert found(21, 39) == [active]
    assert found(21, 29) == []
    assert found(60, 100) == [active], "it is active until now"
    assert found(20, 40) == [second, active, first], "both ends count"
    assert found(0, 100, site="south") == [active]
    assert found(0, 100, rule="port-misuse") == [active]
    assert found(0, 100, limit=1) == [second]


def test_find(alerts: Alerts, make_alert: MakeAlert) -> None:
    """By state, rule and site; the newest first; bounded."""
    stored = [
        make_alert("a", last_time_ns=10),
        make_alert("b", last_time_ns=30, rule="port-misuse"),
        make_alert("c", event="cleared", last_time_ns=20, site="south"),
    ]
    alerts.record(stored, [[], [], []])

    def ids(**conditions: Any) -> str:
        return "".join(alert.id for alert in alerts.find(**conditions))

    assert "bca" == ids()
    assert "ba" == ids(active=True)
    assert "c" == ids(active=False)
    assert "b" == ids(rule="port-misuse")
    assert "c" == ids(site="south")
    assert "b" == ids(limit=1)
    assert "" == ids(site="")


def test_episodes(alerts: Alerts, make_alert: MakeAlert) -> None:
    """The newest by id, and the largest number of those that did not fit."""
    assert ({}, 0) == alerts.episodes()
    stored = [make_alert(str(n), episode=10 - n, last_time_ns=n) for n in range(5)]
    alerts.record(stored, [[]] * 5)

    assert ({"4": 6, "3": 7}, 10) == alerts.episodes(2)
    assert (5, 0) == (len(alerts.episodes()[0]), alerts.episodes()[1])


def test_expire(database: Database, alerts: Alerts, make_alert: MakeAlert) -> None:
    """Old cleared ones go, with history and outbox; active ones and undelivered ones stay."""
    outbox = Outbox(database)
    raises = [make_alert("waits", last_time_ns=1), make_alert("gone", last_time_ns=1)]
    alerts.record(raises, [["noc"], ["log"]])
    stored = [
        make_alert("active", last_time_ns=1),
        make_alert("waits", event="cleared", last_time_ns=1),
        make_alert("gone", event="cleared", last_time_ns=1),
        make_alert("also", event="cleared", last_time_ns=2),
        make_alert("new", event="cleared", last_time_ns=100),
    ]
    alerts.record(stored, [["noc"], ["noc"], ["log"], [], []])
    outbox.delivered([entry.id for entry in outbox.due("log", 0, 10)], 5)

    assert 1 == alerts.expire(50, most_alerts=1)
    assert 1 == alerts.expire(50, most_alerts=1)
    assert 0 == alerts.expire(50)

    assert {"active", "waits", "new"} == {alert.id for alert in alerts.find()}
    assert [] == alerts.history("gone")
    assert {"noc": 3, "log": 0} == {name: counts.waiting for name, counts in outbox.counts().items()}
    assert {"noc"} == {entry.output for entry in outbox.find(everything=True)}
    assert (3, []) == outbox_check.findings(database)


def test_what_an_alert_was_before(database: Database, alerts: Alerts, make_alert: MakeAlert) -> None:
    """Old states of one that comes and goes for years go; those of the present episode and of the outbox stay."""
    outbox = Outbox(database)
    for episode in (1, 2, 3):
        for event in ("raised", "cleared") if episode < 3 else ("raised",):
            alerts.record([make_alert("a", event=event, episode=episode, last_time_ns=episode)], [["noc"]])
    alerts.record([make_alert("b", event=event, last_time_ns=1) for event in ("raised", "updated:2")], [[], []])

    alerts.expire(50)
    assert 5 == len(alerts.history("a")), "they wait for an output"
    outbox.delivered([entry.id for entry in outbox.due("noc", 0, 10)], 5)
    outbox.expire(50)
    alerts.expire(2)
    assert [3, 2, 2] == [state.episode for state in alerts.history("a")]
    alerts.expire(50)
    assert [3] == [state.episode for state in alerts.history("a")]
    assert 2 == len(alerts.history("b"))
    assert [] == outbox_check.findings(database)[1]


def test_shed(database: Database, alerts: Alerts, make_alert: MakeAlert) -> None:
    """The oldest cleared ones, and the oldest states; neither what is active nor what an output is to be told."""
    outbox = Outbox(database)
    stored = [make_alert(f"{n}", event=event, last_time_ns=n) for n in range(6) for event in ("raised", "cleared")]
    stored.append(make_alert("active", last_time_ns=0))
    alerts.record(stored, [["noc"] if alert.id == "1" else [] for alert in stored])

    assert 0 == alerts.shed(100) == alerts.shed(100, most_cleared=6, most_states=13)
    assert 2 == alerts.shed(100, most_cleared=4)
    assert {"active", "1", "3", "4", "5"} == {alert.id for alert in alerts.find()}
    assert 0 == alerts.shed(100, most_states=1), "all of these are the present episodes"
    alerts.record([make_alert("5", episode=2, last_time_ns=200)], [[]])
    assert 2 == alerts.shed(100, most_states=1)
    assert [2] == [state.episode for state in alerts.history("5")]
    assert 2 == outbox.counts()["noc"].waiting
    assert (2, []) == outbox_check.findings(database)


def test_sent_raises(database: Database, make_alert: MakeAlert) -> None:
    """For the storm cap after a restart: raises that were for the outputs, not what was held back."""
    alerts = Alerts(database)
    states = [
        make_alert("1" * 16, last_time_ns=100),
        make_alert("2" * 16, last_time_ns=101),
        make_alert("2" * 16, "updated:2", last_time_ns=102),
        make_alert("3" * 16, last_time_ns=103, mode=Mode.REPORT),
        make_alert("4" * 16, last_time_ns=104, rule="other"),
    ]
    alerts.record(states, [()] * len(states))

    assert [("excessive-failures", 101), ("other", 104)] == alerts.sent_raises(100)
