"""
The UDP listener: asyncio-dgram wakes it, the engine drains the socket.

asyncio-dgram hands over one datagram per turn of the loop and its queue has no bound, so ``recv`` is the wake-up alone:
what else waits on the same socket is taken by one call of the engine, many datagrams per system call. While the engine
works the kernel's buffer takes what comes; if that overflows, the kernel counts it and ``kernel_drops`` shows it.

A wake-up costs twenty times as much as a message. So while messages follow each other closely the stream is paused and
the socket is looked at every few ms instead, whatever has gathered in the kernel's buffer by then.
"""

import asyncio
import errno
import os
import socket
import struct
from collections.abc import Callable
from typing import Any, Protocol, cast

import asyncio_dgram
import structlog

from collectord.errors import ListenError

log = structlog.get_logger()

BUDGET = 4096
"""Datagrams per turn of the loop: some 4 ms of work, so that no other connection waits longer for its turn."""

FINAL_TURNS = 256
"""Budgets spent at the stop: more than a kernel's receive buffer holds, less than peers could send for ever."""

GATHER_S = 0.005
"""Longest time that datagrams gather while the stream is paused: 200 looks per second cost 2 % of a core at most."""

GATHER_LEAST = 2
"""Datagrams that must be expected within that time, or each one wakes us at once: two cost as much as a look."""

GATHER_BYTES_PER_S = 400_000_000
"""Fastest growth of a receive buffer to reckon with, which bounds the time by the buffer's size: some 300,000 datagrams
of 500 bytes per second, each of which the kernel charges with 1,280 bytes, or a link of 1 Gbit/s full of them."""

GATHER_STEP_S = 0.001
"""The event loop's timers are as coarse as that; a receive buffer for which less would be right (200 KiB are what a
system gives that is not told otherwise) still stands for it."""

BACKLOG = 1024
"""Connections that the kernel takes while we are busy; net.core.somaxconn caps it."""

SO_MEMINFO = 55
"""``include/uapi/asm-generic/socket.h``: socket memory figures, readable without any privilege."""
SK_MEMINFO_DROPS = 8
"""``include/uapi/linux/sock_diag.h``: place of the drop count among them."""


class Reader(Protocol):
    """What a datagram listener needs of the engine."""

    def receive(
        self, listener: int, fd: int, now_ns: int, budget: int, woken: list[tuple[bytes, str]]
    ) -> tuple[int, bool]:
        """Drain the socket; see ``collectord.engine``."""


class Pausable(Protocol):
    """What asyncio's datagram transport can do beside what it documents."""

    def pause_reading(self) -> None:
        """Nothing that comes wakes the loop."""

    def resume_reading(self) -> None:
        """It does again."""


class UdpListener:
    """
    One UDP socket.

    Args:
        number: The listener's number in the engine's plan.
        name: Its name in the configuration.
        host: Address to bind.
        port: Port; 0 takes a free one (``address`` tells which).
        receive_buffer_bytes: Asked of the kernel, which may give less.
        engine: Reads what comes.
        now_ns: Wall clock.
    """

    def __init__(
        self,
        *,
        number: int,
        name: str,
        host: str,
        port: int,
        receive_buffer_bytes: int,
        engine: Reader,
        now_ns: Callable[[], int],
    ) -> None:
        self.name = name
        self.receive_buffer_bytes = 0
        """What the kernel gave, in bytes; known after ``bind``."""
        self.gather_s = GATHER_STEP_S
        """How long datagrams gather that follow each other closely; known after ``bind``."""
        self.received = 0
        """Messages handed to the engine."""
        self._number = number
        self._host = host
        self._port = port
        self._asked_bytes = receive_buffer_bytes
        self._engine = engine
        self._now_ns = now_ns
        self._socket: socket.socket | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        if self._socket is None:
            return (self._host, self._port)
        host, port, *_ = self._socket.getsockname()
        return (host, port)

    def bind(self) -> None:
        """
        Take the address.

        Raises:
            ListenError: it is in use, not ours, or the port needs a privilege.
        """
        self._socket = bound_socket(self._host, self._port, socket.SOCK_DGRAM, self.name)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._asked_bytes)
        # socket(7): the kernel doubles what is asked, for its own bookkeeping, and reports the doubled value.
        charged_bytes = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        self.receive_buffer_bytes = charged_bytes // 2
        self.gather_s = max(min(charged_bytes / GATHER_BYTES_PER_S, GATHER_S), GATHER_STEP_S)
        if self.receive_buffer_bytes < self._asked_bytes:
            log.warning(
                "receive buffer is smaller than asked for; allow it with sysctl net.core.rmem_max",
                listener=self.name,
                bytes=self.receive_buffer_bytes,
                limit=self._asked_bytes,
            )

    async def serve(self) -> None:
        """
        Read until cancelled.

        Raises:
            OSError: the socket can't be read any more.
        """
        if self._socket is None:
            raise RuntimeError("bind comes before serve")
        fd = self._socket.fileno()
        stream = await asyncio_dgram.from_socket(self._socket)
        transport = _pausable(stream)
        now_s = asyncio.get_running_loop().time
        looked_s = now_s()
        try:
            while True:
                woken = [_with_host(await stream.recv())]
                while True:
                    taken, emptied = self._drain(fd, woken)
                    woken = []
                    before_s, looked_s = looked_s, now_s()
                    closely = taken * self.gather_s >= (looked_s - before_s) * GATHER_LEAST
                    if emptied and not (transport and closely):
                        break
                    if transport:
                        transport.pause_reading()
                    await asyncio.sleep(self.gather_s if emptied else 0)
                if transport:
                    transport.resume_reading()
        finally:
            try:
                self._finish(fd, _queued(stream))
            finally:
                stream.close()

    def _finish(self, fd: int, woken: list[tuple[bytes, str]]) -> None:
        """A graceful stop loses nothing that arrived: neither what the stream has queued nor what the kernel holds."""
        _, emptied = self._drain(fd, woken)
        for _ in range(FINAL_TURNS):
            if emptied:
                break
            _, emptied = self._drain(fd, [])

    def close(self) -> None:
        """Give the address back, if it is still held; may be called twice."""
        if self._socket is not None:
            self._socket.close()

    def _drain(self, fd: int, woken: list[tuple[bytes, str]]) -> tuple[int, bool]:
        """How many datagrams were taken, and whether that was all."""
        taken, emptied = self._engine.receive(self._number, fd, self._now_ns(), BUDGET, woken)
        self.received += taken
        return taken, emptied

    def kernel_drops(self) -> int:
        """Datagrams that the kernel dropped on this socket since it was opened, because its buffer was full."""
        if self._socket is None or self._socket.fileno() < 0:
            return 0
        figures = self._socket.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 36)
        return int(struct.unpack("=9I", figures)[SK_MEMINFO_DROPS])


