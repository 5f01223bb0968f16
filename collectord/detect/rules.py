"""
Rules: what counts, by what, over which time, and from which sum on it is an alert.

Values only; ``rule_files.py`` reads them. What the engine has to keep for them follows from them here.
"""

import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, StrEnum
from fractions import Fraction
from typing import Any

from collectord.detect import where
from collectord.detect.watchlist import ThresholdType, Watchlist
from collectord.model import AlarmType, CounterDefinition, Mode, Severity

WATCHLIST_FIELDS = ("DstPortNumber", "NetworkProtocol", "NetworkDirection", "DvcAction")
"""What a rule with ``watchlist = true`` groups by: the cells that the watchlist's rows speak of."""

APP_FIELD = "DstAppName"
"""What a rule with the watchlist may group by as well: then the apps that the rows name are compared."""

ADDED_UP = ("NetworkDirection", "DvcAction", APP_FIELD)
"""Fields of the watchlist's cells that the key of an alert does not have."""

EVIDENCE_FIELDS = ("DvcAction", "EventResultDetails", "SrcIpAddr", "DstIpAddr", "DstPortNumber")
"""What is kept of a key that gets hot, beside what the key says itself."""


MOST_DISTINCT = 64
"""Values that the engine keeps of a key: it tells 63 from more."""


class RuleType(StrEnum):
    """How a rule decides: the first three as Sigma's correlations, the others our own."""

    EVENT_COUNT = "event_count"
    VALUE_COUNT = "value_count"
    VALUE_SUM = "value_sum"
    MATCH = "match"
    """A single session is enough."""
    BEACON = "beacon"
    """Sessions at regular intervals."""
    BASELINE = "baseline"
    """Today against the key's past days."""
    SILENCE = "silence"
    """A device that stopped."""
    GAUGE = "gauge"
    """The collector's own health."""


class Known(Enum):
    """What is known of something that a rule of the types ``silence`` and ``gauge`` is about."""

    YES = "yes"
    NOT_YET = "not yet"
    """Nothing since the start, or since the clock was set: how it stood before is the best that anybody can say."""
    NO_MORE = "no more"
    """It was taken out of the configuration, or is gone for long."""


ENGINE_TYPES = frozenset(
    (RuleType.EVENT_COUNT, RuleType.VALUE_COUNT, RuleType.VALUE_SUM, RuleType.MATCH, RuleType.BEACON)
)
"""Types whose windows the engine judges; of the others the daemon makes the windows."""


class Gauge(StrEnum):
    """What the daemon measures about itself and its devices; each value belongs to a key of one field."""

    MESSAGES_LOST = "messages_lost"
    """Messages that were dropped, by us or by the kernel, in the last five minutes; per listener."""
    OUTPUT_FAILING_S = "output_failing_s"
    """For how long an output has taken nothing although something waits; per output."""
    CLOCK_OFF_S = "clock_off_s"
    """How far a device's clock is off, either way; per device."""
    ALERTS_HELD_BACK = "alerts_held_back"
    """Alerts that the storm cap kept from being sent in the last five minutes; per rule."""
    ALERTS_DROPPED = "alerts_dropped"
    """Alerts' states that were given up undelivered in the last five minutes; per output."""
    DATABASE_FAILING_S = "database_failing_s"
    """For how long the database can't be written; by its file's name."""
    DATABASES_REPLACED = "databases_replaced"
    """Damaged databases that were moved aside in the last five minutes, for a new one; by the file's name."""

    @property
    def key(self) -> str:
        """The field of the key."""
        return _GAUGE_KEYS[self]


_GAUGE_KEYS = {
    Gauge.MESSAGES_LOST: "listener",
    Gauge.OUTPUT_FAILING_S: "output",
    Gauge.CLOCK_OFF_S: "Dvc",
    Gauge.ALERTS_HELD_BACK: "rule",
    Gauge.ALERTS_DROPPED: "output",
    Gauge.DATABASE_FAILING_S: "database",
    Gauge.DATABASES_REPLACED: "database",
}


_ALARM_TYPES: dict[str, AlarmType] = {
    Gauge.MESSAGES_LOST: AlarmType.MESSAGES_LOST,
    Gauge.ALERTS_DROPPED: AlarmType.MESSAGES_LOST,
    Gauge.DATABASE_FAILING_S: AlarmType.MESSAGES_LOST,
    Gauge.DATABASES_REPLACED: AlarmType.MESSAGES_LOST,
    Gauge.OUTPUT_FAILING_S: AlarmType.OUTPUT_DOWN,
    Gauge.CLOCK_OFF_S: AlarmType.DEVICE_CLOCK,
}
"""By gauge; an alert about alerts (``alerts_held_back``) is an ordinary one."""


