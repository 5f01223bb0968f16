"""Playbooks of ``beaconing``: more than 15 sessions within an hour, more than 80 % of the gaps alike."""

from collections.abc import Sequence

from collectord.model import Mode

from .playbook import Play, Story, cleared, hosts, nothing, raised

RULE = "beaconing"
HOST, SERVER, OTHER = "10.1.2.3", "203.0.113.7", "203.0.113.8"
CALL = {"SrcIpAddr": HOST, "DstIpAddr": SERVER, "DstPortNumber": 443, "NetworkProtocol": "TCP"}
LIKE_A_CLOCK = raised(RULE, SrcIpAddr=HOST, DstIpAddr=SERVER, DstPortNumber=443, count=100)


def calls(story: Story, gaps_s: Sequence[float], first_s: float = 10, **changes: str) -> Story:
    """Sessions with these gaps between them."""
    at_s = first_s
    for gap_s in (0, *gaps_s):
        at_s += gap_s
        story.at(f"0:{at_s}").send(1, **{**CALL, **changes})
    return story


def test_15_calls_are_quiet_16_raise(play: Play) -> None:
    story = play(RULE, pass_s=10)
    calls(story, [60] * 14).expect(nothing)
    story.at("15:10").send(1, **CALL).expect(LIKE_A_CLOCK)
    assert [alert.mode for alert in story.active] == [Mode.REPORT]


def test_calls_of_two_hours_are_not_added_up(play: Play) -> None:
    """15 in one hour and 14 in the next; a gap across the boundary belongs to the hour in which it ends."""
    story = play(RULE, pass_s=10)
    calls(story, [60] * 29, first_s=3600 - 14 * 60 - 30).expect(nothing)
    story.at("75:30").send(1, **CALL).expect(LIKE_A_CLOCK)


def test_jitter_within_the_tolerance(play: Play) -> None:
    """Gaps of a minute may differ by 5 % either way, those of 12 s by 1 s."""
    for gaps in ([60, 58, 62, 59, 61, 57, 63, 60, 60, 62, 58, 60, 61, 59, 60], [12, 11, 13] * 5):
        story = play(RULE, pass_s=10)
        calls(story, gaps).expect(LIKE_A_CLOCK)


def test_more_than_80_of_100_gaps(play: Play) -> None:
    """16 of 20 are quiet, 17 of 21 raise."""
    story = play(RULE, pass_s=10)
    calls(story, [200] * 4 + [60] * 16).expect(nothing)
    story.at(f"0:{10 + 4 * 200 + 17 * 60}").send(1, **CALL).expect(raised(RULE, count=81))


def test_what_has_no_rhythm_is_quiet(play: Play) -> None:
    story = play(RULE, pass_s=10)
    calls(story, [15, 40, 90, 22, 130, 64, 33, 180, 75, 48, 27, 110, 150, 19, 56, 84, 210, 37]).expect(nothing)


def test_a_browser_is_no_beacon(play: Play) -> None:
    """Sessions that follow each other closely make up no event, however many there are."""
    story = play(RULE, pass_s=10)
    calls(story, [1] * 200 + [10] * 30).expect(nothing)
    for number in range(5):
        calls(story, [0, 0, 0, 0, 0], first_s=600 + 60 * number)
    story.expect(nothing)


def test_destinations_in_between_hide_nothing(play: Play) -> None:
    """The original takes the gap to the source's next session to anywhere, and sees neither of these."""
    story = play(RULE, pass_s=10)
    for number in range(16):
        story.at(f"{number}:05").send(1, **CALL)
        story.at(f"{number}:23").send(3, **{**CALL, "DstIpAddr": OTHER})
        story.at(f"{number}:24").send(1, **{**CALL, "DstIpAddr": f"198.51.100.{number}"})
        story.at(f"{number}:51").send(1, **{**CALL, "DstPortNumber": 80})
    story.expect(
        LIKE_A_CLOCK,
        raised(RULE, DstIpAddr=OTHER, count=100),
        raised(RULE, DstIpAddr=SERVER, DstPortNumber=80, count=100),
    )


def test_inside_is_not_looked_at(play: Play) -> None:
    story = play(RULE, pass_s=10)
    for destination in ("10.0.0.53", "fd00::1", "169.254.1.1", "fe80::1", "127.0.0.2", "::1"):
        calls(play(RULE, pass_s=10), [60] * 20, DstIpAddr=destination).expect(nothing)
    calls(story, [60] * 15, SrcIpAddr="fd00::7", DstIpAddr="2001:db8::9")
    story.expect(raised(RULE, SrcIpAddr="fd00::7", DstIpAddr="2001:db8::9"))


def test_hosts_that_ask_by_order(play: Play) -> None:
    """Monitoring, name servers and proxies are exempt by their role."""
    known = hosts("10.1.2.0/28,probe,,monitoring,noc", "10.1.2.16/28,printers,,,office")
    calls(play(RULE, pass_s=10, hosts=known), [60] * 20).expect(nothing)
    calls(play(RULE, pass_s=10, hosts=known), [60] * 15, SrcIpAddr="10.1.2.17").expect(raised(RULE))


def test_its_life(play: Play) -> None:
    """It stays while the host goes on, and clears two hours after the hour in which it was still regular."""
    story = play(RULE, pass_s=60)
    calls(story, [60] * 15).expect(LIKE_A_CLOCK)
    story.at("16:10").every(60, "2:30:00", lambda story: story.send(1, **CALL)).expect(nothing)
    story.at("4:58:00").expect(nothing)
    story.at("5:01:00").expect(cleared(RULE, SrcIpAddr=HOST, reason="at or below 64 for 2 h", count=100))


def test_over_a_restart(play: Play) -> None:
    """The gaps that were seen are remembered, and so is the last session."""
    story = play(RULE, pass_s=10)
    calls(story, [60] * 14).expect(nothing)
    story.at("14:40").restart().at("15:10").send(1, **CALL).expect(LIKE_A_CLOCK)
    story.at("15:40").restart().at("16:10").send(1, **CALL).expect(nothing)
