"""
Which device an alert is about.

Tools of network management show an alarm at the thing that has it. For an alert about a device that is the device, for
an alert about traffic the one that reported it, if one reported most of it.
"""

from collections.abc import Callable, Mapping
from ipaddress import IPv6Address, ip_address
from typing import Any

from collectord.model import KeyValue

AddressOf = Callable[[str, str], str]
"""The address of a device, by site and name; empty where it is not known."""

_NAMES = ("Dvc", "DvcHostname", "DvcId", "DvcIpAddr")
"""Fields of a key that name a device, the most usual name first."""


def device(
    key: Mapping[str, KeyValue], site: str, details: Mapping[str, Any], address_of: AddressOf | None
) -> dict[str, str] | None:
    """
    ``name`` and ``address`` of the device; None if there is no one device.

    The address is empty where it is not known: of a device behind a relay, for example, only the relay's is.

    Args:
        key: Of the alert.
        site: Of the alert.
        details: With the evidence, as far as there is any.
        address_of: Asked for the address where neither key nor name says it.
    """
    name = next((str(key[field]) for field in _NAMES if key.get(field)), "") or _leading(details.get("evidence"))
    if not name:
        return None
    address = plain(str(key.get("DvcIpAddr", ""))) or plain(name)
    if not address and address_of is not None:
        address = plain(address_of(site, name))
    return {"name": name, "address": address}


def plain(text: str) -> str:
    """An address in its usual form, IPv4 also where it came in an IPv6 one; empty if it is none."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return ""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def _leading(evidence: Any) -> str:
    """The device that reported more than half of what an evidence tells of."""
    if not isinstance(evidence, Mapping):
        return ""
    devices = evidence.get("top", {}).get("Dvc") or [("", 0)]
    name, count = devices[0]
    return str(name) if 2 * int(count) > int(evidence.get("messages", 0)) else ""
