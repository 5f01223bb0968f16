"""
The life of alerts, as playbooks: at which second which window, and what comes out.

A step is (second, sums by key, what comes out). A window that is still open is written as such; all others are closed.
"""

import dataclasses
import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectord.detect.alerts import AlertStates, identity
from collectord.detect.rules import Rule
from collectord.detect.watchlist import RowType, Watchlist, WatchRow
from collectord.model import NS_PER_S, Alert, AlertState, KeyValue, Mode, Severity, Window, WindowKey

MakeRule = Callable[..., Rule]
MakeRow = Callable[..., WatchRow]
Sums = dict[str, int]
Step = tuple[int, Sums, list[str]]

A, B = "192.0.2.10", "2001:db8::1"
START = 1_700_000_040
"""A full minute; seconds of playbooks count from here."""


def at(second: int) -> int:
    return (START + second) * NS_PER_S


def window(second: int, sums: Sums, *, closed: bool = True, rule: str = "excessive-failures", site: str = "") -> Window:
    """A five-minute window that ends at a second."""
    keys = tuple(WindowKey(site, (source,), count, 0) for source, count in sums.items())
    return Window(rule, at(second - 300), at(second), closed, keys)


def cells(second: int, *found: tuple[tuple[KeyValue, ...], int]) -> Window:
    """A window of the port rule."""
    return Window("port-misuse", at(second - 1200), at(second), True, tuple(WindowKey("", k, n, 0) for k, n in found))


def told(alerts: Sequence[Alert]) -> list[str]:
    """What came out, in a few words."""
    return [f"{alert.key.get('SrcIpAddr', alert.key.get('Name'))} {alert.event} {alert.count}" for alert in alerts]


def play(states: AlertStates, steps: Sequence[Step]) -> None:
    for second, sums, want in steps:
        assert want == told(states.judge([window(second, sums)], at(second))), f"at second {second}"


def minutes(first: int, last: int, sums: Sums) -> list[Step]:
    """Quiet steps, one a minute, both ends included."""
    return [(minute * 60, sums, []) for minute in range(first, last + 1)]


@pytest.fixture
def states(make_rule: MakeRule) -> AlertStates:
    return AlertStates([make_rule()], Watchlist())


def test_whole_life(states: AlertStates) -> None:
    """Raised above 5000, updated at ten times, cleared after 15 minutes at or below 4000, and raised again."""
    play(
        states,
        [
            (0, {A: 5000}, []),
            (60, {A: 5001}, [f"{A} raised 5001"]),
            (120, {A: 5001}, []),
            (180, {A: 50_009}, []),
            (240, {A: 50_010}, [f"{A} updated:2 50010"]),
            (300, {A: 499_999}, []),
            (360, {A: 500_100}, [f"{A} updated:3 500100"]),
            (420, {A: 4_001}, []),
            *minutes(8, 21, {}),
            (22 * 60, {}, [f"{A} cleared 500100"]),
            (23 * 60, {}, []),
            (24 * 60, {A: 6000}, [f"{A} raised 6000"]),
        ],
    )
    assert [2] == [alert.episode for alert in states.active]


def test_what_a_raised_alert_says(states: AlertStates) -> None:
    """Everything that outputs and people need."""
    [alert] = states.judge([window(60, {A: 5001}, site="north")], at(60))

    assert (
        Alert(
            id=identity("excessive-failures", "north", {"SrcIpAddr": A}),
            episode=1,
            event="raised",
            rule="excessive-failures",
            state=AlertState.RAISED,
            severity=Severity.MEDIUM,
            mode=Mode.NOTIFY,
            site="north",
            key={"SrcIpAddr": A},
            count=5001,
            threshold=5000,
            window_s=300,
            first_time_ns=at(-240),
            last_time_ns=at(60),
            title=f"Excessive number of failed connections from {A}",
            summary=(
                f"{A} (site north): 5,001 failed connections in 5 min (limit 5,000); collectord alerts show {alert.id}"
            ),
            tactics=("Impact",),
            techniques=("T1499",),
            last_over_ns=at(60),
            peak=5001,
        )
        == alert
    )


