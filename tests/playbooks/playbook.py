"""
Playbooks: what devices send when, and which alerts follow.

    story = play("excessive-failures")
    story.at("0:00").send(5000, SrcIpAddr="192.0.2.1", EventResult="Failure").expect(nothing)
    story.at("4:59.8").send(1, SrcIpAddr="192.0.2.1", EventResult="Failure")
    story.expect(raised("excessive-failures", SrcIpAddr="192.0.2.1", count=5001))

Messages go through the real engine, the real pass and SQLite, as in the daemon; only the clock is moved by hand. A
message is a JSON object whose keys are ASIM field names, so a step says what it means. What the daemon notices about
itself (the kernel drops messages, an output is down) and what operators do are steps as well.
"""

import functools
import json
import os
import socket
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from collectord import plan
from collectord.actions import Actions
from collectord.clock import ManualClock
from collectord.detect import hosts as hosts_file
from collectord.detect import rules as rule_values
from collectord.detect import watchlist as watchlist_file
from collectord.detect.alerts import AlertStates
from collectord.detect.holds import Holds
from collectord.detect.hosts import Hosts
from collectord.detect.rules import Rule
from collectord.detect.silence import Silences
from collectord.detect.watchlist import COLUMNS, Watchlist
from collectord.engine import Engine
from collectord.errors import DamagedError
from collectord.fields import RULE_FIELDS, SUM_FIELDS
from collectord.health import Health
from collectord.model import NS_PER_S, Alert, KeyValue
from collectord.store.db import Database
from collectord.tick import Tick

START_S = 20_834 * 86_400
"""Midnight UTC: "0:00" of every story, a boundary of all windows."""

WORDS = {
    "DvcAction": ("Allow", "Deny", "Drop", "Drop ICMP", "Reset", "Reset Source", "Reset Destination"),
    "EventResult": ("Success", "Failure", "Partial", "NA"),
    "NetworkDirection": ("Inbound", "Outbound", "Local", "External", "NA"),
}
"""Fields with a closed list of values: only a map can set them, from a value of another name."""

# ``counts = "never"`` in a message: its record tells of a session that another one tells of as well.
PROFILE: dict[str, Any] = {
    "name": "playbook",
    "title": "ASIM as JSON",
    "EventVendor": "Playbook",
    "EventProduct": "ASIM",
    "detect": [{"starts": "{"}],
    "reader": "json",
    "set": {"EventType": "NetworkSession"},
    "fields": {
        name: name
        for name in (*RULE_FIELDS, *SUM_FIELDS, "EventCount")
        if name not in WORDS and name not in ("EventType", "EventSubType", "EventSeverity", "EventResultDetails")
    },
    "map": [
        *({"from": f"{name}Word", "to": {value: {name: value} for value in values}} for name, values in WORDS.items()),
        {"from": "counts", "to": {"never": {"counts": "never"}}},
    ],
}  # fmt: skip


@dataclass(frozen=True)
class Told:
    """A state of an alert that a story expects; what is None may be anything."""

    event: str
    rule: str
    key: dict[str, KeyValue]
    count: int | None = None
    reason: str | None = None
    held: str | None = None
    """What keeps it from being sent; empty: nothing does."""

    def fits(self, alert: Alert) -> bool:
        """Whether an alert's state is this one."""
        return (
            alert.event.partition(":")[0] == self.event
            and alert.rule == self.rule
            and self.key.items() <= alert.key.items()
            and self.count in (None, alert.count)
            and self.reason in (None, alert.reason)
            and self.held in (None, alert.held)
        )


def raised(rule: str, /, *, count: int | None = None, held: str | None = None, **key: KeyValue) -> Told:
    """An alert came up."""
    return Told("raised", rule, key, count, held=held)


def updated(rule: str, /, *, count: int | None = None, held: str | None = None, **key: KeyValue) -> Told:
    """An alert grew, is held back, or is no longer."""
    return Told("updated", rule, key, count, held=held)


