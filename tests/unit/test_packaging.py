"""What stands in several files says the same in all of them."""

import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest


def test_package_links_to_every_file_of_conf(repository: Path) -> None:
    """The wheel takes conf/ along as collectord/conf/: one link to each file, and nothing else."""
    linked = repository / "collectord" / "conf"
    names = {path.name for path in (repository / "conf").iterdir()}

    assert {path.name for path in linked.iterdir()} == names
    for link in linked.iterdir():
        assert link.is_symlink(), link
        assert link.resolve() == repository / "conf" / link.name


def test_one_version(repository: Path) -> None:
    """The distribution and the engine carry the same version, and the changelog starts with it."""
    project = tomllib.loads((repository / "pyproject.toml").read_text())
    engine = tomllib.loads((repository / "engine" / "Cargo.toml").read_text())
    version = project["project"]["version"]

    assert engine["workspace"]["package"]["version"] == version
    changelog = (repository / "CHANGELOG.md").read_text()
    first = next(line for line in changelog.splitlines() if line.startswith("## "))
    assert first.removeprefix("## ").split()[0].strip("[]") == version


def test_every_make_target_has_a_help_text(repository: Path) -> None:
    """`make help` shows all targets that people call."""
    makefile = (repository / "Makefile").read_text()
    phony = [line for line in makefile.splitlines() if line.startswith(".PHONY:")]
    shown = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=repository, capture_output=True, text=True, check=True
    ).stdout

    described = [line.split()[1] for line in phony if "##" in line]
    assert [line.split()[0] for line in shown.splitlines()] == described
    assert {"run", "test", "dev", "fmt", "lint", "test-all", "ci", "help"} <= set(described)


def test_service_is_hardened(repository: Path) -> None:
    """systemd rates the service's exposure at 1.5 of 10 or better."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not here")
    rating = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=15", "systemd/collectord.service"],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )

    assert rating.returncode == 0, (rating.stdout + rating.stderr)[-2000:]
