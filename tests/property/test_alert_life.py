"""
Alerts whatever happens: windows, operators, restarts, changed rules, in any order.

What an output sees of an alert is always a raise, updates, and one clear; never anything of what is held back.
"""

import itertools
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from collectord.detect.alerts import AlertStates, identity
from collectord.detect.holds import Holds
from collectord.detect.rules import Rule
from collectord.detect.watchlist import Watchlist
from collectord.model import (
    NS_PER_S,
    AddedExempt,
    Alert,
    AlertState,
    MaintenanceWindow,
    Mode,
    Severity,
    Window,
    WindowKey,
)

START = 1_700_000_040
SOURCES = [f"192.0.2.{number}" for number in range(4)]
RULE = Rule("many", "Many from {SrcIpAddr}", "c", {}, ("SrcIpAddr",), 300, 60, 100, Mode.NOTIFY, Severity.MEDIUM,
            clear_after_s=120)  # fmt: skip
SITES = ("", "north")

_SUMS = st.dictionaries(st.tuples(st.sampled_from(SITES), st.sampled_from(SOURCES)), st.integers(81, 5000), max_size=6)
_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("window"), st.integers(0, 400), _SUMS),
        st.tuples(st.just("shelve"), st.sampled_from(SITES), st.sampled_from(SOURCES), st.integers(0, 600)),
        st.tuples(st.just("maintenance"), st.sampled_from((None, *SITES)), st.integers(0, 300), st.integers(1, 300)),
        st.tuples(st.just("exempt"), st.none() | st.sampled_from(SOURCES), st.integers(1, 300)),
        st.tuples(st.just("rule"), st.sampled_from(list(Mode)), st.sampled_from(list(Severity))),
        st.tuples(st.just("restart")),
    ),
    max_size=40,
)


class _World:
    """The state machine, what operators told it, and what is stored."""

    def __init__(self, learn_s: int, cap: int) -> None:
        self.second = 0
        self.rule = RULE
        self.stored: dict[str, Alert] = {}
        self.sent_at: list[tuple[str, int]] = []
        self.told: list[Alert] = []
        self._learn_ns, self._cap = self._at(learn_s), cap
        self._shelved: dict[str, int] = {}
        self._maintenance: list[MaintenanceWindow] = []
        self._exempts: list[AddedExempt] = []
        self._start()

    def _at(self, second: int) -> int:
        return (START + second) * NS_PER_S

    def _start(self) -> None:
        holds = Holds(learn_until_ns=self._learn_ns, storm_cap=self._cap, storm_window_s=600)
        for rule, when_ns in self.sent_at:
            holds.sent(rule, when_ns)
        self.states = AlertStates([self.rule], Watchlist(), holds=holds)
        self.states.restore(
            [alert for alert in self.stored.values() if alert.state is not AlertState.CLEARED],
            judged_ns=self._at(self.second),
            episodes={alert.id: alert.episode for alert in self.stored.values()},
        )
        self._tell_operators()
        self.take(self.states.reconcile([self.rule], Watchlist(), self._at(self.second)))

    def _tell_operators(self) -> None:
        self.states.holds.set_shelved(self._shelved)
        self.states.holds.set_maintenance(self._maintenance)
        self.states.exempts.set_added(self._exempts)

    def take(self, alerts: list[Alert]) -> None:
        for alert in alerts:
            self.stored[alert.id] = alert
            self.told.append(alert)
            if alert.state is AlertState.RAISED and alert.is_sent:
                self.sent_at.append((alert.rule, alert.last_time_ns))

    def step(self, kind: str, *values: Any) -> None:
        now_ns = self._at(self.second)
        match kind, values:
            case "window", (gap, sums):
                self.second += gap
                end_ns = self._at(self.second)
                keys = tuple(WindowKey(site, (source,), count, 0) for (site, source), count in sums.items())
                found = Window(self.rule.name, end_ns - 300 * NS_PER_S, end_ns, True, keys)
                self.take(self.states.judge([found], end_ns))
            case "shelve", (site, source, length):
                alert_id = identity(self.rule.name, site, {"SrcIpAddr": source})
                self._shelved[alert_id] = self._at(self.second + length)
            case "maintenance", (site, wait, length):
                begin = self._at(self.second + wait)
                window = MaintenanceWindow(1, site, begin, begin + length * NS_PER_S, "", "r", "ada", 0)
                self._maintenance = [*self._maintenance, window][-3:]
            case "exempt", (source, length):
                where = {"SrcIpAddr": source}
                until = self._at(self.second + length)
                self._exempts = [] if source is None else [AddedExempt(1, self.rule.name, where, "r", until, "ada", 0)]
            case "rule", (mode, severity):
                self.rule = replace(self.rule, mode=mode, severity=severity)
                self.take(self.states.reconcile([self.rule], Watchlist(), now_ns))
            case _:
                self._start()
        self._tell_operators()
        self.take(self.states.review(self._at(self.second)))


