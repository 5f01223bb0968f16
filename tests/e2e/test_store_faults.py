"""
The database fails: locked by another program, a full disk, damage. The daemon goes on receiving, counting and alerting,
says what is wrong, and is well again by itself; every message is counted once in the end.
"""

import contextlib
import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .daemon import LISTENERS, Daemon, collectord, counted, denied, failures_rule, running, snmp_output
from .servers import PATIENCE_S, snmptrapd

LOUD = "203.0.113.66"
ABOVE = 100

NO_FLOOR = '[store]\nmin_free = "0B"\n'

FAILING = """
name = "database-failing"
title = "The database {database} can't be written"
type = "gauge"
gauge = "database_failing_s"
condition = { gt = 0 }
clear = { after = "0s", below = 0 }
mode = "notify"
severity = "high"
unit = "seconds without a write"
health = true
"""
"""The shipped rule, but at once."""

RULES = {"excessive-failures": failures_rule(ABOVE), "database-failing": FAILING}


def messages(first: int, count: int, source: str = "") -> list[bytes]:
    """Denied connections: of one source, or in turn of ten quiet ones."""
    return [denied(source or f"198.51.100.{number % 10}", number) for number in range(first, first + count)]


def said(daemon: Daemon) -> list[dict[str, Any]]:
    """The daemon's log."""
    return [json.loads(line) for line in daemon.said().splitlines() if line.startswith("{")]


def told(daemon: Daemon) -> list[tuple[str, str]]:
    """(rule, state) of what went to the output, in order."""
    return [(line["rule"], line["event"].split()[1]) for line in said(daemon) if "summary" in line]


def events(daemon: Daemon, event: str) -> list[dict[str, Any]]:
    """The log's lines of an event."""
    return [line for line in said(daemon) if line["event"].startswith(event)]


def wait_failing(daemon: Daemon) -> None:
    """Until the daemon knows that its database can't be written, and says so in every place."""
    daemon.wait(lambda: daemon.status()["store"]["failing_s"], "the database to fail", 2 * PATIENCE_S)
    daemon.wait(lambda: ("database-failing", "raised") in told(daemon), "the alert about it")


def wait_well(daemon: Daemon, received: dict[str, int]) -> None:
    """Until everything that was received is stored, and the alert about the database has cleared."""
    daemon.wait(lambda: ("database-failing", "cleared") in told(daemon), "the database to be well again")
    for name, count in received.items():
        daemon.wait_stored(name, count)
    assert daemon.status()["store"] == {"failing_s": 0, "reason": "", "replaced": 0, "moved_to": None}


def check_alerts(daemon: Daemon, alerts: int | None = None) -> None:
    """Each alert was told once, in the numbers that the database has, and nothing waits."""
    rows = daemon.rows("SELECT sequence, attempts, delivered_ns IS NULL FROM outbox ORDER BY id")
    assert rows == [(number, 1, 0) for number in range(1, len(rows) + 1)]
    assert len(rows) == (len(told(daemon)) if alerts is None else min(alerts, 1))
    assert daemon.rows("PRAGMA integrity_check") == [("ok",)]


