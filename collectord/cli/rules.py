"""``collectord rules``: what is looked for."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from collectord import plan
from collectord.cli.options import config_option, echo_json, json_option, local_time, shown
from collectord.cli.rule_trial import try_rule
from collectord.detect import wording
from collectord.detect.rules import Rule, RuleType
from collectord.errors import EX_CONFIG, EX_USAGE


@click.group()
def rules() -> None:
    """
    What is looked for: the shipped rules, and your own.

    \b
    Examples:
      collectord rules list
      collectord rules show excessive-failures
      collectord rules check my-rule.toml
      collectord rules test my-rule.toml firewall.log
    """


rules.add_command(try_rule)


@rules.command("list")
@config_option
@json_option
def list_rules(config_path: Path | None, as_json: bool) -> None:
    """
    List the rules: mode, severity, type, and what raises an alert.

    The number in a condition, with --json the threshold, is the largest one that is still quiet.

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
    # A rule is a line of 80 columns, but for its condition where that is long: nobody reads folded words.
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for name in ("rule", "mode", "severity", "type"):
        table.add_column(name, no_wrap=True)
    table.add_column("raises when")
    for rule in found:
        table.add_row(rule.name, rule.mode, rule.severity, rule.type, Text(raises_when(rule)))
    Console().print(table)
    click.echo(f"{len(found)} rules; collectord rules show NAME tells all of one")


@rules.command()
@click.argument("name")
@config_option
def show(name: str, config_path: Path | None) -> None:
    """
    Show one rule: what it looks for, over which time, what it is held against, and what is exempt in its file.

    \b
    Examples:
      collectord rules show excessive-failures
    """
    found = {rule.name: rule for rule in plan.load(config_path).rules}
    rule = found.get(name)
    if rule is None:
        click.echo(f"collectord: there is no rule {shown(name)}; known: {', '.join(found)}", err=True)
        raise SystemExit(EX_USAGE)
    for label, value in _facts(rule):
        # A description may have several lines; each is made safe by itself.
        first, *others = str(value).splitlines() or ["-"]
        click.echo(f"{f'{label}:' if label else '':13} {shown(first)}")
        for line in others:
            click.echo(f"{'':13} {shown(line)}")


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


def raises_when(rule: Rule) -> str:
    """What makes a rule true, in a few words."""
    within = wording.span(rule.timespan_s)
    match rule.type:
        case RuleType.MATCH:
            return "any such session"
        case RuleType.BASELINE:
            return "a day far over its past"
        case RuleType.SILENCE:
            after = wording.span(rule.silence.after_s) if rule.silence else "its pauses"
            return f"silent for {after}, or longer than its pauses"
        case RuleType.BEACON:
            return f"> {rule.threshold} % regular in {within}"
        case RuleType.GAUGE:
            return f"> {rule.threshold:,} {rule.unit}"
        case _:
            limit = "the row's limit" if rule.threshold is None else f"{rule.threshold:,}"
            return f"> {limit} in {within}"


def _facts(rule: Rule) -> Iterator[tuple[str, str]]:
    yield "rule", f"{rule.name} ({rule.type.value})"
    yield "title", rule.title
    yield "mode", rule.mode.value
    yield "severity", f"{rule.severity.value}{' or that of the watchlist row' if rule.uses_watchlist else ''}"
    yield "about", rule.description.strip()
    if rule.counter:
        yield "where", "; ".join(_tests(rule.where)) or "all sessions"
    yield "counts", f"{rule.unit} by {', '.join(rule.group_by) or 'nothing: all together'}"
    if rule.counter:
        slots = "" if rule.step_s == rule.timespan_s else f", a new one each {wording.span(rule.step_s)}"
        yield "windows", f"{wording.span(rule.timespan_s)}{slots}"
    yield "raises when", raises_when(rule)
    yield from _conditions(rule)
    below = "" if rule.threshold is None else f" ({rule.clear_level(rule.threshold):,})"
    yield "clears", f"at or below {rule.clear_below:.0%} of the limit{below} for {wording.span(rule.clear_after_s)}"
    for exempt in rule.exempt:
        until = "" if exempt.until_ns is None else f", until {local_time(exempt.until_ns)}"
        yield "exempt", f"{'; '.join(_tests(exempt.where))}: {exempt.reason}{until}"
    yield "counter", rule.counter or "none: the daemon measures it"
    yield "evidence", ", ".join(rule.evidence) or "none"
    yield "ATT&CK", ", ".join((*rule.tactics, *rule.techniques)) or "-"
    yield "source", "\n".join(rule.source) or "-"


def _conditions(rule: Rule) -> Iterator[tuple[str, str]]:
    """What else stands in the condition; numbers as they stand in the file."""
    if rule.distinct:
        yield "", f"different values of {rule.distinct} are counted"
    if rule.weight != "EventCount":
        yield "", "records are counted" if rule.weight == "records" else f"{rule.weight} is added up"
    if rule.every_record:
        yield "", "each record of a session is counted"
    for values in (rule.beacon, rule.baseline, rule.silence):
        if values is not None:
            yield "", ", ".join(f"{each.name} = {getattr(values, each.name)}" for each in fields(values))


def _tests(tests: Mapping[str, Any]) -> Iterator[str]:
    for name, value in tests.items():
        yield f"{name} = {json.dumps(value, ensure_ascii=False)}"
