"""What operators may do to alerts, with the real database and the real state machine."""

import os
import pwd
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from collectord import actions, plan
from collectord.actions import Actions, user_name
from collectord.config import Config
from collectord.detect.alerts import AlertStates, identity
from collectord.errors import RequestError
from collectord.model import NS_PER_S, Alert, MarkKind, Window, WindowKey
from collectord.store import audit, exceptions, marks
from collectord.store.alerts import Alerts
from collectord.store.db import Database

NOW_NS = 1_800_000_000 * NS_PER_S
HOUR_NS = 3600 * NS_PER_S
SOURCE = "192.0.2.10"
RULE = "excessive-failures"
ID = identity(RULE, "", {"SrcIpAddr": SOURCE})
ME = pwd.getpwuid(os.getuid()).pw_name


class World:
    """The parts that actions work on."""

    def __init__(self, database: Database) -> None:
        setup = plan.check(Config(), [rule for rule in plan.load(None).rules if rule.name in (RULE, "port-misuse")])
        self.now_ns = NOW_NS
        self.database = database
        self.states = AlertStates(setup.rules, setup.watchlist)
        self.told: list[Alert] = []
        tick: Any = SimpleNamespace(reconcile=self._store, setup=setup)
        self.actions = Actions(
            database=database,
            states=self.states,
            tick=tick,
            now_ns=lambda: self.now_ns,
        )

    def _store(self, alerts: Sequence[Alert]) -> bool:
        self.told += alerts
        Alerts(self.database).record(alerts, [()] * len(alerts))
        return bool(alerts)

    def fail(self, source: str = SOURCE, count: int = 5001) -> None:
        """A window in which a source fails so often."""
        window = Window(RULE, self.now_ns - 300 * NS_PER_S, self.now_ns, True, (WindowKey("", (source,), count, 0),))
        self._store(self.states.judge([window], self.now_ns))

    def ask(self, name: str, **arguments: Any) -> Any:
        """The answer; whether outputs have something to do is kept."""
        answer, self.queued = self.actions.by_name[name](arguments, os.getuid())
        return answer


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """One alert is active."""
    with Database(tmp_path / "collectord.db") as database:
        world = World(database)
        world.fail()
        yield world


def test_ack(world: World) -> None:
    answer = world.ask("alert-ack", id=ID, note="calling")

    assert (answer["who"], answer["episode"], answer["kind"], answer["until_ns"]) == (ME, 1, "ack", None)
    assert world.queued is False
    assert marks.of(world.database, [ID])[ID][MarkKind.ACK].reason == "calling"


def test_shelve_and_unshelve(world: World) -> None:
    world.ask("alert-shelve", id=ID, until_ns=NOW_NS + HOUR_NS, reason="known")
    world.fail()
    world.ask("alert-unshelve", id=ID)
    world.fail()

    assert [(alert.event, alert.held) for alert in world.told] == [
        ("raised", ""),
        ("updated:2", "shelved"),
        ("updated:3", ""),
    ]
    with pytest.raises(RequestError, match="is not shelved"):
        world.ask("alert-unshelve", id=ID)


def test_exempt_clears_at_once(world: World) -> None:
    added = world.ask("exempt-add", rule=RULE, where={"SrcIpAddr": SOURCE}, reason="ours")

    assert world.queued is True
    assert world.told[-1].reason == "exempt: ours"
    assert (added["number"], added["who"], added["until_ns"]) == (1, ME, None)
    world.ask("exempt-remove", number=1)
    assert world.queued is False
    world.fail()
    assert world.told[-1].event == "raised"


def test_internal_stands_for_the_networks(world: World) -> None:
    """As it was written in the database, as networks for the alerts."""
    world.fail("10.1.2.3")
    world.ask("exempt-add", rule=RULE, where={"SrcIpAddr": "internal"}, reason="ours", until_ns=NOW_NS + HOUR_NS)

    assert [alert.key["SrcIpAddr"] for alert in world.told if alert.reason] == ["10.1.2.3"]
    assert exceptions.exempts(world.database, NOW_NS)[0].where == {"SrcIpAddr": "internal"}


def test_maintenance(world: World) -> None:
    window = world.ask("maintenance-add", site=None, until_ns=NOW_NS + HOUR_NS, reason="core", zone="Europe/Berlin")
    world.fail()
    world.ask("maintenance-end", number=window["number"])
    world.fail()

    assert (window["from_ns"], window["zone"]) == (NOW_NS, "Europe/Berlin")
    assert [alert.held for alert in world.told] == ["", "maintenance 1: core", ""]


def test_a_restart_keeps_it(world: World) -> None:
    """All that holds, held by a state machine that knows nothing yet."""
    world.ask("alert-shelve", id=ID, until_ns=NOW_NS + HOUR_NS, reason="known")
    world.ask("exempt-add", rule=RULE, where={"SrcIpAddr": "198.51.100.1"}, reason="ours")
    world.ask("maintenance-add", site="north", until_ns=NOW_NS + HOUR_NS, reason="core")
    again = World(world.database)
    again.actions.restore()
    (rule,) = [rule for rule in plan.load(None).rules if rule.name == RULE]
    states = again.states

    assert states.holds.ground(rule, ID, "", NOW_NS) == "shelved"
    assert states.holds.ground(rule, "x", "north", NOW_NS) == "maintenance 1: core"
    assert states.exempts.reason(rule, "x", "", {"SrcIpAddr": "198.51.100.1"}, NOW_NS) == "ours"
    again.now_ns = NOW_NS + HOUR_NS
    again.actions.restore()
    assert states.holds.ground(rule, ID, "north", NOW_NS) == ""


