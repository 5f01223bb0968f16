"""How many files the process may have open: each connection is one."""

import resource

from collectord import log as logs

log = logs.get()

OTHERS = 256
"""Files that are open beside connections: database, listeners, outputs, commands, the interpreter's own."""


def make_room(connections: int) -> int:
    """
    Raise the limit as far as it is needed and allowed; a warning where that is not enough.

    Args:
        connections: Most that all listeners together may have.

    Returns:
        How many of them find no room.
    """
    needed = connections + OTHERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return 0
    if soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    missing = max(0, needed - soft)
    if missing:
        log.warning(
            "fewer files may be open than connections are allowed; raise LimitNOFILE or lower bounds.tcp_connections",
            count=needed,
            limit=soft,
        )
    return missing
