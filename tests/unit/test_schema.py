"""Strict models: what a value may be, and what is said of one that may not."""

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, SecretStr, TypeAdapter, ValidationError

from collectord import schema, toml
from collectord.errors import Problem
from collectord.schema import Address, FilePath, Name, Network, Port, Refused, Strict, Text


class Left(Strict):
    """One of a union."""

    type: Literal["left"]
    speed: int = 1
    limit_s: Annotated[int, schema.duration("10s", "1h")] = Field(default=60, alias="limit")


class Right(Strict):
    """The other."""

    type: Literal["right"]
    key: SecretStr = SecretStr("")
    weight: Annotated[int, schema.size("1KiB", "1MiB")] = 1024


class Whole(Strict):
    """A file."""

    name: Name
    title: Text = ""
    level: Literal["low", "high"] = "low"
    on: bool = True
    port: Port = 1
    text_of_name: str = Field(default_factory=lambda known: known["name"])
    side: Annotated[tuple[Annotated[Left | Right, Field(discriminator="type")], ...], Field(strict=False)] = ()
    words: Annotated[tuple[str, ...], Field(strict=False, min_length=1, max_length=3)] = ("a",)
    table: dict[str, int] = Field(default_factory=dict)
    left: Left | None = None
    ratio: float = Field(default=0.5, gt=0)


