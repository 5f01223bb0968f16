"""What goes out while the database can't be written, and how it gets into the outbox then."""

from pathlib import Path

import pytest

from collectord.errors import StoreError
from collectord.store.alerts import Alerts
from collectord.store.db import Database
from collectord.store.outbox import Outbox
from collectord.store.outbox_check import findings
from collectord.store.queue import Queue
from collectord.store.standby import FIRST_ID, Standby

from ...locking import locked
from .conftest import MakeAlert

NOW_NS = 5_000_000_000


@pytest.fixture
def queue(database: Database) -> Queue:
    """The way into the outbox; the database can't be written, as far as it knows."""
    queue = Queue(database)
    queue.standby.active = True
    return queue


@pytest.fixture
def outbox(database: Database, queue: Queue) -> Outbox:
    return Outbox(database, queue)


def entries(database: Database) -> list[tuple[object, ...]]:
    """The outbox: event, output, sequence, attempts, delivered_ns."""
    query = "SELECT event, output, sequence, attempts, delivered_ns FROM outbox ORDER BY id"
    return database.connection.execute(query).fetchall()


def test_raises_and_what_follows_them(make_alert: MakeAlert) -> None:
    """To the outputs that wanted the raise; what follows an earlier raise waits for the database."""
    standby = Standby()
    raised, cleared = make_alert(), make_alert(event="cleared")
    earlier = make_alert("00000000000000bb", event="cleared")
    assert standby.offer([(raised, ["noc", "siem"]), (earlier, ["noc"])], lambda output: 7)
    assert not standby.offer([(raised, ["noc", "siem"]), (earlier, ["noc"])], lambda output: 7)
    assert standby.offer([(raised, ["noc", "siem"]), (earlier, ["noc"]), (cleared, [])], lambda output: 7)

    assert [(each.alert.event, each.sequence) for each in standby.due("noc", 10)] == [("raised", 8), ("cleared", 9)]
    assert [each.id for each in standby.due("siem", 1)] == [FIRST_ID + 1]


def test_an_alert_goes_out_and_is_stored_as_delivered(
    path: Path, database: Database, queue: Queue, outbox: Outbox, make_alert: MakeAlert
) -> None:
    """With the numbers that the outbox would have given."""
    alerts, first, second = Alerts(database, queue), make_alert("00000000000000aa"), make_alert("00000000000000bb")
    alerts.record([first], [["noc"]])
    with locked(path):
        queue.standby.offer([(second, ["noc"])], queue.last)
        one, two = outbox.take("noc", NOW_NS, 10)
        assert [(one.alert, one.sequence), (two.alert, two.sequence)] == [(first, 1), (second, 2)]
        outbox.delivered([one.id, two.id], NOW_NS)
        assert outbox.take("noc", NOW_NS, 10) == []
        assert entries(database) == [("raised", "noc", 1, 0, None)]
    alerts.record([second], [["noc"]])
    outbox.delivered([], NOW_NS + 1)

    assert entries(database) == [("raised", "noc", 1, 1, NOW_NS), ("raised", "noc", 2, 1, NOW_NS)]
    assert findings(database)[1] == []


def test_what_failed_waits_in_the_outbox(
    path: Path, database: Database, queue: Queue, outbox: Outbox, make_alert: MakeAlert
) -> None:
    """The worker may speak of it by the number that it knows."""
    alert = make_alert()
    with locked(path):
        queue.standby.offer([(alert, ["noc"])], queue.last)
        (entry,) = outbox.take("noc", NOW_NS, 10)
        outbox.failed(entry.id, "nobody there", NOW_NS)
    Alerts(database, queue).record([alert], [["noc"]])
    assert entries(database) == [("raised", "noc", 1, 1, None)]
    outbox.failed(entry.id, "nobody there", NOW_NS)
    outbox.delivered([entry.id], NOW_NS)

    assert entries(database) == [("raised", "noc", 1, 3, NOW_NS)]
    assert findings(database)[1] == []
    assert queue.last("noc") == 1


def test_a_failure_is_one_where_nobody_knows_of_it(
    path: Path, queue: Queue, database: Database, outbox: Outbox, make_alert: MakeAlert
) -> None:
    """The first one to meet it is told."""
    Alerts(database, queue).record([make_alert()], [["noc"]])
    queue.standby.active = False
    (entry,) = outbox.take("noc", NOW_NS, 10)
    with locked(path):
        with pytest.raises(StoreError):
            outbox.delivered([entry.id], NOW_NS)
        with pytest.raises(StoreError):
            outbox.failed(entry.id, "nobody there", NOW_NS)
        queue.standby.active = True
        outbox.failed(entry.id, "nobody there", NOW_NS)
        outbox.delivered([entry.id], NOW_NS)
        assert outbox.take("noc", NOW_NS, 10) == []


def test_the_standby_goes_on_where_the_database_can_not_even_be_read(
    queue: Queue, database: Database, outbox: Outbox, make_alert: MakeAlert
) -> None:
    database.connection.execute("DROP TABLE outbox")
    queue.standby.offer([(make_alert(), ["noc"])], queue.last)
    assert [entry.sequence for entry in outbox.take("noc", NOW_NS, 10)] == [1]
    queue.standby.active = False
    with pytest.raises(StoreError):
        outbox.take("noc", NOW_NS, 10)


def test_a_new_database_goes_on_counting(
    tmp_path: Path, database: Database, queue: Queue, outbox: Outbox, make_alert: MakeAlert
) -> None:
    """A worker that still has an old entry in its hands must not take a new one for it."""
    alert = make_alert()
    Alerts(database, queue).record([alert, make_alert("00000000000000bb")], [["noc"], ["noc"]])
    old = {entry.id for entry in outbox.take("noc", NOW_NS, 10)}
    database.start_over()
    queue.start_over(1_800_000_000 * 10**9)
    Alerts(database, queue).record([alert], [["noc"]])

    (entry,) = outbox.take("noc", 2 * 10**18, 10)
    assert (entry.sequence, entry.id > 10**12, entry.id in old) == (3, True, False)
    assert findings(database)[1] == []
