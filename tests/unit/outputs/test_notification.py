"""Notifications of COLLECTORD-MIB as PDUs. A real receiver looks at them in tests/e2e."""

from ipaddress import IPv4Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyasn1.codec.ber import decoder, encoder  # type: ignore[import-untyped]
from pysnmp.proto.api import v2c  # type: ignore[import-untyped]

from collectord.model import AlarmType, Alert, AlertState, Severity
from collectord.outputs.heartbeat import SignOfLife
from collectord.outputs.notification import PDU_LIMIT_BYTES, cold_start_pdu, heartbeat_pdu, trap_pdu

from ...alerts import T0_NS, alert

ROOT = (1, 3, 6, 1, 4, 1, 32473, 1)
LONG_ROOT = (1, 3, 6, 1, 4, 1, *[2**32 - 1] * 6)
TRAP_ADDRESS = (1, 3, 6, 1, 6, 3, 18, 1, 3, 0)
HOSTILE = st.text(max_size=400) | st.sampled_from(
    ["\U0001f525" * 400, "\r\n%n%s\x1b[31m\x00", '\ud800\u2028]"', "x" * 65_536]
)


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
        assert len(encoder.encode(pdu)) <= PDU_LIMIT_BYTES
        found = values(pdu)
        assert len(found[14]) < 255
        assert len(found[4]) == 200
        assert bytes(found[1]) == b"0123456789abcdef"

    @given(
        st.builds(
            alert,
            id=st.text(max_size=100),
            summary=HOSTILE,
            site=HOSTILE,
            rule=HOSTILE,
            key=st.dictionaries(st.text(max_size=40), st.text(max_size=300) | st.integers(), max_size=4),
            count=st.integers(),
            severity=st.sampled_from(Severity),
            state=st.sampled_from(AlertState),
            alarm_type=st.sampled_from(AlarmType),
            details=st.just({})
            | st.fixed_dictionaries(
                {"device": st.fixed_dictionaries({"name": HOSTILE, "address": HOSTILE | st.ip_addresses().map(str)})}
            ),
        ),
        HOSTILE,
        st.booleans(),
    )
    def test_never_too_long_and_always_complete(self, state: Alert, host: str, as_device: bool) -> None:
        """Whatever the wire put into it: all objects in their order, each text one line that prints."""
        pdu = trap(state, collector_host=host, root=LONG_ROOT, as_device=as_device)
        encoded = encoder.encode(pdu)
        assert len(encoded) <= PDU_LIMIT_BYTES
        decoded, _ = decoder.decode(encoded, asn1Spec=v2c.TrapPDU())
        found = varbinds(decoded)
        names = list(found)[2:]
        assert names[:17] == [(*LONG_ROOT, 1, number, 0) for number in range(1, 18)]
        assert names[17:] in ([], [TRAP_ADDRESS] if as_device else [])
        for name in names[:17]:
            if isinstance(found[name], v2c.OctetString):
                assert len(bytes(found[name])) <= 255
                assert bytes(found[name]).decode().isprintable()

    @given(st.ip_addresses(v=4))
    def test_the_device_as_the_sender(self, address: IPv4Address) -> None:
        """The last varbind, in the octets of an address."""
        device = {"name": "fw-1", "address": str(address)}
        found = varbinds(trap(alert(details={"device": device}), as_device=True))
        assert list(found)[-1] == TRAP_ADDRESS
        assert bytes(found[TRAP_ADDRESS]) == address.packed

    @pytest.mark.parametrize("address", ["", "2001:db8::1", "192.0.2", "192.0.2.1 ", "fw-1"])
    def test_what_is_no_ipv4_address_is_no_sender(self, address: str) -> None:
        device = {"name": "fw-1", "address": address}
        assert len(varbinds(trap(alert(details={"device": device}), as_device=True))) == 19

    def test_a_longer_sender_takes_room_from_the_summary(self) -> None:
        long = alert(
            key={"DvcHostname": "x" * 200}, summary="s" * 255, rule="r" * 200, site="h" * 255,
            details={"device": {"name": "d" * 255, "address": "192.0.2.1"}},
        )  # fmt: skip
        pdu = trap(long, collector_host="c" * 255, as_device=True)
        assert len(encoder.encode(pdu)) <= PDU_LIMIT_BYTES
        assert list(varbinds(pdu))[-1] == TRAP_ADDRESS
        assert len(values(pdu)[14]) < 255


class TestOthers:
    @given(st.integers(0, 2**40), HOSTILE, st.integers(0, 2**40))
    def test_heartbeat(self, active: int, host: str, sequence: int) -> None:
        sign = SignOfLife(active=active, every_s=300, started_ns=T0_NS, now_ns=T0_NS)
        pdu = heartbeat_pdu(sign, sequence, root=LONG_ROOT, uptime_ticks=2**32 - 1, collector_host=host)
        assert len(encoder.encode(pdu)) <= PDU_LIMIT_BYTES
        assert list(varbinds(pdu))[2:] == [(*LONG_ROOT, 1, number, 0) for number in range(1, 18)]
        objects = {name[-2]: value for name, value in list(varbinds(pdu).items())[2:]}
        assert int(objects[8]) == min(active, 2**32 - 1)
        assert int(objects[15]) == sequence % 2**32
        assert bytes(objects[1]) == b"heartbeat"

    def test_one_active_alert(self) -> None:
        sign = SignOfLife(active=1, every_s=300, started_ns=T0_NS, now_ns=T0_NS)
        pdu = heartbeat_pdu(sign, 1, root=ROOT, uptime_ticks=1, collector_host="collector-1")
        assert bytes(values(pdu)[14]) == b"alive, 1 active alert"

    def test_cold_start(self) -> None:
        """A name of SNMPv2-MIB, and the one thing of ours that follows."""
        found = varbinds(cold_start_pdu(root=ROOT, uptime_ticks=7, collector_host="a\nb"))
        assert [*found.values()][1] == (1, 3, 6, 1, 6, 3, 1, 1, 5, 1)
        assert list(found)[2:] == [(*ROOT, 1, 16, 0)]
        assert bytes(values(cold_start_pdu(root=ROOT, uptime_ticks=7, collector_host="a\nb"))[16]) == b"a b"
