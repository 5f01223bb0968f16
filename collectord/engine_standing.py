"""How the engine stands: the bugs that it met, and when it is time for a new process."""

from collectord import log as logs
from collectord.errors import EngineError

log = logs.get()

MOST_IN_A_ROW = 60
"""
Passes one after the other of which nothing could be stored, and after which the daemon ends, to be started anew.

What comes with a single second, or with the slots of a minute, is over by then. Fewer would let systemd give up where a
bug stays: it starts the service ten times within ten minutes (StartLimitBurst).
"""


class EngineStanding:
    """What the passes found, one after the other."""

    def __init__(self) -> None:
        self.bugs = 0
        """Panics outside of messages and connections, which have an outcome for that, since the start."""
        self.error: EngineError | None = None
        """Of the pass that is under way."""
        self._missed = False
        self._in_a_row = 0
        self._untold = 0
        self._over: EngineError | None = None

    def begin(self) -> None:
        """A pass begins."""
        self.error, self._missed = None, False

    def met(self, error: EngineError, bugs: int = 1) -> None:
        """There was a bug, or several, in this pass; the rest of it is done, however often that comes."""
        self.bugs += bugs
        self._untold += bugs
        self.error = error
        log.error("the engine met a bug and goes on; please report it, with the lines before", err=str(error))

    def missed(self, error: EngineError) -> None:
        """There was one for which nothing is stored of this pass."""
        self.met(error)
        self._missed = True

    def give_up(self, error: EngineError) -> None:
        """There was one after which nothing that it counts can be trusted."""
        self.met(error)
        self._over = error

    def passed(self) -> None:
        """The pass is over."""
        self._in_a_row = self._in_a_row + 1 if self._missed else 0
        if self._in_a_row >= MOST_IN_A_ROW:
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
