"""What programs read is what the README says."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from collectord import control, plan
from collectord.model import (
    NS_PER_S,
    OUTCOMES,
    AddedExempt,
    AlertState,
    Changes,
    DeviceSighting,
    MaintenanceWindow,
    Mode,
)
from collectord.store import exceptions
from collectord.store.alerts import Alerts
from collectord.store.counters import Counters
from collectord.store.db import Database

from ...alerts import alert
from .conftest import Run, objects
from .test_cli_replay import ATTACK

FAR_NS = 4_000_000_000 * NS_PER_S
START_S = 1_800_000_000

ALLOWED = (
    "<166>Jan 15 2027 08:00:20 asa-1 : %ASA-6-302013: Built inbound TCP connection 5 for outside:203.0.113.1/40000 "
    "(203.0.113.1/40000) to inside:10.0.0.1/23 (10.0.0.1/23)\n"
)

Fields = dict[str, list[set[str]]]


@pytest.fixture(scope="module")
def documented() -> Fields:
    """By command: for each kind of object that it writes the names of its fields."""
    readme = (Path(__file__).parents[3] / "README.md").read_text()
    (section,) = [part for part in re.split(r"^## ", readme, flags=re.MULTILINE) if part.startswith("For programs\n")]
    found: Fields = {}
    last = ""
    for row in [line for line in section.splitlines() if line.startswith("| `")]:
        commands, fields = (cell.strip() for cell in row.strip("|").split(" | ", 1))
        kinds = [set(_names(kind)) for kind in fields.split("; then ")]
        if fields.startswith("those, and "):
            kinds = [kinds[0] | found[last][0]]
        for command in _names(commands):
            found[command] = kinds
            last = command
    return found


def _names(text: str) -> list[str]:
    """What stands in back quotes, but not in brackets."""
    return re.findall(r"`([^`]+)`", re.sub(r"\([^)]*\)|`kind` is `\w+`", "", text))


@pytest.fixture
def stored(config: Path) -> Path:
    """A database with something of everything; a log."""
    setup = plan.load(config)
    sighting = DeviceSighting(
        "", "fw", "192.0.2.1", 0, "cisco-asa", dict.fromkeys(OUTCOMES, 1), START_S * NS_PER_S, None
    )
    rows = {"failures_by_source": [(START_S - START_S % 60, "", "192.0.2.1", 9_000, 1, 0)]}
    changes = Changes(
        seq=1, now_ns=START_S * NS_PER_S, rows=rows, ledger=[], windows=(), evicted={}, without_key={}, carried=0,
        devices=(sighting,),
    )  # fmt: skip
    reported = replace(alert(), id="00000000000000aa", mode=Mode.REPORT, last_time_ns=FAR_NS)
    with Database(config.parent / "state" / "collectord.db") as database:
        counters = Counters(database, "run")
        counters.ensure(setup.definitions)
        counters.write(changes, setup.definitions, ["udp", "tcp"])
        Alerts(database).record([alert(), reported], [["log"], []])
        exceptions.add_exempt(database, AddedExempt(0, "port-scan", {"site": "x"}, "r", None, "ada", 1))
        exceptions.add_maintenance(database, MaintenanceWindow(0, None, 1, FAR_NS, "", "r", "ada", 1))
    log = config.parent / "fw.log"
    # Enough to be told of by a trial, and one that raises an alert by itself.
    log.write_text(ATTACK * 6 + ALLOWED)
    return log


@pytest.fixture
def agreeing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that answers as it does."""
    one = {
        "number": 7, "who": "ada", "when_ns": 1, "until_ns": 2, "from_ns": 0, "alert_id": alert().id, "episode": 1,
        "kind": "ack", "where": {}, "rule": "many", "reason": "r", "site": None, "zone": "", "failures": {},
    }  # fmt: skip

    def ask(path: Path, command: str, **arguments: Any) -> Any:
        if command == "alerts-resync":
            return [{"output": "log", "queued": 0, "waiting": 0, "later": 0}]
        if command == "status":
            return {"outputs": []}
        return {**one, **alert().as_json(), "state": AlertState.RAISED.value}

    monkeypatch.setattr(control, "ask", ask)


WORDS: dict[str, Callable[[Path], tuple[str, ...]]] = {
    "replay": lambda log: (str(log),),
    "rules test": lambda log: ("excessive-failures", str(log)),
    "alerts show": lambda _: (alert().id,),
    "alerts ack": lambda _: (alert().id,),
    "alerts shelve": lambda _: (alert().id, "--for", "1h", "--reason", "r"),
    "exempt add": lambda _: ("many", "site=x", "--reason", "r"),
    "maintenance add": lambda _: ("--all", "--for", "1h", "--reason", "r"),
    "test-alert": lambda _: ("--wait", "0"),
    "learn": lambda _: ("--since", "30000d"),
}

COMMANDS = (
    "replay", "alerts list", "alerts show", "alerts ack", "alerts shelve", "alerts resync", "test-alert", "outbox list",
    "outbox export", "outbox verify", "learn", "tune", "rules list", "rules test", "exempt add", "exempt list",
    "maintenance add", "maintenance list", "audit", "devices",
)  # fmt: skip


def test_all_are_documented(documented: Fields) -> None:
    assert sorted(documented) == sorted(COMMANDS)


@pytest.mark.usefixtures("agreeing")
@pytest.mark.parametrize("command", COMMANDS)
def test_fields(run: Run, stored: Path, documented: Fields, command: str) -> None:
    more = WORDS.get(command, lambda _: ())(stored)
    found = objects(run(*command.split(), *more, *(["--json"] if command != "outbox export" else [])))

    assert found
    kinds = documented[command]
    if command == "outbox list":
        output, entry = kinds
        assert set(found[0]) == output
        assert set(found[-1]) == entry | {"kind", "output", "delivered", "dropped"}
        return
    for each in found:
        assert set(each) == kinds[0]
