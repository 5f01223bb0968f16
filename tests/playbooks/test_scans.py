"""Playbooks of the rules that count different values: port scans, port sweeps, spreading file sharing."""

import pytest

from .playbook import Play, cleared, nothing, raised

SCANNER, INSIDE = "203.0.113.7", "10.1.2.3"
SWEPT = [f"10.9.0.{number}" for number in range(1, 101)]


def test_port_scan(play: Play) -> None:
    """50 ports in 5 minutes are quiet, the 51st raises; over all hosts and results."""
    story = play("port-scan")
    story.at("0:10").send_each("DstPortNumber", range(1, 26), SrcIpAddr=SCANNER, DvcAction="Deny")
    story.at("2:10").send_each("DstPortNumber", range(20, 51), SrcIpAddr=SCANNER, DstIpAddr="10.0.0.1").expect(nothing)
    story.at("2:20").send(5000, SrcIpAddr=SCANNER, DstPortNumber=50).expect(nothing)
    story.at("4:59").send(1, SrcIpAddr=SCANNER, DstPortNumber=51)
    story.expect(raised("port-scan", SrcIpAddr=SCANNER, count=51))


def test_port_scan_that_takes_its_time(play: Play) -> None:
    """Ports that left the window count no more."""
    story = play("port-scan")
    story.at("0:10").send_each("DstPortNumber", range(1, 26), SrcIpAddr=SCANNER)
    story.at("5:10").send_each("DstPortNumber", range(26, 51), SrcIpAddr=SCANNER).expect(nothing)
    story.at("9:59").send_each("DstPortNumber", range(51, 76), SrcIpAddr=SCANNER).expect(nothing)
    story.at("9:59.5").send(1, SrcIpAddr=SCANNER, DstPortNumber=76)
    story.expect(raised("port-scan", count=51))


def test_port_scan_of_two_sources(play: Play) -> None:
    story = play("port-scan")
    for number in (1, 2):
        story.send_each("DstPortNumber", range(30 * number, 30 * number + 50), SrcIpAddr=f"203.0.113.{number}")
    story.expect(nothing)


def test_port_scan_over_ipv6(play: Play) -> None:
    """The original never looks at it."""
    story = play("port-scan")
    story.send_each("DstPortNumber", range(51), SrcIpAddr="2001:db8::7").expect(raised("port-scan", count=51))


def test_port_scan_looks_outside_alone(play: Play) -> None:
    story = play("port-scan")
    for source in (INSIDE, "192.168.1.1", "172.31.0.1", "fd00::1", "127.0.0.1", "::1"):
        story.send_each("DstPortNumber", range(1, 60), SrcIpAddr=source)
    story.expect(nothing)


@pytest.mark.parametrize(("name", "source"), [("port-scan", SCANNER), ("port-scan-internal", INSIDE)])
def test_answers_of_a_busy_server_are_no_scan(play: Play, name: str, source: str) -> None:
    """As a device tells them that swaps the ends."""
    story = play(name)
    story.send_each("DstPortNumber", range(40_000, 40_200), SrcIpAddr=source, SrcPortNumber=443).expect(nothing)
    assert sum(story.tick.counters.exempted.values()) == 200
    story.send_each("DstPortNumber", range(40_000, 40_200), SrcIpAddr=source, SrcPortNumber=50_000)
    story.expect(raised(name, SrcIpAddr=source))


@pytest.mark.parametrize(("name", "source"), [("port-scan", SCANNER), ("port-scan-internal", INSIDE)])
@pytest.mark.parametrize(
    ("from_port", "to", "is_answer"),
    [
        (1023, range(32_768, 32_868), True),
        (1023, range(65_436, 65_536), True),
        (0, range(32_768, 32_868), True),
        (1024, range(32_768, 32_868), False),
        (1023, range(32_668, 32_768), False),
        (None, range(32_768, 32_868), False),
    ],
)
def test_what_looks_like_an_answer(
    play: Play, name: str, source: str, from_port: int | None, to: range, is_answer: bool
) -> None:
    """From a port below 1024 to one from 32768 on."""
    ports = {} if from_port is None else {"SrcPortNumber": from_port}
    story = play(name).send_each("DstPortNumber", to, SrcIpAddr=source, **ports)
    story.expect(nothing if is_answer else raised(name, SrcIpAddr=source))


def test_port_scan_from_inside(play: Play) -> None:
    """60 ports are quiet here."""
    story = play("port-scan-internal")
    story.send_each("DstPortNumber", range(60), SrcIpAddr=INSIDE).expect(nothing)
    story.send_each("DstPortNumber", range(1000, 1100), SrcIpAddr=SCANNER).expect(nothing)
    story.send(1, SrcIpAddr=INSIDE, DstPortNumber=61).expect(raised("port-scan-internal", SrcIpAddr=INSIDE, count=61))


