"""The resulting configuration as TOML: it says the same as the files that it came from."""

import re
from pathlib import Path

import pytest

from collectord import config_text, data
from collectord.config import Config, load, load_with_sources
from collectord.toml import KeyPath

from ..certificates import Authority

HIDDEN = '"(hidden)"'


def nowhere(path: KeyPath) -> str:
    return ""


def written(config: Config) -> str:
    return "\n".join(config_text.toml(config, nowhere))


@pytest.fixture
def everything(tmp_path: Path) -> Path:
    """The shipped file with every optional key."""
    text = re.sub(r"^#(?=\S)", "", data.conf("collectord.toml").read_text(encoding="utf-8"), flags=re.MULTILINE)
    for name in ("profiles.d", "rules.d"):
        (tmp_path / name).mkdir()
    for name in ("snmp-community", "snmp-auth-password", "snmp-priv-password"):
        (tmp_path / name).write_text("not-public\n")
        (tmp_path / name).chmod(0o640)
    authority = Authority("NOC CA")
    (tmp_path / "siem-ca.pem").write_bytes(authority.certificate_pem)
    (tmp_path / "devices-ca.pem").write_bytes(authority.certificate_pem)
    for name in ("collectord", "listener"):
        authority.signs("collector.example.net").write(tmp_path, name)
    for name in ("port-watchlist.csv", "hosts.csv"):
        (tmp_path / name).write_text("")
    path = tmp_path / "collectord.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("change", ["", "utc_offset"])
def test_it_is_read_back(everything: Path, change: str) -> None:
    """Every key of every table comes out as it went in."""
    if change:
        everything.write_text(everything.read_text().replace('"+01:00"', '"-05:30"'))
    config = load(everything)
    again = everything.with_name("again.toml")
    again.write_text(written(config))

    assert load(again) == config


def test_the_defaults_are_read_back(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(written(Config()))

    assert load(path) == Config()


def test_secrets_are_hidden(tmp_path: Path) -> None:
    """Not even their length is told."""
    path = tmp_path / "c.toml"
    path.write_text('[[output]]\ntype = "snmp"\nname = "noc"\nhost = "192.0.2.9"\ncommunity = "s3cret"\n')
    path.chmod(0o640)
    text = written(load(path))

    assert "s3cret" not in text
    assert f"community = {HIDDEN}" in text


def test_text_that_needs_escapes(tmp_path: Path) -> None:
    """What TOML could not hold as it is."""
    path = tmp_path / "c.toml"
    path.write_text('state_dir = "/x/a\\"b\\\\c"\n[[device]]\nname = "d"\nsite = "büro \\"1\\""\n')
    config = load(path)
    again = tmp_path / "d.toml"
    again.write_text(written(config))

    assert load(again) == config


def test_where_values_came_from(tmp_path: Path) -> None:
    """File and line, also within an array that several files filled; nothing for a default."""
    path = tmp_path / "c.toml"
    path.write_text('[log]\nlevel = "info"\n[[device]]\nname = "a"\n')
    (tmp_path / "conf.d").mkdir()
    other = tmp_path / "conf.d" / "1.toml"
    other.write_text('log.level = "debug"\nrelays = []\n[[device]]\n\nname = "b"\n')
    _, sources = load_with_sources(path)

    assert sources.files == [str(path), str(other)]
    assert sources.where(("log", "level")) == f"{other}:1"
    assert sources.where(("relays",)) == f"{other}:2"
    assert sources.where(("device", 0, "name")) == f"{path}:4"
    assert sources.where(("device", 1, "name")) == f"{other}:5"
    assert sources.where(("device", 1, "site")) == ""
    assert sources.where(("bounds", "message")) == ""
