"""What a restart costs: after SIGTERM nothing, after SIGKILL what came since the last tick. No alert is told twice."""

import contextlib
import json
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from .daemon import LISTENERS, Daemon, counted, denied, ended, running, snmp_output, syslog_output
from .servers import PATIENCE_S, TIME_FACTOR, free_port, rsyslogd

LOUD = "203.0.113.66"
"""The source of every second of the first messages, too many; the others come from 100 more, each a few."""

LOUD_MESSAGES = 8000
"""Over the threshold, and not ten times over it, which would be told again."""


def message(number: int) -> bytes:
    return denied(source(number), number)


def source(number: int) -> str:
    return LOUD if number % 2 and number < 2 * LOUD_MESSAGES else f"198.51.100.{number // 2 % 100}"


def counts(first: int, end: int) -> dict[tuple[str], int]:
    """What the messages from ``first`` up to, not including, ``end`` add to the counter."""
    return dict(Counter((source(number),) for number in range(first, end)))


def check_file(daemon: Daemon) -> None:
    """The database is whole, and nothing in the outbox is there twice."""
    assert daemon.rows("PRAGMA integrity_check") == [("ok",)]
    assert daemon.rows("PRAGMA foreign_key_check") == []
    twice = "SELECT alert_id, episode, event, output FROM outbox GROUP BY 1, 2, 3, 4 HAVING count(*) > 1"
    assert daemon.rows(twice) == []
    sequences = daemon.rows("SELECT sequence FROM outbox WHERE output = 'noc' ORDER BY id")
    assert sequences == [(number + 1,) for number in range(len(sequences))]


