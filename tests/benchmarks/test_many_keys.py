"""
A million distinct keys offered to each counter at its default capacity: what tick, memory and database then cost.

Every message has a source, a destination and a port that no other has, so whatever a counter counts by, it meets a
million keys within a minute of its own time: forged sources at 20,000 messages a second.
"""

import resource
import time
from pathlib import Path

import pytest

from collectord import plan
from collectord.clock import ManualClock
from collectord.config import Config
from collectord.detect.alerts import AlertStates
from collectord.engine import BUILD
from collectord.model import NS_PER_S, Changes
from collectord.store.db import Database
from collectord.tick import Tick

KEYS = 1_000_000
PER_TICK = 20_000
START_NS = 1_800_000_000 * NS_PER_S

MOST_TICK_S = 3.0
"""A tick of 50,000 rows; more than that would fall behind for good."""
MOST_HANDED_OVER_S = 0.5
MOST_MEMORY_BYTES = 1024**3
MOST_DATABASE_BYTES = 1024**3


def _message(number: int) -> bytes:
    source = f"{11 + number // 65_536 % 100}.{number // 256 % 256}.{number % 256}.7"
    target = f"10.{number // 65_536}.{number // 256 % 256}.{number % 256}"
    text = f"Deny tcp src outside:{source}/{1024 + number % 60_000} dst inside:{target}/{number % 65_535 + 1}"
    return f'<164>asa-edge-01 : %ASA-4-106023: {text} by access-group "outside_in" [0x0, 0x0]\n'.encode()


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


def test_a_million_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if BUILD != "release":
        pytest.fail(f"the engine is a {BUILD} build, expected release: run make bench")
    setup = plan.check(Config(state_dir=tmp_path), plan.load(None).rules)
    clock = ManualClock(START_NS)
    before = _resident_bytes()
    engine = setup.engine()
    handed_over_s: list[float] = []
    changes = engine.changes

    def timed(now_ns: int) -> Changes:
        """The part of a tick in which nothing can be received: it holds the engine, then the interpreter."""
        began = time.thread_time()
        found = changes(now_ns)
        handed_over_s.append(time.thread_time() - began)
        return found

    monkeypatch.setattr(engine, "changes", timed)
    with Database(tmp_path / "collectord.db") as database:
        states = AlertStates(setup.rules, setup.watchlist)
        tick = Tick(
            setup, engine=engine, clock=clock, database=database, run="bench", states=states, receivers=lambda alert: []
        )
        tick.restore()
        fed_s, ticks_s, carried = 0.0, [], []
        for start in range(0, KEYS, PER_TICK):
            block = b"".join(_message(number) for number in range(start, start + PER_TICK))
            began = time.thread_time()
            assert engine.lines(0, "192.0.2.1", block, clock.now_ns()) == PER_TICK
            fed_s += time.thread_time() - began
            clock.advance(1)
            began = time.thread_time()
            tick.run()
            ticks_s.append(time.thread_time() - began)
            carried.append(tick.counters.carried)
        memory = _resident_bytes() - before
        size = database.file_bytes()
        rows = sum(
            database.connection.execute(f"SELECT count(*) FROM {each.name}").fetchone()[0]
            for each in setup.definitions
            if each.has_table
        )
        (stored,) = database.connection.execute("SELECT sum(messages) FROM ledger").fetchone()
    ticks_s.sort()
    print(f"\n{KEYS:,} keys to each of {len(setup.definitions)} counters, {fed_s / KEYS * 1e9:,.0f} ns a message")
    print(f"tick of 50,000 rows {ticks_s[len(ticks_s) // 2]:.2f} s, longest {ticks_s[-1]:.2f} s")
    print(f"handing a batch over, which holds the engine: longest {max(handed_over_s) * 1000:,.0f} ms")
    print(f"{rows:,} rows stored, {max(carried):,} carried at most; seconds are those of the processor")
    print(f"{memory / 2**20:,.0f} MiB of memory, {size / 2**20:,.0f} MiB of database")
    assert stored == KEYS
    assert ticks_s[-1] < MOST_TICK_S
    assert max(handed_over_s) < MOST_HANDED_OVER_S
    assert memory < MOST_MEMORY_BYTES
    assert size < MOST_DATABASE_BYTES
