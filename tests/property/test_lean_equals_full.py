"""
The counters see what people see.

The counting path reads only what the rules want (lean), ``parse`` reads everything (full): both must come to the same
values.
"""

import json
import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectord import plan
from collectord.engine import Engine
from collectord.fields import RULE_FIELDS, is_number_field
from collectord.model import CounterDefinition

NOW_NS = 1_800_000_000_000_000_000
KEY_TEXT_BYTES = 255  # A longer text is cut in a key: engine/core/src/key.rs.

Gained = Callable[[Engine], tuple[dict[str, Counter[Any]], Counter[Any]]]
Session = dict[str, Any]


def counter(name: str, group_by: tuple[str, ...], **where: str) -> CounterDefinition:
    return CounterDefinition(name=name, where=where, group_by=group_by, slot_s=60)


# The same fields as the shipped rules, so that the lean reader leaves out just what it leaves out in the daemon.
SHIPPED = (
    counter("failures", ("SrcIpAddr",), EventResult="Failure"),
    counter("volume", ("DstPortNumber", "NetworkProtocol", "NetworkDirection", "DvcAction")),
)
RESULTS = (
    counter("sources", ("SrcIpAddr", "EventResult")),
    counter("results", ("EventResult", "NetworkProtocol", "NetworkDirection", "DvcAction")),
)


def made(setup: plan.Setup, definitions: tuple[CounterDefinition, ...]) -> Engine:
    """An engine with these counters."""
    counters = [
        {
            "name": each.name,
            "where": each.where,
            "group_by": list(each.group_by),
            "slot_s": each.slot_s,
            "capacity": 65_536,
            "weight": each.weight,
            "rules": [],
        }
        for each in definitions
    ]
    return Engine(replace(setup.plan, counters=counters), definitions)


@pytest.fixture(scope="module")
def engines(setup: plan.Setup) -> list[tuple[Engine, tuple[CounterDefinition, ...]]]:
    """Engines that want little, and one that wants a little more."""
    return [(made(setup, definitions), definitions) for definitions in (SHIPPED, SHIPPED[:1], SHIPPED[1:], RESULTS)]


def is_required(field: str) -> bool:
    """Without an address or a port there is no key; another text that is missing is an empty one."""
    return field.endswith(("IpAddr", "PortNumber"))


def shown(session: Session, field: str) -> Any:
    """A field of the full session, as a key holds it."""
    value = session.get(field, 0 if is_number_field(field) else "")
    if isinstance(value, str):
        return value.encode()[:KEY_TEXT_BYTES].decode("utf-8", "replace")
    return value


def expected(definitions: tuple[CounterDefinition, ...], sessions: list[Session]) -> dict[str, Counter[Any]]:
    """What the counters must have gained, by the full sessions."""
    rows: dict[str, Counter[Any]] = {}
    for definition in definitions:
        sums: Counter[Any] = Counter()
        for session in sessions:
            fits = all(session.get(field) == value for field, value in definition.where.items())
            if not session["AdditionalFields"]["counted"] or not fits:
                continue
            if any(is_required(field) and field not in session for field in definition.group_by):
                sums["without key"] += 1
                continue
            key = ("", *(shown(session, field) for field in definition.group_by))
            sums[key] += session["EventCount"]
            sums[*key, "messages"] += 1
        if sums:
            rows[definition.name] = sums
    return rows


def count(engine: Engine, messages: list[bytes]) -> None:
    """Over a stream, each in a counted frame."""
    stream = engine.connect(1, "192.0.2.1")
    for message in filter(None, messages):
        wire = bytearray(b"%d %s" % (len(message), message))
        engine.feed(stream, wire, len(wire), NOW_NS)
    engine.disconnect(stream, NOW_NS)


def sessions(engine: Engine, messages: list[bytes]) -> tuple[list[Session], Counter[str]]:
    """The full sessions, and the outcomes."""
    answers = [json.loads(engine.parse(message, None)) for message in messages if message]
    return [session for answer in answers for session in answer["Sessions"]], Counter(a["Outcome"] for a in answers)


def check(engine: Engine, definitions: tuple[CounterDefinition, ...], messages: list[bytes], gained: Gained) -> None:
    count(engine, messages)
    rows, ledger = gained(engine)
    full, outcomes = sessions(engine, messages)

    assert rows == expected(definitions, full)
    assert {outcome: ledger[1, outcome] for outcome in outcomes} == outcomes


@pytest.mark.parametrize("number", range(4))
def test_samples(engines: list[Any], samples: list[bytes], gained: Gained, number: int) -> None:
    """One by one, so that nothing that one message leaves behind is taken for another's."""
    engine, definitions = engines[number]
    for message in samples:
        check(engine, definitions, [message], gained)
    check(engine, definitions, samples, gained)


@pytest.mark.parametrize("number", range(4))
@given(data=st.data())
def test_altered_messages(
    engines: list[Any], messages: st.SearchStrategy[bytes], gained: Gained, number: int, data: st.DataObject
) -> None:
    engine, definitions = engines[number]
    check(engine, definitions, data.draw(st.lists(messages, min_size=1, max_size=8)), gained)


@pytest.mark.parametrize("field", RULE_FIELDS)
def test_every_field_that_a_rule_may_use(setup: plan.Setup, samples: list[bytes], gained: Gained, field: str) -> None:
    """A rule that wants this field alone gets it."""
    definitions = (counter("all", (field,)),)
    check(made(setup, definitions), definitions, samples, gained)


def test_datagrams_count_as_frames_do(setup: plan.Setup, samples: list[bytes], gained: Gained) -> None:
    engine = made(setup, SHIPPED)
    count(engine, samples)
    framed, _ = gained(engine)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as empty:
        engine.receive(1, empty.fileno(), NOW_NS, len(samples) + 1, [(sample, "192.0.2.1") for sample in samples])
    assert gained(engine)[0] == framed
