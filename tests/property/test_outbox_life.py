"""Whatever happens to an output, what its receiver is told makes sense, and every entry is accounted for."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from collectord.model import NS_PER_S, Alert, AlertState, Mode, Severity
from collectord.policy import OutputPolicy, WhenFull
from collectord.store import outbox_check
from collectord.store.alerts import Alerts
from collectord.store.db import Database
from collectord.store.outbox import Entry, Outbox
from collectord.store.queue import Queue

NOC = "noc"
START_NS = 1_800_000_000 * NS_PER_S
DAY_NS = 86_400 * NS_PER_S
IDS = ("a", "b", "c", "d")


def raised(alert_id: str, episode: int, now_ns: int, mode: Mode) -> Alert:
    return Alert(
        id=alert_id, episode=episode, event="raised", rule="r", state=AlertState.RAISED, severity=Severity.MEDIUM,
        mode=mode, site="", key={}, count=1, threshold=1, window_s=60, first_time_ns=now_ns, last_time_ns=now_ns,
        title="", summary="",
    )  # fmt: skip


class Unsynced(Database):
    """No power fails here."""

    def transaction(self, doing: str, *, durable: bool = False) -> Any:
        return super().transaction(doing)


OPEN: list[Database] = []
"""One database for all examples; each begins with empty tables."""


@pytest.fixture(autouse=True, scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with Unsynced(tmp_path_factory.mktemp("outbox") / "collectord.db") as database:
        database.connection.execute("PRAGMA synchronous = OFF")
        OPEN[:] = [database]
        yield


class OutboxLife(RuleBasedStateMachine):
    """An output that comes and goes, alerts that come and go, a daemon that crashes; and what the receiver holds."""

    def __init__(self) -> None:
        super().__init__()
        (self.database,) = OPEN
        for table in ("alerts", "alert_history", "outbox", "outbox_sequences", "outbox_drops", "outbox_owed"):
            self.database.connection.execute(f"DELETE FROM {table}")
        self.now_ns = START_NS
        self.active: dict[str, Alert] = {}
        self.episodes: dict[str, int] = {}
        # What the receiver got, and what it holds for raised.
        self.received: list[tuple[int, str, str]] = []
        self.holds: set[str] = set()
        self.held_entry: dict[str, int] = {}
        self.uncertain: set[str] = set()

    @initialize(
        when_full=st.sampled_from(WhenFull), most=st.integers(2, 8), resend_s=st.sampled_from((0, 60)),
    )  # fmt: skip
    def begin(self, when_full: WhenFull, most: int, resend_s: int) -> None:
        policy = OutputPolicy(when_full=when_full, max_waiting=most, max_age_s=86_400, resend_s=resend_s)
        self.policies = {NOC: policy}
        self._start()

    def _start(self) -> None:
        self.queue = Queue(self.database, self.policies)
        self.queue.resume()
        self.alerts, self.outbox = Alerts(self.database, self.queue), Outbox(self.database, self.queue)
        self.outbox.retain([NOC], self.now_ns)
        self.outbox.retry_now()

    def teardown(self) -> None:
        if hasattr(self, "policies"):
            self._drain()
            assert {alert.id for alert in self.active.values() if alert.mode is Mode.NOTIFY} <= self.holds
            assert self.holds <= {alert.id for alert in self.active.values()}
            assert outbox_check.findings(self.database)[1] == []

    # Alerts

    def _record(self, *alerts: Alert) -> None:
        outputs = [[NOC] if alert.is_sent else [] for alert in alerts]
        self.alerts.record(alerts, outputs)
        if self.policies[NOC].when_full is WhenFull.KEEP:
            assert self.alerts.record(alerts, outputs) == 0, "the same again changes nothing"

    def _tick(self) -> None:
        self.now_ns += NS_PER_S

    def _changed(self, alert_id: str, mode: Mode) -> Alert:
        before = self.active.get(alert_id)
        if before is None:
            self.episodes[alert_id] = self.episodes.get(alert_id, 0) + 1
            self.active[alert_id] = raised(alert_id, self.episodes[alert_id], self.now_ns, mode)
        else:
            number = int(before.event.partition(":")[2] or 1) + 1
            self.active[alert_id] = replace(
                before, event=f"updated:{number}", state=AlertState.UPDATED, last_time_ns=self.now_ns
            )
        return self.active[alert_id]

    def _cleared(self, alert_id: str) -> Alert:
        alert = self.active.pop(alert_id)
        return replace(alert, event="cleared", state=AlertState.CLEARED, last_time_ns=self.now_ns)

    @rule(ids=st.lists(st.sampled_from(IDS), min_size=1, unique=True), mode=st.sampled_from((Mode.NOTIFY, Mode.REPORT)))
    def change(self, ids: list[str], mode: Mode) -> None:
        self._tick()
        self._record(*(self._changed(each, mode) for each in ids))

    @rule(alert_id=st.sampled_from(IDS))
    def come_and_go(self, alert_id: str) -> None:
        """A raise and its clear in one pass."""
        self._tick()
        if alert_id not in self.active:
            self._record(self._changed(alert_id, Mode.NOTIFY), self._cleared(alert_id))

    @precondition(lambda self: self.active)
    @rule(data=st.data())
    def clear(self, data: st.DataObject) -> None:
        self._tick()
        self._record(self._cleared(data.draw(st.sampled_from(sorted(self.active)))))

    # The output

    def _receive(self, entry: Entry) -> None:
        alert = entry.alert
        last = self.held_entry.get(alert.id, 0)
        assert entry.id >= last, "of one alert nothing overtakes"
        self.held_entry[alert.id] = entry.id
        if alert.id not in self.uncertain and entry.id > last:
            if alert.state is AlertState.CLEARED:
                assert alert.id in self.holds, "no clear of what the receiver does not know"
            elif alert.state is AlertState.UPDATED:
                assert alert.id in self.holds, "no update of what the receiver does not know"
        if alert.state is AlertState.CLEARED:
            self.holds.discard(alert.id)
        else:
            self.holds.add(alert.id)

    @contextmanager
    def _taken(self, limit: int) -> Iterator[list[Entry]]:
        entries = self.outbox.take(NOC, self.now_ns, limit)
        assert [entry.id for entry in entries] == sorted(entry.id for entry in entries)
        yield entries
        self.queue.let_go(NOC)

    @rule(limit=st.integers(1, 5), works=st.integers(0, 5), arrives=st.booleans(), meanwhile=st.booleans())
    def serve(self, limit: int, works: int, arrives: bool, meanwhile: bool) -> None:
        """Some are delivered, then one fails, which may have arrived all the same."""
        self._tick()
        with self._taken(limit) as entries:
            if meanwhile:
                self.change(["d"], Mode.NOTIFY)
            for entry in entries[:works]:
                self._receive(entry)
            self.outbox.delivered([entry.id for entry in entries[:works]], self.now_ns)
            for entry in entries[works : works + 1]:
                if arrives:
                    self._receive(entry)
                    self.uncertain.add(entry.alert.id)
                self.outbox.failed(entry.id, "no answer", self.now_ns + 5 * NS_PER_S)
                self.uncertain.add(entry.alert.id)

    @rule(limit=st.integers(1, 5), sent=st.integers(0, 5))
    def crash(self, limit: int, sent: int) -> None:
        """What was sent last is not noted."""
        unnoted: dict[str, int] = {}
        for entry in self.outbox.take(NOC, self.now_ns, limit)[:sent]:
            if entry.alert.id in unnoted:
                # As the worker does, so that no older state follows a newer one.
                self.outbox.delivered(list(unnoted.values()), self.now_ns)
                unnoted.clear()
            self._receive(entry)
            unnoted[entry.alert.id] = entry.id
        # All that could have been under way is taken for sent.
        self.uncertain.update(IDS)
        self._start()

    @rule(days=st.sampled_from((0, 1, 2)), seconds=st.integers(0, 90))
    def wait(self, days: int, seconds: int) -> None:
        self.now_ns += days * DAY_NS + seconds * NS_PER_S
        self.outbox.maintain(self.now_ns)

    @rule()
    def resync(self) -> None:
        active = self.alerts.active()
        wanted = {alert.id for alert in active if alert.is_sent}
        made, waits, later = self.outbox.resync(NOC, active, wanted, self.now_ns)
        assert made + waits + later == len(wanted)

    @rule()
    def expire(self) -> None:
        self.outbox.expire(self.now_ns - DAY_NS)
        self.alerts.expire(self.now_ns - DAY_NS)

    def _drain(self) -> None:
        """The receiver is back for good: until nothing waits any more."""
        for _ in range(200):
            self.now_ns += 10 * NS_PER_S
            with self._taken(100) as entries:
                for entry in entries:
                    self._receive(entry)
                self.outbox.delivered([entry.id for entry in entries], self.now_ns)
            counts = self.outbox.counts().get(NOC)
            if counts is None or not (counts.waiting or counts.owed):
                return
            self.outbox.maintain(self.now_ns)
        pytest.fail(f"does not end: {counts}")

    # What always holds

    @invariant()
    def adds_up(self) -> None:
        if not hasattr(self, "policies"):
            return
        counts = self.outbox.counts().get(NOC)
        (waiting,) = self.database.connection.execute(
            "SELECT count(*) FROM outbox WHERE delivered_ns IS NULL AND dropped_ns IS NULL"
        ).fetchone()
        assert waiting == (counts.waiting if counts else 0)
        policy = self.policies[NOC]
        if counts is not None and policy.when_full is not WhenFull.KEEP:
            assert counts.waiting <= policy.max_waiting


TestOutboxLife = OutboxLife.TestCase
TestOutboxLife.settings = settings(stateful_step_count=25)