def test_everything_is_in_the_audit(world: World) -> None:
    world.ask("alert-ack", id=ID)
    world.ask("exempt-add", rule=RULE, where={"site": "x"}, reason="ours")
    world.ask("exempt-remove", number=1)
    world.ask("maintenance-add", site="north", until_ns=NOW_NS + HOUR_NS, reason="core")
    world.ask("maintenance-end", number=1)

    found = audit.entries(world.database, 100)
    assert [entry.what for entry in reversed(found)] == [
        "alerts ack", "exempt add", "exempt remove", "maintenance add", "maintenance end",
    ]  # fmt: skip
    assert {(entry.who, entry.when_ns) for entry in found} == {(ME, NOW_NS)}


def test_an_alert_by_the_beginning_of_its_id(world: World) -> None:
    assert world.ask("alert-ack", id=ID[:6])["alert_id"] == ID


SHELVE = {"id": ID, "until_ns": NOW_NS + 1, "reason": "r"}
EXEMPT = {"rule": RULE, "where": {"site": "x"}, "reason": "r"}
MAINTENANCE = {"site": "x", "until_ns": NOW_NS + 1, "reason": "r"}


@pytest.mark.parametrize(
    ("name", "arguments", "reason"),
    [
        ("alert-ack", {}, "id is missing"),
        ("alert-ack", {"id": 5}, "id must be one line"),
        ("alert-ack", {"id": "none"}, "there is no alert none"),
        ("alert-ack", {"id": ID, "note": "a\nb"}, "note must be one line of at most 255"),
        ("alert-ack", {"id": ID, "note": "x" * 256}, "note must be one line of at most 255"),
        ("alert-ack", {"id": ID, "note": "\ud800"}, "note must be one line of at most 255"),
        ("alert-shelve", SHELVE | {"reason": " "}, "reason is missing"),
        ("alert-shelve", SHELVE | {"until_ns": None}, "the end is missing"),
        ("alert-shelve", SHELVE | {"until_ns": True}, "the end is missing"),
        ("alert-shelve", SHELVE | {"until_ns": NOW_NS}, "the end must lie ahead"),
        ("alert-shelve", SHELVE | {"until_ns": 2**63}, "the end must lie ahead"),
        ("alert-unshelve", {"id": ID}, "is not shelved"),
        ("exempt-add", EXEMPT | {"rule": "x"}, "there is no rule 'x'; known: excessive-failures, port-misuse"),
        ("exempt-add", EXEMPT | {"where": {}}, "needs at least one"),
        ("exempt-add", EXEMPT | {"where": [1]}, "needs at least one"),
        ("exempt-add", EXEMPT | {"where": {"SrcIp": "x"}}, "SrcIp: expected the ASIM name"),
        ("exempt-add", EXEMPT | {"where": {"SrcIpAddr": "x"}}, "SrcIpAddr: expected an address"),
        ("exempt-add", EXEMPT | {"where": {"DstPortNumber": 5}}, "don't say DstPortNumber, they say SrcIpAddr, role"),
        ("exempt-add", EXEMPT | {"reason": ""}, "reason is missing"),
        ("exempt-add", EXEMPT | {"until_ns": NOW_NS}, "the end must lie ahead"),
        ("exempt-remove", {"number": 1}, "there is no exempt 1"),
        ("exempt-remove", {"number": "1"}, "number must be a whole number"),
        ("exempt-remove", {"number": 2**63}, "number must be a whole number"),
        ("maintenance-add", MAINTENANCE | {"site": 5}, "site must be the name"),
        ("maintenance-add", MAINTENANCE | {"site": "*"}, "site must be the name"),
        ("maintenance-add", MAINTENANCE | {"from_ns": NOW_NS + 1}, "it must begin before it ends"),
        ("maintenance-add", MAINTENANCE | {"from_ns": "x"}, "it must begin before it ends"),
        ("maintenance-add", MAINTENANCE | {"reason": ""}, "reason is missing"),
        ("maintenance-end", {"number": 1}, "there is no maintenance 1"),
    ],
)
def test_what_makes_no_sense_is_refused(world: World, name: str, arguments: dict[str, Any], reason: str) -> None:
    """And nothing is changed."""
    with pytest.raises(RequestError, match=reason):
        world.ask(name, **arguments)
    assert audit.entries(world.database, 10) == []


def test_a_row_of_the_watchlist_by_name(world: World) -> None:
    """Its alerts have the row's name in their key."""
    world.ask("exempt-add", rule="port-misuse", where={"Name": "Burst", "DstPortNumber": "440-450"}, reason="r")

    assert exceptions.exempts(world.database, NOW_NS)[0].where == {"Name": "Burst", "DstPortNumber": "440-450"}


def test_bounds(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is held against every alert."""
    monkeypatch.setattr(actions, "MAX_EXEMPTS", 1)
    monkeypatch.setattr(actions, "MAX_MAINTENANCE", 1)
    world.ask("exempt-add", **EXEMPT)
    world.ask("maintenance-add", **MAINTENANCE)

    with pytest.raises(RequestError, match="has 1 exempts already"):
        world.ask("exempt-add", **EXEMPT)
    with pytest.raises(RequestError, match="there are 1 maintenance windows already"):
        world.ask("maintenance-add", **MAINTENANCE)


def test_user_name() -> None:
    assert user_name(0) == "root"
    assert user_name(4_000_000_001) == "uid 4000000001"
