"""What an outage, a crash and a storm leave of the alerts: all of them, in order."""

import contextlib
import json
import re
import socket
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from .daemon import LISTENERS, Daemon, collectord_here, counted, denied, running, syslog_output
from .servers import PATIENCE_S, rsyslogd, wait_for

RULE = """
name = "{name}"
title = "Many failures of {{SrcIpAddr}}"
type = "event_count"
counter = "failures_again"
where = {{ EventResult = "Failure" }}
group_by = ["SrcIpAddr"]
timespan = "1h"
step = "1m"
condition = {{ gt = 0 }}
clear = {{ after = "1h", below = 0 }}
mode = "notify"
severity = "medium"
unit = "failures"
"""
RULES = {"many": RULE.format(name="many")}
SOURCE = "203.0.113.9"
Told = tuple[str, str, str]
"""Alarm id, state and sequence."""

STORM_SOURCES = 10_000
"""As many as a rule may have active alerts."""

MOST_GROWTH_BYTES = 150_000_000
"""Of the daemon's memory in a storm: 10,000 active alerts with their evidence are some 5 KB each, on both ways."""


def told(text: str) -> list[Told]:
    """What messages in this text tell of alarms."""
    found = re.findall(r'alarmId="(\w+)" state="(\w+)" episode="\d+" event="[^"]+" sequence="(\d+)"', text)
    return [(alarm, state, sequence) for alarm, state, sequence in found]


class Sink:
    """A receiver that reads whatever comes over TCP."""

    def __init__(self, port: int) -> None:
        self._server = socket.create_server(("127.0.0.1", port))
        self._data = bytearray()
        self._connections: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                self._connections.append(connection)
                while data := connection.recv(65536):
                    self._data += data

    @property
    def told(self) -> list[Told]:
        return told(bytes(self._data).decode("utf-8", "replace"))

    def wait_told(self, count: int, patience_s: float = PATIENCE_S) -> list[Told]:
        return wait_for(lambda: self.told if len(self.told) >= count else [], f"{count} alarms", patience_s)

    def close(self) -> None:
        for each in (self._server, *self._connections):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._thread.join(PATIENCE_S)


@contextlib.contextmanager
def receiver(kind: str, folder: Path, port: int) -> Iterator["Sink | Rsyslog"]:
    if kind == "rsyslogd":
        folder.mkdir()
        with rsyslogd(folder, port) as server:
            yield Rsyslog(server)
        return
    sink = Sink(port)
    try:
        yield sink
    finally:
        sink.close()


class Rsyslog:
    """rsyslogd, looked at in the same way."""

    def __init__(self, server: object) -> None:
        self._server = server

    @property
    def told(self) -> list[Told]:
        data = [json.loads(json.loads(line)["data"])["collectord@32473"] for line in self._server.lines()]  # type: ignore[attr-defined]
        return [(each["alarmId"], each["state"], each["sequence"]) for each in data]

    def wait_told(self, count: int, patience_s: float = PATIENCE_S) -> list[Told]:
        return wait_for(lambda: self.told if len(self.told) >= count else [], f"{count} alarms", patience_s)


@contextlib.contextmanager
def nobody_there() -> Iterator[int]:
    """A port of ours at which nobody listens."""
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]


def fail(daemon: Daemon) -> str:
    """An alert is raised; its id."""
    daemon.send_udp([denied(SOURCE)])
    ((alert_id,),) = daemon.wait(lambda: daemon.rows("SELECT id FROM alerts WHERE rule = 'many'"), "the alert")
    return str(alert_id)


def wait_tried(daemon: Daemon) -> None:
    """Until the output was tried, without success."""
    daemon.wait(lambda: daemon.status()["outputs"][0]["failures"] > 0, "a try that fails")


