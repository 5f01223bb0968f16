"""``collectord check``."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from collectord import data
from collectord.errors import ConfigError


def test_all_is_well(run: Any, config: Path) -> None:
    result = run("check")

    assert result.exit_code == 0
    assert f"configuration: {config}" in result.stdout
    assert f"\nprofiles:      {len(data.profiles())}, with " in result.stdout
    assert f"\nrules:         {len(data.rules())}: " in result.stdout
    assert result.stdout.endswith("\nNothing is wrong.\n")
    assert "learning" not in result.stdout


def test_what_is_your_own(run: Any, config: Path) -> None:
    """A profile of the site's own is named, and so is the end of learning."""
    (config.parent / "own").mkdir()
    (shipped,) = [path for path in data.profiles() if path.stem == "cisco-ios"]
    (config.parent / "own" / shipped.name).write_bytes(shipped.read_bytes())
    config.write_text(f'learn_until = 2099-01-01T00:00:00Z\nprofiles_dir = "own"\n{config.read_text()}')
    lines = run("check").stdout.splitlines()

    assert any(line.startswith(f"profiles:      {len(data.profiles())} (your own: cisco-ios), with ") for line in lines)
    assert any(line.startswith("learning:      until ") for line in lines)


def test_what_the_service_can_not_read(run: Any, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root can read anything, and would hear of it only when the service does not start again."""
    secret = config.with_name("community")
    secret.write_text("s\n")
    secret.chmod(0o640)
    output = '[[output]]\ntype = "snmp"\nname = "noc"\nhost = "192.0.2.9"\ncommunity_file = "community"\n'
    config.write_text(config.read_text() + output)
    owner = secret.stat()
    known = {"collectord": SimpleNamespace(pw_name="collectord", pw_uid=owner.st_uid + 1, pw_gid=owner.st_gid + 1)}
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("pwd.getpwnam", lambda name: known[name])
    monkeypatch.setattr("os.getgrouplist", lambda name, group: [group])

    result = run("check")
    assert result.exit_code == 0
    assert result.stderr == f"warning: the service can't read {secret}: chgrp collectord {secret}; chmod 640 {secret}\n"
    assert "Nothing is wrong" not in result.stdout
    known["collectord"].pw_gid = owner.st_gid
    assert run("check").stderr == ""
    known.clear()
    assert run("check").stderr == ""


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


def test_the_files_are_named(run: Any, config: Path) -> None:
    """In the order in which they were read."""
    (config.parent / "conf.d").mkdir()
    (config.parent / "conf.d" / "10.toml").write_text("[http]\nport = 9515\n")

    assert f"configuration: {config}, {config.parent}/conf.d/10.toml\n" in run("check").stdout
    assert json.loads(run("check", "--json").stdout)["files"] == [str(config), f"{config.parent}/conf.d/10.toml"]


def test_the_result(run: Any, config: Path) -> None:
    """Each value with its origin, and no secret."""
    config.write_text(
        '[[output]]\ntype = "snmp"\nname = "noc"\nhost = "192.0.2.9"\ncommunity = "s3cret"\n[http]\nport = 1\n'
    )
    config.chmod(0o640)
    (config.parent / "conf.d").mkdir()
    (config.parent / "conf.d" / "10.toml").write_text("[http]\nport = 9515\n")
    lines = [line.split("  #") for line in run("check", "--show").stdout.splitlines()]
    found = {line[0].strip(): line[-1].strip() for line in lines}

    assert found["port = 9515"] == f"{config.parent}/conf.d/10.toml:2"
    assert found['host = "192.0.2.9"'] == f"{config}:4"
    assert found["enabled = false"] == "default"
    assert found['community = "(hidden)"'] == f"{config}:5"
    assert json.loads(run("check", "--show", "--json").stdout)["result"].startswith("state_dir = ")


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
