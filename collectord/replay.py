"""
A replay: log files through the daemon's own engine, rules and pass, with the devices' time as the clock.

Batches end where a second does, and the pass runs at its end, as once a second in the daemon; in seconds without a line
it runs at the boundaries of slots, where windows are judged and alerts clear. So the same alerts come as would have
come then. A database of its own, in a folder that is thrown away, takes what the pass stores; outputs are not asked.
"""

import contextlib
import math
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from collectord import plan
from collectord.clock import ManualClock
from collectord.config import Config
from collectord.detect.alerts import AlertStates, identity
from collectord.detect.findings import judge_window
from collectord.detect.rules import Rule, RuleType, longest_windows_s
from collectord.engine import Engine
from collectord.model import (
    NS_PER_S,
    OUTCOMES,
    Alert,
    AlertState,
    Changes,
    CounterDefinition,
    KeyValue,
    Mode,
    Window,
)
from collectord.plan import Setup
from collectord.settings import UdpListener
from collectord.store.counters import Counters
from collectord.store.db import Database
from collectord.tick import Tick

LISTENER = "replay"

FILE_PEER = "0.0.0.0"  # noqa: S104  (no address at all; nothing listens on it)
"""Peer of lines in a file. It counts as a relay: whoever wrote the file put the device's name into the header."""

GAP_S = 3_600
"""Time without any line that is worth telling of."""

MAX_TRIED_KEYS = 100_000
"""Keys that a trial tells of; some hundred bytes each."""

TRIAL_PART = 100
"""A trial tells of keys that reach this part of their clear level: with all of the smaller ones, each second of a log
would cost as much as there are addresses in it."""

_OF_THE_DAEMON = (RuleType.SILENCE, RuleType.GAUGE)
"""Rules on the collector itself, which files tell nothing of."""


@dataclass(slots=True)
class Progress:
    """How far a replay came; times in seconds since 1970 UTC."""

    first_s: int | None = None
    last_s: int | None = None
    gaps: int = 0
    """Times without a line for over an hour."""
    longest_gap_s: int = 0
    left_out: int = 0
    """Lines before the time from which on one wanted to see."""
    stopped: bool = False
    """Somebody ended it before the end."""
    outcomes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    """What became of the messages."""

    @property
    def messages(self) -> int:
        """All of them."""
        return sum(self.outcomes.values())


def setup_for(config: Config, rules: Sequence[Rule], *, site: str = "", peer: str = FILE_PEER) -> Setup:
    """
    The setup of a replay.

    Args:
        config: Of the daemon.
        rules: Those to try; what the daemon watches about itself is left out.
        site: Of devices whose site the configuration does not tell.
        peer: Whom the lines come from; by default a relay.

    Raises:
        ConfigError: everything that is wrong.
    """
    relays = (*config.relays, f"{FILE_PEER}/32") if peer == FILE_PEER else config.relays
    update = {
        "listener": (UdpListener(type="udp", name=LISTENER, site=site),),
        "relays": relays,
        # A file is read as fast as it can be.
        "bounds": config.bounds.model_copy(update={"peer_rate": 0}),
    }
    return plan.check(config.model_copy(update=update), [rule for rule in rules if rule.type not in _OF_THE_DAEMON])


def on_trial(rule: Rule) -> Rule:
    """A rule that somebody asked for by name: one that is off reports."""
    return replace(rule, mode=Mode.REPORT) if rule.mode is Mode.OFF else rule


