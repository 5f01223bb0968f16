"""Roll-ups: whatever comes in whatever order, a day's sums are those of what was counted on it."""

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectord.errors import StoreError
from collectord.model import OTHER_SITE, Changes, CounterDefinition
from collectord.store import retention, rollups
from collectord.store.counters import Counters
from collectord.store.db import Database
from collectord.store.history import History
from collectord.store.retention import Keep, Retention
from collectord.store.rollups import DAY_S, HOUR_S

FAILURES = CounterDefinition("failures_by_source", {"EventResult": "Failure"}, ("SrcIpAddr",), 60)
PORTS = CounterDefinition("port_volume", {}, ("DstPortNumber", "NetworkProtocol"), HOUR_S, pinned_ports=(3389,))
START_S = 20_000 * DAY_S
KEEP = Keep(slots_s=2 * DAY_S, hours_s=30 * DAY_S, days_s=400 * DAY_S, max_bytes=2**40)


@pytest.fixture
def counters(database: Database) -> Counters:
    counters = Counters(database, "run-1")
    counters.ensure([FAILURES, PORTS])
    return counters


LOOK_BACK_S: defaultdict[str, int] = defaultdict(lambda: 300)
"""Of every counter."""


def put(counters: Counters, seq: int, *rows: tuple[Any, ...], definition: CounterDefinition = FAILURES) -> None:
    changes = Changes(
        seq=seq, now_ns=seq, rows={definition.name: list(rows)}, ledger=[], windows=(), evicted={}, without_key={},
        carried=0,
    )  # fmt: skip
    assert counters.write(changes, [FAILURES, PORTS], ["udp"])


def aged(database: Database, counters: Counters, now_s: int, keep: Keep = KEEP, times: int = 4) -> None:
    for _ in range(times):
        for definition in (FAILURES, PORTS):
            Retention(database, counters, keep, LOOK_BACK_S).age(definition, now_s)


def table(database: Database, name: str) -> list[tuple[Any, ...]]:
    return database.connection.execute(f'SELECT * FROM "{name}" ORDER BY 1, 2, 3').fetchall()


def day_sums(database: Database, definition: CounterDefinition = FAILURES) -> Counter[int]:
    """Per day of the days' table, everything included."""
    rows = database.connection.execute(f"SELECT slot, sum(EventCount) FROM {definition.name}_days GROUP BY slot")
    return Counter(dict(rows.fetchall()))


def test_tables_are_made_from_the_definition(database: Database, counters: Counters) -> None:
    """The same columns and key as the counter's."""
    for name in ("port_volume", "port_volume_hours", "port_volume_days"):
        found = database.tables.table(name)
        assert list(found.columns_dict) == [
            "slot", "site", "DstPortNumber", "NetworkProtocol", "EventCount", "messages", "error",
        ]  # fmt: skip
        assert found.pks == ["slot", "site", "DstPortNumber", "NetworkProtocol"]


def test_slots_become_hours_and_hours_days(database: Database, counters: Counters) -> None:
    """Sums, messages and what they can lack; each table keeps what it has."""
    key = ("", "192.0.2.10")
    put(counters, 1, (START_S, *key, 10, 2, 1), (START_S + 3540, *key, 5, 1, 2), (START_S + 3600, *key, 1, 1, 0))
    aged(database, counters, START_S + 2 * DAY_S - 10)

    assert [(START_S, *key, 15, 3, 3), (START_S + 3600, *key, 1, 1, 0)] == table(database, "failures_by_source_hours")
    assert [(START_S, *key, 16, 4, 3)] == table(database, "failures_by_source_days")
    assert 3 == len(table(database, "failures_by_source"))


def test_it_is_done_once(database: Database, counters: Counters) -> None:
    """Again and again, also by another run."""
    put(counters, 1, (START_S, "", "192.0.2.10", 10, 2, 0))
    for run in range(3):
        aged(database, Counters(database, f"run-{run}"), START_S + DAY_S)
    assert {START_S: 10} == day_sums(database)