def _pausable(stream: asyncio_dgram.aio.DatagramStream) -> Pausable | None:
    """The stream's transport, where it can be paused, as that of CPython's loop can; the stream has no call for it."""
    transport = getattr(stream, "_transport", None)
    return cast(Pausable, transport) if hasattr(transport, "pause_reading") else None


def _with_host(received: tuple[bytes, Any]) -> tuple[bytes, str]:
    """A datagram with its peer's host; asyncio hands over the socket address of the family."""
    datagram, address = received
    return datagram, str(address[0])


def _queued(stream: asyncio_dgram.aio.DatagramStream) -> list[tuple[bytes, str]]:
    """What the stream has read and nobody has taken yet: its ``recv`` waits only if there is nothing."""
    found: list[tuple[bytes, str]] = []
    while True:
        step = stream.recv()
        try:
            step.send(None)
        except StopIteration as done:
            found.append(_with_host(done.value))
        except OSError:
            continue  # A late error of the socket, handed over once.
        except asyncio_dgram.TransportClosed:
            return found
        else:
            step.close()
            return found


def bound_socket(host: str, port: int, kind: socket.SocketKind, name: str) -> socket.socket:
    """
    A non-blocking socket bound to an address; IPv6 sockets take IPv4 as well where the system says so.

    Raises:
        ListenError: with the port, and the process that holds it where that can be seen.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, kind)
    bound.setblocking(False)
    if kind == socket.SOCK_STREAM:
        # Connections of the last run in TIME_WAIT must not keep a restart from listening.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
        if kind == socket.SOCK_STREAM:
            bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        raise _explained(error, host, port, kind, name) from error
    return bound


def _explained(error: OSError, host: str, port: int, kind: socket.SocketKind, name: str) -> ListenError:
    protocol = "udp" if kind == socket.SOCK_DGRAM else "tcp"
    where = f"listener {name}: {protocol} port {port} on {host}"
    if error.errno == errno.EADDRINUSE:
        holder = port_holder(protocol, port)
        return ListenError(f"{where} is in use" + (f" by {holder}" if holder else " by another process"))
    if error.errno in (errno.EACCES, errno.EPERM):
        reason = "needs a privilege: use a port from 1024, the socket unit, or CAP_NET_BIND_SERVICE"
        return ListenError(f"{where} {reason}", permission=True)
    if error.errno == errno.EADDRNOTAVAIL:
        return ListenError(f"{where} can't be had: this machine has no address {host}")
    return ListenError(f"{where} can't be had: {error.strerror}")


def port_holder(protocol: str, port: int) -> str | None:
    """
    The process that holds a port, as ``rsyslogd (pid 812)``; None where /proc does not show it (another user's).

    Source: proc(5), ``/proc/net/udp`` and ``/proc/<pid>/fd``.
    """
    inodes = {f"socket:[{inode}]" for table in (protocol, protocol + "6") for inode in _inodes(table, port)}
    if not inodes:
        return None
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if any(os.readlink(f"/proc/{pid}/fd/{fd}") in inodes for fd in os.listdir(f"/proc/{pid}/fd")):
                with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as stream:
                    return f"{stream.read().strip()} (pid {pid})"
        except OSError:
            continue  # It ended meanwhile, or belongs to another user.
    return None


def _inodes(table: str, port: int) -> list[str]:
    try:
        with open(f"/proc/net/{table}", encoding="ascii") as stream:
            rows = [line.split() for line in stream.readlines()[1:]]
    except OSError:
        return []
    return [row[9] for row in rows if int(row[1].rpartition(":")[2], 16) == port]
