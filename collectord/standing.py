"""How the database stands: since when it can't be written and why, and what was done about a damaged one."""

from collections.abc import Callable
from pathlib import Path

from collectord import log as logs
from collectord.errors import StoreError
from collectord.health import StoreNews
from collectord.model import NS_PER_S
from collectord.store.db import Database

log = logs.get()


class StoreStanding:
    """
    What the passes found, one after the other.

    Args:
        database: The writing side.
        mono_ns: Monotonic clock, ns.
    """

    def __init__(self, database: Database, mono_ns: Callable[[], int]) -> None:
        self.reason = ""
        """Why it can't be written, as of the last pass; empty: it can."""
        self.replaced = int(database.moved_to is not None)
        """Damaged files that were moved aside since the start, the start included."""
        self.error: StoreError | None = None
        """Of the pass that is under way."""
        self._database = database
        self._mono_ns = mono_ns
        self._untold = self.replaced
        self._since_ns: int | None = None

    @property
    def failing_s(self) -> int:
        """For how long it can't be written, at least 1; 0: it can."""
        since_ns = self._since_ns
        return 0 if since_ns is None else max(1, (self._mono_ns() - since_ns) // NS_PER_S)

    @property
    def is_well(self) -> bool:
        """Whether nothing has failed in the pass that is under way."""
        return self.error is None

    @property
    def moved_to(self) -> Path | None:
        """Where the last damaged file is now; None: there was none since the start."""
        return self._database.moved_to

    def begin(self) -> None:
        """A pass begins."""
        self.error = None

    def failed(self, error: StoreError) -> None:
        """Something could not be written in this pass."""
        self.error = error
        log.error("database can't be written; counting goes on in memory", err=str(error))

    def passed(self, began_ns: int) -> bool:
        """The pass that began then (monotonic) is over; whether the database can be written again since."""
        if self.error is not None:
            self._since_ns = began_ns if self._since_ns is None else self._since_ns
            self.reason = str(self.error)
            return False
        if self._since_ns is None:
            return False
        log.info("database can be written again", elapsed_s=self.failing_s)
        self._since_ns, self.reason = None, ""
        return True

    def start_over(self) -> None:
        """
        Goes on with a new database in place of the damaged one.

        Raises:
            StoreError: there can be no new one either.
        """
        damage = self._database.damage
        aside = self._database.start_over()
        log.error("database is damaged; it is moved aside and a new one started", path=aside, err=str(damage))
        self.replaced += 1
        self._untold += 1

    def news(self) -> StoreNews:
        """For the rules about the collector itself."""
        untold, self._untold = self._untold, 0
        return StoreNews(self._database.path.name, self.failing_s, untold)
