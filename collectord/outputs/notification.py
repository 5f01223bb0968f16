"""
Notifications of COLLECTORD-MIB: alerts, heartbeats; and coldStart of SNMPv2-MIB.

Each of ours has ``sysUpTime.0`` and ``snmpTrapOID.0`` (RFC 3416 section 4.2.6), then all 17 objects of the MIB in its
order: some managers address them by position, some want each of them every time. Only ``snmpTrapAddress.0`` may follow.
"""

from collections.abc import Callable
from ipaddress import IPv4Address
from typing import Any

from pyasn1.codec.ber import encoder  # type: ignore[import-untyped]
from pysnmp.proto.api import v2c  # type: ignore[import-untyped]

from collectord.model import AlarmType, Alert, AlertState, rfc3339
from collectord.outputs.alarm import (
    INDETERMINATE,
    TEXT_LIMIT_BYTES,
    cut,
    device_address,
    key_text,
    perceived,
    probable_cause,
    resource,
)
from collectord.outputs.heartbeat import SignOfLife

PDU_LIMIT_BYTES = 1_180
"""
What SNMPv3 puts around it has up to 210 octets (user, engine ID and digest of the greatest length), so that a message
stays below 1,400: an Ethernet frame has room for it and for the headers of a tunnel. IP fragments are often lost.
"""

_SYS_UP_TIME = (1, 3, 6, 1, 2, 1, 1, 3, 0)
_SNMP_TRAP_OID = (1, 3, 6, 1, 6, 3, 1, 1, 4, 1, 0)
_SNMP_TRAP_ADDRESS = (1, 3, 6, 1, 6, 3, 18, 1, 3, 0)  # SNMP-COMMUNITY-MIB, RFC 3584 section 3.1
_COLD_START = (1, 3, 6, 1, 6, 3, 1, 1, 5, 1)  # RFC 3418

# Numbers of the notifications below root.0: raise and clear by what the alert is about; an update of any is the same.
_PAIRS = {
    AlarmType.ALARM: (1, 2),
    AlarmType.DEVICE_SILENT: (10, 11),
    AlarmType.DEVICE_CLOCK: (12, 13),
    AlarmType.MESSAGES_LOST: (20, 21),
    AlarmType.OUTPUT_DOWN: (22, 23),
    AlarmType.TEST: (1, 2),
}
_UPDATE = 3
_HEARTBEAT = 30
_HEARTBEAT_ID = b"heartbeat"
_COLLECTOR_HOST = 16

# Numbers of CollectordState.
_STATES = {AlertState.RAISED: 1, AlertState.CLEARED: 2, AlertState.UPDATED: 3}

_UNSIGNED_MAX = 2**32 - 1
_ADDRESS_LIMIT_BYTES = 45  # INET6_ADDRSTRLEN without its NUL: any address

# What is shortened when a PDU is too long, first to last. The rest identifies the alarm and is short.
_SHORTENED = (14, 7, 17, 16, 5, 4)


def notification(alert: Alert) -> int:
    """The number below ``root.0`` of the notification that tells of an alert's state."""
    raised, cleared = _PAIRS[alert.alarm_type]
    return {AlertState.RAISED: raised, AlertState.CLEARED: cleared, AlertState.UPDATED: _UPDATE}[alert.state]


