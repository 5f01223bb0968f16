"""``collectord profile``."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from collectord import data
from collectord.errors import EX_CONFIG, EX_USAGE

from .conftest import objects


@pytest.fixture
def own(tmp_path: Path, run: Any) -> Path:
    """A new profile that is not in use yet."""
    path = tmp_path / "my-firewall.toml"
    path.write_text(run("profile", "new", "my-firewall").stdout)
    return path


def use(config: Path, folder: Path) -> None:
    config.write_text(f'profiles_dir = "{folder}"\n{config.read_text()}')


class TestList:
    """What can be read."""

    def test_for_people(self, run: Any) -> None:
        result = run("profile", "list")

        assert result.exit_code == 0
        for path in data.profiles():
            assert path.stem in result.stdout
        assert f"{len(data.profiles())} profiles, " in result.stdout

    def test_for_programs(self, run: Any) -> None:
        rows = objects(run("profile", "list", "--json"))
        (asa,) = [row for row in rows if row["name"] == "cisco-asa"]
        values = tomllib.loads(Path(asa["file"]).read_text("utf-8"))

        assert [row["name"] for row in rows] == [path.stem for path in data.profiles()]
        assert (asa["vendor"], asa["product"], asa["reader"]) == ("Cisco", "ASA", "template")
        assert asa["samples"] == len(values["sample"]) > 0
        assert all(isinstance(row["source"], list) and row["source"] for row in rows)

    def test_a_site_s_own(self, run: Any, config: Path, own: Path) -> None:
        """What it says is shown as it stands, escaped: neither a sequence for the terminal nor markup of ours."""
        own.write_text(own.read_text().replace("Vendor Product, format", r"[red]Wall[/] \u001b[2J"))
        (own.parent / "mine").mkdir()
        own.rename(own.parent / "mine" / own.name)
        use(config, own.parent / "mine")
        result = run("profile", "list")

        assert "my-firewall" in result.stdout
        assert "[red]Wall[/] \\x1b[2J" in result.stdout
        assert "\x1b" not in result.stdout
        (row,) = [row for row in objects(run("profile", "list", "--json")) if row["name"] == "my-firewall"]
        assert row["title"] == "[red]Wall[/] \x1b[2J"
        assert row["source"] == ["https://example.com/where-the-vendor-publishes-the-format"]


class TestNew:
    """A profile to start from."""

    @pytest.mark.parametrize("name", ["my-firewall", "x", "f5-big-ip-17"])
    def test_it_is_right(self, run: Any, tmp_path: Path, name: str) -> None:
        """All keys that it shows are real ones, and its samples are as they should be."""
        path = tmp_path / f"{name}.toml"
        path.write_text(run("profile", "new", name).stdout)
        result = run("profile", "check", str(path))

        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout == f"{path}: right, all samples as they should be\n"

    def test_it_can_be_used(self, run: Any, config: Path, own: Path) -> None:
        (own.parent / "mine").mkdir()
        own.rename(own.parent / "mine" / own.name)
        use(config, own.parent / "mine")
        answer = objects(run("parse", input=b"<134>vendor=product src=192.0.2.10 dst=198.51.100.20 action=deny\n"))[0]

        assert (answer["Outcome"], answer["Profile"]) == ("session", "my-firewall")
        assert answer["Sessions"][0]["DvcAction"] == "Deny"

    @pytest.mark.parametrize("name", ["My-Firewall", "a/b", "", "../x", 'x"', "a b", "\u00e4", "{x}", "x.toml", "\x1b"])
    def test_names_that_are_none(self, run: Any, name: str) -> None:
        result = run("profile", "new", "--", name)

        assert (result.exit_code, result.stdout) == (EX_USAGE, "")
        assert result.stderr == "collectord: a name has small letters, digits and - alone\n"


class TestCheck:
    """A profile file beside all others."""

    def test_what_is_wrong_comes_with_file_and_line(self, run: Any, own: Path) -> None:
        own.write_text(
            own.read_text().replace("action=allow", "action=deny").replace("[fields]", "[fields]\nNoField = 'x'")
        )
        result = run("profile", "check", str(own))
        line = own.read_text().splitlines().index("NoField = 'x'") + 1

        assert (result.exit_code, result.stdout) == (EX_CONFIG, "")
        assert result.stderr.startswith(f"{own}:{line}: fields.NoField: ")

    def test_a_failing_sample(self, run: Any, own: Path) -> None:
        own.write_text(own.read_text().replace("action=allow", "action=deny"))
        result = run("profile", "check", str(own))

        assert result.exit_code == EX_CONFIG
        assert '\'allowed\': DvcAction is "Deny", expected "Allow"' in result.stderr

    @pytest.mark.parametrize("line", ["", "name = 5", 'name = ["a"]', 'name = "other"', 'name = ""', "name = {}"])
    def test_a_name_that_is_not_the_file_s(self, run: Any, own: Path, line: str) -> None:
        own.write_text(own.read_text().replace('name = "my-firewall"', line, 1))
        result = run("profile", "check", str(own))

        assert result.exit_code == EX_CONFIG
        assert f"{own}:" in result.stderr
        assert "expected the file's name 'my-firewall'" in result.stderr

    def test_several_files(self, run: Any, tmp_path: Path, own: Path) -> None:
        """Everything that is wrong in any of them at once."""
        absent, no_toml = tmp_path / "absent.toml", tmp_path / "no-toml.toml"
        no_toml.write_text("name = ")
        result = run("profile", "check", str(own), str(absent), str(no_toml))

        assert result.exit_code == EX_CONFIG
        assert [line.partition(":")[0] for line in result.stderr.splitlines()] == [str(absent), str(no_toml)]

    def test_two_of_one_name(self, run: Any, tmp_path: Path, own: Path) -> None:
        (tmp_path / "again").mkdir()
        again = tmp_path / "again" / own.name
        again.write_text(own.read_text())
        result = run("profile", "check", str(own), str(again))

        assert result.exit_code == EX_CONFIG
        assert 'two profiles are named "my-firewall"' in result.stderr

    def test_it_must_not_take_messages_of_others(self, run: Any, own: Path) -> None:
        """The samples of all the others are read as well."""
        own.write_text(own.read_text().replace("vendor=product ", "%ASA-4-1060"))
        result = run("profile", "check", str(own))

        assert result.exit_code == EX_CONFIG
        assert "cisco-asa.toml:" in result.stderr
        assert "is read by my-firewall" in result.stderr

    def test_one_of_a_shipped_name_replaces_it(self, run: Any, tmp_path: Path) -> None:
        path = tmp_path / "paloalto-panos.toml"
        path.write_text(run("profile", "new", "paloalto-panos").stdout)

        assert run("profile", "check", str(path)).exit_code == 0

    def test_what_a_site_knows_of_devices_does_not_matter(self, run: Any, config: Path, own: Path) -> None:
        sample = '\n[[sample]]\nname = "by a peer"\npeer = "192.0.2.1"\nraw = "vendor=product x"\nwant = []\n'
        own.write_text(own.read_text() + sample)
        config.write_text(
            f'relays = ["192.0.2.0/24"]\n{config.read_text()}'
            '[[device]]\nname = "192.0.2.1"\nprofile = "cisco-asa"\nsite = "x"\n'
        )
        assert run("profile", "check", str(own)).stderr == ""
        assert run("check").exit_code == 0

    def test_without_a_file(self, run: Any) -> None:
        result = run("profile", "check")

        assert result.exit_code != 0
        assert "Missing argument" in result.stderr
