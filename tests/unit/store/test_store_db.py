"""The database file: what it refuses, what it says, and that it never replaces what is not damaged and ours."""

import contextlib
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from collectord.errors import DamagedError, StoreError
from collectord.store import meta
from collectord.store.db import APPLICATION_ID, HURRIED_TIMEOUT_MS, Database, store_errors
from collectord.store.migrations import SCHEMA_VERSION

NOBODY = 65_534


def pragma(database: Database, name: str) -> object:
    return database.connection.execute(f"PRAGMA {name}").fetchone()[0]


@pytest.fixture
def foreign_folder() -> Iterator[Path]:
    """A folder that the test may read and not write; root becomes somebody else for it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o555)
        root = os.geteuid() == 0
        if root:
            os.seteuid(NOBODY)
        try:
            yield folder
        finally:
            if root:
                os.seteuid(0)
            folder.chmod(0o755)


def test_new_database_is_set_up(database: Database) -> None:
    """WAL, normal synchronous, ours by application id, the newest schema."""
    assert "wal" == pragma(database, "journal_mode")
    assert 1 == pragma(database, "synchronous")
    assert APPLICATION_ID == pragma(database, "application_id")
    assert SCHEMA_VERSION == pragma(database, "user_version")
    assert 64 * 1024 * 1024 == pragma(database, "journal_size_limit")
    assert 10 == pragma(database, "busy_timeout")


def test_contents_stay(path: Path) -> None:
    """What was committed is there after opening again; closing twice is fine."""
    first = Database(path)
    with first.transaction("note") as connection:
        meta.write(connection, "greeting", "hello")
    first.close()
    first.close()

    with Database(path) as second:
        assert "hello" == meta.read(second.connection, "greeting")


def test_transaction_is_whole_or_nothing(database: Database) -> None:
    """An exception in the middle takes everything back."""
    with pytest.raises(KeyError), database.transaction("note") as connection:
        meta.write(connection, "greeting", "hello")
        raise KeyError

    assert meta.read(database.connection, "greeting") is None
    assert not database.connection.in_transaction


def test_durable_transaction_syncs_fully(database: Database) -> None:
    """FULL inside, NORMAL again afterwards, also after an error."""
    with database.transaction("note", durable=True):
        assert 2 == pragma(database, "synchronous")
    assert 1 == pragma(database, "synchronous")

    with pytest.raises(KeyError), database.transaction("note", durable=True):
        raise KeyError
    assert 1 == pragma(database, "synchronous")


def test_second_daemon_is_refused(path: Path, database: Database) -> None:
    """The lock is held by whoever opened first, and named; it is free again afterwards."""
    with pytest.raises(StoreError, match=rf"in use by another collectord \(process {os.getpid()}\)"):
        Database(path)

    database.close()
    Database(path).close()


def test_failed_opening_gives_the_lock_back(path: Path) -> None:
    """A file that is refused is not locked by the refusal."""
    path.write_bytes(b"not a database at all, but long enough to be one" * 100)
    for _ in range(2):
        with pytest.raises(StoreError, match="is not an SQLite database: move it aside"):
            Database(path)

    path.unlink()
    Database(path).close()


def test_missing_folder(tmp_path: Path) -> None:
    """Said before anything is made."""
    with pytest.raises(StoreError, match=r"there is no folder .*missing for the database: make it"):
        Database(tmp_path / "missing" / "collectord.db")


def test_unwritable_folder(foreign_folder: Path) -> None:
    """A folder of somebody else is an error that names the folder."""
    with pytest.raises(StoreError, match=rf"the folder {foreign_folder} can't be written \(Permission denied\)"):
        Database(foreign_folder / "collectord.db")


def test_unlockable_lock_file(tmp_path: Path) -> None:
    """A folder where the lock file should be."""
    (tmp_path / "collectord.db.lock").mkdir()

    with pytest.raises(StoreError, match=r"can't be written \(Is a directory\)"):
        Database(tmp_path / "collectord.db")


def test_truncated_file_is_damaged_and_left_alone(path: Path) -> None:
    """The report says what to do; not a byte of the file is changed."""
    with Database(path) as database, database.transaction("fill") as connection:
        for number in range(500):
            meta.write(connection, f"note {number}", "x" * 200)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2 // 4096 * 4096])
    damaged = path.read_bytes()

    with pytest.raises(StoreError, match=r"is damaged \(.*\): stop the daemon, move the file .* aside"):
        Database(path)

    assert damaged == path.read_bytes()


def test_damaged_page_is_found_at_start(path: Path) -> None:
    """Garbage inside a page is found by the check, not by the first alert that hits it."""
    with Database(path) as database, database.transaction("fill") as connection:
        for number in range(500):
            meta.write(connection, f"note {number}", "x" * 200)
    with path.open("r+b") as file:
        file.seek(20 * 4096)
        file.write(b"\xff" * 4096)

    with pytest.raises(StoreError, match="is damaged"):
        Database(path)


class TestStartOver:
    """A damaged database is moved aside for a new one, where that is asked for."""

    @pytest.fixture
    def content(self, path: Path) -> bytes:
        """A database of ours that has something in it; closed."""
        with Database(path) as database, database.transaction("fill") as connection:
            for number in range(500):
                meta.write(connection, f"note {number}", "x" * 200)
        return path.read_bytes()

    @pytest.mark.parametrize(
        "damage",
        [
            lambda content: b"\0" * 100 + content[100:],
            lambda content: content[:4096] + b"\xff" * (len(content) - 4096),
            lambda content: content[: len(content) // 2 + 100],
            lambda content: b"",
        ],
    )
    def test_at_the_start(self, path: Path, content: bytes, damage: Callable[[bytes], bytes]) -> None:
        """As it is, and the new one is as good as any."""
        path.write_bytes(damage(content))
        for _ in range(2):
            with pytest.raises(DamagedError, match="is damaged"):
                Database(path)
            assert damage(content) == path.read_bytes()
        with Database(path, start_over=True) as database:
            assert database.moved_to is not None
            assert damage(content) == database.moved_to.read_bytes()
            assert path.name in database.moved_to.name
            assert SCHEMA_VERSION == pragma(database, "user_version")
        with Database(path, start_over=True) as database:
            assert database.moved_to is None

    def test_names_are_not_used_twice(self, path: Path, content: bytes) -> None:
        """Not within a second either."""
        aside = set()
        for _ in range(3):
            path.write_bytes(content[:5000])
            with Database(path, start_over=True) as database:
                aside.add(database.moved_to)
        assert len(aside) == 3

    def test_the_log_goes_with_it(self, path: Path, content: bytes) -> None:
        """The last transactions may be in there, and SQLite finds it by its name."""
        path.write_bytes(b"")
        path.with_name(f"{path.name}-wal").write_bytes(b"log")
        with Database(path, start_over=True) as database:
            assert database.moved_to is not None
            assert b"log" == Path(f"{database.moved_to}-wal").read_bytes()

    def test_while_it_is_open(self, path: Path, database: Database) -> None:
        """The same object goes on with the new file, and has the lock as before."""
        with database.transaction("note") as connection:
            meta.write(connection, "greeting", "hello")
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("PRAGMA writable_schema = ON")
            other.execute("UPDATE sqlite_master SET sql = 'CREATE nonsense' WHERE name = 'ledger'")
            other.execute("PRAGMA schema_version = 1000")
        with pytest.raises(DamagedError), database.transaction("note") as connection:
            meta.write(connection, "greeting", "hello again")
        assert database.damage is not None
        aside = database.start_over()
        assert database.damage is None
        assert aside.exists()
        assert meta.read(database.connection, "greeting") is None
        with database.transaction("note") as connection:
            meta.write(connection, "greeting", "hello")
        with pytest.raises(StoreError, match="in use by another"):
            Database(path)

    @pytest.mark.parametrize("change", ["application_id = 7", "user_version = 99"])
    def test_never_what_is_not_ours_to_move(self, path: Path, content: bytes, change: str) -> None:
        """Another program's, or one of a newer version."""
        with contextlib.closing(sqlite3.connect(path)) as other:
            other.execute(f"PRAGMA {change}")
        kept = path.read_bytes()
        with pytest.raises(StoreError, match=r"another program|newer collectord"):
            Database(path, start_over=True)
        assert kept == path.read_bytes()

    def test_never_a_file_that_was_never_ours(self, path: Path) -> None:
        """However often it is tried."""
        path.write_bytes(b"my holiday photos" * 1000)
        for _ in range(3):
            with pytest.raises(StoreError, match="is not an SQLite database"):
                Database(path, start_over=True)


