"""How many files the process may have open: each connection is one."""

import asyncio
import errno
import resource
from typing import Any

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
        How many of them find room. Further ones have to be refused: what takes the last file takes it from the
        database, the outputs and the commands.
    """
    needed = connections + OTHERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return connections
    if soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    room = min(connections, soft - min(OTHERS, soft // 2))
    if room < connections:
        log.warning(
            "fewer files may be open than connections are allowed; raise LimitNOFILE or lower bounds.tcp_connections",
            count=needed,
            limit=soft,
        )
    return room


def tell_of_lack(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """
    The event loop's handler of errors: none to accept a connection with is a line, not a traceback.

    The loop tries again after a second; until then connections wait in the kernel. That it tries with a listener that
    was closed meanwhile is no error.
    """
    error = context.get("exception")
    if isinstance(error, ValueError) and "_start_serving" in str(context.get("message")):
        return
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        log.warning("no more files may be open, so connections have to wait; raise LimitNOFILE", err=error)
    else:
        loop.default_exception_handler(context)
