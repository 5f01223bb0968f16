"""Notifications of COLLECTORD-MIB as PDUs. A real receiver looks at them in tests/e2e."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyasn1.codec.ber import decoder, encoder  # type: ignore[import-untyped]
from pysnmp.proto.api import v2c  # type: ignore[import-untyped]

from collectord.model import NS_PER_S, AlarmType, Alert, AlertState, Mode, Severity
from collectord.outputs.notification import trap_pdu

ROOT = (1, 3, 6, 1, 4, 1, 32473, 1)
T0_NS = 1_795_341_600 * NS_PER_S


def alert(**changes: Any) -> Alert:
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


def varbinds(pdu: Any) -> dict[tuple[int, ...], Any]:
    return {tuple(name): value for name, value in v2c.apiTrapPDU.get_varbinds(pdu)}


def values(pdu: Any) -> dict[int, Any]:
    """Number of the object -> value."""
    return {name[-2]: value for name, value in varbinds(pdu).items() if name[: len(ROOT)] == ROOT}


def trap(state: Alert, sequence: int = 1, **changes: Any) -> Any:
    options: dict[str, Any] = {"root": ROOT, "uptime_ticks": 4711, "collector_host": "collector-1"}
    return trap_pdu(state, sequence, **(options | changes))


class TestPdu:
    def test_uptime_and_trap_name_come_first(self) -> None:
        names = list(varbinds(trap(alert())))
        assert names[0] == (1, 3, 6, 1, 2, 1, 1, 3, 0)
        assert names[1] == (1, 3, 6, 1, 6, 3, 1, 1, 4, 1, 0)
        assert names[2:] == [(*ROOT, 1, number, 0) for number in range(1, 18)]
        assert int(varbinds(trap(alert()))[names[0]]) == 4711

    @pytest.mark.parametrize(
        ("state", "notification", "value"),
        [(AlertState.RAISED, 1, 1), (AlertState.CLEARED, 2, 2), (AlertState.UPDATED, 3, 3)],
    )
    def test_state_is_in_name_and_varbind(self, state: AlertState, notification: int, value: int) -> None:
        pdu = trap(alert(state=state))
        assert tuple(varbinds(pdu)[1, 3, 6, 1, 6, 3, 1, 1, 4, 1, 0]) == (*ROOT, 0, notification)
        assert int(values(pdu)[2]) == value

    @pytest.mark.parametrize(
        ("alarm_type", "raised", "cleared"),
        [
            (AlarmType.ALARM, 1, 2),
            (AlarmType.DEVICE_SILENT, 10, 11),
            (AlarmType.DEVICE_CLOCK, 12, 13),
            (AlarmType.MESSAGES_LOST, 20, 21),
            (AlarmType.OUTPUT_DOWN, 22, 23),
            (AlarmType.TEST, 1, 2),
        ],
    )
    def test_what_it_is_about_is_in_the_name(self, alarm_type: AlarmType, raised: int, cleared: int) -> None:
        """Raise and clear are a pair; an update has the same name for all."""
        for state, number in ((AlertState.RAISED, raised), (AlertState.CLEARED, cleared), (AlertState.UPDATED, 3)):
            pdu = trap(alert(state=state, alarm_type=alarm_type))
            assert tuple(varbinds(pdu)[1, 3, 6, 1, 6, 3, 1, 1, 4, 1, 0]) == (*ROOT, 0, number)
            assert list(varbinds(pdu))[2:] == [(*ROOT, 1, number, 0) for number in range(1, 18)]

    def test_the_device_that_it_is_about(self) -> None:
        found = values(trap(alert(details={"device": {"name": "fw-1", "address": "2001:db8::1"}})))
        assert (bytes(found[5]), bytes(found[6]), bytes(found[16])) == (b"fw-1", b"2001:db8::1", b"collector-1")

    @pytest.mark.parametrize(
        ("severity", "state", "perceived"),
        [
            (Severity.HIGH, AlertState.RAISED, 4),
            (Severity.MEDIUM, AlertState.UPDATED, 5),
            (Severity.LOW, AlertState.RAISED, 6),
            (Severity.HIGH, AlertState.CLEARED, 1),
        ],
    )
    def test_severity(self, severity: Severity, state: AlertState, perceived: int) -> None:
        assert int(values(trap(alert(severity=severity, state=state)))[3]) == perceived

    def test_numbers_stay_in_their_types(self) -> None:
        """Too large a count is cut off, the sequence wraps."""
        found = values(trap(alert(count=2**40, threshold=-1), sequence=2**32 + 5))
        assert [int(found[number]) for number in (8, 10, 15)] == [2**32 - 1, 0, 5]

    def test_texts_are_one_line(self) -> None:
        found = values(trap(alert(summary="a\nb\u2028c\x00d\ud800e", site="Zürich")))
        assert bytes(found[14]) == b"a b c d e"
        assert bytes(found[17]) == "Zürich".encode()
        assert bytes(found[6]) == b""

    def test_the_summary_is_shortened_first(self) -> None:
        long = alert(key={f"Field{n}": "x" * 40 for n in range(6)}, summary="s" * 300, rule="r" * 200, site="h" * 255)
        pdu = trap(long, collector_host="c" * 200)
        assert len(encoder.encode(pdu)) <= 1400
        found = values(pdu)
        assert len(found[14]) < 255
        assert len(found[4]) == 200
        assert bytes(found[1]) == b"0123456789abcdef"

    @given(
        st.builds(
            alert,
            summary=st.text(max_size=400),
            site=st.text(max_size=400),
            rule=st.text(max_size=400),
            key=st.dictionaries(st.text(max_size=40), st.text(max_size=300) | st.integers(), max_size=4),
            count=st.integers(),
            severity=st.sampled_from(Severity),
            state=st.sampled_from(AlertState),
        ),
        st.text(max_size=300),
    )
    def test_never_too_long_and_always_complete(self, state: Alert, host: str) -> None:
        pdu = trap(state, collector_host=host, root=(1, 3, 6, 1, 4, 1, *[2**32 - 1] * 6))
        encoded = encoder.encode(pdu)
        assert len(encoded) <= 1400
        decoded, _ = decoder.decode(encoded, asn1Spec=v2c.TrapPDU())
        assert len(varbinds(decoded)) == 19
