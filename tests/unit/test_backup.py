"""Backups: what is in them, what comes back, and what is refused."""

import contextlib
import hashlib
import io
import json
import os
import shutil
import sqlite3
import stat
import tarfile
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlite_utils
import zstandard

from collectord import backup
from collectord.backup import before_migration, configuration_files, restore, write
from collectord.config import Config
from collectord.errors import EX_NOINPUT, InputError, StoreError
from collectord.outputs.snmp_identity import STARTS_SINCE, next_identity
from collectord.store import meta
from collectord.store.db import APPLICATION_ID, Database
from collectord.store.migrations import MIGRATIONS, SCHEMA_VERSION

TAIL_BYTES = 4
"""Checksum of the whole, which need not be whole where all files are: each has a digest of its own."""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """State in the test's folder."""
    (tmp_path / "state").mkdir()
    return Config(state_dir=tmp_path / "state")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Where the test's backup goes."""
    return tmp_path / "backup.tar.zst"


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets the ID of the machine that we are on."""

    def be(name: str) -> None:
        monkeypatch.setattr(backup, "machine_id", lambda: name)

    be("this one")
    return be


def quiet(*_: object) -> None:
    """Nobody looks."""


def noted(config: Config, text: str | None = None) -> str | None:
    """The database's note, set if there is a text."""
    with Database(config.database) as database:
        if text is not None:
            with database.transaction("note") as connection:
                meta.write(connection, "note", text)
        return meta.read(database.connection, "note")


