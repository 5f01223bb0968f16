"""
Everything that an administrator wrote, read and checked as one: configuration, profiles, rules, watchlist.

All or nothing: whatever is wrong anywhere comes in one report, and nothing is half applied. A profile is right when
each of its samples gives exactly what it says.
"""

import contextlib
import functools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from collectord import config as configuration
from collectord import data, own_addresses, schema, toml
from collectord.config import Config
from collectord.detect import hosts as hosts_file
from collectord.detect import rule_files
from collectord.detect import rules as rule_values
from collectord.detect import watchlist as watchlist_file
from collectord.detect.hosts import Hosts
from collectord.detect.rules import Rule
from collectord.detect.watchlist import Watchlist
from collectord.engine import Engine, Plan, PlanError
from collectord.errors import ConfigError, Problem
from collectord.model import CounterDefinition, Mode
from collectord.output_settings import SnmpOutput, SyslogOutput
from collectord.settings import Bounds
from collectord.toml import Document, KeyPath

SAME_FOR_ALL = ("EventSchema", "EventSchemaVersion", "EventVendor", "EventProduct")
"""What every session of a profile carries; samples may leave it out."""


ASKED_PORTS = (53, 123)
"""DNS and NTP, which the collector's machine asks."""
SNMP_PORT = 161
"""Where it is asked by the NOC how it is."""


@dataclass(frozen=True, slots=True)
class Setup:
    """All that the daemon is told."""

    config: Config
    profiles: tuple[Document, ...]
    rules: tuple[Rule, ...]
    watchlist: Watchlist
    hosts: Hosts
    plan: Plan
    definitions: tuple[CounterDefinition, ...]

    def engine(self) -> Engine:
        """An engine that works with it; the plan was proved right when this was loaded."""
        return Engine(self.plan, self.definitions)


def load(path: Path | None, overrides: dict[str, Any] | None = None, *, every_sample: bool = False) -> Setup:
    """
    Read the configuration and all that it names.

    Args:
        path: The configuration file; None for the defaults.
        overrides: Values of the configuration to replace, by attribute name (of commands that bring their own).
        every_sample: Look at the samples of the shipped profiles also where a site has none of its own.

    Raises:
        ConfigError: everything that is wrong, each with its file and, where it can be told, its line.
    """
    config = configuration.load(path)
    if overrides:
        config = config.model_copy(update=overrides)
    return check(config, every_sample=every_sample)


def check(config: Config, rules: Sequence[Rule] | None = None, *, every_sample: bool = False) -> Setup:
    """
    All that a configuration names, checked.

    Args:
        config: The configuration.
        rules: In place of the shipped rules and the site's own.
        every_sample: As for ``load``.

    Raises:
        ConfigError: as ``load``.
    """
    problems: list[Problem] = []
    own_profiles: Sequence[Path] = ()
    try:
        own_profiles = _files(config.profiles_dir)
    except ConfigError as error:
        problems += error.problems
    profiles = _profiles(own_profiles, problems)
    of_rules: Sequence[Path] = ()
    if rules is None:
        rules = ()
        try:
            of_rules = _rule_files(config)
            rules = rule_files.load(of_rules)
        except ConfigError as error:
            problems += error.problems
    rules = tuple(rule_values.resolved(rule, config.internal_networks) for rule in rules)
    watchlist = Watchlist()
    try:
        watchlist = watchlist_file.load(config.port_watchlist)
    except ConfigError as error:
        problems += error.problems
    hosts = Hosts()
    try:
        hosts = hosts_file.load(config.hosts)
    except ConfigError as error:
        problems += error.problems
    plan = _plan(config, profiles, rules, watchlist)
    definitions = tuple(
        replace(definition, capacity=config.bounds.keys_per_counter)
        for definition in rule_values.counter_definitions(rules, watchlist)
    )
    samples = every_sample or bool(own_profiles)
    problems += _wrong_in_plan(plan, definitions, profiles, samples=samples, rules=of_rules)
    if problems:
        raise ConfigError(problems)
    return Setup(config, profiles, rules, watchlist, hosts, plan, definitions)


