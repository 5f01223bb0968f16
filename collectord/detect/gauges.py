"""
What the daemon measures about itself, as windows for the rules of type ``gauge``.

Increments are summed over the last five minutes; levels stand as they were told last.
"""

from collections import deque
from collections.abc import Iterable, Mapping

from collectord.detect.rules import Gauge, Rule
from collectord.model import NS_PER_S, Window, WindowKey

SUMMED_NS = 300 * NS_PER_S
"""How long an increment counts."""

SUMMED = frozenset((Gauge.MESSAGES_LOST, Gauge.ALERTS_HELD_BACK, Gauge.ALERTS_DROPPED, Gauge.DATABASES_REPLACED))
"""Gauges that are told as increments; of the others the level is told."""

FORGOTTEN_NS = 86_400 * NS_PER_S
"""When a level that nobody told since is no more: who sends nothing for a day has no clock that could be wrong."""

MAX_KEYS = 20_000
"""Of one gauge: as many as there may be devices, whose names come from the wire."""

GaugeKey = tuple[str, str]
"""Site (empty where the gauge has none) and what is measured."""


class Gauges:
    """The measurements that rules look at."""

    def __init__(self) -> None:
        self._increments: dict[Gauge, deque[tuple[int, GaugeKey, int]]] = {gauge: deque() for gauge in SUMMED}
        self._levels: dict[Gauge, dict[GaugeKey, tuple[int, int]]] = {
            gauge: {} for gauge in Gauge if gauge not in SUMMED
        }

    def add(self, gauge: Gauge, increments: Iterable[tuple[GaugeKey, int]], now_ns: int) -> None:
        """Increments of a gauge that is summed; those of 0 are passed over."""
        entries = self._increments[gauge]
        entries.extend((now_ns, key, increment) for key, increment in increments if increment > 0)
        while entries and (len(entries) > MAX_KEYS or not 0 <= now_ns - entries[0][0] < SUMMED_NS):
            entries.popleft()

    def tell(self, gauge: Gauge, levels: Mapping[GaugeKey, int], now_ns: int) -> None:
        """Levels of a gauge; keys that were told before and are not among them stay as they were, for a day."""
        self._tell(self._levels[gauge], levels, now_ns)

    def tell_all(self, gauge: Gauge, levels: Mapping[GaugeKey, int], now_ns: int) -> None:
        """Every level of a gauge; what is not among them is no more."""
        known = self._levels[gauge] = {}
        self._tell(known, levels, now_ns)

    def _tell(self, known: dict[GaugeKey, tuple[int, int]], levels: Mapping[GaugeKey, int], now_ns: int) -> None:
        for key, level in levels.items():
            if key in known or len(known) < MAX_KEYS:
                known[key] = (level, now_ns)

    def knows(self, gauge: Gauge, key: GaugeKey) -> bool:
        """Whether a level of this key was told; of a gauge that is summed nothing is 0."""
        return gauge in SUMMED or key in self._levels[gauge]

    def window(self, rule: Rule, now_ns: int) -> Window:
        """How the rule's gauge stands: the keys that are over its clear level."""
        gauge = Gauge(rule.gauge)
        values: dict[GaugeKey, int] = {}
        if gauge in SUMMED:
            for at_ns, key, increment in self._increments[gauge]:
                if 0 <= now_ns - at_ns < SUMMED_NS:
                    values[key] = values.get(key, 0) + increment
        else:
            known = self._levels[gauge]
            for key in [key for key, (_, at_ns) in known.items() if abs(now_ns - at_ns) >= FORGOTTEN_NS]:
                del known[key]
            values = {key: value for key, (value, _) in known.items()}
        level = rule.clear_level(rule.threshold or 0)
        keys = (WindowKey(site, (name,), value, 0) for (site, name), value in values.items() if value > level)
        return Window(rule.name, now_ns - rule.timespan_s * NS_PER_S, now_ns, closed=False, keys=tuple(keys))
