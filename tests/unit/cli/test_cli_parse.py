"""``collectord parse``."""

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectord.cli import parse as _  # noqa: F401  (the group imports the function of that name)
from collectord.cli.parse import messages

DENIED = (
    b'<164>Nov 22 2026 10:20:30 fw : %ASA-4-106023: Deny tcp src o:203.0.113.1/1 dst i:10.0.0.1/22 by access-group "a"'
)
UNKNOWN = b"<13>Nov 22 10:20:30 h app: hello"


def objects(stdout: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stdout.splitlines()]


def test_one_answer_a_line_in_order(run: Any) -> None:
    found = objects(run("parse", input=b"\n".join([DENIED, UNKNOWN, b"", DENIED]) + b"\n").stdout)

    assert [answer["Outcome"] for answer in found] == ["session", "unparsed", "empty", "session"]
    assert found[0]["Profile"] == "cisco-asa"
    assert found[0]["Sessions"][0]["SrcIpAddr"] == "203.0.113.1"
    assert found[0] == found[3]


def test_the_last_line_needs_no_end(run: Any) -> None:
    assert len(objects(run("parse", input=DENIED + b"\n" + DENIED).stdout)) == 2


def test_nothing(run: Any) -> None:
    result = run("parse", input=b"")

    assert (result.exit_code, result.stdout) == (0, "")


def test_line_ends_of_windows(run: Any) -> None:
    found = objects(run("parse", input=DENIED + b"\r\n").stdout)

    assert found[0]["Sessions"][0]["NetworkRuleName"] == "a"


@pytest.mark.parametrize("option", ["-0", "--null"])
def test_messages_that_hold_line_ends(run: Any, option: str) -> None:
    found = objects(run("parse", option, input=UNKNOWN + b"\nmore\0" + DENIED + b"\0").stdout)

    assert [answer["Outcome"] for answer in found] == ["unparsed", "session"]
    assert found[0]["Header"]["message"] == "hello\nmore"


def test_peer(run: Any) -> None:
    found = objects(run("parse", "--peer", "192.0.2.9", input=DENIED).stdout)

    assert found[0]["Sessions"][0]["Dvc"] == "192.0.2.9"


def test_bytes_that_are_no_text(run: Any) -> None:
    (answer,) = objects(run("parse", input=b"<13>Nov 22 10:20:30 h app: \xff\xfe").stdout)

    assert answer["Header"]["message"] == "\ufffd\ufffd"


class Pieces(io.RawIOBase):
    """A stream that gives what it holds in pieces of given sizes."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        self._data = data
        self._sizes = [*sizes]

    def read1(self, most: int) -> bytes:
        size = min(most, self._sizes.pop(0) if self._sizes else most)
        piece, self._data = self._data[:size], self._data[size:]
        return piece


@given(st.lists(st.binary(max_size=20).map(lambda text: text.replace(b"\n", b""))), st.lists(st.integers(1, 9)))
def test_pieces_do_not_matter(texts: list[bytes], sizes: list[int]) -> None:
    """However the bytes come, the messages are the same."""
    wire = b"".join(text + b"\n" for text in texts)

    assert list(messages(Pieces(wire, sizes), b"\n")) == texts  # type: ignore[arg-type]


def test_a_message_comes_out_as_soon_as_it_ended() -> None:
    """Whoever pipes a live log in sees each answer at once."""

    class Stuck(io.RawIOBase):
        pieces = iter([b"one\ntw"])

        def read1(self, most: int) -> bytes:
            try:
                return next(self.pieces)
            except StopIteration:
                raise AssertionError("read although a message is there") from None

    assert next(messages(Stuck(), b"\n")) == b"one"  # type: ignore[arg-type]


def test_endless_input_without_an_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setattr(sys.modules["collectord.cli.parse"], "MESSAGE_BYTES", 100)
    found = list(messages(Pieces(b"x" * 250 + b"\nend", [60] * 10), b"\n"))  # type: ignore[arg-type]

    assert b"".join(found) == b"x" * 250 + b"end"
    assert all(len(message) <= 160 for message in found)
