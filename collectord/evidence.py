"""
What the engine saw of hot keys, beside the windows in which they are over: so an alert tells more than a number.

The engine hands a key's evidence over when it changed; here it is kept until a window needs it.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from collectord.detect.rules import ENGINE_TYPES, Rule
from collectord.model import KeyState, KeyValue, Window, WindowKey, rfc3339

KIND = "evidence"

_DENIED = ("Deny", "Drop", "Drop ICMP")
_RESET = ("Reset", "Reset Source", "Reset Destination")
"""Values of ``DvcAction`` (ASIM schema, NetworkSession)."""

_SPLIT_BY = ("DvcAction", "EventResultDetails")

MAX_KEPT = 2_048
"""Keys of one counter: twice what the engine keeps at a time, so that what it just let go is still told."""

Place = tuple[str, tuple[KeyValue, ...]]
"""Site and key."""


class Evidence:
    """
    The evidence of each counter's hot keys.

    Args:
        rules: All rules; those that the engine does not judge have no counter of their own here.
    """

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._kept: dict[str, dict[Place, Unread]] = {}
        self.take_up(rules, ())

    def take_up(self, rules: Iterable[Rule], kept: Collection[str]) -> None:
        """
        Other rules from now on.

        Args:
            rules: All rules.
            kept: Counters that count as before: what is known of their keys stays.
        """
        self._counters: dict[str, str] = {}
        self._group_by: dict[str, tuple[str, ...]] = {}
        self._known: dict[str, set[str]] = {}
        """By counter: the fields whose values are known of a key, by its evidence or by itself."""
        for rule in rules:
            if rule.type in ENGINE_TYPES:
                self._counters[rule.name] = rule.counter
                self._group_by[rule.counter] = rule.group_by
                self._known.setdefault(rule.counter, set()).update(rule.evidence, rule.group_by)
        self._kept = {counter: known for counter, known in self._kept.items() if counter in kept}

    def note(self, states: Sequence[KeyState]) -> None:
        """Takes in a batch's states, or those that the database holds; other kinds are passed over."""
        for state in states:
            if state.kind != KIND:
                continue
            kept = self._kept.setdefault(state.counter, {})
            kept.pop((state.site, state.key), None)
            if state.state:
                kept[state.site, state.key] = Unread(state.state, self._fields_of(state))
            if len(kept) > MAX_KEPT:
                del kept[next(iter(kept))]

    def attached(self, windows: Iterable[Window]) -> list[Window]:
        """The windows, with what is known of each key among its details."""
        return [self._attached(window) for window in windows]

    def _attached(self, window: Window) -> Window:
        counter = self._counters.get(window.rule, "")
        kept = self._kept.get(counter)
        if not kept or not window.keys:
            return window
        return replace(window, keys=tuple(_with(key, kept.get((key.site, key.key))) for key in window.keys))

    def _fields_of(self, state: KeyState) -> dict[str, KeyValue] | None:
        """The fields of a key, where with its evidence they tell how its sessions ended; else None."""
        if not self._known.get(state.counter, set()).issuperset(_SPLIT_BY):
            return None
        return dict(zip(self._group_by[state.counter], state.key, strict=True))


class Unread(Mapping[str, Any]):
    """
    The evidence of a key, which is only read where an alert tells it: of the windows that come in a second few do.

    Args:
        evidence: As the engine gives it (JSON).
        key: Fields of the key, for the split of its results; None: there is none.
    """

    def __init__(self, evidence: str, key: Mapping[str, KeyValue] | None) -> None:
        self._evidence = evidence
        self._key = key
        self._told: dict[str, Any] | None = None

    def _all(self) -> dict[str, Any]:
        if self._told is None:
            self._told = _told(json.loads(self._evidence))
            if self._key is not None:
                # What the key says itself is the same in each of its messages.
                self._told["split"] = split(self._told, self._key)
        return self._told

    def __getitem__(self, name: str) -> Any:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


def _with(key: WindowKey, evidence: Unread | None) -> WindowKey:
    return key if evidence is None else replace(key, details={**key.details, KIND: evidence})


def split(evidence: Mapping[str, Any], key: Mapping[str, KeyValue]) -> dict[str, int]:
    """
    How the messages of an evidence ended: ``denied``, ``reset``, ``timed_out``, ``other``; together all of them.

    The device's action and the result's reason are counted each by itself, so where one message has several of these
    it is denied before it is reset, and reset before it timed out. Whether a reset that is told as an action and one
    that is told as a reason are the same message is not known: the larger number of both is told, the rest is other.

    Args:
        evidence: As an alert tells it; its messages are those that were seen while the key was hot.
        key: Fields of the key, which evidence does not repeat.
    """
    messages = int(evidence["messages"])

    def seen(field: str, *values: str) -> int:
        if field in key:
            return messages if key[field] in values else 0
        return sum(int(count) for value, count in evidence["top"].get(field, ()) if value in values)

    left = messages
    parts = {}
    for name, count in (
        ("denied", seen("DvcAction", *_DENIED)),
        ("reset", max(seen("DvcAction", *_RESET), seen("EventResultDetails", "Reset"))),
        ("timed_out", seen("EventResultDetails", "Timeout")),
    ):
        parts[name] = min(count, left)
        left -= parts[name]
    return {**parts, "other": left}


def _told(evidence: Mapping[str, Any]) -> dict[str, Any]:
    """As an alert tells it: times in RFC 3339."""
    return {
        "messages": evidence["messages"],
        "first_time": rfc3339(evidence["first_ns"]),
        "last_time": rfc3339(evidence["last_ns"]),
        "top": evidence["top"],
        "lines": evidence["lines"],
    }
