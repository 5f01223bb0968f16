"""Devices that stopped: who is watched, when they are missed, and who is missed together."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from collectord.detect import silence
from collectord.detect.rules import Rule, RuleType, Silence
from collectord.detect.silence import DAY_NS, Silences
from collectord.model import NS_PER_S, WindowKey

MakeRule = Callable[..., Rule]

MINUTE_NS = 60 * NS_PER_S
NOW_NS = 20_000 * DAY_NS


@pytest.fixture
def rule(make_rule: MakeRule) -> Rule:
    fields: dict[str, Any] = {"counter": "", "where": {}, "group_by": ("Dvc",), "timespan_s": 60, "step_s": 60}
    return make_rule(
        **fields, name="device-silent", type=RuleType.SILENCE, threshold=None, silence=Silence(), clear_below=1.0
    )


def keys(silences: Silences, rule: Rule, now_ns: int) -> dict[str, WindowKey]:
    return {str(key.key[0]): key for key in silences.window(rule, now_ns).keys}


def seen_for_a_day(silences: Silences, site: str, *names: str, peer: str = "192.0.2.9") -> None:
    for name in names:
        silences.restore(site, name, peer, NOW_NS - 2 * DAY_NS, NOW_NS - MINUTE_NS, {})


def test_a_device_is_missed_after_a_quarter_of_an_hour(rule: Rule) -> None:
    """The larger of 15 minutes and three times the longest pause."""
    silences = Silences([], (), NOW_NS)
    seen_for_a_day(silences, "", "fw-1", "fw-2")
    silences.restore("", "fw-3", "192.0.2.3", NOW_NS - 2 * DAY_NS, NOW_NS, {19_999: 10 * MINUTE_NS})
    silences.seen("", "fw-1", "192.0.2.1", NOW_NS + 14 * MINUTE_NS)

    assert {} == keys(silences, rule, NOW_NS + 15 * MINUTE_NS)
    found = keys(silences, rule, NOW_NS + 16 * MINUTE_NS)
    assert {"fw-2": (960, 900)} == {name: (key.count, key.threshold) for name, key in found.items()}
    found = keys(silences, rule, NOW_NS + 28 * MINUTE_NS)
    assert {"fw-2"} == set(found)
    silences.seen("", "fw-2", "192.0.2.2", NOW_NS + 28 * MINUTE_NS)
    assert {} == keys(silences, rule, NOW_NS + 28 * MINUTE_NS)
    found = keys(silences, rule, NOW_NS + 31 * MINUTE_NS)
    assert {"fw-1", "fw-3"} >= set(found)


def test_new_devices_are_not_watched_yet(rule: Rule) -> None:
    """Until they were seen for a day; listed ones are at once, by name or address, also if they never sent."""
    silences = Silences([(None, "192.0.2.5"), ("branch", "FW-6"), (None, "fw-7")], (), NOW_NS)
    silences.seen("", "fw-4", "192.0.2.4", NOW_NS)
    silences.seen("", "fw-5", "192.0.2.5", NOW_NS)
    silences.seen("branch", "fw-6", "192.0.2.6", NOW_NS + 10 * MINUTE_NS)

    assert {"fw-5", "fw-7"} >= set(keys(silences, rule, NOW_NS + 20 * MINUTE_NS)) - {"every device"}
    found = keys(silences, rule, NOW_NS + 26 * MINUTE_NS)
    assert {"fw-5", "fw-6", "fw-7", "every device"} == set(found)
    assert "branch" == found["fw-6"].site


def test_a_whole_site_is_one_alert(rule: Rule) -> None:
    """And what was told of a member before stays told."""
    silences = Silences([], (), NOW_NS)
    seen_for_a_day(silences, "branch", "fw-1", "fw-2")
    silences.seen("branch", "fw-2", "192.0.2.2", NOW_NS + 10 * MINUTE_NS)

    assert {"fw-1": False} == {n: k.keeps_only for n, k in keys(silences, rule, NOW_NS + 20 * MINUTE_NS).items()}
    found = keys(silences, rule, NOW_NS + 41 * MINUTE_NS)
    assert {"every device of site branch": False, "fw-1": True, "fw-2": True} == {
        name: key.keeps_only for name, key in found.items()
    }
    assert {"devices": ["fw-1", "fw-2"], "number_of_devices": 2} == found["every device of site branch"].details


@pytest.mark.parametrize(("later_s", "alone"), [(299, False), (300, False), (301, True)])
def test_who_is_silent_first_waits_five_minutes(rule: Rule, later_s: int, alone: bool) -> None:
    """For another one that is to be told of by then if it stays silent."""
    silences = Silences([], (), NOW_NS)
    seen_for_a_day(silences, "", "fw-1", "fw-2")
    for second in (100, later_s + 1):
        silences.seen("", "fw-2", "192.0.2.2", NOW_NS + second * NS_PER_S)

    found = keys(silences, rule, NOW_NS + 901 * NS_PER_S)
    assert {"fw-1": not alone} == {name: key.keeps_only for name, key in found.items()}


def test_who_is_given_little_time_waits_for_nobody_that_sends(rule: Rule) -> None:
    """A limit of a minute leaves no five minutes to wait."""
    quick = replace(rule, silence=Silence(after_s=60))
    silences = Silences([], (), NOW_NS)
    seen_for_a_day(silences, "", "fw-1", "fw-2")
    for second in range(1, 72, 10):
        silences.seen("", "fw-2", "192.0.2.2", NOW_NS + second * NS_PER_S)

    found = keys(silences, quick, NOW_NS + 80 * NS_PER_S)
    assert {"fw-1": False} == {name: key.keeps_only for name, key in found.items()}


def test_behind_a_relay(rule: Rule) -> None:
    """When a relay is cut off, the devices of the site that send by themselves go on."""
    silences = Silences([], ("192.0.2.8/31",), NOW_NS)
    seen_for_a_day(silences, "", "fw-1", "fw-2")
    seen_for_a_day(silences, "", "fw-3", peer="192.0.2.3")
    silences.seen("", "fw-3", "192.0.2.3", NOW_NS + 19 * MINUTE_NS)

    found = keys(silences, rule, NOW_NS + 20 * MINUTE_NS)
    assert ["every device behind 192.0.2.9"] == [name for name, key in found.items() if not key.keeps_only]


def test_behind_a_relay_of_several_sites(rule: Rule) -> None:
    """One alert, and not one for each site."""
    silences = Silences([], ("192.0.2.9",), NOW_NS)
    for site in ("north", "south"):
        seen_for_a_day(silences, site, "fw-1", "fw-2")
    seen_for_a_day(silences, "south", "fw-3", peer="192.0.2.3")

    later_ns = NOW_NS + 20 * MINUTE_NS
    silences.seen("south", "fw-3", "192.0.2.3", later_ns)
    told = [key for key in silences.window(rule, later_ns).keys if not key.keeps_only]
    assert [("", "every device behind 192.0.2.9", 4)] == [
        (key.site, key.key[0], key.details["number_of_devices"]) for key in told
    ]
    silences.seen("south", "fw-1", "192.0.2.9", later_ns)
    told = [key for key in silences.window(rule, later_ns).keys if not key.keeps_only]
    assert {("north", "every device of site north"), ("south", "fw-2")} == {(key.site, key.key[0]) for key in told}


def test_pauses_are_measured_and_stored(rule: Rule) -> None:
    """By day; the pause over a stop of the collector is not the device's."""
    silences = Silences([], (), NOW_NS)
    silences.restore("", "fw-1", "192.0.2.1", NOW_NS - 3 * DAY_NS, NOW_NS - DAY_NS, {19_990: 1, 19_998: 5})
    for minute in (1, 3, 4):
        silences.seen("", "fw-1", "192.0.2.1", NOW_NS + minute * MINUTE_NS)

    [told] = silences.changed()
    assert ("", "fw-1", {19_998: 5, 20_000: 2 * MINUTE_NS}) == (told.site, told.name, told.pauses)
    assert [] == silences.changed()


