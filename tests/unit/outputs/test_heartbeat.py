"""Signs of life: at regular times, to those outputs that have them, whatever becomes of them."""

import asyncio
from collections.abc import Callable, Iterator

import pytest

from collectord.errors import DeliveryError
from collectord.model import Alert
from collectord.outputs.heartbeat import Heartbeat, Living, SignOfLife

WAIT_S = 10


class Quiet:
    """An output as every one is."""

    def __init__(self, name: str = "quiet") -> None:
        self.name = name

    def wants(self, alert: Alert) -> bool:
        return True

    async def start(self) -> None:
        return

    async def send(self, alert: Alert, sequence: int) -> None:
        return

    async def close(self) -> None:
        return


class Alive(Quiet):
    """One that tells that the daemon is alive; does what it is given, in turn, and then nothing more."""

    def __init__(self, name: str, *does: Callable[[], None]) -> None:
        super().__init__(name)
        self._does: Iterator[Callable[[], None]] = iter(does)
        self.told: list[SignOfLife] = []
        self.tired = asyncio.Event()

    async def alive(self, sign: SignOfLife) -> None:
        self.told.append(sign)
        do = next(self._does, None)
        if do is None:
            self.tired.set()
            await asyncio.Event().wait()
            return
        do()


def well() -> None:
    """It was told."""


def refused() -> None:
    raise DeliveryError("refused")


def broken() -> None:
    raise RuntimeError("a mistake")


class Clock:
    """The loop's time, run on as fast as anybody waits for it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch) -> None:
        self.slept_s: list[float] = []
        self._ahead_s = 0.0
        real, pause = loop.time, asyncio.sleep

        async def sleep(seconds: float) -> None:
            self.slept_s.append(seconds)
            self._ahead_s += seconds
            await pause(0)

        monkeypatch.setattr("collectord.outputs.heartbeat.asyncio.sleep", sleep)
        monkeypatch.setattr(loop, "time", lambda: real() + self._ahead_s)


async def run_until(heartbeat: Heartbeat, *events: asyncio.Event) -> None:
    async with asyncio.timeout(WAIT_S + 100_000), asyncio.TaskGroup() as group:
        task = group.create_task(heartbeat.run())
        for event in events:
            await event.wait()
        task.cancel()


def test_only_some_outputs_are_alive() -> None:
    assert isinstance(Alive("a"), Living)
    assert not isinstance(Quiet(), Living)


async def test_at_once_and_then_at_regular_times(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(asyncio.get_running_loop(), monkeypatch)
    output = Alive("a", well, well, well)
    times = iter(range(100, 200))
    active = iter((0, 7, 9, 11))
    heartbeat = Heartbeat(
        [Quiet(), output], every_s=300, active=lambda: next(active), now_ns=lambda: next(times), send_limit_s=1e6
    )
    await run_until(heartbeat, output.tired)

    assert [sign.active for sign in output.told] == [0, 7, 9, 11]
    assert output.told[1] == SignOfLife(active=7, every_s=300, started_ns=100, now_ns=102)
    assert [round(seconds) for seconds in clock.slept_s] == [300, 300, 300]
    assert heartbeat.counters["a"].sent == 3
    assert list(heartbeat.counters) == ["a"]


async def test_a_failure_is_counted_and_the_next_may_succeed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also a mistake in an output, which is told once; nothing is queued."""
    Clock(asyncio.get_running_loop(), monkeypatch)
    output = Alive("a", refused, broken, broken, well)
    heartbeat = Heartbeat([output], every_s=30, active=lambda: 1, now_ns=lambda: 5, send_limit_s=1e6)
    await run_until(heartbeat, output.tired)

    assert (heartbeat.counters["a"].sent, heartbeat.counters["a"].failed) == (1, 3)


async def test_an_output_that_hangs_holds_up_no_other() -> None:
    hangs, other = Alive("hangs"), Alive("other")
    heartbeat = Heartbeat([hangs, other], every_s=30, active=lambda: 1, now_ns=lambda: 5)
    await run_until(heartbeat, hangs.tired, other.tired)

    assert len(other.told) == 1


async def test_an_output_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next sign of life is sent all the same."""
    clock = Clock(asyncio.get_running_loop(), monkeypatch)
    hangs = Alive("hangs")
    heartbeat = Heartbeat([hangs], every_s=30, active=lambda: 1, now_ns=lambda: 5, send_limit_s=0.001)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(heartbeat.run())
        while len(clock.slept_s) < 2:
            await hangs.tired.wait()
            hangs.tired.clear()
        task.cancel()

    assert heartbeat.counters["hangs"].failed >= 2


async def test_none_without_a_time() -> None:
    """It ends at once; there is nothing to count."""
    output = Alive("a", well)
    heartbeat = Heartbeat([output], every_s=0, active=lambda: 1, now_ns=lambda: 5)
    await heartbeat.run()

    assert (output.told, heartbeat.counters) == ([], {})
