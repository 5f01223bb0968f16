"""
What the daemon says of itself: structured, on stderr, never a line per message.

An event is a fixed short lower-case phrase; everything that varies is a key, and the keys are a closed list (``Keys``;
mypy refuses any other, ``strict`` does so at run time). Three forms: colours on a terminal, logfmt with syslog's
priority prefix for the journal, else a JSON object per line. What comes from the wire can't break out of its line or
reach the terminal, and a warning that repeats itself is held back and counted.
"""

import io
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Literal, Protocol, TextIO, TypedDict, Unpack, cast

from collectord.model import NS_PER_S
from collectord.texts import SHOWN_CHARACTERS, safe

HELD_FOR_S = 10
"""A warning comes at most once in this time per event, reason and configured name (listener, rule, ...)."""

HELD_KEYS = 1024
"""Most different warnings that are remembered; the oldest is forgotten first."""

Form = Literal["pretty", "journal", "json"]
EventDict = MutableMapping[str, Any]


class Keys(TypedDict, total=False):
    """Everything that a log line may say beside its event."""

    listener: str
    peer: str
    device: str
    profile: str
    rule: str
    alert: str
    destination: str
    reason: str
    """From a closed list where the event is a loss."""
    count: int
    bytes: int
    elapsed_s: float
    err: object
    """An exception, or a library's text."""
    address: str
    limit: int | float
    """The bound that was met."""
    path: object
    seq: int
    state: str
    severity: str
    site: str
    key: str
    """The key of an alert, as people write it."""
    id: str
    user: int
    """Who asked for it on the control socket."""
    summary: str
    """An alert's one line; what has it is the alert itself and is never held back."""
    exc_info: object
    """True or an exception: its traceback is written, too."""


class Logger(Protocol):
    """A structlog logger as we use it."""

    def debug(self, event: str, **keys: Unpack[Keys]) -> None:
        """For those who look for a fault."""

    def info(self, event: str, **keys: Unpack[Keys]) -> None:
        """A unit of work is done."""

    def warning(self, event: str, **keys: Unpack[Keys]) -> None:
        """Something is lost or late, and the daemon goes on."""

    def error(self, event: str, **keys: Unpack[Keys]) -> None:
        """Something does not work until somebody acts."""

    def exception(self, event: str, **keys: Unpack[Keys]) -> None:
        """An error with the traceback of the exception that is being handled."""

    def critical(self, event: str, **keys: Unpack[Keys]) -> None:
        """The daemon ends."""


# sd-daemon(3): the number is the syslog severity of the line.
_PRIORITY = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
_LIMITED = ("warning", "error")
_WRITTEN_BY_US = {"event", "level", "time", "held_back", "logger", "exception", "extra"}
# What tells repeats apart beside the event: closed lists and configured names, never what the wire says.
_KIND = ("reason", "listener", "destination", "rule", "profile", "logger")
# A library's text before its arguments; for HeldBack, which takes it out again.
_TEMPLATE = "_template"


def get() -> Logger:
    """A logger; may be made before ``setup``."""
    return cast(Logger, _Later())


class _Later:
    """Imports structlog with the first line that is written: a command that writes none does not wait for it."""

    def __getattr__(self, level: str) -> Any:
        import structlog

        return getattr(structlog.get_logger(), level)


def setup(
    level: str,
    *,
    stream: TextIO | None = None,
    form: Form | None = None,
    strict: bool = False,
    mono_ns: Callable[[], int] = time.monotonic_ns,
) -> None:
    """
    Say from now on how and what is logged; may be called again, as on reload.

    Args:
        level: ``debug``, ``info``, ``warning`` or ``error``: what is below is not written.
        stream: Where to; None is stderr.
        form: None finds it out from the stream and the environment.
        strict: An unknown key raises KeyError; else it is written under ``extra``.
        mono_ns: Monotonic clock, for holding back.
    """
    import structlog

    stream = sys.stderr if stream is None else stream
    form = _form(stream, os.environ) if form is None else form
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            HeldBack(mono_ns),
            ClosedKeys(strict),
            structlog.processors.ExceptionRenderer(),
            *_rendering(form, colours=stream.isatty() and not os.environ.get("NO_COLOR")),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *_: _Writer(stream),
        # A logger that a module made early must follow a later setup.
        cache_logger_on_first_use=False,
    )
    _bridge(number)


class HeldBack:
    """
    Processor that holds back warnings and errors which repeat themselves.

    The first of its kind (event, reason, and configured names such as the listener's) comes at once, then at most one
    per 10 s, with the number of those between as ``held_back``. Lower levels pass, they are few by design, and so do
    alerts: each of them counts, and they have a bound of their own.
    """

    def __init__(self, mono_ns: Callable[[], int]) -> None:
        self._mono_ns = mono_ns
        self._lock = threading.Lock()
        # Kind -> [mono_ns of the last line, held back since].
        self._kinds: dict[tuple[object, ...], list[int]] = {}

    def __call__(self, logger: object, method: str, event: EventDict) -> EventDict:
        """Pass the event on, or raise DropEvent."""
        from structlog import DropEvent

        phrase = event.pop(_TEMPLATE, event.get("event"))
        if event.get("level") not in _LIMITED or "summary" in event:
            return event
        kind = (phrase, *(str(event.get(key)) for key in _KIND))
        now = self._mono_ns()
        with self._lock:
            last = self._kinds.get(kind)
            if last is not None and now - last[0] < HELD_FOR_S * NS_PER_S:
                last[1] += 1
                raise DropEvent
            # Put in anew, so that the order of the table is the order of the last lines.
            self._kinds.pop(kind, None)
            self._kinds[kind] = [now, 0]
            if len(self._kinds) > HELD_KEYS:
                del self._kinds[next(iter(self._kinds))]
        if last is not None and last[1]:
            event["held_back"] = last[1]
        return event


