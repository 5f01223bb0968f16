"""
TOML files with the line of every key: one loader and one key-to-line scanner for configuration, profiles and rules.

tomli reads the values but gives positions only for syntax errors. What an administrator got wrong beyond syntax (an
unknown key, a number out of range) is found later, from the values; the scanner tells on which line that key stands.

A key is named by its path. As text that is ``listener[1].port``; lists count from 0, and a part that is not a bare
TOML key stands in quotes: ``map[0].to."*"``.
"""

import functools
import json
import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli

from collectord.errors import ConfigError, Problem

MAX_FILE_BYTES = 4 * 1024 * 1024
"""Far above any file that people write (the shipped ones are below 64 KiB); keeps a wrong path from filling memory."""

MAX_DEPTH = 64
"""Most parts of one key's path; whoever walks the values may use recursion."""

KeyPath = tuple[str | int, ...]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BLANK = re.compile(r"(?:[ \t\r\n]++|#[^\n]*+)*+")
_SPACE = re.compile(r"[ \t]*+")
_KEY = re.compile(r'"(?:[^"\\\n]++|\\.)*+"|\'[^\'\n]*+\'|[A-Za-z0-9_-]++')
_HEADER_END = re.compile(r"[ \t]*+\]\]?")
_EQUALS = re.compile(r"[ \t]*+=")
# Multi-line forms first: an opening """ would else be read as an empty string. Up to two quotes may touch the end.
_STRING = re.compile(
    r'"""(?:[^"\\]++|\\.|"{1,2}(?!"))*+"{3,5}'
    r"|'''(?:[^']++|'{1,2}(?!'))*+'{3,5}"
    r'|"(?:[^"\\\n]++|\\.)*+"'
    r"|'[^'\n]*+'",
    re.DOTALL,
)
_SCALAR = re.compile(r"[^,\]}#\n]++")
_PATH_PART = re.compile(r'\[(?P<index>[0-9]+)\]|\.?(?:"(?P<quoted>(?:[^"\\]++|\\.)*+)"|(?P<plain>[^.\[]++))')


@dataclass(frozen=True, slots=True)
class Document:
    """The contents of one TOML file."""

    file: str
    """The file's name as the administrator gave it, for reports."""
    values: dict[str, Any]
    text: str = field(repr=False, default="")

    @property
    def lines(self) -> dict[KeyPath, int]:
        """Line (from 1) of every table, key and list element."""
        return _lines(self.text)

    def line(self, key: str | KeyPath) -> int | None:
        """Line, from 1, of a key that stands in the file; None for any other."""
        return self.lines.get(parse_key(key) if isinstance(key, str) else key)

    def nearest_line(self, key: str | KeyPath) -> int | None:
        """As ``line``; for a key that is not in the file (a missing one) the line of the table it belongs in."""
        path = parse_key(key) if isinstance(key, str) else key
        for length in range(len(path), 0, -1):
            if (line := self.lines.get(path[:length])) is not None:
                return line
        return None

    def problem(self, key: str | KeyPath, reason: str, hint: str = "") -> Problem:
        """A Problem at a key of this file."""
        text = key if isinstance(key, str) else key_text(key)
        return Problem(file=self.file, line=self.nearest_line(key), key=text, reason=reason, hint=hint)


def load(path: Path) -> Document:
    """
    Read a TOML file (UTF-8, at most 4 MiB).

    Raises:
        ConfigError: the file can't be read, is too large, not UTF-8 or not TOML; with the line where there is one.
    """
    file = str(path)
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path.
        raise _refused(file, None, f"can't be read: {_os_reason(error)}") from error
    if len(content) > MAX_FILE_BYTES:
        raise _refused(file, None, f"is larger than {MAX_FILE_BYTES // 1024 // 1024} MiB")
    try:
        text = content.decode("utf-8-sig")  # Editors on Windows write a byte order mark.
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        reason = f"byte 0x{content[error.start]:02x} is not UTF-8"
        raise _refused(file, line, reason, "save the file as UTF-8") from error
    return parse(text, file)


def parse(text: str, file: str) -> Document:
    """
    Read TOML text; ``file`` names it in reports.

    Raises:
        ConfigError: with line and reason.
    """
    text = text.replace("\r\n", "\n")
    try:
        values = tomli.loads(text)
        is_too_deep = _depth(values) > MAX_DEPTH
    except tomli.TOMLDecodeError as error:
        reason = f"{error.msg[:1].lower()}{error.msg[1:]}, at column {error.colno}"
        raise _refused(file, error.lineno, reason, _syntax_hint(text, error.pos, error.msg)) from error
    except RecursionError as error:
        raise _too_deep(file) from error
    except ValueError as error:  # What Python's int refuses beyond TOML: more than 4,300 digits.
        raise _refused(file, None, "holds a number that is too long") from error
    if is_too_deep:
        raise _too_deep(file)
    return Document(file=file, values=values, text=text)


def _too_deep(file: str) -> ConfigError:
    return _refused(file, None, f"tables and lists are nested more than {MAX_DEPTH} deep")


def _depth(value: dict[str, Any] | list[Any]) -> int:
    """How many keys and indices lead to the innermost value."""
    inside = value.values() if isinstance(value, dict) else value
    return 1 + max((_depth(each) for each in inside if isinstance(each, dict | list)), default=0)


@functools.lru_cache(maxsize=64)
def _lines(text: str) -> dict[KeyPath, int]:
    """Looked for only where something is wrong: it takes ten times as long as reading the file."""
    return _Scanner(text).scan()


