"""Traps as bytes, the engine's identity on disk, sockets on loopback. A real receiver looks at traps in tests/e2e."""

import asyncio
import errno
import json
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyasn1.codec.ber import decoder  # type: ignore[import-untyped]
from pysnmp.error import PySnmpError  # type: ignore[import-untyped]
from pysnmp.proto.api import v2c  # type: ignore[import-untyped]
from structlog.testing import capture_logs

from collectord.errors import DeliveryError, StoreError
from collectord.model import NS_PER_S, Alert, AlertState, Severity
from collectord.outputs import snmp
from collectord.outputs.snmp import SnmpOutput, trap_pdu
from collectord.outputs.snmp_engine import NotificationEngine
from collectord.outputs.snmp_identity import BOOTS_MAX, EngineIdentity, machine_id, next_identity
from collectord.outputs.snmp_users import Community, User

from ...alerts import alert

ROOT = (1, 3, 6, 1, 4, 1, 32473, 1)


def varbinds(pdu: Any) -> dict[tuple[int, ...], Any]:
    return {tuple(name): value for name, value in v2c.apiTrapPDU.get_varbinds(pdu)}


def values(pdu: Any) -> dict[int, Any]:
    """Number of the object -> value."""
    return {name[-2]: value for name, value in varbinds(pdu).items() if name[: len(ROOT)] == ROOT}


def trap(state: Alert, sequence: int = 1, **changes: Any) -> Any:
    options: dict[str, Any] = {"root": ROOT, "uptime_ticks": 4711, "collector_host": "collector-1"}
    return trap_pdu(state, sequence, **(options | changes))


@pytest.fixture
def receiver() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        bound.settimeout(5)
        yield bound


@pytest.fixture
def engine(tmp_path: Path) -> NotificationEngine:
    return NotificationEngine(tmp_path / "snmp_engine.json", mono_ns=time.monotonic_ns, machine="m1")


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """While it holds something the disk takes no new file."""
    holds = [True]

    def mkstemp(*arguments: Any, **keys: Any) -> Any:
        if holds:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return made(*arguments, **keys)

    made = tempfile.mkstemp
    monkeypatch.setattr(tempfile, "mkstemp", mkstemp)
    return holds


def output(engine: NotificationEngine, port: int, **changes: Any) -> SnmpOutput:
    options: dict[str, Any] = {
        "name": "noc",
        "host": "127.0.0.1",
        "port": port,
        "credentials": Community(lambda: "public"),
    }
    return SnmpOutput(engine, **(options | changes))


def received(receiver: socket.socket) -> tuple[str, Any]:
    """Community and PDU of the next datagram."""
    message, rest = decoder.decode(receiver.recv(65_535), asn1Spec=v2c.Message())
    assert rest == b""
    return str(v2c.apiMessage.get_community(message)), v2c.apiMessage.get_pdu(message)


