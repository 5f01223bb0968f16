"""What systemd makes of the shipped units, as they are: systemd-analyze of this machine, or of Debian's package."""

import shutil
from pathlib import Path

import pytest

from .servers import UNPACKED, Program, find_program

MOST = "15"
"""Exposure by `systemd-analyze security`, in tenths: 1.5 of 10."""

KINDS = (".service", ".socket")


@pytest.fixture(scope="module")
def systemd_analyze() -> Program:
    """It needs no running systemd for this."""
    return find_program("systemd-analyze")


@pytest.fixture
def root(tmp_path: Path, repository: Path) -> Path:
    """The units where the package puts them, with systemd's own beside them and the program that they start."""
    folders = (Path("/lib/systemd/system"), UNPACKED / "lib/systemd/system", UNPACKED / "usr/lib/systemd/system")
    theirs = next(folder for folder in folders if (folder / "sysinit.target").exists())
    units = tmp_path / "lib/systemd/system"
    shutil.copytree(theirs, units, symlinks=True, ignore=shutil.ignore_patterns("collectord*"))
    for path in (repository / "systemd").iterdir():
        if path.suffix in KINDS:
            shutil.copy(path, units)
    program = tmp_path / "opt/collectord/bin/collectord"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return tmp_path


def test_nothing_to_say(systemd_analyze: Program, root: Path, repository: Path) -> None:
    """`systemd-analyze verify` is quiet about each unit; a key that is misspelt is told, so it does look."""
    units = sorted(path.name for path in (repository / "systemd").iterdir() if path.suffix in KINDS)
    assert "collectord.service" in units
    verify = ("verify", "--man=no", f"--root={root}")
    done = systemd_analyze.run(*verify, *units)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    service = root / "lib/systemd/system/collectord.service"
    service.write_text(service.read_text().replace("WatchdogSec=", "WatchDogSec="))
    assert "WatchDogSec" in systemd_analyze.run(*verify, "collectord.service").stderr


def test_exposure(systemd_analyze: Program, root: Path) -> None:
    """At most 1.5 of 10; a service without its walls is over that, so the limit does count."""
    security = ("security", "--offline=true", f"--threshold={MOST}", f"--root={root}", "collectord.service")
    done = systemd_analyze.run(*security)
    assert done.returncode == 0, (done.stdout + done.stderr)[-2000:]

    service = root / "lib/systemd/system/collectord.service"
    service.write_text(service.read_text().replace("SystemCallFilter=", "#").replace("PrivateUsers=yes", ""))
    assert systemd_analyze.run(*security).returncode != 0
