"""
What the daemon notices about itself and its devices, as windows for the rules of type ``silence`` and ``gauge``.

Runs within the tick, on the store's thread; what it looks at of listeners and outputs are single numbers.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from collectord.detect.gauges import FORGOTTEN_NS, GaugeKey, Gauges
from collectord.detect.rules import Gauge, Known, Rule, RuleType
from collectord.detect.silence import Silences
from collectord.model import NS_PER_S, OTHER_DEVICES, Changes, DeviceHistory, DevicePauses, Mode, Window

JUDGED_EVERY_NS = 10 * NS_PER_S
"""Fine enough for limits of minutes; looking at 16,384 devices takes some ms."""

LOSSES = ("no_memory", "panic")
"""Outcomes that are our own loss. What a peer can bring about with one odd message is counted, and wakes nobody."""

UNTRIED_NS = 600 * NS_PER_S
"""
An output that was down is tried five minutes after a start at the latest (the longest pause of deliveries), and a try
may take half a minute. One that has nothing to do for longer is down no more: what it failed at was given up.
"""

ENGINE = "(engine)"
"""Stands for a listener where the engine met a bug outside of messages: what it had counted may lack something."""


@dataclass(frozen=True, slots=True)
class StoreNews:
    """How the database stands."""

    name: str
    """The file's."""
    failing_s: int
    """For how long it can't be written; 0: it can."""
    replaced: int
    """Damaged files that were moved aside since the last time."""


