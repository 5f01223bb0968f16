"""Informs and users without a real receiver: what is waited for, what is given up, what is left behind."""

import asyncio
import gc
import io
import json
import socket
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import pytest
from pyasn1.codec.ber import decoder, encoder  # type: ignore[import-untyped]
from pysnmp.proto.api import v2c  # type: ignore[import-untyped]

from collectord import log
from collectord.errors import DeliveryError, SecretError
from collectord.model import NS_PER_S
from collectord.outputs.delivery import DeliveryWorker, QueuedAlert
from collectord.outputs.heartbeat import SignOfLife
from collectord.outputs.snmp import SnmpOutput
from collectord.outputs.snmp_engine import ENGINE_TIME_MAX_S, NotificationEngine, Patience
from collectord.outputs.snmp_identity import BOOTS_MAX, next_identity
from collectord.outputs.snmp_users import Community, User

from ...alerts import alert

SECRET = "hush-4711-hush"

ALERT = alert()

SIGN = SignOfLife(active=0, every_s=300, started_ns=0, now_ns=0)


class Receiver(asyncio.DatagramProtocol):
    """Answers informs of version 2c as it is told."""

    def __init__(self, answers: Callable[[bytes], list[bytes]]) -> None:
        self.answers = answers
        self.received: list[Any] = []
        self.came = asyncio.Event()

    def connection_made(self, transport: Any) -> None:
        """It can speak."""
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Keep the PDU and answer."""
        message, _ = decoder.decode(data, asn1Spec=v2c.Message())
        self.received.append(v2c.apiMessage.get_pdu(message))
        for answer in self.answers(data):
            self.transport.sendto(answer, addr)
        self.came.set()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.transport.get_extra_info("sockname")[1])

    def sequences(self) -> list[int]:
        """The notifications' numbers."""
        found = ((tuple(name)[-2:], value) for pdu in self.received for name, value in v2c.apiPDU.get_varbinds(pdu))
        return [int(value) for end, value in found if end == (15, 0)]


def acknowledged(inform: bytes, status: int = 0) -> bytes:
    """The Response to an inform (RFC 3416 section 4.2.7)."""
    message, _ = decoder.decode(inform, asn1Spec=v2c.Message())
    response = v2c.apiPDU.get_response(v2c.apiMessage.get_pdu(message))
    v2c.apiPDU.set_error_status(response, status)
    v2c.apiMessage.set_pdu(message, response)
    return bytes(encoder.encode(message))


def silence(inform: bytes) -> list[bytes]:
    """No answer."""
    return []


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """One that says nothing."""
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(lambda: Receiver(silence), local_addr=("127.0.0.1", 0))
    yield protocol
    transport.close()


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[NotificationEngine]:
    """It ends with nothing left behind, and nothing in it ever reached the event loop."""
    faults: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    engine = NotificationEngine(tmp_path / "snmp_engine.json", mono_ns=time.monotonic_ns, machine="m1")
    yield engine
    await engine.release("noc")
    assert [task for task in asyncio.all_tasks() if "handle_timeout" in repr(task)] == []
    assert faults == []


def output(engine: NotificationEngine, port: int, **changes: Any) -> SnmpOutput:
    """An output for informs."""
    options: dict[str, Any] = {
        "name": "noc",
        "host": "127.0.0.1",
        "port": port,
        "credentials": Community(lambda: SECRET),
        "patience": Patience(0.2, 1),
    }
    return SnmpOutput(engine, **(options | changes))


