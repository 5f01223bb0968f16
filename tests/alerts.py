"""An alert as tests of outputs want one: everything filled in, each field replaceable."""

from typing import Any

from collectord.model import NS_PER_S, Alert, AlertState, Mode, Severity

T0_NS = 1_795_341_600 * NS_PER_S
"""2026-11-22 10:00:00 UTC, when it was raised."""


def alert(**changes: Any) -> Alert:
    """The first raise of an alert about a source, but for the changes."""
    fields: dict[str, Any] = {
        "id": "0123456789abcdef",
        "episode": 1,
        "event": "raised",
        "rule": "excessive-failures",
        "state": AlertState.RAISED,
        "severity": Severity.MEDIUM,
        "mode": Mode.NOTIFY,
        "site": "",
        "key": {"SrcIpAddr": "192.0.2.10"},
        "count": 5001,
        "threshold": 5000,
        "window_s": 300,
        "first_time_ns": T0_NS,
        "last_time_ns": T0_NS + 299 * NS_PER_S,
        "title": "Excessive number of failed connections from 192.0.2.10",
        "summary": "192.0.2.10: 5001 failed connections in 5 min (limit 5000)",
    }
    return Alert(**(fields | changes))
