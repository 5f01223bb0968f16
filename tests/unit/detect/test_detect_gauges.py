"""Measurements as windows: sums of five minutes, levels as told last."""

from collections.abc import Callable
from typing import Any

from collectord.detect.gauges import MAX_KEYS, Gauges
from collectord.detect.rules import Gauge, Rule, RuleType
from collectord.model import NS_PER_S

MakeRule = Callable[..., Rule]

DAY_NS = 86_400 * NS_PER_S
NOW_NS = 1_700_000_000 * NS_PER_S


def rule_on(make_rule: MakeRule, gauge: Gauge, threshold: int) -> Rule:
    fields: dict[str, Any] = {"counter": "", "where": {}, "group_by": (gauge.key,), "timespan_s": 60, "step_s": 60}
    return make_rule(**fields, type=RuleType.GAUGE, gauge=gauge.value, threshold=threshold)


def standing(gauges: Gauges, rule: Rule, now_ns: int) -> dict[str, int]:
    return {str(key.key[0]): key.count for key in gauges.window(rule, now_ns).keys}


def test_increments_count_for_five_minutes(make_rule: MakeRule) -> None:
    """Each from when it was told."""
    gauges, rule = Gauges(), rule_on(make_rule, Gauge.MESSAGES_LOST, 0)
    gauges.add(Gauge.MESSAGES_LOST, [(("", "udp"), 3), (("", "tcp"), 0)], NOW_NS)
    gauges.add(Gauge.MESSAGES_LOST, [(("", "udp"), 4)], NOW_NS + 60 * NS_PER_S)

    assert {"udp": 7} == standing(gauges, rule, NOW_NS + 60 * NS_PER_S)
    assert {"udp": 4} == standing(gauges, rule, NOW_NS + 300 * NS_PER_S)
    assert {} == standing(gauges, rule, NOW_NS + 360 * NS_PER_S)


def test_a_stepped_clock_forgets(make_rule: MakeRule) -> None:
    """What was told at a time that has not come yet is not counted for ever."""
    gauges, rule = Gauges(), rule_on(make_rule, Gauge.MESSAGES_LOST, 0)
    gauges.add(Gauge.MESSAGES_LOST, [(("", "udp"), 3)], NOW_NS)
    gauges.add(Gauge.MESSAGES_LOST, [(("", "udp"), 4)], NOW_NS - 3600 * NS_PER_S)
    assert {"udp": 4} == standing(gauges, rule, NOW_NS - 3600 * NS_PER_S)


def test_levels_stand_as_told(make_rule: MakeRule) -> None:
    """Until told anew; over the clear level they are in the window."""
    gauges, rule = Gauges(), rule_on(make_rule, Gauge.CLOCK_OFF_S, 300)
    gauges.tell(Gauge.CLOCK_OFF_S, {("", "fw-1"): 400, ("branch", "fw-2"): 250, ("", "fw-3"): 240}, NOW_NS)
    assert {"fw-1": 400, "fw-2": 250} == standing(gauges, rule, NOW_NS)
    gauges.tell(Gauge.CLOCK_OFF_S, {("", "fw-1"): 0}, NOW_NS)
    assert {"fw-2": 250} == standing(gauges, rule, NOW_NS)


def test_a_level_that_nobody_tells_is_forgotten(make_rule: MakeRule) -> None:
    """After a day; what is summed is always known."""
    gauges, rule = Gauges(), rule_on(make_rule, Gauge.CLOCK_OFF_S, 300)
    gauges.tell(Gauge.CLOCK_OFF_S, {("", "fw-1"): 400, ("", "fw-2"): 400}, NOW_NS)
    gauges.tell(Gauge.CLOCK_OFF_S, {("", "fw-2"): 500}, NOW_NS + NS_PER_S)
    assert {"fw-1": 400, "fw-2": 500} == standing(gauges, rule, NOW_NS + DAY_NS - 1)
    assert {"fw-2": 500} == standing(gauges, rule, NOW_NS + DAY_NS)
    assert not gauges.knows(Gauge.CLOCK_OFF_S, ("", "fw-1"))
    assert gauges.knows(Gauge.CLOCK_OFF_S, ("", "fw-2"))
    assert gauges.knows(Gauge.MESSAGES_LOST, ("", "udp"))


def test_bounded(make_rule: MakeRule) -> None:
    """Names come from the wire."""
    gauges, rule = Gauges(), rule_on(make_rule, Gauge.CLOCK_OFF_S, 0)
    gauges.tell(Gauge.CLOCK_OFF_S, {("", f"forged-{number}"): 1 for number in range(MAX_KEYS + 10)}, NOW_NS)
    assert MAX_KEYS == len(gauges.window(rule, NOW_NS).keys)
