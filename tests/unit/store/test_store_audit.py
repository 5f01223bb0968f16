"""Who changed what."""

from collectord.store import audit
from collectord.store.audit import AuditEntry
from collectord.store.db import Database


def test_newest_first(database: Database) -> None:
    """Numbered, bounded, and gone when it is old."""
    with database.transaction("note something") as connection:
        for when_ns in (1, 2, 3):
            audit.add(connection, when_ns, "ada", "exempt add", f"{when_ns}", "why")

    assert [AuditEntry(3, 3, "ada", "exempt add", "3", "why"), AuditEntry(2, 2, "ada", "exempt add", "2", "why")] == (
        audit.entries(database, 2)
    )
    assert 2 == audit.expire(database, 3)
    assert [3] == [entry.number for entry in audit.entries(database, 10)]
