"""Log files: blocks, compression, the time of lines, merging."""

import gzip
import io
import random
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from collectord import plan
from collectord.engine import Engine
from collectord.errors import EX_NOINPUT, InputError
from collectord.inputs import replay
from collectord.inputs.replay import AGREEING, JUMP_S, LINE_BYTES, LogFile, merged, open_file
from collectord.model import NS_PER_S

START_S = 1_800_000_000
HOUR_S = 3_600

Open = Callable[..., LogFile]


@pytest.fixture(scope="module")
def engine() -> Engine:
    """An engine that reads times; nothing is counted."""
    setup = plan.check(plan.load(None).config, [])
    return setup.engine()


@pytest.fixture(scope="module")
def log(engine: Engine) -> Open:
    """A file of those bytes."""

    def log(content: bytes, **more: object) -> LogFile:
        values: dict[str, object] = {"near_ns": START_S * NS_PER_S, "peer": "", **more}
        return LogFile("a.log", io.BytesIO(content), engine, **values)  # type: ignore[arg-type]

    return log


def line(second: int | None, text: str = "x") -> bytes:
    """A line that was written so many seconds after the start; None: it does not say when."""
    if second is None:
        return text.encode() + b"\n"
    return f"<14>{datetime.fromtimestamp(START_S + second, UTC):%b %d %Y %H:%M:%S} fw app: {text}\n".encode()


def seconds(pieces: Iterable[tuple[int, bytes]]) -> list[tuple[int, str]]:
    """Each line with its second from the start."""
    return [
        (second - START_S, each.rpartition(b": ")[2].decode("latin-1"))
        for second, lines in pieces
        for each in lines.splitlines()
    ]


def test_lines_of_a_second_are_one_piece(log: Open) -> None:
    """What follows costs a call a piece, not a line."""
    content = line(0, "a") + line(0, "b") + line(None, "c") + line(1, "d") + b"\n" + line(1, "e")[:-1]
    file = log(content)
    pieces = list(file.pieces())
    assert len(pieces) <= 3
    assert b"".join(lines for _, lines in pieces) == content
    assert seconds(pieces) == [(0, "a"), (0, "b"), (0, "c"), (1, "d"), (1, ""), (1, "e")]
    assert (file.without_time, file.off_time, file.err) == (1, 0, "")


def test_the_clock_never_runs_back(log: Open) -> None:
    """Earlier lines count at the time of the line before them; far earlier ones are told of."""
    file = log(b"".join(line(second) for second in (10, 11, 9, 12, 12 - JUMP_S - 1, 12)))
    assert [second for second, _ in seconds(file.pieces())] == [10, 11, 11, 12, 12, 12]
    assert file.off_time == 1


def test_a_jump_is_not_followed(log: Open) -> None:
    """One line, or two that agree, may be broken."""
    jump = 10 * HOUR_S
    file = log(b"".join(line(second) for second in (0, 1, 2, jump, 3, jump, jump + 1, 4, -jump, 5, jump)))
    assert [second for second, _ in seconds(file.pieces())] == [0, 1, 2, 2, 3, 3, 3, 4, 4, 5, 5]
    assert file.off_time == 5


def test_a_jump_is_followed_when_enough_agree(log: Open) -> None:
    """Lines that are found to agree count at the new time, with what goes with them."""
    jump = 10 * HOUR_S
    after = [jump, None, jump + 2, jump + 1, jump + 3]
    file = log(b"".join(line(second, "y") for second in (0, 1, 2, *after)))
    assert [second for second, _ in seconds(file.pieces())] == [0, 1, 2, jump, jump, jump + 2, jump + 2, jump + 3]
    assert file.off_time == 0


def test_a_row_is_broken_by_another_jump(log: Open) -> None:
    """Those who disagree among each other are not believed."""
    jumps = [5 * HOUR_S, 9 * HOUR_S, 5 * HOUR_S, 9 * HOUR_S] * AGREEING
    file = log(b"".join(line(second) for second in (0, 1, 2, *jumps, 3)))
    assert {second for second, _ in seconds(file.pieces())} == {0, 1, 2, 3}
    assert file.off_time == len(jumps)


