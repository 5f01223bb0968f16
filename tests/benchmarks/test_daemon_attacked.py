"""
Attacks at nearly the rate that the daemon can read: those who are honest lose nothing, and are counted to the last one.

Three floods come at once, from 64 addresses that each keep below their rate, so that all of it has to be read: records
of four products, records of sources that nobody has seen before, and bytes that are no syslog. Honest peers send among
them, over UDP and TCP.

Over UDP the kernel drops datagrams by socket, not by peer. So all of it together stays below the rate without loss at
first: at 90 % of it, and where the machine can't do that (a record of a new source takes three times as long as another
one), at the first lower share that loses nothing. Then it comes flat out: honest peers over TCP stay exact, and the
ledger says what was lost. That rate is one of ordinary records for as long, so that ticks disturb both alike.
"""

import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from ..e2e.daemon import LISTENERS, Daemon, counted, denied
from .messages import Workload, octets
from .report import QUICK, Report
from .sender import Sender
from .test_daemon import running, wait_idle

ATTACK_S = 3 if QUICK else 8
FLOWS = 64
FORGED = 20_000
"""Messages of the flood, each from a source of its own; then they come again."""

HONEST_PER_S = 500
"""Of each honest peer."""
ROUND_S = 0.02
UDP_PEERS, TCP_PEERS = 4, 2

SHARES = (0.9, 0.85, 0.8, 0.75, 0.7, 0.6, 0.5)
"""Of the rate without loss."""
STEPS_PER_S = range(400_000, 40_000, -15_000)
"""Where that is looked for, from the top: each step lasts as long as an attack, so that it takes in several ticks."""
TRIES = 2
"""For each rate, whatever comes: what else the machine does can only lower what it can."""
FLAT_OUT = 1.6
"""Times that rate, so many messages come flat out."""


@pytest.fixture(scope="module")
def without_loss_per_s(
    workload: Workload, sender: Sender, report: Report, tmp_path_factory: pytest.TempPathFactory
) -> int:
    """The highest paced rate of ordinary records alone, from as many addresses, that loses nothing for as long."""
    folder = tmp_path_factory.mktemp("ordinary")
    file = folder / "messages"
    file.write_bytes(octets(workload.messages))
    for rate in STEPS_PER_S:
        for number in range(TRIES):
            with running(folder / f"{rate}-{number}", LISTENERS) as daemon:
                said = sender.send("forged", daemon.listener("udp")["port"], file, rate * ATTACK_S, rate, FLOWS)
                wait_idle(daemon, "udp", rate * ATTACK_S)
                lost = daemon.listener("udp")["kernel_drops"]
            if not lost and said["seconds"] < ATTACK_S / 0.98:
                report.add("attack", "ordinary records alone, nothing lost", rate, "messages/s", "more")
                return rate
    pytest.fail(f"datagrams are lost at {STEPS_PER_S[-1]} a second already")