@dataclass(slots=True)
class Stream:
    """A sender that goes on until it is told or the connection breaks; numbered messages in order."""

    connection: socket.socket
    at_once: int = 100
    sent: int = 0
    """Messages handed to the kernel in whole."""
    enough: threading.Event = field(default_factory=threading.Event)

    @contextlib.contextmanager
    def going(self) -> Iterator["Stream"]:
        thread = threading.Thread(target=self._send, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.enough.set()
            thread.join(10)
            self.connection.close()

    def _send(self) -> None:
        with contextlib.suppress(OSError):
            # A device's pace, not as fast as the loop turns: there must be something to lose in each tick.
            while not self.enough.wait(0.01):
                self.connection.sendall(counted([message(self.sent + n) for n in range(self.at_once)]))
                self.sent += self.at_once


@dataclass(frozen=True, slots=True)
class Sample:
    """What the daemon said at an instant."""

    answered_ns: int
    received: int
    stored: int
    ticks: int


def sample(daemon: Daemon) -> Sample:
    status = daemon.status()
    tcp = daemon.listener("tcp", status)
    return Sample(time.time_ns(), tcp["received"], sum(tcp["outcomes"].values()), status["tick"]["ticks"])


@pytest.mark.e2e
@pytest.mark.slow
def test_killed_in_mid_stream(tmp_path: Path) -> None:
    """
    After SIGKILL the database is whole and holds everything up to the last tick, and the alert of before is not raised
    again; what could not be delivered is, with the number it had.
    """
    # The port is ours and nobody listens: the output is down.
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        tables = LISTENERS + syslog_output("noc", port, "tcp")
        with running(tmp_path / "collector", tables) as daemon:
            _kill_in_mid_stream(daemon)
            kept = _kept(daemon)
            (status,) = daemon.objects("status")
            assert (status["running"], status["ledger"], status["alerts"]) == (
                False,
                {"tcp": {"session": kept}},
                {"active": 1},
            )
            (entry,) = daemon.rows("SELECT id, alert_id, sequence, attempts, delivered_ns FROM outbox")
            assert (entry[2], entry[4]) == (1, None)
            assert entry[3] >= 1, "it was tried before"

            (tmp_path / "rsyslogd").mkdir()
            reserved.close()
            with rsyslogd(tmp_path / "rsyslogd", port) as server:
                daemon.start()
                assert daemon.status()["alerts"]["active"] == 1
                (line,) = server.wait_for_lines(1)
                _goes_on(daemon, kept)
                # The next alert's raise shows that nothing else was to come before it.
                daemon.send_udp([denied("192.0.2.1", number) for number in range(5001)])
                lines = server.wait_for_lines(2)
                daemon.stop()
            assert lines[0] == line
            data = [json.loads(json.loads(each)["data"])["collectord@32473"] for each in lines]
            assert [(each["alarmId"], each["sequence"], each["episode"]) for each in data] == [
                (entry[1], "1", "1"),
                (daemon.rows("SELECT id FROM alerts WHERE key LIKE '%\"192.0.2.1\"%'")[0][0], "2", "1"),
            ]
            assert [each["SrcIpAddr"] for each in data] == [LOUD, "192.0.2.1"]
            check_file(daemon)
            (same,) = daemon.rows("SELECT id, alert_id, sequence, attempts > ? FROM outbox WHERE id = 1", entry[3])
            assert same == (*entry[:3], 1)
            raised = daemon.rows("SELECT id, count(*) FROM alert_history WHERE event = 'raised' GROUP BY id")
            assert [times for _, times in raised] == [1, 1]


def _kill_in_mid_stream(daemon: Daemon) -> None:
    samples: list[Sample] = []

    def under_way() -> bool:
        # Noted, and not only counted.
        tried = bool(daemon.rows("SELECT 1 FROM outbox WHERE attempts > 0"))
        samples.append(sample(daemon))
        # A little after a tick: there is something to lose, and the next tick is not yet due.
        return tried and samples[-1].ticks >= 4 and 200 <= samples[-1].received - samples[-1].stored <= 2000

    with Stream(daemon.connect()).going() as stream:
        daemon.wait(under_way, "the stream to be under way")
        daemon.kill()
        killed_ns = time.time_ns()
    check_file(daemon)
    kept = _kept(daemon)
    last = samples[-1]
    # What was told to be stored is stored, and no more than was sent.
    assert last.stored <= kept <= stream.sent + stream.at_once
    # One stream, in order: the counters hold the messages up to one of them, and none is missing before it.
    assert daemon.sums("failures_by_source", "SrcIpAddr") == counts(0, kept)
    # Nothing that came before the last tick is lost, and that tick is no more than one ago.
    ((ticked_ns,),) = daemon.rows("SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'last_tick_ns'")
    before = [each for each in samples if each.answered_ns < ticked_ns]
    assert before[-1].received <= kept
    assert killed_ns - ticked_ns < 2e9 * TIME_FACTOR
    assert kept < last.received, "the kill was to cost something, or this test shows nothing"


def _kept(daemon: Daemon) -> int:
    """Messages that the database has; its ledger and its counters agree."""
    ((in_ledger,),) = daemon.rows("SELECT sum(messages) FROM ledger")
    ((in_counter,),) = daemon.rows("SELECT sum(messages) FROM failures_by_source")
    assert in_ledger == in_counter
    kept: int = in_ledger
    return kept


def _goes_on(daemon: Daemon, kept: int) -> None:
    """The sender comes back with what was lost and more: counters go on exactly, no alert is raised again."""
    more = 3000
    daemon.send_tcp(counted([message(number) for number in range(kept, kept + more)]))
    daemon.wait_stored("tcp", more)
    daemon.wait_ticks(1)
    assert _kept(daemon) == kept + more
    assert daemon.sums("failures_by_source", "SrcIpAddr") == counts(0, kept + more)
    assert daemon.status()["alerts"]["active"] == 1


@pytest.mark.e2e
def test_graceful_restart_loses_nothing(tmp_path: Path) -> None:
    """
    SIGTERM while a sender is in the middle of it: all that the kernel took is counted, and the window goes on after the
    restart, so that the alert comes at the message at which it is due.
    """
    port = free_port(socket.SOCK_DGRAM)
    with running(tmp_path, LISTENERS + snmp_output("noc", port)) as daemon:
        with contextlib.closing(daemon.connect()) as connection, contextlib.closing(daemon.connect()) as other:
            status = daemon.status()
            udp, tcp = (("127.0.0.1", daemon.listener(name, status)["port"]) for name in ("udp", "tcp"))
            # While it sleeps all of this stays in the kernel, the last connections not even accepted.
            daemon.process.send_signal(signal.SIGSTOP)
            connection.sendall(counted([denied(LOUD, number) for number in range(200)]))
            other.sendall(ended([denied(LOUD, number) for number in range(200)]) + b"<13>half a mess")
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                for number in range(150):
                    sender.sendto(denied("192.0.2.9", number), udp)
            late = [socket.create_connection(tcp, PATIENCE_S) for _ in range(130)]
            for each in late:
                each.sendall(counted([denied(LOUD, number) for number in range(20)]))
            daemon.process.send_signal(signal.SIGTERM)
            daemon.process.send_signal(signal.SIGCONT)
            daemon.wait_end()
            for each in late:
                each.close()
        assert daemon.rows("SELECT listener, outcome, messages FROM ledger ORDER BY 1, 2") == [
            ("tcp", "session", 3000),
            ("tcp", "unparsed", 1),
            ("udp", "session", 150),
        ]
        assert daemon.sums("failures_by_source", "SrcIpAddr") == {(LOUD,): 3000, ("192.0.2.9",): 150}

        daemon.start()
        daemon.send_tcp(counted([denied(LOUD, number) for number in range(2000)]))
        daemon.wait_stored("tcp", 2000)
        daemon.wait_ticks(1)
        assert daemon.status()["alerts"]["active"] == 0
        daemon.send_udp([denied(LOUD)])
        daemon.wait(lambda: daemon.status()["alerts"]["active"] == 1, "the alert")
        daemon.stop()
        assert daemon.sums("failures_by_source", "SrcIpAddr") == {(LOUD,): 5001, ("192.0.2.9",): 150}
        assert daemon.rows("SELECT episode, event, count FROM alert_history") == [(1, "raised", 5001)]

        # A third run finds the alert active and says nothing of it again.
        daemon.start()
        daemon.wait_ticks(1)
        assert daemon.status()["alerts"]["active"] == 1
        daemon.stop()
        assert daemon.rows("SELECT event, count(*) FROM outbox GROUP BY event") == [("raised", 1)]
        check_file(daemon)