@dataclass(frozen=True, slots=True)
class Beacon:
    """When sessions are regular."""

    min_events: int = 15
    """More sessions than this in a window are needed."""
    min_gap_s: int = 10
    """Gaps of this length or shorter are not looked at."""
    tolerance_s: int = 1
    tolerance_percent: int = 5
    """Gaps belong together within the larger of both."""

    def gaps(self) -> dict[str, int]:
        """How the engine is told to look at gaps."""
        return {
            "min_gap_s": self.min_gap_s,
            "tolerance_s": self.tolerance_s,
            "tolerance_percent": self.tolerance_percent,
        }


@dataclass(frozen=True, slots=True)
class Baseline:
    """When today is out of the ordinary; both methods want ``min_days`` real days and ``at_least`` today."""

    method: str = "trend"
    """``trend``: over the line through the past days, in spreads of their residuals (``score``).
    ``mean``: over the mean by ``score`` standard deviations, and ``factor`` times the mean."""
    score: float = 5.0
    factor: float = 3.0
    at_least: int = 100
    min_days: int = 7
    days: int = 14


@dataclass(frozen=True, slots=True)
class Silence:
    """When a device that says nothing is missed."""

    after_s: int = 900
    factor: float = 3.0
    """A device whose longest gap in 7 days is longer is given this times that gap."""
    seen_for_s: int = 86_400
    """A device that the configuration does not list must have been seen for so long."""


@dataclass(frozen=True, slots=True)
class Exempt:
    """Sessions that a rule leaves out."""

    where: Mapping[str, Any] = field(hash=False)
    """Tests as in a rule's ``where``, all of which must pass; ``device``, ``site`` and ``role`` are known as well."""
    reason: str
    until_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """A condition on a counter, true for a key when its sum over ``timespan_s`` is larger than the threshold."""

    name: str
    title: str
    counter: str
    """The table that the daemon keeps for it; empty for ``silence`` and ``gauge``."""
    where: Mapping[str, Any] = field(hash=False)
    group_by: tuple[str, ...]
    timespan_s: int
    step_s: int
    """Time between two windows; equal to ``timespan_s`` for windows that do not overlap."""
    threshold: int | None
    """The largest sum that is still quiet; None where rows of the watchlist or a key's past say it."""
    mode: Mode
    severity: Severity
    type: RuleType = RuleType.EVENT_COUNT
    tactics: tuple[str, ...] = ()
    techniques: tuple[str, ...] = ()
    clear_after_s: int = 900
    clear_below: float = 0.8
    """Part of the threshold at or below which the sum must stay for ``clear_after_s``."""
    unit: str = "sessions"
    """What the sum counts, in the plural, for summaries."""
    weight: str = "EventCount"
    """What a record adds: ``EventCount``, 1 (``records``), or a number field (``value_sum``)."""
    distinct: str = ""
    """The field whose distinct values are counted (``value_count``)."""
    every_record: bool = False
    """Also records that don't count beside another one of the same session, as the original rules do."""
    rows: ThresholdType | None = None
    """The watchlist's rows of this kind decide."""
    aggregate_rows: bool = False
    """All that fits a row of the watchlist is added up; otherwise each cell is held against it by itself."""
    beacon: Beacon | None = None
    baseline: Baseline | None = None
    alert_by: tuple[str, ...] | None = None
    """Fields of ``group_by`` that an alert is about, summed over the others (``baseline``); None: all of them."""
    silence: Silence | None = None
    gauge: str = ""
    """Which of the daemon's measurements (``gauge``)."""
    exempt: tuple[Exempt, ...] = ()
    evidence: tuple[str, ...] = ()
    """Fields of which the most frequent values are kept for keys that get hot."""
    own_traffic: bool = True
    """False: what goes to the collector's listeners, and from it to its outputs, is left out."""
    health: bool = False
    """About the collector and its devices: neither learning nor the storm cap holds it back."""
    description: str = ""
    source: tuple[str, ...] = ()
    """Where the idea is published."""

    @property
    def uses_watchlist(self) -> bool:
        """True if each row of the watchlist has its own threshold."""
        return self.rows is not None

    @property
    def key_fields(self) -> tuple[str, ...]:
        """What the key of an alert of this rule consists of."""
        return alert_key(self.group_by, self.alert_by, by_rows=self.uses_watchlist)

    @property
    def adds_up_cells(self) -> bool:
        """True if what is held against a row of the watchlist is the sum of several keys of the counter."""
        return self.aggregate_rows or APP_FIELD in self.group_by

    @property
    def alarm_type(self) -> AlarmType:
        """What its alerts are about."""
        if self.type is RuleType.SILENCE:
            return AlarmType.DEVICE_SILENT
        return _ALARM_TYPES.get(self.gauge, AlarmType.ALARM)

    def clear_level(self, threshold: int) -> int:
        """The largest sum that lets an alert with this threshold clear."""
        return _share(self.clear_below, threshold)


