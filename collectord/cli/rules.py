"""``collectord rules``: what is looked for."""

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from collectord import plan
from collectord.cli.options import config_option, echo_json, json_option, shown
from collectord.detect.rules import Rule
from collectord.errors import EX_CONFIG


@click.group()
def rules() -> None:
    """
    What is looked for: the shipped rules, and your own.

    \b
    Examples:
      collectord rules list
      collectord rules check my-rule.toml
      collectord rules test my-rule.toml firewall.log
    """


@rules.command("list")
@config_option
@json_option
def list_rules(config_path: Path | None, as_json: bool) -> None:
    """
    List the rules: type, mode, severity, threshold, counter, title.

    The threshold is the largest number that is still quiet.

    \b
    Examples:
      collectord rules list
      collectord rules list --json | jq 'select(.mode == "notify").name'
    """
    found = plan.load(config_path).rules
    if as_json:
        for rule in found:
            echo_json(
                {
                    "name": rule.name,
                    "title": rule.title,
                    "type": rule.type.value,
                    "mode": rule.mode.value,
                    "severity": rule.severity.value,
                    "threshold": rule.threshold,
                    "unit": rule.unit,
                    "counter": rule.counter,
                    "group_by": list(rule.group_by),
                    "timespan_s": rule.timespan_s,
                    "step_s": rule.step_s,
                    "tactics": list(rule.tactics),
                    "techniques": list(rule.techniques),
                    "source": list(rule.source),
                }
            )
        return
    table = Table("rule", "type", "mode", "severity", "threshold", "counter", "title")
    for rule in found:
        table.add_row(
            rule.name, rule.type, rule.mode, rule.severity, _threshold(rule), rule.counter, Text(shown(rule.title))
        )
    Console().print(table)
    click.echo(f"{len(found)} rules")


@rules.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@config_option
def check(files: tuple[Path, ...], config_path: Path | None) -> None:
    """
    Check rule files beside all others; errors come with file and line.

    \b
    Examples:
      collectord rules check my-rule.toml
    """
    problems = plan.check_rules(plan.load(config_path), files)
    for problem in problems:
        click.echo(str(problem), err=True)
    if problems:
        raise SystemExit(EX_CONFIG)
    click.echo(f"{', '.join(str(file) for file in files)}: right")


def _threshold(rule: Rule) -> str:
    """What the rule's sum is held against, in a word."""
    if rule.threshold is not None:
        return f"{rule.threshold:,}"
    if rule.uses_watchlist:
        return "the row's"
    return "its past" if rule.baseline else "its pauses"
