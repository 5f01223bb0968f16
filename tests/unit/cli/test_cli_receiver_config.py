"""``collectord snmp receiver-config``."""

import json
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest

from collectord.cli import receiver_config as module
from collectord.config import Config
from collectord.errors import EX_IOERR, EX_UNAVAILABLE, EX_USAGE, StoreError, UnavailableError
from collectord.output_settings import SnmpOutput
from collectord.outputs import receivers

SNMP = """
[[output]]
type = "snmp"
name = "{name}"
host = "192.0.2.60"
community = "{community}"
"""


@pytest.fixture
def outputs(config: Path) -> Path:
    """The configuration with two outputs of version 2c and a root of its own."""
    with config.open("a") as stream:
        stream.write(SNMP.format(name="noc", community="very secret") + SNMP.format(name="other", community="2nd"))
        stream.write('\n[snmp]\nroot = "1.3.6.1.4.1.99999.7"\n')
    config.chmod(0o640)
    return config


@pytest.mark.parametrize("tool", receivers.TOOLS)
def test_the_main_file_goes_to_standard_output(run: Any, tool: str) -> None:
    result = run("snmp", "receiver-config", "--for", tool)

    assert result.exit_code == 0
    main = next(iter(receivers.files(tool, receivers.Facts())))
    assert f"this is {main}; with --dir there is also " in result.stderr
    assert result.stdout.startswith(receivers.files(tool, receivers.Facts())[main][:60])


def test_secrets_are_written_out_only_on_demand(run: Any, outputs: Path) -> None:
    quiet = run("snmp", "receiver-config", "--for", "snmptrapd")
    assert "secret" not in quiet.stdout.replace("holds\n# secrets", "")
    assert quiet.stdout.count("authCommunity log,execute,net COMMUNITY") == 2

    loud = run("snmp", "receiver-config", "--for", "snmptrapd", "--output", "noc", "--with-secrets")
    assert 'authCommunity log,execute,net "very secret"\n' in loud.stdout
    assert "2nd" not in loud.stdout
    assert ".1.3.6.1.4.1.99999.7.0.*" in loud.stdout


def test_an_output_that_is_none(run: Any, outputs: Path) -> None:
    result = run("snmp", "receiver-config", "--for", "snmptt", "--output", "siem")
    assert (result.exit_code, result.stdout) == (click.UsageError.exit_code, "")
    assert 'there is no SNMP output "siem"' in result.stderr


def test_a_root_of_the_command_line(run: Any, outputs: Path) -> None:
    assert (
        " .1.3.6.1.4.1.4.0.30 " in run("snmp", "receiver-config", "--for", "snmptt", "--root", "1.3.6.1.4.1.4").stdout
    )

    result = run("snmp", "receiver-config", "--for", "snmptt", "--root", "1.2.3")
    assert (result.exit_code, result.stdout) == (EX_USAGE, "")
    assert result.stderr.startswith("collectord: root 1.2.3")


def test_a_folder_gets_all_files_and_keeps_what_was_changed(run: Any, outputs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    words = ("snmp", "receiver-config", "--for", "icinga", "--dir", str(folder))
    result = run(*words)
    assert result.stdout.splitlines() == [str(folder / name) for name in receivers.files("icinga", receivers.Facts())]
    assert stat.S_IMODE((folder / "collectord_icinga.py").stat().st_mode) & 0o111
    assert run(*words).exit_code == 0

    (folder / "README.md").write_text("mine")
    with pytest.raises(StoreError, match=r"README\.md is there and differs; --force replaces it") as failure:
        run(*words)
    assert failure.value.exit_status == EX_IOERR
    assert run(*words, "--force").exit_code == 0
    assert (folder / "README.md").read_text() != "mine"

    secret = tmp_path / "trapd"
    run("snmp", "receiver-config", "--for", "snmptrapd", "--dir", str(secret), "--with-secrets")
    assert stat.S_IMODE((secret / "snmptrapd.conf").stat().st_mode) == 0o600

    with pytest.raises(StoreError, match="can't write to"):
        run("snmp", "receiver-config", "--for", "snmptt", "--dir", str(folder / "README.md" / "below"))


def test_a_v3_output_brings_its_user_and_passwords(tmp_path: Path) -> None:
    for name in ("auth", "priv"):
        path = tmp_path / name
        path.write_text(f"{name} secret\n")
        path.chmod(0o600)
    output = SnmpOutput(
        type="snmp",
        name="noc",
        host="192.0.2.60",
        version="3",
        notification="trap",
        user="collector",
        auth="SHA-512",
        priv="AES-256",
        report_as="device",
        auth_password_file=tmp_path / "auth",
        priv_password_file=tmp_path / "priv",
    )
    target = module._target(output, with_secrets=True)
    assert target == receivers.Target(
        "noc",
        version="3",
        report_as="device",
        user="collector",
        auth="SHA-512",
        priv="AES-256",
        auth_password="auth secret",
        priv_password="priv secret",
    )
    assert module._target(output, with_secrets=False).auth_password is None


def test_only_a_file_with_users_needs_the_engine_id(tmp_path: Path) -> None:
    """Zabbix and the others can be set up before the daemon ever ran."""
    secret = tmp_path / "secret"
    secret.write_text("not public\n")
    secret.chmod(0o600)
    output = SnmpOutput(
        type="snmp",
        name="noc",
        host="192.0.2.60",
        version="3",
        user="collector",
        auth_password_file=secret,
        priv_password_file=secret,
    )
    setup: Any = SimpleNamespace(config=Config(output=(output,), state_dir=tmp_path), rules=())
    for tool in receivers.TOOLS:
        if tool in receivers.WITH_USERS:
            with pytest.raises(UnavailableError):
                module._facts(setup, tool, None, None, False)
        else:
            assert module._facts(setup, tool, None, None, False).engine_id is None


def test_the_engine_id_is_that_of_the_state_folder(tmp_path: Path) -> None:
    config: Any = SimpleNamespace(state_dir=tmp_path)
    with pytest.raises(UnavailableError, match="no SNMP engine ID yet") as failure:
        module._engine_id(config)
    assert failure.value.exit_status == EX_UNAVAILABLE

    state = tmp_path / "snmp_engine.json"
    state.write_text(json.dumps({"engine_id": "80007ed905aabb", "boots": 3, "machine": ""}))
    assert module._engine_id(config) == bytes.fromhex("80007ed905aabb")
    state.write_text("{}")
    with pytest.raises(StoreError, match="damaged"):
        module._engine_id(config)
