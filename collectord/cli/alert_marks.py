"""``collectord alerts ack``, ``shelve``, ``unshelve``: what an operator puts on an alert."""

from pathlib import Path
from typing import Any

import click

from collectord import config as configuration
from collectord import control
from collectord.cli.options import config_option, echo_json, for_option, json_option, local_time, reason_option, shown
from collectord.clock import SystemClock
from collectord.model import NS_PER_S, rfc3339


@click.command()
@click.argument("alert_id", metavar="ID")
@click.option("--note", default="", metavar="TEXT", help="What the others should know.")
@config_option
@json_option
def ack(alert_id: str, note: str, config_path: Path | None, as_json: bool) -> None:
    """
    Acknowledge an alert: somebody looks after it.

    It is noted with your name and shown with the alert until that clears; what is sent stays the same. Needs the
    running daemon, as only it writes the database.

    \b
    Examples:
      collectord alerts ack 3f2a91c07d5be148
      collectord alerts ack 3f2a91c07d5be148 --note "calling the branch"
    """
    mark = control.ask(configuration.load(config_path).control_socket, "alert-ack", id=alert_id, note=note)
    _tell(mark, f"{mark['alert_id']} acknowledged by {mark['who']}", as_json)


@click.command()
@click.argument("alert_id", metavar="ID")
@for_option
@reason_option
@config_option
@json_option
def shelve(alert_id: str, for_s: int | None, reason: str, config_path: Path | None, as_json: bool) -> None:
    """
    Put an alert aside for a time: it is stored and shown, and not sent.

    An alert that was sent before still clears for whoever was told of it. When the time is over and it is still
    there, it is sent. Needs the running daemon.

    \b
    Examples:
      collectord alerts shelve 3f2a91c07d5be148 --for 2h --reason "known scan until noon"
    """
    if for_s is None:
        raise click.UsageError("for how long? --for 2h")
    until_ns = SystemClock().now_ns() + for_s * NS_PER_S
    socket = configuration.load(config_path).control_socket
    mark = control.ask(socket, "alert-shelve", id=alert_id, until_ns=until_ns, reason=reason)
    _tell(mark, f"{mark['alert_id']} shelved by {mark['who']} until {local_time(until_ns)}", as_json)


@click.command()
@click.argument("alert_id", metavar="ID")
@config_option
def unshelve(alert_id: str, config_path: Path | None) -> None:
    """
    Take an alert from the shelf; if it is still there, it is sent. Needs the running daemon.

    \b
    Examples:
      collectord alerts unshelve 3f2a91c07d5be148
    """
    found = control.ask(configuration.load(config_path).control_socket, "alert-unshelve", id=alert_id)
    click.echo(f"{shown(found)} is no longer shelved")


def _tell(mark: dict[str, Any], text: str, as_json: bool) -> None:
    if not as_json:
        click.echo(shown(text))
        return
    times = {name.removesuffix("_ns"): mark[name] and rfc3339(mark[name]) for name in ("when_ns", "until_ns")}
    echo_json({**{name: mark[name] for name in ("alert_id", "kind", "episode", "who", "reason")}, **times})
