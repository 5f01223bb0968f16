"""``collectord tune``."""

from pathlib import Path
from typing import Any

import click
import pytest

from collectord import plan
from collectord.errors import StoreError
from collectord.model import Changes
from collectord.store.counters import Counters
from collectord.store.db import Database

from .conftest import objects

DAY_S = 86_400
START_S = 20_000 * DAY_S


@pytest.fixture
def stored(config: Path) -> None:
    """Three weeks of counters: a source that fails a lot, a port with a spike, and SMB of one machine."""
    setup = plan.load(config)
    rows: dict[str, list[tuple[Any, ...]]] = {
        "failures_by_source": [
            (START_S + 20 * DAY_S, "", f"192.0.2.{number}", 10 * number, 1, 0) for number in range(1, 101)
        ],
        "port_volume": [
            (START_S + day * DAY_S, "", port, "TCP", "Inbound", "Deny", count, 1, 0)
            for day in range(21)
            for port, count in ((3389, 400 if day != 18 else 4_000), (445, 50), (22, 9_999))
        ],
        "smb_by_source": [(START_S + day * DAY_S, "", "10.0.0.5", 445, 50, 1, 0) for day in range(21)],
    }
    changes = Changes(seq=1, now_ns=0, rows=rows, ledger=[], windows=(), evicted={}, without_key={}, carried=0)
    with Database(config.parent / "state" / "collectord.db") as database:
        counters = Counters(database, "run")
        counters.ensure(setup.definitions)
        counters.write(changes, setup.definitions, ["udp"])


@pytest.mark.usefixtures("stored")
def test_a_threshold(run: Any) -> None:
    """Its own is far too high for what there is."""
    (tuned,) = objects(run("tune", "excessive-failures", "--json"))

    assert (tuned["rule"], tuned["limit"], tuned["present"], tuned["keys"]) == (
        "excessive-failures",
        "threshold",
        5000,
        100,
    )
    assert tuned["percentiles"] == {"50": 500, "90": 900, "99": 990, "99.9": 1000, "100": 1000}
    assert [(each["limit"], each["alerts"]) for each in tuned["candidates"]] == [
        (500, 50), (900, 10), (990, 1), (1000, 0), (5000, 0),
    ]  # fmt: skip
    assert tuned["proposed"] == 990
    assert tuned["paste"].endswith("condition = { gt = 990 }")


@pytest.mark.usefixtures("stored")
def test_a_baseline(run: Any) -> None:
    """Only ports that a row is about; the spike is far over every score."""
    (tuned,) = objects(run("tune", "port-anomaly", "--json"))

    assert (tuned["limit"], tuned["present"], tuned["keys"], tuned["days"]) == ("score", 5, 1, 14)
    assert {each["alerts"] for each in tuned["candidates"]} == {1}
    expected = '{ method = "trend", score = 3.0, at_least = 100, min_days = 7, days = 14 }'
    assert tuned["paste"].endswith(f"condition = {expected}")


@pytest.mark.usefixtures("stored")
def test_rows_of_the_watchlist(run: Any) -> None:
    """Each has its own threshold."""
    found = objects(run("tune", "port-misuse", "--json"))

    assert ["Burst of SMB sessions: port 445/* (line 5)"] == [each["about"] for each in found]
    assert (found[0]["present"], found[0]["proposed"]) == (1000, 50)
    assert "Threshold 50" in found[0]["paste"]


@pytest.mark.usefixtures("stored")
def test_for_people(run: Any) -> None:
    """All rules that there is something about, with what to paste."""
    result = run("tune")

    assert result.exit_code == 0
    for text in (
        "excessive-failures: 100 keys",
        "proposed",
        "now",
        "condition = { gt = 990 }",
        "port-anomaly: 1 key in 14 days",
    ):
        assert text in result.stdout
    assert "traffic-anomaly" not in result.stdout


def test_too_few_days(run: Any, config: Path) -> None:
    """Of what could not be judged nothing is proposed, and of an hour it is said that it is little."""
    setup = plan.load(config)
    rows: dict[str, list[tuple[Any, ...]]] = {
        "smb_by_source": [(START_S + day * DAY_S, "", "10.0.0.5", 445, 50, 1, 0) for day in range(3)],
        "failures_by_source": [(START_S, "", "192.0.2.1", 10, 1, 0), (START_S + 3600, "", "192.0.2.1", 10, 1, 0)],
    }
    changes = Changes(seq=1, now_ns=0, rows=rows, ledger=[], windows=(), evicted={}, without_key={}, carried=0)
    with Database(config.parent / "state" / "collectord.db") as database:
        counters = Counters(database, "run")
        counters.ensure(setup.definitions)
        counters.write(changes, setup.definitions, ["udp"])

    (tuned,) = objects(run("tune", "smb-anomaly", "--json"))
    assert (tuned["days"], tuned["present"], tuned["proposed"], tuned["paste"]) == (0, 5, 5, "")
    assert "smb-anomaly: no day can be judged yet" in run("tune", "smb-anomaly").stdout
    assert "1 key in 0.05 days: too little to go by" in run("tune", "excessive-failures").stdout


def test_nothing_stored_yet(run: Any, config: Path) -> None:
    with pytest.raises(StoreError, match="there is no database"):
        run("tune")
    Database(config.parent / "state" / "collectord.db").close()
    assert "holds nothing yet" in run("tune").stdout


def test_unknown_rule(run: Any) -> None:
    result = run("tune", "excesive-failures")
    assert result.exit_code == click.UsageError.exit_code
    assert "there are: excessive-failures" in result.stderr
