"""
Whatever names and texts hold, a message of ours is one line of the right form and length, and a reader that was
written from the standard alone finds the same values again.
"""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectord.engine import Engine
from collectord.model import NS_PER_S, Alert, AlertState, Mode, Severity
from collectord.outputs.cef import cef_message
from collectord.outputs.syslog import syslog_message

from ..playbooks.playbook import shipped
from ..reference.syslog_messages import cef, rfc5424

T0_NS = 1_795_341_600 * NS_PER_S

HOSTILE = (
    *(
        "\x00\x1b[2J\x7f",
        "\r\n<34>1 - - - - - -",
        '"] x="',
        "[alarm]",
        "\\",
        "\\\\\\",
        "|",
        "|||",
        "a=b c=d",
        " src=1.2.3.4",
    ),
    *(
        "\\=",
        "\\|",
        "\\n",
        "%s%n%d",
        "{0.__class__}",
        "${jndi:ldap://192.0.2.1/a}",
        "\u202eevil\u2066",
        "\ud800",
        "\ufeff",
    ),
    *(
        "\u2028\u2029\x85",
        "\U000e0041",
        "é" * 300,
        "x" * 65_536,
        "]" * 300,
        "\\" * 300,
        "=" * 300,
        "  ",
        "CEF:0|a|b|c|d|e|9|",
    ),
)
"""What a name from the wire may hold."""


@st.composite
def hostile(draw: st.DrawFn) -> str:
    """A text; a strategy of its own, so that hypothesis does not write all of them out for each field."""
    return draw(st.one_of(st.text(max_size=60), st.lists(st.sampled_from(HOSTILE), max_size=3).map("".join)))


texts = hostile()
NAMES = (
    "SrcIpAddr",
    "DstIpAddr",
    "DstPortNumber",
    "SrcPortNumber",
    "NetworkProtocol",
    "NetworkDirection",
    "DvcAction",
    "Dvc",
)
keys = st.dictionaries(
    st.one_of(st.sampled_from(NAMES), texts),
    st.one_of(texts, st.integers(-10, 2**40), st.ip_addresses().map(str)),
    max_size=4,
)
alerts = st.builds(
    Alert,
    id=texts,
    episode=st.integers(1, 2**40),
    event=st.sampled_from(["raised", "updated:2", "cleared"]),
    rule=texts,
    state=st.sampled_from(AlertState),
    severity=st.sampled_from(Severity),
    mode=st.just(Mode.NOTIFY),
    site=texts,
    key=keys,
    count=st.integers(0, 2**60),
    threshold=st.integers(0, 2**60),
    window_s=st.integers(0, 2**40),
    first_time_ns=st.just(T0_NS),
    last_time_ns=st.integers(T0_NS, T0_NS + 10**18),
    title=texts,
    summary=texts,
    reason=texts,
    tactics=st.lists(texts, max_size=2).map(tuple),
)
hosts = st.one_of(st.just("collector-1"), texts)
limits = st.sampled_from([1024, 1400, 2048, 8192])


def printed(text: str) -> str:
    """On one line."""
    return "".join(c if c.isprintable() else " " for c in text)


def escaped(text: str) -> str:
    """RFC 5424 section 6.3.3."""
    return "".join(f"\\{c}" if c in '"\\]' else c for c in text)


def is_start_of(short: str, long: str) -> bool:
    """Whether one is the other, maybe cut."""
    return long.startswith(short)


@given(alerts, st.integers(1, 2**40), hosts, limits)
def test_rfc5424_reads_back(alert: Alert, sequence: int, host: str, limit_bytes: int) -> None:
    """Names stay whole unless they are over 255 octets; only what is optional goes missing."""
    made = syslog_message(alert, sequence, facility=20, collector_host=host, limit_bytes=limit_bytes)
    read = rfc5424(made)
    assert len(made) <= limit_bytes
    assert read.msg.isprintable()
    assert read.has_bom == (not read.msg.isascii())
    assert is_start_of(read.msg, printed(alert.summary))
    ours = read.data["collectord@32473"]
    assert set(read.data) == {"alarm", "collectord@32473"}
    values = {"alarmId": alert.id, "rule": alert.rule, "site": alert.site, "sequence": str(sequence)}
    for name, value in values.items():
        if name in ours:
            kept = ours[name]
            assert kept.isprintable()
            assert is_start_of(kept, printed(value))
            assert len(kept.encode()) <= 255
            assert kept == printed(value) or len(escaped(printed(value)).encode()) > (64 if name == "alarmId" else 255)


