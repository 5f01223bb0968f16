"""
The TLS listener (RFC 5425): as the TCP listener, with a handshake before the first message.

The handshake runs in memory over a plain connection of asyncio's, as that of our outputs does: whom we do not want is
refused before it, it costs no task, and a stop can read what the kernel holds. Frames are the engine's, as for TCP:
RFC 5425 section 4.3 has octet counting, and what senders put at the end of a line is taken as well.
"""

import asyncio
import contextlib
import ssl
from collections import Counter
from collections.abc import Mapping
from typing import Any, cast

import structlog

from collectord.certificates import words
from collectord.inputs.connection import Connection
from collectord.inputs.own_certificate import Loaded, OwnCertificate
from collectord.inputs.stream import TcpListener
from collectord.texts import line

log = structlog.get_logger()

HANDSHAKE_S = 10.0
"""Longest time from a connection to the end of its handshake: two round trips, and patience for a slow device."""

HANDSHAKES = 256
"""Most at the same time, each of which takes some 60 KiB: with one more, whoever has most of them loses the oldest."""

HANDSHAKE_MESSAGES = 500
"""What a handshake takes of its peer's rate: some 2 ms of work, as so many messages do."""

RAW_BYTES = 64 * 1024
"""Most bytes read at once. OpenSSL keeps memory for as much with each connection."""

UNSENT_BYTES = 64 * 1024
"""Most that a peer may leave unread: we have nothing to say but the handshake, and answers to changes of keys."""

NAME_CHARACTERS = 253
"""Of a device's name: as much as a DNS name has (RFC 1035 section 2.3.4)."""

# X509_V_ERR_* of OpenSSL's x509_vfy.h.
_NOT_VALID_NOW = (9, 10)
_UNKNOWN_CA = (2, 18, 19, 20, 21, 27)

