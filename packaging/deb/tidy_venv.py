"""
Makes a virtual environment that was built elsewhere one of its final place: tidy_venv.py FOLDER PLACE.

Scripts get the interpreter of the final place, in isolated mode (python -I), so that no variable and no file of the
folder that somebody happens to be in changes what the command imports. Scripts of the dependencies and what only a
person who works in an environment needs are taken out, and so is all that tells where it was built.
"""

import base64
import csv
import hashlib
import sys
from pathlib import Path

SCRIPTS = ("collectord",)
"""Commands that are kept."""

INTERPRETERS = ("python", "python3", "python3.11")

BUILD_NOTES = ("direct_url.json", "REQUESTED")
"""Of an installed distribution: where its file was, and that it was asked for by name."""


def main(folder: Path, place: str) -> None:
    """Tidy the environment in ``folder`` for ``place``."""
    for path in (folder / "bin").iterdir():
        if path.name not in SCRIPTS + INTERPRETERS:
            path.unlink()
    for name in SCRIPTS:
        script = folder / "bin" / name
        first, rest = script.read_text().split("\n", 1)
        if not first.startswith(f"#!{folder}/bin/python"):
            raise SystemExit(f"tidy_venv: {script} starts with {first!r}")
        script.write_text(f"#!{place}/bin/python3 -I\n{rest}")
    settings = (folder / "pyvenv.cfg").read_text().splitlines()
    (folder / "pyvenv.cfg").write_text("".join(f"{line}\n" for line in settings if not line.startswith("command = ")))
    for path in folder.rglob(".DS_Store"):
        path.unlink()
    for info in folder.glob("lib/*/site-packages/*.dist-info"):
        for name in BUILD_NOTES:
            (info / name).unlink(missing_ok=True)
        _record(info / "RECORD")


def _record(path: Path) -> None:
    """The list of a distribution's files again, as they are now."""
    site = path.parent.parent
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        for name, digest, size in sorted(rows):
            if not (found := site / name).exists():
                continue
            if digest:
                content = found.read_bytes()
                text = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
                digest, size = f"sha256={text}", str(len(content))
            writer.writerow((name, digest, size))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
