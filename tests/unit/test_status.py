"""What ``collectord status`` gets from the running daemon."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from collectord import __version__, plan
from collectord.clock import ManualClock
from collectord.config import Config
from collectord.engine import BUILD
from collectord.errors import Problem, StoreError
from collectord.inputs.stream import TcpListener
from collectord.inputs.udp import UdpListener
from collectord.model import rfc3339
from collectord.outputs.heartbeat import HeartbeatCounters
from collectord.outputs.snmp import SnmpOutput
from collectord.outputs.snmp_engine import NotificationEngine
from collectord.outputs.snmp_users import Community
from collectord.reload import Reload
from collectord.status import DaemonStatus
from collectord.store.figures import Figures
from collectord.store.outbox import OutboxCounts
from collectord.tick_counters import TickCounters

START_S = 1_800_000_000


class FakeWriter:
    """Calls at once, unless it is busy."""

    def __init__(self) -> None:
        self.busy = False
        self.error: Exception | None = None
        self.asked: list[asyncio.Future[Any]] = []

    async def ask(self, call: Callable[..., Any], *arguments: Any) -> asyncio.Future[Any]:
        future = asyncio.get_running_loop().create_future()
        self.asked.append(future)
        if self.error is not None:
            future.set_exception(self.error)
        elif not self.busy:
            future.set_result(call(*arguments))
        return future


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START_S * 10**9)


@pytest.fixture
def worker() -> SimpleNamespace:
    """An output that works."""
    counters = SimpleNamespace(delivered=7, failures=2)
    return SimpleNamespace(output=SimpleNamespace(name="noc"), up=True, counters=counters, last_error="")


@pytest.fixture
def tick() -> SimpleNamespace:
    counters = TickCounters(
        refused={"too many": 1},
        ticks=9,
        engine_bugs=2,
        last_duration_ns=1_500_000,
        longest_duration_ns=2_000_000,
        carried=3,
        evicted={"port_volume": 4},
        exempted={"port_volume": 6},
        ailing={"messages-lost": 1},
        ended_mono_ns=1,
        message_mono_ns={"udp": 20_000_000_000},
    )
    limited = SimpleNamespace(now=({"peer": "192.0.2.9", "listener": "udp", "since": "", "dropped": 5},))
    return SimpleNamespace(
        counters=counters,
        limited=limited,
        outcomes={"udp": {"session": 5, "unparsed": 1}},
        figures=Figures(used_bytes=4096),
        standing=SimpleNamespace(failing_s=0, reason="", replaced=0, moved_to=None),
        under_way_ns=lambda: 2_500_000,
    )


@pytest.fixture
def reloads() -> list[Reload]:
    """What became of changed configurations, the newest last."""
    return []


@pytest.fixture
def writer() -> FakeWriter:
    return FakeWriter()


@pytest.fixture
def status(
    clock: ManualClock,
    listeners: list[Any],
    worker: SimpleNamespace,
    tick: SimpleNamespace,
    tmp_path: Path,
    reloads: list[Reload],
    writer: FakeWriter,
) -> DaemonStatus:
    """The status of a daemon whose parts are as the other fixtures say."""
    seed = [rule for rule in plan.load(None).rules if rule.name in ("excessive-failures", "port-misuse")]
    setup = plan.check(Config(state_dir=tmp_path), seed)
    states = SimpleNamespace(active_count=2)
    outbox = SimpleNamespace(
        counts=lambda: {"noc": OutboxCounts(3, 1, 7, 0, {"age": 4}, 2), "gone": OutboxCounts(1, 1, 1, 0)}
    )
    parts: Any = (listeners, [worker], tick, states, writer, outbox)
    tick.setup = setup
    return DaemonStatus(clock, *parts, lambda: reloads[-1] if reloads else None)


async def test_everything_is_told(
    status: DaemonStatus, clock: ManualClock, listeners: list[UdpListener | TcpListener], tmp_path: Path
) -> None:
    clock.advance(61.7)
    listeners[0].received = 6
    answer = await status.answer({}, 0)

    assert answer == {
        "version": __version__,
        "engine": BUILD,
        "running": True,
        "started": "2027-01-15T08:00:00.000Z",
        "uptime_s": 61,
        "reload": None,
        "learn_until": None,
        "database": str(tmp_path / "collectord.db"),
        "store": {"failing_s": 0, "reason": "", "replaced": 0, "moved_to": None},
        "listeners": [
            {
                "type": "udp", "name": "udp", "host": "127.0.0.1", "port": listeners[0].address[1], "received": 6,
                "addresses": [{"host": "127.0.0.1", "port": listeners[0].address[1]}], "inherited": False,
                "idle_s": 41, "outcomes": {"session": 5, "unparsed": 1}, "kernel_drops": 0, "receive_buffer": 65536,
            },
            {
                "type": "tcp", "name": "tcp", "host": "127.0.0.1", "port": listeners[1].address[1], "received": 0,
                "addresses": [{"host": "127.0.0.1", "port": listeners[1].address[1]}], "inherited": False,
                "idle_s": None, "outcomes": {}, "connections": 0, "limit": 5,
                "refused": 0, "refused_for": {}, "held_back": [],
            },
        ],
        "store_busy": False,
        "outbox_time": "2027-01-15T08:01:01.700Z",
        "limited_peers": [{"peer": "192.0.2.9", "listener": "udp", "since": "", "dropped": 5}],
        "outputs": [
            {
                "name": "noc", "local": False, "up": True, "delivered": 7, "failures": 2, "waiting": 3,
                "dropped": {"age": 4}, "owed": 2, "last_error": "",
            },
        ],
        "snmp": None,
        "alerts": {"active": 2, "refused": {"too many": 1}, "ailing": {"messages-lost": 1}},
        "database_bytes": 4096,
        "tick": {
            "age_s": 61, "ticks": 9, "under_way_ms": 2.5, "last_ms": 1.5, "longest_ms": 2.0, "carried_rows": 3,
            "store_failures": 0,
            "unstored_alerts": 0, "lost_alerts": 0, "not_quarantined": 0, "clamped": 0,
            "shed_rows": 0,
            "engine_bugs": 2,
        },
        "counters": [
            {"name": "failures_by_source", "evicted": 0, "without_key": 0, "exempted": 0},
            {"name": "port_volume", "evicted": 4, "without_key": 0, "exempted": 6},
        ],
    }  # fmt: skip
    assert json.loads(json.dumps(answer)) == answer


async def test_learning(status: DaemonStatus, tick: SimpleNamespace, clock: ManualClock) -> None:
    """Told until it is over."""
    for ahead_s, told in ((60, True), (0, False)):
        until = datetime.fromtimestamp(clock.now_ns() // 10**9 + ahead_s, UTC)
        config = tick.setup.config.model_copy(update={"learn_until": until})
        tick.setup = replace(tick.setup, config=config)
        assert (await status.answer({}, 0))["learn_until"] == (rfc3339(config.learn_until_ns) if told else None)


async def test_a_busy_store_is_not_waited_for(
    status: DaemonStatus, clock: ManualClock, writer: FakeWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collectord.status.STORE_LIMIT_S", 0.01)
    await status.answer({}, 0)
    writer.busy = True
    clock.advance(5)
    answers = [await status.answer({}, 0) for _ in range(3)]

    assert {answer["store_busy"] for answer in answers} == {True}
    assert {answer["outbox_time"] for answer in answers} == {"2027-01-15T08:00:00.000Z"}
    assert {answer["outputs"][0]["waiting"] for answer in answers} == {3}, "what it said last"
    assert len(writer.asked) == 2, "it is asked once for all that want to know"

    writer.asked[-1].set_result({"noc": OutboxCounts(9, 9, 9, 0)})
    await asyncio.sleep(0)
    answer = await status.answer({}, 0)
    assert (answer["store_busy"], answer["outputs"][0]["waiting"]) == (True, 9), "it came late, but it came"


async def test_a_database_that_cannot_be_read_is_told(status: DaemonStatus, writer: FakeWriter) -> None:
    writer.error = StoreError("locked")
    answer = await status.answer({}, 0)

    assert (answer["store_busy"], answer["outbox_time"], answer["outputs"][0]["waiting"]) == (True, None, 0)


async def test_snmp_engine(status: DaemonStatus, worker: SimpleNamespace, tmp_path: Path) -> None:
    """What a receiver of SNMPv3 has to know, once the engine was started."""
    engine = NotificationEngine(tmp_path / "snmp_engine.json", mono_ns=lambda: 0, machine="m")
    worker.output = SnmpOutput(engine, name="noc", host="127.0.0.1", credentials=Community(lambda: "public"))
    assert (await status.answer({}, 0))["snmp"] is None

    await worker.output.start()
    assert engine.identity is not None
    engine.incoming.dropped = 3
    assert (await status.answer({}, 0))["snmp"] == {
        "engine_id": f"0x{engine.identity.engine_id.hex()}",
        "boots": 1,
        "ignored_datagrams": 3,
    }
    await worker.output.close()


async def test_an_output_without_entries(status: DaemonStatus, worker: SimpleNamespace) -> None:
    worker.output.name = "new"
    worker.up = None
    (output,) = (await status.answer({}, 0))["outputs"]

    assert (output["up"], output["waiting"], output["dropped"], output["owed"]) == (None, 0, {}, 0)


async def test_an_output_with_heartbeats(
    clock: ManualClock, worker: SimpleNamespace, tick: SimpleNamespace, tmp_path: Path
) -> None:
    """What was told beside alerts is counted beside them."""
    tick.setup = plan.check(Config(state_dir=tmp_path), [])
    outbox = SimpleNamespace(counts=dict)
    states = SimpleNamespace(active_count=2, refused={})
    heartbeats = {"noc": HeartbeatCounters(sent=5, failed=1)}
    parts: Any = ([], [worker], tick, states, FakeWriter(), outbox, lambda: None, heartbeats)
    (output,) = (await DaemonStatus(clock, *parts).answer({}, 0))["outputs"]

    assert (output["heartbeats"], output["heartbeats_failed"]) == (5, 1)


async def test_uptime_does_not_follow_the_wall_clock(status: DaemonStatus, clock: ManualClock) -> None:
    clock.set(0)
    clock.advance(5)

    assert (await status.answer({}, 0))["uptime_s"] == 5


def test_line(status: DaemonStatus, listeners: list[UdpListener | TcpListener], worker: SimpleNamespace) -> None:
    """For `systemctl status`: what is fine in few words, what is down by name."""
    listeners[0].received = 6
    listeners[1].received = 4
    assert status.line() == "10 messages, 2 active alerts, 0 dropped by the kernel"
    worker.up = False
    assert status.line() == "10 messages, 2 active alerts, 0 dropped by the kernel, down: noc"
    worker.up = None
    assert "down" not in status.line()


async def test_the_last_reload(status: DaemonStatus, reloads: list[Reload]) -> None:
    """Whether it was taken, what was wrong, and one word of it for the service manager."""
    problem = Problem("rules.d/many.toml", 9, "exempt[0].role", "is wrong", "write it right")
    reloads.append(Reload(START_S * 10**9, "ada", "/etc/c.toml", 0.25, (problem,), 2))
    assert (await status.answer({}, 0))["reload"] == {
        "time": "2027-01-15T08:00:00.000Z",
        "taken": False,
        "who": "ada",
        "config": "/etc/c.toml",
        "elapsed_s": 0.25,
        "problems": [
            {
                "file": "rules.d/many.toml", "line": 9, "key": "exempt[0].role", "reason": "is wrong",
                "hint": "write it right",
            }
        ],
        "problems_left_out": 2,
    }  # fmt: skip
    assert status.line().endswith(", reload refused: 3 problems")

    reloads.append(Reload(START_S * 10**9, "SIGHUP", "", 0.25, (), 0))
    answer = (await status.answer({}, 0))["reload"]
    assert (answer["taken"], answer["config"], answer["problems"]) == (True, None, [])
    assert "reload" not in status.line()
