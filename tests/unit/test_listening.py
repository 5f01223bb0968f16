"""Listeners that come, stay and go while others read: nothing is lost, and no number of the engine's changes hands."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from collectord.activation import Inherited
from collectord.clock import ManualClock
from collectord.config import Config
from collectord.detect.hosts import Hosts
from collectord.detect.watchlist import Watchlist
from collectord.engine import Engine, Plan
from collectord.errors import ConfigError, ListenError
from collectord.inputs.sockets import bound_socket
from collectord.inputs.udp import UdpListener
from collectord.listening import Listening
from collectord.plan import Setup
from collectord.settings import Listener, TcpListener
from collectord.settings import UdpListener as Udp

NOW_NS = 1_800_000_000_000_000_000


def udp(name: str = "udp", **values: Any) -> Udp:
    return Udp(type="udp", name=name, **{"port": 0, **values})


def tcp(name: str = "tcp", **values: Any) -> TcpListener:
    return TcpListener(type="tcp", name=name, **{"port": 0, **values})


def setup_of(*listeners: Listener) -> Setup:
    """With nothing but listeners."""
    plan = Plan(
        profiles=(), counters=(), internal_networks=(), message_bytes=65_536, unfinished_bytes=1 << 20,
        rows_per_batch=1000, event_count=1, listeners=[(each.name, each.site, each.allow) for each in listeners],
    )  # fmt: skip
    return Setup(Config(state_dir=Path("unused"), listener=listeners), (), (), Watchlist(), Hosts(), plan, ())


class Running:
    """Listeners and their engine."""

    def __init__(self, *listeners: Listener, inherited: tuple[Inherited, ...] = ()) -> None:
        setup = setup_of(*listeners)
        self.engine = Engine(setup.plan, ())
        self.listening = Listening(setup, self.engine, ManualClock(NOW_NS), inherited)
        self.listening.bind()
        self.setup = setup

    async def change(self, *listeners: Listener) -> None:
        """As a reload does it."""
        self.setup = await self.listening.prepare(setup_of(*listeners))
        self.engine.replan(self.setup.plan, ())
        self.listening.take_up(self.setup)
        await self.listening.change(self.setup)

    def port(self, name: str) -> int:
        (found,) = [each for each in self.listening.listeners if each.name == name]
        return found.address[1]

    def ledger(self) -> dict[str, int]:
        """Messages by the name of the listener since the last call."""
        changes = self.engine.changes(NOW_NS)
        self.engine.ack(changes.seq)
        return {self.setup.plan.listeners[number][0]: count for number, _, count, _ in changes.ledger}

    @property
    def names(self) -> list[str]:
        """Of the engine's listeners, by number."""
        return [name for name, _, _ in self.setup.plan.listeners]


@asynccontextmanager
async def running(*listeners: Listener, inherited: tuple[Inherited, ...] = ()) -> AsyncIterator[Running]:
    found = Running(*listeners, inherited=inherited)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(found.listening.run())
        await asyncio.sleep(0)
        try:
            yield found
        finally:
            task.cancel()
    found.listening.close()


async def until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110
        await asyncio.sleep(0.001)


def send(port: int, *messages: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for message in messages:
            sender.sendto(message, ("127.0.0.1", port))


async def test_one_comes_and_others_are_not_touched() -> None:
    async with running(udp(), tcp()) as found:
        before = found.listening.listeners[:]
        _, writer = await asyncio.open_connection("127.0.0.1", found.port("tcp"))
        writer.write(b"one\n")
        await until(lambda: before[1].received == 1)
        await found.change(tcp(), udp("second"), udp())
        assert [each.name for each in found.listening.listeners] == ["tcp", "second", "udp"]
        assert (found.listening.listeners[0], found.listening.listeners[2]) == (before[1], before[0])
        assert found.names == ["udp", "tcp", "second"]
        writer.write(b"two\n")
        send(found.port("second"), b"three", b"four")
        second = found.listening.listeners[1]
        await until(lambda: (before[1].received, second.received) == (2, 2))
        writer.close()
        assert found.ledger() == {"tcp": 2, "second": 2}


async def test_one_goes_and_leaves_nothing_unread() -> None:
    """Its number is that of the next one that comes, but not before what it read is told."""
    async with running(udp(), udp("second")) as found:
        gone = found.listening.listeners[0]
        port = found.port("udp")
        send(port, b"one")
        await until(lambda: gone.received == 1)
        send(port, b"two", b"three")
        await found.change(udp("second"))
        assert gone.received == 3
        assert found.names == ["udp", "second"]
        assert found.ledger() == {"udp": 3}
        with bound_socket("127.0.0.1", port, socket.SOCK_DGRAM, "test"):
            pass
        await found.change(udp("second"), udp("third"), udp("fourth"))
        assert found.names == ["third", "second", "fourth"]
        send(found.port("third"), b"four")
        await until(lambda: found.listening.listeners[1].received == 1)
        assert found.ledger() == {"third": 1}


async def test_another_address_is_another_listener() -> None:
    async with running(tcp()) as found:
        before = found.listening.listeners[0]
        address = before.address
        await found.change(tcp(host="127.0.0.2"))
        after = found.listening.listeners[0]
        assert (before is not after, after.address[0], found.names) == (True, "127.0.0.2", ["tcp", "tcp"])
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*address)


