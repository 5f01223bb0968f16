"""Whatever bytes come from the wire: nothing raises, nothing vanishes, and it does not matter how they were cut."""

import json
import random
import socket
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectord import plan
from collectord.engine import Engine
from collectord.model import OUTCOMES

NOW_NS = 1_800_000_000_000_000_000

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(scope="module")
def engine(setup: plan.Setup) -> Engine:
    """One for all examples: each takes away what it counted."""
    return setup.engine()


@pytest.fixture(scope="module")
def wires(messages: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Bytes of a connection: sound frames of both kinds, frames that are not, and rubbish."""
    frames = st.one_of(
        messages.map(lambda message: b"%d %s" % (len(message), message)),
        messages.map(lambda message: message + b"\n"),
        messages.map(lambda message: message + b"\r\n"),
        messages.map(lambda message: message + b"\0"),
        messages.map(lambda message: b"%d %s" % (len(message) + 3, message)),
        st.sampled_from([b"\n", b" ", b"0 ", b"9999999 ", b"99999999 ", b"1", b"12 ", b"-1 x", b"\0\0", b"65537 x"]),
        st.binary(max_size=50),
    )
    return st.lists(frames, max_size=8).map(b"".join)


def feed(engine: Engine, pieces: list[bytes]) -> int:
    """A connection that brings these bytes, and ends; returns the frames that ended."""
    stream = engine.connect(1, "192.0.2.1")
    ended = sum(engine.feed(stream, bytearray(piece), len(piece), NOW_NS) for piece in pieces)
    return ended + engine.disconnect(stream, NOW_NS)


def cut(wire: bytes, places: list[int]) -> list[bytes]:
    """The pieces between the places."""
    ends = sorted(place % (len(wire) + 1) for place in places)
    return [wire[start:end] for start, end in zip([0, *ends], [*ends, len(wire)], strict=True)]


@given(data=st.data())
def test_parse_always_answers(
    engine: Engine, messages: st.SearchStrategy[bytes], data: st.DataObject, gained: Callable[[Engine], Any]
) -> None:
    message = data.draw(messages)
    answer = json.loads(engine.parse(message, data.draw(st.none() | st.sampled_from(["192.0.2.1", "2001:db8::1"]))))

    assert answer["Outcome"] in OUTCOMES
    assert answer["Outcome"] != "panic"
    assert bool(answer["Sessions"]) == (answer["Outcome"] == "session")
    assert gained(engine) == ({}, {}), "asking counts nothing"


@given(data=st.data())
def test_each_datagram_has_one_outcome(
    engine: Engine, messages: st.SearchStrategy[bytes], data: st.DataObject, gained: Callable[[Engine], Any]
) -> None:
    """And it is the one that `parse` tells."""
    datagrams = data.draw(st.lists(messages, max_size=10))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as empty:
        taken, emptied = engine.receive(
            0, empty.fileno(), NOW_NS, len(datagrams) + 1, [(each, "192.0.2.1") for each in datagrams]
        )
    _, ledger = gained(engine)

    assert (taken, emptied) == (len(datagrams), True)
    assert sum(ledger[0, outcome] for outcome in OUTCOMES) == len(datagrams)
    assert sum(ledger[0, outcome, "bytes"] for outcome in OUTCOMES) == sum(map(len, datagrams))
    told = [json.loads(engine.parse(datagram, None))["Outcome"] for datagram in datagrams]
    assert {outcome: ledger[0, outcome] for outcome in told} == {outcome: told.count(outcome) for outcome in told}


@given(data=st.data(), places=st.lists(st.integers(0, 10_000), max_size=12))
def test_pieces_give_what_the_whole_gives(
    engine: Engine,
    wires: st.SearchStrategy[bytes],
    data: st.DataObject,
    places: list[int],
    gained: Callable[[Engine], Any],
) -> None:
    """The same rows and the same ledger, and each frame that ended has one outcome."""
    wire = data.draw(wires)
    ended = feed(engine, [wire])
    whole = gained(engine)
    assert ended == sum(whole[1][1, outcome] for outcome in OUTCOMES)
    assert whole[1][1, "panic"] == 0

    assert feed(engine, cut(wire, places)) == ended
    assert gained(engine) == whole
    assert feed(engine, [wire[at : at + 1] for at in range(len(wire))]) == ended
    assert gained(engine) == whole


@given(data=st.data(), places=st.lists(st.integers(0, 10_000), max_size=12))
def test_nothing_vanishes_at_the_bounds(
    setup: plan.Setup,
    wires: st.SearchStrategy[bytes],
    data: st.DataObject,
    places: list[int],
    gained: Callable[[Engine], Any],
) -> None:
    """With room for hardly anything, what is dropped is told; afterwards there is as much room as before."""
    tight = replace(setup.plan, message_bytes=40, unfinished_bytes=100, counters=())
    engine = Engine(tight, ())
    for _ in range(3):
        ended = feed(engine, cut(data.draw(wires), places))
        _, ledger = gained(engine)
        assert ended == sum(ledger[1, outcome] for outcome in OUTCOMES)
    line = b"<13>h app: x\n"
    assert feed(engine, [line[:5], line[5:]]) == 1
    assert gained(engine)[1][1, "unparsed"] == 1


@given(data=st.data(), seed=st.integers(0, 2**32))
def test_connections_at_once_give_what_they_give_alone(
    engine: Engine, wires: st.SearchStrategy[bytes], data: st.DataObject, seed: int, gained: Callable[[Engine], Any]
) -> None:
    """Pieces of several connections come in any order."""
    pieces = [cut(data.draw(wires), data.draw(st.lists(st.integers(0, 1000), max_size=5))) for _ in range(3)]
    for each in pieces:
        feed(engine, each)
    alone = gained(engine)

    streams = [engine.connect(1, "192.0.2.1") for _ in pieces]
    waiting, order = [list(each) for each in pieces], random.Random(seed)
    while any(waiting):
        number = order.choice([number for number, each in enumerate(waiting) if each])
        piece = waiting[number].pop(0)
        engine.feed(streams[number], bytearray(piece), len(piece), NOW_NS)
    for stream in streams:
        engine.disconnect(stream, NOW_NS)
    assert gained(engine) == alone
