"""
The shipped rules once more: slow, obvious, and apart from the program.

Written from the published rules of the Network Session Essentials solution, corrected where the program says so
(sliding windows, `EventCount` instead of rows). A list of all events, counted anew for every window; no slots, no
bounds. Times are whole milliseconds.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

INTERNAL = [ip_network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")]
STOPPED = ("Deny", "Drop", "Drop ICMP", "Reset", "Reset Source", "Reset Destination")

Event = Mapping[str, Any]
"""ASIM fields of a session; what is absent is unknown."""
Key = tuple[Hashable, ...]


def internal(address: str | None) -> bool:
    """Whether an address is the site's own."""
    return address is not None and any(ip_address(address) in network for network in INTERNAL)


def loopback(address: str | None) -> bool:
    """Whether an address never leaves its machine."""
    return address is not None and ip_address(address).is_loopback


def result(event: Event) -> str:
    """EventResult: as told, else as the action has it."""
    if "EventResult" in event:
        return str(event["EventResult"])
    if "DvcAction" not in event:
        return "NA"
    return "Failure" if event["DvcAction"] in STOPPED else "Success"


def direction(event: Event) -> str:
    """NetworkDirection, from the ends."""
    if "SrcIpAddr" not in event or "DstIpAddr" not in event:
        return "NA"
    ends = internal(event["SrcIpAddr"]), internal(event["DstIpAddr"])
    return {(True, True): "Local", (True, False): "Outbound", (False, True): "Inbound"}.get(ends, "External")


def leaves(event: Event) -> bool:
    """From one of our addresses to one that is none of ours."""
    return internal(event.get("SrcIpAddr")) and not internal(event.get("DstIpAddr"))


def answer(event: Event) -> bool:
    """What looks like a server's answer, told the wrong way round."""
    return event.get("SrcPortNumber", 65_535) < 1024 and event.get("DstPortNumber", 0) >= 32_768


def guesses(event: Event) -> bool:
    """A failed remote desktop session from outside that no device stopped."""
    return (
        result(event) == "Failure"
        and event.get("DvcAction") not in ("Deny", "Drop", "Drop ICMP")
        and event.get("DstPortNumber") == 3389
        and not internal(event.get("SrcIpAddr"))
        and event.get("SrcIpAddr") != event.get("DstIpAddr")
    )


def opens_shares(event: Event) -> bool:
    """File sharing from one of our addresses to another address."""
    return (
        internal(event.get("SrcIpAddr"))
        and event.get("SrcIpAddr") != event.get("DstIpAddr")
        and event.get("DstPortNumber") in (139, 445)
    )


def gives_password_away(event: Event) -> bool:
    """A login in clear text that leaves the site."""
    if event.get("DstPortNumber") == 21 and event.get("SrcUsername") == "anonymous":
        return False
    return leaves(event) and result(event) in ("Success", "NA") and event.get("DstPortNumber") in (21, 23, 110, 143)


def odd_port(event: Event) -> bool:
    """An application on a port that is not its own."""
    own = {"dns": [53], "web-browsing": [80, 8000, 8080], "http": [80, 8000, 8080], "ssl": [443, 8443]}
    own["smtp"] = [25, 465, 587]
    name = str(event.get("DstAppName", "")).lower()
    return name in own and event.get("DstPortNumber") not in own[name]


@dataclass(frozen=True)
class Rule:
    """What counts, by what, over which time, and from which sum on it is an alert."""

    counts: Callable[[Event], bool]
    key: tuple[str, ...]
    span_ms: int
    step_ms: int
    threshold: int
    """The largest sum that is quiet."""
    clear_ms: int
    distinct: str = ""
    """The field whose different values are counted; otherwise the sessions are."""

    def amount(self, events: Sequence[Event]) -> int:
        """What the events of one key come to; of more than 64 different values only that many can be told."""
        if self.distinct:
            return min(64, len({event[self.distinct] for event in events}))
        return sum(event.get("EventCount", 1) for event in events)

    def key_of(self, event: Event) -> Key | None:
        """The event's key; None if it does not count."""
        needed = [*self.key, self.distinct] if self.distinct else list(self.key)
        if not self.counts(event) or any(name not in event for name in needed):
            return None
        return tuple(event[name] for name in self.key)


MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000

