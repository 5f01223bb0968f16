"""
Rules: what counts, by what, over which time, and from which sum on it is an alert.

A rule is one TOML file. A site's own file replaces the shipped one of the same name whole. Loading is strict:
everything that is wrong in any file is reported at once, with its line.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError

from collectord import schema, toml
from collectord.detect import wording
from collectord.detect.attack import TACTICS, is_technique, tactic
from collectord.detect.watchlist import Watchlist
from collectord.errors import ConfigError, Problem
from collectord.model import FIXED_TABLES, RULE_FIELDS, CounterDefinition, Mode, Severity, is_number_field
from collectord.schema import Name, Refused, Strict, Text, duration, nearest
from collectord.toml import KeyPath

WATCHLIST_FIELDS = ("DstPortNumber", "NetworkProtocol", "NetworkDirection", "DvcAction")
"""What a rule with ``watchlist = true`` groups by: the cells that the watchlist's rows speak of."""

MAX_WINDOW_SLOTS = 1_440
"""A day of minutes; each slot of a window holds its own keys in memory."""

MAX_THRESHOLD = 10**15


@dataclass(frozen=True, slots=True)
class Rule:
    """A condition on a counter, true for a key when its sum over ``timespan_s`` is larger than the threshold."""

    name: str
    title: str
    counter: str
    where: Mapping[str, str | int] = field(hash=False)
    group_by: tuple[str, ...]
    timespan_s: int
    step_s: int
    """Time between two windows; equal to ``timespan_s`` for windows that do not overlap."""
    threshold: int | None
    """The largest sum that is still quiet; None where the rows of the watchlist say it."""
    mode: Mode
    severity: Severity
    tactics: tuple[str, ...] = ()
    techniques: tuple[str, ...] = ()
    clear_after_s: int = 900
    clear_below: float = 0.8
    """Part of the threshold at or below which the sum must stay for ``clear_after_s``."""
    unit: str = "sessions"
    """What the sum counts, in the plural, for summaries."""
    weight: Literal["EventCount", "records"] = "EventCount"
    description: str = ""
    source: tuple[str, ...] = ()
    """Where the idea is published."""

    @property
    def uses_watchlist(self) -> bool:
        """True if each row of the watchlist has its own threshold."""
        return self.threshold is None

    def clear_level(self, threshold: int) -> int:
        """The largest sum that lets an alert with this threshold clear."""
        # As written in the file, in tenths: 0.7 of 10 is 7, though the float 0.7 is a little less.
        return math.floor(Fraction(str(self.clear_below)) * threshold)


def load(paths: Iterable[Path]) -> tuple[Rule, ...]:
    """
    Reads rule files; of two files of the same name the later one counts (shipped ones first, then the site's).

    Returns:
        The rules by name, those that are off included.

    Raises:
        ConfigError: everything that is wrong in any of them.
    """
    problems: list[Problem] = []
    rules: list[tuple[Rule, toml.Document]] = []
    files = {path.stem: path for path in paths}
    for stem in sorted(files):
        try:
            document = toml.load(files[stem])
            rules.append((_read(document, stem), document))
        except ConfigError as error:
            problems += error.problems
    problems += _counter_conflicts(rules)
    if problems:
        raise ConfigError(problems)
    return tuple(rule for rule, _ in rules)


def counter_definitions(rules: Iterable[Rule]) -> list[CounterDefinition]:
    """The counters that rules which are not off need, by name. The slot is the greatest common divisor of the steps."""
    by_counter: dict[str, list[Rule]] = {}
    for rule in rules:
        if rule.mode is not Mode.OFF:
            by_counter.setdefault(rule.counter, []).append(rule)
    return [
        CounterDefinition(
            name=name,
            where=dict(sharing[0].where),
            group_by=sharing[0].group_by,
            slot_s=math.gcd(*(rule.step_s for rule in sharing)),
            weight=sharing[0].weight,
        )
        for name, sharing in sorted(by_counter.items())
    ]


