"""From which sum on a day is out of the ordinary."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectord.detect.baseline import DAY_S, expect, real_days, series
from collectord.detect.rules import Baseline

TREND = Baseline()
MEAN = Baseline(method="mean")


def reference() -> ModuleType:
    """tests/reference is no package."""
    path = Path(__file__).parents[2] / "reference" / "baselines.py"
    spec = importlib.util.spec_from_file_location("collectord_reference_baselines", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


baselines = reference()


def test_days_before_the_first_are_none() -> None:
    """Nothing is made up about a time in which nothing was counted."""
    today = 100 * DAY_S
    assert [] == real_days(None, today, 14)
    assert [] == real_days(today, today, 14)
    assert [today - 2 * DAY_S, today - DAY_S] == real_days(today - 2 * DAY_S, today, 14)
    assert 14 == len(real_days(0, today, 14))
    assert [0, 7] == series({today - DAY_S: 7, today: 9}, real_days(today - 2 * DAY_S, today, 14))


@pytest.mark.parametrize("rule", [TREND, MEAN])
def test_too_few_days_say_nothing(rule: Baseline) -> None:
    assert expect([100] * 6, rule) is None
    assert expect([100] * 7, rule) is not None


def test_steady_numbers_leave_room_for_chance() -> None:
    """Five times the square root of what is expected."""
    expectation = expect([400] * 14, TREND)

    assert expectation is not None
    assert (400, 499) == (expectation.expected, expectation.limit)
    assert (0, 5) == (expectation.score(400), expectation.score(500))
    assert (400,) * 14 == expectation.past


def test_growth_is_carried_on() -> None:
    expectation = expect([1_000 + 100 * day for day in range(14)], TREND)

    assert expectation is not None
    assert 2_400 == pytest.approx(expectation.expected)
    assert expectation.limit in range(2_640, 2_650)


def test_a_weekly_pattern_is_ordinary() -> None:
    """Workdays after a weekend are no anomaly."""
    week = [1_000, 1_050, 990, 1_010, 980, 120, 100]
    for start in range(7):
        past = [week[(start + day) % 7] for day in range(14)]
        expectation = expect(past, TREND)
        assert expectation is not None
        assert 1_050 < expectation.limit < 8_000


def test_what_dies_out_is_not_judged() -> None:
    """Nothing is expected any more."""
    assert expect([1_400 - 100 * day for day in range(14)], TREND) is None
    assert expect([0] * 14, TREND) is None


def test_small_numbers_need_at_least() -> None:
    expectation = expect([1] * 14, TREND)
    assert expectation is not None
    assert 99 == expectation.limit
    new = expect([0] * 14, MEAN)
    assert new is not None
    assert 100 == new.limit


def test_mean() -> None:
    """The largest of three."""
    steady = expect([200] * 14, MEAN)
    assert steady is not None
    assert (600, 200) == (steady.limit, steady.expected)
    lively = expect([100, 500] * 7, MEAN)
    assert lively is not None
    assert 300 + 5 * 207 < lively.limit < 300 + 5 * 208


PAST = st.lists(st.integers(0, 3_000), min_size=0, max_size=20)
SLOPED = st.builds(
    lambda base, slope, noise: [max(0, base + slope * day + off) for day, off in enumerate(noise)],
    st.integers(0, 100_000),
    st.integers(-200, 2_000),
    st.lists(st.integers(-50, 50), min_size=7, max_size=20),
)


@given(past=st.one_of(PAST, SLOPED), today=st.integers(0, 200_000), near=st.integers(-2, 2), is_near=st.booleans())
@pytest.mark.parametrize("method", ["trend", "mean"])
def test_agrees_with_the_reference(method: str, past: list[int], today: int, near: int, is_near: bool) -> None:
    """From sessions to the answer, also right beside the limit."""
    rule = Baseline(method=method)
    days = real_days(0, len(past) * DAY_S, rule.days)
    got = expect([past[day // DAY_S] for day in days], rule)
    if is_near and got is not None:
        today = max(1, got.limit + near)
    # Half of each day's sessions each, and another key that sees to it that the first day is a day.
    sessions = [(day, "key", count) for day, total in enumerate(past) for count in (total // 2, total - total // 2)]
    sessions += [(0, "other", 1), (len(past), "key", today)]
    want = baselines.judge(sessions, len(past), getattr(baselines, method)).get("key")

    assert (want is None) == (got is None)
    if want is not None and got is not None:
        if want.margin > 1e-6:
            assert want.over == (today > got.limit)
        if method == "trend":
            assert want.score == pytest.approx(got.score(today), abs=1e-6)
