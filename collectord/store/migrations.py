"""
The schema of the fixed tables, as named steps.

Each migration runs in one transaction together with its record in the table ``migrations`` (sqlite-utils sees to both),
so a step is applied whole or not at all. A step that was ever released is never changed: a new one is added below it.
Counter tables are made from the rules instead (``counters.py``).

``MIGRATIONS.pending(db)`` and ``MIGRATIONS.applied(db)`` only read.
"""

import sqlite_utils
from sqlite_utils.migrations import Migrations

MIGRATIONS = Migrations("collectord")
MIGRATIONS.migrations_table = "migrations"

_ALERT_COLUMNS = {
    "id": str,
    "episode": int,
    "event": str,
    "rule": str,
    "state": str,
    "severity": str,
    "mode": str,
    "site": str,
    "key": str,
    "count": int,
    "threshold": int,
    "window_s": int,
    "first_time_ns": int,
    "last_time_ns": int,
    "title": str,
    "summary": str,
    "reason": str,
    "tactics": str,
    "techniques": str,
    "details": str,
    "last_over_ns": int,
    "peak": int,
}


@MIGRATIONS()
def m0001_fixed_tables(db: sqlite_utils.Database) -> None:
    """Alerts with their history and outbox, the loss ledger, and the daemon's own notes."""
    # The newest state of each alert, and every state it ever had; both hold the same columns.
    db.create_table("alerts", _ALERT_COLUMNS, pk="id", not_null=set(_ALERT_COLUMNS))
    alerts = db.table("alerts")
    alerts.create_index(["state"])
    alerts.create_index(["last_time_ns"])
    db.create_table("alert_history", _ALERT_COLUMNS, not_null=set(_ALERT_COLUMNS))
    db.table("alert_history").create_index(["id", "episode", "event"], unique=True)
    # AUTOINCREMENT: the number of an entry is told to receivers and is never used again, even when entries are deleted.
    db.execute(
        """
        CREATE TABLE outbox (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            alert_id TEXT NOT NULL,
            episode INTEGER NOT NULL,
            event TEXT NOT NULL,
            output TEXT NOT NULL,
            sequence INTEGER NOT NULL,
            created_ns INTEGER NOT NULL,
            attempts INTEGER NOT NULL DEFAULT 0,
            next_try_ns INTEGER NOT NULL DEFAULT 0,
            error TEXT NOT NULL DEFAULT '',
            delivered_ns INTEGER,
            UNIQUE (alert_id, episode, event, output)
        )
        """
    )
    # The last number that each output was given; it outlives the entries.
    db.create_table("outbox_sequences", {"output": str, "last": int}, pk="output", not_null={"last"})
    db.execute("CREATE INDEX idx_outbox_waiting ON outbox (output, id) WHERE delivered_ns IS NULL")
    db.execute("CREATE INDEX idx_outbox_waiting_alert ON outbox (output, alert_id, id) WHERE delivered_ns IS NULL")
    db.execute("CREATE INDEX idx_outbox_delivered ON outbox (delivered_ns) WHERE delivered_ns IS NOT NULL")
    db.create_table(
        "ledger",
        {"listener": str, "outcome": str, "messages": int, "bytes": int},
        pk=("listener", "outcome"),
        not_null={"listener", "outcome", "messages", "bytes"},
    )
    db.create_table("meta", {"key": str, "value": str}, pk="key", not_null={"value"})


@MIGRATIONS()
def m0002_devices_and_quarantine(db: sqlite_utils.Database) -> None:
    """The devices seen, the messages that could not be read, and the vendors' words that no map knows."""
    db.execute(
        """
        CREATE TABLE devices (
            site TEXT NOT NULL,
            name TEXT NOT NULL,
            peer TEXT NOT NULL,
            listener TEXT NOT NULL,
            profile TEXT NOT NULL,
            first_seen_ns INTEGER NOT NULL,
            last_seen_ns INTEGER NOT NULL,
            sessions INTEGER NOT NULL,
            events INTEGER NOT NULL,
            unparsed INTEGER NOT NULL,
            clock_off_ms INTEGER,
            PRIMARY KEY (site, name)
        )
        """
    )
    db.execute("CREATE INDEX idx_devices_last_seen ON devices (last_seen_ns)")
    db.execute(
        """
        CREATE TABLE quarantine (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            listener TEXT NOT NULL,
            peer TEXT NOT NULL,
            profile TEXT NOT NULL,
            shape TEXT NOT NULL,
            messages INTEGER NOT NULL,
            first_ns INTEGER NOT NULL,
            last_ns INTEGER NOT NULL,
            example BLOB NOT NULL,
            UNIQUE (listener, peer, shape)
        )
        """
    )
    db.execute("CREATE INDEX idx_quarantine_last ON quarantine (last_ns)")
    db.execute(
        """
        CREATE TABLE unmapped_words (
            profile TEXT NOT NULL,
            source TEXT NOT NULL,
            word TEXT NOT NULL,
            messages INTEGER NOT NULL,
            last_ns INTEGER NOT NULL,
            PRIMARY KEY (profile, source, word)
        )
        """
    )


