"""Receivers of TLS for tests: one that does as it should, one that takes its time, and one that knows nothing of it."""

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any


class Receiver:
    """
    A TLS receiver of whole frames.

    It runs in a thread, as asyncio's own servers end a handshake that failed without the alert that says why.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context
        self.received = b""
        self.connections: list[ssl.SSLSocket] = []
        self.says = b""
        """What it sends on a connection before it reads."""
        self.end: Callable[[ssl.SSLSocket], object] | None = None
        """How it ends a connection after the first bytes, once ``may_end`` is set."""
        self.may_end = threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while True:
            # One connection after the other; stop() makes one that ends at once.
            plain, _ = self._listening.accept()
            with plain, contextlib.suppress(OSError):
                plain.settimeout(30)
                if not plain.recv(1, socket.MSG_PEEK):
                    if self.may_end.is_set():
                        return
                    continue
                with self.context.wrap_socket(plain, server_side=True) as connection:
                    self.connections.append(connection)
                    connection.sendall(self.says)
                    self._read(connection)

    def _read(self, connection: ssl.SSLSocket) -> None:
        while chunk := connection.recv(65_536):
            self.received += chunk
            if self.end is not None:
                self.may_end.wait()
                end, self.end = self.end, None
                end(connection)
                return

    def stop(self) -> None:
        self.may_end.set()
        socket.create_connection(("127.0.0.1", self.port)).close()
        self._thread.join(30)
        self._listening.close()


def reset(connection: Any) -> None:
    """What closes it from now on resets it."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class Judge:
    """Stands between a client and a receiver, and passes on what the client sends when it is told to."""

    def __init__(self, port: int) -> None:
        self.port = 0
        self.may_pass = asyncio.Event()
        self.from_client = 0
        self.to_client = 0
        self._to = port
        self._server: asyncio.Server | None = None
        self._hold = False
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._to)
        self._writers += [writer, there_writer]
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pass_on(reader, there_writer, held_after=1))
            group.create_task(self._pass_on(there_reader, writer, held_after=None))

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, held_after: int | None
    ) -> None:
        passed = 0
        try:
            while chunk := await reader.read(65_536):
                if held_after is not None and passed >= held_after:
                    self.from_client += 1
                    await self.may_pass.wait()
                writer.write(chunk)
                await writer.drain()
                passed += 1
            writer.close()
        except OSError:
            # A reset is passed on as one.
            reset(writer.get_extra_info("socket"))
            writer.transport.abort()

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self.may_pass.set()
        for writer in self._writers:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


@contextlib.contextmanager
def answering(text: bytes) -> Iterator[int]:
    """The port of somebody who knows nothing of TLS, answers the first bytes with a text, and closes."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(text)

        thread = threading.Thread(target=answer)
        thread.start()
        yield listening.getsockname()[1]
        thread.join(30)
