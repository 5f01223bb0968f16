"""``collectord reload``: what was changed in the files is in force from now on."""

from pathlib import Path
from typing import Any

import click

from collectord import config as configuration
from collectord import control
from collectord.cli.options import config_option, echo_json, json_option, shown
from collectord.errors import EX_CONFIG, Problem

LIMIT_S = 120.0
"""Most that is waited: reading takes a second, and a database that is busy may hold the change up."""


@click.command()
@config_option
@json_option
def reload(config_path: Path | None, as_json: bool) -> None:
    """
    Take up the changed configuration without a restart: profiles, rules, watchlist, hosts, devices, networks, bounds.

    All or nothing: if anything is wrong, everything that is wrong is told, and what was in force stays so (exit status
    78). No connection is lost, no count either, unless a rule counts something else now; alerts that the change leaves
    no ground for clear with that reason. What a running daemon can't change, as listeners and outputs, is refused by
    name. SIGHUP does the same. `collectord status` shows what became of the last one.

    \b
    Examples:
      collectord reload
      collectord reload --config /etc/collectord/collectord.toml
      collectord reload --json | jq .problems
    """
    answer = control.ask(configuration.control_socket(config_path), "reload", limit_s=LIMIT_S)
    if as_json:
        echo_json(answer)
    elif answer["taken"]:
        click.echo(f"taken up: {shown(answer['config'] or 'the defaults')}")
    else:
        for line in problem_lines(answer):
            click.echo(line, err=True)
        click.echo("collectord: refused; what was in force stays so", err=True)
    if not answer["taken"]:
        raise SystemExit(EX_CONFIG)


def problem_lines(answer: dict[str, Any], most: int | None = None) -> list[str]:
    """The problems of a refused configuration, a line each, and how many more there are."""
    told = answer["problems"][:most]
    left_out = len(answer["problems"]) - len(told) + answer["problems_left_out"]
    lines = [shown(Problem(**problem)) for problem in told]
    return lines + ([f"and {left_out:,} more: collectord check tells all"] if left_out else [])
