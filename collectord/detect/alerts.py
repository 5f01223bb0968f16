"""
The life of alerts: raised, updated, cleared.

A state machine without clock, store or outputs: windows and the time go in, alert states come out, in order. What it
must know after a restart is in the states that it gave out and in :meth:`AlertStates.seen`.

* Raised when a key's sum in any window, closed or still open, is larger than the threshold.
* Updated when the sum is ten times the one that was told last, or the severity is a new one.
* Cleared when the sum stayed at or below the clear level for the rule's ``clear_after_s``, measured on the windows that
  were judged: time in which nobody looked (a stop, a step of the clock) is not quiet time. Also when its rule, row or
  mode went away, or when it is exempt now.

What must not be sent (``holds.py``) has a life as well: a raise that is held back has the mode ``report``, and what
holds it in its details. When nothing holds it any more while it is still over, it clears and is raised anew, so that
outputs see a raise. A sent alert that is held from then on is updated without being sent; its clear is sent.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from collectord.detect import ground, telling, wording
from collectord.detect.device import AddressOf, device
from collectord.detect.episodes import MAX_REMEMBERED, Episodes
from collectord.detect.exempts import Exempts
from collectord.detect.findings import Finding, Judgement, judge_window
from collectord.detect.holds import Holds
from collectord.detect.hosts import Hosts
from collectord.detect.rules import Known, Rule
from collectord.detect.watchlist import Watchlist
from collectord.model import NS_PER_S, Alert, AlertState, KeyValue, Mode, Window

MAX_ACTIVE_OF_RULE = 10_000
"""Of one rule; far more than people can look at. Further ones are counted, and raised when there is room again."""

MAX_ACTIVE = 20_000
"""Active alerts of all rules, some 100 MB with their evidence: a flood of one rule leaves as many to the others."""

PLACES_OF_RULE = 200
"""Active alerts that a rule may always have, however many the others have: more than outputs are sent in a storm."""

UPDATE_FACTOR = 10


@dataclass(slots=True)
class _Active:
    """An alert that has not cleared: what was told last, and what was seen since."""

    told: Alert
    last_over_ns: int
    peak: int
    saved_over_ns: int
    saved_peak: int
    evidence: Any = None
    """The newest that was seen; None if there was none since the start."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Of the key's addresses, by reverse DNS."""


KnownOf = Callable[[Rule, str, str], Known]
"""What is known of that which bears this name at this site, for a rule without a counter."""


