"""
The listeners at work; a reload adds, removes and changes them meanwhile.

All or nothing: what is new is bound before anything is taken up. A listener whose address stays is not touched; one
that goes reads what it has first. The engine knows listeners by number, and numbers stay: a listener that is new gets
one that nobody has any more, or the next.
"""

import asyncio
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from collectord import assembly, open_files, settings
from collectord.activation import Inherited
from collectord.clock import Clock
from collectord.config import Config
from collectord.engine import Engine
from collectord.errors import CertificateError, ConfigError, ListenError, Problem
from collectord.inputs import own_certificate
from collectord.inputs.own_certificate import Loaded
from collectord.inputs.stream import TcpListener
from collectord.inputs.tls import TlsListener
from collectord.inputs.udp import UdpListener
from collectord.plan import Setup
from collectord.settings import Listener

AnyListener = UdpListener | TcpListener


class Listening:
    """
    Makes the listeners, runs them, and changes them.

    Args:
        setup: Says what they are.
        engine: Reads what comes.
        clock: The time.
        inherited: Sockets of the service manager.

    Raises:
        ConfigError: one of those belongs to no listener.
        CertificateError: a file of TLS can't be used.
    """

    def __init__(self, setup: Setup, engine: Engine, clock: Clock, inherited: Sequence[Inherited] = ()) -> None:
        self._engine = engine
        self._clock = clock
        self.listeners: list[AnyListener] = list(assembly.listeners(setup.config, engine, clock, inherited))
        """In the order of the configuration; the same list for ever."""
        self._rows = list(setup.plan.listeners)
        self._numbers = {listener: number for number, listener in enumerate(self.listeners)}
        self._told: dict[AnyListener, Listener] = dict(zip(self.listeners, setup.config.listener, strict=True))
        self._group: asyncio.TaskGroup | None = None
        self._tasks: dict[AnyListener, asyncio.Task[None]] = {}
        self._next: dict[AnyListener, tuple[int, Listener]] = {}
        """What a reload is about to bring, in the order of the configuration."""
        self._certificates: dict[str, Loaded] = {}
        """What the TLS listeners are to show then, by name."""

    def bind(self) -> None:
        """
        Take all addresses.

        Raises:
            ListenError: one can't be had.
        """
        self._make_room(self.listeners)
        for listener in self.listeners:
            listener.bind()

    def close(self) -> None:
        """Give the addresses back; may be called twice."""
        for listener in self.listeners:
            listener.close()

    async def run(self) -> None:
        """Read until cancelled; each listener then ends gracefully."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            for listener in self.listeners:
                self._start(listener)

    def _start(self, listener: AnyListener) -> None:
        if self._group is not None:
            self._tasks[listener] = self._group.create_task(listener.serve())

    async def prepare(self, setup: Setup) -> Setup:
        """
        Bind what is new of another setup; nothing else changes yet.

        Returns:
            The setup with the listeners under the engine's numbers.

        Raises:
            ConfigError: an address can't be had, or a socket of the service manager would be read by nobody.
            CertificateError: a file of TLS can't be used.
        """
        self._certificates = await asyncio.to_thread(_certificates, setup.config)
        kept = {self._key(listener, told): listener for listener, told in self._told.items()}
        wanted = [(told, kept.get(self._wanted_key(told, kept))) for told in setup.config.listener]
        staying = {listener for _, listener in wanted if listener is not None}
        heirs = self._heirs(wanted, [listener for listener in self.listeners if listener not in staying])
        gone = [listener for listener in self.listeners if listener not in staying and listener not in heirs.values()]
        if left := [listener for listener in gone if listener.inherited]:
            names = ", ".join(listener.name for listener in left)
            reason = f"systemd holds the sockets of {names}, which nobody would read"
            raise ConfigError([Problem("configuration", None, "listener", reason, "disable the socket unit, restart")])
        free = iter([number for number in range(len(self._rows)) if number not in self._numbers.values()])
        following = len(self._rows)
        self._next = {}
        try:
            for told, listener in wanted:
                if listener is None:
                    number = next(free, following)
                    following += number == following
                    listener = assembly.listener(setup.config, told, number, self._engine, self._clock)
                    self._next[listener] = (number, told)
                    self._take_over(listener, heirs.get(told.name))
                    listener.bind()
                else:
                    self._next[listener] = (self._numbers[listener], told)
        except (ListenError, CertificateError) as error:
            self.dismiss()
            raise ConfigError([Problem("configuration", None, "listener", str(error))]) from error
        rows = dict(enumerate(self._rows))
        rows |= {number: (told.name, told.site, told.allow) for number, told in self._next.values()}
        return replace(setup, plan=replace(setup.plan, listeners=[rows[number] for number in sorted(rows)]))

    def _heirs(
        self, wanted: Sequence[tuple[Listener, AnyListener | None]], going: Sequence[AnyListener]
    ) -> dict[str, AnyListener]:
        """Whose sockets a new listener takes over, by its name: another type or name alone is no other address."""
        found: dict[str, AnyListener] = {}
        for told in [told for told, listener in wanted if listener is None]:
            for listener in going:
                before = self._told[listener]
                same = (
                    told.name == before.name
                    if listener.inherited
                    else told.port and (told.host, told.port) == (before.host, before.port)
                )
                if same and (told.type == "udp") == (before.type == "udp") and listener not in found.values():
                    found[told.name] = listener
                    break
        return found

    @staticmethod
    def _take_over(listener: AnyListener, other: AnyListener | None) -> None:
        if isinstance(listener, UdpListener) and isinstance(other, UdpListener):
            listener.take_over(other)
        elif isinstance(listener, TcpListener) and isinstance(other, TcpListener):
            listener.take_over(other)

    def dismiss(self) -> None:
        """What was prepared is not taken up."""
        for listener in self._next:
            if listener not in self._numbers:
                listener.close()
        self._next = {}

    def take_up(self, setup: Setup) -> None:
        """Nothing that the store's thread would have to do."""

    async def change(self, setup: Setup) -> None:
        """Read at what was prepared, and no longer at what is gone."""
        before, following, told_before = self.listeners[:], self._next, self._told
        self._next = {}
        self._rows = list(setup.plan.listeners)
        self._numbers = {listener: number for listener, (number, _) in following.items()}
        self._told = {listener: told for listener, (_, told) in following.items()}
        self.listeners[:] = list(following)
        for listener, (_, told) in following.items():
            if listener not in before:
                self._start(listener)
            elif isinstance(listener, UdpListener) and told.type == "udp" and told != told_before[listener]:
                listener.take_up(told.receive_buffer_bytes)
            if isinstance(listener, TcpListener) and not isinstance(told, settings.UdpListener):
                listener.take_up(**assembly.stream_bounds(setup.config, told))
            if isinstance(listener, TlsListener):
                listener.certificate.use(self._certificates[told.name])
        self._make_room(self.listeners)
        ended = [listener for listener in before if listener not in following]
        tasks = [self._tasks.pop(listener) for listener in ended if listener in self._tasks]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for listener in ended:
            listener.close()

    @staticmethod
    def _key(listener: AnyListener, told: Listener) -> tuple[str, str, str, int]:
        """What a listener is known by: with sockets of the service manager its name alone."""
        if listener.inherited:
            return (told.type, told.name, "", 0)
        return (told.type, told.name, told.host, told.port)

    @staticmethod
    def _wanted_key(told: Listener, kept: Mapping[tuple[str, str, str, int], AnyListener]) -> tuple[str, str, str, int]:
        inherited = (told.type, told.name, "", 0)
        return inherited if inherited in kept else (told.type, told.name, told.host, told.port)

    @staticmethod
    def _make_room(listeners: Iterable[AnyListener]) -> None:
        """Where the process may not have so many files open, each takes fewer connections than configured."""
        streams = [each for each in listeners if isinstance(each, TcpListener)]
        for each in streams:
            each.room = sys.maxsize
        asked = sum(each.limit for each in streams)
        if (room := open_files.make_room(asked)) < asked:
            for each in streams:
                each.room = max(1, room // len(streams))


def _certificates(config: Config) -> dict[str, Loaded]:
    """What the TLS listeners are to show, by name; also files that were renewed under the same names."""
    tls = [each for each in config.listener if isinstance(each, settings.TlsListener)]
    return {each.name: own_certificate.load(each.tls_files, each.verify_mode) for each in tls}
