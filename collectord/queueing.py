"""Between alerts and outputs: who is told of what, the outbox as workers want it, and what people ask of it."""

import contextlib
import dataclasses
import socket
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from collectord import log as logs
from collectord.actions import user_name
from collectord.clock import Clock
from collectord.control import Handler
from collectord.detect.alerts import identity
from collectord.errors import RequestError, StoreError
from collectord.model import AlarmType, Alert, AlertState, Mode, Severity
from collectord.outputs.delivery import DeliveryWorker, Output, QueuedAlert
from collectord.policy import OutputPolicy
from collectord.store import audit
from collectord.store.db import Database
from collectord.store.outbox import Outbox
from collectord.store.writer import Writer
from collectord.tick import Tick

log = logs.get()

TEST_RULE = "test"
"""What the alerts of ``collectord test-alert`` say for their rule."""

EVERYBODY = "all"
"""What the key of a test alert to every output says."""

MOST_NAMED = 10
"""Test alerts that are named to whoever wants to clear another."""

MOST_IDS = 10_000
"""Entries that one request names."""


def receivers(
    alert: Alert, outputs: Sequence[tuple[Output, Severity]], policies: Mapping[str, OutputPolicy] | None = None
) -> list[str]:
    """Names of the outputs that want an alert's state: none where it is only reported, or held back."""
    if not alert.is_sent:
        return []
    rank = alert.severity.rank
    found = []
    for output, lowest in outputs:
        sites = (policies or {}).get(output.name, OutputPolicy()).sites
        if rank >= lowest.rank and (not sites or alert.site in sites) and output.wants(alert):
            found.append(output.name)
    return found


class StoredOutbox:
    """The outbox as a delivery worker wants it: awaitable, on the store's thread."""

    def __init__(self, outbox: Outbox, writer: Writer, clock: Clock) -> None:
        self._outbox = outbox
        self._writer = writer
        self._clock = clock

    async def due(self, output: str, limit: int) -> list[QueuedAlert]:
        """As the worker's protocol says."""
        entries = await self._writer.run(self._outbox.take, output, self._clock.now_ns(), limit)
        return [QueuedAlert(entry.id, entry.alert, entry.sequence, entry.attempts) for entry in entries]

    async def delivered(self, ids: Sequence[int]) -> None:
        """As the worker's protocol says."""
        await self._writer.run(self._outbox.delivered, ids, self._clock.now_ns())

    async def failed(self, id: int, err: str, next_try_ns: int) -> None:
        """As the worker's protocol says."""
        await self._writer.run(self._outbox.failed, id, err, next_try_ns)

    def let_go(self, output: str, but: Collection[int]) -> None:
        """As the worker's protocol says."""
        self._outbox.let_go(output, but)


