"""
Backups: what a collector has to remember, in one file, and the way back.

A backup is a tar archive, compressed by zstd: ``manifest.json`` first, then the database, who our SNMP engine is, and
the configuration if it was asked for. The database is a consistent copy, made while the daemon runs. What comes back is
looked at before anything is replaced.
"""

import contextlib
import fcntl
import hashlib
import io
import json
import os
import shutil
import socket
import sqlite3
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import IO, Any

import zstandard

from collectord import __version__, data, log
from collectord.config import Config
from collectord.errors import InputError, StoreError
from collectord.outputs.snmp_identity import EngineIdentity, machine_id, restore_identity
from collectord.store import backup as copies
from collectord.store.locking import LOCK_SUFFIX
from collectord.store.migrations import SCHEMA_VERSION

logger = log.get()

FORMAT = 1
"""Of the archive; a greater one is of a newer version."""

SUFFIX = ".tar.zst"
MANIFEST, DATABASE, ENGINE, CONFIG = "manifest.json", "collectord.db", "snmp_engine.json", "config/"

MANIFEST_BYTES = 1024 * 1024
"""Far above what the most files of a configuration take."""

FILE_BYTES = 16 * 1024 * 1024
"""Of a file other than the database: far above any profile or watchlist."""

FILES = 5_000
"""Of a configuration."""

ROOM_BYTES = 256 * 1024 * 1024
"""What stays free beside a backup that nobody asked for, and beside a database that comes back."""

KEPT = 2
"""Backups of before a change of the tables that are kept."""

BLOCK_BYTES = 1024 * 1024

SCRATCH = ".restore-"
"""How the folder begins in which a backup is unpacked, on the disk of the state."""

Progress = Callable[[str, int, int], object]
"""Takes what is done, and how much of it: done, all."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What became of a restore."""

    created: str
    """When the backup was made; RFC 3339 UTC."""
    version: str
    """Of the collectord that made it."""
    schema: int
    """Of the database that came back; lower than ours: the daemon brings it up to date."""
    replaced: Path | None
    """Where the database of before is now; None: there was none."""
    engine: EngineIdentity | None
    """From which the SNMP engine counts on; None: it is made when it is needed."""
    engine_kept: bool
    """The backup is another machine's, and this one keeps to its own engine ID."""


