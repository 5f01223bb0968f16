"""
A slow, obvious reading of FortiGate, ASA, PAN-OS and CEF session logs, for tests to hold the engine against.

It is written from the vendors' tables alone: it shares no table, template or pattern with the profiles, and it reads
only what rules and counters use. A message that is no session, or that is not understood, reads as None; the two are
not told apart here.

One file although it is long: a reading that can be followed from top to bottom is its whole worth.
"""

import csv
import ipaddress
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

FAILED_ACTIONS = frozenset({"Deny", "Drop", "Drop ICMP", "Reset", "Reset Source", "Reset Destination"})
"""Values of DvcAction that mean EventResult Failure when the device tells no result, and that mean blocked."""

INTERNAL = tuple(ipaddress.ip_network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"))
"""The default of ``internal_networks``: RFC 1918 and RFC 4193."""

MOST_EVENTS = 1_000_000
"""Most that one record may say it stands for; more is forged or broken."""

# IANA protocol numbers, as ASIM spells them.
PROTOCOL_LIST = """
    0 HOPOPT, 1 ICMP, 2 IGMP, 3 GGP, 4 IPv4, 5 ST, 6 TCP, 7 CBT, 8 EGP, 9 IGP, 10 BBN-RCC-MON, 11 NVP-II, 12 PUP,
    13 ARGUS (deprecated), 14 EMCON, 15 XNET, 16 CHAOS, 17 UDP, 18 MUX, 19 DCN-MEAS, 20 HMP, 21 PRM, 22 XNS-IDP,
    23 TRUNK-1,
    24 TRUNK-2, 25 LEAF-1, 26 LEAF-2, 27 RDP, 28 IRTP, 29 ISO-TP4, 30 NETBLT, 31 MFE-NSP, 32 MERIT-INP, 33 DCCP,
    34 3PC, 35 IDPR, 36 XTP, 37 DDP, 38 IDPR-CMTP, 39 TP++, 40 IL, 41 IPv6, 42 SDRP, 43 IPv6-Route, 44 IPv6-Frag,
    45 IDRP, 46 RSVP, 47 GRE, 48 DSR, 49 BNA, 50 ESP, 51 AH, 52 I-NLSP, 53 SWIPE (deprecated), 54 NARP, 55 MOBILE,
    56 TLSP,
    57 SKIP, 58 IPv6-ICMP, 59 IPv6-NoNxt, 60 IPv6-Opts, 62 CFTP, 64 SAT-EXPAK, 65 KRYPTOLAN, 66 RVD, 67 IPPC,
    69 SAT-MON, 70 VISA, 71 IPCV, 72 CPNX, 73 CPHB, 74 WSN, 75 PVP, 76 BR-SAT-MON, 77 SUN-ND, 78 WB-MON, 79 WB-EXPAK,
    80 ISO-IP, 81 VMTP, 82 SECURE-VMTP, 83 VINES, 84 TTP, 85 NSFNET-IGP, 86 DGP, 87 TCF, 88 EIGRP, 89 OSPFIGP,
    90 Sprite-RPC, 91 LARP, 92 MTP, 93 AX.25, 94 IPIP, 95 MICP (deprecated), 96 SCC-SP, 97 ETHERIP, 98 ENCAP, 100 GMTP,
    101 IFMP,
    102 PNNI, 103 PIM, 104 ARIS, 105 SCPS, 106 QNX, 107 A/N, 108 IPComp, 109 SNP, 110 Compaq-Peer, 111 IPX-in-IP,
    112 VRRP, 113 PGM, 115 L2TP, 116 DDX, 117 IATP, 118 STP, 119 SRP, 120 UTI, 121 SMP, 122 SM (deprecated), 123 PTP,
    124 ISIS over IPv4, 125 FIRE, 126 CRTP, 127 CRUDP, 128 SSCOPMCE, 129 IPLT, 130 SPS, 131 PIPE, 132 SCTP, 133 FC,
    134 RSVP-E2E-IGNORE, 135 Mobility Header, 136 UDPLite, 137 MPLS-in-IP, 138 manet, 139 HIP, 140 Shim6, 141 WESP,
    142 ROHC, 143 Ethernet, 255 Reserved
"""
PROTOCOLS = {int(entry.split()[0]): " ".join(entry.split()[1:]) for entry in PROTOCOL_LIST.split(",")}


@dataclass(slots=True)
class Session:
    """What one record says, under its ASIM names; None where it says nothing."""

    SrcIpAddr: str | None = None
    SrcPortNumber: int | None = None
    DstIpAddr: str | None = None
    DstPortNumber: int | None = None
    NetworkProtocol: str | None = None
    NetworkDirection: str | None = None
    DvcAction: str | None = None
    DvcOriginalAction: str | None = None
    EventResult: str | None = None
    EventResultDetails: str | None = None
    EventOriginalResultDetails: str | None = None
    EventCount: int = 1
    blocked: bool | None = None
    """Whether the device stopped the session."""
    counted: bool = True
    """Whether rules count the record."""


def read(line: bytes) -> Session | None:
    """
    The session that one syslog message tells of.

    A CEF record is known by its ``CEF:0|``, ASA by ``%ASA-`` before any of ``| = "``, FortiGate by three of its keys,
    PAN-OS by the type in the fourth column.
    """
    text = line.decode("utf-8", "replace").rstrip("\r\n\0 ")
    asa = re.match(r'[^%|="]*%ASA-\d-(\d{6}): (.*)', text, re.DOTALL)
    if asa:
        return _finish(_asa(asa[1], asa[2]))
    cef = re.match(r'[^|="]*?CEF: ?0\|(.*)', text, re.DOTALL)
    if cef:
        return _finish(_cef(cef[1]))
    if re.search(r"[ ,]logid=", text) and re.search(r"[ ,]subtype=", text) and re.search(r"[ ,]vd=", text):
        return _finish(_fortigate(text))
    pan = re.search(r"(?:^|[ >])(1,[^,]*,[^,]*,TRAFFIC,.*)", text, re.DOTALL)
    if pan:
        return _finish(_panos(next(csv.reader([pan[1]]))))
    return None


def count(
    lines: Iterable[bytes],
) -> tuple[Counter[tuple[str]], Counter[tuple[int, str, str, str]]]:
    """
    What the two seed counters hold after these messages.

    Returns:
        failures_by_source: (SrcIpAddr,) -> EventCount of counted records whose EventResult is Failure.
        port_volume: (DstPortNumber, NetworkProtocol, NetworkDirection, DvcAction) -> EventCount of counted records;
        a text that the record does not state is "".

    A record without the source, or without the destination port, is in neither, respectively.
    """
    failures: Counter[tuple[str]] = Counter()
    volume: Counter[tuple[int, str, str, str]] = Counter()
    for session in filter(None, map(read, lines)):
        if not session.counted:
            continue
        if session.EventResult == "Failure" and session.SrcIpAddr is not None:
            failures[session.SrcIpAddr,] += session.EventCount
        if session.DstPortNumber is not None:
            texts = (session.NetworkProtocol or "", session.NetworkDirection or "", session.DvcAction or "")
            volume[session.DstPortNumber, *texts] += session.EventCount
    return failures, volume


# What all products share.


def _finish(session: Session | None) -> Session | None:
    """
    Fill in what the record leaves open.

    EventResult: Failure for the actions that stop a session, Success for any other, NA without one. NetworkDirection:
    by which ends are inside. EventCount: at least 1, at most a million.
    """
    if session is None:
        return None
    if session.EventResult is None:
        stopped = session.DvcAction in FAILED_ACTIONS
        session.EventResult = "NA" if session.DvcAction is None else "Failure" if stopped else "Success"
    if session.NetworkDirection is None:
        session.NetworkDirection = _direction(session.SrcIpAddr, session.DstIpAddr)
    if session.blocked is None:
        session.blocked = session.DvcAction in FAILED_ACTIONS
    session.EventCount = min(max(session.EventCount, 1), MOST_EVENTS)
    return session


def _direction(source: str | None, destination: str | None) -> str:
    """Outbound, Inbound, Local or External by which ends are inside; NA when an end is not known."""
    if source is None or destination is None:
        return "NA"
    inside = (_inside(source), _inside(destination))
    names = {(True, False): "Outbound", (False, True): "Inbound", (True, True): "Local", (False, False): "External"}
    return names[inside]


def _inside(text: str) -> bool:
    address = ipaddress.ip_address(text)
    return any(address in network for network in INTERNAL)


def _address(text: str | None) -> str | None:
    """The address in its shortest form, or None for a name or nothing."""
    try:
        return str(ipaddress.ip_address((text or "").strip()))
    except ValueError:
        return None


def _number(text: str | None, most: int | None = None) -> int | None:
    """A number of plain digits, or None; also None above ``most``."""
    text = (text or "").strip()
    if not re.fullmatch(r"[0-9]+", text):
        return None
    return None if most is not None and int(text) > most else int(text)


def _port(text: str | None) -> int | None:
    return _number(text, 65_535)


def _protocol(text: str | None) -> str | None:
    """IANA's name of a protocol number; any other text in upper case."""
    text = (text or "").strip()
    number = _number(text)
    if number is not None:
        return PROTOCOLS.get(number, "Unassigned")
    return text.upper() or None


# Fortinet FortiGate.

FORTIGATE_ACTIONS: Mapping[str, tuple[str | None, str, str | None]] = {
    # action: DvcAction, EventResult, EventResultDetails
    "accept": ("Allow", "Success", None),
    "close": (None, "Success", None),
    "deny": ("Deny", "Failure", None),
    "client-rst": ("Reset Source", "Failure", "Reset"),
    "server-rst": ("Reset Destination", "Failure", "Reset"),
    "ip-conn": (None, "Failure", "Routing issue"),
    "timeout": (None, "Failure", "Timeout"),
    "start": ("Allow", "Success", None),
}


def _fortigate(text: str) -> Session | None:
    """
    A traffic log; the other types, and the box's own DNS look-ups, are no sessions.

    * Only deny is a policy's block. A reset of an end point is a failure, but not blocked.
    * A start never counts, since the end of the session is logged too.
    * utmaction allow makes a success of anything but a deny; block, blocked, reset and dropped make it a deny.
    """
    values: dict[str, str] = {}
    for key, value, quoted in re.findall(r'(\w+)=("([^"]*)"|[^\s,]*)', text):
        values.setdefault(key, (quoted if value.startswith('"') else value).strip())
    action = values.get("action", "").lower()
    if values.get("type") != "traffic" or action == "dns":
        return None
    session = Session(
        SrcIpAddr=_address(values.get("srcip")),
        SrcPortNumber=_port(values.get("srcport")),
        DstIpAddr=_address(values.get("dstip")),
        DstPortNumber=_port(values.get("dstport")),
        NetworkProtocol=_protocol(values.get("proto")),
        DvcOriginalAction=values.get("action") or None,
    )
    verdict = FORTIGATE_ACTIONS.get(action, (None, "NA", None))
    session.DvcAction, session.EventResult, session.EventResultDetails = verdict
    session.counted = action != "start"
    session.blocked = action == "deny"
    utm = values.get("utmaction", "").lower()
    if action != "deny" and utm == "allow":
        session.EventResult = "Success"
    elif action != "deny" and utm in ("block", "blocked", "reset", "dropped"):
        session.DvcAction, session.EventResult, session.blocked = "Deny", "Failure", True
    return session


# Palo Alto Networks PAN-OS.

PANOS_ACTIONS = {
    "allow": "Allow",
    "deny": "Deny",
    "drop": "Drop",
    "drop icmp": "Drop ICMP",
    "reset client": "Reset Source",
    "reset server": "Reset Destination",
    "reset both": "Reset",
}
"""Action -> DvcAction; PAN-OS writes the two-word ones with a blank or with a hyphen."""

PANOS_REASONS = {
    "threat": "Terminated",
    "policy-deny": "Terminated",
    "decrypt-cert-validation": "Terminated",
    "decrypt-unsupport-param": "Terminated",
    "decrypt-error": "Terminated",
    "tcp-rst-from-client": "Reset",
    "tcp-rst-from-server": "Reset",
    "aged-out": "Timeout",
    "resources-unavailable": "Unknown",
    "tcp-reuse": "Unknown",
    "decoder": "Unknown",
    "unknown": "Unknown",
    "n/a": "NA",
}
"""Session end reason -> EventResultDetails; an orderly tcp-fin has none."""


def _panos(columns: list[str]) -> Session:
    """
    A TRAFFIC log. The result follows from the action alone, an action that is not in the table being a failure.

    * A session that a threat profile ended is blocked, even where its action is allow.
    * The repeat count is the number of sessions that the record stands for.
    * A record of subtype start never counts, since the end of the session is logged too.
    """

    def column(number: int) -> str:
        return columns[number - 1].strip() if number <= len(columns) else ""

    action = column(31).lower()
    session = Session(
        SrcIpAddr=_address(column(8)),
        DstIpAddr=_address(column(9)),
        EventCount=_number(column(24)) or 1,
        SrcPortNumber=_port(column(25)),
        DstPortNumber=_port(column(26)),
        NetworkProtocol=_protocol(column(30)),
        DvcAction=PANOS_ACTIONS.get(re.sub(r"^(drop|reset)-", r"\1 ", action)),
        DvcOriginalAction=column(31) or None,
        EventResultDetails=PANOS_REASONS.get(column(47).lower()),
        EventOriginalResultDetails=column(47) or None,
        counted=column(5).lower() != "start",
    )
    if action:
        session.EventResult = "Success" if session.DvcAction == "Allow" else "Failure"
    if column(47).lower() == "threat":
        session.blocked = True
    return session


# CEF.

CHECKPOINT_ACTIONS = {
    "accept": "Allow",
    "allow": "Allow",
    "bypass": "Allow",
    "drop": "Drop",
    "reject": "Deny",
    "block": "Deny",
    "encrypt": "Encrypt",
    "decrypt": "Decrypt",
}
"""act -> DvcAction; a word that is not here has neither an action nor a result."""

GENERIC_ACTIONS = {
    "Allow": ("allow", "allowed", "permit", "accept", "start"),
    "Deny": ("deny", "denied"),
    "Drop": ("drop", "block", "blocked"),
    "Drop ICMP": ("drop icmp",),
    "Reset": ("reset", "rst"),
    "Reset Source": ("reset source", "client-rst", "reset client"),
    "Reset Destination": ("reset destination", "server-rst", "reset server"),
    "Encrypt": ("encrypt",),
    "Decrypt": ("decrypt",),
    "VPNroute": ("vpnroute",),
}
"""DvcAction <- act; close and closed are a success without an action."""


def _cef(record: str) -> Session | None:
    """
    A CEF record, after its ``CEF:0|``: six header parts between bars, then key=value up to the next key.

    ``\\|`` and ``\\\\`` in the header, ``\\=``, ``\\\\`` and ``\\n`` in values; of a key that comes twice the first
    counts.
    """
    parts = re.split(r"(?<!\\)\|", record, maxsplit=6)
    if len(parts) < 7:
        return None
    vendor, product = (re.sub(r"\\(.)", r"\1", part).strip().lower() for part in parts[:2])
    keys = list(re.finditer(r"(?:^|\s)([\w.]+)=", parts[6]))
    values: dict[str, str] = {}
    ends = [key.start() for key in keys[1:]] + [len(parts[6])]
    for key, end in zip(keys, ends, strict=False):
        raw = parts[6][key.end() : end].strip()
        values.setdefault(key[1], re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], raw))
    if product == "vpn-1 & firewall-1" and vendor in ("check point", "checkpoint"):
        return _checkpoint(values)
    return _generic_cef(values)


