"""Alerts in the words of network management."""

from typing import Any

import pytest

from collectord.model import AlarmType, Alert, AlertState, Mode, Severity
from collectord.outputs.alarm import device_address, event_type, probable_cause, resource

# Which probable causes X.733 (section 8.1.2.1), M.3100 and X.736 (section 8.1.2) file under which event type, of those
# that we use; spelt as in IANA-ITU-ALARM-TC-MIB.
CAUSES = {
    "communicationsAlarm": {"communicationsSubsystemFailure", "remoteNodeTransmissionError"},
    "equipmentAlarm": {"timingProblem"},
    "qualityOfServiceAlarm": {"queueSizeExceeded"},
    "securityServiceOrMechanismViolation": {"unauthorizedAccessAttempt"},
    "other": {"other"},
}


def alert(**changes: Any) -> Alert:
    fields: dict[str, Any] = {
        "id": "0123456789abcdef", "episode": 1, "event": "raised", "rule": "r", "state": AlertState.RAISED,
        "severity": Severity.MEDIUM, "mode": Mode.NOTIFY, "site": "", "key": {}, "count": 2, "threshold": 1,
        "window_s": 60, "first_time_ns": 0, "last_time_ns": 0, "title": "t", "summary": "s",
    }  # fmt: skip
    return Alert(**(fields | changes))


@pytest.mark.parametrize("alarm_type", AlarmType)
def test_each_cause_belongs_to_its_event_type(alarm_type: AlarmType) -> None:
    """No type is without both."""
    about = alert(alarm_type=alarm_type)
    assert probable_cause(about) in CAUSES[event_type(about)]


def test_what_is_about_no_device_is_about_the_collector() -> None:
    assert resource(alert(), "collector-1") == "collector-1"
    assert device_address(alert()) == ""


def test_a_device_that_was_noted_at_the_raise() -> None:
    about = alert(details={"device": {"name": "fw-1", "address": "192.0.2.1"}})
    assert (resource(about, "collector-1"), device_address(about)) == ("fw-1", "192.0.2.1")


@pytest.mark.parametrize("device", [None, "fw-1", {}, {"name": "", "address": ""}])
def test_details_of_another_form_are_passed_over(device: Any) -> None:
    """They may come from a database that another version wrote."""
    about = alert(details={"device": device})
    assert (resource(about, "collector-1"), device_address(about)) == ("collector-1", "")
