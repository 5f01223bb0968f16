"""Playbooks of the rules about remote desktop, directories, clear-text logins, and applications on odd ports."""

import pytest

from collectord.model import Mode

from .playbook import Play, cleared, nothing, raised

OUTSIDE, INSIDE, PARTNER = "203.0.113.7", "10.1.2.3", "198.51.100.9"
GUESS = {"SrcIpAddr": OUTSIDE, "DstIpAddr": INSIDE, "DstPortNumber": 3389}
OUT = {"SrcIpAddr": INSIDE, "DstIpAddr": PARTNER}


def test_rdp_brute_force(play: Play) -> None:
    """24 failed sessions in 5 minutes are quiet, 25 raise, and are sent."""
    story = play("rdp-brute-force")
    story.at("0:30").send(24, EventResult="Failure", **GUESS).expect(nothing)
    story.at("4:30").send(1, EventResult="Failure", **GUESS)
    story.expect(raised("rdp-brute-force", SrcIpAddr=OUTSIDE, DstPortNumber=3389, count=25))
    assert [alert.mode for alert in story.active] == [Mode.NOTIFY]


def test_rdp_brute_force_reached_the_host(play: Play) -> None:
    """What a device denied or dropped did not; a reset did, and so did what no device tells an action of."""
    story = play("rdp-brute-force")
    for action in ("Deny", "Drop", "Drop ICMP"):
        story.send(1000, EventResult="Failure", DvcAction=action, **GUESS)
    story.send(1000, EventResult="Success", DvcAction="Allow", **GUESS).expect(nothing)
    story.send(25, EventResult="Failure", DvcAction="Reset Destination", **GUESS).expect(raised("rdp-brute-force"))


def test_rdp_brute_force_counts_over_all_hosts(play: Play) -> None:
    story = play("rdp-brute-force")
    targets = [f"10.0.0.{number}" for number in range(1, 26)]
    story.send_each("DstIpAddr", targets, SrcIpAddr=OUTSIDE, DstPortNumber=3389, EventResult="Failure")
    story.expect(raised("rdp-brute-force", SrcIpAddr=OUTSIDE, count=25))


def test_rdp_brute_force_comes_from_outside(play: Play) -> None:
    story = play("rdp-brute-force")
    story.send(100, EventResult="Failure", **{**GUESS, "SrcIpAddr": "10.0.0.9"})
    story.send(100, EventResult="Failure", **{**GUESS, "DstIpAddr": OUTSIDE})
    story.send(100, EventResult="Failure", **{**GUESS, "DstPortNumber": 33890}).expect(nothing)


@pytest.mark.parametrize(
    ("rule", "action", "ports", "others"),
    [
        ("outbound-ldap", "Deny", (389, 636, 3268, 3269), (38, 3890, 443)),
        ("outbound-ldap-success", "Allow", (389, 636, 3268, 3269), (38, 3890, 443)),
        ("outbound-rdp", "Allow", (3389,), (338, 33890)),
        ("cleartext-authentication", "Allow", (21, 23, 110, 143), (22, 993, 995, 2323)),
    ],
)
def test_one_session_that_leaves_is_enough(
    play: Play, rule: str, action: str, ports: tuple[int, ...], others: tuple[int, ...]
) -> None:
    """On these ports, from one of our addresses to one that is none of ours; IPv6 as well."""
    story = play(rule)
    for port in others:
        story.send(10, DvcAction=action, DstPortNumber=port, **OUT)
    for port in ports:
        story.send(1, DvcAction=action, DstPortNumber=port, SrcIpAddr=INSIDE, DstIpAddr="192.168.0.1")
        story.send(1, DvcAction=action, DstPortNumber=port, SrcIpAddr=OUTSIDE, DstIpAddr=PARTNER)
        story.send(1, DvcAction=action, DstPortNumber=port, SrcIpAddr=OUTSIDE, DstIpAddr=INSIDE)
    story.expect(nothing)
    for port in ports:
        story.send(1, DvcAction=action, DstPortNumber=port, **OUT).expect(raised(rule, count=1, **OUT))
    story.send(1, DvcAction=action, DstPortNumber=ports[0], SrcIpAddr="fd00::1", DstIpAddr="2001:db8::1")
    story.expect(raised(rule, SrcIpAddr="fd00::1"))
    assert {alert.mode for alert in story.active} == {Mode.REPORT}


