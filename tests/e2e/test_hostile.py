"""Whatever comes over the network: the daemon stays up, each message has an outcome, and good ones are read as ever."""

import contextlib
import random
import signal
import socket
import struct
from pathlib import Path

import pytest

from .daemon import LISTENERS, Daemon, collectord_here, counted, denied, ended, running
from .servers import PATIENCE_S

SEED = 20_261_122
GOOD = 500

STREAMS = (
    b"99999999999999999999 <13>more digits than a number has",
    b"70000000 <13>far over any message",
    b"-5 <13>a negative count",
    b"12x <13>no count",
    b"0 0 0 0 0 ",
    b"007 <13>a b",
    b"5 <13>a12 <13>b\n7 <13>cd\n",
    b"120 <13>cut short",
    b"\0\0\0\n\0\n\n\n\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET / HTTP/1.1\r\nHost: collector\r\n\r\n",
    b"<" * 10_000 + b"\n",
    b"<13>" + b"x" * 200_000 + b"\n<13>after a line that was too long\n",
    b"<13>" + b"y" * 300_000,
    b"150000 <13>" + b"z" * 149_996 + b"20 <13>after a long one",
    b"\xef\xbb\xbf<13>1 - - - - - - \xef\xbb\xbf\n",
)


def mutated(random_: random.Random, message: bytes) -> bytes:
    """A good message with a few bytes changed, lost or doubled."""
    broken = bytearray(message)
    for _ in range(random_.randint(1, 8)):
        at = random_.randrange(len(broken))
        match random_.randrange(3):
            case 0:
                broken[at] = random_.randrange(256)
            case 1:
                del broken[at : at + random_.randint(1, 20)]
            case _:
                broken[at:at] = broken[at : at + random_.randint(1, 20)]
        if not broken:
            return b""
    return bytes(broken)


def garbage(random_: random.Random) -> list[bytes]:
    """Datagrams of every bad kind; of known number."""
    found = [b"", b"\0", b"\n", b"\0" * 1000, b"<13>", b"<999>", b"<13>1 ", b"%ASA-", b"CEF:0|" + b"\\|" * 2000]
    found += [random_.randbytes(random_.randrange(1500)) for _ in range(500)]
    found += [mutated(random_, denied("203.0.113.1", number)) for number in range(1000)]
    found += [b"x" * size for size in (8_000, 30_000, 65_507)]
    random_.shuffle(found)
    return found


def send_stream(daemon: Daemon, pieces: list[bytes], reset: bool) -> None:
    port = daemon.listener("tcp")["port"]
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as sender:
        # A reset while we are still sending is fine: what it had read counts.
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                sender.sendall(piece)
            if reset:
                # socket(7), SO_LINGER of zero: close sends RST and drops what is not sent.
                sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def cut(random_: random.Random, stream: bytes) -> list[bytes]:
    """A stream in pieces, as segments of any size."""
    pieces = []
    while stream:
        size = random_.choice((1, 7, 1000, 70_000))
        pieces.append(stream[:size])
        stream = stream[size:]
    return pieces


def conserved(daemon: Daemon, name: str) -> dict[str, int]:
    """Wait until every message that a listener received has its outcome, and give the outcomes."""

    def all_told() -> dict[str, int] | None:
        listener = daemon.listener(name)
        outcomes: dict[str, int] = listener["outcomes"]
        return outcomes if listener["received"] == sum(outcomes.values()) else None

    found: dict[str, int] = daemon.wait(all_told, f"received = sum of outcomes of {name}")
    return found


def gone(daemon: Daemon) -> None:
    """Wait until the daemon has seen the end of all connections."""
    daemon.wait(lambda: daemon.listener("tcp")["connections"] == 0, "all connections to end")


@pytest.mark.e2e
def test_garbage_has_outcomes(tmp_path: Path) -> None:
    """Random bytes, broken frames, endless lines and resets are counted; what follows them is read."""
    random_ = random.Random(SEED)
    with running(tmp_path) as daemon:
        datagrams = garbage(random_)
        daemon.send_udp(datagrams)
        listener = daemon.wait_stored("udp", len(datagrams))
        assert listener["kernel_drops"] == 0
        outcomes = listener["outcomes"]
        assert set(outcomes) <= {"session", "event", "unparsed", "empty"}
        # Changes in a place that is of no matter leave a message readable.
        assert outcomes["empty"] >= 3
        assert outcomes["unparsed"] >= 1000

        streams = [*STREAMS]
        streams += [random_.randbytes(random_.randrange(100_000)) for _ in range(20)]
        streams += [counted([mutated(random_, message) for message in [denied("203.0.113.2")] * 50]) for _ in range(10)]
        streams += [mutated(random_, counted([denied("203.0.113.3")] * 50)) for _ in range(10)]
        for number, stream in enumerate(streams):
            send_stream(daemon, cut(random_, stream) if number % 2 else [stream], reset=number % 5 == 0)
        gone(daemon)
        outcomes = conserved(daemon, "tcp")
        assert outcomes["too_long"] >= 2
        assert outcomes["bad_frame"] >= 2
        assert outcomes["unfinished"] >= 1
        assert "panic" not in outcomes

        before = {name: daemon.listener(name)["outcomes"].get("session", 0) for name in ("udp", "tcp")}
        good = [denied("192.0.2.200", number) for number in range(GOOD)]
        daemon.send_udp(good)
        daemon.send_tcp(counted(good))
        daemon.send_tcp(ended(good))
        gone(daemon)
        daemon.wait(lambda: sum(daemon.sums("failures_by_source", "SrcIpAddr").values()), "rows")
        for name, sent in (("udp", GOOD), ("tcp", 2 * GOOD)):
            daemon.wait(
                lambda name=name, sent=sent: conserved(daemon, name).get("session", 0) == before[name] + sent,
                f"{sent} good messages of {name}",
            )
        daemon.stop()
        sums = daemon.sums("failures_by_source", "SrcIpAddr")
        assert sums["192.0.2.200",] == 3 * GOOD
        ledger = daemon.rows("SELECT listener, sum(messages) FROM ledger GROUP BY 1 ORDER BY 1")
        assert dict(ledger)["udp"] == len(datagrams) + GOOD
        assert daemon.rows("PRAGMA integrity_check") == [("ok",)]
        assert "Traceback" not in daemon.said()