class TestInforms:
    """Delivered is what was acknowledged."""

    async def test_acknowledged(self, engine: NotificationEngine, receiver: Receiver) -> None:
        receiver.answers = lambda inform: [acknowledged(inform)]
        noc = output(engine, receiver.port)
        await noc.start()
        await noc.send(ALERT, 1)
        await noc.send(ALERT, 2)
        await noc.close()

        assert [type(pdu) for pdu in receiver.received] == [type(v2c.InformRequestPDU())] * 2
        assert receiver.sequences() == [1, 2]
        assert noc.datagrams_ignored == 0

    async def test_repeated_and_given_up(self, engine: NotificationEngine, receiver: Receiver) -> None:
        """As often as was said, each time with the same sequence; later the same again."""
        noc = output(engine, receiver.port)
        await noc.start()
        with pytest.raises(
            DeliveryError, match=r"no acknowledgement from 127\.0\.0\.1 port \d+ within 2 tries of 0\.2 s$"
        ):
            await noc.send(ALERT, 7)
        assert receiver.sequences() == [7, 7]
        receiver.answers = lambda inform: [acknowledged(inform)]
        await noc.send(ALERT, 7)
        assert receiver.sequences() == [7, 7, 7]
        await noc.close()

    async def test_the_second_try_counts(self, engine: NotificationEngine, receiver: Receiver) -> None:
        """A datagram that was lost costs a time-out and no more."""
        receiver.answers = lambda inform: [acknowledged(inform)] if len(receiver.received) > 1 else []
        noc = output(engine, receiver.port)
        await noc.start()
        await noc.send(ALERT, 7)
        assert receiver.sequences() == [7, 7]
        await noc.close()

    async def test_an_error_is_no_acknowledgement(self, engine: NotificationEngine, receiver: Receiver) -> None:
        """Such as tooBig."""
        receiver.answers = lambda inform: [acknowledged(inform, status=1)]
        noc = output(engine, receiver.port)
        await noc.start()
        with pytest.raises(DeliveryError, match="answers with the error tooBig"):
            await noc.send(ALERT, 7)
        await noc.close()

    async def test_nobody_there(self, engine: NotificationEngine) -> None:
        """A refusal is not waited for any longer."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
        noc = output(engine, port, patience=Patience(20, 9))
        await noc.start()
        with pytest.raises(DeliveryError, match="datagram refused: Connection refused"):
            await noc.send(ALERT, 7)
        await noc.close()

    async def test_nothing_is_kept_of_failures(self, engine: NotificationEngine, receiver: Receiver) -> None:
        """A receiver may be away for days, and each try makes a new socket."""
        noc = output(engine, receiver.port, patience=Patience(0.01, 0))
        await noc.start()
        for sequence in range(30):
            with pytest.raises(DeliveryError):
                await noc.send(ALERT, sequence)
        # The decoder of the receiver makes some, too.
        receiver.received.clear()
        gc.collect()
        assert sum(type(each) is type(v2c.InformRequestPDU()) for each in gc.get_objects()) < 10
        await noc.close()

    async def test_hostile_answers(self, engine: NotificationEngine, receiver: Receiver) -> None:
        """Whatever comes before the acknowledgement does no harm, and is counted."""

        def answers(inform: bytes) -> list[bytes]:
            good = acknowledged(inform)
            broken = [good[:-3], good[:30] + bytes(len(good) - 30), good.replace(b"hush", b"HUSH"), inform]
            return [b"\0", b"\x30\x84\xff\xff\xff\xff", b"\x30" * 1000, good + bytes(5000), *broken, good]

        receiver.answers = answers
        noc = output(engine, receiver.port, patience=Patience(5, 0))
        await noc.start()
        await noc.send(ALERT, 7)
        await noc.close()
        assert noc.datagrams_ignored >= 4

    async def test_an_alert_does_not_wait_behind_a_heartbeat(
        self, engine: NotificationEngine, receiver: Receiver
    ) -> None:
        """A heartbeat that nobody acknowledges waits for its own time, and fails without a word about the alert."""

        def answers(inform: bytes) -> list[bytes]:
            return [] if b"heartbeat" in inform else [acknowledged(inform)]

        receiver.answers = answers
        noc = output(engine, receiver.port, patience=Patience(5, 3))
        await noc.start()
        async with asyncio.TaskGroup() as tasks:
            beating = tasks.create_task(noc.alive(SIGN))
            await receiver.came.wait()
            await noc.send(ALERT, 7)
            assert not beating.done()
            assert noc._heartbeats.link is not None
            beating.cancel()
        assert noc._heartbeats.link is None
        assert noc._alerts.link is not None
        await noc.close()
        assert receiver.sequences() == [0, 7]

    async def test_given_up_from_outside(self, engine: NotificationEngine, receiver: Receiver) -> None:
        """As when the daemon stops: the socket goes, and what pysnmp still has of it does no harm."""
        noc = output(engine, receiver.port, patience=Patience(0.2, 0))
        await noc.start()
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(noc.send(ALERT, 7))
            await receiver.came.wait()
            sending.cancel()
        assert noc._alerts.link is None
        other = output(engine, receiver.port, patience=Patience(0.3, 0))
        await other.start()
        with pytest.raises(DeliveryError):
            await other.send(ALERT, 8)
        await other.close()


def user(name: str = "noc", auth: str = "SHA-256", password: str = SECRET) -> User:
    """A user with one password for both."""
    return User(name, lambda: password, lambda: password, auth)


class TestUsers:
    """Of version 3, in pysnmp's tables."""

    async def test_shared_and_forgotten(self, engine: NotificationEngine, receiver: Receiver) -> None:
        """Two outputs may have the same user; its keys go with the second."""
        traps = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        traps.bind(("127.0.0.1", 0))
        port = traps.getsockname()[1]
        first, second = (
            output(engine, port, name=name, credentials=user(), patience=None) for name in ("first", "second")
        )
        for each in (first, second):
            await each.start()
            await each.send(ALERT, 1)
        await first.close()
        assert list(engine._users) == ["noc"]
        await second.send(ALERT, 2)
        assert len(traps.recv(65_535)) > 100
        await engine.acquire("noc")
        await second.close()
        assert engine._users == {}
        traps.close()

    async def test_new_passwords(self, engine: NotificationEngine) -> None:
        """The newest keys are used, as after a change of the file."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as traps:
            traps.bind(("127.0.0.1", 0))
            old = output(engine, traps.getsockname()[1], name="old", credentials=user(), patience=None)
            new = output(engine, traps.getsockname()[1], credentials=user(password="another-one"), patience=None)
            for each in (old, new):
                await each.start()
                await each.send(ALERT, 1)
            assert engine._users["noc"][0] == new._credentials.load()
            await old.close()
            await new.send(ALERT, 2)
            await new.close()

    async def test_secret_that_can_not_be_read(self, engine: NotificationEngine) -> None:
        """The output does not start, and is tried again; the engine is not started for it."""

        def refuse() -> str:
            raise SecretError("can't read it")

        noc = output(engine, 162, credentials=Community(refuse))
        with pytest.raises(SecretError):
            await noc.start()
        assert engine.identity is None
        with pytest.raises(DeliveryError, match="was not started"):
            await noc.send(ALERT, 1)
        await noc.close()


class TestIdentity:
    """What of the engine ID and boots is new with version 3."""

    def test_own_enterprise(self, tmp_path: Path) -> None:
        """The number is that of the root, once: receivers have users for the ID."""
        path = tmp_path / "e.json"
        first = next_identity(path, "m1", 99_999)
        assert first.engine_id[:5] == (99_999 | 2**31).to_bytes(4, "big") + b"\x05"
        assert next_identity(path, "m1", 5).engine_id == first.engine_id

    def test_enterprise_without_room(self, tmp_path: Path) -> None:
        """Numbers of 32 bits don't fit beside the top bit, and are not given out."""
        assert next_identity(tmp_path / "e.json", "m1", 2**31).engine_id[:5].hex() == "80007ed905"

    def test_machine_without_an_id(self, tmp_path: Path) -> None:
        """Nothing is known of the machine: it stays the one it was, also when it gets an ID, and then has that."""
        path = tmp_path / "e.json"
        ids = {next_identity(path, machine).engine_id for machine in ("", "m1", "", "m1")}
        assert len(ids) == 1
        assert next_identity(path, "m2").engine_id not in ids

    async def test_time(self, tmp_path: Path) -> None:
        """Since boots rose, and by nobody's clock but ours."""
        now_ns = 77 * NS_PER_S
        engine = NotificationEngine(tmp_path / "e.json", mono_ns=lambda: now_ns, machine="")
        await engine.acquire("a")
        (seconds,) = engine._engine.get_mib_builder().import_symbols("__SNMP-FRAMEWORK-MIB", "snmpEngineTime")
        assert int(seconds.syntax.clone()) == engine.engine_time_s() == 0
        now_ns += 151 * NS_PER_S - 1
        assert int(seconds.syntax.clone()) == 150
        now_ns += 2**31 * NS_PER_S
        assert int(seconds.syntax.clone()) == ENGINE_TIME_MAX_S
        await engine.release("a")
        await engine.acquire("a")
        assert engine.engine_time_s() == 0
        assert engine.identity is not None
        assert engine.identity.boots == 2
        await engine.release("a")

    def test_boots_only_rise(self, tmp_path: Path) -> None:
        """Up to the top, where they stay."""
        path = tmp_path / "e.json"
        next_identity(path, "m1")
        path.write_text(json.dumps(json.loads(path.read_text()) | {"boots": BOOTS_MAX - 1}))
        assert [next_identity(path, "m1").boots for _ in range(2)] == [BOOTS_MAX, BOOTS_MAX]


async def test_a_bug_tells_no_secret(engine: NotificationEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A traceback in the log has the lines of our source and the error, not what variables held."""

    class Outbox:
        def __init__(self) -> None:
            self.rows = [QueuedAlert(1, ALERT, 1, 0)]

        async def due(self, output: str, limit: int) -> list[QueuedAlert]:
            return self.rows

        async def failed(self, id: int, err: str, next_try_ns: int) -> None:
            self.rows.clear()
            assert SECRET not in err
            worker.stop()

        def let_go(self, output: str, but: Collection[int]) -> None:
            """Nothing is held."""

        async def delivered(self, ids: Sequence[int]) -> None:
            raise AssertionError

    def broken(*_: object, **__: object) -> None:
        raise ValueError("no")

    written = io.StringIO()
    log.setup("debug", stream=written, form="json")
    await engine.acquire("test")
    monkeypatch.setattr(engine._engine.message_dispatcher, "send_pdu", broken)
    worker = DeliveryWorker(output(engine, 9, credentials=user()), Outbox(), now_ns=lambda: 0)
    await worker.run()

    await engine.release("test")
    assert "output broke on an alert" in written.getvalue()
    assert "Traceback" in written.getvalue()
    assert SECRET not in written.getvalue()
