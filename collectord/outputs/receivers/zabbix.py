"""
Zabbix: a template (export format 7.0) whose problems open and close by the alarm id.

The text of a trap differs with the handler that snmptrapd calls (Zabbix's Perl receiver, Zabbix's shell handler) and
with whether it knows the MIB. So the item's preprocessing cuts it down to ``state;severity;id;rule;summary``, and all
else looks at that. Regular expressions of triggers stay below Zabbix's limit of 255 characters and hold no backslash,
which Zabbix escapes differently before and after 7.0.
"""

import hashlib
from typing import Any
from uuid import UUID

from collectord.outputs.mib_names import ACTIVE_SEVERITIES, NOTIFICATIONS, STATES, Kind, position
from collectord.outputs.receivers.facts import Facts, filled

TEMPLATE = "collectord by SNMP trap"
GROUP = "Templates/collectord"

PRIORITIES = {
    "critical": "DISASTER",
    "major": "HIGH",
    "minor": "AVERAGE",
    "warning": "WARNING",
    "indeterminate": "INFO",
}
"""Zabbix's severity for ours."""

FIELDS = ("state", "severity", "alarmid", "rule", "summary")
"""What the preprocessing leaves of a trap, with ``;`` between."""

_FIELD = "[^;]*;"


def files(facts: Facts) -> dict[str, str]:
    """``zabbix_collectord.yaml`` and how to install it."""
    return {
        "zabbix_collectord.yaml": filled("zabbix", "zabbix_collectord.yaml", export=_yaml(_export(facts), 0)),
        "README.md": filled("zabbix", "README.md"),
    }


def _export(facts: Facts) -> dict[str, Any]:
    alarms = alarm_key(facts.root)
    heartbeat = heartbeat_key(facts.root)
    template = {
        "uuid": _uuid("template"),
        "template": TEMPLATE,
        "name": TEMPLATE,
        "description": "Alarms of collectord (COLLECTORD-MIB). A problem opens with the raise or an update of an alarm "
        "and closes with its clear, which has the same alarm id.",
        "groups": [{"name": GROUP}],
        "items": [
            _item("collectord: alarms", alarms, alarm_pattern(facts.root), _fields_back())
            | {"triggers": [_problem(alarms, number, word) for number, word in ACTIVE_SEVERITIES.items()]},
            _item("collectord: heartbeat", heartbeat, heartbeat_pattern(facts.root), r"\1")
            | {"triggers": [_silence(heartbeat, "ENABLED" if facts.heartbeat_s else "DISABLED")]},
        ],
        "tags": [{"tag": "class", "value": "security"}, {"tag": "target", "value": "collectord"}],
        "macros": [
            {
                "macro": "{$COLLECTORD.HEARTBEAT.MAX}",
                "value": f"{facts.late_s}s",
                "description": "How long no heartbeat may come: three of them, and a minute.",
            }
        ],
    }
    return {
        "zabbix_export": {
            "version": "7.0",
            "template_groups": [{"uuid": _uuid("group"), "name": GROUP}],
            "templates": [template],
        }
    }


def alarm_key(root: str) -> str:
    """Key of the item for alarms: what carries our first object; heartbeats do too, the preprocessing drops them."""
    return f'snmptrap["(collectordAlarmId|{_oid(root)}[.]1[.]1)[.]0[ =]"]'


def heartbeat_key(root: str) -> str:
    """Key of the item for heartbeats."""
    return f'snmptrap["(collectordAlarmId|{_oid(root)}[.]1[.]1)[.]0[ =].*heartbeat"]'


def alarm_pattern(root: str) -> str:
    """
    What the preprocessing looks for: the fields, from the first line of the trap's OID on.

    Texts of a trap come from the network, and the shell handler may make lines of their backslashes. So the pattern
    starts at the trap's first OID and takes id, state and severity from the very next lines; only then come texts.
    """
    numbers = "|".join(str(n.number) for n in NOTIFICATIONS if n.kind is not Kind.HEARTBEAT)
    names = "|".join(n.name for n in NOTIFICATIONS if n.kind is not Kind.HEARTBEAT)
    return (
        _start()
        + rf"[^\n]*?(?:(?:{names})|{_oid(root)}[.]0[.](?:{numbers}))(?![0-9A-Za-z.])"
        + _object(root, "collectordAlarmId", "([0-9A-Za-z-]+)")
        + _object(root, "collectordAlarmState", "([a-z]+|[0-9]+)")
        + _object(root, "collectordAlarmPerceivedSeverity", "([a-z]+|[0-9]+)")
        + _object(root, "collectordAlarmRuleName", "([0-9A-Za-z._-]+)")
        + r".*?"
        + _object(root, "collectordAlarmSummary", r"([^\n]*)")
    )


def heartbeat_pattern(root: str) -> str:
    """The heartbeat's number of active alarms."""
    number = next(n for n in NOTIFICATIONS if n.kind is Kind.HEARTBEAT)
    return (
        _start()
        + rf"[^\n]*?(?:{number.name}|{_oid(root)}[.]0[.]{number.number})(?![0-9A-Za-z.])"
        + r".*?"
        + _object(root, "collectordAlarmCount", "([0-9]+)")
    )


