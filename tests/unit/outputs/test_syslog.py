"""Messages as bytes, and sockets on loopback. A real receiver looks at them in tests/e2e."""

import asyncio
import contextlib
import re
import socket
import struct
from collections.abc import AsyncIterator, Callable
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectord.errors import DeliveryError
from collectord.model import Alert, AlertState, Severity
from collectord.outputs import syslog_wire, tls
from collectord.outputs.syslog import FACILITIES, SyslogOutput, syslog_message

from ... import alerts


def alert(**changes: Any) -> Alert:
    """The second time it is raised, at a site."""
    return alerts.alert(**({"episode": 2, "site": "hq"} | changes))


def message(state: Alert, sequence: int = 7, **changes: Any) -> bytes:
    options: dict[str, Any] = {"facility": 20, "collector_host": "collector-1"}
    return syslog_message(state, sequence, **(options | changes))


# RFC 5424 section 6: a value holds anything, with ", \ and ] behind a backslash.
VALUE = rb'"((?:[^"\\\]]|\\["\\\]])*)"'
ELEMENT = rb"\[[!-~]+(?: [!-~]+=" + VALUE + rb")*\]"
MESSAGE = re.compile(
    rb"<(\d{1,3})>1 (\S{24}) ([!-~]{1,255}) collectord - (ALARM-\w+) ((?:" + ELEMENT + rb"){2}) (.*)", re.DOTALL
)


class TestMessage:
    def test_whole(self) -> None:
        assert message(alert()) == (
            b"<163>1 2026-11-22T10:04:59.000Z collector-1 collectord - ALARM-RAISE "
            b'[alarm resource="collector-1" probableCause="unauthorizedAccessAttempt" perceivedSeverity="minor"'
            b' eventType="securityServiceOrMechanismViolation" trendIndication="moreSevere"]'
            b'[collectord@32473 alarmId="0123456789abcdef" state="raised" episode="2" event="raised" sequence="7"'
            b' rule="excessive-failures" severity="medium" site="hq" count="5001" threshold="5000" window="300"'
            b' firstTime="2026-11-22T10:00:00.000Z" lastTime="2026-11-22T10:04:59.000Z" key="SrcIpAddr=192.0.2.10"'
            b' SrcIpAddr="192.0.2.10"]'
            b" 192.0.2.10: 5001 failed connections in 5 min (limit 5000)"
        )

    @pytest.mark.parametrize(
        ("severity", "state", "priority", "word", "msgid", "trend"),
        [
            (Severity.HIGH, AlertState.RAISED, 162, "major", "ALARM-RAISE", "moreSevere"),
            (Severity.LOW, AlertState.UPDATED, 164, "warning", "ALARM-UPDATE", "noChange"),
            (Severity.INFORMATIONAL, AlertState.RAISED, 165, "indeterminate", "ALARM-RAISE", "moreSevere"),
            (Severity.HIGH, AlertState.CLEARED, 165, "cleared", "ALARM-CLEAR", "lessSevere"),
        ],
    )
    def test_severities(
        self, severity: Severity, state: AlertState, priority: int, word: str, msgid: str, trend: str
    ) -> None:
        made = message(alert(severity=severity, state=state)).decode()
        assert made.startswith(f"<{priority}>1 ")
        assert f" {msgid} [alarm " in made
        assert f'perceivedSeverity="{word}"' in made
        assert f'trendIndication="{trend}"' in made

    @pytest.mark.parametrize(
        ("before", "trend"), [("low", "moreSevere"), ("medium", "noChange"), ("high", "lessSevere"), ("?", "noChange")]
    )
    def test_trend_of_an_update(self, before: str, trend: str) -> None:
        made = message(alert(state=AlertState.UPDATED, details={"severity_before": before})).decode()
        assert f'trendIndication="{trend}"' in made

    def test_facilities_are_in_order_of_their_codes(self) -> None:
        assert (len(FACILITIES), FACILITIES[3], FACILITIES[16], FACILITIES[23]) == (24, "daemon", "local0", "local7")

    def test_the_number_of_the_site(self) -> None:
        assert b"][collectord@99999 alarmId=" in message(alert(), enterprise=99999)

    def test_values_are_escaped(self) -> None:
        assert b' site="a\\"b\\\\c\\]d e"' in message(alert(site='a"b\\c]d\ne'))

    def test_text_that_is_not_ascii_is_marked(self) -> None:
        assert message(alert(summary="Zürich")).endswith(b'"] \xef\xbb\xbfZ\xc3\xbcrich')

    def test_host_names_have_no_blanks(self) -> None:
        assert b"Z collector--1- collectord" in message(alert(), collector_host="collector ü1 ")
        assert b"Z - collectord" in message(alert(), collector_host="")

    def test_a_reason_comes_with_the_clear(self) -> None:
        made = message(alert(state=AlertState.CLEARED, reason="below 4000 for 15 min"))
        assert b' reason="below 4000 for 15 min"]' in made

    def test_key_fields_that_are_no_names_are_left_out(self) -> None:
        made = message(alert(key={"a b": "x", "": "x", "n" * 33: "x", 'q"': "x", "state": "x", "DstPortNumber": 445}))
        assert made.count(b'="x"') == 0
        assert b' DstPortNumber="445"]' in made

    def test_text_is_cut_before_details(self) -> None:
        made = message(alert(summary="s" * 5000))
        assert len(made) == 2048
        assert b' SrcIpAddr="192.0.2.10"]' in made

    def test_details_are_cut_before_the_last_text(self) -> None:
        made = message(alert(summary="s" * 5000, site="h" * 255, key={"SrcIpAddr": "x" * 255}), limit_bytes=1024)
        assert len(made) <= 1024
        assert b"s" * 128 in made
        assert b" SrcIpAddr=" not in made
        assert b' rule="excessive-failures"' in made

    @given(
        st.builds(
            alert,
            summary=st.text(max_size=3000),
            site=st.text(max_size=300),
            rule=st.text(max_size=300),
            id=st.text(max_size=300),
            key=st.dictionaries(st.text(max_size=40), st.text(max_size=300) | st.integers(), max_size=4),
            reason=st.text(max_size=300),
            severity=st.sampled_from(Severity),
            state=st.sampled_from(AlertState),
        ),
        st.text(max_size=100),
        st.sampled_from([1024, 1400, 2048]),
    )
    def test_always_well_formed(self, state: Alert, host: str, limit_bytes: int) -> None:
        """Whatever the texts hold, the message has one line, the right form and length, and is UTF-8."""
        made = message(state, collector_host=host, limit_bytes=limit_bytes)
        assert len(made) <= limit_bytes
        assert MESSAGE.fullmatch(made)
        text = made.decode()
        assert text.replace("\ufeff", "").isprintable()


