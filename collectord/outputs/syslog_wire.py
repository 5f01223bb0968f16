"""
How a syslog message reaches its receiver: a datagram (RFC 5426), or a frame on a connection, plain (RFC 6587 section
3.4) or in TLS (RFC 5425).

On a connection a message counts as delivered when the receiver's kernel acknowledged all its bytes and the connection
still stands then; whether the receiver's program read it is known to nobody.
"""

import asyncio
import fcntl
import socket
import struct
import termios
from collections.abc import Callable
from typing import Protocol

import asyncio_dgram

from collectord.certificates import TlsFiles
from collectord.outputs import tls
from collectord.outputs.tls import CLOSED, TlsConnection, TlsError, has_hung_up

# An ICMP error of a datagram that nobody wanted is here by then on a local network; a later one fails the next send.
_ICMP_WAIT_S = 0.01
# What a receiver sends back to a UDP socket of ours is never read, so the socket does not live long without use.
_IDLE_S = 5.0

# Looking for the acknowledgement of what was written: often at first, then rarely.
_ACK_FIRST_S = 0.001
_ACK_LONGEST_S = 0.1

# How long a receiver may take to refuse a client that is through with its TLS handshake. One that was found to take
# longer is given longer.
_VERDICT_S = 1.0
_VERDICT_LONGEST_S = 5.0
# A connection that ended sooner was refused, as far as we can tell; later it is one that nobody used.
_YOUNG_S = 10.0


class Wire(Protocol):
    """A way to one receiver."""

    stage: str
    """What is being waited for, where an end of the time would otherwise tell nothing; mostly empty."""

    async def send(self, message: bytes) -> None:
        """
        Send one message, connecting first where needed.

        Raises:
            OSError: it failed, or may have; so does asyncio_dgram.TransportClosed.
            CertificateError: a file that is needed for it can't be used.
        """

    def close(self) -> None:
        """Close at once; the next send connects again."""


class Udp:
    """
    A datagram for each message.

    It counts as delivered when the kernel took it and no refusal came back at once. Of a receiver with several
    addresses, another one is tried after each failure.
    """

    stage = ""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._stream: asyncio_dgram.DatagramClient | None = None
        self._failures = 0
        self._idle: asyncio.TimerHandle | None = None

    async def send(self, message: bytes) -> None:
        """As in ``Wire``."""
        if self._idle is not None:
            self._idle.cancel()
        try:
            await self._send(message)
        except (OSError, asyncio_dgram.TransportClosed):
            self._failures += 1
            raise
        self._idle = asyncio.get_running_loop().call_later(_IDLE_S, self.close)

    async def _send(self, message: bytes) -> None:
        if self._stream is None:
            found = await asyncio.get_running_loop().getaddrinfo(*self._address, type=socket.SOCK_DGRAM)
            *_, address = found[self._failures % len(found)]
            self._stream = await asyncio_dgram.connect(address[:2])
        stream = self._stream
        await stream.send(message)
        try:
            async with asyncio.timeout(_ICMP_WAIT_S) as limit:
                while True:
                    await stream.recv()
        except TimeoutError:
            if not limit.expired():
                raise
        # An error that arrived while we waited is raised by looking at it.
        _ = stream.exception

    def close(self) -> None:
        """As in ``Wire``."""
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()


class Tcp:
    """Frames on a plain connection, with their length before them (``counted``) or a line feed behind."""

    stage = ""

    def __init__(self, host: str, port: int, *, counted: bool) -> None:
        self._address = (host, port)
        self._counted = counted
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def send(self, message: bytes) -> None:
        """As in ``Wire``."""
        if self._writer is not None and self._is_over(self._writer):
            self.close()
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(
                *self._address, happy_eyeballs_delay=tls.NEXT_ADDRESS_S
            )
            self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        writer = self._writer
        writer.write(_counted(message) if self._counted else message + b"\n")
        await writer.drain()
        await _acknowledged(
            writer.get_extra_info("socket"), writer.transport.get_write_buffer_size, lambda: self._is_over(writer)
        )

    def _is_over(self, writer: asyncio.StreamWriter) -> bool:
        """Whether the receiver closed its side, also where the event loop has not heard of it yet."""
        if writer.is_closing() or self._reader is None or self._reader.at_eof():
            return True
        return has_hung_up(writer.get_extra_info("socket"))

    def close(self) -> None:
        """As in ``Wire``."""
        writer, self._writer, self._reader = self._writer, None, None
        if writer is not None:
            # Not close(), which would go on sending what is left, without a limit.
            writer.transport.abort()


