"""
The shipped profiles: every sample holds, and every part of every profile is held by a sample.

The second is shown by altering one part at a time: a sample must then fail, or nobody would notice if it were wrong.
"""

import copy
import functools
import ipaddress
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from collectord import data, plan, toml
from collectord.engine import Engine, PlanError
from collectord.toml import Document, KeyPath

SETUP = plan.load(None)
DOCUMENTS = {document.values["name"]: document for document in SETUP.profiles}
NAMES = sorted(DOCUMENTS)

MARK = ("EventReportUrl", "altered")
"""A constant that no profile sets: a session that has it went through the part that was altered."""

BACKWARDS = SETUP.plan.profiles[::-1]
"""In another order than by name, as a site's profiles may come after the fallback."""

DEFAULTS = {"separator": ",", "counts": "always", "session": True, "EventType": "NetworkSession"}
"""What stands there although it is the default can't be told from nothing."""

Profile = dict[str, Any]
Mutant = tuple[KeyPath, Profile]

ALLOWED = [
    ipaddress.ip_network(text)
    for text in (
        "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24",  # RFC 5737
        "2001:db8::/32",  # RFC 3849
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",  # RFC 1918
        "fc00::/7",  # RFC 4193
        "127.0.0.0/8", "::1/128", "169.254.0.0/16", "fe80::/10",  # loopback and link-local
        "224.0.0.0/4", "ff00::/8", "255.255.255.255/32",  # multicast and broadcast
        "0.0.0.0/32", "::/128",  # none
    )
]  # fmt: skip


def samples() -> list[Any]:
    """Every sample of every profile."""
    return [
        pytest.param(document, number, id=f"{name}: {sample['name']}")
        for name, document in DOCUMENTS.items()
        for number, sample in enumerate(document.values["sample"])
    ]


@pytest.fixture(scope="module")
def engine() -> Any:
    """Reads samples with the shipped profiles."""
    return plan.sample_engine(SETUP.plan)


@pytest.mark.parametrize(("document", "number"), samples())
def test_sample(engine: Any, document: Document, number: int) -> None:
    """It gives exactly what it says."""
    only = Document(document.file, {**document.values, "sample": [document.values["sample"][number]]})

    assert [problem.reason for problem in plan.failing_samples(engine, only)] == []


def test_the_order_of_the_profiles_does_not_matter() -> None:
    """A message of a product is its own profile's, wherever that stands; the fallback takes what is left."""
    engine = plan.sample_engine(replace(SETUP.plan, profiles=BACKWARDS))

    assert [problem for document in DOCUMENTS.values() for problem in plan.failing_samples(engine, document)] == []


@pytest.mark.parametrize("front", ["<13>Nov 22 10:00:00 relay-01 ", "<13>1 2026-11-22T10:00:00Z relay-01 - - - - "])
def test_a_relay_in_front_changes_nothing(engine: Any, front: str) -> None:
    """What it wrote is taken off, and the rest is read as if it came from the device."""
    relay = "192.0.2.9"
    behind = Engine(replace(SETUP.plan, relays=(f"{relay}/32",)), ())

    def read(answer: dict[str, Any]) -> Any:
        sessions = [{field: value for field, value in each.items() if field != "Dvc"} for each in answer["Sessions"]]
        return answer["Profile"], answer["Outcome"], sessions

    for document in DOCUMENTS.values():
        for sample in document.values["sample"]:
            raw = sample["raw"]
            relayed = json.loads(behind.parse(f"{front}{raw}".encode(), relay))
            assert read(relayed) == read(json.loads(engine.parse(raw.encode(), None))), raw


