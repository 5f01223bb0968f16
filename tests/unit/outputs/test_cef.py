"""CEF as bytes. That a receiver finds its parts again is in tests/property and tests/e2e."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from collectord import __version__
from collectord.model import Alert, AlertState, Severity
from collectord.outputs.cef import cef_message

from ...alerts import T0_NS
from ...reference.syslog_messages import cef
from .test_syslog import alert


@pytest.fixture(autouse=True)
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The header has the time of the machine's zone."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def message(state: Alert, sequence: int = 7, **changes: Any) -> bytes:
    options: dict[str, Any] = {"facility": 20, "collector_host": "collector-1", "limit_bytes": 2048}
    return cef_message(state, sequence, **(options | changes))


def extension(state: Alert, **changes: Any) -> dict[str, str]:
    return cef(message(state, **changes)).extension


def test_whole() -> None:
    assert message(alert(tactics=("Credential Access",), techniques=("T1110",))).decode() == (
        "<163>Nov 22 10:04:59 collector-1 "
        f"CEF:0|collectord|collectord|{__version__}|excessive-failures"
        "|Excessive number of failed connections from 192.0.2.10|6|"
        "rt=1795341899000 externalId=0123456789abcdef cs1Label=state cs1=raised cat=alarm cnt=5001 src=192.0.2.10 "
        "start=1795341600000 end=1795341899000 cn1Label=threshold cn1=5000 cn2Label=window cn2=300 "
        "cn3Label=sequence cn3=7 cs2Label=site cs2=hq cs3Label=key cs3=SrcIpAddr\\=192.0.2.10 dvchost=collector-1 "
        "flexNumber1Label=episode flexNumber1=2 cs4Label=event cs4=raised cs5Label=tactics cs5=Credential Access "
        "cs6Label=techniques cs6=T1110 msg=192.0.2.10: 5001 failed connections in 5 min (limit 5000)"
    )


def test_the_time_is_local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC-05:30")
    time.tzset()
    state = alert(last_time_ns=T0_NS - 20 * 86_400 * 10**9)
    assert message(state).startswith(b"<163>Nov  2 15:30:00 collector-1 CEF:0|")
    assert extension(state)["rt"] == str(state.last_time_ns // 10**6)


@pytest.mark.parametrize(
    ("severity", "state", "number", "priority"),
    [
        (Severity.INFORMATIONAL, AlertState.RAISED, "1", 165),
        (Severity.LOW, AlertState.UPDATED, "3", 164),
        (Severity.MEDIUM, AlertState.RAISED, "6", 163),
        (Severity.HIGH, AlertState.RAISED, "8", 162),
        (Severity.HIGH, AlertState.CLEARED, "0", 165),
    ],
)
def test_severities(severity: Severity, state: AlertState, number: str, priority: int) -> None:
    read = cef(message(alert(severity=severity, state=state)))
    assert (read.header[6], read.priority, read.extension["cs1"]) == (number, priority, state.value)


def test_the_device_that_it_is_about() -> None:
    """Named by the key, or by what detection found out."""
    about = {"device": {"name": "fw=1", "address": "192.0.2.1"}}
    assert extension(alert(details=about))["deviceExternalId"] == "fw=1"
    assert extension(alert(key={"Dvc": "fw-2"}, details=about))["deviceExternalId"] == "fw-2"
    assert "deviceExternalId" not in extension(alert())


def test_fields_of_the_key() -> None:
    """Where the dictionary has a key of the right type for one; ``cs3`` has all."""
    key = {
        "SrcIpAddr": "192.0.2.1", "SrcPortNumber": 50_000, "DstIpAddr": "198.51.100.7", "DstPortNumber": 445,
        "NetworkProtocol": "TCP", "DvcAction": "Deny", "NetworkDirection": "Outbound", "Dvc": "fw", "DstAppName": "smb",
    }  # fmt: skip
    made = extension(alert(key=key))
    assert {name: made[name] for name in ("src", "spt", "dst", "dpt", "proto", "act", "deviceDirection", "app")} == {
        "src": "192.0.2.1",
        "spt": "50000",
        "dst": "198.51.100.7",
        "dpt": "445",
        "proto": "TCP",
        "act": "Deny",
        "deviceDirection": "1",
        "app": "smb",
    }
    assert made["deviceExternalId"] == "fw"
    assert made["cs3"] == " ".join(f"{name}={value}" for name, value in key.items())


def test_ipv6_has_keys_of_its_own() -> None:
    """``src`` and ``dst`` are IPv4 addresses by the dictionary."""
    made = extension(alert(key={"SrcIpAddr": "2001:db8::1", "DstIpAddr": "2001:db8::2"}))
    assert (made["c6a2"], made["c6a2Label"]) == ("2001:db8::1", "Source IPv6 Address")
    assert (made["c6a3"], made["c6a3Label"]) == ("2001:db8::2", "Destination IPv6 Address")
    assert {"src", "dst"} & set(made) == set()


def test_values_that_do_not_fit_their_key_are_left_out() -> None:
    key = {"SrcIpAddr": "", "DstIpAddr": "nowhere", "DstPortNumber": 70_000, "NetworkDirection": "Local", "Other": "x"}
    made = extension(alert(key=key))
    assert {"src", "c6a2", "dst", "c6a3", "dpt", "deviceDirection", "Other"} & set(made) == set()
    assert made["cs3"] == "SrcIpAddr= DstIpAddr=nowhere DstPortNumber=70000 NetworkDirection=Local Other=x"


def test_a_reason_comes_with_the_clear() -> None:
    assert extension(alert(state=AlertState.CLEARED, reason="below 4000"))["reason"] == "below 4000"


def test_escapes() -> None:
    made = message(alert(rule="a|b", title="c\\d|e=f\ng", summary="a\\b=c|d\r\ne\tf\u202eg\u2028h\ud800i", site="=x="))
    assert b"|a\\|b|c\\\\d\\|e=f g|6|" in made
    assert made.endswith(b" msg=a\\\\b\\=c|d\\r\\ne f g h i")
    assert b" cs2=\\=x\\= " in made


def test_counts_stay_integers() -> None:
    """``cnt`` has 31 bits."""
    assert extension(alert(count=2**40))["cnt"] == "2147483647"


def test_text_is_cut_before_details() -> None:
    made = message(alert(summary="s" * 900, site="h" * 255, key={"SrcIpAddr": "x" * 200}), limit_bytes=1400)
    assert len(made) == 1400
    assert cef(made).extension["cs4"] == "raised"


def test_details_are_cut_before_the_last_text() -> None:
    made = message(alert(summary="s" * 5000, site="h" * 255, key={"SrcIpAddr": "x" * 255}), limit_bytes=1024)
    read = cef(made).extension
    assert len(made) <= 1024
    assert len(read["msg"]) >= 128
    assert "cs6" not in read
    assert read["externalId"] == "0123456789abcdef"