class ClosedKeys:
    """Processor that knows the closed list of keys, and makes every value safe to write."""

    _allowed = frozenset(Keys.__annotations__) | _WRITTEN_BY_US | {"stack_info"}

    def __init__(self, strict: bool) -> None:
        self._strict = strict

    def __call__(self, logger: object, method: str, event: EventDict) -> EventDict:
        """The event with safe values; keys that are not on the list stand together under ``extra``."""
        unknown = sorted(event.keys() - self._allowed)
        if unknown and self._strict:
            raise KeyError(f"not an allowed log key: {', '.join(unknown)}")
        extra = {key: event.pop(key) for key in unknown}
        for key, value in event.items():
            if key not in ("exc_info", "stack_info"):
                event[key] = _safe_value(value)
        if extra:
            event["extra"] = safe(" ".join(f"{key}={value}" for key, value in extra.items()))
        return event


def _safe_value(value: object) -> object:
    match value:
        case bool() | int() | float() | None:
            return value
        case BaseException():
            text = f"{type(value).__name__}: {value}" if str(value) else type(value).__name__
            return safe(text)
        case bytes() | bytearray() | memoryview():
            return safe(bytes(value[: SHOWN_CHARACTERS + 1]).decode("utf-8", "backslashreplace"))
        case _:
            return safe(str(value))


def _form(stream: TextIO, environ: Mapping[str, str]) -> Form:
    if stream.isatty():
        return "pretty"
    return "journal" if _is_journal(stream, environ.get("JOURNAL_STREAM", "")) else "json"


def _is_journal(stream: TextIO, journal_stream: str) -> bool:
    """systemd.exec(5): the variable names device and inode, for stderr may have been sent elsewhere since."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, io.UnsupportedOperation):
        return False
    return journal_stream == f"{status.st_dev}:{status.st_ino}"


def _rendering(form: Form, *, colours: bool) -> list[Any]:
    import structlog

    match form:
        case "pretty":
            console = structlog.dev.ConsoleRenderer(
                colors=colours, exception_formatter=structlog.dev.plain_traceback, timestamp_key="time"
            )
            return [structlog.processors.TimeStamper("%H:%M:%S", utc=False, key="time"), _safe_traceback, console]
        case "journal":
            return [_safe_traceback, _with_priority()]
        case "json":
            stamp = structlog.processors.TimeStamper("iso", utc=True, key="time")
            return [stamp, structlog.processors.JSONRenderer(serializer=json.dumps)]


def _safe_traceback(logger: object, method: str, event: EventDict) -> EventDict:
    """The lines of a traceback are ours, what stands in them may be anybody's."""
    if "exception" in event:
        event["exception"] = "\n".join(safe(line, keep="\t") for line in str(event["exception"]).split("\n"))
    return event


def _with_priority() -> Callable[[object, str, EventDict], str]:
    from structlog.processors import LogfmtRenderer

    logfmt = LogfmtRenderer(key_order=["level", "event"], drop_missing=True)

    def rendered(logger: object, method: str, event: EventDict) -> str:
        return f"<{_PRIORITY[event['level']]}>{logfmt(logger, method, event)}"

    return rendered


class _Writer:
    """Writes lines; a stream that is gone must not end the daemon."""

    _lock = threading.Lock()

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def msg(self, line: str) -> None:
        with self._lock:
            try:
                self._stream.write(f"{line}\n")
                self._stream.flush()
            except (OSError, ValueError):  # ValueError: the stream is closed.
                return

    log = debug = info = warning = error = critical = msg


class _Bridge(logging.Handler):
    """Takes over what libraries log through the standard library (asyncio, pysnmp, aiohttp)."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
        except (TypeError, ValueError):  # The library's arguments do not fit its text.
            text = str(record.msg)
        level = record.levelname.lower() if record.levelname.lower() in _PRIORITY else "warning"
        keys: dict[str, Any] = {"logger": record.name, _TEMPLATE: str(record.msg)}
        if record.exc_info and record.exc_info[1] is not None:
            keys["exc_info"] = record.exc_info[1]
        getattr(get(), level)(text, **keys)


def _bridge(level: int) -> None:
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _Bridge)]:
        root.removeHandler(handler)
    root.addHandler(_Bridge())
    # Libraries speak of every request at info; that is a line per message.
    root.setLevel(level if level == logging.DEBUG else max(level, logging.WARNING))
