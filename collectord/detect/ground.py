"""What a change of rules and rows does to alerts that are active: whether they would still be alerts."""

from collections.abc import Collection

from collectord.detect import wording
from collectord.detect.findings import limit_of_rows, modes_of_rows
from collectord.detect.rules import Rule
from collectord.detect.watchlist import Watchlist
from collectord.model import Alert, Mode


def lost(rule: Rule | None, watchlist: Watchlist, alert: Alert, peak: int, anew: Collection[str] = ()) -> str:
    """
    Why an active alert has lost its ground; empty if it has not.

    Args:
        rule: Its rule as it is now; None: there is none of that name.
        watchlist: As it is now.
        alert: What was told of it last.
        peak: The largest sum that it reached.
        anew: Counters that hold nothing of before, because they count something else now.
    """
    if rule is None:
        return "the rule was removed"
    if rule.mode is Mode.OFF:
        return "the rule was switched off"
    # What is held back would be sent but for that.
    mode = Mode.NOTIFY if alert.held else alert.mode
    if set(rule.key_fields) != set(alert.key):
        return "the rule was changed"
    if not rule.uses_watchlist:
        if rule.mode is not mode:
            return f"the rule's mode is now {rule.mode.value}"
    else:
        modes = modes_of_rows(rule, watchlist, alert.key)
        if not modes:
            return "the watchlist row was removed"
        if mode not in modes:
            return f"the watchlist row's mode is now {min(modes).value}"
    if rule.counter in anew:
        return "what the rule counts was changed"
    if rule.timespan_s != alert.window_s:
        return f"the rule's window is now {wording.span(rule.timespan_s)}"
    limit = limit_of_rows(rule, watchlist, alert.key, mode) if rule.uses_watchlist else rule.threshold
    if limit is not None and peak <= limit:
        return f"the {'watchlist row' if rule.uses_watchlist else 'rule'}'s limit is now {limit:,}"
    return ""
