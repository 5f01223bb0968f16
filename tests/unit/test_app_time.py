"""The daemon in this process: what it makes of a clock that is set, and of parts of it that stand still."""

import asyncio
import contextlib
import functools
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from collectord import control
from collectord.app import App
from collectord.clock import ManualClock
from collectord.engine import Engine
from collectord.model import Changes, Severity
from collectord.store import writer as writing

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
