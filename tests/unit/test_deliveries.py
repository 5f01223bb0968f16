"""Outputs that come, stay and go while alerts are delivered, and the one SNMP engine that they share."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from collectord.clock import ManualClock
from collectord.config import Config
from collectord.deliveries import Deliveries
from collectord.model import Severity
from collectord.output_settings import LogOutput, Output, Snmp, SnmpOutput, SyslogOutput
from collectord.outputs.delivery import QueuedAlert
from collectord.outputs.snmp import SnmpOutput as SnmpSender
from collectord.outputs.snmp_engine import NotificationEngine
from collectord.plan import Setup
from collectord.policy import OutputPolicy

from .outputs.test_syslog import alert


class FakeOutbox:
    """Nothing waits in it, and it notes who asks."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def due(self, output: str, limit: int) -> list[QueuedAlert]:
        self.asked.append(output)
        return []

    async def delivered(self, ids: Sequence[int]) -> None:
        raise AssertionError

    async def failed(self, id: int, err: str, next_try_ns: int) -> None:
        raise AssertionError

    def let_go(self, output: str, but: Collection[int]) -> None:
        pass


class FakeQueue:
    """Is told of the policies."""

    policies: dict[str, OutputPolicy] | None = None


def log(name: str = "log", **values: Any) -> LogOutput:
    return LogOutput(type="log", name=name, **values)


def snmp(name: str = "noc", **values: Any) -> SnmpOutput:
    return SnmpOutput(type="snmp", name=name, **{"host": "127.0.0.1", "port": 9, "community": "x", **values})


class Running:
    """Outputs at work, with what they leave behind."""

    def __init__(self, folder: Path, outputs: Sequence[Output], **values: Any) -> None:
        self.folder = folder
        self.queue, self.outbox = FakeQueue(), FakeOutbox()
        self.retained: list[list[str]] = []
        config = self.config(outputs, **values)
        self.deliveries = Deliveries(config, ManualClock(), active=lambda: 3)

        async def retain(names: Sequence[str]) -> None:
            self.retained.append(list(names))

        self.deliveries.connect(self.outbox, cast(Any, self.queue), retain)

    def config(self, outputs: Sequence[Output], **values: Any) -> Config:
        return Config(state_dir=self.folder, output=tuple(outputs), **{"snmp": Snmp(heartbeat="0s"), **values})

    async def change(self, *outputs: Output, **values: Any) -> None:
        """As a reload does it."""
        setup = cast(Setup, type("FakeSetup", (), {"config": self.config(outputs, **values)}))
        assert await self.deliveries.prepare(setup) is setup
        self.deliveries.take_up(setup)
        await self.deliveries.change(setup)

    @property
    def made(self) -> list[Any]:
        return [worker.output for worker in self.deliveries.workers]

    def engine(self) -> NotificationEngine:
        (found,) = {each._engine for each in self.made if isinstance(each, SnmpSender)}
        return found


@asynccontextmanager
async def running(folder: Path, *outputs: Output, **values: Any) -> AsyncIterator[Running]:
    found = Running(folder, outputs, **values)
    async with asyncio.TaskGroup() as group:
        group.create_task(found.deliveries.run())
        await until(lambda: set(found.deliveries.names) <= set(found.outbox.asked))
        yield found
        found.deliveries.stop()


async def until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110
        await asyncio.sleep(0.001)


async def test_one_comes_and_others_are_not_touched(tmp_path: Path) -> None:
    async with running(tmp_path, log()) as found:
        before = found.deliveries.workers[0]
        before.counters.delivered = 5
        await found.change(log("second"), log())
        await until(lambda: "second" in found.outbox.asked)
        assert [each.name for each in found.made] == ["second", "log"]
        assert found.deliveries.workers[1] is before
        assert found.deliveries.wanted(alert(severity=Severity.HIGH)) == ["second", "log"]
        assert found.retained == [["second", "log"]]


async def test_one_goes(tmp_path: Path) -> None:
    """What waits for it is given up, and nobody asks for it any more."""
    async with running(tmp_path, log(), log("second")) as found:
        await found.change(log())
        assert found.retained == [["log"]]
        assert found.deliveries.up() == {"log": None}
        found.outbox.asked.clear()
        found.deliveries.wake()
        await until(lambda: found.outbox.asked == ["log"])
        assert found.deliveries.wanted(alert(severity=Severity.HIGH)) == ["log"]


async def test_what_it_is_told_needs_no_other_output(tmp_path: Path) -> None:
    async with running(tmp_path, log()) as found:
        before = found.deliveries.workers[0]
        await found.change(log(min_severity="high", sites=("north",), max_waiting=500))
        assert found.deliveries.workers == [before]
        policy = OutputPolicy(("north",), max_waiting=500)
        assert found.queue.policies == {"log": policy}
        assert found.deliveries.wanted(alert(severity=Severity.MEDIUM, site="north")) == []
        assert found.deliveries.wanted(alert(severity=Severity.HIGH, site="south")) == []
        assert found.deliveries.wanted(alert(severity=Severity.HIGH, site="north")) == ["log"]


