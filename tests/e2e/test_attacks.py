"""
Steady under attack: the daemon at work while somebody means it harm, and those who do not lose nothing.

Attackers and honest senders are told apart by their addresses, all of them on loopback.
"""

import resource
import socket
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from .daemon import LISTENERS, Daemon, counted, denied, ended
from .servers import PATIENCE_S

HONEST = 400
"""Messages of each honest peer."""

MOST_ROUNDS = 300
"""Of 100 messages each over UDP and TCP, while the database is locked: below what a peer may send at once."""

IDLE = 2_000
"""Connections that say nothing; ten thousand were tried as well."""

pytestmark = pytest.mark.e2e


@contextmanager
def running(folder: Path, tables: str) -> Iterator[Daemon]:
    """A daemon with these listeners and bounds."""
    daemon = Daemon(folder / "daemon", tables)
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.close()


def datagrams_from(host: str, daemon: Daemon) -> socket.socket:
    """A socket that sends to the daemon from this address."""
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.bind((host, 0))
    sender.connect(("127.0.0.1", daemon.listener("udp")["port"]))
    return sender


def stream_from(host: str, port: int) -> socket.socket:
    """A connection from this address."""
    return socket.create_connection(("127.0.0.1", port), PATIENCE_S, (host, 0))


def conserved(daemon: Daemon, name: str) -> dict[str, int]:
    """A listener's outcomes once they add up to what it received and all of it is stored."""

    def settled() -> dict[str, int] | None:
        found = daemon.listener(name)
        outcomes: dict[str, int] = found["outcomes"]
        return outcomes if sum(outcomes.values()) == found["received"] > 0 else None

    found: dict[str, int] = daemon.wait(settled, f"{name} to add up")
    return found


def unread(daemon: Daemon, ports: dict[str, int]) -> int:
    """Bytes that the kernel holds for the daemon's ports (proc_net_tcp of the kernel's documentation)."""
    waiting = 0
    for protocol, port in ports.items():
        for line in Path(f"/proc/net/{protocol}").read_text(encoding="ascii").splitlines()[1:]:
            _, local, _, state, queues, *_ = line.split()
            # A listening socket counts connections there.
            if local.endswith(f":{port:04X}") and state != "0A":
                waiting += int(queues.partition(":")[2], 16)
    return waiting


def resident_kib(daemon: Daemon) -> int:
    """Resident memory of the daemon (proc(5))."""
    text = Path(f"/proc/{daemon.process.pid}/status").read_text(encoding="ascii")
    return int(text.partition("VmRSS:")[2].split()[0])


