"""
Sockets that somebody else holds: no connection is refused and no datagram lost, whatever the daemon does meanwhile.

The test plays the service manager. COLLECTORD_TEST_FULL=1 makes it as many reloads and restarts as were promised.
"""

import contextlib
import os
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ..certificates import Authority
from ..socket_holder import handing_over
from .daemon import COMMAND, Daemon, counted, denied, ended
from .servers import PATIENCE_S

pytestmark = pytest.mark.e2e

FULL = os.environ.get("COLLECTORD_TEST_FULL") == "1"
RELOADS, RESTARTS = (50, 10) if FULL else (6, 1)

TABLES = """
[[listener]]
type = "udp"
name = "udp"

[[listener]]
type = "tcp"
name = "tcp"

[[listener]]
type = "tls"
name = "tls"
cert_file = "own.pem"
key_file = "own.key"

[bounds]
peer_rate = 0

[[output]]
type = "log"
name = "log"
"""
SO_MEMINFO = 55
"""``include/uapi/asm-generic/socket.h``"""
BURST = 20


def held(kind: socket.SocketKind) -> socket.socket:
    """A socket as PID 1 holds it."""
    found = socket.socket(socket.AF_INET, kind)
    found.bind(("127.0.0.1", 0))
    if kind == socket.SOCK_STREAM:
        found.listen(1000)
    return found


def memory(udp: socket.socket) -> tuple[int, int, int]:
    """Bytes charged for what waits, bytes that may be charged, datagrams dropped (``linux/sock_diag.h``)."""
    figures = struct.unpack("=9I", udp.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 36))
    return figures[0], figures[1], figures[8]


class Traffic:
    """Senders of all kinds, each in its thread, until the block ends."""

    def __init__(self, daemon: Daemon, context: ssl.SSLContext) -> None:
        self._daemon, self._context = daemon, context
        self._over = threading.Event()
        self._failures: list[BaseException] = []
        self.udp = 0
        """Datagrams sent."""
        self.sure = 0
        """Messages of TCP connections that the daemon ended after the last one."""
        self.unsure = 0
        """Those of connections that a restart cut."""
        self.connections = 0

    @contextlib.contextmanager
    def flowing(self) -> Iterator[None]:
        threads = [threading.Thread(target=self._kept, args=(each,)) for each in (self._datagrams, self._connections)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in threads:
                thread.join()
        assert self._failures == []

    def _kept(self, send: Callable[[], None]) -> None:
        try:
            while not self._over.is_set():
                send()
        except BaseException as failure:  # noqa: BLE001
            self._failures.append(failure)

    def _datagrams(self) -> None:
        """As fast as they are read, and never more than a half of the buffer: the socket's holder sees it."""
        udp = self._daemon.held["udp"]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.connect(udp.getsockname())
            waiting, most, _ = memory(udp)
            if waiting > most // 2:
                self._over.wait(0.005)
                return
            for number in range(BURST):
                sender.send(denied("203.0.113.1", number))
            self.udp += BURST
        self._over.wait(0.002)

    def _connections(self) -> None:
        """One after the other; none may be refused, also while nobody accepts."""
        with socket.create_connection(self._daemon.held["tcp"].getsockname(), 3 * PATIENCE_S) as stream:
            self.connections += 1
            try:
                stream.sendall(ended([denied("203.0.113.2", number) for number in range(BURST)]))
                stream.shutdown(socket.SHUT_WR)
                stream.settimeout(3 * PATIENCE_S)
                assert stream.recv(1) == b""
            except ConnectionError:
                self.unsure += BURST
            else:
                self.sure += BURST


@pytest.fixture
def authority() -> Authority:
    return Authority("Site CA")


@pytest.fixture
def daemon(tmp_path: Path, authority: Authority) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path / "collector", TABLES)
    authority.signs("127.0.0.1").write(daemon.folder, "own")
    with contextlib.ExitStack() as stack:
        for name, kind in (("udp", socket.SOCK_DGRAM), ("tcp", socket.SOCK_STREAM), ("tls", socket.SOCK_STREAM)):
            daemon.held[name] = stack.enter_context(held(kind))
        stack.callback(daemon.close)
        daemon.start()
        yield daemon