def installed_rules(config: Config, further: Sequence[Path] = ()) -> tuple[Rule, ...]:
    """
    The shipped rules, then the site's own, then further files; of two of the same name the later one counts.

    Raises:
        ConfigError: everything that is wrong in any of them.
    """
    return rule_files.load(_rule_files(config, further))


def _rule_files(config: Config, further: Sequence[Path] = ()) -> list[Path]:
    """The file of each rule; of two of the same name the later one counts."""
    return list({path.stem: path for path in [*data.rules(), *_files(config.rules_dir), *further]}.values())


def _files(folder: Path | None) -> list[Path]:
    """
    The files of a folder of the site's; hidden ones are an editor's.

    Raises:
        ConfigError: it can't be read, as by a service that is another user than whoever made it.
    """
    if folder is None:
        return []
    try:
        names = sorted(entry.name for entry in folder.iterdir())
    except OSError as error:
        raise ConfigError([Problem(str(folder), None, "", f"can't be read: {error.strerror}".lower())]) from error
    return [folder / name for name in names if name.endswith(".toml") and not name.startswith(".")]


def _profiles(own: Sequence[Path], problems: list[Problem]) -> tuple[Document, ...]:
    """
    The profiles by name; the site's own replaces the shipped one of the same file name whole.

    What can't be handed to the engine at all is left out of them, and told.
    """
    shipped = data.profiles()
    paths = {path.stem: path for path in [*shipped, *own]}
    found = [_profile(path, problems, own=path not in shipped) for _, path in sorted(paths.items())]
    return tuple(document for document in found if document is not None)


def _state(path: Path) -> tuple[int, int]:
    """Time of the last change and size; of a file that can't be looked at nothing, and reading it tells why."""
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    return (found.st_mtime_ns, found.st_size)


@functools.lru_cache(maxsize=512)
def _unchanged(path: Path, changed_ns: int, size: int) -> Document:
    """A file is read again only when it was changed: all profiles together take half a second."""
    return toml.load(path)


def _profile(path: Path, problems: list[Problem], *, own: bool) -> Document | None:
    try:
        document = _unchanged(path, *_state(path))
    except ConfigError as error:
        problems += error.problems
        return None
    name = document.values.get("name")
    if name != path.stem:
        problems.append(document.problem("name", f"expected the file's name {path.stem!r}, got {name!r}"))
    strange = [document.problem(key, reason) for key, reason in _strange_values(document.values)] if own else []
    problems += strange
    return None if strange else document