def test_pauses_of_the_last_seven_days_count(rule: Rule) -> None:
    """Today's and those of the six days before; the largest of them."""
    today = NOW_NS // DAY_NS
    for day, minutes in ((today, 60), (today - 6, 60), (today - 7, 15)):
        silences = Silences([], (), NOW_NS)
        pauses = {day: 20 * MINUTE_NS, today - 3: MINUTE_NS}
        silences.restore("", "fw-1", "192.0.2.1", NOW_NS - 9 * DAY_NS, NOW_NS, pauses)
        assert {} == keys(silences, rule, NOW_NS + minutes * MINUTE_NS)
        assert {"fw-1"} == set(keys(silences, rule, NOW_NS + minutes * MINUTE_NS + NS_PER_S))


def test_a_device_that_is_long_gone_is_given_up(rule: Rule) -> None:
    """At a start; it is new when it comes back."""
    silences = Silences([(None, "fw-2")], (), NOW_NS)
    for name in ("fw-1", "fw-2"):
        silences.restore("", name, "", NOW_NS - 30 * DAY_NS, NOW_NS - 8 * DAY_NS, {})
    assert {"fw-2"} == set(keys(silences, rule, NOW_NS + 60 * MINUTE_NS))


def test_another_list(rule: Rule) -> None:
    """What was seen stays; a device that is new on the list and was never seen is missed from then on."""
    silences = Silences([(None, "fw-1"), ("branch", "fw-2"), (None, "fw-9")], (), NOW_NS)
    silences.seen("branch", "FW-2", "192.0.2.2", NOW_NS)
    silences.seen("branch", "fw-3", "192.0.2.3", NOW_NS)
    later_ns = NOW_NS + 60 * MINUTE_NS
    listed = [(None, "fw-9"), ("branch", "192.0.2.3"), ("branch", "fw-4"), ("north", "fw-3")]
    silences.take_up(listed, ("192.0.2.0/24",), later_ns)

    found = keys(silences, rule, later_ns + 10 * MINUTE_NS)
    assert {"fw-9", "fw-3"} == set(found) - {"every device of site branch"}, "fw-1 and fw-2 are off the list"
    found = keys(silences, rule, later_ns + 16 * MINUTE_NS)
    assert {"fw-9", "fw-3", "fw-4"} <= set(found)
    assert {4200 + 360, 960} == {found["fw-9"].count, found["fw-4"].count}
    places = {(key.site, key.key[0]) for key in silences.window(rule, later_ns + 16 * MINUTE_NS).keys}
    assert {("branch", "fw-3"), ("north", "fw-3")} <= places, "of two sites, two devices"
    silences.seen("branch", "fw-4", "192.0.2.4", later_ns + 17 * MINUTE_NS)
    assert "fw-4" not in keys(silences, rule, later_ns + 18 * MINUTE_NS)


