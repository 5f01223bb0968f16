"""
Tests on the fields of a session, as rules and exempts write them; the engine reads the same (``condition.rs``).

    where = { EventResult = "Failure", DstPortNumber = [139, "5800-5810"], SrcIpAddr = { not = "internal" } }

A value or a list of which one must fit: text for text fields (exact; where a field has a closed list of words, one of
these), a number or a ``"from-to"`` range for ports, an address or network for addresses. ``{ not = ... }`` turns it
round (a field without a value fits then), ``{ differs = "DstIpAddr" }`` wants another value than that field has.
``internal`` stands for the site's own networks.

Here the tests are checked, and tried on the key of an alert.
"""

from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv6Network, ip_address, ip_network
from typing import Any

from collectord.detect import csv_file
from collectord.fields import FIELD_WORDS, PROTOCOLS, RULE_FIELDS, is_number_field
from collectord.model import KeyValue

INTERNAL = "internal"

FLAGS = ("blocked",)
"""What is true or false about a session, and no field of it."""

Wrong = Callable[[tuple[str, ...], str], None]


def fields(tests: Mapping[str, Any]) -> set[str]:
    """The names that the tests look at."""
    compared = {value["differs"] for value in tests.values() if isinstance(value, Mapping) and "differs" in value}
    return {*tests, *compared}


def check(tests: Mapping[str, Any], wrong: Wrong, *, also: Sequence[str] = ()) -> None:
    """
    Tells what is wrong with tests.

    Args:
        tests: By name.
        wrong: Takes where it stands (from the name on), and what was expected there.
        also: Names beside the fields that rules may use; their values are text.
    """
    for name, value in tests.items():
        if name in FLAGS:
            if not isinstance(value, bool):
                wrong((name,), "expected true or false")
        elif name not in RULE_FIELDS and name not in also:
            wrong((name,), "expected the ASIM name of a field that rules may use")
        else:
            _check_test(name, value, (name,), wrong)


def resolved(tests: Mapping[str, Any], internal_networks: Sequence[str]) -> dict[str, Any]:
    """The tests with ``internal`` replaced by the networks."""
    return {name: _resolved(value, internal_networks) if _is_address(name) else value for name, value in tests.items()}


def fits(tests: Mapping[str, Any], values: Mapping[str, KeyValue | Sequence[str]]) -> bool:
    """
    Whether values pass all tests (which :func:`check` approved and :func:`resolved` filled in).

    A name without a value passes only what is turned round. Where a value is a sequence, one of it must fit.
    """
    return all(_fits(name, test, values) for name, test in tests.items())


def is_network(text: str) -> bool:
    """
    Whether it is an address or a network that holds the addresses of sessions.

    Those have no IPv4 in the form of IPv6, and no interface (``%eth0``).
    """
    try:
        network = ip_network(text)
    except ValueError:
        return False
    prefix = text.partition("/")[2]
    mapped = isinstance(network, IPv6Network) and network.network_address.ipv4_mapped is not None
    return not mapped and "%" not in text and (not prefix or prefix.isdigit())


def _is_address(name: str) -> bool:
    return name.endswith("IpAddr")


def _kind(name: str) -> str:
    """What a field holds."""
    return "an address" if _is_address(name) else "a port" if is_number_field(name) else "text"


def _check_test(name: str, value: Any, place: tuple[str, ...], wrong: Wrong) -> None:
    if isinstance(value, Mapping):
        if set(value) == {"not"}:
            _check_test(name, value["not"], (*place, "not"), wrong)
        elif set(value) == {"differs"}:
            if value["differs"] not in RULE_FIELDS:
                wrong((*place, "differs"), "expected the ASIM name of a field that rules may use")
            elif name not in RULE_FIELDS or value["differs"] == name or _kind(value["differs"]) != _kind(name):
                wrong((*place, "differs"), f"expected another field that holds {_kind(name)}")
        else:
            wrong(place, "expected { not = ... } or { differs = ... }")
        return
    items = value if isinstance(value, list) else [value]
    if not items:
        wrong(place, "is empty")
    for item in items:
        expected = _expected(name, item)
        if expected:
            wrong(place, f"expected {expected}")
            return


def _expected(name: str, item: Any) -> str:
    """What a value of this name looks like; empty if it does."""
    if is_number_field(name):
        return "" if _range(item) else 'a port, or a range such as "5800-5810"'
    if not isinstance(item, str):
        return "text in quotes"
    if _is_address(name) and item != INTERNAL and not is_network(item):
        return f'an address, a network such as "10.0.0.0/8", or "{INTERNAL}", got {csv_file.shown(item)}'
    # The key of an alert has the empty text where its sessions had no word.
    if name in FIELD_WORDS and item and item not in FIELD_WORDS[name]:
        return f"one of {', '.join(FIELD_WORDS[name])}, got {csv_file.shown(item)}"
    if name == "NetworkProtocol":
        right = [known for known in PROTOCOLS if known.casefold() == item.casefold()]
        if item.isdigit() or right not in ([], [item]):
            return f'the name that IANA gives it, such as "{(right or PROTOCOLS)[0]}", got {csv_file.shown(item)}'
    return ""


def _range(item: Any) -> tuple[int, int] | None:
    if isinstance(item, bool):
        return None
    if isinstance(item, int):
        return (item, item) if 0 <= item <= 65_535 else None
    first, dash, last = str(item).partition("-") if isinstance(item, str) else ("", "", "")
    if not (dash and all(text.strip().isascii() and text.strip().isdigit() for text in (first, last))):
        return None
    low, high = int(first.strip()[:9]), int(last.strip()[:9])
    return (low, high) if low <= high <= 65_535 else None


def _resolved(value: Any, internal_networks: Sequence[str]) -> Any:
    if isinstance(value, Mapping):
        return {key: _resolved(inner, internal_networks) if key == "not" else inner for key, inner in value.items()}
    items = value if isinstance(value, list) else [value]
    if INTERNAL not in items:
        return value
    return [*(item for item in items if item != INTERNAL), *internal_networks]


def _fits(name: str, test: Any, values: Mapping[str, KeyValue | Sequence[str]]) -> bool:
    if isinstance(test, Mapping):
        if "not" in test:
            return not _fits(name, test["not"], values)
        return values.get(name) != values.get(test["differs"])
    value = values.get(name)
    if value is None:
        return False
    wanted = test if isinstance(test, list) else [test]
    if isinstance(value, int):
        ranges = (_range(item) for item in wanted)
        return any(found is not None and found[0] <= value <= found[1] for found in ranges)
    held = [value] if isinstance(value, str) else value
    if _is_address(name):
        return any(ip_address(text) in ip_network(item) for text in held for item in wanted)
    return any(text == item for text in held for item in wanted)
