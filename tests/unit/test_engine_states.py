"""Distinct values, exempts and other ways of counting, as Python sees them; states through the database and back."""

import json
import random
import socket
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from collectord import plan
from collectord.engine import Engine
from collectord.model import NS_PER_S, Changes, CounterDefinition
from collectord.store import states
from collectord.store.counters import Counters
from collectord.store.db import Database

START_S = 1_800_000_000
WINDOW_SLOTS = 5
SCAN: dict[str, Any] = {
    "name": "ports_by_source",
    "where": {"DvcAction": "Deny"},
    "group_by": ["SrcIpAddr"],
    "slot_s": 60,
    "capacity": 1000,
    "distinct": "DstPortNumber",
    "rules": [{"name": "scan", "window_slots": WINDOW_SLOTS, "level": 3}],
}


@pytest.fixture(scope="module")
def shipped() -> plan.Setup:
    """The shipped configuration and profiles."""
    return plan.load(None)


def engine(shipped: plan.Setup, *counters: dict[str, Any], **bounds: Any) -> Engine:
    """An engine with these counters."""
    definitions = [
        CounterDefinition(
            counter["name"],
            counter["where"],
            tuple(counter["group_by"]),
            counter["slot_s"],
            weight=counter.get("weight", "EventCount"),
            distinct=counter.get("distinct", ""),
        )
        for counter in counters
    ]
    return Engine(replace(shipped.plan, counters=counters, **bounds), definitions)


def send(engine: Engine, second: int, source: str, ports: Sequence[int], host: str = "fw-1") -> None:
    """Denied sessions of a source to these ports, received that many seconds after the start."""
    text = (
        f"<164>Nov 22 2026 10:20:30 {host} : %ASA-4-106023: Deny tcp src out:{source}/1 dst in:10.0.0.1/PORT "
        'by access-group "a"'
    )
    messages = [(text.replace("PORT", str(port)).encode(), "192.0.2.1") for port in ports]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as empty:
        engine.receive(0, empty.fileno(), at(second), len(messages) + 1, messages)


def at(second: int) -> int:
    return (START_S + second) * NS_PER_S


def over(changes: Changes) -> list[dict[str, int]]:
    """Per window, oldest first: source -> count."""
    return [{str(key.key[0]): key.count for key in window.keys} for window in changes.windows]


def values(changes: Changes) -> dict[str, dict[int, int]]:
    """Source -> port -> start of the slot it was last seen in, from the start."""
    return {
        str(state.key[0]): {port: slot - START_S for port, slot in json.loads(state.state)["values"]}
        for state in changes.states
    }


class TestDistinct:
    """Different values of a field per key."""

    def test_counts_each_port_once(self, shipped: plan.Setup) -> None:
        counting = engine(shipped, SCAN)
        send(counting, 0, "203.0.113.1", [1, 2, 3, 1, 2, 3])
        send(counting, 0, "203.0.113.2", [22, 23, 24, 25])

        changes = counting.changes(at(1))

        assert over(changes) == [{"203.0.113.2": 4}]
        assert changes.rows == {}
        assert {(state.counter, state.kind, state.site, state.last_s) for state in changes.states} == {
            ("ports_by_source", "values", "", START_S)
        }
        assert values(changes) == {"203.0.113.1": {1: 0, 2: 0, 3: 0}, "203.0.113.2": {22: 0, 23: 0, 24: 0, 25: 0}}

    def test_only_what_changed_is_handed_over_and_again_until_stored(self, shipped: plan.Setup) -> None:
        counting = engine(shipped, SCAN)
        send(counting, 0, "203.0.113.1", [1])
        first = counting.changes(at(1))
        send(counting, 1, "203.0.113.2", [1])
        again = counting.changes(at(1))
        assert (again.seq, again.states, again.carried) == (first.seq, first.states, 1)
        counting.ack(first.seq)
        second = counting.changes(at(2))
        assert values(second) == {"203.0.113.2": {1: 0}}
        counting.ack(second.seq)
        send(counting, 3, "203.0.113.1", [1])
        assert counting.changes(at(3)).states == (), "nothing new"

    def test_a_full_batch_carries_the_rest(self, shipped: plan.Setup) -> None:
        counting = engine(shipped, SCAN, rows_per_batch=4)
        for number in range(10):
            send(counting, 0, f"203.0.113.{number}", [1])
        told = []
        for _ in range(3):
            changes = counting.changes(at(1))
            counting.ack(changes.seq)
            told.append((len(changes.states), changes.carried))
        assert told == [(4, 6), (4, 2), (2, 0)]

    def test_more_than_are_kept_are_at_least_that_many(self, shipped: plan.Setup) -> None:
        counting = engine(shipped, SCAN)
        send(counting, 0, "203.0.113.1", range(1, 200))
        changes = counting.changes(at(1))
        assert over(changes) == [{"203.0.113.1": 64}]
        assert json.loads(changes.states[0].state)["more"] is True

    def test_a_flood_hides_no_scan_and_is_told_to_be_forgotten(self, shipped: plan.Setup, tmp_path: Path) -> None:
        counting = engine(shipped, {**SCAN, "capacity": 100})
        with Database(tmp_path / "collectord.db") as database:
            counters = Counters(database, "run")
            for second in range(20):
                for number in range(150):
                    send(counting, second, f"198.51.{second}.{number}", [1])
                    if number % 30 == 0:
                        send(counting, second, "203.0.113.1", [1000 + second * 150 + number])
                changes = counting.changes(at(second))
                counters.write(changes, [], ["udp", "tcp"])
                counting.ack(changes.seq)
            assert over(changes) == [{"203.0.113.1": 64}]
            assert changes.evicted["ports_by_source"] > 100
            assert len(states.open_states(database, "ports_by_source", 0)) == 100

    @pytest.mark.parametrize(
        ("distinct", "level", "reason"),
        [
            ("NetworkBytes", 3, "NetworkBytes is no address, port or text field"),
            ("Port", 3, "Port is no address, port or text field"),
            ("DstPortNumber", 64, "must be at most 63"),
        ],
    )
    def test_what_can_not_be_counted_is_refused(
        self, shipped: plan.Setup, distinct: str, level: int, reason: str
    ) -> None:
        rules = [{"name": "scan", "window_slots": 1, "level": level}]
        with pytest.raises(Exception, match=reason):
            engine(shipped, {**SCAN, "distinct": distinct, "rules": rules})


