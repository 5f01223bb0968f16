"""States of keys: written in place of earlier ones, read at start, forgotten when they are of no use."""

import pytest

from collectord.model import Changes, CounterDefinition, KeyState
from collectord.store import states
from collectord.store.counters import Counters
from collectord.store.db import Database

PORTS = CounterDefinition("ports_by_source", {}, ("SrcIpAddr", "DstPortNumber"), 60, distinct="DvcAction")


def state(source: str, text: str = '{"values":[]}', last_s: int = 600, counter: str = PORTS.name) -> KeyState:
    return KeyState(counter, "values", "", (source, 445), text, last_s)


def put(database: Database, *rows: KeyState) -> None:
    with database.transaction("put states") as connection:
        states.write(connection, rows)


def test_a_state_comes_back_as_it_was(database: Database) -> None:
    put(database, state("192.0.2.1"), state("h\u00f6st", last_s=660))

    assert states.open_states(database, PORTS.name, 0) == [state("192.0.2.1"), state("h\u00f6st", last_s=660)]
    assert states.open_states(database, PORTS.name, 601) == [state("h\u00f6st", last_s=660)]
    assert states.open_states(database, "another", 0) == []
    stored = database.connection.execute("SELECT key FROM counter_states").fetchall()
    assert stored == [('["192.0.2.1",445]',), ('["h\u00f6st",445]',)], "plain JSON, for people"


def test_a_later_state_replaces_the_earlier_one(database: Database) -> None:
    put(database, state("192.0.2.1", "1"), state("192.0.2.2", "1"))
    put(database, state("192.0.2.1", "2", 660))

    assert states.open_states(database, PORTS.name, 0) == [state("192.0.2.1", "2", 660), state("192.0.2.2", "1")]


def test_a_key_that_lost_its_place_is_forgotten(database: Database) -> None:
    """Unless it came back within the batch."""
    put(database, state("192.0.2.1"), state("192.0.2.2"))
    put(database, state("192.0.2.1", "", 0), state("192.0.2.2", "", 0), state("192.0.2.2", "new"))

    assert states.open_states(database, PORTS.name, 0) == [state("192.0.2.2", "new")]


def test_old_states_and_those_of_a_clock_set_back_expire(database: Database) -> None:
    put(database, *(state(str(number), last_s=number) for number in range(10)), state("ahead", last_s=10**9))

    assert states.expire(database, 8, 9, most_rows=3) == 3
    assert states.expire(database, 8, 9) == 6
    assert states.expire(database, 8, 9) == 0
    assert [kept.last_s for kept in states.open_states(database, PORTS.name, 0)] == [8, 9]


@pytest.mark.parametrize("broken", [False, True])
def test_they_are_stored_with_the_batch_or_not_at_all(database: Database, broken: bool) -> None:
    counters = Counters(database, "run-1")
    batch = Changes(
        1, 1, rows={}, ledger=[], windows=(), evicted={}, without_key={}, carried=0, states=(state("192.0.2.1"),)
    )
    if broken:
        database.connection.execute("CREATE TRIGGER broken BEFORE INSERT ON meta BEGIN SELECT RAISE(ABORT, 'no'); END")
        with pytest.raises(Exception, match="no"):
            counters.write(batch, [], [])
    else:
        assert counters.write(batch, [], [])
        assert not counters.write(batch, [], [])
    assert len(states.open_states(database, PORTS.name, 0)) == (0 if broken else 1)


def test_states_of_another_definition_are_forgotten(database: Database) -> None:
    counters = Counters(database, "run-1")
    counters.ensure([PORTS])
    put(database, state("192.0.2.1"), state("192.0.2.1", counter="another"))
    counters.ensure([PORTS])
    assert len(states.open_states(database, PORTS.name, 0)) == 1

    changed = CounterDefinition(PORTS.name, {}, PORTS.group_by, 60, distinct="DstIpAddr")
    assert counters.ensure([changed]) == []
    assert states.open_states(database, PORTS.name, 0) == []
    assert len(states.open_states(database, "another", 0)) == 1
