"""How the engine stands: the bugs that it met, and when it is time for a new process."""

from collectord import log as logs
from collectord.errors import EngineError

log = logs.get()

MOST_IN_A_ROW = 5
"""
Passes one after the other in which the engine met a bug, and after which the daemon ends, to be started anew.

What comes with a single second or the end of a slot is over by then. A bug that stays may keep rules from being judged;
a restart takes about as long as these passes, and goes on with what was stored.
"""


class EngineStanding:
    """What the passes found, one after the other."""

    def __init__(self) -> None:
        self.bugs = 0
        """Panics outside of messages, which have an outcome of their own, since the start."""
        self.error: EngineError | None = None
        """Of the pass that is under way."""
        self._in_a_row = 0
        self._untold = 0
        self._over: EngineError | None = None

    def begin(self) -> None:
        """A pass begins."""
        self.error = None

    def met(self, error: EngineError, bugs: int = 1) -> None:
        """There was a bug, or several, in this pass."""
        self.bugs += bugs
        self._untold += bugs
        self.error = error
        log.error("the engine met a bug and goes on; please report it, with the lines before", err=str(error))

    def give_up(self, error: EngineError) -> None:
        """There was one after which nothing that it counts can be trusted."""
        self.met(error)
        self._over = error

    def passed(self) -> None:
        """The pass is over."""
        self._in_a_row = 0 if self.error is None else self._in_a_row + 1
        if self.error is not None and self._in_a_row >= MOST_IN_A_ROW:
            self._over = self.error

    def check(self) -> None:
        """
        Says whether it can go on.

        Raises:
            EngineError: a new process is to.
        """
        if self._over is not None:
            raise EngineError(
                f"the engine does not recover from a bug ({self._over}): what could be saved is, and a new process is "
                "to go on with it; please report the bug, with what the log says"
            ) from self._over

    def news(self) -> int:
        """Bugs since the last time, for the rules about the collector itself."""
        untold, self._untold = self._untold, 0
        return untold
