"""Whether the outbox is as it must be: nothing missing, nothing out of order, the totals right."""

from collections.abc import Iterator
from typing import Any

from collectord.model import AlertState
from collectord.policy import DropReason
from collectord.store.db import Database

MOST_FINDINGS = 20
"""Of one kind; the rest is a number."""

_QUICK_CHECK = "PRAGMA quick_check(5)"
_ENTRIES = """
    SELECT o.id, o.output, o.alert_id, o.episode, o.event, o.sequence, o.attempts, o.delivered_ns, o.dropped_ns,
           h.id IS NOT NULL
    FROM outbox o LEFT JOIN alert_history h ON h.id = o.alert_id AND h.episode = o.episode AND h.event = o.event
    ORDER BY o.output, o.id
"""
_LEVELS = "SELECT output, last, delivered, dropped, forgotten FROM outbox_sequences ORDER BY output"
_DROPS = f"""
    SELECT output, sum(entries) FROM outbox_drops WHERE reason <> '{DropReason.NEW.value}' GROUP BY output
"""


def findings(database: Database) -> tuple[int, list[str]]:
    """
    Looks at every entry.

    Returns:
        (entries looked at, what is wrong in words; at most ``MOST_FINDINGS`` of each kind).
    """
    with database.reading("verify the outbox") as connection:
        damage = [row[0] for row in connection.execute(_QUICK_CHECK) if row[0] != "ok"]
        entries = connection.execute(_ENTRIES).fetchall()
        levels = connection.execute(_LEVELS).fetchall()
        drops = dict(connection.execute(_DROPS).fetchall())
    found = [f"the database is damaged: {text}" for text in damage]
    kinds: dict[str, int] = {}
    for kind, text in (*_of_entries(entries), *_of_totals(entries, levels, drops)):
        kinds[kind] = kinds.get(kind, 0) + 1
        if kinds[kind] <= MOST_FINDINGS:
            found.append(text)
    found += [f"and {n - MOST_FINDINGS:,} more: {kind}" for kind, n in kinds.items() if n > MOST_FINDINGS]
    return len(entries), found


def _of_entries(entries: list[tuple[Any, ...]]) -> Iterator[tuple[str, str]]:
    last_sequence: dict[str, int] = {}
    # (output, alert) -> event of the last that the output knows or will know
    told: dict[tuple[object, object], object] = {}
    waits: set[tuple[object, object]] = set()
    for number, output, alert, episode, event, sequence, attempts, delivered, dropped, has_state in entries:
        name = f"entry {number} for {output} ({alert}, episode {episode}, {event})"
        if not has_state:
            yield "no such state", f"{name}: the alert's history has no such state"
        if sequence <= last_sequence.get(output, 0):
            yield "sequence", f"{name}: its sequence {sequence} does not rise, {last_sequence[output]} came before it"
        last_sequence[output] = max(sequence, last_sequence.get(output, 0))
        if delivered is not None and dropped is not None:
            yield "both", f"{name}: delivered and dropped"
        waiting = delivered is None and dropped is None
        if delivered is not None and (output, alert) in waits:
            yield "overtook", f"{name}: delivered before an older one of the same alert"
        if waiting:
            waits.add((output, alert))
            if event == AlertState.CLEARED and told.get((output, alert), event) == AlertState.CLEARED:
                yield "clear", f"{name}: a clear without its raise"
        if dropped is None or (attempts and event != AlertState.CLEARED):
            told[output, alert] = event


def _of_totals(
    entries: list[tuple[Any, ...]], levels: list[tuple[str, int, int, int, int]], drops: dict[str, int]
) -> Iterator[tuple[str, str]]:
    rows: dict[object, list[int]] = {}
    highest: dict[object, int] = {}
    for entry in entries:
        output, sequence, delivered, dropped = entry[1], entry[5], entry[7], entry[8]
        counts = rows.setdefault(output, [0, 0])
        counts[0] += 1
        counts[1] += delivered is None and dropped is None
        highest[output] = max(sequence, highest.get(output, 0))
    for output, last, delivered, dropped, forgotten in levels:
        there, waiting = rows.pop(output, [0, 0])
        if there + forgotten != last:
            yield (
                "gap",
                (
                    f"{output}: {last:,} entries were made, {there:,} are there, {forgotten:,} deleted since: "
                    f"{abs(last - there - forgotten):,} are {'missing' if last > there + forgotten else 'too many'}"
                ),
            )
        if delivered + dropped + waiting != last:
            yield (
                "totals",
                (
                    f"{output}: {delivered:,} delivered, {dropped:,} dropped and {waiting:,} waiting are not the "
                    f"{last:,} that were made"
                ),
            )
        if highest.get(output, 0) > last:
            yield "last", f"{output}: sequence {highest[output]} is above the last that was given, {last}"
        if drops.get(output, 0) != dropped:
            yield "reasons", f"{output}: {dropped:,} dropped, the reasons add up to {drops.get(output, 0):,}"
    for output in rows:
        yield "unknown", f"{output}: entries without totals"
