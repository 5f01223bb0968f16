"""One transaction's worth of changes to the outbox, and each output's totals."""

import sqlite3
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from collectord.policy import DropReason
from collectord.store.standby import Standby

SETTLE = "DELETE FROM outbox_owed WHERE output = ? AND alert_id = ?"
OWING = "SELECT DISTINCT output FROM outbox_owed"
_LEVEL = "SELECT last, delivered, dropped, forgotten FROM outbox_sequences WHERE output = ?"
_SET_LEVEL = """
    INSERT INTO outbox_sequences (output, last, delivered, dropped, forgotten) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (output) DO UPDATE SET last = excluded.last, delivered = excluded.delivered,
        dropped = excluded.dropped, forgotten = excluded.forgotten
"""
_COUNT_DROPS = """
    INSERT INTO outbox_drops (output, reason, entries, last_ns) VALUES (?, ?, ?, ?)
    ON CONFLICT (output, reason) DO UPDATE SET entries = entries + excluded.entries, last_ns = excluded.last_ns
"""
_ADD_STANDBY = """
    INSERT INTO outbox (alert_id, episode, event, output, created_ns, sequence, attempts, delivered_ns)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
"""
_OF_ALERT = "SELECT id, output FROM outbox WHERE alert_id = ?"
_DELETE = "DELETE FROM outbox WHERE id = ?"


@dataclass(slots=True)
class Level:
    """An output's totals for as long as the database lives."""

    last: int = 0
    """Entries ever made, which is the sequence of the last one."""
    delivered: int = 0
    dropped: int = 0
    forgotten: int = 0
    """Delivered or dropped, and deleted since."""

    @property
    def waiting(self) -> int:
        """Entries that wait now."""
        return self.last - self.delivered - self.dropped


@dataclass(slots=True)
class Work:
    """One transaction's worth of changes; totals are read once and written once."""

    connection: sqlite3.Connection
    now_ns: int
    owing: set[str]
    """Outputs that something is owed to."""
    levels: dict[str, Level] = field(default_factory=dict)
    drops: Counter[tuple[str, DropReason]] = field(default_factory=Counter)
    own: Counter[str] = field(default_factory=Counter)
    """Entries that tell an output of its own trouble; they were made, or dropped at once."""
    own_drops: Counter[str] = field(default_factory=Counter)
    """What was dropped to make room for those."""
    from_standby: dict[int, int] | None = None
    """The entries that were made of those of the standby: its numbers, and the outbox's; None: it was not asked."""

    def level(self, output: str) -> Level:
        """The output's totals; whoever changes entries changes them."""
        level = self.levels.get(output)
        if level is None:
            row = self.connection.execute(_LEVEL, (output,)).fetchone()
            level = self.levels[output] = Level(*row) if row else Level()
        return level

    def forget(self, entries: Iterable[tuple[int, str]]) -> int:
        """Deletes entries that do not wait, given as (id, output); returns how many."""
        ids = []
        for number, output in entries:
            self.level(output).forgotten += 1
            ids.append((number,))
        self.connection.executemany(_DELETE, ids)
        return len(ids)

    def forget_alert(self, alert_id: str) -> None:
        """Deletes all entries of an alert; none of them waits."""
        self.forget(self.connection.execute(_OF_ALERT, (alert_id,)).fetchall())
        for output in self.owing:
            self.connection.execute(SETTLE, (output, alert_id))

    def close(self) -> None:
        """Writes the totals."""
        levels = [(o, level.last, level.delivered, level.dropped, level.forgotten) for o, level in self.levels.items()]
        self.connection.executemany(_SET_LEVEL, levels)
        drops = [(output, reason.value, count, self.now_ns) for (output, reason), count in self.drops.items()]
        self.connection.executemany(_COUNT_DROPS, drops)
        self.owing = {output for (output,) in self.connection.execute(OWING)} if self.owing else self.owing

    def add_standby(self, standby: Standby) -> int:
        """Makes entries of what went out, or was to go out, while the database could not be written."""
        self.from_standby = {}
        for each in standby.entries:
            level, alert = self.level(each.output), each.alert
            state = (alert.id, alert.episode, alert.event, each.output, alert.last_time_ns)
            entry = (*state, level.last + 1, each.attempts, each.delivered_ns)
            cursor = self.connection.execute(_ADD_STANDBY, entry)
            if cursor.rowcount:
                self.from_standby[each.id] = cursor.lastrowid or 0
                level.last += 1
                level.delivered += each.delivered_ns is not None
        return len(self.from_standby)
