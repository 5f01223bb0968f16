"""From a burst of denied connections to the alert at a real SNMP manager and real syslog servers, and back to quiet."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .daemon import (
    LISTENERS,
    Daemon,
    collectord_here,
    counted,
    denied,
    failures_rule,
    running,
    snmp_output,
    syslog_output,
)
from .servers import PATIENCE_S, Server, rsyslogd, snmptrapd

THRESHOLD = 5000

SHORT_RULE = failures_rule(THRESHOLD, timespan="10s", step="1s", clear_after="2s")


@dataclass(frozen=True, slots=True)
class Noc:
    """The receivers of a network operation centre."""

    traps: Server
    tcp: Server
    udp: Server

    @property
    def tables(self) -> str:
        """A configuration that sends to all of them."""
        outputs = (
            snmp_output("traps", self.traps.port),
            syslog_output("syslog-tcp", self.tcp.port, "tcp"),
            syslog_output("syslog-udp", self.udp.port, "udp"),
        )
        # A heartbeat would come between, whenever it is due.
        return LISTENERS + "".join(outputs) + '[snmp]\nheartbeat = "0s"\n'

    def wait(self, count: int, patience_s: float = PATIENCE_S) -> list[list[dict[str, str]]]:
        """
        What each received as soon as it has ``count`` notifications.

        Returns:
            For each receiver its notifications in order, under the names of SNMP: ``AlarmId``, ``AlarmCount``...; of
            syslog the names of its structured data.
        """
        traps = self.traps.wait_for_lines(count, "AlarmId.0", patience_s)
        messages = (server.wait_for_lines(count, patience_s=patience_s) for server in (self.tcp, self.udp))
        return [list(map(_named, traps)), *(list(map(_data, lines)) for lines in messages)]


def _named(line: str) -> dict[str, str]:
    """The varbinds of a trap, all of our module's names and without their types."""
    parts = dict(part.split(" = ", 1) for part in line.split("\t")[1:])
    module = "COLLECTORD-MIB::"
    assert all(name.startswith(module) for name in parts), line
    return {name.removeprefix(f"{module}collectord").removeprefix(module): value for name, value in parts.items()}


def _data(line: str) -> dict[str, str]:
    """Our structured data of a message, its MSGID, and the severity that RFC 5674 has a place for."""
    message: dict[str, Any] = json.loads(line)
    data = json.loads(message["data"])
    return {**data["collectord@32473"], "msgid": message["msgid"], "perceived": data["alarm"]["perceivedSeverity"]}


@pytest.fixture
def noc(tmp_path: Path) -> Iterator[Noc]:
    """All receivers, running; the trap daemon knows nothing but our standalone module."""
    mib = collectord_here("snmp", "mib", "--standalone")
    assert mib.returncode == 0, mib.stderr
    folders = [tmp_path / name for name in ("noc-traps", "noc-tcp", "noc-udp")]
    for folder in folders:
        folder.mkdir()
    with contextlib.ExitStack() as servers:
        traps = servers.enter_context(snmptrapd(folders[0], mib.stdout.decode()))
        tcp, udp = (servers.enter_context(rsyslogd(folder)) for folder in folders[1:])
        yield Noc(traps, tcp, udp)


def burst(source: str, count: int) -> bytes:
    return counted([denied(source, number) for number in range(count)])


def stored_events(daemon: Daemon) -> list[tuple[Any, ...]]:
    """What was queued for the outputs, all of it delivered."""
    assert daemon.rows("SELECT * FROM outbox WHERE delivered_ns IS NULL") == []
    return daemon.rows("SELECT alert_id, episode, event, output FROM outbox ORDER BY id")


