"""Durations and sizes as people write them: a whole number and its unit, ``"15m"``, ``"4MiB"``."""

import re
from collections.abc import Mapping

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
BYTES = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}

# Twelve digits are enough for any bound that we have, and keep the product within 64 bits.
_QUANTITY = re.compile(r"([0-9]{1,12})([A-Za-z]+)")


def duration_s(text: object) -> int:
    """
    Seconds in a duration such as ``"30s"``, ``"15m"``, ``"1h"``, ``"2d"``.

    Raises:
        ValueError: anything else, a plain number included: its unit would be a guess.
    """
    return _quantity(text, SECONDS, 'a duration such as "30s", "15m", "1h" or "2d"')


def size_bytes(text: object) -> int:
    """
    Bytes in a size such as ``"512B"``, ``"64KiB"``, ``"4MiB"``, ``"1GiB"``.

    Raises:
        ValueError: anything else, a plain number included: its unit would be a guess.
    """
    return _quantity(text, BYTES, 'a size such as "512B", "64KiB", "4MiB" or "1GiB"')


def duration_text(seconds: int) -> str:
    """The duration in its largest unit that divides it: 900 is ``"15m"``."""
    return _text(seconds, SECONDS)


def size_text(size: int) -> str:
    """The size in bytes in its largest unit that divides it: 65536 is ``"64KiB"``."""
    return _text(size, BYTES)


def _quantity(text: object, units: Mapping[str, int], expected: str) -> int:
    if isinstance(text, str):
        match = _QUANTITY.fullmatch(text)
        if match and match[2] in units:
            return int(match[1]) * units[match[2]]
        got = f'"{text[:40]}"'
    elif isinstance(text, int | float) and not isinstance(text, bool):
        got = "a number without a unit"
    else:
        got = "something else"
    raise ValueError(f"expected {expected}, got {got}")


def _text(value: int, units: Mapping[str, int]) -> str:
    # Units rise, so the last one that divides is the largest.
    dividing = [unit for unit, factor in units.items() if value % factor == 0 and (value or factor == 1)]
    return f"{value // units[dividing[-1]]}{dividing[-1]}"
