"""Rule files: strict, everything wrong at once; counters and plan follow from them."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from collectord import data
from collectord.detect import rule_files, rules, watchlist
from collectord.detect.hosts import ROLES
from collectord.detect.rules import Gauge, Rule, RuleType
from collectord.detect.watchlist import RowType, ThresholdType, Watchlist, WatchRow
from collectord.errors import ConfigError
from collectord.fields import RULE_FIELDS
from collectord.model import AlarmType, CounterDefinition, Mode, Severity

MakeRule = Callable[..., Rule]
MakeRow = Callable[..., WatchRow]

GOOD = """\
name = "mine"
title = "Much from {SrcIpAddr}"
type = "event_count"
counter = "mine_by_source"
where = { EventResult = "Failure" }
group_by = ["SrcIpAddr"]
timespan = "5m"
step = "1m"
condition = { gt = 10 }
severity = "low"
"""


def problems(tmp_path: Path, text: str, name: str = "mine") -> list[str]:
    path = tmp_path / f"{name}.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        rule_files.load([path])
    return [str(problem).removeprefix(f"{tmp_path}/") for problem in error.value.problems]


def shipped() -> dict[str, Rule]:
    return {rule.name: rule for rule in rule_files.load(data.rules())}


def test_what_the_alerts_of_shipped_rules_are_about() -> None:
    """Those about the collector and its devices have a type of their own each, all others are ordinary."""
    types = {name: rule.alarm_type for name, rule in shipped().items() if rule.alarm_type is not AlarmType.ALARM}

    assert types == {
        "device-silent": AlarmType.DEVICE_SILENT,
        "device-clock-off": AlarmType.DEVICE_CLOCK,
        "messages-lost": AlarmType.MESSAGES_LOST,
        "alerts-dropped": AlarmType.MESSAGES_LOST,
        "output-down": AlarmType.OUTPUT_DOWN,
        "database-failing": AlarmType.MESSAGES_LOST,
        "database-replaced": AlarmType.MESSAGES_LOST,
    }
    severities = {name: shipped()[name].severity for name in types}
    assert severities == {
        "device-silent": Severity.MEDIUM,
        "device-clock-off": Severity.LOW,
        "messages-lost": Severity.HIGH,
        "alerts-dropped": Severity.HIGH,
        "output-down": Severity.HIGH,
        "database-failing": Severity.HIGH,
        "database-replaced": Severity.HIGH,
    }


@pytest.mark.parametrize("gauge", Gauge)
def test_every_gauge_has_a_type(make_rule: MakeRule, gauge: Gauge) -> None:
    """It follows from what is measured, not from the rule's name."""
    rule = make_rule(type=RuleType.GAUGE, gauge=gauge.value)

    assert (rule.alarm_type is AlarmType.ALARM) == (gauge is Gauge.ALERTS_HELD_BACK)


def test_the_seed_rules() -> None:
    """Both, with the thresholds, windows and ids of their originals."""
    failures, ports = (shipped()[name] for name in ("excessive-failures", "port-misuse"))

    assert ("failures_by_source", ("SrcIpAddr",)) == (failures.counter, failures.group_by)
    assert {"EventResult": "Failure"} == failures.where
    assert (300, 60, 5000) == (failures.timespan_s, failures.step_s, failures.threshold)
    assert (Mode.NOTIFY, Severity.MEDIUM, ("Impact",), ("T1499",)) == (
        failures.mode,
        failures.severity,
        failures.tactics,
        failures.techniques,
    )
    assert ("port_volume", rules.WATCHLIST_FIELDS) == (ports.counter, ports.group_by)
    assert (1200, 60, None, True) == (ports.timespan_s, ports.step_s, ports.threshold, ports.uses_watchlist)
    assert ("CommandAndControl", "Execution", "InitialAccess") == ports.tactics