def write(
    config: Config,
    target: Path,
    progress: Progress,
    *,
    files: dict[str, Path] | None = None,
    now: datetime | None = None,
) -> None:
    """
    Make a backup; the daemon may run.

    While it is made, its folder needs room for a copy of the database beside it.

    Args:
        config: Names what is kept.
        target: The file to make; it appears when it is whole, readable by its owner alone. One that is there goes.
        progress: Told of each step.
        files: Of the configuration to take along, by name; see ``configuration_files``.
        now: When.

    Raises:
        StoreError: no database, no room, or it can't be written.
    """
    part = target.with_name(f".{target.name}.part")
    try:
        with tempfile.TemporaryDirectory(prefix=".collectord-backup-", dir=target.parent) as folder:
            copy = Path(folder) / DATABASE
            copies.copy(config.database, copy, lambda done, total: progress("copying the database", done, total))
            members: dict[str, Path | bytes] = {DATABASE: copy}
            engine = config.state_dir / ENGINE
            if engine.exists():
                members[ENGINE] = engine.read_bytes()
            members |= {CONFIG + name: path.read_bytes() for name, path in (files or {}).items()}
            _write(part, members, copies.schema(copy), now or datetime.now(UTC), progress)
        os.replace(part, target)
        _sync(target.parent)
    except OSError as error:
        raise StoreError(f"can't write {target}: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)


def configuration_files(config: Config, path: Path) -> dict[str, Path]:
    """
    The files of a configuration by their names in a backup: relative to its folder where they lie below it.

    Files with secrets that the configuration names are not among them.

    Raises:
        StoreError: there are too many, or one is too large.
    """
    found = [path, *sorted(path.parent.glob("conf.d/*.toml"))]
    found += [each for each in (config.port_watchlist, config.hosts) if not each.is_relative_to(data.PACKAGE.parent)]
    for folder in (config.profiles_dir, config.rules_dir):
        found += sorted(folder.glob("*.toml")) if folder is not None else []
    top = path.absolute().parent
    if len(found) > FILES:
        raise StoreError(f"the configuration has {len(found):,} files, a backup takes {FILES:,}")
    named = {}
    for file in found:
        whole = file.absolute()
        name = whole.relative_to(top) if whole.is_relative_to(top) else Path("elsewhere", *whole.parts[1:])
        if (size := whole.stat().st_size) > FILE_BYTES:
            raise StoreError(f"{file} has {size:,} bytes, a backup takes files of {FILE_BYTES:,}")
        named[name.as_posix()] = whole
    return named


def restore(
    config: Config, archive: Path, progress: Progress, *, take_engine: bool = False, config_to: Path | None = None
) -> Restored:
    """
    Put a backup in the place of what is there; the daemon must not run.

    Nothing is replaced before all of it is found to be sound. The database that was there is kept as
    ``collectord.db.replaced``, in the place of an older one.

    Args:
        config: Says where the state lies.
        archive: The backup.
        progress: Told of each step.
        take_engine: As ``take`` of ``restore_identity``.
        config_to: A new folder for the configuration that the backup holds. None: it is left where it is.

    Raises:
        InputError: the backup can't be read, is damaged, or is none.
        StoreError: the daemon runs, the database is of a newer version, or the state can't be written.
    """
    database = config.database
    with (
        _stopped(database),
        tempfile.TemporaryDirectory(prefix=SCRATCH, dir=config.state_dir) as name,
    ):
        folder = Path(name)
        manifest = _extract(archive, folder, progress)
        found = folder / DATABASE
        if not found.exists():
            raise InputError(f"{archive} holds no database")
        progress("looking at every page", 0, 0)
        schema = copies.schema(found, thorough=True)
        if config_to is not None:
            _bring_configuration(folder, config_to)
        engine, kept = None, False
        if (folder / ENGINE).exists():
            text = (folder / ENGINE).read_text(encoding="utf-8", errors="replace")
            place = config.state_dir / ENGINE
            try:
                engine = restore_identity(text, place, machine_id(), take=take_engine)
            except ValueError as error:
                raise InputError(f"{archive}: {ENGINE}: {error}") from error
            kept = engine is None or json.loads(text)["engine_id"] != engine.engine_id.hex()
            if place.exists():
                _own(place)
        try:
            replaced = _replace(database, found)
        except OSError as error:
            raise StoreError(f"can't replace {database}: {error.strerror}") from error
    return Restored(str(manifest["created"]), str(manifest["collectord"]), schema, replaced, engine, kept)


def before_migration(config: Config, progress: Progress, *, now: datetime | None = None) -> Path | None:
    """
    Keep the database as it is, if the start that follows will change its tables; the last ``KEPT`` stay.

    Nothing here keeps the daemon from starting: without room there is no backup, and the log says so.

    Returns:
        The backup, in ``backups`` of the state folder; None: nothing will be changed, or there is no room.
    """
    try:
        if not config.database.exists() or (schema := copies.schema(config.database)) in (0, SCHEMA_VERSION):
            return None
    except StoreError:
        # Opening it says what is wrong.
        return None
    folder = config.state_dir / "backups"
    stamp = now or datetime.now(UTC)
    target = folder / f"before-schema-{SCHEMA_VERSION}-from-{schema}-{stamp:%Y%m%dT%H%M%SZ}{SUFFIX}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        # A copy, and at most as much again of it in the archive.
        needed = 2 * config.database.stat().st_size + ROOM_BYTES
        if (free := shutil.disk_usage(folder).free) < needed:
            raise StoreError(f"a backup needs {needed:,} bytes, {folder} has {free:,}")
        write(config, target, progress, now=stamp)
        older = sorted(folder.glob(f"before-schema-*{SUFFIX}"), key=lambda path: path.stat().st_mtime_ns)
        for path in older[:-KEPT]:
            path.unlink()
    except (OSError, StoreError) as error:
        logger.warning("tables are changed without a backup of before", err=str(error))
        return None
    logger.info("backup of before the tables are changed", path=target)
    return target


def _write(part: Path, members: dict[str, Path | bytes], schema: int, now: datetime, progress: Progress) -> None:
    """The archive, whole and on the disk."""
    listed = [{"name": name, "bytes": _size(content), "sha256": _digest(content)} for name, content in members.items()]
    manifest = {
        "format": FORMAT,
        "collectord": __version__,
        "schema": schema,
        "created": f"{now:%Y-%m-%dT%H:%M:%SZ}",
        "host": socket.gethostname(),
        "files": listed,
    }
    total = sum(_size(content) for content in members.values())
    done = 0

    def told(count: int) -> None:
        nonlocal done
        done += count
        if done % BLOCK_BYTES < count:
            progress("compressing", done, total)

    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "wb") as file:
        os.fchmod(descriptor, 0o600)
        with (
            zstandard.ZstdCompressor(write_checksum=True).stream_writer(file, closefd=False) as compressed,
            tarfile.open(fileobj=compressed, mode="w|") as archive,
        ):
            for name, content in [(MANIFEST, json.dumps(manifest, indent=1).encode()), *members.items()]:
                member = tarfile.TarInfo(name)
                member.size, member.mode, member.mtime = _size(content), 0o600, int(now.timestamp())
                with _opened(content) as source:
                    archive.addfile(member, _Told(source, told))
        file.flush()
        os.fsync(file.fileno())


