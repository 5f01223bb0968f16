"""``collectord alerts``: what was found."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from collectord import config as configuration
from collectord.cli.alert_marks import ack, shelve, unshelve
from collectord.cli.options import (
    config_option,
    csv_option,
    database_reader,
    echo_csv,
    echo_json,
    json_option,
    local_moment,
    local_time,
    period_options,
    shown,
)
from collectord.cli.tables import print_entry
from collectord.cli.tell import resync
from collectord.clock import SystemClock
from collectord.config import Config
from collectord.detect import hosts as hosts_file
from collectord.detect import telling
from collectord.detect.hosts import Host
from collectord.errors import ConfigError
from collectord.model import Alert, AlertMark, AlertState, MarkKind, Mode, rfc3339
from collectord.store import marks as stored_marks
from collectord.store import names as stored_names
from collectord.store.alerts import Alerts
from collectord.store.outbox import Delivery, Outbox

Marks = Mapping[MarkKind, AlertMark]
Names = Mapping[str, str]
"""Of addresses."""

_COLOURS = {"high": "bold red", "medium": "yellow", "low": "cyan", "informational": ""}

_TOP = {
    "DstPortNumber": "ports",
    "DstIpAddr": "destinations",
    "SrcIpAddr": "sources",
    "DvcAction": "actions",
    "EventResultDetails": "results",
    "Dvc": "reported by",
}
"""What evidence says most frequent values of, in the order in which it is shown."""


_TELLS_MORE = {"learning": " (collectord learn: until when, and how to end it)"}
"""Of what holds an alert back."""

USUAL, MOST = 100, 100_000
"""Alerts that are shown at once: a screen or two, or all that there can be in a report."""

END_OF_TIME_NS = 2**63 - 1

COLUMNS = (
    "id", "episode", "rule", "state", "severity", "mode", "site", "key", "count", "peak", "threshold", "window_s",
    "first_time", "last_time", "summary", "reason", "held", "acknowledged_by", "note",
)  # fmt: skip
"""Of ``--csv``; more are only added at the end."""


@click.group(invoke_without_command=True)
@period_options
@csv_option
@config_option
@json_option
@click.pass_context
def alerts(
    context: click.Context,
    config_path: Path | None,
    as_json: bool,
    as_csv: bool,
    since_ns: int | None,
    until_ns: int | None,
) -> None:
    """
    Alerts: those that are active, and what they were.

    \b
    Examples:
      collectord alerts                       # the active ones
      collectord alerts --json                # for programs
      collectord alerts list --all            # all
      collectord alerts --since 7d --csv      # of the last week, for a report
      collectord alerts show 3f2a91c07d5be148
      collectord alerts ack 3f2a91c07d5be148 --note "calling the branch"
    """
    if context.invoked_subcommand is None:
        period = {"since_ns": since_ns, "until_ns": until_ns}
        context.invoke(list_alerts, config_path=config_path, as_json=as_json, as_csv=as_csv, **period)
        return
    given = {"config_path": config_path, "as_json": as_json}
    given = {
        name: value
        for name, value in given.items()
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    }
    # An option stands before or behind the command, as one likes.
    context.default_map = {context.invoked_subcommand: given}
    for name, value in (("--since", since_ns), ("--until", until_ns), ("--csv", as_csv)):
        if value:
            raise click.UsageError(f"{name} belongs behind the command: collectord alerts list {name}")


for _command in (ack, shelve, unshelve, resync):
    alerts.add_command(_command)


@alerts.command("list")
@click.option("--all", "everything", is_flag=True, help="Cleared ones, too.")
@click.option("--rule", metavar="NAME", help="Only of this rule.")
@click.option("--site", metavar="SITE", help="Only of this site.")
@click.option(
    "--limit", type=click.IntRange(1, MOST), metavar="NUMBER",
    help=f"Most to show. Default: {USUAL}; with --since, --until or --csv {MOST:,}.",
)  # fmt: skip
@period_options
@csv_option
@config_option
@json_option
def list_alerts(
    everything: bool = False,
    rule: str | None = None,
    site: str | None = None,
    limit: int | None = None,
    config_path: Path | None = None,
    as_json: bool = False,
    as_csv: bool = False,
    since_ns: int | None = None,
    until_ns: int | None = None,
) -> None:
    """
    List alerts, the newest first; by default the active ones.

    With --since or --until those that were active at any time between, each episode by itself: what an alert was each
    time that it was raised.

    \b
    Examples:
      collectord alerts list
      collectord alerts list --all --rule excessive-failures
      collectord alerts list --json | jq .summary
      collectord alerts list --since 30d --csv > alerts.csv
    """
    in_period = since_ns is not None or until_ns is not None
    limit = limit or (MOST if in_period or as_csv else USUAL)
    with database_reader(configuration.load(config_path)) as database:
        if in_period:
            until_ns = END_OF_TIME_NS if until_ns is None else until_ns
            found = Alerts(database).between(since_ns or 0, until_ns, rule=rule, site=site, limit=limit)
        else:
            found = Alerts(database).find(active=None if everything else True, rule=rule, site=site, limit=limit)
        marks = stored_marks.of(database, [alert.id for alert in found])
        names = stored_names.of(database, found)
    if as_json:
        for alert in found:
            echo_json(_as_json(alert, marks.get(alert.id, {}), names.get(alert.id, {})))
        return
    if as_csv:
        echo_csv(COLUMNS, (_row(alert, marks.get(alert.id, {})) for alert in found))
        return
    if not found:
        click.echo("No alerts." if everything or in_period else "No active alerts. (--all shows the cleared ones)")
        return
    for alert in found:
        _show_short(alert, marks.get(alert.id, {}), names.get(alert.id, {}))


def _show_short(alert: Alert, marks: Marks, names: Names) -> None:
    """A line with the id, then what it is about."""
    line = Text(f"{alert.id}  {alert.state.value}  ")
    line.append(alert.severity.value, _COLOURS[alert.severity.value])
    line.append(f"  {local_time(alert.first_time_ns)} to {local_time(alert.last_time_ns)}")
    summary = shown(alert.summary).removesuffix(f"; collectord alerts show {alert.id}")
    print_entry(line, [summary, *(f"[{shown(text)}]" for text in _remarks(alert, marks, names))])


@alerts.command()
@click.argument("alert_id", metavar="ID")
@config_option
@json_option
def show(alert_id: str, config_path: Path | None, as_json: bool) -> None:
    """
    Show one alert: what, when, how much over the limit, who reported it, its history, and what was sent where.

    Of an ID its first characters will do, four at least, where no other alert begins so; ack, shelve and unshelve take
    it like that, too.

    \b
    Examples:
      collectord alerts show 3f2a91c07d5be148
      collectord alerts show --json 3f2a91c07d5be148 | jq .history
    """
    config = configuration.load(config_path)
    with database_reader(config) as database:
        stored = Alerts(database)
        alert = stored.meant(alert_id)
        history = stored.history(alert.id)
        deliveries = Outbox(database).deliveries(alert.id)
        marks = stored_marks.of(database, [alert.id]).get(alert.id, {})
        names = stored_names.of(database, [alert]).get(alert.id, {})
    if as_json:
        echo_json(
            {
                **_as_json(alert, marks, names),
                "hosts": {address: _host_as_json(host) for address, host in _hosts(config, alert)},
                "history": [{**state.as_json(), "held": state.held or None} for state in history],
                "deliveries": [_delivery_as_json(delivery) for delivery in deliveries],
            }
        )
        return
    for name, value in _facts(alert, marks, names):
        click.echo(f"{f'{name}:' if name else '':14} {shown(value)}")
    for address, host in _hosts(config, alert):
        click.echo(f"{'host:':14} {shown(_host_line(address, host))}")
    evidence = alert.details.get("evidence")
    for line in evidence.get("lines", ()) if isinstance(evidence, Mapping) else ():
        click.echo(f"  {shown(line)}")
    click.echo("history:")
    for state in history:
        held = f" (not sent: {state.held})" if state.held and not state.is_sent else ""
        click.echo(
            f"  {local_time(state.last_time_ns)}  episode {state.episode}  {state.event:10} "
            f"{shown(state.summary + held)}"
        )
    click.echo("sent:")
    for delivery in deliveries:
        click.echo(f"  {shown(_delivery_line(delivery))}")
    if not deliveries:
        click.echo("  nothing")


def _hosts(config: Config, alert: Alert) -> list[tuple[str, Host]]:
    """What the site's list says now of the key's addresses; nothing where it can't be read."""
    try:
        hosts = hosts_file.load(config.hosts)
    except ConfigError:
        return []
    addresses = dict.fromkeys(str(value) for name, value in alert.key.items() if name.endswith("IpAddr"))
    return [(address, host) for address in addresses if (host := hosts.find(address, alert.site)) is not None]


