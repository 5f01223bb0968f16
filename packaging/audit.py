"""
Holds what collectord depends on against the advisories that are known: Python by pip-audit, Rust by cargo-audit.

    .venv/bin/python -P packaging/audit.py

Both ask databases on the network. What could not be asked about is told as such, never as being in order.
Exit status 0: nothing is known against anything; 1: something is; 69: not everything could be looked at.
"""

import json
import shutil
import subprocess
import sys
import sysconfig
import urllib.request
import venv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pip._internal.models.index import PyPI

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".cache" / "audit"
"""A virtual environment of its own: pip-audit brings thirty packages that are none of ours."""

LIMIT_S = 300

PROBE = f"{PyPI.pypi_url}/jinja2/2.4.1/json"
"""What pip-audit asks for each package (PyPI's JSON API); of this one holes are known, so an empty answer is none."""
PROBE_S = 10

OK, FOUND, NOT_LOOKED_AT = 0, 1, 69

OURS = "collectord"


@dataclass(slots=True)
class Findings:
    """What came out."""

    found: list[str] = field(default_factory=list)
    looked_at: int = 0
    not_looked_at: list[str] = field(default_factory=list)
    """What, and why."""

    @property
    def status(self) -> int:
        """Of the process."""
        return FOUND if self.found else NOT_LOOKED_AT if self.not_looked_at else OK

    def lines(self) -> Iterator[str]:
        """For people."""
        yield from (f"audit: FOUND {each}" for each in self.found)
        yield from (f"audit: not looked at: {each}" for each in self.not_looked_at)
        yield f"audit: {self.looked_at} packages looked at, {len(self.found)} advisories"


def python_packages(report: Mapping[str, Any], findings: Findings) -> None:
    """
    Take in pip-audit's JSON.

    It says of a package that its database does not know, or does not answer for, that it was skipped, and ends well.
    """
    skipped = []
    for package in report["dependencies"]:
        if package["name"] == OURS:
            continue
        if "skip_reason" in package:
            skipped.append(package["name"])
            continue
        findings.looked_at += 1
        for vulnerability in package["vulns"]:
            mended = ", ".join(vulnerability["fix_versions"]) or "no version yet"
            name = f"{package['name']} {package['version']}"
            findings.found.append(f"{name}: {vulnerability['id']}, mended by {mended}")
    if skipped:
        names = ", ".join(skipped[:3]) + (" ..." if len(skipped) > 3 else "")
        findings.not_looked_at.append(
            f"{len(skipped)} Python packages ({names}): the database does not answer for them"
        )


def rust_packages(report: Mapping[str, Any], findings: Findings) -> None:
    """Take in cargo-audit's JSON."""
    findings.looked_at += report["lockfile"]["dependency-count"]
    for each in report["vulnerabilities"]["list"]:
        package, advisory = each["package"], each["advisory"]
        findings.found.append(f"{package['name']} {package['version']}: {advisory['id']}, {advisory['title']}")


def _ran(command: Sequence[str]) -> tuple[Any, str]:
    """What a tool wrote as JSON, else None and its last words; both use their exit status for findings."""
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False, cwd=ROOT)
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, str(error)
    try:
        return json.loads(result.stdout), ""
    except ValueError:
        words = (result.stderr or result.stdout).strip().splitlines()
        return None, words[-1] if words else f"exit status {result.returncode}"


def _answers() -> str:
    """Why pip-audit's database would say nothing; empty: it answers. Asked first, as installing the tool takes long."""
    try:
        with urllib.request.urlopen(PROBE, timeout=PROBE_S) as answer:  # noqa: S310 - https alone
            known = json.load(answer).get("vulnerabilities")
    except (OSError, ValueError) as error:
        return str(error)
    return "" if known else "it knows nothing of an old hole"


def audit_python(findings: Findings) -> None:
    """Everything in the virtual environment that this runs in."""
    if why := _answers():
        findings.not_looked_at.append(f"Python packages: the database can't be reached ({why})")
        return
    tool = TOOLS / "bin" / "pip-audit"
    if not tool.exists():
        venv.create(TOOLS, with_pip=True)
        pip = (TOOLS / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "pip-audit")
        result = subprocess.run(pip, capture_output=True, text=True, check=False)
        if result.returncode:
            findings.not_looked_at.append("Python packages: pip-audit can't be installed")
            return
    path = sysconfig.get_path("purelib")
    report, words = _ran((str(tool), "--path", path, "--format", "json", "--progress-spinner", "off"))
    if report is None:
        findings.not_looked_at.append(f"Python packages: {words}")
    else:
        python_packages(report, findings)


def audit_rust(findings: Findings) -> None:
    """The versions that Cargo.lock names."""
    if shutil.which("cargo-audit") is None:
        findings.not_looked_at.append("Rust crates: there is no cargo-audit (cargo install --locked cargo-audit)")
        return
    report, words = _ran(("cargo", "audit", "--json", "--file", "engine/Cargo.lock"))
    if report is None:
        findings.not_looked_at.append(f"Rust crates: {words}")
    else:
        rust_packages(report, findings)


def main() -> int:
    """Both."""
    findings = Findings()
    audit_python(findings)
    audit_rust(findings)
    print(*findings.lines(), sep="\n")
    return findings.status


if __name__ == "__main__":
    sys.exit(main())
