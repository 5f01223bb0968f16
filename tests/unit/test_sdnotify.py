"""The words and the transport of sd_notify(3)."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from collectord.sdnotify import STATUS_BYTES, Notifier


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """A service manager's end: a datagram socket with a path."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.setblocking(False)
        yield sock


@pytest.fixture
def notifier(manager: socket.socket) -> Iterator[Notifier]:
    """A notifier that talks to ``manager``."""
    with Notifier(manager.getsockname()) as notifier:
        yield notifier


def test_words(manager: socket.socket, notifier: Notifier) -> None:
    """Each call is one datagram with the word of the manual."""
    assert notifier.ready()
    assert notifier.watchdog()
    assert notifier.stopping()

    assert [manager.recv(4096) for _ in range(3)] == [b"READY=1", b"WATCHDOG=1", b"STOPPING=1"]


def test_more_time(manager: socket.socket, notifier: Notifier) -> None:
    """Whoever keeps a large database before it starts takes longer than the manager expects."""
    notifier.needs(1.5)

    assert manager.recv(4096) == b"EXTEND_TIMEOUT_USEC=1500000"


def test_ready_with_status(manager: socket.socket, notifier: Notifier) -> None:
    """The status of the moment may come along with the start."""
    notifier.ready("listening on 2 sockets")

    assert manager.recv(4096) == b"READY=1\nSTATUS=listening on 2 sockets"


def test_reloading_carries_the_kernels_monotonic_clock(manager: socket.socket, notifier: Notifier) -> None:
    """A reload without the time stamp would hang the unit."""
    notifier.reloading()
    notifier.reloading()

    stamps = []
    for _ in range(2):
        word, stamp = manager.recv(4096).decode().split("\n")
        assert word == "RELOADING=1"
        name, value = stamp.split("=")
        assert name == "MONOTONIC_USEC"
        stamps.append(int(value))
    assert 0 < stamps[0] <= stamps[1]


def test_status_is_sent_when_it_changes(manager: socket.socket, notifier: Notifier) -> None:
    """A status line a second that says the same is no news."""
    assert notifier.status("12 messages/s")
    assert not notifier.status("12 messages/s")
    assert notifier.status("13 messages/s")

    assert [manager.recv(4096) for _ in range(2)] == [b"STATUS=12 messages/s", b"STATUS=13 messages/s"]
    with pytest.raises(BlockingIOError):
        manager.recv(4096)


def test_status_is_one_line(manager: socket.socket, notifier: Notifier) -> None:
    """Text can't smuggle a field of its own into the datagram."""
    notifier.status("output down\nSTOPPING=1\r\nsince noon")

    assert manager.recv(4096) == b"STATUS=output down STOPPING=1 since noon"


def test_status_is_cut_between_characters(manager: socket.socket, notifier: Notifier) -> None:
    """A long status stays valid UTF-8."""
    notifier.status("x" + "ü" * STATUS_BYTES)

    text = manager.recv(4096).decode()
    assert text == "STATUS=x" + "ü" * ((STATUS_BYTES - 1) // 2)


def test_abstract_socket() -> None:
    """A leading @ is the NUL of the abstract name space."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("")  # The kernel picks an abstract name.
        name = manager.getsockname()
        assert name[:1] == b"\0"
        with Notifier("@" + name[1:].decode()) as notifier:
            assert notifier.ready()

        assert manager.recv(4096) == b"READY=1"


@pytest.mark.parametrize("address", [None, "", "vsock:2:1234", "relative/path"])
def test_without_a_manager_nothing_happens(address: str | None) -> None:
    """Started by hand, the daemon runs the same code."""
    notifier = Notifier(address)

    assert not notifier.ready("up")
    assert not notifier.status("up")
    assert not notifier.reloading()
    assert not notifier.watchdog()
    assert not notifier.stopping()
    notifier.close()


def test_a_manager_that_is_gone_is_no_error(manager: socket.socket, notifier: Notifier, tmp_path: Path) -> None:
    """The collector goes on without it, and says the status again when it is back."""
    assert notifier.status("up")
    manager.close()
    assert not notifier.status("still up")
    (tmp_path / "notify").unlink()
    assert not notifier.watchdog()

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as back:
        back.bind(str(tmp_path / "notify"))
        assert notifier.status("up")
        assert back.recv(4096) == b"STATUS=up"


def test_a_manager_that_is_behind_does_not_block(manager: socket.socket, notifier: Notifier) -> None:
    """A full queue costs a status line, never the daemon's time."""
    sent = [notifier.watchdog() for _ in range(100_000)]

    assert True in sent
    assert False in sent


def test_from_environment(manager: socket.socket) -> None:
    """The variables are those of sd_notify(3) and sd_watchdog_enabled(3)."""
    environment = {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "42"}
    with Notifier.from_environment(environment, pid=42) as notifier:
        assert notifier.watchdog_s == 30
        assert notifier.watchdog_interval_s == 15
        assert notifier.ready()

    assert manager.recv(4096) == b"READY=1"


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "41"},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "me"},
    ],
)
def test_no_watchdog(environment: dict[str, str]) -> None:
    """Not asked for, or asked of another process."""
    notifier = Notifier.from_environment(environment, pid=42)

    assert notifier.watchdog_s is None
    assert notifier.watchdog_interval_s is None


def test_close_twice_and_go_on(manager: socket.socket, notifier: Notifier) -> None:
    """Closing frees the socket only."""
    assert notifier.ready()
    notifier.close()
    notifier.close()
    assert notifier.watchdog()

    assert [manager.recv(4096) for _ in range(2)] == [b"READY=1", b"WATCHDOG=1"]
