"""The rules that hold a day against the days before, from the message to the alert, over weeks of simulated time."""

import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from collectord import plan
from collectord.baselines import Baselines
from collectord.clock import ManualClock
from collectord.detect.alerts import AlertStates
from collectord.errors import StoreError
from collectord.model import NS_PER_S, Alert, CounterDefinition, KeyValue, Mode, Window
from collectord.store.alerts import Alerts
from collectord.store.db import Database
from collectord.tick import Tick

DAY_S = 86_400
# A Monday.
START_S = 20_833 * DAY_S
STEP_S = 3_600
"""Between two passes of ordinary days."""

MESSAGE = '<164>%ASA-4-106023: Deny tcp src {0}:{1}/1234 dst in:{2}/{3} by access-group "a"'


@pytest.fixture(scope="module")
def setup() -> plan.Setup:
    """The shipped rules that look at days, and the one that shares a counter with them."""
    shipped = plan.load(None)
    return plan.check(shipped.config, [rule for rule in shipped.rules if rule.baseline or rule.name == "port-misuse"])


class Daemon:
    """A run of the parts around the pass; several runs may share a database and a clock."""

    def __init__(self, setup: plan.Setup, path: Path, clock: ManualClock, run: str) -> None:
        self.clock = clock
        self.database = Database(path)
        # No power fails here, and weeks pass.
        self.database.connection.execute("PRAGMA synchronous = OFF")
        self.database.checkpoint = lambda: None  # type: ignore[method-assign]
        self.engine = setup.engine()
        self.alerts = Alerts(self.database)
        self.tick = Tick(
            setup,
            engine=self.engine,
            clock=clock,
            database=self.database,
            run=run,
            states=AlertStates(setup.rules, setup.watchlist),
            receivers=lambda alert: [],
        )
        self.tick.restore()

    def sessions(self, count: int, port: int, source: str = "203.0.113.1") -> None:
        """That many sessions to a port of an internal host."""
        zone = "in" if source.startswith("10.") else "out"
        text = MESSAGE.format(zone, source, "10.0.0.9", port).encode()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as empty:
            woken = [(text, "192.0.2.1")] * count
            self.engine.receive(0, empty.fileno(), self.clock.now_ns(), count + 1, woken)

    def now_s(self) -> int:
        return self.clock.now_ns() // NS_PER_S - START_S

    def found(self) -> list[tuple[str, str, int, str]]:
        """(rule, event, day, port or other key) of everything that was told, the oldest first."""
        states = [state for alert in self.alerts.find() for state in self.alerts.history(alert.id)]
        states.sort(key=lambda state: (state.last_time_ns, state.rule))
        return [
            (state.rule, state.event, (state.last_time_ns // NS_PER_S - START_S) // DAY_S, shown(state))
            for state in states
        ]


def shown(alert: Alert) -> str:
    values = {**alert.key}
    return str(values.get("DstPortNumber", next(iter(values.values()), "all")))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START_S * NS_PER_S)


@pytest.fixture
def start(setup: plan.Setup, tmp_path: Path, clock: ManualClock) -> Iterator[Callable[[], Daemon]]:
    """Starts a run; the one before it is over then."""
    runs: list[Daemon] = []

    def start() -> Daemon:
        if runs:
            runs[-1].database.close()
        runs.append(Daemon(setup, tmp_path / "collectord.db", clock, f"run {len(runs)}"))
        return runs[-1]

    yield start
    runs[-1].database.close()


def ordinary(daemon: Daemon, day: int) -> None:
    """An hour of an ordinary day."""
    workday = day % 7 < 5
    daemon.sessions(12, 3389)
    daemon.sessions(24 if workday else 3, 389)
    daemon.sessions(12 + day, 636)
    daemon.sessions(9, 5800)
    daemon.sessions(9, 445, "10.0.0.5")


def run_days(daemon: Daemon, days: int) -> None:
    for _ in range(days * DAY_S // STEP_S):
        ordinary(daemon, daemon.now_s() // DAY_S)
        daemon.clock.advance(STEP_S)
        daemon.tick.run()


def burst(daemon: Daemon, count: int, each_s: int, port: int, source: str) -> Iterator[int]:
    """Sessions one after the other, with a pass behind each; yields how many there were."""
    for number in range(1, count + 1):
        daemon.sessions(1, port, source)
        daemon.clock.advance(each_s)
        daemon.tick.run()
        yield number


def test_twenty_days(start: Callable[[], Daemon]) -> None:
    """Quiet while it learns, quiet about steady, weekly and growing ports; a spike is told while it happens."""
    daemon = start()
    run_days(daemon, 5)
    # Far too much, but nobody knows yet what is ordinary.
    daemon.sessions(2_000, 3389)
    run_days(daemon, 2)
    assert daemon.found() == []
    daemon = start()
    run_days(daemon, 9)
    assert daemon.found() == [], "two more weekends, growth, and the day of the spike among the past ones"

    # Day 16, a Wednesday: 216 to 5800 are ordinary.
    raised = 0
    for number in burst(daemon, 60, 10, 5800, "203.0.113.1"):
        raised = raised or (number if daemon.found() else 0)
        if number == 1:
            daemon.sessions(250, 5800)
    (first, *_) = daemon.alerts.active()
    assert (first.rule, first.mode, first.key["DstPortNumber"]) == ("port-anomaly", Mode.REPORT, 5800)
    assert 216 < first.threshold < 320
    # One with each pass, so the numbers tell how long it took; six passes make a minute.
    assert first.threshold - 253 < raised <= first.threshold - 253 + 6
    assert first.first_time_ns == (START_S + 16 * DAY_S) * NS_PER_S
    assert first.details["days"] == 14
    assert first.details["past"] == [216] * 14
    assert first.details["baseline"] == 216
    assert first.details["score"] >= 5
    assert "in 1 d (limit" in first.summary

    run_days(daemon, 2)
    daemon.sessions(600, 445, "10.0.0.5")
    run_days(daemon, 2)
    assert [entry for entry in daemon.found() if not entry[0].startswith("traffic-")] == [
        ("port-anomaly", "raised", 16, "5800"),
        ("port-anomaly", "cleared", 17, "5800"),
        ("smb-anomaly", "raised", 18, "445"),
        ("smb-anomaly", "cleared", 19, "445"),
    ]


def test_traffic_as_a_whole(start: Callable[[], Daemon]) -> None:
    """Each of the four rules says what it is about; one has no key at all."""
    daemon = start()
    run_days(daemon, 8)
    daemon.sessions(3_000, 9_999)
    run_days(daemon, 1)
    run_days(daemon, 1)

    told = daemon.found()
    # Not all within the same hour: their limits differ.
    assert sorted(entry for entry in told if entry[1] == "raised") == [
        ("traffic-anomaly-action", "raised", 8, "Deny"),
        ("traffic-anomaly-direction", "raised", 8, "Inbound"),
        ("traffic-anomaly-protocol", "raised", 8, "TCP"),
        ("traffic-anomaly-total", "raised", 8, "all"),
    ]
    assert [entry[2] for entry in told if entry[1] == "cleared"] == [9] * 4
    (total,) = (alert for alert in daemon.alerts.find() if alert.rule == "traffic-anomaly-total")
    assert total.key == {}
    assert total.summary.startswith("all sessions: ")
    assert total.title == "Unusual volume of sessions"


def test_a_day_that_ended_while_nobody_looked(start: Callable[[], Daemon]) -> None:
    """It is judged when the daemon is back, once."""
    daemon = start()
    run_days(daemon, 9)
    daemon.clock.advance(DAY_S - 600)
    daemon.tick.run()
    daemon.clock.advance(1)
    daemon.sessions(1_000, 3389)
    # Within the minute of the last look: stored, and not yet judged.
    daemon.tick.run()
    assert daemon.found() == []
    for _ in range(2):
        daemon.clock.advance(3_600)
        daemon = start()
        daemon.tick.run()
    assert ("port-anomaly", "raised", 9, "3389") in [(*entry[:2], 9, entry[3]) for entry in daemon.found()]
    assert [entry[1] for entry in daemon.found() if entry[3] == "3389"].count("raised") == 1
    (alert,) = (alert for alert in daemon.alerts.find() if alert.rule == "port-anomaly")
    assert alert.first_time_ns == (START_S + 9 * DAY_S) * NS_PER_S


class Days:
    """A history as it is told to be."""

    def __init__(self, first_day: int | None, totals: dict[int, int]) -> None:
        self.first_day_s = None if first_day is None else START_S + first_day * DAY_S
        self.totals = totals
        self.reads = 0
        self.later_site = 0
        self.broken = False

    def first_day(self, definition: CounterDefinition, site: str | None = None) -> int | None:
        if self.first_day_s is None or site is None:
            return self.first_day_s
        return self.first_day_s + self.later_site * DAY_S

    def days(
        self, definition: CounterDefinition, from_s: int, before_s: int, **options: Any
    ) -> list[tuple[int, str, tuple[KeyValue, ...], int]]:
        self.reads += 1
        if self.broken:
            raise StoreError("locked")
        days = range((from_s - START_S) // DAY_S, (before_s - START_S) // DAY_S)
        return [
            (START_S + day * DAY_S, "north", ("10.0.0.5", 445), self.totals[day])
            for day in days
            if self.totals.get(day, 0) > options.get("above", 0)
        ]


@pytest.fixture
def judged(setup: plan.Setup) -> Callable[[Days], Baselines]:
    """The windows of the SMB rule alone."""
    rules = [replace(rule, mode=Mode.NOTIFY) for rule in setup.rules if rule.name == "smb-anomaly"]

    def judged(days: Days) -> Baselines:
        return Baselines(days, rules, setup.definitions, setup.watchlist)  # type: ignore[arg-type]

    return judged


def at(day: float) -> int:
    return round((START_S + day * DAY_S) * NS_PER_S)


def told(windows: list[Window]) -> list[tuple[float, bool, list[tuple[int, int | None]]]]:
    return [
        (
            (window.end_ns / NS_PER_S - START_S) / DAY_S,
            window.closed,
            [(key.count, key.threshold) for key in window.keys],
        )
        for window in windows
    ]


def test_windows(judged: Callable[[Days], Baselines]) -> None:
    """The present day each minute; the one that ended once more, whole."""
    days = Days(0, dict.fromkeys(range(8), 100) | {8: 240})
    baselines = judged(days)
    assert told(baselines.windows(at(8.5))) == [(8.5, False, [])], "at or below the clear level of 300"
    days.totals[8] = 241
    assert baselines.windows(at(8.5) + 1) == [], "within the minute"
    (window,) = baselines.windows(at(8.5) + 60 * NS_PER_S)
    assert (window.start_ns, window.rule) == (at(8), "smb-anomaly")
    (key,) = window.keys
    assert (key.site, key.key, key.count, key.threshold) == ("north", ("10.0.0.5", 445), 241, 300)
    assert key.details == {"baseline": 100.0, "score": 141.0, "days": 8, "past": [100] * 8}

    days.totals[8] = 301
    days.totals[9] = 7
    assert told(baselines.windows(at(9))) == [(9, True, [(301, 300)]), (9, False, [])]
    assert told(baselines.windows(at(9.1))) == [(9.1, False, [])]


def test_past_is_read_once_a_day(judged: Callable[[Days], Baselines]) -> None:
    days = Days(0, dict.fromkeys(range(12), 100))
    baselines = judged(days)
    reads = []
    for when in (8.1, 8.2, 8.3, 9.1, 9.2):
        baselines.windows(at(when))
        reads.append(days.reads)
    assert reads == [2, 3, 4, 7, 8]


def test_too_few_days(judged: Callable[[Days], Baselines]) -> None:
    """Nothing is found, and nothing is read for it."""
    for first in (None, 2):
        days = Days(first, dict.fromkeys(range(9), 100))
        assert told(judged(days).windows(at(8.5))) == [(8.5, False, [])]
        assert days.reads == 0
    assert judged(Days(1, {8: 10_000})).windows(at(8.5))[0].keys != ()


def test_a_site_that_was_added_later(judged: Callable[[Days], Baselines]) -> None:
    """Its days begin with it: a host of its own is none that did nothing for days before."""
    days = Days(0, {11: 150, 13: 150, 14: 150, 15: 150, 16: 150, 17: 150, 18: 5_000})
    assert [len(judged(days).windows(at(when))[0].keys) for when in (11.5, 18.5)] == [1, 1]
    days.later_site = 11
    assert [len(judged(days).windows(at(when))[0].keys) for when in (11.5, 17.5, 18.5)] == [0, 0, 1]
    (key,) = judged(days).windows(at(18.5))[0].keys
    assert key.details["past"] == [150, 0, 150, 150, 150, 150, 150]


def test_what_could_not_be_read_is_asked_again(judged: Callable[[Days], Baselines]) -> None:
    days = Days(0, dict.fromkeys(range(8), 100) | {8: 500})
    baselines = judged(days)
    baselines.resume(at(7.9))
    days.broken = True
    with pytest.raises(StoreError):
        baselines.windows(at(8.5))
    days.broken = False
    assert told(baselines.windows(at(8.5))) == [(8, True, []), (8.5, False, [(500, 300)])]


def test_a_clock_that_goes_back(judged: Callable[[Days], Baselines]) -> None:
    """No day has ended."""
    baselines = judged(Days(0, dict.fromkeys(range(12), 100)))
    baselines.windows(at(9.5))
    assert told(baselines.windows(at(8.5))) == [(8.5, False, [])]


def test_rules_that_are_off(setup: plan.Setup) -> None:
    days: Any = Days(0, {})
    rules = [replace(rule, mode=Mode.OFF) for rule in setup.rules]
    assert Baselines(days, rules, (), setup.watchlist).windows(at(8)) == []
