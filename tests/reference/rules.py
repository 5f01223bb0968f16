"""
The shipped rules once more: slow, obvious, and apart from the program.

Written from the published rules of the Network Session Essentials solution, corrected where the program says so
(sliding windows, `EventCount` instead of rows). A list of all events, counted anew for every window; no slots, no
bounds. Times are whole milliseconds.
"""

import functools
import itertools
import math
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
Events = Sequence[tuple[int, Key, Event]]
"""When, of which key, and what, in the order of time."""
Judged = Mapping[Key, tuple[int | None, bool]]
"""Of each key: what is over its threshold, and whether it is over the level that keeps an alert."""


def by_key(events: Events, start_ms: int, end_ms: int) -> dict[Key, list[tuple[int, Event]]]:
    """What came from a time up to, not including, another, by key."""
    found: dict[Key, list[tuple[int, Event]]] = defaultdict(list)
    for at_ms, key, event in events:
        if start_ms <= at_ms < end_ms:
            found[key].append((at_ms, event))
    return found


@functools.cache
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
    own = {"dns": [53], "web-browsing": [80, 8000, 8080], "http": [80, 8000, 8080], "smtp": [25, 465, 587]}
    own |= {name: [443, 8443] for name in ("ssl", "tls", "https")}
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
        counts = [event.get("EventCount", 1) for event in events]
        if not self.threshold:
            return sum(counts)
        # Where one session is not enough, one record is not either: it claims no more than lets an alert clear.
        most = max(self.threshold * 8 // 10, 1)
        return sum(min(count, most) for count in counts)

    def key_of(self, event: Event) -> Key | None:
        """The event's key; None if it does not count."""
        needed = [*self.key, self.distinct] if self.distinct else list(self.key)
        if not self.counts(event) or any(name not in event for name in needed):
            return None
        return tuple(event[name] for name in self.key)

    def judge(self, events: Events, start_ms: int, end_ms: int) -> Judged:
        """What a window comes to."""
        answers = {}
        for key, within in by_key(events, start_ms, end_ms).items():
            amount = self.amount([event for _, event in within])
            answers[key] = (amount if amount > self.threshold else None, amount > self.threshold * 8 // 10)
        return answers


@dataclass(frozen=True)
class Row:
    """A row of the port watchlist; ``*`` is any value."""

    name: str
    port: int
    protocol: str
    direction: str
    action: str
    threshold: int

    def fits(self, cell: Key) -> bool:
        """Whether it is about this cell; an empty value fits ``*`` alone."""
        wanted = (self.protocol, self.direction, self.action)
        return self.port == cell[0] and all(
            want == "*" or (have and want.lower() == str(have).lower())
            for want, have in zip(wanted, cell[1:], strict=True)
        )


@dataclass(frozen=True)
class PortMisuse:
    """The rows of the watchlist against the sessions of each port, protocol, direction and action."""

    rows: tuple[Row, ...]
    add_up: bool = False
    """All that fits a row makes one sum; otherwise each cell by itself is held against it."""
    by_source: bool = False
    """Each source by itself."""
    span_ms: int = 20 * 60_000
    step_ms: int = 60_000
    clear_ms: int = 15 * 60_000

    def key_of(self, event: Event) -> Key | None:
        """(source,) port, protocol, direction, action."""
        if "DstPortNumber" not in event or (self.by_source and "SrcIpAddr" not in event):
            return None
        action, protocol = event.get("DvcAction", ""), event.get("NetworkProtocol", "")
        cell = (event["DstPortNumber"], protocol, direction(event), action)
        return (event["SrcIpAddr"], *cell) if self.by_source else cell

    def most(self, port: int) -> float:
        """What one record may claim: less than raises an alert of any row of its port, but of those that want none."""
        thresholds = [row.threshold for row in self.rows if row.port == port and row.threshold]
        return min((max(threshold * 8 // 10, 1) for threshold in thresholds), default=math.inf)

    def judge(self, events: Events, start_ms: int, end_ms: int) -> Judged:
        """
        What a window comes to, by row name, (source,) port and protocol.

        Of several rows of a name that are over, the one with the lowest threshold is told, with the largest sum.
        """
        sums = {
            cell: sum(min(event.get("EventCount", 1), self.most(cell[-4])) for _, event in within)
            for cell, within in by_key(events, start_ms, end_ms).items()
        }
        met: dict[Key, list[tuple[int, int]]] = defaultdict(list)
        for row in self.rows:
            fitting = {cell: amount for cell, amount in sums.items() if row.fits(cell[-4:])}
            if self.add_up:
                for source in {cell[:-4] for cell in fitting}:
                    amount = sum(amount for cell, amount in fitting.items() if cell[:-4] == source)
                    met[(row.name, *source, row.port, row.protocol)].append((row.threshold, amount))
            else:
                for cell, amount in fitting.items():
                    met[(row.name, *cell[:-2])].append((row.threshold, amount))
        answers: dict[Key, tuple[int | None, bool]] = {}
        for key, pairs in met.items():
            over = [pair for pair in pairs if pair[1] > pair[0]]
            lowest = min((threshold for threshold, _ in over), default=0)
            told = max((amount for threshold, amount in over if threshold == lowest), default=None)
            answers[key] = (told, any(amount > threshold * 8 // 10 for threshold, amount in pairs))
        return answers


@dataclass(frozen=True)
class Beaconing:
    """
    Sessions of the same ends, port and protocol at equal intervals, within an hour.

    From the sorted times: the gaps to the session before, in whole seconds; those of ten seconds and less are none, and
    the session belongs to the event before. Of the gaps that end in the hour, the largest part that lies within 5 % or
    a second around one of them. A gap over a whole hour without a session is none.
    """

    least_events: int = 15
    share: int = 80
    clear_share: int = 64
    span_ms: int = 3_600_000
    step_ms: int = 3_600_000
    clear_ms: int = 7_200_000

    def key_of(self, event: Event) -> Key | None:
        """Both ends, port and protocol, of what goes to somebody else's address."""
        names = ("SrcIpAddr", "DstIpAddr", "DstPortNumber", "NetworkProtocol")
        destination = event.get("DstIpAddr")
        if internal(destination) or loopback(destination) or any(not event.get(name) for name in names[:3]):
            return None
        return tuple(event.get(name, "") for name in names)

    def judge(self, events: Events, start_ms: int, end_ms: int) -> Judged:
        """The part of the gaps that are alike, in percent, rounded up."""
        answers: dict[Key, tuple[int | None, bool]] = {}
        for key, within in by_key(events, 0, end_ms).items():
            times = sorted(at_ms for at_ms, _ in within)
            number, gaps = 0, []
            for before, at_ms in zip([None, *times], times, strict=False):
                if at_ms < start_ms:
                    continue
                if before is None or before < start_ms - self.span_ms:
                    number += 1
                    continue
                gap_s = (at_ms - before) // 1000
                if gap_s > 10:
                    number += 1
                    gaps.append(gap_s)
            if number <= self.least_events or not gaps:
                continue
            alike = max(sum(abs(gap - one) <= max(1, one * 5 // 100) for gap in gaps) for one in gaps)
            percent = -(-100 * alike // len(gaps))
            answers[key] = (percent if percent > self.share else None, percent > self.clear_share)
        return answers


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
        lambda e: leaves(e) and e.get("DstPortNumber") in (389, 636, 3268, 3269) and result(e) != "Success",
        ("SrcIpAddr", "DstIpAddr", "DstPortNumber"), DAY_MS, HOUR_MS, 0, HOUR_MS,
    ),
    "outbound-ldap-success": Rule(
        lambda e: leaves(e) and e.get("DstPortNumber") in (389, 636, 3268, 3269) and result(e) == "Success",
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

    rule: Rule | PortMisuse | Beaconing
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
        judged = self.rule.judge(self.events, end_ms - self.rule.span_ms, end_ms)
        passed_ms = 0 if self.looked_ms is None else looked_ms - self.looked_ms
        self.looked_ms = looked_ms
        # Time in which nobody looked is not quiet time.
        passed_ms = passed_ms if passed_ms <= 2 * self.rule.step_ms else 0
        for key, (over, _) in judged.items():
            if key not in self.quiet_ms and over is not None:
                self.quiet_ms[key] = 0
                yield "raised", key, looked_ms, over
        for key in list(self.quiet_ms):
            _, warm = judged.get(key, (None, False))
            self.quiet_ms[key] = 0 if warm else self.quiet_ms[key] + passed_ms
            if self.quiet_ms[key] >= self.rule.clear_ms and not warm:
                del self.quiet_ms[key]
                yield "cleared", key, looked_ms, 0


@dataclass
class Silences:
    """
    Which devices fell silent: 15 minutes, or three times the longest pause of the last seven days.

    Devices are those of the list, and others between whose first and last message lies a day. When all of them, two at
    least, are silent together, that is one alert; whoever was told of alone before stays so. Nobody is told of alone
    while all of them are to be told of within five minutes, unless one of them sends.
    """

    listed: frozenset[str]
    started_ms: int
    heard_ms: dict[str, list[int]] = field(default_factory=dict)
    active: set[str] = field(default_factory=set)

    def hear(self, now_ms: int, device: str) -> None:
        """A device sends something."""
        self.heard_ms.setdefault(device, []).append(now_ms)

    def look(self, now_ms: int) -> Iterator[tuple[str, Key, int, int]]:
        """A pass: (raised or cleared, device, when, seconds of silence)."""
        silent: dict[str, int] = {}
        soon: set[str] = set()
        watched = [device for device in self.listed | self.heard_ms.keys() if self._is_watched(device)]
        for device in watched:
            times = self.heard_ms.get(device, [])
            silence_s = (now_ms - max([self.started_ms, *times])) // 1000
            pauses = [
                later - earlier
                for earlier, later in itertools.pairwise(times)
                if later // DAY_MS > now_ms // DAY_MS - 7
            ]
            limit_s = max([900, *(3 * pause // 1000 for pause in pauses)])
            if silence_s > limit_s:
                silent[device] = silence_s
            if silence_s >= limit_s - 300:
                soon.add(device)
        stays = set(silent)
        told = dict(silent)
        if len(watched) >= 2 and len(silent) == len(watched):
            told = {"every device": min(silent.values())}
            stays.add("every device")
        elif len(watched) >= 2 and len(soon) == len(watched):
            told = {}
        for device, silence_s in told.items():
            if device not in self.active:
                self.active.add(device)
                yield "raised", (device,), now_ms, silence_s
        for device in self.active - stays:
            self.active.remove(device)
            yield "cleared", (device,), now_ms, 0

    def _is_watched(self, device: str) -> bool:
        times = self.heard_ms.get(device, [])
        return device in self.listed or (bool(times) and times[-1] - times[0] >= DAY_MS)