def test_what_a_cleared_alert_says(states: AlertStates) -> None:
    """Same id, episode, key and times; the peak, and why."""
    [raised] = states.judge([window(60, {A: 5001})], at(60))
    states.judge([window(120, {A: 7000})], at(120))
    steps = [window(60 * minute, {}) for minute in range(3, 18)]

    [cleared] = states.judge(steps, at(17 * 60))

    assert (raised.id, 1, "cleared", AlertState.CLEARED) == (cleared.id, cleared.episode, cleared.event, cleared.state)
    assert (raised.first_time_ns, at(17 * 60), at(120)) == (
        cleared.first_time_ns,
        cleared.last_time_ns,
        cleared.last_over_ns,
    )
    assert (7000, 7000, "at or below 4,000 for 15 min") == (cleared.count, cleared.peak, cleared.reason)
    assert (
        f"{A}: failed connections at or below 4,000 for 15 min (peak 7,000 in 5 min, limit 5,000); "
        f"collectord alerts show {raised.id}"
    ) == cleared.summary
    assert 0 == states.active_count


def test_open_window_raises_at_once(states: AlertStates) -> None:
    """The window need not be complete; its instant is now."""
    [alert] = states.judge([window(300, {A: 5001}, closed=False)], at(130))

    assert at(130) == alert.last_time_ns


def test_burst_in_a_window_that_just_closed(states: AlertStates) -> None:
    """It is raised although the window of now no longer holds it."""
    found = states.judge([window(300, {A: 5001}), window(360, {}, closed=False)], at(301))

    assert [f"{A} raised 5001"] == told(found)


def test_warm_key_stays_active_and_is_not_raised(states: AlertStates) -> None:
    """Between 80 % and the threshold nothing changes, for days."""
    play(states, [(0, {B: 4001, A: 5001}, [f"{A} raised 5001"]), *minutes(1, 3 * 24 * 60, {A: 4001, B: 5000})])


def test_flapping_is_one_alert(states: AlertStates) -> None:
    """Over and under within a quarter of an hour is one episode."""
    steps = [(0, {A: 5001}, [f"{A} raised 5001"])]
    for ten_minutes in range(1, 20):
        first = (ten_minutes - 1) * 10
        steps += [*minutes(first + 1, first + 9, {}), (ten_minutes * 600, {A: 6000}, [])]
    play(states, steps)


def test_sources_and_sites_are_alerts_of_their_own(states: AlertStates) -> None:
    """The same private address in two sites is two hosts."""
    found = states.judge([window(60, {A: 5001, B: 5002}), window(60, {A: 5003}, site="north")], at(60))

    assert [f"{A} raised 5001", f"{B} raised 5002", f"{A} raised 5003"] == told(found)
    assert 3 == len({alert.id for alert in found})


def test_time_in_which_nobody_looked_is_not_quiet(states: AlertStates) -> None:
    """A stop of an hour, or the clock put forward by one, clears nothing; ten quiet minutes before it still count."""
    play(
        states,
        [
            (0, {A: 5001}, [f"{A} raised 5001"]),
            *minutes(1, 10, {}),
            *minutes(70, 74, {}),
            (75 * 60, {}, [f"{A} cleared 5001"]),
        ],
    )


def test_clock_put_back(states: AlertStates) -> None:
    """Neither clears at once nor waits for the lost hour."""
    play(
        states,
        [
            (7200, {A: 5001}, [f"{A} raised 5001"]),
            (7260, {}, []),
            *minutes(61, 74, {}),
            (75 * 60, {}, [f"{A} cleared 5001"]),
        ],
    )