@pytest.mark.parametrize("name", NAMES)
class TestProfile:
    """What every shipped profile has."""

    def test_sources_are_named(self, name: str) -> None:
        assert all(re.match(r"https?://", source) for source in DOCUMENTS[name].values["source"])

    def test_a_sample_that_must_not_match(self, name: str) -> None:
        assert any(sample.get("match") is False for sample in DOCUMENTS[name].values["sample"])

    def test_sample_names_are_told_apart(self, name: str) -> None:
        names = [sample["name"] for sample in DOCUMENTS[name].values["sample"]]
        assert sorted(set(names)) == sorted(names)

    def test_addresses_are_those_for_documentation(self, name: str) -> None:
        """Nothing that was captured: RFC 5737, RFC 3849, and what no other site can own."""
        strange = {
            str(address)
            for sample in DOCUMENTS[name].values["sample"]
            for address in addresses(json.dumps(sample))
            if not any(address in network for network in ALLOWED if network.version == address.version)
        }
        assert strange == set()

    def test_every_part_is_held_by_a_sample(self, name: str) -> None:
        """Whatever is altered, a sample fails."""
        document = DOCUMENTS[name]
        found = list(mutants(document.values))
        assert len(found) > 5
        unnoticed = [toml.key_text(path) for path, mutant in found if not noticed(document, mutant)]

        assert unnoticed == []


def addresses(text: str) -> Iterator[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """Everything in a text that is an address."""
    for token in re.findall(
        r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w])|(?<!\w)(?:[0-9A-Fa-f]{0,4}:){2,}[0-9A-Fa-f.]*", text
    ):
        try:
            yield ipaddress.ip_address(token.rstrip("."))
        except ValueError:
            continue  # A time, a MAC address, a version.


def test_addresses_are_found() -> None:
    """The search does see what it looks for."""
    text = "a=8.8.8.8 outside:8.8.4.4/53(1.1.1.1)[2606:4700::1111]:443 12:30:59 1.2 x:2606:4700::1001 v7.4.1, 9.9.9.9."

    assert {str(address) for address in addresses(text)} >= {
        "8.8.8.8", "8.8.4.4", "1.1.1.1", "2606:4700::1111", "2606:4700::1001", "9.9.9.9",
    }  # fmt: skip


def noticed(document: Document, mutant: Profile) -> bool:
    """Whether a sample fails when the profile is altered; one of another profile may show that it takes too much."""
    try:
        # Alone it is read in no time, and most alterations show there. A sample that only another profile keeps from
        # being taken fails anyway. The first sample that tells ends the search.
        alone = alone_with(mutant)
        unaltered = failing_alone(document.values["name"])
        if any(failing(alone, each) != wrong for each, wrong in zip(one_by_one(document), unaltered, strict=True)):
            return True
        profiles = [mutant if profile["name"] == mutant["name"] else profile for profile in BACKWARDS]
        engine = plan.sample_engine(replace(SETUP.plan, profiles=profiles))
    except PlanError:
        return True  # The loader does not even take it.
    return any(plan.failing_samples(engine, each) for each in DOCUMENTS.values())


def alone_with(profile: Profile) -> Engine:
    """Reads samples when there is no other profile."""
    return plan.sample_engine(replace(SETUP.plan, profiles=[profile]))


@functools.cache
def failing_alone(name: str) -> list[list[str]]:
    """What fails of each sample of a profile when there is no other."""
    engine = alone_with(DOCUMENTS[name].values)
    return [failing(engine, each) for each in one_by_one(DOCUMENTS[name])]


def one_by_one(document: Document) -> Iterator[Document]:
    """The profile with one of its samples at a time."""
    for sample in document.values["sample"]:
        yield Document(document.file, {**document.values, "sample": [sample]})


def failing(engine: Engine, document: Document) -> list[str]:
    """In which ways its samples fail."""
    return [problem.reason for problem in plan.failing_samples(engine, document)]


def is_shortcut(signs: list[dict[str, Any]], path: KeyPath) -> bool:
    """Whether the part is a sign all of whose messages another sign of the profile takes: then it only saves time."""
    if path[0] != "detect":
        return False
    literals = set(signs[int(path[1])].get("contains", ()))
    others = [sign for number, sign in enumerate(signs) if number != path[1] and set(sign) == {"contains"}]
    return any(literals >= set(sign["contains"]) for sign in others)


