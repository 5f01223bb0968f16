"""The daemon in this process: start, messages in, alerts out, and a stop that loses nothing."""

import asyncio
import contextlib
import functools
import os
import signal
import socket
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
from prometheus_client.parser import text_string_to_metric_families

from collectord import control, plan
from collectord.app import App
from collectord.clock import ManualClock
from collectord.config import Config
from collectord.errors import (
    ConfigError,
    DeliveryError,
    EnvironmentProblem,
    ListenError,
    Problem,
    RequestError,
    StoreError,
)
from collectord.model import Alert, AlertState, Severity, UnreadGroup
from collectord.output_settings import LogOutput, SnmpOutput, SyslogOutput
from collectord.settings import Http, TcpListener, UdpListener
from collectord.store import ledger, names, quarantine
from collectord.store.alerts import Alerts
from collectord.store.db import Database

THRESHOLD = 10
DENIED = b'<164>%ASA-4-106023: Deny tcp src out:203.0.113.1/1 dst in:10.0.0.1/22 by access-group "a"'
# 20 ms before a whole second: as this clock stands still, that is how soon one tick follows the other.
NOW_NS = 1_800_000_000_980_000_000

LISTENERS = (UdpListener(type="udp", name="udp", port=0), TcpListener(type="tcp", name="tcp", port=0))

MakeSetup = Callable[..., plan.Setup]


class FakeOutput:
    """Keeps what it is sent."""

    def __init__(self, name: str = "noc", wants: bool = True) -> None:
        self.name = name
        self.sent: list[tuple[int, str]] = []
        self.sent_one = asyncio.Event()
        self.closed = False
        self.down = False
        self._wants = wants

    def wants(self, alert: Alert) -> bool:
        return self._wants

    async def start(self) -> None:
        pass

    async def send(self, alert: Alert, sequence: int) -> None:
        if self.down:
            raise DeliveryError("nobody there")
        self.sent.append((sequence, alert.event))
        self.sent_one.set()

    async def close(self) -> None:
        self.closed = True


@pytest.fixture
def make_setup(tmp_path: Path) -> MakeSetup:
    """A setup with one rule that fires at more than ten failures; any value of the configuration can be given."""

    def make(**values: Any) -> plan.Setup:
        config = Config(**{"state_dir": tmp_path / "state", "listener": LISTENERS, **values})
        shipped = plan.check(config)
        (rule,) = [rule for rule in shipped.rules if rule.name == "excessive-failures"]
        return plan.check(config, [replace(rule, threshold=THRESHOLD)])

    return make


@asynccontextmanager
async def running(app: App) -> AsyncIterator[App]:
    """The daemon runs until the block ends, and stops gracefully."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(app.run())
        started = group.create_task(app.started.wait())
        await asyncio.wait((task, started), return_when=asyncio.FIRST_COMPLETED)
        started.cancel()
        try:
            yield app
        finally:
            app.stop()


def send(app: App, count: int) -> None:
    """That many failed sessions, over UDP."""
    with socket.socket(type=socket.SOCK_DGRAM) as sender:
        for _ in range(count):
            sender.sendto(DENIED, app.listeners[0].address)


def stored(setup: plan.Setup) -> dict[tuple[str, str], int]:
    """The ledger of the database: (listener, outcome) -> messages."""
    with Database.reader(setup.config.database) as database:
        return {(listener, outcome): count for listener, outcome, count, _ in ledger.totals(database)}


async def test_message_in_alert_out(make_setup: MakeSetup) -> None:
    setup = make_setup()
    output = FakeOutput()
    app = App(setup, clock=ManualClock(NOW_NS), outputs=[(output, Severity.LOW)])
    async with running(app):
        send(app, THRESHOLD + 1)
        await output.sent_one.wait()
        answer = await asyncio.to_thread(control.ask, setup.config.control_socket, "status")

    assert output.sent == [(1, "raised")]
    assert output.closed
    assert answer["alerts"]["active"] == 1
    assert answer["listeners"][0]["received"] == THRESHOLD + 1
    assert stored(setup) == {("udp", "session"): THRESHOLD + 1}
    assert not setup.config.control_socket.exists()


@pytest.mark.parametrize(("on", "asked"), [(True, ["203.0.113.1"]), (False, [])])
async def test_names_never_hold_an_alert_up(make_setup: MakeSetup, on: bool, asked: list[str]) -> None:
    """It is sent, and the daemon stops, while the resolver still thinks; off by default, nobody is asked."""
    setup = make_setup(**({"alerts": {"reverse_dns": True}} if on else {}))
    output, entered, answer, found = FakeOutput(), threading.Event(), threading.Event(), []

    def resolve(address: str) -> str:
        found.append(address)
        entered.set()
        answer.wait()
        return "late.example"

    app = App(setup, clock=ManualClock(NOW_NS), outputs=[(output, Severity.LOW)], resolve=resolve)
    async with running(app):
        send(app, THRESHOLD + 1)
        await output.sent_one.wait()
        if on:
            await asyncio.to_thread(entered.wait)
    answer.set()

    assert output.sent == [(1, "raised")]
    assert found == asked


async def test_names_are_stored(make_setup: MakeSetup, tmp_path: Path) -> None:
    """And the site's own list goes first."""
    (tmp_path / "hosts.csv").write_text("CIDR,name,site,role,owner\n203.0.113.2,ours,,,\n")
    setup = make_setup(alerts={"reverse_dns": True}, hosts=tmp_path / "hosts.csv")
    output, asked = FakeOutput(), []

    def resolve(address: str) -> str:
        asked.append(address)
        return "Scan.Example."

    app = App(setup, clock=ManualClock(NOW_NS), outputs=[(output, Severity.LOW)], resolve=resolve)
    found: dict[str, dict[str, str]] = {}
    async with running(app):
        with socket.socket(type=socket.SOCK_DGRAM) as sender:
            for _ in range(THRESHOLD + 1):
                sender.sendto(DENIED.replace(b"113.1/", b"113.2/"), app.listeners[0].address)
        send(app, THRESHOLD + 1)
        await output.sent_one.wait()
        while not found:
            with Database.reader(setup.config.database) as database:
                found = names.of(database, Alerts(database).find())
            await asyncio.sleep(0)

    assert list(found.values()) == [{"203.0.113.1": "scan.example"}]
    assert asked == ["203.0.113.1"]


