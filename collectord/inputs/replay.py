"""
Log files as an input: their lines in blocks, each with the time at which its device wrote it.

A file is a stream, plain or compressed, and never in memory as a whole: a block of lines is read, the engine says when
they were written, and lines of the same second go on in one piece. Several files are merged in the order of time, so
that the logs of several devices come as they came then.

Each file has a clock, which never runs back: a line that says no time, or an earlier one, belongs to the line before
it. A time over an hour ahead is not followed until :data:`AGREEING` lines in a row agree on it within an hour: one line
may be broken or forged, and a clock that followed it could not come back. Lines that are found to agree count at the
new time, those that are not at the last sound one.
"""

import gzip
import heapq
import io
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

import zstandard

from collectord.errors import InputError
from collectord.model import NS_PER_S

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer as Buffer

BLOCK_BYTES = 256 * 1024
"""Read at once; a few thousand lines, so that what a block costs beside its lines does not matter."""

LINE_BYTES = 1024 * 1024
"""The most that a message may have in any configuration; of a longer line no more than this is kept."""

ZSTD_WINDOW_BYTES = 128 * 1024 * 1024
"""As much as ``zstd`` itself takes without being told to (``--long=27``)."""

ZSTD_STEP_BYTES = 1024
"""Decompressed at once: four bytes may stand for 128 KiB (RFC 8878 section 3.1.1.2.2), so this is 32 MiB at most."""

JUMP_S = 3_600
"""A time further ahead is not followed at once."""

AGREEING = 3
"""Lines in a row that it takes to follow: a broken event may come in two halves, three are no accident."""

HELD_BYTES = 4 * BLOCK_BYTES
"""What waits for lines that agree; more can only be lines without a time, which must not pile up."""

Piece = tuple[int, bytes]
"""Second (since 1970 UTC) and the lines that belong to it."""


class Engine(Protocol):
    """What is wanted of the engine."""

    def stretches(
        self, peer: str, block: bytes, near_ns: int, zone_offset_s: int | None
    ) -> list[tuple[int, int | None, int, int]]:
        """When the lines of a block were written: (end, second, lines, those that say the time)."""
        ...