def test_what_the_shipped_rules_send() -> None:
    """At install the seed rules, RDP brute force and the health rules; the others are for looking through."""
    modes = {name: rule.mode for name, rule in shipped().items()}

    sent = {name for name, mode in modes.items() if mode is Mode.NOTIFY}
    assert {"excessive-failures", "port-misuse", "rdp-brute-force"} == {
        name for name in sent if shipped()[name].type in rules.ENGINE_TYPES
    }
    assert {"device-silent", "device-clock-off", "messages-lost", "output-down"} <= sent
    off = {"app-port-mismatch", "cleartext-authentication", "outbound-ldap", "outbound-ldap-success", "outbound-rdp"}
    assert off == {name for name, mode in modes.items() if mode is Mode.OFF}


@pytest.mark.parametrize("name", [path.stem for path in data.rules()])
def test_each_shipped_rule_explains_itself(name: str) -> None:
    """What it means and, where it stems from somebody's, whose idea it is."""
    rule = shipped()[name]

    assert rule.description
    assert (rule.type in rules.ENGINE_TYPES) <= bool(rule.source)
    assert (rule.type in rules.ENGINE_TYPES) <= bool(rule.tactics)
    assert all(each.reason for each in rule.exempt)


def test_defaults(tmp_path: Path) -> None:
    """A rule that says nothing about it only reports, and clears after 15 minutes at 80 %."""
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)

    [rule] = rule_files.load([path])

    assert (Mode.REPORT, 900, 0.8, "EventCount", "sessions") == (
        rule.mode,
        rule.clear_after_s,
        rule.clear_below,
        rule.weight,
        rule.unit,
    )


def test_own_rule_replaces_the_shipped_one(tmp_path: Path) -> None:
    """Whole, by name; the others stay."""
    path = tmp_path / "excessive-failures.toml"
    path.write_text(GOOD.replace('"mine"', '"excessive-failures"'))

    found = {rule.name: rule for rule in rule_files.load([*data.rules(), path])}
    assert found.keys() == shipped().keys()
    assert {"excessive-failures": found["excessive-failures"]} == {
        name: rule for name, rule in found.items() if rule != shipped()[name]
    }
    assert 10 == found["excessive-failures"].threshold


@pytest.mark.parametrize(
    ("old", "new", "want"),
    [
        ('name = "mine"', 'name = "other"', ':1: name: expected "mine" as the file is named, got "other"'),
        ('severity = "low"', 'severity = "loud"', ":10: severity: expected "),
        ('severity = "low"', 'severity = "low"\nseverty = "low"', ':11: severty: unknown key (did you mean "sev'),
        ('"event_count"', '"much"', ":3: type: expected "),
        ('"SrcIpAddr"]', '"SrcIpAdr"]', ":6: group_by[0]: expected the ASIM name of a field that rules may use (did"),
        ('"SrcIpAddr"]', '"EventCount"]', ":6: group_by[0]: expected the ASIM name"),
        ('"SrcIpAddr"]', '"SrcIpAddr", "SrcIpAddr"]', ":6: group_by: names a field twice"),
        ('["SrcIpAddr"]', "[]", ":6: group_by: expected at least 1"),
        ("EventResult =", "eventresult =", ":5: where.eventresult"),
        ('"Failure" }', "5 }", ":5: where.EventResult: expected text in quotes"),
        ('EventResult = "Failure"', 'DstPortNumber = "445"', ":5: where.DstPortNumber: expected a port, or a range"),
        ('"5m"', '"5 minutes"', ":7: timespan: expected a duration such as"),
        ('"5m"', "300", ":7: timespan: expected a duration such as"),
        ('"5m"', '"90s"', ":7: timespan: expected a multiple of the step (60 s), got 90 s"),
        ('"1m"', '"0s"', ":8: step: expected 1s to 1d, got 0s"),
        ('timespan = "5m"\nstep = "1m"', 'timespan = "1d"\nstep = "30s"', ":8: step: makes more than 1,440 "),
        ("gt = 10", "gt = -1", ":9: condition.gt: expected at least 0, got the number -1"),
        ("gt = 10", "gt = true", ":9: condition.gt: expected a whole number, got true"),
        ("gt = 10", "lt = 10", ":9: condition.lt: unknown key"),
        ("condition = { gt = 10 }\n", "", ": condition: is missing (such as condition ="),
        ("condition = { gt = 10 }", "condition = { gt = 10 }\nwatchlist = true", ":9: condition: the rows of the"),
        ("condition = { gt = 10 }", "watchlist = true", ":6: group_by: a rule with the watchlist"),
        ("gt = 10 }", "gt = 10 }\nper_source = true", ":10: per_source: only a rule with the watchlist has rows"),
        ("{SrcIpAddr}", "{DstIpAddr}", ":2: title: {DstIpAddr} is not known here (known: SrcIpAddr)"),
        ("{SrcIpAddr}", "{SrcIpAddr.__class__}", ":2: title: expected only placeholders"),
        ('"mine_by_source"', '"alerts"', ':4: counter: "alerts" is taken by the database'),
        ('"mine_by_source"', '"drop table"', ":4: counter: expected a table name"),
        ('severity = "low"', 'severity = "low"\ntactics = ["Sideways"]', ":11: tactics[0]: expected a MITRE"),
        ('severity = "low"', 'severity = "low"\ntechniques = ["1499"]', ":11: techniques[0]: expected the id"),
        ('severity = "low"', 'severity = "low"\nclear = { below = 1.5 }', ":11: clear.below: expected at most 1"),
        ('"Much from {SrcIpAddr}"', '""', ":2: title: expected 1 to 255 characters, got 0"),
    ],
)  # fmt: skip
def test_refused(tmp_path: Path, old: str, new: str, want: str) -> None:
    """File, line, key, reason and what to do."""
    assert old in GOOD

    found = problems(tmp_path, GOOD.replace(old, new))

    assert any(text.startswith(f"mine.toml{want}") for text in found), found


