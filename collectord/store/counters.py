"""
Counter tables: one per counter definition, one row per slot, site and key.

    <counter>(slot, site, <ASIM key columns>, EventCount, messages, error)

``slot`` is the epoch second of the slot's start, ``EventCount`` the sum, ``messages`` the number of messages in it,
``error`` the most that ``EventCount`` can lack. The row with the site ``*`` and empty key columns is what has no row of
its own, so the sum over a slot is always the whole. Beside each lie its hours and days (``rollups.py``), kept likewise.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlite_utils.db import quote_identifier

from collectord.errors import StoreError
from collectord.fields import RULE_FIELDS, is_number_field
from collectord.model import FIXED_TABLES, OTHER_SITE, Changes, CounterDefinition
from collectord.store import devices, ledger, meta, quarantine, rollups, states
from collectord.store.bulk import BulkInsert
from collectord.store.db import Database

FOLD_ROWS_PER_CALL = 20_000
"""Rows that one call of ``fold`` takes away at most (about 0.1 s on a small core)."""

EXPIRE_ROWS_PER_CALL = 20_000
"""``expire`` stops after the slot with which it reaches this many rows."""

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class TableSql:
    """Every statement for one counter's table; the only place where they are put together."""

    table: str
    columns: tuple[str, ...]
    """Of the primary key, in order: slot, site, key columns."""
    other: Row = field(hash=False)
    """Site and key columns of the row that collects what has no row of its own."""
    create: str
    upsert: BulkInsert
    delete: str
    open_rows: str
    first_slot: str
    smallest: str
    delete_slot: str
    totals: str

    @classmethod
    def of(cls, definition: CounterDefinition) -> "TableSql":
        """
        The statements of a definition.

        Raises:
            StoreError: the name or a key column is none that a table may have.
        """
        _check_names(definition)
        keys = definition.group_by
        columns = ("slot", "site", *keys)
        table = quote_identifier(definition.name)
        quoted = [quote_identifier(column) for column in columns]
        primary = ", ".join(quoted)
        everything = f"{primary}, EventCount, messages, error"
        types = ["INTEGER", "TEXT", *("INTEGER" if is_number_field(key) else "TEXT" for key in keys)]
        declared = ", ".join(f"{name} {kind} NOT NULL" for name, kind in zip(quoted, types, strict=True))
        exactly = " AND ".join(f"{name} = ?" for name in quoted)
        other = (OTHER_SITE, *(0 if is_number_field(key) else "" for key in keys))
        not_other = " AND NOT (" + " AND ".join(f"{name} = ?" for name in quoted[1:]) + ")"
        largest = "EventCount DESC, messages DESC"
        if definition.pinned_ports:
            ports = ", ".join(f"{port:d}" for port in definition.pinned_ports)
            largest = f"DstPortNumber IN ({ports}) DESC, {largest}"
        return cls(
            table=definition.name,
            columns=columns,
            other=other,
            create=(
                f"CREATE TABLE {table} ({declared}, EventCount INTEGER NOT NULL, messages INTEGER NOT NULL, "
                f"error INTEGER NOT NULL, PRIMARY KEY ({primary})) WITHOUT ROWID"
            ),
            upsert=BulkInsert(
                f"INSERT INTO {table} ({everything})",
                len(columns) + 3,
                f"ON CONFLICT ({primary}) DO UPDATE SET EventCount = EventCount + excluded.EventCount, "
                "messages = messages + excluded.messages, error = max(error, excluded.error)",
            ),
            delete=f"DELETE FROM {table} WHERE {exactly}",
            open_rows=f"SELECT {everything} FROM {table} WHERE slot >= ? AND slot < ?{not_other} ORDER BY slot",
            first_slot=f"SELECT min(slot) FROM {table} WHERE slot >= ? AND slot < ?",
            smallest=(
                f"SELECT {everything} FROM {table} WHERE slot = ?{not_other} "
                f"ORDER BY {largest}, {primary} LIMIT ? OFFSET ?"
            ),
            delete_slot=f"DELETE FROM {table} WHERE slot = ?",
            totals=f"SELECT slot, sum(EventCount), sum(messages) FROM {table} WHERE slot >= ? GROUP BY slot",
        )


