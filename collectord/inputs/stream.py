"""
The TCP listener: bytes go from the socket to the engine in chunks, without a copy.

Frames (RFC 6587), their bounds and what becomes of broken ones are the engine's. Here are only the connections: how
many, how long one may be without a message, and how fast a peer may send.
"""

import asyncio
import contextlib
import os
import select
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, Protocol, cast

import structlog

from collectord.inputs.rate import PeerRates
from collectord.inputs.udp import BACKLOG, bound_socket

log = structlog.get_logger()

CHUNK_BYTES = 256 * 1024
"""Most bytes read at once; about 500 messages, some 0.5 ms of work."""

ACCEPTED_AT_ONCE = 64
"""Connections taken in a turn of the loop, some 5 ms: who connects as fast as he can must not keep others waiting."""

FINAL_TURNS = 256
"""Turns that a stop goes on accepting for: more than the kernel's queue holds, and still an end."""

HELD_S = 0.05
"""A peer over its rate is not read for so long at least: stopping and starting has its price as well."""

HELD_OVER_S = 10.0
"""A peer that was not held back for so long keeps to its rate again."""

SHOWN_HELD = 100
"""Most peers held back that the status names."""

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
        idle_s: A connection that ends no message for this long is closed; single bytes do not keep it open.
        allow: Networks whose connections are taken; none: everybody's.
        engine: Reads what comes.
        now_ns: Wall clock.
        peer_rate: Messages per second of a peer, beyond which it is held back; 0: any number.
        peer_burst: Those that it may send at once.
        relays: Networks whose peers have no rate: they send for many.
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
        peer_rate: int = 0,
        peer_burst: int = 1,
        relays: Sequence[str] = (),
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
        self._rates = PeerRates(peer_rate, peer_burst)
        self._relays = [ip_network(network) for network in relays]
        self._held: dict[str, asyncio.TimerHandle] = {}
        self._slowed: dict[str, _Slowed] = {}
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

    @property
    def limit(self) -> int:
        """Most connections at once."""
        return self._most

    def held_back(self) -> list[dict[str, Any]]:
        """The peers over their rate, those that are it for longest first: ``peer``, ``elapsed_s``, ``times``."""
        now_s = asyncio.get_running_loop().time()
        return [
            {"peer": peer, "elapsed_s": round(now_s - slowed.since_s, 1), "times": slowed.times}
            for peer, slowed in [*self._slowed.items()][:SHOWN_HELD]
        ]

    def take_up(
        self,
        *,
        connections: int,
        idle_s: float,
        allow: Sequence[str],
        peer_rate: int,
        peer_burst: int,
        relays: Sequence[str],
    ) -> None:
        """Other bounds from now on; what is connected stays, idle for longer than ``idle_s`` apart."""
        self._rates.take_up(peer_rate, peer_burst)
        self._relays = [ip_network(network) for network in relays]
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
        # What asyncio calls the backlog is also how many it accepts in one turn of the loop; the kernel may keep more.
        server = await loop.create_server(lambda: _Connection(self), sock=self._socket, backlog=ACCEPTED_AT_ONCE)
        self._socket.listen(BACKLOG)
        try:
            while True:
                await asyncio.sleep(min(max(self._idle_s / 10, 0.05), 1.0))
                self._look_at_rates(loop.time())
                oldest = loop.time() - self._idle_s
                for connection in [c for c in self._open if c.last_message_s < oldest and c.peer not in self._held]:
                    log.info("idle connection closed", listener=self.name, peer=connection.peer, elapsed_s=self._idle_s)
                    connection.close()
        finally:
            await self._accept_the_last()
            server.close()
            for timer in self._held.values():
                timer.cancel()
            for connection in list(self._open):
                connection.finish()

    async def _accept_the_last(self) -> None:
        """Connections that wait in the kernel have been acknowledged to their peers, and may have sent already."""
        poll = select.poll()
        if self._socket is not None:
            poll.register(self._socket, select.POLLIN)
        for _ in range(FINAL_TURNS):
            if not poll.poll(0):
                break
            await asyncio.sleep(0)
        # What one turn of the loop accepts is made a connection in the next ones.
        for _ in range(3):
            await asyncio.sleep(0)

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
        if connection.peer in self._held:
            connection.pause()
        return self._engine.connect(self._number, connection.peer)

    def _is_allowed(self, peer: str) -> bool:
        return not self._allow or _is_in(peer, self._allow)

    def read(self, stream: int, n: int) -> int:
        """The first ``n`` bytes of the buffer came on a connection; returns how many messages they ended."""
        messages = self._engine.feed(stream, self._buffer, n, self._now_ns())
        self.received += messages
        return messages

    def charge(self, peer: str, messages: int, now_s: float) -> None:
        """A peer sent messages: over its rate, none of its connections is read for a while."""
        wait_s = self._rates.take(peer, messages, now_s)
        if not wait_s or peer in self._held:
            return
        if _is_in(peer, self._relays):
            self._rates.forgive(peer)
            return
        slowed = self._slowed.get(peer)
        if slowed is None:
            slowed = self._slowed[peer] = _Slowed(now_s)
            log.warning("peer held back: it sends too much", listener=self.name, peer=peer)
        slowed.last_s = now_s
        slowed.times += 1
        for connection in self._open:
            if connection.peer == peer:
                # A reader that is taken off the loop does not run in this turn either.
                connection.pause()
        timer = asyncio.get_running_loop().call_later(max(wait_s, HELD_S), self._release, peer)
        self._held[peer] = timer

    def _release(self, peer: str) -> None:
        del self._held[peer]
        for connection in self._open:
            if connection.peer == peer:
                connection.resume()

    def _look_at_rates(self, now_s: float) -> None:
        self._rates.forget(now_s)
        for peer, slowed in [*self._slowed.items()]:
            if now_s - slowed.last_s > HELD_OVER_S and peer not in self._held:
                del self._slowed[peer]
                elapsed_s = round(slowed.last_s - slowed.since_s, 1)
                log.warning(
                    "peer no longer held back", listener=self.name, peer=peer, count=slowed.times, elapsed_s=elapsed_s
                )

    def ended(self, connection: "_Connection", stream: int) -> None:
        """A connection is gone."""
        self._open.discard(connection)
        self.received += self._engine.disconnect(stream, self._now_ns())

    @property
    def buffer(self) -> memoryview:
        """Where the next chunk goes."""
        return self._buffer


