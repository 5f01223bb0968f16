"""What the passes add up for whoever watches from outside."""

from collectord.model import Changes
from collectord.tick_counters import DURATION_BOUNDS_S, TickCounters


def test_passes_are_added_up() -> None:
    counters = TickCounters()
    for number, duration_ns in enumerate((3_000_000, 60_000_000_000), 1):
        ledger = [(0, "session", number - 1, 90), (1, "event", 2, 80)]
        changes = Changes(number, 7, {}, ledger, (), {"c": 1}, {"c": 2}, carried=number, exempted={"d": 3})
        counters.note_pass(changes, ["udp", "tcp"], 100, 100 + duration_ns, unstored=5)
    assert (counters.ticks, counters.carried, counters.unstored_alerts) == (2, 2, 5)
    assert (counters.evicted, counters.without_key, counters.exempted) == ({"c": 2}, {"c": 4}, {"d": 6})
    assert (counters.last_duration_ns, counters.duration_sum_ns) == (60_000_000_000, 60_003_000_000)
    # Its slots are those of a histogram: below the first bound, and above the last one.
    assert counters.durations == [1, *[0] * (len(DURATION_BOUNDS_S) - 1), 1]
    assert counters.message_mono_ns == {"udp": 60_000_000_100, "tcp": 60_000_000_100}
