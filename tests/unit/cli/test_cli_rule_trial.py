"""``collectord rules test``."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from collectord import replay
from collectord.cli import rule_trial
from collectord.cli.rule_trial import EX_QUIET
from collectord.errors import EX_CONFIG, EX_NOINPUT, EX_USAGE, ConfigError

from .conftest import objects

START_S = 1_800_000_000
A, B, C = "203.0.113.1", "203.0.113.2", "203.0.113.3"

RULE = """\
name = "few"
title = "Failures from {SrcIpAddr}"
type = "event_count"
counter = "failed_by_source"
where = { EventResult = "Failure" }
group_by = ["SrcIpAddr"]
timespan = "5m"
step = "1m"
condition = { gt = 10 }
clear = { after = "10m", below = 0.8 }
mode = "off"
severity = "high"
"""


def denied(second: int, source: str) -> str:
    """A failed session, that many seconds after the start."""
    stamp = datetime.fromtimestamp(START_S + second, UTC).strftime("%b %d %Y %H:%M:%S")
    return f'<164>{stamp} asa : %ASA-4-106023: Deny tcp src o:{source}/40000 dst i:10.0.0.1/22 by access-group "in"\n'


def log(*parts: tuple[str, Sequence[int]]) -> str:
    """Failures of sources at those seconds, in the order of time."""
    found = sorted((second, source) for source, seconds in parts for second in seconds)
    return "".join(denied(*each) for each in found)


@pytest.fixture
def rule(tmp_path: Path) -> Path:
    """A rule that is not installed, and off."""
    path = tmp_path / "few.toml"
    path.write_text(RULE)
    return path


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], str]:
    """Writes a log file."""

    def write(text: str) -> str:
        path = tmp_path / "fw.log"
        path.write_text(text)
        return str(path)

    return write


def test_each_key_against_the_limit(run: Any, rule: Path, write: Callable[[str], str]) -> None:
    """Over, near and far; raised with the eleventh, cleared when it was quiet for long enough, raised again."""
    attack = [*range(20), *range(7_200, 7_212)]
    path = write(log((A, attack), (B, range(100, 110)), (C, [300])))
    found = objects(run("rules", "test", str(rule), path, "--json"))

    assert [(each["key"]["SrcIpAddr"], each["largest"], each["limit"], each["over"]) for each in found] == [
        (A, 20, 10, True),
        (B, 10, 10, False),
        (C, 1, 10, False),
    ]
    assert found[0]["largest_time"] == "2027-01-15T08:00:20.000Z"
    assert found[0]["alerts"] == [
        {"raised": "2027-01-15T08:00:11.000Z", "cleared": "2027-01-15T08:15:00.000Z"},
        {"raised": "2027-01-15T10:00:11.000Z", "cleared": None},
    ]
    assert (found[1]["alerts"], found[0]["rule"], found[0]["window_s"]) == ([], "few", 300)


def test_for_people(run: Any, rule: Path, write: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rule_trial, "MAX_ROWS", 2)
    result = run("rules", "test", str(rule), write(log((A, range(20)), (B, range(3)), (C, [1]))))

    assert result.exit_code == 0
    (row,) = [line for line in result.stdout.splitlines() if A in line]
    assert "still active" in row and "20" in row
    for line in (
        "1 more keys are not shown",
        "alerts    1 raised, 1 still active",
        "rule      few: 1 keys over the limit",
    ):
        assert line in result.stdout


def test_quiet(run: Any, rule: Path, write: Callable[[str], str]) -> None:
    """A CI tells it from an attack by the exit status."""
    result = run("rules", "test", str(rule), write(log((B, range(10)))))

    assert result.exit_code == EX_QUIET
    assert B in result.stdout


def test_standard_input_and_a_name(run: Any, write: Callable[[str], str]) -> None:
    """Of a shipped rule; keys far below its limit are not told of."""
    lines = log((A, range(41)), (B, range(39)))
    result = run("rules", "test", "excessive-failures", input=lines.encode())

    assert (A in result.stdout, B in result.stdout) == (True, False)
    assert result.exit_code == EX_QUIET
    assert objects(run("rules", "test", "excessive-failures", "-", "--json", input=lines.encode()))[0]["limit"] == 5000


def test_rows_of_the_watchlist(run: Any, write: Callable[[str], str]) -> None:
    """Each port against its row."""
    telnet = log((A, range(60))).replace("10.0.0.1/22", "10.0.0.1/23")
    (first, *_) = objects(run("rules", "test", "port-misuse", write(telnet), "--json"))

    assert (first["key"]["DstPortNumber"], first["largest"], first["limit"]) == (23, 60, 1000)


def test_what_is_exempt(run: Any, rule: Path, write: Callable[[str], str]) -> None:
    """Its windows are shown, and that nothing is raised."""
    rule.write_text(f'{RULE}[[exempt]]\nSrcIpAddr = "{A}"\nreason = "ours"\n')
    result = run("rules", "test", str(rule), write(log((A, range(20)))))

    assert result.exit_code == EX_QUIET
    assert "exempt" in result.stdout


def test_few_places(run: Any, rule: Path, write: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What is over the limit always has one."""
    monkeypatch.setattr(replay, "MAX_TRIED_KEYS", 1)
    result = run(
        "rules", "test", str(rule), write(log((A, range(3)), (B, range(60, 80)), (C, range(60, 63)))), "--json"
    )

    assert [each["key"]["SrcIpAddr"] for each in objects(result)] == [B, A]
    assert "left out" in result.stderr


def test_wrong(run: Any, rule: Path, write: Callable[[str], str], tmp_path: Path) -> None:
    """Told apart from a rule that stayed quiet."""
    path = write("")
    assert run("rules", "test", "nonsense", path).exit_code == EX_USAGE
    assert run("rules", "test", "device-silent", path).exit_code == EX_USAGE
    with pytest.raises(ConfigError) as wrong:
        run("rules", "test", str(tmp_path / "absent.toml"), path)
    assert wrong.value.exit_status == EX_CONFIG
    result = run("rules", "test", str(rule), str(tmp_path / "absent.log"))
    assert result.exit_code == EX_NOINPUT
    assert "only once" in run("rules", "test", str(rule), "-", "-").stderr
