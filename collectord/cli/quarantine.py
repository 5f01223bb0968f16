"""``collectord quarantine``: what could not be read."""

import json
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from collectord import config as configuration
from collectord import control, plan
from collectord.cli.options import config_option, database_reader, echo_json, json_option, local_time, shown
from collectord.errors import EX_USAGE
from collectord.model import rfc3339
from collectord.store import quarantine as stored

FORGET_AT_ONCE = 1_000
"""Numbers in one request to the daemon, far within the longest that it takes."""


@click.group(invoke_without_command=True)
@click.pass_context
def quarantine(context: click.Context) -> None:
    """
    Messages that no profile could read, by sender and shape, each with a raw example.

    \b
    Examples:
      collectord quarantine                 # what there is, the most frequent first
      collectord quarantine show 17         # the raw example
      collectord quarantine replay          # which of them the profiles of now can read
    """
    if context.invoked_subcommand is None:
        context.invoke(list_groups)


@quarantine.command("list")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 100_000), help="Most to show.")
@click.option("--words", "as_words", is_flag=True, help="Vendors' words that no profile maps, instead.")
@config_option
@json_option
def list_groups(limit: int, as_words: bool, config_path: Path | None, as_json: bool) -> None:
    """
    List the groups, the most frequent first.

    \b
    Examples:
      collectord quarantine list --limit 20
      collectord quarantine list --words
    """
    with database_reader(configuration.load(config_path)) as database:
        groups, words = stored.groups(database, limit), stored.words(database, limit)
    if as_words:
        _show_words(words, as_json)
        return
    if as_json:
        for group in groups:
            echo_json(_as_json(group))
        return
    if not groups:
        click.echo("Nothing: every message was read.")
        return
    number, peer, start = (
        Column("id", no_wrap=True),
        Column("peer", no_wrap=True),
        Column("starts with", overflow="fold"),
    )
    table = Table(number, "messages", "listener", peer, "profile", "last", start)
    for group in groups:
        cells = (str(group.id), f"{group.messages:,}", group.listener, group.peer)
        # What comes from the wire must not be taken for rich's markup.
        profile, shape = Text(shown(group.profile or "none")), Text(shown(group.shape))
        table.add_row(*cells, profile, local_time(group.last_ns), shape)
    Console().print(table)


def _show_words(words: list[tuple[str, str, str, int, int]], as_json: bool) -> None:
    if as_json:
        for profile, source, word, messages, last_ns in words:
            echo_json(
                {"profile": profile, "source": source, "word": word, "messages": messages, "last": rfc3339(last_ns)}
            )
        return
    if not words:
        click.echo("Nothing: every word is mapped.")
        return
    table = Table("profile", "source", "word", "messages", "last")
    for profile, source, word, messages, last_ns in words:
        told = (Text(shown(text)) for text in (profile, source, word))
        table.add_row(*told, f"{messages:,}", local_time(last_ns))
    Console().print(table)


@quarantine.command()
@click.argument("number", metavar="ID", type=click.IntRange(0, stored.MAX_ID))
@click.option("--raw", is_flag=True, help="The example's bytes alone, for collectord parse or explain.")
@config_option
@json_option
def show(number: int, raw: bool, config_path: Path | None, as_json: bool) -> None:
    """
    Show a group with its raw example.

    \b
    Examples:
      collectord quarantine show 17
      collectord quarantine show --raw 17 | collectord explain
    """
    with database_reader(configuration.load(config_path)) as database:
        group = stored.group(database, number)
    if group is None:
        click.echo(f"collectord: there is nothing numbered {number} in the quarantine", err=True)
        raise SystemExit(EX_USAGE)
    if raw:
        click.echo(group.example, nl=False)
        return
    if as_json:
        echo_json(_as_json(group))
        return
    click.echo(f"messages: {group.messages:,} from {group.peer or '-'} at listener {shown(group.listener)}")
    click.echo(f"first:    {local_time(group.first_ns)}")
    click.echo(f"last:     {local_time(group.last_ns)}")
    click.echo(f"profile:  {shown(group.profile or 'none knows it')}")
    click.echo(f"example:  {shown(group.example.decode('utf-8', 'backslashreplace'))}")


@quarantine.command()
@config_option
@json_option
def replay(config_path: Path | None, as_json: bool) -> None:
    """
    Read the examples again with the profiles of now; what they can read leaves the quarantine.

    Nothing is counted again: the messages were received in another window. Needs the running daemon, as only it writes
    the database.

    \b
    Examples:
      collectord quarantine replay
    """
    setup = plan.load(config_path)
    engine = setup.engine()
    with database_reader(setup.config) as database:
        groups = stored.groups(database, stored.MAX_GROUPS)
    read = []
    for group in groups:
        answer = json.loads(engine.parse(group.example, group.peer or None))
        if answer["Outcome"] in ("session", "event"):
            read.append((group, answer))
    ids = [group.id for group, _ in read]
    for start in range(0, len(ids), FORGET_AT_ONCE):
        control.ask(setup.config.control_socket, "quarantine-forget", ids=ids[start : start + FORGET_AT_ONCE])
    for group, answer in read:
        if as_json:
            echo_json({**_as_json(group), "now": answer["Outcome"], "by": answer["Profile"]})
        else:
            click.echo(f"{group.id}: now read as {answer['Outcome']} by {answer['Profile']}: {shown(group.shape)}")
    if not as_json:
        click.echo(f"{len(read)} of {len(groups)} groups can be read now and left the quarantine")


def _as_json(group: stored.StoredGroup) -> dict[str, Any]:
    return {
        "id": group.id,
        "listener": group.listener,
        "peer": group.peer,
        "profile": group.profile,
        "shape": group.shape,
        "messages": group.messages,
        "first": rfc3339(group.first_ns),
        "last": rfc3339(group.last_ns),
        "example": group.example.decode("utf-8", "backslashreplace"),
    }
