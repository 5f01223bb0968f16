"""The MIB's source: numbers, order, root, standalone form. Compilers look at it in tests/e2e."""

import re
from pathlib import Path

import pytest

from collectord.outputs import mib

NOTIFICATIONS = {
    "collectordAlarmRaise": 1,
    "collectordAlarmClear": 2,
    "collectordAlarmUpdate": 3,
    "collectordDeviceSilent": 10,
    "collectordDeviceResumed": 11,
    "collectordDeviceClockSkew": 12,
    "collectordDeviceClockSkewClear": 13,
    "collectordCollectorLoss": 20,
    "collectordCollectorLossClear": 21,
    "collectordOutputDown": 22,
    "collectordOutputUp": 23,
    "collectordHeartbeat": 30,
}


def test_the_default_is_the_shipped_file() -> None:
    assert mib.text() == mib.text("1.3.6.1.4.1.32473.1")
    assert "collectordEnterprise    OBJECT IDENTIFIER ::= { enterprises 32473 }" in mib.text()


def test_every_notification_has_every_object_in_order_of_the_numbers() -> None:
    """Managers address varbinds by position."""
    text = mib.text()
    objects = re.findall(r"^(\w+) OBJECT-TYPE.*?::= \{ collectordObjects (\d+) \}", text, re.MULTILINE | re.DOTALL)
    assert [int(number) for _, number in objects] == list(range(1, 18))
    lists = re.findall(r"^(\w+) (?:NOTIFICATION-TYPE|OBJECT-GROUP)\n    OBJECTS \{(.*?)\}", text, re.M | re.S)
    assert [name for name, _ in lists] == [*NOTIFICATIONS, "collectordAlarmObjectGroup"]
    for _, names in lists:
        assert re.findall(r"\w+", names) == [name for name, _ in objects]


def test_numbers_of_the_notifications() -> None:
    """None is ever used for another; each is in a group."""
    text = mib.text()
    numbers = re.findall(r"^(\w+) NOTIFICATION-TYPE.*?::= \{ collectordNotifications (\d+) \}", text, re.M | re.S)
    assert {name: int(number) for name, number in numbers} == NOTIFICATIONS
    groups = re.findall(r"^\w+ NOTIFICATION-GROUP\n    NOTIFICATIONS \{(.*?)\}", text, re.M | re.S)
    assert [name for names in groups for name in re.findall(r"\w+", names)] == list(NOTIFICATIONS)


def test_the_readme_lists_what_the_module_has(repository: Path) -> None:
    """Names and numbers of its two tables are those of the module, all of them."""
    section = (repository / "README.md").read_text().partition("## SNMP notifications\n")[2].partition("\n## ")[0]
    objects = re.findall(r"^(\w+) OBJECT-TYPE.*?::= \{ collectordObjects (\d+) \}", mib.text(), re.M | re.S)
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \|", section, re.MULTILINE)
    assert rows == [*((name, str(number)) for name, number in NOTIFICATIONS.items()), *objects]


def test_comments_for_those_who_convert_the_module() -> None:
    """Each notification has the five lines between its description and its number; arguments are varbinds from 0 on."""
    for body in re.findall(r"^\w+ NOTIFICATION-TYPE\n(.*?)::=", mib.text(), re.M | re.S):
        found = dict(re.findall(r"^    --#(\w+) (.*)$", body, re.MULTILINE))
        assert list(found) == ["TYPE", "SUMMARY", "ARGUMENTS", "SEVERITY", "STATE"]
        arguments = [int(number) for number in found["ARGUMENTS"].strip("{}").split(",")]
        assert found["SUMMARY"].count("%s") == len(arguments)
        assert set(arguments) <= set(range(17))
        assert "--" not in found["SUMMARY"]
        assert found["SEVERITY"] in {"NORMAL", "WARNING", "MINOR", "MAJOR"}
        assert found["STATE"] in {"OPERATIONAL", "DEGRADED", "NONOPERATIONAL"}


@pytest.mark.parametrize(
    ("root", "nodes", "own"),
    [
        ("1.3.6.1.4.1.99999", [], "enterprises 99999"),
        ("1.3.6.1.4.1.99999.4", ["{ enterprises 99999 }"], "collectordEnterprise 4"),
        (
            "1.3.6.1.4.1.99999.7.0.4294967295",
            ["{ enterprises 99999 }", "{ collectordEnterprise 7 }", "{ collectordBranch2 0 }"],
            "collectordBranch3 4294967295",
        ),
    ],
)
def test_root_is_rewritten(root: str, nodes: list[str], own: str) -> None:
    text = mib.text(root)
    assert f"    ::= {{ {own} }}\n" in text
    before = text.partition("collectordNotifications OBJECT")[0]
    assert re.findall(r"OBJECT IDENTIFIER ::= (\{.*?\})", before) == nodes
    assert "32473 }" not in text


def test_standalone_imports_nothing_and_starts_at_iso() -> None:
    text = mib.text(standalone=True)
    assert "IMPORTS" not in text
    assert "FROM SNMPv2" not in text
    assert "{ iso org(3) dod(6) internet(1) private(4) enterprises(1) 32473 }" in text
    assert "{ iso org(3) dod(6) internet(1) private(4) enterprises(1) 99999 }" in mib.text("1.3.6.1.4.1.99999", True)


@pytest.mark.parametrize(
    "root",
    [
        "",
        "enterprises.1",
        "1.3.6.1.4.1",
        "1.3.6.1.2.1.1",
        ".1.3.6.1.4.1.1",
        "1.3.6.1.4.1.4294967296",
        "1.3.6.1.4.1.1.2.3.4.5.6.7",
        "1.3.6.1.4.1.1\n",
        "1.3.6.1.4.1.٣",
    ],
)
def test_other_roots_are_refused(root: str) -> None:
    with pytest.raises(ValueError, match="root"):
        mib.text(root)


def test_a_file_that_was_changed_beside_the_code_is_noticed() -> None:
    with pytest.raises(AssertionError, match="exactly once"):
        mib._replaced("a b a", "a", "c")
