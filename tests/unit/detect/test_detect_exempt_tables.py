"""The exempts of a rule file: what can be decided, and by whom."""

from datetime import UTC, datetime
from typing import Any

import pytest

from collectord.detect import exempt_tables
from collectord.detect.rules import Exempt

KEY = ("SrcIpAddr",)
PORTS = ("Name", "DstPortNumber", "NetworkProtocol")
END = datetime(2026, 12, 31, tzinfo=UTC)


def read(
    tests: dict[str, Any], key_fields: tuple[str, ...] = KEY, *, counting: bool = True
) -> tuple[tuple[Exempt, ...], list[tuple[str, str, str]]]:
    """The exempts of one table, and what is wrong with it as (dotted place, reason, hint)."""
    problems: list[tuple[str, str, str]] = []

    def wrong(place: tuple[str | int, ...], reason: str, hint: str) -> None:
        problems.append((".".join(map(str, place)), reason, hint))

    return exempt_tables.read([{"reason": "r", **tests}], key_fields, counting=counting, wrong=wrong), problems


@pytest.mark.parametrize(
    ("tests", "key_fields"),
    [
        ({"SrcIpAddr": "192.0.2.1", "site": "north", "role": "dns", "until": END}, KEY),
        ({"DstPortNumber": 443, "device": "fw-1", "blocked": True}, KEY),
        ({"DstPortNumber": 443, "SrcIpAddr": "192.0.2.1"}, KEY),
        ({"Name": "Burst", "DstPortNumber": 445, "site": "north", "until": END}, PORTS),
        ({"device": "fw-1", "until": END}, ("Dvc",)),
    ],
)
def test_what_an_alert_or_a_session_says(tests: dict[str, Any], key_fields: tuple[str, ...]) -> None:
    """All by the key of the alert, or all by the session."""
    (found,), problems = read(tests, key_fields)
    assert problems == []
    assert found.where == {name: value for name, value in tests.items() if name != "until"}
    assert (found.until_ns is None) == ("until" not in tests)


@pytest.mark.parametrize(
    ("tests", "key_fields", "counting", "want"),
    [
        (
            {"SrcIpAddr": "192.0.2.1", "DstPortNumber": 443, "until": END}, KEY, True,
            ("exempt.0.DstPortNumber", "no alert of this rule says DstPortNumber, so with an end this never fits",
             "the alerts of this rule say SrcIpAddr, role, site; or no until"),
        ),
        (
            {"SrcIpAddr": {"differs": "DstIpAddr"}, "until": END}, KEY, True,
            ("exempt.0.SrcIpAddr", "no alert of this rule says DstIpAddr, so with an end this never fits",
             "the alerts of this rule say SrcIpAddr, role, site; or no until"),
        ),
        (
            {"role": "scanner"}, PORTS, True,
            ("exempt.0.role", "a role is that of SrcIpAddr, which no alert of this rule says",
             "the alerts of this rule say DstPortNumber, Name, NetworkProtocol, site"),
        ),
        (
            {"site": "north", "DstPortNumber": 443}, KEY, True,
            ("exempt.0.site", "no session says this, and no alert of this rule says DstPortNumber: both at once never "
             "fit", "the alerts of this rule say SrcIpAddr, role, site"),
        ),
        (
            {"Name": "Burst", "DvcAction": "Deny"}, PORTS, True,
            ("exempt.0.Name", "no session says this, and no alert of this rule says DvcAction: both at once never fit",
             "the alerts of this rule say DstPortNumber, Name, NetworkProtocol, site"),
        ),
        (
            {"SrcIpAddr": "192.0.2.1"}, ("Dvc",), False,
            ("exempt.0.SrcIpAddr", "no alert of this rule says SrcIpAddr, so this never fits",
             "the alerts of this rule say Dvc, device, site"),
        ),
    ],
)  # fmt: skip
def test_what_nobody_can_decide(
    tests: dict[str, Any], key_fields: tuple[str, ...], counting: bool, want: tuple[str, str, str]
) -> None:
    """It would never fit, or the engine would not know the word: refused, with what may be tested."""
    _, problems = read(tests, key_fields, counting=counting)
    assert problems == [want]


def test_a_wrong_test_is_told_once() -> None:
    """What it is a test of is no question then."""
    _, problems = read({"DstPortNumber": "no port", "site": "north"})
    assert [place for place, *_ in problems] == ["exempt.0.DstPortNumber"]


@pytest.mark.parametrize("reason", ["", 5, None, "x" * 256, "two\nlines", "\x1b[2J"])
def test_a_reason_is_one_line(reason: object) -> None:
    """It stands in the reason of a clear, which people and receivers read."""
    _, problems = read({"SrcIpAddr": "192.0.2.1", "reason": reason})
    assert problems == [("exempt.0.reason", "expected a text that says why", "one line of at most 255 characters")]
