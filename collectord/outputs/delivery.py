"""
From the outbox to one output: order, back-off, time limits, counting.

One worker serves one output. It asks the outbox what is due, hands it over oldest first, and notes what came of it.
Delivery is at least once: a row is forgotten only after the output took it, so a crash in between sends it again. Rows
are forgotten some at a time, as each transaction takes its while; how many a crash can send again is bounded.
While the output is down nothing overtakes: the worker stops at the first failure, waits, and starts over.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from collectord import log as logs
from collectord.errors import DeliveryError, EnvironmentProblem
from collectord.model import NS_PER_S, Alert

# A row that failed this often lets the others go first once, so that one message that a receiver refuses
# (and closes the connection for) can't hold up all alerts.
STEP_ASIDE_AFTER = 3
STEP_ASIDE_S = 5.0

# What an output took is noted after so many rows or so long, whichever comes first, and at each pause: these are the
# most that a crash sends twice.
RECORD_AFTER_ROWS = 50
RECORD_AFTER_S = 0.2

LOG_EVERY_NS = 60 * NS_PER_S

log = logs.get()


@dataclass(frozen=True, slots=True)
class QueuedAlert:
    """A row of the outbox."""

    id: int
    """Rises in the order of queueing."""
    alert: Alert
    sequence: int
    """Counts what was queued for this output, from 1; the same when a row is sent again."""
    attempts: int
    """Failed tries so far."""


class Outbox(Protocol):
    """What the worker needs of the store."""

    async def due(self, output: str, limit: int) -> Sequence[QueuedAlert]:
        """
        At most ``limit`` rows that wait for ``output`` and whose next try has come, oldest first.

        What stands behind an older row of the same alert is due no sooner than that one: a clear is sent after its
        raise, and not at all before that is delivered.
        """

    async def delivered(self, ids: Sequence[int]) -> None:
        """Forget rows: the output took them."""

    async def failed(self, id: int, err: str, next_try_ns: int) -> None:
        """Count a failed try; the row is not due before ``next_try_ns`` (wall clock)."""

    def let_go(self, output: str, but: Collection[int]) -> None:
        """What was due is in our hands no longer, but for these rows: the output took them, they will be forgotten."""


class Output(Protocol):
    """Where alerts go. Constructors are inert."""

    name: str

    def wants(self, alert: Alert) -> bool:
        """Whether this output tells of the alert at all; asked before it is queued, so sequences have no gaps."""

    async def start(self) -> None:
        """
        Get ready; an unreachable receiver is no error here.

        Raises:
            EnvironmentProblem: the machine does not give what the output needs.
        """

    async def send(self, alert: Alert, sequence: int) -> None:
        """
        Hand one alert over.

        Raises:
            DeliveryError: it was not, or maybe not, taken.
        """

    async def close(self) -> None:
        """Let go of everything; may be called at any time, and more than once."""


@dataclass(slots=True)
class DeliveryCounters:
    """Totals since the worker was made."""

    delivered: int = 0
    failures: int = 0
    """Tries that ended in an error, time limits included."""
    timeouts: int = 0
    """Tries that the time limit ended."""
    bugs: int = 0
    """Tries that ended in an error which the output does not declare."""


class DeliveryWorker:
    """
    Serves one output from the outbox until it is stopped.

    Args:
        output: Started and closed by the worker.
        outbox: Its errors (``EnvironmentProblem``) are retried like the output's.
        now_ns: Wall clock, ns since 1970 UTC.
        batch: Rows asked for at once.
        send_limit_s: Most that one ``send`` may take.
        first_delay_s: Pause after the first failure in a row; it doubles from there.
        longest_delay_s: The pause never gets longer.
        flush_limit_s: Most that ``run`` goes on after ``stop``, closing the output not included.
        jitter: Gives numbers in [0, 1); pauses are shortened by up to a half, so that collectors do not retry in step.
    """

    def __init__(
        self,
        output: Output,
        outbox: Outbox,
        *,
        now_ns: Callable[[], int],
        batch: int = 500,
        send_limit_s: float = 30.0,
        first_delay_s: float = 1.0,
        longest_delay_s: float = 300.0,
        flush_limit_s: float = 5.0,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.output = output
        self.counters = DeliveryCounters()
        self.up: bool | None = None
        """None before the first try."""
        self.last_error = ""
        self._outbox = outbox
        self._now_ns = now_ns
        self._batch = batch
        self._send_limit_s = send_limit_s
        self._first_delay_s = first_delay_s
        self._longest_delay_s = longest_delay_s
        self._flush_limit_s = flush_limit_s
        self._jitter = jitter
        self._wake = asyncio.Event()
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()  # Ends a pause.
        self._deadline: asyncio.Timeout | None = None
        self._started = False
        self._failures_in_row = 0
        self._outbox_failures = 0
        self._held: dict[str, tuple[int, int]] = {}  # alert id -> (row, its next try in ns)
        # Rows that the output took and the outbox did not forget yet, with their alerts.
        self._unrecorded: dict[int, str] = {}
        self._unrecorded_since_s = 0.0
        self._logged_ns = 0
        self._unlogged = 0

    def wake(self) -> None:
        """Something was queued. Cheap, and may be called from the event loop at any time."""
        self._wake.set()

    def retry(self) -> None:
        """What waits for its next try is due now, and so is the output. Cheap, as ``wake``."""
        self._held.clear()
        self._hurry.set()
        self._wake.set()

    def stop(self) -> None:
        """Ask ``run`` to hand over what is due without further tries, within the flush limit, and to return."""
        if self._stop.is_set():
            return
        self._stop.set()
        self._hurry.set()
        self._wake.set()
        if self._deadline is not None:
            self._deadline.reschedule(asyncio.get_running_loop().time() + self._flush_limit_s)

    async def run(self) -> None:
        """Work until ``stop``; closes the output at the end, whatever the end is."""
        # What failed before a restart is due again after the longest pause at most, and nobody wakes us for it.
        recheck_ns = self._now_ns() + int(self._longest_delay_s * NS_PER_S)
        deadline = asyncio.timeout(self._flush_limit_s if self._stop.is_set() else None)
        try:
            async with deadline:
                self._deadline = deadline
                while True:
                    stopping = self._stop.is_set()
                    self._wake.clear()
                    self._hurry.clear()
                    more, pause_s = await self._serve()
                    if stopping and not more:
                        return
                    if pause_s is not None:
                        if not self._stop.is_set():
                            await _event_within(self._hurry, pause_s)
                    elif not more and not self._stop.is_set():
                        now_ns = self._now_ns()
                        times = [t for t in (recheck_ns, *(t for _, t in self._held.values())) if t > now_ns]
                        await _event_within(self._wake, (min(times) - now_ns) / NS_PER_S if times else None)
        except TimeoutError:
            if not deadline.expired():
                raise
            log.warning("output flush ended early", destination=self.output.name, elapsed_s=self._flush_limit_s)
        finally:
            self._deadline = None
            await self._record_last()
            await self._close()

    async def _serve(self) -> tuple[bool, float | None]:
        """
        Send what is due, oldest first, and stop at the first failure of the output or the outbox.

        Returns:
            Whether there may be more to send at once, and the pause in s to make before, None after no failure.
        """
        if not self._started:
            try:
                await self.output.start()
            except EnvironmentProblem as error:
                return False, self._output_failed(error)
            self._started = True
        try:
            return await self._send_due()
        except EnvironmentProblem as error:
            self._outbox_failures += 1
            if self._outbox_failures == 1:
                log.warning("outbox can't be used", destination=self.output.name, err=str(error))
            return False, self._delay_s(self._outbox_failures)

    async def _send_due(self) -> tuple[bool, float | None]:
        """As ``_serve``. Errors of the outbox go out."""
        now_ns = self._now_ns()
        queued = await self._outbox.due(self.output.name, self._batch)
        try:
            self._forget_holds(queued, now_ns)
            moved, pause_s = await self._send_each(queued, now_ns)
        finally:
            self._outbox.let_go(self.output.name, frozenset(self._unrecorded))
        if pause_s is None and self._outbox_failures:
            log.info("outbox can be used again", destination=self.output.name, count=self._outbox_failures)
            self._outbox_failures = 0
        return moved, pause_s

    async def _send_each(self, queued: Sequence[QueuedAlert], now_ns: int) -> tuple[bool, float | None]:
        moved = False
        for row in queued:
            hold = self._held.get(row.alert.id)
            if hold is not None and (hold[0] != row.id or hold[1] > now_ns):
                continue
            if row.id not in self._unrecorded:
                if row.alert.id in self._unrecorded.values():
                    # A crash may send a state twice, and never an older one after a newer one of the same alert.
                    await self._record()
                try:
                    if not await self._send(row):
                        continue
                except EnvironmentProblem as error:
                    await self._record()
                    pause_s = self._output_failed(error)
                    aside_s = STEP_ASIDE_S if row.attempts >= STEP_ASIDE_AFTER else 0.0
                    await self._put_off(row, str(error), pause_s + aside_s)
                    return False, pause_s
                self._note_sent(row)
            moved = True
            if (
                len(self._unrecorded) >= RECORD_AFTER_ROWS
                or self._mono_s() - self._unrecorded_since_s >= RECORD_AFTER_S
            ):
                await self._record()
        await self._record()
        return moved, None

    def _note_sent(self, row: QueuedAlert) -> None:
        if not self._unrecorded:
            self._unrecorded_since_s = self._mono_s()
        self._unrecorded[row.id] = row.alert.id

    async def _record(self) -> None:
        """Tell the outbox what the output took."""
        if self._unrecorded:
            rows = list(self._unrecorded)
            await self._outbox.delivered(rows)
            for row in rows:
                del self._unrecorded[row]

    async def _record_last(self) -> None:
        """Whatever ends the work, what was sent shall not be sent again."""
        with contextlib.suppress(EnvironmentProblem, TimeoutError):
            async with asyncio.timeout(self._flush_limit_s):
                await self._record()

    def _mono_s(self) -> float:
        return asyncio.get_running_loop().time()

    async def _send(self, row: QueuedAlert) -> bool:
        """
        Hand one row to the output.

        Returns:
            False: the output broke on it, and the row was put off by itself.

        Raises:
            EnvironmentProblem: the output is down.
        """
        try:
            async with asyncio.timeout(self._send_limit_s) as limit:
                await self.output.send(row.alert, row.sequence)
        except EnvironmentProblem:
            raise
        # A mistake in an output must not end the daemon, nor keep the other alerts from going out.
        except Exception as error:
            if limit.expired():
                self.counters.timeouts += 1
                raise DeliveryError(f"no result within {self._send_limit_s:g} s") from error
            self.counters.failures += 1
            self.counters.bugs += 1
            if row.attempts == 0:
                log.exception("output broke on an alert", destination=self.output.name, alert=row.alert.id)
            await self._put_off(row, f"{type(error).__name__}: {error}", self._delay_s(row.attempts + 1))
            return False
        self._held.pop(row.alert.id, None)
        self.counters.delivered += 1
        self._failures_in_row = 0
        if self.up is False:
            log.info("output up", destination=self.output.name)
        self.up = True
        return True

    async def _put_off(self, row: QueuedAlert, err: str, delay_s: float) -> None:
        next_try_ns = self._now_ns() + int(delay_s * NS_PER_S)
        self._held[row.alert.id] = (row.id, next_try_ns)
        await self._outbox.failed(row.id, err, next_try_ns)

    def _forget_holds(self, queued: Sequence[QueuedAlert], now_ns: int) -> None:
        """A held row that should be due but is not there was taken out of the outbox by somebody else."""
        ids = {row.id for row in queued}
        last = queued[-1].id if len(queued) >= self._batch else None
        for alert, (row, next_try_ns) in list(self._held.items()):
            if next_try_ns <= now_ns and row not in ids and (last is None or row < last):
                del self._held[alert]

    def _output_failed(self, error: EnvironmentProblem) -> float:
        """Count and tell a failure of the output; gives the pause in s that follows it."""
        self.counters.failures += 1
        self._failures_in_row += 1
        self.last_error = str(error)
        now_ns = self._now_ns()
        if self.up is not False:
            log.warning("output down", destination=self.output.name, err=self.last_error)
            self._logged_ns, self._unlogged = now_ns, 0
        elif now_ns - self._logged_ns >= LOG_EVERY_NS:
            # The first failure at once, later ones at most once a minute with how many there were.
            log.warning(
                "output still down", destination=self.output.name, err=self.last_error, count=self._unlogged + 1
            )
            self._logged_ns, self._unlogged = now_ns, 0
        else:
            self._unlogged += 1
        self.up = False
        return self._delay_s(self._failures_in_row)

    def _delay_s(self, failures: int) -> float:
        # The exponent is bounded, as a power of a float overflows after many failures.
        longest_s = min(self._longest_delay_s, self._first_delay_s * 2.0 ** min(failures - 1, 30))
        return longest_s * (1.0 - 0.5 * self._jitter())

    async def _close(self) -> None:
        try:
            async with asyncio.timeout(self._flush_limit_s):
                await self.output.close()
        except (EnvironmentProblem, OSError) as error:
            # TimeoutError is an OSError.
            log.warning("output did not close", destination=self.output.name, err=f"{type(error).__name__}: {error}")


async def _event_within(event: asyncio.Event, limit_s: float | None) -> None:
    """Wait for the event, at most ``limit_s``; None: as long as it takes."""
    try:
        async with asyncio.timeout(limit_s):
            await event.wait()
    except TimeoutError:
        pass
