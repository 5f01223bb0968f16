"""Playbooks of what operators decide: exempts by role and key, maintenance, learning, shelving; and the storm cap."""

from dataclasses import replace

import pytest

from collectord.detect.rules import Exempt
from collectord.errors import RequestError
from collectord.model import NS_PER_S

from .playbook import START_S, Play, Story, cleared, hosts, nothing, raised, rule, updated, watchlist

RULE = "excessive-failures"
SOURCE, OTHER = "203.0.113.7", "203.0.113.8"
FAILURE = {"SrcIpAddr": SOURCE, "EventResult": "Failure"}
OTHER_FAILURE = {**FAILURE, "SrcIpAddr": OTHER}
SITE_SOURCE = Exempt({"SrcIpAddr": SOURCE}, "our scanner")


def both(story: Story) -> Story:
    """Too many failures of two sources."""
    return story.send(5001, **FAILURE).send(5001, **OTHER_FAILURE)


def test_an_exempt_by_role(play: Play) -> None:
    """Whoever scans by order is no scanner; a role of another host, or without one, helps nobody."""
    known = hosts("10.0.0.5,nessus,,scanner,it", "10.0.0.6,ns1,,dns,it", '10.0.0.8,edge,,"nat, lb",it')
    story = play("port-scan-internal", hosts=known)
    for source in ("10.0.0.5", "10.0.0.8"):
        story.send_each("DstPortNumber", range(100), SrcIpAddr=source).expect(nothing)
    for source in ("10.0.0.6", "10.0.0.7"):
        story.send_each("DstPortNumber", range(100), SrcIpAddr=source)
    story.expect(*(raised("port-scan-internal", SrcIpAddr=source) for source in ("10.0.0.6", "10.0.0.7")))


def test_an_exempt_of_the_file_until_a_time(play: Play) -> None:
    """From that time on it holds no longer, and what is over raises."""
    until = replace(SITE_SOURCE, until_ns=(START_S + 120) * NS_PER_S)
    story = both(play(rule(RULE, exempt=(until,)))).expect(raised(RULE, SrcIpAddr=OTHER))
    story.at("1:59").expect(nothing)
    story.at("2:01").expect(raised(RULE, SrcIpAddr=SOURCE, count=5001))


def test_an_exempt_of_a_network(play: Play) -> None:
    story = both(play(rule(RULE, exempt=(Exempt({"SrcIpAddr": "203.0.113.0/29"}, "the branch"),))))
    story.expect(raised(RULE, SrcIpAddr=OTHER))


def test_an_exempt_that_a_session_decides(play: Play) -> None:
    """What the key of an alert does not say is left out before it is counted."""
    story = play(rule(RULE, exempt=(Exempt({"DstPortNumber": 25}, "the mail relay is slow"),)))
    story.send(9000, DstPortNumber=25, **FAILURE).send(5000, DstPortNumber=26, **FAILURE).expect(nothing)
    assert story.tick.counters.exempted == {"failures_by_source": 9000}
    story.send(1, DstPortNumber=26, **FAILURE).expect(raised(RULE, SrcIpAddr=SOURCE, count=5001))


def test_an_exempt_added_under_an_active_alert(play: Play) -> None:
    """It clears at once with the reason; taken back, what is still over raises again."""
    story = both(play(RULE)).expect(raised(RULE, SrcIpAddr=SOURCE), raised(RULE, SrcIpAddr=OTHER))
    added = story.at("1:00").do("exempt-add", rule=RULE, where={"SrcIpAddr": SOURCE}, reason="our scanner")
    story.expect(cleared(RULE, SrcIpAddr=SOURCE, reason="exempt: our scanner"))
    story.at("2:00").send(9000, **FAILURE).restart().expect(nothing)
    story.do("exempt-remove", number=added["number"])
    story.expect(raised(RULE, SrcIpAddr=SOURCE, count=14_001))
    assert sorted(alert.episode for alert in story.active) == [1, 2]