def test_the_first_line_may_be_broken_too(log: Open) -> None:
    """The clock starts with lines that agree; what comes before them counts then."""
    file = log(line(None, "a") + line(90 * HOUR_S, "b") + line(0, "c") + line(1, "d") + line(2, "e"))
    assert seconds(file.pieces()) == [(0, "a"), (0, "b"), (0, "c"), (1, "d"), (2, "e")]
    assert (file.off_time, file.without_time) == (1, 1)


@pytest.mark.parametrize(
    ("lines", "want"),
    [
        ([], []),
        ([7], [7]),
        ([7, 9], [7, 9]),
        ([None, 7], [7, 7]),
        ([None, None], [0, 0]),
    ],
)
def test_a_short_file_has_its_time(log: Open, lines: list[int | None], want: list[int]) -> None:
    """There may be fewer lines than agree; without any time it is that of the file."""
    assert [second for second, _ in seconds(log(b"".join(map(line, lines))).pieces())] == want


def test_lines_without_time_do_not_pile_up(log: Open) -> None:
    """An endless stream of them flows on."""
    block = line(None, "x" * 100) * 5_000

    class Endless(io.RawIOBase):
        def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
            size = min(len(buffer), len(block))
            buffer[:size] = block[:size]
            return size

    pieces = LogFile("endless", Endless(), log(b"")._engine, near_ns=START_S * NS_PER_S, peer="").pieces()  # type: ignore[arg-type]
    assert next(pieces)[0] == START_S


def test_the_year_is_the_nearest(log: Open) -> None:
    """First to what is known of the file, then to the lines before."""
    stamps = ("Dec 31 23:59:58", "Dec 31 23:59:59", "Dec 31 23:59:59", "Jan  1 00:00:00", "Jan  1 00:00:01")
    blocks = b"".join(f"<14>{stamp} fw app: x\n".encode() for stamp in stamps)
    near_s = int(datetime(2019, 11, 1, tzinfo=UTC).timestamp())
    found = [second for second, _ in log(blocks, near_ns=near_s * NS_PER_S).pieces()]
    assert datetime.fromtimestamp(found[0], UTC).isoformat() == "2019-12-31T23:59:58+00:00"
    assert datetime.fromtimestamp(found[-1], UTC).isoformat() == "2020-01-01T00:00:01+00:00"


def test_offset_from_utc(log: Open) -> None:
    """Of stamps that do not tell it."""
    (piece,) = log(line(HOUR_S), utc_offset_s=HOUR_S).pieces()
    assert piece[0] == START_S


def _gzip(content: bytes) -> bytes:
    half = len(content) // 2
    return gzip.compress(content[:half]) + gzip.compress(content[half:])


def _zstandard(content: bytes) -> bytes:
    half = len(content) // 2
    skippable = b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc"
    compress = zstandard.ZstdCompressor().compress
    return skippable + compress(content[:half]) + skippable + compress(content[half:])


