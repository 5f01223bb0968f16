"""
A replay: log files through the daemon's own engine, rules and pass, with the devices' time as the clock.

Batches end where a second does, and the pass runs at its end, as once a second in the daemon; in seconds without a line
it runs at the boundaries of slots, where windows are judged and alerts clear. So the same alerts come as would have
come then. A database of its own, in a folder that is thrown away, takes what the pass stores; outputs are not asked.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from collectord import plan
from collectord.clock import ManualClock
from collectord.config import Config, UdpListener
from collectord.detect.alerts import AlertStates
from collectord.detect.rules import Rule, RuleType, longest_windows_s
from collectord.engine import Engine
from collectord.model import NS_PER_S, OUTCOMES, Alert, Mode
from collectord.plan import Setup
from collectord.store.db import Database
from collectord.tick import Tick

LISTENER = "replay"

FILE_PEER = "0.0.0.0"  # noqa: S104  (no address at all; nothing listens on it)
"""Peer of lines in a file. It counts as a relay: whoever wrote the file put the device's name into the header."""

GAP_S = 3_600
"""Time without any line that is worth telling of."""

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
    update = {"listener": (UdpListener(type="udp", name=LISTENER, site=site),), "relays": relays}
    return plan.check(config.model_copy(update=update), [rule for rule in rules if rule.type not in _OF_THE_DAEMON])


def on_trial(rule: Rule) -> Rule:
    """A rule that somebody asked for by name: one that is off reports."""
    return replace(rule, mode=Mode.REPORT) if rule.mode is Mode.OFF else rule


class Replay:
    """
    One replay.

    Args:
        setup: As ``setup_for`` makes it.
        engine: Of that setup.
        database: Empty, and nobody else's.
        peer: Whom the lines come from.
        told: Called with each state of an alert, in the order in which they come about.
    """

    def __init__(
        self,
        setup: Setup,
        engine: Engine,
        database: Database,
        *,
        told: Callable[[Alert], None],
        peer: str = FILE_PEER,
    ) -> None:
        self.progress = Progress()
        self._engine = engine
        self._peer = peer
        self._told = told
        self._clock = ManualClock()
        self._states = AlertStates(setup.rules, setup.watchlist)
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
