"""The once-a-second pass, with the real engine and the real database."""

import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog

from collectord import plan, tick
from collectord.clock import ManualClock
from collectord.detect.alerts import AlertStates
from collectord.detect.holds import Holds
from collectord.engine import Engine
from collectord.errors import StoreError
from collectord.model import NS_PER_S, OTHER_SITE, Alert, AlertState, Mode, Severity
from collectord.store import ledger, retention
from collectord.store.db import Database
from collectord.tick import Tick

from ..locking import locked

START_S = 1_800_000_000
THRESHOLD = 10
STORM_CAP = 10
DAY_S = 86_400


@pytest.fixture(scope="module")
def setup() -> plan.Setup:
    """The shipped setup, with one rule that fires at more than ten failures."""
    shipped = plan.load(None)
    (rule,) = [rule for rule in shipped.rules if rule.name == "excessive-failures"]
    return plan.check(shipped.config, [replace(rule, threshold=THRESHOLD)])


class Daemon:
    """A run of the parts around the pass; several runs may share a database and a clock."""

    def __init__(self, setup: plan.Setup, path: Path, clock: ManualClock, run: str) -> None:
        self.clock = clock
        self.database = Database(path, busy_timeout_ms=10)
        self.engine: Engine = setup.engine()
        self.states = AlertStates(setup.rules, setup.watchlist, holds=Holds(storm_cap=STORM_CAP))
        (self.definition,) = setup.definitions
        self.receivers: list[str] = ["noc"]
        self.tick = Tick(
            setup,
            engine=self.engine,
            clock=clock,
            database=self.database,
            run=run,
            states=self.states,
            receivers=lambda alert: self.receivers,
        )
        self.tables, self.alerts, self.outbox = self.tick.tables, self.tick.alerts, self.tick.outbox
        self.tick.restore()

    def deny(self, count: int, source: str = "203.0.113.1") -> None:
        """That many failed sessions come in."""
        text = f'<164>%ASA-4-106023: Deny tcp src out:{source}/1 dst in:10.0.0.1/22 by access-group "a"'
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as empty:
            self.engine.receive(
                0, empty.fileno(), self.clock.now_ns(), count + 1, [(text.encode(), "192.0.2.1")] * count
            )

    def rows(self) -> list[tuple[Any, ...]]:
        """What the counter's table holds: (slot from the start, site, source, EventCount)."""
        query = 'SELECT slot - ?, site, SrcIpAddr, EventCount FROM "failures_by_source" ORDER BY slot, SrcIpAddr'
        return self.database.connection.execute(query, (START_S,)).fetchall()

    def history(self) -> list[str]:
        """The events of all alerts, oldest first."""
        return [alert.event for stored in self.alerts.find() for alert in reversed(self.alerts.history(stored.id))]

    def due(self) -> list[Alert]:
        """What waits for the output."""
        return [entry.alert for entry in self.outbox.due("noc", self.clock.now_ns() + 10**18, 100)]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START_S * NS_PER_S)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "collectord.db"


@pytest.fixture
def start(setup: plan.Setup, path: Path, clock: ManualClock) -> Iterator[Callable[[], Daemon]]:
    """Starts a run; the one before it is over then."""
    runs: list[Daemon] = []

    def start() -> Daemon:
        if runs:
            runs[-1].database.close()
        runs.append(Daemon(setup, path, clock, f"run {len(runs)}"))
        return runs[-1]

    yield start
    if runs:
        runs[-1].database.close()


@pytest.fixture
def daemon(start: Callable[[], Daemon]) -> Daemon:
    """The first run."""
    return start()


