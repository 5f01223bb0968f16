"""Logging: three forms, a closed list of keys, nothing from the wire unescaped, and repeats held back."""

import ast
import io
import json
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from collectord import data, log
from collectord.clock import ManualClock

LEVELS = ("debug", "info", "warning", "error", "critical", "exception")


@pytest.fixture(autouse=True)
def untouched_afterwards() -> Iterator[None]:
    """Logging is global; each test leaves it as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def records(stream: io.StringIO) -> list[dict[str, Any]]:
    """The JSON objects written so far, without their time."""
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    return [{key: value for key, value in line.items() if key != "time"} for line in lines]


def json_log(level: str = "debug", *, strict: bool = True, clock: ManualClock | None = None) -> io.StringIO:
    """Log as JSON to the stream that is returned."""
    stream = io.StringIO()
    log.setup(level, stream=stream, form="json", strict=strict, mono_ns=(clock or ManualClock()).mono_ns)
    return stream


# Forms


def test_json_line() -> None:
    """One object per line: time in UTC, level, event and keys."""
    stream = json_log()
    log.get().info("listening", listener="udp", address="192.0.2.1:514", count=2, elapsed_s=0.5)

    assert records(stream) == [
        {
            "event": "listening",
            "level": "info",
            "listener": "udp",
            "address": "192.0.2.1:514",
            "count": 2,
            "elapsed_s": 0.5,
        }
    ]
    assert json.loads(stream.getvalue())["time"].endswith("Z")


@pytest.mark.parametrize(
    ("level", "priority"), [("debug", 7), ("info", 6), ("warning", 4), ("error", 3), ("critical", 2)]
)
def test_journal_line(level: str, priority: int) -> None:
    """Syslog's severity as prefix, then logfmt; the journal has the time."""
    stream = io.StringIO()
    log.setup("debug", stream=stream, form="journal")
    getattr(log.get(), level)("output down", destination="noc", err=OSError(111, "Connection refused"))

    expected = (
        f'<{priority}>level={level} event="output down" destination=noc err="ConnectionRefusedError: [Errno 111] '
    )
    assert f'{expected}Connection refused"\n' == stream.getvalue()


def test_pretty_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal with colours, unless NO_COLOR says otherwise."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured, plain = Terminal(), Terminal()
    log.setup("info", stream=coloured)
    log.get().info("started", state="ready")
    monkeypatch.setenv("NO_COLOR", "1")
    log.setup("info", stream=plain)
    log.get().info("started", state="ready")

    assert "\x1b[" in coloured.getvalue()
    assert "\x1b[" not in plain.getvalue()
    assert "started" in plain.getvalue()
    assert plain.getvalue().endswith("state=ready\n")


def test_form_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal's variable counts only if it names this very stream."""
    with (tmp_path / "err").open("w+", encoding="utf-8") as stream:
        status = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        log.setup("info", stream=stream)
        log.get().info("one")
        monkeypatch.setenv("JOURNAL_STREAM", "8:1")
        log.setup("info", stream=stream)
        log.get().info("two")
        stream.seek(0)
        first, second = stream.read().splitlines()

    assert "<6>level=info event=one" == first
    assert "two" == json.loads(second)["event"]


def test_stderr_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    """Never stdout: that belongs to commands."""
    log.setup("info")
    log.get().info("started")
    captured = capsys.readouterr()

    assert ("", "started") == (captured.out, json.loads(captured.err)["event"])


def test_level() -> None:
    """What is below is not written; a logger made earlier follows a later setup."""
    logger = log.get()
    first = json_log("warning")
    logger.info("quiet")
    logger.warning("loud")
    second = json_log("debug")
    logger.debug("whisper")

    assert ["loud"] == [record["event"] for record in records(first)]
    assert ["whisper"] == [record["event"] for record in records(second)]


def test_stream_that_is_gone() -> None:
    """Nothing to write to is no reason to end."""

    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    log.setup("info", stream=Broken(), form="json")
    log.get().info("unheard")
    closed = io.StringIO()
    closed.close()
    log.setup("info", stream=Terminal(), form="json")
    log._Writer(closed).msg("unheard")


