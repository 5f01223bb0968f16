"""
The engine alone, and the daemon over UDP and TCP, on the workload of the peer measurements.

The workload lies beside the repository; without it these are skipped. Each run checks its own answer: one pass holds
391 failures of 262 sources. The sender is a process of its own on the same machine, so the daemon's figures are floors.
"""

import contextlib
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from collectord import plan
from collectord.engine import BUILD, Engine

from ..e2e.daemon import Daemon

NOW_NS = 1_800_000_000_000_000_000
PASSES = 100
BEST_OF = 5
CHUNK_BYTES = 256 * 1024

FAILURES, SOURCES = 391, 262
"""Of one pass, by the action and result tables of the four products."""

PRODUCTS: dict[str, Callable[[bytes], bool]] = {
    "all": lambda line: True,
    "FortiGate": lambda line: line.startswith(b"<189>date="),
    "Cisco ASA": lambda line: b"%ASA-" in line,
    "PAN-OS": lambda line: b",TRAFFIC," in line,
    "Check Point": lambda line: b" CEF:0|Check Point|" in line,
}

UDP_RATES_PER_S = (25_000, 50_000, 75_000, 100_000, 125_000, 150_000, 175_000, 200_000, 250_000)
UDP_SECONDS = 2
TCP_MESSAGES = 1_000_000

# Sends the lines of a file over UDP at a rate, or over TCP as fast as they go; a plain loop, on purpose.
UDP_SENDER = """
import socket, sys, time
port, rate, count = map(int, sys.argv[2:])
lines = open(sys.argv[1], "rb").read().splitlines()
out = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(4)]
for each in out:
    each.connect(("127.0.0.1", port))
began = time.perf_counter()
for number in range(count):
    if number % 64 == 0:
        while (ahead := number / rate - (time.perf_counter() - began)) > 0.001:
            time.sleep(ahead / 2)
    out[number & 3].send(lines[number % len(lines)])
print(count / (time.perf_counter() - began))
"""
TCP_SENDER = """
import socket, sys
port, count = map(int, sys.argv[2:])
text = open(sys.argv[1], "rb").read()
passes = count // text.count(b"\\n")
out = [socket.create_connection(("127.0.0.1", port)) for _ in range(4)]
for number in range(passes):
    out[number & 3].sendall(text)
for each in out:
    each.close()
"""


@pytest.fixture(scope="module")
def workload(shared: Path) -> Path:
    """A thousand lines of four products."""
    return shared / "bench" / "workload.txt"


@pytest.fixture(scope="module")
def setup() -> plan.Setup:
    """The shipped configuration, profiles and rules."""
    if BUILD != "release":
        pytest.fail(f"the engine is a {BUILD} build, expected release: run make bench")
    return plan.load(None)


def _feed(engine: Engine, wire: bytes) -> float:
    """Feeds all bytes over one stream; returns the seconds it took."""
    stream = engine.connect(1, "192.0.2.1")
    chunks = [bytearray(wire[at : at + CHUNK_BYTES]) for at in range(0, len(wire), CHUNK_BYTES)]
    began = time.perf_counter()
    for chunk in chunks:
        engine.feed(stream, chunk, len(chunk), NOW_NS)
    elapsed_s = time.perf_counter() - began
    engine.disconnect(stream, NOW_NS)
    return elapsed_s


@pytest.mark.parametrize("product", PRODUCTS)
def test_engine(setup: plan.Setup, workload: Path, product: str) -> None:
    """Nanoseconds per message, best of five."""
    lines = [line for line in workload.read_bytes().splitlines() if PRODUCTS[product](line)]
    wire = b"".join(line + b"\n" for line in lines) * PASSES
    best_s = float("inf")
    for _ in range(BEST_OF):
        engine = setup.engine()
        best_s = min(best_s, _feed(engine, wire))
        changes = engine.changes(NOW_NS)

        assert [(outcome, count) for _, outcome, count, _ in changes.ledger] == [("session", PASSES * len(lines))]
        if product == "all":
            rows = changes.rows["failures_by_source"]
            assert (sum(row[3] for row in rows), len(rows)) == (PASSES * FAILURES, SOURCES)
    print(f"\nengine {product:12} {best_s * 1e9 / (PASSES * len(lines)):8.0f} ns per message ({len(lines)} lines)")


@contextlib.contextmanager
def _running(folder: Path) -> Iterator[Daemon]:
    daemon = Daemon(folder)
    try:
        daemon.start()
        yield daemon
        daemon.stop()
    finally:
        daemon.close()


def _failures(daemon: Daemon) -> int:
    with contextlib.closing(sqlite3.connect(daemon.database)) as database:
        (count,) = database.execute("SELECT sum(EventCount) FROM failures_by_source").fetchone()
    return int(count)


def _cpu_s(pid: int) -> float:
    """User and system time of a process (proc(5), /proc/pid/stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def test_udp(setup: plan.Setup, workload: Path, tmp_path: Path) -> None:
    """The highest paced rate at which every datagram was read."""
    best = (0.0, 0.0)
    sent = 0
    with _running(tmp_path / "udp") as daemon:
        port = daemon.listener("udp")["port"]
        for rate in UDP_RATES_PER_S:
            count = rate * UDP_SECONDS // 1000 * 1000
            dropped, cpu_s = daemon.listener("udp")["kernel_drops"], _cpu_s(daemon.process.pid)
            command = [sys.executable, "-c", UDP_SENDER, str(workload), str(port), str(rate), str(count)]
            reached = float(subprocess.run(command, check=True, capture_output=True).stdout)
            sent += count

            def all_seen(sent: int = sent) -> bool:
                listener = daemon.listener("udp")
                return bool(listener["received"] + listener["kernel_drops"] >= sent)

            daemon.wait(all_seen, "every datagram to be read or dropped")
            if daemon.listener("udp")["kernel_drops"] > dropped:
                break
            best = max(best, (reached, (_cpu_s(daemon.process.pid) - cpu_s) * 1e6 / count))
            if reached < 0.95 * rate:
                break  # The sender can't go faster.
    print(f"\ndaemon UDP {best[0]:12,.0f} messages/s without loss, {best[1]:.2f} CPU-s per million")
    assert best[0] > 0


def test_tcp(setup: plan.Setup, workload: Path, tmp_path: Path) -> None:
    """Four connections, flat out, until the last message is read."""
    with _running(tmp_path / "tcp") as daemon:
        port, cpu_s = daemon.listener("tcp")["port"], _cpu_s(daemon.process.pid)
        began = time.perf_counter()
        command = [sys.executable, "-c", TCP_SENDER, str(workload), str(port), str(TCP_MESSAGES)]
        subprocess.run(command, check=True)
        daemon.wait(lambda: daemon.listener("tcp")["received"] >= TCP_MESSAGES, "every message to be read")
        elapsed_s = time.perf_counter() - began
        cpu_s = _cpu_s(daemon.process.pid) - cpu_s
    assert _failures(daemon) == TCP_MESSAGES // 1000 * FAILURES
    per_million = cpu_s * 1e6 / TCP_MESSAGES
    print(f"\ndaemon TCP {TCP_MESSAGES / elapsed_s:12,.0f} messages/s, {per_million:.2f} CPU-s per million")
