"""The TLS listener: who gets in, what a device is called, and what becomes of all others."""

import asyncio
import random
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import structlog.testing

from collectord.certificates import TlsFiles
from collectord.inputs import tls as module
from collectord.inputs.own_certificate import load
from collectord.inputs.tls import TlsListener, device_name

from ...certificates import Authority, Pair
from .test_stream import FakeEngine, making, serving, until

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
CLIENTS = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}

Make = Callable[..., TlsListener]


class NamingEngine(FakeEngine):
    """Keeps the names of the streams, too."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def connect(self, listener: int, peer: str, name: str = "") -> int:
        self.names.append(name)
        return super().connect(listener, peer)


@pytest.fixture
def engine() -> NamingEngine:
    return NamingEngine()


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority("Site CA")


@pytest.fixture(scope="module")
def files(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    """The listener's: a certificate for 127.0.0.1, and the CA of the devices."""
    folder = tmp_path_factory.mktemp("tls")
    (folder / "ca.pem").write_bytes(authority.certificate_pem)
    return TlsFiles(folder / "ca.pem", *authority.signs("127.0.0.1").write(folder, "server"))


@pytest.fixture
def make(engine: NamingEngine, files: TlsFiles) -> Iterator[Make]:
    """Makes a listener: whether clients need a certificate, and any argument."""
    with making(TlsListener, engine, "tls") as make:
        yield lambda clients="none", **arguments: make(certificate=load(files, CLIENTS[clients]), **arguments)


@pytest.fixture
def client(authority: Authority, tmp_path: Path) -> Callable[..., ssl.SSLContext]:
    """Makes a client's side: with whose certificate, and of which version."""

    def make(pair: Pair | None = None, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=authority.certificate_pem.decode())
        if pair is not None:
            context.load_cert_chain(*pair.write(tmp_path, "client"))
        if version is not None:
            context.minimum_version = context.maximum_version = version
        return context

    return make


