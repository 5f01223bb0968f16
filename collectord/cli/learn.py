"""``collectord learn``: what would have been sent, and what to write so that it is not."""

from itertools import groupby
from operator import attrgetter
from pathlib import Path

import click

from collectord import config as configuration
from collectord import plan, quantity
from collectord.cli.options import config_option, database_reader, echo_json, json_option, local_time, shown
from collectord.clock import SystemClock
from collectord.detect.rules import MOST_DISTINCT, Rule, RuleType
from collectord.model import NS_PER_S, KeyValue, rfc3339
from collectord.store.learned import Learned, learned

SHOWN_KEYS = 20
"""Of each rule; the most frequent ones."""

_RAISABLE = frozenset((RuleType.EVENT_COUNT, RuleType.VALUE_COUNT, RuleType.VALUE_SUM))
"""Types whose condition is a number that a site may well set otherwise."""


def _seconds(context: click.Context, parameter: click.Parameter, value: str) -> int:
    try:
        return quantity.duration_s(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command()
@click.option(
    "--since", "since_s", callback=_seconds, default="30d", show_default=True, metavar="DURATION",
    help="How far to look back.",
)  # fmt: skip
@click.option("--rule", "only", metavar="NAME", help="Only of this rule.")
@click.option(
    "--limit", default=10_000, show_default=True, type=click.IntRange(1, 1_000_000), help="Most keys to read."
)
@config_option
@json_option
def learn(since_s: int, only: str | None, limit: int, config_path: Path | None, as_json: bool) -> None:
    """
    What would have been sent while the collector learned (learn_until), or by rules that only report.

    Per rule and key: how often, how much, and the TOML to paste into the rule's file: an exempt for each key, or a
    condition that leaves all of them quiet. `collectord exempt add` adds an exempt without touching a file. While the
    collector learns it also says until when, and how to end that.

    \b
    Examples:
      collectord learn
      collectord learn --since 7d --rule excessive-failures
      collectord learn --json | jq 'select(.learning) | .key'
    """
    config = configuration.load(config_path)
    with database_reader(config) as database:
        found = learned(database, SystemClock().now_ns() - since_s * NS_PER_S, limit)
    rules = {rule.name: rule for rule in plan.installed_rules(config)}
    found = [each for each in found if only in (None, each.rule)]
    if as_json:
        for each in found:
            echo_json(
                {
                    "rule": each.rule,
                    "site": each.site,
                    "key": each.key,
                    "id": each.alert_id,
                    "severity": each.severity,
                    "raises": each.raises,
                    "peak": each.peak,
                    "threshold": each.threshold,
                    "first_time": rfc3339(each.first_time_ns),
                    "last_time": rfc3339(each.last_time_ns),
                    "learning": bool(each.learning),
                    "exempt": exempt_toml(each),
                    "condition": condition_toml(rules.get(each.rule), each.peak),
                }
            )
        return
    if SystemClock().now_ns() < config.learn_until_ns:
        click.echo(
            f"# Learning until {local_time(config.learn_until_ns)}. To have alerts sent from now on: take learn_until"
        )
        click.echo(f"# out of {shown(config_path or 'the configuration')}, then: collectord reload")
        click.echo()
    if not found:
        click.echo("Nothing would have been sent.")
    for name, keys in groupby(found, attrgetter("rule")):
        _show(rules.get(name), list(keys))


def _show(rule: Rule | None, keys: list[Learned]) -> None:
    raises, peak = sum(each.raises for each in keys), max(each.peak for each in keys)
    why = "held back while learning" if any(each.learning for each in keys) else "the rule only reports"
    click.echo(f"# {shown(keys[0].rule)}: {_number(raises, 'alert')} of {_number(len(keys), 'key')} ({why})")
    for each in keys[:SHOWN_KEYS]:
        key = ", ".join(f"{name}={value}" for name, value in each.key.items())
        click.echo(
            f"#   {each.raises:,} x {shown(key)}{f' at {shown(each.site)}' if each.site else ''}: "
            f"up to {each.peak:,}, limit {each.threshold:,}; last {local_time(each.last_time_ns)}"
        )
    if len(keys) > SHOWN_KEYS:
        click.echo(f"#   and {len(keys) - SHOWN_KEYS:,} more (--json tells all)")
    condition = condition_toml(rule, peak)
    if condition:
        click.echo(f"# Quiet with this in your copy of the rule's file (README, Rules):\n{condition}")
        click.echo("# or, for single ones:")
    elif rule is not None and rule.uses_watchlist:
        click.echo("# The port watchlist holds the thresholds; for single keys:")
    for each in keys[:SHOWN_KEYS]:
        click.echo(
            exempt_toml(each)
            or '# It is about all there is, so nothing can be exempt from it. Quiet with:\nmode = "off"'
        )
    click.echo()


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def exempt_toml(each: Learned) -> str:
    """An exempt of one key for the rule's file; empty where the rule has no key, as an exempt must say of what."""
    names = each.key | ({"site": each.site} if each.site else {})
    if not names:
        return ""
    lines = [f"{name} = {_value(value)}" for name, value in names.items()]
    return "\n".join(("[[exempt]]", *lines, f'reason = "seen {rfc3339(each.last_time_ns)[:10]}: say why it is fine"'))


def condition_toml(rule: Rule | None, peak: int) -> str:
    """A condition that is quiet at this sum; empty where the rule has no such number, or none that can be told."""
    if rule is None or rule.threshold is None or rule.type not in _RAISABLE:
        return ""
    if rule.type is RuleType.VALUE_COUNT:
        return f'condition = {{ field = "{rule.distinct}", gt = {peak} }}' if peak <= MOST_DISTINCT - 1 else ""
    if rule.type is RuleType.VALUE_SUM:
        return f'condition = {{ field = "{rule.weight}", gt = {peak} }}'
    return f"condition = {{ gt = {peak} }}"


def _value(value: KeyValue) -> str:
    """A value as TOML 1.0 has it (basic strings)."""
    if isinstance(value, int):
        return str(value)
    return '"' + "".join(_character(character) for character in value) + '"'


def _character(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if character.isprintable():
        return character
    code = ord(character)
    if 0xD800 <= code <= 0xDFFF:
        # No TOML can hold half of a character.
        return "\\uFFFD"
    return f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}"
