"""The way into the outbox: who is told, what goes when there is no room, what is made up for."""

from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from collectord.model import NS_PER_S, AlarmType, Alert, AlertState, Mode
from collectord.policy import OutputPolicy, WhenFull
from collectord.store import outbox_check
from collectord.store.alerts import Alerts
from collectord.store.db import Database
from collectord.store.outbox import Entry, Outbox, OutboxCounts
from collectord.store.queue import Queue

MakeAlert = Callable[..., Alert]
T0_NS = 2 * NS_PER_S
DAY_NS = 86_400 * NS_PER_S


class Parts:
    """The store's parts for one output, ``noc``."""

    def __init__(self, database: Database, **policy: object) -> None:
        self.database = database
        self.policies = {"noc": OutputPolicy(**policy)}  # type: ignore[arg-type]
        self.start()

    def start(self) -> None:
        self.queue = Queue(self.database, self.policies)
        self.queue.resume()
        self.alerts, self.outbox = Alerts(self.database, self.queue), Outbox(self.database, self.queue)

    def record(self, *alerts: Alert) -> int:
        return self.alerts.record(alerts, [["noc"] if alert.is_sent else [] for alert in alerts])

    def waiting(self) -> list[str]:
        return [_shown(entry) for entry in self.outbox.waiting("noc", 0, 1000)]

    def deliver(self, count: int = 1000, now_ns: int = T0_NS) -> list[str]:
        """The output takes so many; what it was told."""
        told: list[str] = []
        while entries := self.outbox.take("noc", now_ns, count - len(told)):
            told += [_shown(entry) for entry in entries]
            self.outbox.delivered([entry.id for entry in entries], now_ns)
            self.queue.let_go("noc")
            if len(told) == count:
                break
        return told

    @property
    def counts(self) -> OutboxCounts:
        return self.outbox.counts()["noc"]

    def check(self) -> None:
        assert outbox_check.findings(self.database)[1] == []


def _shown(entry: Entry) -> str:
    return f"{entry.alert.id} {entry.alert.state.value}"


def several(make: MakeAlert, names: str, event: str = "raised", **fields: object) -> list[Alert]:
    return [make(name, event, **fields) for name in names]


class TestWhoIsTold:
    """An output gets what it wants, and what became of that."""

    def test_an_update_and_a_clear_follow_the_raise(self, database: Database, make_alert: MakeAlert) -> None:
        """Whatever the output wants by then: a severity below its own, another site."""
        parts = Parts(database)
        parts.record(make_alert("a"))
        parts.alerts.record([make_alert("a", "updated:2"), make_alert("a", "cleared")], [[], []])

        assert parts.deliver() == ["a raised", "a updated", "a cleared"]

    def test_no_clear_of_what_was_never_told(self, database: Database, make_alert: MakeAlert) -> None:
        parts = Parts(database)
        parts.alerts.record([make_alert("a"), make_alert("a", "cleared")], [[], ["noc"]])

        assert parts.waiting() == []

    def test_an_update_of_what_was_never_told_is_a_raise(self, database: Database, make_alert: MakeAlert) -> None:
        """A receiver makes an alarm of a raise only."""
        parts = Parts(database)
        parts.alerts.record([make_alert("a"), make_alert("a", "updated:2")], [[], ["noc"]])
        parts.record(make_alert("a", "updated:3"))

        assert parts.deliver() == ["a raised", "a updated"]

    def test_a_held_update_is_not_told(self, database: Database, make_alert: MakeAlert) -> None:
        parts = Parts(database)
        parts.record(make_alert("a"), make_alert("a", "updated:2", details={"held": "shelved"}))

        assert parts.waiting() == ["a raised"]

    def test_an_output_that_is_not_configured_is_told_nothing(self, database: Database, make_alert: MakeAlert) -> None:
        before = Alerts(database)
        before.record([make_alert("a")], [["old"]])
        outbox = Outbox(database)
        outbox.delivered([1], T0_NS)
        Parts(database).record(make_alert("a", "cleared"))

        assert outbox.find() == []


