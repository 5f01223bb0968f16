"""
What a soak sends, and what it knows of it: each simulated firewall on its own thread, over its own transport.

Every message is told before it is sent, so that what the collector counted can be held against it.
"""

import random
import socket
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from collectord.simulation.firewalls import FIREWALLS, Firewall
from collectord.simulation.senders import framed
from collectord.simulation.traffic import ORDINARY, SCAN, SMB, Session

TURN_S = 0.05
"""Between two batches of a flow."""

FORGED = "10.200."
"""Addresses of forged sources begin so."""

HISTORY = 4_000
"""Batches that are remembered with their time: some minutes."""

SEND_PATIENCE_S = 30.0
"""For so long a collector may take nothing from a connection."""


SCANNED_PORTS = 500
FORGED_SOURCES_EACH = 100
"""
Of a flow. Both are bounded so that memory can be flat: a counter holds a key for as long as its window. With the
ordinary ones, some 560, there are fewer than the 1,000 sources that an old slot keeps, so each stays exact.
"""


def _scan(lot: random.Random) -> Session:
    """A stranger tries doors, denied every time."""
    return replace(SCAN.make(lot), destination_port=lot.randint(1, SCANNED_PORTS))


def _forged(lot: random.Random) -> Session:
    """One of many sources that send next to nothing."""
    number = lot.randrange(FORGED_SOURCES_EACH)
    return Session(
        source=f"{FORGED}{number // 250}.{number % 250}",
        source_port=lot.randint(1024, 65_535),
        destination="192.0.2.53",
        destination_port=53,
        protocol="udp",
        direction="outbound",
        allowed=False,
    )


@dataclass(slots=True)
class Sent:
    """What was handed to the kernel."""

    messages: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    """Failed sessions by source."""

    def __iadd__(self, other: "Sent") -> "Sent":
        self.messages += other.messages
        self.failures.update(other.failures)
        return self


