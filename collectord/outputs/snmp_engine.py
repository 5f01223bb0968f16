"""
The SNMP engine that all SNMP outputs share.

For traps we are the authority on boots and time that RFC 3414 speaks of, for informs the receiver is: pysnmp finds out
its engine ID, boots and time, and again when it restarted.

pysnmp would keep our boots below the folder for temporary files, which a service manager wipes at each stop and in
which anybody may lie in wait; so it never gets an engine ID to make a file for, and is told boots and ID here.
"""

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pysnmp.carrier.asyncio.dgram.udp import SNMP_UDP_DOMAIN  # type: ignore[import-untyped]
from pysnmp.carrier.asyncio.dgram.udp6 import SNMP_UDP6_DOMAIN  # type: ignore[import-untyped]
from pysnmp.entity import config  # type: ignore[import-untyped]
from pysnmp.entity.engine import SnmpEngine  # type: ignore[import-untyped]
from pysnmp.error import PySnmpError  # type: ignore[import-untyped]
from pysnmp.proto import errind  # type: ignore[import-untyped]
from pysnmp.proto.api import v2c  # type: ignore[import-untyped]
from pysnmp.proto.rfc1902 import Integer32, OctetString  # type: ignore[import-untyped]

from collectord import log as logs
from collectord.errors import DeliveryError, StoreError
from collectord.model import NS_PER_S
from collectord.outputs.alarm import ENTERPRISE
from collectord.outputs.snmp_identity import EngineIdentity, machine_id, next_identity
from collectord.outputs.snmp_transport import ConnectedUdp, ConnectedUdp6, Dispatcher, Incoming
from collectord.outputs.snmp_users import Loaded, LoadedCommunity, LoadedUser

log = logs.get()

ENGINE_TIME_MAX_S = 2**31 - 1
"""68 years (RFC 3414 section 2.2.2)."""

ADDRESSES_TRIED = 8
"""Of a name that has more, the others are not tried."""

DISCOVERIES = 4
"""Reports of a receiver that are followed for one inform: its engine ID, its boots and time, and both once again."""

NEVER_TICKS = 2**31
"""pysnmp's own time limit; ours is kept with asyncio's clock."""

_NS_PER_TICK = 10_000_000  # A time tick is a hundredth of a second (RFC 2578 section 7.1.8).

# An ICMP error of a datagram that nobody wanted is here by then on a local network; a later one fails the next send.
ICMP_WAIT_S = 0.01


class NoWay(DeliveryError):
    """An address that nothing can be sent to, known at once: the receiver's next address may work."""


@dataclass(frozen=True, slots=True)
class Receiver:
    """One of a receiver's addresses."""

    name: str
    """How people know it, in errors."""
    family: int
    address: tuple[Any, ...]
    """As ``socket.connect`` takes it."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How an inform waits for its acknowledgement."""

    timeout_s: float
    """After each try."""
    retries: int
    """Tries after the first."""


@dataclass(frozen=True, slots=True)
class Security:
    """How messages to a receiver are made: credentials that are in pysnmp's tables, and the models of RFC 3411."""

    name: str
    """The securityName."""
    message_model: int
    security_model: int
    level: int
    """noAuthNoPriv is 1, authPriv 3."""
    user: str
    """Empty with a community."""


@dataclass(slots=True)
class Link:
    """An open way to one receiver."""

    engine: Any
    transport: ConnectedUdp
    domain: tuple[int, ...]
    """Different for each link, so that what pysnmp found out of a receiver is forgotten with the link."""
    receiver: Receiver
    security: Security
    patience: Patience | None
    """None for traps."""

    def close(self) -> None:
        """Close the socket; without effect on a closed engine, or the second time."""
        self.transport.close_transport()
        dispatcher = self.engine.transport_dispatcher
        if dispatcher is not None and dispatcher.get_transport(self.domain) is not None:
            dispatcher.unregister_transport(self.domain)