class TestFull:
    """As many wait as may."""

    def test_the_oldest_goes(self, database: Database, make_alert: MakeAlert) -> None:
        parts = Parts(database, max_waiting=3)
        with capture_logs() as logs:
            parts.record(*several(make_alert, "abcde"))

        assert parts.waiting() == ["c raised", "d raised", "e raised"]
        assert OutboxCounts(3, 0, 0, T0_NS, {"oldest": 2}, 2) == parts.counts
        assert parts.queue.take_dropped() == {"noc": 2}
        assert parts.queue.take_dropped() == {}
        assert [(each["event"], each["reason"], each["count"]) for each in logs] == [
            ("alerts dropped undelivered", "oldest", 2)
        ]
        parts.check()

    @pytest.mark.parametrize("when_full", [WhenFull.DROP_OLDEST, WhenFull.DROP_NEW])
    def test_news_of_drops_is_no_ground_for_such_news(
        self, database: Database, make_alert: MakeAlert, when_full: WhenFull
    ) -> None:
        """Or it would never end: its own raise and clear are queued for an output that has no room."""
        parts = Parts(database, max_waiting=3, when_full=when_full)
        parts.record(*several(make_alert, "abcd"))
        assert parts.queue.take_dropped() == {"noc": 1}
        news = {"key": {"output": "noc"}, "alarm_type": AlarmType.MESSAGES_LOST}
        parts.record(make_alert("b", "updated:2"))
        parts.queue.take_dropped()
        for event in ("raised", "updated:2", "cleared"):
            parts.record(make_alert("n", event, **news))
            assert not any(parts.queue.take_dropped().values()), event
        parts.record(*several(make_alert, "efgh"))
        assert parts.queue.take_dropped()["noc"] > 0
        parts.record(make_alert("n", **news | {"episode": 2}), *several(make_alert, "ijk"))
        assert parts.queue.take_dropped()["noc"] > 0
        assert sum(parts.counts.dropped.values()) > 5
        parts.check()

    def test_what_is_left_of_an_episode_goes_with_its_raise(self, database: Database, make_alert: MakeAlert) -> None:
        """A clear alone would clear nothing; and nothing of it is owed, as it is over."""
        parts = Parts(database, max_waiting=3)
        parts.record(make_alert("a"), make_alert("a", "updated:2"), make_alert("a", "cleared"), make_alert("b"))

        assert parts.waiting() == ["b raised"]
        assert OutboxCounts(1, 0, 0, T0_NS, {"oldest": 3}) == parts.counts
        parts.check()

    def test_a_new_episode_stands_by_itself(self, database: Database, make_alert: MakeAlert) -> None:
        parts = Parts(database, max_waiting=2)
        parts.record(make_alert("a"), make_alert("a", "cleared"), make_alert("a", episode=2))

        assert parts.waiting() == ["a raised"]
        assert parts.counts.owed == 0

    def test_what_may_have_been_received_is_cleared(self, database: Database, make_alert: MakeAlert) -> None:
        """A try that failed may have failed after the receiver had it."""
        parts = Parts(database, max_waiting=2)
        parts.record(make_alert("a"))
        parts.outbox.failed(1, "no answer", 0)
        parts.record(make_alert("a", "cleared"), make_alert("b"))

        assert parts.waiting() == ["a cleared", "b raised"]
        parts.check()

    def test_a_clear_that_was_dropped_is_made_up_for(self, database: Database, make_alert: MakeAlert) -> None:
        """The receiver holds the alert for active until it is told."""
        parts = Parts(database, max_waiting=2)
        parts.record(make_alert("a"))
        assert parts.deliver() == ["a raised"]
        parts.record(make_alert("a", "cleared"), make_alert("b"), make_alert("c"))
        assert parts.counts.owed == 1

        assert parts.deliver() == ["b raised", "c raised", "a cleared"]
        parts.check()

    def test_what_was_dropped_and_is_active_is_told_once_there_is_room(
        self, database: Database, make_alert: MakeAlert
    ) -> None:
        """In its present state, as a raise, with its id and episode; what is over by then is not."""
        parts = Parts(database, max_waiting=4)
        parts.record(*several(make_alert, "abcdef"))
        parts.record(make_alert("a", "updated:2", count=60_000), make_alert("b", "cleared"))
        assert parts.waiting() == ["d raised", "e raised", "f raised", "a raised"]
        entry = parts.outbox.waiting("noc", 0, 10)[-1]
        assert (entry.alert.event, entry.alert.count, entry.repeat) == ("updated:2", 60_000, 1)

        assert parts.deliver() == ["d raised", "e raised", "f raised", "a raised", "c raised"]
        assert (parts.counts.owed, parts.counts.waiting) == (0, 0)
        parts.check()

    def test_what_is_in_hand_stays(self, database: Database, make_alert: MakeAlert) -> None:
        """It is being sent; the next oldest goes."""
        parts = Parts(database, max_waiting=2)
        parts.record(*several(make_alert, "ab"))
        (entry,) = parts.outbox.take("noc", T0_NS, 1)
        parts.record(make_alert("c"))
        assert parts.waiting() == ["a raised", "c raised"]

        parts.outbox.take("noc", T0_NS, 2)
        parts.record(make_alert("d"))
        assert parts.waiting() == ["a raised", "c raised"], "the new one is all that can go"
        parts.queue.let_go("noc", [entry.id])
        parts.record(make_alert("e"))
        assert parts.waiting() == ["a raised", "e raised"]
        parts.check()

    def test_new_ones_are_not_made(self, database: Database, make_alert: MakeAlert) -> None:
        """They use no number, and come when there is room."""
        parts = Parts(database, max_waiting=2, when_full=WhenFull.DROP_NEW)
        assert parts.record(*several(make_alert, "abcd")) == 2
        parts.record(make_alert("c", "cleared"))

        assert parts.waiting() == ["a raised", "b raised"]
        assert OutboxCounts(2, 0, 0, T0_NS, {"new": 2}, 1) == parts.counts
        assert parts.deliver(1) == ["a raised"]
        assert parts.deliver() == ["b raised", "d raised"]
        assert [entry.sequence for entry in parts.outbox.find(everything=True)] == [3, 2, 1]
        parts.check()

    def test_keep_drops_nothing_for_its_number(self, database: Database, make_alert: MakeAlert) -> None:
        parts = Parts(database, max_waiting=2, when_full=WhenFull.KEEP)
        parts.record(*several(make_alert, "abcdef"))

        assert parts.counts.waiting == 6
        assert parts.queue.take_dropped() == {}

    def test_nothing_is_counted_that_was_not_stored(self, database: Database, make_alert: MakeAlert) -> None:
        parts = Parts(database, max_waiting=1)
        with pytest.raises(ZeroDivisionError), parts.queue.work("test", T0_NS) as work:
            parts.queue.put(work, several(make_alert, "abc"), [["noc"]] * 3)
            raise ZeroDivisionError

        assert parts.queue.take_dropped() == {}
        assert parts.outbox.counts() == {}