@given(_STEPS, st.integers(0, 600), st.integers(1, 3))
def test_what_outputs_see_makes_sense(steps: list[tuple[Any, ...]], learn_s: int, cap: int) -> None:
    """Of each episode: raised, updated, cleared, or nothing at all."""
    world = _World(learn_s, cap)
    for step in steps:
        world.step(*step)

    sent: dict[tuple[str, int], list[AlertState]] = {}
    for alert in world.told:
        assert alert.id == identity(alert.rule, alert.site, alert.key)
        if alert.is_sent:
            assert alert.mode is Mode.NOTIFY
            assert not alert.held
            sent.setdefault((alert.id, alert.episode), []).append(alert.state)
        elif alert.mode is Mode.NOTIFY:
            assert alert.held, "only a hold keeps it from being sent"
            assert alert.state is AlertState.UPDATED
    over = {(alert.id, alert.episode) for alert in world.told if alert.state is AlertState.CLEARED}
    for episode, states in sent.items():
        assert states[0] is AlertState.RAISED
        assert AlertState.RAISED not in states[1:]
        assert (states[-1] is AlertState.CLEARED) == (episode in over)
        assert AlertState.CLEARED not in states[:-1]


@given(_STEPS, st.integers(0, 600), st.integers(1, 3))
def test_episodes_follow_each_other(steps: list[tuple[Any, ...]], learn_s: int, cap: int) -> None:
    """One after the other, each begun once and ended before the next; no event twice."""
    world = _World(learn_s, cap)
    for step in steps:
        world.step(*step)

    by_id: dict[str, list[Alert]] = {}
    for alert in world.told:
        by_id.setdefault(alert.id, []).append(alert)
    for alerts in by_id.values():
        assert len({(alert.episode, alert.event) for alert in alerts}) == len(alerts)
        episodes = [alert.episode for alert in alerts if alert.state is AlertState.RAISED]
        assert episodes == list(range(1, len(episodes) + 1))
        for before, after in itertools.pairwise(alerts):
            assert (before.state is AlertState.CLEARED) == (after.state is AlertState.RAISED)
    active = {alert_id for alert_id, alerts in by_id.items() if alerts[-1].state is not AlertState.CLEARED}
    assert active == {alert.id for alert in world.states.active}


@given(_STEPS, st.integers(1, 3))
def test_the_storm_cap_is_kept(steps: list[tuple[Any, ...]], cap: int) -> None:
    """Never more raises within the time than it lets through, restarts or not; high severity passes."""
    world = _World(0, cap)
    for step in steps:
        world.step(*step)

    raised = [alert for alert in world.told if alert.state is AlertState.RAISED and alert.is_sent]
    for number, alert in enumerate(raised):
        if alert.severity is not Severity.HIGH:
            recent = [each for each in raised[:number] if alert.last_time_ns - each.last_time_ns < 600 * NS_PER_S]
            assert len(recent) < cap
