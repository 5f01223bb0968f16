"""
The SNMP engine that all SNMP outputs share, and its identity on disk.

Receivers of SNMPv3 know us by engine ID, boots and time (RFC 3414), so these outlive every restart and lie in a file
of our own. pysnmp would keep boots below the folder for temporary files, which a service manager wipes at each stop
and in which anybody may lie in wait; so it never gets an engine ID to make a file for, and is told boots and ID here.
"""

import asyncio
import hashlib
import json
import os
import secrets
import socket
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pysnmp.carrier.asyncio.dgram.udp import SNMP_UDP_DOMAIN, UdpAsyncioTransport  # type: ignore[import-untyped]
from pysnmp.carrier.asyncio.dgram.udp6 import SNMP_UDP6_DOMAIN, Udp6AsyncioTransport  # type: ignore[import-untyped]
from pysnmp.carrier.asyncio.dispatch import AsyncioDispatcher  # type: ignore[import-untyped]
from pysnmp.entity import config  # type: ignore[import-untyped]
from pysnmp.entity.engine import SnmpEngine  # type: ignore[import-untyped]
from pysnmp.entity.rfc3413.ntforg import NotificationOriginator  # type: ignore[import-untyped]
from pysnmp.error import PySnmpError  # type: ignore[import-untyped]
from pysnmp.proto.rfc1902 import OctetString  # type: ignore[import-untyped]

from collectord import log as logs
from collectord.errors import DeliveryError, StoreError
from collectord.outputs.alarm import ENTERPRISE

log = logs.get()

BOOTS_MAX = 2**31 - 1
"""Boots stay there (RFC 3414 section 2.2.2)."""

_ENGINE_ID_RANDOM_BYTES = 12
_NS_PER_TICK = 10_000_000  # A time tick is a hundredth of a second (RFC 2578 section 7.1.8).

# An ICMP error of a datagram that nobody wanted is here by then on a local network; a later one fails the next send.
ICMP_WAIT_S = 0.01


@dataclass(frozen=True, slots=True)
class EngineIdentity:
    """Who we are to receivers of SNMPv3."""

    engine_id: bytes
    """RFC 3411 form: enterprise number with the top bit set, format 5 (octets), random octets."""
    boots: int
    """Starts with this engine ID, from 1."""


def next_identity(state_file: Path, machine_id: str) -> EngineIdentity:
    """
    The identity for this start: the stored one with boots + 1, stored before it is given out.

    A machine that was cloned has another machine ID; it gets a new engine ID, as two engines must not share one.

    Args:
        state_file: ``snmp_engine.json``; its folder exists. Written whole, with fsync of file and folder.
        machine_id: Content of ``/etc/machine-id``, empty where there is none. Only its hash is stored.

    Raises:
        StoreError: the file can't be written, or is there and can't be read.
    """
    machine = hashlib.sha256(b"collectord snmp engine\0" + machine_id.encode()).hexdigest()
    try:
        stored = _stored(state_file)
    except OSError as error:
        raise StoreError(f"can't read {state_file}: {error.strerror}") from error
    if stored is None or stored["machine"] != machine:
        prefix = (ENTERPRISE | 0x8000_0000).to_bytes(4, "big") + b"\x05"
        identity = EngineIdentity(prefix + secrets.token_bytes(_ENGINE_ID_RANDOM_BYTES), 1)
        if stored is not None:
            log.warning("snmp engine id changed", reason="another machine id")
    else:
        identity = EngineIdentity(bytes.fromhex(stored["engine_id"]), min(stored["boots"] + 1, BOOTS_MAX))
    content = {"engine_id": identity.engine_id.hex(), "boots": identity.boots, "machine": machine}
    try:
        _write_durably(state_file, json.dumps(content) + "\n")
    except OSError as error:
        raise StoreError(f"can't write {state_file}: {error.strerror}") from error
    return identity


