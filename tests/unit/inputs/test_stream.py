"""The TCP listener: bytes to the engine, bounds on connections and idle time, and a stop that loses nothing."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any, TypeVar

import pytest
import structlog

from collectord.errors import EngineError, ListenError
from collectord.inputs import connection as module
from collectord.inputs.sockets import backlog_of, bound_socket
from collectord.inputs.stream import TcpListener

Listener = TypeVar("Listener", bound=TcpListener)

POISON = b"poison"
"""What the engine panics at."""


class FakeEngine:
    """Keeps the bytes of each stream; each line is a message."""

    def __init__(self) -> None:
        self.data: dict[int, bytearray] = {}
        self.ended: list[int] = []
        self.listeners: list[int] = []
        self.refuses = False

    def connect(self, listener: int, peer: str, name: str = "") -> int:
        if self.refuses:
            raise EngineError("the engine panicked")
        self.listeners.append(listener)
        number = len(self.listeners)
        self.data[number] = bytearray()
        return number

    def feed(self, stream: int, buffer: memoryview, n: int, now_ns: int) -> int:
        assert now_ns == 42
        assert stream not in self.ended
        if POISON in bytes(buffer[:n]):
            raise EngineError("the engine panicked", 3)
        self.data[stream] += buffer[:n]
        return bytes(buffer[:n]).count(b"\n")

    def disconnect(self, stream: int, now_ns: int) -> int:
        self.ended.append(stream)
        if self.data[stream].endswith(b"bitter end"):
            raise EngineError("the engine panicked")
        return int(bool(self.data[stream]) and not self.data[stream].endswith(b"\n"))


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@contextmanager
def making(kind: type[Listener], engine: FakeEngine, name: str) -> Iterator[Callable[..., Listener]]:
    """Makes bound listeners on free ports of loopback, until the block ends; any argument can be given."""
    made: list[Listener] = []

    def make(**arguments: Any) -> Listener:
        values: dict[str, Any] = {
            "number": 5,
            "name": name,
            "host": "127.0.0.1",
            "port": 0,
            "connections": 10,
            "idle_s": 600.0,
            "allow": (),
            "engine": engine,
            "now_ns": lambda: 42,
        }
        listener = kind(**(values | arguments))
        made.append(listener)
        listener.bind()
        return listener

    yield make
    for listener in made:
        listener.close()


@pytest.fixture
def make(engine: FakeEngine) -> Iterator[Callable[..., TcpListener]]:
    """Makes a listener; any argument can be given."""
    with making(TcpListener, engine, "tcp") as make:
        yield make


@asynccontextmanager
async def serving(listener: TcpListener) -> AsyncIterator[None]:
    """Serves until the block ends."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(listener.serve())
        yield
        task.cancel()


@asynccontextmanager
async def connected(listener: TcpListener) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A client's end of a connection."""
    reader, writer = await asyncio.open_connection(*listener.address)
    try:
        yield reader, writer
    finally:
        writer.close()


@asynccontextmanager
async def connected_from(listener: TcpListener, host: str) -> AsyncIterator[asyncio.StreamWriter]:
    """A client's end of a connection from another address."""
    _, writer = await asyncio.open_connection(*listener.address, local_addr=(host, 0))
    try:
        yield writer
    finally:
        writer.close()


async def until(holds: Callable[[], bool]) -> None:
    """Lets the loop turn until something holds; pytest's time limit is the bound."""
    while not holds():  # noqa: ASYNC110
        await asyncio.sleep(0.001)


Make = Callable[..., TcpListener]


async def test_bytes_reach_the_engine(make: Make, engine: FakeEngine) -> None:
    listener = make()
    async with serving(listener), connected(listener) as (_, writer):
        writer.write(b"one\ntwo\nhal")
        await until(lambda: listener.received == 2)
        assert listener.connections == 1
        writer.write(b"f\n")
        await until(lambda: listener.received == 3)
        writer.close()
        await until(lambda: listener.connections == 0)

    assert engine.listeners == [5]
    assert engine.data == {1: bytearray(b"one\ntwo\nhalf\n")}
    assert engine.ended == [1]


async def test_what_ends_with_the_connection_is_received(make: Make, engine: FakeEngine) -> None:
    listener = make()
    async with serving(listener), connected(listener) as (_, writer):
        writer.write(b"without an end")
        writer.close()
        await until(lambda: listener.received == 1)
    assert engine.ended == [1]


async def test_connections_do_not_mix(make: Make, engine: FakeEngine) -> None:
    listener = make()
    async with serving(listener), connected(listener) as (_, first), connected(listener) as (_, second):
        for number in range(20):
            first.write(b"first %d\n" % number)
            second.write(b"second %d\n" % number)
            await first.drain()
        await until(lambda: listener.received == 40)
    lines = sorted(bytes(data) for data in engine.data.values())
    assert lines == [
        b"".join(b"first %d\n" % number for number in range(20)),
        b"".join(b"second %d\n" % number for number in range(20)),
    ]


