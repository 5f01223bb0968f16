"""What operators put on alerts."""

from collections.abc import Callable

from collectord.model import Alert, AlertMark, AlertState, MarkKind
from collectord.store import audit, marks
from collectord.store.alerts import Alerts
from collectord.store.db import Database

ID, OTHER = "00000000000000aa", "00000000000000bb"
ACK = AlertMark(ID, MarkKind.ACK, 2, "ada", 5, "calling the branch")
SHELVE = AlertMark(ID, MarkKind.SHELVE, 2, "bob", 6, "known scan", 100)


def test_each_kind_once(database: Database) -> None:
    """A later one of the same kind takes the place of the earlier; who did it stays in the audit."""
    marks.put(database, ACK)
    marks.put(database, SHELVE)
    later = AlertMark(ID, MarkKind.ACK, 3, "eve", 7, "")
    marks.put(database, later)

    assert {ID: {MarkKind.ACK: later, MarkKind.SHELVE: SHELVE}} == marks.of(database, [ID, OTHER])
    assert [("eve", "alerts ack", ID, ""), ("bob", "alerts shelve", ID, "known scan"),
            ("ada", "alerts ack", ID, "calling the branch")] == [
        (entry.who, entry.what, entry.target, entry.reason) for entry in audit.entries(database, 10)
    ]  # fmt: skip


def test_shelved_until(database: Database) -> None:
    """Only those that are shelved now."""
    marks.put(database, SHELVE)
    marks.put(database, AlertMark(OTHER, MarkKind.ACK, 1, "ada", 1, ""))

    assert {ID: 100} == marks.shelved(database, 99)
    assert {} == marks.shelved(database, 100)


def test_unshelve(database: Database) -> None:
    """Once; what was not shelved leaves no note."""
    marks.put(database, ACK)
    marks.put(database, SHELVE)

    assert marks.unshelve(database, ID, "ada", 9)
    assert not marks.unshelve(database, ID, "ada", 10)
    assert {} == marks.shelved(database, 0)
    assert {ID: {MarkKind.ACK: ACK}} == marks.of(database, [ID])
    assert ["alerts unshelve", "alerts shelve", "alerts ack"] == [each.what for each in audit.entries(database, 10)]


def test_marks_go_with_their_alert(database: Database, make_alert: Callable[..., Alert]) -> None:
    """An alert that comes again after months is a new one for everybody."""
    alerts = Alerts(database)
    alerts.record([make_alert(ID), make_alert(ID, "cleared", state=AlertState.CLEARED)], [(), ()])
    marks.put(database, ACK)

    assert 1 == alerts.expire(10**18)
    assert {} == marks.of(database, [ID])