def machine_id(path: Path = Path("/etc/machine-id")) -> str:
    """This machine's ID (machine-id(5)); empty where there is none, as in many containers."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


class ConnectedUdp(UdpAsyncioTransport):  # type: ignore[misc]
    """
    A socket for one receiver.

    Connected, so that the kernel reports a refusal (pysnmp's own socket is shared and drops every error), and so that
    nobody else's datagrams come in. Notifications without confirmation have no answers: what comes in is dropped.
    """

    refused: asyncio.Future[OSError]

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self.refused = loop.create_future()

    def send_message(self, outgoingMessage: bytes, transportAddress: Any) -> None:
        """Send to the one receiver; errors end up in ``refused``."""
        if self.transport is not None:
            self.transport.sendto(outgoingMessage)

    def error_received(self, exc: Exception) -> None:
        """The kernel could not send, or an ICMP error came back."""
        if not self.refused.done():
            self.refused.set_result(exc if isinstance(exc, OSError) else OSError(str(exc)))

    def datagram_received(self, datagram: bytes, transportAddress: Any) -> None:
        """Drop it."""


class ConnectedUdp6(ConnectedUdp, Udp6AsyncioTransport):  # type: ignore[misc]
    """The same over IPv6."""


class Dispatcher(AsyncioDispatcher):  # type: ignore[misc]
    """pysnmp's, which cancels its timer task but waits for nobody: here the last one cancelled can be waited for."""

    last_timer: asyncio.Task[None] | None = None

    def _cancel_loopingcall(self) -> None:
        if self.loopingcall is not None:
            self.last_timer = self.loopingcall
        super()._cancel_loopingcall()


class NotificationEngine:
    """
    One ``SnmpEngine`` for all targets, started by the first output that needs it and closed by the last.

    Args:
        state_file: As for ``next_identity``.
        mono_ns: Monotonic clock in ns.
        machine: The machine's ID; taken from ``/etc/machine-id`` by default.
    """

    _transports: ClassVar[dict[int, tuple[tuple[int, ...], type[ConnectedUdp]]]] = {
        socket.AF_INET: (SNMP_UDP_DOMAIN, ConnectedUdp),
        socket.AF_INET6: (SNMP_UDP6_DOMAIN, ConnectedUdp6),
    }

    def __init__(self, state_file: Path, *, mono_ns: Callable[[], int], machine: str | None = None) -> None:
        self.identity: EngineIdentity | None = None
        """None before the first start."""
        self._state_file = state_file
        self._mono_ns = mono_ns
        self._machine = machine
        self._users: set[str] = set()
        self._lock = asyncio.Lock()
        self._engine: Any = None
        self._originator = NotificationOriginator()
        self._started_ns = 0
        self._links = 0

    async def acquire(self, user: str) -> None:
        """
        Start the engine, if it is not started; boots rise with each start.

        Raises:
            StoreError: as for ``next_identity``.
        """
        async with self._lock:
            if self._engine is None:
                self._engine = await asyncio.to_thread(self._make)
                self._engine.register_transport_dispatcher(Dispatcher())
                self._started_ns = self._mono_ns()
            self._users.add(user)

    async def release(self, user: str) -> None:
        """Close the engine if nobody else needs it; no task or socket of it is left."""
        async with self._lock:
            self._users.discard(user)
            if self._engine is None or self._users:
                return
            engine, self._engine = self._engine, None
            dispatcher = engine.transport_dispatcher
            engine.close_dispatcher()
            if dispatcher.last_timer is not None:
                await asyncio.wait([dispatcher.last_timer])

    def _make(self) -> SnmpEngine:
        machine = machine_id() if self._machine is None else self._machine
        self.identity = next_identity(self._state_file, machine)
        engine = SnmpEngine()  # With an engine ID as argument it would keep files of its own.
        engine_id, boots = engine.get_mib_builder().import_symbols(
            "__SNMP-FRAMEWORK-MIB", "snmpEngineID", "snmpEngineBoots"
        )
        engine_id.syntax = engine_id.syntax.clone(self.identity.engine_id)
        engine.snmpEngineID = engine_id.syntax
        boots.syntax = boots.syntax.clone(self.identity.boots)
        return engine

    def uptime_ticks(self) -> int:
        """Time since the engine started, in hundredths of a second; wraps after 497 days."""
        return (self._mono_ns() - self._started_ns) // _NS_PER_TICK % 2**32

    async def connect(self, host: str, port: int, community: str) -> "Link":
        """
        A way to one SNMPv2c receiver. The caller sets the time limit.

        Raises:
            DeliveryError: the host has no address, or the machine has no way to it.
        """
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
            family, _, _, _, address = found[0]
            domain, transport_type = self._transports[family]
            _, transport = await loop.create_datagram_endpoint(
                lambda: transport_type(loop), family=family, remote_addr=(str(address[0]), port)
            )
        except OSError as error:
            raise DeliveryError(f"can't reach {host} port {port}: {error.strerror or error}") from error
        self._links += 1
        link = Link(self, self._engine, transport, (*domain, self._links), f"target{self._links}")
        config.add_transport(self._engine, link.domain, transport)
        config.add_v1_system(self._engine, link.name, community)
        config.add_target_parameters(self._engine, link.name, link.name, "noAuthNoPriv", 1)
        config.add_target_address(self._engine, link.name, link.domain, tuple(address[:2]), link.name)
        return link

    async def notify(self, link: "Link", pdu: Any) -> None:
        """
        Send a v2 trap PDU.

        Raises:
            DeliveryError: it could not be sent, or a refusal came back at once.
        """
        if link.transport.refused.done():
            raise DeliveryError(_refusal(link))
        engine_id = OctetString(self._engine.snmpEngineID)
        try:
            self._originator.send_pdu(self._engine, link.name, engine_id, b"", pdu)
        except PySnmpError as error:
            raise DeliveryError(f"snmp: {error}") from error
        await asyncio.wait([link.transport.refused], timeout=ICMP_WAIT_S)
        if link.transport.refused.done():
            raise DeliveryError(_refusal(link))


@dataclass(slots=True)
class Link:
    """An open way to one receiver: a socket, and its entries in the engine's tables."""

    owner: NotificationEngine
    engine: Any
    transport: ConnectedUdp
    domain: tuple[int, ...]
    name: str

    def close(self) -> None:
        """Close the socket and take the entries out; without effect on a closed engine."""
        self.transport.close_transport()
        if self.engine.transport_dispatcher is not None:
            config.delete_target_address(self.engine, self.name)
            config.delete_target_parameters(self.engine, self.name)
            config.delete_v1_system(self.engine, self.name)
            self.engine.transport_dispatcher.unregister_transport(self.domain)


def _refusal(link: Link) -> str:
    error = link.transport.refused.result()
    return f"datagram refused: {error.strerror or error}"


def _stored(state_file: Path) -> dict[str, Any] | None:
    """What the file holds; None where there is none or it makes no sense."""
    try:
        content = json.loads(state_file.read_text(encoding="utf-8"))
        engine_id, boots, machine = content["engine_id"], content["boots"], content["machine"]
        # RFC 3411: an SnmpEngineID has 5 to 32 octets.
        sane = 5 <= len(bytes.fromhex(engine_id)) <= 32 and type(boots) is int and boots >= 0 and type(machine) is str
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        sane = False
    if not sane:
        log.warning("snmp engine state is damaged, a new engine id is made", path=state_file)
        return None
    return {"engine_id": engine_id, "boots": boots, "machine": machine}


def _write_durably(path: Path, content: str) -> None:
    """Replace the file so that after a power cut it is the old or the new one, whole."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
