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
        self._held_back: dict[str, int] = {}

    def set_limits(self, *, learn_until_ns: int, storm_cap: int | None, storm_window_s: int) -> None:
        """Other values from now on; what was sent before still counts."""
        self._learn_until_ns = learn_until_ns
        self._storm_window_s = storm_window_s
        if storm_cap != self._storm_cap:
            self._storm_cap = storm_cap
            self._sent = {rule: deque(sent, maxlen=storm_cap) for rule, sent in self._sent.items()}

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

    def storm(self, rule: Rule, severity: Severity, now_ns: int) -> str:
        """Why a raise is over the rule's storm cap; empty if it may be sent."""
        cap = self._storm_cap
        if cap is None or rule.health or severity is Severity.HIGH:
            return ""
        sent = self._sent.get(rule.name, ())
        # A time that lies ahead is of before a step of the clock.
        recent = sum(0 <= now_ns - then_ns < self._storm_window_s * NS_PER_S for then_ns in sent)
        if recent < cap:
            return ""
        return f"storm cap: {cap:,} alerts of this rule were sent within {span(self._storm_window_s)}"

    def sent(self, rule: str, now_ns: int) -> None:
        """A raise of this rule is sent."""
        if self._storm_cap is not None:
            self._sent.setdefault(rule, deque(maxlen=self._storm_cap)).append(now_ns)

    def held_back(self, rule: str) -> None:
        """A raise of this rule is not sent because of the storm cap."""
        self._held_back[rule] = self._held_back.get(rule, 0) + 1

    def take_held_back(self) -> dict[str, int]:
        """Raises that the storm cap held back since the last call, by rule; what Gauge.ALERTS_HELD_BACK sums up."""
        taken, self._held_back = self._held_back, {}
        return taken

    @property
    def storm_window_s(self) -> int:
        """What must be known of the time before a restart: see :meth:`sent`."""
        return self._storm_window_s if self._storm_cap is not None else 0
