"""What the stages hand to each other: plain values, no behaviour that needs a clock, a socket or a file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

KeyValue = str | int

NS_PER_S = 1_000_000_000

# The outcomes of a message, in the order in which the engine numbers them (a test holds both lists together).
OUTCOMES = (
    "session",
    "event",
    "unparsed",
    "empty",
    "too_long",
    "bad_frame",
    "unfinished",
    "no_memory",
    "panic",
    "not_allowed",
    "rate_limited",
)

# Tables of the database that no counter may be named after.
FIXED_TABLES = (
    "alert_history",
    "alert_marks",
    "alert_names",
    "alerts",
    "audit",
    "counter_states",
    "devices",
    "exempts",
    "ledger",
    "maintenance",
    "meta",
    "migrations",
    "outbox",
    "outbox_drops",
    "outbox_owed",
    "outbox_sequences",
    "quarantine",
    "unmapped_words",
)

OTHER_SITE = "*"
"""Site of the row that collects what has no row of its own; no site may be named so."""

OTHER_DEVICES = "(others)"
"""The device that stands for all that the engine has no place for."""


class Severity(StrEnum):
    """Severity of a rule and of its alerts, in Sigma's and ASIM's words, rising."""

    INFORMATIONAL = "informational"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"

    @property
    def rank(self) -> int:
        """Its place in the order, the least severe first."""
        return _RANKS[self]


_RANKS = {severity: rank for rank, severity in enumerate(Severity)}


class Mode(StrEnum):
    """What a rule's alerts do: sent to the outputs, stored and shown only, or not raised at all."""

    NOTIFY = "notify"
    REPORT = "report"
    OFF = "off"


class AlertState(StrEnum):
    """Where an alert stands in its life."""

    RAISED = "raised"
    UPDATED = "updated"
    CLEARED = "cleared"


class AlarmType(StrEnum):
    """What an alert is about, for whoever treats these differently: the NOC's own tools."""

    ALARM = "alarm"
    """A rule about sessions, or about alerts, came true."""
    DEVICE_SILENT = "device-silent"
    DEVICE_CLOCK = "device-clock"
    MESSAGES_LOST = "messages-lost"
    OUTPUT_DOWN = "output-down"
    TEST = "test"
    """Nothing happened: somebody tries the way to the outputs."""


@dataclass(frozen=True, slots=True)
class CounterDefinition:
    """
    What a counter sums and by what.

    Two rules with an equal definition share one counter and one table.
    """

    name: str
    where: dict[str, Any] = field(hash=False)
    group_by: tuple[str, ...]
    """ASIM field names, in the order of the table's key columns."""
    slot_s: int
    """Length of a slot in seconds; slots are aligned to the epoch."""
    weight: str = "EventCount"
    """What a record adds: ``EventCount``, 1 (``records``), or a number field."""
    capacity: int = 65_536
    """Most keys that one slot holds."""
    distinct: str = ""
    """The field whose distinct values are counted, in place of a sum."""
    every_record: bool = False
    """Also records that don't count beside another one of the same session."""
    beacon: dict[str, int] | None = field(default=None, hash=False)
    """
    Look for regular intervals per key, in place of a sum: ``min_gap_s`` (shorter gaps belong to one event),
    ``tolerance_s`` and ``tolerance_percent`` (gaps that differ by no more than the larger are the same). A window's
    count is the share of the most frequent gap, in percent, rounded up.
    """
    evidence: tuple[str, ...] = ()
    """Fields of which the most frequent values are kept while a key is hot; empty: no evidence is kept."""
    pinned_ports: tuple[int, ...] = ()
    """Rows of these ports are the last to be cut away, however small they are: rules look back at them."""

    def counts_as(self, other: "CounterDefinition") -> bool:
        """Whether what one holds is of use to the other: bounds, and what is kept beside the counts, are no matter."""
        same = ("name", "where", "group_by", "slot_s", "weight", "distinct", "every_record", "beacon")
        return all(getattr(self, name) == getattr(other, name) for name in same)

    @property
    def has_table(self) -> bool:
        """Whether rows of sums are kept; the state of the others' keys stands in ``counter_states``."""
        return not (self.distinct or self.beacon)


