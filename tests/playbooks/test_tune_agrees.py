"""What ``collectord tune`` says that a limit would have raised is what it raises."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from collectord.cli.tune import Tuned, try_limits
from collectord.detect.rules import Exempt, Rule
from collectord.detect.watchlist import Watchlist
from collectord.model import AlertState, KeyValue
from collectord.store.db import Database

from .playbook import Story, rule, setup_with, watchlist

HOURS = 2

ROWS = (
    "445,*,TCP,*,*,Detection,Static,5,High,LateralMovement,smb,x",
    "22,*,*,*,*,Hunting,Static,9,Low,Discovery,ssh,x",
)


def sessions(seed: int) -> list[tuple[int, int, dict[str, KeyValue]]]:
    """Bursts of a few sources to a few ports: (second, how many, what they are)."""
    found = []
    dice = random.Random(seed)
    for _ in range(50):
        session: dict[str, KeyValue] = {
            "SrcIpAddr": f"192.0.2.{dice.randrange(1, 6)}",
            "DstIpAddr": "10.0.0.5",
            "DstPortNumber": dice.choice([445, 22, 80]),
            "NetworkProtocol": "TCP",
            "DvcAction": dice.choice(["Allow", "Deny"]),
            "EventResult": dice.choice(["Success", "Failure", "Failure"]),
        }
        found.append((dice.randrange(HOURS * 3600), dice.randrange(1, 40), session))
    return sorted(found, key=lambda each: each[0])


def run(path: Path, tried: Rule, ports: Watchlist, seed: int) -> int:
    """How many alerts of a rule it makes."""
    story = Story(path, [tried], ports=ports, pass_s=60)
    for second, count, session in sessions(seed):
        story.at(f"0:{second}").send(count, **session)
    story.at(f"{HOURS}:00:00").tick.run()
    story.close()
    return sum(alert.state is AlertState.RAISED for alert in story.everything)


def tuned(path: Path, tried: Rule, ports: Watchlist) -> list[Tuned]:
    """What the database of a run says of other limits."""
    with Database.reader(path) as database:
        return list(try_limits(setup_with([tried], ports), tried, database))


SPARED = Exempt({"SrcIpAddr": "192.0.2.2"}, "a test")


@pytest.mark.parametrize("changes", [{}, {"exempt": (SPARED,)}, {"step_s": 300}], ids=str)
def test_a_threshold(tmp_path: Path, changes: dict[str, Any]) -> None:
    tried = rule("excessive-failures", threshold=40, **changes)
    run(tmp_path / "present.db", tried, watchlist(), seed=1)
    (found,) = tuned(tmp_path / "present.db", tried, watchlist())

    for number, each in enumerate(found.candidates[:3]):
        raised = run(tmp_path / f"{number}.db", replace(tried, threshold=int(each.limit)), watchlist(), seed=1)
        assert raised == each.alerts, each
    assert found.candidates[0].alerts > 0


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"aggregate_rows": True},
        {"exempt": (Exempt({"Name": "ssh"}, "a test"),)},
    ],
    ids=str,
)
def test_rows_of_the_watchlist(tmp_path: Path, changes: dict[str, Any]) -> None:
    """Allowed and denied sessions to one port are one alert, whether they are added up for it or not."""
    tried = rule("port-misuse", own_traffic=True, **changes)
    run(tmp_path / "present.db", tried, watchlist(*ROWS), seed=2)
    found = tuned(tmp_path / "present.db", tried, watchlist(*ROWS))

    assert len(found) == (1 if "exempt" in changes else 2)
    for one in found:
        (row,) = (line for line in ROWS if f",{one.about.partition(':')[0]}," in line)
        for number, each in enumerate(one.candidates[:2]):
            other = watchlist(
                row.replace("Static,5,", f"Static,{each.limit},").replace("Static,9,", f"Static,{each.limit},")
            )
            assert run(tmp_path / f"{row[:3]}{number}.db", tried, other, seed=2) == each.alerts, (one.about, each)
