"""
The UDP listener: asyncio-dgram wakes it, the engine drains the socket.

asyncio-dgram hands over one datagram per turn of the loop and its queue has no bound, so ``recv`` is the wake-up alone:
what else waits on the same socket is taken by one call of the engine, many datagrams per system call. While the engine
works the kernel's buffer takes what comes; if that overflows, the kernel counts it and ``kernel_drops`` shows it.

A wake-up costs twenty times as much as a message. So while messages follow each other closely the stream is paused and
the socket is looked at every few ms instead, whatever has gathered in the kernel's buffer by then.
"""

import asyncio
import socket
import struct
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

import asyncio_dgram
import structlog

from collectord.errors import EngineError
from collectord.inputs.sockets import address_of, bound_socket, host_of

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
    A UDP port: one socket, or those that the service manager holds.

    Args:
        number: The listener's number in the engine's plan.
        name: Its name in the configuration.
        host: Address to bind.
        port: Port; 0 takes a free one (``address`` tells which).
        receive_buffer_bytes: Asked of the kernel, which may give less.
        engine: Reads what comes.
        now_ns: Wall clock.
        inherited: Sockets that the service manager bound for it, in place of one of our own. What they hold at the stop
            is left to the next process, which gets the same ones.
    """

    kind = "udp"
    """Its type in the configuration."""

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
        inherited: Sequence[socket.socket] = (),
    ) -> None:
        self.name = name
        self.receive_buffer_bytes = 0
        """What the kernel gave, in bytes, the smallest of several; known after ``bind``."""
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
        self.inherited = bool(inherited)
        """Whether the service manager holds its sockets."""
        self._sockets = list(inherited)
        self._dropped_before = 0

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens; the first of several addresses."""
        return self.addresses[0]

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where it listens."""
        return [address_of(each) for each in self._sockets if each.fileno() >= 0] or [(self._host, self._port)]

    def bind(self) -> None:
        """
        Take the address.

        Raises:
            ListenError: it is in use, not ours, or the port needs a privilege.
        """
        if not self._sockets:
            self._sockets = [bound_socket(self._host, self._port, socket.SOCK_DGRAM, self.name)]
        self._dropped_before = sum(_drops(each) for each in self._sockets)
        if self._dropped_before:
            log.warning("the kernel dropped datagrams before the start", listener=self.name, count=self._dropped_before)
        self.take_up(self._asked_bytes)

    def take_over(self, other: "UdpListener") -> None:
        """Read, before ``bind``, at the sockets of a listener that goes."""
        self.inherited = other.inherited
        self._sockets = [each.dup() for each in other._sockets]

    def take_up(self, receive_buffer_bytes: int) -> None:
        """Another buffer from now on."""
        self._asked_bytes = receive_buffer_bytes
        charged_bytes = min(self._buffer_of(each) for each in self._sockets)
        self.receive_buffer_bytes = charged_bytes // 2
        self.gather_s = max(min(charged_bytes / GATHER_BYTES_PER_S, GATHER_S), GATHER_STEP_S)
        if self.receive_buffer_bytes < self._asked_bytes:
            log.warning(
                "receive buffer is smaller than asked for; allow it with sysctl net.core.rmem_max",
                listener=self.name,
                bytes=self.receive_buffer_bytes,
                limit=self._asked_bytes,
            )

    def _buffer_of(self, bound: socket.socket) -> int:
        """Ask for our buffer, and see what datagrams may be charged for."""
        if not self.inherited or _given(self._asked_bytes) > _charged(bound):
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._asked_bytes)
        return _charged(bound)

    async def serve(self) -> None:
        """
        Read until cancelled.

        Raises:
            OSError: the socket can't be read any more.
        """
        if not self._sockets:
            raise RuntimeError("bind comes before serve")
        if len(self._sockets) == 1:
            # Its error goes out as it is, and not in a group.
            await self._serve(self._sockets[0])
            return
        async with asyncio.TaskGroup() as together:
            for bound in self._sockets:
                together.create_task(self._serve(bound))

    async def _serve(self, bound: socket.socket) -> None:
        fd = bound.fileno()
        stream = await asyncio_dgram.from_socket(bound)
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
        for _ in range(1 if self.inherited else FINAL_TURNS):
            if emptied:
                break
            _, emptied = self._drain(fd, [])

    def close(self) -> None:
        """Give the address back, if it is still held; may be called twice."""
        for bound in self._sockets:
            bound.close()

    def _drain(self, fd: int, woken: list[tuple[bytes, str]]) -> tuple[int, bool]:
        """How many datagrams were taken, and whether that was all."""
        try:
            taken, emptied = self._engine.receive(self._number, fd, self._now_ns(), BUDGET, woken)
        except EngineError as error:
            # What is left in the kernel's buffer wakes us again.
            log.error("datagrams lost: the engine met a bug", listener=self.name, err=str(error))
            return 0, True
        self.received += taken
        return taken, emptied

    def kernel_drops(self) -> int:
        """Datagrams that the kernel dropped since ``bind``, because a buffer was full."""
        return max(0, sum(_drops(each) for each in self._sockets if each.fileno() >= 0) - self._dropped_before)


def _given(asked_bytes: int) -> int:
    """What the kernel would let a socket of ours be charged for; one of the service manager's may have more."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, asked_bytes)
        return _charged(tried)


def _charged(bound: socket.socket) -> int:
    # socket(7): the kernel doubles what is asked, for its own bookkeeping, and reports the doubled value.
    return bound.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)


def _drops(bound: socket.socket) -> int:
    try:
        figures = bound.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 36)
    except OSError:
        return 0  # It was closed meanwhile: the store's thread asks as well.
    return int(struct.unpack("=9I", figures)[SK_MEMINFO_DROPS])


class _OfDebian12:
    """
    Pauses a datagram transport of Python 3.11.2, which Debian 12 has.

    Later ones of 3.11 have what that one lacks (``selector_events.py``): the calls of stream transports for all.
    """

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._paused = False

    def pause_reading(self) -> None:
        """Nothing that comes wakes the loop."""
        if not self._paused:
            self._transport._loop._remove_reader(self._transport._sock_fd)
            self._paused = True

    def resume_reading(self) -> None:
        """It does again."""
        if self._paused:
            self._transport._add_reader(self._transport._sock_fd, self._transport._read_ready)
            self._paused = False


def _pausable(stream: asyncio_dgram.aio.DatagramStream) -> Pausable | None:
    """The stream's transport, where it can be paused, as that of CPython's loop can; the stream has no call for it."""
    transport = getattr(stream, "_transport", None)
    if not hasattr(transport, "pause_reading"):
        return None
    # The base class has the call, and raises.
    if getattr(type(transport), "pause_reading", None) is not asyncio.ReadTransport.pause_reading:
        return cast(Pausable, transport)
    needed = ("_loop", "_sock_fd", "_add_reader", "_read_ready")
    return _OfDebian12(transport) if all(hasattr(transport, name) for name in needed) else None


def _with_host(received: tuple[bytes, Any]) -> tuple[bytes, str]:
    """A datagram with its peer's host; asyncio hands over the socket address of the family."""
    datagram, address = received
    return datagram, host_of(address)


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
