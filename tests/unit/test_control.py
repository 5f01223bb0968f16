"""The control socket: one JSON object a line, asked and answered."""

import asyncio
import json
import os
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from collectord import control
from collectord.control import ControlServer, ask
from collectord.errors import EX_UNAVAILABLE, EX_USAGE, EnvironmentProblem, RequestError, StoreError, UnavailableError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the socket is; its folder is not there yet."""
    return tmp_path / "run" / "control.sock"


async def echo(arguments: dict[str, Any], user: int) -> dict[str, Any]:
    """Answers with what it was asked."""
    return {"arguments": arguments, "user": user}


async def mistake(arguments: dict[str, Any], user: int) -> None:
    """Never knows what is meant."""
    raise RequestError("no such colour")


async def refuse(arguments: dict[str, Any], user: int) -> None:
    """Can't do it."""
    raise StoreError("the database is full")


@pytest.fixture
async def server(path: Path) -> AsyncIterator[ControlServer]:
    """A server with two commands."""
    server = ControlServer(path, {"echo": echo, "refuse": refuse, "mistake": mistake})
    await server.start()
    yield server
    await server.stop()


async def asked(path: Path, request: bytes) -> bytes:
    """The line that comes back on bytes; empty when the server hung up."""
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        writer.write(request)
        return await reader.readline()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()
        await asyncio.sleep(0)


@pytest.mark.usefixtures("server")
class TestServer:
    """What a client sees."""

    async def test_a_question_is_answered(self, path: Path) -> None:
        answer = await asyncio.to_thread(ask, path, "echo", colour="red", number=5)

        assert answer == {"arguments": {"colour": "red", "number": 5}, "user": os.getuid()}

    async def test_several_questions_on_one_connection(self, path: Path) -> None:
        reader, writer = await asyncio.open_unix_connection(path)
        for number in range(3):
            writer.write(json.dumps({"command": "echo", "number": number}).encode() + b"\n")
            assert json.loads(await reader.readline())["answer"]["arguments"] == {"number": number}
        writer.close()
        await writer.wait_closed()

    async def test_who_asks_is_taken_from_the_kernel(self, path: Path) -> None:
        answer = await asyncio.to_thread(ask, path, "echo", user=0)

        assert answer["user"] == os.getuid()

    async def test_an_error_is_an_answer(self, path: Path) -> None:
        with pytest.raises(UnavailableError, match="the database is full") as caught:
            await asyncio.to_thread(ask, path, "refuse")
        assert caught.value.exit_status == EX_UNAVAILABLE

    async def test_a_request_that_makes_no_sense(self, path: Path) -> None:
        """Is the asker's mistake, and no sign that the daemon is ill."""
        with pytest.raises(RequestError, match="no such colour") as caught:
            await asyncio.to_thread(ask, path, "mistake")
        assert caught.value.exit_status == EX_USAGE

    @pytest.mark.parametrize(
        "request_line",
        [b'{"command": "erase"}', b'{"command": 5}', b"{}", b"[]", b"5", b'{"command": ["echo"]}'],
    )
    async def test_an_unknown_command(self, path: Path, request_line: bytes) -> None:
        answer = json.loads(await asked(path, request_line + b"\n"))

        assert answer == {"ok": False, "error": "unknown command; known: echo, refuse, mistake"}

    @pytest.mark.parametrize("request_line", [b"status", b"", b"{", b"\xff\xfe", b"[" * 60_000])
    async def test_no_json(self, path: Path, request_line: bytes) -> None:
        answer = json.loads(await asked(path, request_line + b"\n"))

        assert answer == {"ok": False, "error": "the request is no JSON"}

    async def test_a_line_that_is_too_long_ends_the_connection(self, path: Path) -> None:
        assert await asked(path, b'{"command": "' + b"x" * 2 * control.REQUEST_BYTES + b'"}\n') == b""

    async def test_a_client_that_hangs_up_does_no_harm(self, path: Path) -> None:
        _, writer = await asyncio.open_unix_connection(path)
        writer.write(b'{"command": "echo"}\n')
        writer.close()
        await writer.wait_closed()

        assert await asyncio.to_thread(ask, path, "echo")

    async def test_a_silent_client_is_let_go(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(control, "IDLE_LIMIT_S", 0.05)
        reader, writer = await asyncio.open_unix_connection(path)

        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()

    async def test_group_may_ask_others_may_not(self, path: Path) -> None:
        assert stat.S_IMODE(path.stat().st_mode) == 0o660

    async def test_a_second_daemon_is_refused(self, path: Path) -> None:
        second = ControlServer(path, {})
        with pytest.raises(EnvironmentProblem, match="another daemon answers on"):
            await second.start()
        await second.stop()

        assert await asyncio.to_thread(ask, path, "echo"), "the first one goes on"


class TestStart:
    """Making the socket."""

    async def test_a_stale_socket_is_replaced(self, path: Path) -> None:
        path.parent.mkdir()
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
        server = ControlServer(path, {"echo": echo})
        await server.start()
        answer = await asyncio.to_thread(ask, path, "echo")
        await server.stop()

        assert answer["arguments"] == {}

    async def test_something_else_is_never_removed(self, path: Path) -> None:
        path.parent.mkdir()
        path.write_text("precious")
        with pytest.raises(EnvironmentProblem, match="a file of that name is there"):
            await ControlServer(path, {}).start()
        assert path.read_text() == "precious"

    async def test_a_folder_that_can_not_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(EnvironmentProblem, match=r"control.sock can't be made: "):
            await ControlServer(tmp_path / "file" / "control.sock", {}).start()

    async def test_the_mask_of_the_process_stays(self, path: Path) -> None:
        before = os.umask(0o022)
        try:
            server = ControlServer(path, {})
            await server.start()
            await server.stop()
            assert os.umask(0o022) == 0o022
        finally:
            os.umask(before)

    async def test_stop_removes_it_and_may_come_twice(self, path: Path) -> None:
        server = ControlServer(path, {})
        await server.stop()
        await server.start()
        await server.stop()
        await server.stop()

        assert not path.exists()


class TestAsk:
    """What a command sees of a daemon that does not answer."""

    def test_no_daemon(self, path: Path) -> None:
        with pytest.raises(UnavailableError, match="the daemon does not run") as caught:
            ask(path, "status")
        assert caught.value.exit_status == EX_UNAVAILABLE == 69

    def test_a_dead_daemon(self, path: Path) -> None:
        path.parent.mkdir()
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
        with pytest.raises(UnavailableError, match="the daemon does not run"):
            ask(path, "status")

    def test_no_permission(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Root may connect to everything, so the kernel's answer is made up."""

        class Refusing(socket.socket):
            def connect(self, address: Any) -> None:
                raise PermissionError

        monkeypatch.setattr(control.socket, "socket", Refusing)
        with pytest.raises(UnavailableError, match="no permission to talk to the daemon"):
            ask(path, "status")

    @pytest.mark.parametrize("answer", [b"", b'{"ok": tr'])
    async def test_a_daemon_that_ends_meanwhile(self, tmp_path: Path, answer: bytes) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readline()
            writer.write(answer)
            writer.close()

        async with await asyncio.start_unix_server(serve, tmp_path / "s"):
            with pytest.raises(UnavailableError, match="hung up without an answer"):
                await asyncio.to_thread(ask, tmp_path / "s", "status")

    def test_a_daemon_that_is_stuck(self, tmp_path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as stuck:
            stuck.bind(str(tmp_path / "s"))
            stuck.listen()
            with pytest.raises(UnavailableError, match=r"does not answer within 0\.05 s"):
                ask(tmp_path / "s", "status", limit_s=0.05)
