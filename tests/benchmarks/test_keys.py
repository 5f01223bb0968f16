"""
What many keys cost: the time of a tick, memory, the database.

Each counter is offered so many distinct keys within seconds, more than it holds in the largest case. They come over TCP
as fast as they are read, so that nothing is lost: every message must be counted, and every failure be in the table,
whatever keys had to go. Beside that honest datagrams come at a modest rate, of which none may be lost while the ticks
are long.
"""

import json
import sqlite3
import time
from pathlib import Path

import pytest

from ..e2e.daemon import Daemon
from .messages import Workload, keys, octets
from .report import QUICK, Report
from .sender import Sender
from .test_daemon import memory_mib, running, wait_idle

PER_KEY = 3
"""Messages; of them this many are failures:"""
FAILURES_PER_KEY = 2

KEYS = (1_000, 65_536) if QUICK else (1_000, 10_000, 65_536, 1_000_000)

MODEST_PER_S = 1_000
MODEST_S = 3 if QUICK else 10

SETTLED_S = 600.0
"""At most 50,000 rows go to the database with a tick; so long all of them may take, on a machine that is busy."""

MOST_MIB = 1_024.0
"""With a million keys offered to each counter at the default capacity of 65,536."""


def _row_bytes(daemon: Daemon) -> float | None:
    """What a row takes, index and free space included; None where SQLite was built without dbstat."""
    try:
        ((taken, rows),) = daemon.rows(
            "SELECT (SELECT sum(pgsize) FROM dbstat WHERE name IN (SELECT name FROM sqlite_schema"
            " WHERE tbl_name = 'failures_by_source')), (SELECT count(*) FROM failures_by_source)"
        )
    except sqlite3.OperationalError:
        return None
    return float(taken) / float(rows)


@pytest.mark.parametrize("count", KEYS)
def test_keys(count: int, workload: Workload, sender: Sender, report: Report, tmp_path: Path) -> None:
    """One flood of so many keys."""
    group = "keys offered to each counter"
    flood, modest = tmp_path / "flood", tmp_path / "modest"
    with flood.open("wb") as stream:
        for message in keys(count):
            stream.write(octets([message]))
    modest.write_bytes(octets(workload.messages))
    name = f"{count:,} keys: "
    with running(tmp_path / "daemon") as daemon:
        at_rest_mib = memory_mib(daemon)
        status = daemon.status()
        udp, tcp = (daemon.listener(each, status)["port"] for each in ("udp", "tcp"))
        with sender.sending("udp", udp, modest, MODEST_PER_S * MODEST_S, MODEST_PER_S) as beside:
            began_s = time.monotonic()
            sender.send("octets", tcp, flood, PER_KEY * count)
            wait_idle(daemon, "tcp", PER_KEY * count)
            rate = PER_KEY * count / (time.monotonic() - began_s)
            told, _ = beside.communicate()
        assert json.loads(told)["messages"] == MODEST_PER_S * MODEST_S
        wait_idle(daemon, "udp", MODEST_PER_S * MODEST_S)
        drops = daemon.listener("udp")["kernel_drops"]

        def settled() -> bool:
            now = daemon.status()
            stored = sum(sum(each["outcomes"].values()) for each in now["listeners"])
            return now["tick"]["carried_rows"] == 0 and stored + drops == PER_KEY * count + MODEST_PER_S * MODEST_S

        daemon.wait(settled, "every row to be stored", SETTLED_S)
        status = daemon.status()
        grown_mib = memory_mib(daemon, "VmHWM") - at_rest_mib
        evicted = sum(each["evicted"] for each in status["counters"])
        if count == KEYS[0]:
            report.add(group, "memory at rest", at_rest_mib, "MiB")
        report.add(group, f"{name}longest tick", status["tick"]["longest_ms"], "ms")
        report.add(group, f"{name}memory", grown_mib, "MiB more at most")
    ((rows, failures),) = daemon.rows("SELECT count(*), sum(EventCount) FROM failures_by_source")
    passes, rest = divmod(MODEST_PER_S * MODEST_S, len(workload.messages))
    if drops == 0 and rest == 0:
        assert failures == FAILURES_PER_KEY * count + passes * workload.failures
    if per_row := _row_bytes(daemon):
        report.add(group, f"{name}database, a row of failures_by_source", per_row, "bytes")
    database_mib = daemon.database.stat().st_size / 2**20
    report.add(group, f"{name}database", database_mib, "MiB")
    report.add(group, f"{name}rate of the flood", rate, "messages/s", "more")
    report.add(group, f"{name}honest datagrams lost", drops, "messages")
    assert (evicted > 0) == (count > 65_536) or rows > 65_536
    assert grown_mib <= MOST_MIB
