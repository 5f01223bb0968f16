"""What the benchmarks share: the report, the shipped setup, the workload."""

from pathlib import Path

import pytest

from collectord import plan
from collectord.engine import BUILD

from .messages import Workload, of_file, simulated
from .report import Report
from .sender import Sender

_REPORT = Report()


@pytest.fixture(scope="session")
def report() -> Report:
    """Where figures go."""
    return _REPORT


@pytest.fixture(scope="session")
def setup() -> plan.Setup:
    """The shipped configuration, profiles and rules."""
    if BUILD != "release":
        pytest.fail(f"the engine is a {BUILD} build, expected release: run make bench")
    return plan.load(None)


@pytest.fixture(scope="session")
def workload(request: pytest.FixtureRequest) -> Workload:
    """That of the peer measurements where it lies beside the repository, else what the simulated firewalls log."""
    try:
        folder: Path = request.getfixturevalue("shared")
    except pytest.skip.Exception:
        return simulated()
    return of_file(folder / "bench" / "workload.txt")


@pytest.fixture(scope="session")
def sender() -> Sender:
    """The program that sends."""
    return Sender()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The table comes last."""
    if _REPORT.groups:
        terminalreporter.section("benchmarks")
        for line in _REPORT.table():
            terminalreporter.write_line(line)
        # After the table, which shows what was recorded before.
        _REPORT.store()
