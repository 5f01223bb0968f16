"""The engine as Python calls it: vocabularies, datagrams, streams, batches of changes, plans, one message in full."""

import json
import socket
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from collectord import _engine, plan
from collectord.engine import BUILD, FIELDS, Engine, PlanError
from collectord.fields import RULE_FIELDS
from collectord.model import NS_PER_S, OTHER_SITE, OUTCOMES, Changes

START_S = 1_800_000_000  # On a boundary of minutes.
NOW_NS = START_S * NS_PER_S
MINUTE_NS = 60 * NS_PER_S
HOUR_S = 3600


@pytest.fixture(scope="module")
def setup() -> plan.Setup:
    """The shipped configuration and profiles, with the two seed rules."""
    shipped = plan.load(None)
    return plan.check(
        shipped.config, [rule for rule in shipped.rules if rule.name in ("excessive-failures", "port-misuse")]
    )


@pytest.fixture
def engine(setup: plan.Setup) -> Engine:
    """A new engine; its listeners are 0 (udp) and 1 (tcp)."""
    return setup.engine()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two connected datagram sockets: (ours, the sender's)."""
    ours, senders = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, senders:
        yield ours, senders


def denied(source: str = "203.0.113.1", port: int = 445) -> bytes:
    """A message of one failed session."""
    return (
        f'<164>%ASA-4-106023: Deny tcp src outside:{source}/40000 dst inside:10.0.0.1/{port} by access-group "in"'
    ).encode()


def send(engine: Engine, messages: list[bytes], now_ns: int = NOW_NS, listener: int = 0) -> None:
    """Messages as datagrams, without a socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as empty:
        engine.receive(
            listener, empty.fileno(), now_ns, len(messages) + 1, [(message, "192.0.2.1") for message in messages]
        )


def outcomes(changes: Changes) -> dict[str, int]:
    """Messages by outcome, over all listeners."""
    found: Counter[str] = Counter()
    for _, outcome, messages, _ in changes.ledger:
        found[outcome] += messages
    return dict(found)


def failures(changes: Changes) -> dict[tuple[int, str], int]:
    """(slot in s from the start, source) -> EventCount."""
    rows = changes.rows.get("failures_by_source", [])
    return {(slot - START_S, source): count for slot, _, source, count, _, _ in rows}


def wanted(setup: plan.Setup, **rule: Any) -> dict[str, Any]:
    """The plan's JSON as an object, with values of the first rule's watch replaced."""
    raw: dict[str, Any] = json.loads(setup.plan.as_json())
    raw["counters"][0]["rules"][0].update(rule)
    return raw


class TestVocabulary:
    """The words that both languages share."""

    def test_outcomes_are_those_of_the_model(self) -> None:
        assert OUTCOMES == _engine.OUTCOMES

    def test_fields_of_rules_are_known(self) -> None:
        assert set(RULE_FIELDS) <= set(FIELDS)
        assert len(set(FIELDS)) == len(FIELDS)

    def test_build_is_told(self) -> None:
        assert BUILD in ("release", "debug")


class TestReceive:
    """Draining a datagram socket."""

    def test_takes_what_waits_and_says_that_it_is_empty(
        self, engine: Engine, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        ours, senders = pair
        for _ in range(3):
            senders.send(denied())

        assert engine.receive(0, ours.fileno(), NOW_NS, 100, []) == (3, True)
        assert engine.receive(0, ours.fileno(), NOW_NS, 100, []) == (0, True)
        assert outcomes(engine.changes(NOW_NS)) == {"session": 3}

    def test_stops_at_the_budget(self, engine: Engine, pair: tuple[socket.socket, socket.socket]) -> None:
        ours, senders = pair
        for number in range(5):
            senders.send(denied(f"203.0.113.{number}"))

        assert engine.receive(0, ours.fileno(), NOW_NS, 2, []) == (2, False)
        assert engine.receive(0, ours.fileno(), NOW_NS, 3, []) == (3, False)
        assert engine.receive(0, ours.fileno(), NOW_NS, 1, []) == (0, True)
        assert len(failures(engine.changes(NOW_NS))) == 5

    def test_datagrams_of_the_event_loop_count_into_the_budget(
        self, engine: Engine, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        ours, senders = pair
        senders.send(denied("203.0.113.2"))

        assert engine.receive(0, ours.fileno(), NOW_NS, 1, [(denied("203.0.113.1"), "192.0.2.1")]) == (1, False)
        assert engine.receive(0, ours.fileno(), NOW_NS, 2, [(denied("203.0.113.3"), "192.0.2.1")]) == (2, False)
        assert sorted(source for _, source in failures(engine.changes(NOW_NS))) == [
            "203.0.113.1", "203.0.113.2", "203.0.113.3",
        ]  # fmt: skip

    def test_more_than_a_system_call_takes(self, engine: Engine, pair: tuple[socket.socket, socket.socket]) -> None:
        ours, senders = pair
        ours.setblocking(False)
        senders.setblocking(False)
        sent = 0
        try:
            while sent < 200:
                senders.send(denied())
                sent += 1
        except BlockingIOError:
            pass  # As many as the kernel holds (net.unix.max_dgram_qlen).

        assert engine.receive(0, ours.fileno(), NOW_NS, 1000, []) == (sent, True)

    def test_the_largest_datagram_comes_whole(self, engine: Engine) -> None:
        """65,507 bytes, the most that UDP over IPv4 carries (RFC 768, RFC 791)."""
        with socket.socket(type=socket.SOCK_DGRAM) as ours, socket.socket(type=socket.SOCK_DGRAM) as sender:
            ours.bind(("127.0.0.1", 0))
            message = denied() + b" " * (65_507 - len(denied()))
            sender.sendto(message, ours.getsockname())

            assert engine.receive(0, ours.fileno(), NOW_NS, 10, []) == (1, True)
        assert sum(size for *_, size in engine.changes(NOW_NS).ledger) == 65_507

    def test_an_empty_datagram_is_a_message(self, engine: Engine, pair: tuple[socket.socket, socket.socket]) -> None:
        ours, senders = pair
        senders.send(b"")
        senders.send(denied())

        assert engine.receive(0, ours.fileno(), NOW_NS, 10, []) == (2, True)
        assert outcomes(engine.changes(NOW_NS)) == {"empty": 1, "session": 1}

    def test_what_can_not_be_read_is_an_error(self, engine: Engine) -> None:
        with socket.socket(type=socket.SOCK_DGRAM) as closed:
            fd = closed.fileno()
        with pytest.raises(OSError, match="Bad file descriptor") as caught:
            engine.receive(0, fd, NOW_NS, 10, [])
        assert caught.value.errno == 9

    def test_what_came_before_the_error_is_counted(self, engine: Engine) -> None:
        with pytest.raises(OSError, match="Bad file descriptor"):
            engine.receive(0, -1, NOW_NS, 10, [(denied(), "192.0.2.1")])
        assert outcomes(engine.changes(NOW_NS)) == {"session": 1}

    @pytest.mark.parametrize(
        ("message", "outcome"),
        [
            (denied(), "session"),
            (b"<166>%ASA-6-605005: Login permitted from 10.0.0.1/1 to inside:10.0.0.2/ssh for user x", "event"),
            (b"<164>%ASA-4-106023: something else", "unparsed"),
            (b"<30>Nov 22 10:20:30 host app[1]: hello", "unparsed"),
            (b"\0\r\n", "empty"),
            (b"x" * 65_537, "too_long"),
        ],
    )
    def test_each_datagram_ends_in_one_outcome(self, engine: Engine, message: bytes, outcome: str) -> None:
        send(engine, [message])

        assert engine.changes(NOW_NS).ledger == [(0, outcome, 1, len(message))]


class TestStream:
    """Bytes of a connection, in whatever pieces."""

    def feed(self, engine: Engine, stream: int, data: bytes) -> int:
        return engine.feed(stream, bytearray(data), len(data), NOW_NS)

    def test_pieces_give_what_the_whole_gives(self, engine: Engine) -> None:
        stream = engine.connect(1, "192.0.2.1")
        wire = b"".join(b"%d %s" % (len(denied()), denied()) for _ in range(3))
        ended = [self.feed(engine, stream, wire[at : at + 1]) for at in range(len(wire))]

        assert sum(ended) == 3
        assert engine.changes(NOW_NS).ledger == [(1, "session", 3, 3 * len(denied()))]

    def test_only_n_bytes_of_the_buffer_are_read(self, engine: Engine) -> None:
        stream = engine.connect(1, "192.0.2.1")
        line = denied() + b"\n"
        buffer = memoryview(bytearray(line + b"rubbish of the chunk before\n"))

        assert engine.feed(stream, buffer, len(line), NOW_NS) == 1
        assert engine.feed(stream, buffer, 0, NOW_NS) == 0
        with pytest.raises(ValueError, match="n bytes"):
            engine.feed(stream, buffer, len(buffer) + 1, NOW_NS)

    def test_streams_do_not_mix(self, engine: Engine) -> None:
        first, second = engine.connect(1, "192.0.2.1"), engine.connect(1, "192.0.2.1")
        half = len(denied()) // 2
        self.feed(engine, first, denied()[:half])
        assert self.feed(engine, second, denied() + b"\n") == 1
        assert self.feed(engine, first, denied()[half:] + b"\n") == 1
        assert outcomes(engine.changes(NOW_NS)) == {"session": 2}

    def test_the_end_gives_what_is_unfinished_its_outcome(self, engine: Engine) -> None:
        """A line without its end is a message; a counted frame without its rest is not."""
        line, counted, idle = (engine.connect(1, "192.0.2.1") for _ in range(3))
        self.feed(engine, line, denied())
        self.feed(engine, counted, b"500 <164>half of it")

        assert [engine.disconnect(stream, NOW_NS) for stream in (line, counted, idle)] == [1, 1, 0]
        assert outcomes(engine.changes(NOW_NS)) == {"session": 1, "unfinished": 1}

    def test_a_stream_that_ended_takes_nothing(self, engine: Engine) -> None:
        stream = engine.connect(1, "192.0.2.1")
        engine.disconnect(stream, NOW_NS)

        assert self.feed(engine, stream, denied() + b"\n") == 0
        assert engine.disconnect(stream, NOW_NS) == 0
        assert engine.changes(NOW_NS).ledger == []


class TestChanges:
    """Numbered batches of increments."""

    def test_rows_are_increments(self, engine: Engine) -> None:
        send(engine, [denied(), denied(port=22)])
        first = engine.changes(NOW_NS)
        engine.ack(first.seq)
        send(engine, [denied()])
        second = engine.changes(NOW_NS)

        assert first.rows == {
            "failures_by_source": [(START_S, "", "203.0.113.1", 2, 2, 0)],
            "port_volume": first.rows["port_volume"],
        }
        assert sorted(first.rows["port_volume"]) == [
            (START_S, "", 22, "TCP", "Inbound", "Deny", 1, 1, 0),
            (START_S, "", 445, "TCP", "Inbound", "Deny", 1, 1, 0),
        ]
        assert second.rows["failures_by_source"] == [(START_S, "", "203.0.113.1", 1, 1, 0)]
        assert second.rows["port_volume"] == [(START_S, "", 445, "TCP", "Inbound", "Deny", 1, 1, 0)]
        assert second.seq == first.seq + 1

    def test_nothing_new_is_an_empty_batch(self, engine: Engine) -> None:
        changes = engine.changes(NOW_NS)

        assert (changes.rows, changes.ledger, changes.evicted, changes.without_key) == ({}, [], {}, {})

    def test_a_batch_is_handed_over_until_it_is_acknowledged(self, engine: Engine) -> None:
        send(engine, [denied()])
        first = engine.changes(NOW_NS)
        send(engine, [denied("203.0.113.2")])
        again = engine.changes(NOW_NS + NS_PER_S)
        engine.ack(again.seq + 1)  # Not the one that is out.
        third = engine.changes(NOW_NS + NS_PER_S)

        assert (first.seq, first.rows, first.ledger) == (again.seq, again.rows, again.ledger)
        assert (first.seq, first.rows, first.ledger) == (third.seq, third.rows, third.ledger)

        engine.ack(first.seq)
        rest = engine.changes(NOW_NS + NS_PER_S)
        assert failures(rest) == {(0, "203.0.113.2"): 1}
        assert rest.ledger == [(0, "session", 1, len(denied()))]

    def test_windows_are_judged_anew_each_time(self, setup: plan.Setup) -> None:
        """An unacknowledged batch keeps its rows; what is over a level is told as it stands."""
        engine = setup.engine()
        send(engine, [denied()] * 4001)
        first = engine.changes(NOW_NS)
        send(engine, [denied()])
        second = engine.changes(NOW_NS)

        counts = [
            [key.count for window in changes.windows if window.rule == "excessive-failures" for key in window.keys]
            for changes in (first, second)
        ]
        assert counts == [[4001], [4002]]

    def test_a_level_is_quiet_and_one_more_is_not(self, setup: plan.Setup) -> None:
        engine = setup.engine()
        send(engine, [denied()] * 4000)
        quiet = engine.changes(NOW_NS)
        send(engine, [denied()])
        over = engine.changes(NOW_NS)

        def keys(changes: Changes) -> list[tuple[str, int]]:
            windows = [window for window in changes.windows if window.rule == "excessive-failures"]
            assert [window.closed for window in windows] == [False]
            return [(key.key[0], key.count) for window in windows for key in window.keys]

        assert keys(quiet) == []
        assert keys(over) == [("203.0.113.1", 4001)]

    def test_each_boundary_passed_is_judged(self, engine: Engine) -> None:
        """A burst at the end of a slot is seen although the tick came after the boundary."""
        send(engine, [denied()] * 4001, NOW_NS)
        changes = engine.changes(NOW_NS + 6 * MINUTE_NS)

        windows = [window for window in changes.windows if window.rule == "excessive-failures"]
        assert [window.end_ns for window in windows] == sorted(window.end_ns for window in windows)
        assert [window.closed for window in windows][-1] is False
        ends = [(window.end_ns - NOW_NS) // MINUTE_NS for window in windows if window.closed and window.keys]
        assert ends == [1, 2, 3, 4, 5]
        assert windows[-1].keys == ()

    def test_sessions_without_the_key_are_told(self, engine: Engine) -> None:
        """A denied protocol without ports has a source but no port."""
        send(engine, [b"<163>%ASA-3-106010: Deny inbound protocol 47 src outside:203.0.113.1 dst inside:10.0.0.1"])
        changes = engine.changes(NOW_NS)

        assert list(changes.rows) == ["failures_by_source"]
        assert changes.without_key == {"port_volume": 1}
        assert engine.changes(NOW_NS).without_key == {}

    def test_more_keys_than_the_capacity(self, setup: plan.Setup) -> None:
        """Sums stay whole: what evicted keys had not yet reported has a row with blank key columns."""
        counters = [{**counter, "capacity": 16} for counter in setup.plan.counters]
        engine = Engine(replace(setup.plan, counters=counters), setup.definitions)
        send(engine, [denied(f"203.0.113.{number}", 1000 + number) for number in range(100)])
        changes = engine.changes(NOW_NS)

        for name, blank in (("failures_by_source", ("",)), ("port_volume", (0, "", "", ""))):
            rows = changes.rows[name]
            other = [row for row in rows if row[1] == OTHER_SITE]
            assert [row[2:-3] for row in other] == [blank]
            assert sum(row[-3] for row in rows) == sum(row[-2] for row in rows) == 100
            assert changes.evicted[name] == 84

    def test_rows_over_the_bound_come_with_the_next_batch(self, setup: plan.Setup) -> None:
        engine = Engine(replace(setup.plan, rows_per_batch=10), setup.definitions)
        send(engine, [denied(f"203.0.113.{number}") for number in range(25)])
        seen: Counter[str] = Counter()
        sizes = []
        while True:
            changes = engine.changes(NOW_NS)
            engine.ack(changes.seq)
            sizes.append(sum(map(len, changes.rows.values())))
            for _, source in failures(changes):
                seen[source] += 1
            if not changes.carried:
                break

        # A source and a port more than there are sources; states of keys share the batches.
        assert sum(sizes) == 26
        assert max(sizes) <= 10
        assert seen.total() == 25 == len(seen)

    def test_a_site_keeps_sources_apart(self, setup: plan.Setup) -> None:
        listeners = [("udp", "north", ()), ("tcp", "south", ())]
        engine = Engine(replace(setup.plan, listeners=listeners), setup.definitions)
        send(engine, [denied()], listener=0)
        send(engine, [denied()], listener=1)

        rows = engine.changes(NOW_NS).rows["failures_by_source"]
        assert sorted(row[1:3] for row in rows) == [("north", "203.0.113.1"), ("south", "203.0.113.1")]


class TestRestore:
    """Going on with what the store holds."""

    def test_counting_goes_on_in_the_open_window(self, setup: plan.Setup) -> None:
        engine = setup.engine()
        rows = [
            (START_S, "", "203.0.113.1", 3000, 2000, 7),
            (START_S - 60, "", "203.0.113.1", 1000, 1000, 0),
        ]
        assert engine.restore("failures_by_source", rows) == 2
        send(engine, [denied()])
        changes = engine.changes(NOW_NS)

        assert failures(changes) == {(0, "203.0.113.1"): 1}, "what is stored is not handed over again"
        (window,) = [window for window in changes.windows if window.rule == "excessive-failures"]
        assert [(key.key, key.count, key.error) for key in window.keys] == [(("203.0.113.1",), 4001, 7)]

    def test_rows_of_no_use_are_passed_over(self, engine: Engine) -> None:
        assert engine.restore("failures_by_source", [(START_S, "", "no address", 1, 1, 0)]) == 0
        assert engine.restore("no_such_counter", [(START_S, "", "203.0.113.1", 1, 1, 0)]) == 0

    @pytest.mark.parametrize("slot", [START_S - HOUR_S, START_S + HOUR_S])
    def test_slots_outside_the_windows_do_not_count(self, engine: Engine, slot: int) -> None:
        """Such as those of a future that the clock was put back from."""
        engine.restore("failures_by_source", [(slot, "", "203.0.113.1", 9000, 9000, 0)])
        send(engine, [denied()])
        changes = engine.changes(NOW_NS)

        assert [window.keys for window in changes.windows if window.rule == "excessive-failures"] == [()]
        assert failures(changes) == {(0, "203.0.113.1"): 1}

    def test_ports_and_words_of_a_key_come_back(self, engine: Engine) -> None:
        rows = [(START_S, "", 445, "TCP", "Inbound", "Deny", 800, 800, 0), (START_S, "", 445, "TCP", "", "", 1, 1, 0)]

        assert engine.restore("port_volume", rows) == 2


class TestRestartWindows:
    """The wall clock was stepped."""

    def test_back_an_hour(self, engine: Engine) -> None:
        """Counting goes on in the slots of the new time; what was counted before is still handed over."""
        send(engine, [denied()] * 4001)
        before = engine.changes(NOW_NS)
        engine.ack(before.seq)
        send(engine, [denied("203.0.113.2")])
        stepped_ns = NOW_NS - HOUR_S * NS_PER_S
        engine.restart_windows(stepped_ns)
        send(engine, [denied("203.0.113.3")], stepped_ns)
        after = engine.changes(stepped_ns)

        assert failures(after) == {(0, "203.0.113.2"): 1, (-HOUR_S, "203.0.113.3"): 1}
        windows = [window for window in after.windows if window.rule == "excessive-failures" and not window.closed]
        assert [(window.end_ns, window.keys) for window in windows] == [(stepped_ns, ())]

    def test_without_it_time_never_runs_back(self, engine: Engine) -> None:
        send(engine, [denied()])
        send(engine, [denied("203.0.113.3")], NOW_NS - HOUR_S * NS_PER_S)

        assert failures(engine.changes(NOW_NS)) == {(0, "203.0.113.1"): 1, (0, "203.0.113.3"): 1}

    def test_an_unacknowledged_batch_survives(self, engine: Engine) -> None:
        send(engine, [denied()])
        first = engine.changes(NOW_NS)
        engine.restart_windows(NOW_NS + HOUR_S * NS_PER_S)
        again = engine.changes(NOW_NS + HOUR_S * NS_PER_S)

        assert (first.seq, first.rows, first.ledger) == (again.seq, again.rows, again.ledger)


class TestPlan:
    """What the engine is told to work with."""

    def test_everything_wrong_is_told_at_once(self, setup: plan.Setup) -> None:
        wrong = replace(
            setup.plan,
            profiles=[{"name": "x", "surprise": 1}, *setup.plan.profiles],
            counters=[{"name": "c", "group_by": ["NoField"], "slot_s": 0, "capacity": 1, "weight": "heavy"}],
            internal_networks=["10.0.0.0/8", "10.0.0.0/40"],
            message_bytes=0,
        )
        with pytest.raises(PlanError) as caught:
            Engine(wrong, ())
        paths = {path for path, _ in caught.value.problems}

        assert {
            "profiles[0]",
            "profiles[0].surprise",
            "profiles[0].detect",
            "internal_networks[1]",
            "bounds.message_bytes",
            "counters[0].group_by",
            "counters[0].weight",
            "counters[0]",
        } <= paths
        for path, reason in caught.value.problems:
            assert f"{path}: {reason}" in str(caught.value)
            assert reason == reason.strip()
            assert not reason.endswith(".")

    @pytest.mark.parametrize(
        ("key", "value", "path"),
        [
            ("profiles", 5, "profiles"),
            ("counters", [5], "counters[0]"),
            ("listeners", [{}], "listeners[0]"),
            ("listeners", [{"name": "udp", "site": "", "port": 1}], "listeners[0].port"),
            ("bounds", None, "bounds"),
            ("extra", 1, "extra"),
        ],
    )
    def test_shapes_are_strict(self, setup: plan.Setup, key: str, value: Any, path: str) -> None:
        raw = {**wanted(setup), key: value}
        with pytest.raises(_engine.PlanError) as caught:
            _engine.Engine(json.dumps(raw))
        assert path in [where for where, _ in caught.value.args[0]]

    def test_equal_names_are_refused(self, setup: plan.Setup) -> None:
        raw = wanted(setup)
        raw["profiles"].append(raw["profiles"][0])
        raw["counters"].append(raw["counters"][0])
        with pytest.raises(_engine.PlanError) as caught:
            _engine.Engine(json.dumps(raw))
        reasons = [reason for _, reason in caught.value.args[0]]
        assert reasons == [
            f'two profiles are named "{raw["profiles"][0]["name"]}"',
            f'two counters are named "{raw["counters"][0]["name"]}"',
        ]

    def test_a_plan_that_is_no_json(self) -> None:
        with pytest.raises(ValueError, match="no JSON"):
            _engine.Engine("{")


class TestReplan:
    """Another plan for an engine that is at work."""

    def changes(self, engine: _engine.Engine, now_ns: int = NOW_NS) -> dict[str, Any]:
        return engine.changes(now_ns)

    def send(self, engine: _engine.Engine, count: int) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as empty:
            engine.receive(0, empty.fileno(), NOW_NS, count + 1, [(denied(), "192.0.2.1")] * count)

    def over(self, changes: dict[str, Any]) -> list[tuple[Any, ...]]:
        return [
            key for window in changes["windows"] if window["rule"] == "excessive-failures" for key in window["keys"]
        ]

    def test_counters_of_the_same_definition_keep_their_counts(self, setup: plan.Setup) -> None:
        engine = _engine.Engine(setup.plan.as_json())
        self.send(engine, 10)
        first = self.changes(engine)
        engine.ack(first["seq"])
        assert self.over(first) == []

        engine.replan(json.dumps(wanted(setup, level=10)))
        self.send(engine, 1)
        second = self.changes(engine)
        assert self.over(second) == [("", "203.0.113.1", 11, 0)]
        assert list(second["rows"]["failures_by_source"]) == [(START_S, "", "203.0.113.1", 1, 1, 0)]

    def test_a_counter_of_another_definition_starts_anew(self, setup: plan.Setup) -> None:
        engine = _engine.Engine(setup.plan.as_json())
        self.send(engine, 10)
        raw = wanted(setup, level=10)
        raw["counters"][0]["weight"] = "records"
        del raw["counters"][0]["record_max"]
        engine.replan(json.dumps(raw))
        self.send(engine, 1)

        assert self.over(self.changes(engine)) == []

    def test_a_wrong_plan_changes_nothing(self, setup: plan.Setup) -> None:
        engine = _engine.Engine(setup.plan.as_json())
        self.send(engine, 10)
        with pytest.raises(_engine.PlanError):
            engine.replan(json.dumps({**wanted(setup, level=1), "extra": 1}))
        assert self.over(self.changes(engine)) == []

    def test_listeners_can_not_be_taken_away(self, setup: plan.Setup) -> None:
        engine = _engine.Engine(setup.plan.as_json())
        with pytest.raises(_engine.PlanError, match="2 are at work"):
            engine.replan(json.dumps({**wanted(setup), "listeners": [{"name": "udp", "site": ""}]}))

    def test_streams_stay(self, setup: plan.Setup) -> None:
        engine = _engine.Engine(setup.plan.as_json())
        stream = engine.connect(1, "192.0.2.1")
        half = len(denied()) // 2
        engine.feed(stream, bytearray(denied()[:half]), half, NOW_NS)
        engine.replan(setup.plan.as_json())
        rest = bytearray(denied()[half:] + b"\n")

        assert engine.feed(stream, rest, len(rest), NOW_NS) == 1
        assert self.changes(engine)["ledger"] == [(1, "session", 1, len(denied()))]


class TestParse:
    """Everything about one message, as JSON."""

    def parse(self, engine: Engine, message: bytes, peer: str | None = None) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(engine.parse(message, peer))
        assert list(answer) == ["Outcome", "Profile", "Recovered", "Header", "Relay", "Sessions"]
        assert list(answer["Header"]) == [
            "facility", "severity", "timestamp", "hostname", "appname", "procid", "msgid", "structured_data", "message",
        ]  # fmt: skip
        return answer

    def test_a_session(self, engine: Engine) -> None:
        answer = self.parse(engine, b"<164>Nov 22 2026 10:20:30 fw-01 : " + denied().partition(b">")[2])

        assert (answer["Outcome"], answer["Profile"]) == ("session", "cisco-asa")
        header = answer["Header"]
        assert (header["facility"], header["severity"], header["hostname"]) == (20, 4, "fw-01")
        assert header["message"].startswith("Deny tcp")
        (session,) = answer["Sessions"]
        assert session == {
            "EventSchema": "NetworkSession",
            "EventSchemaVersion": "0.2.6",
            "EventVendor": "Cisco",
            "EventProduct": "ASA",
            "EventType": "NetworkSession",
            "EventOriginalType": "106023",
            "EventOriginalSeverity": "4",
            "EventResult": "Failure",
            "EventSeverity": "Low",
            "EventCount": 1,
            "Dvc": "fw-01",
            "DvcAction": "Deny",
            "DvcOriginalAction": "Deny",
            "SrcIpAddr": "203.0.113.1",
            "SrcPortNumber": 40000,
            "SrcInterfaceName": "outside",
            "DstIpAddr": "10.0.0.1",
            "DstPortNumber": 445,
            "DstInterfaceName": "inside",
            "NetworkProtocol": "TCP",
            "NetworkDirection": "Inbound",
            "NetworkRuleName": "in",
            "AdditionalFields": {"blocked": True, "counted": True},
        }

    def test_the_peer_is_the_device_where_the_message_names_none(self, engine: Engine) -> None:
        message = b"<164>Nov 22 2026 10:20:30 fw-01 : " + denied().partition(b">")[2]

        assert self.parse(engine, message, "192.0.2.9")["Sessions"][0]["Dvc"] == "192.0.2.9"
        assert "Dvc" not in self.parse(engine, denied())["Sessions"][0]

    @pytest.mark.parametrize(
        ("message", "outcome", "profile"),
        [
            (b"", "empty", None),
            (b"\n", "empty", None),
            (b"x" * 70_000, "too_long", None),
            (b"nothing known", "unparsed", None),
            (b"%ASA-4-106023: else", "unparsed", "cisco-asa"),
            (b"%ASA-6-605005: Login permitted", "event", "cisco-asa"),
        ],
    )
    def test_no_session(self, engine: Engine, message: bytes, outcome: str, profile: str | None) -> None:
        answer = self.parse(engine, message)

        assert (answer["Outcome"], answer["Profile"], answer["Sessions"]) == (outcome, profile, [])

    def test_bytes_that_are_no_text_are_shown(self, engine: Engine) -> None:
        answer = self.parse(engine, b"<13>Nov 22 10:20:30 h app: \xff\x00\x1b")

        assert answer["Header"]["message"] == "\ufffd\x00\x1b"

    def test_it_counts_nothing(self, engine: Engine) -> None:
        engine.parse(denied())

        assert engine.changes(NOW_NS).ledger == []


def test_a_stale_build_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outcomes of another build would mix up the ledger."""
    import importlib.util

    from collectord import engine as module

    monkeypatch.setattr(_engine, "OUTCOMES", (*OUTCOMES, "newer"))
    spec = importlib.util.spec_from_file_location("collectord_engine_again", Path(module.__file__))
    assert spec is not None
    assert spec.loader is not None
    with pytest.raises(ImportError, match="build the engine again"):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
