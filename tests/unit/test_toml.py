"""TOML files: what is read, where each key stands, and what is said of a broken file."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectord import toml
from collectord.errors import ConfigError, Problem

EVERY_FORM = '''\
# A comment with [a.header] and key = "value".
title = "x"  # [not.this]

[[listener]]
name = "a"
port = 514

[[listener]]
name = "b"
"odd key" = 1
'literal.key' = 2
"esc\\u0041ped" = 3

  [listener.tls]   # Belongs to the second listener.
  cert = 'c:\\new'

[[listener.allow]]
net = "192.0.2.0/24"
[[listener.allow]]
net = "198.51.100.0/24"

[a.b.c]
d.e = 1
d . f = 2
[a]
"g" = { h = 1, i.j = [ { k = "}" }, {k = 2} ] }
text = """
[not.a.header]
x = 1 \\""" still text
"quotes" at the end"""""
raw = \'\'\'
it's 'raw' \\\'\'\'
list = [
  # A comment, with ] and ,
  1, "two ]",

  [3, 4],
  { five = 5 },
]
when = 1979-05-27 07:32:00
empty = []
none = ""
also_none = \'\'
last = true
'''


def reason_of(raised: pytest.ExceptionInfo[ConfigError]) -> Problem:
    """The only problem of an error."""
    (problem,) = raised.value.problems
    return problem


def refused(text: str) -> Problem:
    """What is said of broken text."""
    with pytest.raises(ConfigError) as raised:
        toml.parse(text, "f.toml")
    return reason_of(raised)


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("title", 2),
        ("listener", 4),
        ("listener[0]", 4),
        ("listener[0].name", 5),
        ("listener[0].port", 6),
        ("listener[1]", 8),
        ("listener[1].name", 9),
        ('listener[1]."odd key"', 10),
        ('listener[1]."literal.key"', 11),
        ("listener[1].escAped", 12),
        ("listener[1].tls", 14),
        ("listener[1].tls.cert", 15),
        ("listener[1].allow", 17),
        ("listener[1].allow[0].net", 18),
        ("listener[1].allow[1]", 19),
        ("listener[1].allow[1].net", 20),
        ("a.b", 22),
        ("a.b.c", 22),
        ("a.b.c.d", 23),
        ("a.b.c.d.e", 23),
        ("a.b.c.d.f", 24),
        ("a", 25),
        ("a.g", 26),
        ("a.g.h", 26),
        ("a.g.i", 26),
        ("a.g.i.j", 26),
        ("a.g.i.j[0].k", 26),
        ("a.g.i.j[1].k", 26),
        ("a.text", 27),
        ("a.raw", 31),
        ("a.list", 33),
        ("a.list[0]", 35),
        ("a.list[1]", 35),
        ("a.list[2]", 37),
        ("a.list[2][1]", 37),
        ("a.list[3].five", 38),
        ("a.when", 40),
        ("a.empty", 41),
        ("a.none", 42),
        ("a.also_none", 43),
        ("a.last", 44),
    ],
)
def test_line_of_key(key: str, line: int) -> None:
    """Every way to write a key has its line; brackets and quotes inside values do not mislead."""
    document = toml.parse(EVERY_FORM, "f.toml")

    assert line == document.line(key)
    assert line == document.line(toml.parse_key(key))


def test_only_keys_that_stand_in_the_file_have_a_line() -> None:
    """Text that looks like a key inside a value or a comment is none, and every value has one."""
    document = toml.parse(EVERY_FORM, "f.toml")

    assert paths_of(document.values) == set(document.lines)
    assert document.line("not.a.header") is None
    assert document.line("listener[2]") is None
    assert document.line("") is None


def test_lines_are_the_same_with_windows_line_ends() -> None:
    """CRLF counts as one line end."""
    assert toml.parse(EVERY_FORM, "f").lines == toml.parse(EVERY_FORM.replace("\n", "\r\n"), "f").lines


def test_array_inside_array_of_tables() -> None:
    """A sub-array of tables starts anew with each element of the outer one."""
    document = toml.parse("[[m]]\n[[m.map]]\na=1\n[[m]]\n[[m.map]]\na=2\n[[m.map]]\na=3\n", "f")

    assert (3, 6, 8) == tuple(document.line(key) for key in ("m[0].map[0].a", "m[1].map[0].a", "m[1].map[1].a"))


def test_problem_of_a_missing_key_is_at_its_table() -> None:
    """What is not in the file is reported where it belongs."""
    document = toml.parse("[a]\nx = 1\n[[b]]\n[[b]]\n", "f.toml")

    assert Problem("f.toml", 4, "b[1].name", "is missing") == document.problem("b[1].name", "is missing")
    assert Problem("f.toml", 1, "a.y", "is missing", "h") == document.problem(("a", "y"), "is missing", "h")
    assert Problem("f.toml", None, "c", "is missing") == document.problem("c", "is missing")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (("listener", 1, "port"), "listener[1].port"),
        (("map", 0, "to", "*"), 'map[0].to."*"'),
        (("a.b", 'say "x"', ""), '"a.b"."say \\"x\\"".""'),
        ((0, 1), "[0][1]"),
        ((), ""),
    ],
)
def test_key_text(path: toml.KeyPath, text: str) -> None:
    """A path and its text are two forms of the same."""
    assert text == toml.key_text(path)
    assert path == toml.parse_key(text)


@pytest.mark.parametrize(
    ("text", "path"),
    [("map[0].to.*", ("map", 0, "to", "*")), (r'a."\q"', ("a", r"\q")), ('"open', ('"open',)), ("a b", ("a b",))],
)
def test_parse_key_is_lenient(text: str, path: toml.KeyPath) -> None:
    """Paths that others made need no quotes, and never raise."""
    assert path == toml.parse_key(text)


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_key_text_and_back(names: list[str]) -> None:
    """parse_key(key_text(x)) = x, whatever the keys are."""
    assert tuple(names) == toml.parse_key(toml.key_text(names))


@given(st.text())
def test_parse_key_never_raises(text: str) -> None:
    """Any text is some path."""
    assert all(isinstance(part, str | int) for part in toml.parse_key(text))


SCALARS = st.one_of(
    st.integers(-(2**63), 2**63 - 1), st.booleans(), st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
)
KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=12
)


@given(st.dictionaries(KEYS, VALUES, max_size=4), st.booleans())
def test_every_key_has_a_line(values: dict[str, Any], spread: bool) -> None:
    """Whatever is written, every key and element of it has a line, and nothing else has."""
    lines: list[str] = []
    written(values, lines, spread)
    document = toml.parse("\n".join(lines), "f")

    assert values == document.values
    assert paths_of(values) == set(document.lines)
    assert all(1 <= line <= len(lines) for line in document.lines.values())


@given(st.text("[]{}=.,\"'#\\\nab1 \r", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Accepted with a line for each key, or ConfigError; nothing else."""
    try:
        document = toml.parse(text, "f")
    except ConfigError:
        return

    assert paths_of(document.values) == set(document.lines)


def test_scanner_stops_where_it_understands_nothing() -> None:
    """Lines up to there are kept; a file never goes without its values for want of lines."""
    assert {("a",): 1} == toml._Scanner("a = 1\n= 2\nb = 3\n").scan()


@pytest.mark.parametrize(
    ("text", "line", "reason", "hint"),
    [
        ("a = 1\nb = abc\n", 2, "invalid value, at column 5", 'text stands in quotes: key = "value"'),
        ("a = 192.0.2.1\n", 1, "expected newline or end of document after a statement, at column 10", "text stands"),
        ("a = 1\na = 2\n", 2, "cannot overwrite a value, at column 6", "the key stands there twice"),
        ("[a]\n\n[a]\n", 3, "cannot declare ('a',) twice", "double brackets"),
        ('a = "x\nb = 1\n', 1, "illegal character", "a quote is missing"),
        ('a = """\nx\n', 3, "", ""),
        ("a = 1\r", 1, "expected newline", ""),
    ],
)
def test_syntax_error(text: str, line: int, reason: str, hint: str) -> None:
    """Line, column and reason, and a hint for the commonest slip."""
    problem = refused(text)

    assert (line, "f.toml", "") == (problem.line, problem.file, problem.key)
    assert problem.reason.startswith(reason)
    assert hint in problem.hint


@pytest.mark.parametrize(
    "text", ["a = " + "[" * 2000 + "]" * 2000, "a" + ".a" * 64 + " = 1", f"[{'.'.join('a' * 65)}]"]
)
def test_nested_too_deep(text: str) -> None:
    """Depth is bounded, however it is written."""
    assert "tables and lists are nested more than 64 deep" == refused(text).reason


def test_number_too_long() -> None:
    """Python's limit on digits is an error of the file, not of the program."""
    assert "holds a number that is too long" == refused(f"a = {'9' * 5000}").reason


def test_load(tmp_path: Path) -> None:
    """A file is read as UTF-8; a byte order mark is no part of it."""
    path = tmp_path / "f.toml"
    path.write_bytes(b"\xef\xbb\xbfa = '\xc3\xa9'\n")
    document = toml.load(path)

    assert ({"a": "é"}, str(path), 1) == (document.values, document.file, document.line("a"))


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        (b"a = 1\nb = '\xe9'\n", 2, "byte 0xe9 is not UTF-8"),
        (b"#" * (toml.MAX_FILE_BYTES + 1), None, "is larger than 4 MiB"),
    ],
)
def test_load_refuses(tmp_path: Path, content: bytes, line: int | None, reason: str) -> None:
    """What is no text, or far too much of it."""
    path = tmp_path / "f.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as raised:
        toml.load(path)

    assert (str(path), line, reason) == (reason_of(raised).file, reason_of(raised).line, reason_of(raised).reason)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("absent", "no such file or directory"), (".", "is a directory"), ("a\0b", "embedded null byte")],
)
def test_load_of_what_cannot_be_read(tmp_path: Path, name: str, reason: str) -> None:
    """The system's reason is passed on."""
    with pytest.raises(ConfigError) as raised:
        toml.load(tmp_path / name)

    assert f"can't be read: {reason}" == reason_of(raised).reason


def paths_of(value: object, path: toml.KeyPath = ()) -> set[toml.KeyPath]:
    """Every key path in a value, but for the top."""
    parts: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        parts = list(value.items())
    elif isinstance(value, list):
        parts = list(enumerate(value))
    return {path for path in (path,) if path}.union(*(paths_of(each, (*path, part)) for part, each in parts))


def written(table: dict[str, Any], lines: list[str], spread: bool, path: toml.KeyPath = ()) -> None:
    """TOML lines of a table; ``spread``: with headers where TOML allows, else all inline."""
    below = [(key, value) for key, value in table.items() if spread and isinstance(value, dict)]
    lines.extend(f"{name(key)} = {inline(value)}" for key, value in table.items() if (key, value) not in below)
    for key, value in below:
        lines.append(f"[{'.'.join(name(str(part)) for part in (*path, key))}]")
        written(value, lines, spread, (*path, key))


def name(key: str) -> str:
    """A quoted key."""
    return json.dumps(key).replace("\x7f", "\\u007f") if key.isascii() else unicode_text(key)


def inline(value: object) -> str:
    """A value on one line."""
    match value:
        case dict():
            return "{" + ", ".join(f"{name(key)} = {inline(each)}" for key, each in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(inline, value)) + "]"
        case str():
            return unicode_text(value)
        case _:
            return json.dumps(value)


def unicode_text(text: str) -> str:
    """A basic string with everything but plain letters escaped."""
    return '"' + "".join(each if each.isascii() and each.isalnum() else f"\\U{ord(each):08x}" for each in text) + '"'
