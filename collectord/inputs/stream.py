"""
The TCP listener: bytes go from the socket to the engine in chunks, without a copy.

Frames (RFC 6587), their bounds and what becomes of broken ones are the engine's. Here are only the connections: how
many, and how long one may be idle.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Sequence
from ipaddress import ip_address, ip_network
from typing import Protocol, cast

import structlog

from collectord.inputs.udp import BACKLOG, bound_socket

log = structlog.get_logger()

CHUNK_BYTES = 256 * 1024
"""Most bytes read at once; about 500 messages, some 0.5 ms of work."""

FINAL_CHUNKS = 64
"""Chunks read of a connection at the stop: more than the kernel holds, less than a peer could send for ever."""


class Reader(Protocol):
    """What a stream listener needs of the engine."""

    def connect(self, listener: int, peer: str) -> int:
        """A stream starts."""

    def feed(self, stream: int, buffer: memoryview, n: int, now_ns: int) -> int:
        """Its next bytes."""

    def disconnect(self, stream: int, now_ns: int) -> int:
        """It ended; returns how many frames that ended."""


class TcpListener:
    """
    One TCP port.

    Args:
        number: The listener's number in the engine's plan.
        name: Its name in the configuration.
        host: Address to bind.
        port: Port; 0 takes a free one (``address`` tells which).
        connections: Most at once; one more is closed at once, and counted.
        idle_s: A connection that sends nothing for this long is closed.
        allow: Networks whose connections are taken; none: everybody's.
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
        connections: int,
        idle_s: float,
        allow: Sequence[str],
        engine: Reader,
        now_ns: Callable[[], int],
    ) -> None:
        self.name = name
        self.refused = 0
        """Connections closed at once because there were too many, or their peer is not allowed."""
        self.received = 0
        """Messages that the engine took, broken frames included."""
        self._number = number
        self._host = host
        self._port = port
        self._most = connections
        self._idle_s = idle_s
        self._allow = [ip_network(network) for network in allow]
        self._engine = engine
        self._now_ns = now_ns
        self._socket: socket.socket | None = None
        self._open: set[_Connection] = set()
        # One buffer serves all connections: a chunk is read and handed over within one turn of the loop.
        self._buffer = memoryview(bytearray(CHUNK_BYTES))

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        if self._socket is None:
            return (self._host, self._port)
        host, port, *_ = self._socket.getsockname()
        return (host, port)

    @property
    def connections(self) -> int:
        """Connections that are open."""
        return len(self._open)

    def take_up(self, *, connections: int, idle_s: float, allow: Sequence[str]) -> None:
        """Other bounds from now on; what is connected stays, idle for longer than ``idle_s`` apart."""
        self._most = connections
        self._idle_s = idle_s
        self._allow = [ip_network(network) for network in allow]

    def bind(self) -> None:
        """
        Take the port.

        Raises:
            ListenError: it is in use, not ours, or needs a privilege.
        """
        self._socket = bound_socket(self._host, self._port, socket.SOCK_STREAM, self.name)

    async def serve(self) -> None:
        """Accept and read until cancelled; ends with every connection closed."""
        if self._socket is None:
            raise RuntimeError("bind comes before serve")
        loop = asyncio.get_running_loop()
        # The server listens once more, with a backlog of its own: 100 by default.
        server = await loop.create_server(lambda: _Connection(self), sock=self._socket, backlog=BACKLOG)
        try:
            while True:
                await asyncio.sleep(max(self._idle_s / 10, 0.05))
                oldest = loop.time() - self._idle_s
                for connection in [c for c in self._open if c.last_read_s < oldest]:
                    log.info("idle connection closed", listener=self.name, peer=connection.peer, elapsed_s=self._idle_s)
                    connection.close()
        finally:
            server.close()
            for connection in list(self._open):
                connection.finish()

    def close(self) -> None:
        """Give the port back, if it is still held; may be called twice."""
        if self._socket is not None:
            self._socket.close()

    def admit(self, connection: "_Connection") -> int | None:
        """A new connection's number in the engine; None: there are too many, or its peer is not allowed."""
        if not self._is_allowed(connection.peer):
            self.refused += 1
            log.warning("connection refused: its peer is not allowed", listener=self.name, peer=connection.peer)
            return None
        if len(self._open) >= self._most:
            self.refused += 1
            log.warning(
                "connection refused: too many are open", listener=self.name, peer=connection.peer, limit=self._most
            )
            return None
        self._open.add(connection)
        return self._engine.connect(self._number, connection.peer)

    def _is_allowed(self, peer: str) -> bool:
        if not self._allow:
            return True
        try:
            address = ip_address(peer)
        except ValueError:
            return False
        # A socket of both kinds tells IPv4 peers as IPv6 (RFC 4291 section 2.5.5.2).
        address = getattr(address, "ipv4_mapped", None) or address
        return any(address in network for network in self._allow)

    def read(self, stream: int, n: int) -> None:
        """The first ``n`` bytes of the buffer came on a connection."""
        self.received += self._engine.feed(stream, self._buffer, n, self._now_ns())

    def ended(self, connection: "_Connection", stream: int) -> None:
        """A connection is gone."""
        self._open.discard(connection)
        self.received += self._engine.disconnect(stream, self._now_ns())

    @property
    def buffer(self) -> memoryview:
        """Where the next chunk goes."""
        return self._buffer


class _Connection(asyncio.BufferedProtocol):
    """One peer's connection."""

    def __init__(self, listener: TcpListener) -> None:
        self._listener = listener
        self._transport: asyncio.Transport | None = None
        self._stream: int | None = None
        self.peer = ""
        self.last_read_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # asyncio hands a stream protocol a stream's transport; its signature is that of all protocols.
        self._transport = cast(asyncio.Transport, transport)
        self.peer = str((transport.get_extra_info("peername") or ("",))[0])
        self.last_read_s = asyncio.get_running_loop().time()
        self._stream = self._listener.admit(self)
        if self._stream is None:
            self._transport.abort()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._listener.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.last_read_s = asyncio.get_running_loop().time()
        if self._stream is not None:
            self._listener.read(self._stream, nbytes)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()

    def close(self) -> None:
        """Close from our side; nothing is read any more."""
        if self._transport is not None:
            self._transport.abort()

    def finish(self) -> None:
        """Read what the kernel has acknowledged to the peer already, then close: a graceful stop loses none of it."""
        if self._transport is not None and self._stream is not None and not self._transport.is_closing():
            fd = self._transport.get_extra_info("socket").fileno()
            with contextlib.suppress(OSError):  # It is empty, or the peer is gone.
                for _ in range(FINAL_CHUNKS):
                    n = os.readv(fd, [self._listener.buffer])
                    if n == 0:
                        break
                    self._listener.read(self._stream, n)
        self._end()
        self.close()

    def _end(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            self._listener.ended(self, stream)