def _host_line(address: str, host: Host) -> str:
    known = (host.name, ", ".join(host.roles) and f"role {', '.join(host.roles)}", host.owner and f"owner {host.owner}")
    return f"{address}: {', '.join(text for text in known if text) or host.network}"


def _host_as_json(host: Host) -> dict[str, Any]:
    return {"network": host.network, "name": host.name, "roles": list(host.roles), "owner": host.owner}


def _delivery_line(delivery: Delivery) -> str:
    moment = local_time(delivery.delivered_ns or delivery.created_ns)
    what = (
        f"{moment}  episode {delivery.episode}  {delivery.event:10} to {delivery.output} (number {delivery.sequence})"
    )
    tries = f"{delivery.attempts} {'try' if delivery.attempts == 1 else 'tries'}"
    if delivery.delivered_ns is not None:
        return f"{what}: delivered, {tries}"
    if delivery.dropped is not None:
        return f"{what}: given up ({delivery.dropped}), {tries}"
    return f"{what}: waiting, {tries}{f': {delivery.error}' if delivery.error else ''}"


def _delivery_as_json(delivery: Delivery) -> dict[str, Any]:
    delivered_ns = delivery.delivered_ns
    return {
        "output": delivery.output,
        "episode": delivery.episode,
        "event": delivery.event,
        "sequence": delivery.sequence,
        "created": rfc3339(delivery.created_ns),
        "delivered": None if delivered_ns is None else rfc3339(delivered_ns),
        "attempts": delivery.attempts,
        "error": delivery.error,
        "dropped": delivery.dropped,
    }


