"""Each of the engine's readers gives what a slow, plain reader gives, for messages with any text in their values."""

import csv
import importlib.util
import io
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectord.engine import Engine, Plan

FIELDS = ("SrcHostname", "DstHostname", "NetworkRuleName", "DvcDescription", "EventMessage")
"""Text fields that take the values; the sixth value is an address, so that the message is a session."""

ADDRESS = "192.0.2.7"

# Printable text of several alphabets with everything that any of the formats escapes or separates by.
VALUE = st.text(
    st.characters(categories=("L", "N", "P", "S", "Zs"), exclude_characters="\u2028\u2029\x85"), min_size=1, max_size=24
)
VALUES = st.lists(VALUE, min_size=5, max_size=5)


@pytest.fixture(scope="module")
def readers(repository: Path) -> ModuleType:
    """tests/reference is no package."""
    spec = importlib.util.spec_from_file_location("collectord_readers", repository / "tests/reference/readers.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def engine_for(reader: str, names: tuple[str, ...], detect: dict[str, Any], **head: str) -> Engine:
    """An engine with one profile: six values by these names, the last one an address; ``head``: more of its keys."""
    profile = {
        "name": "acme",
        "title": "Acme",
        "EventVendor": "Acme",
        "EventProduct": "Wall",
        "detect": [detect],
        "reader": reader,
        **head,
        "fields": {**dict(zip(FIELDS, names, strict=False)), "SrcIpAddr": names[5]},
    }
    plan = Plan(
        profiles=[profile],
        counters=[],
        internal_networks=["10.0.0.0/8"],
        listeners=[("udp", "", ())],
        message_bytes=65_536,
        unfinished_bytes=65_536,
        rows_per_batch=1_000,
        event_count=1_000,
    )
    return Engine(plan, ())


def read(engine: Engine, text: str) -> dict[str, str]:
    """The text fields of the one session."""
    answer = json.loads(engine.parse(text.encode()))
    (session,) = answer["Sessions"]
    assert session["SrcIpAddr"] == ADDRESS
    return {field: session[field] for field in FIELDS if field in session}


def wanted(found: dict[str, str], names: tuple[str, ...]) -> dict[str, str]:
    """What the reference found, by field; blanks around a value do not count, and a blank value is none."""
    values = {field: found[name].strip(" ") for field, name in zip(FIELDS, names, strict=False)}
    return {field: value for field, value in values.items() if value}


Case = tuple[str, tuple[str, ...], dict[str, Any], Callable[[list[str]], str], str]

KEYS = ("one", "two", "three", "four", "five", "six")


def as_kv(values: list[str]) -> str:
    quoted = [value.replace("\\", "\\\\").replace('"', '\\"') for value in values]
    return "acme " + " ".join(f'{key}="{value}"' for key, value in zip(KEYS, quoted, strict=True))


def quoted_as(assign: str, separator: str) -> Callable[[list[str]], str]:
    """Pairs with these marks, each value in quotes."""

    def render(values: list[str]) -> str:
        quoted = [value.replace("\\", "\\\\").replace('"', '\\"') for value in values]
        return separator.join(f'{key}{assign}"{value}"' for key, value in zip(KEYS, quoted, strict=True)) + separator

    return render


def bare_as(assign: str, separator: str) -> Callable[[list[str]], str]:
    """Pairs with these marks and without quotes, whatever stands in a value."""

    def render(values: list[str]) -> str:
        bare = [value.lstrip('" ') for value in values]
        return separator.join(f"{key}{assign}{value}" for key, value in zip(KEYS, bare, strict=True)) + separator

    return render


def as_csv(values: list[str]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow(["acme", *values])
    return out.getvalue()


def as_cef(values: list[str]) -> str:
    pairs = [value.replace("\\", "\\\\").replace("=", "\\=") for value in values]
    extension = " ".join(f"{key}={value}" for key, value in zip(KEYS, pairs, strict=True))
    return f"CEF:0|Acme|Wall|1.0|id|name|5|{extension}"


def as_leef(values: list[str]) -> str:
    return "LEEF:1.0|Acme|Wall|1.0|id|" + "\t".join(f"{key}={value}" for key, value in zip(KEYS, values, strict=True))


def as_json(values: list[str]) -> str:
    inner = dict(zip(KEYS[1:], values[1:], strict=True))
    return json.dumps({"acme": values[0], "deep": {"er": inner}}, ensure_ascii=len(values[0]) % 2 == 0)


def as_xml(values: list[str]) -> str:
    data = "".join(
        f"<Data Name={quoteattr(key)}>{escape(value)}</Data>" for key, value in zip(KEYS[1:], values[1:], strict=True)
    )
    system = f"<System><Provider Name={quoteattr(values[0])}/></System>"
    return f"<Event>{system}<EventData>{data}</EventData></Event>"


JSON_NAMES = ("acme", *(f"deep.er.{key}" for key in KEYS[1:]))
XML_NAMES = ("System/Provider@Name", *(f"EventData/Data[{key}]" for key in KEYS[1:]))
COLUMNS = tuple(str(number) for number in range(2, 8))

CASES: dict[str, Case] = {
    "kv": ("kv", KEYS, {"starts": "acme "}, as_kv, "kv"),
    "csv": ("csv", COLUMNS, {"starts": "acme,"}, as_csv, "columns"),
    "cef": ("cef", KEYS, {"cef": {"vendor": "Acme", "product": "Wall"}}, as_cef, "cef"),
    "leef": ("leef", KEYS, {"leef": {"vendor": "Acme", "product": "Wall"}}, as_leef, "leef"),
    "json": ("json", JSON_NAMES, {"starts": '{"acme"'}, as_json, "json_paths"),
    "xml": ("xml", XML_NAMES, {"starts": "<Event>"}, as_xml, "event_xml"),
}

MARKS = {"ftd": (": ", ", "), "checkpoint": (":", ";"), "bars": ("=", "|")}

ENGINES = {name: engine_for(reader, names, detect) for name, (reader, names, detect, _, _) in CASES.items()}


@pytest.mark.parametrize("name", CASES)
@given(values=VALUES)
def test_agrees(readers: ModuleType, name: str, values: list[str]) -> None:
    """Same values for the same text."""
    _, names, _, render, reference = CASES[name]
    text = render([*values, ADDRESS])

    found = getattr(readers, reference)(text)

    assert read(ENGINES[name], text) == wanted(found, names)


MARKED = {
    name: engine_for("kv", KEYS, {"starts": KEYS[0]}, assign=assign, separator=separator)
    for name, (assign, separator) in MARKS.items()
}


@pytest.mark.parametrize("render", [quoted_as, bare_as])
@pytest.mark.parametrize("name", MARKS)
@given(values=VALUES)
def test_agrees_with_other_marks(
    readers: ModuleType, name: str, render: Callable[[str, str], Callable[[list[str]], str]], values: list[str]
) -> None:
    """As above, for pairs whose marks the profile names."""
    text = render(*MARKS[name])([*values, ADDRESS])

    found = readers.marked(text, *MARKS[name])

    assert read(MARKED[name], text) == wanted(found, KEYS)