def _cef_ends(values: Mapping[str, str]) -> Session:
    """The keys that all CEF records share; cnt is the number of events the record stands for."""
    return Session(
        SrcIpAddr=_address(values.get("src")),
        SrcPortNumber=_port(values.get("spt")),
        DstIpAddr=_address(values.get("dst")),
        DstPortNumber=_port(values.get("dpt")),
        NetworkProtocol=_protocol(values.get("proto")),
        DvcOriginalAction=values.get("act") or None,
        EventCount=_number(values.get("cnt")) or 1,
    )


def _checkpoint(values: Mapping[str, str]) -> Session:
    """
    A firewall record of Check Point.

    The direction is conn_direction's word, else that of the zones: inside to inside or to the gateway is Local,
    inside or the gateway to outside is Outbound, outside to inside or to the gateway is Inbound.
    """
    session = _cef_ends(values)
    session.DvcAction = CHECKPOINT_ACTIONS.get(values.get("act", "").lower())
    told = {"incoming": "Inbound", "outgoing": "Outbound", "internal": "Local"}
    zones = {
        ("internal", "internal"): "Local",
        ("internal", "local"): "Local",
        ("internal", "external"): "Outbound",
        ("local", "external"): "Outbound",
        ("external", "internal"): "Inbound",
        ("external", "local"): "Inbound",
    }
    by_zone = zones.get((values.get("inzone", "").lower(), values.get("outzone", "").lower()))
    session.NetworkDirection = told.get(values.get("conn_direction", "").lower(), by_zone)
    return session


