"""The daemon in this process: a clock that is set, an engine that panics, parts that stand still."""

import asyncio
import contextlib
import functools
import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from collectord import control, plan
from collectord.app import App
from collectord.clock import ManualClock
from collectord.engine import Engine
from collectord.errors import EX_SOFTWARE, EngineError, FullError
from collectord.model import Changes, Severity, UnreadGroup
from collectord.store import quarantine
from collectord.store import writer as writing
from collectord.store.alerts import Alerts
from collectord.store.db import Database

from .test_app import NOW_NS, THRESHOLD, FakeOutput, MakeSetup, make_setup, running, send, stored  # noqa: F401


async def test_the_clock_is_set(make_setup: MakeSetup) -> None:  # noqa: F811
    """By an hour, either way: every message is counted once, what is counted before and after is no one window, and
    what waits for an output is tried at once."""
    setup, clock, output = make_setup(), ManualClock(NOW_NS), FakeOutput()
    ask = functools.partial(asyncio.to_thread, control.ask, setup.config.control_socket, "status")

    async def until(condition: Callable[[Any], bool]) -> None:
        while not condition(await ask()):  # noqa: ASYNC110
            await asyncio.sleep(0)

    async with running(App(setup, clock=clock, outputs=[(output, Severity.LOW)])) as app:
        for number, step_s in enumerate((3600, -3600, -3600, 3600), 1):
            send(app, THRESHOLD)
            counted = number * THRESHOLD
            await until(lambda answer, n=counted: answer["listeners"][0]["outcomes"].get("session") == n)
            clock.step(step_s)
            ticks = (await ask())["tick"]["ticks"]
            await until(lambda answer, n=ticks: answer["tick"]["ticks"] >= n + 2)
        assert (await ask())["alerts"]["active"] == 0
        output.down = True
        send(app, THRESHOLD + 1)
        await until(lambda answer: answer["outputs"][0]["failures"] > 0)
        output.down = False
        clock.step(-3600)
        await output.sent_one.wait()
    assert output.sent == [(1, "raised")]
    assert stored(setup) == {("udp", "session"): 5 * THRESHOLD + 1}