class Health:
    """
    Gathers the measurements.

    Args:
        rules: All rules; those of other types are passed over.
        silences: The devices that are watched.
        listeners: Names, in the order of the engine's plan.
        kernel_drops: Messages that the kernel dropped since the start, by listener.
        outputs_up: Whether the last try of each output went well; None before the first.
        take_dropped: Alerts' states that were given up undelivered since the last call, by output.
    """

    def __init__(
        self,
        rules: Iterable[Rule],
        silences: Silences,
        listeners: Sequence[str],
        kernel_drops: Callable[[], Mapping[str, int]],
        outputs_up: Callable[[], Mapping[str, bool | None]],
        take_dropped: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        self._use(rules)
        self._silences = silences
        self._gauges = Gauges()
        self._listeners = listeners
        self._kernel_drops = kernel_drops
        self._outputs_up = outputs_up
        self._take_dropped = take_dropped
        self._dropped: dict[str, int] = {}
        self._failing_since_ns: dict[str, int] = {}
        self._judged_ns = self._began_ns = 0
        self._at_once = self._wrong = self._losing = False
        """Looked at in this pass: messages begin to be lost, or something is or just was wrong with the database."""

    def _use(self, rules: Iterable[Rule]) -> None:
        active = [rule for rule in rules if rule.mode is not Mode.OFF]
        self._silence_rules = [rule for rule in active if rule.type is RuleType.SILENCE]
        self._gauge_rules = [rule for rule in active if rule.type is RuleType.GAUGE]

    def take_up(
        self,
        rules: Iterable[Rule],
        listed: Iterable[tuple[str | None, str]],
        relays: Sequence[str],
        now_ns: int,
        listeners: Sequence[str] | None = None,
    ) -> None:
        """
        Other rules, and another list of devices, from now on; what was measured stays.

        Args:
            rules: All rules.
            listed: As :class:`Silences` takes it.
            relays: As :class:`Silences` takes it.
            now_ns: Wall time, ns.
            listeners: Names in the order of the engine's plan; None: those of before.
        """
        self._use(rules)
        if listeners is not None:
            self._listeners = listeners
        self._silences.take_up(listed, relays, now_ns)

    def restart(self, now_ns: int) -> None:
        """The wall clock was stepped and shows this now: what is measured in time begins anew."""
        self._silences.restart(now_ns)
        self._failing_since_ns.clear()
        self._judged_ns = self._began_ns = 0

    def restore(self, devices: Iterable[DeviceHistory]) -> None:
        """Takes up the devices that earlier runs saw."""
        for device in devices:
            self._silences.restore(
                device.site, device.name, device.peer, device.first_seen_ns, device.last_seen_ns, device.pauses
            )

    def observe(
        self, changes: Changes, held_back: Mapping[str, int], store: StoreNews | None = None, bugs: int = 0
    ) -> None:
        """
        Takes in what a batch tells.

        Args:
            changes: The batch.
            held_back: Alerts that the storm cap held back since the last call, by rule.
            store: How the database stands; None: it is well.
            bugs: That the engine met since the last call, outside of messages.
        """
        now_ns = changes.now_ns
        clocks: dict[GaugeKey, int] = {}
        for seen in changes.devices:
            if seen.name == OTHER_DEVICES:
                continue
            self._silences.seen(seen.site, seen.name, seen.peer, seen.last_ns)
            if seen.clock_off_ms is not None:
                clocks[seen.site, seen.name] = abs(seen.clock_off_ms) // 1000
        self._gauges.tell(Gauge.CLOCK_OFF_S, clocks, now_ns)
        lost = [(("", self._listeners[listener]), n) for listener, outcome, n, _ in changes.ledger if outcome in LOSSES]
        if bugs:
            lost.append((("", ENGINE), bugs))
        for name, dropped in self._kernel_drops().items():
            # A listener may have been replaced by one of the same name, which begins at 0.
            lost.append((("", name), max(0, dropped - self._dropped.get(name, 0))))
            self._dropped[name] = dropped
        self._gauges.add(Gauge.MESSAGES_LOST, lost, now_ns)
        losing = any(count for _, count in lost)
        begins, self._losing = losing and not self._losing, losing
        self._gauges.add(Gauge.ALERTS_HELD_BACK, ((("", rule), n) for rule, n in held_back.items()), now_ns)
        if store is not None:
            self._gauges.tell(Gauge.DATABASE_FAILING_S, {("", store.name): store.failing_s}, now_ns)
            self._gauges.add(Gauge.DATABASES_REPLACED, [(("", store.name), store.replaced)], now_ns)
        wrong = store is not None and bool(store.failing_s or store.replaced)
        self._at_once, self._wrong = begins or wrong or self._wrong, wrong
        given_up = self._take_dropped()
        self._gauges.add(Gauge.ALERTS_DROPPED, ((("", output), n) for output, n in given_up.items()), now_ns)

    def windows(self, now_ns: int) -> list[Window]:
        """How the rules stand; empty where they were judged just before."""
        if 0 <= now_ns - self._judged_ns < JUDGED_EVERY_NS and not self._at_once:
            return []
        self._judged_ns = now_ns
        self._began_ns = self._began_ns or now_ns
        self._gauges.tell_all(Gauge.OUTPUT_FAILING_S, self._failing(now_ns), now_ns)
        return [
            *(self._silences.window(rule, now_ns) for rule in self._silence_rules),
            *(self._gauges.window(rule, now_ns) for rule in self._gauge_rules),
        ]

    def known(self, rule: Rule, site: str, name: str) -> Known:
        """What is known of that which bears this name, for a rule of the types ``silence`` and ``gauge``."""
        if rule.type is RuleType.SILENCE:
            return self._silences.known(site, name)
        gauge = Gauge(rule.gauge)
        if not self._gauges.knows(gauge, (site, name)):
            is_new = gauge is Gauge.CLOCK_OFF_S and self._judged_ns - self._began_ns < FORGOTTEN_NS
            return Known.NOT_YET if is_new else Known.NO_MORE
        if gauge is Gauge.OUTPUT_FAILING_S and not (up := self._outputs_up().get(name)):
            # It failed when the last run ended, and has taken nothing yet.
            may_be_tried = up is False or self._judged_ns - self._began_ns < UNTRIED_NS
            return Known.NOT_YET if may_be_tried else Known.NO_MORE
        return Known.YES

    def pauses(self) -> list[DevicePauses]:
        """The devices' pauses that are to be stored."""
        return self._silences.changed()

    def _failing(self, now_ns: int) -> dict[GaugeKey, int]:
        """For how long each output fails, in seconds; 0 where it does not."""
        failing: dict[GaugeKey, int] = {}
        for name, up in self._outputs_up().items():
            if up is False:
                since_ns = self._failing_since_ns.setdefault(name, now_ns)
                failing["", name] = max(0, now_ns - since_ns) // NS_PER_S
            else:
                self._failing_since_ns.pop(name, None)
                failing["", name] = 0
        return failing
