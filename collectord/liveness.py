"""
Whether the daemon makes progress: the event loop turns, passes end, the store's thread works.

A daemon that hangs must not look well because one of its parts still answers.
"""

import asyncio
from collections.abc import Callable

from collectord.model import NS_PER_S
from collectord.store.writer import Writer
from collectord.tick_counters import TickCounters

LOOK_EVERY_S = 1.0

STALE_S = 15.0
"""Fifteen passes. Half of the service's WatchdogSec, so that who looks here knows before systemd acts."""


class Liveness:
    """
    Looks at the parts of a running daemon.

    Args:
        tick: What the passes did.
        writer: The store's thread.
        mono_ns: Monotonic clock.
    """

    def __init__(self, tick: TickCounters, writer: Writer, mono_ns: Callable[[], int]) -> None:
        self._tick = tick
        self._writer = writer
        self._mono_ns = mono_ns
        self._ticks = tick.ticks
        self._completed = writer.completed
        self._tick_ns = self._writer_ns = self._turn_ns = mono_ns()
        self.loop_lag_s = 0.0
        """How much later than it should the loop came back to us, the last time."""

    async def run(self) -> None:
        """Look once a second until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            self.look()

    def look(self) -> None:
        """Note what has moved since the last look."""
        now_ns = self._mono_ns()
        self.loop_lag_s = max(0.0, (now_ns - self._turn_ns) / NS_PER_S - LOOK_EVERY_S)
        self._turn_ns = now_ns
        if self._tick.ticks != self._ticks:
            self._ticks, self._tick_ns = self._tick.ticks, now_ns
        # A thread that has nothing to do is well.
        if self._writer.completed != self._completed or not self._writer.waiting:
            self._completed, self._writer_ns = self._writer.completed, now_ns

    def problem(self) -> str:
        """What stands still, in one line; empty if nothing does."""
        now_ns = self._mono_ns()
        since_s = {
            "the event loop did not turn": self.loop_lag_s,
            "the database's thread is stuck": (now_ns - self._writer_ns) / NS_PER_S,
            "no tick has ended": (now_ns - self._tick_ns) / NS_PER_S,
        }
        for what, elapsed_s in since_s.items():
            if elapsed_s > STALE_S:
                return f"{what} for {elapsed_s:.0f} s, expected {STALE_S:.0f} s at most"
        return ""