def _generic_cef(values: Mapping[str, str]) -> Session | None:
    """
    A record of a vendor that nobody mapped, by the format's own words; without any address, or without
    protocol and port, it is no session, and neither is a login.

    The IPv6 addresses may stand in the second and third custom address. deviceDirection is 0 for inbound and 1 for
    outbound. client-rst and server-rst are FortiGate's words for a reset of an end point, which is no block.
    """
    session = _cef_ends(values)
    session.SrcIpAddr = session.SrcIpAddr or _address(values.get("c6a2"))
    session.DstIpAddr = session.DstIpAddr or _address(values.get("c6a3"))
    if session.SrcIpAddr is None and session.DstIpAddr is None:
        return None
    act = values.get("act", "").lower()
    ends = (session.SrcPortNumber, session.DstPortNumber)
    if act in ("login", "logon", "logout", "logoff") or (ends == (None, None) and not values.get("proto", "").strip()):
        return None
    session.DvcAction = next((action for action, words in GENERIC_ACTIONS.items() if act in words), None)
    if act in ("close", "closed"):
        session.EventResult = "Success"
    if act in ("client-rst", "server-rst"):
        session.blocked = False
    session.NetworkDirection = {"0": "Inbound", "1": "Outbound"}.get(values.get("deviceDirection", ""))
    session.EventOriginalResultDetails = values.get("reason") or None
    return session


