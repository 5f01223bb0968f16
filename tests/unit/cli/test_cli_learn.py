"""``collectord learn``."""

import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectord import data, plan
from collectord.cli.learn import SHOWN_KEYS, condition_toml, exempt_toml
from collectord.clock import SystemClock
from collectord.detect import rule_files
from collectord.detect.rules import Rule, RuleType
from collectord.model import Alert, AlertState, KeyValue, Mode, Severity
from collectord.store.alerts import Alerts
from collectord.store.db import Database
from collectord.store.learned import Learned

from .conftest import objects

(FAILURES,) = [rule for rule in rule_files.load(data.rules()) if rule.name == "excessive-failures"]
(PORTS,) = [rule for rule in rule_files.load(data.rules()) if rule.name == "port-misuse"]


def learned(key: dict[str, KeyValue], site: str = "") -> Learned:
    return Learned("r", site, key, "id", "medium", 1, 7000, 5000, 0, 1_800_000_000 * 10**9, 1)


@pytest.fixture
def store(config: Path) -> Callable[..., None]:
    """Stores alerts that were held back, one for each address."""

    def store(count: int, **fields: Any) -> None:
        now_ns = SystemClock().now_ns()
        values: dict[str, Any] = {
            "episode": 1, "event": "raised", "rule": "excessive-failures", "state": AlertState.RAISED,
            "severity": Severity.MEDIUM, "mode": Mode.REPORT, "site": "north", "count": 5001, "threshold": 5000,
            "window_s": 300, "first_time_ns": now_ns, "last_time_ns": now_ns, "title": "t", "summary": "s",
            "details": {"held": "learning"},
        }  # fmt: skip
        values |= fields
        alerts = [
            Alert(**values | {"id": f"{n:016x}", "key": {"SrcIpAddr": f"192.0.2.{n}"}, "peak": 5001 + n})
            for n in range(count)
        ]
        with Database(config.parent / "state" / "collectord.db") as database:
            Alerts(database).record(alerts, [()] * count)

    return store


def test_for_people(run: Any, store: Callable[..., None]) -> None:
    """What it was, and what to paste; never too much of it."""
    store(SHOWN_KEYS + 3)
    text = run("learn").stdout

    assert f"# excessive-failures: {SHOWN_KEYS + 3} alerts of {SHOWN_KEYS + 3} keys (held back while learning)" in text
    assert "#   1 x SrcIpAddr=192.0.2.22 at north: up to 5,023, limit 5,000" in text
    assert "#   and 3 more" in text
    assert "condition = { gt = 5023 }" in text
    pasted = tomllib.loads("\n".join(line for line in text.splitlines() if not line.startswith("condition")))
    assert len(pasted["exempt"]) == SHOWN_KEYS
    assert {"SrcIpAddr", "site", "reason"} == set(pasted["exempt"][0])


def test_until_when(run: Any, config: Path, store: Callable[..., None]) -> None:
    """And how to end it before; nothing of that once it is over."""
    store(0)
    before = config.read_text()
    config.write_text("learn_until = 2099-01-01T00:00:00Z\n" + before)
    lines = run("learn").stdout.splitlines()

    assert lines[0].startswith("# Learning until 20")
    assert lines[1] == f"# out of {config}, then: collectord reload"
    config.write_text("learn_until = 2020-01-01T00:00:00Z\n" + before)
    assert run("learn").stdout == "Nothing would have been sent.\n"


def test_for_programs(run: Any, store: Callable[..., None]) -> None:
    store(2)
    first, second = objects(run("learn", "--json"))

    assert (first["key"], first["raises"], first["peak"]) == ({"SrcIpAddr": "192.0.2.1"}, 1, 5002)
    assert (second["learning"], second["threshold"], second["severity"]) == (True, 5000, "medium")
    assert second["condition"] == "condition = { gt = 5001 }"


def test_filters(run: Any, store: Callable[..., None]) -> None:
    store(2)

    assert objects(run("learn", "--json", "--rule", "other")) == []
    assert len(objects(run("learn", "--json", "--limit", "1"))) == 1
    assert run("learn", "--since", "soon").exit_code == 2


