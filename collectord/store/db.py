"""
The database file: opening, checking, locking, and what its errors mean to a person.

One file in WAL mode, one connection that writes, used from one thread (``writer.py``). Commands read through
connections of their own (:meth:`Database.reader`).
"""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlite_utils

from collectord.errors import DamagedError, FullError, StoreError
from collectord.store import locking
from collectord.store.locking import no_room
from collectord.store.migrations import MIGRATIONS, SCHEMA_VERSION, unknown

# "CLTR"; in the file's header, so that `file` and we can tell the database from somebody else's.
APPLICATION_ID = 0x434C5452

BUSY_TIMEOUT_MS = 2_000
"""How long a statement waits for another program's lock."""

HURRIED_TIMEOUT_MS = 20
"""The same once one waited in vain: a pass tries several times, and must not outlast the watchdog's patience."""

JOURNAL_SIZE_LIMIT_BYTES = 64 * 1024 * 1024
"""The WAL file is cut back to this after a checkpoint; a long reader may have let it grow."""

MOST_PAGES = 2**30 - 1
"""SQLite's own limit (sqlite.org/limits.html); versions differ in it, and this one is 4 TiB."""

ROOM_BYTES = 1024 * 1024
"""What opening takes, the write-ahead log and its index included: so much has to be free before it is tried again."""

# Primary result codes, sqlite.org/rescode.html; the extended code carries more in its higher bits.
_PRIMARY_CODE = 0xFF