@asynccontextmanager
async def connected(
    listener: TlsListener, context: ssl.SSLContext
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A client's end of a connection, after its part of the handshake."""
    reader, writer = await asyncio.open_connection(*listener.address, ssl=context)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


@asynccontextmanager
async def plain(listener: TlsListener) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A client's end of a connection without TLS."""
    reader, writer = await asyncio.open_connection(*listener.address)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def refused(listener: TlsListener, context: ssl.SSLContext) -> None:
    """Connects, and is closed before or after its own part of the handshake."""
    with suppress(ssl.SSLError, ConnectionError):
        async with connected(listener, context) as (reader, _):
            while await reader.read(100):
                pass


@pytest.mark.parametrize("version", VERSIONS)
async def test_bytes_reach_the_engine(
    make: Make, engine: NamingEngine, client: Callable[..., ssl.SSLContext], version: ssl.TLSVersion
) -> None:
    listener = make()
    async with serving(listener):
        async with connected(listener, client(version=version)) as (_, writer):
            writer.write(b"one\ntwo\nhal")
            await until(lambda: listener.received == 2)
            assert (listener.connections, listener.handshakes) == (1, 0)
            writer.write(b"f\n")
            await until(lambda: listener.received == 3)
            writer.close()
            await until(lambda: listener.connections == 0)
    assert engine.data[1] == b"one\ntwo\nhalf\n"
    assert (engine.ended, engine.names, listener.refusals) == ([1], [""], {})


async def test_more_than_one_chunk(make: Make, engine: NamingEngine, client: Callable[..., ssl.SSLContext]) -> None:
    listener = make()
    sent = b"".join(b"%06d\n" % number for number in range(300_000))
    async with serving(listener), connected(listener, client()) as (_, writer):
        writer.write(sent)
        await until(lambda: listener.received == 300_000)
    assert engine.data[1] == sent


async def test_a_session_is_not_resumed(make: Make, client: Callable[..., ssl.SSLContext]) -> None:
    """Each connection shows its certificate; and a client that reads nothing has nothing unread when it closes."""
    listener = make()
    context = client(version=ssl.TLSVersion.TLSv1_3)
    async with serving(listener), connected(listener, context) as (_, writer):
        writer.write(b"one\n")
        await until(lambda: listener.received == 1)
        session = writer.get_extra_info("ssl_object").session
        assert session is None or not session.has_ticket


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("clients", ["optional", "required"])
async def test_a_certificate_names_the_device(
    make: Make,
    engine: NamingEngine,
    authority: Authority,
    client: Callable[..., ssl.SSLContext],
    version: ssl.TLSVersion,
    clients: str,
) -> None:
    listener = make(clients)
    context = client(authority.signs("FW-1.example.net", "other.example.net"), version)
    async with serving(listener), connected(listener, context) as (_, writer):
        writer.write(b"one\n")
        await until(lambda: listener.received == 1)
    assert engine.names == ["fw-1.example.net"]


async def test_an_optional_certificate_may_be_missing(
    make: Make, engine: NamingEngine, client: Callable[..., ssl.SSLContext]
) -> None:
    listener = make("optional")
    async with serving(listener), connected(listener, client()) as (_, writer):
        writer.write(b"one\n")
        await until(lambda: listener.received == 1)
    assert engine.names == [""]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("who", "clients", "reason", "words"),
    [
        ("stranger", "required", "unknown_ca", "from a CA that ca_file does not have"),
        ("stranger", "optional", "unknown_ca", "from a CA that ca_file does not have"),
        ("expired", "required", "expired", "not valid now: certificate has expired"),
        ("early", "required", "expired", "not valid now: certificate is not yet valid"),
        ("nobody", "required", "no_certificate", "no client certificate"),
    ],
)
async def test_a_wrong_certificate(
    make: Make,
    engine: NamingEngine,
    authority: Authority,
    client: Callable[..., ssl.SSLContext],
    version: ssl.TLSVersion,
    who: str,
    clients: str,
    reason: str,
    words: str,
) -> None:
    """Refused, counted and told, while a good device's connection goes on."""
    pairs = {
        "stranger": Authority("Site CA").signs("fw-1.example.net"),
        "expired": authority.signs("fw-1.example.net", begin_days=-9, end_days=-1),
        "early": authority.signs("fw-1.example.net", begin_days=1),
    }
    listener = make(clients)
    good, bad = client(authority.signs("fw-2.example.net")), client(pairs.get(who), version)
    with structlog.testing.capture_logs() as logs:
        async with serving(listener), connected(listener, good) as (_, writer):
            writer.write(b"one\n")
            await until(lambda: listener.received == 1)
            await refused(listener, bad)
            await until(lambda: listener.refused == 1)
            writer.write(b"two\n")
            await until(lambda: listener.received == 2)
            assert (listener.connections, listener.handshakes) == (1, 0)
    assert listener.refusals == {reason: 1}
    (told,) = [each for each in logs if each["event"] == "connection refused"]
    assert (told["listener"], told["peer"], told["reason"]) == ("tls", "127.0.0.1", reason)
    assert words in told["err"]
    assert engine.names == ["fw-2.example.net"]


@pytest.mark.parametrize(
    "start", [b"<13>Nov 22 12:00:00 fw-1 text\n", b"52 <13>text", b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 40]
)
async def test_no_tls(make: Make, engine: NamingEngine, start: bytes) -> None:
    listener = make()
    async with serving(listener), plain(listener) as (reader, writer):
        writer.write(start)
        with suppress(ConnectionError):
            while await reader.read(100):
                pass
        await until(lambda: listener.refused == 1)
    assert listener.refusals == {"no_tls": 1}
    assert engine.data == {}


