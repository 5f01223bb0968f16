"""``collectord maintenance``: times in which alerts are not sent."""

from pathlib import Path
from typing import Any

import click
from rich.text import Text

from collectord import config as configuration
from collectord import control
from collectord.cli.options import (
    config_option,
    database_reader,
    echo_json,
    for_option,
    json_option,
    local_time,
    moment_ns,
    note_unknown_sites,
    reason_option,
    shown,
)
from collectord.cli.tables import plain_table, print_whole
from collectord.clock import SystemClock
from collectord.model import NS_PER_S, rfc3339
from collectord.store import exceptions


@click.group()
def maintenance() -> None:
    """
    Maintenance: times in which the alerts of a site are stored and not sent.

    \b
    Examples:
      collectord maintenance add --site branch-7 --for 2h --reason "new firewall"
      collectord maintenance list
      collectord maintenance end 4
    """


@maintenance.command()
@click.option("--site", metavar="SITE", help="The site, as the listener or the device has it.")
@click.option("--all", "everything", is_flag=True, help="All sites.")
@click.option("--from", "begin", metavar="TIME", help='When it begins, as "2026-12-24 22:00"; by default now.')
@click.option("--until", metavar="TIME", help="When it ends.")
@click.option("--zone", metavar="ZONE", help="Time zone of both, as Europe/Berlin; by default the machine's.")
@for_option
@reason_option
@config_option
@json_option
def add(
    site: str | None,
    everything: bool,
    begin: str | None,
    until: str | None,
    zone: str | None,
    for_s: int | None,
    reason: str,
    config_path: Path | None,
    as_json: bool,
) -> None:
    """
    Add a window of maintenance; what is wrong with the collector itself is held back as well. Needs the running daemon.

    An alert that was sent before is updated without being sent, and clears for whoever was told of it. What is still
    over its limit when the window ends is sent then.

    \b
    Examples:
      collectord maintenance add --site branch-7 --for 2h --reason "new firewall"
      collectord maintenance add --all --from "2026-12-24 22:00" --until "2026-12-25 04:00" \\
          --zone Europe/Berlin --reason "core switch"
    """
    if (site is None) == (not everything):
        raise click.UsageError("either --site or --all")
    if (until is None) == (for_s is None):
        raise click.UsageError("either --for or --until")
    if zone is not None and begin is until is None:
        raise click.UsageError("--zone is that of --from and --until")
    from_ns = SystemClock().now_ns() if begin is None else moment_ns(begin, zone)
    until_ns = from_ns + (for_s or 0) * NS_PER_S if until is None else moment_ns(until, zone, end=True)
    config = configuration.load(config_path)
    added = control.ask(
        config.control_socket,
        "maintenance-add",
        site=site,
        from_ns=from_ns,
        until_ns=until_ns,
        zone=zone or "",
        reason=reason,
    )
    note_unknown_sites(config, [] if site is None else [site])
    if as_json:
        echo_json(_as_json(added))
    else:
        where = "all sites" if site is None else f"site {site or '(without a name)'}"
        times = f"from {local_time(from_ns)} to {local_time(until_ns)}"
        click.echo(f"maintenance {added['number']}: {shown(where)} {times}")


@maintenance.command("list")
@config_option
@json_option
def list_windows(config_path: Path | None, as_json: bool) -> None:
    """
    List the maintenance that has not ended, in the order in which it begins.

    \b
    Examples:
      collectord maintenance list
      collectord maintenance list --json
    """
    now_ns = SystemClock().now_ns()
    with database_reader(configuration.load(config_path)) as database:
        found = exceptions.maintenance(database, now_ns)
    if as_json:
        for window in found:
            echo_json(_as_json({name: getattr(window, name) for name in window.__slots__}))
        return
    if not found:
        click.echo("No maintenance.")
        return
    table = plain_table("number", "site", "from", "until", "", "zone", "who", "why")
    for window in found:
        texts = (
            str(window.number),
            "all" if window.site is None else window.site or "-",
            local_time(window.from_ns),
            local_time(window.until_ns),
            "now" if window.from_ns <= now_ns else "later",
            window.zone or "-",
            window.who,
            window.reason,
        )
        table.add_row(*(Text(shown(text)) for text in texts))
    print_whole(table)


@maintenance.command()
@click.argument("number", type=click.IntRange(0, 2**63 - 1))
@config_option
def end(number: int, config_path: Path | None) -> None:
    """
    End a window of maintenance now, or take back one that has not begun. Needs the running daemon.

    \b
    Examples:
      collectord maintenance end 4
    """
    control.ask(configuration.load(config_path).control_socket, "maintenance-end", number=number)
    click.echo(f"maintenance {number} has ended")


def _as_json(window: dict[str, Any]) -> dict[str, Any]:
    times = {name: rfc3339(window[f"{name}_ns"]) for name in ("from", "until", "when")}
    return {**{name: window[name] for name in ("number", "site", "zone", "reason", "who")}, **times}
