"""The daemon's notes."""

from collectord.store import meta
from collectord.store.db import Database


def test_read_and_write(database: Database) -> None:
    """Nothing at first, then the newest text."""
    assert meta.read(database.connection, "run") is None

    meta.write(database.connection, "run", "a")
    meta.write(database.connection, "run", "b")

    assert "b" == meta.read(database.connection, "run")
