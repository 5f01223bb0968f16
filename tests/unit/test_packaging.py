"""What stands in several files says the same in all of them."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from collectord import data

from ..e2e.servers import find_program


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


@pytest.mark.parametrize(
    ("name", "kind", "port"), [("udp", "Datagram", 514), ("tcp", "Stream", 514), ("tls", "Stream", 6514)]
)
def test_socket_units_belong_to_the_listeners(repository: Path, name: str, kind: str, port: int) -> None:
    """Each has the name of a listener of the shipped configuration."""
    lines = (repository / "systemd" / f"collectord-{name}.socket").read_text().splitlines()

    assert {f"Listen{kind}={port}", f"FileDescriptorName={name}", "Service=collectord.service"} <= set(lines)
    assert f'name = "{name}"' in data.conf("collectord.toml").read_text()


SCRIPTS = ("packaging/setup.sh", "packaging/deb/build.sh", "tests/fetch_servers.sh")
MAINTAINER_SCRIPTS = tuple(f"packaging/deb/{name}" for name in ("postinst", "prerm", "postrm"))


@pytest.mark.parametrize("name", SCRIPTS + MAINTAINER_SCRIPTS)
def test_shell_scripts(repository: Path, name: str) -> None:
    """They are of the POSIX shell, and shellcheck has nothing to say."""
    path = repository / name
    assert path.read_text().startswith("#!/bin/sh\n")
    done = subprocess.run(["sh", "-n", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    done = find_program("shellcheck").run(str(path))
    assert done.returncode == 0, done.stdout


def test_locked_versions_serve_the_dependencies(repository: Path) -> None:
    """What the package carries is what pyproject.toml asks for; `make lock` writes the list anew."""
    check = "packaging/deb/lock_check.py"
    done = subprocess.run(
        [sys.executable, "-P", check, "pyproject.toml", "packaging/requirements.lock"],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_lines_that_the_package_sets(repository: Path) -> None:
    """They are in the shipped configuration, as comments."""
    wanted = re.findall(r"'(\w+ = \"[^']+\")'", (repository / "packaging/deb/build.sh").read_text())
    lines = (repository / "conf" / "collectord.toml").read_text().splitlines()
    assert len(wanted) == 4
    assert [line for line in wanted if f"#{line}" not in lines] == []
