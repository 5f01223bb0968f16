"""
Alerts as syslog messages: RFC 5424, with the ``alarm`` element of RFC 5674 and an element of our own.

    <163>1 2026-11-22T10:00:00.000Z collector collectord - ALARM-RAISE [alarm resource="collectord" ...]
    [collectord@32473 alarmId="..." ...] Excessive number of failed connections ...

(one line). Over UDP a message is a datagram (RFC 5426); over TCP it is a frame with its length before it, or ends with
a line feed (RFC 6587 section 3.4).
"""

import asyncio
import fcntl
import select
import socket
import struct
import termios
from typing import Literal, Protocol

import asyncio_dgram

from collectord.errors import DeliveryError
from collectord.model import Alert, AlertState, rfc3339
from collectord.outputs.alarm import (
    ENTERPRISE,
    cut,
    event_type,
    key_text,
    line,
    perceived,
    probable_cause,
    resource,
)

# In the order of their codes (RFC 5424 table 1).
FACILITIES = (
    *("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp"),
    *("ntp", "audit", "alert", "clock"),
    *("local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"),
)

MESSAGE_LIMIT_BYTES = 2_048
"""What every receiver SHOULD accept (RFC 5425 section 4.3.1, RFC 5426 section 3.2)."""

_APP_NAME = "collectord"
_MSGIDS = {AlertState.RAISED: "ALARM-RAISE", AlertState.UPDATED: "ALARM-UPDATE", AlertState.CLEARED: "ALARM-CLEAR"}
_TRENDS = {AlertState.RAISED: "moreSevere", AlertState.UPDATED: "noChange", AlertState.CLEARED: "lessSevere"}
_HOSTNAME_LIMIT_BYTES = 255  # RFC 5424 section 6
_SD_NAME_LIMIT = 32  # RFC 5424 section 6
_VALUE_LIMIT_BYTES = 255
_BOM = b"\xef\xbb\xbf"

# A message with less free text than this gives up details before it gives up more text.
_TEXT_KEPT_BYTES = 128

# An ICMP error of a datagram that nobody wanted is here by then on a local network; a later one fails the next send.
_ICMP_WAIT_S = 0.01
# What a receiver sends back to a UDP socket of ours is never read, so the socket does not live long without use.
_IDLE_S = 5.0

# Looking for the acknowledgement of what was written: often at first, then rarely.
_ACK_FIRST_S = 0.001
_ACK_LONGEST_S = 0.1


class SyslogOutput:
    """
    Syslog messages to one receiver.

    Args:
        name: The output's name in the configuration.
        host: Name or address of the receiver.
        port: UDP or TCP port.
        transport: ``udp`` or ``tcp``.
        framing: How a TCP frame ends; UDP has none.
        facility: One of ``FACILITIES``.
        collector_host: How this host is named in the header; its host name by default.
        message_limit_bytes: Longer messages lose text first, then details.
        io_limit_s: Most that connecting and sending may take.
    """

    def __init__(
        self,
        *,
        name: str,
        host: str,
        port: int = 514,
        transport: Literal["udp", "tcp"] = "udp",
        framing: Literal["octet-counting", "lf"] = "octet-counting",
        facility: str = "local4",
        collector_host: str | None = None,
        message_limit_bytes: int = MESSAGE_LIMIT_BYTES,
        io_limit_s: float = 10.0,
    ) -> None:
        self.name = name
        self._facility = FACILITIES.index(facility)
        self._collector_host = socket.gethostname() if collector_host is None else collector_host
        self._message_limit_bytes = message_limit_bytes
        self._io_limit_s = io_limit_s
        self._where = f"{host} port {port} ({transport})"
        self._wire: _Wire = _Udp(host, port) if transport == "udp" else _Tcp(host, port, counted=framing != "lf")

    def wants(self, alert: Alert) -> bool:
        """Every alert: a receiver filters by severity."""
        return True

    async def start(self) -> None:
        """Nothing to get ready: the connection is made when there is something to send."""

    async def send(self, alert: Alert, sequence: int) -> None:
        """
        Send one message.

        UDP: it counts as delivered when the kernel took it and no refusal came back at once. TCP: when the receiver's
        kernel acknowledged it and the connection still stands; whether its program read it is known to nobody.

        Raises:
            DeliveryError: no connection, or it broke, or nothing was acknowledged in time.
        """
        message = syslog_message(
            alert,
            sequence,
            facility=self._facility,
            collector_host=self._collector_host,
            limit_bytes=self._message_limit_bytes,
        )
        try:
            async with asyncio.timeout(self._io_limit_s) as limit:
                await self._wire.send(message)
        except (OSError, asyncio_dgram.TransportClosed) as error:
            self._wire.close()
            if limit.expired():
                raise DeliveryError(f"{self._where}: no result within {self._io_limit_s:g} s") from error
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise DeliveryError(f"{self._where}: {reason}") from error
        except asyncio.CancelledError:
            # A frame may be half written.
            self._wire.close()
            raise

    async def close(self) -> None:
        """Close the connection."""
        self._wire.close()


