"""A consistent copy of the database: to read from at leisure, or to keep."""

import contextlib
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from collectord.errors import StoreError
from collectord.store.db import Database, store_errors

PAGES_PER_STEP = 4_096
"""16 MiB: a step takes well below a second on any disk, and nothing is held between two."""

MAX_RESTARTS = 3
"""SQLite begins anew when somebody writes between two steps (sqlite.org/c3ref/backup_finish.html)."""

Progress = Callable[[int, int], object]
"""Takes pages that are copied, and all pages."""


class _WrittenTooOftenError(Exception):
    """The database is written faster than it can be copied in steps."""


@contextlib.contextmanager
def copied(path: Path, progress: Progress) -> Iterator[Database]:
    """
    A copy of a database in a temporary folder ($TMPDIR, else /tmp), to read from; gone at the end.

    The copy is made in short steps. A large database to which somebody writes all the time is then copied in one go,
    which takes seconds; writers are not held up by either.

    Raises:
        StoreError: no room for it, or the database can't be read.
    """
    with tempfile.TemporaryDirectory(prefix="collectord-") as folder:
        copy = Path(folder) / "copy.db"
        with Database.reader(path) as source:
            needed, free = source.file_bytes(), shutil.disk_usage(folder).free
            if needed > free:
                raise StoreError(
                    f"a copy of {path} needs {needed:,} bytes, {folder} has {free:,}: name another folder with TMPDIR"
                )
            with store_errors(path, "copy"), contextlib.closing(sqlite3.connect(copy)) as target:
                _copy(source.connection, target, progress)
        with Database.reader(copy) as database:
            yield database


def copy(path: Path, target: Path, progress: Progress) -> None:
    """
    A consistent copy of a database as one file, also of an older version's; the daemon may run.

    Args:
        path: The database.
        target: The file to make, in a folder with room for it.
        progress: As for ``copied``.

    Raises:
        StoreError: no room for it, or the database can't be read.
    """
    with Database.reader(path, older=True) as source:
        needed, free = source.file_bytes(), shutil.disk_usage(target.parent).free
        if needed > free:
            raise StoreError(f"a copy of {path} needs {needed:,} bytes, {target.parent} has {free:,}")
        with store_errors(path, "copy"), contextlib.closing(sqlite3.connect(target)) as connection:
            _copy(source.connection, connection, progress)
            # One file, whoever opens it.
            connection.execute("PRAGMA journal_mode = DELETE")


def schema(path: Path, *, thorough: bool = False) -> int:
    """
    The schema version of a database that is ours and sound.

    Args:
        path: The database; only read.
        thorough: Every page and every index is looked at, which takes its time.

    Raises:
        StoreError: it is not, or it is of a newer version.
    """
    with Database.reader(path, older=True) as database, store_errors(path, "read"):
        if thorough and (found := database.connection.execute("PRAGMA integrity_check(1)").fetchone()[0]) != "ok":
            raise StoreError(f"{path} is damaged ({found})")
        return int(database.connection.execute("PRAGMA user_version").fetchone()[0])


def _copy(source: sqlite3.Connection, target: sqlite3.Connection, progress: Progress) -> None:
    restarts, least = 0, 2**63

    def step(_: int, remaining: int, pages: int) -> None:
        nonlocal restarts, least
        restarts += remaining > least
        least = remaining
        progress(pages - remaining, pages)
        if restarts > MAX_RESTARTS:
            raise _WrittenTooOftenError

    try:
        source.backup(target, pages=PAGES_PER_STEP, progress=step, sleep=0)
    except _WrittenTooOftenError:
        source.backup(target)