# Keys and values


def test_unknown_key_is_an_error_where_it_can_be_mended() -> None:
    """Strict, for tests and development."""
    json_log()

    with pytest.raises(KeyError, match="not an allowed log key: colour, taste"):
        log.get().info("x", taste="a", colour="b")  # type: ignore[call-arg]


def test_unknown_key_is_kept_apart_in_service() -> None:
    """A slip must not end the daemon, nor lose what it says."""
    stream = json_log(strict=False)
    log.get().info("x", count=1, taste="a\n", colour="b")  # type: ignore[call-arg]

    assert records(stream) == [{"event": "x", "level": "info", "count": 1, "extra": "colour=b taste=a\\n"}]


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("plain text", "plain text"),
        ("Grüße 東京", "Grüße 東京"),
        ("a\nb\r\x00", "a\\nb\\r\\x00"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\u2028b\u202ec\x85", "a\\u2028b\\u202ec\\x85"),
        ("\udcff", "\\udcff"),
        ("x" * 2000, "x" * 1000 + "..."),
        (b"\xffa\n", "\\xffa\\n"),
        (b"x" * 2000, "x" * 1000 + "..."),
        (Path("/a b"), "/a b"),
        (None, None),
        (True, True),
        (1.5, 1.5),
        (ValueError("no\nline"), "ValueError: no\\nline"),
        (TimeoutError(), "TimeoutError"),
    ],
)
def test_values_are_safe(value: object, written: object) -> None:
    """Whatever came from the wire stays on its line, and moves no cursor."""
    stream = json_log()
    log.get().info("x", err=value)

    assert written == records(stream)[0]["err"]


@given(st.text())
@pytest.mark.parametrize("form", ["pretty", "journal", "json"])
def test_no_value_breaks_out(form: log.Form, text: str) -> None:
    """One call is one line of printable characters, whatever the value."""
    stream = io.StringIO()
    log.setup("info", stream=stream, form=form)
    log.get().info("x", summary=text, peer=text)
    written = stream.getvalue()

    assert written.endswith("\n")
    assert written[:-1].isprintable()


@pytest.mark.parametrize("form", ["pretty", "journal", "json"])
def test_traceback(form: log.Form) -> None:
    """With its lines where there may be several; what stands in it is escaped as well."""
    stream = io.StringIO()
    log.setup("info", stream=stream, form=form)
    try:
        raise ValueError("bad\x1b[2J")
    except ValueError:
        log.get().error("bug", exc_info=True)
    written = stream.getvalue()

    assert "Traceback" in written
    assert "\x1b" not in written
    assert (form == "pretty") == (written.count("\n") > 1)