class Database:
    """
    The open database file.

    ``tables`` is the sqlite-utils view of it. The writing side holds an exclusive lock on ``<path>.lock`` for as long
    as it is open, so that no second daemon ever writes the same file.

    Args:
        path: The file; made if it is not there.
        busy_timeout_ms: How long a statement waits for another program's lock.
        start_over: One that is damaged is moved aside, and a new one is made. Never another program's, nor one of a
            newer version.
        wait_for_room: On a full disk it makes do until there is room, see ``lacking``.

    Raises:
        StoreError: folder missing or not writable, another daemon has the file, not a database, damaged, made by a
            newer version. But for ``start_over`` the file itself is never replaced or moved.
        FullError: disk full; with ``wait_for_room`` only where the tables of an older version are to be changed.
    """

    lacking: StoreError | None = None
    """
    What there was no room for, and :meth:`reopen` is to do.

    The file is open then, for nobody else, and what is in it can be read: without the index of the write-ahead log,
    which is a file as well, others can't. Or it is not, see ``stands_in``.
    """
    stands_in: bool = False
    """There is no file yet: an empty database in memory is read in its place, and what is to be written fails."""

    damage: DamagedError | None = None
    """Found while it was open; :meth:`start_over` is due."""
    moved_to: Path | None = None
    """Where the last damaged file is now."""
    found: DamagedError | None = None
    """What was wrong with it."""
    _busy_timeout_ms = BUSY_TIMEOUT_MS
    _hurried = False
    _ours = False

    def __init__(
        self,
        path: Path,
        *,
        busy_timeout_ms: int = BUSY_TIMEOUT_MS,
        start_over: bool = False,
        wait_for_room: bool = False,
    ) -> None:
        self.path = path
        self._busy_timeout_ms = busy_timeout_ms
        self._wait_for_room = wait_for_room
        self._lock_fd: int | None = None
        there = self._is_there()
        try:
            try:
                self._begin(there=there)
            except DamagedError as error:
                if not start_over:
                    raise
                self.damage = error
                self.start_over()
            self._note_ours()
        except BaseException:
            self._close()
            self._unlock()
            raise

    def _begin(self, *, there: bool) -> None:
        try:
            self._lock_fd, self._ours = locking.lock(self.path)
            if self._wait_for_room and not there and self.free_bytes() < ROOM_BYTES:
                # Not half of one.
                raise FullError(no_room(self.path, "make the database"))
            self._open()
        except FullError as error:
            if not self._wait_for_room:
                raise
            self._make_do(error, there=there)

    def _open(self, *, checked: bool = False, alone: bool = False) -> None:
        with store_errors(self.path, "open", ours=self._ours):
            if self._ours and self.path.exists() and not self.path.stat().st_size:
                # SQLite takes an empty file for a new database, without a word.
                raise DamagedError(_damaged(self.path, "it is empty"))
            self._connect(str(self.path), uri=False, busy_timeout_ms=self._busy_timeout_ms)
            if alone:
                # The index of the write-ahead log is in memory then (sqlite.org/wal.html, section 8).
                self.connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._prepare(checked=checked, unchanged=alone)

    def _make_do(self, lacking: StoreError, *, there: bool) -> None:
        """Until there is room: with the file as it is, if there is one."""
        self._close()
        self.lacking = lacking
        if there:
            self._open(alone=True)
        else:
            self._stand_in()

    def _stand_in(self) -> None:
        self._connect(":memory:", uri=False, busy_timeout_ms=self._busy_timeout_ms)
        MIGRATIONS.apply(self.tables)
        self.stands_in = True

    def _is_there(self) -> bool:
        return self.path.exists() and self.path.stat().st_size > 0

    def reopen(self) -> None:
        """
        Opens the file as it should be, once there is room.

        Raises:
            StoreError: it can't be yet; things are as before.
        """
        if self.lacking is None:
            return
        if self.free_bytes() < ROOM_BYTES:
            raise FullError(str(self.lacking))
        if self._lock_fd is None:
            self._lock_fd, self._ours = locking.lock(self.path)
        there = not self.stands_in
        self._close()
        try:
            self._open(checked=True)
        except StoreError as error:
            if isinstance(error, DamagedError):
                self.damage, there = error, False
            elif not there:
                self._remove_empty()
            try:
                self._make_do(error, there=there)
            except StoreError:
                self._close()
                self._stand_in()
            raise error
        self.lacking, self.stands_in, self._hurried = None, False, False
        self._note_ours()

    def _note_ours(self) -> None:
        """Whatever the file is from now on, it is no other program's."""
        if self._ours or self.stands_in or self._lock_fd is None:
            return
        locking.note_ours(self._lock_fd)
        self._ours = True

    def _close(self) -> None:
        if hasattr(self, "connection"):
            self.connection.close()

    def start_over(self) -> Path:
        """
        Moves the damaged file aside, with its write-ahead log, and goes on with a new one.

        Returns:
            Where the damaged one is now: ``sqlite3 FILE .recover`` saves what can still be read.

        Raises:
            StoreError: it can't be moved, or no new one can be made; the database is closed then.
        """
        aside = _free_name(self.path, datetime.now(UTC))
        try:
            # Before the connection is closed, which would write to the file and delete the log.
            for suffix in ("-wal", "-shm", ""):
                file = Path(f"{self.path}{suffix}")
                if suffix and file.exists() and (suffix == "-shm" or not file.stat().st_size):
                    file.unlink()
                elif file.exists():
                    file.rename(f"{aside}{suffix}")
        except OSError as error:
            raise StoreError(f"{self.path} is damaged and can't be moved aside: {error.strerror}") from error
        finally:
            self._close()
        self.damage, self.found, self.moved_to, self._hurried = None, self.damage, aside, False
        self.lacking, self.stands_in = None, False
        try:
            self._open()
        except FullError as error:
            if not self._wait_for_room:
                self._close()
                raise
            self._remove_empty()
            self._make_do(error, there=False)
        except BaseException:
            self._close()
            raise
        return aside

    def _remove_empty(self) -> None:
        """What opening in vain left behind: an empty file of ours would be taken for a damaged one."""
        self._close()
        if self.path.exists() and not self._is_there():
            self.path.unlink()

    @classmethod
    def reader(cls, path: Path, *, busy_timeout_ms: int = BUSY_TIMEOUT_MS, older: bool = False) -> "Database":
        """
        Opens the file for reading only, beside the daemon or without it; ``older``: also one of an older version.

        Keep read transactions (:meth:`reading`) under a second: the WAL can't be emptied while one is open.
        """
        if not path.exists():
            raise StoreError(f"there is no database at {path}: the daemon makes it when it first runs")
        self = cls.__new__(cls)
        self.path = path
        self._busy_timeout_ms = busy_timeout_ms
        self._lock_fd = None
        with store_errors(path, "read"):
            self._connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, busy_timeout_ms=busy_timeout_ms)
            try:
                self.connection.execute("PRAGMA query_only = ON")
                self._check_ownership()
                if not older and MIGRATIONS.pending(self.tables):
                    raise StoreError(
                        f"{path} is of an older collectord: start the daemon once, it brings it up to date"
                    )
            except BaseException:
                self.connection.close()
                raise
        return self

    def close(self) -> None:
        """Closes the connection and gives the lock back; may be called twice."""
        self.connection.close()
        self._unlock()

    def __enter__(self) -> "Database":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def transaction(self, doing: str, *, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """
        One write transaction: all of it is stored, or nothing.

        Args:
            doing: What is done, for the error text, as ``store the alerts``.
            durable: True: it survives a power cut when this returns (synchronous=FULL). False: it survives the end of
                the process; a power cut may take the last transactions, never damage the file.

        Raises:
            StoreError: nothing of it is stored, except where the commit itself failed half-way on the disk.
        """
        if self.stands_in:
            raise FullError(no_room(self.path, doing))
        with self._errors(doing):
            # The level can't change inside a transaction.
            if durable:
                self.connection.execute("PRAGMA synchronous = FULL")
            before = self.connection.total_changes
            try:
                with self.tables.atomic():
                    yield self.connection
                if self.connection.total_changes > before:
                    self._wait_at_most(hurried=False)
            finally:
                if durable:
                    self.connection.execute("PRAGMA synchronous = NORMAL")

    @contextlib.contextmanager
    def reading(self, doing: str) -> Iterator[sqlite3.Connection]:
        """One read transaction: everything read in it is of the same instant."""
        with self._errors(doing), self.tables.atomic():
            yield self.connection

    @contextlib.contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        """Errors in words; who waited for a lock in vain waits for shorter until something works again."""
        try:
            with store_errors(self.path, doing, ours=self._ours):
                yield
        except DamagedError as error:
            self.damage = error
            raise
        except StoreError as error:
            if _code(error.__cause__) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                self._wait_at_most(hurried=True)
            raise

    def _wait_at_most(self, *, hurried: bool) -> None:
        if hurried is not self._hurried:
            self._hurried = hurried
            limit_ms = min(HURRIED_TIMEOUT_MS, self._busy_timeout_ms) if hurried else self._busy_timeout_ms
            self.connection.execute(f"PRAGMA busy_timeout = {limit_ms:d}")

    def used_bytes(self) -> int:
        """Size of the contents; pages of the file that are free are not among them."""
        return self.file_bytes() - self._pragma("freelist_count") * self._pragma("page_size")

    def file_bytes(self) -> int:
        """Size of the whole file, once the write-ahead log is in it."""
        return self._pragma("page_count") * self._pragma("page_size")

    def free_bytes(self) -> int:
        """What is free on the disk, for us."""
        disk = os.statvfs(self.path.parent)
        return disk.f_bavail * disk.f_frsize

    def room_bytes(self, keep_free_bytes: int) -> int:
        """By how much the file may grow before the disk has less free than that."""
        return max(0, self.free_bytes() - keep_free_bytes)

    @contextlib.contextmanager
    def growing(self, keep_free_bytes: int) -> Iterator[None]:
        """
        Meanwhile the file does not grow beyond what leaves so much of the disk free; free pages in it are used.

        What needs more fails with :class:`FullError`.
        """
        pages = self._pragma("page_count") + self.room_bytes(keep_free_bytes) // self._pragma("page_size")
        self._pragma(f"max_page_count = {min(pages, MOST_PAGES):d}")
        try:
            yield
        finally:
            self._pragma(f"max_page_count = {MOST_PAGES:d}")

    def _pragma(self, name: str) -> int:
        with self._errors("measure"):
            return int(self.connection.execute(f"PRAGMA {name}").fetchone()[0])

    def checkpoint(self) -> None:
        """Empties the WAL into the database; for idle times. Does less, without an error, while a reader is busy."""
        with self._errors("empty the write-ahead log of"):
            self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _connect(self, address: str, *, uri: bool, busy_timeout_ms: int) -> None:
        # One thread uses the connection, but not the one that opened it. Transactions are begun by us alone.
        self.connection = sqlite3.connect(
            address, uri=uri, timeout=busy_timeout_ms / 1000, isolation_level=None, check_same_thread=False
        )
        self.tables = sqlite_utils.Database(self.connection, recursive_triggers=False, execute_plugins=False)

    def _prepare(self, *, checked: bool = False, unchanged: bool = False) -> None:
        """Checks the file, if it is not ``checked``, and brings it to the newest schema, or leaves it ``unchanged``."""
        self._check_ownership()
        found = "ok" if checked else self.connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise DamagedError(_damaged(self.path, found))
        if unchanged:
            if MIGRATIONS.pending(self.tables):
                raise FullError(no_room(self.path, "bring the tables up to date"))
            return
        self.tables.enable_wal()
        self.connection.execute("PRAGMA synchronous = NORMAL")
        self.connection.execute(f"PRAGMA journal_size_limit = {JOURNAL_SIZE_LIMIT_BYTES:d}")
        self.connection.execute(f"PRAGMA application_id = {APPLICATION_ID:d}")
        MIGRATIONS.apply(self.tables)
        self.connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION:d}")

    def _check_ownership(self) -> None:
        """Refuses another program's database, and one of a newer version of ours."""
        (application_id,) = self.connection.execute("PRAGMA application_id").fetchone()
        (version,) = self.connection.execute("PRAGMA user_version").fetchone()
        names = self.tables.table_names()
        if application_id != APPLICATION_ID and (application_id != 0 or names):
            raise StoreError(
                f"{self.path} is the database of another program (application id {application_id:#x}, "
                f"{len(names)} tables): give collectord a file of its own"
            )
        newer = unknown(self.tables)
        if version > SCHEMA_VERSION or newer:
            raise StoreError(
                f"{self.path} was written by a newer collectord (schema {version}, this one knows {SCHEMA_VERSION}): "
                "install that version again, or restore a backup made before the upgrade"
            )

    def _unlock(self) -> None:
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None