def plan(rules: Sequence[Rule], watchlist: Watchlist) -> list[dict[str, Any]]:
    """
    The part ``counters`` of the engine's plan.

    A level is the lowest sum that anybody still wants to hear of: where an active alert may clear.
    """
    return [
        {
            "name": definition.name,
            "where": definition.where,
            "group_by": list(definition.group_by),
            "slot_s": definition.slot_s,
            "capacity": definition.capacity,
            "weight": definition.weight,
            "rules": [
                {"name": rule.name, "window_slots": rule.timespan_s // definition.slot_s, **_levels(rule, watchlist)}
                for rule in sorted(rules, key=lambda rule: rule.name)
                if rule.counter == definition.name and rule.mode is not Mode.OFF
            ],
        }
        for definition in counter_definitions(rules)
    ]


def _levels(rule: Rule, watchlist: Watchlist) -> dict[str, Any]:
    if rule.threshold is not None:
        return {"level": rule.clear_level(rule.threshold)}
    values = {
        str(port): min(rule.clear_level(row.threshold or 0) for row in watchlist.at(port)) for port in watchlist.ports
    }
    return {"levels": {"field": "DstPortNumber", "values": values}}


def _counter_name(name: str) -> str:
    if not (name.isascii() and name.isidentifier() and name == name.lower() and len(name) <= 64):
        raise Refused("expected a table name: small letters, digits and _ (at most 64, a letter first)")
    if name in FIXED_TABLES or name.startswith(("sqlite_", "idx_")):
        raise Refused(f'"{name}" is taken by the database', f'such as "{name}_by_source"')
    return name


def _known_field(name: str) -> str:
    if name not in RULE_FIELDS:
        hint = nearest(name, RULE_FIELDS) or f"known fields: {', '.join(RULE_FIELDS)}"
        raise Refused("expected the ASIM name of a field that rules may use", hint)
    return name


def _known_tactic(text: str) -> str:
    name = tactic(text)
    if name is None:
        raise Refused("expected a MITRE ATT&CK tactic", nearest(text, TACTICS) or f"known: {', '.join(TACTICS)}")
    return name


def _technique(text: str) -> str:
    if not is_technique(text):
        raise Refused("expected the id of a MITRE ATT&CK technique", 'such as "T1499" or "T1021.001"')
    return text


def _short(text: str) -> str:
    if not text or len(text) > wording.MAX_TITLE_CHARACTERS:
        raise Refused(f"expected 1 to {wording.MAX_TITLE_CHARACTERS} characters, got {len(text)}")
    return text


_Field = Annotated[str, AfterValidator(_known_field)]
_Line = Annotated[Text, AfterValidator(_short)]
_Many = Field(default=(), strict=False)


class _Condition(Strict):
    gt: Annotated[int, Field(ge=0, le=MAX_THRESHOLD)]


class _Clear(Strict):
    after_s: Annotated[int, duration("0s", "30d")] = Field(default=900, alias="after")
    below: Annotated[float, Field(ge=0, le=1)] = 0.8


class _RuleFile(Strict):
    """The keys of a rule file."""

    name: Name
    title: _Line
    description: Text = ""
    source: tuple[Text, ...] = _Many
    type: Literal["event_count"]
    counter: Annotated[str, AfterValidator(_counter_name)]
    where: dict[_Field, str | int] = Field(default_factory=dict)
    group_by: Annotated[tuple[_Field, ...], Field(strict=False, min_length=1, max_length=8)]
    weight: Literal["EventCount", "records"] = "EventCount"
    timespan_s: Annotated[int, duration("1s", "1d")] = Field(alias="timespan")
    step_s: Annotated[int, duration("1s", "1d")] = Field(alias="step")
    condition: _Condition | None = None
    watchlist: bool = False
    clear: _Clear = _Clear()
    mode: Literal["notify", "report", "off"] = "report"
    severity: Literal["informational", "low", "medium", "high"]
    tactics: tuple[Annotated[str, AfterValidator(_known_tactic)], ...] = _Many
    techniques: tuple[Annotated[str, AfterValidator(_technique)], ...] = _Many
    unit: _Line = "sessions"


def _read(document: toml.Document, stem: str) -> Rule:
    try:
        keys = _RuleFile.model_validate(document.values)
    except ValidationError as error:
        raise ConfigError(schema.problems(error, _RuleFile, document.problem)) from error
    problems = _inconsistencies(keys, document, stem)
    if problems:
        raise ConfigError(problems)
    return Rule(
        name=keys.name,
        title=keys.title,
        counter=keys.counter,
        where=keys.where,
        group_by=keys.group_by,
        timespan_s=keys.timespan_s,
        step_s=keys.step_s,
        threshold=keys.condition.gt if keys.condition else None,
        mode=Mode(keys.mode),
        severity=Severity(keys.severity),
        tactics=keys.tactics,
        techniques=keys.techniques,
        clear_after_s=keys.clear.after_s,
        clear_below=keys.clear.below,
        unit=keys.unit,
        weight=keys.weight,
        description=keys.description,
        source=keys.source,
    )


def _inconsistencies(keys: _RuleFile, document: toml.Document, stem: str) -> list[Problem]:
    """What is wrong between keys that are right in themselves."""
    problems: list[Problem] = []

    def wrong(key: str | KeyPath, reason: str, hint: str = "") -> None:
        problems.append(document.problem(key, reason, hint))

    if keys.name != stem:
        wrong("name", f'expected "{stem}" as the file is named, got "{keys.name}"')
    if keys.timespan_s % keys.step_s:
        wrong("timespan", f"expected a multiple of the step ({keys.step_s} s), got {keys.timespan_s} s")
    elif keys.timespan_s // keys.step_s > MAX_WINDOW_SLOTS:
        wrong("step", f"makes more than {MAX_WINDOW_SLOTS:,} steps in a timespan", "choose a longer step")
    if len(set(keys.group_by)) != len(keys.group_by):
        wrong("group_by", "names a field twice")
    for name, value in keys.where.items():
        if isinstance(value, int) != is_number_field(name):
            expected = "a whole number" if is_number_field(name) else "text in quotes"
            wrong(("where", name), f"expected {expected}")
    _check_condition(keys, wrong)
    _check_title(keys, wrong)
    return problems


def _check_condition(keys: _RuleFile, wrong: Callable[[str, str, str], None]) -> None:
    """Either a threshold of the rule's own, or the watchlist."""
    if keys.watchlist and keys.condition is not None:
        wrong("condition", "the rows of the watchlist are the condition", "leave out condition, or watchlist = true")
    if not keys.watchlist and keys.condition is None:
        wrong("condition", "is missing", "such as condition = { gt = 5000 }")
    if keys.watchlist and set(keys.group_by) != set(WATCHLIST_FIELDS):
        wrong("group_by", "a rule with the watchlist has fields of its own", f"these: {', '.join(WATCHLIST_FIELDS)}")


def _check_title(keys: _RuleFile, wrong: Callable[[str, str, str], None]) -> None:
    """Only what every alert of the rule knows."""
    # An alert's key has these; the other fields of a watchlist rule are details.
    named = ("Name", *WATCHLIST_FIELDS[:2]) if keys.watchlist else keys.group_by
    try:
        strange = [name for name in wording.placeholders(keys.title) if name not in named]
    except ValueError as error:
        wrong("title", str(error), "a brace that is meant as such is written twice")
    else:
        if strange:
            wrong("title", f"{{{strange[0]}}} is not known here", f"known: {', '.join(named)}")


def _counter_conflicts(rules: Sequence[tuple[Rule, toml.Document]]) -> list[Problem]:
    """Rules that share a counter must mean the same by it."""
    problems = []
    first: dict[str, Rule] = {}
    for rule, document in rules:
        other = first.setdefault(rule.counter, rule)
        differing = [key for key in ("where", "group_by", "weight") if getattr(rule, key) != getattr(other, key)]
        if differing:
            reason = f'the rule {other.name} keeps "{rule.counter}" with another {" and ".join(differing)}'
            problems.append(document.problem("counter", reason, "choose another name for the counter"))
        slot_s = math.gcd(*(each.step_s for each, _ in rules if each.counter == rule.counter))
        if not differing and rule.timespan_s // slot_s > MAX_WINDOW_SLOTS:
            reason = f'the steps of the rules that share "{rule.counter}" make slots of {slot_s} s'
            hint = f"more than {MAX_WINDOW_SLOTS:,} of them in the timespan; choose steps that divide each other"
            problems.append(document.problem("step", reason, hint))
    return problems
