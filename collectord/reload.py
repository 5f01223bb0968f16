"""
Takes up a changed configuration while the daemon runs: all that it names, or nothing of it.

Reading and checking is done in a thread of its own, so that messages come in meanwhile; the change itself on the
store's thread, between two passes. Whatever is wrong is kept for ``collectord status``, and what was in force stays so.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from collectord import config as configuration
from collectord import log as logs
from collectord.actions import Actions, user_name
from collectord.clock import Clock
from collectord.config import Config
from collectord.detect.alerts import AlertStates
from collectord.errors import CertificateError, ConfigError, EngineError, Problem, StoreError
from collectord.model import NS_PER_S, rfc3339
from collectord.plan import Setup
from collectord.sdnotify import Notifier
from collectord.store import audit
from collectord.store.db import Database
from collectord.store.writer import Writer
from collectord.tick import Tick
from collectord.toml import KeyPath

log = logs.get()

TAKEN_UP = frozenset(
    (
        "internal_networks", "port_watchlist", "hosts", "profiles_dir", "rules_dir", "relays", "device", "learn_until",
        "log", "alerts", "store", "listener", "output", "snmp", "bounds.message", "bounds.keys_per_counter",
        "bounds.event_count", "bounds.peer_rate", "bounds.peer_burst", "bounds.tcp_connections",
        "bounds.tcp_connections_per_peer", "bounds.tcp_idle",
    )
)  # fmt: skip
"""Keys, or the tables they stand in, that a running daemon can take up; all others need a restart."""

KEPT_PROBLEMS = 50
"""Of a refused configuration, for whoever asks; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Reload:
    """What became of a changed configuration."""

    at_ns: int
    who: str
    path: str
    """The configuration file; empty where the daemon has none."""
    elapsed_s: float
    problems: tuple[Problem, ...]
    """The first ones; none: it was taken up."""
    left_out: int
    """Further problems."""

    @property
    def taken(self) -> bool:
        """Whether it is in force."""
        return not self.problems

    @property
    def count(self) -> str:
        """How many problems there are, in words."""
        number = len(self.problems) + self.left_out
        return f"{number} problem{'' if number == 1 else 's'}"

    def as_json(self) -> dict[str, Any]:
        """As commands get it."""
        return {
            "time": rfc3339(self.at_ns),
            "taken": self.taken,
            "who": self.who,
            "config": self.path or None,
            "elapsed_s": round(self.elapsed_s, 3),
            "problems": [asdict(problem) for problem in self.problems],
            "problems_left_out": self.left_out,
        }


class Part(Protocol):
    """What of the daemon has more to do for another setup than to look at it."""

    async def prepare(self, setup: Setup) -> Setup:
        """
        Get all that might fail, and change nothing yet; the setup may come back completed.

        Raises:
            ConfigError: it can't be had.
            CertificateError: a file of TLS can't be used.
        """

    def dismiss(self) -> None:
        """What was prepared is not taken up."""

    def take_up(self, setup: Setup) -> None:
        """It is in force; on the store's thread, between two passes."""

    async def change(self, setup: Setup) -> None:
        """Let go of what is gone, and begin with what is new."""


