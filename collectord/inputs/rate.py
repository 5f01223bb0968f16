"""How fast a peer may send over TCP: it is held back, never cut, as TCP makes the sender wait."""


class PeerRates:
    """
    A token bucket for each peer, all its connections together.

    A bucket is the time at which it is full again; one that is full is as good as none and is forgotten. Apart from the
    engine's buckets for datagrams: the source of those can be forged, and must not hold back who is connected.

    Args:
        per_s: Messages per second; 0: any number.
        burst: Messages at once.
    """

    def __init__(self, per_s: int, burst: int) -> None:
        self._full_s: dict[str, float] = {}
        self.take_up(per_s, burst)

    def take_up(self, per_s: int, burst: int) -> None:
        """Other limits from now on."""
        self._cost_s = 1 / per_s if per_s else 0.0
        self._burst_s = self._cost_s * burst

    def take(self, peer: str, messages: int, now_s: float) -> float:
        """
        Take messages out of a peer's bucket.

        Args:
            peer: Its address.
            messages: How many came.
            now_s: Monotonic time.

        Returns:
            For how long nothing more is to be read of it, in seconds.
        """
        if not self._cost_s:
            return 0.0
        full_s = max(self._full_s.get(peer, 0.0), now_s) + messages * self._cost_s
        self._full_s[peer] = full_s
        return max(0.0, full_s - now_s - self._burst_s)

    def forgive(self, peer: str) -> None:
        """A full bucket for a peer."""
        self._full_s.pop(peer, None)

    def forget(self, now_s: float) -> None:
        """Forget buckets that are full again."""
        self._full_s = {peer: full_s for peer, full_s in self._full_s.items() if full_s > now_s}

    def __len__(self) -> int:
        """Buckets that are not full."""
        return len(self._full_s)
