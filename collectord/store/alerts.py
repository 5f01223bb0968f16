"""
Alerts at rest: the current state of each, every state it ever had, and what of it is to be sent where.

A state and its outbox entries are stored in one transaction that survives a power cut, before the counters' own, so an
alert that was queued is sent even if the daemon dies in the next instant.
"""

import dataclasses
import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from collectord.errors import RequestError
from collectord.model import AlarmType, Alert, AlertState, Mode, Severity
from collectord.store.db import Database, named_rows
from collectord.store.outbox_work import Work
from collectord.store.queue import Queue
from collectord.texts import safe

_ANY_TIME = 2**63 - 1

_FIELDS = tuple(field.name for field in dataclasses.fields(Alert))
_JSON_COLUMNS = frozenset(("key", "tactics", "techniques", "details"))

EXPIRE_ALERTS_PER_CALL = 1_000
EXPIRE_STATES_PER_CALL = 5_000

MAX_CLEARED = 100_000
"""
Cleared alerts that are kept, however young they are. Whoever forges sources makes some ten thousand alerts of them an
hour, of some KiB each; and nobody looks at more.
"""

MAX_STATES = 400_000
"""States of alerts that are kept: a raise, some updates and a clear of each."""

LEAST_OF_ID = 4
"""Characters of an id by which people may name an alert: fewer are a slip of the hand."""

MOST_MEANT = 5
"""Alerts that are named to whoever means several."""

