"""Every notification of COLLECTORD-MIB as net-snmp's trap daemon understands it."""

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from collectord import assembly, config
from collectord.clock import ManualClock
from collectord.model import NS_PER_S, AlarmType, Alert, AlertState, Mode, Severity
from collectord.outputs import mib
from collectord.outputs.heartbeat import Living, SignOfLife

from .daemon import LISTENERS, running, snmp_output
from .servers import snmptrapd

T0_NS = 1_795_341_600 * NS_PER_S

OBJECTS = (
    *("AlarmId", "AlarmState", "AlarmPerceivedSeverity", "AlarmRuleName", "AlarmResource", "AlarmDeviceAddress"),
    *("AlarmKey", "AlarmCount", "AlarmWindow", "AlarmThreshold", "AlarmFirstTime", "AlarmLastTime"),
    *("AlarmProbableCause", "AlarmSummary"),
    *("NotificationSequence", "CollectorHost", "Site"),
)

PAIRS = {
    AlarmType.ALARM: ("AlarmRaise", "AlarmClear", "unauthorizedAccessAttempt"),
    AlarmType.DEVICE_SILENT: ("DeviceSilent", "DeviceResumed", "remoteNodeTransmissionError"),
    AlarmType.DEVICE_CLOCK: ("DeviceClockSkew", "DeviceClockSkewClear", "timingProblem"),
    AlarmType.MESSAGES_LOST: ("CollectorLoss", "CollectorLossClear", "queueSizeExceeded"),
    AlarmType.OUTPUT_DOWN: ("OutputDown", "OutputUp", "communicationsSubsystemFailure"),
    AlarmType.TEST: ("AlarmRaise", "AlarmClear", "other"),
}


def alert(alarm_type: AlarmType) -> Alert:
    return Alert(
        id=f"id of {alarm_type}", episode=1, event="raised", rule=f"{alarm_type}-rule", state=AlertState.RAISED,
        severity=Severity.HIGH, mode=Mode.NOTIFY, site="north", key={"Dvc": "fw-1"}, count=901, threshold=900,
        window_s=300, first_time_ns=T0_NS, last_time_ns=T0_NS + 300 * NS_PER_S, title="t", summary="What happened.",
        details={"device": {"name": "fw-1", "address": "192.0.2.1"}}, alarm_type=alarm_type,
    )  # fmt: skip


def named(line: str) -> list[tuple[str, str]]:
    """Name and value of each varbind of a trap line."""
    parts = (part.partition(" = ") for part in line.split("\t")[1:])
    return [(name.removeprefix("COLLECTORD-MIB::"), value) for name, _, value in parts]


async def test_snmptrapd_names_every_notification(tmp_path: Path) -> None:
    """Raise, update and clear of each type, heartbeat and coldStart: all objects by name, in the module's order."""
    with snmptrapd(tmp_path, mib.text(standalone=True)) as server:
        path = tmp_path / "collectord.toml"
        path.write_text(
            f'state_dir = "{tmp_path}"\n[[output]]\ntype = "snmp"\nname = "noc"\nhost = "127.0.0.1"\n'
            f'port = {server.port}\ncommunity = "public"\nreport_as = "device"\n'
        )
        loaded = config.load(path)
        ((output, _),) = assembly.outputs(loaded, ManualClock(T0_NS), assembly.notification_engine(loaded))
        assert isinstance(output, Living)
        await output.start()
        states = [
            (replace(alert(alarm_type), state=state), name)
            for alarm_type, (raised, cleared, _) in PAIRS.items()
            for state, name in (
                (AlertState.RAISED, raised),
                (AlertState.UPDATED, "AlarmUpdate"),
                (AlertState.CLEARED, cleared),
            )
        ]
        for sequence, (state, _) in enumerate(states, start=1):
            await output.send(state, sequence)
        await output.alive(SignOfLife(active=2, every_s=300, started_ns=T0_NS, now_ns=T0_NS))
        await output.close()
        cold_start, *told, heartbeat = map(named, server.wait_for_lines(len(states) + 2, "TRAP"))

    names = [f"collectord{name}.0" for name in OBJECTS]
    for sequence, ((state, name), varbinds) in enumerate(zip(states, told, strict=True), start=1):
        assert varbinds[0][0] == "sysUpTime.0"
        assert varbinds[1] == ("snmpTrapOID.0", f"OID: COLLECTORD-MIB::collectord{name}")
        assert [varbind for varbind, _ in varbinds[2:19]] == names
        values = dict(varbinds)
        assert values["collectordAlarmId.0"] == f"STRING: {state.id}"
        assert values["collectordAlarmProbableCause.0"] == f"STRING: {PAIRS[state.alarm_type][2]}"
        assert values["collectordAlarmResource.0"] == "STRING: fw-1"
        assert values["collectordAlarmDeviceAddress.0"] == "STRING: 192.0.2.1"
        assert values["collectordNotificationSequence.0"] == f"Counter32: {sequence}"
        assert varbinds[19:] == [("snmpTrapAddress.0", "IpAddress: 192.0.2.1")]
    assert len({name for _, name in states}) == 11
    assert heartbeat[1] == ("snmpTrapOID.0", "OID: COLLECTORD-MIB::collectordHeartbeat")
    assert [varbind for varbind, _ in heartbeat[2:]] == names
    assert dict(heartbeat)["collectordAlarmPerceivedSeverity.0"] == "INTEGER: indeterminate(2)"
    assert dict(heartbeat)["collectordAlarmCount.0"] == "Gauge32: 2"
    assert cold_start[1:] == [
        ("snmpTrapOID.0", "OID: COLLECTORD-MIB::coldStart"),
        ("collectordCollectorHost.0", f"STRING: {socket.gethostname()}"),
    ]


@pytest.mark.e2e
def test_each_start_and_life_are_told(tmp_path: Path) -> None:
    """The daemon sends coldStart and a heartbeat when it starts, with nothing to be alarmed about."""
    (tmp_path / "noc").mkdir()
    with snmptrapd(tmp_path / "noc", mib.text(standalone=True)) as server:
        with running(tmp_path / "collector", LISTENERS + snmp_output("noc", server.port)) as daemon:
            server.wait_for_lines(2, "TRAP")
            daemon.wait(lambda: daemon.status()["outputs"][0]["heartbeats"] == 1, "the heartbeat to be counted")
            daemon.stop()
            daemon.start()
            lines = server.wait_for_lines(4, "TRAP")
            daemon.stop()
            assert daemon.rows("SELECT * FROM outbox") == []
    assert [dict(named(line))["snmpTrapOID.0"] for line in lines] == [
        *("OID: COLLECTORD-MIB::coldStart", "OID: COLLECTORD-MIB::collectordHeartbeat") * 2
    ]