def test_honest_peers_stay_exact_while_others_are_limited(tmp_path: Path) -> None:
    """A flood of bytes that nobody can read, one of forged sources, a fast TCP peer; and honest ones among them."""
    tables = f"{LISTENERS}\n[bounds]\npeer_rate = 100\npeer_burst = 600\n"
    rounds, flood = 20, 150
    with running(tmp_path, tables) as daemon, ExitStack() as sockets:
        opened = sockets.enter_context
        udp, tcp = daemon.listener("udp")["port"], daemon.listener("tcp")["port"]
        attacker = opened(datagrams_from("127.6.6.6", daemon))
        honest = [opened(datagrams_from(f"127.1.0.{number}", daemon)) for number in (1, 2)]
        steady, greedy = (opened(stream_from(host, tcp)) for host in ("127.1.0.3", "127.6.6.7"))
        forged = [opened(datagrams_from(f"127.9.{number}.1", daemon)) for number in range(50)]
        # Each round is read before the next is sent, so that the kernel has room for all of it.
        total = 0
        for number in range(rounds):
            for at in range(flood):
                attacker.send(b"\xff\x00 no syslog %d" % at)
            for at, sender in enumerate(forged):
                sender.send(denied(f"203.0.113.{at}", number))
            for at, sender in enumerate(honest):
                for message in range(HONEST // rounds):
                    sender.send(denied(f"192.0.2.{at + 1}", number * 100 + message))
            share = HONEST // rounds
            steady.sendall(counted([denied("192.0.2.3", number * 100 + each) for each in range(share)]))
            if number == 0:
                greedy.sendall(ended([denied("198.51.100.7", each) for each in range(900)]))
            total += flood + len(forged) + len(honest) * share
            daemon.wait_received("udp", total)
        assert udp
        daemon.wait(lambda: daemon.listener("tcp")["received"] == HONEST + 900, "the greedy peer to be read as well")
        outcomes = conserved(daemon, "udp")
        assert (outcomes["session"], sum(outcomes.values())) == (rounds * len(forged) + 2 * HONEST, total)
        assert outcomes["unparsed"] + outcomes["rate_limited"] == rounds * flood
        assert outcomes["rate_limited"] > flood
        status = daemon.status()
        (limited,) = status["limited_peers"]
        assert (limited["peer"], limited["listener"]) == ("127.6.6.6", "udp")
        assert limited["dropped"] == outcomes["rate_limited"]
        assert [each["peer"] for each in daemon.listener("tcp")["held_back"]] == ["127.6.6.7"]
        assert conserved(daemon, "tcp") == {"session": HONEST + 900}
        check = daemon.command("status")
        assert b"peer 127.6.6.6 sends too much to udp" in check.stdout
        daemon.stop()
        sums = daemon.sums("failures_by_source", "SrcIpAddr")
        assert [sums[f"192.0.2.{number}",] for number in (1, 2, 3)] == [HONEST] * 3
        assert sums["198.51.100.7",] == 900
        assert daemon.said().count("peer limited: it sends too much") == 1
        assert daemon.said().count("peer held back: it sends too much") == 1


def test_a_locked_database_does_not_keep_messages_waiting(tmp_path: Path) -> None:
    """Longer than a statement waits for a lock: received goes on, and then every count is there."""
    with running(tmp_path, LISTENERS) as daemon, ExitStack() as sockets:
        daemon.wait_ticks(1)
        stream = sockets.enter_context(stream_from("127.0.0.1", daemon.listener("tcp")["port"]))
        ports = {name: daemon.listener(name)["port"] for name in ("udp", "tcp")}
        rounds = 0
        with closing(sqlite3.connect(daemon.database, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            # Each round is read before the next is sent: those who receive never wait for the one who writes.
            while "database can't be written" not in daemon.said() and rounds < MOST_ROUNDS:
                messages = [denied("192.0.2.9", rounds * 100 + number) for number in range(100)]
                with datagrams_from("127.0.0.1", daemon) as sender:
                    for message in messages:
                        sender.send(message)
                stream.sendall(ended(messages))
                rounds += 1
                daemon.wait(lambda: unread(daemon, ports) == 0, "the sockets to be read")
            assert rounds > 10, "a statement waits 5 s for a lock"
            daemon.wait(lambda: "database can't be written" in daemon.said(), "the store to give up")
            other.execute("ROLLBACK")
        for name in ("udp", "tcp"):
            daemon.wait_stored(name, rounds * 100)
        daemon.stop()
        assert daemon.sums("failures_by_source", "SrcIpAddr") == {("192.0.2.9",): 200 * rounds}
        assert dict(daemon.rows("SELECT listener, sum(messages) FROM ledger GROUP BY 1")) == {
            "udp": rounds * 100,
            "tcp": rounds * 100,
        }


def test_idle_and_hasty_connections_keep_nobody_out(tmp_path: Path) -> None:
    """Thousands that say nothing, announce 2 GB, or come and go: an honest peer stays exact."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, IDLE + 500), hard), hard))
    tables = f"{LISTENERS}\n[bounds]\ntcp_connections = {IDLE + 500}\n"
    with running(tmp_path, tables) as daemon, ExitStack() as sockets:
        port = daemon.listener("tcp")["port"]
        before_kib = resident_kib(daemon)
        honest = sockets.enter_context(stream_from("127.1.0.1", port))
        for number in range(IDLE):
            sockets.enter_context(stream_from(f"127.2.{number % 200}.1", port))
        daemon.wait(lambda: daemon.listener("tcp")["connections"] == IDLE + 1, "all to be connected")
        sent = 0
        for number in range(20):
            # They announce 10 MB, and 2 GB behind a sound frame; nothing of either is kept.
            for announced in (b"9999999 <13>x", b"6 <13>ok2147483648 <13>x"):
                with stream_from("127.6.6.6", port) as huge:
                    huge.sendall(announced)
            for _ in range(20):
                hasty = stream_from("127.6.6.7", port)
                hasty.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                hasty.close()
            messages = [denied("192.0.2.1", number * 20 + each) for each in range(20)]
            honest.sendall(counted(messages))
            sent += len(messages)
        daemon.wait(lambda: daemon.listener("tcp")["outcomes"].get("session", 0) == sent, "the honest peer")
        outcomes = conserved(daemon, "tcp")
        assert outcomes == {"session": sent, "too_long": 20, "bad_frame": 20, "unparsed": 20}
        assert resident_kib(daemon) - before_kib < 20 * IDLE + 16 * 1024, "some KiB for each connection"
        daemon.stop()
        assert daemon.sums("failures_by_source", "SrcIpAddr")["192.0.2.1",] == sent
        assert "Traceback" not in daemon.said()