def test_open_slots_and_hours_wait(database: Database, counters: Counters) -> None:
    """What a window still needs is left alone, and an hour becomes part of its day when it is complete."""
    put(counters, 1, *((START_S + slot * 60, "", "192.0.2.10", 1, 1, 0) for slot in range(120)))
    aged(database, counters, START_S + 90 * 60)

    hours = {row[0]: row[3] for row in table(database, "failures_by_source_hours")}
    assert {START_S: 60, START_S + HOUR_S: 30 - 7} == hours
    assert {START_S: 60} == day_sums(database)


def test_late_rows_go_everywhere_at_once(database: Database, counters: Counters) -> None:
    """Rows that were carried, or came after a step of the clock."""
    put(counters, 1, (START_S, "", "192.0.2.10", 10, 2, 0))
    aged(database, counters, START_S + 10 * DAY_S)
    assert [] == table(database, "failures_by_source"), "it is too old"
    put(counters, 2, (START_S, "", "192.0.2.10", 5, 1, 0), (START_S + HOUR_S, "", "192.0.2.11", 7, 1, 0))
    put(counters, 3, (START_S + 10 * DAY_S, "", "192.0.2.10", 1, 1, 0))

    assert {START_S: 22} == day_sums(database)
    assert [15, 7] == [row[3] for row in table(database, "failures_by_source_hours")]
    aged(database, counters, START_S + 11 * DAY_S)
    assert {START_S: 22, START_S + 10 * DAY_S: 1} == day_sums(database)


def test_the_slot_at_the_mark_is_not_rolled_up_yet(database: Database, counters: Counters) -> None:
    """Rows that come for it together with late ones are added up once."""
    hours = rollups.hours_of(FAILURES)
    put(counters, 1, (START_S, "", "192.0.2.10", 1, 1, 0))
    rollups.roll_up(database, FAILURES, hours, START_S + 120)
    assert START_S + 120 == counters.rolled_until(FAILURES)
    put(counters, 2, *((START_S + second, "", "192.0.2.10", 10 + second, 1, 0) for second in (60, 120, 180)))

    assert [1 + 70] == [row[3] for row in table(database, "failures_by_source_hours")]
    rollups.roll_up(database, FAILURES, hours, START_S + 240)
    assert [1 + 70 + 130 + 190] == [row[3] for row in table(database, "failures_by_source_hours")]


def test_each_level_is_cut(database: Database, counters: Counters, monkeypatch: pytest.MonkeyPatch) -> None:
    """To its largest keys; the rest is one row, so that the sum stays whole."""
    monkeypatch.setattr(retention, "KEPT_KEYS_PER_SLOT", 4)
    monkeypatch.setattr(retention, "KEPT_KEYS_PER_HOUR", 2)
    for hour in range(2):
        rows = ((START_S + hour * HOUR_S, "", f"192.0.2.{hour * 100 + n}", n, 1, 0) for n in range(1, 10))
        put(counters, hour + 1, *rows)
    aged(database, counters, START_S + 2 * DAY_S, times=5)

    assert [5, 5] == [len([row for row in table(database, "failures_by_source") if row[0] == START_S])] * 2
    assert 6 == len(table(database, "failures_by_source_hours"))
    assert [(OTHER_SITE, "", 90 - 18), ("", "192.0.2.9", 9), ("", "192.0.2.109", 9)] == sorted(
        (row[1:4] for row in table(database, "failures_by_source_days")), reverse=True
    )


def test_pinned_ports_stay(database: Database, counters: Counters, monkeypatch: pytest.MonkeyPatch) -> None:
    """However small: a rule looks back at them."""
    monkeypatch.setattr(retention, "KEPT_KEYS_PER_HOUR", 2)
    rows = [(START_S, "", port, "TCP", port, 1, 0) for port in (50_000, 50_001, 50_002)]
    put(counters, 1, *rows, (START_S, "", 3389, "TCP", 1, 1, 0), definition=PORTS)
    aged(database, counters, START_S + 2 * DAY_S)

    kept = {row[2]: row[4] for row in table(database, "port_volume_days")}
    assert {3389: 1, 50_002: 50_002, 0: 100_001} == kept