class TestAge:
    """What waited for too long."""

    def test_what_is_too_old_goes(self, database: Database, make_alert: MakeAlert) -> None:
        parts = Parts(database, max_age_s=86_400, when_full=WhenFull.KEEP)
        parts.record(make_alert("a"), make_alert("b", last_time_ns=T0_NS + 60 * NS_PER_S))
        assert parts.outbox.maintain(T0_NS + DAY_NS) == 0
        assert parts.counts.waiting == 2

        assert parts.outbox.maintain(T0_NS + DAY_NS + 1) == 0
        assert parts.waiting() == ["b raised"]
        assert parts.counts.dropped == {"age": 1}
        # Both are active: the output is told when it takes something.
        assert parts.deliver() == ["b raised", "a raised"]
        parts.check()

    def test_one_is_tried_where_none_waits(self, database: Database, make_alert: MakeAlert) -> None:
        """Or an output whose entries all were too old would never be told of what is active."""
        parts = Parts(database, max_age_s=86_400)
        parts.record(*several(make_alert, "abc"))
        assert parts.outbox.maintain(T0_NS + 2 * DAY_NS) == 1
        assert parts.waiting() == ["a raised"]
        assert parts.outbox.maintain(T0_NS + 2 * DAY_NS) == 0

        assert parts.deliver(now_ns=T0_NS + 2 * DAY_NS) == ["a raised", "b raised", "c raised"]
        assert parts.counts.dropped == {"age": 3}
        parts.check()


