"""Tells whether a lock file serves the project's dependencies: lock_check.py pyproject.toml requirements.lock."""

import re
import sys
import tomllib
from pathlib import Path


def main(project: Path, lock: Path) -> None:
    """End with what is wrong, if anything is."""
    wanted = tomllib.loads(project.read_text())["project"]["dependencies"]
    if found := problems(wanted, lock.read_text()):
        raise SystemExit(f"{lock} does not fit {project}: {'; '.join(found)} (make lock writes it anew)")


def problems(wanted: list[str], lock: str) -> list[str]:
    """What the lock lacks of the requirements ``NAME>=VERSION``."""
    locked = {_normal(name): version for name, version in re.findall(r"^([\w.-]+)==([\w.!+-]+)", lock, re.MULTILINE)}
    found = []
    for requirement in wanted:
        name, least = re.match(r"([\w.-]+)(?:\[.*?\])?\s*(?:>=\s*([\d.]+))?", requirement).groups()
        version = locked.get(_normal(name))
        if version is None:
            found.append(f"{name} is missing")
        elif least is not None and _numbers(version) < _numbers(least):
            found.append(f"{name} is {version}, expected {least} or newer")
    return found


def _normal(name: str) -> str:
    """PEP 503: one spelling per name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.match(r"[\d.]*\d", version).group().split(".")]


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
