"""
Today against the days before: from which sum on a day is out of the ordinary.

Pure arithmetic on whole numbers. Both methods look at real days only: those since the counter has had anything at all
of the key's site. A day on which a key is missing is a real one with the sum 0; a day before the site began is none.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from collectord.detect.rules import Baseline

DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a day's sum is held against."""

    limit: int
    """The largest sum that is still quiet."""
    expected: float
    """What the past days lead to expect."""
    past: tuple[int, ...]
    """Their sums, oldest first."""
    center: float = field(repr=False)
    spread: float = field(repr=False)
    """How far sums ordinarily lie apart, at least 1."""

    def score(self, total: int) -> float:
        """How many spreads a sum is beyond what is ordinary; negative where it is below."""
        return (total - self.center) / self.spread


def real_days(first_day_s: int | None, day_s: int, days: int) -> list[int]:
    """
    The days to look back at, oldest first.

    Args:
        first_day_s: Start (epoch seconds) of the first day of the counter, or of a site in it; None: there is none.
        day_s: Start of the day that is judged.
        days: How many to look back at, at most.
    """
    if first_day_s is None:
        return []
    return list(range(max(first_day_s, day_s - days * DAY_S), day_s, DAY_S))


def series(totals: Mapping[int, int], days: Sequence[int]) -> list[int]:
    """The sums of these days; 0 where the key was not seen."""
    return [totals.get(day, 0) for day in days]


def expect(past: Sequence[int], rule: Baseline) -> Expectation | None:
    """
    What follows from the past days for the next one.

    ``trend``: the straight line through the past days, by least squares, is carried on to the next day. What a day is
    off the line is its residual. The score is what the next day's residual is beyond the 90th percentile of the past
    ones, in distances between their 10th and 90th percentile (Tukey's fences as ``series_decompose_anomalies`` with
    ``ctukey`` has them); the distance is at least the square root of what is expected, which is the spread of pure
    chance, so that small or very steady numbers raise nothing.

    ``mean``: the sum must be larger than the mean by ``score`` standard deviations, and than ``factor`` times the mean.

    Args:
        past: Sums of real days, oldest first, without the day that is judged.
        rule: Method and numbers.

    Returns:
        None if nothing can be said: too few days, or (trend) nothing to expect.
    """
    if len(past) < rule.min_days:
        return None
    return _mean(past, rule) if rule.method == "mean" else _trend(past, rule)


def _trend(past: Sequence[int], rule: Baseline) -> Expectation | None:
    # Least squares for the days 0, 1, 2...; once for each key, so by hand: statistics is forty times slower.
    count = len(past)
    middle, mean = (count - 1) / 2, sum(past) / count
    slope = sum((day - middle) * total for day, total in enumerate(past)) * 12 / (count * (count * count - 1))
    intercept = mean - slope * middle
    expected = intercept + slope * count
    if expected <= 0:
        return None
    residuals = sorted(total - (intercept + slope * day) for day, total in enumerate(past))
    low, high = _percentile(residuals, 10), _percentile(residuals, 90)
    spread = max(high - low, math.sqrt(expected), 1.0)
    center = expected + high
    limit = max(math.ceil(center + rule.score * spread), rule.at_least) - 1
    return Expectation(limit, expected, tuple(past), center, spread)


def _mean(past: Sequence[int], rule: Baseline) -> Expectation:
    mean = sum(past) / len(past)
    deviation = math.sqrt(sum((total - mean) ** 2 for total in past) / (len(past) - 1))
    limit = math.floor(max(mean + rule.score * deviation, rule.factor * mean, rule.at_least))
    return Expectation(limit, mean, tuple(past), mean, max(deviation, 1.0))


def _percentile(ordered: Sequence[float], percent: int) -> float:
    """Between the two nearest of the sorted values, in proportion."""
    place = (len(ordered) - 1) * percent / 100
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)
