"""``collectord check``."""

import json
from pathlib import Path
from typing import Any

import pytest

from collectord import data
from collectord.errors import ConfigError


def test_all_is_well(run: Any, config: Path) -> None:
    result = run("check")

    assert result.exit_code == 0
    assert f"configuration: {config}" in result.stdout
    for path in (*data.profiles(), *data.rules()):
        assert path.stem in result.stdout


def test_defaults(run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("COLLECTORD_CONFIG")
    monkeypatch.setattr("collectord.cli.options.INSTALLED_CONFIG", tmp_path / "none.toml")

    assert "built-in defaults" in run("check").stdout


def test_the_installed_file_is_found(run: Any, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLLECTORD_CONFIG")
    monkeypatch.setattr("collectord.cli.options.INSTALLED_CONFIG", config)

    assert str(config) in run("check").stdout


def test_for_programs(run: Any, config: Path) -> None:
    (line,) = run("check", "--json").stdout.splitlines()
    answer = json.loads(line)

    assert (answer["ok"], answer["problems"], answer["config"]) == (True, [], str(config))
    assert answer["profiles"] == [path.stem for path in data.profiles()]
    assert answer["samples"] > 100
    assert answer["watchlist"]["ports"] > 10
    assert answer["listeners"] == ["udp: udp 127.0.0.1 port 5514", "tcp: tcp 127.0.0.1 port 5514"]


@pytest.fixture
def wrong(config: Path) -> Path:
    """A configuration with two mistakes, and a profile with one."""
    folder = config.parent / "profiles"
    folder.mkdir()
    (folder / "acme.toml").write_text("name = acme\n")
    config.write_text('profiles_dir = "profiles"\n')
    return config


def test_what_is_wrong(run: Any, wrong: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        run("check")
    assert caught.value.exit_status == 78
    assert str(caught.value).startswith(f"{wrong.parent / 'profiles' / 'acme.toml'}:1:")


def test_what_is_wrong_for_programs(run: Any, wrong: Path) -> None:
    result = run("check", "--json")

    assert result.exit_code == 78
    answer = json.loads(result.stdout)
    assert answer["ok"] is False
    (problem,) = answer["problems"]
    assert (problem["file"], problem["line"], problem["key"]) == (str(wrong.parent / "profiles" / "acme.toml"), 1, "")
    assert set(problem) == {"file", "line", "key", "reason", "hint"}


def test_a_file_that_is_not_there(run: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't be read"):
        run("check", "--config", str(tmp_path / "none.toml"))
