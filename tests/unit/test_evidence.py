"""Evidence beside the windows: how a key's messages ended, as an alert tells it."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from collectord import data
from collectord.detect import rule_files
from collectord.evidence import Evidence, split
from collectord.model import KeyState, Window, WindowKey

START_NS = 1_800_000_000 * 10**9
SOURCE = "203.0.113.1"

Attached = Callable[..., dict[str, Any]]


def top(actions: dict[str, int], reasons: dict[str, int]) -> dict[str, list[list[Any]]]:
    """The most frequent values of both fields; a field without any is not there."""
    fields = {"DvcAction": actions, "EventResultDetails": reasons}
    return {name: [[value, count] for value, count in counts.items()] for name, counts in fields.items() if counts}


@pytest.mark.parametrize(
    ("messages", "actions", "reasons", "want"),
    [
        (10, {"Deny": 5, "Drop": 3, "Drop ICMP": 2}, {"Terminated": 10}, (10, 0, 0, 0)),
        (6, {"Reset": 1, "Reset Source": 2, "Reset Destination": 3}, {}, (0, 6, 0, 0)),
        # A session that one of its ends reset: the device let it pass.
        (7, {"Allow": 7}, {"Reset": 7}, (0, 7, 0, 0)),
        (5, {}, {"Timeout": 5}, (0, 0, 5, 0)),
        (4, {"Allow": 4}, {"Routing issue": 4}, (0, 0, 0, 4)),
        (4, {}, {}, (0, 0, 0, 4)),
        (5_003, {"Deny": 4_100, "Allow": 903}, {"Reset": 901, "Timeout": 1}, (4_100, 901, 1, 1)),
        # The same message says it twice, and counts once.
        (8, {"Reset": 8}, {"Reset": 8}, (0, 8, 0, 0)),
        (8, {"Deny": 8}, {"Timeout": 3, "Reset": 2}, (8, 0, 0, 0)),
        (8, {"Reset": 6, "Deny": 1}, {"Timeout": 3}, (1, 6, 1, 0)),
    ],
)
def test_each_kind(
    messages: int, actions: dict[str, int], reasons: dict[str, int], want: tuple[int, int, int, int]
) -> None:
    """Together they are all messages, whatever the lists say."""
    parts = split({"messages": messages, "top": top(actions, reasons)}, {})

    assert parts == dict(zip(("denied", "reset", "timed_out", "other"), want, strict=True))
    assert sum(parts.values()) == messages


def test_what_the_key_says_is_said_by_each_message() -> None:
    """A counter by action keeps no evidence of the action."""
    evidence = {"messages": 9, "top": top({}, {"Timeout": 4})}

    assert split(evidence, {"DvcAction": "Deny"})["denied"] == 9
    assert split(evidence, {"DvcAction": "Allow"}) == {"denied": 0, "reset": 0, "timed_out": 4, "other": 5}


@pytest.fixture
def attached() -> Attached:
    """The details of a key after evidence of it came in."""
    rules = {rule.name: rule for rule in rule_files.load(data.rules())}

    def attached(rule: str, key: tuple[Any, ...], actions: dict[str, int], reasons: dict[str, int]) -> dict[str, Any]:
        evidence = Evidence(rules.values())
        state = {
            "messages": 6,
            "first_ns": START_NS,
            "last_ns": START_NS,
            "top": top(actions, reasons),
            "lines": [],
        }
        evidence.note([KeyState(rules[rule].counter, "evidence", "", key, json.dumps(state), 1_800_000_000)])
        found = Window(rule, START_NS, START_NS, False, (WindowKey("", key, 5001, 0),))
        ((told,),) = (window.keys for window in evidence.attached([found]))
        return told.details["evidence"]  # type: ignore[no-any-return]

    return attached


def test_it_comes_with_the_window(attached: Attached) -> None:
    told = attached("excessive-failures", (SOURCE,), {"Deny": 4}, {"Timeout": 2})

    assert told["split"] == {"denied": 4, "reset": 0, "timed_out": 2, "other": 0}


def test_a_counter_by_action(attached: Attached) -> None:
    told = attached("port-misuse", (445, "TCP", "Inbound", "Deny"), {}, {"Timeout": 2})

    assert told["split"] == {"denied": 6, "reset": 0, "timed_out": 0, "other": 0}


def test_other_rules() -> None:
    """What is known of keys stays for the counters that count as before."""
    rules = rule_files.load(data.rules())
    evidence = Evidence(rules)
    state = json.dumps({"messages": 6, "first_ns": START_NS, "last_ns": START_NS, "top": {}, "lines": []})
    counter = "failures_by_source"
    evidence.note([KeyState(counter, "evidence", "", (SOURCE,), state, 1_800_000_000)])
    window = Window("excessive-failures", START_NS, START_NS, False, (WindowKey("", (SOURCE,), 5001, 0),))

    evidence.take_up(rules, {counter})
    told = evidence.attached([window])[0].keys[0].details["evidence"]
    evidence.take_up([replace(rule, group_by=("SrcIpAddr", "DstPortNumber")) for rule in rules], ())
    assert evidence.attached([window]) == [window]
    # An alert that the change clears tells what was known before.
    assert told["split"] == {"denied": 0, "reset": 0, "timed_out": 0, "other": 6}
