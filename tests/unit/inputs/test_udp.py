"""The UDP listener: the loop's wake-up, the drain, the end, and what a socket that can't be had says."""

import asyncio
import errno
import os
import socket
from asyncio import selector_events
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog

from collectord.errors import EX_NOPERM, EX_OSERR, EngineError, ListenError
from collectord.inputs import sockets, udp
from collectord.inputs.sockets import bound_socket
from collectord.inputs.udp import UdpListener

NOW_NS = 42


class FakeEngine:
    """Reads the socket as the engine does, and notes what it was handed."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.calls: list[tuple[int, int, int, list[bytes]]] = []
        """(listener, now_ns, budget, woken) of each call."""
        self.most = 1 << 30
        """Datagrams that a call takes at most."""
        self.error: OSError | EngineError | None = None

    def receive(
        self, listener: int, fd: int, now_ns: int, budget: int, woken: list[tuple[bytes, str]]
    ) -> tuple[int, bool]:
        if self.error is not None:
            raise self.error
        self.calls.append((listener, now_ns, budget, list(woken)))
        taken = [datagram for datagram, _ in woken]
        emptied = False
        with socket.socket(fileno=os.dup(fd)) as ours:
            while len(taken) < min(budget, self.most) and not emptied:
                try:
                    taken.append(ours.recv(65536, socket.MSG_DONTWAIT))
                except BlockingIOError:
                    emptied = True
        self.messages += taken
        return len(taken), emptied


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def make(engine: FakeEngine) -> Iterator[Callable[..., UdpListener]]:
    """Makes a listener on a free port of loopback; any argument can be given."""
    made: list[UdpListener] = []

    def make(**arguments: Any) -> UdpListener:
        values: dict[str, Any] = {
            "number": 3,
            "name": "udp",
            "host": "127.0.0.1",
            "port": 0,
            "receive_buffer_bytes": 64 * 1024,
            "engine": engine,
            "now_ns": lambda: NOW_NS,
        }
        listener = UdpListener(**(values | arguments))
        made.append(listener)
        return listener

    yield make
    for listener in made:
        listener.close()


@pytest.fixture
def sender() -> Iterator[socket.socket]:
    """A socket to send from."""
    with socket.socket(type=socket.SOCK_DGRAM) as sender:
        yield sender


@asynccontextmanager
async def serving(listener: UdpListener) -> AsyncIterator[asyncio.Task[None]]:
    """Serves until the block ends."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(listener.serve())
        yield task
        task.cancel()


async def until(holds: Callable[[], bool]) -> None:
    """Lets the loop turn until something holds; pytest's time limit is the bound."""
    while not holds():  # noqa: ASYNC110
        await asyncio.sleep(0)


async def test_wakes_and_drains(make: Callable[..., UdpListener], engine: FakeEngine, sender: socket.socket) -> None:
    """One datagram wakes the listener, the others are taken with it, in order."""
    listener = make()
    listener.bind()
    for number in range(10):
        sender.sendto(b"%d" % number, listener.address)
    async with serving(listener):
        await until(lambda: listener.received == 10)

    assert engine.messages == [b"%d" % number for number in range(10)]
    number, now_ns, budget, woken = engine.calls[0]
    assert (number, now_ns, budget, woken) == (3, NOW_NS, udp.BUDGET, [(b"0", "127.0.0.1")])


async def test_goes_on_after_a_pause(
    make: Callable[..., UdpListener], engine: FakeEngine, sender: socket.socket
) -> None:
    listener = make()
    listener.bind()
    async with serving(listener):
        for number in range(3):
            sender.sendto(b"%d" % number, listener.address)
            await until(lambda number=number: listener.received == number + 1)

    assert engine.messages == [b"0", b"1", b"2"]


