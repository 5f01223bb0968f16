"""
What the benchmarks read: a workload of four products, and the classes of input that a collector meets.

Everything is the same each time, and each message is known by the outcome that it must have.
"""

import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path

from collectord import plan
from collectord.simulation.firewalls import FIREWALLS
from collectord.simulation.senders import SEED
from collectord.simulation.traffic import Share

from .hostile import SHAPES

LONG = ("long", "hostile")
"""Classes of input whose messages are so long that a figure by the byte says more."""

Case = tuple[bytes, str]
"""A message and the outcome it must have."""

PRODUCTS: dict[str, Callable[[bytes], bool]] = {
    "all": lambda line: True,
    "FortiGate": lambda line: line.startswith(b"<189>date="),
    "Cisco ASA": lambda line: b"%ASA-" in line,
    "PAN-OS": lambda line: b",TRAFFIC," in line,
    "Check Point": lambda line: b" CEF:0|Check Point|" in line,
}

SIMULATED = 1_000
MOMENT = datetime(2026, 11, 22, tzinfo=UTC)

HOSTILE_BYTES = 2_048
LONG_KEYS = 1_000


@dataclass(frozen=True, slots=True)
class Workload:
    """Messages of all four products, and what is in them."""

    name: str
    messages: Sequence[bytes]
    failures: int
    """Of one pass: what ``failures_by_source`` must sum up to."""
    sources: int
    """That they are from."""


def simulated() -> Workload:
    """What the simulated firewalls log in turn."""
    failures: Counter[str] = Counter()
    messages = []
    shares = [Share(number, len(FIREWALLS), SEED).until(1e6, SIMULATED) for number in range(len(FIREWALLS))]
    for number, sessions in enumerate(zip(*shares, strict=True)):
        for firewall, session in zip(FIREWALLS, sessions, strict=True):
            if len(messages) < SIMULATED:
                messages.append(firewall.message(session, number, MOMENT).encode())
                failures[session.source] += not session.allowed
    return Workload("simulation", messages, failures.total(), len(+failures))


def of_file(path: Path) -> Workload:
    """
    The workload of the peer measurements.

    Its failures are those of the action and result tables of the four products; a record may stand for several.
    """
    return Workload("workload", path.read_bytes().splitlines(), 391, 262)


def octets(messages: Sequence[bytes]) -> bytes:
    """One behind the other, each behind its length (RFC 6587 section 3.4.1)."""
    return b"".join(b"%d %b" % (len(message), message) for message in messages)


def classes(setup: plan.Setup, count: int) -> dict[str, list[Case]]:
    """Classes of input, each of about so many messages; fewer of those that are long."""
    samples = _samples(setup)
    mixed = itertools.chain.from_iterable(zip(itertools.cycle(samples), _unknown(), strict=False))
    return {
        "clean: the samples of all profiles": _first(itertools.cycle(samples), count),
        "mixed: every second unknown": _first(mixed, count),
        "unknown": _first(_unknown(), count),
        "forged sources": _first(_forged_sources(), count),
        "long: a thousand unwanted keys": _first(_long_keys(), count // 20),
        "hostile: every shape, 2 KiB": _first(itertools.cycle(_hostile(setup)), count // 10),
    }


def _first(cases: Iterator[Case], count: int) -> list[Case]:
    return list(itertools.islice(cases, count))


def _samples(setup: plan.Setup) -> list[Case]:
    """The samples of all shipped profiles: what devices send."""
    return [
        (sample["raw"].encode(), sample.get("want_outcome", "session"))
        for profile in setup.profiles
        for sample in profile.values["sample"]
        if sample.get("match", True)
    ]


def _unknown() -> Iterator[Case]:
    """Syslog of something that no profile knows."""
    for number in itertools.count():
        yield f"<30>Nov 22 10:20:30 host{number % 50} app[{number}]: nothing known {number}".encode(), "unparsed"


def _forged_sources() -> Iterator[Case]:
    """A flood in which every message has a source of its own, so that every one wants a place in the counters."""
    for number in itertools.count():
        source = IPv4Address(0x0B000000 + number)
        text = f'<164>%ASA-4-106023: Deny udp src outside:{source}/53 dst inside:10.0.0.1/53 by access-group "out"'
        yield text.encode(), "session"


def _long_keys() -> Iterator[Case]:
    """Sessions that end in a thousand keys which nobody wants."""
    message = b'<189>devname="fw1" devid="FGT-EXAMPLE" logid="0000000013" type="traffic" subtype="forward" vd="root" '
    message += b'srcip=10.0.0.9 dstip=198.51.100.7 dstport=443 proto=6 action="deny" ' + b"a=b " * LONG_KEYS
    return itertools.repeat((message, "session"))


def _hostile(setup: plan.Setup) -> list[Case]:
    """What ``hostile.py`` has; the outcome is what a single message gets."""
    engine = setup.engine()
    messages = [shape.message(HOSTILE_BYTES) for shape in SHAPES]
    return [(message, json.loads(engine.parse(message, None))["Outcome"]) for message in messages]


def keys(count: int) -> Iterator[bytes]:
    """
    Three sessions for each of so many addresses, so that each counter is offered as many keys: a stranger is denied,
    one of ours is allowed out, one of ours is denied file sharing.
    """
    for number in range(count):
        low, port = number & 0xFFFFFF, 1 + number % 65_535
        inside = b"10.%d.%d.%d" % (low >> 16, low >> 8 & 0xFF, low & 0xFF)
        outside = b"11.%d.%d.%d" % (low >> 16, low >> 8 & 0xFF, low & 0xFF)
        yield (
            b'<164>%%ASA-4-106023: Deny tcp src outside:%b/4000 dst inside:10.0.0.5/%d by access-group "in" [0x0, 0x0]'
            % (outside, port)
        )
        yield (
            b"<166>%%ASA-6-302013: Built outbound TCP connection %d for outside:%b/%d (%b/%d) to inside:%b/4000 "
            b"(192.0.2.1/4000)" % (number, outside, port, outside, port, inside)
        )
        yield (
            b'<164>%%ASA-4-106023: Deny tcp src inside:%b/4000 dst servers:10.0.0.9/445 by access-group "in" [0x0, 0x0]'
            % inside
        )