def _acknowledged(alert: Alert, marks: Marks) -> AlertMark | None:
    """An acknowledgement is of the episode that somebody saw."""
    mark = marks.get(MarkKind.ACK)
    return mark if mark and mark.episode == alert.episode else None


def _shelved(marks: Marks) -> AlertMark | None:
    mark = marks.get(MarkKind.SHELVE)
    return mark if mark and (mark.until_ns or 0) > SystemClock().now_ns() else None


def _as_json(alert: Alert, marks: Marks, names: Names) -> dict[str, Any]:
    found: dict[str, Any] = {**alert.as_json(), "held": alert.held or None, "names": names}
    for name, mark in (("ack", _acknowledged(alert, marks)), ("shelved", _shelved(marks))):
        found[name] = mark and {
            "who": mark.who,
            "when": rfc3339(mark.when_ns),
            "reason": mark.reason,
            "until": None if mark.until_ns is None else rfc3339(mark.until_ns),
        }
    return found


def _row(alert: Alert, marks: Marks) -> tuple[object, ...]:
    """In the order of COLUMNS; times in UTC (RFC 3339)."""
    acknowledged = _acknowledged(alert, marks)
    key = ", ".join(f"{name}={value}" for name, value in alert.key.items())
    return (
        alert.id, alert.episode, alert.rule, alert.state.value, alert.severity.value, alert.mode.value, alert.site, key,
        alert.count, alert.peak, alert.threshold, alert.window_s, rfc3339(alert.first_time_ns),
        rfc3339(alert.last_time_ns), alert.summary, alert.reason, alert.held,
        acknowledged and acknowledged.who, acknowledged and acknowledged.reason,
    )  # fmt: skip


def _remarks(alert: Alert, marks: Marks, names: Names) -> Iterator[str]:
    """What operators and holds have to do with it, and what DNS calls its addresses."""
    for address, name in names.items():
        yield f"{address} is {name} (reverse DNS)"
    if alert.state is not AlertState.CLEARED:
        if alert.held:
            yield f"not sent: {alert.held}{_TELLS_MORE.get(alert.held, '')}"
        elif alert.mode is Mode.REPORT:
            yield "not sent: mode report"
    if acknowledged := _acknowledged(alert, marks):
        note = f": {acknowledged.reason}" if acknowledged.reason else ""
        yield f"acknowledged by {acknowledged.who} at {local_time(acknowledged.when_ns)}{note}"
    if shelved := _shelved(marks):
        yield f"shelved by {shelved.who} until {local_time(shelved.until_ns or 0)}: {shelved.reason}"


def _facts(alert: Alert, marks: Marks, names: Names) -> Iterator[tuple[str, Any]]:
    yield "alert", f"{alert.id} (episode {alert.episode})"
    yield "title", alert.title
    yield "summary", alert.summary
    yield "state", f"{alert.state.value}{f': {alert.reason}' if alert.reason else ''}"
    for remark in _remarks(alert, marks, names):
        yield "", remark
    yield "severity", alert.severity.value
    # What is held back has the mode report for as long.
    yield "rule", f"{alert.rule} ({(Mode.NOTIFY if alert.held else alert.mode).value})"
    yield "site", alert.site or "-"
    yield "key", ", ".join(f"{field}={value}" for field, value in alert.key.items())
    times = f", {alert.count / alert.threshold:.3g} times that" if alert.threshold else ""
    within = f" in {alert.window_s} s" if alert.window_s else ""
    yield "count", f"{alert.count:,}{within}, limit {alert.threshold:,}{times}"
    yield "peak", f"{alert.peak:,}"
    yield "first", local_time(alert.first_time_ns)
    yield "cleared" if alert.state is AlertState.CLEARED else "last", local_time(alert.last_time_ns)
    yield "ATT&CK", ", ".join((*alert.tactics, *alert.techniques)) or "-"
    device = alert.details.get("device")
    if isinstance(device, Mapping):
        address = device.get("address")
        yield "device", f"{device.get('name')}{f' ({address})' if address else ''}"
    yield from ((name, value) for name, value in alert.details.items() if name not in ("held", "evidence", "device"))
    evidence = alert.details.get("evidence")
    if isinstance(evidence, Mapping):
        yield from _evidence(evidence)


def _evidence(evidence: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What the messages behind an alert have in common."""
    if ends := telling.split_words(evidence):
        yield "ended", f"{ends} (of the messages seen while it was near its limit)"
    top = evidence.get("top", {})
    for name in (*_TOP, *(other for other in top if other not in _TOP)):
        if values := top.get(name):
            yield _TOP.get(name, name), ", ".join(f"{value} ({count:,})" for value, count in values)
    if "messages" in evidence:
        first, last = (local_moment(evidence.get(name)) for name in ("first_time", "last_time"))
        yield "messages", f"{evidence['messages']:,} from {first} to {last}"