@functools.lru_cache(maxsize=4096)
def _share(share: float, threshold: int) -> int:
    """Asked for each key of each window; a rule has one threshold, or one for each row or key."""
    # As written in the file, in tenths: 0.7 of 10 is 7, though the float 0.7 is a little less.
    return math.floor(Fraction(str(share)) * threshold)


def resolved(rule: Rule, internal_networks: Sequence[str]) -> Rule:
    """The rule with the word ``internal`` replaced by the site's networks."""
    exempt = tuple(replace(each, where=where.resolved(each.where, internal_networks)) for each in rule.exempt)
    return replace(rule, where=where.resolved(rule.where, internal_networks), exempt=exempt)


def counter_definitions(rules: Iterable[Rule], watchlist: Watchlist | None = None) -> list[CounterDefinition]:
    """
    The counters that rules which are not off need, by name. The slot is the greatest common divisor of the steps.

    Args:
        rules: All of them.
        watchlist: Its ports that are held against their past are pinned in the counters of the rules that do so.
    """
    looked_back_at = tuple(watchlist.ports(ThresholdType.ANOMALY)) if watchlist else ()
    return [
        CounterDefinition(
            name=name,
            where=dict(sharing[0].where),
            group_by=sharing[0].group_by,
            slot_s=slot_s(sharing),
            weight=sharing[0].weight,
            distinct=sharing[0].distinct,
            every_record=sharing[0].every_record,
            beacon=None if sharing[0].beacon is None else sharing[0].beacon.gaps(),
            evidence=tuple(dict.fromkeys(name for rule in sharing for name in rule.evidence)),
            pinned_ports=looked_back_at if any(rule.rows is ThresholdType.ANOMALY for rule in sharing) else (),
        )
        for name, sharing in sorted(by_counter(rules).items())
    ]


def by_counter(rules: Iterable[Rule]) -> dict[str, list[Rule]]:
    """The rules that are not off, by the counter that they share."""
    found: dict[str, list[Rule]] = {}
    for rule in rules:
        if rule.mode is not Mode.OFF and rule.counter:
            found.setdefault(rule.counter, []).append(rule)
    return found


def slot_s(sharing: Iterable[Rule]) -> int:
    """The slot of a counter that these rules share."""
    return math.gcd(*(rule.step_s for rule in sharing))


def longest_windows_s(rules: Iterable[Rule]) -> dict[str, int]:
    """How far the engine looks back on each counter for rules that are not off, by its name."""
    return {
        name: max((rule.timespan_s for rule in sharing if rule.type in ENGINE_TYPES), default=0)
        for name, sharing in by_counter(rules).items()
    }


def plan(rules: Sequence[Rule], watchlist: Watchlist) -> list[dict[str, Any]]:
    """
    The part ``counters`` of the engine's plan.

    A level is the lowest sum that anybody still wants to hear of: where an active alert may clear.
    """
    sharing = by_counter(rules)
    return [_counter(definition, sharing[definition.name], watchlist) for definition in counter_definitions(rules)]


