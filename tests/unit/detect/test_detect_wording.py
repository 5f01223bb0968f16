"""Titles and summaries: one printable line of bounded length, whatever the wire sent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectord.detect import wording
from collectord.model import KeyValue


def test_fill() -> None:
    """Names in braces are replaced, values are not looked into, missing ones stay."""
    values: dict[str, KeyValue] = {"SrcIpAddr": "192.0.2.10", "DstPortNumber": 445, "Name": "{SrcIpAddr} {0.__class__}"}

    assert "192.0.2.10 to 445" == wording.fill("{SrcIpAddr} to {DstPortNumber}", values)
    assert "{SrcIpAddr} {0.__class__}" == wording.fill("{Name}", values)
    assert "{DstIpAddr}" == wording.fill("{DstIpAddr}", values)
    assert "a {literal} brace" == wording.fill("a {{literal}} brace", values)


@pytest.mark.parametrize(
    "title", ["{", "}", "{}", "{0.__class__}", "{a[0]}", "{a!r}", "{a:>1000000}", "{a b}", "{a", "a}", "{{a}"]
)
def test_placeholders_refuse(title: str) -> None:
    """Nothing of format strings but the name."""
    with pytest.raises(ValueError, match="expected only placeholders such as"):
        wording.placeholders(title)


def test_placeholders() -> None:
    """In order, as often as they stand there."""
    assert ("SrcIpAddr", "DstPortNumber") == wording.placeholders("{SrcIpAddr}: {DstPortNumber}")
    assert () == wording.placeholders("none {{here}}")


@pytest.mark.parametrize(
    ("value", "want"),
    [
        ("m\u00fcller", "m\u00fcller"),
        ("a\nb\x1b[31m\x00", "a\\x0ab\\x1b[31m\\x00"),
        ("\u202eevil", "\\u202eevil"),
        ("\U000e0001", "\\U000e0001"),
        ("\ud800", "\\ud800"),
        (445, "445"),
        ("x" * 81, "x" * 77 + "..."),
    ],
)
def test_printable(value: str | int, want: str) -> None:
    """What could move the cursor or turn the text around is shown as an escape; long values are cut."""
    assert want == wording.printable(value)


@pytest.mark.parametrize(
    ("seconds", "want"), [(300, "5 min"), (90, "90 s"), (3600, "1 h"), (86_400, "1 d"), (0, "0 s"), (5400, "90 min")]
)
def test_span(seconds: int, want: str) -> None:
    """The largest unit that divides it."""
    assert want == wording.span(seconds)


@given(st.text(), st.text(max_size=600), st.lists(st.text(max_size=80), max_size=5))
def test_summary_is_one_bounded_line(value: str, what: str, more: list[str]) -> None:
    """It always ends in the whole command."""
    printable = [wording.printable(each) for each in more]
    line = wording.summary(wording.printable(value), wording.printable(what, 500), "0123456789abcdef", printable)

    assert line.isprintable()
    assert len(line) <= wording.MAX_SUMMARY_CHARACTERS
    assert line.endswith("; collectord alerts show 0123456789abcdef")


def test_summary_leaves_out_whole_parts() -> None:
    """What does not fit is not cut in two, and what is behind it is left out as well."""
    line = wording.summary("192.0.2.1", "x" * 150, "0123456789abcdef", ["port 445", "y" * 100, "reported by fw1"])

    assert line == f"192.0.2.1: {'x' * 150}, port 445; collectord alerts show 0123456789abcdef"


@given(st.text(), st.dictionaries(st.text(), st.text()))
def test_fill_is_bounded(title: str, values: dict[str, str]) -> None:
    """Refused or filled, never anything else."""
    try:
        wording.placeholders(title)
    except ValueError:
        return
    assert len(wording.fill(title, values)) <= wording.MAX_TITLE_CHARACTERS
