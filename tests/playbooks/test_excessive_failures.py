"""Playbooks of ``excessive-failures``: 5,000 failed connections of one source in 5 minutes are quiet, 5,001 are not."""

import pytest

from collectord.model import Mode, Severity

from .playbook import Play, cleared, nothing, raised, rule, updated

RULE = "excessive-failures"
SOURCE = "203.0.113.7"
FAILURE = {"SrcIpAddr": SOURCE, "EventResult": "Failure"}


def test_5000_are_quiet_5001_raise(play: Play) -> None:
    story = play(RULE)
    story.at("0:01").send(5000, **FAILURE).expect(nothing)
    story.at("4:59").send(1, **FAILURE).expect(raised(RULE, SrcIpAddr=SOURCE, count=5001))


def test_the_next_window_starts_from_nothing(play: Play) -> None:
    """5,000 in one bin and 5,000 in the next that no window holds together."""
    story = play(RULE)
    story.at("0:01").send(5000, **FAILURE).expect(nothing)
    story.at("5:00").send(5000, **FAILURE).expect(nothing)


def test_a_window_across_two_bins(play: Play) -> None:
    """What the tumbling bins of the original split is seen: the windows hop by a minute."""
    story = play(RULE)
    story.at("4:30").send(3000, **FAILURE).expect(nothing)
    story.at("5:30").send(2001, **FAILURE).expect(raised(RULE, SrcIpAddr=SOURCE, count=5001))


def test_the_last_thousand_in_the_last_200_ms(play: Play) -> None:
    story = play(RULE)
    story.at("0:00").send(4000, **FAILURE)
    story.at("4:59.8").send(1000, **FAILURE).expect(nothing)
    story.at("4:59.99").send(1, **FAILURE)
    story.at("5:00.7").expect(raised(RULE, SrcIpAddr=SOURCE, count=5001))


@pytest.mark.parametrize("batch", range(10))
def test_no_burst_at_a_boundary_is_missed(play: Play, batch: int) -> None:
    """300 bursts across the end of a bin, each with its passes at other moments: all are found, and none too many."""
    story = play(rule(RULE, clear_after_s=86_400), pass_s=86_400)
    for number in range(30):
        one = 30 * batch + number
        source, bin_end_s = f"198.51.{100 + batch}.{number}", 300 * (number + 1)
        early_ms, pass_ms = 1 + one * 7 % 200, one * 13 % 1_000
        failure = {"SrcIpAddr": source, "EventResult": "Failure"}
        story.at(f"0:{bin_end_s - 299}").send(4_000, **failure)
        story.at(f"0:{bin_end_s - early_ms / 1_000}").send(1_000, **failure)
        if number % 3 == 0:
            story.expect(nothing)
        quiet = number % 10 == 9
        story.at(f"0:{bin_end_s - 0.0005}").send(0 if quiet else 1, **failure)
        story.at(f"0:{bin_end_s + pass_ms / 1_000}")
        story.expect(nothing if quiet else raised(RULE, SrcIpAddr=source, count=5001))


def test_strict(play: Play) -> None:
    """Records in the bins of the original: whatever they stand for, each once, also over a restart in the bin."""
    strict = rule(RULE, weight="records", every_record=True, step_s=300)
    story = play(strict, pass_s=10)
    story.at("0:10").send(5000, EventCount=9, **FAILURE).expect(nothing)
    story.at("4:00").restart().at("4:59.99").send(1, counts="never", **FAILURE)
    story.at("5:00.7").expect(raised(RULE, SrcIpAddr=SOURCE, count=5001))
    other = {**FAILURE, "SrcIpAddr": "203.0.113.8"}
    story.at("9:30").send(3000, **other).at("10:00").send(5000, **other).expect(nothing)


def test_only_failures_count(play: Play) -> None:
    """Whatever the device did: denied, reset, timed out; a partial or unknown result is no failure."""
    story = play(RULE)
    for result in ("Success", "Partial", "NA"):
        story.send(5000, SrcIpAddr=SOURCE, EventResult=result)
    story.send(2500, SrcIpAddr=SOURCE, DvcAction="Deny")
    story.send(2500, SrcIpAddr=SOURCE, DvcAction="Reset Source").expect(nothing)
    story.send(1, SrcIpAddr=SOURCE, DvcAction="Drop ICMP").expect(raised(RULE, SrcIpAddr=SOURCE, count=5001))


def test_a_record_may_stand_for_many(play: Play) -> None:
    story = play(RULE)
    story.send(50, EventCount=100, **FAILURE).expect(nothing)
    story.send(1, EventCount=1, **FAILURE).expect(raised(RULE, SrcIpAddr=SOURCE, count=5001))


@pytest.mark.parametrize("claimed", [4001, 1_000_000, 1_000_000_000])
def test_one_record_is_never_enough(play: Play, claimed: int) -> None:
    """Anybody can forge one: it counts for 4,000 at most, where an alert may clear."""
    story = play(RULE)
    story.send(1, EventCount=claimed, **FAILURE).expect(nothing)
    assert story.tick.counters.clamped == 1
    story.send(1, EventCount=1000, **FAILURE).expect(nothing)
    story.send(1, **FAILURE).expect(raised(RULE, SrcIpAddr=SOURCE, count=5001))


def test_one_address_in_all_its_spellings(play: Play) -> None:
    story = play(RULE)
    story.send(2501, SrcIpAddr="2001:db8:0:0::1", EventResult="Failure")
    story.send(2500, SrcIpAddr="2001:0DB8::0001", EventResult="Failure")
    story.expect(raised(RULE, SrcIpAddr="2001:db8::1", count=5001))


