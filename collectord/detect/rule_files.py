"""
Reads rule files.

A rule is one TOML file. A site's own file replaces the shipped one of the same name whole. Loading is strict:
everything that is wrong in any file is reported at once, with its line.
"""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError, model_validator

from collectord import schema, toml
from collectord.detect import exempt_tables, where, wording
from collectord.detect.attack import TACTICS, is_technique, tactic
from collectord.detect.exempt_tables import MAX_EXEMPTS
from collectord.detect.rules import (
    APP_FIELD,
    EVIDENCE_FIELDS,
    MOST_DISTINCT,
    WATCHLIST_FIELDS,
    Baseline,
    Beacon,
    Exempt,
    Gauge,
    Rule,
    RuleType,
    Silence,
    alert_key,
    decided_by_key,
)
from collectord.detect.watchlist import ThresholdType
from collectord.errors import ConfigError, Problem
from collectord.fields import RULE_FIELDS, SUM_FIELDS
from collectord.model import FIXED_TABLES, Mode, Severity
from collectord.schema import Name, Refused, Strict, Text, duration, nearest
from collectord.toml import KeyPath

MAX_WINDOW_SLOTS = 1_440
"""A day of minutes; each slot of a window holds its own keys in memory."""

MAX_THRESHOLD = 10**15

DAY_S = 86_400


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


def _counter_name(name: str) -> str:
    if not (name.isascii() and name.isidentifier() and name == name.lower() and len(name) <= 56):
        raise Refused("expected a table name: small letters, digits and _ (at most 56, a letter first)")
    if name in FIXED_TABLES or name.startswith(("sqlite_", "idx_")) or name.endswith(("_hours", "_days")):
        raise Refused(f'"{name}" is taken by the database', f'such as "{name}_by_source"')
    return name


def _known_field(name: str) -> str:
    if name not in RULE_FIELDS:
        hint = nearest(name, RULE_FIELDS) or f"known fields: {', '.join(RULE_FIELDS)}"
        raise Refused("expected the ASIM name of a field that rules may use", hint)
    return name


def _sum_field(name: str) -> str:
    if name not in SUM_FIELDS:
        hint = nearest(name, SUM_FIELDS) or f"known: {', '.join(SUM_FIELDS)}"
        raise Refused("expected a field that can be added up", hint)
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
_Threshold = Annotated[int, Field(ge=0, le=MAX_THRESHOLD)]
_Positive = Annotated[float, Field(gt=0, le=1_000)]


class _Above(Strict):
    gt: _Threshold | None = None
    gte: Annotated[int, Field(ge=1, le=MAX_THRESHOLD)] | None = None

    @model_validator(mode="after")
    def _one(self) -> "_Above":
        if (self.gt is None) == (self.gte is None):
            raise Refused("expected either gt or gte", "such as { gt = 5000 }")
        return self

    @property
    def threshold(self) -> int:
        """The largest number that is still quiet."""
        return self.gt if self.gt is not None else (self.gte or 1) - 1


class _DistinctAbove(_Above):
    field: _Field


class _SumAbove(_Above):
    field: Annotated[str, AfterValidator(_sum_field)]


class _Regular(Strict):
    gt: Annotated[int, Field(ge=1, le=99)]
    """Per cent of the gaps that are alike."""
    min_events: Annotated[int, Field(ge=3, le=1_000_000)] = 15
    min_gap_s: Annotated[int, duration("0s", "1h")] = Field(default=10, alias="min_gap")
    tolerance_s: Annotated[int, duration("0s", "10m")] = Field(default=1, alias="tolerance")
    tolerance_percent: Annotated[int, Field(ge=0, le=50)] = 5


class _Unusual(Strict):
    method: Literal["trend", "mean"] = "trend"
    score: _Positive = 5.0
    factor: _Positive = 3.0
    at_least: Annotated[int, Field(ge=1, le=MAX_THRESHOLD)] = 100
    min_days: Annotated[int, Field(ge=3, le=60)] = 7
    days: Annotated[int, Field(ge=3, le=60)] = 14


class _Quiet(Strict):
    after_s: Annotated[int, duration("1m", "30d")] = Field(default=900, alias="after")
    factor: _Positive = 3.0
    seen_for_s: Annotated[int, duration("0s", "30d")] = Field(default=86_400, alias="seen_for")


class _Clear(Strict):
    after_s: Annotated[int, duration("0s", "30d")] = Field(default=900, alias="after")
    below: Annotated[float, Field(ge=0, le=1)] = 0.8