class TestGathering:
    """What comes quickly is looked at from time to time, in place of a wake-up for each."""

    @pytest.fixture(autouse=True)
    def slowly(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """So slowly that a busy machine does not matter."""
        monkeypatch.setattr(udp, "GATHER_STEP_S", 0.2)

    @pytest.mark.parametrize("older", [False, True], ids=["", "Python 3.11.2"])
    async def test_only_while_they_follow_closely(
        self,
        make: Callable[..., UdpListener],
        engine: FakeEngine,
        sender: socket.socket,
        monkeypatch: pytest.MonkeyPatch,
        older: bool,
    ) -> None:
        """The first one is taken at once, and so is the first one after a pause; also with Debian 12's Python."""
        if older:
            for name in ("pause_reading", "resume_reading"):
                monkeypatch.setattr(selector_events._SelectorTransport, name, getattr(asyncio.ReadTransport, name))
        listener = make()
        listener.bind()
        async with serving(listener):
            for number in range(10):
                sender.sendto(b"%d" % number, listener.address)
            await until(lambda: listener.received == 10)
            for number in range(10, 15):
                sender.sendto(b"%d" % number, listener.address)
                await asyncio.sleep(0)
            await until(lambda: listener.received == 15)
            await until(lambda: len(engine.calls) == 3)
            sender.sendto(b"15", listener.address)
            await until(lambda: listener.received == 16)

        assert engine.messages == [b"%d" % number for number in range(16)]
        woken = [woken for *_, woken in engine.calls]
        assert woken[:4] == [[(b"0", "127.0.0.1")], [], [], [(b"15", "127.0.0.1")]]

    async def test_the_end_comes_at_once_and_loses_nothing(
        self, make: Callable[..., UdpListener], engine: FakeEngine, sender: socket.socket
    ) -> None:
        listener = make()
        listener.bind()
        async with serving(listener):
            for number in range(10):
                sender.sendto(b"%d" % number, listener.address)
            await until(lambda: listener.received == 10)
            sender.sendto(b"10", listener.address)
            began_s = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - began_s < 0.2
        assert listener.received == 11

    async def test_a_transport_that_can_not_be_paused(
        self,
        make: Callable[..., UdpListener],
        engine: FakeEngine,
        sender: socket.socket,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Then each one wakes us."""
        monkeypatch.setattr(udp, "_pausable", lambda _: None)
        listener = make()
        listener.bind()
        async with serving(listener):
            for number in range(5):
                sender.sendto(b"%d" % number, listener.address)
                await until(lambda number=number: listener.received == number + 1)
        assert sum(len(woken) for *_, woken in engine.calls) >= 1


def test_a_small_buffer_gathers_for_a_short_time(make: Callable[..., UdpListener]) -> None:
    """Nothing may come so fast that the buffer is full before it is looked at."""
    listener = make(receive_buffer_bytes=600_000)
    listener.bind()
    assert listener.gather_s == pytest.approx(max(2 * listener.receive_buffer_bytes / 400e6, 0.001))
    assert udp.GATHER_STEP_S <= listener.gather_s <= udp.GATHER_S


async def test_others_have_their_turn_when_the_budget_is_spent(
    make: Callable[..., UdpListener], engine: FakeEngine, sender: socket.socket
) -> None:
    """A flood on one socket does not hold up the loop."""
    engine.most = 2
    listener = make()
    listener.bind()
    for number in range(20):
        sender.sendto(b"%d" % number, listener.address)
    turns = 0
    async with serving(listener):
        while listener.received < 20:
            await asyncio.sleep(0)
            turns += 1

    assert turns >= 8
    assert sorted(engine.messages, key=int) == [b"%d" % number for number in range(20)]


async def test_the_end_takes_what_the_kernel_holds(
    make: Callable[..., UdpListener], engine: FakeEngine, sender: socket.socket
) -> None:
    """Also more than one budget of it, and what the event loop had read already."""
    engine.most = 2
    listener = make()
    listener.bind()
    async with serving(listener):
        sender.sendto(b"first", listener.address)
        await until(lambda: listener.received == 1)
        for number in range(15):
            sender.sendto(b"%d" % number, listener.address)

    assert engine.messages == [b"first", *(b"%d" % number for number in range(15))]
    assert listener.received == 16


@pytest.mark.parametrize("turns", range(6))
async def test_the_end_loses_nothing_at_whatever_moment(
    make: Callable[..., UdpListener], engine: FakeEngine, sender: socket.socket, turns: int
) -> None:
    """The stream may just have read a datagram that nobody has taken from it."""
    listener = make()
    listener.bind()
    async with serving(listener):
        for _ in range(4):
            await asyncio.sleep(0)
        for number in range(5):
            sender.sendto(b"%d" % number, listener.address)
        for _ in range(turns):
            await asyncio.sleep(0)

    assert sorted(engine.messages) == [b"%d" % number for number in range(5)]


async def test_the_end_has_an_end(
    make: Callable[..., UdpListener], engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A peer that never stops sending does not keep the daemon from stopping."""
    monkeypatch.setattr(udp, "FINAL_TURNS", 5)
    listener = make()
    listener.bind()
    async with serving(listener):
        await asyncio.sleep(0)
        engine.most = 0  # Never empty.
    assert len(engine.calls) <= 1 + 5


async def test_a_socket_that_can_not_be_read_ends_it(
    make: Callable[..., UdpListener], engine: FakeEngine, sender: socket.socket
) -> None:
    listener = make()
    listener.bind()
    engine.error = OSError(errno.EBADF, "bad file descriptor")
    sender.sendto(b"x", listener.address)
    with pytest.raises(OSError, match="bad file descriptor"):
        await listener.serve()


async def test_an_engine_that_panics_is_asked_again(
    make: Callable[..., UdpListener], engine: FakeEngine, sender: socket.socket
) -> None:
    listener = make()
    listener.bind()
    engine.error = EngineError("the engine panicked")
    with structlog.testing.capture_logs() as logs:
        async with serving(listener):
            sender.sendto(b"lost", listener.address)
            while not logs:  # noqa: ASYNC110
                await asyncio.sleep(0)
            engine.error = None
            sender.sendto(b"read", listener.address)
            while not engine.messages:  # noqa: ASYNC110
                await asyncio.sleep(0)
    assert (engine.messages, listener.received) == ([b"read"], 1)
    assert [entry["event"] for entry in logs] == ["datagrams lost: the engine met a bug"]


async def test_bind_comes_first(make: Callable[..., UdpListener]) -> None:
    with pytest.raises(RuntimeError, match="bind comes before serve"):
        await make().serve()


def test_the_address_is_known_before_and_after(make: Callable[..., UdpListener]) -> None:
    listener = make()
    assert listener.address == ("127.0.0.1", 0)
    listener.bind()
    host, port = listener.address
    assert host == "127.0.0.1"
    assert port > 0


def test_ipv6(make: Callable[..., UdpListener]) -> None:
    listener = make(host="::1")
    try:
        listener.bind()
    except ListenError:
        pytest.skip("no IPv6 on this machine")
    assert listener.address[0] == "::1"


class TestReceiveBuffer:
    """What is asked of the kernel, and what it gives."""

    def test_what_the_kernel_gave(self, make: Callable[..., UdpListener]) -> None:
        listener = make(receive_buffer_bytes=100_000)
        assert listener.receive_buffer_bytes == 0
        listener.bind()
        assert listener.receive_buffer_bytes == 100_000

    def test_less_than_asked_for_is_told(self, make: Callable[..., UdpListener]) -> None:
        listener = make(receive_buffer_bytes=1 << 30)
        with structlog.testing.capture_logs() as logs:
            listener.bind()
        if listener.receive_buffer_bytes == 1 << 30:
            pytest.skip("this kernel gives a gigabyte")
        (entry,) = logs
        assert "net.core.rmem_max" in entry["event"]
        assert entry["bytes"] == listener.receive_buffer_bytes < entry["limit"] == 1 << 30


class TestKernelDrops:
    """Datagrams that did not fit into the receive buffer."""

    def test_a_flood_that_nobody_reads(self, make: Callable[..., UdpListener], sender: socket.socket) -> None:
        listener = make(receive_buffer_bytes=4096)
        assert listener.kernel_drops() == 0
        listener.bind()
        assert listener.kernel_drops() == 0
        for _ in range(100):
            sender.sendto(b"x" * 1000, listener.address)
        drops = listener.kernel_drops()
        assert 0 < drops < 100

        with socket.socket(fileno=os.dup(listener._sockets[0].fileno())) as ours:
            ours.setblocking(False)
            held = 0
            with pytest.raises(BlockingIOError):
                while True:
                    ours.recv(2000)
                    held += 1
        assert held + drops == 100

    def test_none_after_the_end(self, make: Callable[..., UdpListener]) -> None:
        listener = make()
        listener.bind()
        listener.close()
        listener.close()
        assert listener.kernel_drops() == 0


class TestAddressThatCanNotBeHad:
    """What an administrator reads."""

    def test_in_use_names_who_holds_it(self, make: Callable[..., UdpListener]) -> None:
        first = make()
        first.bind()
        second = make(name="again", port=first.address[1])
        with pytest.raises(ListenError) as caught:
            second.bind()
        with open("/proc/self/comm", encoding="utf-8") as stream:
            us = f"{stream.read().strip()} (pid {os.getpid()})"
        assert str(caught.value) == (f"listener again: udp port {first.address[1]} on 127.0.0.1 is in use by {us}")
        assert caught.value.exit_status == EX_OSERR

    def test_in_use_by_somebody_who_can_not_be_seen(
        self, make: Callable[..., UdpListener], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = make()
        first.bind()
        monkeypatch.setattr(sockets.os, "listdir", lambda _: ["1x", "999999999"])
        with pytest.raises(ListenError, match="is in use by another process"):
            make(port=first.address[1]).bind()

    def test_an_address_of_another_machine(self, make: Callable[..., UdpListener]) -> None:
        with pytest.raises(ListenError, match=r"this machine has no address 203\.0\.113\.1") as caught:
            make(host="203.0.113.1").bind()
        assert caught.value.exit_status == EX_OSERR

    @pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM])
    def test_a_port_that_needs_a_privilege(
        self, make: Callable[..., UdpListener], monkeypatch: pytest.MonkeyPatch, number: int
    ) -> None:
        """As root and in containers every port can be had, so the kernel's answer is made up."""

        class Refusing(socket.socket):
            def bind(self, address: Any) -> None:
                raise OSError(number, os.strerror(number))

        monkeypatch.setattr(udp.socket, "socket", Refusing)
        with pytest.raises(ListenError, match=r"udp port 514 on 127\.0\.0\.1 needs a privilege") as caught:
            make(port=514).bind()
        assert caught.value.exit_status == EX_NOPERM

    def test_anything_else_is_told_as_it_is(
        self, make: Callable[..., UdpListener], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Refusing(socket.socket):
            def bind(self, address: Any) -> None:
                raise OSError(errno.ENOBUFS, "No buffer space available")

        monkeypatch.setattr(udp.socket, "socket", Refusing)
        with pytest.raises(ListenError, match="can't be had: No buffer space available"):
            make().bind()


class TestHandedOver:
    """Sockets of the service manager."""

    async def test_several_are_read(self, make: Callable[..., UdpListener], engine: FakeEngine) -> None:
        both = [bound_socket(host, 0, socket.SOCK_DGRAM, "test") for host in ("127.0.0.1", "::1")]
        listener = make(inherited=both)
        listener.bind()
        assert listener.inherited
        async with serving(listener):
            for address in listener.addresses:
                with socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_DGRAM) as peer:
                    peer.sendto(b"one", address)
            await until(lambda: listener.received == 2)

    def test_a_buffer_of_the_unit_is_not_made_smaller(self, make: Callable[..., UdpListener]) -> None:
        with bound_socket("127.0.0.1", 0, socket.SOCK_DGRAM, "test") as held:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 100_000)
            before = held.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
            make(inherited=[held.dup()], receive_buffer_bytes=50_000).bind()
            assert held.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == before
            make(inherited=[held.dup()], receive_buffer_bytes=105_000).bind()
            assert held.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 210_000

    def test_what_was_dropped_before_is_not_ours(self, make: Callable[..., UdpListener], sender: socket.socket) -> None:
        with bound_socket("127.0.0.1", 0, socket.SOCK_DGRAM, "test") as held:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            for _ in range(50):
                sender.sendto(b"x" * 1000, held.getsockname())
            listener = make(inherited=[held.dup()], receive_buffer_bytes=4096)
            with structlog.testing.capture_logs() as logs:
                listener.bind()
            assert "the kernel dropped datagrams before the start" in [each["event"] for each in logs]
            assert listener.kernel_drops() == 0
            sender.sendto(b"x" * 1000, held.getsockname())
            assert listener.kernel_drops() == 1
