"""A million forged sources around a real one: it is found, nobody else is, and memory stays within a bound."""

import resource
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from collectord import plan
from collectord.detect import watchlist
from collectord.engine import Engine
from collectord.model import NS_PER_S, KeyValue

START_S = 1_800_000_000  # On a boundary of minutes.
WINDOW_S = 300
PASSES = 60
"""In the window; one a second takes longer and shows no more."""
FORGED = 1_000_000
REAL = 5_100
"""Failures of the real source: 2 % over the threshold of 5,000."""
SOURCE = "192.0.2.7"
FIRST_FORGED = int(IPv4Address("11.0.0.0"))
CLAIM = 1_000_000
"""What each forged record says to stand for."""

KEY_BYTES = 128
"""What a key of a slot takes: a place of 88 bytes, its number in a table and in lists, and what those have to spare."""
BATCH_BYTES = 16 * 1024 * 1024
"""What a pass takes beside: the rows of some seconds, and what the process has to spare."""


@pytest.fixture(scope="module")
def setup() -> plan.Setup:
    """The shipped configuration and profiles, with the rule as shipped."""
    shipped = plan.load(None)
    return plan.check(shipped.config, [rule for rule in shipped.rules if rule.name == "excessive-failures"])


def denied(source: str, hits: int) -> bytes:
    """A firewall's summary of the packets of one flow that it denied in an interval."""
    return (
        f"<166>%ASA-6-106100: access-list out denied udp outside/{source}(4000) -> inside/10.0.0.1(53) hit-cnt {hits} "
        "300-second interval [0x1, 0x2]\n"
    ).encode()


def parts(hits: int) -> Iterator[bytes]:
    """What comes in between two passes: forged sources that differ, the real one spread evenly among them."""
    real, sent = denied(SOURCE, 1), 0
    for part in range(PASSES):
        lines = []
        for number in range(FORGED * part // PASSES, FORGED * (part + 1) // PASSES):
            lines.append(denied(str(IPv4Address(FIRST_FORGED + number)), hits))
            if (number + 1) * REAL // FORGED > sent:
                lines.append(real)
                sent += 1
        yield b"".join(lines)


def resident_bytes() -> int:
    """Memory that the process has now (proc_pid_statm(5))."""
    with open("/proc/self/statm", "rb") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


@dataclass(slots=True)
class Found:
    """What the ticks told together."""

    counts: dict[tuple[KeyValue, ...], int] = field(default_factory=dict)
    """Key -> its largest sum of a window."""
    messages: int = 0
    stored: int = 0
    """EventCount of all rows."""
    clamped: int = 0
    evicted: int = 0
    evidence: set[tuple[KeyValue, ...]] = field(default_factory=set)
    grown_bytes: int = 0


def flood(engine: Engine, hits: int) -> Found:
    """Sends it all by one connection."""
    found = Found()
    stream = engine.connect(1, "192.0.2.1")
    before_bytes = resident_bytes()
    now_ns = START_S * NS_PER_S
    coming = parts(hits)
    carried = True
    while carried:
        if data := next(coming, b""):
            engine.feed(stream, bytearray(data), len(data), now_ns)
        now_ns += WINDOW_S // PASSES * NS_PER_S
        changes = engine.changes(now_ns)
        engine.ack(changes.seq)
        for window in changes.windows:
            for each in window.keys:
                found.counts[each.key] = max(each.count, found.counts.get(each.key, 0))
        found.messages += sum(messages for _, _, messages, _ in changes.ledger)
        found.stored += sum(row[-3] for row in changes.rows.get("failures_by_source", ()))
        found.clamped += changes.clamped
        found.evicted += changes.evicted.get("failures_by_source", 0)
        found.evidence.update(state.key for state in changes.states)
        found.grown_bytes = max(found.grown_bytes, resident_bytes() - before_bytes)
        carried = bool(data) or changes.carried > 0
    return found


@pytest.mark.slow
@pytest.mark.parametrize("hits", [1, CLAIM], ids=["one each", "a million each"])
def test_the_real_source_is_found_and_no_forged_one(setup: plan.Setup, hits: int) -> None:
    threshold = next(rule.threshold for rule in setup.rules)
    found = flood(setup.engine(), hits)
    [counter] = setup.plan.counters
    slots = counter["rules"][0]["window_slots"] + 1
    bound_bytes = slots * counter["capacity"] * KEY_BYTES + BATCH_BYTES

    assert threshold is not None
    assert found.messages == FORGED + REAL
    assert found.counts.keys() == {(SOURCE,)}
    # What it sent before it had a place in a slot would be missing, never added.
    assert threshold < found.counts[(SOURCE,)] <= REAL
    assert found.evidence == {(SOURCE,)}
    # A slot has places for 65,536 of the 200,000 sources of a minute.
    assert found.evicted > FORGED // 2
    # Keys that lost their place are in the sums of their slots.
    assert found.stored == REAL + FORGED * min(hits, counter["record_max"])
    assert found.clamped == (0 if hits == 1 else FORGED)
    assert bound_bytes == 64 * 1024 * 1024
    assert found.grown_bytes < bound_bytes


def test_cells_of_the_watchlist_stay(tmp_path: Path) -> None:
    """Ten times as many cells of other ports as there are places: what a row is about is counted whole."""
    shipped = plan.load(None)
    row = "445,*,*,*,*,Detection,Static,10,High,Impact,Slow,x"
    (tmp_path / "ports.csv").write_text(f"{','.join(watchlist.COLUMNS)}\n{row}\n")
    bounds = shipped.config.bounds.model_copy(update={"keys_per_counter": 1_000})
    config = shipped.config.model_copy(update={"bounds": bounds, "port_watchlist": tmp_path / "ports.csv"})
    engine = plan.check(config, [rule for rule in shipped.rules if rule.name == "port-misuse"]).engine()
    stream = engine.connect(1, "192.0.2.1")
    most, evicted = 0, 0
    for minute in range(20):
        now_ns = (START_S + 60 * minute) * NS_PER_S
        ports = [445, *range(20_000, 30_000)]
        data = bytearray(b"".join(denied(SOURCE, 1).replace(b"(53)", b"(%d)" % port) for port in ports))
        engine.feed(stream, data, len(data), now_ns)
        changes = engine.changes(now_ns)
        engine.ack(changes.seq)
        evicted += changes.evicted.get("port_volume", 0)
        most = max([most, *(each.count for window in changes.windows for each in window.keys)])
    assert most == 20
    assert evicted > 20 * 8_000