def test_each_level_is_kept_for_its_time(database: Database, counters: Counters) -> None:
    put(counters, 1, *((START_S + day * DAY_S, "", "192.0.2.10", 1, 1, 0) for day in range(10)))
    keep = Keep(slots_s=DAY_S, hours_s=3 * DAY_S, days_s=5 * DAY_S, max_bytes=2**40)
    aged(database, counters, START_S + 10 * DAY_S, keep)

    sizes = [len(table(database, f"failures_by_source{level}")) for level in ("", "_hours", "_days")]
    assert [1, 3, 5] == sizes


def test_nothing_goes_before_it_is_rolled_up(
    database: Database, counters: Counters, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database of an older version has two days of slots and no hours; it takes its time."""
    put(counters, 1, *((START_S + slot * 60, "", "192.0.2.10", 1, 1, 0) for slot in range(100)))
    monkeypatch.setattr(rollups, "ROLL_ROWS_PER_CALL", 10)
    defaults = {"most_rows": 10}
    monkeypatch.setattr(rollups.roll_up, "__kwdefaults__", defaults)
    aged(database, counters, START_S + 5 * DAY_S, times=3)
    assert 70 == len(table(database, "failures_by_source"))
    aged(database, counters, START_S + 5 * DAY_S, times=20)
    assert [] == table(database, "failures_by_source")
    assert {START_S: 100} == day_sums(database)


@contextmanager
def failing(database: Database, table_name: str) -> Iterator[None]:
    """Writes to a table fail."""
    trigger = f"CREATE TRIGGER stop BEFORE INSERT ON {table_name} BEGIN SELECT RAISE(ABORT, 'stop'); END"
    database.connection.execute(trigger)
    yield
    database.connection.execute("DROP TRIGGER stop")


@pytest.mark.parametrize("level", ["_hours", "_days"])
def test_a_failure_between_is_harmless(database: Database, counters: Counters, level: str) -> None:
    put(counters, 1, (START_S, "", "192.0.2.10", 10, 2, 0))
    with failing(database, f"failures_by_source{level}"), pytest.raises(StoreError):
        aged(database, counters, START_S + DAY_S)
    aged(database, Counters(database, "run-2"), START_S + DAY_S)
    assert {START_S: 10} == day_sums(database)


@pytest.mark.parametrize(
    ("changed", "aside", "left"),
    [
        ({"where": {}}, {"", "_hours", "_days"}, {}),
        ({"group_by": ("DstIpAddr",)}, {"", "_hours", "_days"}, {}),
        # Hours and days mean the same whatever the slots are.
        ({"slot_s": 30}, {""}, {START_S: 10}),
    ],
)
def test_changed_definition(
    database: Database, counters: Counters, changed: dict[str, Any], aside: set[str], left: dict[int, int]
) -> None:
    """What has another meaning is put aside."""
    put(counters, 1, (START_S, "", "192.0.2.10", 10, 2, 0))
    aged(database, counters, START_S + DAY_S)
    new = dataclasses.replace(FAILURES, **changed)
    moved = Counters(database, "run-2").ensure([new, PORTS])

    assert {(f"failures_by_source{level}", f"failures_by_source{level}_1") for level in aside} == set(moved)
    assert left == day_sums(database)


def test_lost_tables_are_filled_again(database: Database, counters: Counters) -> None:
    """Somebody dropped them."""
    put(counters, 1, (START_S, "", "192.0.2.10", 10, 2, 0))
    aged(database, counters, START_S + DAY_S)
    database.connection.execute("DROP TABLE failures_by_source_hours")
    database.connection.execute("DROP TABLE failures_by_source_days")
    counters.ensure([FAILURES, PORTS])
    aged(database, counters, START_S + DAY_S)
    assert {START_S: 10} == day_sums(database)


def test_size(database: Database, counters: Counters) -> None:
    """The oldest of the finest goes first, and nothing that is not rolled up yet."""
    for day in range(4):
        rows = ((START_S + day * DAY_S, "", f"2001:db8::{n:x}", 1, 1, 0) for n in range(2_000))
        put(counters, day + 1, *rows)
    now_s = START_S + 4 * DAY_S
    keep = Keep(slots_s=30 * DAY_S, hours_s=30 * DAY_S, days_s=30 * DAY_S, max_bytes=2**40)
    aged(database, counters, now_s, keep, times=20)
    assert 0 == Retention(database, counters, keep, LOOK_BACK_S).shed([FAILURES, PORTS], now_s)

    small = dataclasses.replace(keep, max_bytes=database.used_bytes() - 1)
    assert 1_001 == Retention(database, counters, small, LOOK_BACK_S).shed([FAILURES, PORTS], now_s)
    first = [table(database, f"failures_by_source{level}")[0][0] for level in ("", "_hours", "_days")]
    assert [START_S + DAY_S, START_S, START_S] == first

    nothing = dataclasses.replace(keep, max_bytes=0)
    today = (now_s, "", "192.0.2.10", 1, 1, 0)
    put(counters, 9, today)
    assert 11 * 1_001 == Retention(database, counters, nothing, LOOK_BACK_S).shed([FAILURES, PORTS], now_s)
    assert [today] == table(database, "failures_by_source")


def former(database: Database) -> set[str]:
    return {name for name in database.tables.table_names() if name.startswith(FAILURES.name)}


def changed(database: Database, counters: Counters) -> Counters:
    """A day in the tables of a definition that is another one from then on."""
    put(counters, 1, *((START_S, "", f"2001:db8::{n:x}", 1, 1, 0) for n in range(2_000)))
    aged(database, counters, START_S + DAY_S)
    counters.ensure([dataclasses.replace(FAILURES, where={}), PORTS])
    return counters


def test_former_tables_age(database: Database, counters: Counters, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was put aside, and what belongs to rules that are gone, goes when it is too old; then the table does."""
    monkeypatch.setattr(retention, "EXPIRE_ROWS_PER_CALL", 1)
    changed(database, counters)
    put(counters, 2, (START_S, "", 445, "TCP", 10, 2, 0), definition=PORTS)
    present = [dataclasses.replace(FAILURES, where={})]
    ages = Retention(database, counters, KEEP, LOOK_BACK_S)
    levels = ("", "_hours", "_days")
    those = {f"{FAILURES.name}{level}" for level in levels}
    for after_s, left in [
        (KEEP.slots_s, {f"{FAILURES.name}{level}_1" for level in levels}),
        (KEEP.slots_s + 1, {f"{FAILURES.name}_hours_1", f"{FAILURES.name}_days_1"}),
        (KEEP.hours_s + 1, {f"{FAILURES.name}_days_1"}),
        (KEEP.days_s + 1, set()),
    ]:
        for _ in range(8):
            ages.age_former(present, START_S + after_s)
        assert those | left == former(database)
        assert ("port_volume" in database.tables.table_names()) == (after_s == KEEP.slots_s)
    # Its rule is back.
    counters.ensure([*present, PORTS])
    put(counters, 3, (START_S, "", 445, "TCP", 10, 2, 0), definition=PORTS)
    aged(database, counters, START_S + DAY_S)
    assert {START_S: 10} == day_sums(database, PORTS)


def test_former_tables_make_room_first(database: Database, counters: Counters) -> None:
    """They count for the size as well."""
    changed(database, counters)
    new = dataclasses.replace(FAILURES, where={})
    for day in range(2):
        put(counters, day + 2, (START_S + day * DAY_S, "", "192.0.2.10", 1, 1, 0))
        aged(database, counters, START_S + 2 * DAY_S)
    small = dataclasses.replace(KEEP, max_bytes=database.used_bytes() - 1)
    assert Retention(database, counters, small, LOOK_BACK_S).shed([new, PORTS], START_S + 2 * DAY_S) > 1_000
    assert [START_S, START_S + DAY_S] == [row[0] for row in table(database, FAILURES.name)]


def test_no_other_table_is_a_former_one(database: Database, counters: Counters) -> None:
    """Neither our own nor somebody else's."""
    database.connection.execute("CREATE TABLE mine (slot INTEGER PRIMARY KEY, site TEXT, EventCount INTEGER)")
    assert counters.former([FAILURES, PORTS]) == []
    assert {each.name for each in counters.former([])} == {
        f"{name}{level}" for name in (FAILURES.name, PORTS.name) for level in ("", "_hours", "_days")
    }


SITES = ("", "north")
ROWS = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 5), st.integers(1, 50)), max_size=6)
STEPS = st.one_of(
    st.tuples(st.just("rows"), ROWS),
    st.tuples(st.just("age"), st.integers(0, 500)),
    st.tuples(st.just("restart"), st.just(0)),
    st.tuples(st.just("shed"), st.just(0)),
)  # fmt: skip


