"""The fields of a session (ASIM, NetworkSession) that rules and counters may use."""

# The ASIM fields that a rule may filter and group by: those that name something. Sums, sizes, durations, times and free
# text are not among them, nor is Dvc: it follows from the header and the peer, which counting does not look at.
RULE_FIELDS = (
    "SrcIpAddr",
    "DstIpAddr",
    "SrcPortNumber",
    "DstPortNumber",
    "SrcNatIpAddr",
    "DstNatIpAddr",
    "SrcHostname",
    "DstHostname",
    "SrcZone",
    "DstZone",
    "SrcInterfaceName",
    "DstInterfaceName",
    "SrcMacAddr",
    "DstMacAddr",
    "SrcGeoCountry",
    "DstGeoCountry",
    "SrcUsername",
    "DstUsername",
    "SrcAppName",
    "DstAppName",
    "NetworkProtocol",
    "NetworkDirection",
    "NetworkApplicationProtocol",
    "NetworkRuleName",
    "DvcAction",
    "DvcOriginalAction",
    "EventResult",
    "EventResultDetails",
    "EventSeverity",
    "EventType",
    "EventSubType",
    "EventOriginalType",
    "DvcIpAddr",
    "DvcHostname",
    "DvcId",
    "DvcZone",
    "DvcInboundInterface",
    "DvcOutboundInterface",
    "ThreatId",
    "ThreatName",
    "ThreatCategory",
)

# Those of them that hold a word of a closed list (the engine's session.rs has the same), with the words.
FIELD_WORDS = {
    "DvcAction": (
        *("Allow", "Deny", "Drop", "Drop ICMP", "Reset", "Reset Source", "Reset Destination"),
        *("Encrypt", "Decrypt", "VPNroute"),
    ),
    "EventResult": ("Success", "Partial", "Failure", "NA"),
    "EventResultDetails": (
        *("Failover", "Invalid TCP", "Invalid Tunnel", "Maximum Retry", "Reset", "Routing issue", "Simulation"),
        *("Terminated", "Timeout", "Transient error", "Unknown", "NA"),
    ),
    "EventSeverity": ("Informational", "Low", "Medium", "High"),
    "EventSubType": ("Start", "End"),
    "EventType": ("NetworkSession", "EndpointNetworkSession", "L2NetworkSession", "Flow", "IDS"),
    "NetworkDirection": ("Inbound", "Outbound", "Local", "External", "Listen", "NA"),
}

# The protocols that logs name, as sessions have them whatever a device writes.
PROTOCOLS = ("TCP", "UDP", "ICMP", "IPv6-ICMP", "GRE", "ESP", "AH", "SCTP", "IGMP", "PIM")

# Number fields that a rule may add up.
SUM_FIELDS = (
    "SrcBytes",
    "DstBytes",
    "NetworkBytes",
    "SrcPackets",
    "DstPackets",
    "NetworkPackets",
    "NetworkDuration",
)


def is_number_field(name: str) -> bool:
    """True for the key columns that hold a whole number (ports); the others hold text."""
    return name.endswith("PortNumber")
