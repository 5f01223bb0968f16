"""
The rules that hold a day against the days before, and a plain reference, say the same of any weeks.

From messages to alerts, through the counters in the database; ``tests/reference/baselines.py`` has the lists of all
sessions. The arithmetic alone is compared in ``tests/unit/detect/test_detect_baseline.py``.
"""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from collectord import data
from collectord.detect.rules import Rule
from collectord.model import NS_PER_S, Alert, KeyValue

from ..playbooks.playbook import START_S, Story, rule, watchlist
from ..reference import baselines

DAY_S = 86_400
DAYS = 18
PORTS = (389, 636, 3389)
ROW = '"389,636,3389",*,*,*,*,Detection,Anomaly,,High,Impact,Unusual,x'

Session = tuple[int, tuple[KeyValue, ...], int]
"""Day, key of the alert, EventCount."""


def weeks(randomness: random.Random, keys: list[tuple[KeyValue, ...]]) -> list[Session]:
    """Ports and hosts with a course of their own: steady, growing, weekly, seldom; now and then a burst."""
    sessions = []
    for key in keys:
        level, growth = randomness.choice((3, 60, 200, 5_000)), randomness.choice((0, 0, 10, -8))
        first = randomness.choice((0, 0, 0, 4, 12))
        for day in range(first, DAYS):
            if randomness.random() < 0.1:
                continue
            count = max(1, level + growth * day + randomness.randint(-level // 10, level // 10))
            if day % 7 > 4 and randomness.random() < 0.5:
                count = count // 4 + 1
            if randomness.random() < 0.15:
                count = round(count * randomness.choice((1.3, 2, 3.1, 8)))
            sessions.append((day, key, count))
    return sessions


def by_port(alert: Alert) -> tuple[KeyValue, ...]:
    return (alert.key["DstPortNumber"],)


def by_source(alert: Alert) -> tuple[KeyValue, ...]:
    return alert.key["SrcIpAddr"], alert.key["DstPortNumber"]


def by_protocol(alert: Alert) -> tuple[KeyValue, ...]:
    return (alert.key["NetworkProtocol"],)


CASES: dict[str, tuple[list[tuple[KeyValue, ...]], tuple[str, ...], Callable[[Alert], tuple[KeyValue, ...]]]] = {
    "port-anomaly": ([(port,) for port in PORTS], ("DstPortNumber",), by_port),
    "smb-anomaly": (
        [(f"10.0.0.{host}", port) for host in (1, 2) for port in (139, 445)],
        ("SrcIpAddr", "DstPortNumber"),
        by_source,
    ),
    "traffic-anomaly-protocol": ([("TCP",), ("UDP",), ("GRE",)], ("NetworkProtocol",), by_protocol),
}


@pytest.mark.parametrize("name", [path.stem for path in data.rules() if rule(path.stem).baseline])
def test_the_reference_speaks_of_the_shipped_rule(name: str) -> None:
    """Of its method, and of the numbers that the reference takes where nothing else is said."""
    judged = rule(name).baseline
    assert judged is not None
    method, decide = ("mean", baselines.mean) if name == "smb-anomaly" else ("trend", baselines.trend)
    numbers = {**(baselines.judge.__kwdefaults__), **(decide.__kwdefaults__)}
    assert judged.method == method
    assert {field: getattr(judged, field) for field in numbers} == numbers


@pytest.mark.parametrize("name", CASES)
def test_any_weeks(tmp_path: Path, name: str) -> None:
    """The same days of the same keys raise; each clears the day after."""
    assert sum(agree(tmp_path / f"{seed}.db", name, seed) for seed in range(5)) >= 5


def agree(path: Path, name: str, seed: int) -> int:
    """Lets both look at the same weeks; returns how many days of keys raised."""
    keys, fields, key_of = CASES[name]
    sessions = weeks(random.Random(seed), keys)
    told = list(play(path, rule(name), fields, sessions))
    raised = [(day_of(alert), key_of(alert)) for alert in told if alert.event == "raised"]

    expected, near = set(), set()
    decide = baselines.mean if name == "smb-anomaly" else baselines.trend
    for day in range(min(day for day, _, _ in sessions) + 1, DAYS):
        for key, found in baselines.judge([each for each in sessions if each[0] <= day], day, decide).items():
            if found.margin < 1e-6:
                near.add((day, key))
            elif found.over:
                expected.add((day, key))

    assert set(raised) - near == expected - near
    assert len(raised) == len(set(raised)), "a day raises once"
    cleared = [(day_of(alert), key_of(alert)) for alert in told if alert.event == "cleared"]
    assert sorted(cleared, key=repr) == sorted((each for each in raised if each[0] < DAYS - 1), key=repr)
    return len(raised)


def day_of(alert: Alert) -> int:
    """The day that the alert came up on."""
    return (alert.first_time_ns // NS_PER_S - START_S) // DAY_S


def play(path: Path, judged: Rule, fields: tuple[str, ...], sessions: list[Session]) -> Iterator[Alert]:
    """Lets the weeks pass: a record of each session's count at noon, or in two halves in the morning and at night."""
    story = Story(path, [judged], ports=watchlist(ROW), pass_s=7_200, first_pass_s=7_200)
    usual: dict[str, KeyValue] = {"SrcIpAddr": "10.0.0.1", "DstIpAddr": "10.0.0.9", "DvcAction": "Allow"}
    for day in range(DAYS):
        of_day = [(key, count) for each, key, count in sessions if each == day]
        for hour in (5, 21):
            story.at(f"{24 * day + hour}:30:00")
            for key, count in of_day:
                part = count // 3 if hour == 5 else count - count // 3
                if part:
                    session = {**usual, "NetworkProtocol": "TCP", **dict(zip(fields, key, strict=True))}
                    story.send(1, EventCount=part, **session)
    story.at(f"{24 * DAYS - 1}:00:00")
    story.tick.run()
    yield from story.told
    story.close()
