"""Texts of others, for people to read."""


def line(text: str) -> str:
    """``text`` on one line: each character that does not print (control, line separator, surrogate) is a blank."""
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)
