"""``collectord alerts``: what was found."""

from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from collectord import config as configuration
from collectord.cli.options import config_option, database_reader, echo_json, json_option, local_time, shown
from collectord.errors import EX_USAGE
from collectord.model import Alert, AlertState
from collectord.store.alerts import Alerts

_COLOURS = {"high": "bold red", "medium": "yellow", "low": "cyan", "informational": ""}


@click.group(invoke_without_command=True)
@click.pass_context
def alerts(context: click.Context) -> None:
    """
    Alerts: those that are active, and what they were.

    \b
    Examples:
      collectord alerts                       # the active ones
      collectord alerts list --all --json     # all, for programs
      collectord alerts show 3f2a91c07d5be148
    """
    if context.invoked_subcommand is None:
        context.invoke(list_alerts)


@alerts.command("list")
@click.option("--all", "everything", is_flag=True, help="Cleared ones, too.")
@click.option("--rule", metavar="NAME", help="Only of this rule.")
@click.option("--site", metavar="SITE", help="Only of this site.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 100_000), help="Most to show.")
@config_option
@json_option
def list_alerts(
    everything: bool, rule: str | None, site: str | None, limit: int, config_path: Path | None, as_json: bool
) -> None:
    """
    List alerts, the newest first; by default the active ones.

    \b
    Examples:
      collectord alerts list
      collectord alerts list --all --rule excessive-failures
      collectord alerts list --json | jq .summary
    """
    with database_reader(configuration.load(config_path)) as database:
        found = Alerts(database).find(active=None if everything else True, rule=rule, site=site, limit=limit)
    if as_json:
        for alert in found:
            echo_json(alert.as_json())
        return
    if not found:
        click.echo("No alerts." if everything else "No active alerts. (--all shows the cleared ones)")
        return
    # The id is what one types next: it is never cut, however narrow the terminal.
    table = Table(Column("id", min_width=16, overflow="fold"), "state", "severity", "since", "last")
    table.add_column("what", overflow="fold")
    for alert in found:
        table.add_row(
            alert.id,
            alert.state.value,
            Text(alert.severity.value, _COLOURS[alert.severity.value]),
            local_time(alert.first_time_ns),
            local_time(alert.last_time_ns),
            Text(shown(alert.summary)),
        )
    Console().print(table)


@alerts.command()
@click.argument("alert_id", metavar="ID")
@config_option
@json_option
def show(alert_id: str, config_path: Path | None, as_json: bool) -> None:
    """
    Show one alert: what, when, how much over the limit, and its history.

    \b
    Examples:
      collectord alerts show 3f2a91c07d5be148
      collectord alerts show --json 3f2a91c07d5be148 | jq .history
    """
    with database_reader(configuration.load(config_path)) as database:
        stored = Alerts(database)
        alert, history = stored.show(alert_id), stored.history(alert_id)
    if alert is None:
        click.echo(f"collectord: there is no alert {shown(alert_id)}", err=True)
        raise SystemExit(EX_USAGE)
    if as_json:
        echo_json({**alert.as_json(), "history": [state.as_json() for state in history]})
        return
    for name, value in _facts(alert):
        click.echo(f"{name + ':':12} {shown(value)}")
    click.echo("history:")
    for state in history:
        click.echo(
            f"  {local_time(state.last_time_ns)}  episode {state.episode}  {state.event:10} {shown(state.summary)}"
        )


def _facts(alert: Alert) -> list[tuple[str, Any]]:
    facts: list[tuple[str, Any]] = [
        ("alert", f"{alert.id} (episode {alert.episode})"),
        ("title", alert.title),
        ("summary", alert.summary),
        ("state", f"{alert.state.value}{f': {alert.reason}' if alert.reason else ''}"),
        ("severity", alert.severity.value),
        ("rule", f"{alert.rule} ({alert.mode.value})"),
        ("site", alert.site or "-"),
        ("key", ", ".join(f"{field}={value}" for field, value in alert.key.items())),
        ("count", f"{alert.count:,} in {alert.window_s} s, limit {alert.threshold:,}"),
        ("first", local_time(alert.first_time_ns)),
        ("cleared" if alert.state is AlertState.CLEARED else "last", local_time(alert.last_time_ns)),
        ("ATT&CK", ", ".join((*alert.tactics, *alert.techniques)) or "-"),
    ]
    facts += [(name, value) for name, value in alert.details.items()]
    return facts
