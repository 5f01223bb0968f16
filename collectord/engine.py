"""The engine as the daemon uses it: plain Python values around the compiled module, which nobody else imports."""

import functools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar, overload

from collectord import _engine
from collectord.errors import EngineError
from collectord.model import (
    OUTCOMES,
    Changes,
    CounterDefinition,
    DeviceSighting,
    KeyState,
    LimitedPeer,
    UnreadGroup,
    Window,
    WindowKey,
)

FIELDS = _engine.FIELDS
BUILD = _engine.BUILD

if OUTCOMES != _engine.OUTCOMES:  # One vocabulary in two languages; a stale build must not mix up the ledger.
    raise ImportError("the compiled engine and collectord.model name different outcomes; build the engine again")


RESTORED_AT_ONCE = 1_024
"""Rows given back in a call: a reload does it while messages come in, and they wait for the call."""

Item = TypeVar("Item")
Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")


def _told(call: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """A panic of the engine as our own exception."""

    @functools.wraps(call)
    def telling(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        try:
            return call(*args, **kwargs)
        except _engine.EngineError as error:
            raise EngineError(*error.args) from error

    return telling


class PlanError(Exception):
    """The engine refuses a plan; ``problems`` lists everything as (dotted path in the plan, reason)."""

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        self.problems = list(problems)
        super().__init__("; ".join(f"{path}: {reason}" for path, reason in problems))


@dataclass(frozen=True, slots=True)
class Plan:
    """What the engine works with."""

    profiles: Sequence[dict[str, Any]]
    """The profiles' TOML, without the samples."""
    counters: Sequence[dict[str, Any]]
    """As ``detect.rules.plan`` makes them."""
    internal_networks: Sequence[str]
    listeners: Sequence[tuple[str, str, Sequence[str]]]
    """(name, site, networks whose datagrams are read: none for all); the engine numbers them in this order."""
    message_bytes: int
    unfinished_bytes: int
    rows_per_batch: int
    event_count: int
    relays: Sequence[str] = ()
    """Networks whose messages name their device in the header."""
    devices: Sequence[dict[str, Any]] = ()
    """The operator's table: ``name`` (an address, or a host behind a relay), ``site``, ``profile``."""
    peer_rate: int = 0
    """Datagrams per second that a peer may send, relays apart; 0: any number."""
    peer_burst: int = 1
    """Those that it may send at once."""

    def as_json(self) -> str:
        """The engine's form of it."""
        return json.dumps(
            {
                "profiles": [{k: v for k, v in profile.items() if k != "sample"} for profile in self.profiles],
                "counters": list(self.counters),
                "internal_networks": list(self.internal_networks),
                "relays": list(self.relays),
                "devices": list(self.devices),
                "listeners": [
                    {"name": name, "site": site, "allow": list(allow)} for name, site, allow in self.listeners
                ],
                "bounds": {
                    "message_bytes": self.message_bytes,
                    "unfinished_bytes": self.unfinished_bytes,
                    "rows_per_batch": self.rows_per_batch,
                    "event_count": self.event_count,
                    "peer_rate": self.peer_rate,
                    "peer_burst": self.peer_burst,
                },
            }
        )


class _Lazy(Sequence[Item]):
    """
    What the engine holds of a batch, made Python's one by one whenever it is asked for.

    A batch has some ten thousand rows. As a list they would keep the interpreter from everybody who receives until the
    last one is made, and the garbage collector busy.

    Args:
        raw: What the engine holds.
        make: Of a tuple of the engine; None: it is right as it is.
    """

    __slots__ = ("_make", "_raw")

    def __init__(self, raw: Sequence[Any], make: Callable[[Any], Item] | None = None) -> None:
        self._raw = raw
        self._make = make

    def __len__(self) -> int:
        return len(self._raw)

    def __iter__(self) -> Iterator[Item]:
        try:
            yield from self._raw if self._make is None else map(self._make, self._raw)
        except _engine.EngineError as error:
            raise EngineError(*error.args) from error

    @overload
    def __getitem__(self, place: int) -> Item: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Item]: ...

    @_told
    def __getitem__(self, place: int | slice) -> Item | Sequence[Item]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        found: Item = self._raw[place]
        return found if self._make is None else self._make(found)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(one == another for one, another in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(list(self))


def _key_state(row: tuple[Any, ...]) -> KeyState:
    counter, kind, site, *key, state, last_s = row
    return KeyState(counter, kind, site, tuple(key), state, last_s)


def _in_slices(rows: Sequence[Item]) -> Iterator[Sequence[Item]]:
    return (rows[start : start + RESTORED_AT_ONCE] for start in range(0, len(rows), RESTORED_AT_ONCE))


class Engine:
    """
    Reads messages and counts them; one call per batch, the GIL released.

    Args:
        plan: Profiles, counters and bounds.
        definitions: Of the plan's counters.

    Raises:
        PlanError: everything that is wrong in the plan.
        EngineError: any call: it met a bug of its own, and goes on without what the call was about.
    """

    @_told
    def __init__(self, plan: Plan, definitions: Iterable[CounterDefinition]) -> None:
        self._definitions = {definition.name: definition for definition in definitions}
        try:
            self._engine = _engine.Engine(plan.as_json())
        except _engine.PlanError as error:
            raise PlanError(error.args[0]) from error

    @_told
    def replan(self, plan: Plan, definitions: Iterable[CounterDefinition]) -> None:
        """
        Work with another plan from now on; streams stay, and so does what counters hold that count the same as before.

        The last batch must be acknowledged: it is handed over again only as far as its counters are still there.

        Raises:
            PlanError: everything that is wrong in it, or it has fewer listeners; the plan before is still at work.
        """
        found = {definition.name: definition for definition in definitions}
        try:
            self._engine.replan(plan.as_json())
        except _engine.PlanError as error:
            raise PlanError(error.args[0]) from error
        self._definitions = found

    @_told
    def receive(
        self, listener: int, fd: int, now_ns: int, budget: int, woken: list[tuple[bytes, str]]
    ) -> tuple[int, bool]:
        """Drain a datagram socket; returns datagrams taken (``woken`` included) and whether it was emptied."""
        return self._engine.receive(listener, fd, now_ns, budget, woken)

    @_told
    def lines(self, listener: int, peer: str, block: bytes, now_ns: int) -> int:
        """Read and count the lines of a block, blank ones left out; returns how many there were."""
        return self._engine.lines(listener, peer, block, now_ns)

    @_told
    def stretches(
        self, peer: str, block: bytes, near_ns: int, zone_offset_s: int | None
    ) -> list[tuple[int, int | None, int, int]]:
        """When the lines of a block were written: (end in the block, second, lines, those that say the time)."""
        return self._engine.stretches(peer, block, near_ns, zone_offset_s)

    @_told
    def connect(self, listener: int, peer: str, name: str = "") -> int:
        """
        A stream starts; returns its number.

        Args:
            listener: Its number in the plan.
            peer: Address of the other side.
            name: What the peer proved to be called, by a certificate: names the device where the message does not,
                and where the peer is no relay that names it. Empty: its address does.
        """
        return self._engine.connect(listener, peer, name)

    @_told
    def feed(self, stream: int, buffer: bytearray | memoryview, n: int, now_ns: int) -> int:
        """
        The first ``n`` bytes of ``buffer`` are the stream's next; returns how many frames they ended.

        Raises:
            EngineError: where the stream's frames end can't be told any more; its rest is counted, and it is known no
                longer.
        """
        return self._engine.feed(stream, buffer, n, now_ns)

    @_told
    def disconnect(self, stream: int, now_ns: int) -> int:
        """The stream ended: what was unfinished gets its outcome; returns how many frames that were."""
        return self._engine.disconnect(stream, now_ns)

    @_told
    def changes(self, now_ns: int) -> Changes:
        """What was counted since the last acknowledged batch, and each rule's windows as of ``now_ns``."""
        raw = self._engine.changes(now_ns)
        windows = tuple(
            Window(
                rule=window["rule"],
                start_ns=window["start_ns"],
                end_ns=window["end_ns"],
                closed=window["closed"],
                keys=tuple(WindowKey(site, tuple(key), count, error) for site, *key, count, error in window["keys"]),
            )
            for window in raw["windows"]
        )
        return Changes(
            seq=raw["seq"],
            now_ns=raw["now_ns"],
            rows={name: _Lazy(rows) for name, rows in raw["rows"].items()},
            ledger=raw["ledger"],
            devices=tuple(
                DeviceSighting(
                    site, name, peer, listener, profile, dict(zip(OUTCOMES, counts, strict=True)), last_ns, clock_off_ms
                )
                for site, name, peer, listener, profile, counts, last_ns, clock_off_ms in raw["devices"]
            ),
            quarantine=tuple(UnreadGroup(*group) for group in raw["quarantine"]),
            not_quarantined=raw["not_quarantined"],
            unmapped=raw["unmapped"],
            clamped=raw["clamped"],
            windows=windows,
            evicted=raw["evicted"],
            without_key=raw["without_key"],
            exempted=raw["exempted"],
            states=_Lazy(raw["states"], _key_state),
            evidence=tuple(_key_state(state) for state in raw["evidence"]),
            carried=raw["carried"],
            limited=tuple(LimitedPeer(*peer) for peer in raw["limited"]),
            panics=raw["panics"],
        )

    @_told
    def ack(self, seq: int) -> None:
        """The batch is stored."""
        self._engine.ack(seq)

    @_told
    def restore(self, counter: str, rows: Sequence[tuple[Any, ...]]) -> int:
        """Give a counter its rows of the open slots back, before the first message; returns how many were of use."""
        return sum(self._engine.restore(counter, some) for some in _in_slices(rows))

    @_told
    def restore_states(self, states: Iterable[KeyState]) -> int:
        """Give counters the states of their keys back, before the first message; returns how many were of use."""
        rows: dict[tuple[str, str], list[tuple[Any, ...]]] = {}
        for state in states:
            rows.setdefault((state.counter, state.kind), []).append((state.site, *state.key, state.state, state.last_s))
        return sum(
            self._engine.restore_states(counter, kind, some)
            for (counter, kind), of_kind in rows.items()
            for some in _in_slices(of_kind)
        )

    @_told
    def restart_windows(self, now_ns: int) -> None:
        """The wall clock was stepped: every open slot ends where it is and counting starts anew at ``now_ns``."""
        self._engine.restart_windows(now_ns)

    @_told
    def parse(self, message: bytes, peer: str | None = None) -> str:
        """Everything about one message as a JSON object."""
        return self._engine.parse(message, peer)
