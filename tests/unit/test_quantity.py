"""Durations and sizes with their units."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectord.quantity import duration_s, duration_text, size_bytes, size_text


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("15m", 900), ("1h", 3600), ("2d", 172_800), ("0s", 0)])
def test_duration(text: str, seconds: int) -> None:
    """A whole number and s, m, h or d."""
    assert seconds == duration_s(text)


@pytest.mark.parametrize(("text", "size"), [("512B", 512), ("64KiB", 65_536), ("4MiB", 4_194_304), ("1GiB", 1 << 30)])
def test_size(text: str, size: int) -> None:
    """A whole number and B, KiB, MiB or GiB."""
    assert size == size_bytes(text)


@pytest.mark.parametrize("parse", [duration_s, size_bytes])
@pytest.mark.parametrize(
    "text", ["", "s", "B", "5", "1.5h", "1h30m", "-1s", "5 s", " 5s", "5S", "5KB", "5mib", "\u0665s", "9" * 13 + "s"]
)
def test_refused(parse: Callable[[object], int], text: str) -> None:
    """One way to write it; digits are ASCII; what was found is in the message."""
    with pytest.raises(ValueError, match=r"^expected a (duration|size) such as .*, got \""):
        parse(text)


@pytest.mark.parametrize("value", [30, 1.5, 1 << 20_000], ids=["int", "float", "huge"])
def test_plain_number_is_refused(value: float) -> None:
    """Its unit would be a guess."""
    with pytest.raises(ValueError, match="got a number without a unit"):
        duration_s(value)


@pytest.mark.parametrize("value", [True, None, ["1s"], {}])
def test_other_types_are_refused(value: object) -> None:
    """Neither text nor number."""
    with pytest.raises(ValueError, match="got something else"):
        size_bytes(value)


@given(st.integers(0, 10**11))
def test_text_and_back(number: int) -> None:
    """parse(text(x)) = x."""
    assert number == duration_s(duration_text(number)) == size_bytes(size_text(number))


def test_text_takes_the_largest_unit() -> None:
    """As a person would write it."""
    assert ("15m", "90s", "2d", "0s") == tuple(map(duration_text, (900, 90, 172_800, 0)))
    assert ("64KiB", "1000B", "0B") == tuple(map(size_text, (65_536, 1000, 0)))
