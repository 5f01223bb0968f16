"""``collectord devices``."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from collectord.cli.options import local_time
from collectord.clock import SystemClock
from collectord.errors import StoreError
from collectord.model import OUTCOMES, DeviceSighting
from collectord.store import devices
from collectord.store.db import Database

from .conftest import objects

SEEN_NS = 1_800_000_000 * 10**9

Store = Callable[..., None]


def sighting(name: str = "fw-1", **fields: Any) -> DeviceSighting:
    values: dict[str, Any] = {
        "site": "north",
        "name": name,
        "peer": "192.0.2.1",
        "listener": 0,
        "profile": "cisco-asa",
        "messages": {**dict.fromkeys(OUTCOMES, 0), "session": 12_000, "event": 345, "unparsed": 6},
        "last_ns": SEEN_NS,
        "clock_off_ms": None,
    }
    return DeviceSighting(**(values | fields))


@pytest.fixture
def store(config: Path) -> Store:
    """Stores sightings, as the daemon does."""

    def store(*sightings: DeviceSighting) -> None:
        with (
            Database(config.parent / "state" / "collectord.db") as database,
            database.transaction("add devices") as connection,
        ):
            devices.add(connection, sightings, ["udp"])

    return store


def test_for_people(run: Any, store: Store) -> None:
    store(sighting(), sighting("fw-2", profile=""))
    result = run("devices")

    assert result.exit_code == 0
    for text in ("fw-1", "fw-2", "north", "192.0.2.1", "cisco-asa", "12,345", " 6 ", "2027-01-1"):
        assert text in result.stdout


@pytest.mark.parametrize(
    ("off_ms", "text"),
    [
        (None, " - "),
        (0, "+0.0 s\n"),
        (5_000, "+5.0 s\n"),
        (5_001, "+5.0 s !"),
        (-3_600_000, "-3600.0 s !"),
    ],
)
def test_a_clock_that_is_off_is_marked(run: Any, store: Store, off_ms: int | None, text: str) -> None:
    store(sighting(clock_off_ms=off_ms))
    result = run("devices")

    assert text in result.stdout
    assert ("!" in result.stdout) is text.endswith("!")


def test_when(run: Any, store: Store) -> None:
    """Of what was seen today the time is enough."""
    now_ns = SystemClock().now_ns()
    store(sighting(last_ns=now_ns), sighting("fw-2"))
    lines = run("devices").stdout.splitlines()

    assert lines[1].count(local_time(now_ns)[11:19]) == 2
    assert lines[2].count(local_time(SEEN_NS)[:10]) == 2


def test_a_narrow_terminal(run: Any, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is cut or folded: the terminal wraps its lines."""
    monkeypatch.setenv("COLUMNS", "60")
    store(sighting("firewall-north-1", site="", profile="fortinet-fortigate-cef-cut"))
    heads, line = run("devices").stdout.splitlines()

    assert heads.split() == "device peer profile since last understood unread per s clock off".split()
    assert line.split()[:3] == ["firewall-north-1", "192.0.2.1", "fortinet-fortigate-cef-cut"]


def test_how_often_it_sends(run: Any, store: Store) -> None:
    """Messages a second since it was first seen; of one that has just come nothing is said."""
    store(sighting("fw-1", last_ns=10**18), sighting("fw-2", last_ns=10**18))
    store(sighting("fw-1", last_ns=10**18 + 5 * 10**9))
    lines = {line.split()[0]: line.split() for line in run("devices").stdout.splitlines() if line.startswith("fw-")}

    assert "4,940.4" in lines["fw-1"]
    assert "4,940.4" not in lines["fw-2"]


def test_for_programs(run: Any, store: Store) -> None:
    store(sighting("b", clock_off_ms=-250), sighting("a", site="east"))

    assert [device["name"] for device in objects(run("devices", "--json"))] == ["a", "b"]
    assert objects(run("devices", "--json"))[1] == {
        "site": "north",
        "name": "b",
        "peer": "192.0.2.1",
        "listener": "udp",
        "profile": "cisco-asa",
        "sessions": 12_000,
        "events": 345,
        "unparsed": 6,
        "clock_off_ms": -250,
        "longest_pause_s": 0,
        "first_seen": "2027-01-15T08:00:00.000Z",
        "last_seen": "2027-01-15T08:00:00.000Z",
    }


def test_none(run: Any, store: Store) -> None:
    store()

    assert run("devices").stdout == "No device has sent anything yet.\n"
    assert run("devices", "--json").stdout == ""


@pytest.mark.parametrize(
    "name", ["\x1b]0;owned\x07", "\x9b2J", "[red]x[/red]", "[/]", "[link=http://x]", "\u202e", "\n"]
)
def test_a_name_can_not_write_to_the_terminal(run: Any, store: Store, name: str) -> None:
    """Nor is it taken for markup of ours."""
    store(sighting(name, site=name))
    result = run("devices")

    assert result.exit_code == 0
    shown = name if name.isprintable() else name.encode("unicode_escape").decode()
    assert result.stdout.count(shown) == 2
    assert all(character.isprintable() or character == "\n" for character in result.stdout)
    assert objects(run("devices", "--json"))[0]["name"] == name


def test_without_database(run: Any) -> None:
    with pytest.raises(StoreError, match="the daemon has not run with this configuration"):
        run("devices")
