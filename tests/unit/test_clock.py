"""Clocks: wall time that runs evenly, follows steps only when asked, and never creeps back."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectord.clock import Ageing, Clock, ManualClock, SystemClock
from collectord.model import NS_PER_S

START_NS = 1_800_000_000 * NS_PER_S


@dataclass
class Machine:
    """The clocks of a machine that a test turns by hand."""

    wall: int = START_NS
    mono: int = 5 * NS_PER_S

    def clock(self) -> SystemClock:
        """A clock on this machine."""
        return SystemClock(lambda: self.wall, lambda: self.mono)

    def run(self, ns: int) -> None:
        """Time passes on both."""
        self.wall += ns
        self.mono += ns


def test_runs_with_monotonic_time() -> None:
    """Wall time at the start, and what has passed since."""
    machine = Machine()
    clock = machine.clock()
    machine.run(1_234_567_891)

    assert (START_NS + 1_234_567_891, machine.mono) == (clock.now_ns(), clock.mono_ns())
    assert clock.check() == 0


@pytest.mark.parametrize("step_s", [3600, -3600, 2.5, -2.5])
def test_step_is_followed_at_check_only(step_s: float) -> None:
    """Until then windows go on undisturbed; the step is returned once."""
    machine = Machine()
    clock = machine.clock()
    machine.wall += int(step_s * NS_PER_S)
    before = clock.now_ns()
    stepped = clock.check()

    assert (START_NS, step_s) == (before, stepped)
    assert (machine.wall, 0) == (clock.now_ns(), clock.check())


@pytest.mark.parametrize("off_s", [1.9, -1.9, 0.5, -0.5, 2, -2])
def test_drift_is_slewed(off_s: float) -> None:
    """Up to 2 s is no step: it is worked off at 1 % at most, checked every second."""
    machine = Machine()
    clock = machine.clock()
    machine.wall += int(off_s * NS_PER_S)
    for _ in range(300):
        before = clock.now_ns()
        assert clock.check() == 0
        assert before == clock.now_ns()
        machine.run(NS_PER_S)
        assert 990_000_000 <= clock.now_ns() - before <= 1_010_000_000

    assert clock.now_ns() == pytest.approx(machine.wall, abs=1_000_000)


@given(st.lists(st.tuples(st.integers(0, 10 * NS_PER_S), st.integers(-NS_PER_S, NS_PER_S), st.booleans()), max_size=40))
def test_never_back_without_a_step(moves: list[tuple[int, int, bool]]) -> None:
    """Whatever the wall clock does: now_ns rises, unless check returned a step back."""
    machine = Machine()
    clock = machine.clock()
    last = clock.now_ns()
    for passed, shift, checked in moves:
        machine.run(passed)
        machine.wall += shift
        stepped = clock.check() if checked else 0
        assert clock.now_ns() >= last or stepped < 0
        assert abs(stepped) > 2 or stepped == 0
        last = clock.now_ns()


def test_real_time() -> None:
    """The machine's own clocks are the default."""
    clock: Clock = SystemClock()
    first = clock.now_ns()

    assert first > START_NS - 10 * 365 * 86_400 * NS_PER_S
    assert clock.check() == 0
    assert clock.now_ns() >= first


def test_manual_clock() -> None:
    """Stands still; moves when told; a step is seen by check alone."""
    manual = ManualClock(START_NS)
    clock: Clock = manual
    manual.advance(1.5)
    after = (clock.now_ns(), clock.mono_ns())
    manual.step(-60)

    assert (START_NS + 1_500_000_000, 1_500_000_000) == after
    assert START_NS + 1_500_000_000 == clock.now_ns()
    assert (-60.0, 0.0) == (clock.check(), clock.check())
    assert (START_NS - 58_500_000_000, 1_500_000_000) == (clock.now_ns(), clock.mono_ns())

    manual.set(7)

    assert (7, 1_500_000_000) == (clock.now_ns(), clock.mono_ns())


def test_manual_clock_refuses_to_go_back() -> None:
    """Time that passes does so forward; ``set`` and ``step`` are for the rest."""
    with pytest.raises(ValueError, match="time passes forward only"):
        ManualClock().advance(-1)


class TestAgeing:
    """The time by which things are too old."""

    def test_a_jump_ahead_is_followed_a_day_later(self) -> None:
        clock = ManualClock()
        ageing = Ageing(clock.mono_ns)
        ageing.step(8760 * 3600)
        assert ageing.behind_ns == 8760 * 3600 * NS_PER_S
        clock.advance(86_399)
        assert ageing.now_ns(10**18) == 10**18 - 8760 * 3600 * NS_PER_S
        clock.advance(1)
        assert ageing.now_ns(10**18) == 10**18

    def test_back_again(self) -> None:
        """Somebody put it right."""
        ageing = Ageing(lambda: 0)
        ageing.step(8760 * 3600)
        ageing.step(-8760 * 3600 - 5)
        assert ageing.behind_ns == 0

    @pytest.mark.parametrize("step_s", [3600, 1, -1, -8760 * 3600])
    def test_small_steps_and_those_back_are_followed(self, step_s: int) -> None:
        ageing = Ageing(lambda: 0)
        ageing.step(step_s)
        assert ageing.behind_ns == 0

    def test_jump_after_jump(self) -> None:
        ageing = Ageing(lambda: 0)
        ageing.step(7200)
        ageing.step(7200)
        ageing.step(-3600)
        assert ageing.behind_ns == 10_800 * NS_PER_S
