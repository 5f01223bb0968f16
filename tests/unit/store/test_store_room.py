"""A database that is opened on a full disk: what can be done without room is, and the rest once there is some."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from collectord.errors import DamagedError, FullError, StoreError
from collectord.store import locking, meta
from collectord.store.db import ROOM_BYTES, Database
from collectord.store.migrations import MIGRATIONS


class Disk:
    """Has no room for what opening writes; tests/e2e fills a real one."""

    def __init__(self) -> None:
        self.full = True


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk, prepare, free_bytes = Disk(), Database._prepare, Database.free_bytes

    def prepared(self: Database, **how: bool) -> None:
        if disk.full and not how.get("unchanged"):
            raise FullError("no room")
        prepare(self, **how)

    monkeypatch.setattr(Database, "_prepare", prepared)
    monkeypatch.setattr(Database, "free_bytes", lambda self: ROOM_BYTES - 1 if disk.full else free_bytes(self))
    return disk


def open_on(path: Path) -> Database:
    return Database(path, busy_timeout_ms=10, start_over=True, wait_for_room=True)


def noted(path: Path, disk: Disk) -> None:
    """The database of a run before."""
    disk.full = False
    with Database(path) as database, database.transaction("note") as connection:
        meta.write(connection, "greeting", "hello")
    disk.full = True


def test_the_first_start(path: Path, disk: Disk) -> None:
    """An empty one is read in its place, and nothing can be written."""
    with open_on(path) as database:
        assert database.stands_in
        assert database.tables.table_names() != []
        with (
            pytest.raises(FullError, match=r"can't note: no space left for .*collectord.db"),
            database.transaction("note"),
        ):
            pytest.fail("nothing is written")
        with pytest.raises(FullError):
            database.reopen()
        assert database.stands_in
        with pytest.raises(StoreError, match="in use by another collectord"):
            open_on(path)
        disk.full = False
        database.reopen()
        database.reopen()
        assert (database.lacking, database.stands_in) == (None, False)
        with database.transaction("note") as connection:
            meta.write(connection, "greeting", "hello")
    with Database.reader(path) as reader:
        assert meta.read(reader.connection, "greeting") == "hello"
    assert locking.OURS in path.with_name(f"{path.name}{locking.LOCK_SUFFIX}").read_bytes()


def test_what_is_in_the_file_is_read(path: Path, disk: Disk) -> None:
    """By us alone, until it is open as it should be."""
    noted(path, disk)
    with open_on(path) as database:
        assert database.lacking is not None
        assert not database.stands_in
        with database.reading("read") as connection:
            assert meta.read(connection, "greeting") == "hello"
        with pytest.raises(StoreError, match="locked"), Database.reader(path, busy_timeout_ms=1):
            pytest.fail("nobody else reads it")
        with pytest.raises(FullError):
            database.reopen()
        # What it has room for is written.
        with database.transaction("note") as connection:
            meta.write(connection, "greeting", "hello again")
        disk.full = False
        database.reopen()
        with Database.reader(path) as reader:
            assert meta.read(reader.connection, "greeting") == "hello again"


def test_there_is_room_but_not_enough(path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    noted(path, disk)
    with open_on(path) as database:
        monkeypatch.setattr(Database, "free_bytes", lambda _: ROOM_BYTES)
        for _ in range(2):
            with pytest.raises(FullError):
                database.reopen()
            assert meta.read(database.connection, "greeting") == "hello"


def test_tables_of_an_older_version_are_waited_for(path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in them is needed, and can't be read as it is."""
    noted(path, disk)
    monkeypatch.setattr(MIGRATIONS, "pending", lambda _: ["m9999_something"])
    for _ in range(2):
        with pytest.raises(FullError, match="can't bring the tables up to date"):
            open_on(path)
    monkeypatch.undo()
    with Database(path) as database:
        assert meta.read(database.connection, "greeting") == "hello"


@pytest.mark.parametrize("change", ["PRAGMA user_version = 9999", "PRAGMA application_id = 5"])
def test_what_is_refused_is_refused_as_ever(path: Path, disk: Disk, change: str) -> None:
    noted(path, disk)
    disk.full = False
    with Database(path) as database:
        database.connection.execute(change)
    disk.full = True
    with pytest.raises(StoreError, match=r"newer collectord|another program") as caught:
        open_on(path)
    assert not isinstance(caught.value, FullError)


def test_others_do_not_wait(path: Path, disk: Disk) -> None:
    for _ in range(2):
        with pytest.raises(FullError, match="no room"):
            Database(path)


def test_a_damaged_one(path: Path, disk: Disk) -> None:
    """Moved aside, for which there need not be room; a new one follows."""
    noted(path, disk)
    path.write_bytes(os.urandom(100) + path.read_bytes()[100:])
    disk.full = True
    with open_on(path) as database:
        assert database.stands_in
        assert not path.exists()
        assert database.moved_to is not None
        disk.full = False
        database.reopen()
        assert meta.read(database.connection, "greeting") is None
        # Once more, while it is open.
        disk.full = True
        database.damage = DamagedError("torn")
        before = database.moved_to
        assert database.start_over() != before
        assert (database.stands_in, database.damage) == (True, None)


@pytest.mark.parametrize("ours", [False, True])
def test_a_lock_takes_no_room(path: Path, monkeypatch: pytest.MonkeyPatch, ours: bool) -> None:
    if ours:
        Database(path).close()
    with monkeypatch.context() as full:
        full.setattr(os, "pwrite", _no_room)
        with Database(path), pytest.raises(StoreError, match="in use by another collectord"):
            Database(path)
    lock = path.with_name(f"{path.name}{locking.LOCK_SUFFIX}")
    assert (locking.OURS in lock.read_bytes()) is ours
    Database(path).close()
    assert locking.OURS in lock.read_bytes()


def test_no_room_for_the_lock_itself(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is taken before anything is written."""
    opened = os.open
    with monkeypatch.context() as full:
        full.setattr(os, "open", lambda name, *how: _no_room() if str(name).endswith(".lock") else opened(name, *how))
        with open_on(path) as database:
            assert database.stands_in
            full.undo()
            other = Database(path)
            with pytest.raises(StoreError, match="in use by another"):
                database.reopen()
            other.close()
            database.reopen()
            assert not database.stands_in


def test_an_error_of_the_disk_is_told_as_what_it_is(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite says "disk I/O error" where the index of its log finds no room."""
    made: Callable[..., Any] = os.statvfs
    Database(path).close()
    path.with_name(f"{path.name}-wal").mkdir()
    with pytest.raises(StoreError) as caught:
        Database(path)
    assert not isinstance(caught.value, FullError)
    full = type("Full", (), {"f_bavail": 0, "f_files": 9, "f_favail": 9})
    with monkeypatch.context() as patched:
        patched.setattr(os, "statvfs", lambda _: full)
        with pytest.raises(FullError, match="no space left"):
            Database(path)
        patched.setattr(os, "access", lambda *_: False)
        with pytest.raises(StoreError) as caught:
            Database(path)
        assert not isinstance(caught.value, FullError)
        patched.setattr(os, "statvfs", lambda _: made("/gone"))
        with pytest.raises(StoreError):
            Database(path)
    shutil.rmtree(path.with_name(f"{path.name}-wal"))


def _no_room(*_: object) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