@pytest.mark.parametrize(
    ("condition", "want"),
    [
        (
            '{ field = "DstPortNumber", gt = 64 }',
            ["mine.toml:9: condition: more than 63 distinct values can't be told"],
        ),
        ('{ field = "DstPortNumber", gt = 63 }', []),
        (
            '{ field = "SrcIpAddr", gt = 1 }',
            ["mine.toml:9: condition.field: is in group_by, so each key has one value"],
        ),
    ],
)
def test_distinct_values(tmp_path: Path, condition: str, want: list[str]) -> None:
    """What can't be told, and what is always one."""
    text = GOOD.replace('"event_count"', '"value_count"').replace("{ gt = 10 }", condition)
    if not want:
        (tmp_path / "mine.toml").write_text(text)
        [rule] = rule_files.load([tmp_path / "mine.toml"])
        assert (rule.distinct, rule.threshold) == ("DstPortNumber", 63)
    else:
        assert want == [line[: len(want[0])] for line in problems(tmp_path, text)]


@pytest.mark.parametrize(
    ("name", "more", "want"),
    [
        ("port-misuse", ["SrcIpAddr", "DstAppName"], ""),
        ("port-misuse", ["SrcAppName"], "by itself, DstAppName to compare apps)"),
        ("port-anomaly", ["SrcIpAddr"], ""),
        ("port-anomaly", ["DstAppName"], "and SrcIpAddr for sums of each source by itself)"),
    ],
)
def test_what_a_rule_with_the_watchlist_may_group_by(tmp_path: Path, name: str, more: list[str], want: str) -> None:
    """Its cells; each source, and for sums the app, beside them."""
    [path] = [path for path in data.rules() if path.stem == name]
    text = path.read_text().replace('"DvcAction"]', "".join(['"DvcAction"', *(f', "{each}"' for each in more), "]"]))
    own = tmp_path / path.name
    own.write_text(text)
    if want:
        with pytest.raises(ConfigError) as caught:
            rule_files.load([own])
        assert [str(problem).endswith(want) for problem in caught.value.problems] == [True]
    else:
        [rule] = rule_files.load([own])
        assert rule.key_fields == ("Name", "DstPortNumber", "NetworkProtocol", "SrcIpAddr")


