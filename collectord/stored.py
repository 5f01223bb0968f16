"""What the database holds of a counter, for the engine to go on with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from collectord.model import NS_PER_S, CounterDefinition, KeyState
from collectord.store import states as key_states
from collectord.store.counters import Counters
from collectord.store.db import Database


@dataclass(frozen=True, slots=True)
class Stored:
    """Rows of slots that a rule looks at, and states of keys."""

    counter: str
    rows: Sequence[tuple[Any, ...]]
    states: Sequence[KeyState]


def stored(
    tables: Counters,
    database: Database,
    definition: CounterDefinition,
    longest_window_s: int,
    now_ns: int,
    held_from_s: int | None = None,
) -> Stored:
    """
    What the database holds of the slots that a counter looks at, and the engine does not hold.

    Args:
        tables: The counters' tables.
        database: They are in it.
        definition: The counter.
        longest_window_s: How far its rules look back.
        now_ns: From now.
        held_from_s: The engine holds what is from then on (epoch s); None: nothing.

    Raises:
        StoreError: it can't be read.
    """
    from_s = now_ns // NS_PER_S - longest_window_s - definition.slot_s
    if held_from_s is None:
        rows = tables.open_rows(definition, from_s)
        return Stored(definition.name, rows, key_states.open_states(database, definition.name, from_s))
    rows = tables.open_rows(definition, from_s, held_from_s) if from_s < held_from_s else []
    return Stored(definition.name, rows, [])
