"""The devices seen: who sends, since when, how much of it is understood, and how far their clocks are off."""

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

from collectord.model import DeviceHistory, DevicePauses, DeviceSighting
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
_PAUSED = "UPDATE devices SET pauses = ? WHERE site = ? AND name = ?"
_WATCHED = "SELECT site, name, peer, first_seen_ns, last_seen_ns, pauses FROM devices"


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


def keep_pauses(database: Database, told: Sequence[DevicePauses]) -> None:
    """Notes how long devices were silent at most."""
    if not told:
        return
    rows = [(json.dumps({str(day): ns for day, ns in each.pauses.items()}), each.site, each.name) for each in told]
    with database.transaction("note the pauses of devices") as connection:
        connection.executemany(_PAUSED, rows)


def watched(database: Database) -> list[DeviceHistory]:
    """What is known of each device that was ever seen, for watching them to go on."""
    with database.reading("read the devices' pauses") as connection:
        return [
            DeviceHistory(site, name, peer, first_ns, last_ns, {int(day): ns for day, ns in json.loads(pauses).items()})
            for site, name, peer, first_ns, last_ns, pauses in connection.execute(_WATCHED)
        ]


def everything(database: Database) -> list[dict[str, Any]]:
    """All devices, by site and name; the columns are those of the table."""
    with database.reading("read the devices") as connection:
        return [dict(row) for row in named_rows(connection.execute(_LIST))]