def test_who_waited_in_vain_waits_for_shorter(path: Path) -> None:
    """Until something was written again."""
    with Database(path, busy_timeout_ms=100) as database, contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError), database.transaction("note") as connection:
            meta.write(connection, "a", "b")
        assert HURRIED_TIMEOUT_MS == pragma(database, "busy_timeout")
        with database.reading("look") as connection:
            meta.read(connection, "a")
        assert HURRIED_TIMEOUT_MS == pragma(database, "busy_timeout")
        other.rollback()
        with database.transaction("note") as connection:
            meta.write(connection, "a", "b")
        assert 100 == pragma(database, "busy_timeout")


def test_other_programs_database_is_refused(path: Path) -> None:
    """Tables that are not ours: never made to be ours."""
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE recipes (name TEXT)")
    other.close()

    with pytest.raises(StoreError, match=r"database of another program \(application id 0x0, 1 tables\)"):
        Database(path)


@pytest.mark.parametrize(
    "change", ["PRAGMA user_version = 999", "INSERT INTO migrations VALUES (99, 'collectord', 'm0099', '')"]
)
def test_newer_database_is_refused(path: Path, change: str) -> None:
    """Going back to an older version needs an older file."""
    with Database(path) as database:
        database.connection.execute(change)

    with pytest.raises(StoreError, match="was written by a newer collectord"):
        Database(path)


