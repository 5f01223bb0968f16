"""A copy to read at leisure."""

import shutil
import sqlite3
from pathlib import Path
from types import SimpleNamespace

import pytest

from collectord.errors import StoreError
from collectord.store import backup, meta
from collectord.store.db import Database


def filled(database: Database, kilobytes: int) -> None:
    with database.transaction("fill") as connection:
        for number in range(kilobytes):
            meta.write(connection, f"note {number}", "x" * 1_000)


def test_copy(database: Database, path: Path) -> None:
    """All of it, also what is still in the write-ahead log; nothing stays behind."""
    filled(database, 300)
    seen: list[tuple[int, int]] = []
    with backup.copied(path, lambda done, pages: seen.append((done, pages))) as copy:
        folder = copy.path.parent
        assert copy.connection.execute("SELECT count(*) FROM meta").fetchone() == (300,)
        filled(database, 301)
        assert copy.connection.execute("SELECT count(*) FROM meta").fetchone() == (300,)
        with pytest.raises(StoreError), copy.transaction("write") as connection:
            meta.write(connection, "x", "y")
    assert not folder.exists()
    assert seen[-1][0] == seen[-1][1] > 70


def test_somebody_writes_all_the_time(database: Database, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After some new beginnings it is copied in one go."""
    filled(database, 300)
    monkeypatch.setattr(backup, "PAGES_PER_STEP", 10)
    steps = []

    def progress(done: int, pages: int) -> None:
        steps.append(done)
        assert len(steps) < 100
        filled(database, 300)

    with backup.copied(path, progress) as copy:
        assert copy.connection.execute("SELECT count(*) FROM meta").fetchone() == (300,)


def test_no_room(database: Database, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=10))
    with pytest.raises(StoreError, match=r"a copy of .* needs .* bytes, .* has 10: name another"):
        backup.copied(path, print).__enter__()


def test_damaged(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\0" + bytes(5_000))
    with pytest.raises((StoreError, sqlite3.DatabaseError)):
        backup.copied(path, print).__enter__()
