"""What the engine keeps of keys beside sums: evidence of hot keys, intervals of regular ones."""

import json
import socket
from typing import Any

import pytest

from collectord import plan
from collectord.engine import Engine
from collectord.model import NS_PER_S, Changes, CounterDefinition, KeyState, WindowKey

START_S = 1_800_000_000  # On a boundary of hours.
NOW_NS = START_S * NS_PER_S
MINUTE_NS = 60 * NS_PER_S

EVIDENCE = ("DvcAction", "DstPortNumber", "DstIpAddr")
FAILURES = CounterDefinition("failures_by_source", {"EventResult": "Failure"}, ("SrcIpAddr",), 60, evidence=EVIDENCE)
SPACING = {"min_gap_s": 10, "tolerance_s": 1, "tolerance_percent": 5}
BEACONS = CounterDefinition("beacons", {}, ("SrcIpAddr", "DstIpAddr", "DstPortNumber"), 3600, beacon=SPACING)


def counter(definition: CounterDefinition, **rule: Any) -> dict[str, Any]:
    """The plan's form of a counter with one rule."""
    raw: dict[str, Any] = {
        "name": definition.name,
        "where": definition.where,
        "group_by": list(definition.group_by),
        "slot_s": definition.slot_s,
        "capacity": definition.capacity,
        "evidence": list(definition.evidence),
        "rules": [rule],
    }
    if definition.beacon:
        raw["beacon"] = definition.beacon
    return raw


@pytest.fixture(scope="module")
def planned() -> plan.Setup:
    """The shipped configuration and profiles."""
    return plan.load(None)


def new_engine(planned: plan.Setup) -> Engine:
    """An engine with evidence of failures, and a counter of regular intervals."""
    from dataclasses import replace

    counters = [
        counter(FAILURES, name="failures", window_slots=5, level=10),
        counter(BEACONS, name="regular", window_slots=1, level=80, min_events=15),
    ]
    return Engine(replace(planned.plan, counters=counters), [FAILURES, BEACONS])


def denied(source: str, port: int = 445) -> bytes:
    """A message of one failed session."""
    return (
        f'<164>%ASA-4-106023: Deny tcp src outside:{source}/40000 dst inside:10.0.0.1/{port} by access-group "in"'
    ).encode()


def send(engine: Engine, message: bytes, now_ns: int) -> None:
    """A message as a datagram, without a socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as empty:
        engine.receive(0, empty.fileno(), now_ns, 2, [(message, "192.0.2.1")])


def commit(engine: Engine, now_ns: int) -> Changes:
    """A batch, acknowledged."""
    changes = engine.changes(now_ns)
    engine.ack(changes.seq)
    return changes


def evidence(changes: Changes) -> list[KeyState]:
    """The states of that kind."""
    return [state for state in changes.states if state.kind == "evidence"]


class TestEvidence:
    """A key is hot from the message with which a window may come to be over its level."""

    def test_it_tells_of_the_hot_key(self, planned: plan.Setup) -> None:
        engine = new_engine(planned)
        for port in (445, 445, 3389, 3389, 445, 22):
            send(engine, denied("203.0.113.1", port), NOW_NS)
        send(engine, denied("203.0.113.2"), NOW_NS)

        (state,) = evidence(commit(engine, NOW_NS))

        assert (state.counter, state.site, state.key, state.last_s) == (FAILURES.name, "", ("203.0.113.1",), START_S)
        told = json.loads(state.state)
        assert told["messages"] == 4
        assert told["top"] == {
            "DvcAction": [["Deny", 4]],
            "DstPortNumber": [[3389, 2], [445, 1], [22, 1]],
            "DstIpAddr": [["10.0.0.1", 4]],
            "Dvc": [["192.0.2.1", 4]],
        }
        assert [line.encode() for line in told["lines"]] == [denied("203.0.113.1", port) for port in (3389, 445, 22)]

    def test_a_restart_goes_on_with_it(self, planned: plan.Setup) -> None:
        engine = new_engine(planned)
        for _ in range(3):
            send(engine, denied("203.0.113.1"), NOW_NS)
        stored = commit(engine, NOW_NS)

        again = new_engine(planned)
        for name, rows in stored.rows.items():
            again.restore(name, rows)
        assert again.restore_states(stored.states) == len(stored.states)
        send(again, denied("203.0.113.1"), NOW_NS + NS_PER_S)

        (state,) = evidence(commit(again, NOW_NS + NS_PER_S))
        told = json.loads(state.state)
        assert (told["messages"], told["first_ns"], told["last_ns"]) == (2, NOW_NS, NOW_NS + NS_PER_S)


class TestBeacon:
    """A key is told with more events than ``min_events``, when one gap's share is over the level."""

    def test_a_regular_key_is_told_and_an_irregular_one_is_not(self, planned: plan.Setup) -> None:
        engine = new_engine(planned)
        for minute in range(17):
            now_ns = NOW_NS + minute * MINUTE_NS
            send(engine, denied("203.0.113.1"), now_ns)
            send(engine, denied("203.0.113.2"), now_ns + minute * minute % 7 * 8 * NS_PER_S)

        changes = commit(engine, NOW_NS + 17 * MINUTE_NS)

        assert BEACONS.name not in changes.rows
        (window,) = [window for window in changes.windows if window.rule == "regular"]
        assert not window.closed
        (regular,) = window.keys
        assert regular == WindowKey("", ("203.0.113.1", "10.0.0.1", 445), 100, 0)
        (state,) = [s for s in changes.states if s.kind == "beacon" and s.key == regular.key]
        told = json.loads(state.state)
        assert (told["slot"], told["events"], told["gaps"]) == (START_S, 17, [[60, 16]])

    def test_a_restart_at_any_moment_changes_nothing(self, planned: plan.Setup) -> None:
        engine = new_engine(planned)
        for minute in range(17):
            if minute % 5 == 0:
                stored = commit(engine, NOW_NS + minute * MINUTE_NS)
                engine = new_engine(planned)
                engine.restore_states(state for state in stored.states if state.kind == "beacon")
            send(engine, denied("203.0.113.1"), NOW_NS + minute * MINUTE_NS)

        windows = commit(engine, NOW_NS + 60 * MINUTE_NS).windows

        closed = [window for window in windows if window.rule == "regular" and window.closed]
        assert [[key.count for key in window.keys] for window in closed] == [[100]]
