"""
A million distinct keys offered to each counter at its default capacity: what tick, memory and database then cost.

Every message has a source, a destination and a port that no other has, so whatever a counter counts by, it meets a
million keys within a minute of its own time: forged sources at 20,000 messages a second.

The ticks run on a thread, as in the daemon, and messages are read meanwhile: how long they have to wait is measured,
and held against how long they wait without a tick.
"""

import gc
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from collectord import plan
from collectord.cli.run import SWITCH_S
from collectord.clock import ManualClock
from collectord.config import Bounds, Config
from collectord.detect.alerts import AlertStates
from collectord.engine import BUILD, Engine
from collectord.model import NS_PER_S
from collectord.store.db import Database
from collectord.tick import Tick

KEYS = 1_000_000
PER_TICK = 20_000
START_NS = 1_800_000_000 * NS_PER_S

MOST_TICK_S = 3.0
"""A tick of 50,000 rows; more than that would fall behind for good."""
USUAL_WAIT_S = 0.05
MOST_WAIT_S = 0.5
"""
What a message may wait for a tick, in half of the ticks and in the worst: with two idle cores it is some ms. The worst
is that of the machine rather than ours: it has other things to do.
"""
MOST_MEMORY_BYTES = 1024**3
MOST_DATABASE_BYTES = 1024**3


def _message(number: int) -> bytes:
    source = f"{11 + number // 65_536 % 100}.{number // 256 % 256}.{number % 256}.7"
    target = f"10.{number // 65_536}.{number // 256 % 256}.{number % 256}"
    text = f"Deny tcp src outside:{source}/{1024 + number % 60_000} dst inside:{target}/{number % 65_535 + 1}"
    return f'<164>asa-edge-01 : %ASA-4-106023: {text} by access-group "outside_in" [0x0, 0x0]\n'.encode()


MODEST = b"".join(_message(number * 7) for number in range(20))
"""What comes in each turn while a tick is under way."""
TURN_S = 0.001
AT_REST_S = 0.1


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


@pytest.fixture(autouse=True)
def as_the_daemon() -> Iterator[None]:
    """What ``collectord run`` sets for its process."""
    before = sys.getswitchinterval()
    gc.freeze()
    sys.setswitchinterval(SWITCH_S)
    yield
    sys.setswitchinterval(before)
    gc.unfreeze()


def _longest_wait_s(engine: Engine, clock: ManualClock, done: Callable[[], bool]) -> tuple[float, int]:
    """Reads some messages every ms until it is done; the longest that a turn took beyond that, and their number."""
    longest_s, read, began_s = 0.0, 0, time.perf_counter()
    while not done():
        read += engine.lines(0, "192.0.2.1", MODEST, clock.now_ns())
        time.sleep(TURN_S)
        now_s = time.perf_counter()
        longest_s, began_s = max(longest_s, now_s - began_s - TURN_S), now_s
    return longest_s, read


def _told(waits_s: list[float]) -> str:
    return f"median {statistics.median(waits_s) * 1000:.1f} ms, longest {max(waits_s) * 1000:.1f} ms"


def test_a_million_keys(tmp_path: Path) -> None:
    if BUILD != "release":
        pytest.fail(f"the engine is a {BUILD} build, expected release: run make bench")
    setup = plan.check(Config(state_dir=tmp_path, bounds=Bounds(peer_rate=0)), plan.load(None).rules)
    clock = ManualClock(START_NS)
    before = _resident_bytes()
    engine = setup.engine()
    ticks_s: list[float] = []
    carried: list[int] = []

    def begin() -> tuple[Database, Tick]:
        database = Database(tmp_path / "collectord.db")
        states = AlertStates(setup.rules, setup.watchlist)
        tick = Tick(
            setup, engine=engine, clock=clock, database=database, run="bench", states=states, receivers=lambda alert: []
        )
        tick.restore()
        return database, tick

    def run(tick: Tick) -> None:
        began_s = time.thread_time()
        tick.run()
        ticks_s.append(time.thread_time() - began_s)
        carried.append(tick.counters.carried)

    def end(database: Database) -> tuple[int, int, int]:
        size = database.file_bytes()
        rows = sum(
            database.connection.execute(f"SELECT count(*) FROM {each.name}").fetchone()[0]
            for each in setup.definitions
            if each.has_table
        )
        (stored,) = database.connection.execute("SELECT sum(messages) FROM ledger").fetchone()
        database.close()
        return size, rows, stored

    sent, fed_s, at_rest_s, waits_s = 0, 0.0, [], []
    with ThreadPoolExecutor(max_workers=1) as writer:
        database, tick = writer.submit(begin).result()
        for start in range(0, KEYS, PER_TICK):
            block = b"".join(_message(number) for number in range(start, start + PER_TICK))
            began_s = time.thread_time()
            assert engine.lines(0, "192.0.2.1", block, clock.now_ns()) == PER_TICK
            fed_s += time.thread_time() - began_s
            clock.advance(1)
            until_s = time.perf_counter() + AT_REST_S
            at_rest = _longest_wait_s(engine, clock, lambda until_s=until_s: time.perf_counter() > until_s)
            in_tick = _longest_wait_s(engine, clock, writer.submit(run, tick).done)
            at_rest_s.append(at_rest[0])
            waits_s.append(in_tick[0])
            sent += PER_TICK + at_rest[1] + in_tick[1]
        writer.submit(tick.run).result()
        memory = _resident_bytes() - before
        size, rows, stored = writer.submit(end, database).result()
    ticks_s.sort()
    print(f"\n{KEYS:,} keys to each of {len(setup.definitions)} counters, {fed_s / KEYS * 1e9:,.0f} ns a message")
    print(f"tick of 50,000 rows {ticks_s[len(ticks_s) // 2]:.2f} s of the processor, longest {ticks_s[-1]:.2f} s")
    print(f"longest wait of who receives: {_told(waits_s)}; without a tick: {_told(at_rest_s)}")
    print(f"{rows:,} rows stored, {max(carried):,} carried at most")
    print(f"{memory / 2**20:,.0f} MiB of memory, {size / 2**20:,.0f} MiB of database")
    assert stored == sent
    assert ticks_s[-1] < MOST_TICK_S
    assert statistics.median(waits_s) < USUAL_WAIT_S
    assert max(waits_s) < MOST_WAIT_S
    assert memory < MOST_MEMORY_BYTES
    assert size < MOST_DATABASE_BYTES
