"""An alert in the words of network management: ITU severities and causes, one-line texts, the values of its key."""

from dataclasses import dataclass

from collectord.model import AlarmType, Alert, AlertState, Severity
from collectord.texts import line

ENTERPRISE = 32473
"""Enterprise number for documentation (RFC 5612): that of a site which has none of its own."""

TEXT_LIMIT_BYTES = 255
"""Longest text of COLLECTORD-MIB (CollectordText)."""

# Event type (IANAItuEventType) and probable cause (IANAItuProbableCause) by what an alert is about: labels of
# IANA-ITU-ALARM-TC-MIB (RFC 3877), each cause under the event type that X.733 or X.736 files it under.
_ITU = {
    AlarmType.ALARM: ("securityServiceOrMechanismViolation", "unauthorizedAccessAttempt"),
    AlarmType.DEVICE_SILENT: ("communicationsAlarm", "remoteNodeTransmissionError"),
    AlarmType.DEVICE_CLOCK: ("equipmentAlarm", "timingProblem"),
    AlarmType.MESSAGES_LOST: ("qualityOfServiceAlarm", "queueSizeExceeded"),
    AlarmType.OUTPUT_DOWN: ("communicationsAlarm", "communicationsSubsystemFailure"),
    AlarmType.TEST: ("other", "other"),
}


@dataclass(frozen=True, slots=True)
class Perceived:
    """A perceived severity in the three forms that receivers ask for."""

    word: str
    """As RFC 5674 section 3.3 writes it."""
    itu: int
    """Number in ItuPerceivedSeverity (RFC 3877)."""
    syslog: int
    """Severity of a syslog message about it (RFC 5674 table 1)."""


CLEARED = Perceived("cleared", 1, 5)
INDETERMINATE = Perceived("indeterminate", 2, 5)

_PERCEIVED = {
    Severity.INFORMATIONAL: INDETERMINATE,
    Severity.LOW: Perceived("warning", 6, 4),
    Severity.MEDIUM: Perceived("minor", 5, 3),
    Severity.HIGH: Perceived("major", 4, 2),
}


def perceived(alert: Alert) -> Perceived:
    """The severity that a manager shows: that of the alert while it is active, cleared afterwards."""
    return CLEARED if alert.state is AlertState.CLEARED else _PERCEIVED[alert.severity]


def event_type(alert: Alert) -> str:
    """The label of its ITU event type, without the number."""
    return _ITU[alert.alarm_type][0]


def trend(alert: Alert) -> str:
    """Whether it got more or less severe with this state (RFC 5674 section 3.5)."""
    if alert.state is not AlertState.UPDATED:
        return "lessSevere" if alert.state is AlertState.CLEARED else "moreSevere"
    before = alert.details.get("severity_before", alert.severity)
    if before not in _PERCEIVED or before == alert.severity:
        return "noChange"
    return "moreSevere" if alert.severity.rank > Severity(before).rank else "lessSevere"


def probable_cause(alert: Alert) -> str:
    """The label of its ITU probable cause, without the number."""
    return _ITU[alert.alarm_type][1]


def resource(alert: Alert, collector_host: str) -> str:
    """The managed thing that it is about: a device, else the host that runs the collector."""
    return _device(alert, "name") or collector_host


def device_address(alert: Alert) -> str:
    """The address of the device that it is about; empty where it is about none, or the address is not known."""
    return _device(alert, "address")


def _device(alert: Alert, what: str) -> str:
    """As detection noted it when the alert was raised."""
    device = alert.details.get("device")
    return str(device.get(what, "")) if isinstance(device, dict) else ""


def key_text(alert: Alert) -> str:
    """The key as ``SrcIpAddr=192.0.2.10 DstPortNumber=445``, in the rule's order."""
    return " ".join(f"{name}={value}" for name, value in alert.key.items())


def cut(text: str, limit_bytes: int) -> bytes:
    """``text`` as UTF-8 of at most ``limit_bytes``, with no character cut in two."""
    encoded = line(text).encode()
    if len(encoded) <= limit_bytes:
        return encoded
    return encoded[: max(limit_bytes, 0)].decode(errors="ignore").encode()
