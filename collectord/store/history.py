"""What counters held on days, the present one included: sums that are exact however far they are rolled up."""

import itertools
import json
from collections.abc import Iterator, Sequence
from typing import Any

from sqlite_utils.db import quote_identifier

from collectord.errors import StoreError
from collectord.fields import is_number_field
from collectord.model import OTHER_SITE, CounterDefinition, KeyValue
from collectord.store import rollups
from collectord.store.db import Database
from collectord.store.rollups import DAY_S

Key = tuple[str, tuple[KeyValue, ...]]
"""Site, and the values of the fields that were asked for."""

_UNSAID = {True: "0", False: "''"}
"""What stands in a port's or another field's column where the session does not say it."""

_FIRST_OF_SITE = """
    WITH RECURSIVE starts(slot) AS (
        SELECT min(slot) FROM {0}
        UNION ALL
        SELECT (SELECT min(slot) FROM {0} WHERE slot > starts.slot) FROM starts WHERE starts.slot IS NOT NULL
    )
    SELECT slot FROM starts
    WHERE EXISTS (SELECT 1 FROM {0} AS row WHERE row.slot = starts.slot AND row.site = ?) LIMIT 1
"""
"""From slot to slot by the primary key (slot, site, ...): a table may have a million rows of other sites before."""


class History:
    """
    The days of a database's counters.

    Args:
        database: Either side.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def first_day(self, definition: CounterDefinition, site: str | None = None) -> int | None:
        """
        The start (epoch seconds) of the first day that the counter has anything of; None: it has nothing.

        Args:
            definition: The counter.
            site: Anything of this site; None: of any.
        """
        if site is None:
            return min(self._ends("min", definition), default=None)
        with self._database.reading("read since when there is a site") as connection:
            # Whatever is in a finer table from before a mark is in the coarser one as well.
            for level in reversed(rollups.levels(definition)):
                found = connection.execute(_FIRST_OF_SITE.format(quote_identifier(level.name)), (site,)).fetchone()
                if found is not None:
                    slot: int = found[0]
                    return slot - slot % DAY_S
        return None

    def last_day(self, definition: CounterDefinition) -> int | None:
        """The start (epoch seconds) of the last day that the counter has anything of; None: it has nothing."""
        return max(self._ends("max", definition), default=None)

    def _ends(self, which: str, definition: CounterDefinition) -> list[int]:
        with self._database.reading("read which days there are") as connection:
            ends = [
                connection.execute(f"SELECT {which}(slot) FROM {quote_identifier(level.name)}").fetchone()[0]
                for level in rollups.levels(definition)
            ]
        return [slot - slot % DAY_S for slot in ends if slot is not None]

    def slots(self, definition: CounterDefinition) -> Iterator[tuple[Key, list[tuple[int, int]]]]:
        """
        The counter's own slots, key by key: (start in epoch seconds, sum), rising.

        For a copy of the database: it takes its time, and reads until the caller is done.
        """
        columns = ", ".join(quote_identifier(name) for name in ("site", *definition.group_by))
        with self._database.reading("read the slots") as connection:
            rows = connection.execute(
                f"SELECT {columns}, slot, EventCount FROM {quote_identifier(definition.name)} "
                f"WHERE site != ? ORDER BY {columns}, slot",
                (OTHER_SITE,),
            )
            for (site, *key), of_key in itertools.groupby(rows, key=lambda row: row[:-2]):
                yield (site, tuple(key)), [(row[-2], row[-1]) for row in of_key]

    def days(
        self,
        definition: CounterDefinition,
        from_s: int,
        before_s: int,
        *,
        fields: Sequence[str] | None = None,
        ports: Sequence[int] | None = None,
        above: int = 0,
        most: int | None = None,
    ) -> list[tuple[int, str, tuple[KeyValue, ...], int]]:
        """
        Sums per day and key, from ``from_s`` to before ``before_s`` (both epoch seconds, starts of days).

        What belongs to no key (the row that collects the rest) is left out.

        Args:
            definition: The counter.
            from_s: The first day.
            before_s: The day after the last.
            fields: Some of the counter's fields, to add up over the others; keys without a value for one of them are
                left out. None: all of them, with or without a value.
            ports: Only these values of ``DstPortNumber``.
            above: Only sums that are larger.
            most: Only so many sums, the largest.

        Returns:
            (start of the day, site, values of the fields, sum); the largest first if ``most`` is given.
        """
        wanted = definition.group_by if fields is None else tuple(fields)
        if not set(wanted) <= set(definition.group_by):
            raise StoreError(f"the counter {definition.name} has no {', '.join(wanted)}")
        columns = "".join(f", {quote_identifier(name)}" for name in wanted)
        tests = ["slot >= ?", "slot < ?", "site != ?"]
        if ports is not None:
            tests.append("DstPortNumber IN (SELECT value FROM json_each(?))")
        if fields is not None:
            tests += [f"{quote_identifier(name)} != {_UNSAID[is_number_field(name)]}" for name in wanted]
        parts, values = [], []
        with self._database.reading("read the counters' days") as connection:
            finer, hours, days = rollups.levels(definition)
            begins = {
                days: from_s,
                hours: max(from_s, rollups.rolled_until(connection, hours)),
                finer: max(from_s, rollups.rolled_until(connection, finer)),
            }
            for level, begin in begins.items():
                parts.append(
                    f"SELECT slot - slot % {DAY_S} AS day, site{columns}, EventCount "
                    f"FROM {quote_identifier(level.name)} WHERE {' AND '.join(tests)}"
                )
                values += [begin, before_s, OTHER_SITE, *([json.dumps(list(ports))] if ports is not None else [])]
            rows: list[tuple[Any, ...]] = connection.execute(
                f"SELECT day, site{columns}, sum(EventCount) FROM ({' UNION ALL '.join(parts)}) "
                f"GROUP BY day, site{columns} HAVING sum(EventCount) > ?"
                f"{'' if most is None else f' ORDER BY sum(EventCount) DESC LIMIT {most:d}'}",
                (*values, above),
            ).fetchall()
        return [(row[0], row[1], tuple(row[2:-1]), row[-1]) for row in rows]
