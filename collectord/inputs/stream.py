"""
The TCP listener: whose connections are taken, how many, how long one may be without a message, how fast a peer may
send. The TLS listener (``tls.py``) is one as well; a connection itself is in ``connection.py``.
"""

import asyncio
import select
import socket
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any, Protocol

import structlog

from collectord.errors import EngineError
from collectord.inputs.connection import CHUNK_BYTES, Connection
from collectord.inputs.rate import PeerRates
from collectord.inputs.sockets import address_of, backlog_of, bound_socket, is_in

log = structlog.get_logger()

ACCEPTED_AT_ONCE = 64
"""Connections taken in a turn of the loop, some 5 ms: who connects as fast as he can must not keep others waiting."""

FINAL_TURNS = 256
"""Turns that a stop goes on accepting for: more than the kernel's queue holds, and still an end."""

HELD_S = 0.05
"""A peer over its rate is not read for so long at least: stopping and starting has its price as well."""

HELD_OVER_S = 10.0
"""A peer that was not held back for so long keeps to its rate again."""

REFUSED_TOLD_EVERY_S = 10.0
"""Of connections that are refused for one reason the log tells one in so long, and how many there were."""

SHOWN_HELD = 100
"""Most peers held back that the status names."""


class Reader(Protocol):
    """What a stream listener needs of the engine."""

    def connect(self, listener: int, peer: str, name: str = "") -> int:
        """A stream starts; ``name``: what the peer proved to be called."""

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
        connections_per_peer: Most of one peer, relays apart.
        idle_s: A connection that ends no message for this long is closed; single bytes do not keep it open.
        allow: Networks whose connections are taken; none: everybody's.
        engine: Reads what comes.
        now_ns: Wall clock.
        peer_rate: Messages per second of a peer, beyond which it is held back; 0: any number.
        peer_burst: Those that it may send at once.
        relays: Networks whose peers have no rate: they send for many.
        inherited: Sockets that the service manager listens with for it, in place of one of our own. Connections that
            wait there at the stop are left to the next process, which gets the same sockets.
    """

    kind = "tcp"
    """Its type in the configuration."""

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
        inherited: Sequence[socket.socket] = (),
        connections_per_peer: int = 65_535,
    ) -> None:
        self.name = name
        self.refusals: dict[str, int] = {}
        """Connections closed without reading a message of them, by reason."""
        self.received = 0
        """Messages that the engine took, broken frames included."""
        self.room = sys.maxsize
        """Most connections that the process has files for, whatever is configured."""
        self._number = number
        self._host = host
        self._port = port
        self._of_peer: Counter[str] = Counter()
        self._refused_told: dict[str, tuple[float, int]] = {}
        """By reason: when the log told of one last (the loop's time), and how many there were by then."""
        self._engine = engine
        self._now_ns = now_ns
        self._rates = PeerRates(peer_rate, peer_burst)
        self._held: dict[str, asyncio.TimerHandle] = {}
        self._slowed: dict[str, _Slowed] = {}
        self.inherited = bool(inherited)
        """Whether the service manager holds its sockets."""
        self._sockets = list(inherited)
        self._open: set[Connection] = set()
        # One buffer serves all connections: a chunk is read and handed over within one turn of the loop.
        self.buffer = memoryview(bytearray(CHUNK_BYTES))
        """Where the next chunk of messages goes."""
        self.take_up(
            connections=connections,
            idle_s=idle_s,
            allow=allow,
            peer_rate=peer_rate,
            peer_burst=peer_burst,
            relays=relays,
            connections_per_peer=connections_per_peer,
        )

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens; the first of several addresses."""
        return self.addresses[0]

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where it listens."""
        return [address_of(each) for each in self._sockets if each.fileno() >= 0] or [(self._host, self._port)]

    @property
    def refused(self) -> int:
        """Connections closed without reading a message of them."""
        return sum(self.refusals.values())

    @property
    def connections(self) -> int:
        """Connections that are open."""
        return len(self._open)

    @property
    def limit(self) -> int:
        """Most connections at once."""
        return min(self._most, self.room)

    def is_held(self, peer: str) -> bool:
        """Whether nothing is read of a peer at the moment."""
        return peer in self._held

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
        connections_per_peer: int,
    ) -> None:
        """Other bounds from now on; what is connected stays, idle for longer than ``idle_s`` apart."""
        self._rates.take_up(peer_rate, peer_burst)
        self._relays = [ip_network(network) for network in relays]
        self._most = connections
        self._most_of_peer = connections_per_peer
        self._idle_s = idle_s
        self._allow = [ip_network(network) for network in allow]

    def bind(self) -> None:
        """
        Take the port.

        Raises:
            ListenError: it is in use, not ours, or needs a privilege.
        """
        if not self._sockets:
            self._sockets = [bound_socket(self._host, self._port, socket.SOCK_STREAM, self.name)]

    def take_over(self, other: "TcpListener") -> None:
        """Listen, in place of ``bind``, with the sockets of a listener that goes."""
        self.inherited = other.inherited
        self._sockets = [each.dup() for each in other._sockets]

    async def serve(self) -> None:
        """Accept and read until cancelled; ends with every connection closed."""
        if not self._sockets:
            raise RuntimeError("bind comes before serve")
        loop = asyncio.get_running_loop()
        servers = [await self._server(listening) for listening in self._sockets]
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
            for server in servers:
                server.close()
            for timer in self._held.values():
                timer.cancel()
            for connection in list(self._open):
                connection.finish()

    async def _server(self, listening: socket.socket) -> asyncio.Server:
        backlog = backlog_of(listening)
        # What asyncio calls the backlog is also how many it accepts in one turn of the loop; the kernel may keep more.
        server = await asyncio.get_running_loop().create_server(
            self._connection, sock=listening, backlog=ACCEPTED_AT_ONCE
        )
        listening.listen(backlog)
        return server

    def _connection(self) -> Connection:
        return Connection(self)

    async def _accept_the_last(self) -> None:
        """
        Connections that wait in the kernel have been acknowledged to their peers, and may have sent already.

        At the sockets of the service manager they wait for the next process.
        """
        poll = select.poll()
        for listening in self._sockets:
            if self.inherited:
                asyncio.get_running_loop().remove_reader(listening)
            else:
                poll.register(listening, select.POLLIN)
        for _ in range(FINAL_TURNS):
            if not poll.poll(0):
                break
            await asyncio.sleep(0)
        # What one turn of the loop accepts is made a connection in the next ones.
        for _ in range(3):
            await asyncio.sleep(0)

    def close(self) -> None:
        """Give the port back, if it is still held; may be called twice."""
        for listening in self._sockets:
            listening.close()

    def admit(self, connection: Connection) -> bool:
        """Whether a new connection is taken; not where there are too many, or its peer is not allowed."""
        peer = connection.peer
        if not self._is_allowed(peer):
            self.refuse(peer, "not_allowed", "its peer is not in allow")
            return False
        if len(self._open) >= self.limit:
            self.refuse(peer, "too_many", f"{self.limit} are open")
            return False
        if self._of_peer[peer] >= self._most_of_peer and not is_in(peer, self._relays):
            self.refuse(peer, "too_many_of_peer", f"its peer has {self._most_of_peer}")
            return False
        self._of_peer[peer] += 1
        self._open.add(connection)
        if connection.peer in self._held:
            connection.pause()
        return True

    def refuse(self, peer: str, reason: str, err: str) -> None:
        """
        A connection is closed of which no message was read.

        It is counted under its reason, a word of a closed list, and told unless another one of that reason was told
        just before: who is refused may come back at once.
        """
        total = self.refusals[reason] = self.refusals.get(reason, 0) + 1
        now_s = asyncio.get_running_loop().time()
        told_s, told = self._refused_told.get(reason, (-REFUSED_TOLD_EVERY_S, 0))
        if now_s - told_s >= REFUSED_TOLD_EVERY_S:
            self._refused_told[reason] = (now_s, total)
            count = total - told
            log.warning("connection refused", listener=self.name, peer=peer, reason=reason, err=err, count=count)

    def _is_allowed(self, peer: str) -> bool:
        return not self._allow or is_in(peer, self._allow)

    def begin(self, peer: str, name: str = "") -> int:
        """Messages are going to come on a connection; returns its number in the engine."""
        return self._engine.connect(self._number, peer, name)

    def read(self, stream: int, n: int) -> int:
        """
        The first ``n`` bytes of the buffer came on a connection; returns how many messages they ended.

        Raises:
            EngineError: nothing more of the connection can be read.
        """
        try:
            messages = self._engine.feed(stream, self.buffer, n, self._now_ns())
        except EngineError as error:
            self.received += error.messages
            raise
        self.received += messages
        return messages

    def broken(self, connection: Connection, error: EngineError) -> None:
        """The engine met a bug at a connection; its peer may connect anew."""
        log.error("connection closed: the engine met a bug", listener=self.name, peer=connection.peer, err=str(error))

    def charge(self, peer: str, messages: int, now_s: float) -> None:
        """A peer sent messages: over its rate, none of its connections is read for a while."""
        wait_s = self._rates.take(peer, messages, now_s)
        if not wait_s or peer in self._held:
            return
        if is_in(peer, self._relays):
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

    def ended(self, connection: Connection, stream: int | None) -> None:
        """A connection is gone; ``stream``: its number in the engine, if it had one."""
        self._open.discard(connection)
        self._of_peer[connection.peer] -= 1
        if self._of_peer[connection.peer] <= 0:
            del self._of_peer[connection.peer]
        if stream is None:
            return
        try:
            self.received += self._engine.disconnect(stream, self._now_ns())
        except EngineError as error:
            self.broken(connection, error)


@dataclass(slots=True)
class _Slowed:
    """A peer that was held back of late."""

    since_s: float
    last_s: float = 0.0
    times: int = 0