class Counters:
    """
    The counter tables of a database.

    Args:
        database: The writing side (a reader will do for the calls that read).
        run: Names this run of the engine; batch numbers count within it. Any text that no other run had.
    """

    def __init__(self, database: Database, run: str) -> None:
        self._database = database
        self._run = run
        self._sql: dict[CounterDefinition, TableSql] = {}

    def ensure(self, definitions: Iterable[CounterDefinition]) -> list[tuple[str, str]]:
        """
        Makes the tables that are missing, those of hours and days included.

        A table of that name that was kept for another definition (the rule was changed: other columns, filter, weight
        or slot) is kept under a new name.

        Returns:
            (name, new name) of each table that was put aside.
        """
        moved: list[tuple[str, str]] = []
        with self._database.transaction("make the counter tables") as connection:
            for definition in definitions:
                if not definition.has_table:
                    self._keep_states(connection, definition, moved)
                    continue
                finer = None
                for level in rollups.levels(definition):
                    made = self._make(connection, level, moved)
                    if made and finer is not None:
                        rollups.forget_mark(connection, finer)
                    finer = level
        return moved

    def holds(self, definition: CounterDefinition) -> bool:
        """Whether what is kept under the definition's name is of this definition; :meth:`ensure` sees to that."""
        with self._database.reading("look at the counter tables") as connection:
            sql = self._statements(definition)
            fits = sql.table in self._database.tables.table_names() and self._fits(sql)
            same = meta.read(connection, f"definition:{definition.name}") == _meaning(definition)
            return same and (fits or not definition.has_table)

    def fresh(self, definitions: Iterable[CounterDefinition]) -> frozenset[str]:
        """Names of the counters for which nothing of use is kept."""
        return frozenset(each.name for each in definitions if not self.holds(each))

    def write(self, changes: Changes, definitions: Iterable[CounterDefinition], listeners: Sequence[str]) -> bool:
        """
        Stores a batch in one transaction: counters and the states of their keys, ledger, devices, quarantine, and the
        batch's number.

        Returns:
            False if this batch is stored already (its acknowledgement was lost); nothing is added then.

        Raises:
            StoreError: nothing of the batch is stored; hand it over again.
        """
        with self._database.transaction("store the counters") as connection:
            if (meta.read(connection, "run"), meta.read(connection, "seq")) == (self._run, str(changes.seq)):
                return False
            for definition in definitions:
                rows = changes.rows.get(definition.name)
                if rows:
                    slots: set[int] = set()
                    self._statements(definition).upsert.run(connection, _noting_slots(rows, slots))
                    first = min(slots)
                    self._fold_again_from(connection, definition, first)
                    for level, slot in rollups.add_late(connection, definition, rows, first):
                        self._fold_again_from(connection, level, slot)
            states.write(connection, changes.states)
            ledger.add(connection, changes.ledger, listeners)
            devices.add(connection, changes.devices, listeners)
            quarantine.add(connection, changes.quarantine, listeners)
            quarantine.add_words(connection, changes.unmapped, changes.now_ns)
            meta.write(connection, "run", self._run)
            meta.write(connection, "seq", str(changes.seq))
            meta.write(connection, "last_tick_ns", str(changes.now_ns))
        return True

    def last_tick_ns(self) -> int:
        """Wall time (ns) of the newest batch that is stored; 0 if there is none."""
        with self._database.reading("read the last tick") as connection:
            return int(meta.read(connection, "last_tick_ns") or 0)

    def open_rows(self, definition: CounterDefinition, from_slot: int, before_slot: int = 2**63 - 1) -> list[Row]:
        """
        The rows of the slots from ``from_slot`` on, oldest slot first, for the engine to go on with.

        The row of what has no row of its own is left out: it belongs to no key. Read slot by slot (``before_slot``)
        where many keys are expected; a slot holds at most ``definition.capacity`` of them, and those evicted.
        """
        if not definition.has_table:
            return []
        sql = self._statements(definition)
        with self._database.reading("read the open slots") as connection:
            return connection.execute(sql.open_rows, (from_slot, before_slot, *sql.other)).fetchall()

    def totals(self, definition: CounterDefinition, from_slot: int) -> dict[int, tuple[int, int]]:
        """Per slot from ``from_slot`` on: (EventCount, messages), everything included."""
        sql = self._statements(definition)
        with self._database.reading("read the slot totals") as connection:
            return {slot: (count, messages) for slot, count, messages in connection.execute(sql.totals, (from_slot,))}

    def fold(
        self,
        definition: CounterDefinition,
        before_slot: int,
        keep: int,
        *,
        most_rows: int = FOLD_ROWS_PER_CALL,
    ) -> int:
        """
        Cuts slots that left every window to their ``keep`` largest keys; the rest becomes one row, totals stay exact.

        Works from the oldest slot on, and remembers how far it came. Call again while it returns something.

        Args:
            definition: The counter.
            before_slot: Slots that start earlier (epoch seconds) have left every window.
            keep: Keys to keep per slot, the largest ``EventCount`` first.
            most_rows: Bound of one call.

        Returns:
            Rows that were folded, at most ``most_rows``.
        """
        sql = self._statements(definition)
        folded = 0
        with self._database.transaction("fold old counters") as connection:
            slot = _first_slot(connection, sql, _folded_until(connection, definition), before_slot)
            while slot is not None and folded < most_rows:
                rows = connection.execute(sql.smallest, (slot, *sql.other, most_rows - folded, keep)).fetchall()
                if rows:
                    _fold_rows(connection, sql, slot, rows)
                    folded += len(rows)
                    if folded == most_rows:
                        # There may be more in this slot: it stays the first one to look at.
                        break
                slot = _first_slot(connection, sql, slot + 1, before_slot)
            until = before_slot if slot is None else slot
            if until > _folded_until(connection, definition):
                _set_folded_until(connection, definition, until)
        return folded

    def expire(self, definition: CounterDefinition, before_slot: int, *, most_rows: int = EXPIRE_ROWS_PER_CALL) -> int:
        """
        Deletes whole slots that start before ``before_slot`` (epoch seconds), the oldest first.

        Returns:
            Deleted rows; 0 when there is nothing left to do. One call ends with the slot that reaches ``most_rows``.
        """
        sql = self._statements(definition)
        deleted = 0
        with self._database.transaction("delete old counters") as connection:
            while deleted < most_rows:
                slot = _first_slot(connection, sql, -(2**63), before_slot)
                if slot is None:
                    break
                deleted += connection.execute(sql.delete_slot, (slot,)).rowcount
        return deleted

    def former(self, definitions: Iterable[CounterDefinition]) -> list[CounterDefinition]:
        """
        Tables of counters that none of these is: put aside for another definition, or of rules that are gone or off.

        Returns:
            Each as a counter of its own, for :meth:`expire`; its ``slot_s`` tells hours and days from slots.
        """
        present = {level.name for definition in definitions for level in rollups.levels(definition)}
        with self._database.reading("look at the counter tables"):
            names = [name for name in self._database.tables.table_names() if name not in present]
            return [found for name in names if (found := self._as_former(name)) is not None]

    def drop_if_empty(self, definition: CounterDefinition) -> None:
        """Drops a table of :meth:`former` that has no row any more."""
        if self.first_slot(definition, 2**63 - 1) is None:
            with self._database.transaction("drop an old counter table") as connection:
                connection.execute(f"DROP TABLE {quote_identifier(definition.name)}")

    def folded_until(self, definition: CounterDefinition) -> int:
        """Slots that start before (epoch seconds) are cut to their largest keys."""
        with self._database.reading("read how far counters are folded") as connection:
            return _folded_until(connection, definition)

    def rolled_until(self, definition: CounterDefinition) -> int:
        """Slots (or hours) that start before (epoch seconds) are rolled up into the next table."""
        with self._database.reading("read how far counters are rolled up") as connection:
            return rollups.rolled_until(connection, definition)

    def first_slot(self, definition: CounterDefinition, before_slot: int) -> int | None:
        """The oldest slot that starts before ``before_slot``; None if there is none."""
        with self._database.reading("read the oldest slot") as connection:
            return _first_slot(connection, self._statements(definition), -(2**63), before_slot)

    def _make(
        self, connection: sqlite3.Connection, definition: CounterDefinition, moved: list[tuple[str, str]]
    ) -> bool:
        """Makes one table; False if it is there already. One of another definition is put aside and noted."""
        sql = self._statements(definition)
        meaning = _meaning(definition)
        if sql.table in self._database.tables.table_names():
            if self._fits(sql) and meta.read(connection, f"definition:{sql.table}") == meaning:
                return False
            moved.append((sql.table, self._put_aside(sql.table)))
        connection.execute(sql.create)
        states.forget(connection, sql.table)
        meta.write(connection, f"definition:{sql.table}", meaning)
        _set_folded_until(connection, definition, 0)
        return True

    def _keep_states(
        self, connection: sqlite3.Connection, definition: CounterDefinition, moved: list[tuple[str, str]]
    ) -> None:
        """What is kept of a counter without a table is of use as long as its definition is the same."""
        note, meaning = f"definition:{definition.name}", _meaning(definition)
        if meta.read(connection, note) == meaning:
            return
        if definition.name in self._database.tables.table_names():
            moved.append((definition.name, self._put_aside(definition.name)))
        states.forget(connection, definition.name)
        meta.write(connection, note, meaning)

    def _statements(self, definition: CounterDefinition) -> TableSql:
        sql = self._sql.get(definition)
        if sql is None:
            sql = self._sql[definition] = TableSql.of(definition)
        return sql

    def _fits(self, sql: TableSql) -> bool:
        table = self._database.tables.table(sql.table)
        names = tuple(column.name for column in table.columns)
        return names == (*sql.columns, "EventCount", "messages", "error") and tuple(table.pks) == sql.columns

    def _as_former(self, name: str) -> CounterDefinition | None:
        """A table as a counter of its own; None if it is not one of a counter."""
        names = tuple(column.name for column in self._database.tables.table(name).columns)
        definition = CounterDefinition(name, {}, names[2:-3], rollups.length_s(name))
        try:
            return definition if self._fits(self._statements(definition)) else None
        except StoreError:
            return None

    def _put_aside(self, table: str) -> str:
        names = set(self._database.tables.table_names())
        number = 1
        while f"{table}_{number}" in names:
            number += 1
        aside = f"{table}_{number}"
        self._database.tables.rename_table(table, aside)
        return aside

    def _fold_again_from(self, connection: sqlite3.Connection, definition: CounterDefinition, slot: int) -> None:
        """Late rows of a slot that is folded already send the folding back to it."""
        if slot < _folded_until(connection, definition):
            _set_folded_until(connection, definition, slot)


