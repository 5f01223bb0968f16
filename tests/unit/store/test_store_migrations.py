"""The schema: what it holds, and that each step is whole or not there."""

import dataclasses
from collections.abc import Iterator

import pytest
import sqlite_utils

from collectord.model import FIXED_TABLES, Alert
from collectord.store.migrations import MIGRATIONS, SCHEMA_VERSION, unknown

STEPS = (
    "m0001_fixed_tables",
    "m0002_devices_and_quarantine",
    "m0003_counter_states",
    "m0004_what_operators_say",
    "m0005_pauses_of_devices",
    "m0006_names_of_addresses",
    "m0007_types_of_alarms",
    "m0008_bounds_of_the_outbox",
    "m0009_cleared_alerts",
)


@pytest.fixture
def db() -> Iterator[sqlite_utils.Database]:
    with sqlite_utils.Database(memory=True) as db:
        yield db


def test_pending_then_applied(db: sqlite_utils.Database) -> None:
    """Both only read; applying twice does nothing more."""
    assert SCHEMA_VERSION == len(MIGRATIONS.pending(db))
    assert [] == MIGRATIONS.applied(db)
    assert [] == db.table_names()

    MIGRATIONS.apply(db)
    MIGRATIONS.apply(db)

    assert [] == MIGRATIONS.pending(db)
    assert list(STEPS) == [migration.name for migration in MIGRATIONS.applied(db)]
    assert {"name", "applied_at"} <= set(db.table("migrations").columns_dict)


def test_fixed_tables_are_those_that_no_counter_may_be_named_after(db: sqlite_utils.Database) -> None:
    """The model names them for the rules."""
    MIGRATIONS.apply(db)

    assert sorted(FIXED_TABLES) == sorted(name for name in db.table_names() if not name.startswith("sqlite_"))


@pytest.mark.parametrize("table", ["alerts", "alert_history"])
def test_alert_tables_hold_every_field(db: sqlite_utils.Database, table: str) -> None:
    """One column per field of an alert, of the same name."""
    MIGRATIONS.apply(db)

    assert [field.name for field in dataclasses.fields(Alert)] == list(db.table(table).columns_dict)


@pytest.mark.parametrize("table", ["alerts", "alert_history"])
def test_older_alerts_get_the_type_that_their_rule_tells(db: sqlite_utils.Database, table: str) -> None:
    """m0007: a database of before has no such column."""
    MIGRATIONS.apply(db, stop_before="m0007_types_of_alarms")
    rules = ["port-scan", "device-silent", "device-clock-off", "messages-lost", "output-down", "alerts-held-back"]
    for number, rule in enumerate(rules):
        text = dict.fromkeys(("event", "state", "severity", "mode", "site", "title", "summary", "reason"), "")
        lists = {"key": "{}", "tactics": "[]", "techniques": "[]", "details": "{}", "rule": rule, "id": rule}
        numbers = dict.fromkeys(("threshold", "count", "window_s", "first_time_ns", "last_time_ns", "last_over_ns"), 0)
        db.table(table).insert({"episode": number, "peak": 0, **text, **lists, **numbers})

    MIGRATIONS.apply(db)

    assert ["alarm", "device-silent", "device-clock", "messages-lost", "output-down", "alarm"] == [
        row["alarm_type"] for row in db.table(table).rows_where(order_by="episode")
    ]


def test_failing_migration_leaves_nothing(db: sqlite_utils.Database) -> None:
    """Neither its tables nor its record; the ones before it stay."""
    MIGRATIONS.apply(db)
    steps = type(MIGRATIONS)("collectord")
    steps.migrations_table = MIGRATIONS.migrations_table

    @steps()
    def m0002_breaks(db: sqlite_utils.Database) -> None:
        db.create_table("half", {"done": int})
        raise OSError

    with pytest.raises(OSError):
        steps.apply(db)

    assert "half" not in db.table_names()
    assert list(STEPS) == [migration.name for migration in MIGRATIONS.applied(db)]


def test_unknown_names_steps_of_a_newer_version(db: sqlite_utils.Database) -> None:
    """Empty for a file of our own."""
    MIGRATIONS.apply(db)
    assert [] == unknown(db)

    db.table("migrations").insert({"migration_set": "collectord", "name": "m0009_later", "applied_at": ""})
    assert ["m0009_later"] == unknown(db)


def test_outbox_of_before_is_kept(db: sqlite_utils.Database) -> None:
    """Entries, their numbers and the totals; a number that was used and deleted is not used again."""
    MIGRATIONS.apply(db, stop_before="m0008_bounds_of_the_outbox")
    columns = "(alert_id, episode, event, output, sequence, created_ns, attempts, next_try_ns, error, delivered_ns)"
    for values in (
        ("a", 1, "raised", "noc", 2, 7, 1, 0, "", 9),
        ("a", 1, "cleared", "noc", 3, 8, 2, 5, "no answer", None),
        ("b", 1, "raised", "noc", 4, 8, 0, 0, "", None),
    ):
        db.execute(f"INSERT INTO outbox {columns} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
    before = db.execute("SELECT * FROM outbox WHERE id < 3 ORDER BY id").fetchall()
    db.execute("DELETE FROM outbox WHERE id = 3")
    db.execute("INSERT INTO outbox_sequences VALUES ('noc', 4)")
    MIGRATIONS.apply(db)

    names = "id, alert_id, episode, event, output, sequence, created_ns, attempts, next_try_ns, error, delivered_ns"
    assert before == db.execute(f"SELECT {names} FROM outbox ORDER BY id").fetchall()
    # Of four that were made two are there, one of them delivered; the others were delivered or given up.
    assert [("noc", 4, 3, 0, 2)] == db.execute("SELECT * FROM outbox_sequences").fetchall()
    db.execute(f"INSERT INTO outbox {columns} VALUES ('c', 1, 'raised', 'noc', 5, 0, 0, 0, '', NULL)")
    assert (4,) == db.execute("SELECT max(id) FROM outbox").fetchone()
