"""What the passes did since the start: figures for whoever watches from outside."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from collectord.detect.rules import Rule
from collectord.model import NS_PER_S, Alert, Changes, Mode, Severity

DURATION_BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Between a pass on an idle machine and one that systemd's watchdog would end."""


@dataclass(slots=True)
class TickCounters:
    """What the passes did since the start."""

    ticks: int = 0
    last_duration_ns: int = 0
    longest_duration_ns: int = 0
    duration_sum_ns: int = 0
    durations: list[int] = field(default_factory=lambda: [0] * (len(DURATION_BOUNDS_S) + 1))
    """Passes by the first of DURATION_BOUNDS_S that they did not exceed, the others last."""
    carried: int = 0
    """Rows and states that the last pass left for the next."""
    store_failures: int = 0
    unstored_alerts: int = 0
    """Alert states that wait in memory for the database."""
    lost_alerts: int = 0
    """Alert states given up because too many waited."""
    not_quarantined: int = 0
    """Unread messages that the quarantine had no place for."""
    clamped: int = 0
    """Records that claimed a larger EventCount, or number to sum up, than one may."""
    engine_bugs: int = 0
    """Panics of the engine outside of messages, which have an outcome of their own."""
    shed_rows: int = 0
    """Rows of counters that were deleted before their time, because the database was as large as it may be."""
    evicted: dict[str, int] = field(default_factory=dict)
    without_key: dict[str, int] = field(default_factory=dict)
    exempted: dict[str, int] = field(default_factory=dict)
    raised: dict[str, int] = field(default_factory=dict)
    """Raises since the start, by rule."""
    refused: Mapping[str, int] = field(default_factory=dict)
    """Raises for which there was no place, by reason; a key counts again in each window in which it is over."""
    active: Mapping[tuple[Severity, Mode], int] = field(default_factory=dict)
    """Alerts that are active."""
    ailing: Mapping[str, int] = field(default_factory=dict)
    """Those about the collector itself, by rule."""
    ended_mono_ns: int = 0
    """When the last pass ended."""
    message_mono_ns: dict[str, int] = field(default_factory=dict)
    """When the last pass ended that found messages, by listener."""

    def note_active(self, active: Sequence[Alert], rules: Sequence[Rule]) -> None:
        """The alerts that are active now."""
        self.active = Counter((alert.severity, alert.mode) for alert in active)
        own = {rule.name for rule in rules if rule.health}
        self.ailing = Counter(alert.rule for alert in active if alert.rule in own)

    def note_pass(
        self, changes: Changes, listeners: Sequence[str], began_ns: int, ended_ns: int, unstored: int
    ) -> None:
        """A pass is over that lasted from then to then (monotonic) and leaves so many states of alerts in memory."""
        duration_ns = ended_ns - began_ns
        self.ended_mono_ns = ended_ns
        for listener, _, messages, _ in changes.ledger:
            if messages:
                self.message_mono_ns[listeners[listener]] = ended_ns
        self.ticks += 1
        self.last_duration_ns = duration_ns
        self.duration_sum_ns += duration_ns
        self.durations[bisect_left(DURATION_BOUNDS_S, duration_ns / NS_PER_S)] += 1
        self.longest_duration_ns = max(self.longest_duration_ns, duration_ns)
        self.carried = changes.carried
        self.unstored_alerts = unstored
        for totals, gained in (
            (self.evicted, changes.evicted),
            (self.without_key, changes.without_key),
            (self.exempted, changes.exempted),
        ):
            for name, count in gained.items():
                totals[name] = totals.get(name, 0) + count