def mutants(profile: Profile) -> Iterator[Mutant]:
    """The profile with one part altered at a time, each with the part's path."""
    yield from of_head(profile)
    for key, value in profile.get("set", {}).items():
        if value == DEFAULTS.get(key):
            yield ("set", key), changed(profile, ("set", key), lambda _: "Flow")
        else:
            yield from without(profile, ("set", key))
    yield from of_fields(profile, ("fields",))
    yield from of_maps(profile, ("map",))
    for number, message in enumerate(profile.get("message", [])):
        path: KeyPath = ("message", number)
        if len(profile["message"]) > 1:
            yield path, removed(profile, path)
        for key in ("id", "template"):
            if isinstance(message.get(key), list):
                yield from without(profile, (*path, key), everything=False)
        for key in ("counts", "orient", "session"):
            # What a message opens shows in a later one alone; tests/unit/test_engine_notes.py holds that.
            if key in message and message[key] not in (DEFAULTS.get(key), "opens"):
                yield from without(profile, (*path, key))
        for key in message.get("set", {}):
            yield from without(profile, (*path, "set", key))
        yield from of_fields(profile, (*path, "fields"))
        yield from of_maps(profile, (*path, "map"))


def of_head(profile: Profile) -> Iterator[Mutant]:
    """What chooses the profile, its message, and what separates its values."""
    for key in ("detect", "id", "separator"):
        if key in profile and (key != "detect" or len(profile[key]) > 1) and profile[key] != DEFAULTS.get(key):
            altered = without(profile, (key,), everything=key != "detect")
            yield from (each for each in altered if not is_shortcut(profile["detect"], each[0]))
    if "assign" in profile:
        # The loader takes either both marks or none.
        yield ("assign",), removed(removed(profile, ("assign",)), ("separator",))


def of_fields(profile: Profile, path: KeyPath) -> Iterator[Mutant]:
    """Each field away; each alternative and each option of it away."""
    for name, source in (at(profile, path) or {}).items():
        yield from without(profile, (*path, name))
        if isinstance(source, list):
            yield from without(profile, (*path, name), everything=False)
        elif isinstance(source, dict):
            for option, value in source.items():
                if option == "from":
                    continue
                yield from without(profile, (*path, name, option), everything=not isinstance(value, list))


def of_maps(profile: Profile, path: KeyPath) -> Iterator[Mutant]:
    """Each entry of each map with another effect; each condition away."""
    for number, each in enumerate(at(profile, path) or []):
        for word, effect in each["to"].items():
            entry = (*path, number, "to", word)
            # The marked session does not show where there is none.
            altered = {} if effect.get("session") is False else {**effect, MARK[0]: MARK[1]}
            yield entry, changed(profile, entry, lambda _, altered=altered: altered)
        for condition in ("when", "unless"):
            for field, values in each.get(condition, {}).items():
                key = (*path, number, condition, field)
                if len(values) > 1:
                    yield from without(profile, key, everything=False)
                else:
                    yield key, removed(profile, (*path, number, condition))


def without(profile: Profile, path: KeyPath, *, everything: bool = True) -> Iterator[Mutant]:
    """The profile without a value, or without each of the values of a list in turn."""
    if everything:
        yield path, removed(profile, path)
        return
    for number, _ in enumerate(at(profile, path)):
        yield (*path, number), removed(profile, (*path, number))


def at(profile: Profile, path: KeyPath) -> Any:
    """The value at a path; None where there is none."""
    value: Any = profile
    for key in path:
        if isinstance(value, dict) and key not in value:
            return None
        value = value[key]
    return value


def changed(profile: Profile, path: KeyPath, change: Callable[[Any], Any]) -> Profile:
    """A copy with another value at a path."""
    mutant, table = copied(profile, path)
    table[path[-1]] = change(copy.deepcopy(table[path[-1]]))
    return mutant


def removed(profile: Profile, path: KeyPath) -> Profile:
    """A copy without the value at a path."""
    mutant, table = copied(profile, path)
    del table[path[-1]]
    return mutant


def copied(profile: Profile, path: KeyPath) -> tuple[Profile, Any]:
    """The profile without its samples, and what holds the path's last key, which may be altered; the rest is shared."""
    mutant = table = {key: value for key, value in profile.items() if key != "sample"}
    for key in path[:-1]:
        table[key] = copy.copy(table[key])
        table = table[key]
    return mutant, table


def test_the_shipped_profiles_are_loaded() -> None:
    assert NAMES == [path.stem for path in data.profiles()]