class TestTellAgain:
    """Repeats of what is active."""

    def test_resend(self, database: Database, make_alert: MakeAlert) -> None:
        """After so long without any notification, with the same id and episode, and a sequence of its own."""
        parts = Parts(database, resend_s=600)
        parts.record(*several(make_alert, "ab"))
        parts.deliver(now_ns=T0_NS)
        at_ns = T0_NS + 600 * NS_PER_S
        assert parts.outbox.maintain(at_ns - 1) == 0
        parts.record(make_alert("b", "updated:2", last_time_ns=at_ns - 1))
        parts.deliver(now_ns=at_ns - 1)
        assert parts.outbox.maintain(at_ns) == 1
        (entry,) = parts.outbox.waiting("noc", 0, 10)
        assert (_shown(entry), entry.alert.episode, entry.sequence) == ("a raised", 1, 4)
        assert parts.outbox.maintain(at_ns + DAY_NS) == 1, "not while one waits"

        assert parts.deliver(now_ns=at_ns + DAY_NS) == ["a raised", "b raised"]
        parts.record(make_alert("a", "cleared"))
        assert parts.deliver() == ["a cleared"]
        parts.outbox.maintain(at_ns + 3 * DAY_NS)
        assert parts.waiting() == ["b raised"]
        parts.check()

    def test_resend_only_what_there_is_room_for(self, database: Database, make_alert: MakeAlert) -> None:
        """For each output by itself; a repeat is nothing to drop an alert for."""
        parts = Parts(database, resend_s=60, max_waiting=4)
        parts.policies["siem"] = parts.policies["noc"]
        for name in "abc":
            parts.alerts.record([make_alert(name)], [["noc", "siem"]])
            for output in parts.policies:
                parts.outbox.delivered([entry.id for entry in parts.outbox.take(output, T0_NS, 10)], T0_NS)
        parts.alerts.record(several(make_alert, "xyz"), [["siem"]] * 3)

        assert parts.outbox.maintain(T0_NS + 60 * NS_PER_S) == 3 + 1
        assert parts.queue.take_dropped() == {}
        assert [parts.outbox.counts()[output].waiting for output in ("noc", "siem")] == [3, 4]

    def test_repeats_do_not_pile_up(self, database: Database, make_alert: MakeAlert) -> None:
        """Of an alert that is active for long the first entries and the last repeats stay."""
        parts = Parts(database, resend_s=60)
        parts.record(make_alert("a"))
        for minute in range(50):
            parts.deliver(now_ns=T0_NS + minute * 60 * NS_PER_S)
            assert parts.outbox.maintain(T0_NS + (minute + 1) * 60 * NS_PER_S) == 1

        assert len(parts.outbox.find(everything=True)) == 3
        assert parts.counts.delivered == 50
        parts.check()

    def test_nothing_is_repeated_that_is_held(self, database: Database, make_alert: MakeAlert) -> None:
        parts = Parts(database, resend_s=60)
        parts.record(make_alert("a"))
        parts.deliver()
        parts.record(make_alert("a", "updated:2", details={"held": "maintenance 1: x"}))
        assert parts.outbox.maintain(T0_NS + DAY_NS) == 0
        assert parts.outbox.resync("noc", parts.alerts.active(), {"a"}, T0_NS) == (0, 0, 0)

    def test_resync(self, database: Database, make_alert: MakeAlert) -> None:
        """All that is active and sent, in its present state; what waits anyway is not queued twice."""
        parts = Parts(database)
        parts.record(make_alert("a", first_time_ns=1), make_alert("b", first_time_ns=0), make_alert("c"))
        parts.record(make_alert("d", mode=Mode.REPORT))
        parts.deliver()
        parts.record(make_alert("a", "updated:2", first_time_ns=1), make_alert("c", "cleared"))
        parts.deliver()
        parts.record(make_alert("e"))

        active = parts.alerts.active()
        assert parts.outbox.resync("noc", active, {"e"}, T0_NS) == (2, 1, 0)
        assert parts.outbox.resync("noc", active, {"e"}, T0_NS) == (0, 3, 0)
        entries = parts.outbox.waiting("noc", 0, 10)
        assert [(_shown(entry), entry.alert.event) for entry in entries] == [
            ("e raised", "raised"),
            ("b raised", "raised"),
            ("a raised", "updated:2"),
        ]
        parts.check()

    def test_resync_is_bounded(self, database: Database, make_alert: MakeAlert) -> None:
        """Half of what may wait at once; the rest follows as the output takes it."""
        parts = Parts(database, max_waiting=6)
        for name in "abcdefgh":
            parts.record(make_alert(name))
            parts.deliver()

        assert parts.outbox.resync("noc", parts.alerts.active(), set("abcdefgh"), T0_NS) == (3, 0, 5)
        assert len(parts.deliver()) == 8
        assert parts.queue.take_dropped() == {}

    def test_to_a_new_output(self, database: Database, make_alert: MakeAlert) -> None:
        before = Alerts(database)
        before.record([make_alert("a")], [[]])
        parts = Parts(database)

        assert parts.outbox.resync("noc", parts.alerts.active(), {"a"}, T0_NS) == (1, 0, 0)
        assert parts.deliver() == ["a raised"]


def test_after_a_crash_what_may_have_gone_out_is_cleared(database: Database, make_alert: MakeAlert) -> None:
    """Nobody knows whether the receiver has the raise; a clear does no harm."""
    parts = Parts(database, max_waiting=2)
    parts.record(make_alert("a"))
    parts.start()
    parts.record(make_alert("b"), make_alert("c"))
    assert parts.waiting() == ["b raised", "c raised"]
    parts.record(make_alert("a", "cleared", state=AlertState.CLEARED))

    assert parts.waiting() == ["c raised", "a cleared"]
    parts.check()


def test_what_is_owed_is_known_after_a_restart(database: Database, make_alert: MakeAlert) -> None:
    parts = Parts(database, max_waiting=2)
    parts.record(*several(make_alert, "abc"))
    parts.start()

    assert parts.deliver() == ["b raised", "c raised", "a raised"]


def test_outputs_that_are_gone_are_owed_nothing(database: Database, make_alert: MakeAlert) -> None:
    parts = Parts(database, max_waiting=1)
    parts.record(*several(make_alert, "abc"))

    assert parts.outbox.retain(["other"], T0_NS) == {"noc": 1}
    assert OutboxCounts(0, 0, 0, 0, {"oldest": 2, "removed": 1}) == parts.counts
    parts.check()