def older(path: Path, last: str = "m0009_cleared_alerts") -> None:
    """A database as the version before that step left it, with an alert."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        db = sqlite_utils.Database(connection, execute_plugins=False)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        MIGRATIONS.apply(db, stop_before=last)
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS.applied(db))}")
        connection.execute("INSERT INTO meta VALUES ('note', 'of before')")
        connection.execute("INSERT INTO outbox_sequences (output, last) VALUES ('noc', 7)")
        connection.commit()


def members(archive: Path) -> dict[str, bytes]:
    """What is in a backup, read without our own code."""
    with zstandard.open(archive) as plain, tarfile.open(fileobj=io.BytesIO(plain.read())) as files:
        return {member.name: files.extractfile(member).read() for member in files}  # type: ignore[union-attr]


def made(archive: Path, files: dict[str, bytes], manifest: dict[str, Any] | None = None) -> Path:
    """A backup with these members, and a manifest that fits but for what is given."""
    listed = [
        {"name": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in files.items()
    ]
    told = {"format": 1, "collectord": "2026.11.0", "schema": 1, "created": "2026-11-22T10:00:00Z", "files": listed}
    with zstandard.open(archive, "wb") as plain, tarfile.open(fileobj=plain, mode="w|") as tar:
        for name, content in {"manifest.json": json.dumps(told | (manifest or {})).encode(), **files}.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return archive


class TestBackup:
    def test_holds_what_is_there_while_somebody_writes(self, config: Config, archive: Path, machine: Any) -> None:
        """Also what is in the write-ahead log; only its owner may read it, and nothing is left beside it."""
        next_identity(config.state_dir / "snmp_engine.json", "this one")
        seen: list[str] = []
        with Database(config.database) as database:
            with database.transaction("note") as connection:
                meta.write(connection, "note", "x" * 3_000_000)
            write(config, archive, lambda what, done, total: seen.append(f"{what} {done <= total}"))

        found = members(archive)
        assert list(found) == ["manifest.json", "collectord.db", "snmp_engine.json"]
        manifest = json.loads(found["manifest.json"])
        assert (manifest["format"], manifest["schema"]) == (1, SCHEMA_VERSION)
        (archive.parent / "copy.db").write_bytes(found["collectord.db"])
        with contextlib.closing(sqlite3.connect(archive.parent / "copy.db")) as copy:
            assert copy.execute("SELECT length(value) FROM meta WHERE key = 'note'").fetchone() == (3_000_000,)
        assert stat.S_IMODE(archive.stat().st_mode) == 0o600
        assert sorted(path.name for path in archive.parent.iterdir()) == ["backup.tar.zst", "copy.db", "state"]
        assert set(seen) == {"copying the database True", "compressing True"}

    def test_no_database(self, config: Config, archive: Path) -> None:
        with pytest.raises(StoreError, match="there is no database"):
            write(config, archive, quiet)
        assert not archive.exists()

    def test_no_room(self, config: Config, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        noted(config, "x")
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10))
        with pytest.raises(StoreError, match=r"needs .* bytes, .* has 10"):
            write(config, archive, quiet)
        assert [path.name for path in archive.parent.iterdir()] == ["state"]

    def test_configuration(self, tmp_path: Path) -> None:
        """The files that the configuration names, by their places; secrets and the shipped files are left out."""
        elsewhere = tmp_path / "other" / "hosts.csv"
        elsewhere.parent.mkdir()
        elsewhere.write_text("network,name,site,role,owner\n")
        etc = tmp_path / "etc"
        (etc / "conf.d").mkdir(parents=True)
        (etc / "rules.d").mkdir()
        (etc / "rules.d" / "mine.toml").write_text("")
        (etc / "conf.d" / "1.toml").write_text("")
        (etc / "community").write_text("secret")
        (etc / "collectord.toml").write_text("")
        config = Config.model_validate(
            {"rules_dir": str(etc / "rules.d"), "hosts": str(elsewhere)}, context={"folder": etc}
        )

        found = configuration_files(config, etc / "collectord.toml")

        there = ["collectord.toml", "conf.d/1.toml", f"elsewhere{elsewhere}", "rules.d/mine.toml"]
        assert sorted(found) == sorted(there)


class TestRestore:
    def test_there_and_back(self, config: Config, archive: Path, machine: Any) -> None:
        """What was there instead is kept beside it."""
        noted(config, "first")
        write(config, archive, quiet, now=datetime(2026, 11, 22, 10, tzinfo=UTC))
        noted(config, "second")

        done = restore(config, archive, quiet)

        assert noted(config) == "first"
        assert (done.created, done.schema, done.engine) == ("2026-11-22T10:00:00Z", SCHEMA_VERSION, None)
        assert done.replaced is not None
        with contextlib.closing(sqlite3.connect(done.replaced)) as before:
            assert before.execute("SELECT value FROM meta WHERE key = 'note'").fetchone() == ("second",)
        assert not [path for path in config.state_dir.iterdir() if path.name.startswith(".")]

    def test_a_damaged_database_is_replaced(self, config: Config, archive: Path) -> None:
        """With what lies beside it, which must not reach the one that comes back."""
        noted(config, "good")
        write(config, archive, quiet)
        config.database.write_bytes(b"SQLite format 3\0" + bytes(5_000))
        Path(f"{config.database}-wal").write_bytes(b"more of it")

        restore(config, archive, quiet)

        assert noted(config) == "good"
        assert Path(f"{config.database}.replaced").read_bytes().startswith(b"SQLite")

    def test_not_while_the_daemon_runs(self, config: Config, archive: Path) -> None:
        noted(config, "x")
        write(config, archive, quiet)
        with Database(config.database), pytest.raises(StoreError, match="in use: stop the daemon first"):
            restore(config, archive, quiet)

    def test_of_an_older_version(self, config: Config, archive: Path) -> None:
        """The daemon brings it up to date, as often as it comes back."""
        older(config.database, "m0008_bounds_of_the_outbox")
        write(config, archive, quiet)
        for _ in range(2):
            assert restore(config, archive, quiet).schema == 7 < SCHEMA_VERSION
            assert noted(config) == "of before"
            with Database(config.database) as database:
                assert database.connection.execute("SELECT delivered FROM outbox_sequences").fetchone() == (7,)

    def test_of_a_newer_version(self, config: Config, archive: Path) -> None:
        noted(config, "x")
        with contextlib.closing(sqlite3.connect(config.database)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
        made(archive, {"collectord.db": config.database.read_bytes()})
        with pytest.raises(StoreError, match="written by a newer collectord"):
            restore(config, archive, quiet)
        made(archive, {"collectord.db": b""}, {"format": 2})
        with pytest.raises(InputError, match="made by a newer collectord"):
            restore(config, archive, quiet)

    @pytest.mark.parametrize(
        "files, manifest, reason",
        [
            ({"collectord.db": b"SQLite format 3\0" + bytes(5_000)}, {}, "not a|damaged"),
            ({"collectord.db": b"x"}, {"files": [{"name": "collectord.db", "bytes": 1, "sha256": "0"}]}, "checksum"),
            ({"collectord.db": b"xy"}, {"files": [{"name": "collectord.db", "bytes": 1, "sha256": "0"}]}, "not as its"),
            ({"collectord.db": b"xy"}, {"files": []}, "not as its"),
            ({}, {"files": [{"name": "collectord.db", "bytes": 1, "sha256": "0"}]}, "is missing"),
            ({}, {}, "no database"),
            ({"../escape": b"x"}, {}, "no backup of collectord does"),
            ({"config/../../escape": b"x"}, {}, "no backup of collectord does"),
            ({"/etc/passwd": b"x"}, {}, "no backup of collectord does"),
            ({}, {"files": [{"name": "config/x", "bytes": 1 << 40, "sha256": "0"}]}, "no backup of collectord does"),
            ({}, {"files": 3}, "makes no sense"),
            ({}, {"format": "x"}, "newer|no sense"),
        ],
    )
    def test_what_is_no_backup(
        self, config: Config, archive: Path, files: dict[str, bytes], manifest: dict[str, Any], reason: str
    ) -> None:
        """It is refused, and nothing has changed."""
        noted(config, "mine")
        before = sorted(path.name for path in config.state_dir.iterdir())
        with pytest.raises((InputError, StoreError), match=reason):
            restore(config, made(archive, files, manifest), quiet)
        assert noted(config) == "mine"
        assert sorted(path.name for path in config.state_dir.iterdir()) == before

    def test_what_is_no_archive(self, config: Config, archive: Path) -> None:
        with pytest.raises(InputError, match="can't be read") as missing:
            restore(config, archive, quiet)
        assert missing.value.exit_status == EX_NOINPUT
        for content in (b"", b"nonsense", zstandard.compress(b"nonsense"), zstandard.compress(bytes(10_240))):
            archive.write_bytes(content)
            with pytest.raises(InputError, match="no backup of collectord"):
                restore(config, archive, quiet)

    def test_cut_anywhere(self, config: Config, archive: Path) -> None:
        """A copy that broke off is found out, wherever that was."""
        noted(config, "x")
        write(config, archive, quiet)
        whole = archive.read_bytes()
        for length in range(0, len(whole) - TAIL_BYTES, max(len(whole) // 40, 1)):
            archive.write_bytes(whole[:length])
            with pytest.raises(InputError):
                restore(config, archive, quiet)

    def test_no_room(self, config: Config, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        noted(config, "x")
        write(config, archive, quiet)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10))
        with pytest.raises(StoreError, match=r"needs .* bytes, .* has 10"):
            restore(config, archive, quiet)

    def test_configuration(self, config: Config, archive: Path, tmp_path: Path) -> None:
        """Into a folder of its own, never over what is there."""
        noted(config, "x")
        (tmp_path / "mine.toml").write_text("# mine\n")
        write(config, archive, quiet, files={"conf.d/mine.toml": tmp_path / "mine.toml"})

        restore(config, archive, quiet, config_to=tmp_path / "unpacked")
        assert (tmp_path / "unpacked" / "conf.d" / "mine.toml").read_text() == "# mine\n"
        with pytest.raises(StoreError, match="can't write the configuration"):
            restore(config, archive, quiet, config_to=tmp_path / "unpacked")
        write(config, archive, quiet)
        with pytest.raises(InputError, match="holds no configuration"):
            restore(config, archive, quiet, config_to=tmp_path / "other")

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
    def test_what_root_restores_belongs_to_the_daemon(self, config: Config, archive: Path, machine: Any) -> None:
        noted(config, "x")
        next_identity(config.state_dir / "snmp_engine.json", "this one")
        write(config, archive, quiet)
        for path in config.state_dir.iterdir():
            path.unlink()
        os.chown(config.state_dir, 12_345, 12_346)

        restore(config, archive, quiet)

        owners = {path.name: (path.stat().st_uid, path.stat().st_gid) for path in config.state_dir.iterdir()}
        names = ("collectord.db", "collectord.db.lock", "snmp_engine.json")
        assert owners == dict.fromkeys(names, (12_345, 12_346))


class TestEngine:
    """Receivers of SNMPv3 refuse an engine whose boots went back, and mix up two engines of one ID."""

    @pytest.fixture
    def file(self, config: Config) -> Path:
        return config.state_dir / "snmp_engine.json"

    def test_boots_never_get_lower(self, config: Config, archive: Path, machine: Any, file: Path) -> None:
        noted(config, "x")
        first = next_identity(file, "this one")
        write(config, archive, quiet)
        file.write_text(file.read_text().replace('"boots": 1', '"boots": 70000'))

        done = restore(config, archive, quiet)

        assert done.engine is not None
        assert (done.engine.engine_id, done.engine.boots, done.engine_kept) == (first.engine_id, 70_000, False)
        assert next_identity(file, "this one").boots == 70_001

    def test_starts_since_the_backup_are_reckoned_with(
        self, config: Config, archive: Path, machine: Any, file: Path
    ) -> None:
        """The disk is new: nobody knows how often the daemon was started since."""
        noted(config, "x")
        first = next_identity(file, "this one")
        write(config, archive, quiet)
        file.unlink()

        restore(config, archive, quiet)

        after = next_identity(file, "this one")
        assert (after.engine_id, after.boots) == (first.engine_id, first.boots + STARTS_SINCE + 1)

    @pytest.mark.parametrize("has_own", [False, True])
    def test_another_machine_keeps_to_its_own(
        self, config: Config, archive: Path, machine: Any, file: Path, has_own: bool
    ) -> None:
        """Unless it takes the other's place."""
        noted(config, "x")
        first = next_identity(file, "this one")
        write(config, archive, quiet)
        machine("another")
        file.unlink()
        own = next_identity(file, "another") if has_own else None

        done = restore(config, archive, quiet)
        assert (done.engine, done.engine_kept) == (own, True)
        assert next_identity(file, "another").engine_id != first.engine_id

        done = restore(config, archive, quiet, take_engine=True)
        assert not done.engine_kept
        after = next_identity(file, "another")
        assert (after.engine_id, after.boots) == (first.engine_id, first.boots + STARTS_SINCE + 1)

    def test_nonsense(self, config: Config, archive: Path, file: Path) -> None:
        noted(config, "x")
        with contextlib.closing(sqlite3.connect(config.database)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
        made(archive, {"collectord.db": config.database.read_bytes(), "snmp_engine.json": b"[]"})
        with pytest.raises(InputError, match="no engine id"):
            restore(config, archive, quiet)


class TestBeforeMigration:
    def test_kept_before_the_tables_change(self, config: Config) -> None:
        """It comes back with the version of before, and is brought up to date again."""
        older(config.database)

        kept = before_migration(config, quiet)

        assert kept is not None
        assert kept.parent == config.state_dir / "backups"
        assert kept.name.startswith(f"before-schema-{SCHEMA_VERSION}-from-{SCHEMA_VERSION - 1}-")
        assert noted(config, "of now") == "of now"
        assert restore(config, kept, quiet).schema == SCHEMA_VERSION - 1
        assert noted(config) == "of before"

    def test_not_without_need(self, config: Config) -> None:
        """No database, a new one, one of somebody else, a damaged one: opening it says what is wrong."""
        assert before_migration(config, quiet) is None
        noted(config, "x")
        assert before_migration(config, quiet) is None
        config.database.write_bytes(b"SQLite format 3\0" + bytes(5_000))
        assert before_migration(config, quiet) is None
        assert not (config.state_dir / "backups").exists()

    def test_only_the_last_ones_stay(self, config: Config) -> None:
        older(config.database)
        made = [before_migration(config, quiet, now=datetime(2026, 11, day, tzinfo=UTC)) for day in range(1, 5)]
        assert sorted((config.state_dir / "backups").iterdir()) == made[-backup.KEPT :]

    def test_no_room(self, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
        """The daemon starts all the same."""
        older(config.database)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=backup.ROOM_BYTES))
        assert before_migration(config, quiet) is None
        assert list((config.state_dir / "backups").iterdir()) == []
