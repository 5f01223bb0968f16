"""
Fuzzing what reads the wire, without a special compiler.

The contract, for every sequence of bytes: nothing raises and nothing panics; each message has exactly one outcome, and
the same however the stream was cut; the time is bounded. What guides the search is what the engine makes of a message
(outcome, profile, which fields): an input that brings something new is kept, and altered further.

A target is a reader of the engine, or what stands before all of them: the header, and the frames of a stream.
"""

import json
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from collectord import plan
from collectord.engine import Engine
from collectord.model import OUTCOMES

from ..property.conftest import TOKEN, VALUES

NOW_NS = 1_800_000_000_000_000_000
CORPUS = Path(__file__).parent / "corpus"

READERS = ("kv", "csv", "cef", "leef", "json", "xml", "template")
TARGETS = (*READERS, "header", "frame")

MESSAGE_BYTES = 65_536
"""The bound of the default configuration: what is longer never reaches a reader."""

MESSAGE_CPU_S = 0.5
"""Of one thread, for a message of 64 KiB; the slowest takes a hundredth of it."""

POOL = 2_000
"""Inputs that are altered further."""

POOL_BYTES = 4_096
"""Longer ones are looked at, and cost too much to look at again and again."""

KEPT_LINES = 40
KEPT_BYTES = 400
"""Of a corpus file: enough of each kind, in an order that a person can read."""

STREAM_EVERY = 50
"""Inputs that go through a stream together, whole and cut."""

HEADERS = (
    b"", b"<13>", b"<189>1 2026-11-22T10:20:30.123Z fw1 app 1 ID - ", b"<134>Nov 22 10:20:30 fw1 app[1]: ",
    b"<134>Nov 22 2026 10:20:30 fw1 : ", b"<134>1763806830 ", b"<0>:Nov 22 10:20:30.123 UTC: ", b"<189>: fw1: ",
    b'<165>1 - - - - - [a@32473 b="c\\"d"][e] ', b"<46>Nov  2 10:20:30 10.0.0.1 ", b"<191>*", b"<999>", b"<1",
    b"\xef\xbb\xbf", b"123: Nov 22 10:20:30.000: ",
)  # fmt: skip
FRAMES = (
    b"\n",
    b"\r\n",
    b"\0",
    b" ",
    b"0 ",
    b"12 ",
    b"65536 ",
    b"65537 ",
    b"99999999999 ",
    b"-1 ",
    b"1",
    b"<",
    b"5 ab\n",
)


class BrokenError(AssertionError):
    """The contract does not hold for an input."""


@dataclass(slots=True)
class Report:
    """What a run did."""

    inputs: int = 0
    kinds: int = 0
    """Different things that the engine made of them."""
    kept: int = 0
    """Inputs that were added to the corpus."""


def shown(message: bytes) -> str:
    """An input as a line of a corpus file."""
    return message.decode("latin-1").encode("unicode_escape").decode("ascii")


def read(line: str) -> bytes:
    """The input of such a line."""
    return line.encode("ascii").decode("unicode_escape").encode("latin-1")