class _AnyRule(Strict):
    """The keys of every rule file."""

    name: Name
    title: _Line
    description: Text = ""
    source: tuple[Text, ...] = _Many
    type: str
    clear: _Clear = _Clear()
    mode: Literal["notify", "report", "off"] = "report"
    severity: Literal["informational", "low", "medium", "high"]
    tactics: tuple[Annotated[str, AfterValidator(_known_tactic)], ...] = _Many
    techniques: tuple[Annotated[str, AfterValidator(_technique)], ...] = _Many
    unit: _Line = "sessions"
    health: bool = False
    exempt: tuple[dict[str, Any], ...] = Field(default=(), strict=False, max_length=MAX_EXEMPTS)

    def specifics(self) -> dict[str, Any]:
        """The arguments of a Rule that follow from the keys of this type alone."""
        raise NotImplementedError


class _Counting(_AnyRule):
    """What rules on sessions have in common."""

    counter: Annotated[str, AfterValidator(_counter_name)]
    where: dict[str, Any] = Field(default_factory=dict)
    group_by: Annotated[tuple[_Field, ...], Field(strict=False, min_length=1, max_length=8)]
    timespan_s: Annotated[int, duration("1s", "1d")] = Field(alias="timespan")
    step_s: Annotated[int, duration("1s", "1d")] | None = Field(default=None, alias="step")
    strict: bool = False
    """Count as the original rules do: every record once, in windows that do not overlap."""
    own_traffic: bool = True
    evidence: Annotated[tuple[_Field, ...], Field(strict=False, max_length=8)] | None = None

    @property
    def grouped(self) -> tuple[str, ...]:
        """What the counter groups by."""
        return self.group_by

    def specifics(self) -> dict[str, Any]:
        step_s = self.timespan_s if self.strict or self.step_s is None else self.step_s
        evidence = EVIDENCE_FIELDS if self.evidence is None else self.evidence
        return {
            "counter": self.counter,
            "where": self.where,
            "group_by": self.grouped,
            "timespan_s": self.timespan_s,
            "step_s": step_s,
            "every_record": self.strict,
            "own_traffic": self.own_traffic,
            "evidence": tuple(name for name in evidence if name not in self.grouped),
        }


class _Watching(_Counting):
    """What rules have in common that the port watchlist may decide."""

    watchlist: bool = False
    per_source: bool = False
    """Each source is held against the rows by itself."""

    @property
    def grouped(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(("SrcIpAddr", *self.group_by))) if self.per_source else self.group_by


class _EventCount(_Watching):
    type: Literal["event_count"]
    weight: Literal["EventCount", "records"] = "EventCount"
    condition: _Above | None = None
    aggregate: Literal["cell", "row"] = "cell"

    def specifics(self) -> dict[str, Any]:
        return super().specifics() | {
            "threshold": self.condition.threshold if self.condition else None,
            "weight": "records" if self.strict else self.weight,
            "rows": ThresholdType.STATIC if self.watchlist else None,
            "aggregate_rows": self.aggregate == "row",
        }


class _ValueCount(_Counting):
    type: Literal["value_count"]
    condition: _DistinctAbove

    def specifics(self) -> dict[str, Any]:
        return super().specifics() | {"threshold": self.condition.threshold, "distinct": self.condition.field}


class _ValueSum(_Counting):
    type: Literal["value_sum"]
    condition: _SumAbove

    def specifics(self) -> dict[str, Any]:
        return super().specifics() | {"threshold": self.condition.threshold, "weight": self.condition.field}


class _Match(_Counting):
    type: Literal["match"]

    def specifics(self) -> dict[str, Any]:
        return super().specifics() | {"threshold": 0}


class _Beacon(_Counting):
    type: Literal["beacon"]
    condition: _Regular

    def specifics(self) -> dict[str, Any]:
        values = self.condition.model_dump(exclude={"gt"})
        return super().specifics() | {"threshold": self.condition.gt, "beacon": Beacon(**values)}


class _Baseline(_Watching):
    type: Literal["baseline"]
    condition: _Unusual = _Unusual()
    alert_by: Annotated[tuple[_Field, ...], Field(strict=False)] | None = None
    """Of ``group_by``; sums are over the others. Empty: one sum over everything."""

    def specifics(self) -> dict[str, Any]:
        return super().specifics() | {
            "threshold": None,
            "baseline": Baseline(**self.condition.model_dump()),
            "weight": "records" if self.strict else "EventCount",
            "rows": ThresholdType.ANOMALY if self.watchlist else None,
            "alert_by": self.alert_by,
        }


