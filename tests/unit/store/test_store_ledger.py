"""The loss ledger adds up, by the listeners' names."""

from collectord.store import ledger
from collectord.store.db import Database


def test_increments_add_up(database: Database) -> None:
    """Per listener and outcome; an index that is no longer configured keeps its messages."""
    listeners = ["udp", "tcp"]
    ledger.add(database.connection, [(0, "session", 3, 300), (1, "event", 1, 50)], listeners)
    ledger.add(database.connection, [(0, "session", 2, 200), (7, "unparsed", 1, 10), (-1, "empty", 1, 0)], listeners)

    assert [
        ("listener -1", "empty", 1, 0),
        ("listener 7", "unparsed", 1, 10),
        ("tcp", "event", 1, 50),
        ("udp", "session", 5, 500),
    ] == ledger.totals(database)
