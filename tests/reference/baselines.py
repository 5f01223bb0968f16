"""
The rules that hold a day against the days before, slow and obvious: from the sessions of all days to what is unusual.

Written from the description of the rules alone (port anomaly, traffic anomaly, SMB anomaly), with nothing of the
program in it. Exact fractions wherever there is no square root.
"""

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from fractions import Fraction
from typing import NamedTuple

Number = Fraction | float


class Found(NamedTuple):
    """What a day's sum of a key comes to."""

    total: int
    score: float
    """Only of a trend."""
    over: bool
    margin: float
    """How far the sum is from the place where the answer turns; nearer than rounding goes, either answer is right."""


def totals(sessions: Iterable[tuple[int, Hashable, int]]) -> dict[Hashable, dict[int, int]]:
    """(day, key, count) of each session to the sum of each key and day."""
    found: dict[Hashable, dict[int, int]] = {}
    for day, key, count in sessions:
        of_key = found.setdefault(key, {})
        of_key[day] = of_key.get(day, 0) + count
    return found


def judge(
    sessions: Sequence[tuple[int, Hashable, int]],
    today: int,
    decide: Callable[[Sequence[int], int], Found | None],
    *,
    days: int = 14,
    min_days: int = 7,
) -> dict[Hashable, Found]:
    """What is to be said of each key that was seen today; days before the first session are no days."""
    first = min(day for day, _, _ in sessions)
    looked_at = [day for day in range(today - days, today) if day >= first]
    if len(looked_at) < min_days:
        return {}
    answers = {}
    for key, of_key in totals(sessions).items():
        if today in of_key:
            answer = decide([of_key.get(day, 0) for day in looked_at], of_key[today])
            if answer is not None:
                answers[key] = answer
    return answers


def trend(past: Sequence[int], today: int, *, score: float = 5, at_least: int = 100) -> Found | None:
    """Port and traffic anomaly."""
    n = len(past)
    # Least squares: the slope is the covariance of day and sum over the variance of the day.
    mean_day = Fraction(sum(range(n)), n)
    mean_sum = Fraction(sum(past), n)
    covariance = sum(((day - mean_day) * (total - mean_sum) for day, total in enumerate(past)), Fraction())
    variance = sum(((day - mean_day) ** 2 for day in range(n)), Fraction())
    slope = covariance / variance

    def line(day: int) -> Fraction:
        return mean_sum + slope * (day - mean_day)

    baseline = line(n)
    if baseline <= 0:
        return None
    residuals = sorted(total - line(day) for day, total in enumerate(past))
    p10, p90 = percentile(residuals, Fraction(1, 10)), percentile(residuals, Fraction(9, 10))
    spread = max(float(p90 - p10), math.sqrt(baseline), 1.0)
    found = float(today - baseline - p90) / spread
    return Found(today, found, found >= score and today >= at_least, abs(found - score))


def percentile(ordered: Sequence[Fraction], part: Fraction) -> Fraction:
    """With straight lines between the values, as most tables and programs do it."""
    place = part * (len(ordered) - 1)
    below = int(place)
    if below == len(ordered) - 1:
        return ordered[below]
    return ordered[below] + (place - below) * (ordered[below + 1] - ordered[below])


def mean(past: Sequence[int], today: int, *, score: float = 5, factor: float = 3, at_least: int = 100) -> Found | None:
    """SMB anomaly."""
    n = len(past)
    average = Fraction(sum(past), n)
    deviation = math.sqrt(sum((total - average) ** 2 for total in past) / (n - 1))
    limit = max(float(average) + score * deviation, factor * float(average), float(at_least))
    return Found(today, 0.0, today > limit, abs(today - limit))
