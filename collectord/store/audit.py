"""Who changed what by command, when and why."""

import sqlite3
from dataclasses import dataclass

from collectord.store.db import Database

_ADD = "INSERT INTO audit (when_ns, who, what, target, reason) VALUES (?, ?, ?, ?, ?)"
_LIST = """
    SELECT number, when_ns, who, what, target, reason FROM audit
    WHERE when_ns BETWEEN ? AND ? ORDER BY number DESC LIMIT ?
"""
_EXPIRE = "DELETE FROM audit WHERE when_ns < ?"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One thing that somebody did."""

    number: int
    when_ns: int
    who: str
    what: str
    """The command, as ``alerts shelve``."""
    target: str
    reason: str


def add(connection: sqlite3.Connection, when_ns: int, who: str, what: str, target: str, reason: str) -> None:
    """Note it, in the transaction of what was done."""
    connection.execute(_ADD, (when_ns, who, what, target, reason))


def note(database: Database, when_ns: int, who: str, what: str, target: str, reason: str) -> None:
    """
    Note what changed nothing of the database, in a transaction of its own.

    Raises:
        StoreError: it can't be written.
    """
    with database.transaction("write the audit") as connection:
        add(connection, when_ns, who, what, target, reason)


def entries(database: Database, limit: int, since_ns: int = 0, until_ns: int = 2**63 - 1) -> list[AuditEntry]:
    """What was done from ``since_ns`` to ``until_ns``, the newest first."""
    with database.reading("read the audit") as connection:
        return [AuditEntry(*row) for row in connection.execute(_LIST, (since_ns, until_ns, limit))]


def expire(database: Database, before_ns: int) -> int:
    """Deletes what was done before; returns how many entries."""
    with database.transaction("delete old notes of the audit") as connection:
        return connection.execute(_EXPIRE, (before_ns,)).rowcount
