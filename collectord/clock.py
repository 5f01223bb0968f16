"""
Time, as the stages are given it: wall time that runs as evenly as a stopwatch.

Windows must not jump when somebody sets the clock. So wall time is read once and from then on carried forward by the
monotonic clock; ``check`` compares it with the real wall clock now and then. A small difference is worked off slowly,
without ever going back; a large one is a step of the wall clock, which the caller is told of, because windows that
are open across it mean nothing.
"""

import time
from collections.abc import Callable
from typing import Protocol

from collectord.model import NS_PER_S

STEP_S = 2
"""A difference over this is a step of the wall clock (design of the windows); what is below is drift."""

SLEW_PPM = 10_000
"""Fastest correction of drift: 1 %, so that 2 s are gone after 200 s and a 5-minute window is off by 3 s at most."""

SLEW_OVER_S = 10
"""Drift that is small enough is worked off over this time."""


def since_boot_ns() -> int:
    """Time in ns since the machine started, sleep included (Linux clock_gettime(2), ``CLOCK_BOOTTIME``)."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


JUMP_S = 3_600
"""A step forward over this may be a mistake: what is kept for a time is not given up for it at once."""

DOUBTED_S = 86_400
"""For so long; somebody will have put the clock right by then, or it is right."""


class Clock(Protocol):
    """What a stage may know of time."""

    def now_ns(self) -> int:
        """Wall time, ns since 1970 UTC; never runs back, but for a step that ``check`` returned."""
        ...

    def mono_ns(self) -> int:
        """Monotonic time in ns from an unknown zero, for intervals that no step of the wall clock may change."""
        ...

    def check(self) -> float:
        """Compare with the real wall clock; the step in s that was followed (negative: back), 0 if there was none."""
        ...


class SystemClock:
    """The machine's time. Readable from any thread; ``check`` belongs to one."""

    def __init__(self, wall: Callable[[], int] = time.time_ns, mono: Callable[[], int] = time.monotonic_ns) -> None:
        """
        Args:
            wall: Wall clock, ns since 1970 UTC.
            mono: Monotonic clock, ns.
        """
        self._wall = wall
        self._mono = mono
        # (wall ns, mono ns, ppm by which we run faster than mono): one tuple, so that readers never see half of it.
        self._anchor = (wall(), mono(), 0)

    def now_ns(self) -> int:
        """Wall time, ns since 1970 UTC; never runs back, but for a step that ``check`` returned."""
        return self._at(self._mono())

    def mono_ns(self) -> int:
        """Monotonic time in ns from an unknown zero."""
        return self._mono()

    def check(self) -> float:
        """
        Compare with the real wall clock; call it once per tick.

        Returns:
            The step in s that was followed, negative if the wall clock went back; 0.0 if it was within 2 s.
        """
        wall, mono = self._wall(), self._mono()
        now = self._at(mono)
        off = wall - now
        if abs(off) > STEP_S * NS_PER_S:
            self._anchor = (wall, mono, 0)
            return off / NS_PER_S
        ppm = off * 1_000_000 // (SLEW_OVER_S * NS_PER_S)
        self._anchor = (now, mono, max(-SLEW_PPM, min(SLEW_PPM, ppm)))
        return 0.0

    def _at(self, mono: int) -> int:
        wall_anchor, mono_anchor, ppm = self._anchor
        return wall_anchor + (mono - mono_anchor) * (1_000_000 + ppm) // 1_000_000


class Ageing:
    """
    The time by which things are given up for their age: the wall clock's, but for a jump ahead, which it follows late.

    A clock that shows the next year for some minutes, as a machine's may until it reaches its time server, must not
    cost the history of a year.

    Args:
        mono_ns: Monotonic clock, ns.
    """

    def __init__(self, mono_ns: Callable[[], int]) -> None:
        self._mono_ns = mono_ns
        self._behind_ns = 0
        self._doubted_until_ns = 0

    def step(self, step_s: float) -> None:
        """The wall clock was stepped by so much, or so much time passed in which nobody looked."""
        if step_s > JUMP_S:
            self._doubted_until_ns = self._mono_ns() + DOUBTED_S * NS_PER_S
        self._behind_ns = max(0, self.behind_ns + round(step_s * NS_PER_S))

    @property
    def behind_ns(self) -> int:
        """By how much the wall clock is ahead of this time."""
        return self._behind_ns if self._mono_ns() < self._doubted_until_ns else 0

    def now_ns(self, wall_ns: int) -> int:
        """This time, when the wall clock shows that one."""
        return wall_ns - self.behind_ns


class ManualClock:
    """A clock that stands still until it is told, for tests and for replaying files."""

    def __init__(self, now_ns: int = 0) -> None:
        """
        Args:
            now_ns: Wall time to begin with, ns since 1970 UTC.
        """
        self._now_ns = now_ns
        self._mono_ns = 0
        self._step_ns = 0

    def now_ns(self) -> int:
        """Wall time as it was set, ns since 1970 UTC."""
        return self._now_ns

    def mono_ns(self) -> int:
        """Everything that ``advance`` added, in ns."""
        return self._mono_ns

    def check(self) -> float:
        """Follow the ``step`` that was set, and return it in s."""
        step_ns, self._step_ns = self._step_ns, 0
        self._now_ns += step_ns
        return step_ns / NS_PER_S

    def set(self, now_ns: int) -> None:
        """Go to a wall time, ns since 1970 UTC, as if the clock had been started there."""
        self._now_ns = now_ns

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        passed = round(seconds * NS_PER_S)
        if passed < 0:
            raise ValueError(f"time passes forward only, got {seconds} s")
        self._now_ns += passed
        self._mono_ns += passed

    def step(self, seconds: float) -> None:
        """Have somebody set the wall clock; seen by the next ``check``."""
        self._step_ns += round(seconds * NS_PER_S)