def test_an_exempt_added_until_a_time(play: Play) -> None:
    story = both(play(RULE)).expect(raised(RULE, SrcIpAddr=SOURCE), raised(RULE, SrcIpAddr=OTHER))
    story.at("1:00").do("exempt-add", rule=RULE, where={"SrcIpAddr": SOURCE}, reason="a test", until="3:00")
    story.expect(cleared(RULE, SrcIpAddr=SOURCE, reason="exempt: a test"))
    story.at("2:59").restart().expect(nothing)
    story.at("3:01").expect(raised(RULE, SrcIpAddr=SOURCE))


def test_an_exempt_of_the_file_under_an_active_alert(play: Play) -> None:
    """A restart with it clears, one without it raises again; the other alert is not touched."""
    story = both(play(RULE)).expect(raised(RULE, SrcIpAddr=SOURCE), raised(RULE, SrcIpAddr=OTHER))
    story.at("1:00").restart(rules=[rule(RULE, exempt=(SITE_SOURCE,))])
    story.expect(cleared(RULE, SrcIpAddr=SOURCE, reason="exempt: our scanner"))
    story.at("2:00").restart(rules=[rule(RULE)]).expect(raised(RULE, SrcIpAddr=SOURCE, count=5001))


def test_an_exempt_by_role_under_an_active_alert(play: Play) -> None:
    """Of the source that each alert of port misuse is about, where sources are held against the rows one by one."""
    fields = ("SrcIpAddr", "DstPortNumber", "NetworkProtocol", "NetworkDirection", "DvcAction")
    smb = watchlist("445,*,*,*,*,Detection,Static,1000,High,LateralMovement,Burst of SMB,x")
    story = play(rule("port-misuse", group_by=fields), ports=smb, hosts=hosts("10.0.0.9,backup-1,,backup,it"))
    for source in ("10.0.0.9", "10.0.0.8"):
        story.send(1001, SrcIpAddr=source, DstIpAddr="10.0.0.1", DstPortNumber=445, NetworkProtocol="TCP")
    story.expect(*(raised("port-misuse", SrcIpAddr=source) for source in ("10.0.0.9", "10.0.0.8")))
    story.do("exempt-add", rule="port-misuse", where={"role": "backup"}, reason="copies by order")
    story.expect(cleared("port-misuse", SrcIpAddr="10.0.0.9", reason="exempt: copies by order"))


def test_port_misuse_of_a_port_exempt(play: Play) -> None:
    """Over all sources a role says nothing about an alert, and is refused; its port does."""
    smb = watchlist("445,*,*,*,*,Detection,Static,1000,High,LateralMovement,Burst of SMB,x")
    story = play("port-misuse", ports=smb)
    story.send(1001, SrcIpAddr="10.0.0.9", DstIpAddr="10.0.0.1", DstPortNumber=445, NetworkProtocol="TCP")
    story.expect(raised("port-misuse", DstPortNumber=445))
    with pytest.raises(RequestError, match="don't say role"):
        story.do("exempt-add", rule="port-misuse", where={"role": "backup"}, reason="copies by order")
    story.do("exempt-add", rule="port-misuse", where={"DstPortNumber": [139, 445]}, reason="file servers")
    story.expect(cleared("port-misuse", DstPortNumber=445, reason="exempt: file servers"))


def test_maintenance(play: Play) -> None:
    """What comes up meanwhile is stored; what is over at its end is sent; what was sent before clears."""
    story = play(RULE, pass_s=10)
    story.send(5001, **FAILURE).expect(raised(RULE, SrcIpAddr=SOURCE, held=""))
    number = story.at("1:00").do("maintenance-add", reason="core switch", until="25:00")["number"]
    held = f"maintenance {number}: core switch"
    story.expect(updated(RULE, SrcIpAddr=SOURCE, held=held))
    story.at("2:00").send(5001, **OTHER_FAILURE).expect(raised(RULE, SrcIpAddr=OTHER, held=held))
    story.at("19:50").restart().expect(nothing)
    story.at("20:10").expect(cleared(RULE, SrcIpAddr=SOURCE, held=""))
    story.at("20:20").send(5001, **OTHER_FAILURE).expect(nothing)
    reason = "goes on as an alert that is sent"
    story.at("25:01").expect(cleared(RULE, SrcIpAddr=OTHER, reason=reason, held=held), raised(RULE, held=""))


