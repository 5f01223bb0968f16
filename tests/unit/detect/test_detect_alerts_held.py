"""The life of alerts that something holds back, or that are exempt."""

import dataclasses
from collections.abc import Callable, Sequence

from collectord.detect.alerts import AlertStates
from collectord.detect.holds import Holds
from collectord.detect.rules import Exempt, Rule
from collectord.detect.watchlist import Watchlist, WatchRow
from collectord.model import AddedExempt, Alert, MaintenanceWindow, Mode, Severity

from .test_detect_alerts import A, B, at, cells, told, window

MakeRule = Callable[..., Rule]
MakeRow = Callable[..., WatchRow]


def held(alerts: Sequence[Alert]) -> list[tuple[str, Mode, str, bool]]:
    """What came out, whether outputs are told, and why not."""
    return [(alert.event, alert.mode, alert.held, alert.is_sent) for alert in alerts]


def test_learning_ends_while_it_is_still_over(make_rule: MakeRule) -> None:
    """Held as a report; then it clears as such, and outputs see a raise."""
    states = AlertStates([make_rule()], Watchlist(), holds=Holds(learn_until_ns=at(120)))

    assert [("raised", Mode.REPORT, "learning", False)] == held(states.judge([window(0, {A: 5001})], at(0)))
    assert [] == held(states.judge([window(60, {A: 5001})], at(60)))
    assert [] == states.reconcile([make_rule()], Watchlist(), at(61)), "the rule's mode is what it was"
    assert [("updated:2", Mode.REPORT, "learning", False)] == held(states.judge([window(90, {A: 50_010})], at(90)))
    assert [] == held(states.judge([window(120, {A: 4500})], at(120))), "not over: nothing to send"
    found = states.judge([window(180, {A: 5001})], at(180))
    assert [("cleared", Mode.REPORT, "learning", False), ("raised", Mode.NOTIFY, "", True)] == held(found)
    assert ["goes on as an alert that is sent", ""] == [alert.reason for alert in found]
    assert [1, 2] == [alert.episode for alert in found]


def test_held_until_it_clears(make_rule: MakeRule) -> None:
    """Nobody was told of the raise, so nobody is told of the clear."""
    states = AlertStates([make_rule(clear_after_s=60)], Watchlist(), holds=Holds(learn_until_ns=at(30)))
    states.judge([window(0, {A: 5001})], at(0))

    assert [("cleared", Mode.REPORT, "learning", False)] == held(states.judge([window(60, {})], at(60)))


def test_sent_and_then_shelved(make_rule: MakeRule) -> None:
    """Stored, not sent; what changed meanwhile is sent when nothing holds it any more; a clear always."""
    states = AlertStates([make_rule(clear_after_s=60)], Watchlist())
    (raised,) = states.judge([window(0, {A: 5001})], at(0))
    states.holds.set_shelved({raised.id: at(200)})

    assert [("updated:2", Mode.NOTIFY, "shelved", False)] == held(states.judge([window(60, {A: 5001})], at(60)))
    assert [("updated:3", Mode.NOTIFY, "shelved", False)] == held(states.judge([window(120, {A: 60_000})], at(120)))
    assert [("updated:4", Mode.NOTIFY, "", True)] == held(states.judge([window(240, {A: 60_000})], at(240)))
    states.holds.set_shelved({raised.id: at(900)})
    assert [("updated:5", Mode.NOTIFY, "shelved", False)] == held(states.judge([window(300, {A: 60_000})], at(300)))
    (cleared,) = states.judge([window(360, {})], at(360))
    assert [("cleared", Mode.NOTIFY, "", True)] == held([cleared])


