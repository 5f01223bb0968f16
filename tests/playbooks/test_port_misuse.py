"""Playbooks of ``port-misuse``: each row of the port watchlist has its own threshold."""

import pytest

from collectord.detect.rules import WATCHLIST_FIELDS
from collectord.model import Mode, Severity

from .playbook import Play, cleared, nothing, raised, rule, updated, watchlist

RULE = "port-misuse"
SMB = '445,smb,*,*,*,Detection,Static,1000,High,LateralMovement,Burst of SMB,"Much of it."'
ALLOWED_SMB = "445,*,TCP,*,Allow,Hunting,Static,0,Low,InitialAccess,Risky port,Allowed."
INSIDE = {"SrcIpAddr": "10.0.0.1", "DstIpAddr": "10.0.0.2", "NetworkProtocol": "TCP"}
TO_445 = {**INSIDE, "DstPortNumber": 445}


def test_1000_are_quiet_1001_raise(play: Play) -> None:
    story = play(RULE, ports=watchlist(SMB))
    story.at("0:30").send(1000, DvcAction="Allow", **TO_445).expect(nothing)
    story.at("19:30").send(1, DvcAction="Allow", **TO_445)
    story.expect(raised(RULE, Name="Burst of SMB", DstPortNumber=445, NetworkProtocol="TCP", count=1001))
    (alert,) = story.active
    assert (alert.severity, alert.mode, alert.tactics) == (Severity.HIGH, Mode.NOTIFY, ("LateralMovement",))


def test_a_window_is_20_minutes_long(play: Play) -> None:
    story = play(RULE, ports=watchlist(SMB), pass_s=10)
    story.at("0:30").send(1000, DvcAction="Allow", **TO_445).expect(nothing)
    story.at("20:00").send(1000, DvcAction="Allow", **TO_445).expect(nothing)


def test_each_cell_is_held_against_the_row_by_itself(play: Play) -> None:
    """600 allowed and 600 denied sessions do not make 1,200; nor do two directions, two protocols, two ports."""
    story = play(RULE, ports=watchlist(SMB, SMB.replace("445", "139")))
    story.send(600, DvcAction="Allow", **TO_445).send(600, DvcAction="Deny", **TO_445).expect(nothing)
    story.send(600, DvcAction="Reset", **{**TO_445, "DstIpAddr": "192.0.2.1"})
    story.send(600, DvcAction="Reset", **TO_445)
    story.send(600, DvcAction="Allow", **{**TO_445, "NetworkProtocol": "UDP"})
    story.send(600, DvcAction="Allow", **{**TO_445, "DstPortNumber": 139}).expect(nothing)


def test_aggregate_row_adds_up_what_fits(play: Play) -> None:
    story = play(rule(RULE, aggregate_rows=True), ports=watchlist(SMB))
    story.send(600, DvcAction="Allow", **TO_445).expect(nothing)
    story.send(400, DvcAction="Deny", **TO_445).expect(nothing)
    story.send(1, DvcAction="Reset", **TO_445)
    story.expect(raised(RULE, Name="Burst of SMB", DstPortNumber=445, NetworkProtocol="*", count=1001))


def test_with_the_source_each_is_held_against_the_row_by_itself(play: Play) -> None:
    by_source = rule(RULE, group_by=("SrcIpAddr", *WATCHLIST_FIELDS))
    story = play(by_source, ports=watchlist(SMB))
    story.send(1000, DvcAction="Allow", **TO_445)
    story.send(1000, DvcAction="Allow", **{**TO_445, "SrcIpAddr": "10.0.0.3"}).expect(nothing)
    story.send(1, DvcAction="Allow", **TO_445).expect(raised(RULE, SrcIpAddr="10.0.0.1", count=1001))


def test_port_80_is_not_8080(play: Play) -> None:
    """Nor 800, nor 180: ports are numbers here, no text."""
    story = play(RULE, ports=watchlist("80,*,*,*,*,Detection,Static,10,High,Impact,Web,x"))
    for port in (8, 180, 800, 8080, 60080):
        story.send(1000, DvcAction="Allow", **{**INSIDE, "DstPortNumber": port})
    story.expect(nothing)
    story.send(11, DvcAction="Allow", **{**INSIDE, "DstPortNumber": 80}).expect(raised(RULE, DstPortNumber=80))


