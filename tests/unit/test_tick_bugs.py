"""The pass with an engine that panics: nothing of what it hands over is lost, and the rest of the pass is done."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import structlog

from collectord.engine import Engine
from collectord.engine_standing import MOST_IN_A_ROW
from collectord.errors import EngineError
from collectord.model import Changes
from collectord.store import ledger

from .test_tick import THRESHOLD, Daemon, clock, daemon, path, setup, start  # noqa: F401


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Calls of the engine that panic from now on, and how often."""
    asked: dict[str, int] = {}

    def breaking(name: str) -> Callable[..., Any]:
        real = getattr(Engine, name)

        def call(*arguments: Any) -> Any:
            if asked.get(name):
                asked[name] -= 1
                raise EngineError("the engine panicked: a bug that somebody asked for")
            return real(*arguments)

        return call

    for name in ("changes", "ack", "restore", "restart_windows", "replan"):
        monkeypatch.setattr(Engine, name, breaking(name))
    return asked


def totals(daemon: Daemon) -> list[int]:  # noqa: F811
    return [row[2] for row in ledger.totals(daemon.database)]


@pytest.mark.parametrize("call", ["changes", "ack"])
def test_what_was_counted_comes_with_the_next_pass(
    daemon: Daemon,  # noqa: F811
    broken: dict[str, int],
    call: str,
) -> None:
    daemon.deny(3)
    broken[call] = MOST_IN_A_ROW - 1
    with structlog.testing.capture_logs() as logs:
        for _ in range(MOST_IN_A_ROW - 1):
            daemon.tick.run()
    (event,) = {entry["event"] for entry in logs}
    assert event == "the engine met a bug and goes on; please report it, with the lines before"
    assert daemon.tick.outcomes == {}
    daemon.deny(4)
    for _ in range(2):
        daemon.tick.run()
    assert daemon.rows() == [(0, "", "203.0.113.1", 7)]
    assert (totals(daemon), daemon.tick.outcomes) == ([7], {"udp": {"session": 7}})
    standing = daemon.tick.engine_standing
    assert (standing.bugs, standing.error, daemon.tick.counters.store_failures) == (MOST_IN_A_ROW - 1, None, 0)


def test_a_pass_that_hands_over_a_part_is_stored(
    daemon: Daemon,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = Engine.changes
    monkeypatch.setattr(Engine, "changes", lambda engine, now_ns: replace(real(engine, now_ns), panics=2))
    daemon.deny(THRESHOLD + 1)
    assert daemon.tick.run() is True
    assert (daemon.history(), totals(daemon), daemon.tick.engine_standing.bugs) == (["raised"], [THRESHOLD + 1], 2)


def test_a_row_that_can_not_be_read(
    daemon: Daemon,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing of the batch is stored by half."""

    class Rows(list[Any]):
        def __iter__(self) -> Any:
            yield self[0]
            raise EngineError("the engine panicked")

    def changes(engine: Engine, now_ns: int) -> Changes:
        found = real(engine, now_ns)
        return replace(found, rows={name: Rows(rows) for name, rows in found.rows.items()})

    real = Engine.changes
    for source in ("203.0.113.1", "203.0.113.2"):
        daemon.deny(1, source)
    with monkeypatch.context() as patched:
        patched.setattr(Engine, "changes", changes)
        daemon.tick.run()
    assert (daemon.rows(), totals(daemon)) == ([], [])
    daemon.tick.run()
    assert [row[2:] for row in daemon.rows()] == [("203.0.113.1", 1), ("203.0.113.2", 1)]
    assert totals(daemon) == [2]


def test_several_in_a_row_are_the_end(daemon: Daemon, broken: dict[str, int]) -> None:  # noqa: F811
    daemon.deny(THRESHOLD + 1)
    daemon.tick.run()
    daemon.deny(1)
    broken["changes"] = 100
    for _ in range(MOST_IN_A_ROW - 1):
        daemon.tick.run()
    for _ in range(2):
        with pytest.raises(EngineError, match="a new process is to go on"):
            daemon.tick.run()
    assert totals(daemon) == [THRESHOLD + 1]
    assert broken["changes"] == 100 - MOST_IN_A_ROW, "nothing more is asked of it"


def test_what_is_stored_of_a_counter_can_not_be_restored(
    start: Callable[[], Daemon],  # noqa: F811
    broken: dict[str, int],
) -> None:
    """The next start would fare the same: it goes on without."""
    daemon = start()  # noqa: F811
    daemon.deny(THRESHOLD + 1)
    daemon.tick.run()
    broken["restore"] = 1
    daemon = start()
    assert daemon.tick.engine_standing.bugs == 1
    assert daemon.states.active_count == 1
    daemon.deny(2)
    daemon.tick.run()
    assert totals(daemon) == [THRESHOLD + 3]


def test_a_step_of_the_clock(daemon: Daemon, broken: dict[str, int]) -> None:  # noqa: F811
    daemon.tick.run()
    broken["restart_windows"] = 1
    daemon.clock.step(3600)
    daemon.tick.run()
    assert (daemon.tick.retries, daemon.tick.engine_standing.bugs) == (1, 1)
    daemon.deny(2)
    daemon.tick.run()
    assert totals(daemon) == [2]


def test_a_changed_configuration_is_refused(daemon: Daemon, broken: dict[str, int]) -> None:  # noqa: F811
    """As long as the engine has not begun with it; else a new process begins with it."""
    daemon.deny(3)
    broken["changes"] = 1
    with pytest.raises(EngineError):
        daemon.tick.take_up(daemon.tick.setup)
    daemon.tick.run()
    broken["replan"] = 1
    with pytest.raises(EngineError, match="somebody asked for"):
        daemon.tick.take_up(daemon.tick.setup)
    assert totals(daemon) == [3]
    with pytest.raises(EngineError, match="a new process"):
        daemon.tick.run()
