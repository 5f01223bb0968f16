"""Counter tables: batches are added once, totals stay exact, old slots shrink."""

import dataclasses
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectord.errors import StoreError
from collectord.model import Changes, CounterDefinition
from collectord.store import ledger
from collectord.store.counters import Counters
from collectord.store.db import Database

FAILURES = CounterDefinition("failures_by_source", {"EventResult": "Failure"}, ("SrcIpAddr",), 60)
PORTS = CounterDefinition("port_volume", {}, ("DstPortNumber", "NetworkProtocol", "NetworkDirection", "DvcAction"), 60)
LISTENERS = ("udp", "tcp")


@pytest.fixture
def counters(database: Database) -> Counters:
    counters = Counters(database, "run-1")
    assert [] == counters.ensure([FAILURES, PORTS])
    return counters


def batch(
    seq: int, rows: dict[str, list[tuple[Any, ...]]], ledger_rows: list[tuple[int, str, int, int]] | None = None
) -> Changes:
    return Changes(
        seq=seq,
        now_ns=seq * 1_000_000_000,
        rows=rows,
        ledger=ledger_rows or [],
        windows=(),
        evicted={},
        without_key={},
        carried=0,
    )


def put(counters: Counters, seq: int, *rows: tuple[Any, ...]) -> None:
    assert counters.write(batch(seq, {"failures_by_source": list(rows)}), [FAILURES, PORTS], LISTENERS)


def test_table_reads_in_plain_words(database: Database, counters: Counters) -> None:
    """Names and types as documented, the key first, no hidden row id."""
    columns = database.tables.table("port_volume").columns_dict

    assert {
        "slot": int,
        "site": str,
        "DstPortNumber": int,
        "NetworkProtocol": str,
        "NetworkDirection": str,
        "DvcAction": str,
        "EventCount": int,
        "messages": int,
        "error": int,
    } == columns
    assert ["slot", "site", *PORTS.group_by] == database.tables.table("port_volume").pks
    with pytest.raises(sqlite3.OperationalError, match="no such column: rowid"):
        database.connection.execute("SELECT rowid FROM port_volume")


def test_increments_add_up_and_error_is_the_largest(counters: Counters) -> None:
    """EventCount and messages add; error is absolute."""
    put(counters, 1, (60, "", "192.0.2.10", 10, 2, 0), (60, "north", "192.0.2.10", 1, 1, 0))
    put(counters, 2, (60, "", "192.0.2.10", 5, 1, 7))
    put(counters, 3, (60, "", "192.0.2.10", 1, 1, 3), (120, "", "2001:db8::1", 4, 4, 0))

    assert [
        (60, "", "192.0.2.10", 16, 4, 7),
        (60, "north", "192.0.2.10", 1, 1, 0),
        (120, "", "2001:db8::1", 4, 4, 0),
    ] == counters.open_rows(FAILURES, 60)
    assert [(120, "", "2001:db8::1", 4, 4, 0)] == counters.open_rows(FAILURES, 120)
    assert 2 == len(counters.open_rows(FAILURES, 0, before_slot=120))
    assert 3_000_000_000 == counters.last_tick_ns()


def test_batch_is_stored_once(database: Database, counters: Counters) -> None:
    """A batch that comes again after a lost acknowledgement adds nothing; a new run's batch of that number does."""
    again = batch(1, {"failures_by_source": [(60, "", "192.0.2.10", 10, 2, 0)]}, [(0, "session", 2, 200)])

    assert counters.write(again, [FAILURES], LISTENERS)
    assert not counters.write(again, [FAILURES], LISTENERS)
    assert Counters(database, "run-2").write(again, [FAILURES], LISTENERS)

    assert [(60, "", "192.0.2.10", 20, 4, 0)] == counters.open_rows(FAILURES, 0)
    assert [("udp", "session", 4, 400)] == ledger.totals(database)


