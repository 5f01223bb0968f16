"""What is wrong with an outbox is found, and told in words."""

from collections.abc import Callable

import pytest

from collectord.model import Alert
from collectord.store import outbox_check
from collectord.store.alerts import Alerts
from collectord.store.db import Database
from collectord.store.outbox import Outbox

MakeAlert = Callable[..., Alert]


@pytest.fixture
def filled(database: Database, make_alert: MakeAlert) -> Database:
    """Entry 1 and 2 are raise and clear of an alert, 1 delivered; 3 is another raise."""
    alerts = Alerts(database)
    alerts.record([make_alert("a"), make_alert("a", "cleared"), make_alert("b")], [["noc"], ["noc"], ["noc"]])
    Outbox(database).delivered([1], 5)
    return database


def test_all_is_well(filled: Database) -> None:
    assert outbox_check.findings(filled) == (3, [])


def test_empty(database: Database) -> None:
    assert outbox_check.findings(database) == (0, [])


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("DELETE FROM alert_history WHERE id = 'b'", ["the alert's history has no such state"]),
        ("DELETE FROM outbox WHERE id = 3", ["1 are missing", "1 delivered, 0 dropped and 1 waiting are not the 3"]),
        ("UPDATE outbox SET sequence = 1 WHERE id = 2", ["sequence 1 does not rise, 1 came before it"]),
        ("UPDATE outbox SET sequence = 9 WHERE id = 3", ["sequence 9 is above the last that was given, 3"]),
        ("UPDATE outbox SET delivered_ns = NULL WHERE id = 1", ["1 delivered, 0 dropped and 3 waiting are not the 3"]),
        (
            "UPDATE outbox SET delivered_ns = CASE id WHEN 2 THEN 5 END WHERE alert_id = 'a'",
            ["(a, episode 1, cleared): delivered before an older one of the same alert"],
        ),
        (
            "UPDATE outbox SET dropped_ns = 5, delivered_ns = NULL, attempts = 0 WHERE id = 1",
            ["a clear without its raise"],
        ),
        ("UPDATE outbox SET dropped_ns = 5 WHERE id = 1", ["delivered and dropped"]),
        ("UPDATE outbox_sequences SET dropped = 1, delivered = 0", ["1 dropped, the reasons add up to 0"]),
        ("DELETE FROM outbox_sequences", ["noc: entries without totals"]),
    ],
)
def test_what_is_wrong(filled: Database, sql: str, found: list[str]) -> None:
    with filled.transaction("spoil") as connection:
        connection.execute(sql)
    looked_at, problems = outbox_check.findings(filled)

    assert looked_at in (2, 3)
    assert [each for each in found if not any(each in problem for problem in problems)] == []


def test_much_of_one_kind_is_a_number(database: Database, make_alert: MakeAlert) -> None:
    Alerts(database).record([make_alert(str(number)) for number in range(25)], [["noc"]] * 25)
    database.connection.execute("DELETE FROM alert_history")
    _, problems = outbox_check.findings(database)

    assert len(problems) == outbox_check.MOST_FINDINGS + 1
    assert problems[-1] == "and 5 more: no such state"
