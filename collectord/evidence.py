"""
What the engine saw of hot keys, beside the windows in which they are over: so an alert tells more than a number.

The engine hands a key's evidence over when it changed; here it is kept until a window needs it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from collectord.detect.rules import ENGINE_TYPES, Rule
from collectord.model import KeyState, KeyValue, Window, WindowKey, rfc3339

KIND = "evidence"

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
        self._counters = {rule.name: rule.counter for rule in rules if rule.type in ENGINE_TYPES}
        self._kept: dict[str, dict[Place, str]] = {}

    def note(self, states: Sequence[KeyState]) -> None:
        """Takes in a batch's states, or those that the database holds; other kinds are passed over."""
        for state in states:
            if state.kind != KIND:
                continue
            kept = self._kept.setdefault(state.counter, {})
            kept.pop((state.site, state.key), None)
            if state.state:
                kept[state.site, state.key] = state.state
            if len(kept) > MAX_KEPT:
                del kept[next(iter(kept))]

    def attached(self, windows: Iterable[Window]) -> list[Window]:
        """The windows, with what is known of each key among its details."""
        return [self._attached(window) for window in windows]

    def _attached(self, window: Window) -> Window:
        kept = self._kept.get(self._counters.get(window.rule, ""))
        if not kept or not window.keys:
            return window
        return replace(window, keys=tuple(_with(key, kept.get((key.site, key.key))) for key in window.keys))


def _with(key: WindowKey, evidence: str | None) -> WindowKey:
    if evidence is None:
        return key
    return replace(key, details={**key.details, KIND: _told(json.loads(evidence))})


def _told(evidence: Mapping[str, Any]) -> dict[str, Any]:
    """As an alert tells it: times in RFC 3339."""
    return {
        "messages": evidence["messages"],
        "first_time": rfc3339(evidence["first_ns"]),
        "last_time": rfc3339(evidence["last_ns"]),
        "top": evidence["top"],
        "lines": evidence["lines"],
    }