async def test_tcp(make_setup: MakeSetup) -> None:
    setup = make_setup()
    output = FakeOutput()
    app = App(setup, clock=ManualClock(NOW_NS), outputs=[(output, Severity.LOW)])
    async with running(app):
        _, writer = await asyncio.open_connection(*app.listeners[1].address)
        writer.write((DENIED + b"\n") * THRESHOLD + DENIED)
        writer.close()
        await output.sent_one.wait()
    assert stored(setup) == {("tcp", "session"): THRESHOLD + 1}


async def test_monitoring(make_setup: MakeSetup) -> None:
    """Both pages of a daemon that works, in the form that Prometheus' own library reads."""
    setup = make_setup(http=Http(enabled=True, port=0))
    output = FakeOutput()
    app = App(setup, clock=ManualClock(NOW_NS), outputs=[(output, Severity.LOW)])

    async def get(path: str) -> tuple[bytes, bytes]:
        assert app.http is not None
        await app.http.listening.wait()
        assert app.http.address is not None
        reader, writer = await asyncio.open_connection(*app.http.address)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        return head, body

    async with running(app):
        send(app, THRESHOLD + 1)
        await output.sent_one.wait()
        head, body = await get("/metrics")
        assert b"200" in head
        values = {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(body.decode())
            for sample in family.samples
        }
        assert values["collectord_input_received_messages_total", "udp"] == THRESHOLD + 1
        assert values["collectord_alerts_raised_total", "excessive-failures"] == 1
        assert values["collectord_alerts_active", "notify", "medium"] == 1
        assert values["process_open_fds",] > 5
        assert await get("/healthz") == (ANY, b"ok\n")


async def test_nobody_wants_monitoring(make_setup: MakeSetup) -> None:
    """No port that nobody asked for."""
    app = App(make_setup(), clock=ManualClock(NOW_NS), outputs=[(FakeOutput(), Severity.LOW)])
    async with running(app):
        assert app.http is None


async def test_the_stop_flushes(make_setup: MakeSetup) -> None:
    """What the kernel holds is read, judged, stored and delivered, although no tick came between."""
    setup = make_setup()
    output = FakeOutput()
    app = App(setup, outputs=[(output, Severity.LOW)])
    async with running(app):
        send(app, THRESHOLD + 1)
        peer = socket.create_connection(app.listeners[1].address)
        tcp = app.listeners[1]
        while not tcp.connections:  # noqa: ASYNC110
            await asyncio.sleep(0)
        peer.sendall(DENIED + b"\n" + DENIED)
    peer.close()

    assert stored(setup) == {("udp", "session"): THRESHOLD + 1, ("tcp", "session"): 2}
    assert output.sent == [(1, "raised")]


