"""
What other limits of a rule would have found in what was counted.

Pure: sums go in, numbers of alerts come out. An alert is counted as the rules raise and clear it: raised above the
threshold, cleared when the sum stayed at or below the clear level for long enough.
"""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from collectord.detect.baseline import expect, real_days, series
from collectord.detect.rules import Baseline, Rule

PERCENTILES = (50.0, 90.0, 99.0, 99.9, 100.0)

SCORES = (3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0)
"""Scores of a baseline that are tried beside the rule's own."""

Changes = Sequence[tuple[int, int]]
"""A sum over time: (from when on in epoch seconds, sum), rising."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A limit, and what it would have found."""

    limit: float
    alerts: int
    keys: int
    """Keys that had one of these alerts at least."""


def window_sums(slots: Iterable[tuple[int, int]], step_s: int, timespan_s: int) -> list[tuple[int, int]]:
    """
    The sum over a sliding window each time that it changes.

    Args:
        slots: (start of the slot in epoch seconds, sum) of one key; a slot is a step or a part of one.
        step_s: Time between two windows.
        timespan_s: Length of the window.

    Returns:
        (end of the first window with this sum, sum); the last sum is 0.
    """
    steps: dict[int, int] = {}
    for slot, count in slots:
        entered = slot - slot % step_s + step_s
        steps[entered] = steps.get(entered, 0) + count
        left = entered + max(timespan_s, step_s)
        steps[left] = steps.get(left, 0) - count
    total, found = 0, []
    for when in sorted(steps):
        total += steps[when]
        found.append((when, total))
    return found


def together(several: Sequence[Changes], combine: Callable[[Iterable[int]], int]) -> Changes:
    """
    What belongs to one alert: several sums as one.

    Args:
        several: Each as :func:`window_sums` gives it.
        combine: ``sum`` where they are added up, ``max`` where each is held against the limit by itself.
    """
    if len(several) == 1:
        return several[0]
    present = [0] * len(several)
    moments: dict[int, list[tuple[int, int]]] = {}
    for number, changes in enumerate(several):
        for when, total in changes:
            moments.setdefault(when, []).append((number, total))
    found = []
    for when in sorted(moments):
        for number, total in moments[when]:
            present[number] = total
        found.append((when, combine(present)))
    return found


def episodes(changes: Changes, threshold: int, clear_level: int, clear_after_s: int) -> int:
    """How often an alert is raised over these sums."""
    raised, active = 0, False
    quiet_since: int | None = None
    for when, total in changes:
        if active and quiet_since is not None and when - quiet_since >= clear_after_s:
            active = False
        if total > clear_level:
            quiet_since = None
        elif quiet_since is None:
            quiet_since = when
        if not active and total > threshold:
            active, raised = True, raised + 1
    return raised


def percentiles(values: Iterable[int]) -> dict[float, int]:
    """The values below which so many per cent of them are (nearest rank); nothing of nothing."""
    ordered = sorted(values)
    if not ordered:
        return {}
    return {percent: ordered[max(math.ceil(len(ordered) * percent / 100), 1) - 1] for percent in PERCENTILES}


def thresholds(peaks: Iterable[int], present: int | None) -> list[int]:
    """Limits worth a look, rising: the present one, and round numbers just above what most keys reach."""
    found = {rounded_up(peak) for peak in percentiles(peaks).values()}
    return sorted(found | ({present} if present is not None else set()))


def rounded_up(number: int) -> int:
    """To two digits: 4321 is 4400."""
    unit = int(10 ** max(len(str(number)) - 2, 0))
    return -(-number // unit) * unit


def try_thresholds(rule: Rule, sums: Iterable[Changes], candidates: Sequence[int]) -> list[Candidate]:
    """What each threshold would have raised, over the window sums of each key."""
    alerts, keys = [0] * len(candidates), [0] * len(candidates)
    levels = [rule.clear_level(threshold) for threshold in candidates]
    for changes in sums:
        peak = max((total for _, total in changes), default=0)
        for number, threshold in enumerate(candidates):
            if peak > threshold:
                alerts[number] += episodes(changes, threshold, levels[number], rule.clear_after_s)
                keys[number] += 1
    return [Candidate(*each) for each in zip(candidates, alerts, keys, strict=True)]


def try_scores(
    baseline: Baseline, alerts: Iterable[tuple[Collection[Mapping[int, int]], int]], judged: Sequence[int]
) -> list[Candidate]:
    """
    What each score of a baseline would have raised: an alert for each day on which something of its key was over.

    Args:
        baseline: The rule's numbers.
        alerts: For each key of an alert the sums by day of what is held against its own past, and the first day that
            the counter has anything of its site.
        judged: Starts of the days to look at.
    """
    scores = sorted({*SCORES, baseline.score})
    raised, found = [0] * len(scores), [0] * len(scores)
    rules = [replace(baseline, score=score) for score in scores]
    for sums, first_day_s in alerts:
        # The scores rise, and one finds nothing that a smaller one does not: that many of them find something.
        reached = [max((_reached(rules, totals, first_day_s, day) for totals in sums), default=0) for day in judged]
        for number in range(len(scores)):
            over = sum(each > number for each in reached)
            raised[number] += over
            found[number] += over > 0
    return [Candidate(*each) for each in zip(scores, raised, found, strict=True)]


def _reached(rules: Sequence[Baseline], totals: Mapping[int, int], first_day_s: int, day: int) -> int:
    """How many of these baselines, whose scores rise, a day is over."""
    if totals.get(day, 0) < rules[0].at_least:
        return 0
    past = series(totals, real_days(first_day_s, day, rules[0].days))
    for number, rule in enumerate(rules):
        expectation = expect(past, rule)
        if expectation is None or totals[day] <= expectation.limit:
            return number
    return len(rules)


def proposed(candidates: Sequence[Candidate], days: float) -> Candidate:
    """The lowest limit with at most one alert a day; the highest if none is so quiet."""
    quiet = (candidate for candidate in candidates if candidate.alerts <= max(days, 1))
    return next(quiet, candidates[-1])