def test_of_a_rule_that_is_gone(run: Any, store: Callable[..., None]) -> None:
    store(1, rule="gone", details={})
    text = run("learn").stdout

    assert "# gone: 1 alert of 1 key (the rule only reports)" in text
    assert "condition" not in text
    assert "[[exempt]]" in text


@pytest.mark.parametrize(
    ("rule", "peak", "want"),
    [
        (FAILURES, 7000, "condition = { gt = 7000 }"),
        (replace(FAILURES, type=RuleType.VALUE_COUNT, distinct="DstIpAddr"), 63,
         'condition = { field = "DstIpAddr", gt = 63 }'),
        (replace(FAILURES, type=RuleType.VALUE_COUNT, distinct="DstIpAddr"), 64, ""),
        (replace(FAILURES, type=RuleType.VALUE_SUM, weight="SrcBytes"), 9,
         'condition = { field = "SrcBytes", gt = 9 }'),
        (replace(FAILURES, type=RuleType.BEACON), 99, ""),
        (PORTS, 9, ""),
        (None, 9, ""),
    ],
)  # fmt: skip
def test_condition(rule: Rule | None, peak: int, want: str) -> None:
    """Quiet at that sum, where the rule has such a number."""
    assert condition_toml(rule, peak) == want


_TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(
    st.dictionaries(
        st.sampled_from(["SrcUsername", "DstPortNumber", "SrcZone"]), _TEXT | st.integers(0, 65_535), min_size=1
    ),
    _TEXT,
)
def test_exempts_are_toml(key: dict[str, KeyValue], site: str) -> None:
    """Whatever came from the wire."""
    ((found),) = tomllib.loads(exempt_toml(learned(key, site)))["exempt"]

    assert found.pop("reason").startswith("seen 2027-01-15")
    assert found == key | ({"site": site} if site else {})


KEY: dict[str, KeyValue] = {
    "SrcIpAddr": "10.0.0.5", "DstIpAddr": "198.51.100.1", "DstPortNumber": 445, "NetworkProtocol": "", "Name": "a row",
    "DvcAction": "Deny", "NetworkDirection": "Inbound", "DstAppName": "ssl", "Dvc": "fw",
}  # fmt: skip


def test_exempts_of_every_rule_load(tmp_path: Path) -> None:
    """In a copy of the rule's file; the one rule without a key has nothing to exempt."""
    setup = plan.load(None)
    without = []
    for path in data.rules():
        (rule,) = [each for each in setup.rules if each.name == path.stem]
        toml = exempt_toml(learned({name: KEY[name] for name in rule.key_fields})) if rule.counter else ""
        if rule.counter and not toml:
            without.append(rule.name)
        (tmp_path / path.name).write_text(f"{path.read_text()}\n{toml}\n")

    assert plan.check_rules(setup, sorted(tmp_path.iterdir())) == []
    assert without == ["traffic-anomaly-total"]


def test_a_rule_without_a_key(run: Any, config: Path) -> None:
    now_ns = SystemClock().now_ns()
    one = Alert(
        id="00000000000000aa", episode=1, event="raised", rule="traffic-anomaly-total", state=AlertState.RAISED,
        severity=Severity.MEDIUM, mode=Mode.REPORT, site="", key={}, count=9, threshold=5, window_s=86_400,
        first_time_ns=now_ns, last_time_ns=now_ns, title="t", summary="s", peak=9,
    )  # fmt: skip
    with Database(config.parent / "state" / "collectord.db") as database:
        Alerts(database).record([one], [()])

    assert run("learn").stdout.splitlines()[-2] == 'mode = "off"'
    assert objects(run("learn", "--json"))[0]["exempt"] == ""


def test_half_a_character() -> None:
    """No TOML can hold it."""
    assert tomllib.loads(exempt_toml(learned({"SrcUsername": "a\ud800"})))["exempt"][0]["SrcUsername"] == "a\ufffd"
