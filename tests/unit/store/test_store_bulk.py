"""Rows in bulk: the same as one by one, in their order."""

import sqlite3
from collections.abc import Iterator

import pytest

from collectord.store.bulk import BulkInsert

KEEP_LAST = "ON CONFLICT (key) DO UPDATE SET value = excluded.value, times = times + 1"


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("CREATE TABLE t (key INTEGER PRIMARY KEY, value TEXT NOT NULL, times INTEGER NOT NULL)")
    yield connection
    connection.close()


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 255, 256, 257, 272, 600, 1000])
def test_every_row_is_there(connection: sqlite3.Connection, count: int) -> None:
    rows = [(number, f"value {number}", 1) for number in range(count)]
    BulkInsert("INSERT INTO t (key, value, times)", 3, KEEP_LAST).run(connection, iter(rows))
    assert connection.execute("SELECT * FROM t ORDER BY key").fetchall() == rows


def test_the_last_of_a_key_counts(connection: sqlite3.Connection) -> None:
    """Within a statement and over several."""
    rows = [(number % 7, f"value {number}", 1) for number in range(700)]
    BulkInsert("INSERT INTO t (key, value, times)", 3, KEEP_LAST).run(connection, rows)
    found = connection.execute("SELECT * FROM t ORDER BY key").fetchall()
    assert found == [(key, f"value {693 + key}", 100) for key in range(7)]


def test_few_statements(connection: sqlite3.Connection) -> None:
    """Which is what it is for."""
    statements: list[str] = []
    connection.set_trace_callback(statements.append)
    BulkInsert("INSERT INTO t (key, value, times)", 3).run(connection, [(n, "", 1) for n in range(1_000)])
    assert len(statements) == 3 + 14 + 8


def test_an_error_ends_it(connection: sqlite3.Connection) -> None:
    rows = [(1, "", 1), (2, None, 1), (3, "", 1)]
    with pytest.raises(sqlite3.IntegrityError):
        BulkInsert("INSERT INTO t (key, value, times)", 3).run(connection, rows)