def cleared(
    rule: str, /, *, reason: str | None = None, count: int | None = None, held: str | None = None, **key: KeyValue
) -> Told:
    """An alert is over."""
    return Told("cleared", rule, key, count, reason, held)


nothing: tuple[Told, ...] = ()
"""No alert changed."""


@functools.cache
def shipped() -> plan.Setup:
    """The shipped configuration, rules and watchlist."""
    return plan.load(None)


def rule(name: str, **changes: Any) -> Rule:
    """A shipped rule; one that is off reports. Any field can be given."""
    (found,) = [rule for rule in shipped().rules if rule.name == name]
    if found.mode is rule_values.Mode.OFF:
        found = replace(found, mode=rule_values.Mode.REPORT)
    return replace(found, **changes)


def watchlist(*lines: str) -> Watchlist:
    """A port watchlist of these lines, in the columns of the shipped file."""
    return watchlist_file.parse("\n".join((",".join(COLUMNS), *lines)) + "\n", "watchlist.csv")


def hosts(*lines: str) -> Hosts:
    """A list of hosts of these lines, in the columns of the shipped file."""
    return hosts_file.parse("\n".join((",".join(hosts_file.COLUMNS), *lines)) + "\n", "hosts.csv")


def setup_with(rules: Sequence[Rule], ports: Watchlist) -> plan.Setup:
    """The shipped setup with these rules, for an engine that reads the messages of stories."""
    return replace(
        shipped(),
        rules=tuple(rules),
        watchlist=ports,
        definitions=tuple(rule_values.counter_definitions(rules)),
        plan=replace(shipped().plan, profiles=[PROFILE], counters=rule_values.plan(rules, ports)),
    )


def engine(rules: Sequence[Rule], ports: Watchlist) -> Engine:
    """An engine that counts what these rules need, and reads the messages of stories."""
    return setup_with(rules, ports).engine()


DEVICE = "192.0.2.254"
"""Where messages come from unless a step says something else."""


