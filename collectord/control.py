"""
The daemon's control socket: one JSON object a line, asked and answered.

    -> {"command": "status"}
    <- {"ok": true, "answer": {...}}

Only the daemon writes its database, so a command that changes something asks it here. Who may connect decides the file
mode of the socket (0660); who asked is taken from the kernel (SO_PEERCRED), never from the request.
"""

import asyncio
import contextlib
import json
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from collectord.errors import CollectordError, EnvironmentProblem, RequestError, UnavailableError

REQUEST_BYTES = 64 * 1024
"""Far above any request; a longer line ends the connection."""

ASK_LIMIT_S = 10.0
"""Most that a command waits for the daemon: a tick may hold the database for a second or two."""

IDLE_LIMIT_S = 60.0
"""A client that asks nothing for this long is let go."""

Handler = Callable[[dict[str, Any], int], Awaitable[Any]]
"""Takes a request's arguments and the asking user's id; what it returns must be JSON."""


class ControlServer:
    """
    Serves the control socket.

    Args:
        path: The socket; one that a dead daemon left is replaced.
        handlers: By command.
    """

    def __init__(self, path: Path, handlers: Mapping[str, Handler]) -> None:
        self._path = path
        self._handlers = handlers
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """
        Listen.

        Raises:
            EnvironmentProblem: the socket can't be made, or another daemon serves it.
        """
        if self._path.exists() and _answers(self._path):
            raise EnvironmentProblem(f"another daemon answers on {self._path}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if self._path.exists() and not self._path.is_socket():
                raise EnvironmentProblem(f"control socket {self._path} can't be made: a file of that name is there")
            self._path.unlink(missing_ok=True)
            before = os.umask(0o117)
            try:
                self._server = await asyncio.start_unix_server(self._serve, self._path, limit=REQUEST_BYTES)
            finally:
                os.umask(before)
        except OSError as error:
            raise EnvironmentProblem(f"control socket {self._path} can't be made: {error.strerror}") from error

    async def stop(self) -> None:
        """Stop listening and remove the socket; may be called twice."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        user = _user_of(writer.get_extra_info("socket"))
        try:
            while True:
                async with asyncio.timeout(IDLE_LIMIT_S):
                    line = await reader.readline()
                if not line:
                    return
                writer.write(json.dumps(await self._answer(line, user)).encode() + b"\n")
                async with asyncio.timeout(IDLE_LIMIT_S):
                    await writer.drain()
        except (TimeoutError, ValueError, OSError):
            return  # Silent, too long a line, or gone.
        finally:
            writer.close()

    async def _answer(self, line: bytes, user: int) -> dict[str, Any]:
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):  # The latter of very many brackets.
            return {"ok": False, "error": "the request is no JSON"}
        command = request.pop("command", None) if isinstance(request, dict) else None
        handler = self._handlers.get(command) if isinstance(command, str) else None
        if handler is None:
            return {"ok": False, "error": f"unknown command; known: {', '.join(self._handlers)}"}
        try:
            return {"ok": True, "answer": await handler(request, user)}
        except CollectordError as error:
            return {"ok": False, "error": str(error), "usage": isinstance(error, RequestError)}


def ask(path: Path, command: str, *, limit_s: float = ASK_LIMIT_S, **arguments: Any) -> Any:
    """
    Ask the running daemon, from a command.

    Args:
        path: Its control socket.
        command: What is asked for.
        limit_s: Most that is waited for the answer.
        arguments: Of the command.

    Raises:
        RequestError: it was asked for something that can't be.
        UnavailableError: no daemon runs, it does not answer in time, or it can't do it now.
    """
    request = json.dumps({"command": command, **arguments}).encode() + b"\n"
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(limit_s)
            client.connect(str(path))
            client.sendall(request)
            with client.makefile("rb") as stream:
                line = stream.readline()
    except PermissionError as error:
        raise UnavailableError(f"no permission to talk to the daemon on {path}") from error
    except TimeoutError as error:
        # It does what it was asked for, once it comes to that: whoever asks again may do it twice.
        raise UnavailableError(f"the daemon does not answer within {limit_s:g} s; it may still do it") from error
    except OSError as error:
        raise UnavailableError(f"the daemon does not run (nobody answers on {path})") from error
    if not line.endswith(b"\n"):
        raise UnavailableError("the daemon hung up without an answer")
    answer = json.loads(line)
    if answer.get("usage"):
        raise RequestError(str(answer["error"]))
    if not answer["ok"]:
        raise UnavailableError(str(answer["error"]))
    return answer["answer"]


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(OSError):
        client.settimeout(1)
        client.connect(str(path))
        return True
    return False


def _user_of(connection: socket.socket) -> int:
    """unix(7), SO_PEERCRED: process, user and group of the peer when it connected."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, user, _ = struct.unpack("3i", credentials)
    return int(user)