@dataclass(slots=True)
class Fuzzer:
    """
    Alters inputs of one target and looks what becomes of them.

    Args:
        target: One of TARGETS.
        setup: Profiles and rules.
        chance: Decides everything, so that a seed tells all.
        corpus: The folder of the kept inputs.
    """

    target: str
    setup: plan.Setup
    chance: random.Random
    corpus: Path = CORPUS
    _engine: Engine = field(init=False)
    _pool: list[bytes] = field(init=False)
    _kinds: set[object] = field(init=False, default_factory=set)

    def __post_init__(self) -> None:
        self._engine = self.setup.engine()
        self._pool = [*self.seeds(), *self.kept()]

    def seeds(self) -> list[bytes]:
        """The samples of the reader's profiles; headers and frames take those of all."""
        return [
            sample["raw"].encode()
            for document in self.setup.profiles
            for sample in document.values["sample"]
            if self.target not in READERS or document.values["reader"] == self.target
        ]

    def kept(self) -> list[bytes]:
        """The corpus: what once broke the contract, and inputs of many kinds."""
        path = self._path
        return [read(line) for line in path.read_text("ascii").splitlines()] if path.exists() else []

    def replay(self) -> Report:
        """Look at seeds and corpus as they are."""
        report = Report()
        for message in list(self._pool):
            self._look(message, report)
        self._stream(self._pool, report)
        return report

    def run(self, inputs: int = 0, seconds: float = 0, *, keep: bool = False) -> Report:
        """So many altered inputs, or for so long; with ``keep`` those of a new kind are added to the corpus."""
        report = self.replay()
        ends_s, batch, new = time.monotonic() + seconds, list[bytes](), list[bytes]()
        while report.inputs < inputs or time.monotonic() < ends_s:
            message = self._altered()
            if self._look(message, report):
                new.append(message)
                if len(message) > POOL_BYTES:
                    pass
                elif len(self._pool) < POOL:
                    self._pool.append(message)
                else:
                    self._pool[self.chance.randrange(POOL)] = message
            batch.append(message)
            if len(batch) == STREAM_EVERY:
                self._stream(batch, report)
                batch.clear()
        if keep:
            report.kept = self._keep([message for message in new if len(message) <= KEPT_BYTES])
        return report

    def _look(self, message: bytes, report: Report) -> bool:
        """Parse it; whether something new came of it."""
        report.inputs += 1
        if len(message) > MESSAGE_BYTES:
            return False
        began_s = time.thread_time()
        try:
            answer = json.loads(self._engine.parse(message, self.chance.choice(("192.0.2.1", None))))
        except Exception as error:
            raise self._broken(message, f"it raised {error!r}") from error
        elapsed_s = time.thread_time() - began_s
        if elapsed_s > MESSAGE_CPU_S:
            raise self._broken(message, f"it took {elapsed_s:.3f} s for {len(message)} bytes")
        outcome, sessions = answer["Outcome"], answer["Sessions"]
        if outcome not in OUTCOMES or outcome == "panic" or bool(sessions) != (outcome == "session"):
            raise self._broken(message, f"its outcome is {outcome} with {len(sessions)} sessions")
        header = answer["Header"] if self.target in ("header", "frame") else {}
        kind = (
            outcome, answer["Profile"], min(len(sessions), 3), frozenset(sessions[0]) if sessions else None,
            frozenset(name for name, value in header.items() if value),
        )  # fmt: skip
        if kind in self._kinds:
            return False
        self._kinds.add(kind)
        report.kinds = len(self._kinds)
        return True

    def _stream(self, messages: list[bytes], report: Report) -> None:
        """As a connection: the same outcomes however it was cut, and one for each frame."""
        wire = b"".join(self._framed(message) for message in messages)
        whole = self._fed(wire, [len(wire)])
        places = sorted(self.chance.randrange(len(wire) + 1) for _ in range(self.chance.randrange(1, 40)))
        if self._fed(wire, [*places, len(wire)]) != whole:
            raise self._broken(wire, f"cut at {places} it gives other outcomes")
        if whole["panic"]:
            raise self._broken(wire, "the engine panicked")

    def _fed(self, wire: bytes, ends: list[int]) -> Counter[str]:
        stream, ended, start = self._engine.connect(1, "192.0.2.1"), 0, 0
        for end in ends:
            piece = bytearray(wire[start:end])
            ended += self._engine.feed(stream, piece, len(piece), NOW_NS)
            start = end
        ended += self._engine.disconnect(stream, NOW_NS)
        ledger: Counter[str] = Counter()
        while True:
            changes = self._engine.changes(NOW_NS)
            for _, outcome, count, _ in changes.ledger:
                ledger[outcome] += count
            self._engine.ack(changes.seq)
            if not changes.carried:
                break
        if ledger.total() != ended:
            raise self._broken(wire, f"{ended} frames ended, {ledger.total()} have an outcome")
        return ledger

    def _framed(self, message: bytes) -> bytes:
        if self.target == "frame" and self.chance.randrange(4) == 0:
            return self.chance.choice(FRAMES) + message + self.chance.choice(FRAMES)
        if self.chance.randrange(2):
            return b"%d %s" % (len(message), message)
        return message.replace(b"\n", b" ") + b"\n"

    def _altered(self) -> bytes:
        message = self.chance.choice(self._pool)
        if self.target == "header":
            message = self.chance.choice(HEADERS) + (message if self.chance.randrange(2) else message[:40])
        for _ in range(self.chance.randrange(1, 5)):
            message = self._changed(message)
        return message

    def _changed(self, message: bytes) -> bytes:
        chance = self.chance
        # The header is what its readers look at, and short.
        reach = min(len(message), 60) if self.target == "header" else len(message)
        at = chance.randrange(reach + 1)
        match chance.randrange(9):
            case 0:
                return message[:at] + bytes([chance.randrange(256)]) + message[at + 1 :]
            case 1:
                return message[:at] + chance.choice(VALUES) + message[at:]
            case 2:
                return message[:at] + message[at + chance.randrange(1, 20) :]
            case 3:
                return message[:at]
            case 4:
                piece = message[at : at + chance.randrange(1, 40)]
                return message[:at] + piece + message[at:]
            case 5:
                piece = message[at : at + chance.randrange(1, 8)]
                return (message[:at] + piece * chance.choice((10, 100, 5000)) + message[at:])[:MESSAGE_BYTES]
            case 6:
                other = chance.choice(self._pool)
                return message[:at] + other[chance.randrange(len(other) + 1) :]
            case 7:
                tokens = TOKEN.findall(message)
                if tokens:
                    tokens[chance.randrange(len(tokens))] = chance.choice(VALUES)
                return b"".join(tokens)
            case _:
                return message[:at] + b"%d" % chance.getrandbits(chance.choice((4, 8, 16, 32, 65))) + message[at:]

    def _broken(self, message: bytes, why: str) -> BrokenError:
        """Kept before it is told: an input that was found once is never lost."""
        self._keep([message], bound=False)
        return BrokenError(f"{self.target}: {why}; it is the last line of {self._path}")

    def _keep(self, messages: list[bytes], *, bound: bool = True) -> int:
        lines = self._path.read_text("ascii").splitlines() if self._path.exists() else []
        room = max(KEPT_LINES - len(lines), 0) if bound else len(messages)
        new = [line for message in messages if (line := shown(message)) not in lines][:room]
        if new:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_text("".join(f"{line}\n" for line in [*lines, *new]), "ascii")
        return len(new)

    @property
    def _path(self) -> Path:
        return self.corpus / f"{self.target}.txt"