def test_everything_wrong_at_once(tmp_path: Path) -> None:
    """In all files."""
    first, second = tmp_path / "a.toml", tmp_path / "b.toml"
    first.write_text(GOOD.replace('"mine"', '"a"').replace('"low"', '"loud"').replace('"5m"', '"x"'))
    second.write_text("name = \n")

    with pytest.raises(ConfigError) as error:
        rule_files.load([first, second])

    assert [("a.toml", 7), ("a.toml", 10), ("b.toml", 1)] == [
        (Path(problem.file).name, problem.line) for problem in error.value.problems
    ]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('EventResult = "Failure"', 'EventResult = "Success"', "with another where"),
        ('["SrcIpAddr"]', '["SrcIpAddr", "DstIpAddr"]', "with another group_by"),
        ("step", 'weight = "records"\nstep', "with another weight"),
    ],
)
def test_sharing_a_counter_means_the_same(tmp_path: Path, old: str, new: str, reason: str) -> None:
    """The second file is told what the first one says."""
    first, second = tmp_path / "a.toml", tmp_path / "b.toml"
    first.write_text(GOOD.replace('"mine"', '"a"'))
    second.write_text(GOOD.replace('"mine"', '"b"').replace(old, new, 1))

    with pytest.raises(ConfigError, match=f'b.toml:.* counter: the rule a keeps "mine_by_source" {reason}'):
        rule_files.load([first, second])


def test_rows_for_each_source(tmp_path: Path) -> None:
    """The shipped port rules with ``per_source = true``; the source may stand in group_by as well."""
    for name in ("port-misuse", "port-anomaly"):
        shipped = (data.PACKAGE / "rules" / f"{name}.toml").read_text()
        text = shipped.replace("per_source = false", "per_source = true")
        (tmp_path / f"{name}.toml").write_text(text)
    (tmp_path / "more.toml").write_text(
        text.replace('"port-anomaly"', '"more"').replace('["DstPort', '["SrcIpAddr", "DstPort')
    )

    for rule in rule_files.load(sorted(tmp_path.glob("*.toml"))):
        assert ("SrcIpAddr", *rules.WATCHLIST_FIELDS) == rule.group_by
        assert ("Name", "SrcIpAddr", "DstPortNumber", "NetworkProtocol") == rule.key_fields
        assert "SrcIpAddr" not in rule.evidence
    with pytest.raises(ConfigError, match='counter: the rule more keeps "port_volume" with another group_by'):
        rule_files.load([tmp_path / "more.toml", data.PACKAGE / "rules" / "port-misuse.toml"])


def test_steps_that_make_too_many_slots(tmp_path: Path) -> None:
    """Together two sound rules may ask for too much."""
    first, second = tmp_path / "a.toml", tmp_path / "b.toml"
    first.write_text(GOOD.replace('"mine"', '"a"').replace('"5m"', '"1d"'))
    second.write_text(GOOD.replace('"mine"', '"b"').replace('"1m"', '"1s"'))

    with pytest.raises(ConfigError, match=r'a.toml:8: step: the steps of the rules that share "mine_by_source" make'):
        rule_files.load([first, second])


def test_counters_are_shared(make_rule: MakeRule) -> None:
    """The slot is the greatest common divisor of the steps; rules that are off need none."""
    some = [
        make_rule(name="a", step_s=60),
        make_rule(name="b", step_s=90, timespan_s=270),
        make_rule(name="c", step_s=1, timespan_s=1, mode=Mode.OFF),
        make_rule(name="d", counter="alone", mode=Mode.OFF),
    ]

    assert [
        CounterDefinition("failures_by_source", {"EventResult": "Failure"}, ("SrcIpAddr",), 30)
    ] == rules.counter_definitions(some)


def test_each_counter_is_looked_back_on_as_far_as_its_own_rules_do(make_rule: MakeRule) -> None:
    """A rule over a day must not keep every other counter's slots whole for a day."""
    some = [
        make_rule(name="a"),
        make_rule(name="b", timespan_s=600),
        make_rule(name="c", timespan_s=86_400, counter="alone"),
        make_rule(name="d", timespan_s=86_400, mode=Mode.OFF),
    ]

    assert {"failures_by_source": 600, "alone": 86_400} == rules.longest_windows_s(some)