@pytest.mark.e2e
def test_one_above_the_threshold_raises_once(tmp_path: Path, noc: Noc) -> None:
    """With the shipped rule: 5,000 failures of a source are quiet, one more is one alert at each receiver."""
    source, later = "203.0.113.77", "2001:db8::bad"
    with running(tmp_path / "collector", noc.tables) as daemon:
        daemon.send_tcp(burst(source, THRESHOLD))
        daemon.wait_stored("tcp", THRESHOLD)
        daemon.wait_ticks(1)
        assert daemon.sums("failures_by_source", "SrcIpAddr") == {(source,): THRESHOLD}
        assert daemon.status()["alerts"]["active"] == 0
        assert daemon.rows("SELECT * FROM alerts") == []
        assert daemon.objects("alerts", "list", "--all") == []

        daemon.send_udp([denied(source)])
        first = noc.wait(1)
        # What is raised later comes after whatever was still on its way, so that nothing can hide.
        daemon.send_tcp(burst(later, THRESHOLD + 1))
        received = noc.wait(2)
        alerts = daemon.objects("alerts", "list")
        (shown,) = daemon.objects("alerts", "show", first[1][0]["alarmId"])
        text = daemon.command("alerts", "show", alerts[-1]["id"]).stdout.decode()
        daemon.stop()

        assert [len(each) for each in received] == [2, 2, 2]
        newer, older = alerts
        assert {key: older[key] for key in ("rule", "state", "severity", "mode", "key", "count", "threshold")} == {
            "rule": "excessive-failures",
            "state": "raised",
            "severity": "medium",
            "mode": "notify",
            "key": {"SrcIpAddr": source},
            "count": THRESHOLD + 1,
            "threshold": THRESHOLD,
        }
        assert newer["key"] == {"SrcIpAddr": later}
        assert older["window_s"] == 300
        (state,) = shown.pop("history")
        assert state == {name: older[name] for name in state}
        assert {each["output"] for each in shown.pop("deliveries")} == {"traps", "syslog-tcp", "syslog-udp"}
        assert shown == older | {"hosts": {}}
        assert all(piece in text for piece in (older["id"], source, "5,001", "limit 5,000", "Impact", "T1499"))

        traps, *messages = received
        assert [trap["snmpTrapOID.0"] for trap in traps] == ["OID: COLLECTORD-MIB::collectordAlarmRaise"] * 2
        assert {name: value for name, value in traps[0].items() if name in TOLD_BY_SNMP} == {
            "AlarmId.0": f"STRING: {older['id']}",
            "AlarmState.0": "INTEGER: raised(1)",
            "AlarmPerceivedSeverity.0": "INTEGER: minor(5)",
            "AlarmRuleName.0": "STRING: excessive-failures",
            "AlarmKey.0": f"STRING: SrcIpAddr={source}",
            "AlarmCount.0": f"Gauge32: {THRESHOLD + 1}",
            "AlarmThreshold.0": f"Gauge32: {THRESHOLD}",
            "AlarmWindow.0": "Gauge32: 300 seconds",
            "AlarmFirstTime.0": f"STRING: {older['first_time']}",
            "AlarmLastTime.0": f"STRING: {older['last_time']}",
            "AlarmSummary.0": f"STRING: {older['summary']}",
            "NotificationSequence.0": "Counter32: 1",
        }
        for first_message, second_message in messages:
            assert {name: value for name, value in first_message.items() if name in TOLD_BY_SYSLOG} == {
                "alarmId": older["id"],
                "state": "raised",
                "event": "raised",
                "episode": "1",
                "sequence": "1",
                "rule": "excessive-failures",
                "count": str(THRESHOLD + 1),
                "threshold": str(THRESHOLD),
                "window": "300",
                "key": f"SrcIpAddr={source}",
                "SrcIpAddr": source,
                "msgid": "ALARM-RAISE",
                "perceived": "minor",
            }
            assert (second_message["alarmId"], second_message["sequence"]) == (newer["id"], "2")
        assert stored_events(daemon) == [
            (alert["id"], 1, "raised", output)
            for alert in (older, newer)
            for output in ("traps", "syslog-tcp", "syslog-udp")
        ]


TOLD_BY_SNMP = frozenset(
    f"{name}.0"
    for name in (
        *("AlarmId", "AlarmState", "AlarmPerceivedSeverity", "AlarmRuleName", "AlarmKey", "AlarmCount"),
        *("AlarmThreshold", "AlarmWindow", "AlarmFirstTime", "AlarmLastTime", "AlarmSummary", "NotificationSequence"),
    )
)
TOLD_BY_SYSLOG = frozenset(
    (
        *("alarmId", "state", "event", "episode", "sequence", "rule", "count", "threshold", "window", "key"),
        *("SrcIpAddr", "msgid", "perceived"),
    )
)


@pytest.mark.e2e
@pytest.mark.slow
def test_quiet_clears_once(tmp_path: Path, noc: Noc) -> None:
    """With a site's rule of ten seconds: raised at 5,001, and once it is quiet one clear with the same id."""
    source = "198.51.100.99"
    rules = {"excessive-failures": SHORT_RULE}
    with running(tmp_path / "collector", noc.tables, rules) as daemon:
        daemon.send_tcp(burst(source, THRESHOLD + 1))
        noc.wait(1)
        received = noc.wait(2, patience_s=PATIENCE_S + 15)
        daemon.wait(lambda: daemon.status()["alerts"]["active"] == 0, "no active alert")
        assert daemon.objects("alerts", "list") == []
        (alert,) = daemon.objects("alerts", "list", "--all")
        (shown,) = daemon.objects("alerts", "show", alert["id"])
        # The stop makes one more tick, in which a second clear, or another raise, would show.
        daemon.stop()

        assert [alert["state"], alert["event"], alert["episode"], alert["count"]] == ["cleared", "cleared", 1, 5001]
        assert [state["event"] for state in shown["history"]] == ["cleared", "raised"]
        assert alert["window_s"] == 10
        traps, *messages = received
        assert [
            (trap["AlarmId.0"], trap["AlarmState.0"], trap["NotificationSequence.0"], trap["snmpTrapOID.0"])
            for trap in traps
        ] == [
            (f"STRING: {alert['id']}", state, sequence, f"OID: COLLECTORD-MIB::collectordAlarm{kind}")
            for state, sequence, kind in (
                ("INTEGER: raised(1)", "Counter32: 1", "Raise"),
                ("INTEGER: cleared(2)", "Counter32: 2", "Clear"),
            )
        ]
        for pair in messages:
            assert [(each["alarmId"], each["msgid"], each["sequence"], each["perceived"]) for each in pair] == [
                (alert["id"], "ALARM-RAISE", "1", "minor"),
                (alert["id"], "ALARM-CLEAR", "2", "cleared"),
            ]
        assert sorted(stored_events(daemon)) == sorted(
            (alert["id"], 1, event, output)
            for event in ("raised", "cleared")
            for output in ("traps", "syslog-tcp", "syslog-udp")
        )
        assert [len(each) for each in noc.wait(2)] == [2, 2, 2]
