"""Alerts in the daemon's own log."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from collectord import log as logs
from collectord.model import Alert, AlertState, Severity
from collectord.outputs.log import LogOutput

from ... import alerts


def alert(**changes: Any) -> Alert:
    """At a site, with a line end in its summary."""
    return alerts.alert(**({"site": "hq", "summary": "192.0.2.10: 5001 failed\nconnections"} | changes))


@pytest.mark.parametrize(
    ("severity", "state", "level"),
    [
        (Severity.HIGH, AlertState.RAISED, "error"),
        (Severity.MEDIUM, AlertState.UPDATED, "warning"),
        (Severity.LOW, AlertState.RAISED, "warning"),
        (Severity.INFORMATIONAL, AlertState.RAISED, "info"),
        (Severity.HIGH, AlertState.CLEARED, "info"),
    ],
)
async def test_level_follows_the_severity(severity: Severity, state: AlertState, level: str) -> None:
    output = LogOutput()
    state_of_it = alert(severity=severity, state=state)
    assert output.wants(state_of_it)
    await output.start()
    with capture_logs() as logs:
        await output.send(state_of_it, 1)
    await output.close()
    assert logs == [
        {
            "event": f"alert {state.value}",
            "log_level": level,
            "alert": "0123456789abcdef",
            "rule": "excessive-failures",
            "severity": severity.value,
            "site": "hq",
            "key": "SrcIpAddr=192.0.2.10",
            "count": 5001,
            "summary": "192.0.2.10: 5001 failed connections",
        }
    ]


async def test_follows_a_later_setup_of_the_log(restored_log: None) -> None:
    """The module is loaded before the configuration is known."""
    stream = io.StringIO()
    logs.setup("error", stream=stream, form="json", strict=True)
    await LogOutput().send(alert(severity=Severity.HIGH), 1)
    await LogOutput().send(alert(severity=Severity.LOW), 1)
    (line,) = stream.getvalue().splitlines()
    assert json.loads(line)["alert"] == "0123456789abcdef"


@pytest.fixture
def restored_log() -> Iterator[None]:
    before = structlog.get_config()
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    structlog.configure(**before)
    root.handlers[:] = handlers
    root.setLevel(level)
