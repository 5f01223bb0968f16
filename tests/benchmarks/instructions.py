"""
Instructions that messages take in the engine, counted by callgrind.

Unlike times they are the same on a busy machine, on the next run and nearly so on the next processor. What is counted
is ``engine/core/examples/cost.rs`` at work: only the calls that read the messages, not the start of the program.
"""

import os
import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
UNPACKED = REPOSITORY / ".cache" / "servers"

Way = Literal["datagrams", "parse", "octets", "lines"]
"""How the engine gets the messages; see ``cost.rs``."""
Build = Literal["release", "debug"]

FILES_PER_RUN = 200
"""So that a run does not start a second time for a few files, and two of them keep two cores busy."""


class Counter:
    """
    The program built and ready.

    Args:
        build: release: as it is delivered. debug: what ``make test`` has built already.
        plan: The plan, as JSON.
        folder: For files of its own.
    """

    def __init__(self, build: Build, plan: str, folder: Path) -> None:
        self._valgrind, self._environment = _valgrind()
        self._program = _built(build)
        self._folder = folder
        self._plan = folder / "plan.json"
        self._plan.write_text(plan, encoding="utf-8")
        self._files = 0

    def count(self, batches: Sequence[Sequence[bytes]], way: Way, passes: int = 1) -> list[int]:
        """Instructions of one pass over each batch of messages, in the order given."""
        files = [self._file(batch) for batch in batches]
        runs = [files[at : at + FILES_PER_RUN] for at in range(0, len(files), FILES_PER_RUN)]
        with ThreadPoolExecutor(max_workers=2) as pool:
            counted = pool.map(lambda run: self._run(run, way, passes), runs)
            return [instructions // passes for run in counted for instructions in run]

    def _file(self, messages: Sequence[bytes]) -> Path:
        self._files += 1
        path = self._folder / f"messages-{self._files}"
        path.write_bytes(b"".join(b"%d %s" % (len(message), message) for message in messages))
        return path

    def _run(self, files: Sequence[Path], way: Way, passes: int) -> list[int]:
        out = files[0].with_suffix(".counts")
        command = [
            self._valgrind,
            "--tool=callgrind",
            f"--callgrind-out-file={out}",
            # The counts are handed over each time the function returns, and start at nought again.
            "--toggle-collect=cost::counted",
            "--dump-after=cost::counted",
            # Only the sums are read.
            "--dump-line=no",
            "--compress-strings=yes",
            self._program,
            self._plan,
            way,
            str(passes),
            *files,
        ]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        counted = [_total(Path(f"{out}.{number}")) for number in range(1, len(files) + 1)]
        for file in (*files, *self._folder.glob(f"{out.name}*")):
            file.unlink()
        return counted


def _total(counts: Path) -> int:
    """The sum that stands at the end of a file of callgrind's (its manual, "Callgrind Format Specification")."""
    with counts.open(encoding="utf-8", errors="replace") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("summary:"))


def _valgrind() -> tuple[Path, dict[str, str]]:
    """Valgrind from PATH or from the unpacked packages, and its environment; skips the test without it."""
    if found := shutil.which("valgrind"):
        return Path(found), dict(os.environ)
    # Beside it lies a script that looks in the system's folders only.
    unpacked = UNPACKED / "usr/bin/valgrind.bin"
    if unpacked.is_file():
        return unpacked, os.environ | {"VALGRIND_LIB": str(UNPACKED / "usr/libexec/valgrind")}
    pytest.skip(f"no valgrind: neither on PATH nor in {UNPACKED}; tests/fetch_servers.sh unpacks it")


def _built(build: Build) -> Path:
    """The program, built if it has to be; skips the test where there is no cargo."""
    cargo = shutil.which("cargo", path=f"{os.environ.get('PATH', '')}:{Path.home() / '.cargo/bin'}")
    if cargo is None:
        pytest.skip("no cargo to build engine/core/examples/cost.rs with")
    engine = REPOSITORY / "engine"
    command = [cargo, "build", "--quiet", "--manifest-path", engine / "Cargo.toml", "--package", "collectord-core"]
    command += ["--example", "cost", *(["--release"] if build == "release" else [])]
    command += os.environ.get("CARGO_FLAGS", "").split()
    # Another target folder of the caller's would hold the program too.
    subprocess.run(command, check=True, env=os.environ | {"CARGO_TARGET_DIR": str(engine / "target")})
    return engine / "target" / build / "examples" / "cost"