@pytest.mark.parametrize("told_by_store", [True, False])
def test_restart(make_rule: MakeRule, states: AlertStates, told_by_store: bool) -> None:
    """The quiet time goes on where it was: twelve minutes before a short stop, three after it."""
    play(states, [(0, {A: 5001}, [f"{A} raised 5001"]), (60, {A: 6000}, []), (120, {A: 6000}, []), *minutes(3, 13, {})])
    stored = {alert.id: alert for alert in states.active}
    for alert_id, last_over_ns, peak in states.seen():
        stored[alert_id] = dataclasses.replace(stored[alert_id], last_over_ns=last_over_ns, peak=peak)

    again = AlertStates([make_rule()], Watchlist())
    again.restore(stored.values(), judged_ns=at(13 * 60 + 40) if told_by_store else 0)
    assert [] == again.reconcile([make_rule()], Watchlist(), at(13 * 60 + 50))

    if told_by_store:
        play(again, [*minutes(14, 16, {}), (17 * 60, {}, [f"{A} cleared 6000"])])
    else:
        # When the earlier run ended is unknown: what lies between its last sighting and now does not count.
        play(again, [*minutes(14, 28, {}), (29 * 60, {}, [f"{A} cleared 6000"])])


def test_restart_counts_episodes_on(make_rule: MakeRule, states: AlertStates) -> None:
    """Alerts that cleared long ago included, and those that nobody remembers any more never get a used number."""
    [alert] = states.judge([window(0, {A: 5001})], at(0))
    again = AlertStates([make_rule()], Watchlist())
    again.restore([], episodes={alert.id: 41}, forgotten_episode=7)

    found = again.judge([window(0, {A: 5001, B: 5001})], at(0))

    assert [42, 8] == [alert.episode for alert in found]


def test_restored_alert_is_not_raised_again(make_rule: MakeRule, states: AlertStates) -> None:
    """It goes on: next update number, same episode."""
    states.judge([window(0, {A: 5001})], at(0))
    states.judge([window(60, {A: 60_000})], at(60))
    again = AlertStates([make_rule()], Watchlist())
    again.restore(states.active, judged_ns=at(70), episodes={states.active[0].id: 1})

    play(again, [(120, {A: 60_000}, []), (180, {A: 600_000}, [f"{A} updated:3 600000"])])
    assert [1] == [alert.episode for alert in again.active]


def test_seen_is_told_once_per_step(states: AlertStates) -> None:
    """Ticks come every second; the store is not asked to write for each."""
    [alert] = states.judge([window(60, {A: 5001})], at(60))
    assert [] == states.seen()

    states.judge([window(360, {A: 5500}, closed=False)], at(119))
    assert [] == states.seen()
    states.judge([window(120, {A: 5400})], at(120))
    assert [(alert.id, at(120), 5500)] == states.seen()
    assert [] == states.seen()


def test_rules_that_are_off_or_unknown(make_rule: MakeRule) -> None:
    """Their windows are passed over."""
    states = AlertStates([make_rule(mode=Mode.OFF)], Watchlist())

    assert [] == states.judge([window(0, {A: 9999}), window(0, {A: 9999}, rule="unknown")], at(0))


def test_report_mode(make_rule: MakeRule) -> None:
    """Raised all the same; whoever sends looks at the mode."""
    states = AlertStates([make_rule(mode=Mode.REPORT)], Watchlist())

    [alert] = states.judge([window(0, {A: 5001})], at(0))

    assert Mode.REPORT is alert.mode


def test_bound_of_active_alerts(make_rule: MakeRule) -> None:
    """Further ones are counted with the reason, and raised when there is room."""
    states = AlertStates([make_rule()], Watchlist(), max_active=2, places_of_rule=1)
    many = {f"192.0.2.{n}": 5001 for n in range(5)}

    assert 2 == len(states.judge([window(0, many)], at(0)))
    assert {"2 alerts are active": 3} == states.refused
    assert 2 == states.active_count

    states.reconcile([make_rule(mode=Mode.OFF)], Watchlist(), at(1))
    states.reconcile([make_rule()], Watchlist(), at(1))
    assert [f"{B} raised 5001"] == told(states.judge([window(2, {B: 5001})], at(2)))