def test_drop_icmp_is_not_drop(play: Play) -> None:
    """Nor is Reset Source Reset; the case of letters is no matter."""
    rows = watchlist(
        "445,*,*,*,drop icmp,Detection,Static,10,High,Impact,Icmp,x",
        "445,*,*,*,RESET SOURCE,Detection,Static,10,High,Impact,Source,x",
    )
    story = play(RULE, ports=rows)
    for action in ("Drop", "Reset", "Reset Destination"):
        story.send(1000, DvcAction=action, **TO_445)
    story.expect(nothing)
    story.send(11, DvcAction="Drop ICMP", **TO_445).expect(raised(RULE, Name="Icmp", count=11))
    story.send(11, DvcAction="Reset Source", **TO_445).expect(raised(RULE, Name="Source", count=11))


def test_an_empty_action_fits_any_alone(play: Play) -> None:
    story = play(RULE, ports=watchlist(SMB.replace("1000", "10"), ALLOWED_SMB.replace("Hunting", "Detection")))
    story.send(11, **TO_445).expect(raised(RULE, Name="Burst of SMB", count=11))


def test_an_empty_protocol_fits_any_alone(play: Play) -> None:
    without = {name: value for name, value in TO_445.items() if name != "NetworkProtocol"}
    story = play(RULE, ports=watchlist(SMB.replace("445,smb,*", "445,smb,TCP"), ALLOWED_SMB))
    story.send(2000, DvcAction="Allow", **without).expect(nothing)


def test_the_app_is_not_compared(play: Play) -> None:
    """As in the original: the port alone decides."""
    story = play(RULE, ports=watchlist(SMB))
    story.send(1001, DvcAction="Allow", DstAppName="backup", **TO_445).expect(raised(RULE, count=1001))


APPS = (*WATCHLIST_FIELDS, "DstAppName")


@pytest.mark.parametrize("aggregate", [False, True])
def test_apps_are_compared_where_the_rule_counts_by_them(play: Play, aggregate: bool) -> None:
    """Of what fits, as that which has no app does, sessions of several apps are added up as ever."""
    rows = watchlist(SMB.replace("smb", '"smb, CIFS"'), SMB.replace("445,smb", "446,*"))
    story = play(rule(RULE, group_by=APPS, aggregate_rows=aggregate), ports=rows)
    story.send(2000, DvcAction="Allow", DstAppName="backup", **TO_445).expect(nothing)
    story.send(400, DvcAction="Allow", DstAppName="SMB", **TO_445)
    story.send(300, DvcAction="Allow", DstAppName="cifs", **TO_445)
    story.send(300, DvcAction="Allow", **TO_445).expect(nothing)
    if not aggregate:
        story.send(1000, DvcAction="Deny", DstAppName="smb", **TO_445).expect(nothing)
    story.send(1, DvcAction="Allow", DstAppName="smb", **TO_445)
    story.expect(raised(RULE, Name="Burst of SMB", DstPortNumber=445, count=1001))
    [alert] = story.active
    assert "DstAppName" not in alert.key
    cells = {(cell["DvcAction"], cell["count"]) for cell in alert.details["cells"]}
    assert cells == {("Allow", 1001)}
    story.send(1001, DvcAction="Allow", DstAppName="any", **{**TO_445, "DstPortNumber": 446})
    story.expect(raised(RULE, DstPortNumber=446))


def test_a_rule_that_counts_otherwise_clears_what_it_raised(play: Play) -> None:
    """Each source by itself from then on: the alert over all sources has lost its ground."""
    story = play(RULE, ports=watchlist(SMB))
    story.send(1001, DvcAction="Allow", **TO_445).expect(raised(RULE, count=1001))
    by_source = rule(RULE, group_by=("SrcIpAddr", *WATCHLIST_FIELDS))
    story.restart(rules=[by_source]).expect(cleared(RULE, reason="the rule was changed"))


def test_hunting_rows_report(play: Play) -> None:
    """The first allowed session is enough for the rows with threshold 0, and is never sent."""
    story = play(RULE)
    story.send(1, DvcAction="Deny", **{**INSIDE, "DstPortNumber": 23}).expect(nothing)
    story.send(1, DvcAction="Allow", **{**INSIDE, "DstPortNumber": 111, "NetworkProtocol": "UDP"})
    story.expect(raised(RULE, DstPortNumber=111, NetworkProtocol="UDP", count=1))
    assert [alert.mode for alert in story.active] == [Mode.REPORT]