def _noting_slots(rows: Iterable[Row], slots: set[int]) -> Iterator[Row]:
    """The rows one by one, their slots noted on the way: a batch is too long to go through it twice."""
    for row in rows:
        slots.add(row[0])
        yield row


def _meaning(definition: CounterDefinition) -> str:
    """What the rows of a counter mean, as a text that is equal for equal definitions."""
    meaning = {"where": definition.where, "slot_s": definition.slot_s, "weight": definition.weight}
    # Left out where they are as they always were, so that a table of an earlier version keeps its meaning.
    if definition.every_record:
        meaning["every_record"] = True
    if definition.distinct:
        meaning["distinct"] = definition.distinct
    if definition.beacon:
        meaning["beacon"] = definition.beacon
    return json.dumps(meaning, sort_keys=True)


def _folded_until(connection: sqlite3.Connection, definition: CounterDefinition) -> int:
    return int(meta.read(connection, f"folded_until:{definition.name}") or 0)


def _set_folded_until(connection: sqlite3.Connection, definition: CounterDefinition, slot: int) -> None:
    meta.write(connection, f"folded_until:{definition.name}", str(slot))


def _first_slot(connection: sqlite3.Connection, sql: TableSql, from_slot: int, before_slot: int) -> int | None:
    slot: int | None = connection.execute(sql.first_slot, (from_slot, before_slot)).fetchone()[0]
    return slot


