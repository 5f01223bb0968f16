"""``collectord tune``: what other limits would have found."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Column

from collectord import plan
from collectord.cli.options import config_option, echo_json, json_option, shown
from collectord.cli.signals import cleaned_up
from collectord.cli.tables import plain_table
from collectord.clock import SystemClock
from collectord.detect import tuning, where
from collectord.detect.alerts import identity
from collectord.detect.baseline import DAY_S
from collectord.detect.exempts import Exempts
from collectord.detect.findings import key_of
from collectord.detect.rules import Baseline, Rule, RuleType
from collectord.detect.tuning import Candidate, Changes
from collectord.detect.watchlist import ThresholdType, WatchRow
from collectord.errors import StoreError
from collectord.model import CounterDefinition, KeyValue, Mode
from collectord.plan import Setup
from collectord.store import backup, exceptions
from collectord.store.db import Database
from collectord.store.history import History, Key
from collectord.store.rollups import levels

SUMS = frozenset((RuleType.EVENT_COUNT, RuleType.VALUE_SUM, RuleType.BASELINE))
"""Types whose counters stay in the database as sums."""

LOOK_BACK_DAYS = 60

ENOUGH_DAYS = 1
"""Of less than a day nobody knows what an ordinary one brings."""

NO_DAYS = "no day can be judged yet, as there are too few before it"

AlertKey = tuple[str, tuple[tuple[str, KeyValue], ...]]
"""Site and key of an alert."""


@dataclass(frozen=True, slots=True)
class Tuned:
    """What was found out about one limit."""

    rule: str
    about: str
    """Row of the watchlist; empty where the rule has one limit."""
    limit: str
    """What is varied: ``threshold`` or ``score``."""
    present: float
    proposed: float
    days: float
    """Time that was looked at."""
    keys: int
    percentiles: dict[float, int]
    """Of the largest sum that each key had in a window (threshold), or on a day (score)."""
    candidates: tuple[Candidate, ...]
    paste: str


@click.command()
@click.argument("rule", required=False)
@config_option
@json_option
def tune(rule: str | None, config_path: Path | None, as_json: bool) -> None:
    """
    What each limit of a rule (or of all rules) would have found in what the database holds, and the TOML to paste.

    Looks at the counters' slots, or at their days for rules that compare days. The limit that is proposed is the
    lowest with at most one alert a day. Works on a copy of the database, so that the daemon is not disturbed.

    \b
    Examples:
      collectord tune excessive-failures
      collectord tune --json | jq '{rule, present, proposed}'
    """
    setup = plan.load(config_path)
    rules = _chosen(setup, rule)
    if not setup.config.database.exists():
        raise StoreError(
            f"there is no database {setup.config.database}: the daemon has not run with this configuration"
        )
    found: list[Tuned] = []
    with cleaned_up(), _progress() as progress, backup.copied(setup.config.database, progress) as database:
        for each in rules:
            found += try_limits(setup, each, database)
    if as_json:
        for tuned in found:
            echo_json(_as_json(tuned))
        return
    console = Console()
    for tuned in found:
        _show(tuned, console)
    if not found:
        console.print("The database holds nothing yet of what these rules count.")


def _chosen(setup: Setup, name: str | None) -> list[Rule]:
    known = {rule.name: rule for rule in setup.rules if rule.type in SUMS and rule.mode is not Mode.OFF}
    if name is None:
        return list(known.values())
    if name not in known:
        raise click.UsageError(f"no rule {name!r} whose counter keeps sums; there are: {', '.join(known)}")
    return [known[name]]


class _progress:
    """A bar on the terminal while the copy is made; nothing elsewhere."""

    def __init__(self) -> None:
        columns = (TextColumn("copying the database"), BarColumn(), TaskProgressColumn())
        self._bar = Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True)

    def __enter__(self) -> Callable[[int, int], None]:
        self._bar.start()
        task = self._bar.add_task("copy", total=None)
        return lambda done, total: self._bar.update(task, completed=done, total=total)

    def __exit__(self, *_: object) -> None:
        self._bar.stop()


def try_limits(setup: Setup, rule: Rule, database: Database) -> Iterator[Tuned]:
    """What other limits of a rule would have found; each row of the watchlist has its own."""
    (definition,) = (each for each in setup.definitions if each.name == rule.counter)
    if not {level.name for level in levels(definition)} <= set(database.tables.table_names()):
        # The daemon has not run with this rule yet.
        return
    history = History(database)
    spared = _spared(setup, rule, database)
    if rule.baseline is not None:
        yield from _scores(setup, rule, rule.baseline, history, definition, spared)
    elif rule.rows is not None:
        yield from _row_thresholds(setup, rule, rule.rows, history, definition, spared)
    else:
        yield from _thresholds(rule, history, definition, spared)


Spared = Callable[[str, Mapping[str, KeyValue]], bool]
"""Whether an alert of a site with a key would be exempt."""


def _spared(setup: Setup, rule: Rule, database: Database) -> Spared:
    """What is exempt now, in the rule's file or by command, raises nothing at any limit."""
    now_ns = SystemClock().now_ns()
    networks = setup.config.internal_networks
    exempts = Exempts(setup.hosts)
    exempts.set_rules([rule])
    exempts.set_added(
        replace(each, where=where.resolved(each.where, networks)) for each in exceptions.exempts(database, now_ns)
    )
    return lambda site, key: exempts.reason(rule, identity(rule.name, site, key), site, key, now_ns) is not None


