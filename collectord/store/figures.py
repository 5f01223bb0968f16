"""How large the database is and what its outbox holds, in a few cheap reads; for whoever watches from outside."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from collectord.store.db import Database

_WAITING = "SELECT output, last - delivered - dropped FROM outbox_sequences"
_DROPPED = "SELECT output, reason, entries FROM outbox_drops"


@dataclass(frozen=True, slots=True)
class Figures:
    """The database as one pass left it."""

    used_bytes: int = 0
    file_bytes: int = 0
    """With the free pages of the file."""
    waiting: Mapping[str, int] = field(default_factory=dict)
    """Alert states that wait, by output."""
    dropped: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Alert states given up since the database was made, by output and reason."""


def look(database: Database) -> Figures:
    """
    The figures of now. Reads totals alone, however much waits.

    Raises:
        StoreError: the database can't be read.
    """
    with database.reading("measure") as connection:
        waiting = dict(connection.execute(_WAITING).fetchall())
        dropped = {(output, reason): entries for output, reason, entries in connection.execute(_DROPPED)}
    return Figures(database.used_bytes(), database.file_bytes(), waiting, dropped)
