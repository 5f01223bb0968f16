"""Who sends more than ``bounds.peer_rate``: told in the log when it begins and ends, and shown by the status."""

from collections.abc import Sequence
from typing import Any

from collectord import log as logs
from collectord.model import NS_PER_S, Changes, rfc3339

log = logs.get()


class LimitedPeers:
    """The peers over their rate, as the last batch told them: a bounded list, those that lose most first."""

    def __init__(self) -> None:
        self.now: tuple[dict[str, Any], ...] = ()
        """For the status: ``peer``, ``listener``, ``since``, ``dropped``."""
        self._told: set[str] = set()

    def note(self, changes: Changes, listeners: Sequence[str], rate: int) -> None:
        """
        Takes in what a batch tells.

        Args:
            changes: The batch.
            listeners: Names, in the order of the engine's plan.
            rate: The limit, in messages per second.
        """
        for each in changes.limited:
            listener = listeners[each.listener]
            if each.ended:
                self._told.discard(each.peer)
                log.warning(
                    "peer no longer limited",
                    listener=listener,
                    peer=each.peer,
                    count=each.dropped,
                    elapsed_s=round((changes.now_ns - each.since_ns) / NS_PER_S, 1),
                )
            elif each.peer not in self._told:
                self._told.add(each.peer)
                log.warning("peer limited: it sends too much", listener=listener, peer=each.peer, limit=rate)
        self.now = tuple(
            {
                "peer": each.peer,
                "listener": listeners[each.listener],
                "since": rfc3339(each.since_ns),
                "dropped": each.dropped,
            }
            for each in changes.limited
            if not each.ended
        )