class TestFigures:
    """What is left in memory for whoever watches from outside."""

    def test_after_a_pass(self, daemon: Daemon, clock: ManualClock) -> None:
        clock.advance(5)
        daemon.deny(THRESHOLD + 1)
        daemon.tick.run()
        counters = daemon.tick.counters
        assert (counters.raised, counters.active) == ({"excessive-failures": 1}, {(Severity.MEDIUM, Mode.NOTIFY): 1})
        assert counters.ailing == {}
        assert daemon.tick.outcomes["udp"]["session"] == THRESHOLD + 1
        assert daemon.tick.bytes["udp"]["session"] > 50 * THRESHOLD
        assert daemon.tick.figures.waiting == {"noc": 1}
        assert daemon.tick.figures.used_bytes > 0
        assert counters.message_mono_ns == {"udp": clock.mono_ns()}
        assert (sum(counters.durations), counters.ended_mono_ns) == (1, clock.mono_ns())

    def test_a_pass_without_messages(self, daemon: Daemon, clock: ManualClock) -> None:
        """It ended, and no message came."""
        daemon.deny(1)
        daemon.tick.run()
        came_ns = clock.mono_ns()
        clock.advance(5)
        daemon.tick.run()
        assert daemon.tick.counters.message_mono_ns == {"udp": came_ns}
        assert daemon.tick.counters.ended_mono_ns == clock.mono_ns()

    def test_after_a_restart(self, start: Callable[[], Daemon]) -> None:
        """What is active still is; what was raised before is not raised again."""
        first = start()
        first.deny(THRESHOLD + 1)
        first.tick.run()
        counters = start().tick.counters
        assert (counters.raised, counters.active) == ({}, {(Severity.MEDIUM, Mode.NOTIFY): 1})


class TestNames:
    """What alerts' addresses are called."""

    def test_asked_for_once_it_is_queued(self, setup: plan.Setup, path: Path, clock: ManualClock) -> None:
        """Raises alone, and only those that are stored."""
        daemon = Daemon(setup, path, clock, "run")
        raised: list[tuple[str, int]] = []
        daemon.tick._raised = lambda alert: raised.append((alert.event, len(daemon.due())))
        with daemon.database:
            daemon.deny(THRESHOLD + 1)
            with locked(path):
                daemon.tick.run()
                assert raised == []
            daemon.tick.run()
            daemon.deny(20 * THRESHOLD)
            daemon.tick.run()
            assert daemon.history() == ["raised", "updated:2"]
        assert raised == [("raised", 1)]

    def test_known_after_a_restart(self, start: Callable[[], Daemon]) -> None:
        daemon = start()
        daemon.deny(THRESHOLD + 1)
        daemon.tick.run()
        (alert,) = daemon.due()
        daemon.tick.name(alert.id, 1, {"203.0.113.1": "scan.example"})
        daemon = start()
        daemon.deny(20 * THRESHOLD)
        daemon.tick.run()

        (found,) = daemon.alerts.find()
        assert (found.event, found.summary.partition(": ")[0]) == ("updated:2", "203.0.113.1 (DNS scan.example)")


