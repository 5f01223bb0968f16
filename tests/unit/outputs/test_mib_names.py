"""The table of names is the MIB's."""

import re

from collectord.outputs import mib
from collectord.outputs.mib_names import ACTIVE_SEVERITIES, NOTIFICATIONS, OBJECTS, SEVERITIES, STATES, position


def _numbers(macro: str, parent: str) -> dict[str, int]:
    """Names and numbers of the module's definitions below a node."""
    pattern = rf"^(\w+) {macro}\n.*?::= \{{ {parent} (\d+) \}}"
    return {name: int(number) for name, number in re.findall(pattern, mib.text(), re.MULTILINE | re.DOTALL)}


def _labels(convention: str) -> dict[int, str]:
    definition = mib.text().partition(f"{convention} ::= TEXTUAL-CONVENTION")[2].partition("SYNTAX INTEGER {")[2]
    return {int(number): label for label, number in re.findall(r"(\w+)\((\d+)\)", definition.partition("}")[0])}


def test_notifications_are_those_of_the_module() -> None:
    defined = _numbers("NOTIFICATION-TYPE", "collectordNotifications")
    known = {each.name: each.number for each in NOTIFICATIONS}

    assert defined == known


def test_objects_are_those_of_the_module_in_its_order() -> None:
    defined = _numbers("OBJECT-TYPE", "collectordObjects")

    assert list(defined) == list(OBJECTS)
    assert defined == {name: position(name) for name in OBJECTS}


def test_labels_are_those_of_the_module() -> None:
    assert _labels("CollectordState") == STATES
    assert _labels("CollectordSeverity") == SEVERITIES
    assert set(SEVERITIES) - set(ACTIVE_SEVERITIES) == {1}


def test_an_oid_is_written_as_net_snmp_does() -> None:
    assert NOTIFICATIONS[-1].oid("1.3.6.1.4.1.99999") == ".1.3.6.1.4.1.99999.0.30"
