"""
What is still to be sent, per output.

An entry stays until its output says that it was delivered; it is handed out again after a failure, a restart or a power
cut, always with the same number. Within one output, the events of one alert go out in their order: a clear never
overtakes its raise. How many may wait, and what becomes of the others, is in ``queue.py``.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from collectord.errors import StoreError
from collectord.model import Alert, AlertState
from collectord.store.alerts import alert_of
from collectord.store.db import Database, named_rows
from collectord.store.queue import Queue

MOST_ERROR_CHARACTERS = 500

EXPIRE_ENTRIES_PER_CALL = 5_000

_WAITS = "o.delivered_ns IS NULL AND o.dropped_ns IS NULL"
_ENTRY = """
    SELECT h.*, o.id AS entry_id, o.output AS entry_output, o.sequence AS entry_sequence, o.attempts AS entry_attempts,
        o.error AS entry_error, o.repeat AS entry_repeat, o.created_ns AS entry_created_ns,
        o.next_try_ns AS entry_next_try_ns, o.delivered_ns AS entry_delivered_ns, o.dropped AS entry_dropped
    FROM outbox o
    JOIN alert_history h ON h.id = o.alert_id AND h.episode = o.episode AND h.event = o.event
"""
_FIRST = """
    NOT EXISTS (
        SELECT 1 FROM outbox e INDEXED BY idx_outbox_waiting_alert
        WHERE e.output = o.output AND e.alert_id = o.alert_id AND e.delivered_ns IS NULL AND e.dropped_ns IS NULL
          AND e.id < o.id
    )
"""
_DUE = f"""
    {_ENTRY} WHERE o.output = ?1 AND {_WAITS} AND o.next_try_ns <= ?2 AND NOT EXISTS (
        SELECT 1 FROM outbox e INDEXED BY idx_outbox_waiting_alert
        WHERE e.output = o.output AND e.alert_id = o.alert_id AND e.delivered_ns IS NULL AND e.dropped_ns IS NULL
          AND e.id < o.id AND e.next_try_ns > ?2
    )
    ORDER BY o.id LIMIT ?3
"""
_NEXT_TRY = f"SELECT min(o.next_try_ns) FROM outbox o WHERE o.output = ? AND {_WAITS} AND {_FIRST}"
_LIST = f"{_ENTRY} WHERE (?1 IS NULL OR o.output = ?1) AND (?2 OR {_WAITS}) ORDER BY o.id DESC LIMIT ?3"
_EXPORT = f"{_ENTRY} WHERE (?1 IS NULL OR o.output = ?1) AND o.id > ?2 AND {_WAITS} ORDER BY o.id LIMIT ?3"
_DELIVERED = """
    UPDATE outbox SET delivered_ns = ?, attempts = attempts + 1, error = ''
    WHERE id = ? AND delivered_ns IS NULL AND dropped_ns IS NULL
    RETURNING output
"""
_FAILED = """
    UPDATE outbox SET attempts = attempts + 1, error = ?, next_try_ns = ?
    WHERE id = ? AND delivered_ns IS NULL AND dropped_ns IS NULL
"""
_RETRY_NOW = """
    UPDATE outbox AS o SET next_try_ns = 0
    WHERE o.delivered_ns IS NULL AND o.dropped_ns IS NULL AND o.next_try_ns <> 0 AND (?1 IS NULL OR o.output = ?1)
"""
_WAITING_IDS = f"SELECT o.id FROM outbox o WHERE (?1 IS NULL OR o.output = ?1) AND {_WAITS} AND o.id = ?2"
_RETRY_ONE = "UPDATE outbox SET next_try_ns = 0 WHERE id = ?"
_LEVELS = "SELECT output, last - delivered - dropped, delivered FROM outbox_sequences ORDER BY output"
_WAITING = f"""
    SELECT o.output, sum(o.attempts > 0), min(o.created_ns) FROM outbox o WHERE {_WAITS} GROUP BY o.output
"""
_DROPS = "SELECT output, reason, entries FROM outbox_drops ORDER BY output, reason"
_OWED = "SELECT output, count(*) FROM outbox_owed GROUP BY output"
_DELIVERIES = """
    SELECT output, episode, event, sequence, created_ns, attempts, error, delivered_ns, dropped
    FROM outbox WHERE alert_id = ? ORDER BY id DESC LIMIT ?
