"""Our alerts as real receivers understand them: net-snmp's trap daemon and rsyslog."""

import json
import re
import time
from pathlib import Path
from typing import Any, Literal

import pytest

from collectord.model import Alert, AlertState, Severity
from collectord.outputs import mib
from collectord.outputs.snmp import SnmpOutput
from collectord.outputs.snmp_engine import NotificationEngine
from collectord.outputs.snmp_users import Community
from collectord.outputs.syslog import SyslogOutput

from .. import alerts
from .servers import find_program, rsyslogd, smi_modules, snmptrapd


def alert(**changes: Any) -> Alert:
    """With words that are not ASCII, and marks."""
    words = {
        "site": "Zürich",
        "key": {"SrcIpAddr": "192.0.2.10", "DstPortNumber": 445},
        "summary": 'host "nas\\1" [192.0.2.10] in Zürich: 5001 failed connections in 5 min (limit 5000)',
    }
    return alerts.alert(**(words | changes))


def objects(line: str) -> dict[str, str]:
    """Name and value of each varbind of a trap line."""
    return dict(part.split(" = ", 1) for part in line.split("\t")[1:])


def understood(line: str) -> dict[str, Any]:
    """A message of rsyslogd's log, ``data`` as name -> name -> value."""
    message: dict[str, Any] = json.loads(line)
    return message | {"data": json.loads(message["data"])}


@pytest.mark.parametrize("root", [mib.DEFAULT_ROOT, "1.3.6.1.4.1.99999.7.1"])
async def test_snmptrapd_names_every_object(tmp_path: Path, root: str) -> None:
    """With nothing but the standalone module, names and labels come out, in the module's order."""
    engine = NotificationEngine(tmp_path / "snmp_engine.json", mono_ns=time.monotonic_ns)
    with snmptrapd(tmp_path, mib.text(root, standalone=True), community="not-public") as server:
        output = SnmpOutput(
            engine,
            name="noc",
            host="127.0.0.1",
            port=server.port,
            credentials=Community(lambda: "not-public"),
            root=root,
            collector_host="collector-1",
        )
        await output.start()
        await output.send(alert(), 7)
        await output.send(alert(state=AlertState.UPDATED, severity=Severity.HIGH, count=50_010), 8)
        await output.send(alert(state=AlertState.CLEARED, count=12), 9)
        await output.close()
        raised, updated, cleared = [objects(line) for line in server.wait_for_lines(3, "TRAP")]

    names = list(raised)
    assert [names[0], names[1]] == ["COLLECTORD-MIB::sysUpTime.0", "COLLECTORD-MIB::snmpTrapOID.0"]
    assert raised["COLLECTORD-MIB::snmpTrapOID.0"] == "OID: COLLECTORD-MIB::collectordAlarmRaise"
    assert {name.removeprefix("COLLECTORD-MIB::collectord"): value for name, value in list(raised.items())[2:]} == {
        "AlarmId.0": "STRING: 0123456789abcdef",
        "AlarmState.0": "INTEGER: raised(1)",
        "AlarmPerceivedSeverity.0": "INTEGER: minor(5)",
        "AlarmRuleName.0": "STRING: excessive-failures",
        "AlarmResource.0": "STRING: collector-1",
        "AlarmDeviceAddress.0": "STRING: ",
        "AlarmKey.0": "STRING: SrcIpAddr=192.0.2.10 DstPortNumber=445",
        "AlarmCount.0": "Gauge32: 5001",
        "AlarmWindow.0": "Gauge32: 300 seconds",
        "AlarmThreshold.0": "Gauge32: 5000",
        "AlarmFirstTime.0": "STRING: 2026-11-22T10:00:00.000Z",
        "AlarmLastTime.0": "STRING: 2026-11-22T10:04:59.000Z",
        "AlarmProbableCause.0": "STRING: unauthorizedAccessAttempt",
        "AlarmSummary.0": f"STRING: {alert().summary}",
        "NotificationSequence.0": "Counter32: 7",
        "CollectorHost.0": "STRING: collector-1",
        "Site.0": "STRING: Zürich",
    }
    assert list(updated) == names
    assert updated["COLLECTORD-MIB::snmpTrapOID.0"] == "OID: COLLECTORD-MIB::collectordAlarmUpdate"
    assert updated["COLLECTORD-MIB::collectordAlarmPerceivedSeverity.0"] == "INTEGER: major(4)"
    assert list(cleared) == names
    assert cleared["COLLECTORD-MIB::snmpTrapOID.0"] == "OID: COLLECTORD-MIB::collectordAlarmClear"
    assert cleared["COLLECTORD-MIB::collectordAlarmState.0"] == "INTEGER: cleared(2)"
    assert cleared["COLLECTORD-MIB::collectordAlarmPerceivedSeverity.0"] == "INTEGER: cleared(1)"