def _counter(definition: CounterDefinition, rules: Sequence[Rule], watchlist: Watchlist) -> dict[str, Any]:
    counter: dict[str, Any] = {
        "name": definition.name,
        "where": definition.where,
        "group_by": list(definition.group_by),
        "slot_s": definition.slot_s,
        "capacity": definition.capacity,
        "weight": definition.weight,
        "rules": [
            {"name": rule.name, "window_slots": rule.timespan_s // definition.slot_s, **_levels(rule, watchlist)}
            for rule in sorted(rules, key=lambda rule: rule.name)
            if rule.type in ENGINE_TYPES
        ],
    }
    if (most := record_max(definition, rules, watchlist)) is not None:
        counter["record_max"] = most
    if ports := _pinned_ports(definition, rules, watchlist):
        counter["pinned"] = {"field": "DstPortNumber", "values": ports}
    exempt = [each.where for each in rules[0].exempt if not decided_by_key(each, rules[0]) or _spares(each, rules)]
    if exempt:
        counter["exempt"] = exempt
    if definition.every_record:
        counter["every_record"] = True
    if definition.distinct:
        counter["distinct"] = definition.distinct
    if definition.beacon is not None:
        counter["beacon"] = definition.beacon
    if definition.evidence:
        counter["evidence"] = list(definition.evidence)
    return counter


def alert_key(group_by: tuple[str, ...], alert_by: tuple[str, ...] | None, *, by_rows: bool) -> tuple[str, ...]:
    """What the key of an alert consists of, by how its counter groups; with the watchlist there is no ``alert_by``."""
    if by_rows:
        return ("Name", *(name for name in group_by if name not in ADDED_UP))
    return group_by if alert_by is None else alert_by


def _pinned_ports(definition: CounterDefinition, rules: Sequence[Rule], watchlist: Watchlist) -> list[int]:
    """
    Ports whose cells no flood of other ones may push out.

    Of a counter that has sources or apps in its keys none: anybody could fill it with pinned keys.
    """
    if set(definition.group_by) != set(WATCHLIST_FIELDS):
        return []
    kinds = {rule.rows for rule in rules if rule.rows is not None}
    return sorted({port for kind in kinds for port in watchlist.ports(kind)})


def record_max(
    definition: CounterDefinition, rules: Sequence[Rule], watchlist: Watchlist
) -> int | dict[str, Any] | None:
    """
    Most that the ``EventCount`` of one record counts for; None: what the configuration says.

    Hit counts of thousands are real: a firewall sums up a flow's denied packets for minutes. But a single record is
    easily forged, for any source, so none raises an alert by what it claims. It counts for where an alert may clear at
    most, which keeps every rule of the counter quiet, and in any case for itself. So it is for rules that count events
    by a fixed threshold, and for the ports of the watchlist's rows that have one; a row with the threshold 0 wants the
    first session anyhow. Where a look back over days shares the counter, the sums of other ports stay as told.
    """
    if definition.weight != "EventCount" or not definition.has_table:
        return None
    by_rows = [rule for rule in rules if rule.rows is ThresholdType.STATIC]
    fixed = [
        _most_of_record(rule, rule.threshold)
        for rule in rules
        if rule.type is RuleType.EVENT_COUNT and rule.threshold is not None
    ]
    others = min(fixed) if fixed and len(fixed) + len(by_rows) == len(rules) else None
    ports = {}
    for port in watchlist.ports(ThresholdType.STATIC) if by_rows else ():
        thresholds = [row.threshold for row in watchlist.at(ThresholdType.STATIC, port) if row.threshold]
        if thresholds:
            ports[str(port)] = min([*fixed, *(_most_of_record(rule, each) for rule in by_rows for each in thresholds)])
    if not ports:
        return others
    return {"field": "DstPortNumber", "values": ports} | ({} if others is None else {"others": others})


def _most_of_record(rule: Rule, threshold: int) -> int:
    # A rule that clears only far below its threshold must not take every record for one event.
    return max(1, rule.clear_level(threshold), threshold // 2)


def decided_by_key(exempt: Exempt, rule: Rule) -> bool:
    """True if the key of an alert says whether it is exempt; otherwise the engine must leave its sessions out."""
    if exempt.until_ns is not None or not rule.counter:
        return True
    return names_of_key(rule).issuperset(where.fields(exempt.where))


def names_of_key(rule: Rule) -> set[str]:
    """What an exempt of this rule may test so that the key of an alert decides it."""
    return names_by(rule.key_fields)


def names_by(key_fields: Iterable[str]) -> set[str]:
    """The names that are known of an alert whose key has these fields."""
    names = {*key_fields, "site"}
    if "SrcIpAddr" in names:
        names.add("role")
    if "Dvc" in names:
        names.add("device")
    return names


def _spares(exempt: Exempt, sharing: Sequence[Rule]) -> bool:
    """
    True if what is exempt need not be counted either, although the key of an alert would say it.

    A rule that a single session makes true mostly exempts what is ordinary: it would fill the counter.
    """
    alone = len(sharing) == 1 and sharing[0].type is RuleType.MATCH
    return alone and exempt.until_ns is None and where.fields(exempt.where).isdisjoint(("site", "role"))


def _levels(rule: Rule, watchlist: Watchlist) -> dict[str, Any]:
    if rule.threshold is not None:
        level = {"level": rule.clear_level(rule.threshold)}
        return level | {"min_events": rule.beacon.min_events} if rule.beacon else level
    kind = ThresholdType.STATIC
    values = {
        # What is added up over cells needs the small ones as well.
        str(port): 0
        if rule.adds_up_cells
        else min(rule.clear_level(row.threshold or 0) for row in watchlist.at(kind, port))
        for port in watchlist.ports(kind)
    }
    return {"levels": {"field": "DstPortNumber", "values": values}}
