"""Who changed what by command, when and why."""

import sqlite3
from dataclasses import dataclass

from collectord.store.db import Database

_ADD = "INSERT INTO audit (when_ns, who, what, target, reason) VALUES (?, ?, ?, ?, ?)"
_LIST = "SELECT number, when_ns, who, what, target, reason FROM audit ORDER BY number DESC LIMIT ?"
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


def entries(database: Database, limit: int) -> list[AuditEntry]:
    """The newest first."""
    with database.reading("read the audit") as connection:
        return [AuditEntry(*row) for row in connection.execute(_LIST, (limit,))]


def expire(database: Database, before_ns: int) -> int:
    """Deletes what was done before; returns how many entries."""
    with database.transaction("delete old notes of the audit") as connection:
        return connection.execute(_EXPIRE, (before_ns,)).rowcount
