"""
One TLS connection to a receiver of alerts, as its client.

The handshake runs in memory over a plain connection of asyncio's, so that the queue of the kernel, the alerts of the
other side and the end of the connection can be looked at while they happen: asyncio's own TLS hides all three.
"""

import asyncio
import select
import socket
import ssl
from collections.abc import Callable
from typing import cast

from collectord.certificates import TlsFiles, issuer, names, not_valid_now, sent_chain, shown, words

CLOSED = "connection closed by the receiver"

NEXT_ADDRESS_S = 0.25
"""Of a receiver's addresses the next is tried beside one that is silent for so long (RFC 8305 section 5)."""

# How long the reason of an end may take after the kernel knows of the end.
_LAST_WORDS_S = 1.0
_READ_BYTES = 65_536

# Types of handshake messages (RFC 8446 section 4, RFC 5246 section 7.4).
_CERTIFICATE, _CERTIFICATE_REQUEST = 11, 13

# X509_V_ERR_* of OpenSSL's x509_vfy.h.
_NOT_VALID_NOW = (9, 10)
_SELF_SIGNED = 18
_UNKNOWN_CA = (2, _SELF_SIGNED, 19, 20, 21, 27)
_WRONG_NAME = (62, 64)

# What OpenSSL says of an answer that is no TLS record.
_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE")
_TOO_OLD = ("TLSV1_ALERT_PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL")
_CERTIFICATE_REQUIRED = "TLSV13_ALERT_CERTIFICATE_REQUIRED"
# What OpenSSL calls the alerts (RFC 8446 section 6.2) that tell about our certificate.
_ABOUT_OUR_CERTIFICATE = {
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "no reason given",
    "SSLV3_ALERT_BAD_CERTIFICATE": "it is not accepted",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "its kind is not supported",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "it is revoked",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "it is not valid now",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "no reason given",
    "TLSV1_ALERT_UNKNOWN_CA": "its CA is not known there",
    "TLSV1_ALERT_ACCESS_DENIED": "its name is not permitted there",
    "TLSV1_ALERT_DECRYPT_ERROR": "its signature can't be verified there",
}


class TlsError(ConnectionError):
    """The connection could not be made, or ended with an error; the text is for a person."""