def syslog_message(
    alert: Alert, sequence: int, *, facility: int, collector_host: str, limit_bytes: int = MESSAGE_LIMIT_BYTES
) -> bytes:
    """
    The RFC 5424 message of an alert, of at most ``limit_bytes``, without a line feed in it.

    The timestamp is the alert's, so that a message that waited for its receiver tells of the right time. Too long a
    message loses free text down to 128 octets, then details of our own element from the last on, then the rest of
    the text. Text that is not ASCII has a byte order mark before it, as the RFC wants.

    Args:
        alert: Any.
        sequence: Lets a receiver see a gap.
        facility: Code of the facility, 0 to 23.
        collector_host: Characters that a host name in a header can't hold become ``-``.
        limit_bytes: 1,024 at least, so that there is room for what names the alarm.
    """
    severity = perceived(alert)
    host = "".join(c if "!" <= c <= "~" else "-" for c in collector_host)[:_HOSTNAME_LIMIT_BYTES] or "-"
    priority = facility * 8 + severity.syslog
    header = f"<{priority}>1 {rfc3339(alert.last_time_ns)} {host} {_APP_NAME} - {_MSGIDS[alert.state]} "
    alarm = _element(
        "alarm",
        {
            "resource": resource(alert, collector_host),
            "probableCause": probable_cause(alert),
            "perceivedSeverity": severity.word,
            "eventType": event_type(alert),
            "trendIndication": _TRENDS[alert.state],
        },
    )
    # What names the alarm stands first; what is dropped for want of room, last.
    details: dict[str, str | int] = {
        "alarmId": alert.id,
        "state": alert.state.value,
        "episode": alert.episode,
        "event": alert.event,
        "sequence": sequence,
        "rule": alert.rule,
        "severity": alert.severity.value,
        "site": alert.site,
        "count": alert.count,
        "threshold": alert.threshold,
        "window": alert.window_s,
        "firstTime": rfc3339(alert.first_time_ns),
        "lastTime": rfc3339(alert.last_time_ns),
        "key": key_text(alert),
    }
    for field, value in alert.key.items():
        if field not in details and _is_sd_name(field):
            details[field] = value
    if alert.reason:
        details["reason"] = alert.reason
    text = line(alert.summary)
    while True:
        head = (header + alarm + _element(f"collectord@{ENTERPRISE}", details) + " ").encode()
        room = limit_bytes - len(head)
        if len(details) <= 1 or room >= min(_TEXT_KEPT_BYTES, len(_free_text(text, limit_bytes))):
            return head + _free_text(text, room)
        details.popitem()


def _free_text(text: str, room: int) -> bytes:
    """MSG of at most ``room`` bytes, the byte order mark included."""
    if text.isascii():
        return cut(text, room)
    return _BOM + cut(text, room - len(_BOM)) if room > len(_BOM) else b""


def _element(sd_id: str, params: dict[str, str | int] | dict[str, str]) -> str:
    return f"[{sd_id}" + "".join(f' {name}="{_value(value)}"' for name, value in params.items()) + "]"


def _value(value: str | int) -> str:
    """A PARAM-VALUE (RFC 5424 section 6.3.3): cut, on one line, with ``\\``, ``"`` and ``]`` escaped."""
    text = cut(str(value), _VALUE_LIMIT_BYTES).decode()
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("]", "\\]")


def _is_sd_name(name: str) -> bool:
    return 0 < len(name) <= _SD_NAME_LIMIT and all("!" <= c <= "~" and c not in '="]' for c in name)


class _Wire(Protocol):
    async def send(self, message: bytes) -> None:
        """Send one message, connecting first where needed; an OSError or TransportClosed says that it failed."""

    def close(self) -> None:
        """Close at once; the next send connects again."""


class _Udp:
    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._stream: asyncio_dgram.DatagramClient | None = None
        self._idle: asyncio.TimerHandle | None = None

    async def send(self, message: bytes) -> None:
        if self._idle is not None:
            self._idle.cancel()
        if self._stream is None:
            self._stream = await asyncio_dgram.connect(self._address)
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
        self._idle = asyncio.get_running_loop().call_later(_IDLE_S, self.close)

    def close(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()


class _Tcp:
    def __init__(self, host: str, port: int, *, counted: bool) -> None:
        self._address = (host, port)
        self._counted = counted
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def send(self, message: bytes) -> None:
        if self._writer is not None and self._is_over(self._writer):
            self.close()
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(*self._address)
            self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        writer = self._writer
        writer.write(b"%d %b" % (len(message), message) if self._counted else message + b"\n")
        await writer.drain()
        await self._acknowledged(writer)

    def _is_over(self, writer: asyncio.StreamWriter) -> bool:
        """Whether the receiver closed its side, also where the event loop has not heard of it yet."""
        if writer.is_closing() or self._reader is None or self._reader.at_eof():
            return True
        return _has_hung_up(writer.get_extra_info("socket"))

    async def _acknowledged(self, writer: asyncio.StreamWriter) -> None:
        """
        Wait until the receiver's kernel has everything.

        A write only fills a buffer: without this, a message into a connection that is dead counts as delivered.
        """
        connection: socket.socket = writer.get_extra_info("socket")
        pause_s = _ACK_FIRST_S
        while not self._is_over(writer):
            if writer.transport.get_write_buffer_size() == 0 and _unacknowledged_bytes(connection) == 0:
                # A receiver that closed with our bytes unread has acknowledged them, and then reset the connection.
                if self._is_over(writer):
                    break
                return
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _ACK_LONGEST_S)
        raise ConnectionResetError("connection closed by the receiver")

    def close(self) -> None:
        writer, self._writer, self._reader = self._writer, None, None
        if writer is not None:
            # Not close(), which would go on sending what is left, without a limit.
            writer.transport.abort()


def _has_hung_up(connection: socket.socket) -> bool:
    """Whether the other side has closed, reset or lost the connection, asked of the kernel."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLRDHUP)
    return bool(poll.poll(0))


def _unacknowledged_bytes(connection: socket.socket) -> int:
    """Bytes in the kernel's send queue that the other side has not acknowledged (tcp(7), SIOCOUTQ)."""
    answer = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4))
    return int(struct.unpack("i", answer)[0])
