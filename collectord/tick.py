"""
The once-a-second pass: what the engine counted becomes alerts and rows.

Runs on the store's thread, off the event loop. The order is the promise: the alerts that follow are stored and queued
first, in a small transaction of their own that survives a power cut; then the counters; then the engine may forget the
batch.
"""

from collections.abc import Callable, Mapping, Sequence

import structlog

from collectord.baselines import Baselines
from collectord.clock import Ageing, Clock
from collectord.detect.alerts import AlertStates
from collectord.detect.rules import longest_windows_s
from collectord.engine import Engine
from collectord.engine_standing import EngineStanding
from collectord.errors import EngineError, FullError, StoreError
from collectord.evidence import Evidence
from collectord.health import Health
from collectord.limited import LimitedPeers
from collectord.model import (
    NS_PER_S,
    AlarmType,
    Alert,
    AlertState,
    Changes,
    CounterDefinition,
    Window,
)
from collectord.plan import Setup
from collectord.standing import StoreStanding
from collectord.store import devices, figures
from collectord.store import names as alert_names
from collectord.store.alerts import Alerts
from collectord.store.counters import Counters
from collectord.store.db import Database
from collectord.store.figures import Figures
from collectord.store.history import History
from collectord.store.outbox import Outbox
from collectord.store.queue import Queue
from collectord.stored import Stored, stored
from collectord.tick_counters import TickCounters
from collectord.upkeep import Upkeep

log = structlog.get_logger()

MAX_UNSTORED_ALERTS = 10_000
"""Alert states kept in memory while the database can't be written; as many as one rule may have active alerts."""

SETTLING_PASSES = 8
"""
Passes in which what waits in the engine is stored before a counter ends, or looks back further; a flood leaves some.
"""

NO_BATCH = -1
"""Stands for the number of a batch where the engine handed none over."""


