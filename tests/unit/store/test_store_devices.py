"""The devices seen: increments add up, what was seen last is told, names from the wire stay bounded."""

from collections.abc import Sequence
from typing import Any

from collectord.model import OUTCOMES, DevicePauses, DeviceSighting
from collectord.store import devices
from collectord.store.db import Database

LISTENERS = ("udp", "tcp")


def sighting(name: str = "fw-1", last_ns: int = 5, messages: Sequence[int] = (1,), **fields: Any) -> DeviceSighting:
    """Seen once, by default one session; ``messages`` are those of the first outcomes."""
    values: dict[str, Any] = {
        "site": "north",
        "name": name,
        "peer": "192.0.2.1",
        "listener": 0,
        "profile": "acme",
        "messages": dict(zip(OUTCOMES, (*messages, *[0] * len(OUTCOMES)), strict=False)),
        "last_ns": last_ns,
        "clock_off_ms": None,
    }
    return DeviceSighting(**(values | fields))


def add(database: Database, *sightings: DeviceSighting, listeners: Sequence[str] = LISTENERS) -> None:
    with database.transaction("add devices") as connection:
        devices.add(connection, sightings, listeners)


def names(database: Database) -> list[str]:
    return [device["name"] for device in devices.everything(database)]


def test_the_row_of_a_new_device(database: Database) -> None:
    add(database, sighting(messages=(3, 2, 1), clock_off_ms=-1500))

    assert devices.everything(database) == [
        {
            "site": "north",
            "name": "fw-1",
            "peer": "192.0.2.1",
            "listener": "udp",
            "profile": "acme",
            "first_seen_ns": 5,
            "last_seen_ns": 5,
            "sessions": 3,
            "events": 2,
            "unparsed": 1,
            "clock_off_ms": -1500,
            "pauses": "{}",
        }
    ]


def test_counts_add_up_and_the_last_sighting_is_told(database: Database) -> None:
    add(database, sighting(last_ns=5, messages=(3, 2, 1)))
    add(database, sighting(last_ns=9, messages=(10, 20, 30), peer="192.0.2.2", listener=1, profile="newer"))
    (device,) = devices.everything(database)

    assert (device["sessions"], device["events"], device["unparsed"]) == (13, 22, 31)
    assert (device["first_seen_ns"], device["last_seen_ns"]) == (5, 9)
    assert (device["peer"], device["listener"], device["profile"]) == ("192.0.2.2", "tcp", "newer")


def test_what_a_sighting_does_not_tell_stays(database: Database) -> None:
    """A message that no profile knew, without a time of its own, takes neither profile nor clock away."""
    add(database, sighting(clock_off_ms=250))
    add(database, sighting(profile="", clock_off_ms=None, last_ns=6))
    (device,) = devices.everything(database)

    assert (device["profile"], device["clock_off_ms"]) == ("acme", 250)
    add(database, sighting(clock_off_ms=0, last_ns=7))
    assert devices.everything(database)[0]["clock_off_ms"] == 0


def test_a_clock_put_back_does_not_make_a_device_older(database: Database) -> None:
    add(database, sighting(last_ns=100))
    add(database, sighting(last_ns=50))

    assert devices.everything(database)[0]["last_seen_ns"] == 100


def test_a_name_belongs_to_a_site(database: Database) -> None:
    add(database, sighting("b"), sighting("a"), sighting("b", site="east"))

    assert [(device["site"], device["name"]) for device in devices.everything(database)] == [
        ("east", "b"),
        ("north", "a"),
        ("north", "b"),
    ]


def test_a_listener_that_is_gone_has_no_name(database: Database) -> None:
    add(database, sighting(listener=7))

    assert devices.everything(database)[0]["listener"] == ""


def test_names_from_the_wire_are_values_alone(database: Database) -> None:
    strange = ["'; DROP TABLE devices; --", "nul\0inside", "\ufffd", ""]
    add(database, *(sighting(name) for name in strange))

    assert names(database) == sorted(strange)


def test_trim_keeps_those_seen_last(database: Database) -> None:
    add(database, *(sighting(f"fw-{number}", last_ns=number) for number in range(10)))
    add(database, sighting("fw-0", last_ns=20))

    assert devices.trim(database, 3) == 7
    assert names(database) == ["fw-0", "fw-8", "fw-9"]
    assert devices.trim(database, 3) == 0


def test_many_devices_in_one_batch(database: Database) -> None:
    """More than the engine ever hands over at once; the bound of the table holds."""
    add(database, *(sighting(f"fw-{number:06}", last_ns=number) for number in range(devices.MAX_DEVICES + 500)))

    assert devices.trim(database) == 500
    kept = names(database)
    assert (len(kept), kept[0]) == (devices.MAX_DEVICES, "fw-000500")


def test_pauses_are_kept_for_the_next_run(database: Database) -> None:
    """By day, beside what else is known of the device; of one that is not there nothing is kept."""
    add(database, sighting(last_ns=9))
    name = devices.everything(database)[0]["name"]
    site = devices.everything(database)[0]["site"]
    devices.keep_pauses(database, [DevicePauses(site, name, {19_999: 5, 20_000: 7}), DevicePauses("", "no", {1: 2})])

    [known] = devices.watched(database)
    assert ((site, name), 9, {19_999: 5, 20_000: 7}) == ((known.site, known.name), known.last_seen_ns, known.pauses)