def _start() -> str:
    oid = r"(?:snmpTrapOID|" + _oid("1.3.6.1.6.3.1.1.4.1") + ")[.]0[ =]"
    return rf"(?s)\A(?:(?!{oid}).)*{oid}"


def _object(root: str, name: str, value: str) -> str:
    """The next line if it is an object's: ``name.0 = value`` or ``name.0 type=4  value=STRING: value``."""
    oid = rf"(?:[0-9A-Za-z-]+::{name}|{_oid(root)}[.]1[.]{position(name)})[.]0"
    before = r'(?:=[ ]|[ ]*type=[0-9]+[ ]+value=)?(?:(?:STRING|INTEGER|Gauge32|Unsigned32):[ ])?"?'
    return rf"[^\n]*\n[ ]*{oid}[ ]{before}{value}"


def _fields_back() -> str:
    """The groups of ``alarm_pattern`` in the order of FIELDS."""
    groups = {"alarmid": 1, "state": 2, "severity": 3, "rule": 4, "summary": 5}
    return ";".join(f"\\{groups[field]}" for field in FIELDS)


def _item(name: str, key: str, pattern: str, output: str) -> dict[str, Any]:
    return {
        "uuid": _uuid(f"item {name}"),
        "name": name,
        "type": "SNMP_TRAP",
        "key": key,
        "delay": "0",
        "history": "31d",
        "trends": "0",
        "value_type": "TEXT",
        "preprocessing": [{"type": "REGEX", "parameters": [pattern, output], "error_handler": "DISCARD_VALUE"}],
        "tags": [{"tag": "component", "value": "collectord"}],
    }


def problem_pattern(number: int, word: str) -> str:
    """Of the cut-down text: an alarm that is raised or changed, with this severity."""
    states = "|".join(f"{state}|{n}" for n, state in STATES.items() if state != "cleared")
    return f"^({states});({word}|{number});"


def cleared_pattern() -> str:
    """Of the cut-down text: an alarm that is cleared."""
    number = next(n for n, state in STATES.items() if state == "cleared")
    return f"^(cleared|{number});"


def _problem(key: str, number: int, word: str) -> dict[str, Any]:
    return {
        "uuid": _uuid(f"trigger {word}"),
        "expression": f'find(/{TEMPLATE}/{key},,"regexp","{problem_pattern(number, word)}")=1',
        "recovery_mode": "RECOVERY_EXPRESSION",
        "recovery_expression": f'find(/{TEMPLATE}/{key},,"regexp","{cleared_pattern()}")=1',
        "correlation_mode": "TAG_VALUE",
        "correlation_tag": "alarmid",
        "name": f"collectord: {word} alarm",
        "event_name": f"collectord: {_field('summary')}",
        "priority": PRIORITIES[word],
        "description": "One problem for each alarm id; closed by the alarm's clear.",
        "type": "MULTIPLE",
        "manual_close": "YES",
        "tags": [{"tag": field, "value": _field(field)} for field in ("alarmid", "rule")],
    }


def _silence(key: str, status: str) -> dict[str, Any]:
    return {
        "uuid": _uuid("trigger heartbeat"),
        "expression": f"nodata(/{TEMPLATE}/{key},{{$COLLECTORD.HEARTBEAT.MAX}})=1",
        "name": "collectord: no heartbeat",
        "event_name": "collectord on {HOST.NAME} has not been heard for {$COLLECTORD.HEARTBEAT.MAX}",
        "status": status,
        "priority": "HIGH",
        "description": "The collector, its way to here, or the trap handler is down: alarms may be missing.",
    }


def _field(field: str) -> str:
    """A macro for a field of the item's value."""
    at = FIELDS.index(field)
    wanted = "(.*)$" if at == len(FIELDS) - 1 else "([^;]*);"
    return f'{{{{ITEM.VALUE}}.regsub("^{_FIELD * at}{wanted}","\\1")}}'


def _oid(numbers: str) -> str:
    """The OID with its dots; net-snmp writes its first number as a word where it knows no module at all."""
    first, _, rest = numbers.partition(".")
    return f"(?:[.]{first}|iso)[.]{rest.replace('.', '[.]')}"


def _uuid(what: str) -> str:
    """A version 4 UUID as Zabbix writes it, always the same for the same thing, so that an import updates."""
    digest = hashlib.sha256(f"collectord zabbix {what}".encode()).digest()
    return UUID(bytes=digest[:16], version=4).hex


def _yaml(value: Any, depth: int) -> str:
    """
    Nested dicts and lists of texts as YAML, in block style.

    Every text is single-quoted, as there nothing has a meaning but the quote itself (YAML 1.2.2 section 7.3.2).
    """
    pad = "  " * depth
    lines = []
    if isinstance(value, dict):
        for key, entry in value.items():
            if isinstance(entry, str):
                lines.append(f"{pad}{key}: {_quoted(entry)}")
            else:
                lines.append(f"{pad}{key}:\n{_yaml(entry, depth + 1)}")
    else:
        for entry in value:
            text = pad + "  " + _quoted(entry) if isinstance(entry, str) else _yaml(entry, depth + 1)
            lines.append(f"{pad}- {text[len(pad) + 2 :]}")
    return "\n".join(lines)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