@pytest.mark.e2e
def test_locked_by_another_program(tmp_path: Path) -> None:
    """Someone has it open in a tool, in the middle of a change."""
    with running(tmp_path, LISTENERS, RULES) as daemon:
        daemon.send_udp(messages(0, 500))
        daemon.wait_stored("udp", 500)
        other = sqlite3.connect(daemon.database, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        daemon.send_udp(messages(500, 300))
        daemon.send_tcp(counted(messages(0, ABOVE + 1, LOUD)))
        wait_failing(daemon)
        # What is told of the connections comes while nothing can be stored.
        daemon.wait(lambda: ("excessive-failures", "raised") in told(daemon), "the alert")
        ticks = daemon.status()["tick"]
        assert ticks["unstored_alerts"] == 2
        daemon.send_udp(messages(800, 200))
        daemon.wait_ticks(2)
        assert sum(daemon.listener("udp")["outcomes"].values()) == 500
        assert "is locked by another program" in daemon.status()["store"]["reason"]
        other.execute("ROLLBACK")
        other.close()
        wait_well(daemon, {"udp": 1000, "tcp": ABOVE + 1})
        assert len(events(daemon, "database can't be written")) <= 3
        assert len(events(daemon, "database can be written again")) == 1
        daemon.stop()
        expected = Counter((f"198.51.100.{number % 10}",) for number in range(1000))
        assert daemon.sums("failures_by_source", "SrcIpAddr") == expected | {(LOUD,): ABOVE + 1}
        check_alerts(daemon)


@contextlib.contextmanager
def small_disk(daemon: Daemon, mib: int) -> Iterator[None]:
    """The daemon's state lies on a disk of that size; skips the test where that can't be had."""
    (daemon.folder / "state").mkdir()
    # A mount of our own in a namespace of our own needs no privilege where the system lets users make namespaces.
    namespace = ["unshare", "--user", "--map-root-user", "--mount", "--propagation", "private"]
    mount = f"mount -t tmpfs -o size={mib}m,mode=0700 collectord {daemon.folder}/state"
    tried = subprocess.run([*namespace, "sh", "-c", mount], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"no small tmpfs: {tried.stderr.strip()}")
    daemon.prefix = (*namespace, "sh", "-c", f'{mount} && exec "$@"', "sh")
    yield


def state_of(daemon: Daemon) -> Path:
    """The daemon's state folder as the daemon sees it."""
    return Path(f"/proc/{daemon.process.pid}/root{daemon.folder}/state")


@pytest.mark.e2e
def test_disk_full(tmp_path: Path) -> None:
    """Something else fills the disk; when it is gone everything is stored, and nothing was missed meanwhile."""
    control = f'control_socket = "{tmp_path}/c/control.sock"\n'
    daemon = Daemon(tmp_path / "c", control + LISTENERS + NO_FLOOR, RULES)
    with small_disk(daemon, 16), contextlib.closing(daemon):
        daemon.socket = tmp_path / "c" / "control.sock"
        daemon.start()
        state = state_of(daemon)
        daemon.send_udp(messages(0, 500))
        daemon.wait_stored("udp", 500)
        identity = (state / "snmp_engine.json").exists()
        fill(state)
        # Of many sources, so that it takes room.
        spread = [denied(f"10.{number % 7}.{number // 250}.{number % 250}", number) for number in range(6000)]
        daemon.send_tcp(counted([*spread, *messages(0, ABOVE + 1, LOUD)]))
        wait_failing(daemon)
        check = collectord("status", "--check", "--config", str(daemon.config))
        assert (check.returncode, check.stdout[:32]) == (2, b"CRITICAL - the database fails fo")
        daemon.wait(lambda: ("excessive-failures", "raised") in told(daemon), "the alert")
        assert "no space left" in daemon.status()["store"]["reason"]
        daemon.send_udp(messages(500, 500))
        (state / "filler").unlink()
        wait_well(daemon, {"udp": 1000, "tcp": len(spread) + ABOVE + 1})
        assert len(events(daemon, "database can't be written")) <= 3
        assert identity == (state / "snmp_engine.json").exists()
        # SQLite itself can't follow the way into the other namespace.
        daemon.process.send_signal(signal.SIGSTOP)
        for file in state.glob("collectord.db*"):
            shutil.copy(file, tmp_path)
        daemon.process.send_signal(signal.SIGCONT)
        daemon.database = tmp_path / "collectord.db"
        sums = daemon.sums("failures_by_source", "SrcIpAddr")
        expected = Counter((f"198.51.100.{number % 10}",) for number in range(1000))
        expected += Counter((f"10.{number % 7}.{number // 250}.{number % 250}",) for number in range(len(spread)))
        assert sums == expected | {(LOUD,): ABOVE + 1}
        check_alerts(daemon)
        daemon.stop()
        assert "Traceback" not in daemon.said()


@contextlib.contextmanager
def lasting_disk(daemon: Daemon, mib: int) -> Iterator[Path]:
    """As ``small_disk``, for several starts; gives the state folder as the daemon sees it."""
    with small_disk(daemon, mib):
        # It lasts as long as the first process that sees it.
        holder = subprocess.Popen(
            [*daemon.prefix, "sh", "-c", "echo there && exec sleep 600"], stdout=subprocess.PIPE, text=True
        )
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "there\n"
            daemon.prefix = ("nsenter", f"--target={holder.pid}", "--user", "--preserve-credentials", "--mount")
            yield Path(f"/proc/{holder.pid}/root{daemon.folder}/state")
        finally:
            holder.kill()
            holder.communicate()


def fill(state: Path) -> None:
    """Nothing more fits."""
    for size in (65536, 512):
        with contextlib.suppress(OSError), (state / "filler").open("ab", buffering=0) as filler:
            while filler.write(b"\0" * size):
                pass
    disk = os.statvfs(state)
    assert disk.f_bavail == 0


RULE_NAME = "collectordAlarmRuleName.0 = STRING: "


@pytest.mark.e2e
def test_started_on_a_full_disk(tmp_path: Path) -> None:
    """The first time, and with what it stored before: nothing is missed, and there is one raise of each alert."""
    control = f'control_socket = "{tmp_path}/c/control.sock"\n'
    mib = collectord("snmp", "mib", "--standalone").stdout.decode()
    with snmptrapd(tmp_path / "traps", mib, community="public") as traps:
        outputs = '[[output]]\ntype = "log"\nname = "log"\n' + snmp_output("noc", traps.port)
        daemon = Daemon(tmp_path / "c", control + LISTENERS + NO_FLOOR + outputs, RULES)
        daemon.socket = tmp_path / "c" / "control.sock"
        with lasting_disk(daemon, 16) as state, contextlib.closing(daemon):
            failing = 0
            for start, sent in enumerate((500, 300), 1):
                fill(state)
                daemon.start()
                assert len(events(daemon, "started on a full disk")) == start
                daemon.send_udp(messages(0, sent))
                failing += 1
                daemon.wait(lambda: daemon.status()["store"]["failing_s"], "the database to fail", 2 * PATIENCE_S)
                wait_told(daemon, ("database-failing", "raised"), failing)
                assert "no space left" in daemon.status()["store"]["reason"]
                check = collectord("status", "--check", "--config", str(daemon.config))
                assert (check.returncode, check.stdout[:32]) == (2, b"CRITICAL - the database fails fo")
                # The same source as before the restart: it is above still, and no news.
                daemon.send_tcp(counted(messages(0, ABOVE + 1, LOUD)))
                wait_told(daemon, ("excessive-failures", "raised"), 1)
                daemon.wait_received("tcp", ABOVE + 1)
                for rule, times in (("database-failing", start), ("excessive-failures", 1)):
                    traps.wait_for_lines(times, f"{RULE_NAME}{rule}", 2 * PATIENCE_S)
                (state / "filler").unlink()
                wait_told(daemon, ("database-failing", "cleared"), failing)
                daemon.wait_stored("tcp", ABOVE + 1)
                daemon.wait_stored("udp", sent)
                assert daemon.status()["store"]["failing_s"] == 0
                daemon.wait(lambda: not waiting(daemon), "all alerts to be delivered")
                daemon.stop()
            for file in state.glob("collectord.db*"):
                shutil.copy(file, tmp_path)
            daemon.database = tmp_path / "collectord.db"
            sums = daemon.sums("failures_by_source", "SrcIpAddr")
            expected = Counter((f"198.51.100.{number % 10}",) for number in (*range(500), *range(300)))
            assert sums == expected | {(LOUD,): 2 * (ABOVE + 1)}
            assert told(daemon).count(("excessive-failures", "raised")) == 1
            assert len([line for line in traps.lines() if f"{RULE_NAME}excessive-failures" in line]) == 1
            assert daemon.rows("SELECT count(*) FROM outbox WHERE delivered_ns IS NULL") == [(0,)]
            for (output,) in daemon.rows("SELECT DISTINCT output FROM outbox"):
                numbers = daemon.rows("SELECT sequence FROM outbox WHERE output = ? ORDER BY id", output)
                assert numbers == [(number,) for number in range(1, len(numbers) + 1)]
            assert daemon.rows("PRAGMA integrity_check") == [("ok",)]
            assert "Traceback" not in daemon.said()


def wait_told(daemon: Daemon, what: tuple[str, str], count: int) -> None:
    """Until a state of a rule's alert was told so often."""
    daemon.wait(lambda: told(daemon).count(what) >= count, f"{what[0]} to be {what[1]}", 2 * PATIENCE_S)


def waiting(daemon: Daemon) -> int:
    """What waits for outputs."""
    return sum(int(output["waiting"]) for output in daemon.status()["outputs"])


@pytest.mark.e2e
def test_disk_that_takes_no_more(tmp_path: Path) -> None:
    """Writing fails in another way: no file may grow. What is told is not that the disk is full."""
    with running(tmp_path, LISTENERS, RULES) as daemon:
        daemon.send_udp(messages(0, 500))
        daemon.wait_stored("udp", 500)
        # The log has to go on.
        grown = daemon.log.stat().st_size + 40_000
        resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (grown, resource.RLIM_INFINITY))
        spread = [denied(f"10.{number % 7}.{number // 250}.{number % 250}", number) for number in range(3000)]
        daemon.send_tcp(counted([*spread, *messages(0, ABOVE + 1, LOUD)]))
        wait_failing(daemon)
        daemon.wait(lambda: ("excessive-failures", "raised") in told(daemon), "the alert")
        daemon.send_udp(messages(500, 500))
        resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        wait_well(daemon, {"udp": 1000, "tcp": len(spread) + ABOVE + 1})
        daemon.stop()
        assert sum(daemon.sums("failures_by_source", "SrcIpAddr").values()) == 1000 + len(spread) + ABOVE + 1
        check_alerts(daemon)