@pytest.mark.e2e
def test_flood_is_accounted_for(tmp_path: Path) -> None:
    """More than the kernel can hold: what it dropped and what was read add up to what was sent."""
    sent = 30_000
    small = LISTENERS.replace('name = "udp"', 'name = "udp"\nreceive_buffer = "64KiB"', 1)
    with running(tmp_path, small) as daemon:
        port = daemon.listener("udp")["port"]
        messages = [denied(f"198.51.100.{number}", number) for number in range(250)]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.connect(("127.0.0.1", port))
            # Asleep at first, so that it has to fall behind on any machine.
            daemon.process.send_signal(signal.SIGSTOP)
            for number in range(sent):
                if number == sent // 2:
                    daemon.process.send_signal(signal.SIGCONT)
                sender.send(messages[number % 250])

        def all_told() -> bool:
            listener = daemon.listener("udp")
            dropped: int = listener["kernel_drops"]
            return sum(listener["outcomes"].values()) == listener["received"] == sent - dropped

        daemon.wait(all_told, f"{sent} datagrams to be accounted for")
        assert daemon.listener("udp")["kernel_drops"] > sent // 4
        daemon.wait(lambda: "messages-lost" in daemon.status()["alerts"]["ailing"], "the alert about it")
        check = collectord_here("status", "--check", "--config", str(daemon.config))
        assert check.returncode == 2
        assert b"CRITICAL - messages are lost: the kernel dropped" in check.stdout
        received = daemon.listener("udp")["received"]
        # As many as the small buffer surely holds.
        daemon.send_udp(messages[:50])
        daemon.wait_stored("udp", received + 50)
        daemon.stop()
        assert sum(daemon.sums("failures_by_source", "SrcIpAddr").values()) == received + 50


@pytest.mark.e2e
def test_only_allowed_peers_are_read(tmp_path: Path) -> None:
    """Good, odd, broken, oversized and disallowed input together: each message has one outcome, none is lost."""
    random_ = random.Random(SEED)
    only = LISTENERS.replace("port = 0", 'port = 0\nallow = ["127.0.0.1/32", "192.0.2.0/24"]')
    with running(tmp_path, only) as daemon:
        port = daemon.listener("udp")["port"]
        good = [denied("192.0.2.201", number) for number in range(GOOD)]
        datagrams = [*good, *garbage(random_)]
        random_.shuffle(datagrams)
        for start in range(0, len(datagrams), 100):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
                stranger.bind(("127.0.0.2", 0))
                stranger.connect(("127.0.0.1", port))
                for message in good[:10]:
                    stranger.send(message)
            daemon.wait_received("udp", start + (start // 100 + 1) * 10)
            daemon.send_udp(datagrams[start : start + 100])
        strange = (len(datagrams) + 99) // 100 * 10
        daemon.wait_stored("udp", len(datagrams) + strange)
        outcomes = conserved(daemon, "udp")
        assert outcomes["not_allowed"] == strange
        assert outcomes["session"] >= GOOD

        with socket.create_connection(
            ("127.0.0.1", daemon.listener("tcp")["port"]), PATIENCE_S, ("127.0.0.2", 0)
        ) as tcp:
            assert tcp.recv(1) == b""
        send_stream(daemon, [counted([*good, b"x" * 70_000]), b"70000000 <13>far over"], reset=False)
        gone(daemon)
        told = conserved(daemon, "tcp")
        assert (told["session"], daemon.listener("tcp")["refused"]) == (GOOD, 1)
        assert told["too_long"] >= 1
        daemon.stop()
        assert daemon.sums("failures_by_source", "SrcIpAddr")["192.0.2.201",] == 2 * GOOD
        ledger = dict(daemon.rows("SELECT listener, sum(messages) FROM ledger GROUP BY 1"))
        assert ledger == {"udp": sum(outcomes.values()), "tcp": sum(told.values())}
