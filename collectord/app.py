"""
The composition root: builds the stages from the setup, starts and stops them in order. No logic of its own.

Start: database, engine with what the database holds of open slots, sockets, then everything at once. Stop: the
listeners first (what the kernel holds is still read), then a last tick, then the outputs with a bounded flush, then the
database.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from collectord import backup, open_files, settings
from collectord.actions import Action, Actions, user_name
from collectord.activation import Inherited
from collectord.clock import Clock, SystemClock
from collectord.config import Config
from collectord.control import ControlServer, Handler
from collectord.deliveries import Deliveries
from collectord.detect.alerts import AlertStates
from collectord.detect.holds import Holds
from collectord.detect.silence import Silences
from collectord.detect.telling import nameless
from collectord.errors import EngineError, FullError, RequestError, StoreError
from collectord.health import Health
from collectord.inputs.stream import TcpListener
from collectord.inputs.udp import UdpListener
from collectord.listening import Listening
from collectord.liveness import Liveness
from collectord.model import NS_PER_S, Alert, Severity
from collectord.outputs.delivery import Output
from collectord.plan import Setup
from collectord.queueing import OutboxRequests, StoredOutbox
from collectord.reload import Reload, Reloader
from collectord.reverse_dns import Namer, Resolve, ReverseDns, Wanted, system_name
from collectord.sdnotify import Notifier
from collectord.status import DaemonStatus
from collectord.store import audit, quarantine
from collectord.store.db import Database
from collectord.store.outbox import Outbox
from collectord.store.queue import Queue
from collectord.store.writer import Writer
from collectord.tick import Tick

if TYPE_CHECKING:
    from collectord.http_server import HttpServer

log = structlog.get_logger()

TICK_S = 1.0

ROOM_EVERY_S = 2.0
"""Until it is looked again whether the disk has room for what a start needs."""

BACKUP_STEP_S = 120.0
"""Within that the next step of a backup is made, or its last bytes reach the disk."""


class App:
    """
    The daemon.

    Args:
        setup: All that it is told, checked.
        load: Reads and checks it anew, on SIGHUP and on command; None: it is never changed.
        path: The file that ``load`` reads.
        clock: The time; tests bring their own.
        outputs: In place of the configured ones, with the lowest severity that each takes.
        resolve: Asks for the name of an address, where the configuration wants names; tests bring their own.
        inherited: Sockets that the service manager handed over.
    """

    def __init__(
        self,
        setup: Setup,
        *,
        load: Callable[[], Setup] | None = None,
        path: Path | None = None,
        clock: Clock | None = None,
        outputs: Sequence[tuple[Output, Severity]] | None = None,
        resolve: Resolve = system_name,
        inherited: Sequence[Inherited] = (),
    ) -> None:
        self._setup = setup
        self._load = load or (lambda: setup)
        self._path = path
        self._reload = asyncio.Event()
        self._clock = SystemClock() if clock is None else clock
        self._given_outputs = outputs
        self._resolve = resolve
        self._inherited = inherited
        self._stop = asyncio.Event()
        self.started = asyncio.Event()
        """Set once every socket is open."""
        self.listeners: list[UdpListener | TcpListener] = []
        """In the order of the configuration."""
        self._broken: EngineError | None = None
        """Why the daemon ends by itself, once everything is saved."""
        self.http: HttpServer | None = None
        """Pages for monitoring; None: nobody wants them."""

    def stop(self) -> None:
        """Ask ``run`` to end gracefully."""
        self._stop.set()

    async def run(self) -> None:
        """
        Run until ``stop``, SIGTERM or SIGINT.

        Raises:
            CollectordError: the machine does not give what the daemon needs to start.
            EngineError: the engine does not recover from a bug; all that could be saved is.
        """
        config = self._setup.config
        with contextlib.ExitStack() as cleanup:
            # From the beginning: by default it would end the process.
            _on_signal(signal.SIGHUP, self._reload.set, cleanup)
            _make_folder(config.state_dir)
            notifier = cleanup.enter_context(Notifier.from_environment())
            database = cleanup.enter_context(contextlib.closing(await _open(config, notifier)))
            if database.moved_to is not None:
                log.error(
                    "database was damaged; it is moved aside and a new one started",
                    path=database.moved_to,
                    err=database.found,
                )
            writer = Writer()
            engine = self._setup.engine()
            holds = Holds(
                learn_until_ns=config.learn_until_ns,
                storm_cap=config.alerts.storm_cap,
                storm_window_s=config.alerts.storm_window_s,
            )
            silences = Silences([(each.site, each.name) for each in config.device], config.relays, self._clock.now_ns())
            states = AlertStates(
                self._setup.rules,
                self._setup.watchlist,
                holds=holds,
                hosts=self._setup.hosts,
                address_of=silences.address,
                known=lambda rule, site, name: health.known(rule, site, name),
            )
            deliveries = Deliveries(config, self._clock, active=lambda: states.active_count, given=self._given_outputs)
            queue = Queue(database, deliveries.policies)
            outbox = Outbox(database, queue)
            retain = partial(_retain, outbox, writer, self._clock)
            deliveries.connect(StoredOutbox(outbox, writer, self._clock), queue, retain)
            workers = deliveries.workers
            names = ReverseDns(self._resolve, mono_ns=self._clock.mono_ns)
            namer = Namer(names, lambda wanted, found: writer.run(tick.name, wanted.alert_id, wanted.episode, found))
            health = Health(
                self._setup.rules,
                silences,
                [listener.name for listener in config.listener],
                self._kernel_drops,
                deliveries.up,
                queue.take_dropped,
            )
            tick = Tick(
                self._setup,
                engine=engine,
                clock=self._clock,
                database=database,
                run=os.urandom(8).hex(),
                states=states,
                receivers=deliveries.wanted,
                health=health,
                raised=lambda alert: _ask_names(tick.setup, namer, alert),
                queue=queue,
            )
            await writer.run(tick.restore)
            actions = Actions(
                database=database,
                states=states,
                tick=tick,
                now_ns=self._clock.now_ns,
            )
            await writer.run(actions.restore)
            listening = Listening(self._setup, engine, self._clock, self._inherited)
            self.listeners = listening.listeners
            cleanup.callback(listening.close)
            asyncio.get_running_loop().set_exception_handler(open_files.tell_of_lack)
            listening.bind()
            await writer.run(queue.resume)
            await retain(deliveries.names)
            with contextlib.suppress(FullError):  # Done once there is room.
                await writer.run(outbox.retry_now)
            now_ns = self._clock.now_ns()
            told = states.reconcile(self._setup.rules, self._setup.watchlist, now_ns, anew=tick.begun)
            await writer.run(tick.reconcile, told)
            reloader = Reloader(
                self._load,
                self._path,
                tick=tick,
                states=states,
                actions=actions,
                database=database,
                writer=writer,
                notifier=notifier,
                clock=self._clock,
                wake=deliveries.wake,
                parts=(listening, deliveries),
            )
            status = DaemonStatus(
                self._clock,
                self.listeners,
                workers,
                tick,
                states,
                writer,
                outbox,
                lambda: reloader.last,
                deliveries.heartbeats,
            )
            pages = self._monitoring(config.http, tick, writer, lambda: reloader.last, deliveries)
            requests = OutboxRequests(tick, outbox, writer, workers, deliveries.wanted, self._clock, database)
            handlers = {name: _acting(action, writer, deliveries.wake) for name, action in actions.by_name.items()}
            control = ControlServer(
                config.control_socket,
                {
                    "status": status.answer,
                    "reload": reloader.answer,
                    "quarantine-forget": _forget(database, writer, self._clock),
                    **handlers,
                    **requests.handlers,
                },
            )
            await control.start()
            for number in (signal.SIGTERM, signal.SIGINT):
                _on_signal(number, self.stop, cleanup)
            try:
                await self._serve(writer, tick, listening, deliveries, status, notifier, namer, reloader, pages)
            finally:
                await control.stop()
                await writer.stop()
        if self._broken is not None:
            raise self._broken

    async def _serve(
        self,
        writer: Writer,
        tick: Tick,
        listening: Listening,
        deliveries: Deliveries,
        status: DaemonStatus,
        notifier: Notifier,
        namer: Namer,
        reloader: Reloader,
        monitoring: Sequence[Callable[[], Coroutine[Any, Any, None]]],
    ) -> None:
        async with asyncio.TaskGroup() as everything:
            everything.create_task(deliveries.run())
            async with asyncio.TaskGroup() as inputs:
                tasks = [inputs.create_task(listening.run())]
                tasks.append(inputs.create_task(self._ticks(writer, tick, deliveries, status, notifier)))
                tasks.append(inputs.create_task(namer.run()))
                tasks += [inputs.create_task(run()) for run in monitoring]
                tasks.append(inputs.create_task(reloader.serve(self._reload)))
                # Only now the sockets are really read: what connects before waits in the kernel.
                self._announce(notifier)
                await self._stop.wait()
                notifier.stopping()
                for task in tasks:
                    task.cancel()
            with contextlib.suppress(EngineError):  # Told before, where it is to be told.
                await writer.run(tick.run)
            deliveries.stop()
        log.info("stopped")

    async def _ticks(
        self, writer: Writer, tick: Tick, deliveries: Deliveries, status: DaemonStatus, notifier: Notifier
    ) -> None:
        retries = 0
        while True:
            try:
                queued = await writer.run(tick.run)
            except EngineError as error:
                log.critical("the daemon ends, to be started anew", err=str(error))
                self._broken = error
                self.stop()
                return
            if queued:
                deliveries.wake()
            if tick.retries > retries:
                retries = tick.retries
                deliveries.retry()
            notifier.status(status.line())
            notifier.watchdog()
            await asyncio.sleep(TICK_S - self._clock.now_ns() % NS_PER_S / NS_PER_S)

    def _monitoring(
        self,
        http: settings.Http,
        tick: Tick,
        writer: Writer,
        last_reload: Callable[[], Reload | None],
        deliveries: Deliveries,
    ) -> list[Callable[[], Coroutine[Any, Any, None]]]:
        """What serves the pages for monitoring, if they are wanted."""
        if not http.enabled:
            return []
        # They take a while to load, and memory.
        from collectord.http_server import HttpServer
        from collectord.metrics import Metrics

        liveness = Liveness(tick.counters, writer, self._clock.mono_ns)
        metrics = Metrics(
            self._clock, self.listeners, deliveries.workers, tick, last_reload, deliveries.heartbeats, liveness
        )
        self.http = HttpServer(
            http.host, http.port, quick={"/healthz": metrics.health}, pages={"/metrics": metrics.page}
        )
        return [liveness.run, self.http.run]

    def _kernel_drops(self) -> dict[str, int]:
        """Messages that the kernel dropped since the start, by listener."""
        return {each.name: each.kernel_drops() for each in self.listeners if isinstance(each, UdpListener)}

    def _announce(self, notifier: Notifier) -> None:
        for listener in self.listeners:
            for host, port in listener.addresses:
                log.info("listening", listener=listener.name, address=f"{host} port {port}")
        notifier.ready()
        self.started.set()


def _ask_names(setup: Setup, namer: Namer, alert: Alert) -> None:
    """Hands a raised alert on, with the addresses that the site has no names for."""
    if setup.config.alerts.reverse_dns:
        namer.ask(Wanted(alert.id, alert.episode, nameless(alert.key, alert.site, setup.hosts)))


def _acting(action: Action, writer: Writer, wake: Callable[[], None]) -> Handler:
    """A command of an operator: on the store's thread, where alerts are judged as well."""

    async def act(arguments: dict[str, Any], user: int) -> Any:
        answer, queued = await writer.run(action, arguments, user)
        if queued:
            wake()
        return answer

    return act