async def test_broken_beginnings(make: Make, engine: NamingEngine, client: Callable[..., ssl.SSLContext]) -> None:
    """Whatever is wrong with a ClientHello: refused, and nobody else notices."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        client().wrap_bio(incoming, outgoing, server_hostname="127.0.0.1").do_handshake()
    hello, random_ = outgoing.read(), random.Random(20_261_122)
    beginnings = [random_.randbytes(300), b"", b"\x16", hello[:50], hello * 2, hello + b"<13>text\n"]
    for _ in range(40):
        broken = bytearray(hello)
        for _ in range(random_.randint(1, 5)):
            broken[random_.randrange(len(broken))] = random_.randrange(256)
        beginnings.append(bytes(broken))
    listener = make(connections=100, peer_rate=0)
    async with serving(listener), connected(listener, client()) as (_, good):
        for beginning in beginnings:
            async with plain(listener) as (_, writer):
                writer.write(beginning)
                writer.write_eof()
        await until(lambda: listener.connections == 1)
        good.write(b"one\n")
        await until(lambda: listener.received == 1)
    assert (listener.refused, listener.handshakes, len(engine.data)) == (len(beginnings), 0, 1)


async def test_an_old_version(make: Make, client: Callable[..., ssl.SSLContext]) -> None:
    listener = make()
    context = client()
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with serving(listener):
        await refused(listener, context)
        await until(lambda: listener.refused == 1)
    assert listener.refusals == {"too_old": 1}


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_client_that_does_not_believe_us(make: Make, version: ssl.TLSVersion) -> None:
    listener = make()
    context = ssl.create_default_context(cadata=Authority("Another").certificate_pem.decode())
    context.minimum_version = context.maximum_version = version

    def connect() -> None:
        # asyncio closes without a word.
        with socket.create_connection(listener.address) as raw, suppress(ssl.SSLError):
            context.wrap_socket(raw, server_hostname="127.0.0.1")

    async with serving(listener):
        await asyncio.to_thread(connect)
        await until(lambda: listener.refused == 1)
    assert listener.refusals == {"refused_us": 1}


async def test_a_slow_handshake(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HANDSHAKE_S", 0.05)
    listener = make()
    async with serving(listener), plain(listener) as (reader, writer):
        writer.write(b"\x16\x03\x01")
        assert await reader.read() == b""
        assert (listener.refusals, listener.connections) == ({"slow": 1}, 0)


async def test_a_client_that_goes_during_the_handshake(make: Make) -> None:
    listener = make()
    async with serving(listener):
        async with plain(listener):
            await until(lambda: listener.handshakes == 1)
        await until(lambda: listener.refused == 1)
    assert listener.refusals == {"closed": 1}


async def test_who_is_not_wanted_costs_no_handshake(
    make: Make, engine: NamingEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TlsListener, "shake", lambda *_: pytest.fail("a handshake began"))
    listener = make(allow=["192.0.2.0/24"])
    full = make(connections=0)
    async with serving(listener), serving(full), plain(listener) as (one, _), plain(full) as (other, _):
        assert await one.read() == await other.read() == b""
    assert (listener.refusals, full.refusals) == ({"not_allowed": 1}, {"too_many": 1})


async def test_handshakes_are_bounded(
    make: Make, client: Callable[..., ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has most of them loses the oldest, and everybody else gets through."""
    monkeypatch.setattr(module, "HANDSHAKES", 4)
    listener = make(connections=100)
    async with serving(listener):
        greedy = []
        for _ in range(6):
            _, writer = await asyncio.open_connection(*listener.address, local_addr=("127.6.6.6", 0))
            greedy.append(writer)
        await until(lambda: listener.refused == 2)
        async with connected(listener, client()) as (_, writer):
            writer.write(b"one\n")
            await until(lambda: listener.received == 1)
        assert (listener.refusals["too_many"], listener.handshakes) == (3, 3)
        for writer in greedy:
            writer.transport.abort()