@MIGRATIONS()
def m0003_counter_states(db: sqlite_utils.Database) -> None:
    """What counters keep of their keys beside sums."""
    db.execute(
        """
        CREATE TABLE counter_states (
            counter TEXT NOT NULL,
            kind TEXT NOT NULL,
            site TEXT NOT NULL,
            key TEXT NOT NULL,
            state TEXT NOT NULL,
            last_s INTEGER NOT NULL,
            PRIMARY KEY (counter, kind, site, key)
        )
        """
    )
    db.execute("CREATE INDEX idx_counter_states_last ON counter_states (last_s)")


@MIGRATIONS()
def m0004_what_operators_say(db: sqlite_utils.Database) -> None:
    """Acknowledged and shelved alerts, exempts and maintenance added by command, and who did what."""
    db.execute(
        """
        CREATE TABLE alert_marks (
            alert_id TEXT NOT NULL,
            kind TEXT NOT NULL,
            episode INTEGER NOT NULL,
            who TEXT NOT NULL,
            when_ns INTEGER NOT NULL,
            reason TEXT NOT NULL,
            until_ns INTEGER,
            PRIMARY KEY (alert_id, kind)
        )
        """
    )
    # AUTOINCREMENT: people write numbers down, so none is ever used again.
    db.execute(
        """
        CREATE TABLE exempts (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            rule TEXT NOT NULL,
            tests TEXT NOT NULL,
            reason TEXT NOT NULL,
            until_ns INTEGER,
            who TEXT NOT NULL,
            when_ns INTEGER NOT NULL
        )
        """
    )
    db.execute(
        """
        CREATE TABLE maintenance (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            site TEXT,
            from_ns INTEGER NOT NULL,
            until_ns INTEGER NOT NULL,
            zone TEXT NOT NULL,
            reason TEXT NOT NULL,
            who TEXT NOT NULL,
            when_ns INTEGER NOT NULL
        )
        """
    )
    db.execute(
        """
        CREATE TABLE audit (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            when_ns INTEGER NOT NULL,
            who TEXT NOT NULL,
            what TEXT NOT NULL,
            target TEXT NOT NULL,
            reason TEXT NOT NULL
        )
        """
    )
    db.execute("CREATE INDEX idx_audit_when ON audit (when_ns)")
    db.execute("CREATE INDEX idx_alert_history_last ON alert_history (last_time_ns)")


@MIGRATIONS()
def m0005_pauses_of_devices(db: sqlite_utils.Database) -> None:
    """How long each device was silent at most, by day: a JSON object, day since the epoch to ns."""
    db.execute("ALTER TABLE devices ADD COLUMN pauses TEXT NOT NULL DEFAULT '{}'")


@MIGRATIONS()
def m0006_names_of_addresses(db: sqlite_utils.Database) -> None:
    """Names that alerts' addresses have by reverse DNS."""
    db.execute(
        """
        CREATE TABLE alert_names (
            alert_id TEXT NOT NULL,
            address TEXT NOT NULL,
            episode INTEGER NOT NULL,
            name TEXT NOT NULL,
            PRIMARY KEY (alert_id, address)
        )
        """
    )


@MIGRATIONS()
def m0007_types_of_alarms(db: sqlite_utils.Database) -> None:
    """What an alert is about; of those that are there the shipped rules' names say it."""
    for table in ("alerts", "alert_history"):
        db.execute(f"ALTER TABLE {table} ADD COLUMN alarm_type TEXT NOT NULL DEFAULT 'alarm'")
        for alarm_type, rule in (
            ("device-silent", "device-silent"),
            ("device-clock", "device-clock-off"),
            ("messages-lost", "messages-lost"),
            ("output-down", "output-down"),
        ):
            db.execute(f"UPDATE {table} SET alarm_type = ? WHERE rule = ?", (alarm_type, rule))  # noqa: S608


