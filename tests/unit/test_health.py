"""When what the daemon notices about itself is looked at; what comes of it is in ``tests/playbooks``."""

import pytest

from collectord import plan
from collectord.detect.silence import Silences
from collectord.health import JUDGED_EVERY_NS, Health, StoreNews
from collectord.model import NS_PER_S, OTHER_DEVICES, OUTCOMES, Changes, DeviceSighting

START_NS = 1_800_000_000 * NS_PER_S


@pytest.fixture(name="drops")
def _drops() -> dict[str, int]:
    """What the kernel dropped, by listener."""
    return {"udp": 0}


@pytest.fixture(name="health")
def _health(drops: dict[str, int]) -> Health:
    health = Health(plan.load(None).rules, Silences([], (), START_NS), ["udp"], lambda: drops, dict)
    assert _pass(health, 0)
    return health


def _pass(health: Health, after_s: int, store: StoreNews | None = None) -> bool:
    """Whether anything is looked at in a pass, so long after the start."""
    now_ns = START_NS + after_s * NS_PER_S
    health.observe(Changes(0, now_ns, {}, [], (), {}, {}, 0), {}, store)
    return bool(health.windows(now_ns))


def test_now_and_then(health: Health) -> None:
    """While all is well, not in each pass."""
    looked_at = [after_s for after_s in range(1, 25) if _pass(health, after_s)]
    assert looked_at == [10, 20]
    assert JUDGED_EVERY_NS == 10 * NS_PER_S


def test_at_once_when_messages_begin_to_be_lost(health: Health, drops: dict[str, int]) -> None:
    """And not in each pass while more of them are."""
    looked_at = []
    for after_s in range(1, 10):
        drops["udp"] += 5 * (after_s in (3, 4, 5, 8))
        looked_at += [after_s] if _pass(health, after_s) else []
    assert looked_at == [3, 8]


def test_at_once_while_the_database_fails(health: Health) -> None:
    """And once more when it no longer does."""
    failing = StoreNews("collectord.db", failing_s=3, replaced=0)
    well = StoreNews("collectord.db", failing_s=0, replaced=0)
    assert [_pass(health, n, store) for n, store in enumerate([well, failing, failing, well, well], 1)] == [
        False,
        True,
        True,
        True,
        False,
    ]


@pytest.mark.parametrize("outcome", ["session", "unparsed", "too_long", "rate_limited", "no_memory", "panic"])
def test_what_is_a_loss(health: Health, outcome: str) -> None:
    """What we could not take up is; what a peer brings about by itself is counted, and is no alert."""
    now_ns = START_NS + 20 * NS_PER_S
    health.observe(Changes(0, now_ns, {}, [(0, outcome, 3, 300)], (), {}, {}, 0), {})
    (window,) = [window for window in health.windows(now_ns) if window.rule == "messages-lost"]
    told = {key.key[0]: key.count for key in window.keys}
    assert told == ({"udp": 3} if outcome in ("no_memory", "panic") else {})


def test_who_has_no_name_of_its_own_is_no_device(health: Health) -> None:
    """What the engine has no place for says nothing about a single clock, and nobody misses it."""
    messages = dict.fromkeys(OUTCOMES, 1)
    seen = [
        DeviceSighting("", name, "192.0.2.1", 0, "", messages, START_NS, 3_600_000) for name in ("fw-1", OTHER_DEVICES)
    ]
    now_ns = START_NS + 20 * NS_PER_S
    health.observe(Changes(0, now_ns, {}, [], (), {}, {}, 0, devices=seen), {})
    windows = {window.rule: window for window in health.windows(now_ns)}
    assert [key.key for key in windows["device-clock-off"].keys] == [("fw-1",)]
    assert not health._silences.address("", OTHER_DEVICES)
