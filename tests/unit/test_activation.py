"""Sockets that the service manager hands over: whose they are, and what can't be one."""

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from collectord import activation as module
from collectord.activation import Inherited, Wanted, assigned, taken
from collectord.errors import EX_CONFIG, ConfigError

from ..socket_holder import handing_over

PID = 4711


def bound(kind: socket.SocketKind = socket.SOCK_DGRAM, host: str = "127.0.0.1") -> socket.socket:
    """A socket on a free port; a stream's listens."""
    found = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind)
    found.bind((host, 0))
    if kind == socket.SOCK_STREAM:
        found.listen(5)
    return found


@pytest.fixture
def udp() -> Iterator[socket.socket]:
    with bound() as found:
        yield found


@pytest.fixture
def tcp() -> Iterator[socket.socket]:
    with bound(socket.SOCK_STREAM) as found:
        yield found


def handed(one: socket.socket, name: str, descriptor: int = 3) -> Inherited:
    return Inherited(descriptor, name, "udp" if one.type == socket.SOCK_DGRAM else "tcp", one)


def wanted(name: str, protocol: str, port: int = 514, host: str = "127.0.0.1") -> Wanted:
    return Wanted(name, protocol, host, port)


def problems(caught: pytest.ExceptionInfo[ConfigError]) -> list[str]:
    assert caught.value.exit_status == EX_CONFIG
    return [str(problem) for problem in caught.value.problems]


class TestTaken:
    """From the environment."""

    def test_nothing_was_handed_over(self) -> None:
        assert taken({"PATH": "/bin"}, PID) == []

    def test_meant_for_another_process(self) -> None:
        """And nobody else believes in the variables."""
        environment = {"LISTEN_PID": "1", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "udp", "PATH": "/bin"}
        assert taken(environment, PID) == []
        assert environment == {"PATH": "/bin"}

    @pytest.mark.parametrize("count", ["", "x", "-1", "1025", "9" * 30, "\u0661"])
    def test_a_number_that_is_none(self, count: str) -> None:
        with pytest.raises(ConfigError) as caught:
            taken({"LISTEN_PID": str(PID), "LISTEN_FDS": count}, PID)
        assert problems(caught) == [f'LISTEN_FDS: expected a number up to 1024, got "{count[:60]}"']

    def test_in_a_process_of_its_own(self) -> None:
        """Descriptors from 3 on, which this process has for something else."""
        code = """
import os, socket
from collectord.activation import taken
for one in taken():
    print(one.name, one.protocol, one.descriptor, os.get_inheritable(one.descriptor), one.socket.getblocking())
print("LISTEN_FDS" in os.environ)
"""
        with bound() as one, bound(socket.SOCK_STREAM, "::1") as other:
            result = run(code, one.fileno(), other.fileno(), LISTEN_FDNAMES="syslog")
        assert result.stdout.splitlines() == ["syslog udp 3 False False", "unknown tcp 4 False False", "False"]

    @pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
    def test_a_good_one(self, kind: socket.SocketKind) -> None:
        with bound(kind) as held:
            descriptor = os.dup(held.fileno())
            os.set_inheritable(descriptor, True)
            one = module._inherited(descriptor, "a")
            assert isinstance(one, Inherited)
            with one.socket:
                assert one.protocol == ("udp" if kind == socket.SOCK_DGRAM else "tcp")
                assert (os.get_inheritable(descriptor), one.socket.getblocking()) == (False, False)

    def test_what_is_no_socket_of_ours(self) -> None:
        """Everything is told at once, by its number and name."""
        code = """
from collectord.activation import taken
from collectord.errors import ConfigError
try:
    taken()
except ConfigError as error:
    print(error)
"""
        with contextlib.ExitStack() as stack:
            opened = stack.enter_context
            unix = opened(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            idle = opened(socket.socket())
            file = os.open("/dev/null", os.O_RDONLY)
            stack.callback(os.close, file)
            result = run(code, unix.fileno(), idle.fileno(), file, LISTEN_FDNAMES="a:b:c")
        assert [line.removeprefix("LISTEN_FDS: ") for line in sorted(result.stdout.splitlines())] == [
            'descriptor 3 ("a") is no socket for UDP or TCP (ListenDatagram= and ListenStream= with a port)',
            'descriptor 4 ("b") is a connection, and no socket that listens (Accept=no, as it is without a word)',
            'descriptor 5 ("c") is no socket: socket operation on non-socket',
        ]


def run(code: str, *descriptors: int, **environment: str) -> subprocess.CompletedProcess[str]:
    """Python code that is handed descriptors as systemd does it."""
    return subprocess.run(
        handing_over(descriptors, [sys.executable, "-P", "-c", code]),
        env=os.environ | {"LISTEN_FDS": str(len(descriptors))} | environment,
        pass_fds=descriptors,
        capture_output=True,
        text=True,
        check=True,
    )


class TestAssigned:
    """To listeners."""

    def test_by_name_whatever_the_port(self, udp: socket.socket, tcp: socket.socket) -> None:
        listeners = [wanted("a", "udp"), wanted("b", "tcp")]
        assert assigned([handed(udp, "a"), handed(tcp, "b")], listeners) == {"a": [udp], "b": [tcp]}

    def test_several_for_one(self, udp: socket.socket) -> None:
        with bound(host="::1") as other:
            found = assigned([handed(udp, "a"), handed(other, "a", 4)], [wanted("a", "udp")])
            assert found == {"a": [udp, other]}

    def test_by_address(self, udp: socket.socket, tcp: socket.socket) -> None:
        """Where the name is that of a unit."""
        port, other = udp.getsockname()[1], tcp.getsockname()[1]
        listeners = [wanted("x", "tcp", port), wanted("a", "udp", port), wanted("b", "tcp", other)]
        inherited = [handed(udp, "collectord.socket"), handed(tcp, "collectord.socket", 4)]
        assert assigned(inherited, listeners) == {"a": [udp], "b": [tcp]}

    @pytest.mark.parametrize("host", ["0.0.0.0", "::"])
    def test_all_addresses_are_all_addresses(self, host: str) -> None:
        with bound(host="::") as one:
            found = assigned([handed(one, "x")], [wanted("a", "udp", one.getsockname()[1], host)])
            assert found == {"a": [one]}

    def test_every_one_is_read(self, udp: socket.socket, tcp: socket.socket) -> None:
        """Or the start fails with all of them named."""
        listeners = [wanted("a", "udp", udp.getsockname()[1], "127.0.0.2"), wanted("b", "udp")]
        with pytest.raises(ConfigError) as caught:
            assigned([handed(udp, "x"), handed(tcp, "b", 4)], listeners)
        one, other = sorted(problems(caught))
        port = udp.getsockname()[1]
        assert one.startswith(f'LISTEN_FDS: descriptor 3 ("x", udp port {port} on 127.0.0.1) belongs to no listener (')
        assert other.endswith("is not for the listener of that name, which takes udp")

    def test_none(self) -> None:
        assert assigned([], [wanted("a", "udp")]) == {}