def test_without_a_source_nothing_is_lumped_together(play: Play) -> None:
    story = play(RULE)
    story.send(6000, DstIpAddr="192.0.2.1", EventResult="Failure").expect(nothing)
    assert story.tick.counters.without_key == {"failures_by_source": 6000}


@pytest.mark.parametrize("device_time", ["2099-12-31T23:59:59Z", "1970-01-01T00:00:01Z", "2027-01-15T12:00:00+14:00"])
def test_device_clocks_open_and_close_no_window(play: Play, device_time: str) -> None:
    """Windows go by the time of receipt, whatever devices say."""
    story = play(RULE)
    story.at("0:10").send(2500, **FAILURE)
    story.at("1:10").send(2500, device_time=device_time, **FAILURE).expect(nothing)
    story.at("2:10").send(1, **FAILURE).expect(raised(RULE, SrcIpAddr=SOURCE, count=5001))
    assert [alert.first_time_ns for alert in story.active] == [story.clock.now_ns() - 130 * 10**9 - 120 * 10**9]


def test_its_life(play: Play) -> None:
    """Ten times as many tell once more; it clears 15 minutes after the last window with over 4,000."""
    story = play(RULE, pass_s=10)
    story.at("0:10").send(5001, **FAILURE).expect(raised(RULE, SrcIpAddr=SOURCE, count=5001))
    story.at("0:20").send(45_008, **FAILURE).expect(nothing)
    story.at("0:30").send(1, **FAILURE).expect(updated(RULE, count=50_010))
    # The minute of 0:00 leaves the last window at 5:00.
    story.at("19:50").expect(nothing)
    reason = "at or below 4,000 for 15 min"
    story.at("20:10").expect(cleared(RULE, SrcIpAddr=SOURCE, reason=reason, count=50_010))
    story.at("21:00").send(5001, **FAILURE).expect(raised(RULE, SrcIpAddr=SOURCE, count=5001))
    assert [alert.episode for alert in story.active] == [2]


def test_4001_keep_it_4000_do_not(play: Play) -> None:
    story = play(RULE, pass_s=10)
    story.at("0:00").send(5001, **FAILURE).expect(raised(RULE, count=5001))
    for minute in range(5, 60, 5):
        story.at(f"{minute}:00").send(4001, **FAILURE)
    story.at("59:59").expect(nothing)
    for minute in range(60, 80, 5):
        story.at(f"{minute}:00").send(4000, **FAILURE)
    story.at("79:59").expect(cleared(RULE))


def test_a_restart_in_the_middle(play: Play) -> None:
    """Counts go on, the alert is not raised twice, and it clears."""
    story = play(RULE, pass_s=10)
    story.at("0:10").send(5000, **FAILURE).expect(nothing)
    story.at("1:10").restart().send(1, **FAILURE).expect(raised(RULE, count=5001))
    story.at("2:10").restart().send(1, **FAILURE).expect(nothing)
    story.at("25:00").expect(cleared(RULE, SrcIpAddr=SOURCE))


def test_a_restart_while_it_waits_to_clear(play: Play) -> None:
    """The 15 minutes go on from when it was over last, not from when that was stored last before."""
    story = play(RULE, pass_s=10)
    story.at("0:10").send(5001, **FAILURE).expect(raised(RULE, count=5001))
    story.at("6:00").restart().at("19:50").expect(nothing)
    story.at("20:10").expect(cleared(RULE, reason="at or below 4,000 for 15 min"))


def test_a_rule_that_changed_clears_what_it_raised(play: Play) -> None:
    """With the reason; what makes no difference to its alerts does not."""
    again = raised(RULE, count=5001)
    for rules, reason, follows in [
        ([], "the rule was removed", nothing),
        ([rule(RULE, mode=Mode.OFF)], "the rule was switched off", nothing),
        ([rule(RULE, mode=Mode.REPORT)], "the rule's mode is now report", again),
        ([rule(RULE, group_by=("SrcIpAddr", "DstIpAddr"))], "the rule was changed", nothing),
        ([rule(RULE, where={"EventResult": "Partial"})], "what the rule counts was changed", nothing),
        ([rule(RULE, step_s=300)], "what the rule counts was changed", nothing),
        ([rule(RULE, counter="failures")], "what the rule counts was changed", nothing),
        ([rule(RULE, timespan_s=600)], "the rule's window is now 10 min", again),
        ([rule(RULE, threshold=5001)], "the rule's limit is now 5,001", nothing),
    ]:
        story = play(RULE)
        story.send(5001, **FAILURE).expect(raised(RULE))
        story.restart(rules=rules).expect(cleared(RULE, reason=reason), follows)
    story = play(RULE)
    story.send(5001, **FAILURE).expect(raised(RULE))
    story.restart(rules=[rule(RULE, title="Many from {SrcIpAddr}", tactics=())]).expect(nothing)
    story.restart(rules=[rule(RULE, severity=Severity.HIGH)]).expect(updated(RULE))


def test_another_limit_under_an_alert_that_is_over_it(play: Play) -> None:
    """It stays, and is held against the new one from then on."""
    story = play(RULE, pass_s=10)
    story.send(6001, **FAILURE).expect(raised(RULE))
    story.restart(rules=[rule(RULE, threshold=6000)]).expect(nothing)
    story.restart(rules=[rule(RULE, threshold=1000)]).expect(nothing)
    for minute in range(5, 30, 5):
        story.at(f"{minute}:00").send(801, **FAILURE)
    story.at("44:50").expect(nothing)
    story.at("45:10").expect(cleared(RULE, reason="at or below 800 for 15 min", count=6001))