class Trial:
    """
    What one rule makes of log files: of each key its largest window and when alerts were raised and cleared.

    Args:
        setup: Of that rule alone; the engine is that of its :func:`trial_setup`.
    """

    def __init__(self, setup: Setup) -> None:
        (rule,) = setup.rules
        self.rule = rule
        # Nothing is below a clear level that is below zero, so each key is judged.
        self._rule = replace(rule, clear_below=-1.0)
        self._watchlist = setup.watchlist
        self.hosts = setup.hosts
        self._keys: dict[str, TriedKey] = {}
        self.left_out = 0
        """Windows of keys that had no place any more."""

    @property
    def keys(self) -> list["TriedKey"]:
        """The keys, the one that came nearest to its limit, or went furthest over it, first."""
        return sorted(self._keys.values(), key=lambda each: (-each.largest / max(each.limit, 1), each.largest_ns))

    @property
    def raised(self) -> int:
        """Alerts that were raised."""
        return sum(len(each.episodes) for each in self._keys.values())

    @property
    def active(self) -> int:
        """Alerts that had not cleared at the end."""
        return sum(cleared_ns is None for each in self._keys.values() for _, cleared_ns in each.episodes)

    def look(self, window: Window, now_ns: int) -> None:
        """Takes in a window that is judged at ``now_ns``."""
        for finding in judge_window(self._rule, self._watchlist, window):
            judgement = finding.over or finding.warm
            alert_id = identity(self.rule.name, finding.site, finding.key)
            known = self._keys.get(alert_id)
            if known is None:
                if finding.over is None and len(self._keys) >= MAX_TRIED_KEYS:
                    self.left_out += 1
                    continue
                known = self._keys[alert_id] = TriedKey(alert_id, finding.site, finding.key, 0, 0, now_ns)
            if judgement.count > known.largest:
                known.largest, known.limit, known.largest_ns = judgement.count, judgement.threshold, now_ns

    def take(self, alert: Alert) -> None:
        """Takes in a state of an alert; its window came before."""
        known = self._keys.get(alert.id)
        if known is None:
            return
        if alert.state is AlertState.RAISED:
            known.episodes.append((alert.last_time_ns, None))
        elif alert.state is AlertState.CLEARED:
            raised_ns, _ = known.episodes[-1]
            known.episodes[-1] = (raised_ns, alert.last_time_ns)


@dataclass(slots=True)
class TriedKey:
    """A key on trial; times are wall time, ns."""

    alert_id: str
    site: str
    key: dict[str, KeyValue]
    largest: int
    """The largest sum that a window of it had."""
    limit: int
    """The largest sum that is still quiet."""
    largest_ns: int
    """When the window first stood so."""
    episodes: list[tuple[int, int | None]] = field(default_factory=list)
    """When its alert was raised and cleared; None: it had not, at the end."""

    @property
    def over(self) -> bool:
        """Whether it was over its limit."""
        return self.largest > self.limit


def trial_setup(setup: Setup) -> Setup:
    """The setup with lower levels, so that the engine also tells of keys that are far from raising anything."""
    counters = [
        {**counter, "rules": [_told_early(rule) for rule in counter["rules"]]} for counter in setup.plan.counters
    ]
    return replace(setup, plan=replace(setup.plan, counters=counters))