class TlsConnection(asyncio.Protocol):
    """A connection to somebody whose certificate is for the right name, and from a CA that we believe."""

    def __init__(self, context: ssl.SSLContext, name: str, files: TlsFiles, now_ns: Callable[[], int]) -> None:
        self._name, self._files, self._now_ns = name, files, now_ns
        # Not documented, and nothing hangs on it but how much an error can tell: nobody else knows what was in a
        # certificate that was refused.
        context._msg_callback = self._overhear  # type: ignore[attr-defined]
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        self._transport: asyncio.Transport | None = None
        self._decided, self._over = asyncio.Event(), asyncio.Event()
        self._greeted = False
        self._error: Exception | None = None
        self._shown: list[bytes] = []
        self._asked = False

    def write(self, data: bytes) -> None:
        """Encrypt, and hand to the kernel what it takes now."""
        self._tls.write(data)
        self._flush()

    @property
    def unsent_bytes(self) -> int:
        """Of what was written, what the kernel does not have yet."""
        return self._outgoing.pending + (0 if self._transport is None else self._transport.get_write_buffer_size())

    @property
    def socket(self) -> socket.socket:
        """The kernel's connection."""
        if self._transport is None:
            raise ConnectionResetError(CLOSED)
        return cast(socket.socket, self._transport.get_extra_info("socket"))

    @property
    def is_over(self) -> bool:
        """Whether the other side ended it, also where the event loop has not heard of it yet."""
        return self._over.is_set() or self._error is not None or has_hung_up(self.socket)

    async def reason(self) -> Exception:
        """Why it is over; waits a little for what has not been read yet."""
        try:
            async with asyncio.timeout(_LAST_WORDS_S):
                await self._over.wait()
        except TimeoutError:
            pass
        return self._error or ConnectionResetError(CLOSED)

    async def stands(self, for_s: float) -> None:
        """
        Wait so long for the other side's refusal.

        With TLS 1.3 a client is through with its handshake before the server has seen its certificate, and servers
        with rules of their own look at it after the handshake with any version.

        Raises:
            TlsError: it came.
        """
        try:
            async with asyncio.timeout(for_s):
                await self._over.wait()
        except TimeoutError:
            return
        if isinstance(self._error, TlsError):
            raise self._error
        raise TlsError(f"closed by the receiver right after the TLS handshake{self._perhaps()}")

    def close(self) -> None:
        """Close at once; what is left is not sent."""
        if self._transport is not None:
            self._transport.abort()
        self._over.set()

    async def handshake(self) -> None:
        """
        Wait for the other side's part.

        Raises:
            TlsError: it is not who it should be, it refused, or it does not speak TLS.
        """
        await self._decided.wait()
        if self._error is not None:
            raise self._error

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The handshake begins."""
        # asyncio hands a stream protocol a stream's transport; its signature is that of all protocols.
        self._transport = cast(asyncio.Transport, transport)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._advance()

    def data_received(self, data: bytes) -> None:
        """Part of the handshake, an alert, or what a receiver of syslog has no reason to send: thrown away."""
        self._incoming.write(data)
        self._advance()

    def eof_received(self) -> None:
        """The other side sends no more, so it needs nothing more of ours; asyncio closes."""
        self._incoming.write_eof()
        self._advance()

    def connection_lost(self, exc: Exception | None) -> None:
        """The end."""
        self._end(exc or ConnectionResetError(CLOSED))
        self._over.set()

    def _advance(self) -> None:
        """Do what can be done with what has arrived."""
        if self._error is not None:
            return
        try:
            if not self._greeted:
                self._tls.do_handshake()
                self._greeted = True
                self._decided.set()
            while self._tls.read(_READ_BYTES):
                pass
            # Nothing and no error: the other side told that it closes.
            self._end(ConnectionResetError(CLOSED))
        except ssl.SSLWantReadError:
            # Our part of the handshake, or the answer to a change of keys.
            self._flush()
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            self._end(ConnectionResetError(CLOSED))
        except ssl.SSLError as error:
            self._end(TlsError(self._explained(error)))

    def _end(self, error: Exception) -> None:
        if self._error is None:
            if not self._greeted and not isinstance(error, TlsError):
                error = TlsError(f"closed by the receiver during the TLS handshake{self._perhaps()}")
            self._error = error
        self._decided.set()
        if self._transport is not None:
            # The other side is told in an alert what we think of it.
            self._flush()
            self._transport.close()

    def _flush(self) -> None:
        if self._transport is not None and self._outgoing.pending:
            self._transport.write(self._outgoing.read())

    def _overhear(self, _: object, direction: str, version: int, __: int, kind: int, data: bytes) -> None:
        """Keep what the other side shows, for messages about it."""
        if direction != "read" or self._greeted:
            return
        if kind == _CERTIFICATE_REQUEST:
            self._asked = True
        elif kind == _CERTIFICATE:
            self._shown = sent_chain(data, with_extensions=version == ssl.TLSVersion.TLSv1_3)

    def _explained(self, error: ssl.SSLError) -> str:
        """What a failed handshake or an alert means, in words."""
        if isinstance(error, ssl.SSLCertVerificationError):
            return self._not_who_it_should_be(error)
        reason = error.reason or ""
        if reason in _NO_TLS:
            return "no TLS on that port: something else answered"
        if reason in _TOO_OLD:
            return "the receiver speaks no TLS 1.2 and nothing newer"
        if reason == _CERTIFICATE_REQUIRED or (reason in _ABOUT_OUR_CERTIFICATE and self._asked):
            return self._refused(_ABOUT_OUR_CERTIFICATE.get(reason, "it did not get one"))
        return f"TLS failed: {words(reason or str(error))}"

    def _not_who_it_should_be(self, error: ssl.SSLCertVerificationError) -> str:
        chain = [each for each in map(shown, self._shown) if each is not None]
        found = names(chain[0]) if chain else "something else"
        if error.verify_code in _WRONG_NAME:
            return f'the receiver has the wrong name: expected a certificate for "{self._name}", found one for {found}'
        if error.verify_code in _NOT_VALID_NOW:
            found = not_valid_now(chain, self._now_ns()) or words(error.verify_message)
            return f"the receiver's certificate is not valid now: {found}"
        if error.verify_code in _UNKNOWN_CA:
            believed = self._files.ca_file or "the system's CAs"
            by = "nobody but itself" if error.verify_code == _SELF_SIGNED else issuer(chain[-1]) if chain else "another"
            return (
                f"the receiver's certificate is from an unknown CA: expected one from {believed}, "
                f"found one for {found} issued by {by}"
            )
        return f"the receiver's certificate for {found} is refused: {words(error.verify_message)}"

    def _refused(self, why: str) -> str:
        own = self._files.own()
        if own is None:
            return "the receiver wants a client certificate, and neither cert_file nor key_file is set"
        ended = not_valid_now([own], self._now_ns())
        return f"the receiver refused our client certificate for {names(own)}: {ended or why}"

    def _perhaps(self) -> str:
        if not self._asked:
            return "; perhaps there is no TLS on that port" if not self._greeted else ""
        own = self._files.own()
        if own is None:
            return "; it asked for a client certificate, and neither cert_file nor key_file is set"
        return f"; perhaps it does not accept our client certificate for {names(own)}"


async def connect(host: str, port: int, *, name: str, files: TlsFiles, now_ns: Callable[[], int]) -> TlsConnection:
    """
    Connect and shake hands; the files are read now.

    Args:
        host: Name or address to connect to.
        port: TCP port.
        name: Name or address that the other side's certificate must be for.
        files: Whom we believe, and who we are.
        now_ns: Wall clock, for messages about certificates.

    Raises:
        CertificateError: a file of ours can't be used.
        TlsError: the other side is not who it should be, refused, or does not speak TLS.
        OSError: no connection.
    """
    # The system's CAs take some tens of milliseconds to read.
    context = await asyncio.to_thread(files.context)
    connection = TlsConnection(context, name, files, now_ns)
    try:
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: connection, host, port, happy_eyeballs_delay=NEXT_ADDRESS_S)
        await connection.handshake()
    except BaseException:
        connection.close()
        raise
    return connection


def has_hung_up(connection: socket.socket) -> bool:
    """Whether the other side has closed, reset or lost the connection, asked of the kernel."""
    if connection.fileno() < 0:
        return True
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLRDHUP)
    return bool(poll.poll(0))
