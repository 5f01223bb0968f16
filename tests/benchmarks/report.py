"""
What a run of the benchmarks found: one table on the terminal, one JSON file, beside what was recorded.

Instructions are recorded in ``recorded.json``, they are the same on every machine; times in ``measured.json``, with the
machine that they are of.
"""

import json
import os
import platform
import sqlite3
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from collectord import __version__

REPOSITORY = Path(__file__).resolve().parents[2]
RESULTS = REPOSITORY / ".cache" / "bench" / "results.json"
MEASURED = Path(__file__).with_name("measured.json")

README = Path(__file__).with_name("README.md")
HEADING = "## The last recorded run\n"
"""What follows it in the README is replaced when a run is recorded."""

QUICK = os.environ.get("COLLECTORD_BENCH") == "quick"
"""Fewer and shorter measurements, which say whether something is badly wrong and not much more."""

RECORD = bool(os.environ.get("COLLECTORD_RECORD"))

WHOLE = ("engine", "instructions", "daemon, UDP", "daemon, TCP", "daemon, start", "keys")
"""Groups of a whole run begin so."""

Better = Literal["less", "more", "neither"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One number."""

    value: float
    unit: str
    better: Better = "less"


@dataclass(slots=True)
class Report:
    """Figures by group and name, in the order in which they were measured."""

    groups: dict[str, dict[str, Figure]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, group: str, name: str, value: float, unit: str, better: Better = "less") -> None:
        """A figure; at once, so that a later failure takes nothing with it."""
        self.groups.setdefault(group, {})[name] = Figure(value, unit, better)

    def note(self, text: str) -> None:
        """What no number says."""
        self.notes.append(text)

    def as_json(self) -> dict[str, Any]:
        """All of it, and of what it was measured."""
        return {
            "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
            "quick": QUICK,
            "machine": machine(),
            "versions": {
                "collectord": __version__,
                "commit": _said("git", "-C", str(REPOSITORY), "rev-parse", "--short", "HEAD"),
                "python": platform.python_version(),
                "sqlite": sqlite3.sqlite_version,
                "rustc": _said("rustc", "--version"),
            },
            "figures": {
                group: {name: asdict(figure) for name, figure in figures.items()}
                for group, figures in self.groups.items()
            },
            "notes": self.notes,
        }

    def store(self) -> None:
        """The file of this run; with COLLECTORD_RECORD=1 a whole run that was not quick becomes the recorded one."""
        found = self.as_json()
        text = json.dumps(found, indent=1) + "\n"
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        RESULTS.write_text(text, encoding="utf-8")
        if RECORD and not QUICK and all(any(name.startswith(each) for name in self.groups) for each in WHOLE):
            MEASURED.write_text(text, encoding="utf-8")
            before, heading, _ = README.read_text(encoding="utf-8").partition(HEADING)
            README.write_text(before + heading + "\n" + "\n".join(self.markdown()) + "\n", encoding="utf-8")

    def markdown(self, remark: str = "") -> Iterator[str]:
        """The same table for ``README.md``."""
        of = self.as_json()
        now, versions = of["machine"], of["versions"]
        yield f"{of['date']}, {now['processor']}, {now['cores']} cores, {now['memory_gib']} GiB, {now['system']};"
        yield f"collectord {versions['collectord']} at {versions['commit']}, Python {versions['python']}, SQLite"
        yield f"{versions['sqlite']}, {versions['rustc']}.{remark}"
        yield ""
        yield "| What | Of what | | |"
        yield "|---|---|---:|---|"
        for group, figures in self.groups.items():
            for number, (name, figure) in enumerate(figures.items()):
                yield f"| {'' if number else group} | {name} | {_shown(figure.value)} | {figure.unit} |"
        for note in self.notes:
            yield f"\n{note}"

    def table(self) -> Iterator[str]:
        """Line by line."""
        before = recorded()
        if not self.groups:
            return
        now = machine()
        yield f"on {now['processor']}, {now['cores']} cores, {now['memory_gib']} GiB{' (quick)' if QUICK else ''}"
        if before:
            of = before["machine"]
            here = "this machine's kind" if of == now else f"{of['processor']}, {of['cores']} cores"
            yield f"recorded {before['date']} on {here}, at {before['versions']['commit']}"
        for group, figures in self.groups.items():
            yield ""
            yield f"{group:44} {'now':>12} {'recorded':>12} {'ratio':>6}"
            for name, figure in figures.items():
                was = before.get("figures", {}).get(group, {}).get(name)
                beside = f"{_shown(was['value']):>12} {_ratio(figure, was['value'])}" if was else f"{'-':>12}"
                yield f"  {name:42} {_shown(figure.value):>12} {beside}  {figure.unit}"
        for note in self.notes:
            yield f"\n{note}"


def recorded() -> dict[str, Any]:
    """The last recorded run; empty without one."""
    if not MEASURED.is_file():
        return {}
    found: dict[str, Any] = json.loads(MEASURED.read_text(encoding="utf-8"))
    return found


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    ]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30),
        "system": f"{platform.system()} {platform.release()}",
    }


def _said(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"


def _shown(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.2f}"


def _ratio(figure: Figure, was: float) -> str:
    if not was:
        return f"{'':6}"
    ratio = figure.value / was
    worse = {"less": ratio > 1.2, "more": ratio < 0.8, "neither": False}[figure.better]
    return f"{ratio:5.2f}{'!' if worse else ' '}"