def _told_early(rule: dict[str, Any]) -> dict[str, Any]:
    """A rule of the engine's plan with the levels of a trial."""
    found = dict(rule)
    if "level" in rule:
        found["level"] = rule["level"] // TRIAL_PART
    if "levels" in rule:
        values = {port: level // TRIAL_PART for port, level in rule["levels"]["values"].items()}
        found["levels"] = {**rule["levels"], "values": values}
    return found


class _Looked(AlertStates):
    """The state machine, with somebody who looks at the windows first."""

    looked: Callable[[Window, int], None] | None = None

    def judge(self, windows: Iterable[Window], now_ns: int) -> list[Alert]:
        windows = list(windows)
        if self.looked is not None:
            for window in windows:
                self.looked(window, window.end_ns if window.closed else min(window.end_ns, now_ns))
        return super().judge(windows, now_ns)


class Scratch(Database):
    """
    The database of a replay, which is gone when that ends: nothing waits for the disk.

    Or each alert would, and a daemon on the same disk with it.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.connection.execute("PRAGMA synchronous = OFF")

    @contextlib.contextmanager
    def transaction(self, doing: str, *, durable: bool = False) -> Iterator[sqlite3.Connection]:
        with super().transaction(doing) as connection:
            yield connection


class _Tables(Counters):
    """
    What a replay looks at again: the counters whose days are compared. All else is for operators and restarts.

    A second of a log costs a third so; a log of a day has 86,400 of them.
    """

    def __init__(self, database: Database, rules: Iterable[Rule]) -> None:
        super().__init__(database, LISTENER)
        self._read_again = {rule.counter for rule in rules if rule.baseline is not None}

    def write(self, changes: Changes, definitions: Iterable[CounterDefinition], listeners: Sequence[str]) -> bool:
        wanted = [definition for definition in definitions if definition.name in self._read_again]
        if any(changes.rows.get(definition.name) for definition in wanted):
            only = replace(changes, ledger=[], devices=(), quarantine=(), unmapped=(), states=())
            return super().write(only, wanted, listeners)
        return True


class Replay:
    """
    One replay.

    Args:
        setup: As ``setup_for`` makes it.
        engine: Of that setup.
        database: Empty, and nobody else's.
        peer: Whom the lines come from.
        told: Called with each state of an alert, in the order in which they come about.
        looked: Called with each window and the instant at which it is judged, before what follows from it is told.
    """

    def __init__(
        self,
        setup: Setup,
        engine: Engine,
        database: Database,
        *,
        told: Callable[[Alert], None],
        peer: str = FILE_PEER,
        looked: Callable[[Window, int], None] | None = None,
    ) -> None:
        self.progress = Progress()
        self._engine = engine
        self._peer = peer
        self._told = told
        self._clock = ManualClock()
        self._states = _Looked(setup.rules, setup.watchlist)
        self._states.looked = looked
        self._longest_window_s = max(longest_windows_s(setup.rules).values(), default=0)
        # Windows move at these boundaries, and nothing clears between them.
        marks = [rule.clear_after_s for rule in setup.rules] + [each.slot_s for each in setup.definitions]
        self._idle_s = math.gcd(*marks) or 60
        self._tick = Tick(
            setup,
            engine=engine,
            clock=self._clock,
            database=database,
            run=LISTENER,
            states=self._states,
            receivers=self._receivers,
            tables=_Tables(database, setup.rules),
        )
        self._now_s = 0
        self._last_s = 0
        self._dirty = False

    def run(self, pieces: Iterable[tuple[int, bytes]], *, from_s: int = 0, until_s: int | None = None) -> None:
        """
        Read, count and judge.

        Args:
            pieces: Seconds, never falling, and the lines that belong to them.
            from_s: Lines of earlier seconds are left out.
            until_s: The first second that is not wanted any more.

        Raises:
            StoreError: there is no room for the replay's own database.
        """
        for second, lines in pieces:
            if second < from_s:
                self.progress.left_out += lines.count(b"\n") + (not lines.endswith(b"\n"))
                continue
            if until_s is not None and second >= until_s:
                break
            self._go_to(second)
            self._engine.lines(0, self._peer, lines, second * NS_PER_S)
            self._dirty = True
        if self._dirty:
            self._judge(self._now_s + 1)
            self._tick.end()

    def _receivers(self, alert: Alert) -> Sequence[str]:
        """The pass asks whom a state of an alert goes to: to nobody but the one who watches."""
        self._told(alert)
        return ()

    def _go_to(self, second: int) -> None:
        """Let the time pass until a second with lines begins."""
        progress = self.progress
        if progress.first_s is None:
            progress.first_s = self._now_s = second
            self._clock.set(second * NS_PER_S)
            self._tick.restore()
        elif second > self._last_s:
            if second - self._last_s > GAP_S:
                progress.gaps += 1
                progress.longest_gap_s = max(progress.longest_gap_s, second - self._last_s)
            self._pass_time(second)
        progress.last_s = self._last_s = second
        self._now_s = second

    def _pass_time(self, second: int) -> None:
        if self._dirty:
            self._judge(self._now_s + 1)
        # When all windows are empty and no alert waits to clear, nothing can happen any more.
        empty_s = self._last_s + self._longest_window_s + 2 * self._idle_s
        while (boundary := (self._now_s // self._idle_s + 1) * self._idle_s) <= second:
            if boundary > empty_s and not self._states.active_count:
                boundary = second // self._idle_s * self._idle_s
            self._judge(boundary)

    def _judge(self, now_s: int) -> None:
        self._now_s = now_s
        self._dirty = False
        self._clock.set(now_s * NS_PER_S)
        self._tick.run()
        self.progress.outcomes.update(self._tick.outcomes.get(LISTENER, {}))
