"""What would have been sent."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from collectord.model import Alert, AlertState, Mode
from collectord.store.alerts import Alerts
from collectord.store.db import Database
from collectord.store.learned import Learned, learned

MakeAlert = Callable[..., Alert]


@pytest.fixture
def episode(database: Database, make_alert: MakeAlert) -> Callable[..., None]:
    """Stores a raise and a clear."""

    def store(number: int, episode: int = 1, held: str = "", mode: Mode = Mode.REPORT, **fields: Any) -> None:
        values = {"episode": episode, "mode": mode, "details": {"held": held} if held else {}} | fields
        alerts: Sequence[Alert] = [
            make_alert(f"{number:016x}", "raised", **values),
            make_alert(f"{number:016x}", "cleared", **values | {"peak": 7000 * episode, "state": AlertState.CLEARED}),
        ]
        Alerts(database).record(alerts, [()] * 2)

    return store


def test_by_rule_and_key(database: Database, episode: Callable[..., None]) -> None:
    """Raises and the largest peak of each key, the most frequent first."""
    episode(1, held="learning")
    episode(2, held="learning")
    episode(2, episode=2, held="learning")
    episode(3, rule="another")

    found = learned(database, 0, 10)
    assert [("another", 1, 7000, 0), ("excessive-failures", 2, 14_000, 1), ("excessive-failures", 1, 7000, 1)] == [
        (each.rule, each.raises, each.peak, each.learning) for each in found
    ]
    assert found[1] == Learned(
        "excessive-failures", "north", {"SrcIpAddr": "192.0.2.10", "DstPortNumber": 445}, f"{2:016x}", "medium", 2,
        14_000, 5000, 1_000_000_000, 2_000_000_000, 1,
    )  # fmt: skip
    assert 1 == len(learned(database, 0, 1))
    assert [] == learned(database, 2_000_000_000, 10)


def test_what_else_was_held_back(database: Database, episode: Callable[..., None]) -> None:
    """Neither what was sent nor what maintenance, the shelf or a storm held."""
    episode(1, mode=Mode.NOTIFY)
    for number, held in enumerate(("shelved", "maintenance 1: x", "storm cap: 30 ...")):
        episode(10 + number, held=held)

    assert [] == learned(database, 0, 10)