def test_locked_by_another_connection(path: Path, database: Database) -> None:
    """A program that holds a write transaction is named as the cause; afterwards all is well."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(StoreError, match=r"can't note it: .* is locked by another program"):
        with database.transaction("note it") as connection:
            meta.write(connection, "greeting", "hello")

    other.execute("ROLLBACK")
    other.close()
    with database.transaction("note it") as connection:
        meta.write(connection, "greeting", "hello")


def test_full_disk(database: Database) -> None:
    """Nothing is half stored, the message says what to do, and it goes on once there is room."""
    database.connection.execute(f"PRAGMA max_page_count = {pragma(database, 'page_count')}")

    with pytest.raises(StoreError, match=r"can't note it: no space left for .*: free some"):
        with database.transaction("note it") as connection:
            for number in range(1000):
                meta.write(connection, f"note {number}", "x" * 200)

    assert meta.read(database.connection, "note 0") is None
    database.connection.execute("PRAGMA max_page_count = 100000")
    with database.transaction("note it") as connection:
        meta.write(connection, "note 0", "fits")
    assert "fits" == meta.read(database.connection, "note 0")


def test_reader_beside_the_daemon(path: Path, database: Database) -> None:
    """Sees what is committed, can't write, and disturbs no write."""
    with Database.reader(path) as reader:
        with reader.reading("look") as connection:
            assert meta.read(connection, "greeting") is None
            with database.transaction("note") as writing:
                meta.write(writing, "greeting", "hello")
            assert meta.read(connection, "greeting") is None
        assert "hello" == meta.read(reader.connection, "greeting")
        with pytest.raises(StoreError, match=r"can't try it: .* can't be opened or written"):
            with reader.transaction("try it") as connection:
                meta.write(connection, "greeting", "bye")


def test_reader_without_the_daemon(path: Path) -> None:
    """The daemon need not run for a command to read."""
    Database(path).close()

    with Database.reader(path) as reader:
        assert meta.read(reader.connection, "greeting") is None


def test_reader_takes_strange_paths(tmp_path: Path) -> None:
    """Characters that mean something in a URI are part of the name."""
    path = tmp_path / "a?mode=rwc#%20 b.db"
    Database(path).close()

    Database.reader(path).close()


def test_reader_refuses(path: Path, tmp_path: Path) -> None:
    """A missing file, a foreign one, and one of an older version, each in its own words."""
    with pytest.raises(StoreError, match="there is no database at"):
        Database.reader(path)
    assert not path.exists()

    foreign = tmp_path / "foreign.db"
    foreign.write_bytes(b"x" * 5000)
    with pytest.raises(StoreError, match="is not an SQLite database"):
        Database.reader(foreign)

    with Database(path) as database:
        database.connection.execute("DELETE FROM migrations")
    with pytest.raises(StoreError, match="is of an older collectord"):
        Database.reader(path)


def test_checkpoint_empties_the_log(path: Path, database: Database) -> None:
    """The WAL file is empty afterwards."""
    with database.transaction("note") as connection:
        meta.write(connection, "greeting", "hello")
    assert path.with_name("collectord.db-wal").stat().st_size > 0

    database.checkpoint()

    assert 0 == path.with_name("collectord.db-wal").stat().st_size


def test_our_own_mistakes_stay_what_they_are(path: Path) -> None:
    """A closed connection is a bug of ours, not an environment problem; any other SQLite error is told as it is."""
    with pytest.raises(sqlite3.ProgrammingError), store_errors(path, "ask"):
        raise sqlite3.ProgrammingError("closed")

    with pytest.raises(StoreError, match=r"can't ask: .*: strange"), store_errors(path, "ask"):
        raise sqlite3.OperationalError("strange")
