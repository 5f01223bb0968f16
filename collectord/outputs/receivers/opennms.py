"""OpenNMS: an event definition for each notification and severity, reduced to one alarm per alarm id."""

from xml.etree.ElementTree import Element, SubElement, indent, tostring

from collectord.outputs.mib_names import (
    ACTIVE_SEVERITIES,
    NOTIFICATIONS,
    OBJECTS,
    SEVERITIES,
    STATES,
    Kind,
    Notification,
    position,
)
from collectord.outputs.receivers.facts import Facts, filled

NAMESPACE = "http://xmlns.opennms.org/xsd/eventconf"
UEI = "uei.opennms.org/vendor/collectord/traps"

PROBLEM_KEY = f"{UEI}/alarm:%dpname%:%nodeid%:%parm[#{position('collectordAlarmId')}]%"
"""
Reduction key of every problem. It has a fixed text where others have ``%uei%``: raise, update and each severity are
events of their own, and must end in the same alarm, which the clear names by this key.
"""

_GENERIC_SPECIFIC = "6"  # An enterprise's own trap in SNMPv1 terms; the number of the notification is then `specific`.

_SEVERITY_AT = position("collectordAlarmPerceivedSeverity")


def files(facts: Facts) -> dict[str, str]:
    """``collectord.events.xml`` and how to install it."""
    events = Element("events", xmlns=NAMESPACE)
    for notification in NOTIFICATIONS:
        if notification.kind in {Kind.RAISE, Kind.UPDATE}:
            for number, word in ACTIVE_SEVERITIES.items():
                _problem(events, notification, facts.root, number, word)
        else:
            _ending(events, notification, facts.root)
    indent(events, "  ")
    body = tostring(events, encoding="unicode")
    return {
        "collectord.events.xml": filled("opennms", "collectord.events.xml", events=body),
        "README.md": filled("opennms", "README.md", late_m=str(facts.late_s // 60)),
    }


def _problem(events: Element, notification: Notification, root: str, number: int, word: str) -> None:
    event = _event(events, notification, root, f"{notification.name}/{word}", f"{notification.name} ({word})", number)
    said = "changed: " if notification.kind is Kind.UPDATE else ""
    _texts(event, notification, said, word.capitalize())
    data = SubElement(event, "alarm-data", {"reduction-key": PROBLEM_KEY, "alarm-type": "1", "auto-clean": "false"})
    # Without these an alarm keeps the severity of its raise.
    for field in ("severity", "logmsg", "descr"):
        SubElement(data, "update-field", {"field-name": field, "update-on-reduction": "true"})


def _ending(events: Element, notification: Notification, root: str) -> None:
    event = _event(events, notification, root, notification.name, notification.name)
    cleared = notification.kind is Kind.CLEAR
    _texts(event, notification, "cleared: " if cleared else "", "Normal", "logndisplay" if cleared else "logonly")
    if cleared:
        own = f"%uei%:%dpname%:%nodeid%:%parm[#{position('collectordAlarmId')}]%"
        SubElement(
            event,
            "alarm-data",
            {"reduction-key": own, "alarm-type": "2", "clear-key": PROBLEM_KEY, "auto-clean": "false"},
        )


def _event(
    events: Element, notification: Notification, root: str, path: str, label: str, severity: int | None = None
) -> Element:
    event = SubElement(events, "event")
    mask = SubElement(event, "mask")
    for name, value in (("id", f".{root}"), ("generic", _GENERIC_SPECIFIC), ("specific", str(notification.number))):
        element = SubElement(mask, "maskelement")
        SubElement(element, "mename").text = name
        SubElement(element, "mevalue").text = value
    if severity is not None:
        varbind = SubElement(mask, "varbind")
        SubElement(varbind, "vbnumber").text = str(_SEVERITY_AT)
        SubElement(varbind, "vbvalue").text = str(severity)
    SubElement(event, "uei").text = f"{UEI}/{path}"
    SubElement(event, "event-label").text = f"COLLECTORD-MIB: {label}"
    return event


def _texts(event: Element, notification: Notification, said: str, severity: str, dest: str = "logndisplay") -> None:
    rows = "".join(f"{name}: %parm[#{at}]%<br/>" for at, name in enumerate(OBJECTS, start=1))
    SubElement(event, "descr").text = f"<p>{notification.says}</p><p>{rows}</p>"
    summary = f"{said}%parm[#{position('collectordAlarmSummary')}]%"
    SubElement(event, "logmsg", dest=dest).text = summary
    SubElement(event, "severity").text = severity
    for name, words in (("collectordAlarmState", STATES), ("collectordAlarmPerceivedSeverity", SEVERITIES)):
        decode = SubElement(event, "varbindsdecode")
        SubElement(decode, "parmid").text = f"parm[#{position(name)}]"
        for number, word in words.items():
            SubElement(decode, "decode", varbindvalue=str(number), varbinddecodedstring=word)
