"""What an SNMP output tells beside alerts, and as whom it reports, as the configuration has it."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyasn1.codec.ber import decoder  # type: ignore[import-untyped]
from pysnmp.proto.api import v2c  # type: ignore[import-untyped]

from collectord import assembly, config
from collectord.clock import ManualClock
from collectord.errors import ConfigError, DeliveryError
from collectord.model import NS_PER_S, Alert, AlertState, Mode, Severity
from collectord.outputs.delivery import Output
from collectord.outputs.heartbeat import Living, SignOfLife

ROOT = (1, 3, 6, 1, 4, 1, 32473, 1)
COLD_START = (1, 3, 6, 1, 6, 3, 1, 1, 5, 1)
TRAP_ADDRESS = (1, 3, 6, 1, 6, 3, 18, 1, 3, 0)
T0_NS = 1_795_341_600 * NS_PER_S
SIGN = SignOfLife(active=3, every_s=300, started_ns=T0_NS, now_ns=T0_NS + 300 * NS_PER_S)


def alert(device: dict[str, str] | None) -> Alert:
    return Alert(
        id="0123456789abcdef", episode=1, event="raised", rule="r", state=AlertState.RAISED, severity=Severity.MEDIUM,
        mode=Mode.NOTIFY, site="", key={}, count=2, threshold=1, window_s=60, first_time_ns=T0_NS, last_time_ns=T0_NS,
        title="t", summary="s", details={"device": device} if device else {},
    )  # fmt: skip


@pytest.fixture
def receiver() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        bound.settimeout(5)
        yield bound


def configured(folder: Path, port: int, more: str = "") -> Output:
    """An output as the daemon makes it."""
    path = folder / "collectord.toml"
    path.write_text(
        f'state_dir = "{folder}"\n[[output]]\ntype = "snmp"\nname = "noc"\nhost = "127.0.0.1"\nport = {port}\n'
        f'community = "public"\n{more}\n'
    )
    loaded = config.load(path)
    ((output, _),) = assembly.outputs(loaded, ManualClock(T0_NS), assembly.notification_engine(loaded))
    return output


def received(receiver: socket.socket) -> list[tuple[tuple[int, ...], Any]]:
    """The varbinds of the next trap."""
    message, _ = decoder.decode(receiver.recv(65_535), asn1Spec=v2c.Message())
    return [(tuple(name), value) for name, value in v2c.apiTrapPDU.get_varbinds(v2c.apiMessage.get_pdu(message))]


def name_of(varbinds: list[tuple[tuple[int, ...], Any]]) -> tuple[int, ...]:
    return tuple(varbinds[1][1])


async def test_cold_start_comes_first_and_once(tmp_path: Path, receiver: socket.socket) -> None:
    output = configured(tmp_path, receiver.getsockname()[1])
    await output.start()
    await output.send(alert(None), 1)
    await output.send(alert(None), 2)
    await output.close()
    first, *others = (received(receiver) for _ in range(3))

    assert name_of(first) == COLD_START
    assert [(name, bytes(value)) for name, value in first[2:]] == [((*ROOT, 1, 16, 0), socket.gethostname().encode())]
    assert [name_of(each) for each in others] == [(*ROOT, 0, 1)] * 2


async def test_a_receiver_that_is_down_at_the_start_is_no_error(tmp_path: Path, receiver: socket.socket) -> None:
    """The alerts are what matters; they are tried again."""
    port = receiver.getsockname()[1]
    receiver.close()
    output = configured(tmp_path, port)
    await output.start()
    with pytest.raises(DeliveryError):
        await output.send(alert(None), 1)
    await output.close()


async def test_heartbeat(tmp_path: Path, receiver: socket.socket) -> None:
    """All objects in their order; it carries the number of the alert before it, and takes none of its own."""
    output = configured(tmp_path, receiver.getsockname()[1])
    assert isinstance(output, Living)
    await output.start()
    received(receiver)
    await output.alive(SIGN)
    first = received(receiver)
    await output.send(alert(None), 41)
    await output.alive(SIGN)
    received(receiver)
    second = received(receiver)
    await output.close()

    host = socket.gethostname().encode()
    assert name_of(first) == (*ROOT, 0, 30)
    assert [name for name, _ in first[2:]] == [(*ROOT, 1, number, 0) for number in range(1, 18)]
    values = {name[-2]: value for name, value in first[2:]}
    assert {number: int(values[number]) for number in (2, 3, 8, 9, 10, 15)} == {2: 1, 3: 2, 8: 3, 9: 300, 10: 0, 15: 0}
    assert {number: bytes(values[number]) for number in (1, 4, 5, 6, 7, 11, 12, 13, 14, 16, 17)} == {
        1: b"heartbeat",
        4: b"heartbeat",
        5: host,
        6: b"",
        7: b"",
        11: b"2026-11-22T10:00:00.000Z",
        12: b"2026-11-22T10:05:00.000Z",
        13: b"other",
        14: b"alive, 3 active alerts",
        16: host,
        17: b"",
    }
    assert int(dict(second)[(*ROOT, 1, 15, 0)]) == 41


@pytest.mark.parametrize(
    ("more", "device", "address"),
    [
        ("", {"name": "fw-1", "address": "192.0.2.1"}, None),
        ('report_as = "collector"', {"name": "fw-1", "address": "192.0.2.1"}, None),
        ('report_as = "device"', {"name": "fw-1", "address": "192.0.2.1"}, "192.0.2.1"),
        ('report_as = "device"', {"name": "fw-1", "address": "2001:db8::1"}, None),
        ('report_as = "device"', {"name": "fw-1", "address": ""}, None),
        ('report_as = "device"', None, None),
    ],
)
async def test_report_as(
    tmp_path: Path, receiver: socket.socket, more: str, device: dict[str, str] | None, address: str | None
) -> None:
    """The device's address is the last varbind, where it is an IPv4 one and the receiver is to have it."""
    output = configured(tmp_path, receiver.getsockname()[1], more)
    await output.start()
    await output.send(alert(device), 1)
    await output.close()
    received(receiver)
    varbinds = received(receiver)

    assert [name for name, _ in varbinds[2:19]] == [(*ROOT, 1, number, 0) for number in range(1, 18)]
    assert [(name, value.prettyPrint()) for name, value in varbinds[19:]] == (
        [(TRAP_ADDRESS, address)] if address else []
    )


@pytest.mark.parametrize(("text", "seconds"), [("0s", 0), ("30s", 30), ("5m", 300), ("1d", 86_400)])
def test_times_of_heartbeats(tmp_path: Path, text: str, seconds: int) -> None:
    path = tmp_path / "collectord.toml"
    path.write_text(f'[snmp]\nheartbeat = "{text}"\n')
    assert config.load(path).snmp.heartbeat_s == seconds


@pytest.mark.parametrize("text", ["1s", "29s", "25h"])
def test_other_times_of_heartbeats(tmp_path: Path, text: str) -> None:
    path = tmp_path / "collectord.toml"
    path.write_text(f'[snmp]\nheartbeat = "{text}"\n')
    with pytest.raises(ConfigError) as error:
        config.load(path)
    assert "heartbeat" in str(error.value.problems[0])