def _strange_values(value: Any, key: KeyPath = ()) -> Iterator[tuple[KeyPath, str]]:
    """Values that TOML knows and a profile has no use for; JSON has no form for most of them."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _strange_values(inner, (*key, name))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _strange_values(inner, (*key, number))
    elif not isinstance(value, str | int):
        yield key, f"expected a text, a whole number, true or false, got {value}"


def _wrong_in_plan(
    plan: Plan,
    definitions: Sequence[CounterDefinition],
    profiles: tuple[Document, ...],
    *,
    samples: bool,
    rules: Sequence[Path] = (),
) -> list[Problem]:
    """
    What the engine finds wrong, and with ``samples`` those that fail of the profiles that are right.

    One profile can take what is another's, so all samples are looked at as soon as a site has a profile of its own. The
    shipped ones alone were when they were made, and the commands would wait for it each time.
    """
    try:
        Engine(plan, definitions)
    except PlanError as error:
        counters = _by_counter(plan, rules)
        problems = [_located(path, reason, profiles, counters) for path, reason in error.problems]
        wrong = {keys[1] for path, _ in error.problems if (keys := toml.parse_key(path))[:1] == ("profiles",)}
        right = tuple(document for number, document in enumerate(profiles) if number not in wrong)
        if len(right) < len(profiles):
            # What is wrong elsewhere in the plan is told already.
            rest = replace(plan, profiles=[document.values for document in right], counters=(), devices=())
            problems += [each for each in _wrong_in_plan(rest, (), right, samples=samples) if each not in problems]
        return problems
    if not samples:
        return []
    engine = sample_engine(plan)
    return [problem for document in profiles for problem in failing_samples(engine, document)]


def sample_engine(plan: Plan) -> Engine:
    """
    An engine that reads the samples of a plan's profiles.

    What a sample gives must not depend on a site's networks, devices and bounds, so it works with the default ones.
    """
    bounds = Bounds()
    return Engine(
        replace(
            plan,
            counters=(),
            internal_networks=Config.model_fields["internal_networks"].default,
            relays=(),
            devices=(),
            message_bytes=bounds.message_bytes,
            event_count=bounds.event_count,
        ),
        (),
    )


def own_traffic(config: Config, addresses: Sequence[str]) -> list[dict[str, Any]]:
    """
    Tests that the collector's own sessions pass: those to its listeners, those from it to its outputs (by the port
    alone where an output is named by a host name), and what its machine asks and is asked as any other.

    Listeners behind address translation are not known by their addresses: a site exempts those by itself.

    Args:
        config: Says the listeners and outputs.
        addresses: Of this machine.
    """
    tests: list[dict[str, Any]] = []
    for listener in config.listener:
        host = ip_address(listener.host)
        own = list(addresses) if host.is_unspecified else [str(host)]
        if own and listener.port:
            protocol = "UDP" if listener.type == "udp" else "TCP"
            tests.append({"DstIpAddr": own, "DstPortNumber": listener.port, "NetworkProtocol": protocol})
    if not addresses:
        return tests
    from_us = {"SrcIpAddr": list(addresses)}
    for output in config.output:
        if not isinstance(output, SyslogOutput | SnmpOutput):
            continue
        protocol = "UDP" if isinstance(output, SnmpOutput) or output.transport == "udp" else "TCP"
        to = from_us | {"DstPortNumber": output.port, "NetworkProtocol": protocol}
        with contextlib.suppress(ValueError):
            to["DstIpAddr"] = str(ip_address(output.host))
        tests.append(to)
    tests.append(from_us | {"DstPortNumber": list(ASKED_PORTS)})
    tests.append({"DstIpAddr": list(addresses), "DstPortNumber": SNMP_PORT})
    return tests


def _plan(config: Config, profiles: Sequence[Document], rules: Sequence[Rule], watchlist: Watchlist) -> Plan:
    counters = [
        {**counter, "capacity": config.bounds.keys_per_counter} for counter in rule_values.plan(rules, watchlist)
    ]
    sharing = rule_values.by_counter(rules)
    without_own = [counter for counter in counters if not sharing[counter["name"]][0].own_traffic]
    own = own_traffic(config, own_addresses.of_this_machine()) if without_own else []
    for counter in without_own if own else ():
        counter["exempt"] = [*counter.get("exempt", ()), *own]
    return Plan(
        profiles=[document.values for document in profiles],
        counters=counters,
        internal_networks=config.internal_networks,
        relays=config.relays,
        devices=[device.model_dump(exclude_none=True) for device in config.device],
        listeners=[(listener.name, listener.site, listener.allow) for listener in config.listener],
        message_bytes=config.bounds.message_bytes,
        unfinished_bytes=config.bounds.unfinished_bytes,
        rows_per_batch=config.bounds.rows_per_tick,
        event_count=config.bounds.event_count,
        peer_rate=config.bounds.peer_rate,
        peer_burst=config.bounds.peer_burst,
    )


def _located(path: str, reason: str, profiles: Sequence[Document], counters: Sequence[Document | None] = ()) -> Problem:
    """A problem of the plan at the place in the profile's or the rule's file that it came from."""
    keys = toml.parse_key(path)
    match keys:
        case ("profiles", int(number), *rest) if number < len(profiles):
            return profiles[number].problem(tuple(rest), *_with_hint(reason, rest))
        case ("counters", int(number), *rest) if number < len(counters) and (document := counters[number]) is not None:
            # Exempts that the key of an alert decides are not in the plan, so their numbers differ.
            place = ("exempt",) if rest[:1] == ["exempt"] else tuple(rest)
            return document.problem(place, reason)
        case ("devices", int(number), *_):
            # The table's name in the configuration.
            return Problem("configuration", None, f"device{path.removeprefix('devices')}", reason)
        case _:
            return Problem("configuration", None, path, reason)


def _with_hint(reason: str, keys: Sequence[str | int]) -> tuple[str, str]:
    """The engine lists what it knows; a person wants the nearest."""
    what, found, known = reason.partition("; known here: ")
    return (what, schema.nearest(str(keys[-1]), known.split(", ")) or f"known keys: {known}") if found else (reason, "")


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
    raw, want, peer, match = sample.get("raw"), sample.get("want", []), sample.get("peer"), sample.get("match", True)
    if not isinstance(raw, str):
        return ["raw must be a text"]
    if not isinstance(want, list) or not all(isinstance(session, dict) for session in want):
        return ["want must be a list of tables"]
    if not isinstance(peer, str | None) or not isinstance(match, bool):
        return ["peer must be a text, match true or false"]
    answer = json.loads(engine.parse(raw.encode(), peer))
    name = str(sample.get("name", ""))
    taken = answer["Profile"] == profile["name"]
    if not match:
        return [f"{name!r} must not match, but it does"] if taken else []
    if not taken:
        return [f"{name!r} is read by {answer['Profile'] or 'no profile'}"]
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
    got = {field: value for field, value in got.items() if field in want or field not in SAME_FOR_ALL}
    if got == want:
        return []
    return [
        f"{field} is {json.dumps(got.get(field))}, expected {json.dumps(want.get(field))}"
        for field in sorted(want.keys() | got.keys())
        if want.get(field) != got.get(field)
    ]


def check_profiles(setup: Setup, files: Sequence[Path]) -> list[Problem]:
    """
    What is wrong in profile files that may not be in use yet, read beside all others of ``setup``.

    Args:
        setup: The others; one of the same name is replaced.
        files: TOML files.
    """
    problems: list[Problem] = []
    own = tuple(document for file in files if (document := _profile(file, problems, own=True)) is not None)
    # What has no name, or one that is no text, is told of by the engine.
    names = [document.values.get("name") for document in own]
    others = tuple(document for document in setup.profiles if document.values["name"] not in names)
    # In the order in which the daemon takes them: the first of two that fit equally well wins.
    profiles = tuple(sorted((*own, *others), key=lambda document: Path(document.file).stem))
    plan = replace(setup.plan, profiles=[document.values for document in profiles], counters=(), devices=())
    return problems + _wrong_in_plan(plan, (), profiles, samples=True)


def check_rules(setup: Setup, files: Sequence[Path]) -> list[Problem]:
    """
    What is wrong in rule files that may not be in use yet, read beside all others of ``setup``.

    Args:
        setup: The others; one of the same name is replaced.
        files: TOML files. Rules that are off are looked at as if they were not.
    """
    config = setup.config
    try:
        loaded = installed_rules(config, files)
    except ConfigError as error:
        return error.problems
    names = {path.stem for path in files}
    rules = [
        rule_values.resolved(replace(rule, mode=Mode.REPORT) if rule.name in names else rule, config.internal_networks)
        for rule in loaded
    ]
    plan = _plan(config, (), rules, setup.watchlist)
    return _wrong_in_plan(
        plan, rule_values.counter_definitions(rules), (), samples=False, rules=_rule_files(config, files)
    )


def _by_counter(plan: Plan, rules: Sequence[Path]) -> list[Document | None]:
    """The rule's file that each counter of the plan comes from; of several that share it one."""
    if not plan.counters:
        return []
    documents = {str(document.values.get("counter")): document for document in map(toml.load, rules)}
    return [documents.get(counter["name"]) for counter in plan.counters]
