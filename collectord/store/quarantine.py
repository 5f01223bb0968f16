"""What could not be read: by listener, peer and shape, each with a raw example, bounded."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from collectord.model import UnreadGroup
from collectord.store.db import Database

MAX_GROUPS = 10_000
"""Rows kept, about 80 MB of examples at worst; the group that was seen longest ago goes first."""

_ADD = """
    INSERT INTO quarantine (listener, peer, profile, shape, messages, first_ns, last_ns, example)
    VALUES (:listener, :peer, :profile, :shape, :messages, :last_ns, :last_ns, :example)
    ON CONFLICT (listener, peer, shape) DO UPDATE SET
        profile = excluded.profile,
        messages = messages + excluded.messages,
        last_ns = max(last_ns, excluded.last_ns)
"""
_TRIM = "DELETE FROM quarantine WHERE id IN (SELECT id FROM quarantine ORDER BY last_ns DESC LIMIT -1 OFFSET ?)"
_LIST = """
    SELECT id, listener, peer, profile, shape, messages, first_ns, last_ns, example FROM quarantine
    ORDER BY messages DESC, id LIMIT ?
"""
_SHOW = """
    SELECT id, listener, peer, profile, shape, messages, first_ns, last_ns, example FROM quarantine WHERE id = ?
"""
_FORGET = "DELETE FROM quarantine WHERE id = ?"
_WORD = """
    INSERT INTO unmapped_words (profile, source, word, messages, last_ns) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (profile, source, word) DO UPDATE SET
        messages = messages + excluded.messages, last_ns = excluded.last_ns
"""
_TRIM_WORDS = """
    DELETE FROM unmapped_words WHERE rowid IN (
        SELECT rowid FROM unmapped_words ORDER BY last_ns DESC LIMIT -1 OFFSET ?
    )
"""
_WORDS = """
    SELECT profile, source, word, messages, last_ns FROM unmapped_words
    ORDER BY messages DESC, profile, source, word LIMIT ?
"""

MAX_ID = 2**63 - 1
"""SQLite's largest integer."""


@dataclass(frozen=True, slots=True)
class StoredGroup:
    """Messages of one peer and one shape that could not be read."""

    id: int
    listener: str
    peer: str
    profile: str
    """The profile that knew them and could not read them; empty where none knew them."""
    shape: str
    """Their start with digits as ``0``."""
    messages: int
    first_ns: int
    last_ns: int
    example: bytes


def is_number(value: object) -> bool:
    """Whether a value can be the number of a group."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_ID


def add(connection: sqlite3.Connection, groups: Sequence[UnreadGroup], listeners: Sequence[str]) -> None:
    """Adds a batch's groups, in the caller's transaction."""
    connection.executemany(
        _ADD,
        [
            {
                "listener": listeners[group.listener] if group.listener < len(listeners) else "",
                "peer": group.peer,
                "profile": group.profile,
                "shape": group.shape,
                "messages": group.messages,
                "last_ns": group.last_ns,
                "example": group.example,
            }
            for group in groups
        ],
    )


def add_words(connection: sqlite3.Connection, words: Sequence[tuple[str, str, str, int]], now_ns: int) -> None:
    """Adds vendors' words that no map knows, as (profile, source, word, messages), in the caller's transaction."""
    connection.executemany(_WORD, [(*word, now_ns) for word in words])


def trim(database: Database, most: int = MAX_GROUPS) -> int:
    """Forgets what was seen longest ago, so that ``most`` groups and words stay; returns how many groups went."""
    with database.transaction("forget old unread messages") as connection:
        connection.execute(_TRIM_WORDS, (most,))
        return connection.execute(_TRIM, (most,)).rowcount


def groups(database: Database, limit: int = 100) -> list[StoredGroup]:
    """The groups with the most messages."""
    with database.reading("read the quarantine") as connection:
        return [StoredGroup(*row) for row in connection.execute(_LIST, (limit,))]


def group(database: Database, number: int) -> StoredGroup | None:
    """The group of that number, from 0 to ``MAX_ID``."""
    with database.reading("read the quarantine") as connection:
        row = connection.execute(_SHOW, (number,)).fetchone()
    return None if row is None else StoredGroup(*row)


def forget(database: Database, numbers: Sequence[int]) -> int:
    """Takes groups out; returns how many were there."""
    with database.transaction("take out of the quarantine") as connection:
        return connection.executemany(_FORGET, [(number,) for number in numbers]).rowcount


def words(database: Database, limit: int = 100) -> list[tuple[str, str, str, int, int]]:
    """(profile, source, word, messages, last_ns), the most frequent first."""
    with database.reading("read the unmapped words") as connection:
        return connection.execute(_WORDS, (limit,)).fetchall()