def output(port: int, transport: str, **changes: Any) -> SyslogOutput:
    options: dict[str, Any] = {"name": "noc", "host": "127.0.0.1", "port": port, "transport": transport}
    return SyslogOutput(**(options | changes))


class TestUdp:
    async def test_a_datagram_per_message(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
            receiver.bind(("127.0.0.1", 0))
            receiver.settimeout(5)
            noc = output(receiver.getsockname()[1], "udp", collector_host="collector-1")
            assert noc.wants(alert())
            await noc.start()
            await noc.send(alert(), 7)
            await noc.send(alert(), 8)
            first, sender = receiver.recvfrom(65_535)
            assert first == message(alert())
            # What comes back is thrown away.
            receiver.sendto(b"thanks", sender)
            await noc.send(alert(), 9)
            await noc.close()
            await noc.close()

    @pytest.mark.parametrize("format", ["rfc5424", "cef"])
    async def test_a_datagram_is_one_frame(self, format: Literal["rfc5424", "cef"]) -> None:
        """IP fragments are often lost, and with them all of the message."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
            receiver.bind(("127.0.0.1", 0))
            receiver.settimeout(5)
            noc = output(receiver.getsockname()[1], "udp", format=format)
            await noc.send(alert(summary="ü" * 3000, site="s" * 255, key={"DvcHostname": "k" * 3000}), 7)
            assert 1300 < len(receiver.recv(65_535)) <= 1400
            await noc.close()

    async def test_refusal_is_an_error_and_recovers(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
            receiver.bind(("127.0.0.1", 0))
            port = receiver.getsockname()[1]
        noc = output(port, "udp")
        with pytest.raises(DeliveryError, match=r"127\.0\.0\.1 port \d+ \(udp\): Connection refused"):
            await noc.send(alert(), 1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
            receiver.bind(("127.0.0.1", port))
            receiver.settimeout(5)
            await noc.send(alert(), 1)
            assert receiver.recv(65_535)
        await noc.close()

    async def test_the_next_address(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Often nobody listens on the address of IPv6 that localhost has, too; the one that works is kept."""
        monkeypatch.setattr(syslog_wire, "_IDLE_S", 0.0)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
            receiver.bind(("127.0.0.1", 0))
            receiver.settimeout(5)
            addresses = [("127.0.0.2", receiver.getsockname()[1]), receiver.getsockname()]

            async def found(*_: object, **__: object) -> list[Any]:
                return [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", address) for address in addresses]

            loop = asyncio.get_running_loop()
            resolve = loop.getaddrinfo
            monkeypatch.setattr(
                loop,
                "getaddrinfo",
                lambda host, *rest, **keys: (found if host == "noc.example" else resolve)(host, *rest, **keys),
            )
            noc = output(9, "udp", host="noc.example")
            with pytest.raises(DeliveryError, match="Connection refused"):
                await noc.send(alert(), 1)
            for sequence in (1, 2):
                await noc.send(alert(), sequence)
                assert b'sequence="%d"' % sequence in receiver.recv(65_535)
                await until(lambda: noc._wire._stream is None)  # type: ignore[attr-defined]
            await noc.close()

    async def test_the_socket_does_not_wait_open(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nobody reads what a receiver sends back, so an idle socket is closed."""
        monkeypatch.setattr(syslog_wire, "_IDLE_S", 0.0)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
            receiver.bind(("127.0.0.1", 0))
            noc = output(receiver.getsockname()[1], "udp")
            await noc.send(alert(), 1)
            await until(lambda: noc._wire._stream is None)  # type: ignore[attr-defined]
            await noc.send(alert(), 2)
            await noc.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110
            # A turn of the loop, not a guess at a time.
            await asyncio.sleep(0)


class Receiver:
    """A TCP receiver that can close or reset its connections."""

    def __init__(self) -> None:
        self.port = 0
        self.received = b""
        self.connections: list[asyncio.StreamWriter] = []
        self.reading = asyncio.Event()
        self.reading.set()
        self.deaf = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.append(writer)
        with contextlib.suppress(ConnectionError):
            while not self.deaf and (chunk := await reader.read(65_536)):
                self.received += chunk
        if not self.deaf:
            writer.close()

    def reset(self) -> None:
        for writer in self.connections:
            connection = writer.get_extra_info("socket")
            if connection.fileno() >= 0:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()


@pytest.fixture
async def tcp_receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    yield receiver
    server.close()
    receiver.reset()


class TestTcp:
    async def test_octet_counting(self, tcp_receiver: Receiver) -> None:
        """The length is that of the octets, not of the characters."""
        noc = output(tcp_receiver.port, "tcp", collector_host="collector-1")
        state = alert(summary="Zürich " * 400)
        await noc.send(state, 7)
        await noc.send(alert(), 8)
        await noc.close()
        frames = [message(state, 7), message(alert(), 8)]
        expected = b"".join(b"%d %b" % (len(frame), frame) for frame in frames)
        await until(lambda: tcp_receiver.received == expected)
        assert len(tcp_receiver.connections) == 1

    async def test_line_feeds(self, tcp_receiver: Receiver) -> None:
        noc = output(tcp_receiver.port, "tcp", framing="lf", collector_host="collector-1")
        state = alert(summary="a\nb", site="c\r\nd")
        await noc.send(state, 7)
        await noc.close()
        await until(lambda: tcp_receiver.received == message(state, 7) + b"\n")
        assert tcp_receiver.received.count(b"\n") == 1

    async def test_a_connection_that_was_closed_takes_nothing(self, tcp_receiver: Receiver) -> None:
        """A write into it would succeed and be lost."""
        noc = output(tcp_receiver.port, "tcp")
        await noc.send(alert(), 1)
        tcp_receiver.connections[0].close()
        await tcp_receiver.connections[0].wait_closed()
        await noc.send(alert(), 2)
        assert len(tcp_receiver.connections) == 2
        await until(lambda: b'sequence="2"' in tcp_receiver.received)
        await noc.close()

    async def test_a_connection_that_was_reset_takes_nothing(self, tcp_receiver: Receiver) -> None:
        noc = output(tcp_receiver.port, "tcp")
        await noc.send(alert(), 1)
        tcp_receiver.reset()
        await asyncio.sleep(0)
        with contextlib.suppress(DeliveryError):
            await noc.send(alert(), 2)
        await noc.send(alert(), 2)
        await until(lambda: b'sequence="2"' in tcp_receiver.received)
        await noc.close()

    async def test_closed_in_between_is_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A receiver that takes the bytes into its kernel and closes without reading them has not got the alert."""
        with socket.create_server(("127.0.0.1", 0)) as listening:
            noc = output(listening.getsockname()[1], "tcp")
            unacknowledged = syslog_wire._unacknowledged_bytes

            def closed_meanwhile(connection: socket.socket) -> int:
                left = unacknowledged(connection)
                if left == 0:
                    listening.accept()[0].close()
                return left

            monkeypatch.setattr(syslog_wire, "_unacknowledged_bytes", closed_meanwhile)
            with pytest.raises(DeliveryError, match="closed by the receiver"):
                await noc.send(alert(), 1)
            await noc.close()

    async def test_nobody_acknowledges(self, tcp_receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
        """As with a receiver whose host is gone: the kernel keeps the bytes and tries for minutes."""
        monkeypatch.setattr(syslog_wire, "_unacknowledged_bytes", lambda _: 1)
        noc = output(tcp_receiver.port, "tcp", io_limit_s=0.05)
        with pytest.raises(DeliveryError, match=r"\(tcp\): no result within 0.05 s"):
            await noc.send(alert(), 1)
        await noc.close()

    @pytest.mark.parametrize("transport", ["tcp", "tls"])
    async def test_an_address_that_is_silent(
        self, tcp_receiver: Receiver, monkeypatch: pytest.MonkeyPatch, transport: Literal["tcp", "tls"]
    ) -> None:
        """The receiver's next address is tried in time."""
        loop = asyncio.get_running_loop()
        addresses = [("127.0.0.2", 9), ("127.0.0.1", tcp_receiver.port)]
        connect = loop.sock_connect

        async def found(*_: object, **__: object) -> list[Any]:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]

        async def silent(connection: socket.socket, address: Any) -> None:
            if address == addresses[0]:
                await asyncio.Event().wait()
            await connect(connection, address)

        monkeypatch.setattr(loop, "getaddrinfo", found)
        monkeypatch.setattr(loop, "sock_connect", silent)
        monkeypatch.setattr(tls, "NEXT_ADDRESS_S", 0.01)
        noc = output(tcp_receiver.port, transport, host="noc.example", io_limit_s=2.0 if transport == "tcp" else 0.3)
        if transport == "tcp":
            await noc.send(alert(), 1)
            await until(lambda: b'sequence="1"' in tcp_receiver.received)
        else:
            # There is no TLS, but somebody.
            with pytest.raises(DeliveryError):
                await noc.send(alert(), 1)
            assert len(tcp_receiver.connections) == 1
        await noc.close()

    async def test_nobody_listens(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port = listening.getsockname()[1]
        noc = output(port, "tcp")
        with pytest.raises(DeliveryError, match="Connect"):
            await noc.send(alert(), 1)
        await noc.close()

    async def test_a_send_that_is_given_up_closes(
        self, tcp_receiver: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Half a frame must not stand before the next one."""
        monkeypatch.setattr(syslog_wire, "_unacknowledged_bytes", lambda _: 1)
        noc = output(tcp_receiver.port, "tcp")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await noc.send(alert(), 1)
        assert noc._wire._writer is None  # type: ignore[attr-defined]
        monkeypatch.undo()
        await noc.send(alert(), 2)
        assert len(tcp_receiver.connections) == 2
        await noc.close()
