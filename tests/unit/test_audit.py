"""``make audit``: what is known against a dependency is told, and so is what nobody could tell."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def audit(repository: Path) -> Any:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("audit_script", repository / "packaging" / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


VULNERABLE = {
    "name": "flask", "version": "0.5", "vulns": [{"id": "PYSEC-2019-179", "fix_versions": ["1.0"], "aliases": []}],
}  # fmt: skip
SOUND = {"name": "click", "version": "8.1", "vulns": []}
UNKNOWN = {"name": "tomli", "skip_reason": "Dependency not found on PyPI and could not be audited: tomli (2.5.0)"}
OURS = {"name": "collectord", "skip_reason": "distribution marked as editable"}


def test_nothing_is_known(audit: Any) -> None:
    findings = audit.Findings()
    audit.python_packages({"dependencies": [SOUND, OURS]}, findings)
    assert (findings.status, findings.looked_at) == (0, 1)


def test_something_is_known(audit: Any) -> None:
    findings = audit.Findings()
    audit.python_packages({"dependencies": [SOUND, VULNERABLE, UNKNOWN]}, findings)
    assert findings.status == 1
    assert next(findings.lines()) == "audit: FOUND flask 0.5: PYSEC-2019-179, mended by 1.0"


def test_what_was_skipped_is_not_in_order(audit: Any) -> None:
    """pip-audit ends with 0 where the database answers for nothing."""
    findings = audit.Findings()
    audit.python_packages({"dependencies": [UNKNOWN] * 5}, findings)
    assert findings.status == 69
    assert "5 Python packages (tomli, tomli, tomli ...)" in next(findings.lines())


def test_rust(audit: Any) -> None:
    advisory = {"id": "RUSTSEC-2021-0003", "title": "Buffer overflow"}
    listed = [{"package": {"name": "smallvec", "version": "1.0.0"}, "advisory": advisory}]
    findings = audit.Findings()
    audit.rust_packages({"lockfile": {"dependency-count": 40}, "vulnerabilities": {"list": listed}}, findings)
    assert (findings.status, findings.looked_at) == (1, 40)
    assert findings.found == ["smallvec 1.0.0: RUSTSEC-2021-0003, Buffer overflow"]


def test_a_tool_that_fails_says_why(audit: Any) -> None:
    assert audit._ran(("sh", "-c", "echo first >&2; echo no network >&2; exit 1")) == (None, "no network")
    assert audit._ran(("sh", "-c", "exit 3")) == (None, "exit status 3")
    assert audit._ran(("sh", "-c", "echo '{}'; exit 1")) == ({}, "")
    report, words = audit._ran(("/no/such/tool",))
    assert report is None
    assert "No such file" in words
