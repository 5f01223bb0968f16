"""``collectord snmp``."""

from pathlib import Path
from typing import Any

import pytest

from collectord import data
from collectord.errors import EX_USAGE, ConfigError


def test_mib(run: Any) -> None:
    assert run("snmp", "mib").stdout == data.mib().read_text("ascii")


def test_mib_for_an_enterprise_of_its_own(run: Any) -> None:
    text = run("snmp", "mib", "--root", "1.3.6.1.4.1.99999.7").stdout

    assert "{ enterprises 99999 }" in text
    assert "enterprises 32473" not in text


def test_mib_for_the_root_of_the_configuration(run: Any, tmp_path: Path) -> None:
    """What stands on the command line goes before it, and needs no configuration that is right."""
    path = tmp_path / "my.toml"
    path.write_text('[snmp]\nroot = "1.3.6.1.4.1.99999.7"\n')
    assert "{ enterprises 99999 }" in run("snmp", "mib", "--config", str(path)).stdout
    path.write_text("[snmp\n")
    assert "{ enterprises 99998 }" in run("snmp", "mib", "--config", str(path), "--root", "1.3.6.1.4.1.99998.1").stdout
    with pytest.raises(ConfigError):
        run("snmp", "mib", "--config", str(path))


def test_mib_without_the_modules_of_the_ietf(run: Any) -> None:
    text = run("snmp", "mib", "--standalone").stdout

    assert "IMPORTS" not in text
    assert text.startswith("COLLECTORD-MIB DEFINITIONS")


@pytest.mark.parametrize("root", ["", "x", "1.3.6.1.4.1", "1.2.3"])
def test_a_root_that_is_none(run: Any, root: str) -> None:
    result = run("snmp", "mib", "--root", root)

    assert result.exit_code == EX_USAGE
    assert result.stderr.startswith("collectord: root ")
    assert result.stdout == ""
