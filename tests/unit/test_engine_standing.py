"""When a bug of the engine is the end of the process, and what is told before."""

import pytest

from collectord.engine_standing import MOST_IN_A_ROW, EngineStanding
from collectord.errors import EX_SOFTWARE, EngineError


def a_pass(standing: EngineStanding, *, missed: bool) -> None:
    standing.begin()
    if missed:
        standing.missed(EngineError("a bug"))
    standing.passed()


def test_bugs_now_and_then_are_counted() -> None:
    standing = EngineStanding()
    for _ in range(10):
        for missed in (*[True] * (MOST_IN_A_ROW - 1), False):
            a_pass(standing, missed=missed)
            standing.check()
    assert standing.bugs == 10 * (MOST_IN_A_ROW - 1)
    assert [standing.news(), standing.news()] == [standing.bugs, 0]
    assert standing.error is None


def test_bugs_in_passes_that_are_stored_are_lived_with() -> None:
    standing = EngineStanding()
    for _ in range(2 * MOST_IN_A_ROW):
        standing.begin()
        standing.met(EngineError("a bug of one counter"), 2)
        standing.passed()
        standing.check()
    assert standing.bugs == 4 * MOST_IN_A_ROW


def test_in_each_pass_they_are_the_end() -> None:
    standing = EngineStanding()
    for _ in range(MOST_IN_A_ROW):
        standing.check()
        a_pass(standing, missed=True)
    for _ in range(2):
        with pytest.raises(EngineError, match=r"does not recover from a bug .a bug.") as caught:
            standing.check()
        a_pass(standing, missed=False)
    assert caught.value.exit_status == EX_SOFTWARE


def test_one_that_can_not_be_lived_with_is_the_end_at_once() -> None:
    standing = EngineStanding()
    standing.give_up(EngineError("half a plan"))
    assert standing.bugs == 1
    with pytest.raises(EngineError, match="half a plan"):
        standing.check()
