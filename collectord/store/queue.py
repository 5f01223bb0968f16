"""
What enters the outbox, and what leaves it undelivered.

Each output has a policy: how many entries may wait for it, for how long, and which of them go when there are more. What
goes is never forgotten: it is counted by reason, its row stays with the time at which it was dropped, and where an
output then lacks the present state of an alert, that is *owed* to it and queued again once there is room.

What a receiver is told makes sense by itself:

* It gets an update as a raise where it was not told of the episode, and no clear of what it was never told of.
* With a raise that never went out, what follows it in the same episode goes, too: a clear would clear nothing.
* A clear that was dropped behind a raise that did go out is owed until it is delivered.

An output may know of what was delivered to it, and of a raise that was tried and failed (the failure may have come
after the receiver had it) or was in its worker's hands when the daemon ended. What is not certain is told once more.

Everything here runs on the store's thread, but for :meth:`Queue.let_go`.
"""

import contextlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from collectord import log as logs
from collectord.model import NS_PER_S, AlarmType, Alert, AlertState
from collectord.policy import DropReason, OutputPolicy, WhenFull
from collectord.store.db import Database
from collectord.store.outbox_work import OWING, SETTLE, Work
from collectord.store.standby import Standby

AGED_PER_CALL = 2_000
"""Entries of an output that one call gives up for their age."""

OWED_PER_CALL = 500
"""States that one call queues again for an output."""

IN_HAND_AT_START = 1_000
"""More than a worker holds at once: as many of an output's oldest entries may have gone out just before a crash."""

_DEFAULT = OutputPolicy()
_ABOUT_OUTPUTS = frozenset((AlarmType.OUTPUT_DOWN, AlarmType.MESSAGES_LOST))
_CLEARED = AlertState.CLEARED.value
_RAISED = AlertState.RAISED.value

log = logs.get()

_QUEUE = """
    INSERT OR IGNORE INTO outbox (alert_id, episode, event, output, repeat, created_ns, sequence)
    VALUES (?, ?, ?, ?, ?, ?, ?)
"""
_LAST = "SELECT output, last FROM outbox_sequences"
_OUTPUTS = "SELECT DISTINCT output FROM outbox WHERE alert_id = ?"
_LAST_TOLD = """
    SELECT episode, event FROM outbox
    WHERE output = ? AND alert_id = ? AND id < ?
      AND (dropped_ns IS NULL OR (attempts > 0 AND event <> 'cleared'))
    ORDER BY id DESC LIMIT 1
"""
_ENTRY = "SELECT event, attempts FROM outbox WHERE id = ? AND delivered_ns IS NULL AND dropped_ns IS NULL"
_FOLLOWERS = """
    SELECT id, event, repeat FROM outbox
    WHERE output = ? AND alert_id = ? AND id > ? AND delivered_ns IS NULL AND dropped_ns IS NULL ORDER BY id
"""
_REPEATS = "SELECT max(repeat) FROM outbox WHERE alert_id = ? AND episode = ? AND event = ? AND output = ?"
_OLDEST = """
    SELECT id, alert_id FROM outbox
    WHERE output = ? AND delivered_ns IS NULL AND dropped_ns IS NULL ORDER BY id LIMIT ?
"""
_AGED = """
    SELECT id, alert_id FROM outbox
    WHERE output = ? AND created_ns < ? AND delivered_ns IS NULL AND dropped_ns IS NULL
    ORDER BY created_ns, id LIMIT ?
"""
_OUTPUTS_WAITING = "SELECT DISTINCT output FROM outbox WHERE delivered_ns IS NULL AND dropped_ns IS NULL"
_DROP = "UPDATE outbox SET dropped_ns = ?, dropped = ?, attempts = attempts + ? WHERE id = ?"
_OWE = "INSERT OR IGNORE INTO outbox_owed (output, alert_id) VALUES (?, ?)"
_SETTLE_ALL = "DELETE FROM outbox_owed WHERE output = ?"
_IS_SENT = "a.mode = 'notify' AND coalesce(json_extract(a.details, '$.held'), '') = ''"
_OWED = f"""
    SELECT o.alert_id, a.episode, a.event, a.state, {_IS_SENT}
    FROM outbox_owed o LEFT JOIN alerts a ON a.id = o.alert_id
    WHERE o.output = ? ORDER BY a.first_time_ns, o.alert_id LIMIT ?
"""
_HAS_STATE = "SELECT 1 FROM alert_history WHERE id = ? AND episode = ? AND event = ?"
_LONG_UNTOLD = f"""
    SELECT a.id, a.episode, a.event, max(coalesce(o.delivered_ns, o.created_ns)) AS told_ns
    FROM alerts a JOIN outbox o ON o.alert_id = a.id AND o.episode = a.episode
    WHERE a.state <> 'cleared' AND {_IS_SENT} AND o.output = ? AND o.dropped_ns IS NULL
    GROUP BY a.id HAVING max(o.delivered_ns IS NULL) = 0
    ORDER BY a.first_time_ns, a.id
"""
_OLD_REPEATS = """
    SELECT id, output FROM outbox
    WHERE alert_id = ?1 AND episode = ?2 AND output = ?3 AND repeat > 0 AND delivered_ns IS NOT NULL AND id < (
        SELECT max(id) FROM outbox WHERE alert_id = ?1 AND episode = ?2 AND output = ?3 AND delivered_ns IS NOT NULL
    )
"""
_EXPIRED = """
    SELECT id, output FROM outbox o
    WHERE (delivered_ns < ?1 OR dropped_ns < ?1)
      AND NOT EXISTS (SELECT 1 FROM alerts a WHERE a.id = o.alert_id AND a.episode = o.episode AND a.state <> 'cleared')
      AND NOT EXISTS (
          SELECT 1 FROM outbox w
          WHERE w.output = o.output AND w.alert_id = o.alert_id AND w.delivered_ns IS NULL AND w.dropped_ns IS NULL
      )
      AND NOT EXISTS (SELECT 1 FROM outbox_owed w WHERE w.output = o.output AND w.alert_id = o.alert_id)
    LIMIT ?2
"""
_NO_ID = 2**63 - 1


