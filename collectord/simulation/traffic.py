"""
The sessions of a small company, and the story that they tell: an ordinary day, then an attack, then quiet.

Outside are 198.51.100.0/24 and 203.0.113.0/24, the company's public addresses are 192.0.2.0/24 (all three are for
documentation, RFC 5737), its inside is 10.0.0.0/8. What is drawn by lot comes from seeded generators, one per flow: the
n-th session of a flow is always the same, however fast anybody asks for it.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Literal

from collectord.model import KeyValue

Direction = Literal["outbound", "inbound", "local"]

PUBLIC_NETWORK = "192.0.2.0/24"
"""
The company's own. No configuration names it in ``internal_networks``, so what comes to it is External, but for the
products that say themselves that it is inbound.
"""

SCANNER = "203.0.113.66"
"""The address outside that tries every port it can think of."""

INFECTED = "10.1.7.23"
"""The machine inside that wants to share files with everybody."""

ATTACK_BEGINS_S = 6.0
ATTACK_ENDS_S = 16.0
"""Seconds after the start of the story; what comes before and after is an ordinary day."""

ORDINARY_PER_S = 300
SCAN_PER_S = 1_000
"""Over 5,000 failures, the limit of the rule excessive-failures, after 5 s."""
SMB_PER_S = 280
"""Over 1,000 sessions on port 445, the limit of the watchlist's row, after 4 s."""

# (weight, protocol, port) of what people do. No port of these is watched, so an ordinary day raises no alert.
_OUTBOUND = ((70, "tcp", 443), (12, "tcp", 80), (6, "tcp", 993), (4, "tcp", 587), (5, "udp", 3478), (3, "udp", 4500))
# What strangers try all day, from many addresses and in small numbers.
_NOISE_PORTS = (22, 23, 80, 1433, 3306, 5900, 8080, 8443)
_WEB_SERVERS = 6
_CLIENT_PORTS = (49_152, 65_535)
"""RFC 6335 section 6: the dynamic ports."""


@dataclass(frozen=True, slots=True)
class Session:
    """A connection that a firewall allowed or denied."""

    source: str
    source_port: int
    destination: str
    destination_port: int
    protocol: Literal["tcp", "udp"]
    direction: Direction
    allowed: bool
    seconds: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Flow:
    """Sessions of one kind at a steady rate."""

    name: str
    make: Callable[[Random], Session]
    per_s: float
    """Sessions a second, over all firewalls."""
    begins_s: float = 0.0
    ends_s: float = math.inf

    def due(self, elapsed_s: float, share: float = 1.0) -> int:
        """Sessions from the start of the story until ``elapsed_s``, for a ``share`` of the rate."""
        lasted_s = max(0.0, min(elapsed_s, self.ends_s) - self.begins_s)
        return math.floor(lasted_s * self.per_s * share)


def _ordinary(lot: Random) -> Session:
    kind = lot.random()
    if kind < 0.04:
        return _noise(lot)
    if kind < 0.19:
        return _visit(lot)
    return _errand(lot)


def _errand(lot: Random) -> Session:
    """Somebody inside uses a service outside."""
    _, protocol, port = lot.choices(_OUTBOUND, weights=[weight for weight, _, _ in _OUTBOUND])[0]
    return Session(
        source=f"10.1.{lot.randint(1, 8)}.{lot.randint(10, 59)}",
        source_port=lot.randint(*_CLIENT_PORTS),
        destination=f"198.51.100.{lot.randint(1, 254)}",
        destination_port=port,
        protocol="udp" if protocol == "udp" else "tcp",
        direction="outbound",
        allowed=lot.random() < 0.98,
        seconds=lot.randint(0, 90),
        sent_bytes=lot.randint(300, 9_000),
        received_bytes=lot.randint(800, 400_000),
    )


def _visit(lot: Random) -> Session:
    """Somebody outside visits one of the company's web servers."""
    return Session(
        source=f"203.0.113.{lot.randint(100, 254)}",
        source_port=lot.randint(*_CLIENT_PORTS),
        destination=f"192.0.2.{9 + lot.randint(1, _WEB_SERVERS)}",
        destination_port=443,
        protocol="tcp",
        direction="inbound",
        allowed=True,
        seconds=lot.randint(0, 30),
        sent_bytes=lot.randint(300, 4_000),
        received_bytes=lot.randint(2_000, 90_000),
    )


def _noise(lot: Random) -> Session:
    """Somebody outside tries a door."""
    return Session(
        source=f"203.0.113.{lot.randint(100, 254)}",
        source_port=lot.randint(*_CLIENT_PORTS),
        destination=f"192.0.2.{lot.randint(1, 254)}",
        destination_port=lot.choice(_NOISE_PORTS),
        protocol="tcp",
        direction="inbound",
        allowed=False,
    )


def _scan(lot: Random) -> Session:
    """One address outside, any host, any port: denied every time."""
    return Session(
        source=SCANNER,
        source_port=lot.randint(*_CLIENT_PORTS),
        destination=f"192.0.2.{lot.randint(1, 254)}",
        destination_port=lot.randint(1, 10_000),
        protocol="tcp",
        direction="inbound",
        allowed=False,
    )


def _smb(lot: Random) -> Session:
    """One machine inside, any neighbour, always the port of file sharing."""
    return Session(
        source=INFECTED,
        source_port=lot.randint(*_CLIENT_PORTS),
        destination=f"10.{lot.randint(2, 5)}.{lot.randint(0, 255)}.{lot.randint(1, 254)}",
        destination_port=445,
        protocol="tcp",
        direction="local",
        allowed=False,
    )


ORDINARY = Flow("ordinary", _ordinary, ORDINARY_PER_S)
SCAN = Flow("scan", _scan, SCAN_PER_S, ATTACK_BEGINS_S, ATTACK_ENDS_S)
SMB = Flow("smb", _smb, SMB_PER_S, ATTACK_BEGINS_S + 1, ATTACK_ENDS_S)

STORY = (ORDINARY, SCAN, SMB)

EXPECTED_ALERTS: dict[str, dict[str, KeyValue]] = {
    "excessive-failures": {"SrcIpAddr": SCANNER},
    "port-misuse": {"Name": "Burst of SMB sessions", "DstPortNumber": 445, "NetworkProtocol": "TCP"},
}
"""What the shipped rules must find in the story: rule and key."""


class Share:
    """
    What one of several firewalls sees of the story.

    Args:
        number: The firewall's, from 0; each draws other sessions.
        firewalls: How many share the story.
        seed: Of everything that is drawn by lot.
    """

    def __init__(self, number: int, firewalls: int, seed: int) -> None:
        self._share = 1 / firewalls
        # A simulation must be the same each time; nobody has to be unable to guess it.
        self._lots = [Random(f"{seed} {number} {flow.name}") for flow in STORY]  # noqa: S311
        self._drawn = [0] * len(STORY)

    def until(self, elapsed_s: float, most: int) -> Iterator[Session]:
        """
        The sessions that are due since the last call, at most ``most``; what is over comes with the next call.

        Args:
            elapsed_s: Seconds since the start of the story.
            most: Bound for one call, so that a firewall that was held up does not make up for it in one burst.
        """
        # The flow that is furthest behind goes first.
        waiting = [flow.due(elapsed_s, self._share) - drawn for flow, drawn in zip(STORY, self._drawn, strict=True)]
        for _ in range(min(most, sum(waiting))):
            turn = max(range(len(STORY)), key=waiting.__getitem__)
            waiting[turn] -= 1
            self._drawn[turn] += 1
            yield STORY[turn].make(self._lots[turn])