def key_text(path: Sequence[str | int]) -> str:
    """The text of a key's path, as ``listener[1].port``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            name = part if _BARE_KEY.fullmatch(part) else json.dumps(part, ensure_ascii=False)
            text += f".{name}" if text else name
    return text


def parse_key(text: str) -> KeyPath:
    """The path that ``key_text`` wrote; parts that are not bare keys are understood without quotes, too."""
    parts: list[str | int] = []
    for match in _PATH_PART.finditer(text):
        if (index := match["index"]) is not None:
            parts.append(int(index))
        elif (quoted := match["quoted"]) is not None:
            parts.append(_unescaped(quoted))
        else:
            parts.append(match["plain"])
    return tuple(parts)


def _unescaped(quoted: str) -> str:
    try:
        return str(json.loads(f'"{quoted}"', strict=False))
    except ValueError:
        return quoted


class _LostError(Exception):
    """The scanner does not understand what tomli did; the rest of the file goes without line numbers."""


class _Scanner:
    """Walks TOML text that tomli has accepted, and notes where each key stands. Values are skipped, not read."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._newlines = [match.start() for match in re.finditer("\n", text)]
        self._lines: dict[KeyPath, int] = {}
        self._elements: dict[KeyPath, int] = {}
        """Number of elements so far of each array of tables."""

    def scan(self) -> dict[KeyPath, int]:
        """Line, from 1, of every key."""
        try:
            self._statements()
        except _LostError:
            pass
        return self._lines

    def _statements(self) -> None:
        table: KeyPath = ()
        while True:
            self._take(_BLANK)
            if self._position == len(self._text):
                return
            line = self._line()
            if self._skip("[["):
                *above, name = self._key()
                array = self._in_current_elements(above)
                array = (*array, name)
                number = self._elements.get(array, 0)
                self._elements[array] = number + 1
                table = (*array, number)
            elif self._skip("["):
                table = self._in_current_elements(self._key())
            else:
                self._assignment(table)
                continue
            self._take(_HEADER_END)
            self._note(table, line)

    def _in_current_elements(self, names: Sequence[str]) -> KeyPath:
        """A header's path: below an array of tables, its latest element is meant (TOML 1.0, "Array of Tables")."""
        path: KeyPath = ()
        for name in names:
            path = (*path, name)
            if path in self._elements:
                path = (*path, self._elements[path] - 1)
        return path

    def _assignment(self, table: KeyPath) -> None:
        line = self._line()
        path = (*table, *self._key())
        self._note(path, line, since=len(table))
        self._take(_EQUALS)
        self._take(_SPACE)
        self._value(path)

    def _key(self) -> list[str]:
        names = []
        while True:
            self._take(_SPACE)
            token = self._take(_KEY)
            if token[0] == '"':
                # tomli knows the escapes best.
                names.append(str(tomli.loads(f"key = {token}")["key"]) if "\\" in token else token[1:-1])
            else:
                names.append(token.strip("'"))
            self._take(_SPACE)
            if not self._skip("."):
                return names

    def _value(self, path: KeyPath) -> None:
        if self._skip("["):
            number = 0
            while not self._at_end_of("]"):
                self._note((*path, number), self._line())
                self._value((*path, number))
                number += 1
        elif self._skip("{"):
            while not self._at_end_of("}"):
                self._assignment(path)
        elif self._text.startswith(('"', "'"), self._position):
            self._take(_STRING)
        else:
            self._take(_SCALAR)

    def _at_end_of(self, bracket: str) -> bool:
        """Skip what stands between two elements; whether the closing bracket was next."""
        self._take(_BLANK)
        if self._skip(","):
            self._take(_BLANK)
        return self._skip(bracket)

    def _note(self, path: KeyPath, line: int, since: int = 0) -> None:
        self._lines[path] = line
        # Tables that exist only by being named on the way: the first mention counts.
        for length in range(since + 1, len(path)):
            self._lines.setdefault(path[:length], line)

    def _line(self) -> int:
        return bisect_left(self._newlines, self._position) + 1

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._position)
        if match is None:
            raise _LostError
        self._position = match.end()
        return match[0]

    def _skip(self, literal: str) -> bool:
        found = self._text.startswith(literal, self._position)
        if found:
            self._position += len(literal)
        return found


def _refused(file: str, line: int | None, reason: str, hint: str = "") -> ConfigError:
    return ConfigError([Problem(file=file, line=line, key="", reason=reason, hint=hint)])


def _os_reason(error: OSError | ValueError) -> str:
    text = (error.strerror or "") if isinstance(error, OSError) else str(error)
    return text[:1].lower() + text[1:]


_SLIPS = (
    ("Illegal character '\\n'", "a quote is missing at the end of the line"),
    ("Cannot declare", "a table that may stand more than once has double brackets, as [[output]]"),
    ("Cannot overwrite", "the key stands there twice"),
)
"""Starts of tomli's messages, and what people new to TOML did then."""


def _syntax_hint(text: str, position: int, message: str) -> str:
    """Of the commonest slips; the first of all is text without quotes."""
    for start, hint in _SLIPS:
        if message.startswith(start):
            return hint
    line = text[text.rfind("\n", 0, position) + 1 :].partition("\n")[0]
    _, equals, value = line.partition("=")
    unquoted = equals and value.strip()[:1].isalnum()
    return 'text stands in quotes: key = "value"' if unquoted else ""