class LogFile:
    """
    One file, or standard input.

    Args:
        name: What it is called where it is spoken of.
        stream: Its bytes as they are stored; what its first bytes say decides how they are read.
        engine: Reads the times.
        near_ns: When it was written last, about; it chooses the year of the first stamps that have none.
        peer: Address that the lines came from.
        utc_offset_s: Of devices that nothing is known of.
        read: Called with the stored bytes that were read since the last call.
        streaming: True: what is there is read at once, without waiting for a whole block.

    Raises:
        InputError: it can't be read.
    """

    def __init__(
        self,
        name: str,
        stream: BinaryIO,
        engine: Engine,
        *,
        near_ns: int,
        peer: str,
        utc_offset_s: int | None = None,
        read: Callable[[int], None] = lambda count: None,
        streaming: bool = False,
    ) -> None:
        self.name = name
        self.without_time = 0
        """Lines that say no time."""
        self.off_time = 0
        """Lines whose time was over an hour off and not believed."""
        self.err = ""
        """Why reading ended before the end; empty: it did not."""
        self._stream = stream
        self._engine = engine
        self._peer = peer
        self._near_ns = near_ns
        self._utc_offset_s = utc_offset_s
        self._now: int | None = None
        self._held: list[tuple[int | None, bytes, int]] = []
        self._candidate: int | None = None
        self._agreed = 0
        try:
            self._plain = _plain(io.BufferedReader(_Counted(stream, read), BLOCK_BYTES))
        except OSError as error:
            raise InputError(f"{name} can't be read: {(error.strerror or str(error)).lower()}") from error
        self._streaming = streaming

    def close(self) -> None:
        """Let go of the file."""
        self._plain.close()
        self._stream.close()

    def pieces(self) -> Iterator[Piece]:
        """The lines with their second, which never falls; what can't be read ends them, and ``err`` says why."""
        for block in self._blocks():
            yield from self._timed(block)
        yield from self._release(followed=self._now is None)

    def _blocks(self) -> Iterator[bytes]:
        """Whole lines; the last may lack its end, and so does a line that is too long, whose rest is left out."""
        rest = b""
        inside_long = False
        while chunk := self._chunk():
            if inside_long:
                _, ended, chunk = chunk.partition(b"\n")
                if not ended:
                    continue
                inside_long = False
            end = chunk.rfind(b"\n") + 1
            if end:
                yield rest + chunk[:end]
                rest = chunk[end:]
            else:
                rest += chunk
            if len(rest) > LINE_BYTES:
                yield rest
                rest = b""
                inside_long = True
        if rest:
            yield rest

    def _chunk(self) -> bytes:
        """Some bytes of the lines; none: there are no more, or no more that can be read."""
        parts: list[bytes] = []
        size = 0
        try:
            while not self.err and size < BLOCK_BYTES and (part := self._plain.read1(BLOCK_BYTES)):
                parts.append(part)
                size += len(part)
                if self._streaming:
                    break
        except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
            # What came before is as good as any.
            self.err = f"{self.name} can't be read any further: {str(error).lower()}"
        return b"".join(parts)

    def _timed(self, block: bytes) -> Iterator[Piece]:
        near_ns = self._near_ns if self._now is None else self._now * NS_PER_S
        open_from = reached = 0
        for end, second, lines, timed in self._engine.stretches(self._peer, block, near_ns, self._utc_offset_s):
            start, reached = reached, end
            self.without_time += lines - timed
            now = self._now
            if second is None and (self._held or now is None):
                # A line without a time goes with the one before it, wherever that will belong.
                yield from self._hold(None, block[start:end], lines)
                open_from = end
            elif second is not None and (now is None or second > now + JUMP_S):
                if now is not None and open_from < start:
                    yield now, block[open_from:start]
                yield from self._hold(second, block[start:end], timed)
                open_from = end
            elif second is not None and now is not None:
                yield from self._release(followed=False)
                if second < now - JUMP_S:
                    self.off_time += timed
                if second > now:
                    if open_from < start:
                        yield now, block[open_from:start]
                    open_from = start
                    self._now = second
        if self._now is not None and open_from < len(block):
            yield self._now, block[open_from:]

    def _hold(self, second: int | None, lines: bytes, count: int) -> Iterator[Piece]:
        """Lines over an hour ahead, or at the start of the file, wait for others that agree with them."""
        if second is not None:
            if self._candidate is None or abs(second - self._candidate) > JUMP_S:
                # Whatever is found to be right, those before are not.
                self.off_time += sum(waiting for at, _, waiting in self._held if at is not None)
                self._held = [(None, waiting, 0) for _, waiting, _ in self._held]
                self._agreed = 0
            self._candidate = second
            self._agreed += count
        self._held.append((second, lines, count))
        if self._agreed >= AGREEING:
            yield from self._release(followed=True)
        elif sum(len(waiting) for _, waiting, _ in self._held) > HELD_BYTES:
            yield from self._release(followed=self._now is None)

    def _release(self, *, followed: bool) -> Iterator[Piece]:
        """What was held counts at its own time if that is followed, else at the last sound one."""
        if not self._held:
            return
        held, self._held = self._held, []
        self._candidate, self._agreed = None, 0
        if self._now is None:
            # The clock starts with the first line that says the time, or if none does with what is known of the file.
            self._now = next((second for second, _, _ in held if second is not None), self._near_ns // NS_PER_S)
        for second, lines, count in held:
            if second is not None and followed:
                self._now = max(self._now, second)
            elif second is not None:
                self.off_time += count
            yield self._now, lines


def open_file(path: Path) -> tuple[BinaryIO, int]:
    """
    A file to read, and when it was changed last (ns since 1970 UTC).

    Raises:
        InputError: it can't be opened.
    """
    try:
        stream = path.open("rb", buffering=0)
        return cast(BinaryIO, stream), path.stat().st_mtime_ns
    except OSError as error:
        raise InputError(f"{path} can't be read: {(error.strerror or str(error)).lower()}", missing=True) from error


def merged(files: Iterable[LogFile]) -> Iterator[Piece]:
    """The lines of all files in the order of their seconds; within a second file by file, in the order given."""
    return heapq.merge(*(file.pieces() for file in files), key=lambda piece: piece[0])


class _Counted(io.RawIOBase):
    """A stream that tells how much of it was read. It stays open when this is closed."""

    def __init__(self, stream: BinaryIO, read: Callable[[int], None]) -> None:
        # Of a buffered stream what is there, without waiting for more.
        self._readinto = getattr(stream, "readinto1", None) or stream.readinto  # type: ignore[attr-defined]
        self._told = read

    def readable(self) -> bool:
        """It is there to be read."""
        return True

    def readinto(self, buffer: "Buffer", /) -> int:
        """As of any raw stream."""
        count = int(self._readinto(buffer) or 0)
        self._told(count)
        return count


class _Plain(Protocol):
    """What is in a file."""

    def read1(self, size: int, /) -> bytes:
        """At most so many bytes, with as few reads as possible; none at the end."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


def _plain(stored: io.BufferedReader) -> _Plain:
    """What is in a file that may be compressed, by its first bytes (RFC 1952 section 2.3.1, RFC 8878 section 3.1.1)."""
    start = stored.peek(4)
    if start.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=stored)
    # Skippable frames may come first (RFC 8878 section 3.1.2).
    if start.startswith(b"\x28\xb5\x2f\xfd") or (start[1:4] == b"\x2a\x4d\x18" and start[0] & 0xF0 == 0x50):
        return io.BufferedReader(_Zstandard(stored), BLOCK_BYTES)
    return stored


class _Zstandard(io.RawIOBase):
    """
    The frames of a file one after the other.

    The library's own reader takes a file that was cut for one that has ended; this one does not.
    """

    def __init__(self, stored: io.BufferedReader) -> None:
        self._stored = stored
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES)
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._unread = b""
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        """It is there to be read."""
        return True

    def readinto(self, buffer: "Buffer", /) -> int:
        """As of any raw stream; EOFError if a frame has no end."""
        room = memoryview(buffer)
        while not self._ready:
            stored = self._unread or self._stored.read1(ZSTD_STEP_BYTES)
            if not stored:
                if self._frame is not None:
                    raise EOFError("compressed file ended inside a frame")
                return 0
            frame = self._frame = self._frame or self._decompressor.decompressobj()
            self._ready, self._unread = memoryview(frame.decompress(stored)), b""
            if frame.eof:
                self._frame, self._unread = None, frame.unused_data
        count = min(len(room), len(self._ready))
        room[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count