async def test_a_stop_before_the_start(make_setup: MakeSetup) -> None:
    setup = make_setup()
    app = App(setup, outputs=[])
    app.stop()
    await app.run()
    assert stored(setup) == {}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signals_stop_it(make_setup: MakeSetup, number: signal.Signals) -> None:
    setup = make_setup()
    app = App(setup, outputs=[])
    async with asyncio.TaskGroup() as group:
        task = group.create_task(app.run())
        await app.started.wait()
        send(app, 1)
        os.kill(os.getpid(), number)
        await task
    assert stored(setup) == {("udp", "session"): 1}


async def test_a_backup_before_the_tables_change_takes_its_time(
    make_setup: MakeSetup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service manager waits for it, and shows it."""
    setup = make_setup()
    async with running(App(setup, outputs=[])):
        pass
    with contextlib.closing(sqlite3.connect(setup.config.database)) as connection:
        connection.execute("PRAGMA user_version = 1")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        async with running(App(setup, outputs=[])):
            assert manager.recv(4096) == b"EXTEND_TIMEOUT_USEC=120000000"
            assert manager.recv(4096).startswith(b"STATUS=backup before the tables change: copying the database, ")


async def test_sighup_reloads(make_setup: MakeSetup, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The service manager is told when it begins (sd_notify(3): with the time) and ends, and what is wrong."""
    setup = make_setup()
    setups: list[plan.Setup] = []

    def load() -> plan.Setup:
        if not setups:
            raise ConfigError([Problem("many.toml", 3, "severity", "is missing")])
        return setups.pop()

    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    manager.setblocking(False)
    said: asyncio.Queue[str] = asyncio.Queue()
    # A status is told with the next tick, which may come before the end of the reload as well as behind it.
    statuses: asyncio.Queue[str] = asyncio.Queue()

    def read() -> None:
        # All that is there: the kernel keeps only a few, and the daemon goes on without the others.
        with contextlib.suppress(BlockingIOError):
            while text := manager.recv(4096).decode():
                (statuses if text.startswith("STATUS=") else said).put_nowait(text)

    asyncio.get_running_loop().add_reader(manager, read)

    async def told(word: str, queue: asyncio.Queue[str] = said) -> str:
        while word not in (text := await queue.get()):
            pass
        return text

    output = FakeOutput()
    clock = ManualClock(NOW_NS)
    with manager:
        async with running(App(setup, load=load, clock=clock, outputs=[(output, Severity.LOW)])):
            assert await told("READY=1") == "READY=1"
            os.kill(os.getpid(), signal.SIGHUP)
            assert "MONOTONIC_USEC=" in await told("RELOADING=1")
            assert await told("READY=1") == "READY=1"
            assert (await told("reload", statuses)).endswith(", reload refused: 1 problem")
            ask = functools.partial(asyncio.to_thread, control.ask, setup.config.control_socket)
            assert [each["line"] for each in (await ask("status"))["reload"]["problems"]] == [3]

            (rule,) = setup.rules
            setups.append(plan.check(setup.config, [replace(rule, threshold=1)]))
            assert (await ask("reload"))["taken"]
            while "refused" in await statuses.get():
                pass
            assert (await ask("status"))["reload"]["taken"]
        asyncio.get_running_loop().remove_reader(manager)


async def test_a_restart_goes_on(make_setup: MakeSetup) -> None:
    """Half of the failures before it, half after it; and the alert that waits for its output is delivered then."""
    setup = make_setup()
    clock = ManualClock(NOW_NS)
    output = FakeOutput()
    output.down = True
    for count in (THRESHOLD, 1):
        app = App(setup, clock=clock, outputs=[(output, Severity.LOW)])
        async with running(app):
            send(app, count)
    assert output.sent == []
    output.down = False
    clock.advance(3600)
    app = App(setup, clock=clock, outputs=[(output, Severity.LOW)])
    async with running(app):
        await output.sent_one.wait()

    assert output.sent == [(1, "raised")]
    assert stored(setup) == {("udp", "session"): THRESHOLD + 1}
    with Database.reader(setup.config.database) as database:
        (alert,) = Alerts(database).find()
    assert (alert.state, alert.episode, alert.count) == (AlertState.RAISED, 1, THRESHOLD + 1)


async def test_the_configured_outputs(make_setup: MakeSetup) -> None:
    outputs = (
        LogOutput(type="log", name="log"),
        SyslogOutput(type="syslog", name="syslog", host="127.0.0.1", port=9),
        SnmpOutput(type="snmp", name="snmp", host="127.0.0.1", port=9, community="public"),
    )
    setup = make_setup(output=outputs)
    async with running(App(setup)):
        answer = await asyncio.to_thread(control.ask, setup.config.control_socket, "status")
    assert [output["name"] for output in answer["outputs"]] == ["log", "syslog", "snmp"]


class TestQuarantine:
    """What the control socket does to the quarantine, of which only the daemon is the writer."""

    @pytest.fixture
    def setup(self, make_setup: MakeSetup) -> plan.Setup:
        """Three groups are there from an earlier run."""
        setup = make_setup()
        setup.config.state_dir.mkdir()
        groups = [UnreadGroup(0, "192.0.2.1", "", shape, 1, b"example", NOW_NS) for shape in ("a", "b", "c")]
        with Database(setup.config.database) as database, database.transaction("add groups") as connection:
            quarantine.add(connection, groups, ["udp"])
        return setup

    def numbers(self, setup: plan.Setup) -> list[int]:
        with Database.reader(setup.config.database) as database:
            return sorted(group.id for group in quarantine.groups(database))

    async def test_forget(self, setup: plan.Setup) -> None:
        async with running(App(setup, outputs=[])):
            ask = functools.partial(asyncio.to_thread, control.ask, setup.config.control_socket, "quarantine-forget")
            assert await ask(ids=[1, 3, 99]) == 2
            assert await ask(ids=[1]) == 0
            assert await ask(ids=[]) == 0
        assert self.numbers(setup) == [2]

    @pytest.mark.parametrize("ids", [None, 1, "1", ["1"], [1, None], [True], [-1], [2**63], [1.0], {"1": 1}])
    async def test_what_makes_no_sense_is_refused(self, setup: plan.Setup, ids: object) -> None:
        async with running(App(setup, outputs=[])):
            path = setup.config.control_socket
            with pytest.raises(RequestError, match="ids must be a list of numbers"):
                await asyncio.to_thread(control.ask, path, "quarantine-forget", ids=ids)
            assert (await asyncio.to_thread(control.ask, path, "status"))["running"]
        assert self.numbers(setup) == [1, 2, 3]


class TestStartThatFails:
    """What the machine does not give ends the start, and leaves nothing behind."""

    async def test_an_address_in_use(self, make_setup: MakeSetup) -> None:
        with socket.socket(type=socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", 0))
            second = UdpListener(type="udp", name="second", port=taken.getsockname()[1])
            setup = make_setup(listener=(*LISTENERS, second))
            app = App(setup, outputs=[])
            with pytest.raises(ListenError, match=r"listener second: udp port \d+ on 127\.0\.0\.1 is in use by"):
                await app.run()
        assert not app.started.is_set()
        await self._works(make_setup())

    async def test_a_database_in_use(self, make_setup: MakeSetup) -> None:
        setup = make_setup()
        async with running(App(setup, outputs=[])):
            with pytest.raises(StoreError, match="in use by another collectord"):
                await App(setup, outputs=[]).run()

    async def test_a_control_socket_in_use(self, make_setup: MakeSetup, tmp_path: Path) -> None:
        setup = make_setup()
        other = make_setup(state_dir=tmp_path / "other", control_socket=setup.config.control_socket)
        async with running(App(setup, outputs=[])):
            with pytest.raises(EnvironmentProblem, match="another daemon answers"):
                await App(other, outputs=[]).run()
        await self._works(other)

    async def test_a_state_folder_that_can_not_be_made(self, make_setup: MakeSetup, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        setup = make_setup(state_dir=tmp_path / "file" / "state", control_socket=tmp_path / "s")
        with pytest.raises(StoreError, match=r"state folder .* can't be made: .*; set state_dir"):
            await App(setup, outputs=[]).run()

    async def _works(self, setup: plan.Setup) -> None:
        async with running(App(setup, outputs=[])):
            pass


async def test_a_listener_that_breaks_ends_the_daemon(make_setup: MakeSetup) -> None:
    """A bug or a broken machine: it ends with an error, and the service manager starts it again."""
    app = App(make_setup(), outputs=[(FakeOutput(), Severity.LOW)])
    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.timeout(20):
            async with asyncio.TaskGroup() as group:
                group.create_task(app.run())
                await app.started.wait()

                def broken(*_: Any) -> tuple[int, bool]:
                    raise OSError("broken")

                app.listeners[0]._engine = type("Broken", (), {"receive": staticmethod(broken)})()
                send(app, 1)
    assert caught.group_contains(OSError, match="broken")