def test_port_scan_clears(play: Play) -> None:
    """15 minutes after the last window with over 40 ports; more than 64 are told as 64."""
    story = play("port-scan", pass_s=10)
    story.at("0:10").send_each("DstPortNumber", range(51), SrcIpAddr=SCANNER).expect(raised("port-scan", count=51))
    story.at("1:10").send_each("DstPortNumber", range(500), SrcIpAddr=SCANNER).expect(nothing)
    story.at("20:50").expect(nothing)
    story.at("21:10").expect(cleared("port-scan", SrcIpAddr=SCANNER, count=64))


def test_port_scan_over_a_restart(play: Play) -> None:
    """The ports that were seen are remembered."""
    story = play("port-scan")
    story.at("0:10").send_each("DstPortNumber", range(1, 51), SrcIpAddr=SCANNER).expect(nothing)
    story.at("1:10").restart().send(1, SrcIpAddr=SCANNER, DstPortNumber=50).expect(nothing)
    story.send(1, SrcIpAddr=SCANNER, DstPortNumber=51).expect(raised("port-scan", count=51))


def test_port_sweep(play: Play) -> None:
    """One port on 20 of our addresses within an hour is quiet, on 21 it raises."""
    story = play("port-sweep", pass_s=60)
    sweep = {"SrcIpAddr": SCANNER, "DstPortNumber": 3389}
    story.at("0:30").send_each("DstIpAddr", SWEPT[:20], **sweep).send(500, DstIpAddr=SWEPT[0], **sweep).expect(nothing)
    story.at("59:30").send(1, DstIpAddr=SWEPT[20], **sweep)
    story.expect(raised("port-sweep", SrcIpAddr=SCANNER, DstPortNumber=3389, count=21))


def test_port_sweep_is_one_source_and_one_port(play: Play) -> None:
    """21 web servers that many call are none, which the first versions of the original took for one."""
    story = play("port-sweep")
    for number, server in enumerate(SWEPT):
        story.send(1, SrcIpAddr=f"203.0.113.{number}", DstIpAddr=server, DstPortNumber=443)
        story.send(1, SrcIpAddr=SCANNER, DstIpAddr=server, DstPortNumber=1000 + number)
    story.expect(nothing)


def test_port_sweep_comes_in(play: Play) -> None:
    story = play("port-sweep")
    story.send_each("DstIpAddr", SWEPT, SrcIpAddr=INSIDE, DstPortNumber=22)
    story.send_each("DstIpAddr", (f"198.51.100.{n}" for n in range(50)), SrcIpAddr=SCANNER, DstPortNumber=22)
    story.expect(nothing)


def test_port_sweep_from_outside_alone(play: Play) -> None:
    """Whatever direction a device tells; over IPv6 as well, which the original never looks at."""
    story = play("port-sweep")
    for source in (INSIDE, "fd00::1"):
        story.send_each("DstIpAddr", SWEPT, SrcIpAddr=source, DstPortNumber=22, NetworkDirection="Inbound")
    story.expect(nothing)
    inside = [f"fd00::{number}" for number in range(21)]
    story.send_each("DstIpAddr", inside[:20], SrcIpAddr="2001:db8::7", DstPortNumber=22).expect(nothing)
    story.send_each("DstIpAddr", inside, SrcIpAddr="2001:db8::7", DstPortNumber=22)
    story.expect(raised("port-sweep", SrcIpAddr="2001:db8::7", DstPortNumber=22, count=21))


def test_smb_spread(play: Play) -> None:
    """9 hosts within an hour are quiet, the tenth raises; both ports together."""
    story = play("smb-spread", pass_s=60)
    story.at("0:30").send_each("DstIpAddr", SWEPT[:5], SrcIpAddr=INSIDE, DstPortNumber=445)
    story.at("20:30").send_each("DstIpAddr", SWEPT[4:9], SrcIpAddr=INSIDE, DstPortNumber=139).expect(nothing)
    story.send(1, SrcIpAddr=INSIDE, DstIpAddr=INSIDE, DstPortNumber=445).expect(nothing)
    story.send(1, SrcIpAddr=INSIDE, DstIpAddr=SWEPT[10], DstPortNumber=80).expect(nothing)
    story.send(1, SrcIpAddr=SCANNER, DstIpAddr=SWEPT[10], DstPortNumber=445).expect(nothing)
    story.at("59:30").send(1, SrcIpAddr=INSIDE, DstIpAddr=SWEPT[11], DstPortNumber=445)
    story.expect(raised("smb-spread", SrcIpAddr=INSIDE, count=10))