class AlertStates:
    """
    The alerts of a set of rules.

    Args:
        rules: All of them, those that are off included.
        watchlist: For the rules that use it.
        holds: What keeps alerts from being sent; None: nothing.
        hosts: What is known of addresses, for summaries and exempts by role.
        address_of: Addresses of devices, for what an alert is about; None: none is known.
        known: What is known of that which the rules without a counter are about; None: all of it is.
        max_active: Bound of active alerts; the rules about the collector's health pass it.
        max_active_of_rule: Bound of each rule's active alerts.
        places_of_rule: Active alerts that a rule may have although the others fill the common bound.
        max_remembered: Bound of cleared alerts whose episodes are counted on.
    """

    def __init__(
        self,
        rules: Iterable[Rule],
        watchlist: Watchlist,
        *,
        holds: Holds | None = None,
        hosts: Hosts | None = None,
        address_of: AddressOf | None = None,
        known: KnownOf | None = None,
        max_active: int = MAX_ACTIVE,
        max_active_of_rule: int = MAX_ACTIVE_OF_RULE,
        places_of_rule: int = PLACES_OF_RULE,
        max_remembered: int = MAX_REMEMBERED,
    ) -> None:
        self._rules = {rule.name: rule for rule in rules}
        self.holds = holds or Holds()
        self._hosts = hosts or Hosts()
        self._address_of = address_of
        self._known = known
        self.exempts = Exempts(self._hosts)
        self.exempts.set_rules(self._rules.values())
        self._watchlist = watchlist
        self._max_active = max_active
        self._max_active_of_rule = max_active_of_rule
        self._places_of_rule = places_of_rule
        self._active: dict[str, dict[str, _Active]] = {}
        self._active_count = 0
        self._episodes = Episodes(max_remembered)
        self._judged_ns: dict[str, int] = {}
        self.refused: dict[str, int] = {}
        """Raises that did not happen, by reason; a key is counted again with each window in which it is over."""

    @property
    def active(self) -> list[Alert]:
        """The state that was told last of each active alert."""
        return [active.told for by_id in self._active.values() for active in by_id.values()]

    @property
    def active_count(self) -> int:
        """Number of active alerts."""
        return self._active_count

    def restore(
        self,
        active: Iterable[Alert],
        *,
        judged_ns: int = 0,
        episodes: Mapping[str, int] | None = None,
        forgotten_episode: int = 0,
    ) -> None:
        """
        Goes on where an earlier run ended. Call :meth:`reconcile` next: the rules may have changed meanwhile.

        Args:
            active: The stored states of the alerts that have not cleared.
            judged_ns: When the earlier run last judged (its last tick); 0 if unknown. The time until the first window
                does not count as quiet.
            episodes: How often each alert was raised, by id, the newest first.
            forgotten_episode: The largest episode among the alerts that are not in ``episodes``.
        """
        self._episodes.restore(episodes or {}, forgotten_episode)
        for alert in active:
            last_over_ns = alert.last_over_ns or alert.last_time_ns
            peak = max(alert.peak, alert.count)
            by_id = self._active.setdefault(alert.rule, {})
            self._active_count += alert.id not in by_id
            by_id[alert.id] = _Active(alert, last_over_ns, peak, last_over_ns, peak)
            # Without the time of the last tick, what is known is when this alert was last looked at.
            self._judged_ns[alert.rule] = max(self._judged_ns.get(alert.rule, 0), judged_ns, last_over_ns)

    def judge(self, windows: Iterable[Window], now_ns: int) -> list[Alert]:
        """
        What follows from a batch's windows.

        Args:
            windows: In time order; windows of rules that are unknown or off are passed over.
            now_ns: Wall time, ns; the instant of a window that is still open.

        Returns:
            New states, in the order in which they came about.
        """
        told: list[Alert] = []
        for window in windows:
            rule = self._rules.get(window.rule)
            if rule is None or rule.mode is Mode.OFF:
                continue
            judged_ns = window.end_ns if window.closed else min(window.end_ns, now_ns)
            self._skip_unseen_time(rule, judged_ns)
            warm = set()
            for finding in judge_window(rule, self._watchlist, window):
                alert_id = identity(rule.name, finding.site, finding.key)
                exempt = self.exempts.reason(rule, alert_id, finding.site, finding.key, judged_ns)
                if exempt is not None:
                    self._clear_exempt(self._active.get(rule.name, {}).get(alert_id), exempt, judged_ns, told)
                elif self._meet(rule, alert_id, finding, window, judged_ns, told):
                    warm.add(alert_id)
            self._clear_quiet(rule, warm, judged_ns, told)
        return told

    def reconcile(
        self,
        rules: Iterable[Rule],
        watchlist: Watchlist,
        now_ns: int,
        hosts: Hosts | None = None,
        *,
        anew: Collection[str] = (),
    ) -> list[Alert]:
        """
        Takes over new rules and a new watchlist; alerts that they leave no ground for are cleared with that reason.

        Args:
            rules: All of them.
            watchlist: For the rules that use it.
            now_ns: Wall time, ns.
            hosts: What is known of addresses; None: as before.
            anew: Counters that hold nothing of before, because they count something else now.

        Returns:
            The cleared states, and updates of those whose rule or row has a new severity.
        """
        self._rules = {rule.name: rule for rule in rules}
        self._watchlist = watchlist
        if hosts is not None:
            self._hosts = hosts
            self.exempts.set_hosts(hosts)
        self.exempts.set_rules(self._rules.values())
        # An exempt says more than a limit that was changed with it.
        told = self.review(now_ns)
        for active in self._all_active():
            rule = self._rules.get(active.told.rule)
            reason = ground.lost(rule, watchlist, active.told, active.peak, anew)
            if reason:
                self._clear(active, reason, f"cleared: {reason}", now_ns, told)
            elif rule is not None and not rule.uses_watchlist and rule.severity != active.told.severity:
                alert = replace(self._next_state(active, now_ns), severity=rule.severity)
                if alert.mode is Mode.NOTIFY:
                    held = self.holds.ground(rule, alert.id, alert.site, now_ns)
                else:
                    held = alert.held
                self._tell(active, replace(alert, details=_with(alert.details, held)), told)
        return told

    def review(self, now_ns: int) -> list[Alert]:
        """Clears the alerts that are exempt now; for when :attr:`exempts` was changed."""
        told: list[Alert] = []
        for active in self._all_active():
            alert = active.told
            rule = self._rules.get(alert.rule)
            if rule is not None:
                exempt = self.exempts.reason(rule, alert.id, alert.site, alert.key, now_ns)
                if exempt is not None:
                    self._clear_exempt(active, exempt, now_ns, told)
        return told

    def name(self, alert_id: str, episode: int, names: Mapping[str, str]) -> None:
        """What its key's addresses are called, for what is told of an active alert from now on."""
        for by_id in self._active.values():
            active = by_id.get(alert_id)
            if active is not None and active.told.episode == episode:
                active.names = {**active.names, **names}

    def seen(self) -> list[tuple[str, int, int]]:
        """
        What changed about active alerts without being told, to be stored for a restart.

        Returns:
            (alert id, last_over_ns, peak), for each alert once per step of its rule, and when it has become quiet.
        """
        sightings = []
        for rule_name, by_id in self._active.items():
            rule = self._rules.get(rule_name)
            step_ns = (rule.step_s if rule else 1) * NS_PER_S
            for alert_id, active in by_id.items():
                moved_ns = abs(active.last_over_ns - active.saved_over_ns)
                # From then on it waits for its clear, and a restart must not make that time shorter.
                is_quiet = active.last_over_ns < self._judged_ns.get(rule_name, 0)
                if moved_ns >= step_ns or (moved_ns and is_quiet):
                    active.saved_over_ns = active.last_over_ns
                    active.saved_peak = active.peak
                    sightings.append((alert_id, active.last_over_ns, active.peak))
        return sightings

    def _meet(
        self, rule: Rule, alert_id: str, finding: Finding, window: Window, judged_ns: int, told: list[Alert]
    ) -> bool:
        """Takes in one finding; False if it keeps no alert alive."""
        active = self._active.get(rule.name, {}).get(alert_id)
        over, warm = finding.over, finding.warm
        if active is None:
            self._raise(rule, alert_id, finding, window, judged_ns, told)
            return over is not None
        was_sent = active.told.mode is Mode.NOTIFY
        if was_sent and warm.mode is Mode.REPORT:
            # Rows that only report don't keep what was sent from clearing.
            return False
        active.last_over_ns = judged_ns
        active.peak = max(active.peak, warm.count)
        active.evidence = finding.details.get("evidence", active.evidence)
        held = self.holds.ground(rule, alert_id, finding.site, judged_ns)
        if not was_sent and over is not None and over.mode is Mode.NOTIFY:
            held = held or self.holds.storm(rule, over.severity, judged_ns)
            if not held:
                # What was only reported is now for the outputs: they need to see a raise.
                reason = "goes on as an alert that is sent"
                self._clear(active, reason, f"cleared: {reason}", judged_ns, told)
                self._raise(rule, alert_id, finding, window, judged_ns, told)
                return True
        elif was_sent and over is not None and over.mode is Mode.REPORT:
            over = None
        elif not was_sent:
            # Not over, or only for looking at: whether it would be sent is no question now.
            held = active.told.held
        self._follow(rule, active, finding, over, held, judged_ns, told)
        return True

    def _follow(
        self,
        rule: Rule,
        active: _Active,
        finding: Finding,
        over: Judgement | None,
        held: str,
        judged_ns: int,
        told: list[Alert],
    ) -> None:
        """Tells of an active alert what is worth telling: ten times as much, another severity, held or no longer."""
        warm = finding.warm
        severity = active.told.severity
        if over is not None and over.severity.rank > severity.rank:
            severity = over.severity
        elif warm.severity.rank < severity.rank:
            # No row of the old severity is even near its threshold any more.
            severity = warm.severity
        grown = over is not None and over.count >= UPDATE_FACTOR * active.told.count
        if severity is active.told.severity and not grown and held == active.told.held:
            return
        judgement = over or warm
        alert = replace(
            self._next_state(active, judged_ns),
            severity=severity,
            count=judgement.count,
            threshold=judgement.threshold,
            window_s=rule.timespan_s,
            summary=telling.summary(rule, active.told.id, finding, judgement, self._hosts, active.names),
            # What it is about is said at the raise: a manager would take it for another alarm.
            details=_with(finding.details, held, active.told.details.get("device")),
        )
        self._tell(active, alert, told)

    def _no_room(self, rule: Rule) -> str:
        """Why there is no place for one more alert of this rule; empty if there is."""
        of_rule = len(self._active.get(rule.name, ()))
        if of_rule >= self._max_active_of_rule:
            return f"{self._max_active_of_rule:,} alerts of {rule.name} are active"
        if self._active_count >= self._max_active and of_rule >= self._places_of_rule and not rule.health:
            return f"{self._max_active:,} alerts are active"
        return ""

    def _raise(
        self, rule: Rule, alert_id: str, finding: Finding, window: Window, judged_ns: int, told: list[Alert]
    ) -> None:
        over = finding.over
        if over is None:
            return
        reason = self._no_room(rule)
        if reason:
            self.refused[reason] = self.refused.get(reason, 0) + 1
            return
        mode, held = over.mode, ""
        if mode is Mode.NOTIFY:
            held = self.holds.ground(rule, alert_id, finding.site, judged_ns)
            if not held:
                held = self.holds.storm(rule, over.severity, judged_ns)
                if held:
                    self.holds.held_back(rule.name)
            if held:
                mode = Mode.REPORT
            else:
                self.holds.sent(rule.name, judged_ns)
        alert = Alert(
            id=alert_id,
            episode=self._episodes.next(alert_id),
            event=AlertState.RAISED.value,
            rule=rule.name,
            state=AlertState.RAISED,
            severity=over.severity,
            mode=mode,
            site=finding.site,
            key=dict(finding.key),
            count=over.count,
            threshold=over.threshold,
            window_s=rule.timespan_s,
            first_time_ns=window.start_ns,
            last_time_ns=judged_ns,
            title=wording.fill(rule.title, finding.key),
            summary=telling.summary(rule, alert_id, finding, over, self._hosts),
            tactics=over.tactics or rule.tactics,
            techniques=rule.techniques,
            details=_with(finding.details, held, device(finding.key, finding.site, finding.details, self._address_of)),
            last_over_ns=judged_ns,
            peak=over.count,
            alarm_type=rule.alarm_type,
        )
        self._active.setdefault(rule.name, {})[alert_id] = _Active(alert, judged_ns, over.count, judged_ns, over.count)
        self._active_count += 1
        told.append(alert)

    def _next_state(self, active: _Active, judged_ns: int) -> Alert:
        """An update that changes nothing yet."""
        number = int(active.told.event.partition(":")[2] or 1) + 1
        return replace(
            active.told,
            event=f"{AlertState.UPDATED.value}:{number}",
            state=AlertState.UPDATED,
            last_time_ns=judged_ns,
            last_over_ns=active.last_over_ns,
            peak=active.peak,
        )

    def _clear_quiet(self, rule: Rule, warm: set[str], judged_ns: int, told: list[Alert]) -> None:
        by_id = self._active.get(rule.name, {})
        hold_ns = rule.clear_after_s * NS_PER_S
        quiet = [
            active
            for alert_id, active in by_id.items()
            if alert_id not in warm and judged_ns - active.last_over_ns >= hold_ns
        ]
        for active in quiet:
            # A limit of the rule's own may be another one since.
            threshold = active.told.threshold if rule.threshold is None else rule.threshold
            known = self._known_of(rule, active.told)
            if known is Known.NOT_YET:
                active.last_over_ns = judged_ns
                continue
            reason, what = telling.quiet(rule, threshold, active.peak, watched=known is Known.YES)
            self._clear(active, reason, what, judged_ns, told)

    def _known_of(self, rule: Rule, alert: Alert) -> Known:
        if rule.counter or self._known is None:
            return Known.YES
        (name,) = alert.key.values()
        return self._known(rule, alert.site, str(name))

    def _clear_exempt(self, active: _Active | None, exempt: str, now_ns: int, told: list[Alert]) -> None:
        if active is not None:
            reason = f"exempt: {exempt}"
            self._clear(active, reason, f"cleared: {reason}", now_ns, told)

    def _clear(self, active: _Active, reason: str, what: str, judged_ns: int, told: list[Alert]) -> None:
        before = active.told
        # The last word of an episode: all that was seen of it.
        details = before.details if active.evidence is None else {**before.details, "evidence": active.evidence}
        alert = replace(
            before,
            event=AlertState.CLEARED.value,
            state=AlertState.CLEARED,
            # What is left to tell of an alert that is over is how large it was.
            count=active.peak,
            last_time_ns=max(judged_ns, before.last_time_ns),
            summary=telling.clear_summary(before, what, self._hosts, active.names),
            reason=reason,
            # What was sent clears for whoever knows of it, whatever holds its updates back.
            details=_with(details, before.held if before.mode is Mode.REPORT else ""),
            last_over_ns=active.last_over_ns,
            peak=active.peak,
        )
        del self._active[before.rule][before.id]
        self._active_count -= 1
        told.append(alert)

    def _tell(self, active: _Active, alert: Alert, told: list[Alert]) -> None:
        if alert.severity is not active.told.severity:
            # Receivers want to know whether it got better or worse.
            alert = replace(alert, details={**alert.details, "severity_before": active.told.severity.value})
        active.told = alert
        active.saved_over_ns = active.last_over_ns
        active.saved_peak = active.peak
        told.append(alert)

    def _all_active(self) -> list[_Active]:
        return [active for by_id in self._active.values() for active in by_id.values()]

    def _skip_unseen_time(self, rule: Rule, judged_ns: int) -> None:
        """Moves what waits for quiet across a time in which nobody judged, or across a step of the clock."""
        before_ns = self._judged_ns.get(rule.name, judged_ns)
        self._judged_ns[rule.name] = judged_ns
        gap_ns = judged_ns - before_ns
        # The engine judges at every slot boundary, so two judgements are at most a step apart while it runs.
        if 0 <= gap_ns <= 2 * rule.step_s * NS_PER_S:
            return
        for active in self._active.get(rule.name, {}).values():
            active.last_over_ns += gap_ns


def identity(rule: str, site: str, key: Mapping[str, KeyValue]) -> str:
    """The id of an alert: 16 hex digits of SHA-256 over rule, site and key; the order of its fields is no matter."""
    text = json.dumps([rule, site, sorted(key.items())], separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:16]


def _with(details: Mapping[str, Any], held: str, about: dict[str, str] | None = None) -> dict[str, Any]:
    """The details without what is said of a single state; the device that it is about, and why it is not sent."""
    others = {name: value for name, value in details.items() if name not in ("held", "severity_before")}
    if "evidence" in others:
        others["evidence"] = dict(others["evidence"])  # It may be read only now.
    return others | ({"device": about} if about else {}) | ({"held": held} if held else {})
