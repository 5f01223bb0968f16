"""
An attack goes on while the daemon is ended again and again: the alerts are those of a daemon that nobody ended.

Two daemons get the same messages in the same order, one of them is ended at random moments. What a kill took is sent
again, from the first message that the database does not have.
"""

import json
import random
import socket
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from .daemon import Daemon, counted, running

ROUNDS = 8
SPACING_S = 2.1
"""Between the calls of the regular host; gaps of two whole seconds are longer than one."""

REGULAR = """
name = "regular"
title = "Regular calls of {SrcIpAddr}"
type = "beacon"
counter = "regular_calls"
where = { DstIpAddr = "203.0.113.200" }
group_by = ["SrcIpAddr", "DstIpAddr"]
timespan = "1h"
condition = { gt = 80, min_events = 7, min_gap = "1s", tolerance = "60s" }
clear = { after = "2h", below = 0.8 }
mode = "notify"
severity = "low"
unit = "per cent"
"""

LISTENER = '[[listener]]\ntype = "tcp"\nname = "tcp"\nport = 0\n'

LOUD, QUIET = "203.0.113.66", "203.0.113.67"
SCANNER, SLOW_SCANNER = "198.51.100.1", "198.51.100.2"
CALLER = "10.1.2.3"


def denied(source: str, number: int, port: int) -> bytes:
    text = f"%ASA-4-106023: Deny tcp src outside:{source}/{1024 + number} dst inside:10.0.0.5/{port}"
    return f'<164>{text} by access-group "outside_in" [0x0, 0x0]'.encode()


def round_of(number: int) -> list[bytes]:
    """
    What comes in at once, so that each rule has somebody who crosses its threshold in the last round, and somebody
    who comes to just the threshold: what is counted twice raises an alert too many, what is forgotten one too few.
    """
    last = number == ROUNDS - 1
    messages = [denied(LOUD, n, 8443) for n in range(700)]
    messages += [denied(QUIET, n, 8443) for n in range(625)]
    messages += [denied(f"192.0.2.{n % 100}", n, 445) for n in range(130)]
    messages += [denied(f"192.0.2.{n % 100}", n, 139) for n in range(125)]
    messages += [denied(SCANNER, n, 1000 + 7 * number + n) for n in range(7)]
    messages += [denied(SLOW_SCANNER, n, 1000 + 6 * number + n) for n in range(8 if last else 6)]
    random.Random(number).shuffle(messages)
    call = f"%ASA-4-106023: Deny tcp src inside:{CALLER}/{2000 + number} dst outside:203.0.113.200/443"
    return [*messages, f'<164>{call} by access-group "inside_out" [0x0, 0x0]'.encode()]


class Sender:
    """Sends one stream of messages in order, and knows which of them a daemon has stored."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.messages: list[bytes] = []
        self._next = 0
        self._first_of_run = 0
        self._connection: socket.socket | None = None

    def send(self, but: int = 0) -> None:
        """The next messages, until all that there are but the last so many have been sent."""
        if self._connection is None:
            self._connection = self.daemon.connect()
        until = len(self.messages) - but
        self._connection.sendall(counted(self.messages[self._next : until]))
        self._next = until

    def close(self) -> None:
        """Ends the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def wait_received(self) -> None:
        """Until the daemon has read everything that was sent to it."""
        self.daemon.wait_received("tcp", self._next - self._first_of_run)

    def restart(self, *, kill: bool) -> int:
        """Ends the daemon and starts it again; returns how many messages that cost."""
        if kill:
            self.daemon.kill()
        else:
            self.daemon.stop()
        self.close()
        ((kept,),) = self.daemon.rows("SELECT coalesce(sum(messages), 0) FROM ledger")
        lost, self._next, self._first_of_run = self._next - kept, kept, kept
        assert lost >= 0
        self.daemon.start()
        return lost


def told(daemon: Daemon) -> dict[tuple[Any, ...], int]:
    """(rule, key, episode, event) of every state of an alert, and its count."""
    found = daemon.rows("SELECT rule, key, episode, event, count FROM alert_history")
    return {(rule, key, episode, event): count for rule, key, episode, event, count in found}


