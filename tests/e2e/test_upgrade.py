"""A database of an older version: the daemon keeps a backup, brings it up to date, and goes on with all of it."""

import contextlib
import sqlite3
from pathlib import Path

import sqlite_utils

from collectord.store.db import APPLICATION_ID
from collectord.store.migrations import MIGRATIONS, SCHEMA_VERSION

from .daemon import Daemon, collectord_here

LAST = "m0009_cleared_alerts"


def older(path: Path) -> None:
    """As the version before the last step left it, with an alert that an output was told of."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        db = sqlite_utils.Database(connection, execute_plugins=False)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        MIGRATIONS.apply(db, stop_before=LAST)
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS.applied(db))}")
        text = dict.fromkeys(("event", "state", "severity", "mode", "site", "title", "summary", "reason"), "")
        kept = {"state": "cleared", "event": "cleared", "severity": "medium", "mode": "notify", "rule": "port-scan"}
        lists = {"key": "{}", "tactics": "[]", "techniques": "[]", "details": "{}", "id": "00000000000000aa"}
        numbers = dict.fromkeys(("threshold", "count", "window_s", "first_time_ns", "last_over_ns", "peak"), 1)
        now = {"last_time_ns": 2**62, "episode": 1}
        db.table("alerts").insert({**text, **kept, **lists, **numbers, **now})
        db.table("ledger").insert({"listener": "udp", "outcome": "session", "messages": 41, "bytes": 1})
        connection.commit()


def test_upgrade_and_the_way_back(tmp_path: Path) -> None:
    """Backup, migration, restore of the backup, and the migration again; a daemon that runs is left alone."""
    daemon = Daemon(tmp_path / "daemon")
    daemon.database.parent.mkdir()
    older(daemon.database)
    try:
        _start_on_all_of_it(daemon)
        (kept,) = (daemon.database.parent / "backups").iterdir()
        assert f"before-schema-{SCHEMA_VERSION}-from-{SCHEMA_VERSION - 1}" in kept.name
        busy = collectord_here("restore", str(kept), "--config", str(daemon.config))
        assert (busy.returncode, b"stop the daemon first" in busy.stderr) == (74, True)
        daemon.stop()
        said = daemon.command("restore", str(kept)).stdout.decode()
        assert f"brings it to {SCHEMA_VERSION} when it starts" in said
        _start_on_all_of_it(daemon)
    finally:
        daemon.close()


def _start_on_all_of_it(daemon: Daemon) -> None:
    daemon.start()
    assert daemon.rows("PRAGMA user_version") == [(SCHEMA_VERSION,)]
    assert daemon.rows("SELECT id FROM alerts WHERE rule = 'port-scan'") == [("00000000000000aa",)]
    assert daemon.rows("SELECT messages FROM ledger WHERE outcome = 'session'") == [(41,)]