@pytest.mark.parametrize("aggregate", [False, True])
def test_one_record_is_never_enough(play: Play, aggregate: bool) -> None:
    """Anybody can forge one: it counts for 800 at most, where an alert may clear."""
    story = play(rule(RULE, aggregate_rows=aggregate), ports=watchlist(SMB))
    story.send(1, EventCount=1_000_000_000, DvcAction="Allow", **TO_445).expect(nothing)
    assert story.tick.counters.clamped == 1
    story.send(200, DvcAction="Allow", **TO_445).expect(nothing)
    story.send(1, DvcAction="Allow", **TO_445).expect(raised(RULE, count=1001))


def test_where_one_session_is_enough_a_record_counts_as_told(play: Play) -> None:
    """Rows with the threshold 0."""
    story = play(RULE)
    claim = {**INSIDE, "DstPortNumber": 111, "NetworkProtocol": "UDP", "DvcAction": "Allow", "EventCount": 5000}
    story.send(1, **claim).expect(raised(RULE, DstPortNumber=111, count=5000))


def test_its_life(play: Play) -> None:
    """It clears 15 minutes after the last window with over 800."""
    story = play(RULE, ports=watchlist(SMB), pass_s=10)
    story.at("0:00").send(1001, DvcAction="Allow", **TO_445).expect(raised(RULE, count=1001))
    story.at("10:00").send(9009, DvcAction="Allow", **TO_445).expect(updated(RULE, count=10_010))
    story.at("44:50").expect(nothing)
    story.at("45:10").expect(cleared(RULE, reason="at or below 800 for 15 min", count=10_010))


def test_rows_may_move(play: Play) -> None:
    """A row above it, and the row itself elsewhere in the file, change nothing: the alert is about what it says."""
    story = play(RULE, ports=watchlist(SMB))
    story.send(1001, DvcAction="Allow", **TO_445).expect(raised(RULE, count=1001))
    before = story.active
    above = "9150,tor,*,*,*,Detection,Static,1000,High,CommandAndControl,Tor,x"
    story.restart(ports=watchlist(above, "22,*,*,*,*,Detection,Static,5,Low,Impact,Shell,x", SMB)).expect(nothing)
    assert [alert.id for alert in story.active] == [alert.id for alert in before]
    story.at("50:00").expect(cleared(RULE))


def test_a_row_that_changed_clears_what_it_raised(play: Play) -> None:
    """With the reason."""
    for row, reason in [
        (SMB.replace("Burst of SMB", "SMB"), "the watchlist row was removed"),
        (SMB.replace("445", "446"), "the watchlist row was removed"),
        (SMB.replace("High", "Disabled"), "the watchlist row was removed"),
        (SMB.replace("445,smb,*", "445,smb,UDP"), "the watchlist row was removed"),
        (SMB.replace("1000", "1001"), "the watchlist row's limit is now 1,001"),
    ]:
        story = play(RULE, ports=watchlist(SMB))
        story.send(1001, DvcAction="Allow", **TO_445).expect(raised(RULE))
        at_once = story.restart(ports=watchlist(row)).active
        assert at_once == []
        # What the row is called now is another alert.
        follows = raised(RULE, Name="SMB") if "Burst" not in row else nothing
        story.expect(cleared(RULE, Name="Burst of SMB", reason=reason), follows)


def test_a_row_for_looking_through_takes_over(play: Play) -> None:
    story = play(RULE, ports=watchlist(SMB))
    story.send(1001, DvcAction="Allow", **TO_445).expect(raised(RULE))
    story.restart(ports=watchlist(SMB.replace("Detection", "Hunting")))
    story.expect(cleared(RULE, reason="the watchlist row's mode is now report"), raised(RULE, count=1001))
    assert [alert.mode for alert in story.active] == [Mode.REPORT]


def test_a_session_without_a_port_is_of_no_cell(play: Play) -> None:
    story = play(RULE, ports=watchlist(SMB))
    story.send(1001, DvcAction="Allow", SrcIpAddr="10.0.0.1", DstIpAddr="10.0.0.2").expect(nothing)
    assert story.tick.counters.without_key == {"port_volume": 1001}
