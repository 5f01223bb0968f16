"""The delivery worker against an outbox in memory, an output that fails as told, and a clock of its own."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from collectord.errors import DeliveryError, StoreError
from collectord.model import NS_PER_S, Alert, AlertState, Mode, Severity
from collectord.outputs import delivery
from collectord.outputs.delivery import DeliveryWorker, QueuedAlert


def alert(name: str, state: AlertState = AlertState.RAISED) -> Alert:
    return Alert(
        id=name,
        episode=1,
        event=state.value,
        rule="r",
        state=state,
        severity=Severity.MEDIUM,
        mode=Mode.NOTIFY,
        site="",
        key={},
        count=1,
        threshold=1,
        window_s=60,
        first_time_ns=0,
        last_time_ns=0,
        title="",
        summary="",
    )


@dataclass
class Waiting:
    row: QueuedAlert
    next_try_ns: int = 0


class World:
    """Outbox, output and clock: a wait of the worker makes the clock jump to its end."""

    name = "noc"

    def __init__(self) -> None:
        self.now_ns = 1_000 * NS_PER_S
        self.waiting: dict[int, Waiting] = {}
        self.sent: list[tuple[str, str]] = []
        self.forgotten: list[int] = []
        self.failures: list[tuple[int, str, float]] = []
        self.pauses: list[float | None] = []
        self.asked = 0
        self.closed = 0
        self.sending: Callable[[Alert], Awaitable[None]] | None = None
        self.starting: Callable[[], None] = lambda: None
        self.storing: Callable[[str], None] = lambda _: None
        self.changed = asyncio.Event()

    def queue(self, *alerts: Alert) -> None:
        for state in alerts:
            number = len(self.waiting) + len(self.forgotten) + 1
            self.waiting[number] = Waiting(QueuedAlert(number, state, number, 0))

    # Outbox

    async def due(self, output: str, limit: int) -> Sequence[QueuedAlert]:
        assert output == "noc"
        self.asked += 1
        self.storing("due")
        found: list[QueuedAlert] = []
        alerts: set[str] = set()
        for waiting in self.waiting.values():
            if waiting.row.alert.id not in alerts and waiting.next_try_ns <= self.now_ns:
                found.append(waiting.row)
            alerts.add(waiting.row.alert.id)
        return found[:limit]

    async def delivered(self, ids: Sequence[int]) -> None:
        self.storing("delivered")
        for id in ids:
            del self.waiting[id]
            self.forgotten.append(id)
        self.changed.set()

    async def failed(self, id: int, err: str, next_try_ns: int) -> None:
        self.storing("failed")
        waiting = self.waiting[id]
        waiting.row = replace(waiting.row, attempts=waiting.row.attempts + 1)
        waiting.next_try_ns = next_try_ns
        self.failures.append((id, err, (next_try_ns - self.now_ns) / NS_PER_S))

    def let_go(self, output: str, but: Collection[int]) -> None:
        self.in_hand = set(but)

    # Output

    def wants(self, alert: Alert) -> bool:
        return True

    async def start(self) -> None:
        self.starting()

    async def send(self, alert: Alert, sequence: int) -> None:
        assert self.waiting[sequence].row.alert is alert
        if self.sending is not None:
            await self.sending(alert)
        self.sent.append((alert.id, alert.state.value))

    async def close(self) -> None:
        self.closed += 1

    # Clock

    async def wait(self, event: asyncio.Event, limit_s: float | None) -> None:
        self.pauses.append(limit_s)
        if event.is_set():
            return
        # A worker that has nothing left waits for real, as nobody turns the clock on.
        if limit_s is None or not self.waiting:
            self.changed.set()
            await event.wait()
            return
        self.now_ns += int(limit_s * NS_PER_S)
        await asyncio.sleep(0)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    monkeypatch.setattr(delivery, "_event_within", world.wait)
    return world


def worker_of(world: World, **changes: Any) -> DeliveryWorker:
    options: dict[str, Any] = {"now_ns": lambda: world.now_ns, "jitter": lambda: 0.0}
    return DeliveryWorker(world, world, **(options | changes))


@contextlib.asynccontextmanager
async def running(worker: DeliveryWorker) -> AsyncIterator[None]:
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        tasks.create_task(worker.run())
        yield
        worker.stop()


async def until(world: World, condition: Callable[[], bool]) -> None:
    while not condition():
        world.changed.clear()
        await world.changed.wait()


@dataclass
class Failing:
    """Fails for the named alerts, or for all, as often as told."""

    times: int
    alerts: set[str] | None = None
    error: Exception = field(default_factory=lambda: DeliveryError("connection refused"))

    async def __call__(self, state: Alert) -> None:
        if self.times and (self.alerts is None or state.id in self.alerts):
            self.times -= 1
            raise self.error


async def test_sends_what_waits_in_order(world: World) -> None:
    world.queue(alert("a"), alert("b"), alert("a", AlertState.CLEARED))
    worker = worker_of(world)
    async with running(worker):
        await until(world, lambda: not world.waiting)
    assert world.sent == [("a", "raised"), ("b", "raised"), ("a", "cleared")]
    assert (worker.up, worker.counters.delivered, worker.counters.failures) == (True, 3, 0)
    assert world.in_hand == set()
    assert world.closed == 1


async def test_more_than_a_batch(world: World) -> None:
    world.queue(*(alert(str(n)) for n in range(25)))
    async with running(worker_of(world, batch=10)):
        await until(world, lambda: not world.waiting)
    assert [name for name, _ in world.sent] == [str(n) for n in range(25)]


async def test_idle_asks_nothing_until_woken(world: World) -> None:
    worker = worker_of(world)
    async with running(worker):
        await until(world, lambda: bool(world.pauses))
        assert world.asked == 1
        for _ in range(20):
            await asyncio.sleep(0)
        assert world.asked == 1
        world.queue(alert("a"))
        worker.wake()
        await until(world, lambda: not world.waiting)
    # The last pass of a stop asks once more.
    assert world.asked <= 4


async def test_what_failed_before_a_restart_is_found(world: World) -> None:
    """Nobody wakes the worker for a row whose next try lies ahead."""
    world.queue(alert("a"))
    world.waiting[1].next_try_ns = world.now_ns + 250 * NS_PER_S
    async with running(worker_of(world, longest_delay_s=300)):
        await until(world, lambda: not world.waiting)
    assert world.pauses[0] == 300
    assert world.sent == [("a", "raised")]


async def test_down_backs_off_and_keeps_the_order(world: World) -> None:
    world.queue(alert("a"), alert("b"), alert("a", AlertState.CLEARED))
    world.sending = Failing(3)
    worker = worker_of(world, first_delay_s=1, longest_delay_s=300)
    with capture_logs() as logs:
        async with running(worker):
            await until(world, lambda: not world.waiting)
    assert world.sent == [("a", "raised"), ("b", "raised"), ("a", "cleared")]
    assert world.pauses[:3] == [1, 2, 4]
    assert world.failures == [(1, "connection refused", 1), (1, "connection refused", 2), (1, "connection refused", 4)]
    assert (worker.up, worker.last_error, worker.counters.failures) == (True, "connection refused", 3)
    assert [(line["event"], line.get("err")) for line in logs] == [
        ("output down", "connection refused"),
        ("output up", None),
    ]


async def test_the_pause_is_bounded_and_jittered(world: World) -> None:
    """A row that failed often waits a little longer than the output, so that others go first."""
    world.queue(alert("a"))
    world.sending = Failing(2000)
    async with running(worker_of(world, first_delay_s=1, longest_delay_s=60, jitter=lambda: 0.999)):
        await until(world, lambda: not world.waiting)
    delays = [delay for _, _, delay in world.failures]
    assert delays[0] == pytest.approx(0.5, rel=0.01)
    assert min(delays[10:]) == pytest.approx(30 + delivery.STEP_ASIDE_S, rel=0.01)
    assert max(delays) <= 60 + delivery.STEP_ASIDE_S


async def test_a_long_outage_is_logged_now_and_then(world: World) -> None:
    world.queue(alert("a"))
    world.sending = Failing(20)
    with capture_logs() as logs:
        async with running(worker_of(world, first_delay_s=10, longest_delay_s=10)):
            await until(world, lambda: not world.waiting)
    assert [line["event"] for line in logs] == ["output down", *["output still down"] * 4, "output up"]
    # One every minute, with how many failures it stands for: every 10 s at first, every 15 s later.
    assert [line["count"] for line in logs[1:5]] == [5, 4, 4, 4]


async def test_a_refused_alert_lets_the_others_go(world: World) -> None:
    """A receiver that closes the connection for one message must not cost all the others."""
    world.queue(alert("poison"), alert("a"), alert("poison", AlertState.CLEARED), alert("b"))
    world.sending = Failing(10, {"poison"})
    async with running(worker_of(world)):
        await until(world, lambda: not world.waiting)
    assert world.sent == [("a", "raised"), ("b", "raised"), ("poison", "raised"), ("poison", "cleared")]


async def test_a_broken_output_holds_only_that_alert(world: World) -> None:
    """An exception that the output does not declare is a mistake: told once with its trace, and stepped over."""
    world.queue(alert("a"), alert("b"), alert("a", AlertState.CLEARED))
    world.sending = Failing(2, {"a"}, KeyError("x"))
    worker = worker_of(world)
    with capture_logs() as logs:
        async with running(worker):
            await until(world, lambda: not world.waiting)
    assert world.sent == [("b", "raised"), ("a", "raised"), ("a", "cleared")]
    assert (worker.counters.bugs, worker.counters.failures, worker.up) == (2, 2, True)
    assert [(line["event"], line["log_level"]) for line in logs] == [("output broke on an alert", "error")]
    assert world.failures[0][:2] == (1, "KeyError: 'x'")


async def test_a_clear_waits_even_if_the_outbox_hands_it_over(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def careless(output: str, limit: int) -> Sequence[QueuedAlert]:
        return [w.row for w in world.waiting.values() if w.next_try_ns <= world.now_ns][:limit]

    monkeypatch.setattr(world, "due", careless)
    world.queue(alert("a"), alert("a", AlertState.UPDATED), alert("a", AlertState.CLEARED))
    world.sending = Failing(2, {"a"}, KeyError("x"))
    async with running(worker_of(world)):
        await until(world, lambda: not world.waiting)
    assert world.sent == [("a", "raised"), ("a", "updated"), ("a", "cleared")]


async def test_a_row_that_was_taken_away_holds_nobody(world: World) -> None:
    world.queue(alert("a"), alert("a", AlertState.CLEARED))

    async def fails_and_vanishes(state: Alert) -> None:
        if state.state is AlertState.RAISED:
            asyncio.get_running_loop().call_soon(world.waiting.pop, 1)
            raise KeyError("x")

    world.sending = fails_and_vanishes
    async with running(worker_of(world)):
        await until(world, lambda: not world.waiting)
    assert world.sent == [("a", "cleared")]


async def test_a_send_has_a_time_limit(world: World) -> None:
    world.queue(alert("a"))
    stuck = [True]

    async def slow(_: Alert) -> None:
        if stuck.pop() if stuck else False:
            await asyncio.get_running_loop().create_future()

    world.sending = slow
    worker = worker_of(world, send_limit_s=0.01)
    async with running(worker):
        await until(world, lambda: not world.waiting)
    assert worker.counters.timeouts == 1
    assert world.failures[0][1] == "no result within 0.01 s"


async def test_start_is_tried_again(world: World) -> None:
    errors: list[Exception] = [StoreError("can't write snmp_engine.json")]

    def starting() -> None:
        if errors:
            raise errors.pop()

    world.starting = starting
    world.queue(alert("a"))
    worker = worker_of(world)
    async with running(worker):
        await until(world, lambda: not world.waiting)
    assert (worker.last_error, worker.up) == ("can't write snmp_engine.json", True)


async def test_an_outbox_that_is_down_is_tried_again_and_nothing_is_sent_twice(world: World) -> None:
    broken = ["due", "delivered", "delivered"]

    def storing(call: str) -> None:
        if broken and broken[0] == call:
            broken.pop(0)
            raise StoreError("database is locked")

    world.storing = storing
    world.queue(alert("a"), alert("b"))
    with capture_logs() as logs:
        async with running(worker_of(world)):
            await until(world, lambda: not world.waiting)
    assert world.sent == [("a", "raised"), ("b", "raised")]
    assert [line["event"] for line in logs] == ["outbox can't be used", "outbox can be used again"]


async def test_stop_hands_over_what_waits_without_further_tries(world: World) -> None:
    world.queue(alert("a"), alert("b"))
    worker = worker_of(world)
    worker.stop()
    await worker.run()
    assert world.sent == [("a", "raised"), ("b", "raised")]
    world.queue(alert("c"))
    world.sending = Failing(100)
    again = worker_of(world)
    again.stop()
    await again.run()
    assert len(world.failures) == 1
    assert world.closed == 2


async def test_stop_is_bounded(world: World) -> None:
    world.queue(alert("a"))
    begun = asyncio.Event()

    async def slow(_: Alert) -> None:
        begun.set()
        await asyncio.get_running_loop().create_future()

    world.sending = slow
    worker = worker_of(world, flush_limit_s=0.01)
    with capture_logs() as logs:
        async with running(worker):
            await begun.wait()
            worker.stop()
    assert [line["event"] for line in logs] == ["output flush ended early"]
    assert world.closed == 1
    assert 1 in world.waiting


async def test_stop_waits_for_what_is_under_way(world: World) -> None:
    world.queue(alert("a"), alert("b"))
    begun, taken = asyncio.Event(), asyncio.Event()

    async def slow(_: Alert) -> None:
        begun.set()
        await taken.wait()

    world.sending = slow
    worker = worker_of(world, flush_limit_s=10)
    async with running(worker):
        await begun.wait()
        worker.stop()
        await asyncio.sleep(0)
        taken.set()
    assert world.sent == [("a", "raised"), ("b", "raised")]


async def test_a_time_limit_of_somebody_else_is_not_taken_for_the_flush(world: World) -> None:
    def storing(_: str) -> None:
        raise TimeoutError("of the outbox")

    world.storing = storing
    with pytest.raises(TimeoutError, match="of the outbox"):
        await worker_of(world).run()
    assert world.closed == 1


async def test_an_output_that_does_not_close(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never() -> None:
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(world, "close", never)
    worker = worker_of(world, flush_limit_s=0.01)
    worker.stop()
    with capture_logs() as logs:
        await worker.run()
    assert [line["event"] for line in logs] == ["output did not close"]


async def test_waiting_ends_with_the_event_or_the_limit() -> None:
    event = asyncio.Event()
    await delivery._event_within(event, 0.001)
    event.set()
    await delivery._event_within(event, None)


async def test_what_was_sent_is_noted_some_at_a_time(world: World) -> None:
    """Fewer transactions; at most that many are sent twice after a crash, and never a raise after its clear."""
    noted: list[int] = []
    record = world.delivered

    async def delivered(ids: Sequence[int]) -> None:
        noted.append(len(ids))
        await record(ids)

    world.delivered = delivered  # type: ignore[method-assign]
    world.queue(*(alert(str(number)) for number in range(delivery.RECORD_AFTER_ROWS + 3)))
    async with running(worker_of(world)):
        await until(world, lambda: not world.waiting)
    assert sum(noted) == delivery.RECORD_AFTER_ROWS + 3
    assert max(noted) <= delivery.RECORD_AFTER_ROWS


async def test_a_raise_is_noted_before_its_clear_is_sent(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a crash would raise what is over once more."""

    async def due(output: str, limit: int) -> Sequence[QueuedAlert]:
        return [waiting.row for waiting in world.waiting.values()]

    async def sending(state: Alert) -> None:
        if state.state is AlertState.CLEARED:
            assert world.forgotten == [1, 2]

    monkeypatch.setattr(world, "due", due)
    world.sending = sending
    world.queue(alert("a"), alert("b"), alert("a", AlertState.CLEARED))
    async with running(worker_of(world)):
        await until(world, lambda: not world.waiting)
    assert world.sent == [("a", "raised"), ("b", "raised"), ("a", "cleared")]


