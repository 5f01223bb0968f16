"""The daemon's own notes in the table ``meta``: short texts by name."""

import sqlite3

_READ = "SELECT value FROM meta WHERE key = ?"
_WRITE = "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"


def read(connection: sqlite3.Connection, key: str) -> str | None:
    """The note of that name; None if there is none."""
    row = connection.execute(_READ, (key,)).fetchone()
    return None if row is None else str(row[0])


def write(connection: sqlite3.Connection, key: str, value: str) -> None:
    """Sets a note, in the caller's transaction."""
    connection.execute(_WRITE, (key, value))