class _Silence(_AnyRule):
    type: Literal["silence"]
    condition: _Quiet = _Quiet()

    def specifics(self) -> dict[str, Any]:
        return _of_daemon(("Dvc",)) | {"threshold": None, "silence": Silence(**self.condition.model_dump())}


class _GaugeRule(_AnyRule):
    type: Literal["gauge"]
    gauge: Annotated[Gauge, Field(strict=False)]
    condition: _Above

    def specifics(self) -> dict[str, Any]:
        return _of_daemon((self.gauge.key,)) | {"threshold": self.condition.threshold, "gauge": self.gauge.value}


MODELS: dict[str, type[_AnyRule]] = {
    RuleType.EVENT_COUNT: _EventCount,
    RuleType.VALUE_COUNT: _ValueCount,
    RuleType.VALUE_SUM: _ValueSum,
    RuleType.MATCH: _Match,
    RuleType.BEACON: _Beacon,
    RuleType.BASELINE: _Baseline,
    RuleType.SILENCE: _Silence,
    RuleType.GAUGE: _GaugeRule,
}
"""The keys of each type."""


def _of_daemon(key: tuple[str, ...]) -> dict[str, Any]:
    """What rules have that no counter of the engine stands behind; they are judged once a minute."""
    return {"counter": "", "where": {}, "group_by": key, "timespan_s": 60, "step_s": 60}


def _read(document: toml.Document, stem: str) -> Rule:
    kind = document.values.get("type")
    model = MODELS.get(kind) if isinstance(kind, str) else None
    if model is None:
        reason = "is missing" if kind is None else f"expected one of {', '.join(MODELS)}"
        raise ConfigError([document.problem("type", reason, nearest(str(kind), list(MODELS)))])
    try:
        keys = model.model_validate(document.values)
    except ValidationError as error:
        raise ConfigError(schema.problems(error, model, document.problem)) from error
    reader = _Consistency(keys, document, stem)
    reader.check()
    exempt = reader.exempts()
    if reader.problems:
        raise ConfigError(reader.problems)
    return Rule(
        name=keys.name,
        title=keys.title,
        type=RuleType(keys.type),
        mode=Mode(keys.mode),
        severity=Severity(keys.severity),
        tactics=keys.tactics,
        techniques=keys.techniques,
        clear_after_s=keys.clear.after_s,
        clear_below=keys.clear.below,
        unit=keys.unit,
        exempt=exempt,
        health=keys.health,
        description=keys.description,
        source=keys.source,
        **keys.specifics(),
    )


