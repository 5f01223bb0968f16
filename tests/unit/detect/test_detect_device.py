"""Which device an alert is about, and that this never changes while the alert lives."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectord.detect.alerts import AlertStates
from collectord.detect.device import device, plain
from collectord.detect.rules import Rule, RuleType, Silence
from collectord.detect.silence import Silences
from collectord.detect.watchlist import Watchlist
from collectord.model import NS_PER_S, AlertState, Mode, Severity, Window, WindowKey

MakeRule = Callable[..., Rule]

PEERS = {("north", "fw-1"): "192.0.2.1", ("north", "fw-6"): "::ffff:192.0.2.6", ("", "fw-1"): "198.51.100.1"}


def address_of(site: str, name: str) -> str:
    return PEERS.get((site, name), "")


def evidence(messages: int, *devices: tuple[str, int]) -> dict[str, Any]:
    return {"evidence": {"messages": messages, "top": {"Dvc": [list(each) for each in devices]}}}


@pytest.mark.parametrize(
    ("key", "details", "want"),
    [
        ({"Dvc": "fw-1"}, {}, ("fw-1", "192.0.2.1")),
        ({"Dvc": "fw-6"}, {}, ("fw-6", "192.0.2.6")),
        ({"Dvc": "every device of site north"}, {"devices": ["fw-1"]}, ("every device of site north", "")),
        ({"Dvc": "203.0.113.9"}, {}, ("203.0.113.9", "203.0.113.9")),
        ({"DvcHostname": "fw-1", "DvcIpAddr": "2001:DB8::1"}, {}, ("fw-1", "2001:db8::1")),
        ({"DvcIpAddr": "192.0.2.7"}, {}, ("192.0.2.7", "192.0.2.7")),
        ({"SrcIpAddr": "203.0.113.5"}, evidence(10, ("fw-1", 10)), ("fw-1", "192.0.2.1")),
        ({"SrcIpAddr": "203.0.113.5"}, evidence(10, ("fw-1", 6), ("fw-2", 4)), ("fw-1", "192.0.2.1")),
        ({"SrcIpAddr": "203.0.113.5"}, evidence(10, ("fw-2", 6), ("fw-1", 4)), ("fw-2", "")),
        ({"SrcIpAddr": "203.0.113.5"}, evidence(10, ("fw-1", 5), ("fw-2", 5)), None),
        ({"SrcIpAddr": "203.0.113.5"}, evidence(10), None),
        ({"SrcIpAddr": "203.0.113.5"}, {}, None),
        ({"listener": "udp"}, {}, None),
        ({"output": "noc"}, {}, None),
    ],
)
def test_device(key: dict[str, str], details: dict[str, Any], want: tuple[str, str] | None) -> None:
    """The key names it, or more than half of the evidence is one device's."""
    found = device(key, "north", details, address_of)
    assert found == (None if want is None else {"name": want[0], "address": want[1]})


def test_without_known_addresses() -> None:
    """A replay knows devices by name alone."""
    assert device({"Dvc": "fw-1"}, "north", {}, None) == {"name": "fw-1", "address": ""}


@pytest.mark.parametrize(
    ("text", "want"),
    [("192.0.2.1", "192.0.2.1"), ("fe80::1%eth0", "fe80::1"), ("fw-1", ""), ("", ""), ("192.0.2.1\n", "")],
)
def test_plain(text: str, want: str) -> None:
    assert plain(text) == want


def test_a_relay_is_not_the_device() -> None:
    """An alarm at the log server's address would be about the wrong machine."""
    silences = Silences([], ["192.0.2.0/24"], 0)
    silences.seen("", "fw-1", "192.0.2.5", 1)
    silences.seen("", "fw-2", "198.51.100.5", 1)
    silences.seen("", "fw-3", "", 1)
    assert [silences.address("", name) for name in ("fw-1", "fw-2", "fw-3", "fw-4")] == ["", "198.51.100.5", "", ""]


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0, 5001, 60_000, 700_000]),
            st.lists(st.tuples(st.sampled_from(["fw-1", "fw-2", "fw-3"]), st.integers(1, 9)), max_size=3),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_raise_update_and_clear_are_about_the_same(minutes: list[tuple[int, list[tuple[str, int]]]]) -> None:
    """Whoever reports more of it later: within an episode id, key and device stay, also over a restart."""
    rule = Rule(
        name="r", title="t", counter="c", where={}, group_by=("SrcIpAddr",), timespan_s=300, step_s=60,
        threshold=5000, mode=Mode.NOTIFY, severity=Severity.MEDIUM, clear_after_s=60,
    )  # fmt: skip
    states = AlertStates([rule], Watchlist(), address_of=address_of)
    said: dict[int, Any] = {}
    for minute, (count, devices) in enumerate(minutes):
        now_ns = minute * 60 * NS_PER_S
        keys = (WindowKey("north", ("203.0.113.5",), count, 0, details=evidence(10, *devices)),) if count else ()
        for alert in states.judge([Window("r", now_ns - 300 * NS_PER_S, now_ns, True, keys)], now_ns):
            about = (alert.id, alert.key, alert.alarm_type, alert.details.get("device"))
            assert about == said.setdefault(alert.episode, about)
        active = states.active
        states = AlertStates([rule], Watchlist(), address_of=lambda site, name: "203.0.113.99")
        states.restore(active, judged_ns=now_ns, forgotten_episode=max(said, default=0))


def test_a_silent_device_has_its_address(make_rule: MakeRule) -> None:
    """From the watch on devices to the clear."""
    rule = make_rule(
        name="device-silent", type=RuleType.SILENCE, counter="", group_by=("Dvc",), threshold=None,
        silence=Silence(after_s=900, seen_for_s=0), clear_after_s=0, clear_below=1.0, step_s=10,
    )  # fmt: skip
    silences = Silences([("north", "fw-1")], [], 0)
    silences.seen("north", "fw-1", "192.0.2.1", NS_PER_S)
    states = AlertStates([rule], Watchlist(), address_of=silences.address)
    [raised] = states.judge([silences.window(rule, 1000 * NS_PER_S)], 1000 * NS_PER_S)
    silences.seen("north", "fw-1", "192.0.2.99", 1005 * NS_PER_S)
    [cleared] = states.judge([silences.window(rule, 1010 * NS_PER_S)], 1010 * NS_PER_S)

    assert (raised.state, cleared.state) == (AlertState.RAISED, AlertState.CLEARED)
    assert raised.details["device"] == cleared.details["device"] == {"name": "fw-1", "address": "192.0.2.1"}
