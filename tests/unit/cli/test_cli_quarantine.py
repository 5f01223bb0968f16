"""``collectord quarantine``."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from collectord import control
from collectord.errors import EX_USAGE, StoreError, UnavailableError
from collectord.model import UnreadGroup
from collectord.store import quarantine
from collectord.store.db import Database

from .conftest import objects

SEEN_NS = 1_800_000_000 * 10**9
HOSTILE = ["\x1b]0;owned\x07", "\x9b2J", "[red]x[/red]", "[/]", "[link=http://x]", "\u202e"]
DENIED = b'<164>%ASA-4-106023: Deny tcp src o:203.0.113.1/1 dst i:10.0.0.1/22 by access-group "a"'

Store = Callable[..., None]


def unread(shape: str = "app[0]: up", **fields: Any) -> UnreadGroup:
    values: dict[str, Any] = {
        "listener": 0,
        "peer": "192.0.2.1",
        "profile": "",
        "shape": shape,
        "messages": 1,
        "example": f"<13>{shape}".encode(),
        "last_ns": SEEN_NS,
    }
    return UnreadGroup(**(values | fields))


@pytest.fixture
def store(config: Path) -> Store:
    """Stores groups and words, as the daemon does."""

    def store(*groups: UnreadGroup, words: Sequence[tuple[str, str, str, int]] = ()) -> None:
        with (
            Database(config.parent / "state" / "collectord.db") as database,
            database.transaction("add groups") as connection,
        ):
            quarantine.add(connection, groups, ["udp"])
            quarantine.add_words(connection, words, SEEN_NS)

    return store


def is_safe(text: str) -> bool:
    return all(character.isprintable() or character == "\n" for character in text)


class TestList:
    """What there is."""

    @pytest.mark.parametrize("words", [("quarantine",), ("quarantine", "list")])
    def test_for_people(self, run: Any, store: Store, words: tuple[str, ...]) -> None:
        store(unread("few"), unread("many", messages=12_345, profile="cisco-asa"))
        result = run(*words)

        assert result.exit_code == 0
        for text in ("12,345", "udp", "192.0.2.1", "cisco-asa", "none", "2027-01-1"):
            assert text in result.stdout
        assert result.stdout.index("many") < result.stdout.index("few")

    def test_for_programs(self, run: Any, store: Store) -> None:
        store(unread("few"), unread("many", messages=9, example=b"<13>\xff[red]"))
        first, second = objects(run("quarantine", "list", "--json"))

        assert first == {
            "id": 2,
            "listener": "udp",
            "peer": "192.0.2.1",
            "profile": "",
            "shape": "many",
            "messages": 9,
            "first": "2027-01-15T08:00:00.000Z",
            "last": "2027-01-15T08:00:00.000Z",
            "example": "<13>\\xff[red]",
        }
        assert second["shape"] == "few"
        assert objects(run("quarantine", "list", "--json", "--limit", "1")) == [first]

    def test_nothing(self, run: Any, store: Store) -> None:
        store()

        assert run("quarantine").stdout == "Nothing: every message was read.\n"
        assert run("quarantine", "list", "--json").stdout == ""

    @pytest.mark.parametrize("text", HOSTILE)
    def test_what_came_from_the_wire_can_not_write_to_the_terminal(self, run: Any, store: Store, text: str) -> None:
        store(unread(text))
        result = run("quarantine")

        assert result.exit_code == 0
        assert is_safe(result.stdout)
        assert (text if text.isprintable() else text.encode("unicode_escape").decode()) in result.stdout

    def test_without_database(self, run: Any) -> None:
        with pytest.raises(StoreError, match="the daemon has not run with this configuration"):
            run("quarantine")


class TestWords:
    """Vendors' words that no profile maps."""

    def test_for_people(self, run: Any, store: Store) -> None:
        store(words=[("acme", "verdict", "melted", 1_234)])
        result = run("quarantine", "list", "--words")

        for text in ("acme", "verdict", "melted", "1,234"):
            assert text in result.stdout

    def test_for_programs(self, run: Any, store: Store) -> None:
        store(words=[("acme", "verdict", "melted", 2), ("acme", "verdict", "[red]\x1b", 3)])

        assert objects(run("quarantine", "list", "--words", "--json")) == [
            {
                "profile": "acme",
                "source": "verdict",
                "word": word,
                "messages": count,
                "last": "2027-01-15T08:00:00.000Z",
            }
            for word, count in (("[red]\x1b", 3), ("melted", 2))
        ]

    def test_none(self, run: Any, store: Store) -> None:
        store(unread())

        assert run("quarantine", "list", "--words").stdout == "Nothing: every word is mapped.\n"
        assert run("quarantine", "list", "--words", "--json").stdout == ""

    @pytest.mark.parametrize("text", HOSTILE)
    def test_a_word_can_not_write_to_the_terminal(self, run: Any, store: Store, text: str) -> None:
        store(words=[("acme", "verdict", text, 1)])
        result = run("quarantine", "list", "--words")

        assert result.exit_code == 0
        assert is_safe(result.stdout)
        assert (text if text.isprintable() else text.encode("unicode_escape").decode()) in result.stdout


