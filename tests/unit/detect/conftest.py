"""What the tests of detection share: rules, watchlist rows and windows, made from what matters to the test."""

from collections.abc import Callable
from typing import Any

import pytest

from collectord.detect.rules import WATCHLIST_FIELDS, Rule
from collectord.detect.watchlist import RowType, ThresholdType, WatchRow
from collectord.model import Mode, Severity

MakeRule = Callable[..., Rule]
MakeRow = Callable[..., WatchRow]


@pytest.fixture
def make_rule() -> MakeRule:
    """A rule with one threshold; any field can be given."""

    def make(**fields: Any) -> Rule:
        values: dict[str, Any] = {
            "name": "excessive-failures",
            "title": "Excessive number of failed connections from {SrcIpAddr}",
            "counter": "failures_by_source",
            "where": {"EventResult": "Failure"},
            "group_by": ("SrcIpAddr",),
            "timespan_s": 300,
            "step_s": 60,
            "threshold": 5000,
            "mode": Mode.NOTIFY,
            "severity": Severity.MEDIUM,
            "tactics": ("Impact",),
            "techniques": ("T1499",),
            "unit": "failed connections",
        }
        return Rule(**(values | fields))

    return make


@pytest.fixture
def make_port_rule(make_rule: MakeRule) -> MakeRule:
    """A rule with the watchlist; any field can be given."""

    def make(**fields: Any) -> Rule:
        values: dict[str, Any] = {
            "name": "port-misuse",
            "title": "{Name}: port {DstPortNumber}/{NetworkProtocol}",
            "counter": "port_volume",
            "where": {},
            "group_by": WATCHLIST_FIELDS,
            "timespan_s": 1200,
            "threshold": None,
            "rows": ThresholdType.STATIC,
            "tactics": ("Execution",),
            "techniques": ("T1095",),
            "unit": "sessions",
        }
        return make_rule(**(values | fields))

    return make


@pytest.fixture
def make_row() -> MakeRow:
    """A watchlist row for SMB; any field can be given."""

    def make(**fields: Any) -> WatchRow:
        values: dict[str, Any] = {
            "name": "Burst of SMB",
            "port": 445,
            "protocol": "*",
            "direction": "*",
            "action": "*",
            "app": "smb",
            "type": RowType.DETECTION,
            "threshold_type": ThresholdType.STATIC,
            "threshold": 1000,
            "severity": Severity.HIGH,
            "tactics": ("LateralMovement",),
            "description": "Many file sharing sessions.",
            "line": 2,
        }
        return WatchRow(**(values | fields))

    return make
