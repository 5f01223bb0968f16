"""
The windows of the rules that hold a day against the days before.

The store knows what was on which day, the rules what that means; here both meet, once a minute. The present day is a
window that is still open and grows, so that what is over is told while it happens; when the day (UTC) is over it is
judged once more, whole. A new day begins with nothing, and what was over the day before clears by itself.
"""

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from collectord.detect.baseline import DAY_S, Expectation, expect, real_days, series
from collectord.detect.rules import Baseline, Rule
from collectord.detect.watchlist import Watchlist
from collectord.model import NS_PER_S, CounterDefinition, Mode, Window, WindowKey
from collectord.store.history import History, Key

EVERY_S = 60

MAX_KEYS = 5_000
"""Keys of a rule that are looked at, the largest of the day; as many as days keep. It bounds the time of a pass."""


@dataclass(slots=True)
class _Past:
    """What is known of the days before a day; read once, so that its limits stay the same."""

    day_s: int
    days: list[int]
    """Those of all sites together."""
    totals: dict[Key, dict[int, int]]
    days_of: Callable[[str], list[int]]
    """A site's own: one that was added lately has no days of 0 from before."""
    expectations: dict[Key, Expectation | None] = field(default_factory=dict)

    def expectation(self, key: Key, baseline: Baseline) -> Expectation | None:
        if key not in self.expectations:
            site, _ = key
            self.expectations[key] = expect(series(self.totals.get(key, {}), self.days_of(site)), baseline)
        return self.expectations[key]


class Baselines:
    """
    The rules of the type ``baseline``.

    Args:
        history: What the counters held.
        rules: All rules; those of other types and those that are off are passed over.
        definitions: The counters' definitions.
        watchlist: For the rules that use it.
    """

    def __init__(
        self, history: History, rules: Iterable[Rule], definitions: Iterable[CounterDefinition], watchlist: Watchlist
    ) -> None:
        by_name = {definition.name: definition for definition in definitions}
        self._history = history
        self._watchlist = watchlist
        self._rules = [
            (rule, rule.baseline, by_name[rule.counter])
            for rule in rules
            if rule.baseline is not None and rule.mode is not Mode.OFF
        ]
        self._past: dict[str, _Past] = {}
        self._minute: int | None = None
        self._day_s: int | None = None

    def resume(self, last_ns: int) -> None:
        """An earlier run judged until then (wall time, ns; 0: never): a day that has ended since is judged first."""
        self._day_s = _day(last_ns) if last_ns else None

    def hurry(self) -> None:
        """The next windows come at once, whatever the minute."""
        self._minute = None

    def windows(self, now_ns: int) -> list[Window]:
        """
        The windows to judge now: the day that has ended, if one has, and the present one. Nothing within a minute.

        Raises:
            StoreError: what the counters held can't be read; ask again.
        """
        minute, day_s = now_ns // NS_PER_S // EVERY_S, _day(now_ns)
        if minute == self._minute or not self._rules:
            return []
        found = []
        if self._day_s is not None and self._day_s < day_s:
            end_ns = (self._day_s + DAY_S) * NS_PER_S
            found += [self._window(*each, self._day_s, end_ns, closed=True) for each in self._rules]
        found += [self._window(*each, day_s, now_ns, closed=False) for each in self._rules]
        self._minute, self._day_s = minute, day_s
        return found

    def _window(
        self, rule: Rule, baseline: Baseline, definition: CounterDefinition, day_s: int, end_ns: int, *, closed: bool
    ) -> Window:
        past = self._past.get(rule.name)
        if past is None or past.day_s != day_s:
            past = self._past[rule.name] = self._read(rule, baseline, definition, day_s)
        keys = []
        if len(past.days) >= baseline.min_days:
            # No limit is lower than this, so nothing below is of interest.
            level = rule.clear_level(baseline.at_least - 1)
            for _, site, values, total in self._history.days(
                definition,
                day_s,
                day_s + DAY_S,
                fields=rule.alert_by,
                ports=self._ports(rule),
                above=level,
                most=MAX_KEYS,
            ):
                expectation = past.expectation((site, values), baseline)
                if expectation is not None and total > rule.clear_level(expectation.limit):
                    keys.append(WindowKey(site, values, total, 0, expectation.limit, _details(expectation, total)))
        return Window(rule.name, day_s * NS_PER_S, end_ns, closed, tuple(keys))

    def _read(self, rule: Rule, baseline: Baseline, definition: CounterDefinition, day_s: int) -> _Past:
        days = real_days(self._history.first_day(definition), day_s, baseline.days)
        totals: dict[Key, dict[int, int]] = {}
        if len(days) >= baseline.min_days:
            for day, site, values, total in self._history.days(
                definition, days[0], day_s, fields=rule.alert_by, ports=self._ports(rule)
            ):
                totals.setdefault((site, values), {})[day] = total

        @functools.cache
        def days_of(site: str) -> list[int]:
            return real_days(self._history.first_day(definition, site), day_s, baseline.days)

        return _Past(day_s, days, totals, days_of)

    def _ports(self, rule: Rule) -> Sequence[int] | None:
        return None if rule.rows is None else self._watchlist.ports(rule.rows)


def _details(expectation: Expectation, total: int) -> dict[str, Any]:
    return {
        "baseline": round(expectation.expected, 1),
        "score": round(expectation.score(total), 1),
        "days": len(expectation.past),
        "past": list(expectation.past),
    }


def _day(time_ns: int) -> int:
    time_s = time_ns // NS_PER_S
    return time_s - time_s % DAY_S