class Queue:
    """
    The way into the outbox.

    Args:
        database: The writing side.
        policies: By output. Where there are any, only these outputs are told of what becomes of alerts that they know.
    """

    def __init__(self, database: Database, policies: Mapping[str, OutputPolicy] | None = None) -> None:
        self._database = database
        self.policies: Mapping[str, OutputPolicy] = policies or {}
        self.standby = Standby()
        """What goes out while the database can't be written."""
        self._last: dict[str, int] = {}
        self._in_hand: dict[str, frozenset[int]] = {}
        self._maybe_sent: frozenset[int] = frozenset()
        self._dropped: Counter[str] = Counter()
        self._owing: set[str] | None = None
        self._resend_ns: dict[str, int] = {}

    @contextlib.contextmanager
    def work(self, doing: str, now_ns: int, *, durable: bool = False) -> Iterator[Work]:
        """
        One write transaction on the outbox, and on whatever else belongs to it.

        Args:
            doing: As of :meth:`Database.transaction`.
            now_ns: Wall time.
            durable: As of :meth:`Database.transaction`.
        """
        with self._database.transaction(doing, durable=durable) as connection:
            if self._owing is None:
                self._owing = {output for (output,) in connection.execute(OWING)}
            work = Work(connection, now_ns, set(self._owing))
            yield work
            work.close()
        # Only what is stored is told.
        self._owing = work.owing
        self._last |= {output: level.last for output, level in work.levels.items()}
        if work.from_standby is not None:
            self.standby.stored(work.from_standby)
        for (output, reason), count in work.drops.items():
            self._dropped[output] += count - work.own_drops.pop(output, 0)
            log.warning("alerts dropped undelivered", destination=output, reason=reason.value, count=count)

    def take_dropped(self) -> dict[str, int]:
        """
        Entries that were dropped since the last call, by output.

        But for those that had to go for the news that entries of this output are dropped: an alert on them would never
        end, as each of its states that is queued behind a full outbox would be ground for the next.
        """
        taken, self._dropped = self._dropped, Counter()
        return dict(taken)

    def put(self, work: Work, alerts: Sequence[Alert], outputs: Sequence[Sequence[str]]) -> int:
        """
        Queues new states.

        Args:
            work: The transaction, in which they are stored as well.
            alerts: In the order in which they came about.
            outputs: For each alert the outputs that want it. Those that know of an alert also get its updates and its
                clear.

        Returns:
            Entries made.
        """
        made = work.add_standby(self.standby)
        for alert, wanted in zip(alerts, outputs, strict=True):
            made += self._put_noting_own(work, alert, wanted)
        for output in list(work.levels):
            self._trim(work, output)
        return made

    def last(self, output: str) -> int:
        """The last number that the output was given, as far as this run knows."""
        return self._last.get(output, 0)

    def start_over(self, now_ns: int) -> None:
        """The database is a new one: its numbers go on behind those that outputs and their workers know."""
        self._owing, self._in_hand, self._maybe_sent = None, {}, frozenset()
        self.standby.undone = {}
        with self.work("begin the outbox", now_ns) as work:
            # An entry's number counts up from 1: milliseconds are far ahead of any.
            work.connection.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = 'outbox'", (now_ns // 10**6,))
            for output, last in self._last.items():
                level = work.level(output)
                level.last = level.delivered = level.forgotten = last

    def in_hand(self, output: str, ids: Iterable[int]) -> None:
        """These are with the output's worker: they may be sent at any moment, and are not dropped for their number."""
        self._in_hand[output] = frozenset(ids)

    def let_go(self, output: str, but: Collection[int] = ()) -> None:
        """The worker has put aside what it had, but for these; may be called from any thread."""
        self._in_hand[output] = frozenset(but)

    def resume(self) -> None:
        """For the start: what may have been sent just before the end of the last run is taken for sent."""
        with self._database.reading("read the outbox") as connection:
            outputs = [output for (output,) in connection.execute(_OUTPUTS_WAITING)]
            rows = [row for each in outputs for row in connection.execute(_OLDEST, (each, IN_HAND_AT_START))]
            self._last = dict(connection.execute(_LAST).fetchall())
        self._maybe_sent = frozenset(number for number, _ in rows)

    def retain(self, outputs: Collection[str], now_ns: int) -> dict[str, int]:
        """
        Gives up what waits for outputs that are no longer configured.

        Returns:
            Entries given up, by output.
        """
        gone: dict[str, int] = {}
        with self.work("clean the outbox", now_ns) as work:
            waiting = {output for (output,) in work.connection.execute(_OUTPUTS_WAITING)}
            for output in sorted((waiting | work.owing) - set(outputs)):
                rows = work.connection.execute(_OLDEST, (output, -1)).fetchall()
                for number, _ in rows:
                    self._mark_dropped(work, output, number, DropReason.REMOVED)
                work.connection.execute(_SETTLE_ALL, (output,))
                if rows:
                    gone[output] = len(rows)
        return gone

    def age(self, now_ns: int) -> int:
        """Gives up what has waited for longer than its output's policy says; returns how many entries."""
        before = sum(self._dropped.values())
        with self.work("clean the outbox", now_ns) as work:
            for output, policy in self.policies.items():
                in_hand = self._in_hand.get(output, ())
                since_ns = now_ns - policy.max_age_s * NS_PER_S
                for number, alert_id in work.connection.execute(_AGED, (output, since_ns, AGED_PER_CALL)).fetchall():
                    if number not in in_hand:
                        self._drop(work, output, number, alert_id, DropReason.AGE)
        return sum(self._dropped.values()) - before

    def expire(self, before_ns: int, most_entries: int) -> int:
        """Deletes entries that were delivered or dropped before ``before_ns``; returns how many."""
        with self.work("clean the outbox", before_ns) as work:
            return work.forget(work.connection.execute(_EXPIRED, (before_ns, most_entries)).fetchall())

    def owe(self, output: str, alert_ids: Iterable[str], now_ns: int) -> None:
        """The output is to be told the present state of these alerts, once there is room."""
        with self.work("resend alerts", now_ns) as work:
            for alert_id in alert_ids:
                self._owe(work, output, alert_id)

    def pay(self, now_ns: int, outputs: Collection[str], *, probe: bool = False) -> int:
        """
        Queues what is owed, as far as there is room: up to half of what may wait.

        Args:
            now_ns: Wall time.
            outputs: To which of the outputs.
            probe: Nothing says that the output takes anything: a single entry, and only if none waits.

        Returns:
            Entries made.
        """
        if self._owing is not None and not self._owing.intersection(outputs):
            return 0
        made = 0
        with self.work("resend alerts", now_ns) as work:
            for output in sorted(work.owing.intersection(outputs)):
                waiting = work.level(output).waiting
                room = self._policy(output).max_waiting // 2 - waiting
                if probe:
                    room = 0 if waiting else 1
                made += self._pay_some(work, output, min(room, OWED_PER_CALL))
        return made

    def resend(self, now_ns: int) -> int:
        """Queues the raise again of active alerts that an output was not told of for long; returns how many."""
        due = {
            output: policy
            for output, policy in self.policies.items()
            if policy.resend_s and not now_ns < self._resend_ns.get(output, 0) <= now_ns + policy.resend_s * NS_PER_S
        }
        if not due:
            return 0
        made = 0
        with self.work("resend alerts", now_ns) as work:
            for output, policy in due.items():
                resend_ns = policy.resend_s * NS_PER_S
                next_ns = now_ns + resend_ns
                level = work.level(output)
                for alert_id, episode, event, told_ns in work.connection.execute(_LONG_UNTOLD, (output,)).fetchall():
                    if now_ns - told_ns < resend_ns:
                        next_ns = min(next_ns, told_ns + resend_ns)
                    elif level.waiting < policy.max_waiting or policy.when_full is WhenFull.KEEP:
                        made += self._repeat(work, output, alert_id, episode, event)
                self._resend_ns[output] = next_ns
        return made

    def _policy(self, output: str) -> OutputPolicy:
        return self.policies.get(output, _DEFAULT)

    def _put_noting_own(self, work: Work, alert: Alert, wanted: Sequence[str]) -> int:
        about = alert.key.get("output") if alert.alarm_type in _ABOUT_OUTPUTS else None
        if not isinstance(about, str) or about not in self.policies:
            return self._put(work, alert, wanted)
        level, new = work.level(about), (about, DropReason.NEW)
        last, dropped = level.last, work.drops[new]
        made = self._put(work, alert, wanted)
        at_once = work.drops[new] - dropped
        work.own[about] += level.last - last + at_once
        work.own_drops[about] += at_once
        return made

    def _put(self, work: Work, alert: Alert, wanted: Sequence[str]) -> int:
        if alert.state is AlertState.RAISED:
            return sum(self._add_state(work, output, alert) for output in wanted)
        made = 0
        known = list(self.policies) or [output for (output,) in work.connection.execute(_OUTPUTS, (alert.id,))]
        for output in dict.fromkeys((*known, *wanted)):
            told = self._last_told(work, output, alert.id)
            if told == (alert.episode, alert.event):
                continue  # It was recorded before.
            if alert.state is AlertState.CLEARED:
                if told is not None and told[1] != _CLEARED:
                    made += self._add_state(work, output, alert)
                elif output in work.owing:
                    work.connection.execute(SETTLE, (output, alert.id))
            elif told is not None and told[0] == alert.episode:
                if alert.is_sent:
                    made += self._add_state(work, output, alert)
            elif output in wanted:
                made += self._repeat(work, output, alert.id, alert.episode, alert.event)
        return made

    def _add_state(self, work: Work, output: str, alert: Alert) -> bool:
        return self._add(work, output, alert.id, alert.episode, alert.event, 0, alert.last_time_ns)

    def _add(
        self, work: Work, output: str, alert_id: str, episode: int, event: str, repeat: int, created_ns: int
    ) -> bool:
        level, policy = work.level(output), self._policy(output)
        if policy.when_full is WhenFull.DROP_NEW and level.waiting >= policy.max_waiting:
            work.drops[output, DropReason.NEW] += 1
            self._owe(work, output, alert_id)
            return False
        entry = (alert_id, episode, event, output, repeat, created_ns, level.last + 1)
        if not work.connection.execute(_QUEUE, entry).rowcount:
            return False
        level.last += 1
        if output in work.owing:
            work.connection.execute(SETTLE, (output, alert_id))
        return True

    def _repeat(self, work: Work, output: str, alert_id: str, episode: int, event: str) -> bool:
        """Queues a state that is told as a raise; earlier repeats that were delivered have served."""
        work.forget(work.connection.execute(_OLD_REPEATS, (alert_id, episode, output)).fetchall())
        (before,) = work.connection.execute(_REPEATS, (alert_id, episode, event, output)).fetchone()
        return self._add(work, output, alert_id, episode, event, (before or 0) + 1, work.now_ns)

    def _pay_some(self, work: Work, output: str, room: int) -> int:
        made = 0
        while made < room:
            rows = work.connection.execute(_OWED, (output, room - made)).fetchall()
            if not rows:
                break
            # Some of what was owed may be no more: each row is settled, not each becomes an entry.
            made += sum(self._pay(work, output, *row) for row in rows)
        return made

    def _pay(
        self, work: Work, output: str, alert_id: str, episode: int | None, event: str, state: str, is_sent: bool
    ) -> bool:
        work.connection.execute(SETTLE, (output, alert_id))
        if episode is None:
            return False
        if state != _CLEARED and is_sent:
            return self._repeat(work, output, alert_id, episode, event)
        told = self._last_told(work, output, alert_id)
        if told is None or told[1] == _CLEARED:
            return False
        # The episode that it was told of is over, whatever there was since. One that is only held will tell more.
        if not work.connection.execute(_HAS_STATE, (alert_id, told[0], _CLEARED)).fetchone():
            return False
        return self._repeat(work, output, alert_id, told[0], _CLEARED)

    def _last_told(self, work: Work, output: str, alert_id: str, before: int = _NO_ID) -> tuple[int, str] | None:
        """Episode and event of the last that the output knows or will know of an alert, of what was queued before."""
        row: tuple[int, str] | None = work.connection.execute(_LAST_TOLD, (output, alert_id, before)).fetchone()
        return row

    def _trim(self, work: Work, output: str) -> None:
        """Drops the oldest entries of an output that has more than it may; never those in its worker's hands."""
        policy, level = self._policy(output), work.level(output)
        if policy.when_full is not WhenFull.DROP_OLDEST:
            return
        in_hand = self._in_hand.get(output, frozenset())
        makes_room_for_own = level.waiting - policy.max_waiting <= work.own[output]
        dropped = level.dropped
        while (excess := level.waiting - policy.max_waiting) > 0:
            before = level.waiting
            for number, alert_id in work.connection.execute(_OLDEST, (output, excess + len(in_hand))).fetchall():
                if level.waiting <= policy.max_waiting:
                    break
                if number not in in_hand:
                    self._drop(work, output, number, alert_id, DropReason.OLDEST)
            if level.waiting == before:
                break
        if makes_room_for_own:
            work.own_drops[output] += level.dropped - dropped

    def _drop(self, work: Work, output: str, number: int, alert_id: str, reason: DropReason) -> None:
        """Drops an entry, with what would make no sense to a receiver without it; owes what is lacking then."""
        entry = work.connection.execute(_ENTRY, (number,)).fetchone()
        if entry is None:
            return  # It went with one before it.
        event, attempts = entry
        told = self._last_told(work, output, alert_id, number)
        stands = told is not None and told[1] != _CLEARED
        if attempts or number in self._maybe_sent:
            stands = stands or event != _CLEARED
        self._mark_dropped(work, output, number, reason)
        followers = work.connection.execute(_FOLLOWERS, (output, alert_id, number)).fetchall()
        while not stands and followers and not _is_raise(*followers[0][1:]):
            event = followers[0][1]
            self._mark_dropped(work, output, followers.pop(0)[0], reason)
        if not followers and (stands or event != _CLEARED):
            self._owe(work, output, alert_id)

    def _mark_dropped(self, work: Work, output: str, number: int, reason: DropReason) -> None:
        maybe = number in self._maybe_sent
        work.connection.execute(_DROP, (work.now_ns, reason.value, int(maybe), number))
        work.level(output).dropped += 1
        work.drops[output, reason] += 1

    def _owe(self, work: Work, output: str, alert_id: str) -> None:
        work.connection.execute(_OWE, (output, alert_id))
        work.owing.add(output)


def _is_raise(event: str, repeat: int) -> bool:
    """Whether a receiver that knows nothing of an alert can make sense of an entry."""
    return event == _RAISED or (repeat > 0 and event != _CLEARED)