@given(steps=st.lists(STEPS, max_size=30), length=st.sampled_from([600, 1_800, 7_200]), keep=st.integers(0, 3))
def test_whatever_the_order(steps: list[tuple[str, Any]], length: int, keep: int) -> None:
    """Rows early and late, ageing, clocks that go back, restarts: the days equal the plain sum, key by key at that."""
    definition = dataclasses.replace(FAILURES, slot_s=length)
    database = Database.__new__(Database)
    database.path = Path("memory")
    database._lock_fd = None
    database._connect(":memory:", uri=False, busy_timeout_ms=0)
    database._prepare()
    want: Counter[tuple[int, str]] = Counter()
    with database, pytest.MonkeyPatch.context() as patch:
        # Nothing is cut in one half of the cases, so that each key can be looked at.
        patch.setattr(retention, "KEPT_KEYS_PER_SLOT", keep or 100)
        patch.setattr(retention, "KEPT_KEYS_PER_HOUR", keep or 100)
        counters = Counters(database, "run")
        counters.ensure([definition])
        kept = Keep(slots_s=DAY_S, hours_s=2 * DAY_S, days_s=400 * DAY_S, max_bytes=2**40)
        for seq, (what, value) in enumerate(steps, start=1):
            ages = Retention(database, counters, kept, LOOK_BACK_S)
            if what == "rows":
                rows = []
                for ten_minutes, key, count in value:
                    slot = (START_S + ten_minutes * 600) // length * length
                    rows.append((slot, SITES[key % 2], f"192.0.2.{key}", count, 1, 0))
                    want[slot - slot % DAY_S, f"192.0.2.{key}"] += count
                changes = Changes(
                    seq=seq, now_ns=seq, rows={definition.name: rows}, ledger=[], windows=(), evicted={},
                    without_key={}, carried=0,
                )  # fmt: skip
                counters.write(changes, [definition], ["udp"])
            elif what == "age":
                ages.age(definition, START_S + value * 600)
            elif what == "restart":
                counters = Counters(database, f"run {seq}")
                counters.ensure([definition])
            else:
                # What is shed is in the next table.
                patch.setattr(retention, "SHED_ROWS_PER_CALL", 1)
                tiny = dataclasses.replace(kept, max_bytes=0)
                if counters.first_slot(definition, counters.rolled_until(definition)) is not None:
                    Retention(database, counters, tiny, LOOK_BACK_S).shed([definition], START_S)

        found: Counter[tuple[int, str]] = Counter()
        for day, _, (source,), total in History(database).days(definition, START_S, START_S + 10 * DAY_S):
            found[day, source] += total
        if not keep:
            assert want == found
        for _ in range(5):
            Retention(database, counters, kept, LOOK_BACK_S).age(definition, START_S + 60 * DAY_S)
        sums: Counter[int] = Counter()
        for (day, _), total in want.items():
            sums[day] += total
        assert sums == day_sums(database, definition)