@pytest.fixture(scope="module")
def floods(workload: Workload, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A file of all three in turn, and the number of its messages."""
    chance = random.Random(9)
    messages = []
    for number in range(FORGED):
        messages.append(workload.messages[number % len(workload.messages)])
        messages.append(denied(f"198.{18 + number % 2}.{number // 2 // 256 % 256}.{number // 2 % 256}", number))
        messages.append(chance.randbytes(chance.randrange(20, 400)))
    path = tmp_path_factory.mktemp("attack") / "floods"
    path.write_bytes(octets(messages))
    return path, len(messages)


class Honest:
    """A few peers that send as they always do, on a thread of their own."""

    def __init__(self, daemon: Daemon, sockets: ExitStack) -> None:
        self.sent = dict.fromkeys(self.sources(), 0)
        self._stop = threading.Event()
        self._udp = [sockets.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(UDP_PEERS)]
        for number, each in enumerate(self._udp):
            each.bind((f"127.1.0.{number + 1}", 0))
            each.connect(("127.0.0.1", daemon.listener("udp")["port"]))
        at = ("127.0.0.1", daemon.listener("tcp")["port"])
        self._tcp = [
            sockets.enter_context(socket.create_connection(at, 10, (f"127.1.1.{number + 1}", 0)))
            for number in range(TCP_PEERS)
        ]
        self._thread = threading.Thread(target=self._send)

    @staticmethod
    def sources() -> Iterator[str]:
        """What their messages are about: the ones over UDP, then those over TCP."""
        return (f"192.0.2.{number + 1}" for number in range(UDP_PEERS + TCP_PEERS))

    @property
    def sent_udp(self) -> int:
        """Datagrams of all of them."""
        return sum([*self.sent.values()][:UDP_PEERS])

    @property
    def sent_tcp(self) -> int:
        """Messages of all of them over TCP."""
        return sum([*self.sent.values()][UDP_PEERS:])

    def _send(self) -> None:
        count = round(HONEST_PER_S * ROUND_S)
        while not self._stop.is_set():
            for source, each in zip(self.sources(), [*self._udp, *self._tcp], strict=True):
                messages = [denied(source, self.sent[source] + number) for number in range(count)]
                if each in self._tcp:
                    each.sendall(counted(messages))
                else:
                    for message in messages:
                        each.send(message)
                self.sent[source] += count
            time.sleep(ROUND_S)

    @contextmanager
    def sending(self) -> Iterator[None]:
        """They send."""
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join()


def _attacked(
    daemon: Daemon, sender: Sender, floods: tuple[Path, int], count: int, rate: int
) -> tuple[Honest, int, float]:
    """One attack among honest peers, once all is read: the latter, what the kernel dropped, and the flood's rate."""
    with ExitStack() as sockets:
        honest = Honest(daemon, sockets)
        with honest.sending():
            said = sender.send("forged", daemon.listener("udp")["port"], floods[0], count, rate, FLOWS)
        wait_idle(daemon, "udp", count + honest.sent_udp)
        daemon.wait(lambda: daemon.listener("tcp")["received"] == honest.sent_tcp, "the honest over TCP")
    daemon.wait(
        lambda: all(each["received"] == sum(each["outcomes"].values()) for each in daemon.status()["listeners"]),
        "received to be the sum of the outcomes",
    )
    udp = daemon.listener("udp")
    # Nothing vanishes: what was sent was read and has an outcome, or the kernel says that it dropped it.
    assert udp["received"] + udp["kernel_drops"] == count + honest.sent_udp
    assert "rate_limited" not in udp["outcomes"], "each forged peer keeps below its rate"
    return honest, int(udp["kernel_drops"]), count / said["seconds"]


def _counted_of_honest(daemon: Daemon) -> dict[str, int]:
    """Failures by source, once the daemon has stopped."""
    sums = daemon.sums("failures_by_source", "SrcIpAddr")
    return {source: sums.get((source,), 0) for source in Honest.sources()}


def test_below_the_rate_without_loss(
    floods: tuple[Path, int], sender: Sender, report: Report, without_loss_per_s: int, tmp_path: Path
) -> None:
    """Everybody's datagrams are read, and the counters of the honest are exact."""
    for number, share in enumerate(share for share in SHARES for _ in range(TRIES)):
        rate = round(share * without_loss_per_s - UDP_PEERS * HONEST_PER_S)
        with running(tmp_path / f"below-{number}", LISTENERS) as daemon:
            honest, lost, per_s = _attacked(daemon, sender, floods, rate * ATTACK_S, rate)
        if not lost:
            break
    assert lost == 0
    assert _counted_of_honest(daemon) == honest.sent
    report.add("attack", "UDP, all together, nothing lost", per_s + UDP_PEERS * HONEST_PER_S, "messages/s", "more")
    report.add("attack", "that share of the rate without loss", 100 * share, "per cent", "more")
    report.add("attack", "honest peers, messages missing", 0, "messages")


def test_above_it(
    floods: tuple[Path, int], sender: Sender, report: Report, without_loss_per_s: int, tmp_path: Path
) -> None:
    """Those over TCP stay exact; of UDP every datagram that was lost is told."""
    count = round(FLAT_OUT * without_loss_per_s) * ATTACK_S
    with running(tmp_path / "above", LISTENERS) as daemon:
        honest, lost, per_s = _attacked(daemon, sender, floods, count, 0)
    found = _counted_of_honest(daemon)
    over_tcp = [*Honest.sources()][UDP_PEERS:]
    assert {source: found[source] for source in over_tcp} == {source: honest.sent[source] for source in over_tcp}
    assert all(found[source] <= honest.sent[source] for source in Honest.sources())
    report.add("attack", "UDP, flat out", per_s, "messages/s", "neither")
    report.add("attack", "UDP, flat out: lost, and told", 100 * lost / (count + honest.sent_udp), "per cent", "neither")
    report.add("attack", "UDP, flat out: honest over TCP missing", 0, "messages")