def test_results_that_matter(play: Play) -> None:
    """A directory that was asked in vain was asked; a login that failed in the network gave nothing away."""
    story = play("outbound-ldap", "outbound-ldap-success", "outbound-rdp", "cleartext-authentication")
    for port in (3389, 23):
        story.send(1, DvcAction="Deny", DstPortNumber=port, **OUT)
    story.send(1, EventResult="Partial", DstPortNumber=23, **OUT)
    story.expect(nothing)
    story.send(1, DvcAction="Deny", DstPortNumber=389, **OUT).expect(raised("outbound-ldap"))
    story.send(1, DvcAction="Allow", DstPortNumber=389, **OUT).expect(raised("outbound-ldap-success"))
    story.send(1, DstPortNumber=636, **OUT).expect(raised("outbound-ldap"))
    for port, rule in ((3389, "outbound-rdp"), (23, "cleartext-authentication")):
        story.send(1, DstPortNumber=port, **OUT).expect(raised(rule))


def test_an_anonymous_login_gives_no_password_away(play: Play) -> None:
    story = play("cleartext-authentication")
    story.send(1, SrcUsername="anonymous", DstPortNumber=21, **OUT).expect(nothing)
    assert story.tick.counters.exempted == {"cleartext_sessions": 1}
    story.send(1, SrcUsername="anonymous", DstPortNumber=23, **OUT).expect(raised("cleartext-authentication"))
    story.send(1, SrcUsername="jdoe", DstPortNumber=21, **OUT).expect(raised("cleartext-authentication"))


def test_a_match_is_told_once_a_day(play: Play) -> None:
    """More of the same the same day are no further alert; an hour after the day without any it clears."""
    story = play("outbound-rdp", pass_s=300)
    story.at("0:30:00").send(1, DstPortNumber=3389, **OUT).expect(raised("outbound-rdp", count=1))
    story.at("5:30:00").send(5, DstPortNumber=3389, **OUT).expect(nothing)
    story.at("29:50:00").expect(nothing)
    story.at("30:10:00").expect(cleared("outbound-rdp", count=6))


@pytest.mark.parametrize(
    ("app", "fine", "odd"),
    [
        ("dns", (53,), (5300, 443, 530)),
        ("web-browsing", (80, 8000, 8080), (8, 443, 808)),
        ("http", (80, 8000, 8080), (8001,)),
        ("ssl", (443, 8443), (80, 4443)),
        ("https", (443, 8443), (53,)),
        ("TLS", (443, 8443), (53,)),
        ("Dns", (53,), (443,)),
        ("Web-Browsing", (80, 8000, 8080), (443,)),
        ("SMTP", (25, 465, 587), (2525,)),
    ],
)
def test_app_port_mismatch(play: Play, app: str, fine: tuple[int, ...], odd: tuple[int, ...]) -> None:
    """Where it belongs is fine; elsewhere one session is enough, also on ports that belong to no application."""
    story = play("app-port-mismatch")
    for port in fine:
        story.send(1, DstAppName=app, DstPortNumber=port, **OUT)
    story.send(1, DstAppName="ssh", DstPortNumber=443, **OUT).send(1, DstPortNumber=443, **OUT).expect(nothing)
    for port in odd:
        story.send(1, DstAppName=app, DstPortNumber=port, **OUT)
        story.expect(raised("app-port-mismatch", DstAppName=app, DstPortNumber=port))
