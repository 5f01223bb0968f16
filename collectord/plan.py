"""
Everything that an administrator wrote, read and checked as one: configuration, profiles, rules, watchlist.

All or nothing: whatever is wrong anywhere comes in one report, and nothing is half applied. A profile is right when each
of its samples gives exactly what it says.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from collectord import config as configuration
from collectord import data, toml
from collectord.config import Config
from collectord.detect import rules as rule_files
from collectord.detect import watchlist as watchlist_file
from collectord.detect.rules import Rule
from collectord.detect.watchlist import Watchlist
from collectord.engine import Engine, Plan, PlanError
from collectord.errors import ConfigError, Problem
from collectord.model import CounterDefinition
from collectord.toml import Document

SAME_FOR_ALL = ("EventSchema", "EventSchemaVersion", "EventVendor", "EventProduct")
"""What every session of a profile carries; samples may leave it out."""


@dataclass(frozen=True, slots=True)
class Setup:
    """All that the daemon is told."""

    config: Config
    profiles: tuple[Document, ...]
    rules: tuple[Rule, ...]
    watchlist: Watchlist
    plan: Plan
    definitions: tuple[CounterDefinition, ...]

    def engine(self) -> Engine:
        """An engine that works with it; the plan was proved right when this was loaded."""
        return Engine(self.plan, self.definitions)


def load(path: Path | None, overrides: dict[str, Any] | None = None) -> Setup:
    """
    Read the configuration and all that it names.

    Args:
        path: The configuration file; None for the defaults.
        overrides: Values of the configuration to replace, by attribute name (of commands that bring their own).

    Raises:
        ConfigError: everything that is wrong, each with its file and, where it can be told, its line.
    """
    config = configuration.load(path)
    if overrides:
        config = config.model_copy(update=overrides)
    return check(config)


def check(config: Config, rules: Sequence[Rule] | None = None) -> Setup:
    """
    All that a configuration names, checked.

    Args:
        config: The configuration.
        rules: In place of the shipped rules and the site's own.

    Raises:
        ConfigError: as ``load``.
    """
    problems: list[Problem] = []
    profiles = _profiles(config.profiles_dir, problems)
    if rules is None:
        rules = ()
        try:
            rules = rule_files.load([*data.rules(), *_files(config.rules_dir)])
        except ConfigError as error:
            problems += error.problems
    watchlist = Watchlist()
    try:
        watchlist = watchlist_file.load(config.port_watchlist)
    except ConfigError as error:
        problems += error.problems
    plan = _plan(config, profiles, rules, watchlist)
    definitions = tuple(
        replace(definition, capacity=config.bounds.keys_per_counter)
        for definition in rule_files.counter_definitions(rules)
    )
    try:
        engine = Engine(plan, definitions)
    except PlanError as error:
        problems += [_located(path, reason, profiles) for path, reason in error.problems]
    else:
        problems += _failing_samples(engine, profiles)
    if problems:
        raise ConfigError(problems)
    return Setup(config, profiles, tuple(rules), watchlist, plan, definitions)


def _files(folder: Path | None) -> list[Path]:
    return [] if folder is None else sorted(folder.glob("*.toml"))


def _profiles(folder: Path | None, problems: list[Problem]) -> tuple[Document, ...]:
    """The profiles by name; the site's own replaces the shipped one of the same file name whole."""
    found: list[Document] = []
    for _, path in sorted({path.stem: path for path in [*data.profiles(), *_files(folder)]}.items()):
        try:
            document = toml.load(path)
        except ConfigError as error:
            problems += error.problems
            continue
        name = document.values.get("name")
        if name != path.stem:
            problems.append(document.problem("name", f"expected the file's name {path.stem!r}, got {name!r}"))
        found.append(document)
    return tuple(found)


def _plan(config: Config, profiles: Sequence[Document], rules: Sequence[Rule], watchlist: Watchlist) -> Plan:
    counters = [
        {**counter, "capacity": config.bounds.keys_per_counter} for counter in rule_files.plan(rules, watchlist)
    ]
    return Plan(
        profiles=[document.values for document in profiles],
        counters=counters,
        internal_networks=config.internal_networks,
        listeners=[(listener.name, listener.site) for listener in config.listener],
        message_bytes=config.bounds.message_bytes,
        unfinished_bytes=config.bounds.unfinished_bytes,
        rows_per_batch=config.bounds.rows_per_tick,
        event_count=config.bounds.event_count,
    )


def _located(path: str, reason: str, profiles: Sequence[Document]) -> Problem:
    """A problem of the plan at the place in the profile's file that it came from."""
    keys = toml.parse_key(path)
    match keys:
        case ("profiles", int(number), *rest) if number < len(profiles):
            return profiles[number].problem(tuple(rest), reason)
        case _:
            return Problem("configuration", None, path, reason)


def _failing_samples(engine: Engine, profiles: Sequence[Document]) -> list[Problem]:
    """Every sample that does not give exactly what it says."""
    return [problem for document in profiles for problem in failing_samples(engine, document)]


def failing_samples(engine: Engine, document: Document) -> list[Problem]:
    """The samples of one profile that do not give exactly what they say; one that has none fails as well."""
    profile = document.values
    samples = profile.get("sample", [])
    if not isinstance(samples, list) or not all(isinstance(sample, dict) for sample in samples):
        return [document.problem("sample", "expected tables [[sample]]")]
    if not samples:
        return [document.problem("name", "a profile without samples can't be trusted", "add at least one [[sample]]")]
    problems = []
    for number, sample in enumerate(samples):
        problems += [
            document.problem(("sample", number), reason) for reason in _sample_problems(engine, profile, sample)
        ]
    return problems


def _sample_problems(engine: Engine, profile: dict[str, Any], sample: dict[str, Any]) -> list[str]:
    unknown = sorted(set(sample) - {"name", "raw", "want", "want_outcome", "match", "peer"})
    if unknown:
        return [f"unknown key {', '.join(unknown)}; known: name, raw, want, want_outcome, match, peer"]
    raw = sample.get("raw")
    if not isinstance(raw, str):
        return ["raw must be a text"]
    answer = json.loads(engine.parse(raw.encode(), sample.get("peer")))
    name = str(sample.get("name", ""))
    taken = answer["Profile"] == profile["name"]
    if sample.get("match") is False:
        return [f"{name!r} must not match, but it does"] if taken else []
    if not taken:
        return [f"{name!r} is read by {answer['Profile'] or 'no profile'}"]
    want = sample.get("want", [])
    outcome = sample.get("want_outcome", "session" if want else "event")
    if answer["Outcome"] != outcome:
        return [f"{name!r} ends as {answer['Outcome']}, expected {outcome}"]
    got = answer["Sessions"]
    if len(got) != len(want):
        return [f"{name!r} gives {len(got)} sessions, expected {len(want)}"]
    return [
        f"{name!r}: {difference}"
        for expected, session in zip(want, got, strict=True)
        for difference in _differences(expected, session)
    ]


def _differences(want: dict[str, Any], got: dict[str, Any]) -> list[str]:
    fields = sorted(want.keys() | (got.keys() - set(SAME_FOR_ALL)))
    return [
        f"{field} is {json.dumps(got.get(field))}, expected {json.dumps(want.get(field))}"
        for field in fields
        if want.get(field) != got.get(field)
    ]
