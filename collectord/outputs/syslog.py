"""
Alerts as syslog messages: in CEF, or RFC 5424 with the ``alarm`` element of RFC 5674 and an element of our own.

    <163>1 2026-11-22T10:00:00.000Z collector collectord - ALARM-RAISE [alarm resource="collectord" ...]
    [collectord@32473 alarmId="..." ...] Excessive number of failed connections ...

(one line).
"""

import asyncio
import os
import socket
from collections.abc import Callable
from functools import partial
from typing import Literal

import asyncio_dgram

from collectord import log as logs
from collectord.certificates import EXPIRES_SOON_DAYS, TlsFiles, days_left
from collectord.clock import SystemClock
from collectord.errors import CertificateError, DeliveryError
from collectord.model import Alert, AlertState, rfc3339
from collectord.outputs.alarm import (
    ENTERPRISE,
    cut,
    event_type,
    key_text,
    perceived,
    probable_cause,
    resource,
    trend,
)
from collectord.outputs.cef import cef_message
from collectord.outputs.syslog_wire import Tcp, Tls, Udp, Wire
from collectord.texts import line

# In the order of their codes (RFC 5424 table 1).
FACILITIES = (
    *("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp"),
    *("ntp", "audit", "alert", "clock"),
    *("local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"),
)

MESSAGE_LIMIT_BYTES = 2_048
"""What every receiver SHOULD accept (RFC 5425 section 4.3.1, RFC 5426 section 3.2)."""

DATAGRAM_LIMIT_BYTES = 1_400
"""Over UDP: one Ethernet frame with room for headers and tunnels (RFC 5426 section 3.2): fragments are often lost."""

_APP_NAME = "collectord"
_MSGIDS = {AlertState.RAISED: "ALARM-RAISE", AlertState.UPDATED: "ALARM-UPDATE", AlertState.CLEARED: "ALARM-CLEAR"}
_HOSTNAME_LIMIT_BYTES = 255  # RFC 5424 section 6
_SD_NAME_LIMIT = 32  # RFC 5424 section 6
_VALUE_LIMIT_BYTES = 255
_ID_LIMIT_BYTES = 64  # An id of ours has 16; the shortest message has room for it whatever else is long.
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "]": "\\]"})
_BOM = b"\xef\xbb\xbf"

# A message with less free text than this gives up details before it gives up more text.
_TEXT_KEPT_BYTES = 128

_DAY_S = 86_400.0

log = logs.get()


