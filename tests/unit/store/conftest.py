"""What the store's tests share: an open database, and alerts to put in it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from collectord.model import Alert, AlertState, Mode, Severity
from collectord.store.db import Database

MakeAlert = Callable[..., Alert]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database of the test is."""
    return tmp_path / "collectord.db"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    """An open database, new."""
    with Database(path, busy_timeout_ms=10) as database:
        yield database


@pytest.fixture
def make_alert() -> MakeAlert:
    """Makes an alert's state; any field can be given."""

    def make(alert_id: str = "00000000000000aa", event: str = "raised", **fields: Any) -> Alert:
        values: dict[str, Any] = {
            "id": alert_id,
            "episode": 1,
            "event": event,
            "rule": "excessive-failures",
            "state": AlertState(event.partition(":")[0]),
            "severity": Severity.MEDIUM,
            "mode": Mode.NOTIFY,
            "site": "north",
            "key": {"SrcIpAddr": "192.0.2.10", "DstPortNumber": 445},
            "count": 5001,
            "threshold": 5000,
            "window_s": 300,
            "first_time_ns": 1_000_000_000,
            "last_time_ns": 2_000_000_000,
            "title": "Excessive number of failed connections from 192.0.2.10",
            "summary": "192.0.2.10: 5,001 failed connections in 5 min (limit 5,000)",
            "tactics": ("Impact",),
            "techniques": ("T1499",),
            "details": {"error": 3, "cells": [{"DvcAction": "Deny", "count": 5001}]},
            "last_over_ns": 2_000_000_000,
            "peak": 5001,
        }
        return Alert(**(values | fields))

    return make