def send(engine: Engine, messages: Sequence[bytes], now_ns: int, device: str = DEVICE) -> None:
    """Datagrams come in."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as empty:
        woken = [(message, device) for message in messages]
        taken, _ = engine.receive(0, empty.fileno(), now_ns, len(woken) + 1, woken)
    assert taken == len(messages)


class Story:
    """
    A run of the daemon's parts that stand between messages and alerts.

    Args:
        path: The database.
        rules: What is looked for.
        ports: The port watchlist; the shipped one if None.
        hosts: What is known of addresses; nothing if None.
        devices: Names or addresses of the devices that the configuration lists.
        learn_s: For how long nothing is sent because the daemon learns.
        storm_cap: As in the configuration.
        pass_s: Time from one pass to the next; the daemon's is 1 s, long stories take less time with more.
        first_pass_s: When the first pass comes.
    """

    def __init__(
        self,
        path: Path,
        rules: Sequence[Rule],
        *,
        ports: Watchlist | None = None,
        hosts: Hosts | None = None,
        devices: Sequence[str] = (),
        learn_s: int = 0,
        storm_cap: int | None = None,
        pass_s: float = 1.0,
        first_pass_s: float = 0.0,
    ) -> None:
        self.clock = ManualClock(START_S * NS_PER_S)
        self._path = path
        self._hosts, self._devices = hosts, devices
        self._learn_until_ns, self._storm_cap = _ns(learn_s) if learn_s else 0, storm_cap
        self._dropped: dict[str, int] = {}
        self._outputs: dict[str, bool | None] = {}
        self._given_up: dict[str, int] = {}
        self._pass_s = pass_s
        self._next_pass_s = first_pass_s
        self._told: list[Alert] = []
        self.everything: list[Alert] = []
        """All that was told in this story."""
        self._runs = 0
        self._begin(rules, shipped().watchlist if ports is None else ports)

    def _begin(self, rules: Sequence[Rule], ports: Watchlist) -> None:
        setup = setup_with(rules, ports)
        self.engine = setup.engine()
        self._database = Database(self._path)
        # No power fails in a story.
        self._database.connection.execute("PRAGMA synchronous = OFF")
        self._database.checkpoint = lambda: None  # type: ignore[method-assign]
        self._runs += 1
        self._rules, self._ports = rules, ports
        holds = Holds(learn_until_ns=self._learn_until_ns, storm_cap=self._storm_cap)
        silences = Silences([(None, name) for name in self._devices], (), self.clock.now_ns())
        self.health = Health(
            rules,
            silences,
            [listener.name for listener in setup.config.listener],
            lambda: self._dropped,
            lambda: self._outputs,
            self._take_given_up,
        )
        self.states = AlertStates(
            rules,
            ports,
            holds=holds,
            hosts=self._hosts,
            address_of=silences.address,
            known=self.health.known,
        )
        # What the kernel dropped is counted from the start of a run, and no output was tried in it.
        self._dropped.clear()
        self._outputs = dict.fromkeys(self._outputs)
        self.tick = Tick(
            setup,
            engine=self.engine,
            clock=self.clock,
            database=self._database,
            run=f"run {self._runs}",
            states=self.states,
            receivers=self._receivers,
            health=self.health,
        )
        self.tick.restore()
        self._actions = Actions(
            database=self._database,
            states=self.states,
            tick=self.tick,
            now_ns=self.clock.now_ns,
        )
        self._actions.restore()

    def _receivers(self, alert: Alert) -> list[str]:
        self._told.append(alert)
        self.everything.append(alert)
        return ["noc"]

    def _take_given_up(self) -> dict[str, int]:
        taken, self._given_up = self._given_up, {}
        return taken

    def close(self) -> None:
        """The end of the run."""
        self._database.close()

    def restart(self, *, rules: Sequence[Rule] | None = None, ports: Watchlist | None = None) -> "Story":
        """The daemon is started again, on the same database, with other rules or another watchlist if given."""
        self.tick.run()
        self.close()
        self._begin(self._rules if rules is None else rules, self._ports if ports is None else ports)
        now_ns = self.clock.now_ns()
        self.tick.reconcile(self.states.reconcile(self._rules, self._ports, now_ns, anew=self.tick.begun))
        return self

    def at(self, time: str) -> "Story":
        """Lets time pass until ``m:ss`` or ``h:mm:ss``, with the passes that come on the way."""
        until_s = _seconds(time)
        if until_s < self._now_s:
            raise ValueError(f"the story is at {self._now_s} s already, which is after {time}")
        while self._next_pass_s < until_s:
            self._pass_time(self._next_pass_s)
            self.tick.run()
            self._next_pass_s += self._pass_s
        self._pass_time(until_s)
        return self

    @property
    def _now_s(self) -> float:
        return self.clock.now_ns() / NS_PER_S - START_S

    def every(self, seconds: float, until: str, do: Callable[["Story"], object]) -> "Story":
        """Something happens now, and again and again until a time."""
        at_s = self._now_s
        while at_s <= _seconds(until):
            do(self.at(f"0:{at_s}"))
            at_s += seconds
        return self

    def send(self, count: int = 1, *, device: str = DEVICE, device_time: str = "", **session: KeyValue) -> "Story":
        """
        So many equal messages come in, each of one session.

        ``device`` is the address of the device that sends them, ``device_time`` what its clock says.
        """
        return self._send([message(session, device_time)] * count, device)

    def send_each(self, name: str, values: Iterable[KeyValue], **session: KeyValue) -> "Story":
        """A message for each value of a field."""
        return self._send([message({**session, name: value}) for value in values])

    def _send(self, messages: Sequence[bytes], device: str = DEVICE) -> "Story":
        send(self.engine, messages, self.clock.now_ns(), device)
        return self

    def _pass_time(self, until_s: float) -> None:
        self.clock.advance((_ns(until_s) - self.clock.now_ns()) / NS_PER_S)

    def step(self, seconds: int) -> "Story":
        """Somebody sets the wall clock; the story goes on in the new time."""
        self.tick.run()
        self.clock.step(seconds)
        self.tick.run()
        self._next_pass_s = self._now_s + self._pass_s
        return self

    def dropped(self, count: int, listener: str = "udp") -> "Story":
        """The kernel drops so many messages."""
        self._dropped[listener] = self._dropped.get(listener, 0) + count
        return self

    def output(self, name: str, *, up: bool | None) -> "Story":
        """The last try of an output went well, or did not; None: there was none yet."""
        self._outputs[name] = up
        return self

    def without_output(self, name: str) -> "Story":
        """An output is taken out of the configuration."""
        del self._outputs[name]
        return self

    def list_devices(self, *devices: str) -> "Story":
        """The configuration lists these devices from now on."""
        self.tick.run()
        self.health.take_up(self._rules, [(None, name) for name in devices], (), self.clock.now_ns())
        return self

    def given_up(self, count: int, output: str = "noc") -> "Story":
        """So many alerts for an output are dropped undelivered."""
        self._given_up[output] = self._given_up.get(output, 0) + count
        return self

    def locked(self, locked: bool = True) -> "Story":
        """Another program holds the database for itself, or lets go of it."""
        self._database.connection.execute("PRAGMA busy_timeout = 0")
        if locked:
            self._other = sqlite3.connect(self._path, isolation_level=None)
            self._other.execute("BEGIN IMMEDIATE")
        else:
            self._other.close()
        return self

    def damaged(self) -> "Story":
        """The database turns out to be damaged."""
        self._database.damage = DamagedError("the database is damaged")
        return self

    def do(self, action: str, *, until: str | None = None, **arguments: Any) -> Any:
        """An operator's command, by the name of its request; returns its answer."""
        if until is not None:
            arguments["until_ns"] = _ns(_seconds(until))
        answer, _ = self._actions.by_name[action](arguments, os.getuid())
        return answer

    def expect(self, *expected: Told | tuple[Told, ...]) -> "Story":
        """A pass now; since the last time, exactly these states were told, in any order."""
        self.tick.run()
        outcomes = {outcome for of_listener in self.tick.outcomes.values() for outcome in of_listener}
        assert outcomes <= {"session"}, outcomes
        wanted = [each for one in expected for each in (one if isinstance(one, tuple) else (one,))]
        unexpected = [
            f"{alert.event} {alert.rule} {alert.key} count={alert.count} reason={alert.reason!r}"
            for alert in self._told
            if not any(each.fits(alert) for each in wanted)
        ]
        missing = [each for each in wanted if not any(each.fits(alert) for alert in self._told)]
        told, self._told = self._told, []
        assert not unexpected, unexpected
        assert not missing, missing
        assert len(told) == len(wanted), told
        return self

    @property
    def told(self) -> list[Alert]:
        """What was told since :meth:`expect` was called last."""
        return list(self._told)

    @property
    def active(self) -> list[Alert]:
        """The alerts that have not cleared."""
        return self.states.active


Play = Callable[..., Story]


def _seconds(time: str) -> float:
    total = 0.0
    for part in time.split(":"):
        total = 60 * total + float(part)
    return total


def _ns(seconds: float) -> int:
    return START_S * NS_PER_S + round(seconds * NS_PER_S)


def message(session: Mapping[str, KeyValue], device_time: str = "") -> bytes:
    """The bytes of a message that tells of one session."""
    header = f"<134>1 {device_time} fw - - - - " if device_time else "<134>"
    return (header + json.dumps({f"{n}Word" if n in WORDS else n: value for n, value in session.items()})).encode()
