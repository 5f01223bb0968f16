"""The lock file beside the database: one daemon writes, and what it says outlives it."""

import errno
import fcntl
import os
from pathlib import Path

from collectord.errors import FullError, StoreError

LOCK_SUFFIX = ".lock"

OURS = b"collectord's\n"
"""In the lock file once a daemon had the database open: whatever the file is by now, it was no other program's."""


def lock(path: Path) -> tuple[int, bool]:
    """
    Takes the exclusive lock of the writing side; the lock file stays after the process ends.

    Returns:
        The lock, and whether a daemon had the database open before.
    """
    lock_path = path.with_name(path.name + LOCK_SUFFIX)
    if not path.parent.is_dir():
        raise StoreError(f"there is no folder {path.parent} for the database: make it, owned by the daemon's user")
    try:
        fd = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise FullError(no_room(path, "lock the database")) from error
        raise StoreError(
            f"the folder {path.parent} can't be written ({error.strerror}): the database needs a folder that belongs "
            "to the daemon's user"
        ) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        ours = OURS in os.pread(fd, 100, 0)
        # Written over before it is cut, so that no power cut takes what it says.
        line = b"%d\n" % os.getpid() + (OURS if ours else b"")
        os.pwrite(fd, line, 0)
        os.ftruncate(fd, len(line))
    except BlockingIOError as error:
        holder = os.pread(fd, 20, 0).split(b"\n")[0].decode("ascii", "replace").strip() or "unknown"
        os.close(fd)
        raise StoreError(
            f"{path} is in use by another collectord (process {holder}): stop that one first, or give this one a "
            "database of its own"
        ) from error
    except OSError as error:
        # The lock itself takes no room. Nobody reads its number then.
        if error.errno != errno.ENOSPC:
            os.close(fd)
            raise StoreError(f"{lock_path} can't be locked: {error.strerror}") from error
    return fd, ours


def note_ours(lock: int) -> None:
    """
    Notes in the lock file that a daemon had the database open.

    On a full disk it is noted with the next start: until then a file that is no database at all is not taken for ours.
    """
    try:
        os.pwrite(lock, OURS, os.fstat(lock).st_size)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise


def no_room(path: Path, doing: str) -> str:
    """What a full disk keeps from being done, and what a person can do about it."""
    return (
        f"can't {doing}: no space left for {path}, or less than [store] min_free: free some on its disk, the "
        "daemon then goes on by itself"
    )
