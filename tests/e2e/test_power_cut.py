"""
What a power cut leaves of the files opens, is whole, and goes on.

A copy of a stopped process' files is what the disk may hold; of the write-ahead log the end may be missing or be zeros,
as far as it was not yet taken into the database (SQLite syncs the log before it does that).
"""

import json
import random
import shutil
import signal
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from collectord.store.db import Database

from .daemon import LISTENERS, Daemon, counted, failures_rule, running, snmp_output
from .servers import free_port
from .test_restart import Stream, counts, message

SEED = 20_261_123
COPIES = 4
FRAME_BYTES = 24 + 4096
"""Of a page in the log, with its header (sqlite.org/fileformat2.html, section 4.1)."""


def copies(daemon: Daemon, folder: Path, random_: random.Random) -> Iterator[Path]:
    """State folders as they are at moments of a run that goes on."""
    for number in range(COPIES):
        ticks = daemon.status()["tick"]["ticks"]
        daemon.wait(lambda ticks=ticks: daemon.status()["tick"]["ticks"] > ticks, "a tick")
        # A moment around the writes of the next one.
        time.sleep(random_.choice((0.0, 0.8, 0.95, 1.0)))
        daemon.process.send_signal(signal.SIGSTOP)
        copy = folder / str(number)
        shutil.copytree(daemon.database.parent, copy, ignore=shutil.ignore_patterns("control.sock"))
        daemon.process.send_signal(signal.SIGCONT)
        yield copy


def after(copy: Path, random_: random.Random) -> Iterator[Path]:
    """What may be left of it, as folders of their own."""
    index = (copy / "collectord.db-shm").read_bytes()
    # wal.c: the header's mxFrame, and nBackfill behind both copies of the header.
    (frames,), (taken,) = struct.unpack_from("I", index, 16), struct.unpack_from("I", index, 96)
    log = (copy / "collectord.db-wal").read_bytes()
    least = min(32 + taken * FRAME_BYTES, len(log)) if taken else 0
    whole = max(least, min(len(log), 32 + frames * FRAME_BYTES))
    ends = [random_.randint(least, whole) for _ in range(3)]
    lefts = [log, *(log[:end] for end in ends), log[: ends[0]] + bytes(len(log) - ends[0])]
    for number, left in enumerate(lefts):
        folder = copy.with_name(f"{copy.name}-{number}")
        shutil.copytree(copy, folder)
        (folder / "collectord.db-wal").write_bytes(left)
        yield folder


def kept(folder: Path) -> int:
    """Messages that the database has, once it is opened as the daemon does; everything in it agrees."""
    with Database(folder / "collectord.db") as database:
        rows = database.connection.execute
        assert rows("PRAGMA integrity_check").fetchall() == [("ok",)]
        (in_ledger,) = rows("SELECT coalesce(sum(messages), 0) FROM ledger").fetchone()
        sums = rows("SELECT SrcIpAddr, sum(EventCount) FROM failures_by_source GROUP BY 1").fetchall()
        assert {(source,): count for source, count in sums} == counts(0, in_ledger)
        # An alert is there whole: with its history and the order to tell it.
        whole = "SELECT count(*) FROM alerts a JOIN alert_history h USING (id) JOIN outbox o ON o.alert_id = a.id"
        assert rows(whole).fetchone() == rows("SELECT count(*) FROM alerts").fetchone()
    return int(in_ledger)


@pytest.mark.e2e
def test_power_cut(tmp_path: Path) -> None:
    """At any moment; the last second or two may be missing, never something in the middle."""
    random_ = random.Random(SEED)
    tables = LISTENERS + snmp_output("noc", free_port(socket.SOCK_DGRAM))
    found: list[int] = []
    with running(tmp_path / "run", tables, {"excessive-failures": failures_rule(1000)}) as daemon:
        with Stream(daemon.connect(), at_once=20).going() as stream:
            for copy in copies(daemon, tmp_path, random_):
                identity = json.loads((copy / "snmp_engine.json").read_text())
                assert identity["boots"] == 1
                left = [(kept(folder), folder) for folder in after(copy, random_)]
                most = max(left)[0]
                assert found[-1:] <= [most] <= [stream.sent + stream.at_once]
                assert left[0][0] == most, "with the whole log nothing is missing"
                found.append(most)
            assert found[-1] > found[0]
        daemon.stop()

        # The daemon itself goes on with the worst of it.
        count, folder = min(left)
        shutil.rmtree(daemon.database.parent)
        shutil.copytree(folder, daemon.database.parent)
        daemon.start()
        daemon.send_tcp(counted([message(number) for number in range(count, count + 500)]))
        daemon.wait_stored("tcp", 500)
        daemon.stop()
        assert daemon.sums("failures_by_source", "SrcIpAddr") == counts(0, count + 500)
        stored = json.loads((daemon.database.parent / "snmp_engine.json").read_text())
        assert (stored["engine_id"], stored["boots"]) == (identity["engine_id"], 2)
        assert not list(daemon.database.parent.glob("*.corrupt-*"))