class _Told(io.RawIOBase):
    """A file that tells how much of it was read."""

    def __init__(self, source: IO[bytes], told: Callable[[int], None]) -> None:
        self._source, self._told = source, told

    def read(self, size: int = -1) -> bytes:
        """As of the file."""
        found = self._source.read(size)
        self._told(len(found))
        return found


def _opened(content: Path | bytes) -> io.BytesIO | io.BufferedReader:
    return io.BytesIO(content) if isinstance(content, bytes) else content.open("rb")


def _size(content: Path | bytes) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _digest(content: Path | bytes) -> str:
    with _opened(content) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _extract(archive: Path, folder: Path, progress: Progress) -> dict[str, Any]:
    """All files of a backup into a folder; returns its manifest."""
    try:
        with (
            archive.open("rb") as file,
            zstandard.ZstdDecompressor().stream_reader(file) as plain,
            tarfile.open(fileobj=plain, mode="r|") as members,
        ):
            first = members.next()
            if first is None or first.name != MANIFEST or not first.isreg() or first.size > MANIFEST_BYTES:
                raise InputError(f"{archive} is no backup of collectord")
            manifest, wanted = _manifest(archive, members.extractfile(first))
            total = sum(size for size, _ in wanted.values())
            if (free := shutil.disk_usage(folder).free) < total + ROOM_BYTES:
                raise StoreError(f"{archive} needs {total + ROOM_BYTES:,} bytes, {folder.parent} has {free:,}")
            done = 0
            while (member := members.next()) is not None:
                size, digest = wanted.pop(member.name, (-1, ""))
                source = members.extractfile(member) if member.isreg() and member.size == size else None
                if source is None:
                    raise InputError(f"{archive} is damaged: {member.name[:80]!r} is not as its manifest says")
                _extract_one(source, folder / member.name, digest, archive)
                done += size
                progress("unpacking", done, total)
            if wanted:
                raise InputError(f"{archive} is damaged: {next(iter(wanted))} is missing")
            return manifest
    except FileNotFoundError as error:
        raise InputError(f"{archive} can't be read: {error.strerror}", missing=True) from error
    except (tarfile.TarError, zstandard.ZstdError, EOFError, UnicodeError) as error:
        raise InputError(f"{archive} is damaged, or no backup of collectord: {error}") from error
    except OSError as error:
        raise InputError(f"{archive} can't be read: {error.strerror or error}") from error