class TestPass:
    """What one pass stores."""

    def test_counts_and_ledger(self, daemon: Daemon) -> None:
        daemon.deny(3)
        assert daemon.tick.run() is False
        daemon.clock.advance(61)
        daemon.deny(4)
        daemon.tick.run()

        assert daemon.rows() == [(0, "", "203.0.113.1", 3), (60, "", "203.0.113.1", 4)]
        assert [row[:3] for row in ledger.totals(daemon.database)] == [("udp", "session", 7)]
        assert daemon.tick.outcomes == {"udp": {"session": 7}}
        assert daemon.tables.last_tick_ns() == daemon.clock.now_ns()
        assert daemon.tick.counters.ticks == 2

    def test_a_quiet_pass(self, daemon: Daemon) -> None:
        assert daemon.tick.run() is False
        assert daemon.rows() == []
        assert daemon.tick.outcomes == {}

    def test_an_alert_is_stored_and_queued(self, daemon: Daemon) -> None:
        daemon.deny(THRESHOLD)
        assert daemon.tick.run() is False
        daemon.deny(1)
        assert daemon.tick.run() is True
        assert daemon.tick.run() is False, "nothing new"

        (alert,) = daemon.alerts.active()
        assert (alert.state, alert.count, alert.threshold) == (AlertState.RAISED, THRESHOLD + 1, THRESHOLD)
        assert alert.key == {"SrcIpAddr": "203.0.113.1"}
        assert [queued.id for queued in daemon.due()] == [alert.id]

    def test_an_alert_that_goes_nowhere_is_stored(self, daemon: Daemon) -> None:
        daemon.receivers = []
        daemon.deny(THRESHOLD + 1)
        assert daemon.tick.run() is True

        assert daemon.due() == []
        assert daemon.history() == ["raised"]

    def test_its_whole_life(self, daemon: Daemon) -> None:
        daemon.deny(THRESHOLD + 1)
        daemon.tick.run()
        for _ in range(21 * 60):
            daemon.clock.advance(1)
            daemon.tick.run()

        assert daemon.history() == ["raised", "cleared"]
        (alert,) = daemon.alerts.find()
        # Five minutes until it left the last window that ended with it, and fifteen of quiet.
        assert alert.last_time_ns // NS_PER_S - START_S in range(19 * 60, 20 * 60 + 1)

    def test_a_burst_just_before_a_boundary(self, daemon: Daemon) -> None:
        """The pass after the boundary judges the slot as it stood."""
        daemon.clock.advance(59.9)
        daemon.deny(THRESHOLD + 1)
        daemon.clock.advance(10 * 60)
        assert daemon.tick.run() is True
        assert daemon.history()[0] == "raised"

    def test_alerts_come_before_counters(self, daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
        """A power cut between the two leaves the alert, and its delivery, behind."""
        order: list[str] = []
        record, write = daemon.alerts.record, daemon.tables.write

        def noted(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
            def noting(*arguments: Any) -> Any:
                order.append(name)
                return call(*arguments)

            return noting

        monkeypatch.setattr(daemon.alerts, "record", noted("alerts", record))
        monkeypatch.setattr(daemon.tables, "write", noted("counters", write))
        daemon.deny(THRESHOLD + 1)
        daemon.tick.run()
        assert order == ["alerts", "counters"]

    def test_what_the_engine_could_not_count_is_noted(self, daemon: Daemon) -> None:
        text = (
            b"<166>%ASA-6-106015: Deny TCP (no connection) from mail-gw/389 to 10.0.0.15/80 flags RST  on interface o"
        )
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as empty:
            daemon.engine.receive(0, empty.fileno(), daemon.clock.now_ns(), 2, [(text, "192.0.2.1")])
        daemon.tick.run()
        daemon.tick.run()
        assert daemon.tick.counters.without_key == {"failures_by_source": 1}


class TestHeld:
    """What is stored and not sent."""

    def test_the_storm_cap_knows_of_the_time_before_a_restart(self, start: Callable[[], Daemon]) -> None:
        daemon = start()
        for number in range(STORM_CAP):
            daemon.deny(THRESHOLD + 1, f"203.0.113.{number}")
        daemon.tick.run()
        daemon.clock.advance(60)
        daemon = start()
        daemon.deny(THRESHOLD + 1, "198.51.100.1")
        daemon.tick.run()

        held = {alert.key["SrcIpAddr"]: alert.held.partition(":")[0] for alert in daemon.alerts.active()}
        assert held == {f"203.0.113.{number}": "" for number in range(STORM_CAP)} | {"198.51.100.1": "storm cap"}


class TestStoreFailure:
    """The database can't be written for a while."""

    def test_the_batch_is_kept(self, daemon: Daemon, path: Path) -> None:
        daemon.tick.run()
        daemon.deny(3)
        with locked(path), structlog.testing.capture_logs() as logs:
            assert daemon.tick.run() is False
            daemon.deny(4)
            daemon.tick.run()
        assert daemon.rows() == []
        assert daemon.tick.outcomes == {}
        assert daemon.tick.counters.store_failures == 2
        assert {entry["event"] for entry in logs} == {"database can't be written; counting goes on in memory"}

        daemon.tick.run()
        daemon.tick.run()
        assert daemon.rows() == [(0, "", "203.0.113.1", 7)]
        assert daemon.tick.outcomes == {"udp": {"session": 7}}
        assert [row[2] for row in ledger.totals(daemon.database)] == [7]

    def test_alerts_are_kept(self, daemon: Daemon, path: Path) -> None:
        daemon.tick.run()
        with locked(path):
            daemon.deny(THRESHOLD + 1)
            assert daemon.tick.run() is True
            daemon.deny(10 * THRESHOLD + 100)
            assert daemon.tick.run() is True
            assert daemon.tick.counters.unstored_alerts == 2
            assert daemon.tick.run() is False
        assert daemon.tick.run() is True

        assert daemon.tick.counters.unstored_alerts == 0
        assert daemon.history() == ["raised", "updated:2"]

    def test_a_failure_between_two_passes(self, daemon: Daemon, path: Path) -> None:
        """It ends with the next pass that can write."""
        daemon.deny(THRESHOLD + 1)
        daemon.tick.run()
        with locked(path):
            assert daemon.tick.reconcile(daemon.states.reconcile([], daemon.tick.setup.watchlist, START_S)) is False
            assert daemon.tick._queued.standby.active
        daemon.tick.run()
        assert not daemon.tick._queued.standby.active
        assert daemon.history() == ["raised", "cleared"]

    def test_counters_that_fail_do_not_hold_up_alerts(self, daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: Any) -> bool:
            raise StoreError("no space left")

        daemon.deny(THRESHOLD + 1)
        with monkeypatch.context() as patch:
            patch.setattr(daemon.tables, "write", full)
            assert daemon.tick.run() is True
        assert (daemon.history(), daemon.rows()) == (["raised"], [])

        daemon.tick.run()
        assert (daemon.history(), daemon.rows()) == (["raised"], [(0, "", "203.0.113.1", THRESHOLD + 1)])

    def test_a_lost_acknowledgement_counts_nothing_twice(self, daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
        """The rows were committed, then something else failed: the batch comes again and is known."""

        def full(*_: Any) -> None:
            raise StoreError("no space left")

        daemon.deny(3)
        with monkeypatch.context() as patch:
            patch.setattr(daemon.alerts, "seen", full)
            daemon.tick.run()
        daemon.deny(4)
        daemon.tick.run()
        daemon.tick.run()

        assert daemon.rows() == [(0, "", "203.0.113.1", 7)]
        assert daemon.tick.outcomes == {"udp": {"session": 7}}

    def test_memory_for_alerts_is_bounded(self, daemon: Daemon, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tick, "MAX_UNSTORED_ALERTS", 3)
        daemon.tick.run()
        with locked(path), structlog.testing.capture_logs() as logs:
            for number in range(5):
                daemon.deny(THRESHOLD + 1, f"203.0.113.{number}")
                daemon.tick.run()
            assert (daemon.tick.counters.unstored_alerts, daemon.tick.counters.lost_alerts) == (3, 2)
        assert [entry["count"] for entry in logs if "alerts lost" in entry["event"]] == [1, 1]
        daemon.tick.run()
        assert len(daemon.alerts.active()) == 3

    def test_without_database_the_windows_go_on(self, daemon: Daemon, path: Path) -> None:
        """What is over is over, although the rows before it wait."""
        daemon.tick.run()
        with locked(path):
            for _ in range(5):
                daemon.clock.advance(60)
                daemon.deny(3)
                daemon.tick.run()
            assert daemon.states.active_count == 1
        daemon.tick.run()
        daemon.tick.run()
        assert sum(row[3] for row in daemon.rows()) == 15


class TestClockStep:
    """Somebody sets the wall clock."""

    @pytest.mark.parametrize("hours", [-1, 1, -24 * 365])
    def test_counting_goes_on_in_the_new_time(self, daemon: Daemon, hours: int) -> None:
        daemon.deny(3)
        daemon.clock.step(hours * 3600)
        with structlog.testing.capture_logs() as logs:
            daemon.tick.run()
        daemon.deny(4)
        daemon.tick.run()

        assert daemon.rows() == sorted([(0, "", "203.0.113.1", 3), (hours * 3600, "", "203.0.113.1", 4)])
        (entry,) = logs
        assert (entry["event"], entry["elapsed_s"]) == (
            "wall clock was stepped; open windows start anew",
            hours * 3600,
        )

    def test_an_active_alert_survives_and_clears(self, daemon: Daemon) -> None:
        daemon.deny(THRESHOLD + 1)
        daemon.tick.run()
        daemon.clock.step(-3600)
        daemon.tick.run()
        assert daemon.states.active_count == 1
        for _ in range(25):
            daemon.clock.advance(60)
            daemon.tick.run()
        assert daemon.history() == ["raised", "cleared"]

    def test_what_is_counted_before_and_after_is_no_one_window(self, daemon: Daemon) -> None:
        daemon.deny(THRESHOLD)
        daemon.tick.run()
        daemon.clock.step(3)
        daemon.tick.run()
        daemon.deny(THRESHOLD)
        daemon.tick.run()
        assert daemon.states.active_count == 0

    def test_a_year_ahead_and_back_deletes_nothing(self, daemon: Daemon) -> None:
        """Nor do alerts that wait for an output get too old by it."""
        daemon.deny(THRESHOLD + 1)
        daemon.tick.run()
        daemon.clock.advance(3 * 3600)
        daemon.tick.run()
        kept = daemon.rows()
        daemon.clock.step(365 * DAY_S)
        for _ in range(10):
            daemon.tick.run()
            daemon.clock.advance(60)
        daemon.clock.step(-365 * DAY_S)
        for _ in range(10):
            daemon.tick.run()
            daemon.clock.advance(60)
        assert daemon.rows() == kept
        assert len(daemon.due()) == len(daemon.history()) > 0

    def test_so_does_a_start_in_the_next_year(self, start: Callable[[], Daemon]) -> None:
        """A machine whose clock is not set yet. Once the time was right for a day, it is believed."""
        daemon = start()
        daemon.deny(3)
        daemon.tick.run()
        daemon.clock.advance(365 * DAY_S)
        daemon = start()
        for _ in range(10):
            daemon.tick.run()
            daemon.clock.advance(60)
        assert daemon.rows() == [(0, "", "203.0.113.1", 3)]
        daemon.clock.advance(DAY_S)
        for _ in range(10):
            daemon.tick.run()
            daemon.clock.advance(60)
        assert daemon.rows() == []

    def test_what_waits_for_its_time_is_tried_at_once(self, daemon: Daemon) -> None:
        """The time that it waits for may be an hour away by now."""
        daemon.deny(THRESHOLD + 1)
        daemon.tick.run()
        (entry,) = daemon.outbox.due("noc", daemon.clock.now_ns(), 10)
        daemon.outbox.failed(entry.id, "nobody there", daemon.clock.now_ns() + 60 * NS_PER_S)
        daemon.clock.step(-3600)
        assert daemon.tick.run() is True
        assert daemon.tick.retries == 1
        assert len(daemon.outbox.due("noc", daemon.clock.now_ns(), 10)) == 1

    def test_maintenance_goes_on(self, daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
        """Also when the clock went back."""
        daemon.tick.run()
        daemon.clock.step(-DAY_S)
        daemon.tick.run()
        calls: list[int] = []
        monkeypatch.setattr(daemon.database, "checkpoint", lambda: calls.append(1))
        daemon.tick.run()
        assert calls == [1]


class TestRestart:
    """A second run on the same database."""

    def test_the_open_window_goes_on(self, start: Callable[[], Daemon]) -> None:
        first = start()
        first.deny(THRESHOLD)
        first.tick.run()
        second = start()
        second.clock.advance(100)
        second.deny(1)
        second.tick.run()

        (alert,) = second.alerts.active()
        assert alert.count == THRESHOLD + 1
        assert second.rows() == [(0, "", "203.0.113.1", THRESHOLD), (60, "", "203.0.113.1", 1)]

    def test_an_active_alert_is_not_raised_again(self, start: Callable[[], Daemon]) -> None:
        first = start()
        first.deny(THRESHOLD + 1)
        first.tick.run()
        second = start()
        assert second.states.active_count == 1
        second.deny(1)
        second.tick.run()
        assert second.history() == ["raised"]

    def test_the_next_episode_has_the_next_number(self, start: Callable[[], Daemon]) -> None:
        first = start()
        first.deny(THRESHOLD + 1)
        first.tick.run()
        for _ in range(25):
            first.clock.advance(60)
            first.tick.run()
        second = start()
        second.deny(THRESHOLD + 1)
        second.tick.run()

        assert [alert.episode for alert in second.alerts.active()] == [2]
        assert second.history() == ["raised", "cleared", "raised"]

    def test_time_in_which_nobody_looked_is_not_quiet(self, start: Callable[[], Daemon]) -> None:
        first = start()
        first.deny(THRESHOLD + 1)
        first.tick.run()
        first.clock.advance(3600)
        second = start()
        second.tick.run()
        assert second.history() == ["raised"]

    def test_equal_batch_numbers_of_two_runs_are_two_batches(self, start: Callable[[], Daemon]) -> None:
        for expected in (1, 2, 3):
            daemon = start()
            daemon.deny(1)
            daemon.tick.run()
            assert [row[3] for row in daemon.rows()] == [expected]

    def test_a_rule_that_is_gone_clears_its_alerts(self, start: Callable[[], Daemon], setup: plan.Setup) -> None:
        first = start()
        first.deny(THRESHOLD + 1)
        first.tick.run()
        second = start()
        second.tick.reconcile(second.states.reconcile([], setup.watchlist, second.clock.now_ns()))
        assert second.history() == ["raised", "cleared"]

    def test_a_counter_with_a_new_definition(
        self, start: Callable[[], Daemon], setup: plan.Setup, path: Path, clock: ManualClock
    ) -> None:
        """Its old table is kept under a new name, and that is told."""
        first = start()
        first.deny(3)
        first.tick.run()
        first.database.close()
        changed = plan.check(setup.config, [replace(setup.rules[0], weight="records")])
        with structlog.testing.capture_logs() as logs:
            second = Daemon(changed, path, clock, "changed")
        assert second.rows() == []
        second.database.close()
        assert [entry["path"] for entry in logs] == [
            f"failures_by_source{level}_1" for level in ("", "_hours", "_days")
        ]


class TestMaintenance:
    """What keeps the database small."""

    def test_closed_slots_are_cut_to_their_largest_keys(self, daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(retention, "KEPT_KEYS_PER_SLOT", 2)
        for number in range(1, 6):
            daemon.deny(number, f"203.0.113.{number}")
        daemon.tick.run()
        daemon.clock.advance(300)
        daemon.tick.run()
        assert len(daemon.rows()) == 5, "a window may still need them"
        daemon.clock.advance(121)
        daemon.tick.run()

        assert daemon.rows() == [
            (0, OTHER_SITE, "", 6), (0, "", "203.0.113.4", 4), (0, "", "203.0.113.5", 5),
        ]  # fmt: skip

    def test_old_slots_and_alerts_go(self, daemon: Daemon) -> None:
        daemon.deny(THRESHOLD + 1)
        daemon.tick.run()
        for _ in range(25):
            daemon.clock.advance(60)
            daemon.tick.run()
        for entry in (1, 2):
            daemon.outbox.delivered([entry], daemon.clock.now_ns())
        daemon.clock.advance(2 * DAY_S)
        daemon.tick.run()
        assert daemon.rows() == []
        assert daemon.history() == ["raised", "cleared"]
        daemon.clock.advance(400 * DAY_S)
        daemon.tick.run()
        assert daemon.history() == []

    def test_not_with_every_pass(self, daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
        calls: list[float] = []
        monkeypatch.setattr(daemon.database, "checkpoint", lambda: calls.append(daemon.clock.mono_ns() / NS_PER_S))
        for _ in range(130):
            daemon.tick.run()
            daemon.clock.advance(1)
        assert calls == [0, 60, 120]

    def test_a_full_database_sheds_its_oldest_counters(self, daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
        daemon.deny(3)
        daemon.tick.run()
        daemon.clock.advance(DAY_S)
        daemon.tick.run()
        assert daemon.rows() != []
        monkeypatch.setattr(daemon.database, "used_bytes", lambda: 2**33)
        daemon.clock.advance(60)
        with structlog.testing.capture_logs() as logs:
            daemon.tick.run()
        assert daemon.rows() == []
        assert daemon.tick.counters.shed_rows == 3, "its hour and its day as well"
        assert [(entry["log_level"], entry["count"]) for entry in logs] == [("warning", 3)]

    def test_a_disk_with_little_room_is_not_filled(self, daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
        """Alerts may have what counters leave; these go on once there is room, or the oldest ones made some."""
        for minute in range(30):
            for number in range(60):
                daemon.deny(1, f"10.0.{minute}.{number}")
            daemon.tick.run()
            daemon.clock.advance(60)
        before, size = len(daemon.rows()), daemon.database.file_bytes()
        free = daemon.tick._upkeep.min_free_bytes - 1
        monkeypatch.setattr(daemon.database, "free_bytes", lambda: free)
        monkeypatch.setattr(retention, "SPARE_BYTES", 0)
        for number in range(3000):
            daemon.deny(1, f"10.1.{number // 250}.{number % 250}")
        daemon.deny(THRESHOLD + 1)
        assert daemon.tick.run() is True
        assert "no space left" in str(daemon.tick.standing.error)
        assert (len(daemon.rows()), daemon.history()) == (before, ["raised"])
        assert daemon.database.file_bytes() < size + 65536
        free += 2**30
        daemon.tick.run()
        assert len(daemon.rows()) == before + 3001
        assert daemon.tick.standing.error is None

    def test_old_counters_make_room_for_new_ones(self, daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
        """The file stays as large as it is."""
        for day in range(4):
            for number in range(1200):
                daemon.deny(1, f"10.{day}.{number // 250}.{number % 250}")
            for _ in range(3):
                daemon.tick.run()
                daemon.clock.advance(DAY_S / 3)
        size = daemon.database.file_bytes()
        monkeypatch.setattr(daemon.database, "free_bytes", lambda: 0)
        for number in range(1200):
            daemon.deny(1, f"10.9.{number // 250}.{number % 250}")
        for _ in range(5):
            daemon.tick.run()
            daemon.clock.advance(60)
        assert daemon.tick.standing.error is None
        assert daemon.tick.counters.shed_rows > 0
        assert daemon.database.file_bytes() == size

    def test_a_failure_of_it_loses_no_batch(self, daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail() -> None:
            raise StoreError("no")

        monkeypatch.setattr(daemon.database, "checkpoint", fail)
        daemon.deny(3)
        daemon.tick.run()
        daemon.deny(4)
        daemon.tick.run()
        assert daemon.rows() == [(0, "", "203.0.113.1", 7)]
        assert daemon.tick.counters.store_failures == 1