def one_line(text: str) -> str:
    """With its line ends, which CEF has escapes for, and without blanks around."""
    return "".join(c if c.isprintable() or c in "\r\n" else " " for c in text.strip()).strip(" ")


@given(alerts, st.integers(1, 2**40), hosts, limits)
def test_cef_reads_back(alert: Alert, sequence: int, host: str, limit_bytes: int) -> None:
    """The header's seven fields, and no key but ours; the reader refuses any other."""
    made = cef_message(alert, sequence, facility=20, collector_host=host, limit_bytes=limit_bytes)
    read = cef(made)
    assert len(made) <= limit_bytes
    assert made.decode().isprintable()
    assert is_start_of(read.header[4], printed(alert.rule).strip() or "-")
    assert is_start_of(read.header[5], printed(alert.title).strip() or "-")
    assert read.extension["cs1"] == alert.state.value
    assert read.extension["rt"] == str(alert.last_time_ns // 10**6)
    values = {"externalId": alert.id, "cs2": alert.site, "reason": alert.reason, "msg": alert.summary}
    for name, value in values.items():
        assert is_start_of(read.extension.get(name, ""), one_line(value))
    assert read.extension.get("cn3", str(sequence)) == str(sequence)


@pytest.mark.parametrize("character", ["x", "\\", "=", "|", "]", '"', "é", "\n", "\u202e", "\ud800", "%s"])
def test_names_of_64_kib(character: str) -> None:
    """Cut, and nothing else."""
    huge = "a" + character * 65_536
    alert = Alert(
        huge, 1, "raised", huge, AlertState.RAISED, Severity.HIGH, Mode.NOTIFY, huge, {"SrcIpAddr": huge, huge: huge},
        1, 1, 1, T0_NS, T0_NS, huge, huge,
    )  # fmt: skip
    for limit_bytes in (1024, 2048):
        options: dict[str, Any] = {"facility": 20, "collector_host": huge, "limit_bytes": limit_bytes}
        plain = syslog_message(alert, 1, **options)
        assert len(plain) <= limit_bytes
        assert rfc5424(plain).data["collectord@32473"]["alarmId"].startswith("a")
        in_cef = cef_message(alert, 1, **options)
        assert len(in_cef) <= limit_bytes
        assert cef(in_cef).extension["externalId"].startswith("a")


@pytest.fixture(scope="module")
def engine() -> Engine:
    """With the shipped profiles."""
    return shipped().engine()


@given(alert=alerts, sequence=st.integers(1, 2**40))
def test_our_own_engine_reads_our_cef(engine: Engine, alert: Alert, sequence: int) -> None:
    """One collector's alerts are another one's messages: what it makes of them is what our reader does."""
    made = cef_message(alert, sequence, facility=20, collector_host="collector-1", limit_bytes=2048)
    values = cef(made).extension
    parsed: dict[str, Any] = json.loads(engine.parse(made, "192.0.2.1"))
    assert (parsed["Profile"], parsed["Header"]["hostname"]) == ("generic-cef", "collector-1")
    assert parsed["Outcome"] in ("session", "event")
    for session in parsed["Sessions"]:
        assert (session["EventVendor"], session["EventProduct"]) == ("collectord", "collectord")
        assert session["EventMessage"].strip() == values.get("msg", session["EventMessage"]).strip()
        assert session.get("EventOriginalUid", "") == values.get("externalId", "")
        assert session.get("SrcIpAddr") in (values.get("src"), values.get("c6a2"))
        assert session.get("DstIpAddr") in (values.get("dst"), values.get("c6a3"))
