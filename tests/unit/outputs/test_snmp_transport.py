"""What may come in on a socket: answers to what was asked, and nothing that anybody sends can do harm."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyasn1.codec.ber import encoder  # type: ignore[import-untyped]
from pysnmp.proto.api import v2c  # type: ignore[import-untyped]

from collectord.outputs.snmp_transport import (
    ANSWER_LIMIT_BYTES,
    ANSWERS_PER_REQUEST,
    AWAITED_REQUESTS,
    ConnectedUdp,
    Dispatcher,
    Incoming,
    answer_number,
)

# msgID 7639511, RFC 3412 section 6; no more than a header.
V3_HEADER = bytes.fromhex("3011 020103 300c 02037491d7 02020400 040107")


def message(kind: Any, number: int, text: bytes = b"") -> bytes:
    """An SNMPv2c message."""
    pdu = kind()
    v2c.apiPDU.set_defaults(pdu)
    v2c.apiPDU.set_request_id(pdu, number)
    v2c.apiPDU.set_varbinds(pdu, [(v2c.ObjectIdentifier((1, 3, 6, 1)), v2c.OctetString(text))])
    whole = v2c.Message()
    v2c.apiMessage.set_defaults(whole)
    v2c.apiMessage.set_community(whole, "public")
    v2c.apiMessage.set_pdu(whole, pdu)
    return bytes(encoder.encode(whole))


def inform(number: int) -> bytes:
    """What we send."""
    return message(v2c.InformRequestPDU, number)


def response(number: int, text: bytes = b"") -> bytes:
    """What comes back."""
    return message(v2c.ResponsePDU, number, text)


class FakeSocket:
    """asyncio's transport."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def sendto(self, data: bytes) -> None:
        """Keep it."""
        self.sent.append(data)


class Passed:
    """pysnmp, as the transport calls it."""

    def __init__(self, error: Exception | None = None) -> None:
        self.datagrams: list[bytes] = []
        self.error = error

    def __call__(self, transport: object, address: object, datagram: bytes) -> None:
        assert address == ("192.0.2.1", 162)
        self.datagrams.append(datagram)
        if self.error is not None:
            raise self.error


def connected(passed: Passed, *, confirmed: bool = True) -> ConnectedUdp:
    """A transport that is connected."""
    transport = ConnectedUdp(asyncio.get_running_loop(), confirmed=confirmed, incoming=Incoming())
    transport.connection_made(FakeSocket())
    transport.register_callback(passed)
    return transport


def send(transport: ConnectedUdp, datagram: bytes) -> None:
    """As pysnmp does."""
    transport.send_message(datagram, ("192.0.2.1", 162))