def _fold_rows(connection: sqlite3.Connection, sql: TableSql, slot: int, rows: Sequence[Row]) -> None:
    width = len(sql.columns)
    connection.executemany(sql.delete, [row[:width] for row in rows])
    count = sum(row[width] for row in rows)
    messages = sum(row[width + 1] for row in rows)
    error = max(row[width + 2] for row in rows)
    sql.upsert.run(connection, [(slot, *sql.other, count, messages, error)])


def _check_names(definition: CounterDefinition) -> None:
    """Names become SQL: only known fields, and table names that are plain identifiers and not taken."""
    name = definition.name
    if not (name.isascii() and name.isidentifier()) or name.lower().startswith(("sqlite_", "idx_")):
        raise StoreError(f"{name!r} can't be a counter's name: letters, digits and _ only, not starting with a digit")
    if name.lower() in FIXED_TABLES:
        raise StoreError(f"{name!r} can't be a counter's name: the database has a table of that name")
    strange = [key for key in definition.group_by if key not in RULE_FIELDS]
    if strange or not definition.group_by:
        raise StoreError(f"counter {name} can't be grouped by {', '.join(strange) or 'nothing'}")
    if len(set(definition.group_by)) != len(definition.group_by):
        raise StoreError(f"counter {name} is grouped by the same field twice")
