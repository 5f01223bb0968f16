"""
How many messages per second the engine reads and counts, on one core.

Each benchmark checks its own answer: the ledger must say what became of every message. `make bench` prints the rates.
"""

import itertools
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address

import pytest

from collectord import plan
from collectord.engine import BUILD, Engine

NOW_NS = 1_800_000_000_000_000_000
MESSAGES = 200_000
CHUNK_BYTES = 256 * 1024  # As much as a busy TCP connection hands over at once.

Case = tuple[bytes, str]
"""A message and the outcome it must have."""


@pytest.fixture(scope="module")
def setup() -> plan.Setup:
    """The shipped configuration, profiles and rules."""
    if BUILD != "release":
        pytest.fail(f"the engine is a {BUILD} build, expected release: run make bench")
    return plan.load(None)


def _samples(setup: plan.Setup) -> list[Case]:
    """The samples of all shipped profiles: what firewalls send."""
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
    message += b'srcip=10.0.0.9 dstip=198.51.100.7 dstport=443 proto=6 action="deny" ' + b"a=b " * 1000
    while True:
        yield message, "session"


def _run(engine: Engine, cases: Sequence[Case], name: str) -> None:
    """Feeds the messages over a stream in chunks, checks the ledger, prints the rate."""
    wire = b"".join(b"%d %s" % (len(message), message) for message, _ in cases)
    stream = engine.connect(1, "192.0.2.1")
    start = time.perf_counter()
    for at in range(0, len(wire), CHUNK_BYTES):
        chunk = bytearray(wire[at : at + CHUNK_BYTES])
        engine.feed(stream, chunk, len(chunk), NOW_NS)
    elapsed_s = time.perf_counter() - start
    engine.disconnect(stream, NOW_NS)

    ledger = {outcome: messages for _, outcome, messages, _ in engine.changes(NOW_NS).ledger if messages}
    assert ledger == Counter(outcome for _, outcome in cases)
    rate, megabytes = len(cases) / elapsed_s, len(wire) / elapsed_s / 1e6
    print(f"\n{name:16} {rate:12,.0f} messages/s {megabytes:8,.0f} MB/s {elapsed_s * 1e9 / len(wire):6.1f} ns/byte")


def test_clean(setup: plan.Setup) -> None:
    """Known messages of all products, in turn."""
    _run(setup.engine(), list(itertools.islice(itertools.cycle(_samples(setup)), MESSAGES)), "clean")


def test_unknown(setup: plan.Setup) -> None:
    """Nothing that any profile takes."""
    _run(setup.engine(), list(itertools.islice(_unknown(), MESSAGES)), "unknown")


def test_mixed(setup: plan.Setup) -> None:
    """Known and unknown by turns."""
    pairs = zip(itertools.cycle(_samples(setup)), _unknown(), strict=False)
    _run(setup.engine(), list(itertools.islice(itertools.chain.from_iterable(pairs), MESSAGES)), "mixed")


def test_forged_sources(setup: plan.Setup) -> None:
    """More keys than the counters hold: each message drives another out."""
    _run(setup.engine(), list(itertools.islice(_forged_sources(), MESSAGES)), "forged sources")


def test_long_keys(setup: plan.Setup) -> None:
    """Long messages cost in proportion to their length."""
    _run(setup.engine(), list(itertools.islice(_long_keys(), MESSAGES // 20)), "long")