@pytest.mark.timeout(600 if FULL else 120)
def test_reloads_and_restarts(daemon: Daemon, authority: Authority, capsys: pytest.CaptureFixture[str]) -> None:
    """Connections live through reloads without a loss, and find the port open during restarts."""
    context = ssl.create_default_context(cadata=authority.certificate_pem.decode())
    traffic = Traffic(daemon, context)
    live = {"tcp": 0, "tls": 0}
    config = daemon.config.read_text()
    # The sockets' own addresses are told, not the configuration's.
    for name, each in daemon.held.items():
        listener = daemon.listener(name)
        assert (listener["host"], listener["port"], listener["inherited"]) == (*each.getsockname(), True)
    began_s = time.monotonic()
    with traffic.flowing():
        for restart in range(RESTARTS + 1):
            with contextlib.ExitStack() as stack:
                tcp, raw = (
                    stack.enter_context(socket.create_connection(daemon.held[name].getsockname(), PATIENCE_S))
                    for name in ("tcp", "tls")
                )
                tls = stack.enter_context(context.wrap_socket(raw, server_hostname="127.0.0.1"))
                for number in range(RELOADS // (RESTARTS + 1) + (restart < RELOADS % (RESTARTS + 1))):
                    for name, stream in (("tcp", tcp), ("tls", tls)):
                        stream.sendall(counted([denied("203.0.113.3", each) for each in range(BURST)]))
                        live[name] += BURST
                    daemon.config.write_text(f"{config}[alerts]\nstorm_cap = {number + 1}\n")
                    assert daemon.reload()["taken"]
                # They were not closed, and what they send next is read as well.
                for name, stream in (("tcp", tcp), ("tls", tls)):
                    stream.sendall(counted([denied("203.0.113.3", 0)]))
                    live[name] += 1
                    assert daemon.listener(name)["connections"] >= 1
                if restart == RESTARTS:
                    break
                daemon.stop()
                daemon.start()
        elapsed_s = time.monotonic() - began_s
    assert memory(daemon.held["udp"])[2] == 0, "datagrams were dropped"
    daemon.wait(lambda: memory(daemon.held["udp"])[0] == 0, "the last datagrams")
    daemon.stop()
    found = dict(daemon.rows("SELECT listener, sum(messages) FROM ledger GROUP BY 1"))
    assert (found["udp"], found["tls"]) == (traffic.udp, live["tls"])
    assert traffic.sure + live["tcp"] <= found["tcp"] <= traffic.sure + traffic.unsure + live["tcp"]
    assert "Traceback" not in daemon.said()
    with capsys.disabled():
        if FULL:
            print(  # noqa: T201
                f"\n{RELOADS} reloads, {RESTARTS} restarts in {elapsed_s:.0f} s: {found}, {traffic.connections} "
                f"connections, {traffic.unsure} messages of cut ones"
            )


def test_a_socket_that_nobody_would_read(tmp_path: Path) -> None:
    """Named by the message; the start fails as for a wrong configuration."""
    config = tmp_path / "collectord.toml"
    config.write_text('state_dir = "state"\n')
    with held(socket.SOCK_DGRAM) as udp:
        result = subprocess.run(
            handing_over([udp.fileno()], [*COMMAND, "run", "--config", str(config)]),
            env=os.environ | {"LISTEN_FDS": "1", "LISTEN_FDNAMES": "syslog.socket"},
            pass_fds=[udp.fileno()],
            capture_output=True,
            timeout=3 * PATIENCE_S,
            check=False,
        )
        port = udp.getsockname()[1]
    assert result.returncode == 78
    where = f'LISTEN_FDS: descriptor 3 ("syslog.socket", udp port {port} on 127.0.0.1) belongs to no listener'
    assert where in result.stderr.decode()
