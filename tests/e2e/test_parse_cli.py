"""``collectord parse -0``: one JSON object for each message, in order, whatever the messages are."""

import json
import random
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .daemon import COMMAND, collectord, denied
from .servers import PATIENCE_S

HEADER = {
    *("facility", "severity", "timestamp", "hostname", "appname", "procid", "msgid"),
    *("structured_data", "message"),
}
OUTCOMES = {"session", "event", "unparsed", "empty", "too_long"}


def is_documented(answer: dict[str, Any]) -> bool:
    """Whether an object has exactly the documented members."""
    return (
        list(answer) == ["Outcome", "Profile", "Recovered", "Header", "Relay", "Sessions"]
        and answer["Outcome"] in OUTCOMES
        and set(answer["Header"]) == HEADER
        and (answer["Outcome"] == "session") == bool(answer["Sessions"])
        and all(session["EventSchema"] == "NetworkSession" for session in answer["Sessions"])
    )


class Parser:
    """One running ``parse -0``; loading profiles takes longer than reading thousands of messages."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, "parse", "-0"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )

    def parse(self, messages: list[bytes]) -> list[dict[str, Any]]:
        """As many objects as there are messages; what the pipes hold bounds how much may be asked at once."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(b"".join(message + b"\0" for message in messages))
        return [json.loads(self._line()) for _ in messages]

    def _line(self) -> bytes:
        assert self.process.stdout is not None
        line = b""
        while not line.endswith(b"\n"):
            piece = self.process.stdout.readline()
            assert piece, "parse has ended"
            line += piece
        return line


@pytest.fixture(scope="module")
def parser() -> Iterator[Parser]:
    parser = Parser()
    with parser.process as process:
        try:
            yield parser
            # Nothing was written that nobody asked for.
            rest, _ = process.communicate(timeout=PATIENCE_S)
            assert (rest, process.returncode) == (b"", 0)
        finally:
            process.kill()


# Pieces that readers look for make garbage that gets further than random bytes do.
PIECES = st.sampled_from(
    [
        *(b"<134>", b"<999>", b"1 ", b"Nov 22 2026 08:15:13 ", b"2026-11-22T08:15:13Z ", b"host ", b"- ", b": "),
        *(b"%ASA-4-106023: ", b"Deny tcp src outside:192.0.2.1/1 dst inside:10.0.0.1/2 ", b'by access-group "a"'),
        *(b"CEF:0|", b"Check Point|VPN-1 & FireWall-1|", b"a|b|c|", b"\\|", b"act=Drop ", b"src=192.0.2.1 ", b"\\="),
        *(b'date=2026-11-22 time=08:15:13 logid="0000000013" type="traffic" subtype="forward" vd="root" ', b'"'),
        *(
            b'action="deny" ',
            b"srcip=192.0.2.1 ",
            b"dstport=99999 ",
            b"1,2026/11/22,0123,TRAFFIC,end,",
            b",,,,,,",
            b'""',
        ),
        *(b"\n", b"\r\n", b"\xef\xbb\xbf", b"\xff", b"\xed\xa0\x80", b"\xe2\x80\xa8", b"\x1b[31m", b'[a b="c"] '),
    ]
)
GARBAGE = st.lists(st.one_of(PIECES, st.binary(max_size=40)), max_size=12).map(
    lambda pieces: b"".join(pieces).replace(b"\0", b"")
)


@pytest.mark.e2e
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(messages=st.lists(GARBAGE, min_size=1, max_size=15))
def test_an_object_for_each_message(parser: Parser, messages: list[bytes]) -> None:
    """Garbage between good messages: as many objects as messages, and the good ones are where they were put."""
    mixed = [each for number, message in enumerate(messages) for each in (message, denied("192.0.2.1", number))]
    answers = parser.parse(mixed)

    assert all(map(is_documented, answers))
    assert [answer["Sessions"][0]["SrcPortNumber"] for answer in answers[1::2]] == [
        1024 + number for number in range(len(messages))
    ]


@pytest.mark.e2e
def test_order_over_many_messages() -> None:
    """Thousands of messages through one pipe; each carries its number, in a session's field or in its text."""
    random_ = random.Random(20_261_122)
    messages: list[bytes] = []
    for number in range(6000):
        match number % 4:
            case 0:
                messages.append(denied("198.51.100.7", number))
            case 1:
                messages.append(b"<13>Nov 22 08:15:13 host tag: number=%d " % number + junk(random_, 60))
            case 2:
                messages.append(b"<165>1 2026-11-22T08:15:13Z host app %d id - text\n on two lines" % number)
            case _:
                messages.append(b"%d|" % number + junk(random_, 2000))
    # What follows the last NUL is a message, too; between two of them is an empty one.
    result = collectord("parse", "-0", input=b"\0".join(messages) + b"\0\0last")

    assert (result.returncode, result.stderr) == (0, b"")
    lines = result.stdout.split(b"\n")
    assert lines.pop() == b""
    answers = [json.loads(line) for line in lines]
    assert len(answers) == len(messages) + 2
    assert all(map(is_documented, answers))
    for number, answer in enumerate(answers[:-2]):
        header, text = answer["Header"], answer["Header"]["message"]
        match number % 4:
            case 0:
                assert answer["Sessions"][0]["SrcPortNumber"] == 1024 + number
            case 1:
                assert text.startswith(f"number={number} ")
            case 2:
                assert (header["procid"], text) == (str(number), "text\n on two lines")
            case _:
                assert text.startswith(f"{number}|")
    assert answers[-2]["Outcome"] == "empty"
    assert answers[-1]["Header"]["message"] == "last"


@pytest.mark.e2e
def test_output_is_utf8_everywhere() -> None:
    """JSON is UTF-8 (RFC 8259 section 8.1), whatever the locale's encoding is; broken UTF-8 is replaced."""
    message = "<13>Nov 22 08:15:13 host tag: Zürich \N{SNOWMAN}".encode() + b" \xff"
    result = collectord("parse", "-0", input=message, LC_ALL="C", PYTHONIOENCODING="latin-1")

    assert (result.returncode, result.stderr) == (0, b"")
    assert (
        json.loads(result.stdout.decode("utf-8"))["Header"]["message"] == "Zürich \N{SNOWMAN} \N{REPLACEMENT CHARACTER}"
    )


def junk(random_: random.Random, most: int) -> bytes:
    """Random bytes that are neither NUL, which ends a message, nor white space, which a header's end eats."""
    return bytes(random_.choices(range(0x21, 0x100), k=random_.randrange(most)))
