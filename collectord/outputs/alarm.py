"""An alert in the words of network management: ITU severities and causes, one-line texts, the values of its key."""

from dataclasses import dataclass

from collectord.model import Alert, AlertState, Severity

ENTERPRISE = 32473
"""Enterprise number for documentation (RFC 5612), in our structured data's name and in the SNMP engine ID."""

TEXT_LIMIT_BYTES = 255
"""Longest text of COLLECTORD-MIB (CollectordText)."""

PROBABLE_CAUSE = "unauthorizedAccessAttempt"
"""Label in IANA-ITU-ALARM-TC-MIB, without its number."""

EVENT_TYPE = "securityServiceOrMechanismViolation"
"""The event type under which X.736 files that cause."""


@dataclass(frozen=True, slots=True)
class Perceived:
    """A perceived severity in the three forms that receivers ask for."""

    word: str
    """As RFC 5674 section 2.4 writes it."""
    itu: int
    """Number in ItuPerceivedSeverity (RFC 3877)."""
    syslog: int
    """Severity of a syslog message about it (RFC 5674 table 1)."""


CLEARED = Perceived("cleared", 1, 5)

_PERCEIVED = {
    Severity.INFORMATIONAL: Perceived("indeterminate", 2, 5),
    Severity.LOW: Perceived("warning", 6, 4),
    Severity.MEDIUM: Perceived("minor", 5, 3),
    Severity.HIGH: Perceived("major", 4, 2),
}


def perceived(alert: Alert) -> Perceived:
    """The severity that a manager shows: that of the alert while it is active, cleared afterwards."""
    return CLEARED if alert.state is AlertState.CLEARED else _PERCEIVED[alert.severity]


def key_text(alert: Alert) -> str:
    """The key as ``SrcIpAddr=192.0.2.10 DstPortNumber=445``, in the rule's order."""
    return " ".join(f"{name}={value}" for name, value in alert.key.items())


def line(text: str) -> str:
    """``text`` on one line: each character that does not print (control, line separator, surrogate) is a blank."""
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def cut(text: str, limit_bytes: int) -> bytes:
    """``text`` as UTF-8 of at most ``limit_bytes``, with no character cut in two."""
    encoded = line(text).encode()
    if len(encoded) <= limit_bytes:
        return encoded
    return encoded[: max(limit_bytes, 0)].decode(errors="ignore").encode()
