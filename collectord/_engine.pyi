"""The compiled engine. Only ``collectord.engine`` imports it."""

from collections.abc import Sequence
from typing import Any, final

OUTCOMES: tuple[str, ...]
"""Names of the outcomes, in the engine's order."""
FIELDS: tuple[str, ...]
"""Names of the ASIM fields that the engine knows."""
BUILD: str
"""``release`` or ``debug``."""

class PlanError(ValueError):
    """A plan is wrong; ``args[0]`` is a list of (dotted path, reason)."""

class EngineError(RuntimeError):
    """
    Any call: the engine panicked, and goes on without what the call was about; ``args[0]`` says where.

    Of ``feed``: ``args[1]`` is how many frames ended before; the stream is known no longer.
    """

@final
class Rows(Sequence[tuple[Any, ...]]):
    """
    The rows of a counter in a batch: (slot, site, key columns..., EventCount, messages, error), made one by one.

    That of evicted keys has the site ``*``, and empty texts and ports of 0 as key columns.
    """

    def __len__(self) -> int: ...
    def __getitem__(self, place: int) -> tuple[Any, ...]: ...  # type: ignore[override]

@final
class States(Sequence[tuple[Any, ...]]):
    """
    The states of a batch: (counter, kind, site, key columns..., JSON, last_s), made one by one.

    The JSON is empty for a key that is no longer held.
    """

    def __len__(self) -> int: ...
    def __getitem__(self, place: int) -> tuple[Any, ...]: ...  # type: ignore[override]

@final
class Engine:
    """
    Reads messages and counts them. Calls may come from any thread; each releases the GIL and waits for the others.

    ``now_ns`` is wall time, ns since 1970 UTC: the engine has no clock. ``listener`` is the number of a listener in the
    plan.
    """

    def __new__(cls, plan: str) -> Engine:
        """
        Args:
            plan: JSON with ``profiles`` (their TOML without the samples), ``counters``, ``internal_networks``,
                ``listeners`` and ``bounds``; ``collectord.engine.Plan`` makes it.

        Raises:
            PlanError: everything that is wrong in it.
        """

    def replan(self, plan: str) -> None:
        """Take up another plan; counters of the same definition keep what they hold. Raises as the constructor."""

    def receive(
        self, listener: int, fd: int, now_ns: int, budget: int, woken: list[tuple[bytes, str]]
    ) -> tuple[int, bool]:
        """
        Drain a datagram socket: parse and count what waits on ``fd``, at most ``budget`` datagrams.

        Args:
            woken: Datagrams of the same socket that the event loop has read already, each with its peer's host; they
                come first.

        Returns:
            Datagrams taken (those in ``woken`` included), and whether the socket was emptied.

        Raises:
            OSError: the socket can't be read.
        """

    def lines(self, listener: int, peer: str, block: bytes, now_ns: int) -> int:
        """
        Read and count the lines of a block of a log file; a blank line is no message.

        Args:
            peer: Whom they come from; no address: nobody.

        Returns:
            How many there were.
        """

    def stretches(
        self, peer: str, block: bytes, near_ns: int, zone_offset_s: int | None
    ) -> list[tuple[int, int | None, int, int]]:
        """
        When the lines of a block were written, by their header, else by a date in their text.

        Args:
            peer: Whom they come from; the header of a relay's lines names their device, whose zone may be known.
            near_ns: Chooses the year of stamps that have none.
            zone_offset_s: Zone (s east of UTC) where neither the stamp nor the table of devices tells it.

        Returns:
            Of lines one after the other with the same second: offset in the block of what follows, the second (since
            1970 UTC; None: no line so far says it), how many lines are not blank, how many of them say the time. A line
            that does not say it belongs to the one before.
        """

    def connect(self, listener: int, peer: str, name: str = "") -> int:
        """A stream starts; returns its number. ``name``: what its peer proved to be called."""

    def feed(self, stream: int, buffer: bytearray | memoryview, n: int, now_ns: int) -> int:
        """The first ``n`` bytes of ``buffer`` are the stream's next; returns how many frames they ended."""

    def disconnect(self, stream: int, now_ns: int) -> int:
        """The stream ended: what was unfinished gets its outcome; returns how many frames that were."""

    def changes(self, now_ns: int) -> dict[str, Any]:
        """
        What was counted since the last acknowledged batch, and each rule's windows as of ``now_ns``.

        Returns:
            ``seq``, ``now_ns``; ``rows``: :class:`Rows` per counter; ``states``: :class:`States`; ``evidence``: those
            of the states that are of this kind; ``ledger``: (listener, outcome,
            messages, bytes); ``devices``: (site, name, peer, listener, profile, messages by outcome, last_ns,
            clock_off_ms); ``quarantine``: (listener, peer, profile, shape, messages, example, last_ns);
            ``not_quarantined``;
            ``unmapped``: (profile, source, word, messages); ``clamped``; ``windows``: ``rule``, ``start_ns``,
            ``end_ns``, ``closed`` and ``keys`` as (site, key columns..., sum, error); ``evicted``, ``without_key``
            and ``exempted`` per counter; ``carried``; ``limited``: (peer, listener, since_ns, dropped, ended) of at
            most 100 peers over their rate, most dropped first. One that ended is told once; ``panics`` since the last
            call, this one included, messages apart: where there are any, windows or rows may lack.
        """

    def ack(self, seq: int) -> None:
        """The batch ``seq`` is stored; until then its rows, states and ledger are handed over again."""

    def restore(self, counter: str, rows: Sequence[tuple[Any, ...]]) -> int:
        """Give a counter its rows of the open slots back, before the first message; returns how many were of use."""

    def restore_states(self, counter: str, kind: str, rows: Sequence[tuple[Any, ...]]) -> int:
        """
        Give a counter its keys' states of one kind back, before the first message.

        Args:
            rows: (site, key columns..., JSON, last_s).

        Returns:
            How many were of use.
        """

    def restart_windows(self, now_ns: int) -> None:
        """The wall clock was stepped: every open slot ends where it is and counting starts anew at ``now_ns``."""

    def parse(self, message: bytes, peer: str | None = None) -> str:
        """Everything about one message as a JSON object (design: the ``parse`` command)."""
