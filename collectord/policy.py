"""How much may wait for an output, and what becomes of the rest: what the configuration says and the store does."""

from dataclasses import dataclass
from enum import StrEnum


class WhenFull(StrEnum):
    """What becomes of alerts for an output that has as many waiting as it may."""

    DROP_OLDEST = "drop-oldest"
    DROP_NEW = "drop-new"
    KEEP = "keep"
    """Nothing goes for their number; only age bounds them."""


class DropReason(StrEnum):
    """Why an alert's state was never delivered to an output."""

    OLDEST = "oldest"
    """It was the oldest, and the output had more waiting than it may."""
    NEW = "new"
    """It was new, and the output had as many waiting as it may; it was never queued."""
    AGE = "age"
    """It waited for longer than it may."""
    REMOVED = "removed"
    """The output is not configured any more."""


@dataclass(frozen=True, slots=True)
class OutputPolicy:
    """What an output is told, and how much may wait for it."""

    sites: tuple[str, ...] = ()
    """Only alerts of these; empty: of all."""
    when_full: WhenFull = WhenFull.DROP_OLDEST
    max_waiting: int = 10_000
    max_age_s: int = 7 * 86_400
    resend_s: int = 0
    """After so long without a notification of an active alert its raise is repeated; 0: never."""
