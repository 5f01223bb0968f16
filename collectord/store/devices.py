"""The devices seen: who sends, since when, how much of it is understood, and how far their clocks are off."""

import sqlite3
from collections.abc import Sequence
from typing import Any

from collectord.model import DeviceSighting
from collectord.store.db import Database, named_rows

MAX_DEVICES = 20_000
"""Rows kept; more than any collector serves. Names come from the wire, so the one seen longest ago goes first."""

_ADD = """
    INSERT INTO devices (
        site, name, peer, listener, profile, first_seen_ns, last_seen_ns, sessions, events, unparsed, clock_off_ms
    ) VALUES (
        :site, :name, :peer, :listener, :profile, :seen_ns, :seen_ns, :sessions, :events, :unparsed, :clock_off_ms
    )
    ON CONFLICT (site, name) DO UPDATE SET
        peer = excluded.peer,
        listener = excluded.listener,
        profile = CASE WHEN excluded.profile = '' THEN profile ELSE excluded.profile END,
        last_seen_ns = max(last_seen_ns, excluded.last_seen_ns),
        sessions = sessions + excluded.sessions,
        events = events + excluded.events,
        unparsed = unparsed + excluded.unparsed,
        clock_off_ms = coalesce(excluded.clock_off_ms, clock_off_ms)
"""
_TRIM = """
    DELETE FROM devices WHERE rowid IN (
        SELECT rowid FROM devices ORDER BY last_seen_ns DESC LIMIT -1 OFFSET ?
    )
"""
_LIST = "SELECT * FROM devices ORDER BY site, name"


def add(connection: sqlite3.Connection, sightings: Sequence[DeviceSighting], listeners: Sequence[str]) -> None:
    """Adds a batch's sightings, in the caller's transaction."""
    connection.executemany(
        _ADD,
        [
            {
                "site": seen.site,
                "name": seen.name,
                "peer": seen.peer,
                "listener": listeners[seen.listener] if seen.listener < len(listeners) else "",
                "profile": seen.profile,
                "seen_ns": seen.last_ns,
                "sessions": seen.messages["session"],
                "events": seen.messages["event"],
                "unparsed": seen.messages["unparsed"],
                "clock_off_ms": seen.clock_off_ms,
            }
            for seen in sightings
        ],
    )


def trim(database: Database, most: int = MAX_DEVICES) -> int:
    """Forgets the devices seen longest ago, so that ``most`` stay; returns how many went."""
    with database.transaction("forget old devices") as connection:
        return connection.execute(_TRIM, (most,)).rowcount


def everything(database: Database) -> list[dict[str, Any]]:
    """All devices, by site and name; the columns are those of the table."""
    with database.reading("read the devices") as connection:
        return [dict(row) for row in named_rows(connection.execute(_LIST))]