def test_a_flood_of_one_rule_leaves_room_for_others(make_rule: MakeRule) -> None:
    """Each rule has a bound and places of its own; what is said of the collector's health passes the common bound."""
    names = ("other", "late")
    rules = [
        make_rule(),
        *(make_rule(name=name, counter=name) for name in names),
        make_rule(name="own", counter="own", health=True),
    ]
    states = AlertStates(rules, Watchlist(), max_active=5, max_active_of_rule=3, places_of_rule=1)
    many = {f"192.0.2.{n}": 5001 for n in range(5)}
    flood = window(0, many)
    others = [replace(flood, rule=name) for name in (*names, "own")]

    found = states.judge([flood, *others], at(0))

    raised = [alert.rule for alert in found]
    assert {"excessive-failures": 3, "other": 2, "late": 1, "own": 3} == {name: raised.count(name) for name in raised}
    assert {
        "3 alerts of excessive-failures are active": 2,
        "5 alerts are active": 3 + 4,
        "3 alerts of own are active": 2,
    } == states.refused


def test_bound_of_remembered_episodes(make_rule: MakeRule) -> None:
    """Who is forgotten goes on with a number that was never used."""
    states = AlertStates([make_rule(clear_after_s=0)], Watchlist(), max_remembered=2)
    used = set()
    for second in range(0, 4000, 10):
        source = f"192.0.2.{second // 10 % 4}"
        for alert in states.judge([window(second, {source: 5001})], at(second)):
            if alert.event == "raised":
                assert (alert.id, alert.episode) not in used
                used.add((alert.id, alert.episode))
    assert 400 == len(used)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"mode": Mode.OFF}, "the rule was switched off"),
        ({"mode": Mode.REPORT}, "the rule's mode is now report"),
        ({"group_by": ("SrcIpAddr", "DstIpAddr")}, "the rule was changed"),
        ({"name": "other"}, "the rule was removed"),
    ],
)
def test_rule_changed_away(make_rule: MakeRule, states: AlertStates, changed: dict[str, object], reason: str) -> None:
    """The alert clears with that reason; what went on before is not told again."""
    [raised] = states.judge([window(0, {A: 5001})], at(0))

    [cleared] = states.reconcile([make_rule(**changed)], Watchlist(), at(30))

    assert (raised.id, "cleared", reason, at(30)) == (cleared.id, cleared.event, cleared.reason, cleared.last_time_ns)
    assert cleared.summary.startswith(f"{A}: cleared: {reason}; ")
    assert [] == states.reconcile([make_rule(**changed)], Watchlist(), at(31))


def test_rule_with_another_threshold_goes_on(make_rule: MakeRule, states: AlertStates) -> None:
    """An alert that reached the new one as well: same identity, no clear; the new level decides when it ends."""
    states.judge([window(0, {A: 60_000})], at(0))

    assert [] == states.reconcile([make_rule(threshold=59_999)], Watchlist(), at(30))
    play(states, [*minutes(1, 14, {A: 6000}), (15 * 60, {A: 6000}, [f"{A} cleared 60000"])])


@pytest.mark.parametrize(
    ("changed", "anew", "reason"),
    [
        ({"threshold": 5001}, (), "the rule's limit is now 5,001"),
        ({"timespan_s": 600}, (), "the rule's window is now 10 min"),
        ({}, ("failures_by_source",), "what the rule counts was changed"),
    ],
)
def test_what_would_not_be_an_alert_any_more_is_none(
    make_rule: MakeRule, states: AlertStates, changed: dict[str, int], anew: tuple[str, ...], reason: str
) -> None:
    """At once, with what was changed."""
    states.judge([window(0, {A: 5001})], at(0))
    assert [] == states.reconcile([make_rule(threshold=5000)], Watchlist(), at(20), anew=["another"])

    [cleared] = states.reconcile([make_rule(**changed)], Watchlist(), at(30), anew=anew)

    assert ("cleared", reason) == (cleared.event, cleared.reason)


