"""What the properties share: what firewalls send, and what becomes of it when a little is changed."""

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import strategies as st

from collectord import plan
from collectord.engine import Engine
from collectord.model import Changes

NOW_NS = 1_800_000_000_000_000_000

SETUP = plan.load(None)
SAMPLES = [sample["raw"].encode() for document in SETUP.profiles for sample in document.values["sample"]]

VALUES = [
    b"", b" ", b'"', b"'", b"\\", b"|", b"=", b",", b"<", b">", b"(", b")", b"/", b":", b"[", b"]", b"\0", b"\xff",
    b"-",    b"0", b"1", b"65535", b"65536", b"4294967296", b"18446744073709551616", b"-1", b"1e9", b"0x10", b"007",
    b"192.0.2.1", b"10.0.0.1", b"2001:db8::1", b"::ffff:192.0.2.1", b"::", b"0.0.0.0", b"256.1.1.1", b"fe80::1%eth0",
    b"tcp", b"UDP", b"6", b"58", b"Deny", b"accept", b"close", b"start", b"client-rst", b"Teardown", b"inbound",
    b"x" * 300, "ü\u2028".encode(), b"a b", b" key=value ", b"CEF:0|a|b|c|d|e|f|", b"%ASA-6-302013: ",
]  # fmt: skip

TOKEN = re.compile(rb"[A-Za-z0-9.:_-]+|[^A-Za-z0-9.:_-]")


@st.composite
def altered_samples(draw: st.DrawFn) -> bytes:
    """A sample in which a few words are exchanged, doubled or missing, or which is cut."""
    tokens = TOKEN.findall(draw(st.sampled_from(SAMPLES)))
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, max(len(tokens) - 1, 0)))
        value = draw(st.sampled_from(VALUES) | st.binary(max_size=8) | st.integers(0, 2**65).map(lambda n: b"%d" % n))
        match draw(st.integers(0, 3)):
            case 0:
                tokens[place : place + 1] = [value]
            case 1:
                tokens[place:place] = [value]
            case 2:
                del tokens[place : place + 1]
            case _:
                tokens[place:place] = tokens[place : place + draw(st.integers(1, 20))]
    message = b"".join(tokens)
    return message[: draw(st.integers(0, len(message)))] if draw(st.integers(0, 9)) == 0 else message


@pytest.fixture(scope="session")
def samples() -> list[bytes]:
    """The raw messages of all shipped samples."""
    return SAMPLES


@pytest.fixture(scope="session")
def messages() -> st.SearchStrategy[bytes]:
    """Samples, altered samples, and bytes of any kind."""
    return st.sampled_from(SAMPLES) | altered_samples() | altered_samples() | st.binary(max_size=200)


@pytest.fixture(scope="session")
def setup() -> plan.Setup:
    """The shipped configuration, profiles and rules."""
    return SETUP


@pytest.fixture(scope="session")
def gained() -> Callable[[Engine], tuple[dict[str, Counter[Any]], Counter[Any]]]:
    """Takes what an engine has counted since the last time: rows by counter, and the ledger."""

    def gained(engine: Engine) -> tuple[dict[str, Counter[Any]], Counter[Any]]:
        rows: dict[str, Counter[Any]] = {}
        ledger: Counter[Any] = Counter()
        while True:
            changes: Changes = engine.changes(NOW_NS)
            for name, found in changes.rows.items():
                sums = rows.setdefault(name, Counter())
                for _, *key, count, count_of_messages, error in found:
                    assert error == 0
                    sums[tuple(key)] += count
                    sums[(*key, "messages")] += count_of_messages
            for name, count in changes.without_key.items():
                rows.setdefault(name, Counter())["without key"] += count
            for listener, outcome, count, size in changes.ledger:
                ledger[listener, outcome] += count
                ledger[listener, outcome, "bytes"] += size
            engine.ack(changes.seq)
            if not changes.carried:
                return rows, ledger

    return gained
