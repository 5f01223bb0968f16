"""``collectord audit``: who changed what by command."""

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from collectord import config as configuration
from collectord.cli.options import config_option, database_reader, echo_json, json_option, local_time, shown
from collectord.model import rfc3339
from collectord.store import audit as stored


@click.command()
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 100_000), help="Most to show.")
@config_option
@json_option
def audit(limit: int, config_path: Path | None, as_json: bool) -> None:
    """
    Who acknowledged, shelved, exempted or put into maintenance what, when and why; the newest first.

    \b
    Examples:
      collectord audit
      collectord audit --json | jq 'select(.who == "root")'
    """
    with database_reader(configuration.load(config_path)) as database:
        found = stored.entries(database, limit)
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