def test_rule_with_another_severity(make_rule: MakeRule, states: AlertStates) -> None:
    """An update at once; the id stays."""
    [raised] = states.judge([window(0, {A: 5001})], at(0))

    [updated] = states.reconcile([make_rule(severity=Severity.HIGH)], Watchlist(), at(30))

    assert (raised.id, "updated:2", Severity.HIGH) == (updated.id, updated.event, updated.severity)
    assert "medium" == updated.details["severity_before"]
    play(states, [(60, {A: 5001}, [])])


def test_port_alert(make_port_rule: MakeRule, make_row: MakeRow) -> None:
    """Severity and tactics are the row's, the key is name, port and protocol."""
    states = AlertStates([make_port_rule()], Watchlist([make_row()]))
    busy = (445, "TCP", "Outbound", "Allow")

    assert [] == states.judge([cells(0, (busy, 1000))], at(0))
    [alert] = states.judge([cells(60, (busy, 1001), ((445, "TCP", "Local", "Deny"), 900))], at(60))

    assert {"Name": "Burst of SMB", "DstPortNumber": 445, "NetworkProtocol": "TCP"} == alert.key
    assert (Severity.HIGH, ("LateralMovement",), ("T1095",)) == (alert.severity, alert.tactics, alert.techniques)
    assert (1001, 1000, 1200) == (alert.count, alert.threshold, alert.window_s)
    assert "Burst of SMB: port 445/TCP" == alert.title
    assert f"port 445/TCP, Burst of SMB: 1,001 sessions in 20 min (limit 1,000); collectord alerts show {alert.id}" == (
        alert.summary
    )
    assert [{"NetworkDirection": "Outbound", "DvcAction": "Allow", "count": 1001}] == alert.details["cells"]


def test_port_rows_without_tactics_have_the_rules(make_port_rule: MakeRule, make_row: MakeRow) -> None:
    """A hunting row only reports."""
    states = AlertStates([make_port_rule()], Watchlist([make_row(tactics=(), type=RowType.HUNTING)]))

    [alert] = states.judge([cells(0, ((445, "TCP", "", ""), 1001))], at(0))

    assert (("Execution",), Mode.REPORT) == (alert.tactics, alert.mode)


def test_report_becomes_an_alert_that_is_sent(make_port_rule: MakeRule, make_row: MakeRow) -> None:
    """Outputs never saw the raise of what was only reported: it ends, and a new episode begins."""
    rows = [make_row(threshold=0, type=RowType.HUNTING, severity=Severity.LOW), make_row()]
    states = AlertStates([make_port_rule()], Watchlist(rows))
    busy = (445, "TCP", "Outbound", "Allow")

    [low] = states.judge([cells(0, (busy, 5))], at(0))
    cleared, raised = states.judge([cells(60, (busy, 1001))], at(60))

    assert (Mode.REPORT, Mode.REPORT, Mode.NOTIFY) == (low.mode, cleared.mode, raised.mode)
    assert (low.id, low.id) == (cleared.id, raised.id)
    assert ["cleared 1001", "raised 1001"] == [" ".join(text.split()[-2:]) for text in told([cleared, raised])]
    assert (1, 2) == (cleared.episode, raised.episode)
    assert 2 == raised.episode


def test_report_rows_do_not_keep_an_alert_that_is_sent(make_port_rule: MakeRule, make_row: MakeRow) -> None:
    """It clears for those who got it, though a row that only reports is still over; that goes on as a new episode."""
    rows = [make_row(threshold=0, type=RowType.HUNTING, severity=Severity.LOW), make_row()]
    states = AlertStates([make_port_rule()], Watchlist(rows))
    busy = (445, "TCP", "Outbound", "Allow")

    # For 900 the row that is sent is warm, and only the one that reports is over.
    counts = [1001, 900] + [5] * 16
    found = states.judge([cells(60 * minute, (busy, count)) for minute, count in enumerate(counts)], at(1020))

    assert [("raised", Mode.NOTIFY, 1), ("cleared", Mode.NOTIFY, 1), ("raised", Mode.REPORT, 2)] == [
        (alert.event, alert.mode, alert.episode) for alert in found
    ]