async def test_who_reads_nothing_is_closed(
    make: Make, client: Callable[..., ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What we have to say must not pile up."""
    monkeypatch.setattr(module, "UNSENT_BYTES", -1)
    listener = make()
    async with serving(listener):
        await refused(listener, client())
        await until(lambda: (listener.connections, listener.handshakes) == (0, 0))


async def test_handshakes_count_for_the_rate(make: Make, client: Callable[..., ssl.SSLContext]) -> None:
    """A peer that connects again and again is held back as one that sends too much."""
    listener = make(connections=100, peer_rate=module.HANDSHAKE_MESSAGES, peer_burst=2 * module.HANDSHAKE_MESSAGES)
    async with serving(listener):
        for _ in range(2):
            async with connected(listener, client()):
                pass
        assert listener.held_back() == []
        async with plain(listener) as (_, writer):
            # Who says nothing costs nothing.
            await until(lambda: listener.handshakes == 1)
            assert listener.held_back() == []
            writer.write(b"\x16\x03\x01")
            await until(lambda: bool(listener.held_back()))


async def test_a_peer_that_is_held_back_is_not_slow(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is we who do not read."""
    monkeypatch.setattr(module, "HANDSHAKE_S", 0.02)
    listener = make(peer_rate=module.HANDSHAKE_MESSAGES * 5, peer_burst=1)
    async with serving(listener), plain(listener) as (_, writer):
        writer.write(b"\x16\x03\x01")
        await until(lambda: listener.is_held("127.0.0.1"))
        await asyncio.sleep(0.05)
        assert listener.refused == 0
        await until(lambda: listener.refused == 1)
    assert listener.refusals == {"slow": 1}


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_stop_reads_what_the_kernel_holds(
    make: Make, engine: NamingEngine, client: Callable[..., ssl.SSLContext], version: ssl.TLSVersion
) -> None:
    """And tells the client that it is no accident."""
    listener = make()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(listener.serve())
        async with connected(listener, client(version=version)) as (reader, writer):
            writer.write(b"one\n")
            await until(lambda: listener.received == 1)
            (connection,) = listener._open
            connection.pause()
            writer.write(b"two\n" * 1000)
            await writer.drain()
            task.cancel()
            assert await reader.read() == b""
    assert engine.data[1] == b"one\n" + b"two\n" * 1000
    assert engine.ended == [1]


async def test_a_broken_record_ends_the_connection(
    make: Make, engine: NamingEngine, client: Callable[..., ssl.SSLContext]
) -> None:
    listener = make()
    async with serving(listener), connected(listener, client()) as (_, writer):
        writer.write(b"one\nhalf")
        await until(lambda: listener.received == 1)
        plain_socket = writer.get_extra_info("socket")
        with socket.socket(fileno=plain_socket.fileno()) as raw:
            raw.send(b"\x17\x03\x03\x00\x20" + b"x" * 32)
            raw.detach()
        await until(lambda: listener.connections == 0)
    assert (engine.ended, listener.received, listener.refused) == ([1], 2, 0)


async def test_another_certificate_for_the_next_connection(
    make: Make, authority: Authority, client: Callable[..., ssl.SSLContext], tmp_path: Path
) -> None:
    listener = make()
    renewed = authority.signs("127.0.0.1")

    def shown(writer: asyncio.StreamWriter) -> int:
        return int(writer.get_extra_info("peercert")["serialNumber"], 16)

    async with serving(listener), connected(listener, client()) as (_, writer):
        listener.certificate.use(load(TlsFiles(None, *renewed.write(tmp_path, "renewed")), ssl.CERT_NONE))
        async with connected(listener, client()) as (_, other):
            assert shown(other) == renewed.certificate.serial_number != shown(writer)
        writer.write(b"one\n")
        await until(lambda: listener.received == 1)


@pytest.mark.parametrize(
    ("certificate", "name"),
    [
        ({"subjectAltName": (("IP Address", "192.0.2.1"), ("DNS", "FW-1"), ("DNS", "fw-2"))}, "fw-1"),
        ({"subjectAltName": (("DNS", "*.example.net"), ("DNS", "fw-2"))}, "fw-2"),
        ({"subjectAltName": (("DNS", "fw-1"),), "subject": ((("commonName", "fw-3"),),)}, "fw-1"),
        ({"subject": ((("organizationName", "x"),), (("commonName", "plant"),), (("commonName", "fw-3"),))}, "fw-3"),
        ({"subject": ((("commonName", " Edge\n1 "),),)}, "edge 1"),
        ({"subject": ((("commonName", "x" * 300),),)}, "x" * 253),
        ({"subjectAltName": (("IP Address", "192.0.2.1"),), "subject": ()}, ""),
        ({}, ""),
    ],
)
def test_the_name_of_a_device(certificate: dict[str, Any], name: str) -> None:
    assert device_name(certificate) == name