class OutboxRequests:
    """
    What operators ask of the outbox, by the name of their request.

    Args:
        tick: Stores alerts.
        outbox: The writing side's.
        writer: The store's thread.
        workers: Those of all outputs; may become others.
        receivers: Names of the outputs that want an alert.
        clock: The time.
        database: The writing side, for the audit.
    """

    def __init__(
        self,
        tick: Tick,
        outbox: Outbox,
        writer: Writer,
        workers: Sequence[DeliveryWorker],
        receivers: Callable[[Alert], Sequence[str]],
        clock: Clock,
        database: Database,
    ) -> None:
        self._tick = tick
        self._database = database
        self._outbox = outbox
        self._writer = writer
        self._workers = workers
        self._receivers = receivers
        self._clock = clock
        self.handlers: dict[str, Handler] = {
            "outbox-retry": self._retry,
            "alerts-resync": self._resync,
            "test-alert": self._test,
        }

    async def _retry(self, arguments: dict[str, Any], user: int) -> Any:
        output, ids = self._output(arguments), arguments.get("ids")
        if ids is not None and (
            not isinstance(ids, list)
            or len(ids) > MOST_IDS
            or not all(isinstance(each, int) and not isinstance(each, bool) and 0 < each < 2**63 for each in ids)
        ):
            raise RequestError(f"ids must be a list of at most {MOST_IDS:,} numbers")
        count = await self._writer.run(self._outbox.retry_now, output, ids)
        if ids and not count:
            raise RequestError("none of these entries waits")
        log.info("outbox is tried at once", destination=output or "all", count=count, user=user)
        await self._note(user, "outbox retry", output, f"{count} entries")
        for worker in self._chosen(output):
            worker.retry()
        return count

    async def _resync(self, arguments: dict[str, Any], user: int) -> Any:
        output = self._output(arguments)
        answer = await self._writer.run(self._told_again, [worker.output.name for worker in self._chosen(output)])
        log.info("active alerts are told again", destination=output or "all", user=user)
        await self._note(user, "alerts resync", output, f"{sum(each['queued'] for each in answer)} queued")
        for worker in self._chosen(output):
            worker.wake()
        return answer

    def _told_again(self, outputs: Sequence[str]) -> list[dict[str, Any]]:
        active = self._tick.alerts.active()
        wanted = {alert.id: set(self._receivers(alert)) for alert in active}
        answer = []
        for output in outputs:
            ids = {alert_id for alert_id, names in wanted.items() if output in names}
            queued, waiting, later = self._outbox.resync(output, active, ids, self._clock.now_ns())
            answer.append({"output": output, "queued": queued, "waiting": waiting, "later": later})
        return answer

    async def _test(self, arguments: dict[str, Any], user: int) -> Any:
        output = self._output(arguments)
        clear = arguments.get("clear", False) is True
        names = [worker.output.name for worker in self._chosen(output)]
        alert = await self._writer.run(self._test_state, output, clear)
        await self._writer.run(self._tick.alerts.record, [alert], [names])
        # Behind one that waits out its pause this one would wait, too, and nobody would learn why.
        await self._writer.run(self._outbox.retry_now, output, None)
        log.info("test alert", alert=alert.id, state=alert.state.value, destination=output or "all", user=user)
        await self._note(user, "test-alert", output, alert.state.value)
        failures = {}
        for worker in self._chosen(output):
            failures[worker.output.name] = worker.counters.failures
            worker.retry()
        return {**alert.as_json(), "failures": failures}

    def _test_state(self, output: str | None, clear: bool) -> Alert:
        key = {"output": output or EVERYBODY}
        alert_id = identity(TEST_RULE, "", key)
        before = self._tick.alerts.show(alert_id)
        active = before is not None and before.state is not AlertState.CLEARED
        now_ns = self._clock.now_ns()
        host = socket.gethostname()
        what = f"test alert of collectord on {host} to {'every output' if output is None else f'the output {output}'}"
        if clear:
            if before is None or not active:
                raise RequestError(self._none_to_clear(output))
            return dataclasses.replace(
                before,
                event=AlertState.CLEARED.value,
                state=AlertState.CLEARED,
                last_time_ns=max(now_ns, before.last_time_ns),
                summary=f"{what}: cleared",
                reason="cleared by command",
            )
        # Sent once more while it is active, it is the same alarm, and a raise again.
        number = int(before.event.partition(":")[2] or 1) + 1 if before is not None and active else 1
        return Alert(
            id=alert_id,
            episode=(before.episode if before is not None else 0) + (not active),
            event=AlertState.RAISED.value if number == 1 else f"{AlertState.UPDATED.value}:{number}",
            rule=TEST_RULE,
            state=AlertState.RAISED,
            severity=Severity.MEDIUM,
            mode=Mode.NOTIFY,
            site="",
            key=dict(key),
            count=1,
            threshold=0,
            window_s=0,
            first_time_ns=before.first_time_ns if before is not None and active else now_ns,
            last_time_ns=now_ns,
            title="Test alert",
            summary=f"{what}: nothing is wrong (collectord test-alert {_clearing(output)} ends it)",
            last_over_ns=now_ns,
            peak=1,
            alarm_type=AlarmType.TEST,
        )

    def _none_to_clear(self, output: str | None) -> str:
        """Why there is nothing to clear; what there is may have been sent with another ``--output``, or without."""
        active = self._tick.alerts.find(active=True, rule=TEST_RULE, limit=MOST_NAMED)
        names = [each.key.get("output") for each in active]
        ends = [f"collectord test-alert {_clearing(None if name == EVERYBODY else str(name))}" for name in names]
        none = "there is no test alert that could clear" + (f" for {output}" if output else "")
        return f"{none}; what is active ends with: {', '.join(ends)}" if ends else none

    async def _note(self, user: int, what: str, output: str | None, reason: str) -> None:
        """Into the audit; the command is done, so a database that can't be written does not refuse it."""
        with contextlib.suppress(StoreError):
            await self._writer.run(
                audit.note, self._database, self._clock.now_ns(), user_name(user), what, output or "all", reason
            )

    def _output(self, arguments: dict[str, Any]) -> str | None:
        output = arguments.get("output")
        names = [worker.output.name for worker in self._workers]
        if output is not None and (not isinstance(output, str) or output not in names):
            raise RequestError(f"there is no such output; there are: {', '.join(names) or 'none'}")
        return output

    def _chosen(self, output: str | None) -> list[DeliveryWorker]:
        return [worker for worker in self._workers if output in (None, worker.output.name)]


def _clearing(output: str | None) -> str:
    """The options that clear a test alert."""
    return "--clear" if output is None else f"--clear --output {output}"