# Both tables have a column for each field of an Alert, of the same name.
_KEEP = """
    INSERT OR REPLACE INTO alerts (
        id, episode, event, rule, state, severity, mode, site, key, count, threshold, window_s,
        first_time_ns, last_time_ns, title, summary, reason, tactics, techniques, details, last_over_ns, peak,
        alarm_type
    ) VALUES (
        :id, :episode, :event, :rule, :state, :severity, :mode, :site, :key, :count, :threshold, :window_s,
        :first_time_ns, :last_time_ns, :title, :summary, :reason, :tactics, :techniques, :details, :last_over_ns, :peak,
        :alarm_type
    )
"""
_REMEMBER = """
    INSERT OR IGNORE INTO alert_history (
        id, episode, event, rule, state, severity, mode, site, key, count, threshold, window_s,
        first_time_ns, last_time_ns, title, summary, reason, tactics, techniques, details, last_over_ns, peak,
        alarm_type
    ) VALUES (
        :id, :episode, :event, :rule, :state, :severity, :mode, :site, :key, :count, :threshold, :window_s,
        :first_time_ns, :last_time_ns, :title, :summary, :reason, :tactics, :techniques, :details, :last_over_ns, :peak,
        :alarm_type
    )
"""
_SEEN = "UPDATE alerts SET last_over_ns = ?, peak = ? WHERE id = ? AND state <> 'cleared'"
_ACTIVE = "SELECT * FROM alerts WHERE state <> 'cleared' ORDER BY first_time_ns, id"
_SHOW = "SELECT * FROM alerts WHERE id = ?"
_BEGIN_SO = (
    "SELECT * FROM alerts WHERE substr(id, 1, length(?1)) = ?1 ORDER BY id <> ?1, last_time_ns DESC, id LIMIT ?2"
)
_HISTORY = "SELECT * FROM alert_history WHERE id = ? ORDER BY rowid DESC LIMIT ?"
_STATE = "SELECT * FROM alert_history WHERE id = ? AND episode = ? AND event = ?"
_FIND = """
    SELECT * FROM alerts
    WHERE (:active IS NULL OR (state <> 'cleared') = :active)
      AND (:rule IS NULL OR rule = :rule)
      AND (:site IS NULL OR site = :site)
    ORDER BY last_time_ns DESC, id
    LIMIT :limit
"""
_BETWEEN = """
    SELECT * FROM (
        SELECT *, 1 AS is_newest FROM alerts
        UNION ALL
        SELECT *, 0 FROM alert_history h
        WHERE rowid IN (SELECT max(rowid) FROM alert_history GROUP BY id, episode)
          AND NOT EXISTS (SELECT 1 FROM alerts a WHERE a.id = h.id AND a.episode = h.episode)
    )
    WHERE first_time_ns <= :until_ns
      AND (last_time_ns >= :since_ns OR (is_newest AND state <> 'cleared'))
      AND (:rule IS NULL OR rule = :rule)
      AND (:site IS NULL OR site = :site)
    ORDER BY last_time_ns DESC, id, episode DESC
    LIMIT :limit
"""
_EPISODES = "SELECT id, episode FROM alerts ORDER BY last_time_ns DESC, id LIMIT ?"
_FORGOTTEN_EPISODE = (
    "SELECT max(episode) FROM (SELECT episode FROM alerts ORDER BY last_time_ns DESC, id LIMIT -1 OFFSET ?)"
)
_SENT_RAISES = """
    SELECT rule, last_time_ns FROM alert_history
    WHERE event = 'raised' AND mode = 'notify' AND last_time_ns > ?
    ORDER BY rowid
"""
_EXPIRED = """
    SELECT id FROM alerts a
    WHERE state = 'cleared' AND last_time_ns < ?
      AND NOT EXISTS (
          SELECT 1 FROM outbox o WHERE o.alert_id = a.id AND o.delivered_ns IS NULL AND o.dropped_ns IS NULL
      )
      AND NOT EXISTS (SELECT 1 FROM outbox_owed o WHERE o.alert_id = a.id)
    ORDER BY last_time_ns LIMIT ?
"""
_CLEARED = "SELECT count(*) FROM alerts WHERE state = 'cleared'"
_STATES = "SELECT count(*) FROM alert_history"
# What an alert was before its present episode; a state that the outbox has an entry of stays with it.
_FORGET_STATES = """
    DELETE FROM alert_history WHERE rowid IN (
        SELECT h.rowid FROM alert_history h
        WHERE h.last_time_ns < ?
          AND NOT EXISTS (SELECT 1 FROM alerts a WHERE a.id = h.id AND a.episode = h.episode)
          AND NOT EXISTS (
              SELECT 1 FROM outbox o WHERE o.alert_id = h.id AND o.episode = h.episode AND o.event = h.event
          )
        ORDER BY h.last_time_ns LIMIT ?
    )
"""
_FORGET = (
    "DELETE FROM alert_marks WHERE alert_id = ?",
    "DELETE FROM alert_names WHERE alert_id = ?",
    "DELETE FROM alert_history WHERE id = ?",
    "DELETE FROM alerts WHERE id = ?",
)


