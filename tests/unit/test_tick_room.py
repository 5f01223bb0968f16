"""The pass of a daemon that was started on a full disk."""

from collections.abc import Callable
from functools import partial

import pytest
import structlog

from collectord.errors import DamagedError, FullError
from collectord.store.db import Database

from . import test_tick
from .store.test_store_room import Disk, disk  # noqa: F401
from .test_tick import THRESHOLD, Daemon, clock, path, setup  # noqa: F401
from .test_tick import start as started  # noqa: F401


@pytest.fixture
def start(started: Callable[[], Daemon], monkeypatch: pytest.MonkeyPatch) -> Callable[[], Daemon]:  # noqa: F811
    """Starts a run that waits for room."""
    monkeypatch.setattr(test_tick, "Database", partial(Database, wait_for_room=True))
    return started


def test_the_first_start(start: Callable[[], Daemon], disk: Disk) -> None:  # noqa: F811
    """Alerts go out, and all is stored once there is room; outputs need not wait for their next try."""
    daemon = start()
    for count in (THRESHOLD + 1, 10 * THRESHOLD):
        daemon.deny(count)
        assert daemon.tick.run() is True
    assert [(entry.alert.event, entry.sequence) for entry in daemon.outbox.take("noc", 0, 9)] == [
        ("raised", 1), ("updated:2", 2),
    ]  # fmt: skip
    assert "no space left" in daemon.tick.standing.reason
    disk.full = False
    with structlog.testing.capture_logs() as logs:
        assert daemon.tick.run() is True
    assert [entry["event"] for entry in logs] == [
        "database is open to others again", "database can be written again",
    ]  # fmt: skip
    assert daemon.tick.retries == 1
    assert (daemon.history(), daemon.tick.standing.reason) == (["raised", "updated:2"], "")
    assert daemon.tick.run() is False
    assert [row[2:] for row in daemon.rows()] == [("203.0.113.1", 11 * THRESHOLD + 1)]


def test_what_is_in_it_counts(start: Callable[[], Daemon], disk: Disk) -> None:  # noqa: F811
    disk.full = False
    daemon = start()
    daemon.deny(THRESHOLD)
    daemon.tick.run()
    disk.full = True
    daemon = start()
    assert daemon.database.lacking is not None
    daemon.deny(1)
    daemon.tick.run()
    assert daemon.history() == ["raised"]
    disk.full = False
    daemon.tick.run()
    assert daemon.database.lacking is None
    assert [row[2:] for row in daemon.rows()] == [("203.0.113.1", THRESHOLD + 1)]


def test_tables_that_are_to_be_made(
    start: Callable[[], Daemon],
    disk: Disk,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those that are there are read all the same."""
    disk.full = False
    daemon = start()
    daemon.deny(THRESHOLD)
    daemon.tick.run()
    ensure, holds = daemon.tables.ensure, daemon.tables.holds

    def full(self: object, definitions: object) -> list[tuple[str, str]]:
        if disk.full:
            raise FullError("no room for tables")
        return ensure(daemon.tick.setup.definitions)

    assert holds(daemon.definition)
    daemon.database.connection.execute("UPDATE meta SET value = '' WHERE key LIKE 'definition:%'")
    assert not holds(daemon.definition)
    monkeypatch.setattr(type(daemon.tables), "ensure", full)
    disk.full = True
    daemon = start()
    daemon.deny(THRESHOLD)
    daemon.tick.run()
    assert (daemon.history(), daemon.tick.counters.store_failures) != ([], 0)


def test_damaged_while_the_disk_is_full(start: Callable[[], Daemon], disk: Disk) -> None:  # noqa: F811
    """There is no new one yet, and all that is active is told again when there is."""
    disk.full = False
    daemon = start()
    daemon.deny(THRESHOLD + 1)
    daemon.tick.run()
    disk.full = True
    daemon.database.damage = DamagedError("torn")
    daemon.deny(3)
    daemon.tick.run()
    assert (daemon.database.stands_in, daemon.tick.standing.replaced) == (True, 1)
    assert [entry.sequence for entry in daemon.outbox.take("noc", 0, 9)] == [2]
    daemon.deny(4)
    disk.full = False
    daemon.tick.run()
    daemon.tick.run()
    assert [row[2:] for row in daemon.rows()] == [("203.0.113.1", 7)]
    assert daemon.history() == ["raised"]
    assert [entry.sequence for entry in daemon.outbox.due("noc", 10**19 - 10**18, 9)] == [2]
