"""
The outputs at work, and who of them is told of what; a reload adds, removes and changes them meanwhile.

An output whose own settings stay goes on as it is; what it is told and how much may wait for it can change all the
same. One that changes is ended, with what it can still hand over at once, before the new one of its name begins: an
outbox has one worker. All SNMP outputs keep their engine, so that boots do not rise (RFC 3414 section 2.2).
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from collectord import assembly, log, output_settings
from collectord.clock import Clock
from collectord.config import Config
from collectord.model import Alert, Severity
from collectord.outputs.delivery import DeliveryWorker, Outbox, Output
from collectord.outputs.heartbeat import Heartbeat, HeartbeatCounters
from collectord.plan import Setup
from collectord.policy import OutputPolicy
from collectord.queueing import receivers
from collectord.store.queue import Queue

logger = log.get()

_HOLDER = "reload"
"""Who keeps the SNMP engine while outputs change."""

_TOLD = {"min_severity", "sites", "when_full", "max_waiting", "max_age_s", "resend_s"}
"""Settings about an output that it knows nothing of."""

State = tuple[Any, ...]


class Deliveries:
    """
    Makes the outputs, runs their workers, and changes both.

    Args:
        config: Says what they are.
        clock: The time.
        active: Number of active alerts, for signs of life.
        given: In place of the configured ones, with the lowest severity that each takes; those are never changed.
    """

    def __init__(
        self,
        config: Config,
        clock: Clock,
        *,
        active: Callable[[], int],
        given: Sequence[tuple[Output, Severity]] | None = None,
    ) -> None:
        self._clock = clock
        self._active = active
        self._fixed = given is not None
        self._snmp = assembly.notification_engine(config)
        self._made: list[tuple[Output, Severity]] = (
            list(given) if given is not None else assembly.outputs(config, clock, self._snmp)
        )
        self._states = {} if self._fixed else _states(config)
        self._outbox: Outbox | None = None
        self._queue: Queue | None = None
        self._retain: Callable[[Sequence[str]], Awaitable[None]] | None = None
        self._policies: Mapping[str, OutputPolicy] = {}
        self._use(config)
        self.workers: list[DeliveryWorker] = []
        """One for each output, in the order of the configuration; the same list for ever."""
        self.heartbeats: dict[str, HeartbeatCounters] = {}
        """Of the outputs that have them, by name; the same one for ever."""
        self._heartbeat: Heartbeat | None = None
        self._beating: asyncio.Task[None] | None = None
        self._every_s = config.snmp.heartbeat_s
        self._group: asyncio.TaskGroup | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stop = asyncio.Event()
        self._keeps_engine = False

    @property
    def names(self) -> list[str]:
        """Of all outputs."""
        return [output.name for output, _ in self._made]

    @property
    def policies(self) -> Mapping[str, OutputPolicy]:
        """What each output is told, and how much may wait for it."""
        return self._policies

    def wanted(self, alert: Alert) -> list[str]:
        """Names of the outputs that want an alert's state."""
        return receivers(alert, self._made, self._policies)

    def up(self) -> dict[str, bool | None]:
        """Whether the last try of each went well; None before the first."""
        return {worker.output.name: worker.up for worker in list(self.workers)}

    def wake(self) -> None:
        """Something was queued."""
        for worker in self.workers:
            worker.wake()

    def retry(self) -> None:
        """Wait no longer for the next try."""
        for worker in self.workers:
            worker.retry()

    def connect(self, outbox: Outbox, queue: Queue, retain: Callable[[Sequence[str]], Awaitable[None]]) -> None:
        """
        What the workers take from, before they run.

        Args:
            outbox: Of the workers.
            queue: Is told of the outputs' policies.
            retain: Gives up what waits for other outputs than these.
        """
        self._outbox, self._queue, self._retain = outbox, queue, retain
        self.workers[:] = [self._worker(output) for output, _ in self._made]
        self._beat_anew(self._every_s)

    def _worker(self, output: Output) -> DeliveryWorker:
        if self._outbox is None:
            raise RuntimeError("connect comes before the first worker")
        return DeliveryWorker(output, self._outbox, now_ns=self._clock.now_ns)

    def _use(self, config: Config) -> None:
        self._policies = assembly.policies(config, self.names)

    async def run(self) -> None:
        """Deliver until ``stop``, and then what is due, within a time limit."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                for worker in self.workers:
                    self._start(worker)
                self._start_beating()
                await self._stop.wait()
                if self._beating is not None:
                    self._beating.cancel()
                for worker in self.workers:
                    worker.stop()
        finally:
            if self._keeps_engine:
                await self._snmp.release(_HOLDER)

    def stop(self) -> None:
        """Ask ``run`` to end."""
        self._stop.set()

    async def prepare(self, setup: Setup) -> Setup:
        """Outputs hold nothing that could not be had; their files were looked at by the loader."""
        return setup

    def dismiss(self) -> None:
        """Nothing was prepared."""

    def take_up(self, setup: Setup) -> None:
        """From now on alerts are queued for the outputs of this setup; on the store's thread, between two passes."""
        if self._fixed:
            self._use(setup.config)
        else:
            states = _states(setup.config)
            kept = {
                output.name: output
                for output, _ in self._made
                if self._states.get(output.name) == states.get(output.name)
            }
            fresh = assembly.outputs(setup.config, self._clock, self._snmp, cold_start=False)
            self._made = [(kept.get(output.name, output), lowest) for output, lowest in fresh]
            self._states = states
            self._use(setup.config)
        if self._queue is not None:
            self._queue.policies = self._policies

    async def change(self, setup: Setup) -> None:
        """Let the workers be those of what was taken up."""
        if self._stop.is_set():
            return
        await self._keep_engine()
        outputs = [output for output, _ in self._made]
        ended = {
            worker.output.name: worker for worker in self.workers if not any(worker.output is each for each in outputs)
        }
        for worker in ended.values():
            worker.stop()
        if tasks := [self._tasks.pop(name) for name in ended if name in self._tasks]:
            await asyncio.wait(tasks)
        if self._retain is not None:
            await self._retain(self.names)
        kept = {worker.output.name: worker for worker in self.workers if worker.output.name not in ended}
        self.workers[:] = [kept.get(output.name) or self._worker(output) for output in outputs]
        for worker in self.workers:
            name = worker.output.name
            if name in ended:
                worker.counters = ended[name].counters
            if name not in kept:
                self._start(worker)
        every_s = setup.config.snmp.heartbeat_s
        if ended or len(kept) < len(outputs) or every_s != self._every_s:
            await self._stop_beating()
            self._beat_anew(every_s)
            self._start_beating()
        await self._let_engine_go(setup.config)

    def _start(self, worker: DeliveryWorker) -> None:
        if self._group is not None:
            self._tasks[worker.output.name] = self._group.create_task(worker.run())

    def _beat_anew(self, every_s: int) -> None:
        self._every_s = every_s
        self._heartbeat = Heartbeat(
            [worker.output for worker in self.workers],
            every_s=every_s,
            active=self._active,
            now_ns=self._clock.now_ns,
        )
        for name, counters in self._heartbeat.counters.items():
            before = self.heartbeats.get(name, counters)
            counters.sent, counters.failed = before.sent, before.failed
        self.heartbeats.clear()
        self.heartbeats.update(self._heartbeat.counters)

    def _start_beating(self) -> None:
        if self._group is not None and self._heartbeat is not None:
            self._beating = self._group.create_task(self._heartbeat.run())

    async def _stop_beating(self) -> None:
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.wait([self._beating])

    async def _keep_engine(self) -> None:
        """The last SNMP output closes the engine, and the first one would start another."""
        if self._snmp.identity is not None and not self._keeps_engine:
            await self._snmp.acquire(_HOLDER)
            self._keeps_engine = True

    async def _let_engine_go(self, config: Config) -> None:
        if self._keeps_engine and not any(isinstance(each, output_settings.SnmpOutput) for each in config.output):
            self._keeps_engine = False
            await self._snmp.release(_HOLDER)


def _states(config: Config) -> dict[str, State]:
    """What each output is made of, by name: one that is the same goes on."""
    return {each.name: _state(each, config) for each in config.output}


def _state(output: output_settings.Output, config: Config) -> State:
    secrets: list[tuple[int, int, int]] = []
    # In the names that they send.
    root = "" if isinstance(output, output_settings.LogOutput) else config.snmp.root
    if isinstance(output, output_settings.SnmpOutput):
        # Read when the output starts. Those of TLS are read for each connection.
        for path in (output.community_file, output.auth_password_file, output.priv_password_file):
            if path is not None:
                with contextlib.suppress(OSError):  # The output tells of it.
                    found = path.stat()
                    secrets.append((found.st_mtime_ns, found.st_size, found.st_ino))
    return (type(output), output.model_copy(update=dict.fromkeys(_TOLD)), root, tuple(secrets))
