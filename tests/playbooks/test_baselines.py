"""
Playbooks of the rules that hold a day against the days before: ports of the watchlist, file sharing, traffic.

Quiet while they learn and on ordinary days; on the day of a burst they raise while it happens, and clear the day after.
"""

import pytest

from collectord.model import Mode

from .playbook import Play, Story, cleared, nothing, raised, watchlist

LDAP = '"389,636",*,*,*,*,Detection,Anomaly,,High,InitialAccess,Unusual LDAP volume,x'
TO_389 = {"SrcIpAddr": "10.0.0.1", "DstIpAddr": "10.0.0.2", "DstPortNumber": 389, "NetworkProtocol": "TCP"}
TO_SHARE = {"SrcIpAddr": "10.0.0.7", "DstIpAddr": "10.0.0.2", "DstPortNumber": 445, "NetworkProtocol": "TCP"}
TRAFFIC = {
    "traffic-anomaly-action": {"DvcAction": "Allow"},
    "traffic-anomaly-direction": {"NetworkDirection": "Local"},
    "traffic-anomaly-protocol": {"NetworkProtocol": "TCP"},
    "traffic-anomaly-total": {},
}
PASS = {"pass_s": 7200, "first_pass_s": 7200}


def days(story: Story, first: int, end: int, **session: str | int) -> Story:
    """Ordinary days: 10 sessions each hour, 240 a day."""
    for hour in range(24 * first, 24 * end):
        story.at(f"{hour}:30:00").send(10, DvcAction="Allow", **session)
    return story.at(f"{24 * end}:00:00")


def test_port_anomaly(play: Play) -> None:
    """240 a day on eight days: the limit is 317, five times the square root of 240 over it."""
    rule = "port-anomaly"
    story = play(rule, ports=watchlist(LDAP), **PASS)
    days(story, 0, 8, **TO_389).expect(nothing)
    story.at("192:10:00").send(317, DvcAction="Allow", **TO_389).expect(nothing)
    story.at("192:12:00").send(1, DvcAction="Allow", **TO_389)
    story.expect(raised(rule, Name="Unusual LDAP volume", DstPortNumber=389, NetworkProtocol="TCP", count=318))
    (alert,) = story.active
    assert (alert.mode, alert.threshold, alert.details["past"]) == (Mode.REPORT, 317, [240] * 8)
    story.at("216:00:00").expect(nothing)
    days(story, 9, 10, **TO_389).expect(cleared(rule, DstPortNumber=389, count=318))


@pytest.mark.parametrize(("rule", "quiet"), [("port-anomaly", 99), ("traffic-anomaly-total", 99), ("smb-anomaly", 100)])
def test_small_numbers(play: Play, rule: str, quiet: int) -> None:
    """From 100 on (SMB: over 100), however far that is beyond a few sessions a day."""
    session = TO_SHARE if rule == "smb-anomaly" else TO_389
    story = play(rule, ports=watchlist(LDAP), **PASS)
    for day in range(8):
        story.at(f"{24 * day + 12}:00:00").send(3, **session)
    story.at("192:10:00").send(quiet, **session).expect(nothing)
    story.at("192:12:00").send(1, **session).expect(raised(rule, count=quiet + 1))


def test_port_anomaly_looks_at_its_rows_alone(play: Play) -> None:
    """A port without a row, a row with a fixed threshold, and the first seven days are none of its business."""
    static = LDAP.replace("Anomaly,", "Static,1000").replace("389,636", "389,3389")
    story = play("port-anomaly", ports=watchlist(LDAP.replace("389,636", "636,637"), static), **PASS)
    days(story, 0, 8, **TO_389).send(5000, DvcAction="Allow", **TO_389).expect(nothing)
    story = play("port-anomaly", ports=watchlist(LDAP), **PASS)
    days(story, 0, 6, **TO_389).send(5000, DvcAction="Allow", **TO_389)
    story.at("144:10:00").expect(nothing)


def test_port_anomaly_holds_each_cell_by_itself(play: Play) -> None:
    """What is denied has its own past; a port that was never seen has none to be held against."""
    story = play("port-anomaly", ports=watchlist(LDAP), **PASS)
    days(story, 0, 8, **TO_389).send(300, DvcAction="Deny", **TO_389)
    story.send(5000, DvcAction="Allow", **{**TO_389, "DstPortNumber": 636})
    story.at("192:10:00").expect(nothing)


def test_smb_anomaly(play: Play) -> None:
    """240 a day: three times as many are quiet, one more raises."""
    rule = "smb-anomaly"
    story = play(rule, **PASS)
    days(story, 0, 8, **TO_SHARE).expect(nothing)
    story.at("192:10:00").send(720, **TO_SHARE).expect(nothing)
    story.at("192:12:00").send(1, **TO_SHARE)
    story.expect(raised(rule, SrcIpAddr="10.0.0.7", DstPortNumber=445, count=721))
    story.at("216:00:00").expect(nothing)
    days(story, 9, 10, **TO_SHARE).expect(cleared(rule, SrcIpAddr="10.0.0.7"))


def test_smb_anomaly_is_about_inside_hosts_that_were_quiet(play: Play) -> None:
    """A host without a past has one of 0 a day: 100 are quiet. What comes from outside, and goes to itself, is none."""
    story = play("smb-anomaly", **PASS)
    days(story, 0, 8, **TO_SHARE)
    story.send(100, **{**TO_SHARE, "SrcIpAddr": "10.0.0.8"})
    story.send(900, **{**TO_SHARE, "SrcIpAddr": "203.0.113.9"})
    story.send(900, **{**TO_SHARE, "DstIpAddr": "10.0.0.7"}).send(900, **{**TO_SHARE, "DstPortNumber": 80})
    story.at("192:10:00").expect(nothing)
    story.send(1, **{**TO_SHARE, "SrcIpAddr": "10.0.0.8"}).at("192:12:00")
    story.expect(raised("smb-anomaly", SrcIpAddr="10.0.0.8", count=101))


@pytest.mark.parametrize("rule", TRAFFIC)
def test_traffic_anomaly(play: Play, rule: str) -> None:
    """The sum over all ports and hosts, by what the rule is about."""
    story = play(rule, **PASS)
    days(story, 0, 8, **TO_389).expect(nothing)
    story.at("192:10:00").send(317, DvcAction="Allow", **{**TO_389, "DstPortNumber": 8443}).expect(nothing)
    story.at("192:12:00").send(1, DvcAction="Allow", **TO_389).expect(raised(rule, count=318, **TRAFFIC[rule]))
    assert [alert.key for alert in story.active] == [TRAFFIC[rule]]
    story.at("216:00:00").expect(nothing)
    days(story, 9, 10, **TO_389).expect(cleared(rule))


def test_a_restart_in_the_middle_of_the_day(play: Play) -> None:
    """The past and the present day are in the database."""
    story = play("traffic-anomaly-total", **PASS)
    days(story, 0, 8, **TO_389).send(200, **TO_389)
    story.at("192:10:00").restart().send(117, **TO_389).expect(nothing)
    story.at("192:12:00").restart().send(1, **TO_389).expect(raised("traffic-anomaly-total", count=318))
    story.at("192:14:00").restart().expect(nothing)
