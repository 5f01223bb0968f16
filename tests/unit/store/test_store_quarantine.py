"""The quarantine: groups add up, the first example stays, what was seen longest ago goes first."""

from collections.abc import Sequence
from typing import Any

import pytest

from collectord.errors import StoreError
from collectord.model import OUTCOMES, Changes, DeviceSighting, UnreadGroup
from collectord.store import devices, ledger, quarantine
from collectord.store.counters import Counters
from collectord.store.db import Database

LISTENERS = ("udp", "tcp")


def unread(shape: str = "app[0]: up", last_ns: int = 5, **fields: Any) -> UnreadGroup:
    values: dict[str, Any] = {
        "listener": 0,
        "peer": "192.0.2.1",
        "profile": "",
        "shape": shape,
        "messages": 1,
        "example": b"<13>app[7]: up",
        "last_ns": last_ns,
    }
    return UnreadGroup(**(values | fields))


def add(database: Database, *groups: UnreadGroup, listeners: Sequence[str] = LISTENERS) -> None:
    with database.transaction("add groups") as connection:
        quarantine.add(connection, groups, listeners)


def add_words(database: Database, *words: tuple[str, str, str, int], now_ns: int = 5) -> None:
    with database.transaction("add words") as connection:
        quarantine.add_words(connection, words, now_ns)


def shapes(database: Database) -> list[str]:
    return sorted(group.shape for group in quarantine.groups(database))


# Groups


def test_messages_add_up_and_the_first_example_stays(database: Database) -> None:
    add(database, unread(messages=2, example=b"first\xff\0"))
    add(database, unread(messages=3, example=b"second", last_ns=9, profile="acme"))
    (group,) = quarantine.groups(database)

    assert (group.messages, group.example, group.profile) == (5, b"first\xff\0", "acme")
    assert (group.listener, group.peer, group.shape) == ("udp", "192.0.2.1", "app[0]: up")
    assert (group.first_ns, group.last_ns) == (5, 9)
    assert quarantine.group(database, group.id) == group


def test_a_clock_put_back_does_not_make_a_group_older(database: Database) -> None:
    add(database, unread(last_ns=100))
    add(database, unread(last_ns=50))

    assert quarantine.groups(database)[0].last_ns == 100


def test_listener_peer_and_shape_make_a_group(database: Database) -> None:
    add(database, unread(), unread(listener=1), unread(peer="192.0.2.2"), unread("other"), unread())

    found = quarantine.groups(database)
    assert sorted((group.listener, group.peer, group.shape, group.messages) for group in found) == [
        ("tcp", "192.0.2.1", "app[0]: up", 1),
        ("udp", "192.0.2.1", "app[0]: up", 2),
        ("udp", "192.0.2.1", "other", 1),
        ("udp", "192.0.2.2", "app[0]: up", 1),
    ]  # fmt: skip


def test_the_most_frequent_first(database: Database) -> None:
    add(database, unread("few", messages=1), unread("many", messages=9), unread("some", messages=4))

    assert [group.shape for group in quarantine.groups(database)] == ["many", "some", "few"]
    assert [group.shape for group in quarantine.groups(database, 1)] == ["many"]


def test_groups_of_a_listener_that_was_removed(database: Database) -> None:
    """They stay, under the name that it had; a number without a name has none."""
    add(database, unread(listener=1))
    add(database, unread(listener=1), listeners=["udp"])

    assert sorted(group.listener for group in quarantine.groups(database)) == ["", "tcp"]