def _manifest(archive: Path, file: IO[bytes] | None) -> tuple[dict[str, Any], dict[str, tuple[int, str]]]:
    """What the manifest says, and size and digest of each file by name; names stay within the folder."""
    try:
        manifest = json.loads(file.read() if file is not None else b"")
        if type(manifest["format"]) is not int or manifest["format"] > FORMAT:
            raise InputError(
                f"{archive} was made by a newer collectord ({str(manifest['collectord'])[:40]}): install that"
            )
        wanted = {str(each["name"]): (int(each["bytes"]), str(each["sha256"])) for each in manifest["files"]}
        manifest["created"], manifest["collectord"], manifest["schema"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{archive} is no backup of collectord: its manifest makes no sense") from error
    for name, (size, _) in wanted.items():
        parts = PurePosixPath(name).parts
        known = name in (DATABASE, ENGINE) or (name.startswith(CONFIG) and ".." not in parts and "\0" not in name)
        if not known or size < 0 or (name != DATABASE and size > FILE_BYTES):
            raise InputError(f"{archive} holds {name[:80]!r}, which no backup of collectord does")
    if len(wanted) > FILES + 2:
        raise InputError(f"{archive} holds {len(wanted):,} files, a backup of collectord has {FILES:,} at most")
    return manifest, wanted


def _extract_one(source: IO[bytes], path: Path, digest: str, archive: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    seen = hashlib.sha256()
    with open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        while block := source.read(BLOCK_BYTES):
            seen.update(block)
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    if seen.hexdigest() != digest:
        raise InputError(f"{archive} is damaged: {path.name} has another checksum than its manifest says")


def _bring_configuration(folder: Path, place: Path) -> None:
    if not (folder / CONFIG).is_dir():
        raise InputError("the backup holds no configuration: it was made without --with-config")
    try:
        shutil.copytree(folder / CONFIG, place)
    except OSError as error:
        raise StoreError(
            f"can't write the configuration to {place}: {error.strerror or 'it is there already'}"
        ) from error


@contextlib.contextmanager
def _stopped(database: Path) -> Iterator[None]:
    """No daemon has the database, nor gets it."""
    path = database.with_name(database.name + LOCK_SUFFIX)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise StoreError(f"the state folder {path.parent} can't be written: {error.strerror}") from error
    try:
        _own(path)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise StoreError(f"{database} is in use: stop the daemon first (systemctl stop collectord)") from error
    finally:
        os.close(descriptor)


def _replace(database: Path, found: Path) -> Path | None:
    """The new file in the place of the old one, at no moment none; returns where the old one is now."""
    _own(found)
    beside = [Path(f"{database}{suffix}") for suffix in ("-wal", "-shm")]
    kept = Path(f"{database}.replaced")
    for path in (kept, *(Path(f"{kept}{suffix}") for suffix in ("-wal", "-shm"))):
        path.unlink(missing_ok=True)
    there = database.exists()
    if there:
        # Mostly nothing lies beside it after that.
        with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(database)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        os.link(database, kept)
    # What the daemon had not yet written to the old file goes with it: beside the new one it would spoil that.
    for path in beside:
        if path.exists():
            path.rename(str(path).replace(str(database), str(kept), 1))
    os.replace(found, database)
    _sync(database.parent)
    return kept if there else None


def _own(path: Path) -> None:
    """Root's work belongs to the daemon's user, as the folder does."""
    if os.geteuid() == 0:
        folder = path.parent.parent if path.parent.name.startswith(SCRATCH) else path.parent
        owner = folder.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