@pytest.mark.parametrize(
    ("transport", "framing"), [("udp", "octet-counting"), ("tcp", "octet-counting"), ("tcp", "lf")]
)
async def test_rsyslogd_understands_every_part(
    tmp_path: Path, transport: Literal["udp", "tcp"], framing: Literal["octet-counting", "lf"]
) -> None:
    """Header, both elements of the structured data and text arrive as they were meant."""
    with rsyslogd(tmp_path) as server:
        output = SyslogOutput(
            name="noc",
            host="127.0.0.1",
            port=server.port,
            transport=transport,
            framing=framing,
            collector_host="collector-1",
        )
        await output.start()
        await output.send(alert(), 7)
        await output.send(alert(state=AlertState.UPDATED, severity=Severity.HIGH, event="updated:2"), 8)
        await output.send(alert(state=AlertState.CLEARED, reason="below 4000 for 15 min"), 9)
        await output.close()
        raised, updated, cleared = [understood(line) for line in server.wait_for_lines(3)]

    assert {name: raised[name] for name in ("severity", "facility", "version", "hostname", "appname", "msgid")} == {
        "severity": "err",
        "facility": "local4",
        "version": "1",
        "hostname": "collector-1",
        "appname": "collectord",
        "msgid": "ALARM-RAISE",
    }
    assert raised["timestamp"] == "2026-11-22T10:04:59.000Z"
    assert raised["msg"].lstrip("\ufeff") == alert().summary
    data = raised["data"]
    assert data["alarm"] == {
        "resource": "collector-1",
        "probableCause": "unauthorizedAccessAttempt",
        "perceivedSeverity": "minor",
        "eventType": "securityServiceOrMechanismViolation",
        "trendIndication": "moreSevere",
    }
    assert data["collectord@32473"] == {
        "alarmId": "0123456789abcdef",
        "state": "raised",
        "episode": "1",
        "event": "raised",
        "sequence": "7",
        "rule": "excessive-failures",
        "severity": "medium",
        "site": "Zürich",
        "count": "5001",
        "threshold": "5000",
        "window": "300",
        "firstTime": "2026-11-22T10:00:00.000Z",
        "lastTime": "2026-11-22T10:04:59.000Z",
        "key": "SrcIpAddr=192.0.2.10 DstPortNumber=445",
        "SrcIpAddr": "192.0.2.10",
        "DstPortNumber": "445",
    }
    assert [updated["msgid"], updated["severity"]] == ["ALARM-UPDATE", "crit"]
    assert [cleared["msgid"], cleared["severity"]] == ["ALARM-CLEAR", "notice"]
    assert cleared["data"]["alarm"]["perceivedSeverity"] == "cleared"
    assert cleared["data"]["collectord@32473"]["reason"] == "below 4000 for 15 min"


async def test_rsyslogd_takes_marks_apart(tmp_path: Path) -> None:
    """Quotes, backslashes and brackets in a value neither end it nor get lost."""
    nasty = 'a"b]c\\d [e=\\"f\\"]\nnext'
    with rsyslogd(tmp_path) as server:
        output = SyslogOutput(name="noc", host="127.0.0.1", port=server.port, transport="tcp", framing="lf")
        await output.send(alert(site=nasty, summary=nasty), 1)
        await output.close()
        (line,) = server.wait_for_lines(1)
    message = understood(line)
    assert message["data"]["collectord@32473"]["site"] == nasty.replace("\n", " ")
    assert message["msg"] == nasty.replace("\n", " ")


@pytest.mark.parametrize("root", [mib.DEFAULT_ROOT, "1.3.6.1.4.1.99999", "1.3.6.1.4.1.99999.7.1.4"])
def test_mib_has_no_faults(tmp_path: Path, root: str) -> None:
    """The module with imports is clean at smilint's strictest level, whatever the root."""
    smilint = find_program("smilint")
    path = tmp_path / "COLLECTORD-MIB.txt"
    path.write_text(mib.text(root))
    result = smilint.run("-c", "/dev/null", "-l", "6", "-s", str(path), SMIPATH=str(smi_modules()))
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.parametrize("standalone", [True, False])
@pytest.mark.parametrize("root", [mib.DEFAULT_ROOT, "1.3.6.1.4.1.99999", "1.3.6.1.4.1.99999.7.1.4"])
def test_net_snmp_resolves_the_mib(tmp_path: Path, standalone: bool, root: str) -> None:
    """Standalone with nothing else; with imports beside the IETF modules. Every name has its number, and back."""
    snmptranslate = find_program("snmptranslate")
    (tmp_path / "COLLECTORD-MIB.txt").write_text(mib.text(root, standalone))
    folders = str(tmp_path) if standalone else f"{tmp_path}:{smi_modules()}"
    arguments = ("-M", folders, "-m", "COLLECTORD-MIB")
    persistent = str(tmp_path / "persistent")
    found = re.findall(
        r"^(\w+) (?:OBJECT|NOTIFICATION)-TYPE.*?::= \{ collectord(Objects|Notifications) (\d+) \}",
        mib.text(),
        re.MULTILINE | re.DOTALL,
    )
    assert len(found) == 17 + 12
    known = {
        f".{root}.{'1' if branch == 'Objects' else '0'}.{number}": f"COLLECTORD-MIB::{name}"
        for name, branch, number in found
    }
    numbers = snmptranslate.run(*arguments, "-On", *known.values(), SNMP_PERSISTENT_DIR=persistent)
    assert numbers.stdout.split() == list(known)
    names = snmptranslate.run(*arguments, *known, SNMP_PERSISTENT_DIR=persistent)
    assert names.stdout.split() == list(known.values())
    assert "Cannot" not in numbers.stderr + names.stderr