@pytest.mark.parametrize("seed", range(3))
def test_a_killed_run_goes_on_where_its_last_batch_ended(shipped: plan.Setup, tmp_path: Path, seed: int) -> None:
    """Through SQLite, at random moments; the windows are those of an engine that was never killed."""
    chance = random.Random(seed)
    steady = engine(shipped, SCAN)
    killed = engine(shipped, SCAN)
    with Database(tmp_path / "collectord.db") as database:
        (definition,) = killed._definitions.values()
        seen: dict[str, dict[int, int]] = {}
        second = 0
        for step in range(60):
            tables = Counters(database, f"run {step}")
            second += chance.choice([1, 7, 30, 61, 400])
            source, ports = f"203.0.113.{chance.randrange(4)}", chance.sample(range(1, 12), 4)
            for each in (steady, killed):
                send(each, second, source, ports)
            seen.setdefault(source, {}).update(dict.fromkeys(ports, (START_S + second) // 60))
            plain, changes = steady.changes(at(second)), killed.changes(at(second))
            steady.ack(plain.seq)
            first = (START_S + second) // 60 - WINDOW_SLOTS + 1
            counts = {key: sum(slot >= first for slot in of_key.values()) for key, of_key in seen.items()}
            assert over(changes)[-1] == over(plain)[-1] == {key: n for key, n in counts.items() if n > 3}
            tables.write(changes, [definition], ["udp", "tcp"])
            killed.ack(changes.seq)
            if chance.random() < 0.3:
                killed = engine(shipped, SCAN)
                from_s = START_S + second - WINDOW_SLOTS * 60
                killed.restore_states(states.open_states(database, definition.name, from_s))


def test_a_state_that_is_none_is_left_out(shipped: plan.Setup) -> None:
    counting = engine(shipped, SCAN)
    send(counting, 0, "203.0.113.1", [1])
    (state,) = counting.changes(at(0)).states
    other = engine(shipped, SCAN)
    wrong = [
        replace(state, counter="another"),
        replace(state, kind="sums"),
        replace(state, key=("gateway",)),
        replace(state, state="{"),
        replace(state, state="{}"),
        replace(state, state='{"values": [["x", 1], [1], [1, "y"]]}'),
    ]
    assert other.restore_states(wrong) == 0
    assert other.restore_states([state]) == 1


class TestWhatCounts:
    """Exempts, the name of the device, numbers to sum up, records that do not count."""

    def test_exempts_are_told_apart(self, shipped: plan.Setup) -> None:
        exempt = [{"SrcIpAddr": "203.0.113.0/25"}, {"device": "fw-2", "DstPortNumber": [22, "80-90"]}]
        counting = engine(shipped, {**SCAN, "exempt": exempt}, relays=["192.0.2.0/24"])
        send(counting, 0, "203.0.113.1", [1, 2])
        send(counting, 0, "203.0.113.200", [22, 23], "fw-2")
        send(counting, 0, "203.0.113.200", [85], "fw-1")

        changes = counting.changes(at(0))

        assert changes.exempted == {"ports_by_source": 3}
        assert values(changes) == {"203.0.113.200": {23: 0, 85: 0}}
        assert counting.changes(at(0)).exempted == {}

    @pytest.mark.parametrize(
        ("changed", "counted"),
        [
            ({"weight": "NetworkBytes"}, 1500),
            ({"weight": "NetworkBytes", "every_record": True}, 1510),
            ({"weight": "records"}, 1),
            ({"weight": "records", "every_record": True}, 2),
            ({"weight": "SrcPackets"}, 0),
        ],
    )
    def test_weights_and_every_record(self, shipped: plan.Setup, changed: dict[str, Any], counted: int) -> None:
        """An ASA's teardown of a session that was counted when it was built does not count again, unless asked for."""
        counter = {
            "name": "volume", "where": {}, "group_by": ["DstPortNumber"], "slot_s": 60, "capacity": 10,
            "rules": [], **changed,
        }  # fmt: skip
        counting = engine(shipped, counter)
        send_raw(counting, COUNTED, UNCOUNTED)

        rows = counting.changes(at(0)).rows.get("volume", [])

        assert sum(row[3] for row in rows) == counted


COUNTED = (
    "<134>1,2026/11/22 10:20:30,007051000012345,TRAFFIC,end,2561,2026/11/22 10:20:30,192.0.2.1,10.0.0.1,0.0.0.0,"
    "0.0.0.0,rule,,,web-browsing,vsys1,trust,untrust,ethernet1/1,ethernet1/2,log,2026/11/22 10:20:30,12345,1,51000,80,"
    "0,0,0x19,tcp,allow,1500,500,1000,10,2026/11/22 10:20:00,30,any"
)
UNCOUNTED = COUNTED.replace("TRAFFIC,end", "TRAFFIC,start").replace("allow,1500,500,1000", "allow,10,5,5")


def send_raw(engine: Engine, *texts: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as empty:
        engine.receive(0, empty.fileno(), at(0), len(texts) + 1, [(text.encode(), "192.0.2.1") for text in texts])
