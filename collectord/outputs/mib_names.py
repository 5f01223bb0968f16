"""
What COLLECTORD-MIB calls its notifications, objects and labels: the table from which receivers' files are made.

A test holds it together with the module's text (tests/unit/outputs/test_mib_names.py).
"""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a notification does to the alarm that it names."""

    RAISE = "raise"
    UPDATE = "update"
    CLEAR = "clear"
    HEARTBEAT = "heartbeat"


@dataclass(frozen=True, slots=True)
class Notification:
    """A notification; its OID is ``root.0.number``."""

    number: int
    name: str
    kind: Kind
    says: str
    """What happened, for the person who reads a receiver's configuration."""

    def oid(self, root: str) -> str:
        """With the dot in front with which net-snmp writes whole OIDs."""
        return f".{root}.0.{self.number}"


NOTIFICATIONS = (
    Notification(1, "collectordAlarmRaise", Kind.RAISE, "An alarm was raised: a rule came true for a key."),
    Notification(2, "collectordAlarmClear", Kind.CLEAR, "An alarm was cleared."),
    Notification(3, "collectordAlarmUpdate", Kind.UPDATE, "An active alarm changed: its count or its severity."),
    Notification(10, "collectordDeviceSilent", Kind.RAISE, "A device sends nothing any more."),
    Notification(11, "collectordDeviceResumed", Kind.CLEAR, "A device that was silent sends again."),
    Notification(12, "collectordDeviceClockSkew", Kind.RAISE, "The times in a device's messages are off."),
    Notification(13, "collectordDeviceClockSkewClear", Kind.CLEAR, "The times in a device's messages are right again."),
    Notification(20, "collectordCollectorLoss", Kind.RAISE, "The collector loses messages, alarms or what it stores."),
    Notification(21, "collectordCollectorLossClear", Kind.CLEAR, "The collector loses nothing more."),
    Notification(22, "collectordOutputDown", Kind.RAISE, "An output takes no alerts although some wait."),
    Notification(23, "collectordOutputUp", Kind.CLEAR, "An output takes alerts again."),
    Notification(30, "collectordHeartbeat", Kind.HEARTBEAT, "The collector is alive; count is its active alarms."),
)

OBJECTS = (
    "collectordAlarmId",
    "collectordAlarmState",
    "collectordAlarmPerceivedSeverity",
    "collectordAlarmRuleName",
    "collectordAlarmResource",
    "collectordAlarmDeviceAddress",
    "collectordAlarmKey",
    "collectordAlarmCount",
    "collectordAlarmWindow",
    "collectordAlarmThreshold",
    "collectordAlarmFirstTime",
    "collectordAlarmLastTime",
    "collectordAlarmProbableCause",
    "collectordAlarmSummary",
    "collectordNotificationSequence",
    "collectordCollectorHost",
    "collectordSite",
)
"""Every notification carries all of them in this order; the first is ``root.1.1.0``."""

STATES = {1: "raised", 2: "cleared", 3: "updated"}
"""CollectordState."""

SEVERITIES = {1: "cleared", 2: "indeterminate", 3: "critical", 4: "major", 5: "minor", 6: "warning"}
"""CollectordSeverity."""

ACTIVE_SEVERITIES = {number: word for number, word in SEVERITIES.items() if word != "cleared"}
"""Those of an alarm that is not cleared."""


def position(name: str) -> int:
    """Where an object stands in every notification, from 1; the last number of its OID as well."""
    return OBJECTS.index(name) + 1
