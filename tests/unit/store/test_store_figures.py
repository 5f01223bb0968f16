"""Figures of the database for whoever watches from outside."""

from pathlib import Path

from collectord.store import figures
from collectord.store.db import Database
from collectord.store.figures import Figures


def test_nothing_yet(tmp_path: Path) -> None:
    with Database(tmp_path / "c.db") as database:
        found = figures.look(database)
    assert found == Figures(found.used_bytes, found.file_bytes, {}, {})
    assert 0 < found.used_bytes <= found.file_bytes


def test_the_outbox(tmp_path: Path) -> None:
    """What waits is what was made and neither taken nor given up."""
    with Database(tmp_path / "c.db") as database:
        with database.transaction("try") as connection:
            connection.execute(
                "INSERT INTO outbox_sequences (output, last, delivered, dropped, forgotten) VALUES ('noc', 9, 4, 2, 1)"
            )
            connection.execute(
                "INSERT INTO outbox_drops (output, reason, entries, last_ns) VALUES ('noc', 'age', 2, 0)"
            )
        found = figures.look(database)
    assert (found.waiting, found.dropped) == ({"noc": 3}, {("noc", "age"): 2})