# What OpenSSL says of a start that is no TLS record, of a version that we do not speak, and of a missing certificate.
_NO_TLS = (
    *("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "HTTPS_PROXY_REQUEST", "UNKNOWN_PROTOCOL", "PACKET_LENGTH_TOO_LONG"),
    *("RECORD_LAYER_FAILURE", "UNEXPECTED_MESSAGE", "BAD_RECORD_TYPE", "RECORD_TOO_SMALL"),
)
_TOO_OLD = ("UNSUPPORTED_PROTOCOL", "VERSION_TOO_LOW", "NO_SHARED_CIPHER", "NO_PROTOCOLS_AVAILABLE")
_NO_CERTIFICATE = "PEER_DID_NOT_RETURN_A_CERTIFICATE"
# An alert of the other side (RFC 8446 section 6.2) before the end of the handshake: it does not want ours.
_ALERT = "_ALERT_"


class TlsListener(TcpListener):
    """
    One TLS port.

    Args:
        certificate: Its files as they were just read, and what is asked of clients.
        options: As TcpListener takes them.
    """

    kind = "tls"

    def __init__(self, *, certificate: Loaded, **options: Any) -> None:
        super().__init__(**options)
        self.certificate = OwnCertificate(self.name, certificate, options["now_ns"])
        """Shown in the next handshakes; may change at any time."""
        self.raw = memoryview(bytearray(RAW_BYTES))
        """Where the next bytes of a socket go."""
        # In the order of their beginning.
        self._shaking: dict[TlsConnection, None] = {}

    @property
    def handshakes(self) -> int:
        """Connections that are not through with it."""
        return len(self._shaking)

    async def serve(self) -> None:
        """As of TCP; looks after the certificate meanwhile."""
        async with asyncio.TaskGroup() as together:
            together.create_task(self.certificate.watch())
            together.create_task(super().serve())

    def _connection(self) -> "TlsConnection":
        return TlsConnection(self)

    def shake(self, connection: "TlsConnection") -> None:
        """A handshake begins."""
        if len(self._shaking) >= HANDSHAKES:
            ((greediest, _),) = Counter(each.peer for each in self._shaking).most_common(1)
            next(each for each in self._shaking if each.peer == greediest).refuse(
                "too_many", f"more than {HANDSHAKES} handshakes at the same time"
            )
        self._shaking[connection] = None

    def shaken(self, connection: "TlsConnection") -> None:
        """A handshake ended, well or not; may be called twice."""
        self._shaking.pop(connection, None)


class TlsConnection(Connection):
    """A peer's connection, encrypted."""

    def __init__(self, listener: TlsListener) -> None:
        super().__init__(listener)
        self._tls_listener = listener
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls: ssl.SSLObject | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._charged = False

    def _begin(self) -> None:
        context = self._tls_listener.certificate.loaded.context
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._be_patient()
        self._tls_listener.shake(self)

    def _be_patient(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(HANDSHAKE_S, self._too_slow)

    def _too_slow(self) -> None:
        if self._tls_listener.is_held(self.peer):
            # Nobody reads what it sends.
            self._be_patient()
            return
        self.refuse("slow", f"the handshake took more than {HANDSHAKE_S:g} s")

    def get_buffer(self, sizehint: int) -> memoryview:
        """For what is encrypted."""
        return self._tls_listener.raw

    def _arrived(self, n: int) -> None:
        self._incoming.write(self._tls_listener.raw[:n])
        if self._tls is None:
            return
        try:
            if self._stream is None:
                self._charge()
                self._tls.do_handshake()
                self._through(self._tls)
            self._read(self._tls)
        except ssl.SSLWantReadError:
            self._flush()
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            self._closed_by_peer()
        except ssl.SSLError as error:
            self._failed(error)

    def _charge(self) -> None:
        """Once, and only of who sends something: what costs is the answer."""
        if not self._charged:
            self._charged = True
            self._listener.charge(self.peer, HANDSHAKE_MESSAGES, asyncio.get_running_loop().time())

    def _through(self, tls: ssl.SSLObject) -> None:
        """The handshake is done; messages follow."""
        self._settled()
        self.last_message_s = asyncio.get_running_loop().time()
        self._start(device_name(tls.getpeercert() or {}))

    def _read(self, tls: ssl.SSLObject) -> None:
        """Whole chunks to the engine, where a record has 16 KiB at most; ends with an error, at the latest for want."""
        buffer = self._listener.buffer
        n = 0
        try:
            while self._stream is not None:
                got = tls.read(len(buffer) - n, buffer[n:])
                if not got:
                    raise ssl.SSLZeroReturnError
                n += cast(int, got)
                if n == len(buffer):
                    self._messages(n)
                    n = 0
        finally:
            if n:
                self._messages(n)

    def _closed_by_peer(self) -> None:
        """It sends no more."""
        if self._stream is None:
            self.refuse("closed", "closed by the peer during the handshake")
        else:
            self._end()
            self.close()

    def _failed(self, error: ssl.SSLError) -> None:
        if self._stream is None:
            self.refuse(*explained(error))
            return
        reason = words(error.reason or str(error))
        log.warning(
            "connection closed: its TLS is broken", listener=self._tls_listener.name, peer=self.peer, err=reason
        )
        self._end()
        self.close()

    def refuse(self, reason: str, err: str) -> None:
        """The handshake does not come to its end."""
        if self._admitted:
            self._tls_listener.refuse(self.peer, reason, err)
            self._end()
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """It ended."""
        if self._stream is None:
            self.refuse("closed", "closed by the peer during the handshake")
        super().connection_lost(exc)

    def close(self) -> None:
        """Close at once, after a word: what is wrong, or that it is no accident (RFC 5425 section 4.4)."""
        if self._tls is not None:
            with contextlib.suppress(ssl.SSLError):
                self._tls.unwrap()
            self._tls = None
        self._flush()
        super().close()

    def _flush(self) -> None:
        """Hand the kernel what OpenSSL has to say."""
        if self._transport is None or self._transport.is_closing() or not self._outgoing.pending:
            return
        self._transport.write(self._outgoing.read())
        if self._transport.get_write_buffer_size() > UNSENT_BYTES:
            log.warning("connection closed: it reads nothing", listener=self._tls_listener.name, peer=self.peer)
            self._end()
            super().close()

    def _end(self) -> None:
        self._settled()
        super()._end()

    def _settled(self) -> None:
        """The handshake is over."""
        self._tls_listener.shaken(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def device_name(certificate: Mapping[str, Any]) -> str:
    """
    Whom a certificate is for: its first host name, else its common name, in lower case; empty if it has neither.

    Names of many hosts (``*.example.net``) name no device.

    Args:
        certificate: One that was verified, as ``SSLObject.getpeercert`` tells it.
    """
    # RFC 6125 section 6.4.4: the common name is of use only where there is no host name; the last one is the most
    # specific (section 1.8).
    names = [value for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"]
    common = [value for rdn in certificate.get("subject", ()) for kind, value in rdn if kind == "commonName"]
    for name in (*names, *reversed(common)):
        if (shown := line(name).strip().lower()[:NAME_CHARACTERS]) and "*" not in shown:
            return shown
    return ""


def explained(error: ssl.SSLError) -> tuple[str, str]:
    """Why a handshake failed: a word of a closed list, for counting, and a sentence for people."""
    reason = error.reason or ""
    if isinstance(error, ssl.SSLCertVerificationError):
        why = words(error.verify_message)
        if error.verify_code in _NOT_VALID_NOW:
            return "expired", f"the client certificate is not valid now: {why}"
        if error.verify_code in _UNKNOWN_CA:
            return "unknown_ca", f"the client certificate is from a CA that ca_file does not have: {why}"
        return "bad_certificate", f"the client certificate is refused: {why}"
    if reason == _NO_CERTIFICATE:
        return "no_certificate", "the peer has no client certificate"
    if reason in _NO_TLS:
        return "no_tls", "the peer does not speak TLS: is it set to plain TCP?"
    if reason in _TOO_OLD:
        return "too_old", "the peer speaks no TLS 1.2 and nothing newer, or no cipher that is safe"
    if _ALERT in reason:
        return "refused_us", f"the peer refused our certificate: {words(reason.partition(_ALERT)[2])}"
    return "failed", f"the handshake failed: {words(reason or str(error))}"
