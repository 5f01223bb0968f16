"""
The way of alerts to their outputs while the database can't be written.

Alerts that wait for the database are handed to the outputs from here, with the numbers that the outbox will give them;
once it can be written they are stored as what they are by then, delivered or not. So what is raised meanwhile goes out,
and so does what becomes of it; what becomes of alerts that were stored before follows later, as only the database knows
who was told of them. The end of the process forgets what is here, and what was told may be told again.

Bounded by the caller, who bounds the alerts that wait. Everything here runs on the store's thread.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from collectord.model import Alert, AlertState

FIRST_ID = 2**62
"""Numbers of entries from here on are ours: the outbox counts from 1."""


@dataclass(slots=True)
class StandbyEntry:
    """One state of one alert on its way to one output."""

    id: int
    output: str
    alert: Alert
    sequence: int
    attempts: int = 0
    delivered_ns: int | None = None


class Standby:
    """Entries that are not in the outbox yet, and what became of entries of the outbox that it could not be told."""

    def __init__(self) -> None:
        self.active = False
        """The database can't be written: what it can't be told is kept here."""
        self.undone: dict[int, int] = {}
        """Entries of the outbox that were delivered, with the time (ns); it does not know yet."""
        self._entries: dict[int, StandbyEntry] = {}
        self._next_id = FIRST_ID
        self._offered: set[tuple[str, int, str]] = set()
        self._told: dict[tuple[str, int], Sequence[str]] = {}
        self._made: dict[str, int] = {}
        self._stored_as: dict[int, int] = {}

    @property
    def entries(self) -> Iterable[StandbyEntry]:
        """What the outbox is to be told, in order."""
        return self._entries.values()

    def offer(self, alerts: Iterable[tuple[Alert, Sequence[str]]], last: Callable[[str], int]) -> bool:
        """
        Takes over alerts that wait for the database, with the outputs that want each.

        Args:
            alerts: In the order in which they came about; those that were offered before are passed over.
            last: The last number that the outbox gave an output.

        Returns:
            Whether there is something new to send.
        """
        before = self._next_id
        for alert, wanted in alerts:
            state, episode = (alert.id, alert.episode, alert.event), (alert.id, alert.episode)
            if state in self._offered:
                continue
            self._offered.add(state)
            if alert.state is AlertState.RAISED:
                self._told[episode] = wanted
            for output in self._told.get(episode, ()):
                made = self._made[output] = self._made.get(output, 0) + 1
                self._entries[self._next_id] = StandbyEntry(self._next_id, output, alert, last(output) + made)
                self._next_id += 1
        return self._next_id > before

    def due(self, output: str, limit: int) -> list[StandbyEntry]:
        """What the output should be sent, oldest first."""
        found = (each for each in self._entries.values() if each.output == output and each.delivered_ns is None)
        return [each for each, _ in zip(found, range(limit), strict=False)]

    def delivered(self, ids: Iterable[int], now_ns: int) -> list[int]:
        """Notes that the output has taken these over; returns the numbers of those that the outbox is to be told of."""
        theirs = []
        for number in ids:
            entry = self._entries.get(number)
            if entry is not None:
                entry.delivered_ns, entry.attempts = now_ns, entry.attempts + 1
            elif (known := self.number(number)) is not None:
                theirs.append(known)
        return theirs

    def failed(self, number: int) -> int | None:
        """Notes a failed try; the number by which the outbox is to be told of it, None if it need not."""
        entry = self._entries.get(number)
        if entry is not None:
            entry.attempts += 1
            return None
        return self.number(number)

    def number(self, number: int) -> int | None:
        """The outbox's number of an entry; None: it has none."""
        return number if number < FIRST_ID else self._stored_as.get(number)

    def stored(self, numbers: dict[int, int]) -> None:
        """The outbox has the entries; its numbers by ours. A worker may still speak of them by ours."""
        if not self._entries:
            return
        self._stored_as = numbers
        for known in (self._entries, self._offered, self._told, self._made):
            known.clear()