class TestShow:
    """One of them."""

    def test_for_people(self, run: Any, store: Store) -> None:
        store(unread(messages=1_234, profile="cisco-asa"))
        result = run("quarantine", "show", "1")

        for text in ("1,234 from 192.0.2.1 at listener udp", "2027-01-1", "cisco-asa", "<13>app[0]: up"):
            assert text in result.stdout

    def test_nobody_knows_it_nor_its_sender(self, run: Any, store: Store) -> None:
        store(unread(peer=""))
        result = run("quarantine", "show", "1")

        assert "from - at" in result.stdout
        assert "none knows it" in result.stdout

    @pytest.mark.parametrize("text", HOSTILE)
    def test_the_example_can_not_write_to_the_terminal(self, run: Any, store: Store, text: str) -> None:
        store(unread(example=text.encode() + b"\xff\0\n"))
        result = run("quarantine", "show", "1")

        assert is_safe(result.stdout)
        assert "\\xff" in result.stdout

    def test_raw_is_what_was_sent(self, run: Any, store: Store) -> None:
        """All of it: it is made for other programs."""
        example = bytes(range(256))
        store(unread(example=example))

        assert run("quarantine", "show", "--raw", "1").stdout_bytes == example

    def test_for_programs(self, run: Any, store: Store) -> None:
        store(unread())
        (group,) = objects(run("quarantine", "show", "--json", "1"))

        assert (group["id"], group["example"]) == (1, "<13>app[0]: up")

    def test_a_number_that_is_none(self, run: Any, store: Store) -> None:
        store(unread())
        result = run("quarantine", "show", "17")

        assert (result.exit_code, result.stdout) == (EX_USAGE, "")
        assert result.stderr == "collectord: there is nothing numbered 17 in the quarantine\n"

    @pytest.mark.parametrize("number", ["x", "-1", str(2**63), "1" + "0" * 30])
    def test_what_can_be_no_number(self, run: Any, store: Store, number: str) -> None:
        store(unread())
        result = run("quarantine", "show", "--", number)

        assert result.exit_code != 0
        assert "Invalid value for 'ID'" in result.stderr


class TestReplay:
    """Examples read again; the daemon is played by a function here, and by itself in the end-to-end tests."""

    @pytest.fixture
    def forgotten(self, monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
        """The numbers of each request."""
        requests: list[list[int]] = []

        def ask(path: Path, command: str, **arguments: Any) -> int:
            assert command == "quarantine-forget"
            requests.append(arguments["ids"])
            return len(arguments["ids"])

        monkeypatch.setattr(control, "ask", ask)
        return requests

    def test_for_people(self, run: Any, store: Store, forgotten: list[list[int]]) -> None:
        store(unread("%ASA-0-0: [red]\x1b", example=DENIED, messages=9), unread("[/]"))
        result = run("quarantine", "replay")

        assert result.stdout.splitlines() == [
            "1: now read as session by cisco-asa: %ASA-0-0: [red]\\x1b",
            "1 of 2 groups can be read now and left the quarantine",
        ]
        assert forgotten == [[1]]

    def test_for_programs(self, run: Any, store: Store, forgotten: list[list[int]]) -> None:
        store(unread(example=DENIED), unread("other"))
        (read,) = objects(run("quarantine", "replay", "--json"))

        assert (read["id"], read["now"], read["by"]) == (1, "session", "cisco-asa")
        assert forgotten == [[1]]

    def test_nothing_to_do_asks_nobody(self, run: Any, store: Store, forgotten: list[list[int]]) -> None:
        store(unread("other"))

        assert run("quarantine", "replay").stdout == "0 of 1 groups can be read now and left the quarantine\n"
        assert run("quarantine", "replay", "--json").stdout == ""
        assert forgotten == []

    def test_many(self, run: Any, store: Store, forgotten: list[list[int]]) -> None:
        """A request to the daemon is 64 KiB at most; the quarantine may hold more numbers than that."""
        store(
            *(unread(f"shape {number}", example=DENIED, last_ns=number + 1) for number in range(quarantine.MAX_GROUPS))
        )
        result = run("quarantine", "replay")

        assert result.stdout.splitlines()[-1].startswith("10000 of 10000 groups")
        assert sorted(number for numbers in forgotten for number in numbers) == list(range(1, 10_001))
        assert all(len(str([2**53] * len(numbers))) < control.REQUEST_BYTES for numbers in forgotten)

    def test_without_the_daemon_everything_stays(self, run: Any, store: Store) -> None:
        store(unread(example=DENIED))
        with pytest.raises(UnavailableError, match="the daemon does not run"):
            run("quarantine", "replay")
        assert len(objects(run("quarantine", "list", "--json"))) == 1
