"""
Signs of life: what outputs tell at regular times, so that a receiver notices when the daemon is gone.

A sign of life waits in no queue, as an old one would say nothing; one that fails is counted, and the next may succeed.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from collectord import log as logs
from collectord.errors import EnvironmentProblem
from collectord.outputs.delivery import Output

log = logs.get()


@dataclass(frozen=True, slots=True)
class SignOfLife:
    """What is told."""

    active: int
    """Alerts that are active."""
    every_s: int
    """The next sign follows after this time."""
    started_ns: int
    """When the first sign was due, ns since 1970 UTC."""
    now_ns: int


@runtime_checkable
class Living(Protocol):
    """What an output has beside what every output has, if it tells that the daemon is alive."""

    name: str

    async def alive(self, sign: SignOfLife) -> None:
        """
        Tell it once, after the output's start; the caller limits the time.

        Raises:
            EnvironmentProblem: it was not, or maybe not, told.
        """


@dataclass(slots=True)
class HeartbeatCounters:
    """Signs of life of one output since the start."""

    sent: int = 0
    failed: int = 0


class Heartbeat:
    """
    Lets the outputs that can do so tell that the daemon is alive.

    Args:
        outputs: Any; those that tell nothing by themselves are passed over.
        every_s: Time between two signs; 0: none.
        active: Number of active alerts.
        now_ns: Wall clock, ns since 1970 UTC.
        send_limit_s: Most that telling one output may take.
    """

    def __init__(
        self,
        outputs: Iterable[Output],
        *,
        every_s: int,
        active: Callable[[], int],
        now_ns: Callable[[], int],
        send_limit_s: float = 30.0,
    ) -> None:
        self._living = [output for output in outputs if isinstance(output, Living)] if every_s else []
        self._every_s = every_s
        self._active = active
        self._now_ns = now_ns
        self._started_ns = 0
        self._send_limit_s = send_limit_s
        self.counters = {output.name: HeartbeatCounters() for output in self._living}
        """By output."""

    async def run(self) -> None:
        """Tell at once and then at regular times, until it is cancelled; no output waits for another."""
        self._started_ns = self._now_ns()
        async with asyncio.TaskGroup() as together:
            for output in self._living:
                together.create_task(self._keep_telling(output))

    async def _keep_telling(self, output: Living) -> None:
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        while True:
            await self._tell(output)
            now_s = loop.time()
            while due_s <= now_s:
                due_s += self._every_s
            await asyncio.sleep(due_s - now_s)

    async def _tell(self, output: Living) -> None:
        counters = self.counters[output.name]
        sign = SignOfLife(self._active(), self._every_s, self._started_ns, self._now_ns())
        try:
            async with asyncio.timeout(self._send_limit_s):
                await output.alive(sign)
        except (EnvironmentProblem, TimeoutError):
            counters.failed += 1
        # A mistake in an output must not end the daemon.
        except Exception:
            counters.failed += 1
            if counters.failed == 1:
                log.exception("output broke on a heartbeat", destination=output.name)
        else:
            counters.sent += 1
