"""
The daemon's rules and a plain reference say the same of any stream of sessions.

``tests/reference/rules.py`` keeps all events and counts anew for each window; the daemon keeps slots, levels and
states. Thresholds are scaled down, so that short streams cross them.
"""

import random
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectord.detect.alerts import AlertStates
from collectord.detect.rules import WATCHLIST_FIELDS, Beacon, Rule
from collectord.detect.silence import Silences
from collectord.detect.watchlist import Watchlist
from collectord.health import Health
from collectord.model import Alert

from ..playbooks.playbook import START_S, engine, message, rule, send, watchlist
from ..reference import rules as reference
from ..reference.rules import RULES, Beaconing, Event, PortMisuse, Reference, Row

START_MS = START_S * 1000
NO_LIMIT_MS = 400 * 86_400_000
NS_PER_MS = 1_000_000

ADDRESSES = (
    "203.0.113.1",
    "198.51.100.1",
    "2001:db8::1",
    "10.0.0.1",
    "10.0.0.2",
    "192.168.0.1",
    "fd00::1",
    "127.0.0.1",
)
PORTS = (21, 23, 25, 53, 80, 139, 389, 443, 445, 3268, 3389, 5300, 40_000, 40_001)

sessions = st.fixed_dictionaries(
    {},
    optional={
        "SrcIpAddr": st.sampled_from(ADDRESSES),
        "DstIpAddr": st.sampled_from(ADDRESSES),
        "SrcPortNumber": st.sampled_from((53, 443, 50_000)),
        "DstPortNumber": st.sampled_from(PORTS),
        "NetworkProtocol": st.sampled_from(("TCP", "UDP")),
        "DvcAction": st.sampled_from(("Allow", "Deny", "Drop", "Drop ICMP", "Reset Source")),
        "EventResult": st.sampled_from(("Success", "Failure", "Partial", "NA")),
        "DstAppName": st.sampled_from(
            ("dns", "Dns", "ssl", "TLS", "HTTP", "https", "Web-Browsing", "web-browsing", "ssh")
        ),
        "SrcUsername": st.sampled_from(("anonymous", "jdoe")),
        "EventCount": st.integers(1, 5),
    },
).filter(lambda session: "SrcIpAddr" in session or "DstIpAddr" in session)

# (tenths of the rule's step that pass, what happens then: a session, or None for a pass). Mostly little time passes;
# now and then more than the rule looks back.
steps = st.lists(
    st.tuples(st.one_of(st.integers(0, 8), st.integers(0, 8), st.integers(9, 400)), st.one_of(st.none(), sessions)),
    min_size=1,
    max_size=60,
)

SCALED = {"excessive-failures": 12, "rdp-brute-force": 4, "port-scan": 3, "port-scan-internal": 3, "port-sweep": 2}

ROWS = (
    Row("smb", 445, "*", "*", "*", 12),
    Row("smb", 139, "*", "*", "*", 12),
    Row("smb", 445, "*", "Local", "*", 6),
    Row("risky", 445, "TCP", "*", "Allow", 0),
    Row("web", 80, "tcp", "Outbound", "*", 5),
    Row("desktop", 3389, "*", "*", "Drop ICMP", 4),
    Row("desktop", 3389, "UDP", "Inbound", "deny", 9),
)
"""Ports with one row and with several, of one name and of two, overlapping, and in letters of any case."""

PORT_MISUSE = {
    "port-misuse": (PortMisuse(ROWS), rule("port-misuse")),
    "port-misuse, rows added up": (PortMisuse(ROWS, add_up=True), rule("port-misuse", aggregate_rows=True)),
    "port-misuse, by source": (
        PortMisuse(ROWS, by_source=True),
        rule("port-misuse", group_by=("SrcIpAddr", *WATCHLIST_FIELDS)),
    ),
}
PORTS_WATCHED = watchlist(
    *(
        f"{row.port},*,{row.protocol},{row.direction},{row.action},Detection,Static,{row.threshold},High,Impact,{row.name},"
        for row in ROWS
    )
)
BEACONING = (Beaconing(least_events=4), rule("beaconing", exempt=(), beacon=Beacon(min_events=4)))

ALL = sorted((*RULES, *PORT_MISUSE, "beaconing"))


def scaled(name: str) -> tuple[reference.Rule | PortMisuse | Beaconing, Rule]:
    """A rule of the reference and the shipped one, both with the scaled-down threshold."""
    if name == "beaconing":
        return BEACONING
    if name in PORT_MISUSE:
        return PORT_MISUSE[name]
    threshold = SCALED.get(name, min(RULES[name].threshold, 2))
    return replace(RULES[name], threshold=threshold), rule(name, threshold=threshold)