@dataclass
class Pauses:
    """Pauses that only their event ends; a worker that has nothing to do waits as well."""

    lengths: list[float] = field(default_factory=list)
    begun: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait(self, event: asyncio.Event, limit_s: float | None) -> None:
        if limit_s is not None:
            self.lengths.append(limit_s)
            if not event.is_set():
                self.begun.set()
        await event.wait()


async def test_a_retry_ends_one_pause(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody asked for it: nothing waits for its time. The next pause is one again."""
    pauses = Pauses()
    monkeypatch.setattr(delivery, "_event_within", pauses.wait)
    world.sending = Failing(2)
    world.queue(alert("a"))
    worker = worker_of(world, first_delay_s=100.0, longest_delay_s=100.0)
    async with running(worker):
        for failures in (1, 2):
            await pauses.begun.wait()
            pauses.begun.clear()
            assert (len(world.failures), len(pauses.lengths)) == (failures, failures)
            world.waiting[1].next_try_ns = 0
            worker.retry()
        await until(world, lambda: not world.waiting)
    assert pauses.lengths[0] == 100.0
    assert worker.up


async def test_a_stop_ends_the_pause(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = Pauses()
    monkeypatch.setattr(delivery, "_event_within", pauses.wait)
    world.sending = Failing(1)
    world.queue(alert("a"))
    async with running(worker_of(world, first_delay_s=100.0, flush_limit_s=60)):
        await pauses.begun.wait()
    assert len(world.failures) == 1
