"""Texts of others, for people to read."""

SHOWN_CHARACTERS = 1000
"""Most of one value that is written."""


def line(text: str) -> str:
    """``text`` on one line: each character that does not print (control, line separator, surrogate) is a blank."""
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def safe(text: str, keep: str = "") -> str:
    """The text with everything that is not printable as an escape (but for ``keep``), at most 1,000 characters."""
    shown = text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."
    if shown.isprintable():
        return shown
    # Not printable are control characters, line separators, marks that turn the direction of text, lone surrogates.
    return "".join(
        each if each.isprintable() or each in keep else each.encode("unicode_escape").decode("ascii") for each in shown
    )