def test_failed_batch_leaves_nothing(database: Database, counters: Counters) -> None:
    """Counters, ledger and number go together; the same batch is taken afterwards."""
    page_count = database.connection.execute("PRAGMA page_count").fetchone()[0]
    database.connection.execute(f"PRAGMA max_page_count = {page_count}")
    rows = [(60, "", f"2001:db8::{number:x}", 1, 1, 0) for number in range(5_000)]
    large = batch(1, {"failures_by_source": rows}, [(0, "session", 5_000, 1)])

    with pytest.raises(StoreError, match="can't store the counters: no space left"):
        counters.write(large, [FAILURES], LISTENERS)
    assert [] == counters.open_rows(FAILURES, 0)
    assert [] == ledger.totals(database)

    database.connection.execute("PRAGMA max_page_count = 100000")
    assert counters.write(large, [FAILURES], LISTENERS)
    assert 5_000 == len(counters.open_rows(FAILURES, 0))


def test_other_row_is_no_key(counters: Counters) -> None:
    """What evicted keys had not reported counts in the total, and is not given back to the engine."""
    put(counters, 1, (60, "*", "", 30, 3, 0), (60, "", "192.0.2.10", 1, 1, 0), (60, "*", "192.0.2.11", 2, 2, 0))

    assert ["192.0.2.11", "192.0.2.10"] == sorted((row[2] for row in counters.open_rows(FAILURES, 0)), reverse=True)
    assert {60: (33, 6)} == counters.totals(FAILURES, 0)


def test_fold_keeps_the_largest_and_the_total(counters: Counters) -> None:
    """Slots that left the windows are cut, the others are not touched; a second call finds nothing to do."""
    for slot in (60, 120, 180):
        put(counters, slot, *((slot, "", f"192.0.2.{n}", n, 1, n) for n in range(1, 11)), (slot, "*", "", 100, 5, 0))
    before = counters.totals(FAILURES, 0)

    assert 16 == counters.fold(FAILURES, 180, keep=2)
    assert 0 == counters.fold(FAILURES, 180, keep=2)

    assert before == counters.totals(FAILURES, 0)
    assert ["192.0.2.10", "192.0.2.9"] == [row[2] for row in counters.open_rows(FAILURES, 0, 120)]
    assert 10 == len(counters.open_rows(FAILURES, 180))


def test_fold_is_bounded_per_call(counters: Counters) -> None:
    """A large slot takes several calls; nothing is lost between them."""
    put(counters, 1, *((60, "", f"192.0.2.{n}", n, 1, 0) for n in range(100)), (120, "", "192.0.2.1", 1, 1, 0))
    before = counters.totals(FAILURES, 0)

    folded = []
    while rows := counters.fold(FAILURES, 180, keep=10, most_rows=40):
        folded.append(rows)

    assert [40, 40, 10] == folded
    assert before == counters.totals(FAILURES, 0)
    assert [f"192.0.2.{n}" for n in range(90, 100)] == sorted(r[2] for r in counters.open_rows(FAILURES, 0, 120))


def test_late_rows_are_folded_again(counters: Counters) -> None:
    """Rows that were carried over arrive after their slot was folded."""
    put(counters, 1, *((60, "", f"192.0.2.{n}", n, 1, 0) for n in range(5)))
    assert 4 == counters.fold(FAILURES, 120, keep=1)
    put(counters, 2, (60, "", "192.0.2.77", 1, 1, 0))

    assert 1 == counters.fold(FAILURES, 120, keep=1)
    assert {60: (11, 6)} == counters.totals(FAILURES, 0)


def test_fold_of_number_keys(counters: Counters) -> None:
    """The empty key of a port is 0."""
    rows = [(60, "", port, "TCP", "Inbound", "Allow", 1, 1, 0) for port in (22, 23, 445)]
    counters.write(batch(1, {"port_volume": rows}), [PORTS], LISTENERS)

    assert 3 == counters.fold(PORTS, 120, keep=0)
    assert [] == counters.open_rows(PORTS, 0)
    assert {60: (3, 3)} == counters.totals(PORTS, 0)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9), st.integers(1, 50)), max_size=40), st.integers(0, 4))
