"""Alerts to SNMP managers, as SNMPv2c traps."""

import asyncio
import contextlib
import socket
from typing import Any

from collectord.errors import DeliveryError
from collectord.model import Alert, Severity
from collectord.outputs.heartbeat import SignOfLife
from collectord.outputs.mib import DEFAULT_ROOT, arcs
from collectord.outputs.notification import cold_start_pdu, heartbeat_pdu, trap_pdu
from collectord.outputs.snmp_engine import Link, NotificationEngine


class SnmpOutput:
    """
    Traps to one receiver.

    Args:
        engine: Shared by all SNMP outputs.
        name: The output's name in the configuration.
        host: Name or address of the receiver.
        port: UDP port.
        community: SNMPv2c community.
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
        community: str,
        root: str = DEFAULT_ROOT,
        collector_host: str | None = None,
        as_device: bool = False,
        cold_start: bool = False,
        connect_limit_s: float = 10.0,
    ) -> None:
        self.name = name
        self._engine = engine
        self._host = host
        self._port = port
        self._community = community
        self._root = arcs(root)
        self._collector_host = socket.gethostname() if collector_host is None else collector_host
        self._connect_limit_s = connect_limit_s
        self._link: Link | None = None
        self._as_device = as_device
        self._cold_start = cold_start
        self._ready = asyncio.Event()
        self._turn = asyncio.Lock()
        self._last_sequence = 0

    def wants(self, alert: Alert) -> bool:
        """Alerts from low severity up: what is informational is no alarm."""
        return alert.severity is not Severity.INFORMATIONAL

    async def start(self) -> None:
        """
        Start the engine, if no other output did, and tell of the start; a receiver that can't be told is no error.

        Raises:
            StoreError: the engine's state can't be written.
        """
        await self._engine.acquire(self.name)
        if self._cold_start:
            with contextlib.suppress(DeliveryError):
                await self._notify(cold_start_pdu(**self._sender()))
        self._ready.set()

    async def send(self, alert: Alert, sequence: int) -> None:
        """
        Send one trap; an alert that is not wanted counts as sent.

        A trap has no receipt: it counts as delivered when the kernel took it and no refusal came back at once.

        Raises:
            DeliveryError: no address, no way, or refused by the receiver's host.
        """
        if not self.wants(alert):
            return
        await self._notify(trap_pdu(alert, sequence, **self._sender(), as_device=self._as_device))
        self._last_sequence = sequence

    async def alive(self, sign: SignOfLife) -> None:
        """
        Send a heartbeat, once the output has started; it carries the number of the alert that was sent last.

        Raises:
            DeliveryError: as for ``send``.
        """
        await self._ready.wait()
        await self._notify(heartbeat_pdu(sign, self._last_sequence, **self._sender()))

    def _sender(self) -> dict[str, Any]:
        """What every notification says of us."""
        return {
            "root": self._root,
            "uptime_ticks": self._engine.uptime_ticks(),
            "collector_host": self._collector_host,
        }

    async def _notify(self, pdu: Any) -> None:
        # A heartbeat must not meddle with the connection that an alert is on its way over.
        async with self._turn:
            await self._notify_in_turn(pdu)

    async def _notify_in_turn(self, pdu: Any) -> None:
        try:
            async with asyncio.timeout(self._connect_limit_s):
                if self._link is None:
                    self._link = await self._engine.connect(self._host, self._port, self._community)
                await self._engine.notify(self._link, pdu)
        except TimeoutError as error:
            self._disconnect()
            raise DeliveryError(f"no address of {self._host} within {self._connect_limit_s:g} s") from error
        except DeliveryError:
            # The name may stand for another address next time.
            self._disconnect()
            raise

    async def close(self) -> None:
        """Close the socket, and the engine with the last output."""
        self._ready.clear()
        self._disconnect()
        await self._engine.release(self.name)

    def _disconnect(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()
