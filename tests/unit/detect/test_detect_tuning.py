"""What other limits would have found."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectord.detect import tuning
from collectord.detect.alerts import AlertStates
from collectord.detect.rules import Baseline
from collectord.detect.tuning import Candidate
from collectord.detect.watchlist import Watchlist
from collectord.model import NS_PER_S, AlertState, Window, WindowKey

DAY_S = 86_400


def test_window_sums() -> None:
    """From the first window that holds a slot to the first that does not."""
    assert tuning.window_sums([(0, 5), (60, 7), (600, 1)], 60, 120) == [
        (60, 5), (120, 12), (180, 7), (240, 0), (660, 1), (780, 0),
    ]  # fmt: skip
    assert tuning.window_sums([], 60, 300) == []
    # Slots of a counter that is shared with a rule of shorter steps: windows begin where this rule's do.
    assert tuning.window_sums([(240, 5), (300, 7), (540, 1)], 300, 300) == [(300, 5), (600, 8), (900, 0)]


def test_sums_of_one_alert() -> None:
    """Added up, or the largest."""
    one, other = [(60, 5), (360, 0)], [(120, 7), (180, 2), (480, 0)]
    assert tuning.together([one], sum) == one
    assert tuning.together([one, other], sum) == [(60, 5), (120, 12), (180, 7), (360, 2), (480, 0)]
    assert tuning.together([one, other], max) == [(60, 5), (120, 7), (180, 5), (360, 2), (480, 0)]


@given(
    slots=st.lists(st.tuples(st.integers(0, 60), st.integers(1, 12)), max_size=20, unique_by=lambda slot: slot[0]),
    threshold=st.integers(0, 20),
    clear_after=st.integers(0, 10),
)
def test_alerts_are_counted_as_the_rules_raise_them(
    slots: list[tuple[int, int]], threshold: int, clear_after: int
) -> None:
    """The state machine, given every window, raises as often."""
    from collectord.detect.rules import Rule
    from collectord.model import Mode, Severity

    rule = Rule(
        name="mine", title="x", counter="mine", where={}, group_by=("SrcIpAddr",), timespan_s=300, step_s=60,
        threshold=threshold, mode=Mode.NOTIFY, severity=Severity.LOW, clear_after_s=clear_after * 60,
    )  # fmt: skip
    of_key = sorted((number * 60, count) for number, count in slots)
    states = AlertStates([rule], Watchlist())
    raised = 0
    for end in range(0, 80 * 60, 60):
        total = sum(count for slot, count in of_key if end - 300 <= slot < end)
        keys = (WindowKey("", ("192.0.2.10",), total, 0),) if total > rule.clear_level(threshold) else ()
        window = Window("mine", (end - 300) * NS_PER_S, end * NS_PER_S, True, keys)
        raised += sum(alert.state is AlertState.RAISED for alert in states.judge([window], end * NS_PER_S))

    changes = tuning.window_sums(of_key, 60, 300)
    assert tuning.episodes(changes, threshold, rule.clear_level(threshold), rule.clear_after_s) == raised


def test_percentiles() -> None:
    assert tuning.percentiles([]) == {}
    assert tuning.percentiles(range(1, 1_001)) == {50: 500, 90: 900, 99: 990, 99.9: 999, 100: 1_000}
    assert set(tuning.percentiles([7]).values()) == {7}


@pytest.mark.parametrize(("number", "want"), [(0, 0), (7, 7), (99, 99), (101, 110), (4_321, 4_400), (4_400, 4_400)])
def test_rounded_up(number: int, want: int) -> None:
    assert tuning.rounded_up(number) == want


def test_thresholds(make_rule: Any) -> None:
    """Round numbers above what keys reach, and the present one."""
    assert tuning.thresholds([4_321, 10], 5_000) == [10, 4_400, 5_000]
    assert tuning.thresholds([], None) == []
    sums = [[(60, 10), (120, 4_321), (420, 0)], [(60, 10), (360, 0), (100_000, 10), (100_300, 0)]]
    assert tuning.try_thresholds(make_rule(), sums, [9, 10, 5_000]) == [
        Candidate(9, 3, 2), Candidate(10, 1, 1), Candidate(5_000, 0, 0),
    ]  # fmt: skip


def test_scores() -> None:
    """One alert for each day that is over; keys that never are do not count."""
    steady = {day * DAY_S: 400 for day in range(20)}
    spike = steady | {15 * DAY_S: 520, 16 * DAY_S: 2_000}
    judged = [day * DAY_S for day in range(7, 20)]
    tried = {each.limit: each for each in tuning.try_scores(Baseline(), [([steady], 0), ([spike], 0)], judged)}

    assert sorted(tried) == [3, 4, 5, 6, 8, 10, 15, 20]
    assert (tried[5].alerts, tried[5].keys) == (2, 1)
    assert (tried[8].alerts, tried[20].alerts) == (1, 1)
    odd = tuning.try_scores(Baseline(score=4.5, method="mean"), [([spike], 0)], judged)
    assert [each.limit for each in odd] == [3, 4, 4.5, 5, 6, 8, 10, 15, 20]
    # What makes one alert is one, on whichever of its sums the day was over.
    both = tuning.try_scores(Baseline(), [([steady, spike, spike], 0)], judged)
    assert both == tuning.try_scores(Baseline(), [([spike], 0)], judged)


def test_proposed() -> None:
    """The lowest with at most an alert a day."""
    tried = [Candidate(10, 50, 9), Candidate(20, 2, 2), Candidate(30, 0, 0)]
    assert tuning.proposed(tried, 2).limit == 20
    assert tuning.proposed(tried, 0.2).limit == 30
    assert tuning.proposed(tried[:1], 2).limit == 10