def test_plan(make_rule: MakeRule, make_port_rule: MakeRule, make_row: MakeRow) -> None:
    """Levels are where alerts may clear; of several rows of a port the lowest counts; Anomaly rows have none."""
    rows = [
        make_row(),
        make_row(port=23, threshold=0, type=RowType.HUNTING),
        make_row(port=445, threshold=101),
        make_row(port=389, threshold=None, threshold_type=ThresholdType.ANOMALY),
    ]
    some = [make_rule(), make_rule(name="strict", step_s=30, clear_below=1.0), make_port_rule()]

    assert [
        {
            "name": "failures_by_source",
            "where": {"EventResult": "Failure"},
            "group_by": ["SrcIpAddr"],
            "slot_s": 30,
            "capacity": 65_536,
            "weight": "EventCount",
            "record_max": 4000,
            "rules": [
                {"name": "excessive-failures", "window_slots": 10, "level": 4000},
                {"name": "strict", "window_slots": 10, "level": 5000},
            ],
        },
        {
            "name": "port_volume",
            "where": {},
            "group_by": list(rules.WATCHLIST_FIELDS),
            "slot_s": 60,
            "capacity": 65_536,
            "weight": "EventCount",
            "record_max": {"field": "DstPortNumber", "values": {"445": 80}},
            "pinned": {"field": "DstPortNumber", "values": [23, 445]},
            "rules": [
                {
                    "name": "port-misuse",
                    "window_slots": 20,
                    "levels": {"field": "DstPortNumber", "values": {"23": 0, "445": 80}},
                }
            ],
        },
    ] == rules.plan(some, Watchlist(rows))


@pytest.mark.parametrize(
    ("others", "most"),
    [
        ([], 4000),
        ([{"threshold": 24}], 19),
        ([{"threshold": 24, "mode": Mode.OFF}], 4000),
        ([{"threshold": 1}], 1),
        ([{"threshold": 0}], 1),
        ([{"clear_below": 0.0}], 2500),
        ([{"type": RuleType.MATCH, "threshold": 0}], None),
        ([{"type": RuleType.BASELINE, "threshold": None, "baseline": rules.Baseline()}], None),
    ],
)
def test_what_one_record_may_count_for(make_rule: MakeRule, others: list[dict[str, Any]], most: int | None) -> None:
    """Too little for an alert of any rule that shares the counter, but that one event is enough for."""
    some = [make_rule(), *(make_rule(name=f"other-{number}", **other) for number, other in enumerate(others))]
    [counter] = rules.plan(some, Watchlist())
    assert most == counter.get("record_max")


@pytest.mark.parametrize(
    ("others", "most"),
    [
        ([], {"values": {"445": 80, "23": 400}}),
        # A rule with one threshold for each key counts by the same cells.
        ([{"threshold": 90}], {"values": {"445": 72, "23": 72}, "others": 72}),
        ([{"threshold": 90, "mode": Mode.OFF}], {"values": {"445": 80, "23": 400}}),
        # What a look back over days adds up stays as told at all other ports.
        (
            [{"type": RuleType.BASELINE, "threshold": None, "baseline": rules.Baseline()}, {"threshold": 90}],
            {"values": {"445": 72, "23": 72}},
        ),
    ],
)
def test_what_one_record_may_count_for_at_a_port(
    make_port_rule: MakeRule, make_row: MakeRow, others: list[dict[str, Any]], most: dict[str, Any]
) -> None:
    """As its rows have it; one with the threshold 0 wants the first session anyhow."""
    rows = [
        make_row(port=445, threshold=1000),
        make_row(port=445, threshold=101),
        make_row(port=23, threshold=500),
        make_row(port=23, threshold=0),
        make_row(port=111, threshold=0),
        make_row(port=389, threshold=None, threshold_type=ThresholdType.ANOMALY),
    ]
    other = [make_port_rule(name=f"other-{number}", rows=None, **each) for number, each in enumerate(others)]
    [counter] = rules.plan([make_port_rule(), *other], Watchlist(rows))
    assert {"field": "DstPortNumber"} | most == counter["record_max"]


