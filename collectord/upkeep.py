"""What is done once a minute, and is not of one batch: what is too old goes, and room is made in the database."""

import contextlib
from collections.abc import Mapping

from collectord import log as logs
from collectord.clock import Ageing
from collectord.errors import StoreError
from collectord.model import NS_PER_S
from collectord.plan import Setup
from collectord.store import audit, devices, exceptions, quarantine
from collectord.store import states as key_states
from collectord.store.alerts import Alerts
from collectord.store.counters import Counters
from collectord.store.db import Database
from collectord.store.outbox import Outbox
from collectord.store.retention import Keep, Retention
from collectord.tick_counters import TickCounters

log = logs.get()

MAINTENANCE_EVERY_S = 60
"""Ageing counters and expiring the rest take bounded bites of work; once a minute keeps up with any rate of slots."""


class Upkeep:
    """
    Runs within the pass, on the store's thread.

    Args:
        database: The writing side.
        tables: The counters' tables in it.
        alerts: The alerts in it.
        outbox: The outbox in it.
        ageing: The time by which things are too old.
        counters: Is told of rows that went before their time.
    """

    def __init__(
        self,
        database: Database,
        tables: Counters,
        alerts: Alerts,
        outbox: Outbox,
        ageing: Ageing,
        counters: TickCounters,
    ) -> None:
        self._database = database
        self._tables = tables
        self._alerts = alerts
        self._outbox = outbox
        self._ageing = ageing
        self._counters = counters
        self._maintained_ns = 0
        self._next_to_age = 0
        self.left_to_age = 0
        """Counters whose turn has not come in this minute."""

    def use(self, setup: Setup, longest_window_s: Mapping[str, int]) -> None:
        """What follows from a setup, and how far rules look back by counter; from now on."""
        store = setup.config.store
        self._definitions = setup.definitions
        self._tables_to_age = [definition for definition in setup.definitions if definition.has_table]
        self._longest_window_s = longest_window_s
        keep = Keep(store.keep_slots_s, store.keep_hours_s, store.keep_days_s, store.max_size_bytes)
        self._retention = Retention(self._database, self._tables, keep, longest_window_s)
        self._keep_alerts_s = store.keep_alerts_s
        self.min_free_bytes = store.min_free_bytes
        """Of the disk."""
        self.left_to_age = min(self.left_to_age, len(self._tables_to_age))

    def make_room(self, now_ns: int) -> None:
        """Old counters go for new ones, as far as the disk lets them: deleting takes room as well, for a while."""
        with contextlib.suppress(StoreError):
            self._shed(now_ns // NS_PER_S)

    def _shed(self, now_s: int) -> None:
        room_bytes = self._database.room_bytes(self.min_free_bytes)
        if shed := self._retention.shed(self._tables_to_age, now_s, room_bytes):
            self._counters.shed_rows += shed
            log.warning("database is as large as it may be; the oldest counters are deleted", count=shed)

    def maintain(self, now_ns: int) -> bool:
        """
        Do what is due.

        Returns:
            Whether the outputs have something to do.

        Raises:
            StoreError: not all of it was done.
        """
        # Also after a step of the clock back, or nothing would be done until the old time has come again.
        due = not 0 <= now_ns - self._maintained_ns < MAINTENANCE_EVERY_S * NS_PER_S
        now_s = now_ns // NS_PER_S
        if due:
            self._maintained_ns = now_ns
            self.left_to_age = len(self._tables_to_age)
        if self.left_to_age:
            # One counter in each pass, so that no pass takes long.
            self.left_to_age -= 1
            definition = self._tables_to_age[self._next_to_age % len(self._tables_to_age)]
            self._next_to_age += 1
            self._retention.age(definition, now_s, self._ageing.now_ns(now_ns) // NS_PER_S)
        if not due:
            return False
        self._shed(now_s)
        self._retention.age_former(self._tables_to_age, self._ageing.now_ns(now_ns) // NS_PER_S)
        looked_at = [self._longest_window_s[each.name] + 2 * each.slot_s for each in self._definitions]
        key_states.expire(self._database, now_s - max(looked_at, default=0), now_s)
        devices.trim(self._database)
        quarantine.trim(self._database)
        ageing_ns = self._ageing.now_ns(now_ns)
        forget_ns = ageing_ns - self._keep_alerts_s * NS_PER_S
        self._outbox.expire(forget_ns)
        self._alerts.expire(forget_ns)
        if shed := self._alerts.shed(now_ns):
            log.warning("more alerts than are kept; the oldest cleared ones are deleted", count=shed)
        exceptions.expire(self._database, forget_ns)
        audit.expire(self._database, forget_ns)
        queued = self._outbox.maintain(now_ns, ageing_ns) > 0
        self._database.checkpoint()
        return queued
