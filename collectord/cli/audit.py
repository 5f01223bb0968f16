"""``collectord audit``: who changed what by command."""

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from collectord import config as configuration
from collectord.cli.options import (
    config_option,
    csv_option,
    database_reader,
    echo_csv,
    echo_json,
    json_option,
    local_time,
    period_options,
    shown,
)
from collectord.model import rfc3339
from collectord.store import audit as stored


@click.command()
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 100_000), help="Most to show.")
@period_options
@csv_option
@config_option
@json_option
def audit(
    limit: int, since_ns: int | None, until_ns: int | None, as_csv: bool, config_path: Path | None, as_json: bool
) -> None:
    """
    Who acknowledged, shelved, exempted or put into maintenance what, reloaded the configuration, sent test alerts or
    had alerts sent again; when and why, the newest first.

    Names are those of the machine's users, as the kernel tells them of whoever is at the control socket.

    \b
    Examples:
      collectord audit
      collectord audit --json | jq 'select(.who == "root")'
      collectord audit --since 30d --csv > audit.csv
    """
    with database_reader(configuration.load(config_path)) as database:
        found = stored.entries(database, limit, since_ns or 0, 2**63 - 1 if until_ns is None else until_ns)
    if as_csv:
        echo_csv(
            ("number", "when", "who", "what", "target", "reason"),
            ((each.number, rfc3339(each.when_ns), each.who, each.what, each.target, each.reason) for each in found),
        )
        return
    if as_json:
        for entry in found:
            echo_json(
                {
                    "number": entry.number,
                    "when": rfc3339(entry.when_ns),
                    "who": entry.who,
                    "what": entry.what,
                    "target": entry.target,
                    "reason": entry.reason,
                }
            )
        return
    if not found:
        click.echo("Nobody has changed anything.")
        return
    table = Table("when", "who", "what", "target", "why")
    for entry in found:
        texts = (local_time(entry.when_ns), entry.who, entry.what, entry.target, entry.reason)
        table.add_row(*(Text(shown(text), overflow="fold") for text in texts))
    Console().print(table)