@dataclass(frozen=True, slots=True)
class WindowKey:
    """One key of a window whose sum is over the rule's level."""

    site: str
    key: tuple[KeyValue, ...]
    """Values in the order of the counter's ``group_by``."""
    count: int
    """Sum over the window; exact since the key got its place."""
    error: int
    """Most that can be missing in ``count`` (messages counted before the key got its place)."""
    threshold: int | None = None
    """What this key is held against, where that is not the same for all keys of the rule."""
    details: dict[str, Any] = field(default_factory=dict, hash=False)
    """What else whoever judged the window knows of the key."""
    keeps_only: bool = False
    """It keeps an alert that stands already, and raises none."""


@dataclass(frozen=True, slots=True)
class Window:
    """A rule's window as it stood at one instant. Keys that are not listed are at or below the rule's level."""

    rule: str
    start_ns: int
    end_ns: int
    closed: bool
    """True: judged at a slot boundary, complete. False: the window that is still open, as of now."""
    keys: tuple[WindowKey, ...]


@dataclass(frozen=True, slots=True)
class KeyState:
    """All that a counter keeps of a key beside sums, as of the moment when it was handed over."""

    counter: str
    kind: str
    """``values``: distinct values seen with the key; ``beacon``: gaps between its sessions; ``evidence``: its words."""
    site: str
    key: tuple[KeyValue, ...]
    """Values in the order of the counter's ``group_by``."""
    state: str
    """JSON object; empty: the key is no longer held, and what was stored of it is to be forgotten."""
    last_s: int
    """Start of the slot that the key was last seen in (``values``), or time of its last message, epoch seconds."""


@dataclass(frozen=True, slots=True)
class DeviceSighting:
    """What was seen of one device since the last batch."""

    site: str
    name: str
    peer: str
    """Address that its last message came from; empty where the listener does not know it."""
    listener: int
    profile: str
    """Of its last message that any profile knew; empty: none yet."""
    messages: dict[str, int] = field(hash=False)
    """By outcome."""
    last_ns: int
    clock_off_ms: int | None
    """Its clock less ours; None: its messages carry no time."""


@dataclass(frozen=True, slots=True)
class DevicePauses:
    """How long a device was silent between two messages."""

    site: str
    name: str
    pauses: Mapping[int, int] = field(hash=False)
    """Longest pause (ns) by day since the epoch, the last seven days at most."""


@dataclass(frozen=True, slots=True)
class DeviceHistory:
    """What earlier runs saw of a device."""

    site: str
    name: str
    peer: str
    first_seen_ns: int
    last_seen_ns: int
    pauses: Mapping[int, int] = field(hash=False)
    """As in :class:`DevicePauses`."""


@dataclass(frozen=True, slots=True)
class UnreadGroup:
    """Messages of one peer and one shape that could not be read, since the last batch."""

    listener: int
    peer: str
    profile: str
    """The profile that knew them and could not read them; empty where none knew them."""
    shape: str
    messages: int
    example: bytes
    last_ns: int


@dataclass(frozen=True, slots=True)
class LimitedPeer:
    """A peer that sends more than ``bounds.peer_rate``."""

    peer: str
    listener: int
    """Index of the listener that its last message came in at."""
    since_ns: int
    dropped: int
    """Messages that were not read since then."""
    ended: bool
    """It has kept to its rate for some seconds again; told once."""


@dataclass(frozen=True, slots=True)
class Changes:
    """A numbered batch of what the engine counted since the batch before it."""

    seq: int
    now_ns: int
    rows: Mapping[str, Sequence[tuple[Any, ...]]]
    """Per counter: (slot, site, key columns..., EventCount, messages, error); increments but for ``error``."""
    ledger: list[tuple[int, str, int, int]]
    """(listener index, outcome, messages, bytes): increments."""
    windows: tuple[Window, ...]
    evicted: dict[str, int]
    without_key: dict[str, int]
    carried: int
    """Rows and states that did not fit and come with the next batch."""
    devices: tuple[DeviceSighting, ...] = ()
    quarantine: tuple[UnreadGroup, ...] = ()
    not_quarantined: int = 0
    """Unread messages that the quarantine had no place for; they are in the ledger."""
    unmapped: Sequence[tuple[str, str, str, int]] = ()
    """Vendors' words that no map knows: (profile, source, word, messages)."""
    clamped: int = 0
    """Records that claimed a larger ``EventCount``, or number to sum up, than one may."""
    states: Sequence[KeyState] = ()
    """Whole states of the keys that changed, in order: of one key the last counts."""
    evidence: Sequence[KeyState] = ()
    """Those of the states that are evidence."""
    exempted: dict[str, int] = field(default_factory=dict)
    """Sessions per counter that passed one of its exempts, and so were not counted."""
    limited: tuple[LimitedPeer, ...] = ()
    """The peers over their rate, most dropped first, and those that no longer are; not part of the batch."""
    panics: int = 0
    """Bugs that the engine met outside of messages since the last call: windows may lack then, and rows."""


