"""A changed configuration, taken up by the parts of the daemon while they work: engine, pass, store, alerts."""

import asyncio
import functools
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from collectord import log as logs
from collectord import open_files, plan, stored, tick
from collectord.actions import Actions
from collectord.clock import ManualClock
from collectord.config import Config
from collectord.detect.alerts import AlertStates
from collectord.detect.holds import Holds
from collectord.detect.silence import Silences
from collectord.detect.watchlist import COLUMNS
from collectord.errors import ConfigError, Problem
from collectord.health import Health
from collectord.inputs.udp import UdpListener
from collectord.listening import Listening
from collectord.model import NS_PER_S
from collectord.reload import KEPT_PROBLEMS, Reload, Reloader, needs_restart
from collectord.store import audit
from collectord.store.db import Database
from collectord.tick import Tick

START_S = 1_800_000_000
SOURCE = "203.0.113.1"

RULE = """
name = "many"
title = "Many failures of {{SrcIpAddr}}"
type = "event_count"
counter = "many_failures"
where = {{ EventResult = "Failure" }}
group_by = {group_by}
timespan = "{timespan}"
step = "1m"
condition = {{ gt = {above} }}
mode = "{mode}"
severity = "{severity}"
"""
VALUES = {"group_by": '["SrcIpAddr"]', "timespan": "1h", "above": 4, "mode": "notify", "severity": "medium"}
HEADER = ",".join(COLUMNS)


def rule(extra: str = "", **values: Any) -> str:
    """The site's rule with other values, and what follows it in its file."""
    return RULE.format(**{**VALUES, **values}) + extra


class FakeWriter:
    """Calls at once, in the caller's thread."""

    async def run(self, call: Callable[..., Any], *arguments: Any) -> Any:
        return call(*arguments)


class FakeNotifier:
    """Keeps what the service manager is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def reloading(self) -> bool:
        self.told.append("reloading")
        return True

    def ready(self) -> bool:
        self.told.append("ready")
        return True


class Daemon:
    """The parts around the pass, with a configuration in files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "collectord.toml"
        (folder / "rules.d").mkdir()
        (folder / "state").mkdir()
        self.configure("")
        self.write(many=rule())
        self.clock = ManualClock(START_S * NS_PER_S)
        self.load: Callable[[], plan.Setup] = functools.partial(plan.load, self.path)
        setup = self.load()
        self.database = Database(setup.config.database, busy_timeout_ms=10)
        self.engine = setup.engine()
        self.states = AlertStates(setup.rules, setup.watchlist, holds=Holds(storm_cap=30), hosts=setup.hosts)
        self.dropped: dict[str, int] = {}
        self.tick = Tick(
            setup,
            engine=self.engine,
            clock=self.clock,
            database=self.database,
            run="run",
            states=self.states,
            receivers=lambda alert: ["noc"],
            health=Health(
                setup.rules, Silences([], (), START_S * NS_PER_S), ["udp", "tcp"], lambda: self.dropped, dict
            ),
        )
        self.tick.restore()
        now_ns = self.clock.now_ns
        self.actions = Actions(database=self.database, states=self.states, tick=self.tick, now_ns=now_ns)
        self.actions.restore()
        listening = Listening(setup, self.engine, self.clock)
        _, self.tcp = listening.listeners
        self.notifier = FakeNotifier()
        self.woken = 0
        parts: Any = {"writer": FakeWriter(), "notifier": self.notifier, "parts": (listening,)}
        self.reloader = Reloader(
            lambda: self.load(),
            self.path,
            tick=self.tick,
            states=self.states,
            actions=self.actions,
            database=self.database,
            clock=self.clock,
            wake=self._wake,
            **parts,
        )

    def _wake(self) -> None:
        self.woken += 1

    def configure(self, text: str) -> None:
        """Further keys of the configuration, the ones of the top first."""
        self.path.write_text(f'state_dir = "state"\nrules_dir = "rules.d"\n{text}')

    def write(self, **rules: str) -> None:
        """Rule files."""
        for name, text in rules.items():
            (self.folder / "rules.d" / f"{name}.toml").write_text(text)

    def deny(self, count: int, source: str = SOURCE, port: int = 22) -> None:
        """That many failed sessions come in."""
        text = f'<164>%ASA-4-106023: Deny tcp src out:{source}/1 dst in:10.0.0.1/{port} by access-group "a"'
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as empty:
            woken = [(text.encode(), "192.0.2.1")] * count
            self.engine.receive(0, empty.fileno(), self.clock.now_ns(), count + 1, woken)

    async def take(self) -> None:
        """A reload that has to be taken."""
        assert [str(problem) for problem in (await self.reloader.reload("ada")).problems] == []

    async def refuse(self) -> list[str]:
        """A reload that has to be refused; its problems, without the folder."""
        found = await self.reloader.reload("ada")
        assert not found.taken
        return [str(problem).replace(f"{self.folder}/", "") for problem in found.problems]

    def told(self, rule: str = "many") -> list[tuple[str, str, str]]:
        """(source, event, reason) of a rule's alerts, oldest first."""
        return [
            (str(alert.key.get("SrcIpAddr")), alert.event, alert.reason)
            for stored in self.tick.alerts.find()
            if stored.rule == rule
            for alert in reversed(self.tick.alerts.history(stored.id))
        ]

    def count(self, table: str = "many_failures") -> int:
        """The sum of a counter in the database."""
        sql = f'SELECT coalesce(sum(EventCount), 0) FROM "{table}"'
        return int(self.database.connection.execute(sql).fetchone()[0])

    def audited(self) -> list[tuple[str, str, str]]:
        return [(each.who, each.what, each.reason) for each in audit.entries(self.database, 10)]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path)
    with daemon.database:
        yield daemon


