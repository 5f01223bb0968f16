"""``collectord rules test``: one rule alone, held against log files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from rich.table import Column
from rich.text import Text

from collectord import config as configuration
from collectord import replay as replaying
from collectord.cli.options import config_option, echo_json, json_option, local_time, shown
from collectord.cli.replay import STDIN, Hints, chosen, counts, end_where_unread, read
from collectord.cli.tables import plain_table, print_whole
from collectord.detect.telling import who
from collectord.errors import EX_USAGE
from collectord.model import rfc3339
from collectord.replay import Trial, TriedKey

EX_QUIET = 1
"""Nothing was raised; as grep ends where it finds nothing. All other statuses are those of sysexits.h."""

MAX_ROWS = 50
"""Keys in the table, those that came furthest; ``--json`` has all."""


@click.command("test")
@click.argument("rule")
@click.argument("files", metavar="[FILE]...", nargs=-1, type=click.Path(path_type=Path, allow_dash=True))
@config_option
@json_option
def try_rule(rule: str, files: tuple[Path, ...], config_path: Path | None, as_json: bool) -> None:
    """
    Hold one rule alone against log files: what the largest window of each key was, and what it would have raised.

    RULE is the name of a rule, or a file (NAME.toml) that need not be installed; one that is off is tried as well.
    Files are read as "collectord replay" reads them; without any, or for "-", it is standard input. Of each key the
    largest window is shown against the limit, and when its alert would have been raised and cleared; keys that never
    came to a hundredth of the limit are left out.

    Exit status: 0 it would have raised an alert, 1 it stayed quiet, 64 there is no such rule, 66 a file can't be
    opened, 74 a file can't be read to its end, 78 the rule or the configuration is wrong. So a rule can be tested with
    a log of an attack and a log of an ordinary day, whenever one of them changes.

    \b
    Examples:
      collectord rules test excessive-failures firewall.log
      collectord rules test ./my-rule.toml attack.log.gz
      collectord rules test ./my-rule.toml monday.log; test $? -eq 1
      zcat old.gz | collectord rules test port-scan --json | jq 'select(.over).key'
    """
    paths = files or (STDIN,)
    if paths.count(STDIN) > 1:
        raise click.UsageError("standard input (-) can be read only once")
    config = configuration.load(config_path)
    path = Path(rule)
    is_file = path.suffix == ".toml"
    name = path.stem if is_file else rule
    setup = replaying.setup_for(config, chosen(config, [name], [path] if is_file else []))
    if not setup.rules:
        click.echo(
            f"collectord: {shown(name)} is about the collector and its devices; files don't tell of it", err=True
        )
        raise SystemExit(EX_USAGE)
    trial = Trial(setup)
    hints = Hints(year=None, utc_offset_s=None, peer=replaying.FILE_PEER)
    progress, logs = read(paths, replaying.trial_setup(setup), hints, told=trial.take, looked=trial.look)
    keys = trial.keys
    if as_json:
        for each in keys:
            echo_json(_as_json(trial, each))
    elif keys:
        _show(trial, keys)
    for line in counts(progress, trial.raised, trial.active, logs):
        click.echo(line, err=as_json)
    for line in _remarks(trial, keys):
        click.echo(line, err=as_json)
    end_where_unread(progress, logs)
    if not trial.raised:
        raise SystemExit(EX_QUIET)


def _show(trial: Trial, keys: list[TriedKey]) -> None:
    numbers = (Column(name, justify="right") for name in ("largest", "limit"))
    table = plain_table(Column("key", overflow="fold", max_width=60), *numbers, "at", "raised", "cleared")
    for each in keys[:MAX_ROWS]:
        times = [
            (local_time(raised_ns), "still active" if cleared_ns is None else local_time(cleared_ns))
            for raised_ns, cleared_ns in each.episodes
        ]
        table.add_row(
            Text(who(each.key, each.site, trial.hosts)),
            f"{each.largest:,}",
            f"{each.limit:,}",
            local_time(each.largest_ns),
            "\n".join(raised for raised, _ in times) or ("exempt" if each.over else "-"),
            "\n".join(cleared for _, cleared in times) or "-",
        )
    print_whole(table)
    if len(keys) > MAX_ROWS:
        click.echo(f"{len(keys) - MAX_ROWS:,} more keys are not shown; --json has them all")


def _remarks(trial: Trial, keys: list[TriedKey]) -> Iterator[str]:
    rule = trial.rule
    over = sum(each.over for each in keys)
    yield f"rule      {rule.name}: {over:,} keys over the limit in {rule.timespan_s} s, {len(keys):,} looked at"
    if trial.left_out:
        most = f"{replaying.MAX_TRIED_KEYS:,} keys"
        yield f"left out  {trial.left_out:,} windows of keys under the limit: there are more than {most}"


def _as_json(trial: Trial, tried: TriedKey) -> dict[str, Any]:
    return {
        "rule": trial.rule.name,
        "id": tried.alert_id,
        "site": tried.site,
        "key": tried.key,
        "largest": tried.largest,
        "limit": tried.limit,
        "window_s": trial.rule.timespan_s,
        "largest_time": rfc3339(tried.largest_ns),
        "over": tried.over,
        "alerts": [
            {"raised": rfc3339(raised_ns), "cleared": None if cleared_ns is None else rfc3339(cleared_ns)}
            for raised_ns, cleared_ns in tried.episodes
        ],
    }
