"""What the commands' tests share: a configuration of their own, and a way to run a command."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from collectord.cli import cli

Run = Callable[..., Result]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration whose state lies in the test's folder."""
    path = tmp_path / "collectord.toml"
    path.write_text('state_dir = "state"\ncontrol_socket = "control.sock"\n')
    (tmp_path / "state").mkdir()
    return path


@pytest.fixture
def run(config: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs ``collectord <words>`` with that configuration; other errors than an exit come through."""
    monkeypatch.setenv("COLLECTORD_CONFIG", str(config))
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: str, input: bytes | None = None) -> Result:
        return CliRunner().invoke(cli, words, input=input, catch_exceptions=False)

    return run


def objects(result: Result) -> list[dict[str, Any]]:
    """The JSON objects of an output, one a line."""
    return [json.loads(line) for line in result.stdout.splitlines()]