def test_report_rows_do_not_update_an_alert_that_is_sent(make_port_rule: MakeRule, make_row: MakeRow) -> None:
    """However much it is that they see."""
    rows = [
        make_row(threshold=0, action="Allow", type=RowType.HUNTING, severity=Severity.LOW),
        make_row(threshold=1000, action="Deny"),
    ]
    states = AlertStates([make_port_rule()], Watchlist(rows))
    allowed, denied = (445, "TCP", "Outbound", "Allow"), (445, "TCP", "Outbound", "Deny")

    assert ["Burst of SMB raised 1001"] == told(states.judge([cells(0, (denied, 1001))], at(0)))
    assert [] == told(states.judge([cells(60, (denied, 900), (allowed, 50_000))], at(60)))


def test_severity_follows_the_rows(make_port_rule: MakeRule, make_row: MakeRow) -> None:
    """Up at once; down only when the graver row is below its clear level, so that it does not flap."""
    rows = [make_row(threshold=100, severity=Severity.LOW), make_row(threshold=1000, severity=Severity.HIGH)]
    states = AlertStates([make_port_rule()], Watchlist(rows))
    busy = (445, "TCP", "Outbound", "Allow")

    def severities(second: int, count: int) -> list[tuple[str, Severity, str]]:
        told = states.judge([cells(second, (busy, count))], at(second))
        return [(alert.event, alert.severity, alert.details.get("severity_before", "")) for alert in told]

    assert [("raised", Severity.LOW, "")] == severities(0, 200)
    assert [("updated:2", Severity.HIGH, "low")] == severities(60, 1001)
    assert [] == severities(120, 999)
    assert [] == severities(180, 801)
    assert [("updated:3", Severity.LOW, "high")] == severities(240, 800)
    assert [("updated:4", Severity.HIGH, "low")] == severities(300, 1001)
    assert [("updated:5", Severity.HIGH, "")] == severities(360, 10_010)


def test_watchlist_row_changed_away(make_port_rule: MakeRule, make_row: MakeRow) -> None:
    """A row that is gone or of another type clears its alerts; one that moved in the file or got another limit, not."""
    busy = (445, "TCP", "Outbound", "Allow")

    def cleared_by(*rows: WatchRow) -> list[str]:
        states = AlertStates([make_port_rule()], Watchlist([make_row()]))
        states.judge([cells(0, (busy, 1001))], at(0))
        return [alert.reason for alert in states.reconcile([make_port_rule()], Watchlist(rows), at(1))]

    assert ["the watchlist row was removed"] == cleared_by()
    assert ["the watchlist row was removed"] == cleared_by(make_row(name="Renamed"), make_row(port=139))
    assert ["the watchlist row's mode is now report"] == cleared_by(make_row(type=RowType.HUNTING))
    assert [] == cleared_by(make_row(port=139), make_row(line=99, threshold=7, description="reworded"))


def test_evidence_reaches_the_summary(states: AlertStates) -> None:
    """What whoever judged the window knows of the key."""
    details = {"evidence": {"top": {"DstPortNumber": [[22, 5001]], "Dvc": [["fw1", 5001]]}}}
    found = Window("excessive-failures", at(-300), at(0), True, (WindowKey("", (A,), 5001, 0, details=details),))
    (alert,) = states.judge([found], at(0))

    assert "(limit 5,000), port 22, reported by fw1; collectord" in alert.summary
    assert details | {"device": {"name": "fw1", "address": ""}} == alert.details


def test_the_last_state_has_the_newest_evidence(states: AlertStates) -> None:
    """What came after the raise, though it was not worth an update; after a restart at least what was told."""

    def seen(seconds: int, count: int, messages: int) -> list[Alert]:
        details = {"evidence": {"messages": messages}}
        keys = (WindowKey("", (A,), count, 0, details=details),) if count else ()
        return states.judge([Window("excessive-failures", at(seconds - 300), at(seconds), True, keys)], at(seconds))

    (raised,) = seen(0, 5001, 10)
    assert [] == seen(60, 6000, 500)
    cleared = [alert for minute in range(2, 18) for alert in seen(60 * minute, 0, 0)]

    assert [{"messages": 10}, {"messages": 500}] == [each.details["evidence"] for each in (raised, *cleared)]


