"""
A million forged sources, and one real one among them.

Anybody can send datagrams with any source in them. The flood may cost neither unbounded memory nor the alert about a
source that is really over its threshold, and may raise no alert of its own.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from collectord import plan
from collectord.detect.alerts import AlertStates
from collectord.engine import BUILD, Engine
from collectord.model import NS_PER_S, Alert, WindowKey

RELEASE = BUILD == "release"
FORGED = 1_000_000 if RELEASE else 150_000
"""Far more than the 65,536 keys that a counter holds. The debug engine takes a minute for a million."""
START_S = 1_800_000_000
WINDOW_S = 300
PASSES = 20
REAL, AT_LIMIT = "203.0.113.7", "203.0.113.8"
"""Sources with 2 % more failures than the threshold, and with just as many as it."""
REAL_MESSAGES, LIMIT = 5_100, 5_000
RULE = "excessive-failures"

MAX_GROWTH_BYTES = 256 * 1024 * 1024
"""
Of all counters of the shipped rules together, three of which hold every source. Measured: 95 MiB; with forged counts,
which make every key one to hand over, 188 MiB.
"""


def forged(number: int) -> str:
    """A different address for each number, all outside, none of them the real one."""
    return f"{20 + (number >> 16)}.{number >> 8 & 255}.{number & 255}.9"


def denied(source: str, count: int) -> bytes:
    """A failed session as a CEF record; ``count`` is what it claims to stand for."""
    return f"<134>CEF:0|V|P|1|1|n|5|src={source} dst=10.0.0.1 dpt=22 proto=TCP act=deny cnt={count}\n".encode()


@dataclass
class Run:
    """What the daemon made of a flood."""

    raised: list[Alert] = field(default_factory=list)
    seen: dict[str, WindowKey] = field(default_factory=dict)
    """The two sources in the last window."""
    evicted: dict[str, int] = field(default_factory=dict)
    messages: int = 0
    memory_bytes: int = 0
    """The most that the process had after a pass."""


@pytest.fixture(scope="module")
def setup() -> plan.Setup:
    """The shipped rules, all of them."""
    return plan.load(None)


def memory_bytes() -> int:
    """What the process has in memory (proc(5): the second number, in pages)."""
    with open("/proc/self/statm", encoding="ascii") as stream:
        return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def flood(setup: plan.Setup, claimed: int, passes: int, states: AlertStates | None) -> Run:
    """Forged sources, each once, over five minutes, and the two others evenly among them."""
    run = Run()
    engine = setup.engine()
    stream = engine.connect(1, "192.0.2.1")
    for number in range(passes):
        now_ns = (START_S + number * WINDOW_S // passes) * NS_PER_S
        for chunk in chunks(number, passes, claimed):
            engine.feed(stream, bytearray(chunk), len(chunk), now_ns)
        look(engine, states, now_ns + NS_PER_S, run)
        run.memory_bytes = max(run.memory_bytes, memory_bytes())
    return run


def chunks(number: int, passes: int, claimed: int) -> Iterator[bytes]:
    """The messages between two passes."""
    first, last = FORGED * number // passes, FORGED * (number + 1) // passes
    lines: list[bytes] = []
    for each in range(first, last):
        lines.append(denied(forged(each), claimed))
        for source, count in ((REAL, REAL_MESSAGES), (AT_LIMIT, LIMIT)):
            # As often as they fit into the forged ones.
            if count * (each + 1) // FORGED > count * each // FORGED:
                lines.append(denied(source, 1))
        if len(lines) > 1_000:
            yield b"".join(lines)
            lines.clear()
    yield b"".join(lines)


def look(engine: Engine, states: AlertStates | None, now_ns: int, run: Run) -> None:
    """A pass, without a database."""
    changes = engine.changes(now_ns)
    engine.ack(changes.seq)
    for name, count in changes.evicted.items():
        run.evicted[name] = run.evicted.get(name, 0) + count
    run.messages += sum(messages for _, outcome, messages, _ in changes.ledger if outcome == "session")
    if states is not None:
        run.raised += [alert for alert in states.judge(changes.windows, now_ns) if alert.event == "raised"]
    window = [window for window in changes.windows if window.rule == RULE][-1]
    run.seen = {str(key.key[0]): key for key in window.keys if key.key in ((REAL,), (AT_LIMIT,))}


@pytest.fixture(scope="module")
def most_bytes(setup: plan.Setup) -> int:
    """What the process may have in memory: what it has before any flood, and the bound."""
    return memory_bytes() + MAX_GROWTH_BYTES


@pytest.fixture
def states(setup: plan.Setup) -> AlertStates:
    """The alerts of the shipped rules."""
    return AlertStates(setup.rules, setup.watchlist)


def sums(run: Run) -> dict[str, tuple[int, int]]:
    """(sum, error) of the two sources."""
    return {source: (key.count, key.error) for source, key in run.seen.items()}


EXACT = {REAL: (REAL_MESSAGES, 0), AT_LIMIT: (LIMIT, 0)}


def test_a_source_two_per_cent_over_the_threshold_is_found(
    setup: plan.Setup, states: AlertStates, most_bytes: int
) -> None:
    """With its exact sum; nobody else raises, memory stays bounded, and the evictions are told."""
    run = flood(setup, 1, PASSES, states)

    assert run.messages == FORGED + REAL_MESSAGES + LIMIT
    assert [(alert.rule, alert.key, alert.threshold) for alert in run.raised] == [(RULE, {"SrcIpAddr": REAL}, LIMIT)]
    assert sums(run) == EXACT
    assert run.evicted.get("failures_by_source", 0) >= FORGED - WINDOW_S // 60 * 65_536
    assert run.evicted["destinations_by_source_and_port"] > 0
    assert run.memory_bytes < most_bytes


def test_claimed_counts_buy_no_place(setup: plan.Setup, most_bytes: int) -> None:
    """Each forged record claims to stand for a million: who stays is decided by messages, so the real ones stay."""
    run = flood(setup, 1_000_000, 5, None)

    assert sums(run) == EXACT
    assert run.memory_bytes < most_bytes
