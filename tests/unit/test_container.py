"""The container file keeps the rules that matter; hadolint looks at it, too, where it is at hand."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from collectord.config import Config

FILE = "packaging/container/Containerfile"


@pytest.fixture(scope="module")
def stages(repository: Path) -> list[list[tuple[str, str]]]:
    """Instruction and its text, in one line each, by stage."""
    text = re.sub(r"^#.*\n", "", (repository / FILE).read_text(), flags=re.MULTILINE)
    found: list[list[tuple[str, str]]] = []
    for line in re.sub(r"\s*\\\n\s*", " ", text).splitlines():
        if not line.strip():
            continue
        word, rest = line.split(maxsplit=1)
        assert word.isupper(), line
        if word == "FROM":
            found.append([])
        found[-1].append((word, rest))
    return found


def test_base_images_have_a_version(stages: list[list[tuple[str, str]]]) -> None:
    """Each stage starts from Debian 12 of a named registry."""
    for stage in stages:
        assert stage[0][1].split()[0] == "docker.io/library/debian:12-slim"


def test_runs_as_nobody_special(stages: list[list[tuple[str, str]]]) -> None:
    """The last word on the user is a number other than root's, before the program starts."""
    words = [word for word, _ in stages[-1]]
    users = [rest for word, rest in stages[-1] if word == "USER"]
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", users[-1])
    assert words.index("USER") < words.index("ENTRYPOINT")
    (made,) = [rest for word, rest in stages[-1] if word == "RUN" and "useradd" in rest]
    assert f"--uid {users[-1].partition(':')[0]}" in made


def test_what_runs_has_no_sources(stages: list[list[tuple[str, str]]]) -> None:
    """It takes the package's files from the stage that builds, and nothing from the folder."""
    copies = [rest for word, rest in stages[-1] if word == "COPY"]
    assert copies
    assert [rest for rest in copies if not rest.startswith("--from=build /package/")] == []
    assert [rest for stage in stages for word, rest in stage if word == "ADD"] == []


def test_packages_are_installed_sparingly(stages: list[list[tuple[str, str]]]) -> None:
    """Nothing is asked for, nothing is recommended, and no list is left in what runs."""
    installs = [rest for stage in stages for word, rest in stage if word == "RUN" and "apt-get install" in rest]
    assert len(installs) == len(stages)
    for install in installs:
        assert "apt-get update -q &&" in install
        assert "apt-get install -y -q --no-install-recommends" in install
    assert "rm -rf /var/lib/apt/lists/*" in installs[-1]


def test_starts_without_a_shell(stages: list[list[tuple[str, str]]]) -> None:
    """Signals reach the daemon, which is told by SIGTERM; its health is looked at."""
    last = dict(stages[-1])
    assert last["ENTRYPOINT"] == '["collectord"]'
    assert last["CMD"].startswith("[")
    assert re.search(r'CMD \["collectord", "status"\]', last["HEALTHCHECK"])
    assert last["STOPSIGNAL"] == "SIGTERM"


def test_all_that_is_written_is_in_the_volume(stages: list[list[tuple[str, str]]]) -> None:
    """So that the root file system may be read-only."""
    last = dict(stages[-1])
    assert last["VOLUME"] == "/var/lib/collectord"
    assert "TMPDIR=/var/lib/collectord" in last["ENV"]


def test_ports_are_those_of_the_listeners(stages: list[list[tuple[str, str]]]) -> None:
    """Of the shipped configuration."""
    listeners = {f"{each.port}/{'udp' if each.type == 'udp' else 'tcp'}" for each in Config().listener}
    assert set(dict(stages[-1])["EXPOSE"].split()) == listeners


def test_hadolint(repository: Path) -> None:
    """The versions of Debian's packages are Debian's matter (DL3008)."""
    if (hadolint := shutil.which("hadolint")) is None:
        pytest.skip("hadolint is not here: the rules above are the ones that matter")
    done = subprocess.run(
        [hadolint, "--ignore", "DL3008", repository / FILE], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