class Alerts:
    """
    The alerts of a database; a reader will do for the calls that read.

    Args:
        database: Either side.
        queue: The way into its outbox, which knows the outputs' bounds; None: one with the default bounds.
    """

    def __init__(self, database: Database, queue: Queue | None = None) -> None:
        self._database = database
        self._queue = Queue(database) if queue is None else queue

    def record(self, alerts: Sequence[Alert], outputs: Sequence[Sequence[str]]) -> int:
        """
        Stores new states and queues each for its outputs: one transaction that survives a power cut.

        Recording the same state again changes nothing and queues nothing twice.

        Args:
            alerts: In the order in which they came about.
            outputs: For each alert the names of the outputs that want it; empty where it is only stored. What became
                of an alert also goes to those that were told of it before.

        Returns:
            Number of outbox entries made.

        Raises:
            StoreError: nothing is stored; call again with the same.
        """
        now_ns = max((alert.last_time_ns for alert in alerts), default=0)
        with self._queue.work("store the alerts", now_ns, durable=True) as work:
            rows = [_row_of(alert) for alert in alerts]
            work.connection.executemany(_KEEP, rows)
            work.connection.executemany(_REMEMBER, rows)
            return self._queue.put(work, alerts, outputs)

    def seen(self, sightings: Iterable[tuple[str, int, int]]) -> None:
        """
        Notes when active alerts were last over their clear level, so that a restart goes on waiting where it was.

        Args:
            sightings: (alert id, last_over_ns, peak).
        """
        rows = [(last_over_ns, peak, alert_id) for alert_id, last_over_ns, peak in sightings]
        with self._database.transaction("note the active alerts") as connection:
            connection.executemany(_SEEN, rows)

    def active(self) -> list[Alert]:
        """Every alert that has not cleared, oldest first."""
        with self._database.reading("read the active alerts") as connection:
            return alerts_of(connection.execute(_ACTIVE))

    def find(
        self,
        *,
        active: bool | None = None,
        rule: str | None = None,
        site: str | None = None,
        limit: int = 100,
    ) -> list[Alert]:
        """
        Current states, the newest first.

        Args:
            active: True: not cleared; False: cleared; None: both.
            rule: Only of this rule.
            site: Only of this site.
            limit: Most alerts to return.
        """
        values = {"active": active, "rule": rule, "site": site, "limit": limit}
        with self._database.reading("list the alerts") as connection:
            return alerts_of(connection.execute(_FIND, values))

    def between(
        self, since_ns: int, until_ns: int, *, rule: str | None = None, site: str | None = None, limit: int = 100
    ) -> list[Alert]:
        """
        The last state of every episode that was active at some time from ``since_ns`` to ``until_ns``, newest first.

        Args:
            since_ns: Wall time.
            until_ns: Wall time.
            rule: Only of this rule.
            site: Only of this site.
            limit: Most to return.
        """
        values = {"since_ns": since_ns, "until_ns": until_ns, "rule": rule, "site": site, "limit": limit}
        with self._database.reading("list the alerts") as connection:
            return alerts_of(connection.execute(_BETWEEN, values))

    def show(self, alert_id: str) -> Alert | None:
        """The current state of one alert; None if there is none of that id."""
        with self._database.reading("read the alert") as connection:
            return next(iter(alerts_of(connection.execute(_SHOW, (alert_id,)))), None)

    def meant(self, text: str) -> Alert:
        """
        The alert that a person means by its id, or by how that begins.

        Raises:
            RequestError: none begins so, or several do.
        """
        # Half a character, as of an argument that is not UTF-8, fits no id and no statement.
        begin = text.lower() if text.isascii() else "?"
        with self._database.reading("read the alert") as connection:
            found = alerts_of(connection.execute(_BEGIN_SO, (begin, MOST_MEANT + 1)))
        if len(begin) < LEAST_OF_ID and not (found and found[0].id == begin):
            raise RequestError(f"there is no alert {safe(text)}; of an id at least {LEAST_OF_ID} characters are needed")
        if not found:
            raise RequestError(f"there is no alert {safe(text)}")
        if len(found) > 1 and found[0].id != begin:
            some = ", ".join(f"{alert.id} ({alert.rule})" for alert in found[:MOST_MEANT])
            raise RequestError(f"several alerts begin with {safe(text)}: {some}{' ...' if found[MOST_MEANT:] else ''}")
        return found[0]

    def history(self, alert_id: str, limit: int = 100) -> list[Alert]:
        """The states of one alert, the newest first."""
        with self._database.reading("read the alert's history") as connection:
            return alerts_of(connection.execute(_HISTORY, (alert_id, limit)))

    def state(self, alert_id: str, episode: int, event: str) -> Alert | None:
        """One state of one alert."""
        with self._database.reading("read the alert's state") as connection:
            return next(iter(alerts_of(connection.execute(_STATE, (alert_id, episode, event)))), None)

    def episodes(self, limit: int = 100_000) -> tuple[dict[str, int], int]:
        """
        How often each alert was raised, for the state machine to go on counting.

        Returns:
            (episode by id of the ``limit`` newest alerts, newest first; the largest episode among the others, 0 if
            there are no others).
        """
        with self._database.reading("read the episodes") as connection:
            newest = dict(connection.execute(_EPISODES, (limit,)).fetchall())
            (forgotten,) = connection.execute(_FORGOTTEN_EPISODE, (limit,)).fetchone()
        return newest, forgotten or 0

    def sent_raises(self, since_ns: int) -> list[tuple[str, int]]:
        """(rule, when) of each raise since then that was for the outputs, oldest first."""
        with self._database.reading("read the raises") as connection:
            return connection.execute(_SENT_RAISES, (since_ns,)).fetchall()

    def expire(self, before_ns: int, *, most_alerts: int = EXPIRE_ALERTS_PER_CALL) -> int:
        """
        Deletes alerts that cleared before ``before_ns``, once the outputs know, and what others were before then.

        Returns:
            Deleted alerts; 0 when there is nothing left to do.
        """
        with self._queue.work("delete old alerts", before_ns) as work:
            work.connection.execute(_FORGET_STATES, (before_ns, EXPIRE_STATES_PER_CALL))
            return _forget(work, before_ns, most_alerts)

    def shed(self, now_ns: int, *, most_cleared: int = MAX_CLEARED, most_states: int = MAX_STATES) -> int:
        """
        Deletes the oldest of the cleared alerts and of the states, as far as there are too many; a bite at a time.

        Returns:
            Deleted alerts and states.
        """
        deleted = 0
        with self._queue.work("delete the oldest alerts", now_ns) as work:
            (cleared,) = work.connection.execute(_CLEARED).fetchone()
            if cleared > most_cleared:
                deleted += _forget(work, _ANY_TIME, min(cleared - most_cleared, EXPIRE_ALERTS_PER_CALL))
            (states,) = work.connection.execute(_STATES).fetchone()
            if states > most_states:
                some = min(states - most_states, EXPIRE_STATES_PER_CALL)
                deleted += work.connection.execute(_FORGET_STATES, (_ANY_TIME, some)).rowcount
        return deleted