"""
_WAITING_FOR = "SELECT DISTINCT alert_id FROM outbox o WHERE o.output = ? AND " + _WAITS
_TOLD = """
    SELECT 1 FROM outbox
    WHERE output = ? AND alert_id = ? AND episode = ? AND (dropped_ns IS NULL OR attempts > 0) LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One state of one alert on its way to one output."""

    id: int
    """Stable number of the entry, rising, never used twice."""
    output: str
    sequence: int
    """Counts what was ever queued for this output, from 1, without a gap: a receiver that misses one can tell."""
    attempts: int
    """How often it was tried; of one that waits: and failed."""
    error: str
    """Why the last try failed."""
    alert: Alert
    """As the output is to tell it: the state of something that is told again is a raise, or a clear."""
    repeat: int = 0
    """0: the state as it came about; else it is told again, or to an output that was not told of the raise."""
    created_ns: int = 0
    next_try_ns: int = 0
    """When it is tried next; 0 or past: as soon as its turn comes."""
    delivered_ns: int | None = None
    dropped: str | None = None
    """Why it was given up; None: it was not."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of one state of an alert at one output."""

    output: str
    episode: int
    event: str
    sequence: int
    created_ns: int
    attempts: int
    """Tries, the one that succeeded included."""
    error: str
    """Why the last try failed; empty once it is delivered."""
    delivered_ns: int | None
    dropped: str | None = None
    """Why it was given up; None: it was not."""


@dataclass(frozen=True, slots=True)
class OutboxCounts:
    """How one output's part of the outbox stands."""

    waiting: int
    failing: int
    """Of those waiting, the entries that were tried and failed."""
    delivered: int
    """Since the database was made."""
    oldest_ns: int
    """When the oldest waiting entry was made; 0 if none waits."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Given up since the database was made, by reason."""
    owed: int = 0
    """Alerts of whose present state the output lacks something; it is told again once there is room."""