class Tick:
    """
    The pass and what it needs.

    Args:
        setup: Rules, counters and how long what is kept.
        engine: Where the changes come from; of this setup.
        clock: The time of the pass.
        database: The writing side.
        run: A name that no other run on this database had: batches are numbered within a run.
        states: The rules' state machine.
        receivers: Names of the outputs that an alert goes to.
        health: What the daemon notices about itself; None: nothing is asked.
        raised: Called with each raise once it is stored and queued; must return at once.
        queue: The way into the outbox; None: one with the default bounds.
        tables: Of the counters; None: all that the database has.
    """

    def __init__(
        self,
        setup: Setup,
        *,
        engine: Engine,
        clock: Clock,
        database: Database,
        run: str,
        states: AlertStates,
        receivers: Callable[[Alert], Sequence[str]],
        health: Health | None = None,
        raised: Callable[[Alert], None] | None = None,
        queue: Queue | None = None,
        tables: Counters | None = None,
    ) -> None:
        self.counters = TickCounters(refused=states.refused)
        self._engine = engine
        self._clock = clock
        self._database = database
        self.tables = Counters(database, run) if tables is None else tables
        self._queued = Queue(database) if queue is None else queue
        self.alerts = Alerts(database, self._queued)
        self.outbox = Outbox(database, self._queued)
        self._states = states
        self._receivers = receivers
        self._raised = raised
        self._evidence = Evidence(setup.rules)
        self._health = health
        self.outcomes: dict[str, dict[str, int]] = {}
        """Messages since the start, by listener and outcome."""
        self.bytes: dict[str, dict[str, int]] = {}
        """Their bytes."""
        self.figures = Figures()
        """The database as the last pass left it."""
        self.limited = LimitedPeers()
        self._unstored: list[tuple[Alert, Sequence[str]]] = []
        self.standing = StoreStanding(database, clock.mono_ns)
        self.engine_standing = EngineStanding()
        self._began_ns: int | None = None
        self.begun: frozenset[str] = frozenset()
        """Counters that hold nothing of before, because they count something else now: since start or reload."""
        self._unmade = self._afresh = False
        """There was no room for the tables, or to take up a new database in place of a damaged one."""
        self._ageing = Ageing(clock.mono_ns)
        self._upkeep = Upkeep(database, self.tables, self.alerts, self.outbox, self._ageing, self.counters)
        self.retries = 0
        """How often outputs were to try at once: the wall clock was stepped, or the database had room again."""
        self._use(setup)

    def _use(self, setup: Setup) -> None:
        """What follows from a setup alone, and holds nothing yet."""
        self.setup = setup
        """What is in force."""
        self._listeners = [name for name, _, _ in setup.plan.listeners]
        self._longest_window_s = longest_windows_s(setup.rules)
        self._upkeep.use(setup, self._longest_window_s)
        self._baselines = Baselines(History(self._database), setup.rules, setup.definitions, setup.watchlist)

    def restore(self) -> None:
        """Go on where the last run ended: open slots into the engine, active alerts into the state machine."""
        now_ns = self._clock.now_ns()
        for definition in self._made():
            self._give_back(self._stored(definition, self._longest_window_s, now_ns))
        last_tick_ns = self.tables.last_tick_ns()
        if last_tick_ns:
            self._ageing.step((now_ns - last_tick_ns) / NS_PER_S)
        self._baselines.resume(last_tick_ns)
        if self._health is not None:
            self._health.restore(devices.watched(self._database))
        episodes, forgotten = self.alerts.episodes()
        for rule, raised_ns in self.alerts.sent_raises(now_ns - self._states.holds.storm_window_s * NS_PER_S):
            self._states.holds.sent(rule, raised_ns)
        # Test alerts have no rule that could clear them.
        active = [alert for alert in self.alerts.active() if alert.alarm_type is not AlarmType.TEST]
        self._states.restore(
            active,
            judged_ns=last_tick_ns,
            episodes=episodes,
            forgotten_episode=forgotten,
        )
        known = alert_names.of(self._database, active)
        for alert in active:
            self._states.name(alert.id, alert.episode, known.get(alert.id, {}))
        self._count_active()

    def _made(self) -> Sequence[CounterDefinition]:
        """The counters whose tables are there: all, or on a full disk those that were there."""
        self.begun = self.tables.fresh(self.setup.definitions)
        try:
            _tell_aside(self.tables.ensure(self.setup.definitions))
        except FullError as error:
            self._unmade = True
            self._store_failed(error)
            return [each for each in self.setup.definitions if self.tables.holds(each)]
        return self.setup.definitions

    def take_up(self, setup: Setup) -> None:
        """
        Work with another setup from now on, that was checked and has the same listeners under the same numbers; further
        ones may follow.

        Counters that count the same, and what is known of their keys, stay. Alerts are judged by the new rules from the
        next pass on; what the change does to active ones is up to ``reconcile``.

        Raises:
            StoreError: the database can't be read or written; nothing has changed.
            EngineError: the engine met a bug; nothing has changed, or the next pass says that it is to end.
        """
        going_on = [self._before(definition) for definition in setup.definitions]
        longest_s = longest_windows_s(setup.rules)
        as_before = all(each in going_on for each in self.setup.definitions) and longest_s == self._longest_window_s
        self._settle(1 if as_before else SETTLING_PASSES)
        now_ns = self._clock.now_ns()
        begun = self.tables.fresh(setup.definitions)
        with self._database.transaction("take up the changed configuration"):
            aside = self.tables.ensure(setup.definitions)
            held = [
                self._stored(definition, longest_s, now_ns, self._held_from_s(definition, now_ns))
                for definition in setup.definitions
            ]
        # From here on nothing can fail: the loader proved the plan right, and the listeners are those of before.
        _tell_aside(aside)
        kept = {each.name for each in setup.definitions if self._before(each) is not None}
        try:
            self._engine.replan(setup.plan, setup.definitions)
        except EngineError as error:
            # It may work by either setup, or by none.
            self.engine_standing.give_up(error)
            raise
        self._evidence.take_up(setup.rules, kept)
        self._use(setup)
        self.begun = begun
        for each in held:
            self._give_back(each)
        # The pass just before judged every day that had ended until then.
        self._baselines.resume(now_ns)
        if self._health is not None:
            listed = [(device.site, device.name) for device in setup.config.device]
            self._health.take_up(setup.rules, listed, setup.config.relays, now_ns, self._listeners)

    def _settle(self, passes: int) -> None:
        """
        Passes until all that was counted is stored. What a flood leaves after so many of them stays in the engine.

        One is enough where every counter goes on, with no longer windows: what waits for a batch waits as before then.
        """
        for _ in range(passes):
            self.run()
            if error := self.standing.error or self.engine_standing.error:
                raise error
            if not self.counters.carried:
                return

    def _before(self, definition: CounterDefinition) -> CounterDefinition | None:
        """The counter in force that counts the same."""
        return next((each for each in self.setup.definitions if each.counts_as(definition)), None)

    def _held_from_s(self, definition: CounterDefinition, now_ns: int) -> int | None:
        """From when on (epoch s) the engine holds what this counter of another setup counts; None: it does not."""
        before = self._before(definition)
        if before is None:
            return None
        now_s = now_ns // NS_PER_S
        return now_s - now_s % before.slot_s - self._longest_window_s[before.name]

    def _stored(
        self,
        definition: CounterDefinition,
        longest_window_s: Mapping[str, int],
        now_ns: int,
        held_from_s: int | None = None,
    ) -> Stored:
        return stored(self.tables, self._database, definition, longest_window_s[definition.name], now_ns, held_from_s)

    def _give_back(self, held: Stored) -> None:
        try:
            self._engine.restore(held.counter, held.rows)
            self._engine.restore_states(held.states)
        except EngineError as error:
            # A database that it can't take would keep the daemon from ever starting again.
            self.engine_standing.met(error)
            log.error("a counter goes on without what was stored of it", rule=held.counter, err=str(error))
        self._evidence.note(held.states)

    def name(self, alert_id: str, episode: int, names: Mapping[str, str]) -> None:
        """
        Take in what an alert's addresses are called.

        Raises:
            StoreError: the names are not stored; what is told of the alert has them all the same.
        """
        self._states.name(alert_id, episode, names)
        alert_names.keep(self._database, alert_id, episode, names)

    def reconcile(self, states: Sequence[Alert]) -> bool:
        """
        Store what a change of rules or exempts did to active alerts.

        Returns:
            Whether alerts were queued.
        """
        self._queue(states)
        return self._store_alerts()

    def run(self) -> bool:
        """
        One pass.

        Returns:
            Whether alerts were queued, so that the outputs have something to do.

        Raises:
            EngineError: the engine does not recover from a bug. What it handed over is stored.
        """
        self.engine_standing.check()
        began_ns = self._clock.mono_ns()
        self._began_ns = began_ns
        try:
            queued = self._run(began_ns)
        finally:
            self._began_ns = None
        self.engine_standing.passed()
        self.engine_standing.check()
        return queued

    def under_way_ns(self) -> int:
        """How long the present pass has lasted by now; 0: there is none. May be asked from any thread."""
        began_ns = self._began_ns
        return 0 if began_ns is None else self._clock.mono_ns() - began_ns

    def _run(self, began_ns: int) -> bool:
        self.standing.begin()
        self.engine_standing.begin()
        if self._database.damage is not None:
            self._start_over()
        elif self._database.lacking is not None or self._unmade:
            self._make_up()
        now_ns = self._clock.now_ns()
        changes = self._changes(now_ns)
        self.limited.note(changes, self._listeners, self.setup.config.bounds.peer_rate)
        self._evidence.note(changes.evidence)
        self._queue(self._states.judge([*self._evidence.attached(changes.windows), *self._noticed(changes)], now_ns))
        queued = self._store_alerts()
        try:
            with self._database.growing(self._upkeep.min_free_bytes):
                queued = self._store(changes, now_ns) or queued
        except StoreError as error:
            self._store_failed(error)
            if isinstance(error, FullError):
                self._upkeep.make_room(now_ns)
        except EngineError as error:
            # Of a row, which then comes with the next pass once more, or after all was stored.
            self.engine_standing.missed(error)
        if self.standing.passed(began_ns) or (self.standing.is_well and self._queued.standby.active):
            queued = self._store_again(now_ns) or queued
        # Only now, so that what came before a step is judged by the time it came at; and windows start anew at once, so
        # that nothing of what comes after it is missing in them.
        if step_s := self._clock.check():
            queued = self._follow(step_s) or queued
        self.counters.engine_bugs = self.engine_standing.bugs
        ended_ns = self._clock.mono_ns()
        self.counters.note_pass(changes, self._listeners, began_ns, ended_ns, len(self._unstored))
        return queued

    def _changes(self, now_ns: int) -> Changes:
        """What the engine hands over: where a bug keeps it from that nothing, and the pass does what else there is."""
        try:
            changes = self._engine.changes(now_ns)
        except EngineError as error:
            self.engine_standing.missed(error)
            return Changes(NO_BATCH, now_ns, {}, [], (), {}, {}, 0)
        if changes.panics:
            self.engine_standing.met(EngineError("windows or counts may lack in this pass"), changes.panics)
        return changes

    def _store(self, changes: Changes, now_ns: int) -> bool:
        """Stores a batch, and does what is to be done besides; says whether alerts were queued."""
        if changes.seq != NO_BATCH:
            self.tables.write(changes, self.setup.definitions, self._listeners)
        # These read what has just been written; nothing of the batch depends on them.
        queued = self._judge_days(now_ns)
        self.alerts.seen(self._states.seen())
        if self._health is not None:
            devices.keep_pauses(self._database, self._health.pauses())
        if changes.seq != NO_BATCH:
            self._engine.ack(changes.seq)
        for listener, outcome, messages, size in changes.ledger:
            name = self._listeners[listener]
            for totals, gained in ((self.outcomes, messages), (self.bytes, size)):
                of_listener = totals.setdefault(name, {})
                of_listener[outcome] = of_listener.get(outcome, 0) + gained
        self.counters.not_quarantined += changes.not_quarantined
        self.counters.clamped += changes.clamped
        queued = self._upkeep.maintain(now_ns) or queued
        self.figures = figures.look(self._database)
        return queued

    def _follow(self, step_s: float) -> bool:
        """After a step of the wall clock; says whether outputs may have something to do."""
        now_ns = self._clock.now_ns()
        try:
            self._engine.restart_windows(now_ns)
        except EngineError as error:
            self.engine_standing.met(error)
        log.warning("wall clock was stepped; open windows start anew", elapsed_s=round(step_s, 3))
        self._ageing.step(step_s)
        self.retries += 1
        if self._health is not None:
            self._health.restart(now_ns)
        try:
            # What waits for its time may wait for one that is long gone, or far ahead.
            return self.outbox.retry_now() > 0
        except StoreError as error:
            self._store_failed(error)
            return False

    def _noticed(self, changes: Changes) -> list[Window]:
        """What the rules about the collector and its devices look at."""
        if self._health is None:
            return []
        self._health.observe(
            changes, self._states.holds.take_held_back(), self.standing.news(), self.engine_standing.news()
        )
        return self._health.windows(changes.now_ns)

    def end(self) -> None:
        """Nothing more will come: the present day is judged as it stands, without waiting for the minute."""
        self._baselines.hurry()
        self._judge_days(self._clock.now_ns())

    def _judge_days(self, now_ns: int) -> bool:
        self._queue(self._states.judge(self._baselines.windows(now_ns), now_ns))
        return self._store_alerts()

    def _queue(self, states: Sequence[Alert]) -> None:
        if states:
            self._count_active()
        for alert in states:
            if alert.state is AlertState.RAISED:
                self.counters.raised[alert.rule] = self.counters.raised.get(alert.rule, 0) + 1
        room = MAX_UNSTORED_ALERTS - len(self._unstored)
        self._unstored += [(alert, self._receivers(alert)) for alert in states[:room]]
        lost = len(states) - max(room, 0)
        if lost > 0:
            self.counters.lost_alerts += lost
            log.error("alerts lost: the database can't be written", count=lost, limit=MAX_UNSTORED_ALERTS)

    def _count_active(self) -> None:
        self.counters.note_active(self._states.active, self.setup.rules)

    def _store_alerts(self) -> bool:
        if not self._unstored:
            return False
        try:
            self.alerts.record([alert for alert, _ in self._unstored], [names for _, names in self._unstored])
        except StoreError as error:
            self._store_failed(error)
            return self._queued.standby.offer(self._unstored, self._queued.last)
        if self._raised is not None:
            for alert, _ in self._unstored:
                if alert.state is AlertState.RAISED:
                    self._raised(alert)
        self._unstored.clear()
        return True

    def _store_failed(self, error: StoreError) -> None:
        self.standing.failed(error)
        self._queued.standby.active = True
        self.counters.store_failures += 1

    def _store_again(self, now_ns: int) -> bool:
        """The database can be written again: what outputs took over meanwhile is noted, and they have more to do."""
        self._queued.standby.active = False
        try:
            self.outbox.delivered((), now_ns)
        except StoreError as error:
            self._store_failed(error)
        return True

    def _start_over(self) -> None:
        """
        Goes on with a new database in place of a damaged one.

        What the engine counts and which alerts are active is in memory, and all outputs are told of those again.

        Raises:
            StoreError: there can be no new one either.
        """
        self.standing.start_over()
        self._unmade = self._afresh = True
        if self._database.lacking is None:
            self._make()
        untold = {(alert.id, alert.episode, alert.event) for alert, _ in self._unstored}
        active = [each for each in self._states.active if (each.id, each.episode, each.event) not in untold]
        self._unstored[:0] = [(alert, self._receivers(alert)) for alert in active]

    def _make_up(self) -> None:
        """Does, once there is room, what there was none for."""
        try:
            self._database.reopen()
            if self._unmade:
                self._make()
            self.outbox.retry_now()
        except StoreError as error:
            # A file that others can't read meanwhile is no failure, as long as it takes what is written.
            if self._unmade or not isinstance(error, FullError):
                self._store_failed(error)
            return
        self.retries += 1
        log.info("database is open to others again", path=self._database.path)

    def _make(self) -> None:
        if self._afresh:
            self._queued.start_over(self._clock.now_ns())
            self._afresh = False
        _tell_aside(self.tables.ensure(self.setup.definitions))
        self._unmade = False


def _tell_aside(tables: Sequence[tuple[str, str]]) -> None:
    for name, aside in tables:
        log.warning("counter has a new definition; its old table is kept", path=aside, rule=name)
