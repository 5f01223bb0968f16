"""SNMPTT: a name, a severity and a line of text for each notification."""

from collectord.outputs.mib_names import ACTIVE_SEVERITIES, OBJECTS, Kind, Notification, position
from collectord.outputs.mib_names import NOTIFICATIONS as ALL
from collectord.outputs.receivers.facts import Facts, filled

CATEGORY = "collectord"
CLEARED = "Normal"

_SUMMARY = position("collectordAlarmSummary")
_SHOWN = (
    ("id", "collectordAlarmId"),
    ("rule", "collectordAlarmRuleName"),
    ("resource", "collectordAlarmResource"),
    ("site", "collectordSite"),
)


def files(facts: Facts) -> dict[str, str]:
    """``snmptt.conf.collectord`` and how to install it."""
    entries = [entry for notification in ALL for entry in _entries(notification, facts.root)]
    return {
        "snmptt.conf.collectord": filled("snmptt", "snmptt.conf.collectord", entries="#\n".join(entries)),
        "README.md": filled("snmptt", "README.md"),
    }


def _entries(notification: Notification, root: str) -> list[str]:
    """One EVENT, or one per severity where the notification has several: SNMPTT's severity belongs to the EVENT."""
    if notification.kind is Kind.CLEAR:
        return [_entry(notification, root, CLEARED, "", "cleared: ")]
    if notification.kind is Kind.HEARTBEAT:
        return [_entry(notification, root, CLEARED, "", "heartbeat: ")]
    severity_at = position("collectordAlarmPerceivedSeverity")
    said = "changed: " if notification.kind is Kind.UPDATE else ""
    # The number comes from a snmptrapd that does not know the MIB, the word from one that does.
    return [
        _entry(notification, root, word.capitalize(), f"MATCH ${severity_at}: (^({word}|{number})$)\n", said)
        for number, word in ACTIVE_SEVERITIES.items()
    ]


def _entry(notification: Notification, root: str, severity: str, match: str, said: str) -> str:
    shown = " ".join(f"{word}=${position(name)}" for word, name in _SHOWN)
    variables = "".join(f"  {number}: {name}\n" for number, name in enumerate(OBJECTS, start=1))
    return (
        f'EVENT {notification.name} {notification.oid(root)} "{CATEGORY}" {severity}\n'
        f"FORMAT {said}${_SUMMARY} [{shown}]\n"
        f"{match}SDESC\n{notification.says}\nVariables:\n{variables}EDESC\n"
    )