@pytest.mark.e2e
@pytest.mark.timeout(150)
@pytest.mark.slow
def test_alerts_are_those_of_an_undisturbed_run(tmp_path: Path) -> None:
    randomness = random.Random(8)
    kills = randomness.sample([False] * 3 + [True] * 3 + [None] * (ROUNDS - 6), ROUNDS)
    costs = []
    with ExitStack() as stack:
        calm, ended = (
            Sender(stack.enter_context(running(tmp_path / name, LISTENER, {"regular": REGULAR})))
            for name in ("calm", "ended")
        )
        for sender in (calm, ended):
            stack.callback(sender.close)
        called_s = time.monotonic()
        for number, kill in enumerate(kills):
            messages = round_of(number)
            calm.messages += messages
            ended.messages += messages
            if kill is not None:
                if kill and not any(costs):
                    # A moment that is sure to cost something: a tick has just been, and the next is a second away.
                    ended.daemon.wait_ticks(1)
                    ended.send(but=randomness.randrange(1, len(messages)))
                else:
                    ended.send(but=randomness.randrange(1, len(messages)))
                    # Any moment of a tick, or just after the next one.
                    time.sleep(randomness.uniform(0, 1.2))
                lost = ended.restart(kill=kill)
                assert kill or not lost, "who is asked to end loses nothing"
                costs.append(lost)
            for sender in (calm, ended):
                sender.send(but=1)
                sender.wait_received()
            if kill is not None and costs[-1]:
                # The last call may be among what was lost, and came again just now.
                called_s = time.monotonic()
            time.sleep(max(0.0, called_s + SPACING_S - time.monotonic()))
            for sender in (calm, ended):
                sender.send()
                sender.wait_received()
            called_s = time.monotonic()
        for sender in (calm, ended):
            sender.daemon.wait_ticks(1)
            sender.daemon.stop()
        assert any(costs), "a kill was to cost something, or this test shows nothing"
        _compare(calm.daemon, ended.daemon)


def _compare(calm: Daemon, ended: Daemon) -> None:
    expected = {
        "excessive-failures": ({"SrcIpAddr": LOUD}, 5_001, 700),
        "port-misuse": ({"DstPortNumber": 445, "Name": "Burst of SMB sessions", "NetworkProtocol": "TCP"}, 1_001, 130),
        "port-scan": ({"SrcIpAddr": SCANNER}, 51, 7),
        "regular": ({"DstIpAddr": "203.0.113.200", "SrcIpAddr": CALLER}, 100, 0),
    }
    counts = told(calm)
    assert counts.keys() == told(ended).keys()
    assert sorted((rule, json.loads(key), episode, event) for rule, key, episode, event in counts) == [
        (rule, key, 1, "raised") for rule, (key, _, _) in sorted(expected.items())
    ]
    for place, count in told(ended).items():
        _, first, of_a_round = expected[place[0]]
        assert first <= count <= first + of_a_round
        assert abs(count - counts[place]) <= of_a_round
    # What the tables hold is the same to the last message.
    for counter, columns in {
        "failures_by_source": ("SrcIpAddr",),
        "port_volume": ("DstPortNumber", "NetworkProtocol", "NetworkDirection", "DvcAction"),
    }.items():
        assert calm.sums(counter, *columns) == ended.sums(counter, *columns)
    queued = "SELECT o.event, a.rule FROM outbox o JOIN alerts a ON a.id = o.alert_id ORDER BY 2"
    assert calm.rows(queued) == ended.rows(queued)
    # Evidence was kept from the time on at which a key came near its threshold, over the ends as well.
    evidence = "SELECT json_extract(details, '$.evidence') FROM alerts WHERE rule = 'excessive-failures'"
    seen = [json.loads(daemon.rows(evidence)[0][0])["messages"] for daemon in (calm, ended)]
    assert abs(seen[0] - seen[1]) <= 700