def _forget(database: Database, writer: Writer, clock: Clock) -> Callable[[dict[str, Any], int], Awaitable[int]]:
    """The command that takes groups out of the quarantine; answers how many were there."""

    async def forget(arguments: dict[str, Any], user: int) -> int:
        numbers = arguments.get("ids")
        if not isinstance(numbers, list) or not all(quarantine.is_number(number) for number in numbers):
            raise RequestError("ids must be a list of numbers")
        count = await writer.run(quarantine.forget, database, numbers)
        log.info("taken out of the quarantine", count=count, user=user)
        noted = (clock.now_ns(), user_name(user), "quarantine replay", f"{count} groups", "")
        await writer.run(audit.note, database, *noted)
        return count

    return forget


def _keeping(notifier: Notifier, what: str, done: int, total: int) -> None:
    """The manager waits while the backup of before a migration is made, and shows how far it is."""
    notifier.needs(BACKUP_STEP_S)
    notifier.status(f"backup before the tables change: {what}, {100 * done // max(total, 1)} %")


async def _open(config: Config, notifier: Notifier) -> Database:
    """
    The database, also on a full disk.

    Only where a new version is to change the tables there must be room for that: without what is in them it could not
    tell outputs anything that they would understand. So the start waits.
    """
    kept: Path | None = None
    while True:
        # One is enough, however long the room for the rest takes.
        kept = kept or backup.before_migration(config, partial(_keeping, notifier))
        try:
            database = Database(config.database, start_over=True, wait_for_room=True)
        except FullError as error:
            log.error("the start waits for room on the disk", err=str(error))
            notifier.needs(BACKUP_STEP_S)
            notifier.status("waits for room on the disk: the tables of the database are to be changed")
            await asyncio.sleep(ROOM_EVERY_S)
            continue
        if database.lacking is not None:
            log.error("started on a full disk; what is counted is kept in memory", err=str(database.lacking))
        return database


async def _retain(outbox: Outbox, writer: Writer, clock: Clock, outputs: Sequence[str]) -> None:
    """Gives up what waits for others; on a full disk the next start or reload does it."""
    given_up: dict[str, int] = {}
    with contextlib.suppress(FullError):
        given_up = await writer.run(outbox.retain, outputs, clock.now_ns())
    for name, count in given_up.items():
        log.warning("alerts given up: their output is not configured any more", destination=name, count=count)


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(mode=0o750, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"state folder {path} can't be made: {error.strerror}; set state_dir") from error


def _on_signal(number: signal.Signals, do: Callable[[], None], cleanup: contextlib.ExitStack) -> None:
    loop = asyncio.get_running_loop()
    with contextlib.suppress(RuntimeError):  # Not in the main thread: the caller stops it.
        loop.add_signal_handler(number, do)
        cleanup.callback(loop.remove_signal_handler, number)
