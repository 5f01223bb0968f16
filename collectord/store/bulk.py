"""
Many rows at once into a table.

SQLite takes a statement a row from ``executemany``, and the sqlite3 module gives the interpreter away around each:
where another thread is busy, a batch of 50,000 rows gives it up, and waits to have it back, as many times. A statement
of many rows does so once.
"""

import itertools
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

_SIZES = (256, 16, 1)
"""Rows of a statement: few sizes, as each of them is prepared once for each table and kept."""


class BulkInsert:
    """
    An INSERT of rows.

    Args:
        into: All before the word VALUES.
        columns: Values of a row; no more than 127, as a statement has 32,766 at most (SQLITE_MAX_VARIABLE_NUMBER).
        after: What follows the rows, such as ON CONFLICT.
    """

    def __init__(self, into: str, columns: int, after: str = "") -> None:
        row = f"({', '.join('?' * columns)})"
        self._statements = [(size, f"{into} VALUES {', '.join([row] * size)} {after}") for size in _SIZES]

    def run(self, connection: sqlite3.Connection, rows: Iterable[Sequence[Any]]) -> None:
        """Insert them in their order, in the caller's transaction; a row is asked for when it is needed."""
        waiting = iter(rows)
        left: list[Sequence[Any]] = []
        for size, statement in self._statements:
            source = itertools.chain(left, waiting)
            while len(some := list(itertools.islice(source, size))) == size:
                connection.execute(statement, list(itertools.chain.from_iterable(some)))
            left, waiting = some, iter(())
