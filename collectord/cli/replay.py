"""``collectord replay``: what old logs would have raised."""

import contextlib
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.text import Text

from collectord import config as configuration
from collectord import plan, settings
from collectord import replay as replaying
from collectord.cli.options import config_option, echo_json, json_option, local_time, shown
from collectord.cli.signals import EX_INTERRUPTED, cleaned_up
from collectord.cli.tables import print_entry
from collectord.clock import SystemClock
from collectord.config import Config
from collectord.detect.rules import Rule
from collectord.engine import Engine
from collectord.errors import EX_IOERR, EX_USAGE, InputError
from collectord.inputs.replay import AGREEING, LogFile, merged, open_file
from collectord.model import NS_PER_S, Alert, AlertState, Mode, Window
from collectord.plan import Setup

STDIN = Path("-")

MAX_ROWS = 10_000
"""Alerts that are shown; far more than people read. ``--json`` has no such bound, as it keeps none of them."""

_COLOURS = {"high": "bold red", "medium": "yellow", "low": "cyan", "informational": ""}


def _time(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    if value is None:
        return None
    try:
        # A time without an offset is local, as people mean it and as they are shown it.
        return int(datetime.fromisoformat(value).astimezone(UTC).timestamp())
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(f'expected a time such as "2026-11-22T10:00", got "{shown(value[:40])}"') from error


def _offset(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    try:
        return None if value is None else settings.offset_s(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path, allow_dash=True))
@click.option("--rule", "names", metavar="NAME", multiple=True, help="Only this rule, also if it is off; repeatable.")
@click.option(
    "--rules-dir",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="Rules to try beside those that are installed; one of the same name takes its place.",
)
@click.option(
    "--from", "from_s", callback=_time, metavar="TIME", help='Only what was logged since then ("2026-11-22T10:00").'
)
@click.option("--until", "until_s", callback=_time, metavar="TIME", help="Only what was logged before.")
@click.option(
    "--year",
    type=click.IntRange(1971, 2500),
    help="Of the first stamp without a year. Default: the one that is nearest to the file's last change.",
)
@click.option(
    "--utc-offset",
    "utc_offset_s",
    callback=_offset,
    metavar="OFFSET",
    help='Time zone ("+01:00") of devices that do not tell it and that the configuration does not know. Default: UTC.',
)
@click.option(
    "--peer", metavar="ADDRESS", help="Whom the lines come from. Default: a log server, as if it were in relays."
)
@click.option("--site", default="", metavar="SITE", help="Site of devices whose site the configuration does not tell.")
@config_option
@json_option
def replay(
    files: tuple[Path, ...],
    names: tuple[str, ...],
    rules_dir: Path | None,
    from_s: int | None,
    until_s: int | None,
    year: int | None,
    utc_offset_s: int | None,
    peer: str | None,
    site: str,
    config_path: Path | None,
    as_json: bool,
) -> None:
    """
    Read log files as if they came in now, with the devices' time as the clock, and show the alerts that would have
    fired.

    A file holds a message a line, in the order of time, and may be compressed (gzip, zstd); "-" is standard input.
    Several files are merged by time, so that the logs of several devices come as they came then. The rules, profiles
    and devices are those of the configuration; its database and outputs are not touched. Alerts of rules that only
    report are shown, too, and marked. Rules about the collector itself (a silent device, its own health) have nothing
    to look at and are left out; one that compares with past days knows only the days that the files hold.

    The clock never runs back. A line without a time, or with an earlier one, counts at the time of the line before it.
    A time that is over an hour ahead is followed when three lines in a row agree on it, as one may be broken or forged;
    otherwise the line counts at the last sound time. The counts at the end tell of both.

    With --json each state of an alert comes as an object when it comes about (event: raised, updated:2, ..., cleared),
    and the counts go to standard error. Ctrl-C ends it with what was found by then. Exit status: 0, 66 a file can't be
    opened, 74 a file can't be read to its end, 130 Ctrl-C.

    \b
    Examples:
      collectord replay firewall.log
      collectord replay /var/log/fw/*.log.gz --from 2026-11-21 --until 2026-11-22
      collectord replay --rules-dir ./new --rule many-ports asa.log fortigate.log.zst
      zcat old.gz | collectord replay --year 2024 --json - | jq .summary
    """
    if list(files).count(STDIN) > 1:
        raise click.UsageError("standard input (-) can be read only once")
    config = configuration.load(config_path)
    source = replaying.FILE_PEER if peer is None else peer
    own = [] if rules_dir is None else sorted(rules_dir.glob("*.toml"))
    setup = replaying.setup_for(config, chosen(config, names, own), site=site, peer=source)
    found = _Found(as_json)
    hints = Hints(year, utc_offset_s, source)
    progress, logs = read(files, setup, hints, told=found.take, from_s=from_s or 0, until_s=until_s)
    found.show()
    for line in counts(progress, found.raised, found.active, logs):
        click.echo(line, err=as_json)
    end_where_unread(progress, logs)


def chosen(config: Config, names: Sequence[str], own: Sequence[Path]) -> list[Rule]:
    """
    The rules to try.

    Args:
        config: Names the folder of those that are installed.
        names: Only these, also those that are off; empty: all.
        own: Files to try beside those that are installed.

    Raises:
        ConfigError: everything that is wrong in them.
    """
    rules = plan.installed_rules(config, own)
    if not names:
        return list(rules)
    unknown = sorted(set(names) - {rule.name for rule in rules})
    if unknown:
        known = ", ".join(rule.name for rule in rules)
        click.echo(f"collectord: there is no rule {shown(', '.join(unknown))}; known: {known}", err=True)
        raise SystemExit(EX_USAGE)
    return [replaying.on_trial(rule) for rule in rules if rule.name in names]


def read(
    files: Sequence[Path],
    setup: Setup,
    hints: "Hints",
    *,
    told: Callable[[Alert], None],
    looked: Callable[[Window, int], None] | None = None,
    from_s: int = 0,
    until_s: int | None = None,
) -> tuple[replaying.Progress, list[LogFile]]:
    """
    Replays files with a progress bar; a file that can't be opened ends the command, and Ctrl-C the replay.

    Args:
        files: Their paths; :data:`STDIN` among them at most once.
        setup: As :func:`collectord.replay.setup_for` makes it.
        hints: What nobody but the one who asks knows of the lines.
        told: Called with each state of an alert.
        looked: Called with each window, as :class:`collectord.replay.Replay` says.
        from_s: Lines of earlier seconds are left out.
        until_s: The first second that is not wanted any more.
    """
    engine = setup.engine()
    with cleaned_up(), contextlib.ExitStack() as cleanup:
        # Where nobody sees it, a bar is not worth a thread.
        bar = Bar(
            TextColumn("reading"),
            BarColumn(),
            TaskProgressColumn(),
            DownloadColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
            transient=True,
        )
        logs = list(_opened(files, engine, bar, hints, cleanup))
        folder = cleanup.enter_context(tempfile.TemporaryDirectory(prefix="collectord-replay-"))
        database = cleanup.enter_context(contextlib.closing(replaying.Scratch(Path(folder) / "replay.db")))
        job = replaying.Replay(setup, engine, database, told=told, peer=hints.peer, looked=looked)
        try:
            with bar:
                job.run(merged(logs), from_s=from_s, until_s=until_s)
        except KeyboardInterrupt:
            # What was found by then is worth having.
            job.progress.stopped = True
    return job.progress, logs


def end_where_unread(progress: replaying.Progress, logs: Sequence[LogFile]) -> None:
    """Says which files could not be read to their end, and ends with that; or with Ctrl-C where that was it."""
    for log in logs:
        if log.err:
            click.echo(f"collectord: {shown(log.err)}", err=True)
    if progress.stopped:
        raise SystemExit(EX_INTERRUPTED)
    if any(log.err for log in logs):
        raise SystemExit(EX_IOERR)


@dataclass(frozen=True, slots=True)
class Hints:
    """What nobody but the one who asks knows of the lines."""

    year: int | None
    utc_offset_s: int | None
    peer: str

    @property
    def near_ns(self) -> int | None:
        """The middle of the year, to which any day of that year is nearer than the same day of another."""
        if self.year is None:
            return None
        begins, ends = (datetime(year, 1, 1, tzinfo=UTC).timestamp() for year in (self.year, self.year + 1))
        return (int(begins + ends) // 2 - (self.utc_offset_s or 0)) * NS_PER_S


def _opened(
    files: Sequence[Path], engine: Engine, bar: Bar, hints: Hints, cleanup: contextlib.ExitStack
) -> Iterator[LogFile]:
    total = sum(path.stat().st_size for path in files if path.is_file())
    task = bar.add_task("", total=None if STDIN in files else total)
    problems = []
    known: dict[tuple[int, int], Path] = {}
    for path in files:
        if path.is_file():
            found = path.stat()
            # Each of its messages would count twice, and raise what was not there.
            if (same := known.setdefault((found.st_dev, found.st_ino), path)) is not path:
                raise click.UsageError(f"{shown(path)} is the same file as {shown(same)}")
        try:
            if path == STDIN:
                name, stream, changed_ns = "standard input", sys.stdin.buffer, SystemClock().now_ns()
            else:
                name = str(path)
                stream, changed_ns = open_file(path)
                cleanup.callback(stream.close)
            yield LogFile(
                name,
                stream,
                engine,
                near_ns=changed_ns if hints.near_ns is None else hints.near_ns,
                peer=hints.peer,
                utc_offset_s=hints.utc_offset_s,
                read=lambda count: bar.advance(task, count),
                streaming=path == STDIN,
            )
        except InputError as error:
            problems.append(error)
    for problem in problems:
        click.echo(f"collectord: {shown(problem)}", err=True)
    if problems:
        raise SystemExit(problems[0].exit_status)


class _Found:
    """The alerts, as they come about: written at once for programs, gathered for people."""

    def __init__(self, as_json: bool) -> None:
        self.raised = 0
        self.active = 0
        self._as_json = as_json
        self._rows: dict[tuple[str, int], tuple[int, Alert]] = {}
        """When each episode was raised, and its last state, by id and episode."""

    def take(self, alert: Alert) -> None:
        """One state of an alert."""
        self.raised += alert.state is AlertState.RAISED
        self.active += (alert.state is AlertState.RAISED) - (alert.state is AlertState.CLEARED)
        if self._as_json:
            echo_json(alert.as_json())
            return
        row = (alert.id, alert.episode)
        if row in self._rows or len(self._rows) < MAX_ROWS:
            raised_ns, _ = self._rows.get(row, (alert.last_time_ns, alert))
            self._rows[row] = (raised_ns, alert)

    def show(self) -> None:
        """The alerts for people, in the order in which they were raised."""
        if self._as_json:
            return
        for raised_ns, alert in self._rows.values():
            line = Text(f"{local_time(raised_ns)}  ")
            line.append(alert.severity.value, _COLOURS[alert.severity.value])
            line.append(f"  {alert.rule}{'' if alert.mode is Mode.NOTIFY else f' ({alert.mode.value} only)'}")
            ended = f", cleared {local_time(alert.last_time_ns)}" if alert.state is AlertState.CLEARED else ""
            line.append(ended or ", still active")
            # A summary ends with a command that looks into the daemon's database, which knows nothing of this.
            print_entry(line, [shown(alert.summary.removesuffix(f"; collectord alerts show {alert.id}"))])
        if self.raised > len(self._rows):
            click.echo(f"{self.raised - len(self._rows):,} more are not shown; --json has them all")


def counts(progress: replaying.Progress, raised: int, active: int, logs: Sequence[LogFile]) -> Iterator[str]:
    """What was read, and what became of it, in lines for people."""
    yield f"alerts    {raised:,} raised, {active:,} still active at the end"
    if progress.stopped:
        yield "stopped   by Ctrl-C: this is what was found by then"
    became = ", ".join(f"{count:,} {outcome}" for outcome, count in progress.outcomes.items() if count)
    yield f"messages  {progress.messages:,}{': ' if became else ''}{became}"
    unread = progress.outcomes["unparsed"]
    if unread:
        yield f"unread    {unread:,} ({100 * unread / progress.messages:.1f} %); collectord parse tells why"
    if progress.left_out:
        yield f"left out  {progress.left_out:,} lines before the time that was asked for"
    if progress.first_s is not None and progress.last_s is not None:
        first, last = local_time(progress.first_s * NS_PER_S), local_time(progress.last_s * NS_PER_S)
        yield f"time      {first} to {last} ({timedelta(seconds=progress.last_s - progress.first_s)})"
    off, without = sum(log.off_time for log in logs), sum(log.without_time for log in logs)
    if progress.gaps:
        longest = timedelta(seconds=progress.longest_gap_s)
        yield f"gaps      {progress.gaps:,} of over an hour without a line, the longest {longest}"
    if off:
        yield f"jumps     {off:,} lines over an hour off the clock, not followed: fewer than {AGREEING} in a row agree"
    if without:
        yield f"no time   {without:,} lines that do not say when they were written"
