"""
Titles and summaries of alerts: one line each, safe to print.

Values come from the wire, and a rule's title may come from anybody's file: so no ``str.format`` (which follows
attributes and indexes), control characters are escaped, and every length is bounded.
"""

import string
from collections.abc import Iterator, Mapping, Sequence

from collectord.model import KeyValue

MAX_VALUE_CHARACTERS = 80
MAX_TITLE_CHARACTERS = 255
MAX_SUMMARY_CHARACTERS = 255
"""A DisplayString (RFC 2579), and what pagers show at most."""


def placeholders(title: str) -> tuple[str, ...]:
    """
    The names in braces, in order.

    Raises:
        ValueError: a brace that is none of a placeholder's.
    """
    return tuple(name for _, name in _parts(title) if name)


def fill(title: str, values: Mapping[str, KeyValue]) -> str:
    """A title (of which :func:`placeholders` approves) with its placeholders replaced; one without a value stays."""
    filled = []
    for literal, name in _parts(title):
        filled.append(literal)
        if name:
            filled.append(printable(values[name]) if name in values else f"{{{name}}}")
    return shortened("".join(filled), MAX_TITLE_CHARACTERS)


def printable(value: KeyValue, most_characters: int = MAX_VALUE_CHARACTERS) -> str:
    """A value on one line: what can't be printed is escaped (``\\x0a``, ``\\u202e``), the rest cut off."""
    # Cut first: escaping is linear, and there may be a lot.
    text = str(value)[: most_characters + 1]
    return shortened("".join(c if c.isprintable() else _escaped(c) for c in text), most_characters)


def shortened(text: str, most_characters: int) -> str:
    """The text, or its beginning and three dots."""
    return text if len(text) <= most_characters else f"{text[: most_characters - 3]}..."


def span(seconds: int) -> str:
    """A duration for people: ``5 min``, ``90 s``, ``1 h``, ``2 d``."""
    for unit, factor in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds and seconds % factor == 0:
            return f"{seconds // factor} {unit}"
    return f"{seconds} s"


def summary(who: str, what: str, alert_id: str, more: Sequence[str] = ()) -> str:
    """
    One line for the person on call.

    Args:
        who: The subject, safe to print.
        what: What is told of it.
        alert_id: The end names the command that shows more; it is never cut off.
        more: What else there is to tell; each is there whole, or it and what follows it is not.
    """
    command = f"; collectord alerts show {alert_id}"
    room = MAX_SUMMARY_CHARACTERS - len(command)
    line = shortened(f"{who}: {what}", room)
    for each in more:
        if len(line) + len(each) + 2 > room:
            break
        line = f"{line}, {each}"
    return line + command


def _parts(title: str) -> Iterator[tuple[str, str]]:
    """(text, name of the placeholder behind it or empty); a literal brace is written twice."""
    expected = "expected only placeholders such as {SrcIpAddr} in braces"
    try:
        parts = list(string.Formatter().parse(title))
    except ValueError as error:
        raise ValueError(expected) from error
    for literal, name, specification, conversion in parts:
        if name is not None and (specification or conversion or not (name.isascii() and name.isalnum())):
            raise ValueError(expected)
        yield literal, name or ""


def _escaped(character: str) -> str:
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
