"""
What becomes of counters as they age: cut to their largest keys, rolled up to hours and days, deleted.

Everything is done in small bites, between which the daemon counts on: each bite ends in a state that is right, so that
it is no matter where the process ends.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from collectord.model import CounterDefinition
from collectord.store import rollups
from collectord.store.counters import EXPIRE_ROWS_PER_CALL, Counters
from collectord.store.db import Database
from collectord.store.rollups import DAY_S, HOUR_S

KEPT_KEYS_PER_SLOT = 1_000
"""Keys of a slot that stay once no window needs it; the rest becomes one row, totals stay exact."""

KEPT_KEYS_PER_HOUR = 5_000
"""The same for slots of an hour and longer, and for days: there are far fewer of them. 400 days are 2,000,000 rows."""

SPARE_BYTES = 16 * 1024 * 1024
"""What should be free in a file that may not grow: room for minutes of counters, or an eighth of a small file."""

SHED_ROWS_PER_CALL = 50_000
"""Rows that one call deletes for the sake of the size; more than a minute adds, less than a second of work."""


@dataclass(frozen=True, slots=True)
class Keep:
    """How long what is kept."""

    slots_s: int
    hours_s: int
    days_s: int
    max_bytes: int
    """Of the database's contents; the file may hold free pages beside."""


class Retention:
    """
    The ageing of counters.

    Args:
        database: The writing side.
        counters: Its counter tables.
        keep: How long what is kept.
        longest_window_s: What the engine looks back at most, by counter; younger slots are left alone.
    """

    def __init__(self, database: Database, counters: Counters, keep: Keep, longest_window_s: Mapping[str, int]) -> None:
        self._database = database
        self._counters = counters
        self._keep = keep
        self._longest_window_s = longest_window_s

    def age(self, definition: CounterDefinition, now_s: int, ageing_s: int | None = None) -> None:
        """
        One bite for one counter; with one a minute it keeps up.

        Args:
            definition: The counter.
            now_s: Wall time, epoch seconds.
            ageing_s: The time by which rows are too old, if that is another.
        """
        old_s = now_s if ageing_s is None else ageing_s
        slots, hours, days = rollups.levels(definition)
        tables = self._counters
        # Two slots more than the windows need: the last pass may have been one slot ago.
        closed = now_s - self._longest_window_s[definition.name] - 2 * definition.slot_s
        tables.fold(slots, closed, _kept_keys(slots))
        # What was cut before it is added up costs little, and so does what comes of it.
        rollups.roll_up(self._database, slots, hours, tables.folded_until(slots))
        complete = _begin(min(tables.rolled_until(slots), closed), HOUR_S)
        tables.fold(hours, complete, _kept_keys(hours))
        rollups.roll_up(self._database, hours, days, min(tables.folded_until(hours), complete))
        complete = _begin(min(tables.rolled_until(hours), closed), DAY_S)
        tables.fold(days, complete, _kept_keys(days))
        # Nothing goes before it is in the next table.
        tables.expire(slots, min(old_s - self._keep.slots_s, tables.rolled_until(slots)))
        tables.expire(hours, min(old_s - self._keep.hours_s, tables.rolled_until(hours)))
        tables.expire(days, old_s - self._keep.days_s)

    def age_former(self, definitions: Sequence[CounterDefinition], ageing_s: int) -> None:
        """
        One bite for the tables of counters that there are no more; one that is empty then goes.

        Args:
            definitions: The counters that there are.
            ageing_s: The time by which rows are too old, epoch seconds.
        """
        kept_s = {HOUR_S: self._keep.hours_s, DAY_S: self._keep.days_s}
        left = EXPIRE_ROWS_PER_CALL
        for former in self._counters.former(definitions):
            left -= self._counters.expire(
                former, ageing_s - kept_s.get(former.slot_s, self._keep.slots_s), most_rows=left
            )
            if left <= 0:
                return
            self._counters.drop_if_empty(former)

    def shed(self, definitions: Sequence[CounterDefinition], now_s: int, room_bytes: int | None = None) -> int:
        """
        Deletes the oldest slots while the database is larger than it may be: first of counters that there are no more,
        then of the finest tables, days last.

        Never what is not rolled up yet, nor the present day, nor anything but counters.

        Args:
            definitions: The counters.
            now_s: Wall time, epoch seconds.
            room_bytes: By how much the file may grow; None: by any. Where that is little, old slots make the room.

        Returns:
            Deleted rows.
        """
        deleted = 0
        most_bytes = self._keep.max_bytes
        if room_bytes is not None:
            file_bytes = self._database.file_bytes()
            spare_bytes = min(SPARE_BYTES, file_bytes // 8)
            if room_bytes < spare_bytes:
                most_bytes = min(most_bytes, file_bytes + room_bytes - spare_bytes)
        if self._database.used_bytes() <= most_bytes:
            return 0
        everything = 2**63 - 1
        for depth in range(-1, 3):
            bounds = (
                dict.fromkeys(self._counters.former(definitions), everything)
                if depth < 0
                else {d: self._may_go(depth, d, now_s) for d in (rollups.levels(d)[depth] for d in definitions)}
            )
            while self._database.used_bytes() > most_bytes and deleted < SHED_ROWS_PER_CALL:
                oldest = [
                    (slot, level)
                    for level, before in bounds.items()
                    if (slot := self._counters.first_slot(level, before)) is not None
                ]
                if not oldest:
                    break
                slot, level = min(oldest, key=lambda found: (found[0], found[1].name))
                deleted += self._counters.expire(level, slot + 1)
        return deleted

    def _may_go(self, depth: int, level: CounterDefinition, now_s: int) -> int:
        return _begin(now_s, DAY_S) if depth == 2 else self._counters.rolled_until(level)


def _kept_keys(level: CounterDefinition) -> int:
    return KEPT_KEYS_PER_HOUR if level.slot_s >= HOUR_S else KEPT_KEYS_PER_SLOT


def _begin(time_s: int, length_s: int) -> int:
    return time_s - time_s % length_s
