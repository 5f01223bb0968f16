"""The commands of operators: what they ask the daemon, and what they show."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from collectord import control
from collectord.errors import UnavailableError
from collectord.model import AddedExempt, AlertMark, MaintenanceWindow, MarkKind
from collectord.store import exceptions, marks
from collectord.store.db import Database

from .conftest import objects

ID = "00000000000000aa"
FAR_NS = 4_000_000_000 * 10**9
HOSTILE = "\x1b]0;owned\x07[bold]x[/bold]"

Asked = list[tuple[str, dict[str, Any]]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """What the daemon was asked; it agrees to everything."""
    asked: Asked = []

    def ask(path: Path, command: str, **arguments: Any) -> Any:
        asked.append((command, arguments))
        if command == "alert-unshelve":
            return ID
        return {
            "number": 7, "who": "ada", "when_ns": 10**18, "until_ns": None, "from_ns": 0, "alert_id": ID, "episode": 2,
            "kind": "ack", "where": {}, "rule": "many", "reason": "r", "site": None, "zone": "",
        } | arguments  # fmt: skip

    monkeypatch.setattr(control, "ask", ask)
    return asked


@pytest.fixture
def database(config: Path) -> Callable[[], Database]:
    """Opens the daemon's database."""
    return lambda: Database(config.parent / "state" / "collectord.db")


def test_ack(run: Any, asked: Asked) -> None:
    assert run("alerts", "ack", ID, "--note", "calling").stdout == f"{ID} acknowledged by ada\n"
    assert asked == [("alert-ack", {"id": ID, "note": "calling"})]
    (shown,) = objects(run("alerts", "ack", ID, "--json"))
    assert (shown["alert_id"], shown["who"], shown["episode"], shown["until"]) == (ID, "ada", 2, None)


def test_shelve(run: Any, asked: Asked) -> None:
    result = run("alerts", "shelve", ID, "--for", "2h", "--reason", "known scan")
    ((command, arguments),) = asked

    assert result.stdout.startswith(f"{ID} shelved by ada until 20")
    assert (command, arguments["id"], arguments["reason"]) == ("alert-shelve", ID, "known scan")
    assert run("alerts", "unshelve", ID).stdout == f"{ID} is no longer shelved\n"
    assert asked[1:] == [("alert-unshelve", {"id": ID})]


def test_exempt_add(run: Any, asked: Asked) -> None:
    """Each field in its own kind, as a rule's file would have it."""
    result = run(
        "exempt", "add", "many", "SrcIpAddr=192.0.2.1, 192.0.2.9", "DstPortNumber=445,5800-5810", "site!=north",
        "Name=a, b", "--reason", "r", "--until", "2125-12-24 22:00Z",
    )  # fmt: skip
    ((command, arguments),) = asked

    assert result.stdout.startswith("exempt 7: many leaves out SrcIpAddr=192.0.2.1")
    assert (command, arguments["rule"], arguments["reason"]) == ("exempt-add", "many", "r")
    assert arguments["where"] == {
        "SrcIpAddr": ["192.0.2.1", "192.0.2.9"],
        "DstPortNumber": [445, "5800-5810"],
        "site": {"not": "north"},
        "Name": "a, b",
    }
    assert arguments["until_ns"] == 4_922_287_200 * 10**9
    run("exempt", "remove", "7")
    assert asked[1:] == [("exempt-remove", {"number": 7})]


def test_maintenance_add(run: Any, asked: Asked) -> None:
    run(
        "maintenance", "add", "--all", "--from", "2126-12-24 22:00", "--until", "2126-12-25 04:00", "--zone",
        "Europe/Berlin", "--reason", "core",
    )  # fmt: skip
    run("maintenance", "add", "--site", "north", "--from", "2126-12-24 22:00Z", "--for", "2h", "--reason", "core")
    run("maintenance", "end", "7")
    (_, first), (_, second), last = asked

    assert (first["site"], first["zone"], first["until_ns"] - first["from_ns"]) == (
        None,
        "Europe/Berlin",
        6 * 3600 * 10**9,
    )
    assert (second["site"], second["until_ns"] - second["from_ns"]) == ("north", 2 * 3600 * 10**9)
    assert second["from_ns"] - first["from_ns"] == 3600 * 10**9
    assert last == ("maintenance-end", {"number": 7})


@pytest.mark.parametrize(
    ("words", "sites"),
    [
        (("maintenance", "add", "--site", "north", "--for", "2h"), []),
        (("maintenance", "add", "--all", "--for", "2h"), []),
        (("maintenance", "add", "--site", "nroth", "--for", "2h"), ["nroth"]),
        (("exempt", "add", "many", "site=nroth,south,\x1b", "SrcIpAddr=192.0.2.1"), ["nroth", "\\x1b"]),
        (("exempt", "add", "many", "site!=nroth"), ["nroth"]),
        (("exempt", "add", "many", "SrcIpAddr=192.0.2.1"), []),
    ],
)
def test_sites_that_nothing_has(run: Any, config: Path, asked: Asked, words: tuple[str, ...], sites: list[str]) -> None:
    """They may come, but as a rule they are misspelt."""
    device, listener = '[[device]]\nname = "192.0.2.1"\nsite = "south"\n', '[[listener]]\ntype = "udp"\nname = "u"\n'
    config.write_text(f'{config.read_text()}{device}{listener}site = "north"\n')
    result = run(*words, "--reason", "r")

    told = [f'note: no listener or device of the configuration has the site "{site}"' for site in sites]
    assert (result.exit_code, result.stderr.splitlines(), len(asked)) == (0, told, 1)