def test_forged_names_keep_nobody_out_for_ever(rule: Rule, monkeypatch: pytest.MonkeyPatch) -> None:
    """Listed devices always have a place, others once those are gone that were only passing."""
    monkeypatch.setattr(silence, "MAX_WATCHED", 12)
    silences = Silences([(None, "fw-1"), (None, "fw-9")], (), NOW_NS)
    seen_for_a_day(silences, "", "old")
    for number in range(20):
        silences.seen("", f"forged-{number}", "192.0.2.66", NOW_NS)
    hour_ns = 60 * MINUTE_NS

    def known() -> set[str]:
        return {name for name in ("fw-1", "fw-2", "fw-9", "old") if silences.address("", name)}

    silences.seen("", "fw-9", "192.0.2.9", NOW_NS)
    silences.seen("", "fw-2", "192.0.2.2", NOW_NS + hour_ns)
    assert known() == {"fw-9", "old"}
    silences.seen("", "fw-2", "192.0.2.2", NOW_NS + hour_ns + MINUTE_NS - 1)
    assert known() == {"fw-9", "old"}, "the table is not searched each time"
    silences.seen("", "fw-2", "192.0.2.2", NOW_NS + hour_ns + MINUTE_NS)
    silences.seen("", "fw-1", "192.0.2.1", NOW_NS + hour_ns + MINUTE_NS)
    assert known() == {"fw-1", "fw-2", "fw-9", "old"}
    assert not silences.address("", "forged-1")
    # Who was seen for a day is missed, and not forgotten.
    assert "old" in keys(silences, rule, NOW_NS + hour_ns + MINUTE_NS)