class SyslogOutput:
    """
    Syslog messages to one receiver.

    Args:
        name: The output's name in the configuration.
        host: Name or address of the receiver.
        port: UDP or TCP port.
        transport: ``udp``, ``tcp`` or ``tls``.
        framing: How a TCP frame ends; UDP has none, and TLS has a length before each (RFC 5425 section 4.3).
        format: What a message looks like.
        facility: One of ``FACILITIES``.
        enterprise: Private enterprise number in the name of our own element; CEF has none.
        files: For TLS: whom we believe, and who we are.
        server_name: For TLS: the name that the receiver's certificate must be for; its host by default.
        collector_host: How this host is named in the header; its host name by default.
        message_limit_bytes: Longer messages lose text first, then details; by default as the transport bears it.
        io_limit_s: Most that connecting and sending may take.
        now_ns: Wall clock, ns since 1970 UTC, to tell how long certificates last; the machine's by default.
    """

    def __init__(
        self,
        *,
        name: str,
        host: str,
        port: int = 514,
        transport: Literal["udp", "tcp", "tls"] = "udp",
        framing: Literal["octet-counting", "lf"] = "octet-counting",
        format: Literal["rfc5424", "cef"] = "rfc5424",
        facility: str = "local4",
        enterprise: int = ENTERPRISE,
        files: TlsFiles | None = None,
        server_name: str | None = None,
        collector_host: str | None = None,
        message_limit_bytes: int | None = None,
        io_limit_s: float = 10.0,
        now_ns: Callable[[], int] | None = None,
    ) -> None:
        self.name = name
        self._write: Callable[..., bytes] = (
            cef_message if format == "cef" else partial(syslog_message, enterprise=enterprise)
        )
        self._facility = FACILITIES.index(facility)
        self._collector_host = socket.gethostname() if collector_host is None else collector_host
        self._message_limit_bytes = message_limit_bytes or (
            DATAGRAM_LIMIT_BYTES if transport == "udp" else MESSAGE_LIMIT_BYTES
        )
        self._io_limit_s = io_limit_s
        self._where = f"{host} port {port} ({transport})"
        self.files = files or TlsFiles()
        """Of TLS; all None where it is not used."""
        self._now_ns = now_ns or SystemClock().now_ns
        self._daily: asyncio.TimerHandle | None = None
        self.certificate_end_s: int | None = None
        """When our own certificate ends, epoch seconds; None: there is none, or it could not be read."""
        self._wire: Wire
        match transport:
            case "udp":
                self._wire = Udp(host, port)
            case "tcp":
                self._wire = Tcp(host, port, counted=framing != "lf")
            case "tls":
                self._wire = Tls(host, port, name=server_name or host, files=self.files, now_ns=self._now_ns)

    def wants(self, alert: Alert) -> bool:
        """Every alert: a receiver filters by severity."""
        return True

    async def start(self) -> None:
        """The connection is made when there is something to send; only our own certificate is looked at now."""
        if self.files.cert_file is not None:
            self._tell_of_expiry()

    async def send(self, alert: Alert, sequence: int) -> None:
        """
        Send one message.

        UDP: it counts as delivered when the kernel took it and no refusal came back at once. TCP and TLS: when the
        receiver's kernel acknowledged it and the connection still stands; whether its program read it is known to
        nobody.

        Raises:
            DeliveryError: no connection, or it broke, or nothing was acknowledged in time.
        """
        message = self._write(
            alert,
            sequence,
            facility=self._facility,
            collector_host=self._collector_host,
            limit_bytes=self._message_limit_bytes,
        )
        try:
            async with asyncio.timeout(self._io_limit_s) as limit:
                await self._wire.send(message)
        except (CertificateError, DeliveryError) as error:
            self._wire.close()
            raise DeliveryError(f"{self._where}: {error}") from error
        except (OSError, asyncio_dgram.TransportClosed) as error:
            stage = self._wire.stage
            self._wire.close()
            if limit.expired():
                waited = f" from {stage}" if stage else ""
                raise DeliveryError(f"{self._where}: no result within {self._io_limit_s:g} s{waited}") from error
            reason = _reason(error)
            raise DeliveryError(f"{self._where}: {reason}") from error
        except asyncio.CancelledError:
            # A frame may be half written.
            self._wire.close()
            raise

    async def close(self) -> None:
        """Close the connection."""
        if self._daily is not None:
            self._daily.cancel()
            self._daily = None
        self._wire.close()

    def _tell_of_expiry(self) -> None:
        """Once a day: that our certificate ends soon, or has. A file of a few KiB is read."""
        self._daily = asyncio.get_running_loop().call_later(_DAY_S, self._tell_of_expiry)
        try:
            own = self.files.own()
        except CertificateError as error:
            log.error("client certificate can't be read", destination=self.name, err=str(error))
            return
        self.certificate_end_s = None if own is None else int(own.not_valid_after_utc.timestamp())
        days = EXPIRES_SOON_DAYS if own is None else days_left(own, self._now_ns())
        if days < 0:
            log.error("client certificate has expired", destination=self.name, path=str(self.files.cert_file))
        elif days < EXPIRES_SOON_DAYS:
            log.warning(
                "client certificate ends in so many days",
                destination=self.name,
                path=str(self.files.cert_file),
                count=days,
            )


def _reason(error: Exception) -> str:
    """The system's words; asyncio has its own for a connection that fails, with an address in them once more."""
    if isinstance(error, OSError) and (error.errno or 0) > 0:
        return os.strerror(error.errno or 0)
    return str(getattr(error, "strerror", None) or error) or type(error).__name__


def syslog_message(
    alert: Alert,
    sequence: int,
    *,
    facility: int,
    collector_host: str,
    limit_bytes: int = MESSAGE_LIMIT_BYTES,
    enterprise: int = ENTERPRISE,
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
        enterprise: As of ``SyslogOutput``.
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
            "trendIndication": trend(alert),
        },
    )
    # What names the alarm stands first; what is dropped for want of room, last.
    details: dict[str, str | int] = {
        "alarmId": cut(alert.id, _ID_LIMIT_BYTES).decode(),
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
        head = (header + alarm + _element(f"collectord@{enterprise}", details) + " ").encode()
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
    """
    A PARAM-VALUE (RFC 5424 section 6.3.3): on one line, with ``\\``, ``"`` and ``]`` escaped, and cut so that it is
    not too long with them.
    """
    text = cut(str(value), _VALUE_LIMIT_BYTES).decode()
    while len((escaped := text.translate(_ESCAPES)).encode()) > _VALUE_LIMIT_BYTES:
        text = text[:-1]
    return escaped


def _is_sd_name(name: str) -> bool:
    return 0 < len(name) <= _SD_NAME_LIMIT and all("!" <= c <= "~" and c not in '="]' for c in name)