def _free_name(path: Path, now: datetime) -> Path:
    """A name for a damaged file that says what it is and since when; none of an earlier one."""
    base, number = path.with_name(f"{path.name}.corrupt-{now:%Y%m%dT%H%M%SZ}"), 1
    aside = base
    while aside.exists():
        number += 1
        aside = base.with_name(f"{base.name}-{number}")
    return aside


@contextlib.contextmanager
def store_errors(path: Path, doing: str, *, ours: bool = False) -> Iterator[None]:
    """
    Turns SQLite's errors into :class:`StoreError` with what a person can do about them.

    ``ours``: a file that is no database (any more) is a damaged one of ours, not another program's.
    """
    try:
        yield
    except sqlite3.ProgrammingError:
        # Our own mistake (closed connection, wrong number of values): a bug, not the environment.
        raise
    except sqlite3.Error as error:
        code = _code(error)
        if code == sqlite3.SQLITE_CORRUPT or (ours and code == sqlite3.SQLITE_NOTADB):
            raise DamagedError(_damaged(path, str(error))) from error
        # The index of the write-ahead log can't be made on a full disk, which SQLite tells as another error.
        elsewhere = code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN) and _is_full(path)
        if code == sqlite3.SQLITE_FULL or elsewhere:
            raise FullError(no_room(path, doing)) from error
        raise StoreError(_explain(path, doing, error)) from error


