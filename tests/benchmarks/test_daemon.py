"""
The daemon as a whole: how fast it reads over UDP, TCP and TLS, what that costs, how long it takes to start.

All shipped profiles and rules, SQLite and the ledger are on. Sender and daemon share the machine, so rates are floors.
Each run checks its own answer: what was sent was received, or dropped by the kernel; and each failure was counted.
"""

import contextlib
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from collectord.engine import BUILD

from ..certificates import Authority
from ..e2e.daemon import LISTENERS, Daemon
from .messages import Workload, octets
from .report import QUICK, Report
from .sender import Sender, Way

RATES_PER_S = [round(20_000 * 1.25**step / 1000) * 1000 for step in range(16)]
"""Tried one after the other until one loses messages: 20,000 to 568,000."""
STEP_S = 1 if QUICK else 2

TRIES = 3

STEADY_PER_S = 10_000
STEADY_S = 2 if QUICK else 5

TCP_MESSAGES = 100_000 if QUICK else 1_000_000
STARTS = 1 if QUICK else 3

UNLIMITED = "\n[bounds]\npeer_rate = 0\n"
"""The sender has one address, and sends more than one peer may."""

TLS_FLOWS = 4
HANDSHAKES = 50 if QUICK else 300
TLS_LISTENER = """
[[listener]]
type = "tls"
name = "tls"
port = 0
cert_file = "own.pem"
key_file = "own.key"
"""

IDLE_WITHIN_S = 0.3
"""After the last message; later means that it was behind, and only the receive buffer hid it."""

PATIENCE_S = 600.0
JIFFIES_PER_S = 100


@dataclass(frozen=True, slots=True)
class Step:
    """What one rate came to."""

    sent_per_s: float
    lost: int
    """Datagrams that the kernel dropped."""
    behind_s: float
    """From the last message sent to the last one read."""
    cpu_s_per_million: float