@pytest.mark.e2e
@pytest.mark.parametrize("kind", ["plain", "rsyslogd"])
def test_down_for_the_whole_life_of_an_alert(tmp_path: Path, kind: str) -> None:
    """Raise and clear arrive once the receiver is there: in order, once each."""
    with (
        nobody_there() as port,
        running(tmp_path / "c", LISTENERS + syslog_output("noc", port, "tcp"), RULES) as daemon,
    ):
        alert_id = fail(daemon)
        daemon.command("exempt", "add", "many", f"SrcIpAddr={SOURCE}", "--reason", "it is over")
        wait_tried(daemon)
        output, *waiting = daemon.objects("outbox", "list")
        assert (output["output"], output["waiting"], output["failing"], output["delivered"]) == ("noc", 2, 1, 0)
        assert [each["state"] for each in waiting] == ["cleared", "raised"]
        assert str(port) in waiting[1]["error"]
        lines = [json.loads(line) for line in daemon.command("outbox", "export").stdout.splitlines()]
        assert [(line["sequence"], line["alert"]["id"], line["alert"]["state"]) for line in lines] == [
            (1, alert_id, "raised"),
            (2, alert_id, "cleared"),
        ]
        tested = collectord_here("test-alert", "--wait", "2", "--config", str(daemon.config))
        assert tested.returncode == 69
        assert tested.stdout.decode().startswith("noc: not delivered: ")

        with receiver(kind, tmp_path / "server", port) as server:
            daemon.command("outbox", "retry", "--output", "noc")
            # The test alert was queued behind them; so nothing comes between that could come later.
            assert [each[1:] for each in server.wait_told(3)] == [("raised", "1"), ("cleared", "2"), ("raised", "3")]
            assert [each[0] for each in server.told[:2]] == [alert_id, alert_id]
            assert daemon.command("test-alert", "--clear").stdout == b"noc: delivered\n"
            assert [each[1:] for each in server.wait_told(4)[3:]] == [("cleared", "4")]
        assert daemon.command("outbox", "verify").stdout == b"4 entries: all is well\n"
        (output, *waiting) = daemon.objects("outbox", "list")
        assert (output["waiting"], output["delivered"], waiting) == (0, 4, [])


@pytest.mark.e2e
def test_killed_between_sending_and_noting_it(tmp_path: Path) -> None:
    """
    At least once, with the same id and number: what was sent and not noted is sent again, and only that.

    The test holds the database's write lock, so that the daemon can read what is due, send it, and note nothing.
    """
    with (
        nobody_there() as port,
        running(tmp_path / "c", LISTENERS + syslog_output("noc", port, "tcp"), RULES) as daemon,
    ):
        alert_id = fail(daemon)
        wait_tried(daemon)
        sink = None
        with contextlib.closing(sqlite3.connect(daemon.database, timeout=PATIENCE_S, isolation_level=None)) as lock:
            lock.execute("BEGIN IMMEDIATE")
            sink = Sink(port)
            try:
                first = sink.wait_told(1, 4 * PATIENCE_S)
                daemon.kill()
                assert first == [(alert_id, "raised", "1")]
            finally:
                lock.execute("ROLLBACK")
        try:
            assert daemon.rows("SELECT delivered_ns FROM outbox") == [(None,)]
            daemon.start()
            assert daemon.command("test-alert").stdout == b"noc: delivered\n"
            came = sink.wait_told(3)
            assert came[:2] == [(alert_id, "raised", "1")] * 2
            assert [each[1:] for each in came[2:]] == [("raised", "2")]
            daemon.stop()
            assert daemon.command("outbox", "verify").stdout == b"2 entries: all is well\n"
        finally:
            sink.close()


def memory_bytes(daemon: Daemon) -> int:
    """What the daemon has in memory (proc(5), statm)."""
    pages = Path(f"/proc/{daemon.process.pid}/statm").read_text().split()[1]
    return int(pages) * 4096


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.timeout(180)
def test_ten_thousand_alerts_at_once(tmp_path: Path) -> None:
    """Every one is stored, the storm cap bounds what is sent and says how many it held back, memory stays bounded."""
    with (
        nobody_there() as port,
        running(tmp_path / "c", LISTENERS + syslog_output("noc", port, "tcp"), RULES) as daemon,
    ):
        sink = Sink(port)
        try:
            before = memory_bytes(daemon)
            sources = [f"198.51.{number // 250}.{number % 250}" for number in range(STORM_SOURCES)]
            daemon.send_tcp(counted([denied(source, number) for number, source in enumerate(sources)]))
            raises = "FROM alert_history WHERE event = 'raised' AND rule = 'many'"
            stored = f"SELECT count(*), sum(mode = 'notify') {raises}"
            daemon.wait(lambda: daemon.rows(stored)[0][0] >= STORM_SOURCES, f"{STORM_SOURCES} alerts", 6 * PATIENCE_S)
            assert daemon.rows(stored) == [(STORM_SOURCES, 30)]
            held_back = "SELECT count FROM alerts WHERE rule = 'alerts-held-back'"
            daemon.wait(lambda: daemon.rows(held_back), "what was held back", 4 * PATIENCE_S)
            assert daemon.rows(held_back) == [(STORM_SOURCES - 30,)]
            alarms = sink.wait_told(31, 2 * PATIENCE_S)
            assert len(alarms) == len(set(alarms)) == 31
            growth = memory_bytes(daemon) - before
            (tmp_path / "measured").write_text(f"{growth / 1e6:.1f} MB, {daemon.status()['tick']['longest_ms']} ms\n")
            assert growth < MOST_GROWTH_BYTES
            assert b"all is well" in daemon.command("outbox", "verify").stdout
        finally:
            sink.close()
