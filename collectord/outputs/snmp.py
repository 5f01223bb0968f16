"""Alerts to SNMP managers, as traps or informs of SNMPv2c or SNMPv3."""

import asyncio
import contextlib
import socket
from typing import Any

from collectord.errors import DeliveryError
from collectord.model import Alert, Severity
from collectord.outputs.heartbeat import SignOfLife
from collectord.outputs.mib import DEFAULT_ROOT, arcs
from collectord.outputs.notification import cold_start_pdu, heartbeat_pdu, trap_pdu
from collectord.outputs.snmp_engine import Link, NotificationEngine, NoWay, Patience, Receiver, Security
from collectord.outputs.snmp_identity import EngineIdentity
from collectord.outputs.snmp_users import Credentials, Loaded, LoadedCommunity

LOOK_UP_S = 60.0
"""So long an address of a receiver's name is used before the name is looked up again."""


class SnmpOutput:
    """
    Notifications to one receiver.

    Args:
        engine: Shared by all SNMP outputs.
        name: The output's name in the configuration.
        host: Name or address of the receiver; of a name's addresses the first that works. A name is looked up again now
            and then: nobody tells us that a trap went to the host that had it before.
        port: UDP port.
        credentials: Community or user; read when the output starts.
        patience: How informs wait for their acknowledgement; None sends traps.
        root: OID of ``collectord`` in COLLECTORD-MIB.
        collector_host: How this host is named to the manager; its host name by default.
        as_device: Ask the manager to take the device that an alert is about for its sender (``snmpTrapAddress``).
        cold_start: Tell the receiver of the start, before the first alert.
        connect_limit_s: Most that finding the receiver's address may take.
    """

    def __init__(
        self,
        engine: NotificationEngine,
        *,
        name: str,
        host: str,
        port: int = 162,
        credentials: Credentials,
        patience: Patience | None = None,
        root: str = DEFAULT_ROOT,
        collector_host: str | None = None,
        as_device: bool = False,
        cold_start: bool = False,
        connect_limit_s: float = 5.0,
    ) -> None:
        self.name = name
        self._engine = engine
        self._credentials = credentials
        self._security: Security | None = None
        self._root = arcs(root)
        self._collector_host = socket.gethostname() if collector_host is None else collector_host
        self._as_device = as_device
        self._cold_start = cold_start
        self._ready = asyncio.Event()
        self._last_sequence = 0
        # An inform that nobody acknowledges takes its time, and no alert waits behind a heartbeat.
        self._alerts = _Way(engine, host, port, patience, connect_limit_s)
        self._heartbeats = _Way(engine, host, port, patience, connect_limit_s)

    @property
    def engine_identity(self) -> EngineIdentity | None:
        """Who the engine is to receivers; None before its first start."""
        return self._engine.identity

    @property
    def datagrams_ignored(self) -> int:
        """Of all SNMP outputs: what came in and was no answer to anything."""
        return self._engine.incoming.dropped + self._engine.incoming.failed

    def wants(self, alert: Alert) -> bool:
        """
        Alerts from low severity up: what is informational is no alarm.

        One that becomes so after its raise went out is told of to its end: the manager shows it until it clears.
        """
        return alert.severity is not Severity.INFORMATIONAL

    async def start(self) -> None:
        """
        Read the secrets, start the engine, if no other output did, and tell of the start; a receiver that can't be told
        is no error. It is looked up when there is something to send.

        Raises:
            SecretError: a file with a secret can't be used.
            StoreError: the engine's state can't be written.
            DeliveryError: pysnmp refuses the credentials.
        """
        loaded: Loaded = await asyncio.to_thread(self._credentials.load)
        await self._engine.acquire(self.name, identified=not isinstance(loaded, LoadedCommunity))
        self._security = self._engine.admit(loaded)
        if self._cold_start:
            with contextlib.suppress(DeliveryError):
                await self._notify(self._alerts, cold_start_pdu(**self._sender()))
        self._ready.set()

    async def send(self, alert: Alert, sequence: int) -> None:
        """
        Send one notification.

        A trap has no receipt: it counts as delivered when the kernel took it and no refusal came back at once. An
        inform counts as delivered when the receiver acknowledged it.

        Raises:
            DeliveryError: no address, no way, refused by the receiver's host, or not acknowledged.
        """
        await self._notify(self._alerts, trap_pdu(alert, sequence, **self._sender(), as_device=self._as_device))
        self._last_sequence = sequence

    async def alive(self, sign: SignOfLife) -> None:
        """
        Send a heartbeat, once the output has started; it carries the number of the alert that was sent last.

        For one caller at a time; alerts may be on their way meanwhile.

        Raises:
            DeliveryError: as for ``send``.
        """
        await self._ready.wait()
        await self._notify(self._heartbeats, heartbeat_pdu(sign, self._last_sequence, **self._sender()))

    def _sender(self) -> dict[str, Any]:
        """What every notification says of us."""
        return {
            "root": self._root,
            "uptime_ticks": self._engine.uptime_ticks(),
            "collector_host": self._collector_host,
        }

    async def _notify(self, way: "_Way", pdu: Any) -> None:
        if self._security is None:
            raise DeliveryError("the output was not started")
        await way.notify(self._security, pdu)

    async def close(self) -> None:
        """Close the sockets, and the engine with the last output."""
        self._ready.clear()
        self._alerts.close()
        self._heartbeats.close()
        security, self._security = self._security, None
        if security is not None:
            self._engine.dismiss(security)
        await self._engine.release(self.name)


