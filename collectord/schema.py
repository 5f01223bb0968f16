"""
Strict models for what an administrator writes, and their errors in an administrator's words.

pydantic says what is wrong with a value; here that becomes a Problem with the key as it stands in the file, what was
expected, what was found, and the nearest name where a word is unknown.
"""

import difflib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    ValidationError,
    ValidationInfo,
)
from pydantic_core import ErrorDetails

from collectord.errors import Problem
from collectord.quantity import duration_s, size_bytes
from collectord.toml import KeyPath

SHOWN_BYTES = 60
"""Most of a wrong value that a report repeats."""


class Strict(BaseModel):
    """Base of all models: frozen, no conversions, no unknown keys. Keys are the aliases where there are any."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)


class Refused(ValueError):
    """A validator's refusal with a hint."""

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Range:
    """A validator of quantities: reads the text and holds it against two others, both allowed."""

    quantity: Callable[[object], int]
    lowest: str
    highest: str

    def __call__(self, value: object) -> int:
        """The quantity as a number."""
        number = self.quantity(value)
        if not self.quantity(self.lowest) <= number <= self.quantity(self.highest):
            raise Refused(f"expected {self.lowest} to {self.highest}, got {value}")
        return number


def duration(lowest: str, highest: str) -> BeforeValidator:
    """Marks an int as seconds, written as a duration within these two (both included)."""
    return BeforeValidator(Range(duration_s, lowest, highest))


def size(lowest: str, highest: str) -> BeforeValidator:
    """Marks an int as bytes, written as a size within these two (both included)."""
    return BeforeValidator(Range(size_bytes, lowest, highest))


def _printable(value: object) -> object:
    if isinstance(value, str) and not value.isprintable():
        raise Refused("control characters are not allowed")
    return value


def _host(name: str) -> str:
    if not name or len(name) > 253 or any(character.isspace() for character in name):
        raise Refused("expected a host name or an IP address")
    return name


def _address(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return str(ip_address(value))
    except ValueError as error:
        raise Refused(f"expected an IP address, got {_quoted(value)}") from error


def _network(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        network = ip_network(value, strict=False)
    except ValueError as error:
        raise Refused(f'expected a network such as "10.0.0.0/8", got {_quoted(value)}') from error
    if ip_address(value.partition("/")[0]) != network.network_address:
        raise Refused(f"{_quoted(value)} has address bits behind its prefix", f'write "{network}"')
    return str(network)


def _path(value: object, info: ValidationInfo) -> object:
    """A path is relative to the folder in the validation context (the configuration file's)."""
    if isinstance(value, Path):
        return value
    if not isinstance(value, str):
        raise Refused(f"expected a path in quotes, got {_shown(value)}")
    _printable(value)
    if not value:
        raise Refused("expected a path, got an empty text")
    if value.startswith("~"):
        raise Refused(f'"~" has no meaning here, got {_quoted(value)}', "write the whole path")
    folder: Path = (info.context or {}).get("folder", Path())
    return folder / value


Text = Annotated[str, BeforeValidator(_printable)]
Host = Annotated[Text, AfterValidator(_host)]
"""A host name or an address."""
# Names become labels of metrics and words in commands.
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
Address = Annotated[str, BeforeValidator(_address)]
Network = Annotated[str, BeforeValidator(_network)]
FilePath = Annotated[Path, BeforeValidator(_path)]
Port = Annotated[int, Field(ge=0, le=65535)]
"""0 means any free port."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in the models an error's location leads."""

    path: KeyPath
    """The location without the tags that pydantic adds for unions."""
    models: tuple[type[BaseModel], ...]
    siblings: tuple[type[BaseModel], ...]
    """Every model of the union that ``models`` was chosen from."""
    secret: bool


def problems(
    error: ValidationError, model: type[BaseModel], problem: Callable[[KeyPath, str, str], Problem]
) -> list[Problem]:
    """
    Every error of a validation in an administrator's words.

    Args:
        error: What ``model``'s validation raised.
        model: The model of the whole file.
        problem: Makes a Problem of key path, reason and hint; knows file and line.
    """
    found = []
    for detail in error.errors(include_url=False):
        if _follows_from_others(detail):
            continue
        place = _place(model, detail["loc"])
        if detail["type"] in ("union_tag_invalid", "union_tag_not_found"):
            place = _place(model, (*detail["loc"], "type"))
        found.append(problem(place.path, *_reason(model, place, detail)))
    return found


def _follows_from_others(detail: ErrorDetails) -> bool:
    """Whether the cause is another error, which is in the report: a wrong key's dependants, a list without it."""
    return detail["type"] == "default_factory_not_called" or (
        detail["type"] == "too_short" and len(detail["input"]) >= detail["ctx"]["min_length"]
    )


def nearest(word: str, known: Sequence[str]) -> str:
    """Hint that names the known word next to ``word``; empty if none is near."""
    lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), lower, n=1)
    return f'did you mean "{lower[near[0]]}"?' if near else ""