@pytest.mark.parametrize(
    "words",
    [
        ("alerts", "shelve", ID, "--reason", "r"),
        ("alerts", "shelve", ID, "--for", "2h"),
        ("alerts", "shelve", ID, "--for", "2 hours", "--reason", "r"),
        ("exempt", "add", "many", "--reason", "r"),
        ("exempt", "add", "many", "site", "--reason", "r"),
        ("exempt", "add", "many", "=x", "--reason", "r"),
        ("exempt", "add", "many", "site=", "--reason", "r"),
        ("exempt", "add", "many", "site=a", "site=b", "--reason", "r"),
        ("exempt", "add", "many", "site=a", "--for", "1h", "--until", "2126-01-01", "--reason", "r"),
        ("exempt", "add", "many", "site=a"),
        ("exempt", "remove", "-1"),
        ("maintenance", "add", "--for", "2h", "--reason", "r"),
        ("maintenance", "add", "--all", "--site", "x", "--for", "2h", "--reason", "r"),
        ("maintenance", "add", "--all", "--reason", "r"),
        ("maintenance", "add", "--all", "--for", "2h", "--until", "2126-01-01", "--reason", "r"),
        ("maintenance", "add", "--all", "--for", "2h", "--zone", "Europe/Berlin", "--reason", "r"),
        ("exempt", "add", "many", "site=a", "--for", "1h", "--zone", "Europe/Berlin", "--reason", "r"),
    ],
)
def test_wrong_use(run: Any, asked: Asked, words: tuple[str, ...]) -> None:
    """The daemon is not even asked."""
    assert run(*words).exit_code == 2
    assert asked == []


@pytest.mark.parametrize(
    "words",
    [("alerts", "ack", ID), ("exempt", "remove", "1"), ("maintenance", "end", "1")],
)
def test_without_the_daemon(run: Any, words: tuple[str, ...]) -> None:
    with pytest.raises(UnavailableError, match="the daemon does not run") as caught:
        run(*words)
    assert caught.value.exit_status == 69


def test_lists(run: Any, database: Callable[[], Database]) -> None:
    """What was added, with who and why; nothing of it can write to the terminal."""
    with database() as opened:
        exceptions.add_exempt(opened, AddedExempt(0, "many", {"SrcUsername": HOSTILE}, HOSTILE, FAR_NS, "ada", 10**18))
        exceptions.add_maintenance(opened, MaintenanceWindow(0, HOSTILE, 1, FAR_NS, "", HOSTILE, "ada", 10**18))
        exceptions.add_maintenance(opened, MaintenanceWindow(0, None, FAR_NS - 1, FAR_NS, "", "later", "ada", 10**18))
        marks.put(opened, AlertMark(ID, MarkKind.SHELVE, 1, "bob", 10**18, HOSTILE, FAR_NS))
    for words in (("exempt", "list"), ("maintenance", "list"), ("audit",)):
        text = run(*words).stdout
        assert "ada" in text
        assert "[bold]x[/bold]" in text
        assert "\x1b" not in text
    (exempt,) = objects(run("exempt", "list", "--rule", "many", "--json"))
    assert (exempt["number"], exempt["rule"], exempt["until"]) == (1, "many", "2096-10-02T07:06:40.000Z")
    assert objects(run("exempt", "list", "--rule", "other", "--json")) == []
    first, second = objects(run("maintenance", "list", "--json"))
    assert (first["site"], second["site"], second["reason"]) == (HOSTILE, None, "later")
    entries = objects(run("audit", "--json", "--limit", "3"))
    assert [entry["what"] for entry in entries] == ["alerts shelve", "maintenance add", "maintenance add"]
    assert (entries[0]["who"], entries[0]["target"], entries[0]["when"]) == ("bob", ID, "2001-09-09T01:46:40.000Z")


def test_exempts_of_the_files(run: Any, config: Path, database: Callable[[], Database]) -> None:
    """Stand beside those that were added, without a number."""
    folder = config.parent / "rules.d"
    folder.mkdir()
    (folder / "mine.toml").write_text(
        'name = "mine"\ntitle = "x"\ntype = "event_count"\ncounter = "c"\ngroup_by = ["SrcIpAddr"]\ntimespan = "5m"\n'
        'condition = { gt = 5 }\nseverity = "low"\n[[exempt]]\nSrcIpAddr = "internal"\nreason = "ours"\n'
    )
    config.write_text(f'rules_dir = "rules.d"\n{config.read_text()}')
    with database():
        pass
    (found,) = objects(run("exempt", "list", "--rule", "mine", "--json"))

    assert (found["number"], found["where"], found["reason"]) == (None, {"SrcIpAddr": "internal"}, "ours")
    assert "in its file" in run("exempt", "list").stdout


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("exempt", "list", "--rule", "excessive-failures"), "No exempts.\n"),
        (("maintenance", "list"), "No maintenance.\n"),
        (("audit",), "Nobody has changed anything.\n"),
        (("learn",), "Nothing would have been sent.\n"),
    ],
)
def test_nothing(run: Any, database: Callable[[], Database], words: tuple[str, ...], text: str) -> None:
    with database():
        pass
    assert run(*words).stdout == text
    assert json.loads(run(*words, "--json").stdout or "null") is None
