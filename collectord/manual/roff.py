"""
The few roff requests that a manual page needs.

Source: groff_man(7), groff_man_style(7); what a line may not begin with and which characters are not themselves:
"Portability" there.
"""

from collections.abc import Iterable, Iterator

_LITERAL = {"\\": "\\e", "-": "\\-", "'": "\\(aq", "`": "\\(ga", "^": "\\(ha", "~": "\\(ti", '"': "\\(dq"}


def literal(text: str) -> str:
    """Text that is typed or shown as it is: every character is itself."""
    return _guarded("".join(_LITERAL.get(character, character) for character in text))


def prose(text: str) -> str:
    """Words for people: a hyphen may be a hyphen."""
    return _guarded("".join(_LITERAL.get(c, c) if c not in "-'" else c for c in text))


def _guarded(text: str) -> str:
    return f"\\&{text}" if text[:1] in (".", "'") else text


def title(name: str, section: int, date: str, source: str) -> str:
    """The head of the page."""
    return f'.TH {name} {section} "{date}" "{source}"'


def heading(text: str, *, below: bool = False) -> str:
    """Of a section, or of one below it."""
    return f".{'SS' if below else 'SH'} {literal(text)}"


def paragraph(text: str) -> Iterator[str]:
    """Words, wrapped by the reader's terminal."""
    yield ".PP"
    yield prose(" ".join(text.split()))


def example(lines: Iterable[str]) -> Iterator[str]:
    """Lines that stay as they are."""
    yield ".PP"
    yield ".RS 4"
    yield ".EX"
    for line in lines:
        yield literal(line) or "\\&"
    yield ".EE"
    yield ".RE"


def item(head: str, words: Iterable[str]) -> Iterator[str]:
    """A term and its explanation, a paragraph for each text."""
    yield ".TP"
    yield f"\\fB{literal(head)}\\fR"
    first = True
    for text in words:
        if not first:
            yield ".IP"
        yield prose(" ".join(text.split()))
        first = False
    if first:
        yield "\\&"