def _forget(work: Work, before_ns: int, most_alerts: int) -> int:
    """Deletes alerts that cleared before that time and are owed to no output, the oldest first; how many."""
    expired = work.connection.execute(_EXPIRED, (before_ns, most_alerts)).fetchall()
    for (alert_id,) in expired:
        work.forget_alert(alert_id)
    for statement in _FORGET:
        work.connection.executemany(statement, expired)
    return len(expired)


def alerts_of(cursor: sqlite3.Cursor) -> list[Alert]:
    """The alert in each row; columns that an alert does not have are passed over."""
    return [alert_of(row) for row in named_rows(cursor)]


def alert_of(row: Mapping[str, Any]) -> Alert:
    """The alert in a row of ``alerts`` or ``alert_history``."""
    values = {name: json.loads(row[name]) if name in _JSON_COLUMNS else row[name] for name in _FIELDS}
    values["state"] = AlertState(values["state"])
    values["severity"] = Severity(values["severity"])
    values["mode"] = Mode(values["mode"])
    values["alarm_type"] = AlarmType(values["alarm_type"])
    values["tactics"] = tuple(values["tactics"])
    values["techniques"] = tuple(values["techniques"])
    return Alert(**values)


def _row_of(alert: Alert) -> dict[str, str | int]:
    return {name: _stored(name, getattr(alert, name)) for name in _FIELDS}


def _stored(name: str, value: Any) -> str | int:
    if name in _JSON_COLUMNS:
        # A person reads the column with sqlite3: text as it is. Only lone surrogates, no part of UTF-8, are escaped.
        text = json.dumps(value, ensure_ascii=False)
        return text if _is_utf8(text) else json.dumps(value)
    if isinstance(value, str):
        text = str(value)
        return text if _is_utf8(text) else text.encode("utf-8", "backslashreplace").decode()
    number: int = value
    return number


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