class Flow:
    """
    One firewall that sends until it is stopped.

    Args:
        firewall: How it logs, and over what.
        port: The listener's, on 127.0.0.1.
        rate_per_s: Ordinary messages a second.
        seed: Of what it draws by lot.
    """

    def __init__(self, firewall: Firewall, port: int, rate_per_s: float, seed: int) -> None:
        self.listener = "udp" if firewall.transport == "udp" else "tcp"
        self.sent = Sent()
        self.attacking = False
        self.broken: OSError | None = None
        """Why it ended by itself: its last batch was sent in part, or not at all, and is not in ``sent``."""
        self.unsure = 0
        """Messages of that batch."""
        self._firewall = firewall
        self._per_turn = max(1, round(rate_per_s * TURN_S))
        self._lot = random.Random(seed)
        self._history: deque[tuple[float, int]] = deque([(time.monotonic(), 0)], maxlen=HISTORY)
        self._go = threading.Event()
        self._go.set()
        self._at_rest = threading.Event()
        self._stopped = threading.Event()
        if firewall.transport == "udp":
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._socket.connect(("127.0.0.1", port))
        else:
            self._socket = socket.create_connection(("127.0.0.1", port), SEND_PATIENCE_S)
        self._thread = threading.Thread(target=self._run, name=firewall.name, daemon=True)
        self._thread.start()

    def rest(self) -> None:
        """Send nothing until ``go``; returns when the last batch is with the kernel."""
        self._at_rest.clear()
        self._go.clear()
        while self._thread.is_alive() and not self._at_rest.wait(TURN_S):
            pass

    def go(self) -> None:
        """Send on."""
        self._go.set()

    def stop(self) -> None:
        """Send no more; the connection stays open until ``close``."""
        self._stopped.set()
        self._go.set()
        self._thread.join()

    def close(self) -> None:
        """End the connection."""
        self.stop()
        self._socket.close()

    def sent_by(self, moment_s: float) -> int:
        """Messages that were with the kernel at a moment of ``time.monotonic``."""
        return max((sent for at_s, sent in list(self._history) if at_s <= moment_s), default=0)

    def _run(self) -> None:
        number = 0
        due_s = time.monotonic()
        while not self._stopped.is_set():
            if not self._go.is_set():
                self._at_rest.set()
                self._go.wait()
                due_s = time.monotonic()
                continue
            batch = Sent()
            moment = datetime.now(UTC)
            messages = []
            for session in self._sessions():
                number += 1
                messages.append(self._firewall.message(session, number, moment).encode())
                if not session.allowed:
                    batch.failures[session.source] += 1
            batch.messages = len(messages)
            try:
                self._send(messages)
            except OSError as error:
                self.broken, self.unsure = error, batch.messages
                return
            self.sent += batch
            self._history.append((time.monotonic(), self.sent.messages))
            due_s += TURN_S
            self._stopped.wait(max(0.0, due_s - time.monotonic()))

    def _sessions(self) -> list[Session]:
        found = [ORDINARY.make(self._lot) for _ in range(self._per_turn)]
        if self.attacking:
            found += [_scan(self._lot) for _ in range(self._per_turn)]
            found += [make(self._lot) for make in (SMB.make, _forged) for _ in range(self._per_turn // 4)]
        return found

    def _send(self, messages: list[bytes]) -> None:
        if self._firewall.transport == "udp":
            for message in messages:
                self._socket.send(message)
        else:
            self._socket.sendall(b"".join(framed(message, self._firewall.transport) for message in messages))


class Load:
    """
    All firewalls at once, for one run of the daemon.

    Args:
        ports: By listener: ``udp`` and ``tcp``.
        rate_per_s: Ordinary messages a second, all together.
        seed: Of what is drawn by lot.
    """

    def __init__(self, ports: dict[str, int], rate_per_s: float, seed: int) -> None:
        share = rate_per_s / len(FIREWALLS)
        self.flows = [
            Flow(each, ports["udp" if each.transport == "udp" else "tcp"], share, seed * 100 + number)
            for number, each in enumerate(FIREWALLS)
        ]

    def sent(self, listener: str) -> int:
        """Messages handed to the kernel for a listener."""
        return sum(flow.sent.messages for flow in self.flows if flow.listener == listener)

    def sent_by(self, listener: str, moment_s: float) -> int:
        """The same at a moment before."""
        return sum(flow.sent_by(moment_s) for flow in self.flows if flow.listener == listener)

    def unsure(self, listener: str) -> int:
        """Messages that may have been sent when their connection broke."""
        return sum(flow.unsure for flow in self.flows if flow.listener == listener)

    def failures(self) -> Counter[str]:
        """Failed sessions by source."""
        total = Sent()
        for flow in self.flows:
            total += flow.sent
        return total.failures

    def attack(self, on: bool) -> None:
        """Begin or end the attack."""
        for flow in self.flows:
            flow.attacking = on

    def rest(self) -> None:
        """See ``Flow``."""
        for flow in self.flows:
            flow.rest()

    def go(self) -> None:
        """See ``Flow``."""
        for flow in self.flows:
            flow.go()

    def stop(self) -> None:
        """See ``Flow``."""
        for flow in self.flows:
            flow.stop()

    def close(self) -> None:
        """See ``Flow``."""
        for flow in self.flows:
            flow.close()

    def broken(self) -> list[str]:
        """Flows that ended by themselves, and why."""
        return [f"{flow.listener}: {flow.broken}" for flow in self.flows if flow.broken is not None]


class Receiver:
    """A syslog receiver over TCP (octet counting) that can go down and come back on the same port."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.octets = 0
        self._open: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        self._serve()

    def up(self) -> None:
        """Listen again."""
        self._listening = socket.create_server(("127.0.0.1", self.port))
        self._serve()

    def down(self) -> None:
        """Refuse connections, and end those that are open."""
        # A thread that waits in accept is woken by a shutdown, not by a close.
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        with self._lock:
            for each in self._open:
                # What is closed with a reset leaves no TIME_WAIT that would keep the port.
                each.close()
            self._open.clear()

    def _serve(self) -> None:
        threading.Thread(target=self._accept, args=(self._listening,), daemon=True).start()

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                taken, _ = listening.accept()
            except OSError:
                return
            with self._lock:
                self._open.append(taken)
            threading.Thread(target=self._read, args=(taken,), daemon=True).start()

    def _read(self, taken: socket.socket) -> None:
        while True:
            try:
                octets = taken.recv(65_536)
            except OSError:
                return
            if not octets:
                break
            self.octets += len(octets)
        with self._lock:
            if taken in self._open:
                self._open.remove(taken)
        taken.close()