# Cisco ASA.

USER = r"(?:\([^)]*\))?"
PLAIN = r"(?P<{0}>[^\s/(]+)(?:/(?P<{0}_port>[^\s(]+))?" + USER
NAMED = r"[^:]+:" + PLAIN
SOURCE, DESTINATION = PLAIN.format("src"), PLAIN.format("dst")
NAMED_SOURCE, NAMED_DESTINATION = NAMED.format("src"), NAMED.format("dst")
MAPPED = r" ?\([^)]*\)" + USER
ICMP_END = r"(?P<{}>[^\s/(]+)/\d+" + USER

ASA_MESSAGES: Mapping[str, tuple[str, str | None, str | None]] = {
    # id: pattern, NetworkProtocol where the text has none, DvcAction
    "106001": (rf"Inbound TCP connection (?P<word>denied) from {SOURCE} to {DESTINATION} flags .*", "TCP", "Deny"),
    "106006": (rf"(?P<word>Deny) inbound UDP from {SOURCE} to {DESTINATION} on interface .*", "UDP", "Deny"),
    "106007": (rf"(?P<word>Deny) inbound UDP from {SOURCE} to {DESTINATION} due to (?P<why>.*)", "UDP", "Deny"),
    "106010": (
        rf"(?P<word>Deny) inbound (?:protocol )?(?P<protocol>\S+) src {NAMED_SOURCE} dst {NAMED_DESTINATION}(?: .*)?",
        None,
        "Deny",
    ),
    "106014": (rf"(?P<word>Deny) inbound icmp src {NAMED_SOURCE} dst {NAMED_DESTINATION} \(type .*", "ICMP", "Deny"),
    "106015": (rf"(?P<word>Deny) TCP \(no connection\) from {SOURCE} to {DESTINATION} flags .*", "TCP", "Deny"),
    "106021": (
        rf"(?P<word>Deny) (?:protocol )?(?P<protocol>\S+) reverse path check from {SOURCE} to {DESTINATION} on .*",
        None,
        "Deny",
    ),
    "106023": (
        rf"(?P<word>Deny) (?:protocol )?(?P<protocol>\S+) src {NAMED_SOURCE} dst {NAMED_DESTINATION}.*"
        r" by access-group .*",
        None,
        "Deny",
    ),
    "106100": (
        r"access-list \S+ (?P<word>permitted|denied|est-allowed) (?P<protocol>\S+)"
        rf" [^/]+/(?P<src>[^\s(]+)\((?P<src_port>\d+)\){USER} -> [^/]+/(?P<dst>[^\s(]+)\((?P<dst_port>\d+)\){USER}"
        r" hit-cnt (?P<hits>\d+).*",
        None,
        None,
    ),
    "302013": (
        rf"(?P<word>Built) (?P<direction>\w+) (?:Probe )?(?P<protocol>\w+) connection \d+"
        rf" for {NAMED_SOURCE}{MAPPED} to {NAMED_DESTINATION}{MAPPED}.*",
        None,
        "Allow",
    ),
    "302014": (
        rf"(?P<word>Teardown) (?:Probe )?(?P<protocol>\w+) connection \d+ for {NAMED_SOURCE} to {NAMED_DESTINATION}"
        r" duration [\d:]+ bytes \d+(?P<why>.*)",
        None,
        None,
    ),
    "302016": (
        rf"(?P<word>Teardown) (?P<protocol>\w+) connection \d+ for {NAMED_SOURCE} to {NAMED_DESTINATION} duration .*",
        None,
        "Allow",
    ),
    "302020": (
        rf"(?P<word>Built) (?P<direction>\w+) ICMP connection for faddr {ICMP_END.format('src')} gaddr \S+"
        rf" laddr {ICMP_END.format('dst')}.*",
        "ICMP",
        "Allow",
    ),
    "302021": (
        rf"(?P<word>Teardown) ICMP connection for faddr {ICMP_END.format('src')} gaddr \S+"
        rf" laddr {ICMP_END.format('dst')}.*",
        "ICMP",
        "Allow",
    ),
    "710003": (
        rf"(?P<protocol>\S+) access (?P<word>denied) by ACL from {SOURCE} to {NAMED_DESTINATION}",
        None,
        "Deny",
    ),
    "710005": (rf"(?P<protocol>\S+) request (?P<word>discarded) from {SOURCE} to {NAMED_DESTINATION}", None, "Drop"),
}

