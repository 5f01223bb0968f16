"""
Roll-ups: each counter's sums per hour and per day, for looking back further than slots are kept.

    <counter>  ->  <counter>_hours  ->  <counter>_days

The columns are the counter's; ``slot`` is the epoch second at which the hour or the day (UTC) begins, and a slot
belongs to the hour in which it starts. What is rolled up stays where it was until it is too old.

For each table a mark says how far it was rolled up: what lies before the mark is in the next table as well, what lies
behind it is not. Rows and mark move in one transaction, so that everything is in the next table exactly once whenever
one looks, and rows that come late for what lies before the mark are added to both tables at once. Therefore a sum over
days is exact at any moment: the days, the hours behind their mark, the slots behind theirs.
"""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from sqlite_utils.db import quote_identifier

from collectord.model import CounterDefinition
from collectord.store import meta
from collectord.store.db import Database

HOUR_S = 3_600
DAY_S = 86_400

ROLL_ROWS_PER_CALL = 5_000
"""``roll_up`` stops after the slot with which it reaches this many rows (about 5 ms)."""

Row = tuple[Any, ...]


def hours_of(definition: CounterDefinition) -> CounterDefinition:
    """The table of a counter's hours, as the counter that it could be."""
    return replace(definition, name=f"{definition.name}_hours", slot_s=HOUR_S)


def days_of(definition: CounterDefinition) -> CounterDefinition:
    """The table of a counter's days, as the counter that it could be."""
    return replace(definition, name=f"{definition.name}_days", slot_s=DAY_S)


def levels(definition: CounterDefinition) -> tuple[CounterDefinition, CounterDefinition, CounterDefinition]:
    """The counter, its hours and its days: from fine to coarse."""
    return definition, hours_of(definition), days_of(definition)


def length_s(table: str) -> int:
    """How long the slots of a table are by its name, also where it was put aside; 1: as the counter's own."""
    name = table.rstrip("0123456789").removesuffix("_")
    return HOUR_S if name.endswith("_hours") else DAY_S if name.endswith("_days") else 1


@dataclass(frozen=True, slots=True)
class _StepSql:
    """The statements that take rows from one table to the next."""

    first_slot: str
    roll: str
    add: str

    @classmethod
    def of(cls, finer: CounterDefinition, coarser: CounterDefinition) -> "_StepSql":
        keys = [quote_identifier(key) for key in ("site", *finer.group_by)]
        primary = ", ".join(["slot", *keys])
        everything = f"{primary}, EventCount, messages, error"
        source, target = quote_identifier(finer.name), quote_identifier(coarser.name)
        # What several rows can lack, they can lack together.
        adding = (
            f"ON CONFLICT ({primary}) DO UPDATE SET EventCount = EventCount + excluded.EventCount, "
            "messages = messages + excluded.messages, error = error + excluded.error"
        )
        selected = ", ".join(["?", *keys, "EventCount", "messages", "error"])
        holes = ", ".join("?" for _ in range(len(keys) + 4))
        return cls(
            first_slot=f"SELECT min(slot) FROM {source} WHERE slot >= ? AND slot < ?",
            roll=f"INSERT INTO {target} ({everything}) SELECT {selected} FROM {source} WHERE slot = ? {adding}",
            add=f"INSERT INTO {target} ({everything}) VALUES ({holes}) {adding}",
        )


# A counter's name may stand for another definition after a change of the rules, with other columns.
@lru_cache(maxsize=1_024)
def _step(finer: CounterDefinition, coarser: CounterDefinition) -> _StepSql:
    return _StepSql.of(finer, coarser)


def rolled_until(connection: sqlite3.Connection, level: CounterDefinition) -> int:
    """Slots of this table (not of days) that start before (epoch seconds) are in the next one as well."""
    return int(meta.read(connection, _mark(level)) or 0)


def forget_mark(connection: sqlite3.Connection, level: CounterDefinition) -> None:
    """The next table is a new one: everything is to be rolled up again."""
    meta.write(connection, _mark(level), "0")


def roll_up(
    database: Database,
    finer: CounterDefinition,
    coarser: CounterDefinition,
    before_slot: int,
    *,
    most_rows: int = ROLL_ROWS_PER_CALL,
) -> int:
    """
    Adds slots to the hours (or hours to the days) that they belong to, the oldest first. Call again while it is busy.

    Args:
        database: The writing side.
        finer: The table to take from.
        coarser: The table to add to, the next of :func:`levels`.
        before_slot: Only what starts earlier (epoch seconds).
        most_rows: One call ends with the slot that reaches so many.

    Returns:
        Rows that were added.
    """
    sql = _step(finer, coarser)
    rows = 0
    with database.transaction("roll up the counters") as connection:
        mark = before = rolled_until(connection, finer)
        while rows < most_rows and mark < before_slot:
            slot: int | None = connection.execute(sql.first_slot, (mark, before_slot)).fetchone()[0]
            if slot is None:
                mark = before_slot
                break
            rows += connection.execute(sql.roll, (slot - slot % coarser.slot_s, slot)).rowcount
            mark = slot + 1
        if mark != before:
            meta.write(connection, _mark(finer), str(mark))
    return rows


def add_late(
    connection: sqlite3.Connection, definition: CounterDefinition, rows: Iterable[Row], first_slot: int
) -> list[tuple[CounterDefinition, int]]:
    """
    Adds those of a batch's rows to hours and days whose slots were rolled up already, in the caller's transaction.

    Args:
        connection: In the transaction.
        definition: The counter.
        rows: Of the batch.
        first_slot: The earliest slot among them.

    Returns:
        The tables that got some, each with the earliest slot: what was folded there is to be folded again.
    """
    touched = []
    finer, *coarser_levels = levels(definition)
    late = rows
    for coarser in coarser_levels:
        mark = rolled_until(connection, finer)
        if first_slot >= mark:
            break
        late = [(row[0] - row[0] % coarser.slot_s, *row[1:]) for row in late if row[0] < mark]
        connection.executemany(_step(finer, coarser).add, late)
        first_slot = min(row[0] for row in late)
        touched.append((coarser, first_slot))
        finer = coarser
    return touched


def _mark(level: CounterDefinition) -> str:
    return f"rolled_until:{level.name}"
