"""What counters held on days."""

from typing import Any

import pytest

from collectord.errors import StoreError
from collectord.model import OTHER_SITE, Changes, CounterDefinition
from collectord.store.counters import Counters
from collectord.store.db import Database
from collectord.store.history import History
from collectord.store.retention import Keep, Retention
from collectord.store.rollups import DAY_S, HOUR_S

PORTS = CounterDefinition("port_volume", {}, ("DstPortNumber", "NetworkProtocol"), HOUR_S)
START_S = 20_000 * DAY_S


@pytest.fixture
def history(database: Database) -> History:
    counters = Counters(database, "run")
    counters.ensure([PORTS])
    rows: list[tuple[Any, ...]] = []
    for day in range(4):
        for hour in (0, 23):
            slot = START_S + day * DAY_S + hour * HOUR_S
            rows += [
                (slot, "", 3389, "TCP", 10 + day, 1, 0),
                (slot, "", 3389, "UDP", 1, 1, 0),
                (slot, "north", 443, "TCP", 100, 1, 0),
                (slot, "", 0, "ICMP", 5, 1, 0),
                (slot, "", 7, "", 2, 1, 0),
                (slot, OTHER_SITE, 0, "", 1_000, 1, 0),
            ]
    changes = Changes(
        seq=1, now_ns=0, rows={"port_volume": rows}, ledger=[], windows=(), evicted={}, without_key={}, carried=0
    )
    counters.write(changes, [PORTS], ["udp"])
    # Days 0 and 1 stand in all three tables, day 2 in part, day 3 in the counter's own alone.
    keep = Keep(slots_s=DAY_S, hours_s=30 * DAY_S, days_s=400 * DAY_S, max_bytes=2**40)
    for _ in range(3):
        Retention(database, counters, keep, {PORTS.name: 0}).age(PORTS, START_S + 3 * DAY_S - HOUR_S)
    return History(database)


def test_days_are_whole_wherever_they_stand(history: History) -> None:
    found = history.days(PORTS, START_S + DAY_S, START_S + 4 * DAY_S, ports=[3389])

    assert sorted(found) == sorted(
        (START_S + day * DAY_S, "", (3389, protocol), total)
        for day in (1, 2, 3)
        for protocol, total in (("TCP", 2 * (10 + day)), ("UDP", 2))
    )


def test_only_large_ones(history: History) -> None:
    found = history.days(PORTS, START_S, START_S + DAY_S, above=10)
    assert sorted(found) == [(START_S, "", (3389, "TCP"), 20), (START_S, "north", (443, "TCP"), 200)]


def test_over_some_fields(history: History) -> None:
    """Sums over the others; what does not say one of them is left out, as is the row of the rest."""
    day = (START_S, START_S + DAY_S)
    assert sorted(history.days(PORTS, *day, fields=("NetworkProtocol",))) == [
        (START_S, "", ("ICMP",), 10),
        (START_S, "", ("TCP",), 20),
        (START_S, "", ("UDP",), 2),
        (START_S, "north", ("TCP",), 200),
    ]
    assert sorted(history.days(PORTS, *day, fields=("DstPortNumber",))) == [
        (START_S, "", (7,), 4),
        (START_S, "", (3389,), 22),
        (START_S, "north", (443,), 200),
    ]
    assert sorted(history.days(PORTS, *day, fields=())) == [(START_S, "", (), 36), (START_S, "north", (), 200)]
    with pytest.raises(StoreError, match="the counter port_volume has no SrcIpAddr"):
        history.days(PORTS, *day, fields=("SrcIpAddr",))


def test_first_day(history: History, database: Database) -> None:
    assert history.first_day(PORTS) == START_S
    for level in ("", "_hours", "_days"):
        database.connection.execute(f"DELETE FROM port_volume{level}")
    assert history.first_day(PORTS) is None
    assert history.first_day(PORTS, "north") is None


@pytest.mark.parametrize("gone", range(5))
def test_first_day_of_a_site(history: History, database: Database, gone: int) -> None:
    """Wherever it stands: on the first days it has nothing yet."""
    for level in ("", "_hours", "_days"):
        before = ("north", START_S + gone * DAY_S)
        database.connection.execute(f"DELETE FROM port_volume{level} WHERE site = ? AND slot < ?", before)
    assert history.first_day(PORTS, "") == START_S
    assert history.first_day(PORTS, "south") is None
    assert history.first_day(PORTS, "north") == (START_S + gone * DAY_S if gone < 4 else None)
