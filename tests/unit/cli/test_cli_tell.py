"""``collectord test-alert`` and ``alerts resync``: what they ask the daemon, and what they say of the outputs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from collectord import control
from collectord.store.alerts import Alerts
from collectord.store.db import Database
from collectord.store.outbox import Outbox

from .conftest import objects
from .test_cli_outbox import HOSTILE, T0_NS, alert

Run = Callable[..., Any]


class Daemon:
    """Answers; each look at its status is the next step of its outputs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.steps: list[Callable[[Outbox], None]] = []
        self.outputs: list[dict[str, Any]] = []
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def ask(self, path: Path, name: str, **arguments: Any) -> Any:
        if name == "status":
            with Database(self.path) as database:
                if self.steps:
                    self.steps.pop(0)(Outbox(database))
            return {"outputs": self.outputs}
        self.asked.append((name, arguments))
        if name == "alerts-resync":
            return [
                {"output": "noc", "queued": 2, "waiting": 0, "later": 0},
                {"output": HOSTILE, "queued": 0, "waiting": 1, "later": 5000},
            ]
        state = alert(1, "cleared" if arguments["clear"] else "raised")
        with Database(self.path) as database:
            if arguments["clear"]:
                Alerts(database).record([alert(1)], [["noc", "siem"]])
                Outbox(database).delivered([1, 2], T0_NS)
            Alerts(database).record([state], [["noc", "siem"]])
        return {**state.as_json(), "failures": {"noc": 3, "siem": 0}}


@pytest.fixture
def daemon(config: Path, monkeypatch: pytest.MonkeyPatch) -> Daemon:
    daemon = Daemon(config.parent / "state" / "collectord.db")
    monkeypatch.setattr(control, "ask", daemon.ask)
    return daemon


def test_delivered(run: Run, daemon: Daemon) -> None:
    daemon.steps = [lambda outbox: outbox.delivered([1], T0_NS), lambda outbox: outbox.delivered([2], T0_NS)]
    result = run("test-alert")

    assert (result.exit_code, result.stdout) == (0, "noc: delivered\nsiem: delivered\n")
    assert daemon.asked == [("test-alert", {"output": None, "clear": False})]


def test_clear(run: Run, daemon: Daemon) -> None:
    daemon.steps = [lambda outbox: outbox.delivered([3, 4], T0_NS)]
    result = run("test-alert", "--clear", "--json")

    assert result.exit_code == 0
    assert objects(result) == [
        {"output": name, "alert_id": f"{1:016x}", "event": "cleared", "delivered": True, "error": ""}
        for name in ("noc", "siem")
    ]


def test_not_delivered(run: Run, daemon: Daemon) -> None:
    """Its own error, or that of the output, which is down with others before it."""
    daemon.steps = [lambda outbox: outbox.failed(1, HOSTILE, T0_NS)]
    daemon.outputs = [{"name": "siem", "failures": 1, "last_error": "refused"}]
    result = run("test-alert")

    assert result.exit_code == 69
    noc, siem = result.stdout.splitlines()
    assert noc.startswith("noc: not delivered: ")
    assert "\x1b" not in noc
    assert siem == "siem: not delivered: refused"


def test_nothing_heard(run: Run, daemon: Daemon) -> None:
    result = run("test-alert", "--wait", "0")

    assert result.exit_code == 69
    assert result.stdout.splitlines()[0] == "noc: not delivered: nothing was heard of it within 0 s"


def test_what_was_wrong_before(run: Run, daemon: Daemon) -> None:
    """It may be wrong still."""
    daemon.outputs = [{"name": "noc", "failures": 3, "last_error": "refused"}]
    result = run("test-alert", "--wait", "0")

    assert result.stdout.splitlines()[0] == "noc: not delivered: nothing was heard of it within 0 s; before: refused"


def test_resync(run: Run, daemon: Daemon) -> None:
    result = run("alerts", "resync")

    first, second = result.stdout.splitlines()
    assert first == "noc: 2 queued"
    assert second.endswith(": 0 queued, 1 waited already, 5,000 follow once there is room")
    assert "\x1b" not in second
    assert objects(run("alerts", "resync", "--output", "noc", "--json"))[0]["queued"] == 2
    assert daemon.asked[-1] == ("alerts-resync", {"output": "noc"})