def test_sums_stay_as_told(make_rule: MakeRule, make_port_rule: MakeRule) -> None:
    """One large transfer is enough."""
    for rule in (make_rule(weight="SrcBytes"), make_rule(weight="records"), make_port_rule()):
        assert all("record_max" not in counter for counter in rules.plan([rule], Watchlist()))


def test_pinned_ports(make_port_rule: MakeRule, make_row: MakeRow) -> None:
    """Of the rows that a rule of the counter looks at; none where keys have more than the cells."""
    rows = [make_row(), make_row(port=389, threshold=None, threshold_type=ThresholdType.ANOMALY)]
    both = [make_port_rule(), make_port_rule(name="b", type=RuleType.BASELINE, rows=ThresholdType.ANOMALY)]
    by_source = make_port_rule(group_by=("SrcIpAddr", *rules.WATCHLIST_FIELDS))
    by_app = make_port_rule(group_by=(*rules.WATCHLIST_FIELDS, "DstAppName"))
    for some, ports in ((both, [389, 445]), (both[:1], [445]), ([by_source], None), ([by_app], None)):
        [counter] = rules.plan(some, Watchlist(rows))
        assert counter.get("pinned", {}).get("values") == ports


def test_every_role_is_of_use() -> None:
    """The roles that the list of hosts speaks of are those that shipped rules leave out."""
    roles: set[str] = set()
    for rule in shipped().values():
        for each in rule.exempt:
            named = each.where.get("role", [])
            roles.update([named] if isinstance(named, str) else named)
    assert roles == set(ROLES)


def test_plan_of_the_shipped_rules() -> None:
    """Every port of the shipped list is in it."""
    ports_of_interest = watchlist.load(data.conf("port-watchlist.csv"))

    [ports] = rules.plan([shipped()["port-misuse"]], ports_of_interest)

    values = ports["rules"][0]["levels"]["values"]
    assert {"9150": 800, "139": 0, "443": 0} == {port: values[port] for port in ("9150", "139", "443")}
    assert "5800" in values
    assert "5801" not in values


@pytest.mark.parametrize(
    ("below", "threshold", "level"),
    [(0.8, 5000, 4000), (0.7, 10, 7), (0.29, 100, 29), (1.0, 7, 7), (0.0, 7, 0), (0.8, 0, 0), (0.8, 1, 0)],
)
def test_clear_level_is_exact(make_rule: MakeRule, below: float, threshold: int, level: int) -> None:
    """As written in the file, not as the machine rounds it."""
    assert level == make_rule(clear_below=below).clear_level(threshold)


def test_fields_are_of_one_kind() -> None:
    """Names once each; none is a sum."""
    assert len(RULE_FIELDS) == len(set(RULE_FIELDS))
    assert "EventCount" not in RULE_FIELDS


def test_rule_is_frozen(make_rule: MakeRule) -> None:
    """Rules are handed around."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        make_rule().name = "x"  # type: ignore[misc]


def test_rules_are_hashable(make_rule: MakeRule) -> None:
    """Their filter is no part of the hash, but of equality."""
    one: Any = make_rule()
    assert hash(one) == hash(make_rule())
    assert one != make_rule(where={})


def read_one(tmp_path: Path, text: str) -> Rule:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    [rule] = rule_files.load([path])
    return rule


def test_every_type_of_rule(tmp_path: Path) -> None:
    """What each type's own keys become."""
    count = 'type = "event_count"'
    above = "condition = { gt = 10 }"
    for kind, condition, want in [
        ("value_count", 'condition = { field = "DstZone", gt = 5 }', {"threshold": 5, "distinct": "DstZone"}),
        ("value_sum", 'condition = { field = "SrcBytes", gte = 50 }', {"threshold": 49, "weight": "SrcBytes"}),
        ("match", "", {"threshold": 0}),
        ("beacon", "condition = { gt = 80 }", {"threshold": 80, "beacon": rules.Beacon()}),
        ("baseline", "condition = { days = 20 }", {"threshold": None, "baseline": rules.Baseline(days=20)}),
    ]:  # fmt: skip
        text = GOOD.replace(count, f'type = "{kind}"').replace(above, condition)
        if kind in ("beacon", "baseline"):
            text = text.replace('step = "1m"\n', "")
        if kind == "baseline":
            text = text.replace('timespan = "5m"', 'timespan = "1d"')
        rule = read_one(tmp_path, text)
        assert want == {name: getattr(rule, name) for name in want}, kind
    head = 'name = "mine"\ntitle = "{Dvc}"\nseverity = "low"\n'
    silent = read_one(tmp_path, head + 'type = "silence"\ncondition = { after = "1h" }')
    assert (("Dvc",), rules.Silence(after_s=3600)) == (silent.group_by, silent.silence)
    off = read_one(tmp_path, head + 'type = "gauge"\ngauge = "clock_off_s"\ncondition = { gt = 300 }')
    assert (("Dvc",), "clock_off_s", 300, "") == (off.group_by, off.gauge, off.threshold, off.counter)


