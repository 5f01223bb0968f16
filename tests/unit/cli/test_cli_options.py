"""Words and options that several commands share."""

import time
from collections.abc import Iterator
from datetime import datetime

import click
import pytest

from collectord.cli.options import moment_ns


@pytest.fixture
def helsinki(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The machine's zone."""
    monkeypatch.setenv("TZ", "Europe/Helsinki")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def utc(text: str) -> int:
    return int(datetime.fromisoformat(text + "+00:00").timestamp()) * 10**9


@pytest.mark.parametrize(
    ("text", "zone", "want"),
    [
        ("2026-12-24 22:00", "Europe/Berlin", "2026-12-24 21:00"),
        ("2026-07-24T22:00", "Europe/Berlin", "2026-07-24 20:00"),
        ("2026-12-24", "America/New_York", "2026-12-24 05:00"),
        ("2026-12-24 22:00+05:30", "Europe/Berlin", "2026-12-24 16:30"),
        ("2026-12-24 22:00Z", None, "2026-12-24 22:00"),
        ("2026-12-24 22:00", None, "2026-12-24 20:00"),
        ("2026-07-24 22:00", None, "2026-07-24 19:00"),
    ],
)
@pytest.mark.usefixtures("helsinki")
def test_moment(text: str, zone: str | None, want: str) -> None:
    """In the named zone, in the one that the text itself names, else in the machine's."""
    assert utc(want) == moment_ns(text, zone)


@pytest.mark.parametrize("zone", ["Europe/Berlin", None])
@pytest.mark.usefixtures("helsinki")
def test_the_hour_that_comes_twice(zone: str | None) -> None:
    """A window begins with the first and ends with the second, so that it is never too short."""
    # Berlin's clocks go from 03:00 back to 02:00 on that night, those of Helsinki from 04:00 back to 03:00.
    text = "2026-10-25 02:30" if zone else "2026-10-25 03:30"

    assert (utc("2026-10-25 00:30"), utc("2026-10-25 01:30")) == (
        moment_ns(text, zone),
        moment_ns(text, zone, end=True),
    )


@pytest.mark.parametrize(
    ("text", "zone", "reason"),
    [
        ("tomorrow", None, 'expected a time such as "2026-12-24 22:00"'),
        ("2026-12-24 25:00", None, 'expected a time such as "2026-12-24 22:00"'),
        ("2026-12-24 22:00", "Europe/Bern", 'there is no time zone "Europe/Bern"'),
        ("2026-12-24 22:00", "../etc/passwd", "there is no time zone"),
        # Of the machine's files one is a folder.
        ("2026-12-24 22:00", "Europe", 'there is no time zone "Europe"'),
        ("2026-12-24 22:00Z", "Europe/Bern", 'there is no time zone "Europe/Bern"'),
        ("2026-12-24 22:00", "", 'there is no time zone ""'),
        ("2026-12-24 22:00", "x" * 5_000, "there is no time zone"),
        ("0001-01-01 00:00", "Europe/Berlin", "expected a time"),
        ("0001-01-01 00:00", None, "expected a time"),
        ("9999-12-31 23:59", "America/New_York", "expected a time"),
        ("2026-03-29 02:30", "Europe/Berlin", "the clocks are never at 2026-03-29 02:30"),
        ("2026-03-29 03:30", None, "the clocks are never at 2026-03-29 03:30"),
    ],
)
@pytest.mark.usefixtures("helsinki")
def test_no_moment(text: str, zone: str | None, reason: str) -> None:
    """Said before anything is done."""
    with pytest.raises(click.UsageError, match=reason):
        moment_ns(text, zone)
