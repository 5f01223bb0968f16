"""Options and words that several commands share."""

import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

from collectord import quantity
from collectord.clock import SystemClock
from collectord.config import Config
from collectord.errors import StoreError
from collectord.model import NS_PER_S
from collectord.texts import safe

if TYPE_CHECKING:
    from collectord.store.db import Database

INSTALLED_CONFIG = Path("/etc/collectord/collectord.toml")
"""Where packages put the configuration (Filesystem Hierarchy Standard 3.0, section 3.7)."""

Command = TypeVar("Command", bound=Callable[..., Any])


def _default_config() -> Path | None:
    if named := os.environ.get("COLLECTORD_CONFIG"):
        return Path(named)
    return INSTALLED_CONFIG if INSTALLED_CONFIG.exists() else None


def config_option(command: Command) -> Command:
    """``--config``: by default $COLLECTORD_CONFIG, else the installed file, else none: the built-in defaults."""
    return click.option(
        "--config",
        "config_path",
        type=click.Path(path_type=Path),
        default=_default_config,
        metavar="FILE",
        help="Configuration file. Default: $COLLECTORD_CONFIG, else /etc/collectord/collectord.toml, else defaults "
        "(UDP and TCP 5514 on loopback).",
    )(command)


def json_option(command: Command) -> Command:
    """``--json``: one object a line."""
    return click.option("--json", "as_json", is_flag=True, help="One JSON object a line, for programs.")(command)


def _seconds(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    try:
        return None if value is None else quantity.duration_s(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def for_option(command: Command) -> Command:
    """``--for``: how long, as ``for_s``."""
    help = 'How long from now: "30m", "2h", "7d".'
    return click.option("--for", "for_s", callback=_seconds, metavar="DURATION", help=help)(command)


def reason_option(command: Command) -> Command:
    """``--reason``: why; whoever finds it later wants to know."""
    return click.option("--reason", required=True, metavar="TEXT", help="Why; it is kept with your name.")(command)


def moment_ns(text: str, zone: str | None, *, end: bool = False) -> int:
    """
    The moment that a person wrote, as wall time in ns.

    Args:
        text: As ISO 8601 has it: ``2026-12-24 22:00``; with an offset the zone is not looked at.
        zone: Name of its time zone in the IANA database; None: the machine's.
        end: Of the hour that the clocks show twice in autumn, the later one is meant.

    Raises:
        click.UsageError: it is no time, or that zone has no such time.
    """
    named = None if zone is None else _zone(zone)
    try:
        # Without a zone, fold tells the system which of two equal hours is meant.
        moment = datetime.fromisoformat(text).replace(fold=int(end))
        if moment.tzinfo is not None:
            return int(moment.timestamp()) * NS_PER_S
        moment = moment.replace(tzinfo=named)
        utc = moment.astimezone(UTC)
        as_written = utc.astimezone(moment.tzinfo).replace(tzinfo=None) == moment.replace(tzinfo=None)
    except (ValueError, OverflowError) as error:
        raise click.UsageError(f'expected a time such as "2026-12-24 22:00", got "{shown(text)}"') from error
    if not as_written:
        raise click.UsageError(f"the clocks are never at {shown(text)}: they are put forward then")
    return int(utc.timestamp()) * NS_PER_S


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        # A name is looked for as a file: it may be one of a folder, or too long.
        reason = f'there is no time zone "{shown(name)}", expected one such as Europe/Berlin'
        raise click.UsageError(reason) from error


def note_unknown_sites(config: Config, sites: Iterable[str]) -> None:
    """Tells whoever asks for something at a site that nothing has it: as a rule it is misspelt."""
    known = {each.site for each in (*config.listener, *config.device)}
    for site in sites:
        if site not in known:
            click.echo(f'note: no listener or device of the configuration has the site "{shown(site)}"', err=True)


def _moment(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """A time, or how long ago."""
    if value is None:
        return None
    try:
        return SystemClock().now_ns() - quantity.duration_s(value) * NS_PER_S
    except ValueError:
        return moment_ns(value, None)


def period_options(command: Command) -> Command:
    """``--since`` and ``--until``, as ``since_ns`` and ``until_ns``."""
    help = 'Only what was later: a time such as "2026-12-24 22:00", or how long ago, as "7d".'
    since = click.option("--since", "since_ns", callback=_moment, metavar="TIME", help=help)
    until = click.option("--until", "until_ns", callback=_moment, metavar="TIME", help="Only what was earlier.")
    return since(until(command))


def csv_option(command: Command) -> Command:
    """``--csv``: for spreadsheets."""
    return click.option("--csv", "as_csv", is_flag=True, help="CSV with a header, for spreadsheets.")(command)


def echo_csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """
    A table as CSV (RFC 4180) in UTF-8.

    What stands in it may come from the wire, and a spreadsheet takes a cell that begins with ``=``, ``+``, ``-`` or
    ``@`` for a formula: such a text gets an apostrophe in front (OWASP, "CSV Injection").
    """
    written = io.StringIO()
    writer = csv.writer(written)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_harmless(cell) for cell in row])
    click.echo(written.getvalue().encode("utf-8", "backslashreplace"), nl=False)


def _harmless(cell: object) -> object:
    if not isinstance(cell, str):
        return "" if cell is None else cell
    text = shown(cell)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def echo_json(value: Any) -> None:
    """One object on one line; UTF-8 whatever the locale's encoding is (RFC 8259 section 8.1)."""
    # A lone surrogate, as of a file name that is not UTF-8, becomes JSON's own escape of it.
    click.echo(json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace"))


def database_reader(config: Config) -> "Database":
    """
    The database for reading, a context manager.

    Raises:
        StoreError: there is none, or it can't be read.
    """
    if not config.database.exists():
        raise StoreError(f"there is no database {config.database}: the daemon has not run with this configuration")
    # Imported here: commands that only ask the daemon need no database.
    from collectord.store.db import Database

    return Database.reader(config.database)


def local_time(time_ns: int) -> str:
    """A wall time in ns for people: local, with its offset."""
    return datetime.fromtimestamp(time_ns // NS_PER_S, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S%z")


def local_moment(text: object) -> str:
    """A time of an answer or of evidence (RFC 3339) for people."""
    try:
        return local_time(int(datetime.fromisoformat(str(text)).timestamp()) * NS_PER_S)
    except ValueError:
        return "?"


def shown(text: object) -> str:
    """A value that may come from the wire, safe to write to a terminal."""
    return safe(str(text))