async def test_a_message_that_trips_the_engine(
    make_setup: MakeSetup,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is counted, kept for whoever mends the bug, and an alert; the daemon goes on."""
    # That the engine hands this over is shown by its own tests, where it can be made to panic.
    setup = plan.check(make_setup().config)
    output, of_engine, poisoned = FakeOutput(), Engine.changes, [True]

    def changes(self: Engine, now_ns: int) -> Changes:
        found = of_engine(self, now_ns)
        if not poisoned:
            return found
        group = UnreadGroup(0, "192.0.2.1", "(panic)", "%ASA-0-0: ?", 1, b"%ASA-6-302013: poison", now_ns)
        return replace(found, ledger=[*found.ledger, (0, "panic", 1, 21)], quarantine=(*found.quarantine, group))

    def ack(self: Engine, seq: int) -> None:
        poisoned.clear()
        of_ack(self, seq)

    of_ack = Engine.ack
    monkeypatch.setattr(Engine, "changes", changes)
    monkeypatch.setattr(Engine, "ack", ack)
    async with running(App(setup, clock=ManualClock(NOW_NS), outputs=[(output, Severity.LOW)])) as app:
        await output.sent_one.wait()
        send(app, 5)
    assert output.sent == [(1, "raised")]
    assert stored(setup) == {("udp", "panic"): 1, ("udp", "session"): 5}
    with Database.reader(setup.config.database) as database:
        ((profile, example),) = [(group.profile, group.example) for group in quarantine.groups(database)]
        (alert,) = Alerts(database).find()
    assert (profile, example) == ("(panic)", b"%ASA-6-302013: poison")
    assert (alert.rule, alert.key, alert.count) == ("messages-lost", {"listener": "udp"}, 1)


async def test_an_engine_that_panics_elsewhere(
    make_setup: MakeSetup,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What it was about is done by the next pass, and there is an alert."""
    setup, output, of_engine = plan.check(make_setup().config), FakeOutput(), Engine.changes
    bugs = iter([True])

    def changes(self: Engine, now_ns: int) -> Changes:
        if next(bugs, False):
            raise EngineError("the engine panicked: index out of bounds")
        return of_engine(self, now_ns)

    monkeypatch.setattr(Engine, "changes", changes)
    async with running(App(setup, clock=ManualClock(NOW_NS), outputs=[(output, Severity.LOW)])) as app:
        send(app, 3)
        await output.sent_one.wait()
        answer = await asyncio.to_thread(control.ask, setup.config.control_socket, "status")
    assert (answer["tick"]["engine_bugs"], stored(setup)) == (1, {("udp", "session"): 3})
    with Database.reader(setup.config.database) as database:
        (alert,) = Alerts(database).find()
    assert (alert.rule, alert.key, alert.count) == ("messages-lost", {"listener": "(engine)"}, 1)


async def test_an_engine_that_does_not_recover(
    make_setup: MakeSetup,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is stored is up to the last pass, waiting alerts are still sent; a new process goes on with that."""
    setup, broken, of_engine, output = make_setup(), threading.Event(), Engine.changes, FakeOutput()

    def changes(self: Engine, now_ns: int) -> Changes:
        if broken.is_set():
            raise EngineError("the engine panicked: index out of bounds")
        return of_engine(self, now_ns)

    monkeypatch.setattr(Engine, "changes", changes)
    app = App(setup, clock=ManualClock(NOW_NS), outputs=[(output, Severity.LOW)])
    with pytest.raises(EngineError, match=r"does not recover from a bug .*index out of bounds") as caught:
        async with asyncio.timeout(40), asyncio.TaskGroup() as group:
            group.create_task(_until_it_ends(app, caught_by := []))
            await app.started.wait()
            send(app, THRESHOLD + 1)
            await output.sent_one.wait()
            broken.set()
        raise caught_by[0]
    assert caught.value.exit_status == EX_SOFTWARE
    assert (stored(setup), output.sent) == ({("udp", "session"): THRESHOLD + 1}, [(1, "raised")])
    broken.clear()
    async with running(App(setup, clock=ManualClock(NOW_NS), outputs=[])) as app:
        send(app, 2)
    assert stored(setup) == {("udp", "session"): THRESHOLD + 3}


async def _until_it_ends(app: App, error: list[EngineError]) -> None:
    try:
        await app.run()
    except EngineError as found:
        error.append(found)


QUIET_S = 0.3
"""Fifteen ticks of a clock that stands 20 ms before a second."""


@pytest.mark.parametrize("stuck", ["loop", "writer", "engine"])
def test_watchdog(
    make_setup: MakeSetup,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    stuck: str,
) -> None:
    """It is told that all is well as long as loop, store and tick make progress; whichever of them stands still."""
    gate, held, loops, writers = threading.Event(), threading.Event(), [], []
    gate.set()

    class Writer(writing.Writer):
        def __init__(self) -> None:
            super().__init__()
            writers.append(self)
            loops.append(asyncio.get_running_loop())

    def changes(self: Engine, now_ns: int) -> Changes:
        if stuck == "engine" and not gate.is_set():
            held.set()
            gate.wait()
        return of_engine(self, now_ns)

    def hold() -> None:
        held.set()
        gate.wait()

    of_engine = Engine.changes
    monkeypatch.setattr(Engine, "changes", changes)
    monkeypatch.setattr("collectord.app.Writer", Writer)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        app = App(make_setup(), clock=ManualClock(NOW_NS), outputs=[])
        thread = threading.Thread(target=lambda: asyncio.run(app.run()))
        thread.start()

        def wait_ping() -> None:
            manager.settimeout(20)
            while manager.recv(4096) != b"WATCHDOG=1":
                pass

        try:
            wait_ping()
            wait_ping()
            gate.clear()
            if stuck == "loop":
                loops[0].call_soon_threadsafe(hold)
            elif stuck == "writer":
                writers[0]._executor.submit(hold)
            assert held.wait(20)
            # What was sent before is still in the socket.
            manager.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    manager.recv(4096)
            manager.settimeout(QUIET_S)
            # The pass before was done, and its ping may be on its way.
            told = []
            with contextlib.suppress(TimeoutError):
                while len(told) < 3:
                    told.append(manager.recv(4096))
            assert told.count(b"WATCHDOG=1") <= 1
            gate.set()
            wait_ping()
            wait_ping()
        finally:
            gate.set()
            loops[0].call_soon_threadsafe(app.stop)
            thread.join()


@pytest.mark.parametrize(("room_at", "asked"), [(99, 3), (2, 2)])
async def test_a_new_version_on_a_full_disk(
    make_setup: MakeSetup,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    room_at: int,
    asked: int,
) -> None:
    """It waits for the room to change the tables, and makes its backup then; one, if there is room for that earlier."""
    setup, tries, backups = make_setup(), iter([False, False]), []

    def opened(path: Path, **how: bool) -> Database:
        if not next(tries, True):
            raise FullError("can't bring the tables up to date")
        return Database(path, **how)

    def backup(*_: object) -> Path | None:
        backups.append(1)
        return Path("kept") if len(backups) >= room_at else None

    monkeypatch.setattr("collectord.app.Database", opened)
    monkeypatch.setattr("collectord.app.ROOM_EVERY_S", 0)
    monkeypatch.setattr("collectord.app.backup.before_migration", backup)
    async with running(App(setup, clock=ManualClock(NOW_NS), outputs=[])) as app:
        send(app, 2)
    assert (stored(setup), len(backups)) == ({("udp", "session"): 2}, asked)
