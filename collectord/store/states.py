"""
What counters keep of their keys beside sums, so that a restart goes on where the last run ended.

    counter_states(counter, kind, site, key, state, last_s)

``key`` is a JSON list in the order of the counter's ``group_by``, ``state`` a JSON object that the engine made (kind
``values``: each distinct value and the start of the slot in which it was last seen), ``last_s`` the start of the slot
in which the key was last seen.
"""

import itertools
import json
import sqlite3
from collections.abc import Sequence

from collectord.model import KeyState, KeyValue
from collectord.store.bulk import BulkInsert
from collectord.store.db import Database

EXPIRE_ROWS_PER_CALL = 100_000
"""Rows that one call of ``expire`` deletes at most; a flood of forged keys leaves no more within a few minutes."""

LONGEST_AHEAD_S = 86_400
"""States of a later time than this from now are of a wall clock that was set back since; they would stay for good."""

_PUT = BulkInsert(
    "INSERT INTO counter_states (counter, kind, site, key, state, last_s)",
    6,
    "ON CONFLICT (counter, kind, site, key) DO UPDATE SET state = excluded.state, last_s = excluded.last_s",
)
_DELETE = "DELETE FROM counter_states WHERE counter = ? AND kind = ? AND site = ? AND key = ?"
_FORGET = "DELETE FROM counter_states WHERE counter = ?"
_OPEN = "SELECT kind, site, key, state, last_s FROM counter_states WHERE counter = ? AND last_s >= ?"
_EXPIRE = """
    DELETE FROM counter_states WHERE rowid IN (
        SELECT rowid FROM counter_states WHERE last_s < ? OR last_s > ? LIMIT ?
    )
"""

_AS_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
"""Made once: there are up to some thousand keys a second, and making an encoder costs as much as using it."""


def write(connection: sqlite3.Connection, states: Sequence[KeyState]) -> None:
    """Stores a batch's states in place of earlier ones of the same keys, in the caller's transaction."""
    # One by one, in their order: each is made when it is asked for, and of one key the last counts.
    for kept, some in itertools.groupby(states, key=_is_kept):
        if kept:
            _PUT.run(connection, ((*_identity(state), state.state, state.last_s) for state in some))
        else:
            connection.executemany(_DELETE, (_identity(state) for state in some))


def _is_kept(state: KeyState) -> bool:
    return bool(state.state)


def forget(connection: sqlite3.Connection, counter: str) -> None:
    """Deletes all states of a counter, in the caller's transaction: they mean nothing under another definition."""
    connection.execute(_FORGET, (counter,))


def open_states(database: Database, counter: str, from_s: int) -> list[KeyState]:
    """The states of a counter's keys that were seen in the slots from ``from_s`` (epoch seconds) on."""
    with database.reading("read the counters' states") as connection:
        return [
            KeyState(counter, kind, site, tuple(json.loads(key)), state, last_s)
            for kind, site, key, state, last_s in connection.execute(_OPEN, (counter, from_s))
        ]


def expire(database: Database, before_s: int, now_s: int, *, most_rows: int = EXPIRE_ROWS_PER_CALL) -> int:
    """
    Deletes the states of keys that were last seen before ``before_s`` (epoch seconds), of every counter.

    Returns:
        Deleted rows, at most ``most_rows``; call again while it returns that many.
    """
    with database.transaction("delete old states of counters") as connection:
        return connection.execute(_EXPIRE, (before_s, now_s + LONGEST_AHEAD_S, most_rows)).rowcount


def _identity(state: KeyState) -> tuple[str, str, str, str]:
    return state.counter, state.kind, state.site, _key(state.key)


def _key(values: Sequence[KeyValue]) -> str:
    return _AS_JSON(values)