class Outbox:
    """
    The outbox of a database; a reader will do for the calls that read.

    Args:
        database: Either side.
        queue: The way into it; None: one with the default bounds.
    """

    def __init__(self, database: Database, queue: Queue | None = None) -> None:
        self._database = database
        self._queue = Queue(database) if queue is None else queue

    def due(self, output: str, now_ns: int, limit: int) -> list[Entry]:
        """
        What the output should be sent now, one after the other, oldest first.

        An entry that failed waits for its time, and the later ones of the same alert wait behind it.
        """
        with self._database.reading("read the outbox") as connection:
            return _entries(named_rows(connection.execute(_DUE, (output, now_ns, limit))))

    def take(self, output: str, now_ns: int, limit: int) -> list[Entry]:
        """
        As :meth:`due`, for the output's worker: until it lets go of them they are not dropped for their number.

        While the database can't be written, what waits for it follows what is in it.
        """
        standby = self._queue.standby
        try:
            found = self.due(output, now_ns, limit + len(standby.undone))
        except StoreError:
            if not standby.active:
                raise
            found = []
        entries = [entry for entry in found if entry.id not in standby.undone][:limit]
        self._queue.in_hand(output, (entry.id for entry in entries))
        entries += [
            Entry(each.id, output, each.sequence, each.attempts, "", each.alert)
            for each in standby.due(output, limit - len(entries))
        ]
        return entries

    def let_go(self, output: str, but: Collection[int] = ()) -> None:
        """The worker has put aside what it took, but for these; may be called from any thread."""
        self._queue.let_go(output, but)

    def next_try_ns(self, output: str) -> int | None:
        """When the output has something to do next (wall time, ns; 0 or past: now); None if nothing waits."""
        with self._database.reading("read the outbox") as connection:
            moment: int | None = connection.execute(_NEXT_TRY, (output,)).fetchone()[0]
        return moment

    def delivered(self, entry_ids: Sequence[int], now_ns: int) -> None:
        """The output has taken these over; while the database can't be written it is told later."""
        standby = self._queue.standby
        done = standby.undone | dict.fromkeys(standby.delivered(entry_ids, now_ns), now_ns)
        if not done:
            return
        outputs = set()
        try:
            with self._queue.work("note deliveries", now_ns) as work:
                for number, at_ns in done.items():
                    row = work.connection.execute(_DELIVERED, (at_ns, number)).fetchone()
                    if row is not None:
                        work.level(row[0]).delivered += 1
                        outputs.add(row[0])
        except StoreError:
            if not standby.active:
                raise
            standby.undone = done
            return
        standby.undone = {}
        # It takes something, so what it missed finds its way.
        self._queue.pay(now_ns, outputs)

    def failed(self, entry_id: int, error: str, next_try_ns: int) -> None:
        """The entry could not be delivered; it is due again at ``next_try_ns``."""
        number = self._queue.standby.failed(entry_id)
        if number is None:
            return
        try:
            with self._database.transaction("note a failed delivery") as connection:
                connection.execute(_FAILED, (error[:MOST_ERROR_CHARACTERS], next_try_ns, number))
        except StoreError:
            # The worker knows when to try again, and that is all that counts until then.
            if not self._queue.standby.active:
                raise

    def retry_now(self, output: str | None = None, entry_ids: Collection[int] | None = None) -> int:
        """
        Makes what waits for its next try due at once.

        Args:
            output: Only of this output; None: of all.
            entry_ids: Only these; None: all.

        Returns:
            Entries that were waiting for a later time; of ``entry_ids`` those that wait at all.
        """
        with self._database.transaction("go on with the outbox") as connection:
            if entry_ids is None:
                return connection.execute(_RETRY_NOW, (output,)).rowcount
            found = [row for number in entry_ids for row in connection.execute(_WAITING_IDS, (output, number))]
            connection.executemany(_RETRY_ONE, found)
            return len(found)

    def counts(self) -> dict[str, OutboxCounts]:
        """By output; outputs that never had an entry are not in it."""
        with self._database.reading("count the outbox") as connection:
            waiting = {row[0]: row[1:] for row in connection.execute(_WAITING)}
            owed = dict(connection.execute(_OWED).fetchall())
            drops: dict[str, dict[str, int]] = {}
            for output, reason, entries in connection.execute(_DROPS):
                drops.setdefault(output, {})[reason] = entries
            return {
                output: OutboxCounts(
                    count,
                    waiting.get(output, (0, 0))[0],
                    delivered,
                    waiting.get(output, (0, 0))[1],
                    drops.get(output, {}),
                    owed.get(output, 0),
                )
                for output, count, delivered in connection.execute(_LEVELS)
            }

    def find(self, output: str | None = None, *, everything: bool = False, limit: int = 100) -> list[Entry]:
        """
        Entries, the newest first.

        Args:
            output: Only of this output.
            everything: Those that were delivered or dropped, too.
            limit: Most to return.
        """
        with self._database.reading("read the outbox") as connection:
            return _entries(named_rows(connection.execute(_LIST, (output, everything, limit))))

    def waiting(self, output: str | None, after_id: int, limit: int) -> list[Entry]:
        """What waits, oldest first, from the entry behind ``after_id`` on: to go through all of it in steps."""
        with self._database.reading("read the outbox") as connection:
            return _entries(named_rows(connection.execute(_EXPORT, (output, after_id, limit))))

    def deliveries(self, alert_id: str, limit: int = 100) -> list[Delivery]:
        """What was and is to be sent of one alert, the newest first."""
        with self._database.reading("read the outbox") as connection:
            return [Delivery(*row) for row in connection.execute(_DELIVERIES, (alert_id, limit))]

    def resync(
        self, output: str, alerts: Sequence[Alert], wanted: Collection[str], now_ns: int
    ) -> tuple[int, int, int]:
        """
        Tells an output the present state of active alerts again.

        Args:
            output: Its name.
            alerts: The active alerts, in the order in which they are to be told.
            wanted: Ids of those that the output wants; of the others it gets those that it was told of before.
            now_ns: Wall time.

        Returns:
            (entries made, alerts that wait for the output anyway, alerts that follow once there is room).
        """
        with self._database.reading("read the outbox") as connection:
            waiting = {alert_id for (alert_id,) in connection.execute(_WAITING_FOR, (output,))}
            chosen = [
                alert.id
                for alert in alerts
                if alert.is_sent
                and (
                    alert.id in wanted
                    or connection.execute(_TOLD, (output, alert.id, alert.episode)).fetchone() is not None
                )
            ]
        to_tell = [alert_id for alert_id in chosen if alert_id not in waiting]
        self._queue.owe(output, to_tell, now_ns)
        made = self._queue.pay(now_ns, (output,))
        return made, len(chosen) - len(to_tell), len(to_tell) - made

    def retain(self, outputs: Collection[str], now_ns: int) -> dict[str, int]:
        """
        Gives up what waits for outputs that are no longer configured.

        Returns:
            Entries given up, by output.
        """
        return self._queue.retain(outputs, now_ns)

    def maintain(self, now_ns: int, ageing_ns: int | None = None) -> int:
        """
        Gives up what is too old, queues again what is owed to outputs, and what is to be repeated.

        Args:
            now_ns: Wall time.
            ageing_ns: The time by which entries are too old, if that is another.

        Returns:
            Entries made.
        """
        self._queue.age(now_ns if ageing_ns is None else ageing_ns)
        return self._queue.pay(now_ns, list(self._queue.policies), probe=True) + self._queue.resend(now_ns)

    def expire(self, before_ns: int, *, most_entries: int = EXPIRE_ENTRIES_PER_CALL) -> int:
        """
        Deletes entries that were delivered or dropped before ``before_ns``; those of active alerts stay.

        Returns:
            How many, at most ``most_entries``.
        """
        return self._queue.expire(before_ns, most_entries)


def _entries(rows: Iterable[Mapping[str, Any]]) -> list[Entry]:
    return [
        Entry(
            id=row["entry_id"],
            output=row["entry_output"],
            sequence=row["entry_sequence"],
            attempts=row["entry_attempts"],
            error=row["entry_error"],
            alert=_told(alert_of(row), row["entry_repeat"]),
            repeat=row["entry_repeat"],
            created_ns=row["entry_created_ns"],
            next_try_ns=row["entry_next_try_ns"],
            delivered_ns=row["entry_delivered_ns"],
            dropped=row["entry_dropped"],
        )
        for row in rows
    ]


def _told(alert: Alert, repeat: int) -> Alert:
    """A state that is told again is a raise to whoever gets it: the receiver may have lost it, or never had it."""
    if repeat and alert.state is AlertState.UPDATED:
        return replace(alert, state=AlertState.RAISED)
    return alert
