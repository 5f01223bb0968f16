"""Whether the daemon makes progress."""

import asyncio
from types import SimpleNamespace

import pytest

from collectord import liveness
from collectord.clock import ManualClock
from collectord.liveness import LOOK_EVERY_S, STALE_S, Liveness
from collectord.tick_counters import TickCounters


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(0)


class Parts:
    """A daemon whose parts move when they are told to."""

    def __init__(self, clock: ManualClock) -> None:
        self.tick = TickCounters()
        self.writer = SimpleNamespace(completed=0, waiting=0)
        self.clock = clock
        writer: object = self.writer
        self.liveness = Liveness(self.tick, writer, clock.mono_ns)  # type: ignore[arg-type]

    def pass_time(self, seconds: float, *, ticks: bool = True, writes: bool = True, turns: bool = True) -> str:
        """That time with the parts that move; what is said at its end."""
        for _ in range(round(seconds)):
            self.clock.advance(LOOK_EVERY_S)
            self.tick.ticks += ticks
            self.writer.completed += writes
            if turns:
                self.liveness.look()
        return self.liveness.problem()


def test_all_is_well(clock: ManualClock) -> None:
    assert Parts(clock).pass_time(100) == ""


def test_no_tick(clock: ManualClock) -> None:
    parts = Parts(clock)
    assert parts.pass_time(STALE_S, ticks=False) == ""
    assert parts.pass_time(1, ticks=False) == "no tick has ended for 16 s, expected 15 s at most"
    assert parts.pass_time(1) == ""


def test_the_store_hangs(clock: ManualClock) -> None:
    parts = Parts(clock)
    parts.writer.waiting = 1
    said = parts.pass_time(STALE_S + 1, ticks=False, writes=False)
    assert said == "the database's thread is stuck for 16 s, expected 15 s at most"
    assert parts.pass_time(1) == ""


def test_a_store_without_work_is_well(clock: ManualClock) -> None:
    assert Parts(clock).pass_time(100, writes=False) == ""


def test_the_loop_stood_still(clock: ManualClock) -> None:
    """Told until it has turned in time once."""
    parts = Parts(clock)
    parts.pass_time(STALE_S + 2, turns=False)
    parts.liveness.look()
    assert parts.liveness.loop_lag_s == STALE_S + 1
    assert parts.liveness.problem() == "the event loop did not turn for 16 s, expected 15 s at most"
    assert parts.pass_time(1) == ""


async def test_it_looks_by_itself(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "LOOK_EVERY_S", 0)
    looked = asyncio.Event()
    parts = Parts(clock)
    monkeypatch.setattr(parts.liveness, "look", looked.set)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(parts.liveness.run())
        await looked.wait()
        task.cancel()