RULES = {
    "excessive-failures": Rule(
        lambda e: result(e) == "Failure", ("SrcIpAddr",), 5 * MINUTE_MS, MINUTE_MS, 5000, 15 * MINUTE_MS
    ),
    "rdp-brute-force": Rule(
        guesses, ("SrcIpAddr", "DstPortNumber"), 5 * MINUTE_MS, MINUTE_MS, 24, 15 * MINUTE_MS
    ),
    "port-scan": Rule(
        lambda e: not internal(e.get("SrcIpAddr")) and not loopback(e.get("SrcIpAddr")) and not answer(e),
        ("SrcIpAddr",), 5 * MINUTE_MS, MINUTE_MS, 50, 15 * MINUTE_MS, distinct="DstPortNumber",
    ),
    "port-scan-internal": Rule(
        lambda e: internal(e.get("SrcIpAddr")) and not answer(e),
        ("SrcIpAddr",), 5 * MINUTE_MS, MINUTE_MS, 60, 15 * MINUTE_MS, distinct="DstPortNumber",
    ),
    "port-sweep": Rule(
        lambda e: direction(e) == "Inbound",
        ("SrcIpAddr", "DstPortNumber"), HOUR_MS, 5 * MINUTE_MS, 20, HOUR_MS, distinct="DstIpAddr",
    ),
    "smb-spread": Rule(
        opens_shares, ("SrcIpAddr",), HOUR_MS, 5 * MINUTE_MS, 9, HOUR_MS, distinct="DstIpAddr"
    ),
    "outbound-ldap": Rule(
        lambda e: leaves(e) and e.get("DstPortNumber") in (389, 636, 3268, 3269),
        ("SrcIpAddr", "DstIpAddr", "DstPortNumber"), DAY_MS, HOUR_MS, 0, HOUR_MS,
    ),
    "outbound-rdp": Rule(
        lambda e: leaves(e) and e.get("DstPortNumber") == 3389 and result(e) != "Failure",
        ("SrcIpAddr", "DstIpAddr"), DAY_MS, HOUR_MS, 0, HOUR_MS,
    ),
    "cleartext-authentication": Rule(
        gives_password_away, ("SrcIpAddr", "DstIpAddr", "DstPortNumber"), DAY_MS, HOUR_MS, 0, HOUR_MS
    ),
    "app-port-mismatch": Rule(
        odd_port, ("SrcIpAddr", "DstIpAddr", "DstAppName", "DstPortNumber"), DAY_MS, HOUR_MS, 0, HOUR_MS
    ),
}  # fmt: skip


@dataclass
class Reference:
    """
    A rule at work: events and passes in the order of time go in, raises and clears come out.

    A pass looks at every window that ended since the one before, as it then stood, and at the one that is open. When
    nothing at all is in a window any more, the ends that follow until the next pass are not looked at.
    """

    rule: Rule
    events: list[tuple[int, Key, Event]] = field(default_factory=list)
    quiet_ms: dict[Key, int] = field(default_factory=dict)
    """Of each active alert: how long its sum has been low."""
    looked_ms: int | None = None
    now_ms: int | None = None

    def add(self, now_ms: int, event: Event) -> Iterator[tuple[str, Key, int, int]]:
        """An event comes in."""
        yield from self._ended(now_ms)
        key = self.rule.key_of(event)
        if key is not None:
            self.events.append((now_ms, key, event))

    def look(self, now_ms: int) -> Iterator[tuple[str, Key, int, int]]:
        """A pass: (raised or cleared, key, when, sum)."""
        yield from self._ended(now_ms)
        yield from self._window(self._end_of_slot(now_ms), now_ms)

    def _end_of_slot(self, now_ms: int) -> int:
        return (now_ms // self.rule.step_ms + 1) * self.rule.step_ms

    def _ended(self, now_ms: int) -> Iterator[tuple[str, Key, int, int]]:
        """The windows that ended on the way to now."""
        before_ms, self.now_ms = self.now_ms, now_ms
        if before_ms is None:
            return
        end_ms = self._end_of_slot(before_ms)
        while end_ms <= now_ms:
            yield from self._window(end_ms, end_ms)
            if not any(at_ms >= end_ms - self.rule.span_ms for at_ms, _, _ in self.events):
                return
            end_ms += self.rule.step_ms

    def _window(self, end_ms: int, looked_ms: int) -> Iterator[tuple[str, Key, int, int]]:
        by_key: dict[Key, list[Event]] = defaultdict(list)
        for at_ms, key, event in self.events:
            if end_ms - self.rule.span_ms <= at_ms < end_ms:
                by_key[key].append(event)
        passed_ms = 0 if self.looked_ms is None else looked_ms - self.looked_ms
        self.looked_ms = looked_ms
        # Time in which nobody looked is not quiet time.
        passed_ms = passed_ms if passed_ms <= 2 * self.rule.step_ms else 0
        for key, events in by_key.items():
            amount = self.rule.amount(events)
            if key not in self.quiet_ms and amount > self.rule.threshold:
                self.quiet_ms[key] = 0
                yield "raised", key, looked_ms, amount
        for key in list(self.quiet_ms):
            amount = self.rule.amount(by_key.get(key, []))
            # 80 % of the threshold, in whole numbers.
            self.quiet_ms[key] = 0 if amount > self.rule.threshold * 8 // 10 else self.quiet_ms[key] + passed_ms
            if self.quiet_ms[key] >= self.rule.clear_ms and amount <= self.rule.threshold * 8 // 10:
                del self.quiet_ms[key]
                yield "cleared", key, looked_ms, 0
