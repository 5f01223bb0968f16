"""What operators put on alerts: who looks after one, and which are shelved until when."""

from collections.abc import Collection

from collectord.model import AlertMark, MarkKind
from collectord.store import audit
from collectord.store.db import Database

_SET = """
    INSERT OR REPLACE INTO alert_marks (alert_id, kind, episode, who, when_ns, reason, until_ns)
    VALUES (?, ?, ?, ?, ?, ?, ?)
"""
_OF = "SELECT alert_id, kind, episode, who, when_ns, reason, until_ns FROM alert_marks WHERE alert_id = ?"
_SHELVED = "SELECT alert_id, until_ns FROM alert_marks WHERE kind = 'shelve' AND until_ns > ?"
_UNSHELVE = "DELETE FROM alert_marks WHERE alert_id = ? AND kind = 'shelve'"

_WHAT = {MarkKind.ACK: "alerts ack", MarkKind.SHELVE: "alerts shelve"}


def put(database: Database, mark: AlertMark) -> None:
    """Store a mark in place of an earlier one of its kind, and who did it."""
    with database.transaction("mark the alert", durable=True) as connection:
        connection.execute(
            _SET,
            (mark.alert_id, mark.kind.value, mark.episode, mark.who, mark.when_ns, mark.reason, mark.until_ns),
        )
        audit.add(connection, mark.when_ns, mark.who, _WHAT[mark.kind], mark.alert_id, mark.reason)


def unshelve(database: Database, alert_id: str, who: str, when_ns: int) -> bool:
    """Take the alert from the shelf; False if it was not there."""
    with database.transaction("unshelve the alert", durable=True) as connection:
        found = connection.execute(_UNSHELVE, (alert_id,)).rowcount > 0
        if found:
            audit.add(connection, when_ns, who, "alerts unshelve", alert_id, "")
    return found


def shelved(database: Database, now_ns: int) -> dict[str, int]:
    """Until when each alert that is shelved now stays so, by its id."""
    with database.reading("read the shelved alerts") as connection:
        return dict(connection.execute(_SHELVED, (now_ns,)).fetchall())


def of(database: Database, alert_ids: Collection[str]) -> dict[str, dict[MarkKind, AlertMark]]:
    """The marks of alerts, those that are past included; alerts without one are not in it."""
    found: dict[str, dict[MarkKind, AlertMark]] = {}
    with database.reading("read the alerts' marks") as connection:
        for alert_id in alert_ids:
            for row in connection.execute(_OF, (alert_id,)):
                kind = MarkKind(row[1])
                found.setdefault(alert_id, {})[kind] = AlertMark(row[0], kind, *row[2:])
    return found