ASA_REASONS: Mapping[str, tuple[str | None, str, str | None]] = {
    # reason of a TCP teardown: DvcAction, EventResult, EventResultDetails
    "conn-timeout": (None, "Success", "Timeout"),
    "deny terminate": ("Deny", "Failure", "Terminated"),
    "failover primary closed": (None, "Success", "Failover"),
    "fin timeout": (None, "Success", "Timeout"),
    "flow closed by inspection": ("Deny", "Failure", "Terminated"),
    "flow terminated by ips": ("Deny", "Failure", "Terminated"),
    "flow reset by ips": ("Reset", "Failure", "Terminated"),
    "flow terminated by tcp intercept": ("Reset", "Failure", "Terminated"),
    "flow timed out": (None, "Success", "Timeout"),
    "flow timed out with reset": ("Reset", "Failure", "Timeout"),
    "free the flow created as result of packet injection": (None, "Success", "Simulation"),
    "invalid syn": (None, "Failure", "Invalid TCP"),
    "ips fail-close": ("Deny", "Failure", "Terminated"),
    "no interfaces associated with zone": (None, "Failure", "Routing issue"),
    "no valid adjacency": ("Drop", "Failure", "Routing issue"),
    "pinhole timeout": (None, "Failure", "Timeout"),
    "probe maximum retries of retransmission exceeded": (None, "Failure", "Maximum Retry"),
    "probe maximum retransmission time elapsed": (None, "Failure", "Maximum Retry"),
    "probe received rst": (None, "Failure", "Reset"),
    "probe received fin": (None, "Success", None),
    "probe completed": (None, "Success", None),
    "route change": (None, "Success", None),
    "syn control": (None, "Failure", "Invalid TCP"),
    "syn timeout": (None, "Failure", "Timeout"),
    "tcp bad retransmission": (None, "Success", "Invalid TCP"),
    "tcp fins": (None, "Success", None),
    "tcp invalid syn": (None, "Failure", "Invalid TCP"),
    "tcp reset-appliance": (None, "Failure", "Reset"),
    "tcp reset-i": (None, "Failure", "Reset"),
    "tcp reset-o": (None, "Failure", "Reset"),
    "tcp segment partial overlap": (None, "Failure", "Invalid TCP"),
    "tcp unexpected window size variation": (None, "Failure", "Invalid TCP"),
    "tunnel has been torn down": (None, "Failure", "Invalid Tunnel"),
    "unknown": (None, "Failure", "Unknown"),
    "unauth deny": ("Deny", "Failure", "Terminated"),
    "xlate clear": (None, "Success", None),
}


