"""How the database stands, over the passes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from collectord.clock import ManualClock
from collectord.errors import DamagedError, StoreError
from collectord.standing import StoreStanding
from collectord.store.db import Database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database(tmp_path / "collectord.db") as database:
        yield database


def test_failing_and_well_again(database: Database) -> None:
    """At least a second, from the pass on that failed first."""
    clock = ManualClock()
    standing = StoreStanding(database, clock.mono_ns)
    assert (standing.failing_s, standing.news().failing_s) == (0, 0)
    assert not standing.passed(clock.mono_ns())
    began_ns = clock.mono_ns()
    standing.failed(StoreError("no space left"))
    assert not standing.passed(began_ns)
    assert (standing.failing_s, standing.reason) == (1, "no space left")
    clock.advance(7)
    standing.failed(StoreError("locked"))
    assert not standing.passed(clock.mono_ns())
    assert (standing.failing_s, standing.reason) == (7, "locked")
    assert standing.news().name == "collectord.db"
    standing.error = None
    assert standing.passed(clock.mono_ns())
    assert (standing.failing_s, standing.reason) == (0, "")


def test_a_new_database_is_news_once(database: Database) -> None:
    standing = StoreStanding(database, lambda: 0)
    database.damage = DamagedError("it is damaged")
    standing.start_over()
    assert standing.moved_to is not None
    assert standing.moved_to.exists()
    assert [standing.news().replaced for _ in range(2)] == [1, 0]
    assert standing.replaced == 1
    # So is one that the start found.
    assert StoreStanding(database, lambda: 0).news().replaced == 1
