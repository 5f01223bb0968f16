"""Signals that end a command, where it has something to clean up."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

EX_INTERRUPTED = 130
"""Ended by Ctrl-C, as shells say it: 128 and the signal's number."""


@contextlib.contextmanager
def cleaned_up() -> Iterator[None]:
    """
    What ends a command leaves no temporary file: a copy of a database may have gigabytes.

    Python cleans up after Ctrl-C by itself. After SIGTERM (``timeout``, a shutdown) and SIGHUP (the terminal is closed)
    it does not; nor can anybody after SIGKILL.
    """
    before = {number: signal.signal(number, _end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
