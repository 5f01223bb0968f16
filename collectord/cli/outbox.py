"""``collectord outbox``: what waits for the outputs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from collectord import config as configuration
from collectord import control
from collectord.cli.options import config_option, database_reader, echo_json, json_option, local_time, shown
from collectord.cli.tables import plain_table, print_whole
from collectord.clock import SystemClock
from collectord.config import Config
from collectord.errors import EX_USAGE
from collectord.model import NS_PER_S, rfc3339
from collectord.store import outbox_check
from collectord.store.outbox import Entry, Outbox, OutboxCounts

EXPORTED_AT_ONCE = 500
"""Entries that one read transaction takes; they are short, so that the daemon's log of changes can be emptied."""

output_option = click.option("--output", metavar="NAME", help="Only of this output.")


@click.group()
def outbox() -> None:
    """
    What waits for the outputs, and what became of it.

    \b
    Examples:
      collectord outbox list
      collectord outbox verify
      collectord outbox retry --output noc
      collectord outbox export > waiting.ndjson
    """


@outbox.command("list")
@output_option
@click.option("--all", "everything", is_flag=True, help="What was delivered or given up, too.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 100_000), help="Most entries to show.")
@config_option
@json_option
def list_entries(output: str | None, everything: bool, limit: int, config_path: Path | None, as_json: bool) -> None:
    """
    Each output with its totals, then what waits, the newest first.

    With --json an object a line: those of the kind "output", then those of the kind "entry".

    \b
    Examples:
      collectord outbox list
      collectord outbox list --output noc --all --limit 20
      collectord outbox list --json | jq 'select(.kind == "output")'
    """
    config = configuration.load(config_path)
    with database_reader(config) as database:
        stored = Outbox(database)
        counts = _counts(config, stored.counts(), output)
        entries = stored.find(output, everything=everything, limit=limit)
    now_ns = SystemClock().now_ns()
    if as_json:
        for name, of_output in counts.items():
            echo_json({"kind": "output", **_output_as_json(name, of_output)})
        for entry in entries:
            echo_json({"kind": "entry", **_entry_as_json(entry)})
        return
    table = plain_table("output", "waiting", "failing", "oldest", "delivered", "to tell again", "dropped")
    for name, of_output in counts.items():
        oldest = _age(now_ns - of_output.oldest_ns) if of_output.waiting else "-"
        dropped = ", ".join(f"{count:,} ({reason})" for reason, count in of_output.dropped.items()) or "0"
        figures = (of_output.waiting, of_output.failing, of_output.delivered, of_output.owed)
        waiting, failing, delivered, owed = (f"{figure:,}" for figure in figures)
        table.add_row(Text(shown(name)), waiting, failing, oldest, delivered, owed, dropped)
    print_whole(table)
    if not entries:
        click.echo("Nothing waits." if not everything else "No entries.")
        return
    click.echo()
    table = plain_table("id", "output", "alert", "what", "age", "tries", "next", "last error")
    for entry in entries:
        table.add_row(
            str(entry.id),
            Text(shown(entry.output)),
            entry.alert.id,
            f"{entry.alert.event}{' (again)' if entry.repeat else ''}",
            _age(now_ns - entry.created_ns),
            str(entry.attempts),
            _state(entry, now_ns),
            Text(shown(entry.error)),
        )
    print_whole(table)
    waiting_all = sum(of_output.waiting for of_output in counts.values())
    if not everything and waiting_all > len(entries):
        click.echo(f"{waiting_all - len(entries):,} more wait (--limit).")


@outbox.command()
@config_option
@json_option
def verify(config_path: Path | None, as_json: bool) -> None:
    """
    Look at every entry: is its alert's state there, in order, counted? Exit status 1 if anything is wrong.

    \b
    Examples:
      collectord outbox verify
      collectord outbox verify --json | jq .problems
    """
    with database_reader(configuration.load(config_path)) as database:
        entries, problems = outbox_check.findings(database)
    if as_json:
        echo_json({"ok": not problems, "entries": entries, "problems": problems})
    else:
        for problem in problems:
            click.echo(shown(problem))
        noun = "entry" if entries == 1 else "entries"
        click.echo(f"{entries:,} {noun}: " + ("this is wrong" if problems else "all is well"))
    if problems:
        raise SystemExit(1)


@outbox.command()
@click.argument("ids", metavar="[ID]...", type=click.IntRange(1, 2**63 - 1), nargs=-1)
@output_option
@config_option
def retry(ids: tuple[int, ...], output: str | None, config_path: Path | None) -> None:
    """
    Try what waits at once, instead of after the pause that failures make. Needs the running daemon.

    Without IDs (collectord outbox list shows them) everything that waits.

    \b
    Examples:
      collectord outbox retry
      collectord outbox retry --output noc
      collectord outbox retry 4711 4712
    """
    socket = configuration.load(config_path).control_socket
    count = control.ask(socket, "outbox-retry", output=output, ids=list(ids) or None)
    click.echo(f"{count:,} {'entry' if count == 1 else 'entries'} had to wait; the outputs are tried now")


@outbox.command()
@output_option
@config_option
def export(output: str | None, config_path: Path | None) -> None:
    """
    What waits with its alerts, an object a line, oldest first: for whoever wants it by hand while an output is down.

    Nothing is taken out of the outbox: what was exported is still sent.

    \b
    Examples:
      collectord outbox export --output noc > waiting.ndjson
      collectord outbox export | jq .alert.summary
    """
    config = configuration.load(config_path)
    with database_reader(config) as database:
        stored = Outbox(database)
        _counts(config, stored.counts(), output)
        last = 0
        while entries := stored.waiting(output, last, EXPORTED_AT_ONCE):
            for entry in entries:
                echo_json({**_entry_as_json(entry), "alert": entry.alert.as_json()})
            last = entries[-1].id


def _counts(config: Config, counts: Mapping[str, OutboxCounts], output: str | None) -> dict[str, OutboxCounts]:
    """Of each output that is configured, or has anything; of one that is neither there is nothing to say."""
    names = dict.fromkeys((*(each.name for each in config.output), *counts))
    if output is not None and output not in names:
        click.echo(f"collectord: there is no output {shown(output)}; there are: {', '.join(names)}", err=True)
        raise SystemExit(EX_USAGE)
    return {name: counts.get(name, OutboxCounts(0, 0, 0, 0)) for name in names if output in (None, name)}


def _state(entry: Entry, now_ns: int) -> str:
    if entry.delivered_ns is not None:
        return f"delivered {local_time(entry.delivered_ns)}"
    if entry.dropped is not None:
        return f"given up: {entry.dropped}"
    # Behind an older one, or because the output waits.
    return "in its turn" if entry.next_try_ns <= now_ns else f"in {_age(entry.next_try_ns - now_ns)}"


def _age(span_ns: int) -> str:
    """A span for people, in its two largest units."""
    seconds = max(0, span_ns) // NS_PER_S
    parts = [(seconds // 86_400, "d"), (seconds // 3600 % 24, "h"), (seconds // 60 % 60, "m"), (seconds % 60, "s")]
    while len(parts) > 1 and not parts[0][0]:
        parts.pop(0)
    return " ".join(f"{number}{unit}" for number, unit in parts[:2])


def _output_as_json(name: str, counts: OutboxCounts) -> dict[str, Any]:
    return {
        "output": name,
        "waiting": counts.waiting,
        "failing": counts.failing,
        "oldest": rfc3339(counts.oldest_ns) if counts.waiting else None,
        "delivered": counts.delivered,
        "dropped": dict(counts.dropped),
        "owed": counts.owed,
    }


def _entry_as_json(entry: Entry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "output": entry.output,
        "sequence": entry.sequence,
        "alert_id": entry.alert.id,
        "episode": entry.alert.episode,
        "event": entry.alert.event,
        "state": entry.alert.state.value,
        "repeat": entry.repeat,
        "created": rfc3339(entry.created_ns),
        "attempts": entry.attempts,
        "next_try": rfc3339(entry.next_try_ns) if entry.next_try_ns else None,
        "error": entry.error,
        "delivered": None if entry.delivered_ns is None else rfc3339(entry.delivered_ns),
        "dropped": entry.dropped,
    }