@pytest.fixture(scope="module")
def file(workload: Workload, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workload as the sender reads it."""
    if BUILD != "release":
        pytest.fail(f"the engine is a {BUILD} build, expected release: run make bench")
    path = tmp_path_factory.mktemp("load") / "messages"
    path.write_bytes(octets(workload.messages))
    return path


@contextlib.contextmanager
def running(folder: Path, tables: str = LISTENERS + UNLIMITED) -> Iterator[Daemon]:
    """A daemon, stopped gracefully at the end."""
    daemon = Daemon(folder, tables)
    try:
        daemon.start()
        yield daemon
        daemon.stop()
    finally:
        daemon.close()


def cpu_s(daemon: Daemon) -> float:
    """User and system time so far (proc(5), ``/proc/pid/stat``)."""
    text = Path(f"/proc/{daemon.process.pid}/stat").read_text(encoding="utf-8", errors="replace")
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / JIFFIES_PER_S


def memory_mib(daemon: Daemon, name: str = "VmRSS") -> float:
    """Resident memory, or with ``VmHWM`` the most it was (proc(5))."""
    text = Path(f"/proc/{daemon.process.pid}/status").read_text(encoding="utf-8", errors="replace")
    return next(int(line.split()[1]) / 1024 for line in text.splitlines() if line.startswith(f"{name}:"))


def came(daemon: Daemon, name: str) -> int:
    """Messages read, and those that the kernel dropped."""
    listener = daemon.listener(name)
    return int(listener["received"]) + int(listener.get("kernel_drops", 0))


def wait_idle(daemon: Daemon, name: str, count: int) -> float:
    """Until so many messages have come; returns the seconds it took."""
    began_s = time.monotonic()
    daemon.wait(lambda: came(daemon, name) >= count, f"{count} messages over {name}", PATIENCE_S)
    assert came(daemon, name) == count
    return time.monotonic() - began_s


def measured(daemon: Daemon, sender: Sender, file: Path, rate: int, count: int) -> Step:
    """So many datagrams at a rate."""
    before, dropped, cpu = came(daemon, "udp"), daemon.listener("udp")["kernel_drops"], cpu_s(daemon)
    said = sender.send("udp", daemon.listener("udp")["port"], file, count, rate)
    behind_s = wait_idle(daemon, "udp", before + count)
    lost = daemon.listener("udp")["kernel_drops"] - dropped
    return Step(count / said["seconds"], lost, behind_s, (cpu_s(daemon) - cpu) * 1e6 / count)


def test_udp(workload: Workload, sender: Sender, file: Path, report: Report, tmp_path: Path) -> None:
    """Steps up to the highest paced rate at which every datagram was read in time; then the common rate."""
    group = f"daemon, UDP, {workload.name}"
    best: Step | None = None
    with running(tmp_path / "udp") as daemon:
        for rate in RATES_PER_S:
            count = rate * STEP_S
            # What else the machine does can only lower a rate: a step that failed is tried again.
            for _ in range(TRIES):
                step = measured(daemon, sender, file, rate, count)
                good = not step.lost and step.behind_s < IDLE_WITHIN_S and step.sent_per_s > 0.95 * rate
                if good:
                    break
            if not good:
                if not step.lost and step.behind_s < IDLE_WITHIN_S:
                    report.note(f"UDP: at {rate:,}/s the sender came only to {step.sent_per_s:,.0f}: a floor")
                break
            best = step
        buffer_mib = daemon.listener("udp")["receive_buffer"] / 2**20
    if best is None:
        report.note(f"UDP: messages are lost at {RATES_PER_S[0]} a second already")
    else:
        report.add(group, "highest rate without loss", best.sent_per_s, "messages/s", "more")
        report.add(group, "processor, at that rate", best.cpu_s_per_million, "CPU-s per million")
    report.add(group, "receive buffer that the kernel gave", buffer_mib, "MiB", "neither")
    with running(tmp_path / "steady") as daemon:
        steady = measured(daemon, sender, file, STEADY_PER_S, STEADY_PER_S * STEADY_S)
        report.add(group, "processor, at 10,000/s", steady.cpu_s_per_million, "CPU-s per million")
        report.add(group, "lost at 10,000/s", steady.lost, "messages")
        report.add(group, "memory, at 10,000/s", memory_mib(daemon, "VmHWM"), "MiB at most")


@pytest.mark.parametrize("way", ["lines", "octets"])
def test_tcp(workload: Workload, sender: Sender, file: Path, report: Report, tmp_path: Path, way: Way) -> None:
    """Four connections, flat out, until the last message is read; and every failure was counted."""
    count = TCP_MESSAGES // len(workload.messages) * len(workload.messages)
    group = f"daemon, TCP, {workload.name}"
    with running(tmp_path / "tcp") as daemon:
        port, cpu, began_s = daemon.listener("tcp")["port"], cpu_s(daemon), time.monotonic()
        sender.send(way, port, file, count)
        wait_idle(daemon, "tcp", count)
        elapsed_s = time.monotonic() - began_s
        cpu = cpu_s(daemon) - cpu
        most_mib = memory_mib(daemon, "VmHWM")
    ((failures,),) = daemon.rows("SELECT sum(EventCount) FROM failures_by_source")
    assert failures == count // len(workload.messages) * workload.failures
    report.add(group, f"{way}: rate, flat out", count / elapsed_s, "messages/s", "more")
    report.add(group, f"{way}: processor", cpu * 1e6 / count, "CPU-s per million")
    report.add(group, f"{way}: memory", most_mib, "MiB at most")


def test_tls(workload: Workload, file: Path, report: Report, tmp_path: Path) -> None:
    """As TCP with octet counting; the sender is Python's, whose chunks are as large as OpenSSL takes them at once."""
    rounds = TCP_MESSAGES // len(workload.messages) // TLS_FLOWS
    count = rounds * TLS_FLOWS * len(workload.messages)
    group = f"daemon, TLS, {workload.name}"
    authority, stream = Authority("Benchmark CA"), file.read_bytes()
    context = ssl.create_default_context(cadata=authority.certificate_pem.decode())
    (tmp_path / "tls").mkdir()
    authority.signs("127.0.0.1").write(tmp_path / "tls", "own")

    def send(port: int) -> None:
        with (
            socket.create_connection(("127.0.0.1", port)) as raw,
            context.wrap_socket(raw, server_hostname="127.0.0.1") as secure,
        ):
            for _ in range(rounds):
                secure.sendall(stream)

    with running(tmp_path / "tls", TLS_LISTENER + UNLIMITED) as daemon:
        port, cpu, began_s = daemon.listener("tls")["port"], cpu_s(daemon), time.monotonic()
        with ThreadPoolExecutor(TLS_FLOWS) as flows:
            for flow in [flows.submit(send, port) for _ in range(TLS_FLOWS)]:
                flow.result()
        wait_idle(daemon, "tls", count)
        elapsed_s = time.monotonic() - began_s
        cpu = cpu_s(daemon) - cpu
        most_mib = memory_mib(daemon, "VmHWM")
        report.add(group, "handshake, processor", handshake_cpu_ms(daemon, port, context), "CPU-ms", "less")
    ((failures,),) = daemon.rows("SELECT sum(EventCount) FROM failures_by_source")
    assert failures == count // len(workload.messages) * workload.failures
    report.add(group, "octets: rate, flat out", count / elapsed_s, "messages/s", "more")
    report.add(group, "octets: processor", cpu * 1e6 / count, "CPU-s per million")
    report.add(group, "octets: memory", most_mib, "MiB at most")


def handshake_cpu_ms(daemon: Daemon, port: int, context: ssl.SSLContext) -> float:
    """What a connection costs the daemon that only shakes hands."""
    cpu = cpu_s(daemon)
    for _ in range(HANDSHAKES):
        with socket.create_connection(("127.0.0.1", port)) as raw:
            context.wrap_socket(raw, server_hostname="127.0.0.1").close()
    daemon.wait(lambda: not daemon.listener("tls")["connections"], "the connections to end")
    return (cpu_s(daemon) - cpu) * 1000 / HANDSHAKES


def test_start(report: Report, tmp_path: Path) -> None:
    """From the command to the first answer on the control socket, by when the listeners are open."""

    def median_s(start: Callable[[], None], stop: Callable[[], None]) -> float:
        times = []
        for _ in range(STARTS):
            began_s = time.monotonic()
            start()
            times.append(time.monotonic() - began_s)
            stop()
        return sorted(times)[len(times) // 2]

    daemon = Daemon(tmp_path / "start")
    try:
        report.add("daemon, start", "until it answers", median_s(daemon.start, daemon.stop), "s")
    finally:
        daemon.close()