BASELINE = (
    GOOD.replace('"event_count"', '"baseline"')
    .replace('"5m"\nstep = "1m"', '"1d"\nstep = "1h"')
    .replace("condition = { gt = 10 }\n", "")
)


def test_baseline_over_some_fields(tmp_path: Path) -> None:
    """An alert may be about fewer fields than the counter has, down to none."""
    two = BASELINE.replace('["SrcIpAddr"]', '["SrcIpAddr", "DvcAction"]')
    rule = read_one(tmp_path, two + 'alert_by = ["SrcIpAddr"]\n')
    assert (("SrcIpAddr", "DvcAction"), ("SrcIpAddr",)) == (rule.group_by, rule.key_fields)
    none = read_one(tmp_path, two.replace("Much from {SrcIpAddr}", "Much") + "alert_by = []\n")
    assert () == none.key_fields
    assert ("SrcIpAddr", "DvcAction") == read_one(tmp_path, two).key_fields

    assert [[], 3600] == [rules.plan([rule], Watchlist())[0][key] for key in ("rules", "slot_s")]
    counter = rule.counter
    off = dataclasses.replace(rule, type=rules.RuleType.MATCH, mode=Mode.OFF)
    assert {counter: 0} == rules.longest_windows_s([rule, off])
    minute = dataclasses.replace(rule, type=rules.RuleType.MATCH, timespan_s=60)
    assert {counter: 60} == rules.longest_windows_s([rule, minute])


@pytest.mark.parametrize(
    ("old", "new", "want"),
    [
        ('timespan = "1d"', 'timespan = "12h"', "timespan: days (UTC) are compared with days"),
        ('severity = "low"', 'severity = "low"\nalert_by = ["DvcAction"]', "alert_by: DvcAction is not in group_by"),
        (
            'severity = "low"',
            'severity = "low"\nalert_by = []',
            "title: {SrcIpAddr} is not known here (known: nothing)",
        ),
        (
            'severity = "low"',
            'severity = "low"\ncondition = { days = 5 }',
            "condition.days: expected at least min_days",
        ),
        (
            'severity = "low"',
            'severity = "low"\nwatchlist = true\nalert_by = []',
            "alert_by: the rows of the watchlist say what an alert is about",
        ),
    ],
)
def test_wrong_baseline(tmp_path: Path, old: str, new: str, want: str) -> None:
    """What a day can't be compared by."""
    with pytest.raises(ConfigError) as refused:
        read_one(tmp_path, BASELINE.replace(old, new))
    assert want in str(refused.value)


def test_ports_that_are_looked_back_at_are_pinned() -> None:
    """In the counters of those rules alone."""
    shipped = watchlist.load(data.conf("port-watchlist.csv"))
    pinned = {
        each.name: each.pinned_ports for each in rules.counter_definitions(rule_files.load(data.rules()), shipped)
    }
    assert (389, 636, 3389, 5800) == pinned["port_volume"][:4]
    assert {()} == {ports for name, ports in pinned.items() if name != "port_volume"}


def test_strict_counts_as_the_original(tmp_path: Path) -> None:
    """Every record once, in windows that do not overlap."""
    rule = read_one(tmp_path, GOOD.replace('step = "1m"', "strict = true"))

    assert ("records", True, 300, 300) == (rule.weight, rule.every_record, rule.step_s, rule.timespan_s)
    [counter] = rules.plan([rule], Watchlist())
    assert (True, 300, 1) == (counter["every_record"], counter["slot_s"], counter["rules"][0]["window_slots"])


