"""Open files: the limit is raised as far as it may be, and a warning where that is not enough."""

import asyncio
import errno
import resource
import socket

import pytest
import structlog

from collectord import open_files


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The soft and the hard limit; tests may change them before."""
    limits = [1024, 4096]
    monkeypatch.setattr(resource, "getrlimit", lambda _: tuple(limits))
    monkeypatch.setattr(resource, "setrlimit", lambda _, both: limits.__setitem__(slice(None), both))
    return limits


@pytest.mark.parametrize(
    ("before", "connections", "after", "room"),
    [
        ([1024, 4096], 100, [1024, 4096], 100),
        ([1024, 4096], 1024, [1280, 4096], 1024),
        ([1024, 4096], 5000, [4096, 4096], 3840),
        # Half is left to others at least.
        ([64, 100], 5000, [100, 100], 50),
        ([1024, resource.RLIM_INFINITY], 5000, [5256, resource.RLIM_INFINITY], 5000),
        ([resource.RLIM_INFINITY, resource.RLIM_INFINITY], 5000, [resource.RLIM_INFINITY] * 2, 5000),
    ],
)
def test_room(limits: list[int], before: list[int], connections: int, after: list[int], room: int) -> None:
    limits[:] = before
    with structlog.testing.capture_logs() as logs:
        assert open_files.make_room(connections) == room
    assert list(limits) == after
    assert len(logs) == (room < connections)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_a_lack_is_told_in_a_line(number: int) -> None:
    loop = asyncio.new_event_loop()
    with structlog.testing.capture_logs() as logs:
        open_files.tell_of_lack(loop, {"message": "accept", "exception": OSError(number, "too many")})
    loop.close()
    assert [(entry["event"][:27], entry["log_level"]) for entry in logs] == [("no more files may be open, ", "warning")]


def test_anything_else_is_told_by_the_loop(caplog: pytest.LogCaptureFixture) -> None:
    loop = asyncio.new_event_loop()
    open_files.tell_of_lack(loop, {"message": "a task broke", "exception": ValueError("broken")})
    loop.close()
    assert "a task broke" in caplog.text


def test_a_listener_that_was_closed_is_not_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    """The loop's own second try, in words of its own, at a socket that is gone by then."""
    # Which selector it uses is told, too, where an earlier test wanted to hear everything.
    caplog.set_level("INFO")
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(open_files.tell_of_lack)
    closed = socket.socket()
    closed.close()
    loop.call_soon(loop._start_serving, lambda: None, closed)  # type: ignore[attr-defined]
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    assert caplog.text == ""
