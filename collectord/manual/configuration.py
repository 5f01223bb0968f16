"""
collectord.toml(5), from the schema and from the comments of the shipped file.

The schema says what a key may hold and what it is by default; the shipped file, which shows every key, says what it is
for. So there is one place for each, and a page that follows both.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Le
from pydantic import BaseModel, BeforeValidator, SecretStr
from pydantic.fields import FieldInfo

from collectord import __version__, config_text, data
from collectord.config import Config
from collectord.manual import roff
from collectord.manual.commands import DATE
from collectord.schema import Range

_HEADER = re.compile(r"#?\[+(?P<table>[a-z_.]+)\]+")
_KEY = re.compile(r"#?(?P<key>[a-z_]+) = (?P<value>\"[^\"]*\"|\[[^\]]*\]|[^#\"]*?)(?:  +# (?P<words>.*))?")
_MORE = re.compile(r"  +# (?P<words>.*)")

INTRODUCTION = (
    "The configuration is TOML 1.0. Every key has a default; a file need only say what differs. A key that is not "
    "known is an error, and so is a value out of range: collectord check tells all of them, with file and line.",
    "The file is $COLLECTORD_CONFIG or what --config names, else /etc/collectord/collectord.toml. Files conf.d/*.toml "
    "beside it are laid over it in lexical order: a later file wins per key, tables merge, arrays of tables append. "
    "collectord check --show writes the result with the origin of each value.",
    "Durations and sizes are text with a unit: s, m, h, d; B, KiB, MiB, GiB. Paths are relative to the folder of the "
    "file. A secret stands in a file of its own that not everybody may read, or is a credential of the service.",
    "collectord reload takes changes up while messages come in, all of them or none, and names the keys that need a "
    "restart.",
)


@dataclass(slots=True)
class Key:
    """A key as the shipped file shows it."""

    words: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Table:
    """A table, all of its examples in the shipped file together."""

    words: list[str] = field(default_factory=list)
    keys: dict[str, Key] = field(default_factory=dict)


def page() -> str:
    """The whole page, in roff."""
    return "\n".join(_lines()) + "\n"


def shown(text: str) -> dict[str, Table]:
    """What the shipped file says, by table; the keys above the first have the name ""."""
    tables = {"": Table()}
    table, key, pending = tables[""], Key(), list[str]()
    for line in text.splitlines():
        if header := _HEADER.fullmatch(line):
            table = tables.setdefault(header["table"], Table())
            table.words.append(" ".join(pending))
            pending = []
        elif found := _KEY.fullmatch(line):
            last, key = key, table.keys.setdefault(found["key"], Key())
            words = " ".join([*pending, found["words"] or ""]).strip()
            # Keys one below the other share what is said above the first.
            above = last.words if not words and table is tables[""] else [words]
            if not key.words:
                key.words += [each for each in above if each]
            pending = []
        elif more := _MORE.fullmatch(line):
            key.words[-1:] = [f"{' '.join(key.words[-1:])} {more['words']}".strip()]
        elif line.startswith("# "):
            pending.append(line[2:])
        else:
            pending = []
    return tables


def _lines() -> Iterator[str]:
    tables = shown(data.conf("collectord.toml").read_text(encoding="utf-8"))
    yield roff.title("collectord.toml", 5, DATE, f"collectord {__version__}")
    yield roff.heading("NAME")
    yield "collectord.toml \\- configuration of the syslog collector"
    yield roff.heading("DESCRIPTION")
    for text in INTRODUCTION:
        yield from roff.paragraph(text)
    yield roff.heading("KEYS ABOVE THE FIRST TABLE")
    simple = {name: each for name, each in _keys([Config]).items() if name not in tables}
    yield from _items(simple, tables[""], many=False)
    for name, models in table_models().items():
        is_array = len(models) > 1 or name == "device"
        yield roff.heading(f"[[{name}]]" if is_array else f"[{name}]")
        table = tables.get(name, Table())
        # What follows in the file are more examples of the same table.
        for words in filter(None, table.words[:1]):
            yield from roff.paragraph(words)
        yield from _items(_keys(models), table, many=len(models) > 1)
    yield roff.heading("FILES")
    yield from roff.item("/usr/share/doc/collectord/", ["The shipped file, which shows every key with its default."])
    yield roff.heading("SEE ALSO")
    yield "\\fBcollectord\\fR(8)"


def table_models() -> Mapping[str, Sequence[type[BaseModel]]]:
    """The models of each table, one for each ``type`` that it may have."""
    found: dict[str, Sequence[type[BaseModel]]] = {}
    for name, each in Config.model_fields.items():
        models = [leaf for leaf in _leaves(each.annotation) if isinstance(leaf, type) and issubclass(leaf, BaseModel)]
        if models:
            found[config_text.key_of(name, each)] = models
    return found


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    info: FieldInfo
    model: type[BaseModel]


def _keys(models: Sequence[type[BaseModel]]) -> dict[str, list[_Field]]:
    """By key, its field in each model that has it."""
    found: dict[str, list[_Field]] = {}
    for model in models:
        for name, info in model.model_fields.items():
            found.setdefault(config_text.key_of(name, info), []).append(_Field(name, info, model))
    return found


def _items(keys: Mapping[str, Sequence[_Field]], table: Table, *, many: bool) -> Iterator[str]:
    # In the order of the file, which is that of the thoughts.
    order = {key: number for number, key in enumerate(table.keys)}
    types = {tag for fields in keys.values() for each in fields if (tag := _tag(each.model))}
    for key in sorted(keys, key=lambda key: order.get(key, len(order))):
        fields = keys[key]
        of = [tag for each in fields if (tag := _tag(each.model))]
        what = f"One of {', '.join(of)}" if key == "type" else kind(fields[0])
        facts = [f"{what}; {_default(fields)}."]
        if many and set(of) != types:
            facts.append(f"Only for type = {' or '.join(of)}.")
        words = table.keys.get(key, Key()).words
        yield from roff.item(key, [" ".join(facts), *words])


def kind(each: _Field) -> str:
    """What a key may hold, in words."""
    annotations, metadata = [*_leaves(each.info.annotation)], [*_metadata(each.info)]
    for entry in metadata:
        if isinstance(entry, BeforeValidator) and isinstance(entry.func, Range):
            what = "a duration" if each.name.endswith("_s") else "a size"
            return f'{what.capitalize()} from "{entry.func.lowest}" to "{entry.func.highest}"'
    choices = [
        *(str(value) for leaf in annotations if get_origin(leaf) is Literal for value in get_args(leaf)),
        *(
            str(value.value)
            for leaf in annotations
            if isinstance(leaf, type) and issubclass(leaf, Enum)
            for value in leaf
        ),
    ]
    if choices:
        return f"One of {', '.join(choices)}"
    is_list = any(get_origin(part) is tuple for part in _parts(each.info.annotation))
    if bool in annotations:
        return "true or false"
    if int in annotations and each.name.endswith("_offset_s"):
        return 'An offset from UTC such as "+01:00"'
    if int in annotations and each.name.endswith("_s"):
        return "A duration"
    if int in annotations:
        low = next((entry.ge for entry in metadata if isinstance(entry, Ge)), None)
        high = next((entry.le for entry in metadata if isinstance(entry, Le)), None)
        return f"A whole number from {low} to {high}" if low is not None else "A whole number"
    words = {Path: "A path", datetime: "A time with its zone", SecretStr: "A secret text"}
    return "A list" if is_list else next((words[leaf] for leaf in annotations if leaf in words), "A text")


def _default(fields: Sequence[_Field]) -> str:
    found = {_tag(each.model): _default_of(each) for each in fields}
    if len(set(found.values())) == 1:
        return _default_of(fields[0])
    return ", ".join(f"{text} ({tag})" for tag, text in found.items())


def _default_of(each: _Field) -> str:
    info = each.info
    if info.is_required():
        return "required"
    if info.default_factory is not None:
        return "its default depends on the machine"
    return (
        "not set by default"
        if info.default is None
        else f"by default {config_text.text(each.name, info, info.default)}"
    )


def _tag(model: type[BaseModel]) -> str:
    info = model.model_fields.get("type")
    return str(next(iter(get_args(info.annotation)), "")) if info else ""


def _parts(annotation: Any) -> Iterator[Any]:
    yield annotation
    for argument in get_args(annotation):
        yield from _parts(argument)


def _leaves(annotation: Any) -> Iterator[Any]:
    for part in _parts(annotation):
        if not get_args(part) or get_origin(part) is Literal:
            yield part


def _metadata(info: FieldInfo) -> Iterator[Any]:
    yield from info.metadata
    for part in _parts(info.annotation):
        for entry in getattr(part, "__metadata__", ()):
            yield from getattr(entry, "metadata", ()) or (entry,)
