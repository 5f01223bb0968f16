"""What keeps an alert from being sent."""

from collections.abc import Callable
from typing import Any

import pytest

from collectord.detect.holds import Holds
from collectord.detect.rules import Rule
from collectord.model import NS_PER_S, MaintenanceWindow, Severity

MakeRule = Callable[..., Rule]
ID = "0123456789abcdef"


def window(**fields: Any) -> MaintenanceWindow:
    values: dict[str, Any] = {
        "number": 4, "site": "north", "from_ns": 10, "until_ns": 20, "zone": "", "reason": "new switch", "who": "ada",
        "when_ns": 1,
    }  # fmt: skip
    return MaintenanceWindow(**(values | fields))


def test_nothing_holds(make_rule: MakeRule) -> None:
    """As it comes: no cap, no learning."""
    holds = Holds()
    for now_ns in range(1000):
        assert "" == holds.ground(make_rule(), ID, "", now_ns)
        assert "" == holds.storm(make_rule(), Severity.LOW, now_ns)
        holds.sent("excessive-failures", now_ns)
    assert {} == holds.take_held_back()


def test_learning(make_rule: MakeRule) -> None:
    """Until the moment, not at it; the collector's own health passes."""
    holds = Holds(learn_until_ns=100)

    assert ["learning", "learning", "", ""] == [holds.ground(make_rule(), ID, "", now) for now in (0, 99, 100, 101)]
    assert "" == holds.ground(make_rule(health=True), ID, "", 0)


@pytest.mark.parametrize(
    ("site", "now_ns", "held"),
    [("north", 9, False), ("north", 10, True), ("north", 19, True), ("north", 20, False), ("south", 15, False)],
)
def test_maintenance(make_rule: MakeRule, site: str, now_ns: int, held: bool) -> None:
    """Of a site, from its start up to its end; also what is about the collector's devices."""
    holds = Holds()
    holds.set_maintenance([window()])
    want = "maintenance 4: new switch" if held else ""

    assert want == holds.ground(make_rule(), ID, site, now_ns)
    assert want == holds.ground(make_rule(health=True), ID, site, now_ns)


def test_maintenance_of_all(make_rule: MakeRule) -> None:
    """Whatever the site."""
    holds = Holds()
    holds.set_maintenance([window(site=None)])

    assert all(holds.ground(make_rule(), ID, site, 15) for site in ("", "north", "south"))


def test_shelved(make_rule: MakeRule) -> None:
    """One alert, until its time."""
    holds = Holds()
    holds.set_shelved({ID: 50})

    assert ["shelved", ""] == [holds.ground(make_rule(), ID, "", now) for now in (49, 50)]
    assert "" == holds.ground(make_rule(), "other", "", 0)


def test_storm(make_rule: MakeRule) -> None:
    """So many within the time; then the oldest makes room. High severity and health pass."""
    holds, rule = Holds(storm_cap=2, storm_window_s=60), make_rule()
    for second in (0, 30):
        assert "" == holds.storm(rule, Severity.MEDIUM, second * NS_PER_S)
        holds.sent(rule.name, second * NS_PER_S)

    assert holds.storm(rule, Severity.MEDIUM, 59 * NS_PER_S).startswith("storm cap: 2 alerts of this rule were sent")
    assert "" == holds.storm(rule, Severity.HIGH, 59 * NS_PER_S)
    assert "" == holds.storm(make_rule(health=True), Severity.MEDIUM, 59 * NS_PER_S)
    assert "" == holds.storm(make_rule(name="other"), Severity.MEDIUM, 59 * NS_PER_S)
    assert "" == holds.storm(rule, Severity.MEDIUM, 60 * NS_PER_S)


def test_a_clock_that_is_put_back_holds_nothing(make_rule: MakeRule) -> None:
    """What was sent in the future is not within the time."""
    holds, rule = Holds(storm_cap=1, storm_window_s=60), make_rule()
    holds.sent(rule.name, 10**6 * NS_PER_S)

    assert "" == holds.storm(rule, Severity.LOW, 0)


def test_held_back() -> None:
    """Taken once."""
    holds = Holds(storm_cap=1)
    for rule in ("a", "b", "a"):
        holds.held_back(rule)

    assert {"a": 2, "b": 1} == holds.take_held_back()
    assert {} == holds.take_held_back()


def test_other_limits(make_rule: MakeRule) -> None:
    """What was sent before counts under a new cap, too."""
    holds = Holds(learn_until_ns=100, storm_cap=2)
    for now_ns in (1, 2):
        holds.sent("excessive-failures", now_ns)
    holds.set_limits(learn_until_ns=0, storm_cap=3, storm_window_s=600)
    assert holds.ground(make_rule(), ID, "", 3) == ""
    assert holds.storm(make_rule(), Severity.LOW, 3) == ""
    holds.sent("excessive-failures", 3)
    assert holds.storm(make_rule(), Severity.LOW, 4).startswith("storm cap: 3 ")
    holds.set_limits(learn_until_ns=0, storm_cap=1, storm_window_s=60)
    assert holds.storm(make_rule(), Severity.LOW, 4).startswith("storm cap: 1 ")
    assert holds.storm(make_rule(), Severity.LOW, 4 + 60 * NS_PER_S) == ""