@pytest.mark.parametrize("compress", [_gzip, _zstandard])
def test_compressed(log: Open, compress: Callable[[bytes], bytes]) -> None:
    """Known by their first bytes, in several parts, as rotation appends them."""
    noise = random.Random(1)
    content = b"".join(line(number // 10, f"{noise.getrandbits(64):x}") for number in range(20_000))
    stored = compress(content)
    read = 0

    def note(count: int) -> None:
        nonlocal read
        read += count

    file = log(stored, read=note)
    assert b"".join(lines for _, lines in file.pieces()) == content
    assert (file.err, read) == ("", len(stored))
    # Cut off, all that is sound is there, and it is said.
    file = log(stored[: len(stored) * 3 // 4])
    got = b"".join(lines for _, lines in file.pieces())
    assert len(content) // 2 < len(got) < len(content)
    assert content.startswith(got)
    assert "can't be read any further: compressed file ended" in file.err


@pytest.mark.parametrize("start", [b"\x1f\x8b\x08\x00", b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18"])
def test_damaged(log: Open, start: bytes) -> None:
    """What only begins like a compressed file is an error, none that ends anything else."""
    for rest in (b"", b"\xff" * 100):
        file = log(start + rest)
        list(file.pieces())
        assert "can't be read any further" in file.err


@pytest.mark.parametrize("compress", [lambda content: content, gzip.compress, zstandard.ZstdCompressor().compress])
def test_a_line_without_end_takes_no_memory(log: Open, engine: Engine, compress: Callable[[bytes], bytes]) -> None:
    """It is one message that is too long; the next one is read."""
    content = line(0, "a") + line(1, "b" * 8 * LINE_BYTES) + line(2, "c")
    file = log(compress(content))
    pieces = list(file.pieces())
    assert sum(len(lines) for _, lines in pieces) < 3 * LINE_BYTES
    now_ns = START_S * NS_PER_S
    for _, lines in pieces:
        engine.lines(0, "", lines, now_ns)
    changes = engine.changes(now_ns)
    engine.ack(changes.seq)
    assert {outcome: messages for _, outcome, messages, _ in changes.ledger} == {"unparsed": 2, "too_long": 1}


def test_what_is_there_is_read_at_once(log: Open) -> None:
    """Standard input may be a pipe that somebody writes to slowly."""
    pieces = log(line(0) * AGREEING, streaming=True).pieces()
    assert next(pieces)[0] == START_S


def test_files_that_can_not_be_opened(tmp_path: Path) -> None:
    """The message names the file."""
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(InputError, match=f"{path} can't be read: ") as caught:
            open_file(path)
        assert caught.value.exit_status == EX_NOINPUT


def test_a_file_that_breaks(engine: Engine) -> None:
    """A disk that fails in the middle ends this file only; at the start it is an error."""

    class Broken(io.RawIOBase):
        content = line(0) * 3

        def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
            if not self.content:
                raise OSError(5, "Input/output error")
            size, self.content = len(self.content), b""
            buffer[:size] = line(0) * 3
            return size

    broken = Broken()
    file = LogFile("a.log", broken, engine, near_ns=START_S * NS_PER_S, peer="")  # type: ignore[arg-type]
    assert len(seconds(file.pieces())) == 3
    assert file.err == "a.log can't be read any further: [errno 5] input/output error"
    with pytest.raises(InputError, match="can't be read: input/output error"):
        LogFile("a.log", broken, engine, near_ns=0, peer="")  # type: ignore[arg-type]
    file.close()
    assert broken.closed


def by_second(pieces: Iterable[tuple[int, bytes]]) -> dict[int, list[bytes]]:
    """The lines of each second, sorted; the seconds never fall."""
    found: dict[int, list[bytes]] = defaultdict(list)
    last = 0
    for second, lines in pieces:
        assert second >= last
        last = second
        found[second] += lines.splitlines()
    return {second: sorted(lines) for second, lines in found.items()}


@given(
    steps=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 3)), max_size=60),
    cuts=st.lists(st.integers(0, 60), max_size=4),
)
def test_merging_does_not_depend_on_the_files(log: Open, steps: list[tuple[int, int]], cuts: list[int]) -> None:
    """One file, one per device, or one cut into parts: each line counts at the same second."""
    second = 0
    lines: list[tuple[int, bytes]] = []
    for number, (step, device) in enumerate(steps):
        second += step
        lines.append((device, line(second, f"{device} {number}")))
    whole = by_second(log(b"".join(each for _, each in lines)).pieces())
    devices = [log(b"".join(each for of, each in lines if of == device)) for device in range(4)]
    assert by_second(merged(devices)) == whole
    borders = [0, *sorted(cuts), len(lines)]
    parts = [log(b"".join(each for _, each in lines[start:end])) for start, end in pairwise(borders)]
    assert by_second(merged(parts)) == whole


_LINES = st.one_of(
    st.integers(-20, 60).map(line),
    st.integers(0, 10).map(lambda second: line(30 * HOUR_S + second)),
    st.just(line(None, "goes on")),
    st.binary(max_size=40).map(lambda content: content.replace(b"\n", b"") + b"\n"),
)


@given(lines=st.lists(_LINES, max_size=40), block_bytes=st.integers(1, 400))
def test_any_bytes_in_any_blocks(log: Open, lines: list[bytes], block_bytes: int) -> None:
    """Garbage never raises and loses nothing, and where a block ends is no matter."""
    content = b"".join(lines)
    usual = log(b"\n" + content)
    want = by_second(usual.pieces())
    assert b"".join(lines for _, lines in log(b"\n" + content).pieces()) == b"\n" + content
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replay, "BLOCK_BYTES", block_bytes)
        file = log(b"\n" + content)
        assert by_second(file.pieces()) == want
    assert (file.off_time, file.without_time) == (usual.off_time, usual.without_time)
