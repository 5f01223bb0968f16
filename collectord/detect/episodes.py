"""How often each alert was raised, so that no episode number is ever used twice."""

from collections.abc import Mapping

MAX_REMEMBERED = 100_000
"""Alerts whose number of raises is remembered; about 20 MB."""


class Episodes:
    """
    The episode of each alert that was raised last.

    Args:
        max_remembered: Bound of alerts; whoever was raised longest ago is forgotten first.
    """

    def __init__(self, max_remembered: int = MAX_REMEMBERED) -> None:
        self._max_remembered = max_remembered
        self._last: dict[str, int] = {}
        self._forgotten = 0
        """The largest episode of those that are forgotten: whoever is not known counts on from here."""

    def restore(self, episodes: Mapping[str, int], forgotten: int) -> None:
        """
        Counts on where an earlier run ended.

        Args:
            episodes: By alert id, the newest first.
            forgotten: The largest episode of alerts that are not among them.
        """
        for alert_id, episode in reversed(list(episodes.items())):
            self._remember(alert_id, episode)
        self._forgotten = max(self._forgotten, forgotten)

    def next(self, alert_id: str) -> int:
        """The episode of a raise now."""
        episode = self._last.get(alert_id, self._forgotten) + 1
        self._remember(alert_id, episode)
        return episode

    def _remember(self, alert_id: str, episode: int) -> None:
        self._last.pop(alert_id, None)
        self._last[alert_id] = episode
        if len(self._last) > self._max_remembered:
            oldest = next(iter(self._last))
            self._forgotten = max(self._forgotten, self._last.pop(oldest))