def test_exempts(tmp_path: Path) -> None:
    """What the key decides stays here, the rest is left out by the engine; networks are filled in."""
    text = """
[[exempt]]
SrcIpAddr = ["192.0.2.0/24", "internal"]
reason = "ours"
[[exempt]]
DstPortNumber = [443, "8000-8100"]
reason = "web"
[[exempt]]
role = "scanner"
reason = "looks for holes by order"
until = 2026-12-31T00:00:00Z
"""
    rule = rules.resolved(read_one(tmp_path, GOOD + text), ["10.0.0.0/8"])

    assert [True, False, True] == [rules.decided_by_key(each, rule) for each in rule.exempt]
    assert {"SrcIpAddr": ["192.0.2.0/24", "10.0.0.0/8"]} == rule.exempt[0].where
    [counter] = rules.plan([rule], Watchlist())
    assert [{"DstPortNumber": [443, "8000-8100"]}] == counter["exempt"]


def test_a_match_does_not_count_what_it_exempts(make_rule: MakeRule) -> None:
    """Unless another rule shares the counter, the exempt ends, or the engine can't tell."""
    addresses: dict[str, Any] = {"SrcIpAddr": ["192.0.2.1"]}
    exempt = (
        rules.Exempt(addresses, "ours"),
        rules.Exempt(addresses, "ours", until_ns=1),
        rules.Exempt({"role": "scanner"}, "by order"),
    )
    match, count = make_rule(type=rules.RuleType.MATCH, threshold=0, exempt=exempt), make_rule(exempt=exempt)

    assert [addresses] == rules.plan([match], Watchlist())[0]["exempt"]
    for sharing in ([count], [match, count]):
        assert "exempt" not in rules.plan(sharing, Watchlist())[0]


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ('SrcIpAddr = "192.0.2.1"', ":11: exempt[0].reason: expected a text that says why"),
        ('reason = "x"', ":11: exempt[0]: exempts everything"),
        ('Sauce = "x"\nreason = "x"', ":12: exempt[0].Sauce: expected the ASIM name"),
        ('SrcIpAddr = "mars"\nreason = "x"', ":12: exempt[0].SrcIpAddr: expected an address, a network"),
        ('SrcIpAddr = { not = [] }\nreason = "x"', ":12: exempt[0].SrcIpAddr.not: is empty"),
        ('role = "dns"\nreason = "x"\nuntil = 2026-12-31', ":14: exempt[0].until: expected a time with its zone"),
        (
            'DstPortNumber = 443\nreason = "x"\nuntil = 2026-12-31T00:00:00Z',
            ":12: exempt[0].DstPortNumber: no alert of this rule says DstPortNumber, so with an end this never fits",
        ),
    ],
)
def test_refused_exempts(tmp_path: Path, text: str, want: str) -> None:
    """File, line, key and reason of each."""
    found = problems(tmp_path, f"{GOOD}[[exempt]]\n{text}\n")
    assert [want] == [line.removeprefix("mine.toml")[: len(want)] for line in found]


def test_the_guide_is_right(tmp_path: Path) -> None:
    """Its example loads as it stands, and every key that a rule may have is told of."""
    guide = (data.PACKAGE / "rules" / "README.md").read_text(encoding="utf-8")
    example = guide.split("```toml\n")[1].split("```")[0]
    path = tmp_path / "telnet-from-inside.toml"
    path.write_text(example)
    [rule] = rule_files.load([path])
    assert ("DstIpAddr", 20, 1) == (rule.distinct, rule.threshold, len(rule.exempt))

    keys = {field.alias or name for model in rule_files.MODELS.values() for name, field in model.model_fields.items()}
    assert [] == sorted(key for key in keys if f"`{key}`" not in guide and f"`[[{key}]]`" not in guide)
    assert [] == [kind for kind in rule_files.MODELS if f"`{kind}`" not in guide]