def _code(error: BaseException | None) -> int:
    """The primary result code; 0 where there is none."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & _PRIMARY_CODE


def _explain(path: Path, doing: str, error: sqlite3.Error) -> str:
    match _code(error):
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return (
                f"can't {doing}: {path} is locked by another program: end the program that writes to it "
                f"(fuser {path} names it); only the daemon may write"
            )
        case sqlite3.SQLITE_NOTADB:
            return f"{path} is not an SQLite database: move it aside, or correct the path; it is left as it is"
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_AUTH:
            return (
                f"can't {doing}: {path} can't be opened or written ({error}): file and folder must belong to the "
                "daemon's user; commands need to be run as that user or in its group"
            )
        case _:
            return f"can't {doing}: {path}: {error}"


def _is_full(path: Path) -> bool:
    """Whether a disk has no room, and nothing else keeps us from writing there."""
    try:
        disk = os.statvfs(path.parent)
    except OSError:
        return False
    files = not disk.f_files or disk.f_favail
    return not (disk.f_bavail and files) and all(
        os.access(each, os.W_OK) for each in (path.parent, path) if each.exists()
    )


def _damaged(path: Path, finding: str) -> str:
    return (
        f"{path} is damaged ({finding}): stop the daemon, move the file with its -wal and -shm files aside and start "
        f"again with a new one, or restore a backup; sqlite3 {path} .recover saves what can still be read"
    )


def named_rows(cursor: sqlite3.Cursor) -> Iterator[dict[str, Any]]:
    """The rows of a SELECT, values by column name."""
    names = [column[0] for column in cursor.description]
    return (dict(zip(names, row, strict=True)) for row in cursor)