async def test_another_receiver_is_another_output(tmp_path: Path) -> None:
    """Its totals go on under the same name."""
    one = SyslogOutput(type="syslog", name="siem", host="127.0.0.1", port=9)
    async with running(tmp_path, one) as found:
        before = found.deliveries.workers[0]
        before.counters.delivered = 5
        await found.change(one.model_copy(update={"port": 10}))
        assert (before.output is not found.made[0], len(found.made)) == (True, 1)
        assert found.deliveries.workers[0].counters.delivered == 5


async def test_one_snmp_engine_for_ever(tmp_path: Path) -> None:
    """Boots rise with a start of the daemon, and not with a reload; with none left it is closed."""
    async with running(tmp_path, snmp()) as found:
        engine = found.engine()
        await until(lambda: engine.identity is not None)
        identity = engine.identity
        for outputs in ((snmp(port=10),), (snmp(port=10), snmp("second")), (snmp("third", community="y"),)):
            found.outbox.asked.clear()
            await found.change(*outputs)
            await until(lambda: {each.name for each in found.made} <= {*found.outbox.asked, "noc"})
            assert (found.engine(), engine.identity) == (engine, identity)
        await found.change(snmp("third", community="y"), snmp=Snmp(heartbeat="0s", root="1.3.6.1.4.1.99999.1"))
        assert (found.engine(), engine.identity) == (engine, identity)
        await found.change(log())
        assert engine._engine is None


@pytest.mark.parametrize(("kind", "made_anew"), [("syslog", True), ("log", False)])
async def test_another_root(tmp_path: Path, kind: str, made_anew: bool) -> None:
    """Its number stands in what syslog outputs send."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(5)
        port = receiver.getsockname()[1]
        one = log("noc") if kind == "log" else SyslogOutput(type="syslog", name="noc", host="127.0.0.1", port=port)
        async with running(tmp_path, one) as found:
            before = found.made[0]
            await found.change(one, snmp=Snmp(root="1.3.6.1.4.1.99999.1"))
            assert (found.made[0] is not before) == made_anew
            if made_anew:
                await found.made[0].send(alert(), 1)
                assert b"[collectord@99999 " in receiver.recv(65_535)


async def test_another_secret_in_the_same_file(tmp_path: Path) -> None:
    secret = tmp_path / "community"
    secret.write_text("one\n")
    secret.chmod(0o600)
    one = snmp(community=None, community_file=secret)
    async with running(tmp_path, one) as found:
        before = found.made[0]
        await found.change(one)
        assert found.made[0] is before
        secret.write_text("another\n")
        await found.change(one)
        assert found.made[0] is not before
        secret.unlink()
        await found.change(one)
        assert len(found.made) == 1


async def test_heartbeats_follow(tmp_path: Path) -> None:
    """They go on where nothing changes, and their totals stay."""

    def tried(name: str) -> int:
        counters = found.deliveries.heartbeats[name]
        return counters.sent + counters.failed  # Nobody listens there.

    async with running(tmp_path, snmp()) as found:
        assert found.deliveries.heartbeats == {}
        await found.change(snmp(), snmp=Snmp(heartbeat="30s"))
        await until(lambda: tried("noc") == 1)
        beating = found.deliveries._beating
        await found.change(snmp(min_severity="high"), snmp=Snmp(heartbeat="30s"))
        assert (found.deliveries._beating, tried("noc")) == (beating, 1)
        await found.change(snmp(), snmp("second"), snmp=Snmp(heartbeat="30s"))
        await until(lambda: (tried("noc"), tried("second")) == (2, 1))


async def test_before_it_runs_and_after_its_end(tmp_path: Path) -> None:
    """A reload at the very start finds no worker at work yet."""
    found = Running(tmp_path, [log()])
    await found.change(log("other"))
    assert [each.name for each in found.made] == ["other"]
    found.deliveries.stop()
    await found.deliveries.run()
    await found.change(log())
    assert [each.name for each in found.made] == ["other"]


async def test_outputs_that_were_given_stay(tmp_path: Path) -> None:
    found = Running(tmp_path, [log()])
    given = cast(Any, type("Given", (), {"name": "noc", "wants": lambda self, alert: True})())
    config = found.config([log()])
    deliveries = Deliveries(config, ManualClock(), active=lambda: 0, given=[(given, Severity.LOW)])
    deliveries.take_up(cast(Setup, type("FakeSetup", (), {"config": config})))
    assert deliveries.names == ["noc"]
    with pytest.raises(RuntimeError, match="connect comes before"):
        deliveries._worker(given)
