"""The configuration that results from all files, written as TOML again, each value with the place that it came from."""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from collectord.config import Config
from collectord.quantity import duration_text, size_text
from collectord.toml import KeyPath, key_text

HIDDEN = "(hidden)"
"""In place of a secret; never a part of it, nor its length."""

COMMENT_COLUMN = 50

_FIRST = {"type": 0, "name": 1}

Where = Callable[[KeyPath], str]
"""Says where a key's value came from; empty: it is the default."""


def toml(config: Config, where: Where) -> Iterator[str]:
    """
    The lines of the whole configuration, defaults filled in; secrets are hidden.

    Args:
        config: What results.
        where: Where each value came from.
    """
    yield from _table(config, (), where)


def key_of(name: str, field: FieldInfo) -> str:
    """What a model's field is called in the file."""
    return field.alias or name


def text(name: str, field: FieldInfo, value: Any) -> str:
    """A field's value as it stands in the file."""
    if field.alias and name.endswith("_offset_s"):
        hours, seconds = divmod(abs(value), 3600)
        return _value(f"{'-' if value < 0 else '+'}{hours:02}:{seconds // 60:02}")
    if field.alias and name.endswith("_s"):
        return _value(duration_text(value))
    if field.alias and name.endswith("_bytes"):
        return _value(size_text(value))
    return _value(value)


def _table(model: BaseModel, at: KeyPath, where: Where) -> Iterator[str]:
    below: list[tuple[str, Any]] = []
    unused = getattr(model, "unused_keys", ())
    # What a table is and what it is called stand first.
    fields = sorted(type(model).model_fields.items(), key=lambda item: _FIRST.get(item[0], len(_FIRST)))
    for name, field in fields:
        if name in unused:
            continue
        key, value = key_of(name, field), getattr(model, name)
        if isinstance(value, BaseModel) or _are_tables(value):
            below.append((key, value))
        elif value is not None:
            line = f"{key} = {text(name, field, value)}"
            yield f"{line:{COMMENT_COLUMN}}  # {where((*at, key)) or 'default'}"
    for key, value in below:
        if isinstance(value, BaseModel):
            yield ""
            yield f"[{key_text((*at, key))}]"
            yield from _table(value, (*at, key), where)
            continue
        for number, each in enumerate(value):
            yield ""
            yield f"[[{key_text((*at, key))}]]"
            yield from _table(each, (*at, key, number), where)


def _are_tables(value: Any) -> bool:
    return isinstance(value, tuple) and bool(value) and all(isinstance(each, BaseModel) for each in value)


def _value(value: Any) -> str:
    match value:
        case SecretStr():
            return _value(HIDDEN)
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case datetime():
            return value.isoformat()
        case Enum():
            return _value(value.value)
        case Path():
            return _value(str(value))
        case tuple() | list():
            return f"[{', '.join(map(_value, value))}]"
        case Mapping():
            return f"{{{', '.join(f'{key_text((str(key),))} = {_value(each)}' for key, each in value.items())}}}"
        case _:
            # JSON's escapes are TOML's; a lone surrogate, as of a file name that is not UTF-8, has none in either.
            return json.dumps(str(value).encode("utf-8", "replace").decode(), ensure_ascii=False)
