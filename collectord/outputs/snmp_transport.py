"""
Sockets and timer below pysnmp's engine.

What comes in on a socket is anybody's who can forge the receiver's address, so pysnmp sees little of it: only answers
to what we asked, a few for each question, none of them large. What it makes of those may fail; that is counted.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

from pysnmp.carrier.asyncio.dgram.udp import UdpAsyncioTransport  # type: ignore[import-untyped]
from pysnmp.carrier.asyncio.dgram.udp6 import Udp6AsyncioTransport  # type: ignore[import-untyped]
from pysnmp.carrier.asyncio.dispatch import AsyncioDispatcher  # type: ignore[import-untyped]

ANSWER_LIMIT_BYTES = 4096
"""An acknowledgement repeats the notification, which has some 1,500 bytes at most."""

ANSWERS_PER_REQUEST = 4
"""A receiver sends one; the network may double it."""

AWAITED_REQUESTS = 16
"""One at a time is under way, each try of it with a number of its own."""

_SEQUENCE, _INTEGER, _OCTETS = 0x30, 0x02, 0x04
_RESPONSE, _INFORM = 0xA2, 0xA6
_V2C, _V3 = 1, 3


@dataclass(slots=True)
class Incoming:
    """What came in on the sockets of an engine, in datagrams since it was made."""

    dropped: int = 0
    """Answers to nothing that we asked."""
    failed: int = 0
    """pysnmp failed on them."""


def answer_number(message: bytes) -> tuple[int, int] | None:
    """
    Version and number by which an answer finds its request; never raises, and takes constant time.

    That is msgID in SNMPv3 (RFC 3412 section 6.2), request-id in an SNMPv2c inform or response (RFC 3416 section 3).
    None for everything else.
    """
    outer = _tlv(message, 0)
    version = _tlv(message, outer[1]) if outer and outer[0] == _SEQUENCE else None
    if version is None or version[0] != _INTEGER:
        return None
    following = _tlv(message, version[2])
    if following is None:
        return None
    match int.from_bytes(message[version[1] : version[2]], "big", signed=True):
        case 1 if following[0] == _OCTETS:
            inner = _tlv(message, following[2])
            wanted = inner is not None and inner[0] in (_RESPONSE, _INFORM)
            kind = _V2C
        case 3:
            inner = following
            wanted = inner[0] == _SEQUENCE
            kind = _V3
        case _:
            return None
    number = _tlv(message, inner[1]) if inner is not None and wanted else None
    if number is None or number[0] != _INTEGER or not 1 <= number[2] - number[1] <= 5:
        return None
    return kind, int.from_bytes(message[number[1] : number[2]], "big", signed=True)


def _tlv(data: bytes, at: int) -> tuple[int, int, int] | None:
    """Tag, start and end of the value that stands at ``at`` in BER with a definite length; None if there is none."""
    head = data[at : at + 2]
    if len(head) < 2:
        return None
    tag, length, start = head[0], head[1], at + 2
    if length >= 0x80:
        count = length & 0x7F
        octets = data[start : start + count]
        if not 1 <= count <= 4 or len(octets) < count:
            return None
        length, start = int.from_bytes(octets, "big"), start + count
    return (tag, start, start + length) if start + length <= len(data) else None


class ConnectedUdp(UdpAsyncioTransport):  # type: ignore[misc]
    """
    A socket for one receiver.

    Connected, so that the kernel reports a refusal (pysnmp's own socket is shared and drops every error), and so that
    nobody else's datagrams come in.

    Args:
        confirmed: Whether answers are waited for. Those who get traps have nothing to say: all of it is dropped.
        incoming: Counts what comes in.
    """

    refused: asyncio.Future[OSError]

    def __init__(self, loop: asyncio.AbstractEventLoop, *, confirmed: bool, incoming: Incoming) -> None:
        super().__init__(loop=loop)
        self.refused = loop.create_future()
        self._peer: Any = None  # The receiver's address as pysnmp's tables have it, by which it finds what it knows.
        self._confirmed = confirmed
        self._incoming = incoming
        self._awaited: dict[tuple[int, int], int] = {}

    def send_message(self, outgoingMessage: bytes, transportAddress: Any) -> None:
        """Send to the one receiver; errors end up in ``refused``."""
        if self.transport is None:
            return
        if self._confirmed and (number := answer_number(outgoingMessage)) is not None:
            self._awaited[number] = ANSWERS_PER_REQUEST
            if len(self._awaited) > AWAITED_REQUESTS:
                del self._awaited[next(iter(self._awaited))]
        self._peer = transportAddress
        self.transport.sendto(outgoingMessage)

    def error_received(self, exc: Exception) -> None:
        """The kernel could not send, or an ICMP error came back."""
        if not self.refused.done():
            self.refused.set_result(exc if isinstance(exc, OSError) else OSError(str(exc)))

    def datagram_received(self, datagram: bytes, transportAddress: Any) -> None:
        """Hand an answer on to pysnmp; drop the rest."""
        number = answer_number(datagram) if self._awaited and len(datagram) <= ANSWER_LIMIT_BYTES else None
        left = 0 if number is None else self._awaited.get(number, 0)
        if number is None or not left or self._callback_function is None:
            self._incoming.dropped += 1
            return
        self._awaited[number] = left - 1
        try:
            self._callback_function(self, self._peer, datagram)
        # pysnmp was written for peers that behave: on others it may fail in any way, and none may reach the loop.
        except Exception:  # noqa: BLE001
            self._incoming.failed += 1


class ConnectedUdp6(ConnectedUdp, Udp6AsyncioTransport):  # type: ignore[misc]
    """The same over IPv6."""


class Dispatcher(AsyncioDispatcher):  # type: ignore[misc]
    """
    pysnmp's, with a timer that can be relied upon.

    pysnmp's stands still when somebody sets the wall clock back, and for good when what it calls fails. It cancels its
    task but waits for nobody: here the last one cancelled can be waited for.
    """

    last_timer: asyncio.Task[None] | None = None

    def __init__(self, incoming: Incoming) -> None:
        super().__init__()
        self._incoming = incoming

    async def handle_timeout(self) -> None:
        """Let pysnmp forget what is old, until cancelled."""
        while True:
            await asyncio.sleep(self.get_timer_resolution())
            try:
                self.handle_timer_tick(self.loop.time())
            # Its caches are cleaned up here; a fault in one must not leave the others to grow.
            except Exception:  # noqa: BLE001
                self._incoming.failed += 1

    def _cancel_loopingcall(self) -> None:
        if self.loopingcall is not None:
            self.last_timer = self.loopingcall
        super()._cancel_loopingcall()
