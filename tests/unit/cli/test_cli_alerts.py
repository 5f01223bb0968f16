"""``collectord alerts``."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from collectord.errors import EX_USAGE, StoreError
from collectord.model import Alert, AlertState, Mode, Severity
from collectord.store.alerts import Alerts
from collectord.store.db import Database

DOCUMENTED = (
    "id", "episode", "rule", "state", "severity", "site", "key", "count", "threshold", "window_s", "first_time",
    "last_time", "summary",
)  # fmt: skip


def alert(number: int, **fields: Any) -> Alert:
    values: dict[str, Any] = {
        "id": f"{number:016x}",
        "episode": 1,
        "event": "raised",
        "rule": "excessive-failures",
        "state": AlertState.RAISED,
        "severity": Severity.MEDIUM,
        "mode": Mode.NOTIFY,
        "site": "north",
        "key": {"SrcIpAddr": f"192.0.2.{number}"},
        "count": 5001,
        "threshold": 5000,
        "window_s": 300,
        "first_time_ns": 1_800_000_000 * 10**9,
        "last_time_ns": (1_800_000_000 + number) * 10**9,
        "title": f"Failures from 192.0.2.{number}",
        "summary": f"192.0.2.{number}: 5,001 failed connections",
        "tactics": ("Impact",),
        "techniques": ("T1499",),
        "details": {"error": 3},
    }
    return Alert(**(values | fields))


@pytest.fixture
def store(config: Path) -> Callable[..., None]:
    """Stores states of alerts, as the daemon does."""

    def store(*alerts: Alert) -> None:
        with Database(config.parent / "state" / "collectord.db") as database:
            Alerts(database).record(alerts, [()] * len(alerts))

    return store


@pytest.fixture
def three(store: Callable[..., None]) -> list[Alert]:
    """Two active alerts and a cleared one."""
    cleared = alert(3, rule="port-misuse", site="south")
    alerts = [
        alert(1),
        alert(2, severity=Severity.HIGH),
        cleared,
        replace(cleared, event="cleared", state=AlertState.CLEARED, reason="at or below 4,000 for 15 min"),
    ]
    store(*alerts)
    return alerts


def ids(result: Any) -> list[str]:
    return [json.loads(line)["id"] for line in result.stdout.splitlines()]


@pytest.mark.parametrize("words", [("alerts",), ("alerts", "list")])
@pytest.mark.usefixtures("three")
def test_the_active_ones(run: Any, words: tuple[str, ...]) -> None:
    result = run(*words)

    assert result.exit_code == 0
    assert "192.0.2.1: 5,001 failed connections" in result.stdout
    assert f"{2:016x}" in result.stdout
    assert f"{3:016x}" not in result.stdout


@pytest.mark.usefixtures("three")
def test_for_programs(run: Any) -> None:
    result = run("alerts", "list", "--json")
    first = json.loads(result.stdout.splitlines()[0])

    assert ids(result) == [f"{2:016x}", f"{1:016x}"], "the newest first"
    assert set(DOCUMENTED) <= set(first)
    assert first["first_time"] == "2027-01-15T08:00:00.000Z"
    assert first["key"] == {"SrcIpAddr": "192.0.2.2"}


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("--all",), [3, 2, 1]),
        (("--all", "--rule", "port-misuse"), [3]),
        (("--all", "--site", "north"), [2, 1]),
        (("--site", "south"), []),
        (("--limit", "1"), [2]),
    ],
)
def test_filters(run: Any, words: tuple[str, ...], found: list[int]) -> None:
    assert ids(run("alerts", "list", "--json", *words)) == [f"{number:016x}" for number in found]


def test_none(run: Any, store: Callable[..., None]) -> None:
    store()

    assert run("alerts").stdout == "No active alerts. (--all shows the cleared ones)\n"
    assert run("alerts", "list", "--all").stdout == "No alerts.\n"
    assert run("alerts", "list", "--json").stdout == ""


@pytest.mark.usefixtures("three")
def test_show(run: Any) -> None:
    result = run("alerts", "show", f"{3:016x}")

    assert result.exit_code == 0
    for text in (
        f"{3:016x} (episode 1)", "cleared: at or below 4,000 for 15 min", "port-misuse (notify)", "SrcIpAddr=192.0.2.3",
        "5,001 in 300 s, limit 5,000", "Impact, T1499", "history:", "raised", "error:",
    ):  # fmt: skip
        assert text in result.stdout


@pytest.mark.usefixtures("three")
def test_show_for_programs(run: Any) -> None:
    (line,) = run("alerts", "show", "--json", f"{3:016x}").stdout.splitlines()
    shown = json.loads(line)

    assert set(DOCUMENTED) <= set(shown)
    assert [state["event"] for state in shown["history"]] == ["cleared", "raised"]


@pytest.mark.usefixtures("three")
def test_an_id_that_is_none(run: Any) -> None:
    result = run("alerts", "show", "\x1b[2Jnone")

    assert result.exit_code == EX_USAGE == 64
    assert "there is no alert" in result.stderr
    assert "\x1b" not in result.stderr


def test_what_came_from_the_wire_can_not_write_to_the_terminal(run: Any, store: Callable[..., None]) -> None:
    evil = "\x1b]0;owned\x07[bold]x[/bold]"
    store(alert(1, summary=evil, title=evil, site=evil, key={"SrcAppName": evil}, details={"a": evil}))
    for words in (("alerts",), ("alerts", "show", f"{1:016x}")):
        result = run(*words)
        assert result.exit_code == 0
        assert "\x1b" not in result.stdout
        assert "\x07" not in result.stdout
        assert "[bold]x[/bold]" in result.stdout, "no markup of ours either"


@pytest.mark.parametrize("words", [("alerts",), ("alerts", "list"), ("alerts", "show", "x")])
def test_without_database(run: Any, words: tuple[str, ...]) -> None:
    with pytest.raises(StoreError, match="the daemon has not run with this configuration") as caught:
        run(*words)
    assert caught.value.exit_status == 74