def _place(model: type[BaseModel], location: Sequence[int | str]) -> _Place:
    path: list[str | int] = []
    models: tuple[type[BaseModel], ...] = (model,)
    siblings = models
    secret = False
    for part in location:
        if isinstance(part, int):
            path.append(part)
            continue
        tagged = tuple(each for each in models if _tag(each) == part) if len(models) > 1 else ()
        if tagged:
            siblings, models = models, tagged
            continue
        path.append(part)
        leaves = [leaf for each in models for leaf in _leaves(_fields(each).get(part))]
        secret = SecretStr in leaves
        below = tuple(leaf for leaf in leaves if isinstance(leaf, type) and issubclass(leaf, BaseModel))
        # The models stay with the last part, because an unknown key is looked up among its neighbours.
        if below:
            models = siblings = below
    return _Place(tuple(path), models, siblings, secret)


def _tag(model: type[BaseModel]) -> str | None:
    field = model.model_fields.get("type")
    return next(iter(get_args(field.annotation)), None) if field else None


def _fields(model: type[BaseModel]) -> dict[str, Any]:
    """Annotation by key."""
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}


def _leaves(annotation: Any) -> Iterator[Any]:
    arguments = get_args(annotation)
    if not arguments:
        yield annotation
    for argument in arguments:
        yield from _leaves(argument)


def _reason(model: type[BaseModel], place: _Place, detail: ErrorDetails) -> tuple[str, str]:
    """Reason and hint of one error."""
    value, context = detail["input"], detail.get("ctx", {})
    got = "a secret" if place.secret else _shown(value)
    match detail["type"]:
        case "extra_forbidden":
            return "unknown key", _hint_for_key(model, place)
        case "missing":
            return "is missing", ""
        case "union_tag_not_found":
            return f"is missing, expected one of {_tags(place)}", ""
        case "union_tag_invalid":
            word = str(context["tag"])
            return f"expected one of {_tags(place)}, got {_quoted(word)}", nearest(word, _tag_names(place))
        case "literal_error" | "enum":
            expected = str(context["expected"]).replace("'", '"')
            words = [word.strip('" ') for word in expected.replace(" or ", ",").split(",")]
            return f"expected {expected}, got {got}", nearest(value, words) if isinstance(value, str) else ""
        case "greater_than_equal":
            return f"expected at least {context['ge']}, got {got}", ""
        case "less_than_equal":
            return f"expected at most {context['le']}, got {got}", ""
        case "string_pattern_mismatch":
            return f"expected letters, digits, _ . - (at most 64, a letter or digit first), got {got}", ""
        case "too_short" | "string_too_short" | "too_long":
            bound = "at most" if "max_length" in context else "at least"
            return f"expected {bound} {context.get('max_length', context.get('min_length'))}, got {got}", ""
        case "value_error":
            cause = context["error"]
            return str(cause), getattr(cause, "hint", "")
        case kind if kind in _EXPECTED:
            return f"expected {_EXPECTED[kind]}, got {got}", ""
    # Whatever else pydantic says, in the form of our own messages.
    text = detail["msg"].rstrip(".")
    return text[:1].lower() + text[1:], ""


_EXPECTED = {
    "string_type": "text in quotes",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
}


def _hint_for_key(model: type[BaseModel], place: _Place) -> str:
    key = str(place.path[-1])
    known = [name for each in place.models for name in _fields(each)]
    owners = [f'"{_tag(each)}"' for each in place.siblings if key in _fields(each)]
    if owners:
        return f"only for type = {' or '.join(owners)}"
    if near := nearest(key, known):
        return near
    if len(place.path) > 1 and key in _fields(model):
        return "belongs at the top of the file, above the first [table]"
    return f"known keys: {', '.join(known)}"


def _tag_names(place: _Place) -> list[str]:
    return [str(_tag(each)) for each in place.siblings]


def _tags(place: _Place) -> str:
    return ", ".join(f'"{name}"' for name in _tag_names(place))


def _quoted(text: str) -> str:
    shown = text if len(text) <= SHOWN_BYTES else f"{text[:SHOWN_BYTES]}..."
    return f'"{shown.encode("unicode_escape").decode() if not shown.isprintable() else shown}"'


def _shown(value: object) -> str:
    """A value as the administrator wrote it, or what it is."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() if abs(value) > 10**18:  # Python refuses to write out numbers of over 4,300 digits.
            return "a number with too many digits"
        case int() | float():
            return f"the number {value}"
        case str():
            return _quoted(value)
        case dict():
            return "a table"
        case list() | tuple():
            return f"a list of {len(value)}"
        case _:
            return f"a {type(value).__name__}"