def _asa(number: str, text: str) -> Session | None:
    """
    One of the messages that tell of a session; UDP is built (302015) as TCP is (302013).

    * Built counts always, Teardown only when it is a failure.
    * The first end of an outbound connection, and faddr of an outbound ping, is the destination.
    * A teardown says nothing of the direction: the end inside our networks is the source.
    * What stands where ICMP has no port is an identifier, a type or a code.
    """
    entry = ASA_MESSAGES.get("302013" if number == "302015" else number)
    match = re.fullmatch(entry[0], text, re.DOTALL) if entry else None
    if entry is None or match is None:
        return None
    found = match.groupdict()
    session = Session(
        SrcIpAddr=_address(found["src"]),
        SrcPortNumber=_port(found.get("src_port")),
        DstIpAddr=_address(found["dst"]),
        DstPortNumber=_port(found.get("dst_port")),
        NetworkProtocol=entry[1] or _protocol(found["protocol"]),
        DvcAction=entry[2],
        DvcOriginalAction=found["word"],
        EventCount=_number(found.get("hits")) or 1,
    )
    if session.NetworkProtocol == "ICMP":
        session.SrcPortNumber = session.DstPortNumber = None
    if number == "106007":
        session.EventOriginalResultDetails = found["why"]
    if number == "106100":
        session.DvcAction = "Deny" if found["word"] == "denied" else "Allow"
    if "direction" in found:
        session.NetworkDirection = found["direction"].capitalize()
        if session.NetworkDirection == "Outbound":
            _swap(session)
    if found["word"] == "Teardown":
        _asa_teardown(session, found.get("why"))
    return session


def _asa_teardown(session: Session, reason: str | None) -> None:
    """
    The end of a connection.

    Of the reason a trailing user in brackets is cut off, then the interface it came from; a reason that is not in
    the table has no result. Only a TCP teardown has a reason at all.
    """
    if reason is not None:
        words = re.sub(r" \([^()]*\)$", "", reason).split(" from ")[0].strip()
        if words:
            verdict = ASA_REASONS.get(words.lower(), (None, "NA", "Unknown"))
            session.DvcAction, session.EventResult, session.EventResultDetails = verdict
            session.EventOriginalResultDetails = words
    failed = session.EventResult == "Failure" or (session.EventResult is None and session.DvcAction in FAILED_ACTIONS)
    session.counted = failed
    if session.SrcIpAddr and session.DstIpAddr and _inside(session.DstIpAddr) and not _inside(session.SrcIpAddr):
        _swap(session)


def _swap(session: Session) -> None:
    """Exchange the ends."""
    session.SrcIpAddr, session.DstIpAddr = session.DstIpAddr, session.SrcIpAddr
    session.SrcPortNumber, session.DstPortNumber = session.DstPortNumber, session.SrcPortNumber