def test_many_groups(database: Database) -> None:
    """A batch is a thousand groups at most; the table holds ten such, the newest."""
    for batch in range(quarantine.MAX_GROUPS // 1000 + 2):
        add(database, *(unread(f"{batch}-{number}", last_ns=batch + 1) for number in range(1000)))

    assert quarantine.trim(database) == 2000
    kept = quarantine.groups(database, 2 * quarantine.MAX_GROUPS)
    assert (len(kept), min(group.last_ns for group in kept)) == (quarantine.MAX_GROUPS, 3)


def test_trim_keeps_the_newest(database: Database) -> None:
    add(database, *(unread(f"shape {number}", last_ns=number, messages=100 - number) for number in range(10)))
    add(database, unread("shape 0", last_ns=20))

    assert quarantine.trim(database, 3) == 7
    assert shapes(database) == ["shape 0", "shape 8", "shape 9"]
    assert quarantine.trim(database, 3) == 0


def test_forget(database: Database) -> None:
    add(database, unread("a"), unread("b"), unread("c"))
    numbers = {group.shape: group.id for group in quarantine.groups(database)}

    assert quarantine.forget(database, [numbers["a"], numbers["c"], 999]) == 2
    assert shapes(database) == ["b"]
    assert quarantine.group(database, numbers["a"]) is None
    assert quarantine.forget(database, []) == 0


def test_numbers_are_never_used_twice(database: Database) -> None:
    """Who looked at number 17 must not forget another group by it."""
    add(database, unread("a"))
    (before,) = quarantine.groups(database)
    quarantine.forget(database, [before.id])
    add(database, unread("a"))

    assert quarantine.groups(database)[0].id > before.id


@pytest.mark.parametrize(
    ("value", "is_one"),
    [(0, True), (quarantine.MAX_ID, True), (quarantine.MAX_ID + 1, False), (-1, False), (True, False), ("1", False)],
)
def test_what_can_be_a_number(database: Database, value: object, is_one: bool) -> None:
    assert quarantine.is_number(value) is is_one
    if isinstance(value, int) and is_one:
        assert quarantine.group(database, value) is None


# Words


def test_words_add_up(database: Database) -> None:
    add_words(database, ("acme", "action", "melted", 2), ("acme", "verdict", "melted", 1))
    add_words(database, ("acme", "action", "melted", 5), ("other", "action", "melted", 1), now_ns=9)

    assert quarantine.words(database) == [
        ("acme", "action", "melted", 7, 9),
        ("acme", "verdict", "melted", 1, 5),
        ("other", "action", "melted", 1, 9),
    ]
    assert quarantine.words(database, 1) == [("acme", "action", "melted", 7, 9)]


def test_words_are_trimmed_as_well(database: Database) -> None:
    for number in range(10):
        add_words(database, ("acme", "action", f"word {number}", 100 - number), now_ns=number)

    assert quarantine.trim(database, 2) == 0
    assert [word for _, _, word, _, _ in quarantine.words(database)] == ["word 8", "word 9"]


# With the counters


def batch(seq: int) -> Changes:
    return Changes(
        seq=seq,
        now_ns=seq * 1_000,
        rows={},
        ledger=[(0, "unparsed", 4, 40)],
        windows=(),
        evicted={},
        without_key={},
        carried=0,
        devices=(
            DeviceSighting("", "fw", "192.0.2.1", 0, "", {**dict.fromkeys(OUTCOMES, 0), "unparsed": 4}, seq, None),
        ),
        quarantine=(unread(messages=4),),
        unmapped=[("acme", "action", "melted", 4)],
    )


def held(database: Database) -> tuple[list[int], list[int], list[int], list[int]]:
    """Messages in ledger, devices, quarantine and words."""
    return (
        [messages for _, _, messages, _ in ledger.totals(database)],
        [device["unparsed"] for device in devices.everything(database)],
        [group.messages for group in quarantine.groups(database)],
        [messages for _, _, _, messages, _ in quarantine.words(database)],
    )


def test_a_batch_is_stored_once(database: Database) -> None:
    """Its acknowledgement may be lost; what it holds must not count twice."""
    counters = Counters(database, "run-1")
    assert counters.write(batch(1), [], LISTENERS)
    assert not counters.write(batch(1), [], LISTENERS)
    assert held(database) == ([4], [4], [4], [4])
    assert counters.write(batch(2), [], LISTENERS)
    assert held(database) == ([8], [8], [8], [8])
    assert quarantine.words(database)[0][4] == 2_000, "words carry the time of their batch"


@pytest.mark.parametrize("table", ["devices", "quarantine", "unmapped_words", "meta"])
def test_a_batch_is_stored_whole_or_not_at_all(database: Database, table: str) -> None:
    counters = Counters(database, "run-1")
    database.connection.execute(f"CREATE TRIGGER broken BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'no'); END")
    with pytest.raises(StoreError):
        counters.write(batch(1), [], LISTENERS)
    assert held(database) == ([], [], [], [])

    database.connection.execute("DROP TRIGGER broken")
    assert counters.write(batch(1), [], LISTENERS)
    assert held(database) == ([4], [4], [4], [4])
