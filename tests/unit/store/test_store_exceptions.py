"""Exempts and maintenance that were added by command."""

from dataclasses import replace
from pathlib import Path

from collectord.model import AddedExempt, MaintenanceWindow
from collectord.store import audit, exceptions
from collectord.store.db import Database

EXEMPT = AddedExempt(0, "many", {"SrcIpAddr": ["192.0.2.0/24"], "DstPortNumber": 445}, "ours", None, "ada", 5)
WINDOW = MaintenanceWindow(0, "north", 10, 20, "Europe/Berlin", "new switch", "ada", 5)


def notes(database: Database) -> list[tuple[str, str, str]]:
    return [(entry.what, entry.target, entry.reason) for entry in reversed(audit.entries(database, 100))]


def test_exempts_survive(path: Path) -> None:
    """As they were, in the order of their numbers; those that ended are not among them."""
    with Database(path) as database:
        first = exceptions.add_exempt(database, EXEMPT)
        second = exceptions.add_exempt(database, replace(EXEMPT, until_ns=100))
    with Database(path) as database:
        assert [first, second] == exceptions.exempts(database, 99)
        assert [first] == exceptions.exempts(database, 100)
    assert (1, 2) == (first.number, second.number)


def test_remove_exempt(database: Database) -> None:
    """By number, which is never used again."""
    added = exceptions.add_exempt(database, EXEMPT)

    assert exceptions.remove_exempt(database, added.number, "bob", 6)
    assert not exceptions.remove_exempt(database, added.number, "bob", 7)
    assert 2 == exceptions.add_exempt(database, EXEMPT).number
    target = '1: many {"SrcIpAddr": ["192.0.2.0/24"], "DstPortNumber": 445}'
    assert [("exempt add", target, "ours"), ("exempt remove", target, "")] == notes(database)[:2]


def test_maintenance_survives(path: Path) -> None:
    """In the order in which it begins, until it has ended."""
    with Database(path) as database:
        first = exceptions.add_maintenance(database, WINDOW)
        everywhere = exceptions.add_maintenance(database, replace(WINDOW, site=None, from_ns=5))
    with Database(path) as database:
        assert [everywhere, first] == exceptions.maintenance(database, 19)
        assert [] == exceptions.maintenance(database, 20)
        assert [
            ("maintenance add", "1: north", "new switch"),
            ("maintenance add", "2: all sites", "new switch"),
        ] == notes(database)


def test_end_maintenance(database: Database) -> None:
    """One that goes on ends now, one that has not begun never was."""
    exceptions.add_maintenance(database, WINDOW)
    exceptions.add_maintenance(database, replace(WINDOW, from_ns=15))

    assert exceptions.end_maintenance(database, 1, "bob", 12)
    assert exceptions.end_maintenance(database, 2, "bob", 12)
    assert not exceptions.end_maintenance(database, 1, "bob", 12)
    assert not exceptions.end_maintenance(database, 3, "bob", 12)
    assert [(10, 12), (15, 15)] == database.connection.execute("SELECT from_ns, until_ns FROM maintenance").fetchall()
    assert ("maintenance end", "2: north", "") == notes(database)[-1]


def test_expire(database: Database) -> None:
    """What ended long ago; an exempt without an end stays."""
    exceptions.add_exempt(database, EXEMPT)
    exceptions.add_exempt(database, replace(EXEMPT, until_ns=100))
    exceptions.add_maintenance(database, WINDOW)
    exceptions.expire(database, 101)

    assert [1] == [each.number for each in exceptions.exempts(database, 0)]
    assert [] == exceptions.maintenance(database, 0)