def test_names_are_told_from_then_on(states: AlertStates) -> None:
    """Of this episode alone."""
    (raised,) = states.judge([window(0, {A: 5001})], at(0))
    states.name(raised.id, 2, {A: "other.example"})
    states.name("unknown", 1, {A: "other.example"})
    states.name(raised.id, 1, {A: "scan.example"})
    (updated,) = states.judge([window(60, {A: 60_000})], at(60))
    cleared = [alert for minute in range(2, 18) for alert in states.judge([window(60 * minute, {})], at(60 * minute))]

    told = [alert.summary.partition(": ")[0] for alert in (raised, updated, *cleared)]
    assert [A, f"{A} (DNS scan.example)", f"{A} (DNS scan.example)"] == told


def test_titles_hold_what_the_wire_sent_escaped(make_rule: MakeRule) -> None:
    """A user name with control characters, in title and summary; the key is as it came."""
    rule = make_rule(group_by=("SrcUsername",), title="Failures of {SrcUsername}")
    states = AlertStates([rule], Watchlist())
    hostile = "eve\n\x1b[2J{SrcIpAddr}" + "x" * 1000

    [alert] = states.judge([window(0, {hostile: 5001})], at(0))

    assert alert.title.startswith("Failures of eve\\x0a\\x1b[2J{SrcIpAddr}x")
    assert alert.title.isprintable()
    assert alert.summary.isprintable()
    assert len(alert.summary) <= 255
    assert {"SrcUsername": hostile} == alert.key


_KEYS = st.dictionaries(st.sampled_from(["SrcIpAddr", "DstPortNumber", "Name"]), st.text() | st.integers(0, 65_535))


@given(st.text(), st.text(), _KEYS, st.randoms())
def test_identity_is_of_rule_site_and_key(rule: str, site: str, key: dict[str, KeyValue], order: random.Random) -> None:
    """16 hex digits, whatever the order of the fields and the text."""
    items = list(key.items())
    order.shuffle(items)

    assert identity(rule, site, key) == identity(rule, site, dict(items))
    assert 16 == len(identity(rule, site, key))
    assert set(identity(rule, site, key)) <= set("0123456789abcdef")


@given(st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3), _KEYS), min_size=2, max_size=2))
def test_identity_tells_apart(pair: list[tuple[str, str, dict[str, KeyValue]]]) -> None:
    """Equal only for equals; what belongs to the rule's name can't slip into the site."""
    first, second = pair

    assert (first == second) == (identity(*first) == identity(*second))


def test_identity_never_changes() -> None:
    """Receivers keep ids over upgrades."""
    assert "459b1be037499e84" == identity("excessive-failures", "", {"SrcIpAddr": "192.0.2.10"})


@given(st.lists(st.tuples(st.integers(1, 400), st.integers(0, 60_000)), max_size=60))
def test_events_of_an_episode_are_in_order(steps: list[tuple[int, int]]) -> None:
    """Whatever the sums and the gaps: raised first, updates counted up, cleared last, no event twice."""
    rule = Rule(
        "excessive-failures",
        "t",
        "c",
        {},
        ("SrcIpAddr",),
        300,
        60,
        5000,
        Mode.NOTIFY,
        Severity.MEDIUM,
        clear_after_s=120,
    )
    states = AlertStates([rule], Watchlist())
    second, events = 0, []
    for gap, count in steps:
        second += gap
        sums = {A: count} if count > 4000 else {}
        events += [(alert.episode, alert.event) for alert in states.judge([window(second, sums)], at(second))]

    want, episode, number, active = [], 0, 1, False
    for _, event in events:
        if event == "raised":
            assert not active
            episode, number, active = episode + 1, 1, True
            want.append((episode, "raised"))
        elif event == "cleared":
            assert active
            active = False
            want.append((episode, "cleared"))
        else:
            number += 1
            want.append((episode, f"updated:{number}"))
    assert want == events
    assert active == bool(states.active_count)
