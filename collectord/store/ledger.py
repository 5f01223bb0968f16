"""The loss ledger: how many messages and bytes ended in which outcome, per listener, since the database was made."""

import sqlite3
from collections.abc import Sequence

from collectord.store.db import Database

_ADD = """
    INSERT INTO ledger (listener, outcome, messages, bytes) VALUES (?, ?, ?, ?)
    ON CONFLICT (listener, outcome) DO UPDATE SET
        messages = messages + excluded.messages,
        bytes = bytes + excluded.bytes
"""
_TOTALS = "SELECT listener, outcome, messages, bytes FROM ledger ORDER BY listener, outcome"


def add(
    connection: sqlite3.Connection, increments: Sequence[tuple[int, str, int, int]], listeners: Sequence[str]
) -> None:
    """
    Adds a batch's increments, in the caller's transaction.

    Args:
        connection: The one that writes.
        increments: (listener index, outcome, messages, bytes).
        listeners: Names by index, as the engine's plan had them when the batch was made.
    """
    connection.executemany(
        _ADD,
        [(_name(listeners, index), outcome, messages, size) for index, outcome, messages, size in increments],
    )


def totals(database: Database) -> list[tuple[str, str, int, int]]:
    """(listener, outcome, messages, bytes), by listener and outcome."""
    with database.reading("read the ledger") as connection:
        return connection.execute(_TOTALS).fetchall()


def _name(listeners: Sequence[str], index: int) -> str:
    # A listener that a reload took away may still have a batch on its way; its messages must not vanish.
    return listeners[index] if 0 <= index < len(listeners) else f"listener {index}"