def test_a_new_severity_of_a_rule_is_held_as_well(make_rule: MakeRule) -> None:
    """What reconciling tells of a sent alert is not sent in maintenance, of one that only reports it is not held."""
    graver = make_rule(severity=Severity.HIGH)
    everywhere = MaintenanceWindow(1, None, 0, at(999), "", "new core", "ada", 0)
    states = AlertStates([make_rule()], Watchlist())
    states.judge([window(0, {A: 5001})], at(0))
    states.holds.set_maintenance([everywhere])
    (updated,) = states.reconcile([graver], Watchlist(), at(1))
    assert ("updated:2", Mode.NOTIFY, "maintenance 1: new core", False) == held([updated])[0]

    states = AlertStates([make_rule(mode=Mode.REPORT)], Watchlist())
    states.judge([window(0, {A: 5001})], at(0))
    states.holds.set_maintenance([everywhere])
    (updated,) = states.reconcile([make_rule(mode=Mode.REPORT, severity=Severity.HIGH)], Watchlist(), at(1))
    assert ("updated:2", Mode.REPORT, "", False) == held([updated])[0]


def test_storm(make_rule: MakeRule) -> None:
    """The first ones are sent; when there is room again, those that are still over."""
    states = AlertStates([make_rule()], Watchlist(), holds=Holds(storm_cap=2, storm_window_s=300))
    sources = {f"192.0.2.{number}": 5001 for number in range(5)}
    found = states.judge([window(0, sources)], at(0))

    assert [Mode.NOTIFY] * 2 + [Mode.REPORT] * 3 == [alert.mode for alert in found]
    assert {"excessive-failures": 3} == states.holds.take_held_back()
    assert [] == states.judge([window(240, sources)], at(240))
    assert {} == states.holds.take_held_back(), "the same ones"
    found = states.judge([window(300, sources)], at(300))
    assert ["cleared", "raised"] * 2 == [alert.event for alert in found]
    assert 2 == sum(alert.is_sent for alert in found)
    assert 1 == sum(alert.mode is Mode.REPORT for alert in states.active)


def test_what_gets_grave_passes_the_storm_cap(make_port_rule: MakeRule, make_row: MakeRow) -> None:
    """Held while it was of medium severity, sent as high."""
    rows = [make_row(threshold=100, severity=Severity.LOW), make_row(threshold=1000, severity=Severity.HIGH)]
    holds = Holds(storm_cap=1)
    holds.sent("port-misuse", at(0))
    states = AlertStates([make_port_rule()], Watchlist(rows), holds=holds)
    busy = (445, "TCP", "Outbound", "Allow")

    assert [Mode.REPORT] == [alert.mode for alert in states.judge([cells(0, (busy, 200))], at(0))]
    assert [] == states.reconcile([make_port_rule()], Watchlist(rows), at(1)), "the row's mode is what it was"
    found = states.judge([cells(60, (busy, 1001))], at(60))
    assert [("cleared", False), ("raised", True)] == [(alert.event, alert.is_sent) for alert in found]


def test_exempts(make_rule: MakeRule) -> None:
    """What is exempt raises nothing, what becomes exempt clears, what is no longer exempt is raised."""
    rule = make_rule(exempt=(Exempt({"SrcIpAddr": B}, "the file says so"),))
    states = AlertStates([rule], Watchlist())
    assert [f"{A} raised 5001"] == told(states.judge([window(0, {A: 5001, B: 9999})], at(0)))

    exempt = AddedExempt(1, rule.name, {"SrcIpAddr": A}, "our scanner", at(200), "ada", 0)
    states.exempts.set_added([exempt])
    (cleared,) = states.review(at(1))
    assert ("cleared", "exempt: our scanner", True) == (cleared.event, cleared.reason, cleared.is_sent)
    assert [] == states.review(at(2))
    assert [] == states.judge([window(60, {A: 5001})], at(60))
    assert [f"{A} raised 5001"] == told(states.judge([window(200, {A: 5001})], at(200)))
    states.exempts.set_added([dataclasses.replace(exempt, until_ns=None)])
    assert ["exempt: our scanner"] == [alert.reason for alert in states.judge([window(260, {A: 5001})], at(260))]


def test_an_exempt_of_a_new_rule_file(make_rule: MakeRule) -> None:
    """As if the key had never been."""
    states = AlertStates([make_rule()], Watchlist())
    states.judge([window(0, {A: 5001})], at(0))
    rule = make_rule(exempt=(Exempt({"SrcIpAddr": "192.0.2.0/24"}, "ours"),))

    assert ["exempt: ours"] == [alert.reason for alert in states.reconcile([rule], Watchlist(), at(1))]