async def test_another_name_for_the_same_address() -> None:
    """Its socket is handed on: nobody is refused meanwhile, and nothing is lost."""
    with (
        bound_socket("127.0.0.1", 0, socket.SOCK_DGRAM, "test") as one,
        bound_socket("127.0.0.1", 0, socket.SOCK_STREAM, "test") as other,
    ):
        ports = one.getsockname()[1], other.getsockname()[1]
    async with running(udp(port=ports[0]), tcp(port=ports[1])) as found:
        send(ports[0], b"one")
        await until(lambda: found.listening.listeners[0].received == 1)
        await found.change(udp("edge", port=ports[0]), tcp("lan", port=ports[1]))
        assert [each.name for each in found.listening.listeners] == ["edge", "lan"]
        send(ports[0], b"two")
        _, writer = await asyncio.open_connection("127.0.0.1", ports[1])
        writer.write(b"three\n")
        await until(lambda: [each.received for each in found.listening.listeners] == [1, 1])
        writer.close()
        assert found.ledger() == {"udp": 1, "edge": 1, "lan": 1}


async def test_all_or_nothing() -> None:
    """A port that is taken: what was bound before it is given back, and the old ones go on."""
    async with running(udp()) as found:
        before = found.listening.listeners[:]
        with (
            bound_socket("127.0.0.1", 0, socket.SOCK_STREAM, "test") as taken,
            bound_socket("127.0.0.1", 0, socket.SOCK_DGRAM, "test") as probe,
        ):
            free = probe.getsockname()[1]
            probe.close()
            with pytest.raises(ConfigError, match=r"listener b: tcp port \d+ on 127\.0\.0\.1 is in use by"):
                await found.change(udp("a", port=free), tcp("b", port=taken.getsockname()[1]))
        assert found.listening.listeners == before
        with bound_socket("127.0.0.1", free, socket.SOCK_DGRAM, "test"):
            send(found.port("udp"), b"one")
            await until(lambda: before[0].received == 1)
        # What was prepared and then refused by somebody else goes as well.
        setup = await found.listening.prepare(setup_of(udp(), udp("a", port=free)))
        assert [name for name, _, _ in setup.plan.listeners] == ["udp", "a"]
        found.listening.dismiss()
        with bound_socket("127.0.0.1", free, socket.SOCK_DGRAM, "test"):
            assert found.listening.listeners == before


async def test_another_buffer_for_the_same_socket() -> None:
    async with running(udp(receive_buffer="64KiB")) as found:
        listener = found.listening.listeners[0]
        assert isinstance(listener, UdpListener)
        assert listener.receive_buffer_bytes == 65_536
        await found.change(udp(receive_buffer="96KiB"))
        assert (found.listening.listeners[0], listener.receive_buffer_bytes) == (listener, 98_304)


async def test_sockets_of_the_service_manager() -> None:
    """They stay, whatever the configuration says of their address; and nobody may leave them unread."""
    with bound_socket("127.0.0.1", 0, socket.SOCK_DGRAM, "test") as held:
        async with running(udp(), inherited=(Inherited(3, "udp", "udp", held.dup()),)) as found:
            before = found.listening.listeners[:]
            await found.change(udp(port=514), tcp())
            assert found.listening.listeners[0] is before[0]
            for others in ((tcp("udp"),), (udp("other"),)):
                with pytest.raises(ConfigError, match="systemd holds the sockets of udp, which nobody would read"):
                    await found.change(*others)
            send(held.getsockname()[1], b"one")
            await until(lambda: before[0].received == 1)


def test_the_start_names_a_port_in_use() -> None:
    with (
        bound_socket("127.0.0.1", 0, socket.SOCK_DGRAM, "test") as taken,
        pytest.raises(ListenError, match="is in use"),
    ):
        Running(udp(port=taken.getsockname()[1]))