class _Consistency:
    """Finds what is wrong between keys that are right in themselves."""

    def __init__(self, keys: _AnyRule, document: toml.Document, stem: str) -> None:
        self.problems: list[Problem] = []
        self._keys = keys
        self._document = document
        self._stem = stem

    def check(self) -> None:
        """Fills ``problems``."""
        keys = self._keys
        if keys.name != self._stem:
            self._wrong("name", f'expected "{self._stem}" as the file is named, got "{keys.name}"')
        if isinstance(keys, _Counting):
            self._check_windows(keys)
            where.check(keys.where, lambda place, reason: self._wrong(("where", *place), reason), also=("device",))
            if len(set(keys.group_by)) != len(keys.group_by):
                self._wrong("group_by", "names a field twice")
        if isinstance(keys, _Watching) and keys.per_source and not keys.watchlist:
            self._wrong("per_source", "only a rule with the watchlist has rows", 'add "SrcIpAddr" to group_by')
        if isinstance(keys, _EventCount):
            self._check_condition(keys)
        if isinstance(keys, _Baseline):
            self._check_baseline(keys)
        if isinstance(keys, _ValueCount):
            if keys.condition.threshold >= MOST_DISTINCT:
                self._wrong("condition", f"more than {MOST_DISTINCT - 1} distinct values can't be told apart")
            if keys.condition.field in keys.group_by:
                self._wrong(("condition", "field"), "is in group_by, so each key has one value of it")
        self._check_title()

    def exempts(self) -> tuple[Exempt, ...]:
        """The rule's exempts."""
        counting = isinstance(self._keys, _Counting)
        return exempt_tables.read(self._keys.exempt, self._key_fields(), counting=counting, wrong=self._wrong)

    def _check_windows(self, keys: _Counting) -> None:
        step_s = keys.timespan_s if keys.step_s is None else keys.step_s
        if keys.timespan_s % step_s:
            self._wrong("timespan", f"expected a multiple of the step ({step_s} s), got {keys.timespan_s} s")
        elif keys.timespan_s // step_s > MAX_WINDOW_SLOTS:
            self._wrong("step", f"makes more than {MAX_WINDOW_SLOTS:,} steps in a timespan", "choose a longer step")
        if keys.strict and keys.step_s not in (None, keys.timespan_s):
            self._wrong("step", "the original rules' windows do not overlap", "leave out step, or strict = true")
        if isinstance(keys, _Beacon) and keys.step_s not in (None, keys.timespan_s):
            self._wrong("step", "windows of regular sessions do not overlap", "leave out step")

    def _check_condition(self, keys: _EventCount) -> None:
        """Either a threshold of the rule's own, or the watchlist."""
        if keys.watchlist and keys.condition is not None:
            hint = "leave out condition, or watchlist = true"
            self._wrong("condition", "the rows of the watchlist are the condition", hint)
        if not keys.watchlist and keys.condition is None:
            self._wrong("condition", "is missing", "such as condition = { gt = 5000 }")
        if keys.aggregate == "row" and not keys.watchlist:
            self._wrong("aggregate", "only a rule with the watchlist has rows")

    def _check_baseline(self, keys: _Baseline) -> None:
        if keys.condition.days < keys.condition.min_days:
            self._wrong(("condition", "days"), f"expected at least min_days ({keys.condition.min_days})")
        if keys.timespan_s != DAY_S:
            self._wrong("timespan", "days (UTC) are compared with days", 'timespan = "1d", with step = "1h"')
        if keys.alert_by is not None and keys.watchlist:
            self._wrong("alert_by", "the rows of the watchlist say what an alert is about")
        strange = [name for name in keys.alert_by or () if name not in keys.group_by]
        if strange:
            self._wrong("alert_by", f"{strange[0]} is not in group_by")

    def _check_title(self) -> None:
        """Only what every alert of the rule knows; a rule with the watchlist groups by its cells."""
        keys = self._keys
        specifics = keys.specifics()
        grouped = set(specifics["group_by"])
        further = {"SrcIpAddr", APP_FIELD} if isinstance(keys, _EventCount) else {"SrcIpAddr"}
        if specifics.get("rows") is not None and grouped - further != set(WATCHLIST_FIELDS):
            hint = f"these: {', '.join(WATCHLIST_FIELDS)}; and SrcIpAddr for sums of each source by itself"
            hint += f", {APP_FIELD} to compare apps" if APP_FIELD in further else ""
            self._wrong("group_by", "a rule with the watchlist has fields of its own", hint)
        named = self._key_fields()
        try:
            strange = [name for name in wording.placeholders(keys.title) if name not in named]
        except ValueError as error:
            self._wrong("title", str(error), "a brace that is meant as such is written twice")
        else:
            if strange:
                self._wrong("title", f"{{{strange[0]}}} is not known here", f"known: {', '.join(named) or 'nothing'}")

    def _key_fields(self) -> Sequence[str]:
        """What the key of an alert of this rule consists of."""
        specifics = self._keys.specifics()
        by_rows = specifics.get("rows") is not None
        return alert_key(specifics["group_by"], specifics.get("alert_by"), by_rows=by_rows)

    def _wrong(self, key: str | KeyPath, reason: str, hint: str = "") -> None:
        self.problems.append(self._document.problem(key, reason, hint))


def _counter_conflicts(rules: Sequence[tuple[Rule, toml.Document]]) -> list[Problem]:
    """Rules that share a counter must mean the same by it."""
    problems = []
    first: dict[str, Rule] = {}
    alike = ("where", "group_by", "weight", "distinct", "every_record", "beacon", "own_traffic")
    for rule, document in rules:
        if not rule.counter:
            continue
        other = first.setdefault(rule.counter, rule)
        differing = [key for key in alike if getattr(rule, key) != getattr(other, key)]
        left_out = [[each for each in one.exempt if not decided_by_key(each, one)] for one in (rule, other)]
        if left_out[0] != left_out[1]:
            differing.append("exempt")
        if differing:
            reason = f'the rule {other.name} keeps "{rule.counter}" with another {" and ".join(differing)}'
            problems.append(document.problem("counter", reason, "choose another name for the counter"))
        step_s = math.gcd(*(each.step_s for each, _ in rules if each.counter == rule.counter))
        if not differing and rule.timespan_s // step_s > MAX_WINDOW_SLOTS:
            reason = f'the steps of the rules that share "{rule.counter}" make slots of {step_s} s'
            hint = f"more than {MAX_WINDOW_SLOTS:,} of them in the timespan; choose steps that divide each other"
            problems.append(document.problem("step", reason, hint))
    return problems