class Tls:
    """
    Frames with their length before them, in TLS.

    Args:
        host: Name or address of the receiver.
        port: TCP port.
        name: Name or address that its certificate must be for.
        files: Whom we believe, and who we are; read for each connection.
        now_ns: Wall clock, for messages about certificates.
    """

    def __init__(self, host: str, port: int, *, name: str, files: TlsFiles, now_ns: Callable[[], int]) -> None:
        self.stage = ""
        self._address = (host, port)
        self._name, self._files, self._now_ns = name, files, now_ns
        self._connection: TlsConnection | None = None
        self._made_s = 0.0
        self._verdict_s = _VERDICT_S

    async def send(self, message: bytes) -> None:
        """As in ``Wire``."""
        if self._connection is not None and self._connection.is_over:
            await self._look_back(self._connection)
        if self._connection is None:
            self.stage = "the TLS handshake; perhaps there is no TLS on that port"
            self._connection = await tls.connect(
                *self._address, name=self._name, files=self._files, now_ns=self._now_ns
            )
            self._made_s = asyncio.get_running_loop().time()
            self.stage = ""
            # Nothing is sent before: the receiver's kernel would acknowledge it, and its program throw it away.
            await self._connection.stands(self._verdict_s)
        connection = self._connection
        connection.write(_counted(message))
        try:
            await _acknowledged(connection.socket, lambda: connection.unsent_bytes, lambda: connection.is_over)
        except ConnectionResetError as error:
            raise await connection.reason() from error

    async def _look_back(self, connection: TlsConnection) -> None:
        """
        A connection ended after it took messages.

        A receiver may close one that nobody uses. One that ended with an alert, or with a reset soon after it was
        made, was a refusal that came late: what was sent on it may be lost, which is told. The next connection is
        given more time after any early end.

        Raises:
            TlsError: it was refused.
        """
        reason = await connection.reason()
        self.close()
        young = asyncio.get_running_loop().time() - self._made_s < _YOUNG_S
        refused = isinstance(reason, TlsError)
        if refused or young:
            self._verdict_s = min(self._verdict_s * 2, _VERDICT_LONGEST_S)
        # A reset has a number; it throws away what the receiver has not read, and often its alert, too.
        if refused or (young and getattr(reason, "errno", None) is not None):
            raise TlsError(f"{reason}; this came late, and what was sent on that connection may be lost")

    def close(self) -> None:
        """As in ``Wire``."""
        connection, self._connection = self._connection, None
        self.stage = ""
        if connection is not None:
            connection.close()


def _counted(message: bytes) -> bytes:
    """A frame with its length before it, in octets (RFC 6587 section 3.4.1, RFC 5425 section 4.3)."""
    return b"%d %b" % (len(message), message)


async def _acknowledged(connection: socket.socket, unsent: Callable[[], int], is_over: Callable[[], bool]) -> None:
    """
    Wait until the receiver's kernel has everything.

    A write only fills a buffer: without this, a message into a connection that is dead counts as delivered.

    Raises:
        ConnectionResetError: the connection ended before, or at once after.
    """
    pause_s = _ACK_FIRST_S
    while not is_over():
        if unsent() == 0 and _unacknowledged_bytes(connection) == 0:
            # A receiver that closed with our bytes unread has acknowledged them, and then reset the connection.
            if is_over():
                break
            return
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 2, _ACK_LONGEST_S)
    raise ConnectionResetError(CLOSED)


def _unacknowledged_bytes(connection: socket.socket) -> int:
    """Bytes in the kernel's send queue that the other side has not acknowledged (tcp(7), SIOCOUTQ)."""
    answer = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4))
    return int(struct.unpack("i", answer)[0])