class TestOutput:
    async def test_sends_and_leaves_nothing_behind(
        self, engine: NotificationEngine, receiver: socket.socket, tmp_path: Path
    ) -> None:
        """Each output has its community; the last one to close ends the engine with its tasks."""
        before = set(os.listdir(tempfile.gettempdir()))
        first = output(engine, receiver.getsockname()[1])
        second = output(engine, receiver.getsockname()[1], name="other", credentials=Community(lambda: "other"))
        await first.start()
        await second.start()
        await first.send(alert(), 3)
        await second.send(alert(), 4)
        community, pdu = received(receiver)
        assert (community, int(values(pdu)[15])) == ("public", 3)
        community, pdu = received(receiver)
        assert (community, int(values(pdu)[15])) == ("other", 4)
        await first.close()
        await second.send(alert(), 5)
        assert int(values(received(receiver)[1])[15]) == 5
        await second.close()
        await second.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert not [name for name in set(os.listdir(tempfile.gettempdir())) - before if "pysnmp" in name]
        assert engine.identity is not None
        assert engine.identity.boots == 1

    async def test_the_engine_carries_our_identity(self, engine: NotificationEngine) -> None:
        await engine.acquire("a")
        identity = engine.identity
        assert identity is not None
        inner = engine._engine
        engine_id, boots = inner.get_mib_builder().import_symbols(
            "__SNMP-FRAMEWORK-MIB", "snmpEngineID", "snmpEngineBoots"
        )
        assert bytes(engine_id.syntax) == bytes(inner.snmpEngineID) == identity.engine_id
        assert int(boots.syntax) == identity.boots
        await engine.release("a")

    async def test_on_a_full_disk_only_who_needs_boots_waits(
        self, engine: NotificationEngine, receiver: socket.socket, full: list[bool]
    ) -> None:
        """Never with boots that could be used again: those of SNMPv3 are tried to be had with each start."""
        noc = output(engine, receiver.getsockname()[1])
        with pytest.raises(StoreError, match="No space left on device"):
            await engine.acquire("v3")
        await noc.start()
        await noc.send(alert(), 1)
        assert (received(receiver)[0], engine.identity) == ("public", None)
        with pytest.raises(StoreError, match="No space left on device"):
            await engine.acquire("v3")
        full.clear()
        await engine.acquire("v3")
        assert engine.identity is not None
        assert (bytes(engine._engine.snmpEngineID), engine.identity.boots) == (engine.identity.engine_id, 1)
        await noc.send(alert(), 2)
        assert received(receiver)[0] == "public"
        await noc.close()
        await engine.release("v3")

    async def test_uptime_starts_with_the_engine(self, tmp_path: Path) -> None:
        now_ns = 77 * NS_PER_S
        engine = NotificationEngine(tmp_path / "snmp_engine.json", mono_ns=lambda: now_ns, machine="")
        await engine.acquire("a")
        now_ns += 2 * NS_PER_S
        assert engine.uptime_ticks() == 200
        now_ns += 2**32 * 10_000_000
        assert engine.uptime_ticks() == 200
        await engine.release("a")

    async def test_ipv6(self, engine: NotificationEngine) -> None:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as bound:
            try:
                bound.bind(("::1", 0))
            except OSError:
                pytest.skip("no IPv6 on loopback")
            bound.settimeout(5)
            noc = output(engine, bound.getsockname()[1], host="::1")
            await noc.start()
            await noc.send(alert(), 1)
            assert int(values(received(bound)[1])[15]) == 1
            await noc.close()

    async def test_refusal_is_an_error_and_recovers(self, engine: NotificationEngine, receiver: socket.socket) -> None:
        port = receiver.getsockname()[1]
        receiver.close()
        noc = output(engine, port)
        await noc.start()
        for _ in range(2):
            with pytest.raises(DeliveryError, match="refused"):
                await noc.send(alert(), 1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
            again.bind(("127.0.0.1", port))
            again.settimeout(5)
            await noc.send(alert(), 2)
            assert int(values(received(again)[1])[15]) == 2
        await noc.close()

    async def test_a_late_refusal_fails_the_next_send(
        self, engine: NotificationEngine, receiver: socket.socket
    ) -> None:
        noc = output(engine, receiver.getsockname()[1])
        await noc.start()
        await noc.send(alert(), 1)
        assert noc._alerts.link is not None
        noc._alerts.link.transport.error_received(ConnectionRefusedError(111, "Connection refused"))
        with pytest.raises(
            DeliveryError, match=r"refused: Connection refused; does a receiver listen on 127\.0\.0\.1 port"
        ):
            await noc.send(alert(), 2)
        await noc.send(alert(), 2)
        await noc.close()

    async def test_only_the_first_error_is_kept(self, engine: NotificationEngine, receiver: socket.socket) -> None:
        noc = output(engine, receiver.getsockname()[1])
        await noc.start()
        await noc.send(alert(), 1)
        assert noc._alerts.link is not None
        transport = noc._alerts.link.transport
        transport.error_received(RuntimeError("first"))
        transport.error_received(OSError(1, "second"))
        with pytest.raises(DeliveryError, match="datagram refused: first"):
            await noc.send(alert(), 2)
        await noc.close()

    async def test_what_comes_back_is_dropped(self, engine: NotificationEngine, receiver: socket.socket) -> None:
        """It is not even looked at: nothing that a trap's receiver sends has a meaning."""
        noc = output(engine, receiver.getsockname()[1])
        await noc.start()
        await noc.send(alert(), 1)
        message, sender = receiver.recvfrom(65_535)
        receiver.sendto(message, sender)
        await noc.send(alert(), 2)
        assert int(values(received(receiver)[1])[15]) == 2
        await noc.close()

    async def test_an_error_of_the_library(
        self, engine: NotificationEngine, receiver: socket.socket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(*_: object, **__: object) -> None:
            raise PySnmpError("no such target")

        noc = output(engine, receiver.getsockname()[1])
        await noc.start()
        monkeypatch.setattr(engine._engine.message_dispatcher, "send_pdu", broken)
        with pytest.raises(DeliveryError, match="snmp: no such target"):
            await noc.send(alert(), 1)
        await noc.close()

    async def test_no_address(self, engine: NotificationEngine, monkeypatch: pytest.MonkeyPatch) -> None:
        async def nothing(*_: object, **__: object) -> list[Any]:
            raise socket.gaierror(socket.EAI_NONAME, "name or service not known")

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", nothing)
        noc = output(engine, 162, host="noc.example")
        await noc.start()
        with pytest.raises(DeliveryError, match=r"can't reach noc\.example port 162: name or service not known"):
            await noc.send(alert(), 1)
        await noc.close()

    async def test_a_name_that_moved(
        self, engine: NotificationEngine, receiver: socket.socket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Traps to the host that had the name before would be lost; a name server that is down holds none up."""
        loop, addresses = asyncio.get_running_loop(), ["127.0.0.1"]
        port = receiver.getsockname()[1]

        async def found(*_: object, **__: object) -> list[Any]:
            if not addresses:
                raise socket.gaierror(socket.EAI_AGAIN, "temporary failure in name resolution")
            return [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", (address, port)) for address in addresses]

        monkeypatch.setattr(loop, "getaddrinfo", found)
        monkeypatch.setattr(snmp, "LOOK_UP_S", 0.0)
        noc = output(engine, port, host="noc.example")
        await noc.start()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as moved:
            moved.bind(("127.0.0.2", port))
            moved.settimeout(5)
            for sequence, now, there in ((1, ["127.0.0.1"], receiver), (2, ["127.0.0.2"], moved), (3, [], moved)):
                addresses[:] = now
                await noc.send(alert(), sequence)
                assert int(values(received(there)[1])[15]) == sequence
            monkeypatch.setattr(snmp, "LOOK_UP_S", 60.0)
            addresses[:] = ["127.0.0.2", "127.0.0.1"]
            await noc.send(alert(), 4)
            link = noc._alerts.link
            addresses[:] = ["127.0.0.1"]
            await noc.send(alert(), 5)
            assert [int(values(received(moved)[1])[15]) for _ in range(2)] == [4, 5]
            assert noc._alerts.link is link
        await noc.close()

    async def test_slow_name_server(self, engine: NotificationEngine, monkeypatch: pytest.MonkeyPatch) -> None:
        async def never(*_: object, **__: object) -> list[Any]:
            await asyncio.Event().wait()
            return []

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", never)
        noc = output(engine, 162, host="noc.example", connect_limit_s=0.01)
        await noc.start()
        with pytest.raises(DeliveryError, match=r"no address of noc\.example within 0\.01 s"):
            await noc.send(alert(), 1)
        await noc.close()

    async def test_informational_is_no_alarm(self, engine: NotificationEngine) -> None:
        noc = output(engine, 162)
        assert not noc.wants(alert(severity=Severity.INFORMATIONAL))
        assert noc.wants(alert(severity=Severity.LOW))

    async def test_what_became_informational_still_clears(
        self, engine: NotificationEngine, receiver: socket.socket
    ) -> None:
        """Its rule has another severity since the raise; without these the manager would show it for ever."""
        noc = output(engine, receiver.getsockname()[1])
        await noc.start()
        for state in (AlertState.UPDATED, AlertState.CLEARED):
            await noc.send(alert(severity=Severity.INFORMATIONAL, state=state), 2)
        told = [values(received(receiver)[1]) for _ in range(2)]
        assert [(int(each[2]), int(each[3])) for each in told] == [(3, 2), (2, 1)]
        await noc.close()

    @pytest.mark.parametrize("auth", ["MD5", "SHA-256", "SHA-512"])
    async def test_the_longest_message(self, engine: NotificationEngine, receiver: socket.socket, auth: str) -> None:
        """With all that SNMPv3 puts around it: one frame of a tunnel over Ethernet, no IP fragments."""
        user = User("u" * 32, lambda: "auth password", lambda: "priv password", auth, "AES-256")
        noc = output(engine, receiver.getsockname()[1], credentials=user, as_device=True, collector_host="c" * 64)
        await noc.start()
        device = {"name": "d" * 65_536, "address": "192.0.2.1"}
        key = {"DvcHostname": "\U0001f525" * 65_536}
        await noc.send(alert(summary="s" * 65_536, site="h" * 64, key=key, details={"device": device}), 2**31)
        # Of our engine ID 15 octets fewer than there may be, twice; a receiver's in an inform may have all of them.
        assert 1_250 < len(receiver.recv(65_535)) < 1_400 - 2 * (32 - 17)
        await noc.close()


class TestIdentity:
    def test_form_of_rfc_3411(self, tmp_path: Path) -> None:
        engine_id = next_identity(tmp_path / "e.json", "m1").engine_id
        assert engine_id[:5] == bytes.fromhex("80007ed905")
        assert 5 <= len(engine_id) <= 32

    def test_boots_rise_and_the_id_stays(self, tmp_path: Path) -> None:
        first, second, third = (next_identity(tmp_path / "e.json", "m1") for _ in range(3))
        assert (first.boots, second.boots, third.boots) == (1, 2, 3)
        assert first.engine_id == second.engine_id == third.engine_id
        assert os.listdir(tmp_path) == ["e.json"]

    def test_a_clone_gets_an_id_of_its_own(self, tmp_path: Path) -> None:
        first = next_identity(tmp_path / "e.json", "m1")
        clone = next_identity(tmp_path / "e.json", "m2")
        assert clone.engine_id != first.engine_id
        assert clone.boots == 1
        assert "m2" not in (tmp_path / "e.json").read_text()

    def test_boots_stay_at_the_top(self, tmp_path: Path) -> None:
        """As receivers refuse everything then, it is told."""
        path = tmp_path / "e.json"
        next_identity(path, "m1")
        path.write_text(json.dumps(json.loads(path.read_text()) | {"boots": BOOTS_MAX - 2}))
        with capture_logs() as said:
            assert next_identity(path, "m1").boots == BOOTS_MAX - 1
            assert said == []
            assert [next_identity(path, "m1").boots for _ in range(2)] == [BOOTS_MAX] * 2
        assert [each["log_level"] for each in said] == ["error"] * 2
        assert "at their end" in said[0]["event"]

    @pytest.mark.parametrize(
        "content",
        [
            "",
            "[]",
            "{}",
            "null",
            '{"engine_id": "zz", "boots": 1, "machine": ""}',
            '{"engine_id": "80007ed905", "boots": "1", "machine": ""}',
            '{"engine_id": "80", "boots": 1, "machine": ""}',
            '{"engine_id": 5, "boots": 1, "machine": ""}',
        ],
    )
    def test_damage_makes_a_new_id(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "e.json").write_text(content)
        assert next_identity(tmp_path / "e.json", "m1").boots == 1
        assert next_identity(tmp_path / "e.json", "m1").boots == 2

    def test_no_folder(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match="can't write"):
            next_identity(tmp_path / "gone" / "e.json", "m1")

    def test_no_file(self, tmp_path: Path) -> None:
        (tmp_path / "e.json").mkdir()
        with pytest.raises(StoreError, match="can't read"):
            next_identity(tmp_path / "e.json", "m1")

    def test_a_failed_write_leaves_the_old_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "e.json"
        next_identity(path, "m1")
        before = path.read_text()

        def full(_: int) -> None:
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(StoreError, match="Input/output error"):
            next_identity(path, "m1")
        assert path.read_text() == before
        assert os.listdir(tmp_path) == ["e.json"]

    def test_on_a_full_disk_boots_are_written_over(self, tmp_path: Path, full: list[bool]) -> None:
        """They take no room where they were; what can't be stored is not given out."""
        path = tmp_path / "e.json"
        with pytest.raises(StoreError, match="No space left on device"):
            next_identity(path, "m1")
        full.clear()
        first = next_identity(path, "m1")
        full.append(True)
        for boots in range(2, 12):
            assert next_identity(path, "m1") == EngineIdentity(first.engine_id, boots)
        # Whatever it is, no rest of it may stay behind what is shorter.
        path.write_text(path.read_text() + " " * 20)
        with pytest.raises(StoreError, match="No space left on device"):
            next_identity(path, "m1")
        assert json.loads(path.read_text())["boots"] == 11

    def test_machine_id(self, tmp_path: Path) -> None:
        (tmp_path / "machine-id").write_text("abc\n")
        assert machine_id(tmp_path / "machine-id") == "abc"
        assert machine_id(tmp_path / "none") == ""
