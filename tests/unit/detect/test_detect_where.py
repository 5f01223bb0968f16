"""Tests on fields: what is refused, and what fits the key of an alert."""

from typing import Any

import pytest

from collectord.detect import where

VALUES: dict[str, Any] = {
    "SrcIpAddr": "192.0.2.7",
    "DstPortNumber": 445,
    "DvcAction": "Drop ICMP",
    "role": ("dns", "lb"),
}


@pytest.mark.parametrize(
    ("tests", "want"),
    [
        ({}, True),
        ({"SrcIpAddr": "192.0.2.7"}, True),
        ({"SrcIpAddr": ["10.0.0.0/8", "192.0.2.0/24"]}, True),
        ({"SrcIpAddr": {"not": "192.0.2.0/24"}}, False),
        ({"SrcIpAddr": "2001:db8::/32"}, False),
        ({"DstIpAddr": "0.0.0.0/0"}, False),
        ({"DstIpAddr": {"not": "0.0.0.0/0"}}, True),
        ({"DstPortNumber": 445}, True),
        ({"DstPortNumber": [139, "440-450"]}, True),
        ({"DstPortNumber": {"not": "440-450"}}, False),
        ({"DvcAction": "Drop"}, False),
        ({"DvcAction": "Drop ICMP", "DstPortNumber": 139}, False),
        ({"SrcIpAddr": {"differs": "DstIpAddr"}}, True),
        ({"role": "lb"}, True),
        ({"role": "scanner"}, False),
    ],
)
def test_fits(tests: dict[str, Any], want: bool) -> None:
    """Equality, lists, networks, ranges, negation, difference."""
    assert want == where.fits(tests, VALUES)


def test_internal_is_filled_in() -> None:
    """Wherever an address may stand."""
    tests = {"SrcIpAddr": {"not": "internal"}, "DstIpAddr": ["192.0.2.1", "internal"], "DvcAction": "internal"}
    assert {
        "SrcIpAddr": {"not": ["10.0.0.0/8"]},
        "DstIpAddr": ["192.0.2.1", "10.0.0.0/8"],
        "DvcAction": "internal",
    } == where.resolved(tests, ["10.0.0.0/8"])


@pytest.mark.parametrize(
    ("tests", "want"),
    [
        ({"Source": "x"}, "Source: expected the ASIM name of a field that rules may use"),
        ({"DstPortNumber": "high"}, 'DstPortNumber: expected a port, or a range such as "5800-5810"'),
        ({"DstPortNumber": "9-1"}, 'DstPortNumber: expected a port, or a range such as "5800-5810"'),
        ({"DstPortNumber": 65_536}, 'DstPortNumber: expected a port, or a range such as "5800-5810"'),
        ({"SrcIpAddr": {"not": "all"}}, "SrcIpAddr.not: expected an address"),
        ({"SrcIpAddr": {"differs": "x"}}, "SrcIpAddr.differs: expected the ASIM name"),
        ({"SrcIpAddr": {"differs": "SrcIpAddr"}}, "SrcIpAddr.differs: expected another field that holds an address"),
        (
            {"SrcPortNumber": {"differs": "SrcIpAddr"}},
            "SrcPortNumber.differs: expected another field that holds a port",
        ),
        ({"SrcIpAddr": {"is": "x"}}, "SrcIpAddr: expected { not = ... } or { differs = ... }"),
        ({"SrcIpAddr": "::ffff:192.0.2.1"}, "SrcIpAddr: expected an address"),
        ({"SrcIpAddr": "fe80::1%eth0"}, "SrcIpAddr: expected an address"),
        ({"SrcIpAddr": "192.0.2.0/255.255.255.0"}, "SrcIpAddr: expected an address"),
        ({"EventResult": "Failed"}, 'EventResult: expected one of Success, Partial, Failure, NA, got "Failed"'),
        (
            {"DvcAction": {"not": ["Deny", "drop"]}},
            "DvcAction.not: expected one of Allow, Deny, Drop, Drop ICMP, Reset,",
        ),
        ({"NetworkProtocol": "tcp"}, 'NetworkProtocol: expected the name that IANA gives it, such as "TCP", got "tcp"'),
        ({"NetworkProtocol": "17"}, 'NetworkProtocol: expected the name that IANA gives it, such as "TCP", got "17"'),
        ({"DvcAction": 1}, "DvcAction: expected text in quotes"),
        ({"blocked": "yes"}, "blocked: expected true or false"),
    ],
)
def test_refused(tests: dict[str, Any], want: str) -> None:
    """Where it stands and what was expected."""
    found: list[str] = []
    where.check(tests, lambda place, reason: found.append(f"{'.'.join(place)}: {reason}"))
    assert [want] == [line[: len(want)] for line in found]


@pytest.mark.parametrize(
    "tests",
    [
        {"SrcIpAddr": ["internal", "2001:DB8::/32", "0.0.0.0/0"], "DstIpAddr": {"differs": "SrcIpAddr"}},
        {"DvcAction": "", "NetworkDirection": ["Inbound", ""], "NetworkProtocol": ""},
        {"NetworkProtocol": ["TCP", "IPv6-ICMP", "EIGRP", "Sprite-RPC"], "DvcAction": ["Drop ICMP", "Reset Source"]},
    ],
)
def test_approved(tests: dict[str, Any]) -> None:
    """Any spelling of a network, any protocol, any word of a closed list."""
    found: list[str] = []
    where.check(tests, lambda place, reason: found.append(f"{'.'.join(place)}: {reason}"))
    assert found == []
