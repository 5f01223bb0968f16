"""The README is true: it names what there is, and nothing else that looks like it."""

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from collectord.cli import first_steps
from collectord.config_text import key_of
from collectord.manual.configuration import table_models

from ..certificates import Authority


@pytest.fixture(scope="module")
def readme(repository: Path) -> str:
    """Its text."""
    return (repository / "README.md").read_text()


def _commands(group: click.Command, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command that does something, as the words after ``collectord``."""
    if not isinstance(group, click.Group):
        yield above
        return
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if not command.hidden:
            yield from _commands(command, (*above, name))


def _table(text: str, heading: str) -> list[str]:
    """What stands in the first column of the table under a heading, without the back quotes."""
    section = re.split(r"^## ", text, flags=re.MULTILINE)
    (body,) = [part for part in section if part.startswith(heading + "\n")]
    rows = [line for line in body.splitlines() if line.startswith("|")]
    return [row.split("|")[1].strip().strip("`") for row in rows[2:]]


def test_commands_table_is_complete(readme: str) -> None:
    """Each command has its row, and each row its command."""
    from collectord.cli import cli

    rows = {tuple(word for word in row.split() if word.islower()) for row in _table(readme, "Commands")}
    rows = {row[1:] for row in rows}
    assert rows == {words for words in _commands(cli) if words}


def test_outcomes_table_is_complete(readme: str) -> None:
    """Each outcome has its row, in the order in which `collectord status` shows them."""
    from collectord.model import OUTCOMES

    assert _table(readme, "Outcomes: nothing vanishes") == list(OUTCOMES)


def test_profiles_table_is_complete(readme: str) -> None:
    """Each shipped profile has its row."""
    from collectord import data

    assert sorted(_table(readme, "Devices")) == sorted(path.stem for path in data.profiles())


def test_rules_table_is_complete(readme: str) -> None:
    """Each shipped rule has its row."""
    from collectord import data

    assert sorted(_table(readme, "Rules")) == sorted(path.stem for path in data.rules())


def test_keys_of_the_threat_model_exist(repository: Path) -> None:
    """A bound that nobody can set would be no bound."""
    models = table_models()
    named = set(re.findall(r"`([a-z]+)\.([a-z_]+)`", (repository / "SECURITY.md").read_text()))
    keys = {(table, key_of(*each)) for table, (model, *_) in models.items() for each in model.model_fields.items()}

    assert len(named) > 8
    assert {name for name in named if name[0] in models} == named <= keys


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "packaging/README.md"])
def test_named_files_exist(repository: Path, name: str) -> None:
    """Every file or folder of the project that a page names in back quotes is there."""
    text = (repository / name).read_text()
    tops = {path.name for path in repository.iterdir()}
    for quoted in re.findall(r"`([\w./-]+)`", text):
        if "/" in quoted and quoted.split("/")[0] in tops and not re.search("^dist/|NAME", quoted):
            assert (repository / quoted).exists(), f"{name} names {quoted}"


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_named_make_targets_exist(repository: Path, name: str) -> None:
    """Every `make x` of a page, in back quotes or in a block of commands, is a target."""
    targets = set(re.findall(r"^\.PHONY: *([\w-]+)", (repository / "Makefile").read_text(), flags=re.MULTILINE))

    named = re.findall(r"(?:^|`)make ([a-z][a-z-]*)", (repository / name).read_text(), flags=re.MULTILINE)
    assert named
    assert set(named) <= targets


@pytest.mark.parametrize("product", first_steps.DEVICES)
def test_lines_for_devices_are_those_of_init(readme: str, product: str) -> None:
    """What to type on a firewall is written once, and shown in both places."""
    blocks = [
        textwrap.dedent(block) for block in re.findall(r"^ *```\n(.*?)^ *```", readme, flags=re.MULTILINE | re.DOTALL)
    ]

    assert first_steps.lines(product, "192.0.2.10", 5514) in blocks


def test_links_within_the_readme_lead_somewhere(readme: str) -> None:
    """An anchor is its heading in lower case, blanks as hyphens, without marks."""
    headings = re.findall(r"^#+ (.*)$", readme, flags=re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}

    assert set(re.findall(r"\]\(#([^)]+)\)", readme)) <= anchors


def test_metrics_that_are_named_exist(readme: str, repository: Path) -> None:
    """Whoever pastes an expression gets a series."""
    source = (repository / "collectord" / "metrics.py").read_text()
    for name in set(re.findall(r"collectord_([a-z_]+?)(?:_total)?(?:\{| |\[|`)", readme)):
        # Messages and bytes by outcome share a line of the source.
        assert f'"{name}"' in source or (name == "input_messages" and 'f"input_{what}"' in source), name


def test_examples_in_toml_are_valid(readme: str, tmp_path: Path) -> None:
    """The whole configurations that the README shows pass `collectord check`'s loader."""
    from collectord import config

    examples = re.findall(r"^```toml\n(.*?)^```", readme, flags=re.MULTILINE | re.DOTALL)
    assert examples
    for name in ("snmp-auth-password", "snmp-priv-password"):
        (tmp_path / name).write_text("not a secret\n")
        (tmp_path / name).chmod(0o600)
    authority = Authority("NOC CA")
    (tmp_path / "siem-ca.pem").write_bytes(authority.certificate_pem)
    (tmp_path / "devices-ca.pem").write_bytes(authority.certificate_pem)
    for name in ("collectord", "listener"):
        authority.signs("collector.example.net").write(tmp_path, name)
    for number, example in enumerate(examples):
        path = tmp_path / f"{number}.toml"
        path.write_text(example)
        config.load(path)