@dataclass(slots=True)
class _Slowed:
    """A peer that was held back of late."""

    since_s: float
    last_s: float = 0.0
    times: int = 0


def _is_in(peer: str, networks: Sequence[IPv4Network | IPv6Network]) -> bool:
    try:
        address = ip_address(peer)
    except ValueError:
        return False
    # A socket of both kinds tells IPv4 peers as IPv6 (RFC 4291 section 2.5.5.2).
    address = getattr(address, "ipv4_mapped", None) or address
    return any(address in network for network in networks)


class _Connection(asyncio.BufferedProtocol):
    """One peer's connection."""

    def __init__(self, listener: TcpListener) -> None:
        self._listener = listener
        self._transport: asyncio.Transport | None = None
        self._stream: int | None = None
        self.peer = ""
        self.last_message_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # asyncio hands a stream protocol a stream's transport; its signature is that of all protocols.
        self._transport = cast(asyncio.Transport, transport)
        self.peer = str((transport.get_extra_info("peername") or ("",))[0])
        self.last_message_s = asyncio.get_running_loop().time()
        self._stream = self._listener.admit(self)
        if self._stream is None:
            self._transport.abort()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._listener.buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._stream is not None and (messages := self._listener.read(self._stream, nbytes)):
            self.last_message_s = asyncio.get_running_loop().time()
            self._listener.charge(self.peer, messages, self.last_message_s)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()

    def pause(self) -> None:
        """Read nothing for now; TCP makes the sender wait."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._transport is not None:
            self._transport.resume_reading()

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