def problems_of(values: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(key, reason, hint) of everything that is wrong."""
    with pytest.raises(ValidationError) as raised:
        Whole.model_validate(values)
    found = schema.problems(
        raised.value, Whole, lambda path, reason, hint: Problem("f", None, toml.key_text(path), reason, hint)
    )
    return [(problem.key, problem.reason, problem.hint) for problem in found]


NAME = {"name": "n"}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, ("name", "is missing", "")),
        (NAME | {"titel": 1}, ("titel", "unknown key", 'did you mean "title"?')),
        (NAME | {"PORT": 1}, ("PORT", "unknown key", 'did you mean "port"?')),
        (NAME | {"title": 5}, ("title", "expected text in quotes, got the number 5", "")),
        (NAME | {"title": "a\x1b[2J"}, ("title", "control characters are not allowed", "")),
        (NAME | {"level": "hihg"}, ("level", 'expected "low" or "high", got "hihg"', 'did you mean "high"?')),
        (NAME | {"level": 1}, ("level", 'expected "low" or "high", got the number 1', "")),
        (NAME | {"on": 1}, ("on", "expected true or false, got the number 1", "")),
        (NAME | {"port": "1"}, ("port", 'expected a whole number, got "1"', "")),
        (NAME | {"port": True}, ("port", "expected a whole number, got true", "")),
        (NAME | {"port": False}, ("port", "expected a whole number, got false", "")),
        (NAME | {"port": 65536}, ("port", "expected at most 65535, got the number 65536", "")),
        (NAME | {"port": -1}, ("port", "expected at least 0, got the number -1", "")),
        (NAME | {"port": 1.5}, ("port", "expected a whole number, got the number 1.5", "")),
        (NAME | {"port": [1, 2]}, ("port", "expected a whole number, got a list of 2", "")),
        (NAME | {"port": {}}, ("port", "expected a whole number, got a table", "")),
        (NAME | {"port": None}, ("port", "expected a whole number, got a NoneType", "")),
        (NAME | {"words": "a"}, ("words", 'expected a list, got "a"', "")),
        (NAME | {"words": []}, ("words", "expected at least 1, got a list of 0", "")),
        (NAME | {"words": ["a"] * 4}, ("words", "expected at most 3, got a list of 4", "")),
        (NAME | {"words": ["a", 2]}, ("words[1]", "expected text in quotes, got the number 2", "")),
        (NAME | {"words": [2]}, ("words[0]", "expected text in quotes, got the number 2", "")),
        (NAME | {"table": 5}, ("table", "expected a table, got the number 5", "")),
        (NAME | {"table": {"a b": "x"}}, ('table."a b"', 'expected a whole number, got "x"', "")),
        (NAME | {"left": 5}, ("left", "expected a table, got the number 5", "")),
        (NAME | {"left": {"type": "left", "speedy": 5}}, ("left.speedy", "unknown key", 'did you mean "speed"?')),
        (NAME | {"side": 5}, ("side", "expected a list, got the number 5", "")),
        (NAME | {"side": [5]}, ("side[0]", "expected a table, got the number 5", "")),
        (NAME | {"side": [{}]}, ("side[0].type", 'is missing, expected one of "left", "right"', "")),
        (
            NAME | {"side": [{"type": "lfet"}]},
            ("side[0].type", 'expected one of "left", "right", got "lfet"', 'did you mean "left"?'),
        ),
        (NAME | {"side": [{"type": "left", "key": "k"}]}, ("side[0].key", "unknown key", 'only for type = "right"')),
        (
            NAME | {"side": [{"type": "left", "words": []}]},
            ("side[0].words", "unknown key", "belongs at the top of the file, above the first [table]"),
        ),
        (
            NAME | {"side": [{"type": "left", "zzz": []}]},
            ("side[0].zzz", "unknown key", "known keys: type, speed, limit"),
        ),
        (NAME | {"side": [{"type": "left", "limit": "5s"}]}, ("side[0].limit", "expected 10s to 1h, got 5s", "")),
        (
            NAME | {"side": [{"type": "right", "weight": "2MiB"}]},
            ("side[0].weight", "expected 1KiB to 1MiB, got 2MiB", ""),
        ),
        (
            NAME | {"side": [{"type": "left", "limit": 5}]},
            (
                "side[0].limit",
                'expected a duration such as "30s", "15m", "1h" or "2d", got a number without a unit',
                "",
            ),
        ),
        (
            NAME | {"side": [{"type": "right", "key": 12345}]},
            ("side[0].key", "expected text in quotes, got a secret", ""),
        ),
        (
            {"name": "a b"},
            ("name", 'expected letters, digits, _ . - (at most 64, a letter or digit first), got "a b"', ""),
        ),
        (NAME | {"level": "x" * 99}, ("level", f'expected "low" or "high", got "{"x" * 60}..."', "")),
        (NAME | {"level": "\x1b[2J"}, ("level", 'expected "low" or "high", got "\\x1b[2J"', "")),
        (NAME | {"ratio": -1.0}, ("ratio", "input should be greater than 0", "")),
    ],
)
def test_problem(values: dict[str, Any], expected: tuple[str, str, str]) -> None:
    """Key, reason and hint of each kind of error; a default that depends on a wrong key is not reported beside it."""
    assert [expected] == problems_of(values)


def test_number_with_too_many_digits_is_not_written_out() -> None:
    """Python refuses to; the report must not fail on it."""
    ((key, reason, _),) = problems_of(NAME | {"title": 1 << 20_000})

    assert ("title", "expected text in quotes, got a number with too many digits") == (key, reason)


def test_everything_at_once() -> None:
    """Each error of a file is reported."""
    values = {"name": 1, "titel": 2, "side": [{"type": "left", "speed": ""}, {"type": "x"}], "on": "yes"}

    assert {"name", "titel", "side[0].speed", "side[1].type", "on"} == {key for key, _, _ in problems_of(values)}


def test_quantities_are_numbers_afterwards() -> None:
    """A duration becomes seconds, a size bytes."""
    whole = Whole.model_validate(
        NAME | {"side": [{"type": "left", "limit": "15m"}, {"type": "right", "weight": "2KiB"}]}
    )
    left, right = whole.side

    assert isinstance(left, Left)
    assert isinstance(right, Right)
    assert (900, 2048) == (left.limit_s, right.weight)


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (Address, "2001:DB8:0::1", "2001:db8::1"),
        (Address, "0.0.0.0", "0.0.0.0"),
        (Network, "192.0.2.0/24", "192.0.2.0/24"),
        (Network, "2001:db8::/32", "2001:db8::/32"),
        (Network, "192.0.2.1", "192.0.2.1/32"),
        (FilePath, "a/b", Path("/etc/x/a/b")),
        (FilePath, "/a", Path("/a")),
        (FilePath, Path("a"), Path("a")),
    ],
)
def test_accepted(kind: Any, value: object, expected: object) -> None:
    """Addresses in one spelling; paths relative to the folder in the context."""
    assert expected == TypeAdapter(kind).validate_python(value, strict=True, context={"folder": Path("/etc/x")})


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        (Address, "host", 'expected an IP address, got "host"'),
        (Address, 1, "valid string"),
        (Network, "host", 'expected a network such as "10.0.0.0/8", got "host"'),
        (Network, "192.0.2.1/24", "has address bits behind its prefix"),
        (Network, 1, "valid string"),
        (FilePath, "", "expected a path, got an empty text"),
        (FilePath, "~/x", '"~" has no meaning here'),
        (FilePath, "a\0", "control characters"),
        (FilePath, 5, "expected a path in quotes, got the number 5"),
    ],
)
def test_refused(kind: Any, value: object, reason: str) -> None:
    """What is no address, network or path."""
    with pytest.raises(ValidationError, match=reason.replace("(", r"\(")):
        TypeAdapter(kind).validate_python(value, strict=True)


def test_refused_has_a_hint() -> None:
    """A validator says what to do."""
    assert ("no", "write yes") == (str(Refused("no", "write yes")), Refused("no", "write yes").hint)
