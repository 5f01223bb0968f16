"""Exempts and maintenance windows that operators added by command."""

import json

from collectord.model import AddedExempt, MaintenanceWindow
from collectord.store import audit
from collectord.store.db import Database

_ADD_EXEMPT = "INSERT INTO exempts (rule, tests, reason, until_ns, who, when_ns) VALUES (?, ?, ?, ?, ?, ?)"
_EXEMPTS = """
    SELECT number, rule, tests, reason, until_ns, who, when_ns FROM exempts
    WHERE until_ns IS NULL OR until_ns > ? ORDER BY number
"""
_REMOVE_EXEMPT = "DELETE FROM exempts WHERE number = ? RETURNING rule, tests"
_ADD_MAINTENANCE = """
    INSERT INTO maintenance (site, from_ns, until_ns, zone, reason, who, when_ns) VALUES (?, ?, ?, ?, ?, ?, ?)
"""
_MAINTENANCE = """
    SELECT number, site, from_ns, until_ns, zone, reason, who, when_ns FROM maintenance
    WHERE until_ns > ? ORDER BY from_ns, number
"""
# One that has not begun ends where it would have begun: it never was.
_END_MAINTENANCE = """
    UPDATE maintenance SET until_ns = max(from_ns, :now_ns) WHERE number = :number AND until_ns > :now_ns
    RETURNING coalesce(site, 'all sites')
"""
_EXPIRE = (
    "DELETE FROM exempts WHERE until_ns < ?",
    "DELETE FROM maintenance WHERE until_ns < ?",
)


def add_exempt(database: Database, exempt: AddedExempt) -> AddedExempt:
    """Stores it and who did it; returns it with its number."""
    tests = json.dumps(exempt.where)
    with database.transaction("add the exempt", durable=True) as connection:
        row = (exempt.rule, tests, exempt.reason, exempt.until_ns, exempt.who, exempt.when_ns)
        number = connection.execute(_ADD_EXEMPT, row).lastrowid or 0
        target = f"{number}: {exempt.rule} {tests}"
        audit.add(connection, exempt.when_ns, exempt.who, "exempt add", target, exempt.reason)
    return AddedExempt(number, exempt.rule, exempt.where, exempt.reason, exempt.until_ns, exempt.who, exempt.when_ns)


def exempts(database: Database, now_ns: int) -> list[AddedExempt]:
    """Those that have not ended."""
    with database.reading("read the exempts") as connection:
        rows = connection.execute(_EXEMPTS, (now_ns,)).fetchall()
    return [AddedExempt(number, rule, json.loads(tests), *rest) for number, rule, tests, *rest in rows]


def remove_exempt(database: Database, number: int, who: str, when_ns: int) -> bool:
    """False if there is none of that number."""
    with database.transaction("remove the exempt", durable=True) as connection:
        found = connection.execute(_REMOVE_EXEMPT, (number,)).fetchone()
        if found:
            audit.add(connection, when_ns, who, "exempt remove", f"{number}: {found[0]} {found[1]}", "")
    return bool(found)


def add_maintenance(database: Database, window: MaintenanceWindow) -> MaintenanceWindow:
    """Stores it and who did it; returns it with its number."""
    values = (window.site, window.from_ns, window.until_ns, window.zone, window.reason, window.who, window.when_ns)
    with database.transaction("add the maintenance", durable=True) as connection:
        number = connection.execute(_ADD_MAINTENANCE, values).lastrowid or 0
        target = f"{number}: {'all sites' if window.site is None else window.site}"
        audit.add(connection, window.when_ns, window.who, "maintenance add", target, window.reason)
    return MaintenanceWindow(number, *values)


def maintenance(database: Database, now_ns: int) -> list[MaintenanceWindow]:
    """Those that have not ended, in the order in which they begin."""
    with database.reading("read the maintenance") as connection:
        return [MaintenanceWindow(*row) for row in connection.execute(_MAINTENANCE, (now_ns,))]


def end_maintenance(database: Database, number: int, who: str, when_ns: int) -> bool:
    """False if there is none of that number that has not ended."""
    with database.transaction("end the maintenance", durable=True) as connection:
        found = connection.execute(_END_MAINTENANCE, {"number": number, "now_ns": when_ns}).fetchone()
        if found:
            audit.add(connection, when_ns, who, "maintenance end", f"{number}: {found[0]}", "")
    return bool(found)


def expire(database: Database, before_ns: int) -> None:
    """Deletes what ended before."""
    with database.transaction("delete old exceptions") as connection:
        for statement in _EXPIRE:
            connection.execute(statement, (before_ns,))