@MIGRATIONS()
def m0008_bounds_of_the_outbox(db: sqlite_utils.Database) -> None:
    """Entries that were given up, states that are told again, and totals that outlive the entries."""
    (last_id,) = db.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'outbox'").fetchone()
    # SQLite can't change what is unique in a table, so it is made anew.
    db.execute(
        """
        CREATE TABLE outbox_made_anew (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            alert_id TEXT NOT NULL,
            episode INTEGER NOT NULL,
            event TEXT NOT NULL,
            output TEXT NOT NULL,
            repeat INTEGER NOT NULL DEFAULT 0,
            sequence INTEGER NOT NULL,
            created_ns INTEGER NOT NULL,
            attempts INTEGER NOT NULL DEFAULT 0,
            next_try_ns INTEGER NOT NULL DEFAULT 0,
            error TEXT NOT NULL DEFAULT '',
            delivered_ns INTEGER,
            dropped_ns INTEGER,
            dropped TEXT,
            UNIQUE (alert_id, episode, event, output, repeat)
        )
        """
    )
    columns = "id, alert_id, episode, event, output, sequence, created_ns, attempts, next_try_ns, error, delivered_ns"
    db.execute(f"INSERT INTO outbox_made_anew ({columns}) SELECT {columns} FROM outbox")  # noqa: S608
    db.execute("DROP TABLE outbox")
    db.execute("ALTER TABLE outbox_made_anew RENAME TO outbox")
    # The number of an entry that was deleted is not used again either.
    db.execute("DELETE FROM sqlite_sequence WHERE name = 'outbox'")
    db.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('outbox', ?)", (last_id,))
    waiting = "WHERE delivered_ns IS NULL AND dropped_ns IS NULL"
    db.execute(f"CREATE INDEX idx_outbox_waiting ON outbox (output, id) {waiting}")
    db.execute(f"CREATE INDEX idx_outbox_waiting_alert ON outbox (output, alert_id, id) {waiting}")
    told = "WHERE dropped_ns IS NULL OR (attempts > 0 AND event <> 'cleared')"
    db.execute(f"CREATE INDEX idx_outbox_told ON outbox (output, alert_id, id) {told}")
    db.execute(f"CREATE INDEX idx_outbox_waiting_since ON outbox (output, created_ns) {waiting}")
    db.execute("CREATE INDEX idx_outbox_delivered ON outbox (delivered_ns) WHERE delivered_ns IS NOT NULL")
    db.execute("CREATE INDEX idx_outbox_dropped ON outbox (dropped_ns) WHERE dropped_ns IS NOT NULL")
    # last = waiting + delivered + dropped, for as long as the database lives; forgotten: entries deleted since.
    for name in ("delivered", "dropped", "forgotten"):
        db.execute(f"ALTER TABLE outbox_sequences ADD COLUMN {name} INTEGER NOT NULL DEFAULT 0")
    db.execute(
        """
        UPDATE outbox_sequences SET
            forgotten = last - (SELECT count(*) FROM outbox o WHERE o.output = outbox_sequences.output),
            delivered = last - (
                SELECT count(*) FROM outbox o WHERE o.output = outbox_sequences.output AND o.delivered_ns IS NULL
            )
        """
    )
    db.execute(
        """
        CREATE TABLE outbox_drops (
            output TEXT NOT NULL,
            reason TEXT NOT NULL,
            entries INTEGER NOT NULL,
            last_ns INTEGER NOT NULL,
            PRIMARY KEY (output, reason)
        )
        """
    )
    db.execute(
        """
        CREATE TABLE outbox_owed (
            output TEXT NOT NULL,
            alert_id TEXT NOT NULL,
            PRIMARY KEY (output, alert_id)
        )
        """
    )


@MIGRATIONS()
def m0009_cleared_alerts(db: sqlite_utils.Database) -> None:
    """The oldest cleared alerts are looked for once a minute, among a hundred thousand."""
    db.execute("CREATE INDEX idx_alerts_cleared ON alerts (last_time_ns) WHERE state = 'cleared'")


with sqlite_utils.Database(memory=True) as _empty:
    _KNOWN = tuple(migration.name for migration in MIGRATIONS.pending(_empty))

SCHEMA_VERSION = len(_KNOWN)
"""Number of migrations; kept in the file's ``user_version``."""


def unknown(db: sqlite_utils.Database) -> list[str]:
    """Names of the migrations that this version does not have: a newer one was here."""
    return [applied.name for applied in MIGRATIONS.applied(db) if applied.name not in _KNOWN]