class TestTaken:
    """What was changed is in force, and what was not goes on."""

    async def test_another_threshold(self, daemon: Daemon) -> None:
        """What was counted before counts; nothing of it is stored twice."""
        daemon.deny(4)
        daemon.tick.run()
        daemon.deny(3)
        daemon.write(many=rule(above=5))
        await daemon.take()
        assert daemon.told() == [(SOURCE, "raised", "")], "judged by the old rule before"
        daemon.deny(1, "203.0.113.2")
        daemon.deny(4, "203.0.113.2")
        daemon.tick.run()
        assert daemon.told() == [(SOURCE, "raised", "")]
        daemon.deny(1, "203.0.113.2")
        daemon.tick.run()
        assert ("203.0.113.2", "raised", "") in daemon.told()
        assert (daemon.count(), daemon.tick.outcomes) == (13, {"udp": {"session": 13}})

    async def test_a_lower_threshold_finds_what_was_counted(self, daemon: Daemon) -> None:
        daemon.write(many=rule(above=100))
        await daemon.take()
        daemon.deny(9)
        daemon.tick.run()
        daemon.write(many=rule(above=8))
        await daemon.take()
        assert daemon.told() == []
        daemon.tick.run()
        assert daemon.told() == [(SOURCE, "raised", "")]

    async def test_a_new_rule(self, daemon: Daemon) -> None:
        """It counts from now on, and has a table; the others' counts go on."""
        daemon.deny(3)
        daemon.write(more=rule(above=1).replace("many", "more"))
        await daemon.take()
        daemon.deny(2)
        daemon.tick.run()
        assert (daemon.told("more"), daemon.told("many")) == ([(SOURCE, "raised", "")], [(SOURCE, "raised", "")])
        assert (daemon.count("more_failures"), daemon.count()) == (2, 5)

    async def test_a_removed_rule_clears_its_alerts(self, daemon: Daemon) -> None:
        """And put back, it goes on with what the database holds of its window."""
        daemon.deny(5)
        daemon.tick.run()
        (daemon.folder / "rules.d" / "many.toml").unlink()
        await daemon.take()
        daemon.deny(9)
        daemon.tick.run()
        assert daemon.told() == [(SOURCE, "raised", ""), (SOURCE, "cleared", "the rule was removed")]
        assert daemon.states.active == []
        assert daemon.woken == 1

        daemon.write(many=rule(above=5))
        await daemon.take()
        daemon.tick.run()
        assert len(daemon.told()) == 2
        daemon.deny(1)
        daemon.tick.run()
        assert [event for _, event, _ in daemon.told()] == ["raised", "cleared", "raised"]
        assert daemon.count() == 6

    async def test_modes_and_severities(self, daemon: Daemon) -> None:
        daemon.deny(5)
        daemon.tick.run()
        daemon.write(many=rule(severity="high"))
        await daemon.take()
        assert daemon.told()[-1] == (SOURCE, "updated:2", "")
        daemon.write(many=rule(mode="off"))
        await daemon.take()
        assert daemon.told()[-1] == (SOURCE, "cleared", "the rule was switched off")

    async def test_a_longer_window_looks_back(self, daemon: Daemon) -> None:
        """At what the engine has let go, and the database holds."""
        daemon.write(many=rule(timespan="2m", above=8))
        await daemon.take()
        daemon.deny(6)
        daemon.tick.run()
        daemon.clock.advance(600)
        daemon.deny(2)
        daemon.tick.run()
        daemon.write(many=rule(timespan="30m", above=8))
        await daemon.take()
        daemon.tick.run()
        assert daemon.told() == []
        daemon.deny(1)
        daemon.tick.run()
        assert daemon.told() == [(SOURCE, "raised", "")]
        assert daemon.count() == 9

    async def test_another_definition(self, daemon: Daemon) -> None:
        """A table of its own; the old one is put aside, and nothing of the old counter gets into the new."""
        daemon.deny(5)
        daemon.tick.run()
        daemon.deny(2)
        daemon.write(many=rule(group_by='["SrcIpAddr", "DstPortNumber"]'))
        await daemon.take()
        assert daemon.told()[-1] == (SOURCE, "cleared", "the rule was changed")
        daemon.deny(3)
        daemon.tick.run()
        assert (daemon.count("many_failures_1"), daemon.count()) == (7, 3)
        columns = daemon.database.connection.execute('SELECT DstPortNumber FROM "many_failures"').fetchall()
        assert columns == [(22,)]

    async def test_an_exempt_in_the_rules_file(self, daemon: Daemon) -> None:
        daemon.deny(5)
        daemon.deny(5, "203.0.113.2")
        daemon.tick.run()
        daemon.write(many=rule(f'[[exempt]]\nSrcIpAddr = "{SOURCE}"\nreason = "ours"\n'))
        await daemon.take()
        assert (SOURCE, "cleared", "exempt: ours") in daemon.told()
        daemon.deny(50)
        daemon.tick.run()
        assert [source for source, event, _ in daemon.told() if event == "raised"] == ["203.0.113.2", SOURCE]

    async def test_roles_and_networks(self, daemon: Daemon) -> None:
        """Of hosts.csv and the configuration; also for what an operator had added."""
        daemon.actions.by_name["exempt-add"]({"rule": "many", "where": {"SrcIpAddr": "internal"}, "reason": "in"}, 0)
        daemon.write(many=rule('[[exempt]]\nrole = "scanner"\nreason = "by order"\n'))
        await daemon.take()
        for source in (SOURCE, "203.0.113.2", "203.0.113.3"):
            daemon.deny(5, source)
        daemon.tick.run()
        (daemon.folder / "hosts.csv").write_text(f"CIDR,name,site,role,owner\n{SOURCE},nessus,,scanner,\n")
        daemon.configure('hosts = "hosts.csv"\ninternal_networks = ["203.0.113.2/32"]\n')
        await daemon.take()
        cleared = {(source, reason) for source, event, reason in daemon.told() if event == "cleared"}
        assert cleared == {(SOURCE, "exempt: by order"), ("203.0.113.2", "exempt: in")}

    async def test_a_row_of_the_watchlist(self, daemon: Daemon) -> None:
        """One inserted above an alert's row changes nothing; one taken away clears it."""
        ours = "445,*,*,*,*,Detection,Static,3,High,Impact,Ours,x"
        other = "23,*,*,*,*,Detection,Static,3,High,Impact,Other,x"

        def watch(*rows: str) -> None:
            (daemon.folder / "ports.csv").write_text("\n".join((HEADER, *rows)) + "\n")

        daemon.configure('port_watchlist = "ports.csv"\n')
        watch(ours)
        await daemon.take()
        daemon.deny(4, port=445)
        daemon.tick.run()
        assert [event for _, event, _ in daemon.told("port-misuse")] == ["raised"]
        watch(other, ours)
        await daemon.take()
        daemon.tick.run()
        assert [event for _, event, _ in daemon.told("port-misuse")] == ["raised"]
        daemon.deny(4, port=23)
        daemon.tick.run()
        assert [event for _, event, _ in daemon.told("port-misuse")] == ["raised", "raised"]
        watch(other)
        await daemon.take()
        assert [reason for *_, reason in daemon.told("port-misuse") if reason] == ["the watchlist row was removed"]

    async def test_learning_and_the_storm_cap(self, daemon: Daemon) -> None:
        daemon.configure("learn_until = 2100-01-01T00:00:00Z\n")
        await daemon.take()
        daemon.deny(5)
        daemon.tick.run()
        (alert,) = daemon.states.active
        assert alert.held == "learning"
        daemon.configure("[alerts]\nstorm_cap = 1\n")
        await daemon.take()
        for source in ("203.0.113.2", "203.0.113.3"):
            daemon.deny(5, source)
        daemon.tick.run()
        assert sum(alert.held.startswith("storm cap: 1 ") for alert in daemon.states.active) == 2

    async def test_devices_and_relays(self, daemon: Daemon) -> None:
        """A device that is new on the list, and silent, is missed from now on; one that is off it is not."""
        daemon.clock.advance(86_400)
        daemon.configure('[[device]]\nname = "192.0.2.77"\nsite = "north"\n')
        await daemon.take()

        def silent() -> list[str]:
            daemon.tick.run()
            return [str(alert.key["Dvc"]) for alert in daemon.states.active if alert.rule == "device-silent"]

        assert silent() == []
        daemon.clock.advance(890)
        assert silent() == []
        daemon.clock.advance(30)
        assert silent() == ["192.0.2.77"]
        daemon.configure("")
        await daemon.take()
        for _ in range(100):
            daemon.clock.advance(30)
            daemon.tick.run()
        assert silent() == []

    async def test_bounds_and_allow_of_a_listener(self, daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
        # No port is taken here, so there is no buffer to look at.
        monkeypatch.setattr(UdpListener, "take_up", lambda *_: None)
        daemon.configure(
            '[bounds]\ntcp_connections = 7\n[[listener]]\ntype = "udp"\nname = "udp"\nallow = ["192.0.2.9"]\n'
            '[[listener]]\ntype = "tcp"\nname = "tcp"\nallow = ["192.0.2.9"]\nsite = "north"\n'
        )
        await daemon.take()
        assert (daemon.tcp._most, daemon.tcp._is_allowed("192.0.2.9"), daemon.tcp._is_allowed("192.0.2.8")) == (
            7, True, False,
        )  # fmt: skip
        daemon.deny(1)
        daemon.tick.run()
        assert daemon.tick.outcomes == {"udp": {"not_allowed": 1}}

    async def test_more_connections_than_there_are_files_for(
        self, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The process is asked for as many as the new configuration wants."""
        asked: list[int] = []
        monkeypatch.setattr(UdpListener, "take_up", lambda *_: None)
        monkeypatch.setattr(open_files, "make_room", lambda files: asked.append(files) or 5)
        daemon.configure("[bounds]\ntcp_connections = 7\n")
        await daemon.take()
        assert (asked, daemon.tcp.limit) == ([7], 5)

    async def test_the_log_level(self, daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
        levels: list[str] = []
        monkeypatch.setattr(logs, "setup", levels.append)
        await daemon.take()
        daemon.configure('[log]\nlevel = "debug"\n')
        await daemon.take()
        assert levels == ["debug"]

    async def test_what_is_noted(self, daemon: Daemon) -> None:
        assert daemon.reloader.last is None
        daemon.clock.advance(5)
        answer = await daemon.reloader.answer({}, 0)
        assert (answer["taken"], answer["who"], answer["config"]) == (True, "root", str(daemon.path))
        assert answer["time"] == "2027-01-15T08:00:05.000Z"
        assert daemon.notifier.told == ["reloading", "ready"]
        assert daemon.audited() == [("root", "reload", "taken")]

    async def test_ageing_goes_on_without_tables(self, daemon: Daemon) -> None:
        """Fewer tables than there were left to look at."""
        daemon.tick.run()
        assert daemon.tick._upkeep.left_to_age > 0
        off = "\n".join
        for each in daemon.tick.setup.rules:
            text = (plan.data.PACKAGE / "rules" / f"{each.name}.toml") if each.name != "many" else None
            source = rule() if text is None else text.read_text()
            lines = [line for line in source.splitlines() if not line.startswith("mode")]
            place = next(number for number, line in enumerate(lines) if line.startswith("severity"))
            daemon.write(**{each.name: off([*lines[:place], 'mode = "off"', *lines[place:]])})
        await daemon.take()
        assert daemon.tick.setup.definitions == ()
        for _ in range(3):
            daemon.clock.advance(61)
            daemon.tick.run()
        assert daemon.tick.counters.store_failures == 0


class TestRefused:
    """Everything that is wrong is told, and everything stays as it was."""

    @pytest.fixture(autouse=True)
    def raised(self, daemon: Daemon) -> None:
        """An alert is active."""
        daemon.deny(5)
        daemon.tick.run()

    async def goes_on(self, daemon: Daemon, before: plan.Setup) -> None:
        """By the setup before: it judges by the old rule, counts exactly, and takes up what is right again."""
        assert daemon.tick.setup is before
        daemon.deny(5, "203.0.113.2")
        # Twice, where a batch is still out that could not be stored.
        daemon.tick.run()
        daemon.tick.run()
        assert [(source, event) for source, event, _ in daemon.told()] == [
            ("203.0.113.2", "raised"), (SOURCE, "raised"),
        ]  # fmt: skip
        assert daemon.count() == 10
        assert daemon.tick.counters.store_failures <= 1
        daemon.configure("")
        daemon.write(many=rule(mode="off"))
        await daemon.take()
        assert daemon.states.active == []

    async def test_mistakes_in_several_files(self, daemon: Daemon) -> None:
        before = daemon.tick.setup
        (daemon.folder / "hosts.csv").write_text("CIDR,name,site,role,owner\nmars,x,,,\n")
        daemon.configure('hosts = "hosts.csv"\n')
        daemon.write(many=rule('[[exempt]]\nrole = "dns"\n', above=-1))
        found = await daemon.refuse()
        assert [line.partition(": ")[0] for line in found] == ["hosts.csv:2", "rules.d/many.toml:10"]
        assert daemon.notifier.told == ["reloading", "ready"]
        assert daemon.audited() == [("ada", "reload", "refused: 2 problems")]
        await self.goes_on(daemon, before)

    @pytest.mark.parametrize(
        ("text", "keys"),
        [
            ('control_socket = "other.sock"\n', ["collectord.toml:3: control_socket"]),
            ("[bounds]\nrows_per_tick = 1000\n", ["collectord.toml:4: bounds.rows_per_tick"]),
            (
                '[bounds]\nunfinished = "1MiB"\nmessage = "32KiB"\nrows_per_tick = 1000\n',
                ["collectord.toml:4: bounds.unfinished", "collectord.toml:6: bounds.rows_per_tick"],
            ),
        ],
    )  # fmt: skip
    async def test_what_needs_a_restart(self, daemon: Daemon, text: str, keys: list[str]) -> None:
        before = daemon.tick.setup
        daemon.configure(text)
        daemon.write(many=rule(mode="off"))
        reason = ": was changed, which needs a restart (restart the daemon, or put the key back for now)"
        assert await daemon.refuse() == [f"{key}{reason}" for key in keys]
        await self.goes_on(daemon, before)

    async def test_a_part_that_can_not(self, daemon: Daemon) -> None:
        """Those before it let go of what they got, and nothing is taken up."""
        before, done = daemon.tick.setup, []

        class Part:
            def __init__(self, name: str, able: bool) -> None:
                self.name, self.able = name, able

            async def prepare(self, setup: plan.Setup) -> plan.Setup:
                if not self.able:
                    raise ConfigError([Problem("configuration", None, "listener", "no such address")])
                return setup

            def dismiss(self) -> None:
                done.append(f"{self.name} dismissed")

            def take_up(self, setup: plan.Setup) -> None:
                done.append(f"{self.name} taken up")

            async def change(self, setup: plan.Setup) -> None:
                done.append(f"{self.name} changed")

        daemon.reloader._parts = (Part("one", True), Part("two", False), Part("three", True))
        assert await daemon.refuse() == ["configuration: listener: no such address"]
        assert done == ["one dismissed"]
        done.clear()
        daemon.reloader._parts = (Part("one", True), Part("two", True))
        await self.goes_on(daemon, before)
        assert done == ["one taken up", "two taken up", "one changed", "two changed"]

    async def test_a_locked_database(self, daemon: Daemon) -> None:
        """Nothing is half applied."""
        before = daemon.tick.setup
        daemon.write(many=rule(group_by='["SrcIpAddr", "DstPortNumber"]'))
        other = sqlite3.connect(daemon.tick.setup.config.database, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        (problem,) = await daemon.refuse()
        assert problem.startswith("state/collectord.db: ")
        other.close()
        assert daemon.audited() == []
        await self.goes_on(daemon, before)

    async def test_a_database_that_fails_half_way(self, daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
        """The tables of the new definitions were made: they are gone again."""
        before = daemon.tick.setup

        def broken(*_: object) -> None:
            raise tick.StoreError("the disk is full")

        daemon.write(many=rule(group_by='["SrcIpAddr", "DstPortNumber"]'))
        with monkeypatch.context() as patched:
            patched.setattr(stored.key_states, "open_states", broken)
            assert await daemon.refuse() == ["state/collectord.db: the disk is full"]
        assert "many_failures_1" not in daemon.database.tables.table_names()
        await self.goes_on(daemon, before)

    async def test_only_so_many_problems_are_kept(self, daemon: Daemon) -> None:
        problems = [Problem("a.toml", line, "", "is wrong") for line in range(KEPT_PROBLEMS + 7)]

        def load() -> plan.Setup:
            raise ConfigError(problems)

        daemon.load = load
        found = await daemon.reloader.reload("ada")
        assert (len(found.problems), found.left_out, found.count) == (KEPT_PROBLEMS, 7, f"{KEPT_PROBLEMS + 7} problems")


class TestOneAtATime:
    """Reloads that come together."""

    async def test_the_second_waits(self, daemon: Daemon) -> None:
        entered, go, loads = threading.Event(), threading.Event(), []
        right = daemon.load

        def load() -> plan.Setup:
            loads.append(len(loads))
            entered.set()
            go.wait()
            return right()

        daemon.load = load
        async with asyncio.TaskGroup() as group:
            first = group.create_task(daemon.reloader.reload("ada"))
            await asyncio.to_thread(entered.wait)
            second = group.create_task(daemon.reloader.reload("bob"))
            await asyncio.sleep(0)
            assert (loads, daemon.reloader.last) == ([0], None)
            go.set()
        assert [each.result().who for each in (first, second)] == ["ada", "bob"]
        assert (loads, daemon.notifier.told) == ([0, 1], ["reloading", "ready"] * 2)

    async def test_signals(self, daemon: Daemon) -> None:
        """However many come before it starts, once is enough."""
        asked = asyncio.Event()
        done = asyncio.Event()
        daemon.reloader._wake = done.set
        async with asyncio.TaskGroup() as group:
            task = group.create_task(daemon.reloader.serve(asked))
            for _ in range(3):
                asked.set()
            await done.wait()
            task.cancel()
        assert daemon.audited() == [("SIGHUP", "reload", "taken")]


def test_equal_configurations_need_no_restart() -> None:
    assert list(needs_restart(Config(), Config())) == []


def test_what_nobody_thought_of_needs_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that is new in the configuration, until somebody sees to it."""
    monkeypatch.setattr("collectord.reload.TAKEN_UP", frozenset())
    (key,) = needs_restart(Config(), Config(relays=("192.0.2.0/24",)))
    assert key == ("relays",)


def test_words() -> None:
    assert Reload(0, "", "", 0, (Problem("a", None, "", "b"),), 0).count == "1 problem"
