"""
Fuzzing: the corpus and some thousand altered inputs each time, or ``make fuzz T=60s`` for as long as you like.

``COLLECTORD_FUZZ`` is the time for each target; new kinds of inputs then go into the corpus, for the commit.
"""

import os
import random
from pathlib import Path
from typing import Any

import pytest

from collectord import plan
from collectord.quantity import duration_s

from .fuzzing import CORPUS, KEPT_LINES, READERS, TARGETS, BrokenError, Fuzzer, read, shown

INPUTS = 2_000
"""Of each target, on every run of the tests: the same ones each time, so that a red test is the change's doing."""


@pytest.fixture(scope="module")
def setup() -> plan.Setup:
    """The shipped one."""
    return plan.load(None)


@pytest.mark.parametrize("target", TARGETS)
def test_whatever_comes(setup: plan.Setup, target: str) -> None:
    """Nothing raises, panics or takes long; each message has one outcome, however the stream was cut."""
    seconds = duration_s(os.environ.get("COLLECTORD_FUZZ", "0s"))
    seed = random.SystemRandom().getrandbits(32) if seconds else 1
    fuzzer = Fuzzer(target, setup, random.Random(seed))
    report = fuzzer.run(0 if seconds else INPUTS, seconds, keep=bool(seconds))
    print(f"{target}: seed {seed}, {report.inputs:,} inputs, {report.kinds:,} kinds, {report.kept} kept")

    assert report.inputs >= len(fuzzer.seeds()) > 0
    assert report.kinds > 5


def test_every_reader_is_a_target(setup: plan.Setup) -> None:
    """A new one gets a name here."""
    assert set(READERS) == {document.values["reader"] for document in setup.profiles}


def test_corpus_files_belong_to_targets() -> None:
    """And are small enough to read."""
    for path in CORPUS.iterdir():
        assert path.stem in TARGETS
        assert len(path.read_text("ascii").splitlines()) <= KEPT_LINES + 50


def test_lines_of_a_corpus_file() -> None:
    every = bytes(range(256))
    assert read(shown(every)) == every
    assert len(shown(every).splitlines()) == 1


class TestWhatIsBroken:
    """A fuzzer that can't fail finds nothing."""

    @pytest.fixture
    def fuzzer(self, setup: plan.Setup, tmp_path: Path) -> Fuzzer:
        return Fuzzer("kv", setup, random.Random(1), tmp_path / "corpus")

    def broken(self, fuzzer: Fuzzer, why: str) -> None:
        with pytest.raises(BrokenError, match=why):
            fuzzer.run(50)
        assert len(fuzzer.kept()) == 1, "the input is kept"

    def test_raises(self, fuzzer: Fuzzer, monkeypatch: pytest.MonkeyPatch) -> None:
        def parse(message: bytes, peer: str | None) -> str:
            raise ValueError("no")

        monkeypatch.setattr(fuzzer, "_engine", With(fuzzer._engine, parse=parse))
        self.broken(fuzzer, "it raised ValueError")

    def test_panics(self, fuzzer: Fuzzer, monkeypatch: pytest.MonkeyPatch) -> None:
        answer = '{"Outcome": "panic", "Sessions": [], "Profile": null, "Header": {}}'
        monkeypatch.setattr(fuzzer, "_engine", With(fuzzer._engine, parse=lambda message, peer: answer))
        self.broken(fuzzer, "its outcome is panic")

    def test_takes_long(self, fuzzer: Fuzzer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(f"{Fuzzer.__module__}.MESSAGE_CPU_S", -1)
        self.broken(fuzzer, "it took")

    def test_loses_a_frame(self, fuzzer: Fuzzer, monkeypatch: pytest.MonkeyPatch) -> None:
        real = fuzzer._engine
        monkeypatch.setattr(fuzzer, "_engine", With(real, disconnect=lambda *words: real.disconnect(*words) + 1))
        self.broken(fuzzer, "frames ended")


class With:
    """An engine with other answers to some calls."""

    def __init__(self, engine: Any, **calls: Any) -> None:
        self._engine, self._calls = engine, calls

    def __getattr__(self, name: str) -> Any:
        return self._calls.get(name) or getattr(self._engine, name)