def fits(name: str, session: Event) -> Event:
    """The session changed so that the rule is likely to count it; otherwise hardly any would be over."""
    likely: dict[str, dict[str, Any]] = {
        "excessive-failures": {"EventResult": "Failure"},
        "rdp-brute-force": {"DstPortNumber": 3389, "EventResult": "Failure"},
        "smb-spread": {"DstPortNumber": 445},
        "outbound-ldap": {"DstPortNumber": 389},
        "outbound-ldap-success": {"DstPortNumber": 389},
        "outbound-rdp": {"DstPortNumber": 3389},
        "cleartext-authentication": {"DstPortNumber": 21},
        "app-port-mismatch": {"DstAppName": "dns"},
    }
    if name in PORT_MISUSE and session.get("DstPortNumber") not in (80, 139, 3389):
        likely[name] = {"DstPortNumber": 445}
    return session if session.get("SrcPortNumber") == 53 else {**session, **likely.get(name, {})}


class Daemon:
    """The engine and the alerts, without a database."""

    def __init__(self, rule: Rule) -> None:
        ports = PORTS_WATCHED if rule.uses_watchlist else Watchlist()
        self.engine = engine([rule], ports)
        self.states = AlertStates([rule], ports)
        self.fields = rule.key_fields

    def add(self, now_ms: int, session: Event) -> None:
        send(self.engine, [message(session)], now_ms * NS_PER_MS)

    def look(self, now_ms: int) -> Iterable[Alert]:
        changes = self.engine.changes(now_ms * NS_PER_MS)
        self.engine.ack(changes.seq)
        return self.states.judge(changes.windows, now_ms * NS_PER_MS)


def told(alerts: Iterable[Alert], fields: tuple[str, ...]) -> list[tuple[Any, ...]]:
    """(raised or cleared, key, when, sum)."""
    return [
        (
            alert.event,
            tuple(alert.key[name] for name in fields),
            alert.last_time_ns // NS_PER_MS,
            alert.count if alert.event == "raised" else 0,
        )
        for alert in alerts
        if alert.event in ("raised", "cleared")
    ]


