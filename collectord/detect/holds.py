"""
Reasons for which an alert is stored and not sent.

* **Learning**: until a time that the configuration names; what the rules about the collector's health raise is sent.
* **Maintenance**: windows, of a site or of all.
* **Shelved**: single alerts, until a time.
* **Storm cap**: so many raises of a rule are sent within a time; health and high severity pass.

The first three hold back whatever is told of an alert but a clear whose raise was sent; the storm cap holds raises.
"""

from collections import deque
from collections.abc import Iterable, Mapping

from collectord.detect.rules import Rule
from collectord.detect.wording import span
from collectord.model import NS_PER_S, MaintenanceWindow, Severity

HELD_BACK_FOR_S = 300
"""What Gauge.ALERTS_HELD_BACK looks back on."""

MAX_HELD_BACK = 10_000
"""Alerts of a rule that are counted as held back; as many as may be active."""


class Holds:
    """
    Answers whether something holds an alert back.

    Args:
        learn_until_ns: End of learning (wall time, ns); 0: there is none.
        storm_cap: Raises of a rule that are sent within ``storm_window_s``; None: all.
        storm_window_s: The time.
    """

    def __init__(self, *, learn_until_ns: int = 0, storm_cap: int | None = None, storm_window_s: int = 600) -> None:
        self._learn_until_ns = learn_until_ns
        self._storm_cap = storm_cap
        self._storm_window_s = storm_window_s
        self._maintenance: tuple[MaintenanceWindow, ...] = ()
        self._shelved: dict[str, int] = {}
        self._sent: dict[str, deque[int]] = {}
        self._held_back: dict[str, dict[str, int]] = {}

    def set_maintenance(self, windows: Iterable[MaintenanceWindow]) -> None:
        """The windows from now on, in place of those before."""
        self._maintenance = tuple(windows)

    def set_shelved(self, until_ns: Mapping[str, int]) -> None:
        """Until when which alert is shelved, in place of those before."""
        self._shelved = dict(until_ns)

    def ground(self, rule: Rule, alert_id: str, site: str, now_ns: int) -> str:
        """Why nothing of this alert is sent now; empty if nothing holds it. The storm cap is not looked at."""
        if now_ns < self._learn_until_ns and not rule.health:
            return "learning"
        for window in self._maintenance:
            if window.site in (None, site) and window.from_ns <= now_ns < window.until_ns:
                return f"maintenance {window.number}: {window.reason}"
        if now_ns < self._shelved.get(alert_id, 0):
            return "shelved"
        return ""

    def storm(self, rule: Rule, alert_id: str, severity: Severity, now_ns: int) -> str:
        """Why a raise is over the rule's storm cap; empty if it may be sent. Counts what it holds back."""
        cap = self._storm_cap
        if cap is None or rule.health or severity is Severity.HIGH:
            return ""
        sent = self._sent.get(rule.name, ())
        # A time that lies ahead is of before a step of the clock.
        recent = sum(0 <= now_ns - then_ns < self._storm_window_s * NS_PER_S for then_ns in sent)
        if recent < cap:
            return ""
        held = self._held_back.setdefault(rule.name, {})
        if alert_id in held or len(held) < MAX_HELD_BACK:
            held[alert_id] = now_ns
        return f"storm cap: {cap:,} alerts of this rule were sent within {span(self._storm_window_s)}"

    def sent(self, rule: str, now_ns: int) -> None:
        """A raise of this rule is sent."""
        if self._storm_cap is not None:
            self._sent.setdefault(rule, deque(maxlen=self._storm_cap)).append(now_ns)

    @property
    def storm_window_s(self) -> int:
        """What must be known of the time before a restart: see :meth:`sent`."""
        return self._storm_window_s if self._storm_cap is not None else 0

    def held_back(self, now_ns: int) -> dict[str, int]:
        """How many alerts the storm cap kept from being sent in the last five minutes, by rule."""
        for rule, held in list(self._held_back.items()):
            recent = {key: then for key, then in held.items() if 0 <= now_ns - then < HELD_BACK_FOR_S * NS_PER_S}
            if recent:
                self._held_back[rule] = recent
            else:
                del self._held_back[rule]
        return {rule: len(held) for rule, held in self._held_back.items()}
