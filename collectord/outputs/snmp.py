"""
Alerts as SNMPv2c traps of COLLECTORD-MIB.

Each trap has ``sysUpTime.0`` and ``snmpTrapOID.0`` (RFC 3416 section 4.2.6), then all 17 objects of the MIB in its
order: some managers address them by position, some want each of them every time.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from pyasn1.codec.ber import encoder  # type: ignore[import-untyped]
from pysnmp.proto.api import v2c  # type: ignore[import-untyped]

from collectord.errors import DeliveryError
from collectord.model import Alert, AlertState, Severity, rfc3339
from collectord.outputs.alarm import PROBABLE_CAUSE, TEXT_LIMIT_BYTES, cut, key_text, perceived
from collectord.outputs.mib import DEFAULT_ROOT, arcs
from collectord.outputs.snmp_engine import Link, NotificationEngine

PDU_LIMIT_BYTES = 1_400
"""Below the Ethernet MTU with room for headers and tunnels: a trap in IP fragments is often lost."""

_SYS_UP_TIME = (1, 3, 6, 1, 2, 1, 1, 3, 0)
_SNMP_TRAP_OID = (1, 3, 6, 1, 6, 3, 1, 1, 4, 1, 0)

# Numbers of the notifications below root.0, and of CollectordState.
_NOTIFICATIONS = {AlertState.RAISED: 1, AlertState.CLEARED: 2, AlertState.UPDATED: 3}
_STATES = {AlertState.RAISED: 1, AlertState.CLEARED: 2, AlertState.UPDATED: 3}

_UNSIGNED_MAX = 2**32 - 1

# What is shortened when a PDU is too long, first to last. The rest identifies the alarm and is short.
_SHORTENED = (14, 7, 17, 16, 5, 4)


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


def trap_pdu(
    alert: Alert,
    sequence: int,
    *,
    root: tuple[int, ...],
    uptime_ticks: int,
    collector_host: str,
    limit_bytes: int = PDU_LIMIT_BYTES,
) -> Any:
    """
    The SNMPv2-Trap-PDU of an alert, of at most ``limit_bytes`` in BER.

    Texts are one line of UTF-8 of at most 255 octets; the summary is shortened first, then the key and the names.

    Args:
        alert: Any but an informational one.
        sequence: Wraps as a Counter32 does.
        root: OID of ``collectord``.
        uptime_ticks: Value of ``sysUpTime.0``.
        collector_host: Value of the object of that name, and of the resource.
        limit_bytes: For the PDU alone; the message adds some 20 octets and the community.
    """
    texts = {
        1: cut(alert.id, 64),
        4: cut(alert.rule, TEXT_LIMIT_BYTES),
        # The alert was seen over all devices, so the collector's host stands for them.
        5: cut(collector_host, TEXT_LIMIT_BYTES),
        6: b"",
        7: cut(key_text(alert), TEXT_LIMIT_BYTES),
        11: cut(rfc3339(alert.first_time_ns), TEXT_LIMIT_BYTES),
        12: cut(rfc3339(alert.last_time_ns), TEXT_LIMIT_BYTES),
        13: cut(PROBABLE_CAUSE, TEXT_LIMIT_BYTES),
        14: cut(alert.summary, TEXT_LIMIT_BYTES),
        16: cut(collector_host, TEXT_LIMIT_BYTES),
        17: cut(alert.site, TEXT_LIMIT_BYTES),
    }
    numbers = {
        2: v2c.Integer32(_STATES[alert.state]),
        3: v2c.Integer32(perceived(alert).itu),
        8: _unsigned(alert.count),
        9: _unsigned(alert.window_s),
        10: _unsigned(alert.threshold),
        15: v2c.Counter32(sequence % 2**32),
    }

    def build() -> Any:
        values = {**numbers, **{number: v2c.OctetString(text) for number, text in texts.items()}}
        pdu = v2c.TrapPDU()
        v2c.apiTrapPDU.set_defaults(pdu)
        v2c.apiTrapPDU.set_varbinds(
            pdu,
            [
                (v2c.ObjectIdentifier(_SYS_UP_TIME), v2c.TimeTicks(uptime_ticks)),
                (v2c.ObjectIdentifier(_SNMP_TRAP_OID), v2c.ObjectIdentifier((*root, 0, _NOTIFICATIONS[alert.state]))),
                *((v2c.ObjectIdentifier((*root, 1, number, 0)), values[number]) for number in sorted(values)),
            ],
        )
        return pdu

    return _within(build, texts, limit_bytes)


def _within(build: Callable[[], Any], texts: dict[int, bytes], limit_bytes: int) -> Any:
    """What ``build`` makes of ``texts``, after the texts that may be were shortened as far as needed."""
    pdu = build()
    for number in _SHORTENED:
        over = len(encoder.encode(pdu)) - limit_bytes
        if over <= 0:
            break
        texts[number] = cut(texts[number].decode(), len(texts[number]) - over)
        pdu = build()
    return pdu


def _unsigned(value: int) -> Any:
    return v2c.Unsigned32(min(max(value, 0), _UNSIGNED_MAX))