def compare(name: str, steps: Iterable[tuple[int, Event | None]]) -> list[tuple[Any, ...]]:
    """Lets both go through the steps; returns what they told, which is the same."""
    plain, shipped = scaled(name)
    reference = Reference(plain)
    daemon = Daemon(shipped)
    # Ten seconds; one wait is never longer than an hour, of which the engine judges but one.
    tenth_ms, longest_ms = (10_000, 3_600_000) if name == "beaconing" else (plain.step_ms // 10, NO_LIMIT_MS)
    now_ms = looked_ms = START_MS + 1
    # Since the last look; all that came before was the same.
    expected: list[tuple[Any, ...]] = []
    got: list[tuple[Any, ...]] = []
    for tenths, session in [*steps, (3, None), (9, None)]:
        now_ms += min(tenths * tenth_ms, longest_ms)
        if session is not None:
            expected += reference.add(now_ms, fits(name, session))
            daemon.add(now_ms, fits(name, session))
            # The engine keeps the ended windows of about two spans until it is asked, and merges older ones.
            if now_ms - looked_ms < plain.span_ms:
                continue
        looked_ms = now_ms
        expected += reference.look(now_ms)
        new = told(daemon.look(now_ms), daemon.fields)
        assert sorted(new) == sorted(expected)
        got += new
        expected = []
    return got


@pytest.mark.parametrize("name", sorted(RULES))
def test_the_reference_speaks_of_the_shipped_rule(name: str) -> None:
    """Of its windows, its key, its threshold and its clearing."""
    plain, shipped = RULES[name], rule(name)

    assert (shipped.timespan_s, shipped.step_s) == (plain.span_ms // 1000, plain.step_ms // 1000)
    assert (shipped.group_by, shipped.threshold, shipped.distinct) == (plain.key, plain.threshold, plain.distinct)
    assert (shipped.clear_after_s, shipped.clear_below) == (plain.clear_ms // 1000, 0.8)


def test_the_reference_speaks_of_the_shipped_beacons_and_ports() -> None:
    for plain, shipped in ((Beaconing(), rule("beaconing")), *PORT_MISUSE.values()):
        assert (shipped.timespan_s, shipped.step_s) == (plain.span_ms // 1000, plain.step_ms // 1000)
        assert (shipped.clear_after_s, shipped.clear_below) == (plain.clear_ms // 1000, 0.8)
    beaconing, shipped = Beaconing(), rule("beaconing")
    assert (shipped.threshold, shipped.clear_level(80)) == (beaconing.share, beaconing.clear_share)
    assert shipped.beacon == Beacon(beaconing.least_events, min_gap_s=10, tolerance_s=1, tolerance_percent=5)


@pytest.mark.parametrize("name", ALL)
@given(steps=steps)
def test_any_stream(name: str, steps: list[tuple[int, Event | None]]) -> None:
    """The same keys, in the same windows, with the same sums; the same clears."""
    compare(name, steps)


@pytest.mark.parametrize("name", ALL)
def test_busy_streams(name: str) -> None:
    """As any stream, with few keys, so that much is raised and cleared."""
    stream = rhythms if name == "beaconing" else busy
    told = Counter(event[0] for seed in range(20) for event in compare(name, stream(seed)))

    assert told["raised"] >= 10
    assert told["cleared"] >= 5


def busy(seed: int) -> Iterator[tuple[int, Event | None]]:
    """Steps as above, of hosts that talk all the time, fall silent, and are seldom looked at."""
    randomness = random.Random(seed)
    ends = (ADDRESSES[0], ADDRESSES[3]), (ADDRESSES[3], ADDRESSES[1]), (ADDRESSES[4], ADDRESSES[3]), ADDRESSES[:2]
    for number in range(300):
        if number % 100 == 99:
            yield from [(10, None)] * 22
        tenths = randomness.choices((0, 1, 3, 9, 10, 25, 160), (30, 30, 20, 9, 6, 4, 1))[0]
        if randomness.random() < 0.3:
            yield tenths, None
            continue
        source, destination = randomness.choice(ends)
        session = {
            "SrcIpAddr": source,
            "DstIpAddr": randomness.choice((destination, "10.0.0.7", "10.0.0.8", "198.51.100.9")),
            "SrcPortNumber": randomness.choice((53, 443, 50_000, 50_001)),
            "DstPortNumber": randomness.choice((*PORTS, 3389, 3389, 445)),
            "NetworkProtocol": randomness.choice(("TCP", "TCP", "UDP")),
            "DvcAction": randomness.choice(("Allow", "Deny", "Reset Source", "Drop ICMP")),
            "EventResult": randomness.choice(("Success", "Failure", "NA")),
            "DstAppName": randomness.choice(("dns", "ssl", "HTTP", "ssh")),
            "SrcUsername": randomness.choice(("anonymous", "jdoe")),
            "EventCount": randomness.choice((1, 1, 2, 7)),
        }
        for name in list(session):
            if randomness.random() < 0.03 and name != "SrcIpAddr":
                del session[name]
        yield tenths, session


def rhythms(seed: int) -> Iterator[tuple[int, Event | None]]:
    """Steps as above, of hosts that call at intervals of some minutes, more or less exactly, some at the same time."""
    randomness = random.Random(seed)
    calls: list[tuple[int, Event]] = []
    for number in range(6):
        at, gap, off = randomness.randrange(360), randomness.randrange(6, 40), randomness.choice((0, 0, 1, 2, 15))
        host = {"SrcIpAddr": ADDRESSES[3 + number % 2], "NetworkProtocol": "TCP", "DstPortNumber": 443}
        session = {**host, "DstIpAddr": ADDRESSES[number % 3] if number < 5 else "10.0.0.9"}
        if number == 4:
            del session["NetworkProtocol"]
        end = at + randomness.randrange(100, 1500)
        while at < end:
            calls += [(at, session)] * randomness.choice((1, 1, 1, 3))
            at += max(0, gap + randomness.randint(-off, off))
            if randomness.random() < 0.02:
                at += randomness.randrange(60, 500)
    now = 0
    for at, session in sorted(calls, key=lambda call: call[0]):
        yield at - now, session
        now = at
        if randomness.random() < 0.3:
            yield 0, None
    yield from [(180, None)] * 20


SILENT = ("192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4")


@given(
    steps=st.lists(
        st.tuples(
            st.one_of(st.integers(1, 90), st.integers(90, 300), st.integers(300, 12_000)),
            st.one_of(st.none(), st.sampled_from(SILENT)),
        ),
        max_size=80,
    )
)
def test_devices_that_fall_silent(steps: list[tuple[int, str | None]]) -> None:
    """(tens of seconds that pass, who sends something then). Two devices are listed, two must be known for a day."""
    silences_agree(steps)


def test_devices_with_pauses_of_their_own() -> None:
    """As above, over days, with devices that mostly send each few minutes."""
    told: Counter[str] = Counter()
    for seed in range(10):
        randomness = random.Random(seed)
        usual = {device: randomness.choice((3, 10, 60, 200)) for device in SILENT}
        calls: list[tuple[int, str | None]] = []
        for device, gap in usual.items():
            at = 0
            while at < 9_000 * 4:
                at += randomness.choices((gap, 2 * gap, 5 * gap, 3_000), (80, 15, 4, 1))[0]
                calls.append((at, device))
        calls += [(at, None) for at in range(0, 45_000, 30)]
        now, steps = 0, []
        # What comes at the same time comes ten seconds later.
        for at, device in sorted(calls, key=lambda call: call[0])[:1200]:
            steps.append((max(1, at - now), device))
            now = max(now + 1, at)
        told.update(event[0] for event in silences_agree(steps))
    assert told["raised"] >= 10
    assert told["cleared"] >= 10


def silences_agree(steps: Iterable[tuple[int, str | None]]) -> list[tuple[Any, ...]]:
    """Lets both go through the steps; returns what they told, which is the same."""
    silent = rule("device-silent")
    plain = reference.Silences(frozenset(SILENT[:2]), START_MS)
    watched = Silences([(None, device) for device in SILENT[:2]], (), START_MS * NS_PER_MS)
    daemon = Daemon(silent)
    health = Health([silent], watched, ["udp"], dict, dict)
    now_ms = START_MS
    expected: list[tuple[Any, ...]] = []
    got: list[tuple[Any, ...]] = []
    for tens, device in steps:
        now_ms += 10_000 * tens
        if device is not None:
            plain.hear(now_ms, device)
            send(daemon.engine, [message({"DstPortNumber": 1})], now_ms * NS_PER_MS, device)
        expected += plain.look(now_ms)
        changes = daemon.engine.changes(now_ms * NS_PER_MS)
        daemon.engine.ack(changes.seq)
        health.observe(changes, {})
        windows = health.windows(now_ms * NS_PER_MS)
        got += told(daemon.states.judge(windows, now_ms * NS_PER_MS), ("Dvc",))
        assert sorted(got) == sorted(expected)
    return got


@given(
    records=st.lists(
        st.tuples(st.integers(0, 100_000), st.sampled_from(ADDRESSES[:3]), st.booleans(), st.booleans()), max_size=150
    ),
    pass_ms=st.integers(200, 400_000),
)
def test_strict_counts_as_the_original(records: list[tuple[int, str, bool, bool]], pass_ms: int) -> None:
    """Failures by source and 5-minute bin of the epoch, record by record, also those that tell of a session again."""
    strict = rule("excessive-failures", threshold=3, weight="records", every_record=True, step_s=300)
    daemon = Daemon(strict)
    rows: Counter[tuple[int, str]] = Counter()
    over: dict[tuple[int, str], int] = {}
    now_ms, look_ms = START_MS, START_MS

    def look(until_ms: int) -> None:
        changes = daemon.engine.changes(until_ms * NS_PER_MS)
        daemon.engine.ack(changes.seq)
        for window in changes.windows:
            for key in window.keys:
                if window.closed and key.count > 3:
                    over[window.start_ns // NS_PER_MS // 300_000, str(key.key[0])] = key.count

    for gap_ms, source, failed, again in records:
        now_ms += gap_ms
        while look_ms < now_ms:
            look(look_ms)
            look_ms += pass_ms
        session = {"SrcIpAddr": source, "EventResult": "Failure" if failed else "Success", "EventCount": 7}
        daemon.add(now_ms, {**session, "counts": "never"} if again else session)
        rows[now_ms // 300_000, source] += failed
    look(max(now_ms, look_ms) + 300_000)

    assert over == {bin_and_source: count for bin_and_source, count in rows.items() if count > 3}


def test_strict_at_full_scale() -> None:
    """5,000 in a bin are quiet, 5,001 are not: 40 bins of 12 sources with sums around that."""
    randomness = random.Random(1)
    daemon = Daemon(rule("excessive-failures", weight="records", every_record=True, step_s=300))
    over: dict[tuple[int, str], int] = {}
    expected: dict[tuple[int, str], int] = {}
    first_bin = START_MS // 300_000
    for number in range(40):
        parts: list[tuple[int, str, int]] = []
        for source in (f"203.0.113.{host}" for host in range(12)):
            count = randomness.choice((4_999, 5_000, 5_001, 5_002, randomness.randrange(1, 6_000)))
            early = randomness.randrange(count)
            parts += [(randomness.randrange(150_000), source, early), (299_999, source, count - early)]
            if count > 5_000:
                expected[first_bin + number, source] = count
        for at_ms, source, part in sorted(parts):
            failure = message({"SrcIpAddr": source, "EventResult": "Failure"})
            send(daemon.engine, [failure] * part, (START_MS + number * 300_000 + at_ms) * NS_PER_MS)
        changes = daemon.engine.changes((START_MS + (number + 1) * 300_000 + 400) * NS_PER_MS)
        daemon.engine.ack(changes.seq)
        over |= {
            (window.start_ns // NS_PER_MS // 300_000, str(key.key[0])): key.count
            for window in changes.windows
            for key in window.keys
            if window.closed and key.count > 5_000
        }
    assert over == expected