def asides(daemon: Daemon) -> set[Path]:
    """The damaged databases that lie beside the new one; a log belongs to one."""
    found = daemon.database.parent.glob("collectord.db.corrupt-*")
    return {path for path in found if not path.name.endswith("-wal")}


def damage_header(whole: bytes) -> bytes:
    """Something else was written over the beginning."""
    return os.urandom(100) + whole[100:]


def damage_pages(whole: bytes) -> bytes:
    """Garbage in every page but the first."""
    return whole[:4096] + b"\xa5" * (len(whole) - 4096)


def cut(whole: bytes) -> bytes:
    """The second half is gone."""
    return whole[: len(whole) // 2]


def empty(whole: bytes) -> bytes:
    """All of it is gone; SQLite itself takes that for a new database."""
    return b""


@pytest.mark.e2e
def test_damaged_at_the_start(tmp_path: Path) -> None:
    """It is moved aside as it is, a new one takes its place, and the NOC is told; who we are to it stays the same."""
    with running(tmp_path, LISTENERS, RULES) as daemon:
        for number, damage in enumerate((damage_header, damage_pages, cut, empty)):
            daemon.send_udp(messages(0, 200))
            daemon.wait_stored("udp", 200)
            daemon.stop()
            assert sum(daemon.sums("failures_by_source", "SrcIpAddr").values()) == 200
            check_alerts(daemon, number)
            broken = damage(daemon.database.read_bytes())
            daemon.database.write_bytes(broken)
            kept = asides(daemon)
            daemon.start()
            (aside,) = asides(daemon) - kept
            assert aside.read_bytes() == broken
            line = events(daemon, "database was damaged")[-1]
            assert (line["level"], line["path"]) == ("error", str(aside))
            assert ("is empty" if damage is empty else "damaged") in line["err"]
            alerts = [("database-replaced", "raised")] * (number + 1)
            daemon.wait(lambda alerts=alerts: told(daemon) == alerts, "the alert about it")
            assert daemon.status()["store"]["moved_to"] == str(aside)
        assert "Traceback" not in daemon.said()


@pytest.mark.e2e
def test_damaged_while_it_runs(tmp_path: Path) -> None:
    """The same without a restart: nothing of what was received since the last pass is lost, and no peer notices."""
    with running(tmp_path, LISTENERS, RULES) as daemon:
        connection = daemon.connect()
        connection.sendall(counted(messages(0, ABOVE + 1, LOUD)))
        daemon.wait_stored("tcp", ABOVE + 1)
        daemon.wait(lambda: ("excessive-failures", "raised") in told(daemon), "the alert")
        # Some tool does more than it understands.
        with contextlib.closing(sqlite3.connect(daemon.database, isolation_level=None)) as other:
            other.execute("PRAGMA writable_schema = ON")
            other.execute("UPDATE sqlite_master SET sql = 'CREATE nonsense' WHERE name = 'ledger'")
            other.execute("PRAGMA schema_version = 1000")
        connection.sendall(counted(messages(0, 50)))
        daemon.send_udp([denied(f"10.{number % 7}.{number // 250}.{number % 250}", number) for number in range(3000)])
        daemon.wait(lambda: daemon.status()["store"]["replaced"], "a new database")
        daemon.wait(lambda: ("database-replaced", "raised") in told(daemon), "the alert about it")
        connection.sendall(counted(messages(50, 50)))
        daemon.wait_stored("tcp", ABOVE + 1 + 100)
        daemon.wait_stored("udp", 3000)
        connection.close()
        (aside,) = asides(daemon)
        assert daemon.status()["store"]["moved_to"] == str(aside)
        # What is active is told once more, so that its clear will be; its numbers go on.
        alerts = [("excessive-failures", "raised")] * 2 + [("database-replaced", "raised")]
        daemon.wait(lambda: told(daemon) == alerts, "all alerts")
        assert daemon.status()["alerts"]["active"] == 2
        daemon.stop()
        sums = daemon.sums("failures_by_source", "SrcIpAddr")
        assert sum(sums.values()) == 3100
        assert daemon.rows("PRAGMA integrity_check") == [("ok",)]
        assert daemon.rows("SELECT state, count(*) FROM alerts GROUP BY 1") == [("raised", 2)]
        assert daemon.rows("SELECT sequence, delivered_ns > 0 FROM outbox ORDER BY id") == [(2, 1), (3, 1)]
        assert b"all is well" in daemon.command("outbox", "verify").stdout
        assert "Traceback" not in daemon.said()