def test_maintenance_to_come_and_of_another_site(play: Play) -> None:
    """Neither holds back anything now; ended early it holds nothing either."""
    story = play(RULE)
    story.do("maintenance-add", reason="later", from_ns=story.clock.now_ns() + 60 * NS_PER_S, until="9:00")
    story.do("maintenance-add", reason="elsewhere", site="north", until="9:00")
    number = story.do("maintenance-add", reason="all of it", until="9:00")["number"]
    story.do("maintenance-end", number=number)
    both(story).expect(raised(RULE, SrcIpAddr=SOURCE, held=""), raised(RULE, SrcIpAddr=OTHER, held=""))


def test_learning(play: Play) -> None:
    """Nothing is sent but what the collector says of itself; at the end what is over is."""
    story = play(RULE, "messages-lost", learn_s=3600, pass_s=10)
    story.at("10:00").send(5001, **FAILURE).expect(raised(RULE, SrcIpAddr=SOURCE, held="learning"))
    story.dropped(5).at("10:11").expect(raised("messages-lost", held=""))
    story.at("40:00").expect(cleared(RULE, SrcIpAddr=SOURCE, held="learning"), cleared("messages-lost", held=""))
    story.at("58:00").restart().send(5001, **FAILURE).expect(raised(RULE, held="learning"))
    story.at("60:01").expect(cleared(RULE, held="learning"), raised(RULE, held="", count=5001))


def test_a_shelved_alert(play: Play) -> None:
    """Grows without being sent, until the time is over or it is taken out; the others are sent."""
    story = both(play(RULE, pass_s=10)).expect(raised(RULE, SrcIpAddr=SOURCE), raised(RULE, SrcIpAddr=OTHER))
    (alert_id,) = [alert.id for alert in story.active if alert.key["SrcIpAddr"] == SOURCE]
    story.at("1:00").do("alert-shelve", id=alert_id, reason="a known scan", until="10:00")
    story.expect(updated(RULE, SrcIpAddr=SOURCE, held="shelved"))
    story.send(45_009, **FAILURE).send(45_009, **OTHER_FAILURE).expect(
        updated(RULE, SrcIpAddr=SOURCE, count=50_010, held="shelved"),
        updated(RULE, SrcIpAddr=OTHER, count=50_010, held=""),
    )
    story.at("5:50").restart().expect(nothing)
    both(story.at("9:50")).at("10:01").expect(updated(RULE, SrcIpAddr=SOURCE, held=""))
    story.do("alert-shelve", id=alert_id, reason="again", until="9:00:00")
    story.expect(updated(RULE, SrcIpAddr=SOURCE, held="shelved"))
    story.do("alert-unshelve", id=alert_id)
    story.expect(updated(RULE, SrcIpAddr=SOURCE, held=""))
    story.do("alert-shelve", id=alert_id, reason="and again", until="9:00:00")
    story.at("40:00").expect(
        updated(RULE, SrcIpAddr=SOURCE, held="shelved"),
        # What was sent clears for whoever knows of it.
        cleared(RULE, SrcIpAddr=SOURCE, held=""),
        cleared(RULE, SrcIpAddr=OTHER, held=""),
    )


def test_the_storm_cap_counts_each_rule_by_itself(play: Play) -> None:
    """And goes on over a restart."""
    story = play(RULE, "port-scan", storm_cap=1)
    story.send(5001, **FAILURE).expect(raised(RULE, SrcIpAddr=SOURCE, held=""))
    story.at("1:00").restart().send(5001, **OTHER_FAILURE)
    held = "storm cap: 1 alerts of this rule were sent within 10 min"
    story.expect(raised(RULE, SrcIpAddr=OTHER, held=held))
    story.send_each("DstPortNumber", range(60), SrcIpAddr=SOURCE).expect(raised("port-scan", held=""))