async def test_a_connection_at_which_the_engine_panics_is_closed(make: Make, engine: FakeEngine) -> None:
    """Others go on, and its peer may connect anew."""
    listener = make()
    with structlog.testing.capture_logs() as logs:
        async with serving(listener), connected(listener) as (_, other):
            async with connected(listener) as (reader, writer):
                other.write(b"one\n")
                writer.write(b"two\n")
                await until(lambda: listener.received == 2)
                writer.write(b"three\n" + POISON)
                assert await reader.read() == b""
            # What the engine had counted of it then.
            await until(lambda: listener.received == 5 and listener.connections == 1)
            async with connected(listener) as (_, anew):
                anew.write(b"four\n")
                other.write(b"five\n")
                await until(lambda: listener.received == 7)
            engine.refuses = True
            async with connected(listener) as (reader, _):
                assert await reader.read() == b""
            await until(lambda: listener.connections == 1)
            other.write(b"a bitter end")
            other.close()
            await until(lambda: listener.connections == 0)
    broken = "connection closed: the engine met a bug"
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == [broken] * 3


async def test_more_than_one_chunk(make: Make, engine: FakeEngine) -> None:
    listener = make()
    sent = b"".join(b"%06d\n" % number for number in range(module.CHUNK_BYTES // 3))
    async with serving(listener), connected(listener) as (_, writer):
        writer.write(sent)
        await writer.drain()
        await until(lambda: listener.received == module.CHUNK_BYTES // 3)
    assert bytes(engine.data[1]) == sent


async def test_one_too_many_is_refused(make: Make, engine: FakeEngine) -> None:
    """It is closed at once, and counted; the others go on, and there is room again when one ends."""
    listener = make(connections=2)
    with structlog.testing.capture_logs() as logs:
        async with serving(listener), connected(listener) as (_, first), connected(listener):
            await until(lambda: listener.connections == 2)
            async with connected(listener) as (reader, writer):
                writer.write(b"lost\n")
                with pytest.raises(ConnectionError):
                    assert await reader.read() == b""
                    raise ConnectionResetError  # Closed without a reset, if our bytes came later than the close.
            assert (listener.connections, listener.refused) == (2, 1)
            first.close()
            await until(lambda: listener.connections == 1)
            async with connected(listener) as (_, writer):
                writer.write(b"taken\n")
                await until(lambda: listener.received == 1)

    assert len(engine.listeners) == 3
    (entry,) = [entry for entry in logs if "refused" in entry["event"]]
    assert (entry["listener"], entry["peer"], entry["err"]) == ("tcp", "127.0.0.1", "2 are open")


async def test_one_peer_gets_no_more_than_its_share(make: Make) -> None:
    """Others are taken all the same, and so are relays; the log is not filled by who comes again and again."""
    listener = make(connections_per_peer=2, relays=("127.0.0.8/29",))
    with structlog.testing.capture_logs() as logs:
        async with serving(listener), connected(listener) as (_, first), connected(listener):
            await until(lambda: listener.connections == 2)
            for refused in range(1, 6):
                async with connected(listener):
                    await until(lambda refused=refused: listener.refused == refused)
            async with AsyncExitStack() as others:
                await others.enter_async_context(connected_from(listener, "127.0.0.2"))
                for _ in range(3):
                    await others.enter_async_context(connected_from(listener, "127.0.0.9"))
                await until(lambda: listener.connections == 6)
            await until(lambda: listener.connections == 2)
            first.close()
            await until(lambda: listener.connections == 1)
            async with connected(listener):
                await until(lambda: listener.connections == 2)

    assert listener.refused == 5
    (entry,) = [entry for entry in logs if "refused" in entry["event"]]
    assert (entry["peer"], entry["err"], entry["count"]) == ("127.0.0.1", "its peer has 2", 1)


async def test_an_idle_connection_is_closed(make: Make, engine: FakeEngine) -> None:
    """Such as that of a peer that lost its power: nothing tells us that it is gone."""
    listener = make(idle_s=0.2)
    with structlog.testing.capture_logs() as logs:
        async with serving(listener), connected(listener) as (reader, writer):
            writer.write(b"half a line")
            await until(lambda: bool(engine.data.get(1)))
            with pytest.raises(ConnectionError):
                assert await reader.read() == b""
                raise ConnectionResetError
            await until(lambda: listener.connections == 0)

    assert listener.received == 1, "what it left unfinished has its outcome"
    assert engine.ended == [1]
    assert [entry["event"] for entry in logs] == ["idle connection closed"]


async def test_single_bytes_do_not_keep_a_connection_open(make: Make) -> None:
    """A peer that never ends a message must not hold a place for ever."""
    listener = make(idle_s=0.2)
    async with serving(listener), connected(listener) as (_, writer):
        await until(lambda: listener.connections == 1)
        while listener.connections:
            writer.write(b"x")
            await asyncio.sleep(0.01)
    assert listener.received == 1, "what it began is unfinished"


async def test_a_peer_over_its_rate_is_held_back(make: Make, engine: FakeEngine) -> None:
    """All its connections wait, nothing of them is lost, and others are read meanwhile."""
    listener = make(peer_rate=1_000, peer_burst=100)
    with structlog.testing.capture_logs() as logs:
        async with serving(listener), connected(listener) as (_, one), connected(listener) as (_, two):
            one.write(b"m\n" * 300)
            await until(lambda: listener.received >= 300)
            ((peer, timer),) = listener._held.items()
            assert (peer, [each["peer"] for each in listener.held_back()]) == ("127.0.0.1", ["127.0.0.1"])
            assert 0.1 < timer.when() - asyncio.get_running_loop().time() <= 0.3
            two.write(b"later\n")
            async with connected_from(listener, "127.0.0.2") as other:
                other.write(b"meanwhile\n")
                await until(lambda: listener.received == 301)
            assert engine.data[3] == b"meanwhile\n"
            await until(lambda: listener.received == 302)
            await until(lambda: not listener._held)
            listener._look_at_rates(asyncio.get_running_loop().time() + 11)
            assert not listener.held_back()
    assert [each["event"] for each in logs] == ["peer held back: it sends too much", "peer no longer held back"]


async def test_relays_are_never_held_back(make: Make) -> None:
    listener = make(peer_rate=1, peer_burst=1, relays=("127.0.0.0/8",))
    async with serving(listener), connected(listener) as (_, writer):
        writer.write(b"m\n" * 3_000)
        await until(lambda: listener.received == 3_000)
        assert not listener.held_back()


async def test_a_new_connection_of_a_peer_that_is_held_back_waits_too(make: Make) -> None:
    listener = make(peer_rate=1_000, peer_burst=10)
    async with serving(listener), connected(listener) as (_, one):
        one.write(b"m\n" * 200)
        await until(lambda: bool(listener.held_back()))
        async with connected(listener) as (_, two):
            two.write(b"n\n")
            await until(lambda: listener.connections == 2)
            assert listener.received == 200
            await until(lambda: listener.received == 201)


async def test_a_connection_that_sends_is_not_idle(make: Make) -> None:
    listener = make(idle_s=0.3)
    async with serving(listener), connected(listener) as (_, writer):
        loop = asyncio.get_running_loop()
        end = loop.time() + 0.9
        sent = 0
        while loop.time() < end:
            writer.write(b"x\n")
            sent += 1
            await until(lambda sent=sent: listener.received == sent)
        assert listener.connections == 1


async def test_the_stop_reads_what_the_kernel_holds(make: Make, engine: FakeEngine) -> None:
    """The peer has its acknowledgement already, so it will not send it again."""
    listener = make()
    async with serving(listener):
        with socket.create_connection(listener.address) as peer:
            await until(lambda: listener.connections == 1)
            peer.sendall(b"line\n" * 10_000 + b"rest")
            assert engine.data[1] == b"", "the loop had no turn to read it"
            # Leaving the block cancels the listener before the loop reads.
    assert bytes(engine.data[1]) == b"line\n" * 10_000 + b"rest"
    assert listener.received == 10_001
    assert engine.ended == [1]
    assert listener.connections == 0


async def test_the_stop_has_an_end(make: Make, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that never stops sending does not keep the daemon from stopping."""
    monkeypatch.setattr(module.os, "readv", lambda _, __: 5)
    listener = make()
    async with serving(listener):
        peer = socket.create_connection(listener.address)
        await until(lambda: listener.connections == 1)
    peer.close()
    assert len(engine.data[1]) == 5 * module.FINAL_CHUNKS


async def test_the_stop_with_a_peer_that_is_gone(make: Make, engine: FakeEngine) -> None:
    """A reset that came in the same turn is no error."""
    listener = make()
    async with serving(listener):
        peer = socket.create_connection(listener.address)
        await until(lambda: listener.connections == 1)
        # Linger with 0 s: closing resets the connection (socket(7)).
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        peer.close()
    assert engine.ended == [1]


async def test_a_half_open_peer_is_closed(make: Make, engine: FakeEngine) -> None:
    """It said that it sends no more; we never answer, so the connection is over."""
    listener = make()
    async with serving(listener), connected(listener) as (reader, writer):
        writer.write(b"last\n")
        writer.write_eof()
        assert await reader.read() == b""
        await until(lambda: listener.connections == 0)
    assert bytes(engine.data[1]) == b"last\n"
    assert engine.ended == [1]


async def test_after_the_stop_nobody_listens(make: Make) -> None:
    listener = make()
    address = listener.address
    async with serving(listener), connected(listener):
        await until(lambda: listener.connections == 1)
    await asyncio.sleep(0)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*address)


def test_a_restart_gets_its_port_again(make: Make) -> None:
    """Connections of the last run in TIME_WAIT do not keep it."""
    listener = make()
    port = listener.address[1]
    with socket.create_connection(listener.address) as peer:
        taken, _ = listener._sockets[0].accept()
        taken.close()  # We close first: TIME_WAIT is on our side.
        assert peer.recv(1) == b""
    listener.close()
    assert make(port=port).address[1] == port


async def test_a_peer_that_is_not_allowed(make: Make, engine: FakeEngine) -> None:
    """Its connection is closed at once, and counted; what it sends is not read."""
    listener = make(allow=("127.0.0.8/29", "2001:db8::/32"))
    async with serving(listener):
        for source, answers in (("127.0.0.1", b""), ("127.0.0.9", None)):
            peer = socket.create_connection(listener.address, 5, source_address=(source, 0))
            with peer:
                peer.setblocking(False)
                if answers is not None:
                    assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(peer, 1), 5) == answers
                else:
                    await until(lambda: listener.connections == 1)
    assert listener.refused == 1


def test_a_port_in_use(make: Make) -> None:
    first = make()
    with pytest.raises(ListenError, match=rf"tcp port {first.address[1]} on 127.0.0.1 is in use by .+ \(pid \d+\)"):
        make(port=first.address[1])


async def test_bind_comes_first(engine: FakeEngine) -> None:
    listener = TcpListener(
        number=0, name="t", host="127.0.0.1", port=7, connections=1, idle_s=1, allow=(), engine=engine, now_ns=lambda: 0
    )
    assert listener.address == ("127.0.0.1", 7)
    listener.close()
    with pytest.raises(RuntimeError, match="bind comes before serve"):
        await listener.serve()


async def test_other_bounds(make: Make, engine: FakeEngine) -> None:
    """For who comes from now on."""
    listener = make(allow=("127.0.0.8/29",))
    listener.take_up(connections=1, idle_s=60, allow=(), peer_rate=0, peer_burst=1, relays=(), connections_per_peer=9)
    async with serving(listener), connected(listener):
        await until(lambda: listener.connections == 1)
        async with connected(listener):
            await until(lambda: listener.refused == 1)
        assert listener.connections == 1


class TestHandedOver:
    """Sockets of the service manager."""

    async def test_several_are_read(self, make: Make) -> None:
        """Also IPv6; the peer of each is known by its own address."""
        both = [bound_socket(host, 0, socket.SOCK_STREAM, "test") for host in ("127.0.0.1", "::1")]
        listener = make(inherited=both, allow=["::1/128"])
        async with serving(listener):
            assert [host for host, _ in listener.addresses] == ["127.0.0.1", "::1"]
            _, refused = await asyncio.open_connection(*listener.addresses[0])
            await until(lambda: listener.refused == 1)
            _, writer = await asyncio.open_connection(*listener.addresses[1])
            writer.write(b"one\n")
            await until(lambda: listener.received == 1)
            for each in (refused, writer):
                each.close()

    async def test_the_next_process_takes_who_waits(self, make: Make, engine: FakeEngine) -> None:
        """Their port stays open, and as long as its queue was."""
        with bound_socket("127.0.0.1", 0, socket.SOCK_STREAM, "test") as held:
            held.listen(7)
            listener = make(inherited=[held.dup()])
            async with serving(listener), connected(listener) as (_, writer):
                assert backlog_of(held) == 7
                writer.write(b"one\n")
                await until(lambda: listener.received == 1)
                address = listener.address
            with socket.create_connection(address, 5) as waiting:
                waiting.sendall(b"two\n")
                after = make(inherited=[held.dup()])
                async with serving(after):
                    await until(lambda: after.received == 1)
        assert [bytes(data) for data in engine.data.values()] == [b"one\n", b"two\n"]

    @pytest.mark.parametrize("allowed", [True, False])
    async def test_ipv4_at_a_socket_of_both(self, make: Make, allowed: bool) -> None:
        listener = make(host="::", allow=["127.0.0.0/8" if allowed else "::/0"])
        async with serving(listener):
            _, writer = await asyncio.open_connection("127.0.0.1", listener.address[1])
            writer.write(b"one\n")
            await until(lambda: (listener.received, listener.refused) == (int(allowed), int(not allowed)))
            writer.close()
