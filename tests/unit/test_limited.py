"""Peers over their rate: one line when it begins, one when it ends, and the list for the status."""

import json
from io import StringIO
from typing import Any

import pytest

from collectord import log as logs
from collectord.limited import LimitedPeers
from collectord.model import NS_PER_S, Changes, LimitedPeer

START_NS = 1_800_000_000 * NS_PER_S


@pytest.fixture
def said() -> StringIO:
    """What is logged."""
    stream = StringIO()
    logs.setup("info", stream=stream, form="json", strict=True)
    return stream


def told(now_s: int, *peers: LimitedPeer) -> Changes:
    """A batch."""
    return Changes(
        seq=1, now_ns=START_NS + now_s * NS_PER_S, rows={}, ledger=[], windows=(), evicted={}, without_key={},
        carried=0, limited=peers,
    )  # fmt: skip


def lines(said: StringIO) -> list[dict[str, Any]]:
    """The log's lines without their times."""
    found = [json.loads(line) for line in said.getvalue().splitlines()]
    return [{name: value for name, value in line.items() if name not in ("time", "level")} for line in found]


def test_from_beginning_to_end(said: StringIO) -> None:
    limited = LimitedPeers()
    for now_s, dropped in ((1, 10), (2, 300)):
        limited.note(told(now_s, LimitedPeer("192.0.2.1", 1, START_NS, dropped, False)), ("a", "b"), 20_000)
    assert limited.now == ({"peer": "192.0.2.1", "listener": "b", "since": "2027-01-15T08:00:00.000Z", "dropped": 300},)
    limited.note(told(13, LimitedPeer("192.0.2.1", 1, START_NS, 350, True)), ("a", "b"), 20_000)
    assert limited.now == ()
    assert lines(said) == [
        {"event": "peer limited: it sends too much", "listener": "b", "peer": "192.0.2.1", "limit": 20_000},
        {"event": "peer no longer limited", "listener": "b", "peer": "192.0.2.1", "count": 350, "elapsed_s": 13.0},
    ]


def test_one_line_for_many(said: StringIO) -> None:
    """A flood from many addresses does not fill the log."""
    limited = LimitedPeers()
    peers = [LimitedPeer(f"192.0.2.{number}", 0, START_NS, 5, False) for number in range(100)]
    limited.note(told(1, *peers), ("a",), 20_000)
    assert (len(lines(said)), len(limited.now)) == (1, 100)
    limited.note(told(2, *[LimitedPeer(each.peer, 0, START_NS, 5, True) for each in peers]), ("a",), 20_000)
    assert (len(lines(said)), limited.now) == (2, ())
