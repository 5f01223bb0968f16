"""Alerts whose rule or row was changed; what comes of it is told in test_detect_alerts.py and the playbooks."""

from collections.abc import Callable

import pytest

from collectord.detect import ground
from collectord.detect.alerts import AlertStates
from collectord.detect.rules import Rule
from collectord.detect.watchlist import RowType, Watchlist, WatchRow
from collectord.model import Alert, Mode, Window, WindowKey

MakeRule = Callable[..., Rule]
MakeRow = Callable[..., WatchRow]


def raised(rule: Rule, watchlist: Watchlist, key: WindowKey) -> Alert:
    [alert] = AlertStates([rule], watchlist).judge([Window(rule.name, 0, 60, closed=True, keys=(key,))], 60)
    return alert


def test_a_rule(make_rule: MakeRule) -> None:
    rule = make_rule()
    alert = raised(rule, Watchlist(), WindowKey("", ("192.0.2.1",), 6000, 0))

    def lost(now: Rule | None, *anew: str) -> str:
        return ground.lost(now, Watchlist(), alert, 6000, anew)

    assert "" == lost(rule) == lost(make_rule(threshold=5999)) == lost(make_rule(clear_below=0.5), "another")
    assert "the rule was removed" == lost(None)
    assert "the rule was switched off" == lost(make_rule(mode=Mode.OFF))
    assert "the rule was changed" == lost(make_rule(group_by=("DstIpAddr",)))
    assert "the rule's mode is now report" == lost(make_rule(mode=Mode.REPORT))
    assert "what the rule counts was changed" == lost(rule, rule.counter)
    assert "the rule's window is now 2 min" == lost(make_rule(timespan_s=120))
    assert "the rule's limit is now 6,000" == lost(make_rule(threshold=6000))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, ""),
        ({"threshold": 500}, ""),
        ({"threshold": 1500}, "the watchlist row's limit is now 1,500"),
        ({"name": "another"}, "the watchlist row was removed"),
        ({"port": 446}, "the watchlist row was removed"),
        ({"protocol": "UDP"}, "the watchlist row was removed"),
    ],
)
def test_a_row(make_port_rule: MakeRule, make_row: MakeRow, changes: dict[str, int | str], reason: str) -> None:
    """With another row of the same name, port and protocol the alert stands as long as one of them would raise it."""
    rule, row = make_port_rule(), make_row(threshold=1000)
    key = WindowKey("", (row.port, "TCP", "Inbound", "Allow"), 1500, 0)
    alert = raised(rule, Watchlist([row]), key)

    changed = make_row(**{"threshold": 1000, **changes})
    assert reason == ground.lost(rule, Watchlist([changed]), alert, 1500)
    assert "" == ground.lost(rule, Watchlist([changed, row]), alert, 1500)
    # A row that only reports is no ground for an alert that is sent.
    looked_through = make_row(threshold=0, type=RowType.HUNTING)
    assert bool(reason) == bool(ground.lost(rule, Watchlist([changed, looked_through]), alert, 1500))