def test_every_call_in_the_program_keeps_to_the_list() -> None:
    """A fixed event (a phrase without a full stop) and allowed keys alone, wherever the program logs."""
    slips = []
    for path in sorted(data.PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            if ast.unparse(node.func.value) not in ("log", "_log", "logger") or node.func.attr not in LEVELS:
                continue
            event = node.args[0] if node.args else None
            fixed = isinstance(event, ast.Constant) and isinstance(event.value, str) and not event.value.endswith(".")
            if not fixed or {keyword.arg for keyword in node.keywords} - log.Keys.__annotations__.keys():
                slips.append(f"{path.name}:{node.lineno}: {ast.unparse(node)}")

    assert [] == slips


# Holding back


def test_repeats_are_held_back() -> None:
    """The first at once, then one per 10 s that says how many were between."""
    clock = ManualClock()
    stream = json_log(clock=clock)
    for _ in range(21):
        log.get().warning("messages lost", reason="too_long", peer="192.0.2.1")
        clock.advance(1)

    assert [None, 9, 9] == [record.get("held_back") for record in records(stream)]


def test_no_count_where_nothing_was_held_back() -> None:
    """One per 10 s is not too many."""
    clock = ManualClock()
    stream = json_log(clock=clock)
    for _ in range(3):
        log.get().error("output down", reason="refused")
        clock.advance(10)

    assert [False] * 3 == ["held_back" in record for record in records(stream)]


def test_each_kind_on_its_own() -> None:
    """Another event, reason or configured name is another kind; what the wire says is not."""
    stream = json_log()
    logger = log.get()
    for _ in range(2):
        logger.warning("lost", reason="a")
        logger.warning("lost", reason="b")
        logger.warning("late", reason="a")
        logger.warning("lost", reason="a", listener="udp")
        logger.warning("lost", reason="a", destination="noc")
        logger.warning("lost", reason="a", rule="r")
        logger.warning("lost", reason="a", profile="p")
        logger.warning("lost", reason="a", peer="192.0.2.9", count=7)

    assert 7 == len(records(stream))


def test_what_is_never_held_back() -> None:
    """Lower levels, the end of the daemon, and alerts: each of them is one that somebody waits for."""
    stream = json_log()
    for _ in range(3):
        log.get().info("started")
        log.get().critical("end")
        log.get().warning("alert raised", alert="1", summary="too many failures")

    assert 9 == len(records(stream))
    assert all(record.keys() <= {"event", "level", "alert", "summary"} for record in records(stream))


def test_memory_of_kinds_is_bounded() -> None:
    """The kind that was written longest ago is forgotten, and only that."""
    stream = json_log()
    for number in range(log.HELD_KEYS + 1):
        log.get().warning("lost", reason=str(number))
    log.get().warning("lost", reason="1")
    log.get().warning("lost", reason="0")

    assert log.HELD_KEYS + 2 == len(records(stream))
    assert "0" == records(stream)[-1]["reason"]


def test_from_several_threads() -> None:
    """Of many at once, one is written."""
    stream = json_log()
    start = threading.Barrier(4)

    def warn() -> None:
        start.wait()
        for _ in range(50):
            log.get().warning("lost")

    threads = [threading.Thread(target=warn) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 1 == len(records(stream))


# Libraries


def test_libraries_speak_through_us() -> None:
    """Warnings and worse, in our form, with the logger's name; never their info."""
    stream = json_log("info")
    library = logging.getLogger("library.part")
    library.info("request served")
    library.warning("peer %s said %s", "192.0.2.1", "no\n")
    library.log(logging.ERROR + 5, "odd level")

    assert records(stream) == [
        {"event": "peer 192.0.2.1 said no\\n", "level": "warning", "logger": "library.part"},
        {"event": "odd level", "level": "warning", "logger": "library.part"},
    ]


def test_libraries_at_debug() -> None:
    """Who looks for a fault sees everything."""
    stream = json_log("debug")
    logging.getLogger("library").info("request served")

    assert ["request served"] == [record["event"] for record in records(stream)]


def test_libraries_are_held_back_by_their_template() -> None:
    """The same message about different things is the same kind; another logger's is not."""
    stream = json_log()
    for number in range(5):
        logging.getLogger("a").warning("request %d failed", number)
        logging.getLogger("b").warning("request %d failed", number)

    assert ["a", "b"] == [record["logger"] for record in records(stream)]


def test_library_with_an_exception() -> None:
    """The traceback comes along."""
    stream = json_log()
    try:
        raise ValueError("why")
    except ValueError:
        logging.getLogger("a").exception("failed")

    (record,) = records(stream)
    assert ("failed", "error") == (record["event"], record["level"])
    assert "ValueError: why" in record["exception"]


def test_library_with_a_broken_message() -> None:
    """Arguments that do not fit, or an exception that is none, lose nothing but themselves."""
    stream = json_log()
    none = (None, None, None)
    log._Bridge().emit(logging.LogRecord("a", logging.ERROR, "f.py", 1, "%d of us", ("x",), none))

    assert records(stream) == [{"event": "%d of us", "level": "error", "logger": "a"}]


def test_setup_again_does_not_double() -> None:
    """As on reload."""
    json_log()
    stream = json_log()
    logging.getLogger("a").warning("once")

    assert 1 == len(records(stream))
