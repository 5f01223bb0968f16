"""Syslog over TLS, with servers of Python's own on loopback. rsyslogd's two kinds of TLS are in tests/e2e."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import structlog.testing

from collectord.certificates import TlsFiles
from collectord.clock import ManualClock
from collectord.errors import DeliveryError
from collectord.model import NS_PER_S
from collectord.outputs import syslog, syslog_wire
from collectord.outputs.syslog import SyslogOutput

from ...certificates import Authority, Pair
from .test_syslog import alert, message, until
from .tls_receivers import Judge, Receiver, answering, reset

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


Start = Callable[..., Any]


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority("NOC CA")


@pytest.fixture
def folder(tmp_path: Path, authority: Authority) -> Path:
    (tmp_path / "ca.pem").write_bytes(authority.certificate_pem)
    return tmp_path


@pytest.fixture
async def receiver(folder: Path) -> AsyncIterator[Start]:
    """Starts receivers: whose certificate, whether a client needs one, and which version of TLS."""
    started: list[Receiver] = []

    async def start(
        pair: Pair, *, clients_of: Authority | None = None, version: ssl.TLSVersion | None = None
    ) -> Receiver:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*pair.write(folder, "server"))
        if clients_of is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(cadata=clients_of.certificate_pem.decode())
        if version is not None:
            context.minimum_version = context.maximum_version = version
        started.append(Receiver(context))
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """For receivers that accept: no time is left to refuse."""
    monkeypatch.setattr(syslog_wire, "_VERDICT_S", 0.0)


def output(port: int, folder: Path, **changes: Any) -> SyslogOutput:
    options: dict[str, Any] = {
        "name": "noc",
        "host": "127.0.0.1",
        "port": port,
        "transport": "tls",
        "files": TlsFiles(folder / "ca.pem"),
        "collector_host": "collector-1",
    }
    return SyslogOutput(**(options | changes))


def with_client(folder: Path, pair: Pair) -> TlsFiles:
    return TlsFiles(folder / "ca.pem", *pair.write(folder, "client"))


async def refusal(noc: SyslogOutput) -> str:
    """What an output says when it is down, without where."""
    with pytest.raises(DeliveryError) as raised:
        await noc.send(alert(), 1)
    await noc.close()
    where, _, why = str(raised.value).partition(" (tls): ")
    assert where.startswith("127.0.0.1 port ")
    return why


class TestDelivery:
    @pytest.mark.parametrize("version", VERSIONS)
    async def test_frames(
        self, receiver: Start, folder: Path, authority: Authority, version: ssl.TLSVersion, hasty: None
    ) -> None:
        """One connection, each message with its length before it."""
        server = await receiver(authority.signs("127.0.0.1"), version=version)
        noc = output(server.port, folder)
        state = alert(summary="Zürich " * 400)
        await noc.send(state, 7)
        await noc.send(alert(), 8)
        frames = [message(state, 7), message(alert(), 8)]
        expected = b"".join(b"%d %b" % (len(frame), frame) for frame in frames)
        await until(lambda: server.received == expected)
        assert len(server.connections) == 1
        assert server.connections[0].version() == version.name.replace("v1_", "v1.")
        await noc.close()
        await noc.close()

    async def test_another_name(self, receiver: Start, folder: Path, authority: Authority, hasty: None) -> None:
        server = await receiver(authority.signs("siem.example.net"))
        noc = output(server.port, folder, server_name="siem.example.net")
        await noc.send(alert(), 1)
        await until(lambda: b'sequence="1"' in server.received)
        await noc.close()

    @pytest.mark.parametrize("version", VERSIONS)
    async def test_client_certificate(
        self, receiver: Start, folder: Path, authority: Authority, version: ssl.TLSVersion, hasty: None
    ) -> None:
        server = await receiver(authority.signs("127.0.0.1"), clients_of=authority, version=version)
        noc = output(server.port, folder, files=with_client(folder, authority.signs("collector-1")))
        await noc.send(alert(), 1)
        await until(lambda: b'sequence="1"' in server.received)
        await noc.close()

    async def test_a_connection_that_was_closed_takes_nothing(
        self, receiver: Start, folder: Path, authority: Authority, hasty: None
    ) -> None:
        """With a word of farewell (close_notify), as by a receiver that closes idle connections."""
        server = await receiver(authority.signs("127.0.0.1"))
        server.end = ssl.SSLSocket.unwrap
        noc = output(server.port, folder)
        await noc.send(alert(), 1)
        await until(lambda: b'sequence="1"' in server.received)
        server.may_end.set()
        await until(lambda: noc._wire._connection.is_over)  # type: ignore[attr-defined]
        await noc.send(alert(), 2)
        await until(lambda: b'sequence="2"' in server.received)
        assert len(server.connections) == 2
        await noc.close()

    async def test_a_connection_that_was_reset_takes_nothing(
        self, receiver: Start, folder: Path, authority: Authority, hasty: None
    ) -> None:
        server = await receiver(authority.signs("127.0.0.1"))
        server.end = reset
        noc = output(server.port, folder)
        await noc.send(alert(), 1)
        server.may_end.set()
        await until(lambda: noc._wire._connection.is_over)  # type: ignore[attr-defined]
        with contextlib.suppress(DeliveryError):
            await noc.send(alert(), 2)
        await noc.send(alert(), 2)
        await until(lambda: b'sequence="2"' in server.received)
        await noc.close()

    async def test_nobody_acknowledges(
        self, receiver: Start, folder: Path, authority: Authority, hasty: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As with a receiver whose host is gone: the kernel keeps the bytes and tries for minutes."""
        server = await receiver(authority.signs("127.0.0.1"))
        noc = output(server.port, folder, io_limit_s=1.0)
        await noc.send(alert(), 1)
        monkeypatch.setattr(syslog_wire, "_unacknowledged_bytes", lambda _: 1)
        assert await refusal(noc) == "no result within 1 s"

    async def test_closed_in_between_is_an_error(
        self, receiver: Start, folder: Path, authority: Authority, hasty: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Bytes that the receiver's kernel took and its program did not read are no delivery."""
        server = await receiver(authority.signs("127.0.0.1"))
        noc = output(server.port, folder)
        await noc.send(alert(), 1)
        unacknowledged = syslog_wire._unacknowledged_bytes

        def closed_meanwhile(connection: Any) -> int:
            left = unacknowledged(connection)
            if left == 0:
                socket.socket.shutdown(server.connections[0], socket.SHUT_RDWR)
            return left

        monkeypatch.setattr(syslog_wire, "_unacknowledged_bytes", closed_meanwhile)
        assert await refusal(noc) == "connection closed by the receiver"

    async def test_what_the_receiver_sends_is_thrown_away(
        self, receiver: Start, folder: Path, authority: Authority, hasty: None
    ) -> None:
        server = await receiver(authority.signs("127.0.0.1"))
        server.says = b"thanks" * 100_000
        noc = output(server.port, folder)
        await noc.send(alert(), 1)
        await noc.send(alert(), 2)
        await until(lambda: b'sequence="2"' in server.received)
        await noc.close()


class TestWhoItIs:
    @pytest.mark.parametrize("version", VERSIONS)
    async def test_wrong_name(
        self, receiver: Start, folder: Path, authority: Authority, version: ssl.TLSVersion
    ) -> None:
        server = await receiver(authority.signs("other.example.net", "192.0.2.7"), version=version)
        assert await refusal(output(server.port, folder, server_name="siem.example.net")) == (
            'the receiver has the wrong name: expected a certificate for "siem.example.net", '
            'found one for "other.example.net", "192.0.2.7"'
        )
        assert await refusal(output(server.port, folder)) == (
            'the receiver has the wrong name: expected a certificate for "127.0.0.1", '
            'found one for "other.example.net", "192.0.2.7"'
        )
        assert server.received == b""

    async def test_many_long_names(self, receiver: Start, folder: Path, authority: Authority) -> None:
        """A certificate is somebody else's word."""
        server = await receiver(authority.signs(*(f"{'n' * 60}.{'m' * 60}.{i}" for i in range(100))))
        why = await refusal(output(server.port, folder))
        assert why.endswith('..." and 97 more')
        assert len(why) < 500

    async def test_expired(self, receiver: Start, folder: Path, authority: Authority) -> None:
        pair = authority.signs("127.0.0.1", begin_days=-30, end_days=-1)
        server = await receiver(pair)
        assert await refusal(output(server.port, folder)) == (
            'the receiver\'s certificate is not valid now: the certificate for "127.0.0.1" '
            f"expired on {pair.certificate.not_valid_after_utc:%Y-%m-%d}"
        )
        assert server.received == b""

    async def test_not_valid_yet(self, receiver: Start, folder: Path, authority: Authority) -> None:
        pair = authority.signs("127.0.0.1", begin_days=2)
        server = await receiver(pair)
        assert (
            'the certificate for "127.0.0.1" is not valid before '
            f"{pair.certificate.not_valid_before_utc:%Y-%m-%d}, here it is "
        ) in await refusal(output(server.port, folder))

    async def test_unknown_ca(self, receiver: Start, folder: Path) -> None:
        server = await receiver(Authority("Other CA").signs("127.0.0.1"))
        assert await refusal(output(server.port, folder)) == (
            f"the receiver's certificate is from an unknown CA: expected one from {folder / 'ca.pem'}, "
            'found one for "127.0.0.1" issued by "Other CA"'
        )
        assert "expected one from the system's CAs" in await refusal(output(server.port, folder, files=TlsFiles()))
        assert server.received == b""

    async def test_self_signed(self, receiver: Start, folder: Path) -> None:
        server = await receiver(Authority("127.0.0.1"))
        assert await refusal(output(server.port, folder)) == (
            f"the receiver's certificate is from an unknown CA: expected one from {folder / 'ca.pem'}, "
            'found one for "127.0.0.1" issued by nobody but itself'
        )

    async def test_a_good_one_is_taken_without_a_restart(
        self, receiver: Start, folder: Path, authority: Authority, hasty: None
    ) -> None:
        server = await receiver(authority.signs("127.0.0.1", begin_days=-30, end_days=-1))
        noc = output(server.port, folder)
        with pytest.raises(DeliveryError):
            await noc.send(alert(), 1)
        server.context.load_cert_chain(*authority.signs("127.0.0.1").write(folder, "server"))
        await noc.send(alert(), 1)
        await until(lambda: b'sequence="1"' in server.received)
        await noc.close()


class TestWhoWeAre:
    @pytest.mark.parametrize("version", VERSIONS)
    async def test_no_certificate_where_one_is_wanted(
        self, receiver: Start, folder: Path, authority: Authority, version: ssl.TLSVersion
    ) -> None:
        """With TLS 1.3 the handshake is through for us when the receiver says so: nothing may be sent by then."""
        server = await receiver(authority.signs("127.0.0.1"), clients_of=authority, version=version)
        assert await refusal(output(server.port, folder)) == (
            "the receiver wants a client certificate, and neither cert_file nor key_file is set"
        )
        assert server.received == b""

    @pytest.mark.parametrize("version", VERSIONS)
    async def test_one_that_the_receiver_does_not_believe(
        self, receiver: Start, folder: Path, authority: Authority, version: ssl.TLSVersion
    ) -> None:
        server = await receiver(authority.signs("127.0.0.1"), clients_of=authority, version=version)
        files = with_client(folder, Authority("Other CA").signs("collector-1"))
        noc = output(server.port, folder, files=files)
        with pytest.raises(DeliveryError) as raised:
            await noc.send(alert(), 1)
        assert str(raised.value).endswith(
            '(tls): the receiver refused our client certificate for "collector-1": its CA is not known there'
        )
        assert server.received == b""
        # A good one in its place is used by itself.
        with_client(folder, authority.signs("collector-1"))
        await noc.send(alert(), 1)
        await until(lambda: b'sequence="1"' in server.received)
        await noc.close()

    @pytest.mark.parametrize("version", VERSIONS)
    async def test_one_that_has_expired(
        self, receiver: Start, folder: Path, authority: Authority, version: ssl.TLSVersion
    ) -> None:
        server = await receiver(authority.signs("127.0.0.1"), clients_of=authority, version=version)
        pair = authority.signs("collector-1", begin_days=-30, end_days=-3)
        assert await refusal(output(server.port, folder, files=with_client(folder, pair))) == (
            'the receiver refused our client certificate for "collector-1": the certificate for "collector-1" '
            f"expired on {pair.certificate.not_valid_after_utc:%Y-%m-%d}"
        )

    async def test_files_that_are_wrong_by_now(self, receiver: Start, folder: Path, authority: Authority) -> None:
        """They are read for each connection, and checked as at the start."""
        server = await receiver(authority.signs("127.0.0.1"))
        files = with_client(folder, authority.signs("collector-1"))
        noc = output(server.port, folder, files=files)
        assert files.key_file is not None
        assert files.cert_file is not None
        files.key_file.chmod(0o644)
        assert "everybody can read or write" in await refusal(noc)
        files.key_file.write_bytes(authority.signs("other").key_pem)
        files.key_file.chmod(0o600)
        assert (
            await refusal(noc) == f"the key in {files.key_file} does not belong to the certificate in {files.cert_file}"
        )
        files.cert_file.write_bytes(b"")
        assert "holds no certificate in PEM" in await refusal(noc)
        files.cert_file.unlink()
        assert await refusal(noc) == f"can't read {files.cert_file}: no such file or directory"
        assert server.connections == []

    async def test_the_end_of_ours_is_told_daily(
        self, folder: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """From 30 days before, without anything to send."""
        monkeypatch.setattr(syslog, "_DAY_S", 0.001)
        pair = authority.signs("collector-1", end_days=40)
        end_ns = int(pair.certificate.not_valid_after_utc.timestamp()) * NS_PER_S
        clock = ManualClock(end_ns - 31 * 86_400 * NS_PER_S)
        noc = output(1, folder, files=with_client(folder, pair), now_ns=clock.now_ns)
        with structlog.testing.capture_logs() as told:
            await noc.start()
            assert told == []
            clock.set(end_ns - 12 * 86_400 * NS_PER_S)
            await until(lambda: len(told) > 0)
            assert (told[0]["event"], told[0]["count"]) == ("client certificate ends in so many days", 12)
            clock.set(end_ns + NS_PER_S)
            await until(lambda: told[-1]["event"] == "client certificate has expired")
            with_client(folder, authority.signs("collector-1", end_days=400))
            clock.set(end_ns)
            await until(lambda: True)
        await noc.close()
        assert noc._daily is None


@pytest.fixture
async def judge(receiver: Start, authority: Authority) -> AsyncIterator[Judge]:
    """In front of a receiver with TLS 1.3 that wants client certificates; what follows a greeting is held back."""
    server = await receiver(authority.signs("127.0.0.1"), clients_of=authority, version=ssl.TLSVersion.TLSv1_3)
    between = Judge(server.port)
    await between.start()
    yield between
    await between.stop()


class TestLateRefusal:
    """TLS 1.3: we are through with the handshake long before the receiver has looked at our certificate."""

    async def test_within_the_time_for_it(self, folder: Path, judge: Judge) -> None:
        """No message is sent into a connection that will be refused."""
        noc = output(judge.port, folder)
        async with asyncio.TaskGroup() as group:
            sending = group.create_task(refusal(noc))
            await until(lambda: judge.from_client == 1)
            assert not sending.done()
            judge.may_pass.set()
        assert "the receiver wants a client certificate" in sending.result()
        # What the client sent beside its greeting was the rest of the handshake.
        assert judge.from_client == 1

    async def test_after_it(self, folder: Path, judge: Judge, hasty: None) -> None:
        """The next message is told why, does not go into that connection, and more time is given to the next one."""
        noc = output(judge.port, folder)
        await noc.send(alert(), 1)
        judge.may_pass.set()
        wire = noc._wire
        assert isinstance(wire, syslog_wire.Tls)
        assert wire._connection is not None
        await wire._connection._over.wait()
        wire._verdict_s = 0.5
        with pytest.raises(DeliveryError) as raised:
            await noc.send(alert(), 2)
        # With a message that it did not read the receiver closes by a reset, which may overtake its alert.
        assert "the receiver wants a client certificate, " in str(raised.value) or "reset" in str(raised.value)
        assert "what was sent on that connection may be lost" in str(raised.value)
        assert wire._verdict_s == 1.0
        assert "the receiver wants a client certificate" in await refusal(noc)

    async def test_between_writing_and_acknowledgement(
        self, folder: Path, judge: Judge, hasty: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The message was acknowledged by a kernel, and is not delivered."""
        noc = output(judge.port, folder)
        unacknowledged = syslog_wire._unacknowledged_bytes

        def refused_meanwhile(connection: Any) -> int:
            judge.may_pass.set()
            return 1 if not wire._connection._over.is_set() else unacknowledged(connection)

        wire: Any = noc._wire
        monkeypatch.setattr(syslog_wire, "_unacknowledged_bytes", refused_meanwhile)
        # The same.
        why = await refusal(noc)
        assert "the receiver wants a client certificate" in why or "onnection" in why


class TestNoTls:
    async def test_an_answer_in_plain_text(self, folder: Path) -> None:
        with answering(b"220 mail.example.net ESMTP\r\n") as port:
            assert await refusal(output(port, folder)) == "no TLS on that port: something else answered"

    async def test_no_answer(self, folder: Path) -> None:
        """As by a receiver of plain syslog, which waits for the rest of a message."""
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port = listening.getsockname()[1]
            assert await refusal(output(port, folder, io_limit_s=0.2)) == (
                "no result within 0.2 s from the TLS handshake; perhaps there is no TLS on that port"
            )

    async def test_closed_at_once(self, folder: Path) -> None:
        with answering(b"") as port:
            assert await refusal(output(port, folder)) == (
                "closed by the receiver during the TLS handshake; perhaps there is no TLS on that port"
            )

    async def test_nobody_listens(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port = listening.getsockname()[1]
        assert "Connection refused" in await refusal(output(port, folder))