def _thresholds(rule: Rule, history: History, definition: CounterDefinition, spared: Spared) -> Iterator[Tuned]:
    def sums() -> Iterator[Changes]:
        for (site, key), changes in _window_sums(rule, history, definition):
            if not spared(site, dict(zip(rule.key_fields, key, strict=True))):
                yield changes

    first, last, peaks = 2**63, 0, []
    for changes in sums():
        first, last = min(first, changes[0][0]), max(last, changes[-1][0])
        peaks.append(max(total for _, total in changes))
    if not peaks:
        return
    candidates = tuning.thresholds(peaks, rule.threshold)
    days = (last - first) / DAY_S
    # Read once more in place of keeping the sums of all keys.
    yield _found(
        rule, "", "threshold", rule.threshold or 0, days, peaks, tuning.try_thresholds(rule, sums(), candidates)
    )


def _row_thresholds(
    setup: Setup, rule: Rule, rows: ThresholdType, history: History, definition: CounterDefinition, spared: Spared
) -> Iterator[Tuned]:
    of_row: dict[WatchRow, dict[AlertKey, list[Changes]]] = {}
    for (site, values), changes in _window_sums(rule, history, definition):
        cell = dict(zip(rule.group_by, values, strict=True))
        for row in setup.watchlist.matching(rows, cell):
            key = key_of(rule, row, cell)
            if not spared(site, dict(key)):
                of_row.setdefault(row, {}).setdefault((site, key), []).append(changes)
    combine: Callable[[Iterable[int]], int] = sum if rule.aggregate_rows else max
    for row, of_alert in sorted(of_row.items(), key=lambda item: item[0].line):
        sums = [tuning.together(each, combine) for each in of_alert.values()]
        peaks = [max(total for _, total in changes) for changes in sums]
        candidates = tuning.thresholds(peaks, row.threshold)
        days = (max(each[-1][0] for each in sums) - min(each[0][0] for each in sums)) / DAY_S
        about = f"{row.name}: port {row.port}/{row.protocol} (line {row.line})"
        tried = tuning.try_thresholds(rule, sums, candidates)
        yield _found(rule, about, "threshold", row.threshold or 0, days, peaks, tried)


def _window_sums(rule: Rule, history: History, definition: CounterDefinition) -> Iterator[tuple[Key, Changes]]:
    for key, slots in history.slots(definition):
        yield key, tuning.window_sums(slots, rule.step_s, rule.timespan_s)


