"""
What is still to be sent, per output.

An entry stays until its output says that it was delivered; it is handed out again after a failure, a restart or a power
cut, always with the same number. Within one output, the events of one alert go out in their order: a clear never
overtakes its raise.
"""

from collections.abc import Collection
from dataclasses import dataclass

from collectord.model import Alert
from collectord.store.alerts import alert_of
from collectord.store.db import Database, named_rows

MOST_ERROR_CHARACTERS = 500

EXPIRE_ENTRIES_PER_CALL = 5_000

_DUE = """
    SELECT h.*, o.id AS entry_id, o.sequence AS entry_sequence, o.attempts AS entry_attempts, o.error AS entry_error
    FROM outbox o
    JOIN alert_history h ON h.id = o.alert_id AND h.episode = o.episode AND h.event = o.event
    WHERE o.output = ? AND o.delivered_ns IS NULL AND o.next_try_ns <= ?
      AND NOT EXISTS (
          SELECT 1 FROM outbox e
          WHERE e.output = o.output AND e.alert_id = o.alert_id AND e.delivered_ns IS NULL AND e.id < o.id
      )
    ORDER BY o.id
    LIMIT ?
"""
_NEXT_TRY = """
    SELECT min(o.next_try_ns) FROM outbox o
    WHERE o.output = ? AND o.delivered_ns IS NULL
      AND NOT EXISTS (
          SELECT 1 FROM outbox e
          WHERE e.output = o.output AND e.alert_id = o.alert_id AND e.delivered_ns IS NULL AND e.id < o.id
      )
"""
_DELIVERED = """
    UPDATE outbox SET delivered_ns = ?, attempts = attempts + 1, error = '' WHERE id = ? AND delivered_ns IS NULL
"""
_FAILED = """
    UPDATE outbox SET attempts = attempts + 1, error = ?, next_try_ns = ? WHERE id = ? AND delivered_ns IS NULL
"""
_RETRY_NOW = "UPDATE outbox SET next_try_ns = 0 WHERE delivered_ns IS NULL AND next_try_ns <> 0"
_COUNTS = """
    SELECT output,
           sum(delivered_ns IS NULL),
           sum(delivered_ns IS NULL AND attempts > 0),
           sum(delivered_ns IS NOT NULL),
           coalesce(min(CASE WHEN delivered_ns IS NULL THEN created_ns END), 0)
    FROM outbox GROUP BY output ORDER BY output
"""
_DELIVERIES = """
    SELECT output, episode, event, sequence, created_ns, attempts, error, delivered_ns
    FROM outbox WHERE alert_id = ? ORDER BY id DESC LIMIT ?
"""
_WAITING_OUTPUTS = "SELECT output, count(*) FROM outbox WHERE delivered_ns IS NULL GROUP BY output"
_DROP = "DELETE FROM outbox WHERE output = ? AND delivered_ns IS NULL"
_EXPIRE = """
    DELETE FROM outbox WHERE id IN (
        SELECT id FROM outbox WHERE delivered_ns IS NOT NULL AND delivered_ns < ? LIMIT ?
    )
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
    """How often it was tried and failed."""
    error: str
    """Why the last try failed."""
    alert: Alert


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


@dataclass(frozen=True, slots=True)
class OutboxCounts:
    """How one output's part of the outbox stands."""

    waiting: int
    failing: int
    """Of those waiting, the entries that were tried and failed."""
    delivered: int
    """Delivered and not yet expired."""
    oldest_ns: int
    """When the oldest waiting entry was made; 0 if none waits."""


class Outbox:
    """The outbox of a database; a reader will do for the calls that read."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def due(self, output: str, now_ns: int, limit: int) -> list[Entry]:
        """
        What the output should be sent now, oldest first, at most one entry per alert.

        An entry that failed waits for its time, and the later ones of the same alert wait behind it.
        """
        with self._database.reading("read the outbox") as connection:
            cursor = connection.execute(_DUE, (output, now_ns, limit))
            return [
                Entry(
                    id=row["entry_id"],
                    output=output,
                    sequence=row["entry_sequence"],
                    attempts=row["entry_attempts"],
                    error=row["entry_error"],
                    alert=alert_of(row),
                )
                for row in named_rows(cursor)
            ]

    def next_try_ns(self, output: str) -> int | None:
        """When the output has something to do next (wall time, ns; 0 or past: now); None if nothing waits."""
        with self._database.reading("read the outbox") as connection:
            moment: int | None = connection.execute(_NEXT_TRY, (output,)).fetchone()[0]
        return moment

    def delivered(self, entry_id: int, now_ns: int) -> None:
        """The output has taken the entry over."""
        with self._database.transaction("note a delivery") as connection:
            connection.execute(_DELIVERED, (now_ns, entry_id))

    def failed(self, entry_id: int, error: str, next_try_ns: int) -> None:
        """The entry could not be delivered; it is due again at ``next_try_ns``."""
        with self._database.transaction("note a failed delivery") as connection:
            connection.execute(_FAILED, (error[:MOST_ERROR_CHARACTERS], next_try_ns, entry_id))

    def retry_now(self) -> int:
        """
        Makes everything that waits for its next try due at once.

        For the start: a pause belongs to the run that made it.

        Returns:
            Entries that were waiting for a later time.
        """
        with self._database.transaction("go on with the outbox") as connection:
            return connection.execute(_RETRY_NOW).rowcount

    def counts(self) -> dict[str, OutboxCounts]:
        """By output; outputs that never had an entry are not in it."""
        with self._database.reading("count the outbox") as connection:
            return {row[0]: OutboxCounts(*row[1:]) for row in connection.execute(_COUNTS)}

    def deliveries(self, alert_id: str, limit: int = 100) -> list[Delivery]:
        """What was and is to be sent of one alert, the newest first."""
        with self._database.reading("read the outbox") as connection:
            return [Delivery(*row) for row in connection.execute(_DELIVERIES, (alert_id, limit))]

    def retain(self, outputs: Collection[str]) -> dict[str, int]:
        """
        Gives up what waits for outputs that are no longer configured.

        Returns:
            Entries given up, by output.
        """
        with self._database.transaction("clean the outbox") as connection:
            gone = {name: count for name, count in connection.execute(_WAITING_OUTPUTS) if name not in outputs}
            connection.executemany(_DROP, [(name,) for name in gone])
        return gone

    def expire(self, before_ns: int, *, most_entries: int = EXPIRE_ENTRIES_PER_CALL) -> int:
        """Deletes entries delivered before ``before_ns``; returns how many, at most ``most_entries``."""
        with self._database.transaction("clean the outbox") as connection:
            return connection.execute(_EXPIRE, (before_ns, most_entries)).rowcount