class _Way:
    """The way to a receiver, for one notification at a time; its arguments are those of :class:`SnmpOutput`."""

    def __init__(
        self, engine: NotificationEngine, host: str, port: int, patience: Patience | None, connect_limit_s: float
    ) -> None:
        self.link: Link | None = None
        """None: the receiver is looked up for the next notification."""
        self._engine = engine
        self._host = host
        self._port = port
        self._patience = patience
        self._connect_limit_s = connect_limit_s
        self._look_up_s = 0.0
        """When the name of an open link is looked up again, in the event loop's time."""
        self._first_address = 0
        """Of a receiver with several, the one to begin with: that of the last time, or behind it if it was silent."""

    async def notify(self, security: Security, pdu: Any) -> None:
        """
        Send a notification.

        Raises:
            DeliveryError: as for :meth:`SnmpOutput.send`.
        """
        try:
            if self.link is not None and asyncio.get_running_loop().time() >= self._look_up_s:
                await self._look_again(self.link)
            if self.link is None:
                await self._send_anew(security, pdu)
            else:
                await self._engine.notify(self.link, pdu)
        except (DeliveryError, asyncio.CancelledError) as error:
            # The name may stand for another address next time.
            self.close()
            if not isinstance(error, NoWay):
                self._first_address += 1
            raise

    async def _send_anew(self, security: Security, pdu: Any) -> None:
        """Look the receiver up and send to the first of its addresses that there is a way to."""
        receivers = await self._receivers()
        first = self._first_address
        last_error: NoWay | None = None
        for index in range(first, first + len(receivers)):
            self._first_address = index % len(receivers)
            try:
                self.link = await self._engine.connect(receivers[self._first_address], security, self._patience)
                await self._engine.notify(self.link, pdu)
            except NoWay as error:
                self.close()
                last_error = error
            else:
                return
        raise last_error or NoWay(f"can't reach {self._host} port {self._port}")

    async def _look_again(self, link: Link) -> None:
        """Give up a link to an address that the name has no longer; without an answer the old one has to do."""
        with contextlib.suppress(DeliveryError):
            if link.receiver.address not in [each.address for each in await self._receivers()]:
                self.close()

    async def _receivers(self) -> list[Receiver]:
        self._look_up_s = asyncio.get_running_loop().time() + LOOK_UP_S
        try:
            async with asyncio.timeout(self._connect_limit_s):
                return await self._engine.receivers(self._host, self._port)
        except TimeoutError as error:
            raise DeliveryError(f"no address of {self._host} within {self._connect_limit_s:g} s") from error

    def close(self) -> None:
        """Close the socket; the next notification opens another."""
        link, self.link = self.link, None
        if link is not None:
            link.close()