@dataclass(frozen=True, slots=True)
class Alert:
    """
    One state of an alert.

    ``id`` is made of rule, site and key alone, so it is the same for raise, update and clear, and after a restart.
    """

    id: str
    episode: int
    """Counts the raises of this id, from 1."""
    event: str
    """``raised``, ``updated:2``, ``updated:3``..., ``cleared``: unique within the episode."""
    rule: str
    state: AlertState
    severity: Severity
    mode: Mode
    site: str
    key: dict[str, KeyValue] = field(hash=False)
    count: int
    threshold: int
    window_s: int
    first_time_ns: int
    """Start of the window in which the rule came true."""
    last_time_ns: int
    """The instant of the last judgement that this state tells of."""
    title: str
    summary: str
    """One line for the person on call."""
    reason: str = ""
    """Why it cleared; empty before."""
    tactics: tuple[str, ...] = ()
    techniques: tuple[str, ...] = ()
    details: dict[str, Any] = field(default_factory=dict, hash=False)
    """What else is known, for ``alerts show``: actions and directions seen, the watchlist row's text."""
    last_over_ns: int = 0
    """The last judgement that found the key over the clear level."""
    peak: int = 0
    """Largest sum of the episode so far."""
    alarm_type: AlarmType = AlarmType.ALARM

    @property
    def held(self) -> str:
        """Why this state is stored and not sent; empty if nothing holds it back."""
        return str(self.details.get("held", ""))

    @property
    def is_sent(self) -> bool:
        """
        Whether outputs are told of this state.

        The mode says whether they were told of the raise, and only what they know can clear for them.
        """
        return self.mode is Mode.NOTIFY and (self.state is AlertState.CLEARED or not self.held)

    def as_json(self) -> dict[str, Any]:
        """The documented JSON object of an alert; times are RFC 3339 UTC, fields are only ever added."""
        return {
            "id": self.id,
            "episode": self.episode,
            "event": self.event,
            "rule": self.rule,
            "state": self.state.value,
            "severity": self.severity.value,
            "mode": self.mode.value,
            "site": self.site,
            "key": self.key,
            "count": self.count,
            "threshold": self.threshold,
            "window_s": self.window_s,
            "first_time": rfc3339(self.first_time_ns),
            "last_time": rfc3339(self.last_time_ns),
            "title": self.title,
            "summary": self.summary,
            "reason": self.reason,
            "tactics": list(self.tactics),
            "techniques": list(self.techniques),
            "details": self.details,
            "alarm_type": self.alarm_type.value,
        }


class MarkKind(StrEnum):
    """What an operator may put on an alert."""

    ACK = "ack"
    """Somebody looks after it; for one episode."""
    SHELVE = "shelve"
    """It is stored and not sent until a time; for all its episodes."""


@dataclass(frozen=True, slots=True)
class AlertMark:
    """What an operator put on an alert."""

    alert_id: str
    kind: MarkKind
    episode: int
    """The alert's when it was marked."""
    who: str
    when_ns: int
    reason: str
    until_ns: int | None = None
    """When a shelved alert comes back; None of an acknowledgement."""


@dataclass(frozen=True, slots=True)
class AddedExempt:
    """An exempt that an operator added to a rule, beside those that stand in its file."""

    number: int
    rule: str
    where: dict[str, Any] = field(hash=False)
    """Tests on the key of an alert, as in the rule's file."""
    reason: str
    until_ns: int | None
    who: str
    when_ns: int


@dataclass(frozen=True, slots=True)
class MaintenanceWindow:
    """A time in which alerts of a site are stored and not sent."""

    number: int
    site: str | None
    """None: all sites."""
    from_ns: int
    until_ns: int
    zone: str
    """Name of the time zone that it was written in; empty for the machine's."""
    reason: str
    who: str
    when_ns: int


def rfc3339(time_ns: int) -> str:
    """UTC text of a wall time in ns, to the millisecond (RFC 3339 section 5.6)."""
    moment = datetime.fromtimestamp(time_ns // NS_PER_S, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{time_ns % NS_PER_S // 1_000_000:03d}Z"
