"""``collectord exempt``: what is no alert."""

from pathlib import Path
from typing import Any

import click
from rich.text import Text

from collectord import config as configuration
from collectord import control, plan
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
from collectord.fields import is_number_field
from collectord.model import NS_PER_S, rfc3339
from collectord.store import exceptions


@click.group()
def exempt() -> None:
    """
    Exempts: what a rule shall not raise an alert for.

    \b
    Examples:
      collectord exempt list
      collectord exempt add excessive-failures SrcIpAddr=192.0.2.10 --reason "our own scanner"
    """


@exempt.command()
@click.argument("rule")
@click.argument("tests", metavar="FIELD=VALUE...", nargs=-1, required=True)
@click.option("--until", metavar="TIME", help='When it ends by itself, as "2026-12-24 22:00".')
@click.option("--zone", metavar="ZONE", help="Time zone of --until, as Europe/Berlin; by default the machine's.")
@for_option
@reason_option
@config_option
@json_option
def add(
    rule: str,
    tests: tuple[str, ...],
    until: str | None,
    zone: str | None,
    for_s: int | None,
    reason: str,
    config_path: Path | None,
    as_json: bool,
) -> None:
    """
    Exempt what fits all FIELD=VALUE tests; an active alert that fits clears at once.

    FIELD is one that the alert's key has, or site; role for hosts with a role, device for rules about devices. VALUE
    is as in a rule's file: text, a port or range (5800-5810), an address or network, internal; several with commas
    between. FIELD!=VALUE turns the test round. What only a session says is exempted in the rule's file. Needs the
    running daemon.

    \b
    Examples:
      collectord exempt add excessive-failures SrcIpAddr=192.0.2.10 --reason "our own scanner"
      collectord exempt add excessive-failures SrcIpAddr=10.7.0.0/16 site=branch-7 --for 7d --reason "move, see CHG-17"
      collectord exempt add port-misuse Name="Burst of SMB" DstPortNumber=445 --until 2026-12-24 --reason "migration"
    """
    if until is not None and for_s is not None:
        raise click.UsageError("either --for or --until")
    if zone is not None and until is None:
        raise click.UsageError("--zone is that of --until")
    until_ns = None if until is None else moment_ns(until, zone, end=True)
    if for_s is not None:
        until_ns = SystemClock().now_ns() + for_s * NS_PER_S
    config = configuration.load(config_path)
    where = dict(_test(text) for text in tests)
    if len(where) < len(tests):
        raise click.UsageError("a field is there twice; several values stand with commas between")
    added = control.ask(config.control_socket, "exempt-add", rule=rule, where=where, until_ns=until_ns, reason=reason)
    note_unknown_sites(config, _sites(where.get("site", [])))
    if as_json:
        echo_json(_as_json(added))
    else:
        end = f" until {local_time(until_ns)}" if until_ns else ""
        click.echo(f"exempt {added['number']}: {shown(rule)} leaves out {shown(' '.join(tests))}{end}")


@exempt.command("list")
@click.option("--rule", "only", metavar="NAME", help="Only of this rule.")
@config_option
@json_option
def list_exempts(only: str | None, config_path: Path | None, as_json: bool) -> None:
    """
    List the exempts: those added by command with their numbers, and those in the rules' files.

    \b
    Examples:
      collectord exempt list
      collectord exempt list --rule excessive-failures --json
    """
    config = configuration.load(config_path)
    with database_reader(config) as database:
        added = exceptions.exempts(database, SystemClock().now_ns())
    rules = plan.installed_rules(config)
    found: list[dict[str, Any]] = [
        {"number": each.number, "rule": each.rule, "where": each.where, "reason": each.reason,
         "until_ns": each.until_ns, "who": each.who, "when_ns": each.when_ns}
        for each in added
    ]  # fmt: skip
    found += [
        {"number": None, "rule": rule.name, "where": dict(each.where), "reason": each.reason,
         "until_ns": each.until_ns, "who": None, "when_ns": None}
        for rule in rules
        for each in rule.exempt
    ]  # fmt: skip
    found = [each for each in found if only in (None, each["rule"])]
    if as_json:
        for each in found:
            echo_json(_as_json(each))
        return
    if not found:
        click.echo("No exempts.")
        return
    table = plain_table("number", "rule", "until", "who", "leaves out", "why")
    for each in found:
        number = "in its file" if each["number"] is None else str(each["number"])
        tests = ", ".join(f"{name} = {value}" for name, value in each["where"].items())
        until = local_time(each["until_ns"]) if each["until_ns"] else "-"
        texts = (number, each["rule"], until, each["who"] or "-", tests, each["reason"])
        table.add_row(*(Text(shown(text)) for text in texts))
    print_whole(table)


@exempt.command()
@click.argument("number", type=click.IntRange(0, 2**63 - 1))
@config_option
def remove(number: int, config_path: Path | None) -> None:
    """
    Remove an exempt that was added by command. Needs the running daemon.

    \b
    Examples:
      collectord exempt remove 3
    """
    control.ask(configuration.load(config_path).control_socket, "exempt-remove", number=number)
    click.echo(f"exempt {number} is removed")


def _test(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.rstrip("!") or not value:
        raise click.UsageError(f'expected FIELD=VALUE, got "{shown(text)}"')
    turned, name = name.endswith("!"), name.rstrip("!")
    # A name in a watchlist may hold a comma; what a list is made of does not.
    parts = [value] if name == "Name" else [part.strip() for part in value.split(",")]
    values = [int(part) if is_number_field(name) and part.isascii() and part.isdigit() else part for part in parts]
    test: Any = values[0] if len(values) == 1 else values
    return name, {"not": test} if turned else test


def _sites(test: Any) -> list[str]:
    values = test["not"] if isinstance(test, dict) else test
    return values if isinstance(values, list) else [values]


def _as_json(exempt: dict[str, Any]) -> dict[str, Any]:
    times = {name: exempt[f"{name}_ns"] and rfc3339(exempt[f"{name}_ns"]) for name in ("until", "when")}
    return {**{name: exempt[name] for name in ("number", "rule", "where", "reason", "who")}, **times}
