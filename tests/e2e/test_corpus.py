"""Recorded messages of real devices: what ``parse`` reads differs from what is expected in known cases only."""

import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

from .daemon import COMMAND

DISPUTED: dict[str, dict[str, str]] = tomllib.loads(
    (Path(__file__).resolve().parents[1] / "corpus_disputed.toml").read_text("utf-8")
)

SESSIONS_PERCENT = 97
"""Of the sessions whose expectation is not disputed."""

HEADER_FIELDS_PERCENT = 95
"""The origins contradict each other about some headers, so it can't be all."""


@dataclass(frozen=True, slots=True)
class Score:
    """What the scorer says of all recorded messages."""

    missed: frozenset[str]
    unexpected: frozenset[str]
    sessions_right: int
    sessions: int


def scored(shared: Path, *arguments: str) -> str:
    """The output of the scorer, which judges ``parse``."""
    scorer = shared / "tools" / "score_corpus.py"
    if not scorer.is_file():
        pytest.skip(f"no scorer: expected {scorer}")
    run = subprocess.run(
        [sys.executable, "-P", str(scorer), "--verbose", *arguments, "--", *COMMAND, "parse", "-0"],
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert run.returncode == 0, run.stdout[-2_000:] + run.stderr[-2_000:]
    return run.stdout


def found(pattern: str, output: str) -> tuple[int, int]:
    """The two numbers that the pattern finds in the scorer's last line."""
    match = re.search(pattern, output.splitlines()[-1])
    assert match is not None, output.splitlines()[-1]
    return int(match[1]), int(match[2])


@pytest.fixture(scope="module")
def score(shared: Path) -> Score:
    """All recordings that state sessions."""
    folders = [str(shared / "corpus" / name) for name in ("dev", "extra")]
    output = scored(shared, *folders)
    right, total = found(r"^sessions (\d+)/(\d+) =", output)
    return Score(
        frozenset(re.findall(r"^MISS (\S+)", output, re.MULTILINE)),
        frozenset(re.findall(r"^FALSE (\S+)", output, re.MULTILINE)),
        right,
        total,
    )


def test_each_dispute_has_a_reason() -> None:
    """And an id stands there once."""
    assert set(DISPUTED) == {"missed", "unexpected"}
    assert set(DISPUTED["missed"]).isdisjoint(DISPUTED["unexpected"])
    assert all(len(reason) > 20 for reasons in DISPUTED.values() for reason in reasons.values())


@pytest.mark.e2e
def test_misses_are_disputed(score: Score) -> None:
    """Nothing is missed that is not known, and nothing stands in the list that is read by now."""
    assert score.missed == set(DISPUTED["missed"])
    assert score.sessions - score.sessions_right == len(score.missed)


@pytest.mark.e2e
def test_unexpected_sessions_are_disputed(score: Score) -> None:
    """No message without a session yields one, but for those that do state one."""
    assert score.unexpected == set(DISPUTED["unexpected"])


@pytest.mark.e2e
def test_sessions_are_read(score: Score) -> None:
    """The share that is read, should misses that nobody disputes ever be let in."""
    undisputed = score.sessions - len(score.missed & set(DISPUTED["missed"]))

    assert score.sessions_right * 100 >= undisputed * SESSIONS_PERCENT


@pytest.mark.e2e
def test_headers_are_read(shared: Path) -> None:
    """Headers of every shape, those that break the rules included."""
    right, total = found(
        r"^header fields (\d+)/(\d+) =", scored(shared, "--headers", str(shared / "corpus" / "framing"))
    )

    assert right * 100 >= total * HEADER_FIELDS_PERCENT
