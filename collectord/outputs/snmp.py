"""Alerts to SNMP managers, as SNMPv2c traps."""

import asyncio
import socket

from collectord.errors import DeliveryError
from collectord.model import Alert, Severity
from collectord.outputs.mib import DEFAULT_ROOT, arcs
from collectord.outputs.notification import trap_pdu
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

    def wants(self, alert: Alert) -> bool:
        """Alerts from low severity up: what is informational is no alarm."""
        return alert.severity is not Severity.INFORMATIONAL

    async def start(self) -> None:
        """
        Start the engine, if no other output did. The receiver is looked up when there is something to send.

        Raises:
            StoreError: the engine's state can't be written.
        """
        await self._engine.acquire(self.name)

    async def send(self, alert: Alert, sequence: int) -> None:
        """
        Send one trap; an alert that is not wanted counts as sent.

        A trap has no receipt: it counts as delivered when the kernel took it and no refusal came back at once.

        Raises:
            DeliveryError: no address, no way, or refused by the receiver's host.
        """
        if not self.wants(alert):
            return
        try:
            async with asyncio.timeout(self._connect_limit_s):
                if self._link is None:
                    self._link = await self._engine.connect(self._host, self._port, self._community)
                pdu = trap_pdu(
                    alert,
                    sequence,
                    root=self._root,
                    uptime_ticks=self._engine.uptime_ticks(),
                    collector_host=self._collector_host,
                )
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
        self._disconnect()
        await self._engine.release(self.name)

    def _disconnect(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()