def trap_pdu(
    alert: Alert,
    sequence: int,
    *,
    root: tuple[int, ...],
    uptime_ticks: int,
    collector_host: str,
    as_device: bool = False,
    limit_bytes: int = PDU_LIMIT_BYTES,
) -> Any:
    """
    The SNMPv2-Trap-PDU of an alert, of at most ``limit_bytes`` in BER.

    Texts are one line of UTF-8 of at most 255 octets; the summary is shortened first, then the key and the names.

    Args:
        alert: Any.
        sequence: Wraps as a Counter32 does.
        root: OID of ``collectord``.
        uptime_ticks: Value of ``sysUpTime.0``.
        collector_host: Value of the object of that name, and of the resource where that is no device.
        as_device: ``snmpTrapAddress.0`` with the device's address follows as the last, where that is an IPv4 address.
        limit_bytes: For the PDU alone.
    """
    texts = {
        1: cut(alert.id, 64),
        4: cut(alert.rule, TEXT_LIMIT_BYTES),
        5: cut(resource(alert, collector_host), TEXT_LIMIT_BYTES),
        6: cut(device_address(alert), _ADDRESS_LIMIT_BYTES),
        7: cut(key_text(alert), TEXT_LIMIT_BYTES),
        11: cut(rfc3339(alert.first_time_ns), TEXT_LIMIT_BYTES),
        12: cut(rfc3339(alert.last_time_ns), TEXT_LIMIT_BYTES),
        13: cut(probable_cause(alert), TEXT_LIMIT_BYTES),
        14: cut(alert.summary, TEXT_LIMIT_BYTES),
        _COLLECTOR_HOST: cut(collector_host, TEXT_LIMIT_BYTES),
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
    after = _trap_address(device_address(alert)) if as_device else []
    return _within(lambda: _ours(root, notification(alert), uptime_ticks, numbers, texts, after), texts, limit_bytes)


def heartbeat_pdu(
    sign: SignOfLife, sequence: int, *, root: tuple[int, ...], uptime_ticks: int, collector_host: str
) -> Any:
    """
    The SNMPv2-Trap-PDU of a heartbeat.

    Args:
        sign: What it tells.
        sequence: Of the notification that was sent before, so that a manager sees that it lost that one.
        root: OID of ``collectord``.
        uptime_ticks: Value of ``sysUpTime.0``.
        collector_host: Value of the object of that name, and of the resource.
    """
    host = cut(collector_host, TEXT_LIMIT_BYTES)
    texts = {
        1: _HEARTBEAT_ID,
        4: _HEARTBEAT_ID,
        5: host,
        6: b"",
        7: b"",
        11: cut(rfc3339(sign.started_ns), TEXT_LIMIT_BYTES),
        12: cut(rfc3339(sign.now_ns), TEXT_LIMIT_BYTES),
        13: b"other",
        14: cut(f"alive, {sign.active:,} active {'alert' if sign.active == 1 else 'alerts'}", TEXT_LIMIT_BYTES),
        _COLLECTOR_HOST: host,
        17: b"",
    }
    numbers = {
        2: v2c.Integer32(_STATES[AlertState.RAISED]),
        3: v2c.Integer32(INDETERMINATE.itu),
        8: _unsigned(sign.active),
        9: _unsigned(sign.every_s),
        10: _unsigned(0),
        15: v2c.Counter32(sequence % 2**32),
    }
    return _within(lambda: _ours(root, _HEARTBEAT, uptime_ticks, numbers, texts, []), texts, PDU_LIMIT_BYTES)


def cold_start_pdu(*, root: tuple[int, ...], uptime_ticks: int, collector_host: str) -> Any:
    """
    The SNMPv2-Trap-PDU of ``coldStart``: the daemon started, maybe with another configuration.

    RFC 3418 gives it no objects; the collector's host follows all the same (RFC 3416 section 4.2.6 allows that), since
    the address that it comes from may be that of something between.
    """
    host = v2c.OctetString(cut(collector_host, TEXT_LIMIT_BYTES))
    return _pdu(_COLD_START, uptime_ticks, [((*root, 1, _COLLECTOR_HOST, 0), host)])


def _ours(
    root: tuple[int, ...],
    number: int,
    uptime_ticks: int,
    numbers: dict[int, Any],
    texts: dict[int, bytes],
    after: list[tuple[tuple[int, ...], Any]],
) -> Any:
    """A notification of our own, with all objects in the order of their numbers and what follows them."""
    values = {**numbers, **{number: v2c.OctetString(text) for number, text in texts.items()}}
    objects = [((*root, 1, number, 0), values[number]) for number in sorted(values)]
    return _pdu((*root, 0, number), uptime_ticks, [*objects, *after])


def _pdu(name: tuple[int, ...], uptime_ticks: int, varbinds: list[tuple[tuple[int, ...], Any]]) -> Any:
    pdu = v2c.TrapPDU()
    v2c.apiTrapPDU.set_defaults(pdu)
    first = [(_SYS_UP_TIME, v2c.TimeTicks(uptime_ticks)), (_SNMP_TRAP_OID, v2c.ObjectIdentifier(name))]
    v2c.apiTrapPDU.set_varbinds(pdu, [(v2c.ObjectIdentifier(oid), value) for oid, value in (*first, *varbinds)])
    return pdu


def _trap_address(address: str) -> list[tuple[tuple[int, ...], Any]]:
    """``snmpTrapAddress.0``, for receivers that then take the device for the sender; the type holds IPv4 only."""
    try:
        return [(_SNMP_TRAP_ADDRESS, v2c.IpAddress(str(IPv4Address(address))))]
    except ValueError:
        return []


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
