"""``collectord outbox``: what waits, shown, verified, tried and exported."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from collectord import control
from collectord.model import NS_PER_S, Alert, AlertState, Mode, Severity
from collectord.policy import OutputPolicy
from collectord.store.alerts import Alerts
from collectord.store.db import Database
from collectord.store.outbox import Outbox
from collectord.store.queue import Queue

from .conftest import objects

Run = Callable[..., Any]
T0_NS = 1_800_000_000 * NS_PER_S
HOSTILE = "\x1b]0;owned\x07[bold]x[/bold]"


def alert(number: int, event: str = "raised") -> Alert:
    return Alert(
        id=f"{number:016x}", episode=1, event=event, rule="r", state=AlertState(event.partition(":")[0]),
        severity=Severity.MEDIUM, mode=Mode.NOTIFY, site="", key={}, count=1, threshold=1, window_s=60,
        first_time_ns=T0_NS, last_time_ns=T0_NS, title="", summary=HOSTILE,
    )  # fmt: skip


@pytest.fixture
def database(config: Path) -> Iterator[Database]:
    """One was delivered, one failed, one waits, and one was given up; all for ``log``, the only output."""
    with Database(config.parent / "state" / "collectord.db") as database:
        queue = Queue(database, {"log": OutputPolicy(max_waiting=2)})
        alerts, outbox = Alerts(database, queue), Outbox(database, queue)
        alerts.record([alert(1)], [["log"]])
        outbox.delivered([1], T0_NS + NS_PER_S)
        alerts.record([alert(2), alert(3), alert(4)], [["log"]] * 3)
        outbox.failed(3, HOSTILE, T0_NS + 10**18)
        yield database


def test_list(run: Run, database: Database) -> None:
    result = run("outbox", "list")

    assert result.exit_code == 0
    assert "\x1b" not in result.stdout
    text = " ".join(result.stdout.split())
    assert "1 (oldest)" in text
    assert f"{3:016x}" in text
    assert f"{1:016x}" not in text
    assert "in its turn" in text
    assert "1 more wait" not in text
    assert "1 more wait (--limit)" in run("outbox", "list", "--limit", "1").stdout
    everything = run("outbox", "list", "--all").stdout
    assert "delivered 20" in everything
    assert "given up: oldest" in everything


def test_a_narrow_terminal_cuts_nothing(run: Run, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The terminal wraps lines; what one types next is there whole, and no blank is wrapped."""
    monkeypatch.setenv("COLUMNS", "40")
    lines = run("outbox", "list", "--all").stdout.splitlines()

    assert [line.split()[:3] for line in lines if line[:1].isdigit()] == [
        [str(number), "log", f"{number:016x}"] for number in (4, 3, 2, 1)
    ]
    assert all(line == line.rstrip() for line in lines)
    assert not any(mark in line for line in lines for mark in "┃│…")


def test_list_for_programs(run: Run, database: Database) -> None:
    output, *entries = objects(run("outbox", "list", "--all", "--json"))

    assert output == {
        "kind": "output", "output": "log", "waiting": 2, "failing": 1, "oldest": "2027-01-15T08:00:00.000Z",
        "delivered": 1, "dropped": {"oldest": 1}, "owed": 1,
    }  # fmt: skip
    assert [(each["kind"], each["id"], each["sequence"], each["attempts"]) for each in entries] == [
        ("entry", 4, 4, 0),
        ("entry", 3, 3, 1),
        ("entry", 2, 2, 0),
        ("entry", 1, 1, 1),
    ]
    assert entries[1]["error"] == HOSTILE
    assert (entries[2]["dropped"], entries[3]["delivered"]) == ("oldest", "2027-01-15T08:00:01.000Z")
    assert entries[0] == {
        "kind": "entry", "id": 4, "output": "log", "sequence": 4, "alert_id": f"{4:016x}", "episode": 1,
        "event": "raised", "state": "raised", "repeat": 0, "created": "2027-01-15T08:00:00.000Z", "attempts": 0,
        "next_try": None, "error": "", "delivered": None, "dropped": None,
    }  # fmt: skip


def test_an_output_that_is_not_there(run: Run, database: Database) -> None:
    for name in ("list", "export"):
        result = run("outbox", name, "--output", "x")
        assert (result.exit_code, result.stderr) == (64, "collectord: there is no output x; there are: log\n")


def test_nothing_waits(run: Run, config: Path) -> None:
    with Database(config.parent / "state" / "collectord.db"):
        assert "Nothing waits." in run("outbox", "list").stdout
        assert "No entries." in run("outbox", "list", "--all").stdout
        assert run("outbox", "export").stdout == ""
        assert run("outbox", "verify").stdout == "0 entries: all is well\n"


def test_verify(run: Run, database: Database) -> None:
    assert run("outbox", "verify").stdout == "4 entries: all is well\n"
    assert objects(run("outbox", "verify", "--json")) == [{"ok": True, "entries": 4, "problems": []}]

    database.connection.execute("UPDATE outbox SET sequence = 9 WHERE id = 4")
    result = run("outbox", "verify")
    assert result.exit_code == 1
    assert result.stdout == "log: sequence 9 is above the last that was given, 4\n4 entries: this is wrong\n"
    assert run("outbox", "verify", "--json").exit_code == 1


def test_retry(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, dict[str, Any]]] = []

    def ask(path: Path, name: str, **arguments: Any) -> int:
        asked.append((name, arguments))
        return 1

    monkeypatch.setattr(control, "ask", ask)
    assert run("outbox", "retry", "7", "9").stdout == "1 entry had to wait; the outputs are tried now\n"
    run("outbox", "retry", "--output", "noc")
    assert asked == [
        ("outbox-retry", {"output": None, "ids": [7, 9]}),
        ("outbox-retry", {"output": "noc", "ids": None}),
    ]


def test_retry_needs_the_daemon(run: Run) -> None:
    with pytest.raises(Exception, match="the daemon does not run"):
        run("outbox", "retry")


def test_export(run: Run, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole alerts, oldest first, whatever number is read at once."""
    monkeypatch.setattr(sys.modules["collectord.cli.outbox"], "EXPORTED_AT_ONCE", 1)
    first, second = objects(run("outbox", "export"))

    assert (first["id"], first["output"], first["sequence"], second["id"]) == (3, "log", 3, 4)
    assert first["alert"] == alert(3).as_json()
    assert objects(run("outbox", "export", "--output", "log")) == [first, second]
