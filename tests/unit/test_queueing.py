"""Between alerts and outputs: who is told, and what people ask of the outbox."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from collectord.clock import ManualClock
from collectord.errors import RequestError
from collectord.model import NS_PER_S, AlarmType, Alert, AlertState, Mode, Severity
from collectord.policy import OutputPolicy
from collectord.queueing import OutboxRequests, StoredOutbox, receivers
from collectord.store import audit
from collectord.store.alerts import Alerts
from collectord.store.db import Database
from collectord.store.outbox import Outbox
from collectord.store.queue import Queue

NOW_NS = 1_800_000_000 * NS_PER_S


class FakeOutput:
    """Has a name."""

    def __init__(self, name: str = "noc", wants: bool = True) -> None:
        self.name = name
        self._wants = wants

    def wants(self, alert: Alert) -> bool:
        return self._wants

    async def start(self) -> None:
        pass

    async def send(self, alert: Alert, sequence: int) -> None:
        pass

    async def close(self) -> None:
        pass


class FakeWriter:
    """Calls at once."""

    async def run(self, call: Callable[..., Any], *arguments: Any) -> Any:
        return call(*arguments)


class World:
    """The store's parts for two outputs, and workers that note what they are asked."""

    def __init__(self, database: Database) -> None:
        self.clock = ManualClock(NOW_NS)
        self.database = database
        outputs = [(FakeOutput("noc"), Severity.HIGH), (FakeOutput("siem"), Severity.LOW)]
        policies = {"noc": OutputPolicy(sites=("north",)), "siem": OutputPolicy()}
        queue = Queue(database, policies)
        self.alerts, self.outbox = Alerts(database, queue), Outbox(database, queue)
        self.asked: list[str] = []
        workers: Any = [self._worker(output) for output, _ in outputs]
        parts: Any = (SimpleNamespace(alerts=self.alerts), self.outbox, FakeWriter(), workers)
        self.requests = OutboxRequests(
            *parts, lambda alert: receivers(alert, outputs, policies), self.clock, self.database
        )
        self.stored = StoredOutbox(self.outbox, FakeWriter(), self.clock)  # type: ignore[arg-type]

    def _worker(self, output: FakeOutput) -> SimpleNamespace:
        return SimpleNamespace(
            output=output,
            counters=SimpleNamespace(failures=3),
            retry=lambda: self.asked.append(f"retry {output.name}"),
            wake=lambda: self.asked.append(f"wake {output.name}"),
        )

    async def ask(self, name: str, **arguments: Any) -> Any:
        return await self.requests.handlers[name](arguments, os.getuid())

    async def deliver(self, output: str) -> list[Alert]:
        """What is due for an output, delivered."""
        rows = await self.stored.due(output, 100)
        await self.stored.delivered([row.id for row in rows])
        self.stored.let_go(output, ())
        return [row.alert for row in rows]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with Database(tmp_path / "collectord.db") as database:
        yield World(database)


def state(alert_id: str, event: str = "raised", **changes: Any) -> Alert:
    fields: dict[str, Any] = {
        "id": alert_id, "episode": 1, "event": event, "rule": "r", "state": AlertState(event.partition(":")[0]),
        "severity": Severity.HIGH, "mode": Mode.NOTIFY, "site": "north", "key": {}, "count": 1, "threshold": 0,
        "window_s": 60, "first_time_ns": 0, "last_time_ns": NOW_NS, "title": "", "summary": "",
    }  # fmt: skip
    return Alert(**(fields | changes))


class TestRetry:
    """What waits for its next try."""

    async def test_all_of_it(self, world: World) -> None:
        world.alerts.record([state("a"), state("b")], [["noc"], ["siem"]])
        await world.stored.failed(1, "no answer", NOW_NS * 2)
        await world.stored.failed(2, "no answer", NOW_NS * 2)
        assert await world.stored.due("noc", 10) == []

        assert await world.ask("outbox-retry") == 2
        assert [row.attempts for row in await world.stored.due("noc", 10)] == [1]
        assert world.asked == ["retry noc", "retry siem"]

    async def test_some_of_it(self, world: World) -> None:
        world.alerts.record([state("a"), state("b")], [["noc", "siem"], ["siem"]])
        for number in (1, 2, 3):
            await world.stored.failed(number, "no answer", NOW_NS * 2)

        assert await world.ask("outbox-retry", output="siem", ids=[1, 3, 99]) == 1
        assert world.asked == ["retry siem"]
        assert [row.id for row in await world.stored.due("siem", 10)] == [3]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"output": "x"}, "there is no such output; there are: noc, siem"),
            ({"output": 1}, "no such output"),
            ({"ids": [1]}, "none of these entries waits"),
            ({"ids": 1}, "ids must be a list"),
            ({"ids": [True]}, "ids must be a list"),
            ({"ids": [2**70]}, "ids must be a list"),
        ],
    )
    async def test_what_can_not_be(self, world: World, arguments: dict[str, Any], message: str) -> None:
        with pytest.raises(RequestError, match=message):
            await world.ask("outbox-retry", **arguments)


class TestResync:
    """Active alerts once more."""

    async def test_each_output_gets_what_it_wants(self, world: World) -> None:
        world.alerts.record([state("a"), state("b", site="west"), state("c", mode=Mode.REPORT)], [[], [], []])

        assert await world.ask("alerts-resync") == [
            {"output": "noc", "queued": 1, "waiting": 0, "later": 0},
            {"output": "siem", "queued": 2, "waiting": 0, "later": 0},
        ]
        assert world.asked == ["wake noc", "wake siem"]
        assert [alert.id for alert in await world.deliver("noc")] == ["a"]
        assert await world.ask("alerts-resync", output="siem") == [
            {"output": "siem", "queued": 0, "waiting": 2, "later": 0}
        ]