class Reloader:
    """
    Does it, one time after the other.

    Args:
        load: Reads and checks everything; raises ConfigError.
        path: The configuration file that ``load`` reads, for places of problems and for people.
        tick: Knows what is in force, and takes up what is not.
        states: The alerts, which may lose their ground.
        actions: Holds what operators added.
        database: The writing side, for the audit.
        writer: The store's thread.
        notifier: Tells the service manager.
        clock: The time.
        wake: Called when outputs may have something to do.
        parts: What else takes part, in this order.
    """

    def __init__(
        self,
        load: Callable[[], Setup],
        path: Path | None,
        *,
        tick: Tick,
        states: AlertStates,
        actions: Actions,
        database: Database,
        writer: Writer,
        notifier: Notifier,
        clock: Clock,
        wake: Callable[[], None],
        parts: Sequence[Part] = (),
    ) -> None:
        self._load = load
        self._path = path
        self._tick = tick
        self._states = states
        self._actions = actions
        self._database = database
        self._writer = writer
        self._notifier = notifier
        self._clock = clock
        self._wake = wake
        self._parts = parts
        self._one_at_a_time = asyncio.Lock()
        self.last: Reload | None = None
        """The newest; None before the first."""

    async def serve(self, asked: asyncio.Event) -> None:
        """Reload whenever ``asked`` is set (by SIGHUP), until cancelled; asked twice at a time, once is enough."""
        while True:
            await asked.wait()
            asked.clear()
            await self.reload("SIGHUP")

    async def answer(self, arguments: dict[str, Any], user: int) -> dict[str, Any]:
        """Reload for whoever asks on the control socket, and tell what became of it."""
        return (await self.reload(user_name(user))).as_json()

    async def reload(self, who: str) -> Reload:
        """Take up what the files say now; waits for one that is under way."""
        async with self._one_at_a_time:
            self._notifier.reloading()
            began_ns = self._clock.mono_ns()
            problems = await self._problems()
            self.last = Reload(
                at_ns=self._clock.now_ns(),
                who=who,
                path=str(self._path or ""),
                elapsed_s=(self._clock.mono_ns() - began_ns) / NS_PER_S,
                problems=tuple(problems[:KEPT_PROBLEMS]),
                left_out=len(problems[KEPT_PROBLEMS:]),
            )
            _tell(self.last)
            await self._note(self.last)
            self._notifier.ready()
            self._wake()
            return self.last

    async def _problems(self) -> Sequence[Problem]:
        """Do it; what keeps it from being done."""
        try:
            setup = await asyncio.to_thread(self._load)
        except ConfigError as error:
            return error.problems
        except EngineError as error:
            return self._problems_of(error)
        before = self._tick.setup.config
        if fixed := list(needs_restart(before, setup.config)):
            hint = "restart the daemon, or put the key back for now"
            return configuration.problems_at(self._path, fixed, "was changed, which needs a restart", hint)
        prepared: list[Part] = []
        try:
            for part in self._parts:
                setup = await part.prepare(setup)
                prepared.append(part)
            await self._writer.run(self._take_up, setup)
        except (CertificateError, ConfigError, EngineError, StoreError) as error:
            for part in prepared:
                part.dismiss()
            return self._problems_of(error)
        for part in self._parts:
            await part.change(setup)
        if setup.config.log != before.log:
            logs.setup(setup.config.log.level)
        return []

    def _problems_of(self, error: CertificateError | ConfigError | EngineError | StoreError) -> Sequence[Problem]:
        if isinstance(error, ConfigError):
            return error.problems
        where = self._tick.setup.config.database if isinstance(error, StoreError) else self._path or ""
        return [Problem(str(where), None, "", str(error))]

    def _take_up(self, setup: Setup) -> None:
        self._tick.take_up(setup)
        for part in self._parts:
            part.take_up(setup)
        alerts = setup.config.alerts
        self._states.holds.set_limits(
            learn_until_ns=setup.config.learn_until_ns,
            storm_cap=alerts.storm_cap,
            storm_window_s=alerts.storm_window_s,
        )
        self._actions.resolve()
        now_ns = self._clock.now_ns()
        told = self._states.reconcile(setup.rules, setup.watchlist, now_ns, setup.hosts, anew=self._tick.begun)
        self._tick.reconcile(told)

    async def _note(self, reload: Reload) -> None:
        what = "taken" if reload.taken else f"refused: {reload.count}"
        try:
            await self._writer.run(self._audit, reload, what)
        except StoreError as error:
            log.error("the audit is not written", err=str(error))

    def _audit(self, reload: Reload, what: str) -> None:
        with self._database.transaction("write the audit") as connection:
            audit.add(connection, reload.at_ns, reload.who, "reload", reload.path, what)


def _tell(reload: Reload) -> None:
    if reload.taken:
        log.info("configuration taken up", path=reload.path, elapsed_s=round(reload.elapsed_s, 3))
        return
    log.error("configuration refused; what was in force stays so", path=reload.path, count=len(reload.problems))
    for problem in reload.problems:
        log.error("wrong in the configuration", reason=str(problem))


def needs_restart(before: Config, after: Config) -> Iterator[KeyPath]:
    """The keys in which two configurations differ, and which a running daemon can't take up."""
    # Under the names that they have in the file.
    for key in _differences(before.model_dump(by_alias=True), after.model_dump(by_alias=True)):
        names = [name for name in key if isinstance(name, str)]
        if not any(".".join(names[:length]) in TAKEN_UP for length in range(1, len(names) + 1)):
            yield key


def _differences(before: Any, after: Any, at: KeyPath = ()) -> Iterator[KeyPath]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in dict.fromkeys((*before, *after)):
            yield from _differences(before.get(name), after.get(name), (*at, name))
    elif _named(before) and _named(before) == _named(after):
        for number, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from _differences(one, other, (*at, number))
    elif before != after:
        yield at


def _named(tables: Any) -> list[tuple[Any, Any]]:
    """Types and names of tables, which tell them apart; nothing where they are no tables."""
    if not isinstance(tables, list | tuple) or not all(isinstance(table, Mapping) for table in tables):
        return []
    return [(table.get("type"), table.get("name")) for table in tables]