class TestAnswerNumber:
    """The number by which an answer finds its request."""

    @pytest.mark.parametrize("number", [0, 1, 127, 128, 65_536, 2**31 - 1, -1, -(2**31)])
    def test_v2c(self, number: int) -> None:
        """In what we send as in what comes back; long texts make long lengths."""
        assert answer_number(inform(number)) == answer_number(response(number, 300 * b"x")) == (1, number)

    def test_v3(self) -> None:
        """Before anything that is encrypted."""
        assert answer_number(V3_HEADER) == (3, 0x7491D7)

    @pytest.mark.parametrize("kind", [v2c.TrapPDU, v2c.GetRequestPDU, v2c.SetRequestPDU])
    def test_no_answer(self, kind: Any) -> None:
        """Nobody may ask us anything."""
        assert answer_number(message(kind, 1)) is None

    @pytest.mark.parametrize("version", [0, 2, 4, 255])
    def test_other_versions(self, version: int) -> None:
        """SNMPv1 among them."""
        assert answer_number(V3_HEADER.replace(b"\x02\x01\x03", bytes((2, 1, version)), 1)) is None

    def test_every_cut_and_every_bit(self) -> None:
        """None, or a number; never an error."""
        for whole in (V3_HEADER, response(7)):
            for end in range(len(whole)):
                assert answer_number(whole[:end]) is None
            for bit in range(len(whole) * 8):
                turned = bytearray(whole)
                turned[bit // 8] ^= 1 << bit % 8
                answer_number(bytes(turned))

    @given(st.binary(max_size=200))
    def test_any_bytes(self, data: bytes) -> None:
        """Neither does chance make one."""
        answer_number(data)
        answer_number(V3_HEADER[:2] + data)


class TestSocket:
    """What is let in."""

    async def test_answers_only(self) -> None:
        """To what was asked, from the one receiver; the rest is counted."""
        passed = Passed()
        transport = connected(passed)
        transport.datagram_received(response(7), ("192.0.2.1", 162))
        send(transport, inform(7))
        for datagram in (response(8), inform(8), b"", b"\xff" * 100, V3_HEADER, message(v2c.GetRequestPDU, 7)):
            transport.datagram_received(datagram, ("192.0.2.1", 162))
        transport.datagram_received(response(7), ("192.0.2.1", 162))

        assert passed.datagrams == [response(7)]
        assert transport._incoming == Incoming(dropped=7)

    async def test_traps_have_no_answers(self) -> None:
        """On such a socket nothing is looked at."""
        passed = Passed()
        transport = connected(passed, confirmed=False)
        send(transport, inform(7))
        transport.datagram_received(response(7), ("192.0.2.1", 162))

        assert passed.datagrams == []
        assert transport._incoming.dropped == 1

    async def test_few_and_small(self) -> None:
        """Who knows the number can't keep us busy with it."""
        passed = Passed()
        transport = connected(passed)
        send(transport, inform(7))
        transport.datagram_received(response(7, ANSWER_LIMIT_BYTES * b"x"), None)
        assert passed.datagrams == []
        for _ in range(100):
            transport.datagram_received(response(7), None)

        assert len(passed.datagrams) == ANSWERS_PER_REQUEST

    async def test_old_requests_are_forgotten(self) -> None:
        """The newest are waited for, so that the table does not grow."""
        passed = Passed()
        transport = connected(passed)
        for number in range(AWAITED_REQUESTS + 1):
            send(transport, inform(number))
        transport.datagram_received(response(0), None)
        assert passed.datagrams == []
        transport.datagram_received(response(1), None)
        assert passed.datagrams == [response(1)]

    @pytest.mark.parametrize("error", [ValueError("x"), TypeError("x"), RecursionError(), KeyError(1)])
    async def test_what_pysnmp_fails_on(self, error: Exception) -> None:
        """It is counted; nothing reaches the event loop."""
        transport = connected(Passed(error))
        send(transport, inform(7))
        transport.datagram_received(response(7), None)

        assert transport._incoming == Incoming(failed=1)

    async def test_closed(self) -> None:
        """What still comes in is dropped, and what still goes out is not sent."""
        transport = ConnectedUdp(asyncio.get_running_loop(), confirmed=True, incoming=Incoming())
        send(transport, inform(7))
        transport.datagram_received(response(7), None)
        assert transport._incoming.dropped == 1


class TestTimer:
    """The dispatcher's."""

    async def test_goes_on_after_an_error(self) -> None:
        """What is old has to be forgotten for as long as the engine runs."""
        ticks: list[float] = []
        enough = asyncio.Event()

        def tick(now: float) -> None:
            ticks.append(now)
            if len(ticks) > 2:
                enough.set()
            raise ValueError("no such transport")

        incoming = Incoming()
        dispatcher = Dispatcher(incoming)
        dispatcher.set_timer_resolution(0.01)
        dispatcher.register_timer_callback(tick)
        async with asyncio.TaskGroup() as tasks:
            timer = tasks.create_task(dispatcher.handle_timeout())
            await enough.wait()
            timer.cancel()

        assert incoming.failed >= 3
        # The loop's clock, which nobody sets.
        assert ticks == sorted(ticks)
        assert ticks[-1] <= asyncio.get_running_loop().time()