class TestTest:
    """The test alert."""

    async def test_to_every_output_whatever_it_wants(self, world: World) -> None:
        told = await world.ask("test-alert")
        (noc,), (siem,) = await world.deliver("noc"), await world.deliver("siem")

        assert noc == siem
        assert (noc.id, noc.rule, noc.alarm_type, noc.severity) == (
            told["id"], "test", AlarmType.TEST, Severity.MEDIUM,
        )  # fmt: skip
        assert (noc.state, noc.episode, noc.event) == (AlertState.RAISED, 1, "raised")
        assert told["failures"] == {"noc": 3, "siem": 3}
        assert world.asked == ["retry noc", "retry siem"]
        assert [alert.id for alert in world.alerts.active()] == [noc.id]

    async def test_it_does_not_wait_behind_one_that_does(self, world: World) -> None:
        """Whoever tries the way wants to know how it is now, not how it was."""
        await world.ask("test-alert")
        (row,) = await world.stored.due("noc", 10)
        await world.stored.failed(row.id, "no answer", NOW_NS * 2)
        assert await world.stored.due("noc", 10) == []

        await world.ask("test-alert")
        assert [alert.event for alert in await world.deliver("noc")] == ["raised", "updated:2"]

    async def test_its_life(self, world: World) -> None:
        """Again is a raise of the same alarm; the clear goes wherever it went."""
        await world.ask("test-alert")
        await world.ask("test-alert")
        await world.ask("test-alert", clear=True)
        with pytest.raises(RequestError, match="there is no test alert that could clear"):
            await world.ask("test-alert", clear=True)
        await world.ask("test-alert")

        told = []
        while states := await world.deliver("noc"):
            told += [(alert.state.value, alert.event, alert.episode) for alert in states]
        assert told == [
            ("raised", "raised", 1),
            ("raised", "updated:2", 1),
            ("cleared", "cleared", 1),
            ("raised", "raised", 2),
        ]

    async def test_to_one_output(self, world: World) -> None:
        """It is an alarm of its own."""
        one, everyone = await world.ask("test-alert", output="noc"), await world.ask("test-alert")

        assert one["id"] != everyone["id"]
        assert "(collectord test-alert --clear --output noc ends it)" in one["summary"]
        assert "(collectord test-alert --clear ends it)" in everyone["summary"]
        with pytest.raises(
            RequestError,
            match=r"that could clear for siem; what is active ends with: .*collectord test-alert --clear --output noc",
        ):
            await world.ask("test-alert", output="siem", clear=True)
        assert one["failures"] == {"noc": 3}
        assert len(await world.deliver("siem")) == 1
        await world.ask("test-alert", output="noc", clear=True)
        told = await world.deliver("noc")
        assert [alert.state.value for alert in told] == ["raised", "raised", "cleared"]
        assert told[-1].id == one["id"]
        with pytest.raises(RequestError, match="there is no such output"):
            await world.ask("test-alert", output="x")


class TestReceivers:
    """Which outputs an alert goes to."""

    def alert(self, severity: Severity, mode: Mode = Mode.NOTIFY, site: str = "") -> Alert:
        return Alert(
            id="1", episode=1, event="raised", rule="r", state=AlertState.RAISED, severity=severity, mode=mode,
            site=site, key={}, count=1, threshold=0, window_s=60, first_time_ns=0, last_time_ns=0, title="", summary="",
        )  # fmt: skip

    def test_from_the_severity_that_an_output_takes(self) -> None:
        outputs = [(FakeOutput(severity.value), severity) for severity in Severity]
        names = [severity.value for severity in Severity]
        for number, severity in enumerate(Severity, start=1):
            assert receivers(self.alert(severity), outputs) == names[:number]

    def test_what_is_only_reported_goes_nowhere(self) -> None:
        outputs = [(FakeOutput(), Severity.INFORMATIONAL)]
        assert receivers(self.alert(Severity.HIGH, Mode.REPORT), outputs) == []

    def test_an_output_may_not_want_it(self) -> None:
        outputs = [(FakeOutput("a", wants=False), Severity.LOW), (FakeOutput("b"), Severity.LOW)]
        assert receivers(self.alert(Severity.HIGH), outputs) == ["b"]

    def test_an_output_may_be_for_some_sites(self) -> None:
        """The empty name stands for alerts of no site."""
        outputs = [(FakeOutput(name), Severity.LOW) for name in ("all", "north", "none")]
        policies = {"all": OutputPolicy(), "north": OutputPolicy(sites=("north", "south")), "none": OutputPolicy(("",))}
        for site, names in (("north", ["all", "north"]), ("west", ["all"]), ("", ["all", "none"])):
            assert receivers(self.alert(Severity.HIGH, site=site), outputs, policies) == names


async def test_what_is_asked_is_in_the_audit(world: World) -> None:
    """Who did what to which outputs, with the name that the machine has for the user."""
    await world.requests.handlers["test-alert"]({"output": "siem"}, 0)
    await world.requests.handlers["alerts-resync"]({}, 0)
    await world.requests.handlers["outbox-retry"]({"output": "noc"}, 0)

    assert [(each.who, each.what, each.target) for each in reversed(audit.entries(world.database, 9))] == [
        ("root", "test-alert", "siem"),
        ("root", "alerts resync", "all"),
        ("root", "outbox retry", "noc"),
    ]
