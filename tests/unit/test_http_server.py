"""The HTTP server: pages to read, and bounds for whoever connects."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from collectord import http_server
from collectord.http_server import CONNECTIONS, HttpServer, Page


@asynccontextmanager
async def serving(server: HttpServer) -> AsyncIterator[Callable[[str], object]]:
    """The server runs until the block ends; gives what fetches a page."""

    async def fetch(path: str, method: str = "GET") -> tuple[int, str, bytes]:
        assert server.address is not None
        reader, writer = await asyncio.open_connection(*server.address)
        writer.write(f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), head.decode().lower(), body

    async with asyncio.TaskGroup() as group:
        task = group.create_task(server.run())
        await server.listening.wait()
        yield fetch
        task.cancel()


def make(**pages: Callable[[], Page]) -> HttpServer:
    """On a free port of loopback."""
    return HttpServer("127.0.0.1", 0, quick={"/quick": lambda: Page(b"q", status=503)}, pages=pages)


async def test_pages() -> None:
    async with serving(make(**{"/page": lambda: Page(b"made", "text/x")})) as fetch:
        status, head, body = await fetch("/page")  # type: ignore[operator]
        assert (status, body) == (200, b"made")
        assert "content-type: text/x\r\n" in head
        assert "connection: close" in head
        assert (await fetch("/quick"))[::2] == (503, b"q")  # type: ignore[operator]
        assert (await fetch("/page", "HEAD"))[::2] == (200, b"")  # type: ignore[operator]
        assert (await fetch("/page?x=1"))[0] == 200  # type: ignore[operator]
        assert (await fetch("/"))[::2] == (404, b"there are /quick, /page\n")  # type: ignore[operator]
        assert (await fetch("/page", "POST"))[0] == 405  # type: ignore[operator]


async def test_a_page_is_made_once_a_second_and_off_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thirty who ask at once cost as much as one."""
    made_in: list[str] = []

    def page() -> Page:
        made_in.append(threading.current_thread().name)
        return Page(b"made")

    monkeypatch.setattr(http_server, "FRESH_S", 60.0)
    async with serving(make(**{"/page": page})) as fetch:
        for _ in range(3):
            answers = await asyncio.gather(*(fetch("/page") for _ in range(10)))  # type: ignore[operator]
            assert {body for _, _, body in answers} == {b"made"}
        assert len(made_in) == 1
        assert made_in[0].startswith("http")
        monkeypatch.setattr(http_server, "FRESH_S", 0.0)
        await fetch("/page")  # type: ignore[operator]
        assert len(made_in) == 2


async def test_too_many_connections() -> None:
    """One more is closed at once; who waits for an answer gets it."""
    server = make()
    async with serving(server) as fetch:
        assert server.address is not None
        idle = [await asyncio.open_connection(*server.address) for _ in range(CONNECTIONS)]
        reader, writer = await asyncio.open_connection(*server.address)
        with pytest.raises(ConnectionError):
            assert await reader.read() == b""
            raise ConnectionResetError
        writer.close()
        idle[0][1].write(b"GET /quick HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await idle[0][0].read()).startswith(b"HTTP/1.1 503")
        for _, each in idle:
            each.close()
        while True:
            try:
                assert (await fetch("/quick"))[0] == 503  # type: ignore[operator]
                break
            except (ConnectionError, IndexError):
                continue


async def test_a_slow_request_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "CONNECTION_S", 0.05)
    server = make()
    async with serving(server):
        assert server.address is not None
        reader, writer = await asyncio.open_connection(*server.address)
        writer.write(b"GET /quick HTTP/1.1\r\nHost: ")
        with pytest.raises(ConnectionResetError):
            await reader.read()
            raise ConnectionResetError
        writer.close()


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /quick HTTP/1.1\r\nHost: " + b"x" * 5000 + b"\r\n\r\n",
        b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\n\r\n",
        b"GET /quick HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % number for number in range(100)) + b"\r\n",
        b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1" * 10 + b"\r\n\r\n",
    ],
    ids=["header", "path", "headers", "no http"],
)
async def test_what_is_no_small_request_is_refused(request_: bytes) -> None:
    server = make()
    async with serving(server):
        assert server.address is not None
        reader, writer = await asyncio.open_connection(*server.address)
        writer.write(request_)
        answer = await reader.read()
        writer.close()
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))


async def test_a_port_in_use_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon goes on without; it is no reason to lose messages."""
    tried = asyncio.Event()
    sleep = asyncio.sleep

    async def once(_: float) -> None:
        tried.set()
        await sleep(0)

    monkeypatch.setattr(http_server.asyncio, "sleep", once)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        server = HttpServer(*other.getsockname(), quick={}, pages={})
        async with asyncio.TaskGroup() as group:
            task = group.create_task(server.run())
            await tried.wait()
            assert server.address is None
            other.close()
            await server.listening.wait()
            task.cancel()
