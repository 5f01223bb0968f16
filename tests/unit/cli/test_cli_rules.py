"""``collectord rules``."""

from pathlib import Path
from typing import Any

import pytest

from collectord import data
from collectord.errors import EX_CONFIG

from .conftest import objects

RULE = """\
name = "mine"
title = "[red]Much[/] from {SrcIpAddr}"
type = "event_count"
counter = "mine_by_source"
where = { EventResult = "Failure" }
group_by = ["SrcIpAddr"]
timespan = "5m"
step = "1m"
condition = { gt = 10 }
mode = "off"
severity = "low"
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A rule that is not in use yet."""
    path = tmp_path / "mine.toml"
    path.write_text(RULE)
    return path


class TestList:
    """What is looked for."""

    def test_for_people(self, run: Any) -> None:
        result = run("rules", "list")

        assert result.exit_code == 0
        for path in data.rules():
            assert path.stem in result.stdout
        for words in ("5,000", "the row's", "its pauses", f"{len(data.rules())} rules"):
            assert words in result.stdout

    def test_for_programs(self, run: Any) -> None:
        rows = {row["name"]: row for row in objects(run("rules", "list", "--json"))}
        failures = rows["excessive-failures"]

        assert list(rows) == [path.stem for path in data.rules()]
        assert (failures["type"], failures["mode"], failures["severity"]) == ("event_count", "notify", "medium")
        assert (failures["threshold"], failures["counter"]) == (5000, "failures_by_source")
        assert rows["port-misuse"]["threshold"] is None

    def test_a_site_s_own(self, run: Any, config: Path, own: Path) -> None:
        """Shown as it stands, no markup of ours."""
        (own.parent / "mine").mkdir()
        own.rename(own.parent / "mine" / own.name)
        config.write_text(f'rules_dir = "mine"\n{config.read_text()}')

        assert "[red]Much[/] from {SrcIpAddr}" in run("rules", "list").stdout


class TestCheck:
    """Files that may not be in use yet."""

    def test_right(self, run: Any, own: Path) -> None:
        result = run("rules", "check", str(own))

        assert (result.exit_code, result.stdout) == (0, f"{own}: right\n")

    def test_all_shipped_rules_are(self, run: Any) -> None:
        """Those that are off as well."""
        assert run("rules", "check", *map(str, data.rules())).exit_code == 0

    def test_everything_wrong_at_once(self, run: Any, own: Path, tmp_path: Path) -> None:
        own.write_text(RULE.replace('"5m"', '"x"').replace('"low"', '"loud"'))
        result = run("rules", "check", str(own), str(tmp_path / "absent.toml"))

        assert result.exit_code == EX_CONFIG
        assert f"{own}:7: timespan: " in result.stderr
        assert f"{own}:11: severity: " in result.stderr
        assert "absent.toml" in result.stderr

    @pytest.mark.parametrize(
        ("old", "new", "want"),
        [
            ('"Failure"', '"Failed"', ":5: where.EventResult: "),
            ('"low"', '"low"\n[[exempt]]\nDvcAction = "Denied"\nreason = "x"', ":12: exempt"),
        ],
    )
    def test_what_only_the_engine_knows(self, run: Any, own: Path, old: str, new: str, want: str) -> None:
        """Values that a field can never have, also in a rule that is off."""
        own.write_text(RULE.replace(old, new))
        result = run("rules", "check", str(own))

        assert result.exit_code == EX_CONFIG
        assert f"{own}{want}" in result.stderr

    def test_beside_the_others(self, run: Any, own: Path) -> None:
        own.write_text(RULE.replace("mine_by_source", "port_volume"))
        result = run("rules", "check", str(own))

        assert result.exit_code == EX_CONFIG
        assert 'keeps "port_volume" with another' in result.stderr
