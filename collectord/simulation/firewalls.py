"""
How each product logs a session: syslog header and body in the published format that its profile reads.

A message's time is the device's own, and so is what a session does not say (interfaces, rule names, NAT).
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from collectord.simulation.traffic import Direction, Session

Transport = Literal["udp", "octet-counting", "lf"]
"""UDP, or TCP with the framing of RFC 6587 section 3.4.1 or 3.4.2."""

_NAT_ADDRESS = "192.0.2.1"
_IP_NUMBERS = {"tcp": 6, "udp": 17}
_SERVICES = {80: "HTTP", 443: "HTTPS", 445: "SMB", 587: "SMTPS", 993: "IMAPS", 3478: "STUN", 4500: "IKE-NAT"}
_PANOS_APPLICATIONS = {80: "web-browsing", 443: "ssl", 587: "smtp", 993: "imap", 3478: "stun", 4500: "ipsec-esp-udp"}


@dataclass(frozen=True, slots=True)
class Firewall:
    """A simulated device."""

    name: str
    product: str
    profile: str
    """The profile that reads its messages."""
    transport: Transport
    message: Callable[[Session, int, datetime], str]
    """Session, its number on this device, device time -> one syslog message."""


def fortigate(session: Session, number: int, moment: datetime) -> str:
    """
    FortiOS traffic log, ``set format default``.

    Source: FortiOS log message reference, forward traffic.
    """
    interfaces: dict[Direction, str] = {
        "outbound": 'srcintf="lan" srcintfrole="lan" dstintf="wan1" dstintfrole="wan"',
        "inbound": 'srcintf="wan1" srcintfrole="wan" dstintf="dmz" dstintfrole="dmz"',
        "local": 'srcintf="lan" srcintfrole="lan" dstintf="servers" dstintfrole="lan"',
    }
    policies: dict[Direction, str] = {"outbound": "Internet access", "inbound": "Web servers", "local": "Segmentation"}
    level, action, policy = "warning", "deny", 'policyid=0 policyname="Implicit Deny"'
    if session.allowed:
        # FortiOS tells of TCP how it ended.
        level, action = "notice", "close" if session.protocol == "tcp" else "accept"
        policy = f'policyid={7 + len(session.direction)} policyname="{policies[session.direction]}"'
    translation = 'trandisp="noop"'
    if session.allowed and session.direction == "outbound":
        translation = f'trandisp="snat" transip={_NAT_ADDRESS} transport={session.source_port}'
    service = _SERVICES.get(session.destination_port, f"{session.protocol}/{session.destination_port}")
    return (
        f'<189>date={moment:%Y-%m-%d} time={moment:%H:%M:%S} devname="FGT-BRANCH-01" devid="FG100F0000000001" '
        f'eventtime={int(moment.timestamp())}000000000 tz="+0000" logid="0000000013" type="traffic" subtype="forward" '
        f'level="{level}" vd="root" srcip={session.source} srcport={session.source_port} dstip={session.destination} '
        f"dstport={session.destination_port} {interfaces[session.direction]} sessionid={900_000 + number} "
        f'proto={_IP_NUMBERS[session.protocol]} action="{action}" {policy} policytype="policy" service="{service}" '
        f"{translation} duration={session.seconds} sentbyte={session.sent_bytes} rcvdbyte={session.received_bytes}"
    )


def asa(session: Session, number: int, moment: datetime) -> str:
    """
    Cisco ASA: 302013 and 302015 for what is allowed, 106023 for what an access list denies.

    Source: Cisco Secure Firewall ASA Series syslog messages.
    """
    interfaces: dict[Direction, tuple[str, str]] = {
        "outbound": ("inside", "outside"),
        "inbound": ("outside", "dmz"),
        "local": ("inside", "servers"),
    }
    source, destination = interfaces[session.direction]
    stamp = f"{moment:%b %d %Y %H:%M:%S} asa-hq-01 : "
    if not session.allowed:
        return (
            f"<164>{stamp}%ASA-4-106023: Deny {session.protocol} src {source}:{session.source}/{session.source_port} "
            f"dst {destination}:{session.destination}/{session.destination_port} "
            f'by access-group "{source}_access_in" [0x0, 0x0]'
        )
    message = {"tcp": "302013", "udp": "302015"}[session.protocol]
    head = f"<166>{stamp}%ASA-6-{message}: Built {session.direction} {session.protocol.upper()} connection {number} for"
    near = f"{session.source}/{session.source_port}"
    far = f"{session.destination}/{session.destination_port}"
    if session.direction == "outbound":
        # The end outside comes first whoever began; inside, our address as the world sees it follows in parentheses.
        return f"{head} {destination}:{far} ({far}) to {source}:{near} ({_NAT_ADDRESS}/{session.source_port})"
    return f"{head} {source}:{near} ({near}) to {destination}:{_behind(session)}/{session.destination_port} ({far})"


def panos(session: Session, number: int, moment: datetime) -> str:
    """
    PAN-OS traffic log, default format: comma separated, 53 named columns and the newer ones behind them.

    Source: PAN-OS administrator's guide, traffic log fields.
    """
    zones: dict[Direction, str] = {
        "outbound": "trust,untrust,ethernet1/2,ethernet1/1",
        "inbound": "untrust,dmz,ethernet1/1,ethernet1/3",
        "local": "trust,servers,ethernet1/2,ethernet1/4",
    }
    time = f"{moment:%Y/%m/%d %H:%M:%S}"
    source_nat, source_nat_port = "0.0.0.0", 0  # noqa: S104  (no translation, as PAN-OS writes it)
    if session.allowed:
        subtype, action, rule, reason = "end", "allow", f"allow-{session.direction}", "aged-out"
        application = _PANOS_APPLICATIONS.get(session.destination_port, "unknown-tcp")
        if session.protocol == "tcp":
            reason = "tcp-fin"
        if session.direction == "outbound":
            source_nat, source_nat_port = _NAT_ADDRESS, session.source_port
    else:
        # Strangers get no answer, our own machines a refusal.
        subtype = action = "drop" if session.direction == "inbound" else "deny"
        rule, reason, application = "interzone-default", "policy-deny", "not-applicable"
    total = session.sent_bytes + session.received_bytes
    packets_out, packets_in = 1 + session.sent_bytes // 1_400, session.received_bytes // 1_400
    return (
        f"<14>{_rfc3164(moment)} PA-DC-01 1,{time},012345000001,TRAFFIC,{subtype},2562,{time},"
        f"{session.source},{session.destination},{source_nat},0.0.0.0,{rule},,,{application},vsys1,"
        f"{zones[session.direction]},log-fwd,{time},{80_000 + number},1,{session.source_port},"
        f"{session.destination_port},{source_nat_port},0,0x19,{session.protocol},{action},{total},"
        f"{session.sent_bytes},{session.received_bytes},{packets_out + packets_in},{time},{session.seconds},any,,"
        f"{7_000_000_000 + number},0x8000000000000000,,,,{packets_out},{packets_in},{reason},0,0,0,0,,PA-DC-01,"
        f"from-policy,,,0,,0,,N/A,0,0,0,0,00000000-0000-4000-8000-000000000001,0"
    )


def checkpoint(session: Session, number: int, moment: datetime) -> str:
    """
    Check Point firewall blade, Log Exporter in CEF.

    Source: Check Point Log Exporter, CEF field mappings.
    """
    zones: dict[Direction, str] = {
        "outbound": "inzone=Internal outzone=External",
        "inbound": "inzone=External outzone=Local",
        "local": "inzone=Internal outzone=Internal",
    }
    if session.allowed:
        action, rule = "Accept", f"Allowed {session.direction}"
    else:
        # Strangers get no answer, our own machines a refusal.
        action, rule = "Drop" if session.direction == "inbound" else "Reject", "Cleanup rule"
    service = _SERVICES.get(session.destination_port, f"{session.protocol}-{session.destination_port}")
    return (
        f"<134>{_rfc3164(moment)} cp-mgmt-01 CEF:0|Check Point|VPN-1 & FireWall-1|Check Point|Log|{service}|Unknown|"
        f"act={action} deviceDirection=0 rt={int(moment.timestamp())}000 spt={session.source_port} "
        f"dpt={session.destination_port} cs2Label=Rule Name cs2={rule} layer_name=Network rule_action={action} "
        f"ifname=eth0 logid=0 loguid={{0x5f000000,0x{number:x},0x9000020a,0x1}} origin=192.0.2.2 "
        f"originsicname=CN\\=cp-gw-01,O\\=cp-mgmt-01..x7k2qp sequencenum={1 + number % 100} version=5 "
        f"dst={session.destination} {zones[session.direction]} product=VPN-1 & FireWall-1 "
        f"proto={_IP_NUMBERS[session.protocol]} service_id={service.lower()} src={session.source}"
    )


def _behind(session: Session) -> str:
    """Where a public address of ours really is: 192.0.2.10 is 192.168.10.10."""
    return f"192.168.10.{session.destination.rpartition('.')[2]}"


def _rfc3164(moment: datetime) -> str:
    """``Nov  2 08:25:00`` (RFC 3164 section 4.1.2: the day has two places, the first a blank below 10)."""
    return f"{moment:%b} {moment.day:2} {moment:%H:%M:%S}"


FIREWALLS = (
    Firewall("FGT-BRANCH-01", "Fortinet FortiGate", "fortinet-fortigate", "octet-counting", fortigate),
    Firewall("asa-hq-01", "Cisco ASA", "cisco-asa", "udp", asa),
    Firewall("PA-DC-01", "Palo Alto Networks PAN-OS", "paloalto-panos", "udp", panos),
    Firewall("cp-gw-01", "Check Point", "checkpoint-cef", "lf", checkpoint),
)
