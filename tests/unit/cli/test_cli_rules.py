"""``collectord rules``."""

from pathlib import Path
from typing import Any

import pytest

from collectord import data
from collectord.errors import EX_CONFIG, EX_USAGE

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
        for words in ("> 5,000 in 5 min", "the row's", "its pauses", "any such session", f"{len(data.rules())} rules"):
            assert words in result.stdout

    def test_on_a_narrow_terminal(self, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each rule begins a line with words that are whole."""
        monkeypatch.setenv("COLUMNS", "80")
        rows = objects(run("rules", "list", "--json"))
        lines = run("rules", "list").stdout.splitlines()

        assert max(map(len, lines)) <= 80
        for row in rows:
            (line,) = [line for line in lines if line.split()[:1] == [row["name"]]]
            assert line.split()[1:4] == [row["mode"], row["severity"], row["type"]]
            assert len(line.split()) > 4
        assert len(lines) < 2.5 * len(rows)

    def test_for_programs(self, run: Any) -> None:
        rows = {row["name"]: row for row in objects(run("rules", "list", "--json"))}
        failures = rows["excessive-failures"]

        assert list(rows) == [path.stem for path in data.rules()]
        assert (failures["type"], failures["mode"], failures["severity"]) == ("event_count", "notify", "medium")
        assert (failures["threshold"], failures["counter"]) == (5000, "failures_by_source")
        assert rows["port-misuse"]["threshold"] is None


class TestShow:
    """All of one rule."""

    @pytest.mark.parametrize("name", [path.stem for path in data.rules()])
    def test_each(self, run: Any, name: str) -> None:
        text = run("rules", "show", name).stdout

        assert f"rule:         {name} (" in text
        for label in ("about", "counts", "raises when", "clears", "counter", "ATT&CK"):
            assert f"\n{label + ':':13} " in text

    def test_what_it_says(self, run: Any) -> None:
        text = run("rules", "show", "excessive-failures").stdout

        for line in (
            'where:        EventResult = "Failure"',
            "counts:       failed connections by SrcIpAddr",
            "windows:      5 min, a new one each 1 min",
            "raises when:  > 5,000 in 5 min",
            "clears:       at or below 80% of the limit (4,000) for 15 min",
            "counter:      failures_by_source",
            "ATT&CK:       Impact, T1499",
        ):
            assert f"\n{line}\n" in text

    def test_a_site_s_own(self, run: Any, config: Path, own: Path) -> None:
        """Shown as it stands, no markup of ours; what is exempt in its file as well."""
        own.write_text(f'{RULE}[[exempt]]\nSrcIpAddr = "192.0.2.0/24"\nreason = "our scanners"\n')
        (own.parent / "mine").mkdir()
        own.rename(own.parent / "mine" / own.name)
        config.write_text(f'rules_dir = "mine"\n{config.read_text()}')
        text = run("rules", "show", "mine").stdout

        assert "[red]Much[/] from {SrcIpAddr}" in text
        assert '\nexempt:       SrcIpAddr = "192.0.2.0/24": our scanners\n' in text

    def test_unknown(self, run: Any) -> None:
        result = run("rules", "show", "nonsense")

        assert (result.exit_code, "there is no rule nonsense; known: " in result.stderr) == (EX_USAGE, True)


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
            ('"low"', '"low"\n[[exempt]]\nDvcAction = "Denied"\nreason = "x"', ":13: exempt[0].DvcAction: "),
        ],
    )
    def test_values_of_a_closed_list(self, run: Any, own: Path, old: str, new: str, want: str) -> None:
        """Another one can never come, also in a rule that is off."""
        own.write_text(RULE.replace(old, new))
        result = run("rules", "check", str(own))

        assert result.exit_code == EX_CONFIG
        assert f"{own}{want}" in result.stderr

    def test_beside_the_others(self, run: Any, own: Path) -> None:
        own.write_text(RULE.replace("mine_by_source", "port_volume"))
        result = run("rules", "check", str(own))

        assert result.exit_code == EX_CONFIG
        assert 'keeps "port_volume" with another' in result.stderr
