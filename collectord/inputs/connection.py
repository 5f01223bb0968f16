"""
A connection of a stream listener: bytes go from the socket to the engine in chunks, without a copy.

Frames (RFC 6587), their bounds and what becomes of broken ones are the engine's.
"""

import asyncio
import contextlib
import os
from typing import Protocol, cast

from collectord.errors import EngineError
from collectord.inputs.sockets import host_of

CHUNK_BYTES = 256 * 1024
"""Most bytes read at once; about 500 messages, some 0.5 ms of work."""

FINAL_CHUNKS = 64
"""Chunks read of a connection at the stop: more than the kernel holds, less than a peer could send for ever."""


class Listener(Protocol):
    """What a connection needs of its listener."""

    buffer: memoryview

    def admit(self, connection: "Connection") -> bool:
        """Whether a new connection is taken."""

    def begin(self, peer: str, name: str = "") -> int:
        """Messages are going to come."""

    def read(self, stream: int, n: int) -> int:
        """The first ``n`` bytes of the buffer came; returns how many messages they ended."""

    def broken(self, connection: "Connection", error: EngineError) -> None:
        """The engine met a bug at it; it is closed."""

    def charge(self, peer: str, messages: int, now_s: float) -> None:
        """A peer sent messages."""

    def ended(self, connection: "Connection", stream: int | None) -> None:
        """It is gone."""


class Connection(asyncio.BufferedProtocol):
    """One peer's connection."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._transport: asyncio.Transport | None = None
        self._stream: int | None = None
        self._admitted = False
        self.peer = ""
        self.last_message_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Taken or refused."""
        # asyncio hands a stream protocol a stream's transport; its signature is that of all protocols.
        self._transport = cast(asyncio.Transport, transport)
        self.peer = host_of(transport.get_extra_info("peername"))
        self.last_message_s = asyncio.get_running_loop().time()
        self._admitted = self._listener.admit(self)
        if self._admitted:
            self._begin()
        else:
            self._transport.abort()

    def _begin(self) -> None:
        """It is taken."""
        self._start()

    def _start(self, name: str = "") -> None:
        """Messages are going to come, of a peer that proved to be called so."""
        try:
            self._stream = self._listener.begin(self.peer, name)
        except EngineError as error:
            self._broken(error)

    def _broken(self, error: EngineError) -> None:
        """Nothing more of it can be read: where its frames end is not known any more."""
        self._listener.broken(self, error)
        self._end()
        self.close()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes of the socket go."""
        return self._listener.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """They came."""
        if self._admitted:
            self._arrived(nbytes)

    def _arrived(self, n: int) -> None:
        """So many bytes of the socket are in the buffer."""
        self._messages(n)

    def _messages(self, n: int) -> None:
        """So many bytes of messages are in the listener's buffer."""
        if self._stream is None:
            return
        try:
            messages = self._listener.read(self._stream, n)
        except EngineError as error:
            self._broken(error)
            return
        if messages:
            self.last_message_s = asyncio.get_running_loop().time()
            self._listener.charge(self.peer, messages, self.last_message_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """It ended."""
        self._end()

    def pause(self) -> None:
        """Read nothing for now; TCP makes the sender wait."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._transport is not None:
            self._transport.resume_reading()

    def close(self) -> None:
        """Close from our side; nothing is read any more."""
        if self._transport is not None:
            self._transport.abort()

    def finish(self) -> None:
        """Read what the kernel has acknowledged to the peer already, then close: a graceful stop loses none of it."""
        if self._transport is not None and self._admitted and not self._transport.is_closing():
            fd = self._transport.get_extra_info("socket").fileno()
            with contextlib.suppress(OSError):  # It is empty, or the peer is gone.
                for _ in range(FINAL_CHUNKS):
                    n = os.readv(fd, [self.get_buffer(-1)])
                    if n == 0 or not self._admitted:
                        break
                    self._arrived(n)
        self._end()
        self.close()

    def _end(self) -> None:
        admitted, self._admitted = self._admitted, False
        stream, self._stream = self._stream, None
        if admitted:
            self._listener.ended(self, stream)