def test_fold_property(rows: list[tuple[int, int, int]], keep: int) -> None:
    """Whatever is stored in whatever order: totals are exact, and at most ``keep`` keys stay."""
    database = Database.__new__(Database)
    database.path = Path("memory")
    database._lock_fd = None
    database._connect(":memory:", uri=False, busy_timeout_ms=0)
    database._prepare()
    with database:
        counters = Counters(database, "run")
        counters.ensure([FAILURES])
        for seq, (slot, key, count) in enumerate(rows, start=1):
            put(counters, seq, (slot * 60, "", f"192.0.2.{key}", count, 1, 0))
            if seq % 3 == 0:
                counters.fold(FAILURES, 240, keep)
        while counters.fold(FAILURES, 240, keep):
            pass

        want: dict[int, tuple[int, int]] = {}
        for slot, _, count in rows:
            total, messages = want.get(slot * 60, (0, 0))
            want[slot * 60] = (total + count, messages + 1)
        assert want == counters.totals(FAILURES, 0)
        for slot in want:
            assert len(counters.open_rows(FAILURES, slot, slot + 1)) <= keep


def test_expire_deletes_whole_slots(counters: Counters) -> None:
    """The oldest first, bounded, and only before the given one."""
    for slot in (60, 120, 180):
        put(counters, slot, *((slot, "", f"192.0.2.{n}", 1, 1, 0) for n in range(10)))

    assert 10 == counters.expire(FAILURES, 180, most_rows=5)
    assert 10 == counters.expire(FAILURES, 180, most_rows=5)
    assert 0 == counters.expire(FAILURES, 180)
    assert {180: (10, 10)} == counters.totals(FAILURES, 0)


@pytest.mark.parametrize(
    "changed",
    [
        {"group_by": ("SrcIpAddr", "DstPortNumber")},
        {"group_by": ("DstIpAddr",)},
        {"where": {"EventResult": "Success"}},
        {"slot_s": 30},
        {"weight": "records"},
    ],
)
def test_changed_definition_keeps_the_old_table_under_a_new_name(
    database: Database, counters: Counters, changed: dict[str, Any]
) -> None:
    """What was counted stays readable, and is not mixed with what means something else."""
    put(counters, 1, (60, "", "192.0.2.10", 10, 2, 0))
    counters.fold(FAILURES, 120, keep=0)
    other = dataclasses.replace(FAILURES, **changed)

    assert ("failures_by_source", "failures_by_source_1") == counters.ensure([other])[0]
    assert [] == counters.ensure([other])
    assert {} == counters.totals(other, 0)
    assert 10 == database.connection.execute("SELECT sum(EventCount) FROM failures_by_source_1").fetchone()[0]

    assert ("failures_by_source", "failures_by_source_2") == counters.ensure([FAILURES])[0]


def test_capacity_does_not_change_the_table(counters: Counters) -> None:
    """More keys mean the same."""
    assert [] == counters.ensure([dataclasses.replace(FAILURES, capacity=10)])


@pytest.mark.parametrize(
    ("name", "group_by", "reason"),
    [
        ("alerts", ("SrcIpAddr",), "the database has a table of that name"),
        ("Outbox", ("SrcIpAddr",), "the database has a table of that name"),
        ("a b", ("SrcIpAddr",), "letters, digits and _ only"),
        ('x"; DROP TABLE alerts; --', ("SrcIpAddr",), "letters, digits and _ only"),
        ("sqlite_x", ("SrcIpAddr",), "letters, digits and _ only"),
        ("fine", ("srcip",), "can't be grouped by srcip"),
        ("fine", ("SrcIpAddr) --",), "can't be grouped by"),
        ("fine", (), "can't be grouped by nothing"),
        ("fine", ("SrcIpAddr", "SrcIpAddr"), "the same field twice"),
    ],
)
def test_names_that_must_not_become_sql(counters: Counters, name: str, group_by: tuple[str, ...], reason: str) -> None:
    """The last gate, whatever the rules' loader let through."""
    with pytest.raises(StoreError, match=reason):
        counters.ensure([CounterDefinition(name, {}, group_by, 60)])
