"""
Who our SNMP engine is: its ID and boots, on disk.

Receivers of SNMPv3 know us by engine ID, boots and time (RFC 3414), so these outlive every restart and lie in a file
of our own.
"""

import errno
import hashlib
import json
import os
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collectord import log as logs
from collectord.errors import StoreError
from collectord.outputs.alarm import ENTERPRISE

log = logs.get()

BOOTS_MAX = 2**31 - 1
"""Boots stay there (RFC 3414 section 2.2.2)."""

_ENGINE_ID_RANDOM_BYTES = 12

SECTOR_BYTES = 512
"""The smallest that a disk writes at once; an identity has 150 bytes."""

STARTS_SINCE = 1_000
"""Starts that may have happened since a backup was made: a receiver takes more boots than it knew, and never fewer."""


@dataclass(frozen=True, slots=True)
class EngineIdentity:
    """Who we are to receivers of SNMPv3."""

    engine_id: bytes
    """RFC 3411 form: enterprise number with the top bit set, format 5 (octets), random octets."""
    boots: int
    """Starts with this engine ID, from 1."""


def next_identity(state_file: Path, machine_id: str, enterprise: int = ENTERPRISE) -> EngineIdentity:
    """
    The identity for this start: the stored one with boots + 1, stored before it is given out.

    Once stored, the engine ID stays: receivers have users for it. Only a machine that was cloned, and has another
    machine ID since, gets a new one, as two engines must not share one. Where a machine ID is not there, or was not,
    nothing can be said, and the engine ID stays.

    At ``BOOTS_MAX`` they stay, and an error says so: only another engine ID helps, for which the file is taken away.

    Boots are never given out twice, also on a full disk: there they are written over those of before, which takes no
    room. Where that can't be either (there is no file yet, or the file system never writes in place), there is no
    identity: whoever needs one has to wait.

    Args:
        state_file: ``snmp_engine.json``; its folder exists. Written whole, with fsync of file and folder.
        machine_id: Content of ``/etc/machine-id``, empty where there is none. Only its hash is stored.
        enterprise: Private enterprise number for an engine ID that is made.

    Raises:
        StoreError: the file can't be written, or is there and can't be read.
    """
    machine, unknown = _machine_hash(machine_id), _machine_hash("")
    try:
        stored = _stored(state_file)
    except OSError as error:
        raise StoreError(f"can't read {state_file}: {error.strerror}") from error
    if stored is not None and (stored["machine"] in (machine, unknown) or machine == unknown):
        identity = EngineIdentity(bytes.fromhex(stored["engine_id"]), min(stored["boots"] + 1, BOOTS_MAX))
        machine = stored["machine"] if machine == unknown else machine
    else:
        # Four octets hold the number, but for the top bit (RFC 3411 section 5); greater ones are not given out.
        number = enterprise if enterprise < 2**31 else ENTERPRISE
        prefix = (number | 0x8000_0000).to_bytes(4, "big") + b"\x05"
        identity = EngineIdentity(prefix + secrets.token_bytes(_ENGINE_ID_RANDOM_BYTES), 1)
        if stored is not None:
            log.warning("snmp engine id changed", reason="another machine id")
    if identity.boots == BOOTS_MAX:
        # RFC 3414 section 3.2: what comes from such an engine is never in the time window.
        log.error("snmp boots are at their end, no receiver takes traps of version 3", path=state_file)
    _store(state_file, identity, machine)
    return identity


def restore_identity(backup: str, state_file: Path, machine_id: str, *, take: bool = False) -> EngineIdentity | None:
    """
    Bring back an identity that a backup holds, as far as receivers of SNMPv3 bear it.

    Boots never get lower: of the same engine ID it is the larger of both, with ``STARTS_SINCE`` added to the backup's.
    The engine ID of another machine is not taken, as that one may run on.

    Args:
        backup: What the file held when the backup was made.
        state_file: As for ``next_identity``, which counts on from what is stored here.
        machine_id: As for ``next_identity``.
        take: That other machine is gone, and this one takes its place.

    Returns:
        What is stored now; None where this machine keeps to its own, and has none yet.

    Raises:
        StoreError: as for ``next_identity``.
        ValueError: the backup's makes no sense.
    """
    kept = _parsed(backup)
    machine, unknown = _machine_hash(machine_id), _machine_hash("")
    try:
        present = _stored(state_file)
    except OSError as error:
        raise StoreError(f"can't read {state_file}: {error.strerror}") from error
    boots = min(kept["boots"] + STARTS_SINCE, BOOTS_MAX)
    if present is not None and present["engine_id"] == kept["engine_id"]:
        boots, machine = max(boots, present["boots"]), present["machine"]
    elif not take and kept["machine"] not in (machine, unknown) and machine != unknown:
        return None if present is None else EngineIdentity(bytes.fromhex(present["engine_id"]), present["boots"])
    identity = EngineIdentity(bytes.fromhex(kept["engine_id"]), boots)
    _store(state_file, identity, machine)
    return identity


def _store(state_file: Path, identity: EngineIdentity, machine: str) -> None:
    content = {"engine_id": identity.engine_id.hex(), "boots": identity.boots, "machine": machine}
    try:
        _write_durably(state_file, json.dumps(content) + "\n")
    except OSError as error:
        raise StoreError(f"can't write {state_file}: {error.strerror}") from error


def _machine_hash(machine_id: str) -> str:
    return hashlib.sha256(b"collectord snmp engine\0" + machine_id.encode()).hexdigest()


def machine_id(path: Path = Path("/etc/machine-id")) -> str:
    """This machine's ID (machine-id(5)); empty where there is none, as in many containers."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _stored(state_file: Path) -> dict[str, Any] | None:
    """What the file holds; None where there is none or it makes no sense."""
    try:
        return _parsed(state_file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        log.warning("snmp engine state is damaged, a new engine id is made", path=state_file)
        return None


def _parsed(text: str) -> dict[str, Any]:
    """
    What a file's text says.

    Raises:
        ValueError: it makes no sense.
    """
    try:
        content = json.loads(text)
        engine_id, boots, machine = content["engine_id"], content["boots"], content["machine"]
        # RFC 3411: an SnmpEngineID has 5 to 32 octets.
        sane = 5 <= len(bytes.fromhex(engine_id)) <= 32 and type(boots) is int and boots >= 0 and type(machine) is str
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError("no engine id and boots") from error
    if not sane:
        raise ValueError("engine id or boots are out of range")
    return {"engine_id": engine_id, "boots": boots, "machine": machine}


def _write_durably(path: Path, content: str) -> None:
    """Replace the file so that after a power cut it is the old or the new one, whole; on a full disk write over it."""
    try:
        _replace(path, content)
    except OSError as error:
        if error.errno != errno.ENOSPC or not _write_over(path, content.encode()):
            raise


def _write_over(path: Path, content: bytes) -> bool:
    """
    Write in the place of what is there; whether that was done.

    Never less than there was, as nothing of it may be left behind, nor more than a sector, which a disk writes whole or
    not at all.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fits = os.fstat(descriptor).st_size <= len(content) <= SECTOR_BYTES
        if fits:
            os.pwrite(descriptor, content, 0)
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return fits


def _replace(path: Path, content: str) -> None:
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