class NotificationEngine:
    """
    One ``SnmpEngine`` for all targets, started by the first output that needs it and closed by the last.

    Args:
        state_file: As for ``next_identity``.
        mono_ns: Clock in ns that nobody sets, and that goes on while the machine sleeps: receivers of SNMPv3 compare
            our time with theirs.
        machine: The machine's ID; taken from ``/etc/machine-id`` by default.
        enterprise: Private enterprise number for an engine ID that is made.
    """

    _transports: ClassVar[dict[int, tuple[tuple[int, ...], type[ConnectedUdp]]]] = {
        socket.AF_INET: (SNMP_UDP_DOMAIN, ConnectedUdp),
        socket.AF_INET6: (SNMP_UDP6_DOMAIN, ConnectedUdp6),
    }

    def __init__(
        self,
        state_file: Path,
        *,
        mono_ns: Callable[[], int],
        machine: str | None = None,
        enterprise: int = ENTERPRISE,
    ) -> None:
        self.identity: EngineIdentity | None = None
        """None before the first start, and while it can't be stored and nobody needs it."""
        self.incoming = Incoming()
        self._state_file = state_file
        self._mono_ns = mono_ns
        self._machine = machine
        self._enterprise = enterprise
        self._outputs: set[str] = set()
        self._lock = asyncio.Lock()
        self._engine: Any = None
        self._started_ns = 0
        self._links = 0
        self._admitted = 0
        self._communities: dict[str, bytes] = {}
        """Those in pysnmp's tables, by our name for them."""
        self._users: dict[
            str, tuple[LoadedUser, int]
        ] = {}  # Name -> (keys in pysnmp's tables, outputs with this user).

    async def acquire(self, user: str, *, identified: bool = True) -> None:
        """
        Start the engine, if it is not started; boots rise with each start.

        Args:
            user: The output.
            identified: It needs an engine ID and boots that receivers can rely on, as SNMPv3 does. Others go on without
                where they can't be stored; they are tried to be had with the next output that needs them.

        Raises:
            StoreError: as for ``next_identity``.
        """
        async with self._lock:
            if self._engine is None:
                engine = await asyncio.to_thread(self._make, identified)
                engine.register_transport_dispatcher(Dispatcher(self.incoming))
                self._users.clear()
                self._communities.clear()
                self._engine = engine
            elif identified and self.identity is None:
                # No user was admitted so far, so nobody has keys that were made with another engine ID.
                await asyncio.to_thread(self._identify, self._engine)
                for name, community in self._communities.items():
                    # pysnmp knows them by engine ID.
                    config.delete_v1_system(self._engine, name)
                    config.add_v1_system(self._engine, name, community)
            self._outputs.add(user)

    async def release(self, user: str) -> None:
        """Close the engine if nobody else needs it; no task or socket of it is left."""
        async with self._lock:
            self._outputs.discard(user)
            if self._engine is None or self._outputs:
                return
            engine, self._engine = self._engine, None
            dispatcher = engine.transport_dispatcher
            engine.close_dispatcher()
            if dispatcher.last_timer is not None:
                await asyncio.wait([dispatcher.last_timer])

    def _make(self, identified: bool) -> SnmpEngine:
        engine = SnmpEngine()  # With an engine ID as argument it would keep files of its own.
        self.identity = None
        self._started_ns = self._mono_ns()
        try:
            self._identify(engine)
        except StoreError as error:
            if identified:
                raise
            log.warning("snmp engine id and boots can't be stored; SNMPv3 waits for that", err=str(error))
        return engine

    def _identify(self, engine: SnmpEngine) -> None:
        machine = machine_id() if self._machine is None else self._machine
        self.identity = next_identity(self._state_file, machine, self._enterprise)
        engine_id, boots, seconds = engine.get_mib_builder().import_symbols(
            "__SNMP-FRAMEWORK-MIB", "snmpEngineID", "snmpEngineBoots", "snmpEngineTime"
        )
        engine_id.syntax = engine_id.syntax.clone(self.identity.engine_id)
        engine.snmpEngineID = engine_id.syntax
        boots.syntax = boots.syntax.clone(self.identity.boots)
        seconds.syntax = _EngineTime(self.engine_time_s)

    def uptime_ticks(self) -> int:
        """Time since the engine started, in hundredths of a second; wraps after 497 days."""
        return (self._mono_ns() - self._started_ns) // _NS_PER_TICK % 2**32

    def engine_time_s(self) -> int:
        """snmpEngineTime: since boots last rose (RFC 3414 section 2.2.2)."""
        return min((self._mono_ns() - self._started_ns) // NS_PER_S, ENGINE_TIME_MAX_S)

    async def receivers(self, host: str, port: int) -> list[Receiver]:
        """
        Where a receiver may be, the likeliest first. The caller sets the time limit.

        Raises:
            DeliveryError: the host has no address.
        """
        name = f"{host} port {port}"
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        except OSError as error:
            raise DeliveryError(f"can't reach {name}: {error.strerror or error}") from error
        addresses = [(family, address) for family, _, _, _, address in found if family in self._transports]
        if not addresses:
            raise DeliveryError(f"can't reach {name}: it has no address of IPv4 or IPv6")
        several = len(addresses) > 1
        return [
            Receiver(f"{name} ({address[0]})" if several else name, family, address)
            for family, address in addresses[:ADDRESSES_TRIED]
        ]

    def admit(self, credentials: Loaded) -> Security:
        """
        Put credentials into pysnmp's tables; ``dismiss`` takes them out.

        Of a user, which pysnmp knows by name alone, the newest keys win.

        Raises:
            DeliveryError: pysnmp refuses them.
        """
        try:
            if isinstance(credentials, LoadedCommunity):
                self._admitted += 1
                name = f"community{self._admitted}"
                config.add_v1_system(self._engine, name, credentials.community)
                self._communities[name] = credentials.community
                return Security(name, 1, 2, 1, "")
            known, outputs = self._users.get(credentials.name, (None, 0))
            if known != credentials:
                self._put(credentials, known is not None)
        except PySnmpError as error:
            raise DeliveryError(f"snmp: {error}") from error
        self._users[credentials.name] = (credentials, outputs + 1)
        return Security(credentials.name, 3, 3, 3, credentials.name)

    def _put(self, user: LoadedUser, known: bool) -> None:
        if known:
            config.delete_v3_user(self._engine, user.name)
        # With keys in place of passwords pysnmp neither hashes them here, which takes long, nor keeps them.
        config.add_v3_user(
            self._engine,
            user.name,
            user.auth,
            user.auth_key,
            user.priv,
            user.priv_key,
            authKeyType=config.USM_KEY_TYPE_MASTER,
            privKeyType=config.USM_KEY_TYPE_MASTER,
        )

    def dismiss(self, security: Security) -> None:
        """One output fewer has these credentials; with the last one they are forgotten."""
        if self._engine is None:
            return
        if not security.user:
            config.delete_v1_system(self._engine, security.name)
            self._communities.pop(security.name, None)
            return
        user, outputs = self._users[security.user]
        if outputs > 1:
            self._users[security.user] = (user, outputs - 1)
            return
        del self._users[security.user]
        config.delete_v3_user(self._engine, security.user)

    async def connect(self, receiver: Receiver, security: Security, patience: Patience | None = None) -> Link:
        """
        A way to one receiver; with ``patience`` for informs, else for traps.

        Raises:
            NoWay: the machine has no way to it.
        """
        domain, transport_type = self._transports[receiver.family]
        loop = asyncio.get_running_loop()
        connected = socket.socket(receiver.family, socket.SOCK_DGRAM)
        try:
            connected.setblocking(False)
            connected.connect(receiver.address)
            _, transport = await loop.create_datagram_endpoint(
                lambda: transport_type(loop, confirmed=patience is not None, incoming=self.incoming), sock=connected
            )
        except OSError as error:
            connected.close()
            raise NoWay(f"can't reach {receiver.name}: {error.strerror or error}") from error
        self._links += 1
        link = Link(self._engine, transport, (*domain, self._links), receiver, security, patience)
        self._engine.transport_dispatcher.register_transport(link.domain, transport)
        return link

    async def notify(self, link: Link, pdu: Any) -> None:
        """
        Send a v2 trap PDU, on a link for informs as an inform.

        A trap is done when the kernel took it and no refusal came back at once, an inform when it is acknowledged.

        Raises:
            NoWay: it could not be sent, or a refusal came back.
            DeliveryError: it was not acknowledged.
        """
        if link.transport.refused.done():
            raise NoWay(_refusal(link))
        if link.patience is None:
            self._send(link, pdu, OctetString(self._engine.snmpEngineID))
            await asyncio.wait([link.transport.refused], timeout=ICMP_WAIT_S)
            if link.transport.refused.done():
                raise NoWay(_refusal(link))
        else:
            await self._confirm(link, _inform(pdu), link.patience)

    async def _confirm(self, link: Link, pdu: Any, patience: Patience) -> None:
        """Send until there is an acknowledgement, a refusal, or nothing more to wait for."""
        answers: asyncio.Queue[tuple[Any, Any]] = asyncio.Queue()

        def answered(*arguments: Any) -> None:
            # As pysnmp's message dispatcher calls it: the PDU and what went wrong are the 9th and 10th argument.
            answers.put_nowait((arguments[8], arguments[9]))

        def refused(_: object) -> None:
            answers.put_nowait((None, None))

        link.transport.refused.add_done_callback(refused)
        handles: list[Any] = []
        tries = discoveries = 0
        try:
            while True:
                # The context is the receiver's: pysnmp fills it in when it has found out the receiver's engine ID.
                handles.append(self._send(link, pdu, None, answered))
                try:
                    async with asyncio.timeout(patience.timeout_s):
                        response, problem = await answers.get()
                except TimeoutError as error:
                    tries += 1
                    if tries > patience.retries:
                        raise DeliveryError(_silence(link, patience)) from error
                    continue
                if link.transport.refused.done():
                    raise NoWay(_refusal(link))
                if problem is None:
                    break
                indication = problem.get("errorIndication")
                discoveries += 1
                if discoveries > DISCOVERIES or not isinstance(indication, _DISCOVERED):
                    raise DeliveryError(_report(link, indication))
        finally:
            link.transport.refused.remove_done_callback(refused)
            # An answer to an earlier try counts as long as we wait, so they are let go together.
            for handle in handles:
                self._engine.message_dispatcher.release_state_information(
                    self._engine, handle, link.security.message_model
                )
        if status := v2c.apiPDU.get_error_status(response):
            raise DeliveryError(f"{link.receiver.name} answers with the error {status.prettyPrint()}")

    def _send(self, link: Link, pdu: Any, context_engine_id: Any, answered: Callable[..., None] | None = None) -> Any:
        """The handle of what was sent; ``answered`` says that an answer is expected."""
        security = link.security
        try:
            return self._engine.message_dispatcher.send_pdu(
                self._engine,
                link.domain,
                link.transport.ADDRESS_TYPE(link.receiver.address),
                security.message_model,
                security.security_model,
                OctetString(security.name),
                security.level,
                context_engine_id,
                b"",
                1,
                pdu,
                answered is not None,
                timeout=NEVER_TICKS,
                cbFun=answered,
            )
        except PySnmpError as error:
            raise DeliveryError(f"snmp: {error}") from error


class _EngineTime(Integer32):  # type: ignore[misc]
    """snmpEngineTime as pysnmp asks for it; its own runs by the wall clock, which may be set back."""

    def __init__(self, seconds: Callable[[], int]) -> None:
        self._seconds = seconds
        super().__init__(0)

    def clone(self, *args: Any, **kwargs: Any) -> Any:
        """The value of now."""
        return Integer32(self._seconds())


def _inform(trap: Any) -> Any:
    """The InformRequest-PDU with a trap's variables."""
    pdu = v2c.InformRequestPDU()
    v2c.apiPDU.set_defaults(pdu)
    v2c.apiPDU.set_varbinds(pdu, v2c.apiTrapPDU.get_varbinds(trap))
    return pdu


# What the receiver reports (RFC 3414 section 3.2), or what we find wrong with its answer.
_REPORTS = {
    errind.WrongDigest: "authentication failure: the auth password or algorithm of user {user} is another there",
    errind.AuthenticationFailure: "authentication failure: the answer does not fit user {user}'s auth password",
    errind.UnknownUserName: "it does not know user {user}",
    errind.UnsupportedSecurityLevel: "it has user {user} without authentication or privacy",
    errind.DecryptionError: "the priv password or algorithm of user {user} is another there",
    errind.NotInTimeWindow: "its boots and time can't be followed",
    errind.UnknownEngineID: "its engine ID can't be found out",
}


# Whereupon pysnmp knows more of the receiver than before, and the same inform may be understood.
_DISCOVERED = (errind.NotInTimeWindow, errind.UnknownEngineID)


def _report(link: Link, indication: Any) -> str:
    reason = _REPORTS.get(type(indication), str(indication)).format(user=link.security.user)
    return f"{link.receiver.name} did not take it: {reason}"


def _silence(link: Link, patience: Patience) -> str:
    tries = patience.retries + 1
    silence = f"no acknowledgement from {link.receiver.name} within {tries} tries of {patience.timeout_s:g} s"
    # net-snmp says nothing to what it can't decrypt.
    hint = f"; if it runs, is the priv password or algorithm of user {link.security.user} another there?"
    return silence + hint if link.security.user else silence


def _refusal(link: Link) -> str:
    error = link.transport.refused.result()
    return f"datagram refused: {error.strerror or error}; does a receiver listen on {link.receiver.name}?"