def _scores(
    setup: Setup,
    rule: Rule,
    baseline: Baseline,
    history: History,
    definition: CounterDefinition,
    spared: Spared,
) -> Iterator[Tuned]:
    first_day, last_day = history.first_day(definition), history.last_day(definition)
    if first_day is None or last_day is None:
        return
    first_judged = max(first_day + baseline.min_days * DAY_S, last_day - LOOK_BACK_DAYS * DAY_S)
    judged = range(first_judged, last_day + DAY_S, DAY_S)
    ports = None if rule.rows is None else setup.watchlist.ports(rule.rows)
    of_alert: dict[AlertKey, dict[Key, dict[int, int]]] = {}
    from_day = first_judged - baseline.days * DAY_S
    for day, site, values, total in history.days(
        definition, from_day, last_day + DAY_S, fields=rule.alert_by, ports=ports
    ):
        cell = dict(zip(rule.group_by if rule.alert_by is None else rule.alert_by, values, strict=True))
        alerts = {tuple(cell.items())}
        if rule.rows is not None:
            alerts = {key_of(rule, row, cell) for row in setup.watchlist.matching(rule.rows, cell)}
        for key in alerts:
            if not spared(site, dict(key)):
                of_alert.setdefault((site, key), {}).setdefault((site, values), {})[day] = total
    if not of_alert:
        return
    since = {site: history.first_day(definition, site) for site in {site for site, _ in of_alert}}
    sums = [(list(of_key.values()), since[site] or first_day) for (site, _), of_key in of_alert.items()]
    tried = tuning.try_scores(baseline, sums, judged)
    peaks = [max(max(totals.values()) for totals in each) for each, _ in sums]
    yield _found(rule, "", "score", baseline.score, len(judged), peaks, tried)


def _found(
    rule: Rule, about: str, limit: str, present: float, days: float, peaks: Sequence[int], tried: list[Candidate]
) -> Tuned:
    # Nothing that was looked at speaks against the present one.
    proposed = tuning.proposed(tried, days).limit if days else present
    if not days:
        paste = ""
    elif about:
        paste = f"# in your copy of the port watchlist, {about}: Threshold {proposed}"
    else:
        change = _condition(rule, proposed)
        paste = (
            f"# in your own {rule.name}.toml, a whole copy of the shipped one, in the folder rules_dir\n"
            f"condition = {change}"
        )
    days = round(days, 2)
    return Tuned(
        rule.name, about, limit, present, proposed, days, len(peaks), tuning.percentiles(peaks), tuple(tried), paste
    )


def _condition(rule: Rule, limit: float) -> str:
    values: dict[str, Any] = {"gt": limit}
    if rule.type is RuleType.VALUE_SUM:
        values = {"field": rule.weight, **values}
    if rule.baseline is not None:
        values = asdict(rule.baseline) | {"score": limit}
        if rule.baseline.method == "trend":
            del values["factor"]
    return "{ " + ", ".join(f"{key} = {json.dumps(value)}" for key, value in values.items()) + " }"


def _as_json(tuned: Tuned) -> dict[str, Any]:
    values = asdict(tuned)
    return values | {"percentiles": {f"{percent:g}": value for percent, value in tuned.percentiles.items()}}


def _show(tuned: Tuned, console: Console) -> None:
    title = f"{tuned.rule} {shown(tuned.about)}".strip()
    if not tuned.paste:
        console.print(f"{title}: {NO_DAYS}", markup=False, highlight=False)
        return
    little = "" if tuned.days >= ENOUGH_DAYS else ": too little to go by, look again later"
    number = f"{tuned.keys:,} key{'' if tuned.keys == 1 else 's'} in {tuned.days:g} days{little}"
    console.print(f"{title}: {number}", markup=False, highlight=False)
    reach = ", ".join(f"{percent:g} % of them {value:,}" for percent, value in tuned.percentiles.items())
    console.print(f"  most that a key reached: {reach}", highlight=False)
    table = plain_table(*(Column(name, justify="right") for name in (tuned.limit, "alerts", "keys")), "")
    for candidate in tuned.candidates:
        notes = [
            word for word, limit in (("now", tuned.present), ("proposed", tuned.proposed)) if limit == candidate.limit
        ]
        table.add_row(f"{candidate.limit:,g}", f"{candidate.alerts:,}", f"{candidate.keys:,}", ", ".join(notes))
    console.print(table)
    console.print(tuned.paste, markup=False, highlight=False, soft_wrap=True)
