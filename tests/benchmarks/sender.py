"""The sender of the benchmarks: ``engine/load``, which is faster than anything in Python."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Literal

import pytest

from .report import REPOSITORY

Way = Literal["udp", "forged", "lines", "octets"]
FLOWS = 4


class Sender:
    """The program, built if it has to be; skips the test where there is no cargo."""

    def __init__(self) -> None:
        cargo = shutil.which("cargo", path=f"{os.environ.get('PATH', '')}:{Path.home() / '.cargo/bin'}")
        if cargo is None:
            pytest.skip("no cargo to build engine/load with")
        engine = REPOSITORY / "engine"
        command = [cargo, "build", "--quiet", "--release", "--manifest-path", engine / "Cargo.toml"]
        command += ["--package", "collectord-load", *os.environ.get("CARGO_FLAGS", "").split()]
        subprocess.run(command, check=True, env=os.environ | {"CARGO_TARGET_DIR": str(engine / "target")})
        self._program = engine / "target" / "release" / "collectord-load"

    def send(self, way: Way, port: int, file: Path, count: int, rate: int = 0, flows: int = FLOWS) -> dict[str, Any]:
        """
        Messages of an octet-counted file to 127.0.0.1, at a rate a second or flat out; what the program says it did.
        """
        with self.sending(way, port, file, count, rate, flows) as process:
            said, _ = process.communicate()
        assert process.returncode == 0, "the sender failed"
        found: dict[str, Any] = json.loads(said)
        assert (found["messages"], found["refused"]) == (count, 0), found
        return found

    def sending(
        self, way: Way, port: int, file: Path, count: int, rate: int, flows: int = FLOWS
    ) -> "subprocess.Popen[bytes]":
        """The same without waiting for it."""
        words = (self._program, way, port, file, count, rate, flows)
        return subprocess.Popen(list(map(str, words)), stdout=subprocess.PIPE)
