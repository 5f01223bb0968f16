"""Every alert of every shipped rule in every format: nothing of it is cut but the optional text."""

import pytest

from collectord import data
from collectord.model import AlertState
from collectord.outputs.alarm import key_text
from collectord.outputs.cef import cef_message
from collectord.outputs.syslog import syslog_message
from collectord.texts import line

from ...alert_samples import shipped_alerts
from ...reference.syslog_messages import cef, rfc5424

LONGEST_HOST = "collector-" + "1" * 54
"""Linux gives a host's name 64 octets."""


@pytest.mark.slow
def test_there_is_one_of_every_rule_and_state() -> None:
    told = {(alert.rule, alert.state) for alert in shipped_alerts()}
    assert told == {(path.stem, state) for path in data.rules() for state in AlertState}


@pytest.mark.parametrize("limit_bytes", [2048, 1400])
def test_rfc5424(limit_bytes: int) -> None:
    for alert in shipped_alerts():
        options = {"facility": 20, "limit_bytes": limit_bytes}
        read = rfc5424(syslog_message(alert, 2**31, collector_host=LONGEST_HOST, **options))  # type: ignore[arg-type]
        ours = read.data["collectord@32473"]
        assert ours["key"] == line(key_text(alert))
        # A field of the key that is called as one of ours stands in `key` alone.
        assert all(ours[name] == line(str(value)) for name, value in alert.key.items() if name != "rule")
        assert (ours["rule"], ours["alarmId"], ours.get("reason", "")) == (alert.rule, alert.id, line(alert.reason))
        assert line(alert.summary).startswith(read.msg)
        assert len(read.msg) >= min(128, len(alert.summary))


@pytest.mark.parametrize("limit_bytes", [2048, 1400])
def test_cef(limit_bytes: int) -> None:
    for alert in shipped_alerts():
        read = cef(cef_message(alert, 2**31, facility=20, collector_host=LONGEST_HOST, limit_bytes=limit_bytes))
        values = read.extension
        assert read.header[4:6] == [alert.rule, alert.title]
        assert values.get("cs3", "") == key_text(alert)
        assert (values["externalId"], values.get("reason", "")) == (alert.id, alert.reason)
        assert values.get("cs6", "") == ", ".join(alert.techniques)
        assert alert.summary.startswith(values["msg"])
        assert len(values["msg"]) >= min(128, len(alert.summary))
