"""The manual pages and completions: they name all that there is, and the tools that show them take them."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from collectord import data
from collectord.cli import cli
from collectord.manual import commands, configuration
from collectord.manual.__main__ import COMPLETIONS, write


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything, written."""
    folder = tmp_path_factory.mktemp("manual")
    write(folder / "man", folder / "completions")
    return folder


def plain(page: str) -> str:
    """The words without the requests, each escape as what it shows."""
    text = re.sub(r"\\f[BIR]|\\&", "", page)
    for escape, character in (
        ("\\-", "-"),
        ("\\(aq", "'"),
        ("\\(dq", '"'),
        ("\\(ga", "`"),
        ("\\(ti", "~"),
        ("\\e", "\\"),
    ):
        text = text.replace(escape, character)
    return text


def section(page: str, heading: str) -> str:
    """What stands below a heading."""
    found = re.split(r"^\.SH ", page, flags=re.MULTILINE)
    (body,) = [part for part in found if part.startswith(f"{heading}\n")]
    return body


class TestCommands:
    """collectord(8)."""

    def test_every_command_and_option(self) -> None:
        page = plain(commands.page())
        for words, command in commands.commands(cli):
            _, _, below = page.partition(f".SS collectord {' '.join(words)} ")
            below = below.partition("\n.S")[0]
            assert below, words
            for parameter in command.params:
                if isinstance(parameter, click.Option) and not parameter.hidden:
                    assert parameter.opts[-1] in below, (words, parameter.opts)

    def test_examples_stay_as_they_are(self) -> None:
        page = plain(commands.page())
        assert ".EX\ncollectord run\ncollectord run --config /etc/collectord/collectord.toml\n.EE\n" in page

    def test_exit_statuses_are_those_of_the_readme(self, repository: Path) -> None:
        (sentence,) = re.findall(
            r"Exit statuses are those of sysexits.h: (.*?)\n\n", (repository / "README.md").read_text(), re.S
        )
        assert set(re.findall(r"\b\d+\b", sentence)) == set(commands.EXIT_STATUSES)


class TestConfiguration:
    """collectord.toml(5)."""

    def test_every_key(self) -> None:
        """In the section of its table, with a word of what it is for."""
        page = plain(configuration.page())
        for name, models in configuration.table_models().items():
            heading = f"[[{name}]]" if len(models) > 1 or name == "device" else f"[{name}]"
            body = section(page, heading)
            for key, fields in configuration._keys(models).items():
                assert f"\n.TP\n{key}\n" in body, (name, key)
                told = body.partition(f"\n.TP\n{key}\n")[2].partition(".TP")[0]
                types = [configuration._tag(each.model) for each in fields]
                # What a table is called needs no word, and a secret stands better in its file.
                assert ".IP" in told or key in ("name", "community"), (name, key, types)

    def test_keys_above_the_tables(self) -> None:
        body = section(plain(configuration.page()), "KEYS ABOVE THE FIRST TABLE")
        assert re.findall(r"\.TP\n(\w+)\n", body) == [
            "state_dir", "control_socket", "internal_networks", "relays", "port_watchlist", "hosts", "learn_until",
            "profiles_dir", "rules_dir",
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("key", "told"),
        [
            ("keep_slots", 'A duration from "1h" to "400d"; by default "2d".'),
            ("max_size", 'A size from "64MiB" to "1024GiB"; by default "4GiB".'),
            ("storm_cap", "A whole number from 1 to 100000; by default 30."),
            ("when_full", 'One of drop-oldest, drop-new, keep; by default "drop-oldest".'),
            ("enabled", "true or false; by default false."),
            ("learn_until", "A time with its zone; not set by default."),
            ("community", "A secret text; not set by default. Only for type = snmp."),
            ("framing", 'One of octet-counting, lf; by default "octet-counting". Only for type = syslog.'),
            ("utc_offset", 'An offset from UTC such as "+01:00"; not set by default.'),
            ("relays", "A list; by default []."),
            ("state_dir", "A path; its default depends on the machine."),
        ],
    )
    def test_what_a_key_may_hold(self, key: str, told: str) -> None:
        assert f"\n.TP\n{key}\n{told}\n" in plain(configuration.page())

    def test_defaults_that_differ(self) -> None:
        page = plain(configuration.page())
        assert "by default 514 (syslog), by default 162 (snmp). Only for type = syslog or snmp." in page

    def test_what_the_shipped_file_says(self) -> None:
        """Words beside a key, those that go on below it, and those above."""
        text = (
            '# For all.\n#one = 1\n#two = 2\n\n# A table.\n[t]\nkey = "a # b"  # first,\n        # then\n'
            "# above\nk = []\n\n# Another.\n#[[t]]\n#key = 5   # no more\n"
        )
        tables = configuration.shown(text)
        assert {key: each.words for key, each in tables[""].keys.items()} == {"one": ["For all."], "two": ["For all."]}
        assert tables["t"].words == ["A table.", "Another."]
        assert {key: each.words for key, each in tables["t"].keys.items()} == {"key": ["first, then"], "k": ["above"]}

    def test_nothing_of_the_shipped_file_is_lost(self) -> None:
        """Each of its words on a key is in the page."""
        page = plain(configuration.page())
        tables = configuration.shown(data.conf("collectord.toml").read_text(encoding="utf-8"))
        for table in tables.values():
            for key in table.keys.values():
                assert all(" ".join(words.split()) in page for words in key.words)


@pytest.mark.parametrize("name", ["collectord.8", "collectord.toml.5"])
def test_groff_has_no_complaint(folder: Path, name: str) -> None:
    groff = shutil.which("groff")
    if groff is None:
        pytest.skip("there is no groff")
    result = subprocess.run(
        [groff, "-man", "-ww", "-z", "-Tutf8", "-Kutf8", str(folder / "man" / name)], capture_output=True, check=True
    )
    assert result.stderr == b""


@pytest.mark.parametrize("name", ["collectord.8", "collectord.toml.5"])
def test_mandoc_has_no_complaint(folder: Path, name: str) -> None:
    """Of weight: its remarks on style are about pages in another language."""
    mandoc = shutil.which("mandoc")
    if mandoc is None:
        pytest.skip("there is no mandoc")
    subprocess.run([mandoc, "-Tlint", "-Wwarning", str(folder / "man" / name)], check=True)


@pytest.mark.parametrize("name", COMPLETIONS)
def test_completions(folder: Path, name: str) -> None:
    text = (folder / "completions" / name).read_text()
    assert "_COLLECTORD_COMPLETE" in text
    assert "%(" not in text


def test_the_command_completes(folder: Path) -> None:
    """What the shell asks it, with the words that stand there."""
    environment = {"_COLLECTORD_COMPLETE": "bash_complete", "COMP_WORDS": "collectord aler", "COMP_CWORD": "1"}
    script = Path(sys.executable).with_name("collectord")
    result = subprocess.run([script], env=os.environ | environment, capture_output=True, text=True, check=False)
    assert result.stdout == "plain,alerts\n"


def test_bash_takes_its_completion(folder: Path) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash")
    subprocess.run([bash, "-n", folder / "completions" / "collectord.bash"], check=True)
