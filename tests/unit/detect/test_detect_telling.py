"""The one line that a person on call reads first."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectord.detect import telling
from collectord.detect.findings import Finding, Judgement
from collectord.detect.hosts import Host, Hosts
from collectord.detect.rules import Rule
from collectord.model import KeyValue, Mode, Severity

MakeRule = Callable[..., Rule]
ID = "0123456789abcdef"
NOBODY = Hosts()
EVIDENCE = {
    "top": {
        "DstPortNumber": [[445, 5000], [139, 200], [22, 3]],
        "DstIpAddr": [["198.51.100.7", 5203]],
        "SrcIpAddr": [["192.0.2.10", 5203]],
        "Dvc": [["fw1", 5000], ["fw2", 200], ["fw3", 3]],
    },
    "lines": ["x"],
}


def line(rule: Rule, key: dict[str, KeyValue], site: str = "", hosts: Hosts = NOBODY, **details: Any) -> str:
    judgement = Judgement(5203, 5000, Severity.MEDIUM, Mode.NOTIFY)
    finding = Finding(site, key, judgement, judgement, details)
    return telling.summary(rule, ID, finding, judgement, hosts)


def test_all_that_is_known(make_rule: MakeRule) -> None:
    """Who, what, how much of how much, where to, who said so, and what to type."""
    hosts = Hosts((Host("192.0.2.10/32", "mail1", "", ("scanner",), ""),))

    assert (
        "192.0.2.10 (mail1, scanner, site branch-7): 5,203 failed connections in 5 min (limit 5,000), "
        "port 445 and 2 more, to 198.51.100.7, reported by fw1, fw2 and 1 more; "
        f"collectord alerts show {ID}"
    ) == line(make_rule(), {"SrcIpAddr": "192.0.2.10"}, "branch-7", hosts, evidence=EVIDENCE)


def test_more_than_are_kept(make_rule: MakeRule) -> None:
    """Of ten values nobody knows whether there were others."""
    for count, ports, devices in ((9, "8 more", "7 more"), (10, "at least 9 more", "at least 8 more")):
        top = {name: [[number, 1] for number in range(count)] for name in ("DstPortNumber", "Dvc")}
        text = line(make_rule(), {"SrcIpAddr": "192.0.2.10"}, evidence={"top": top})
        assert f"port 0 and {ports}, reported by 0, 1 and {devices};" in text


def test_nothing_is_known(make_rule: MakeRule) -> None:
    """The address alone."""
    text = line(make_rule(), {"SrcIpAddr": "192.0.2.10"})

    assert f"192.0.2.10: 5,203 failed connections in 5 min (limit 5,000); collectord alerts show {ID}" == text


@pytest.mark.parametrize(("count", "told"), [(63, "63 ports"), (64, "at least 64 ports")])
def test_more_values_than_can_be_told_apart(make_rule: MakeRule, count: int, told: str) -> None:
    """The number alone would be wrong, at the raise as at the clear."""
    rule = make_rule(distinct="DstPortNumber", unit="ports")
    judgement = Judgement(count, 50, Severity.MEDIUM, Mode.NOTIFY)
    finding = Finding("", {"SrcIpAddr": "192.0.2.10"}, judgement, judgement, {})

    text = telling.summary(rule, ID, finding, judgement, NOBODY)
    assert text.startswith(f"192.0.2.10: {told} in 5 min (limit 50); ")
    assert f"(peak {told.removesuffix(' ports')} in 5 min, limit 50)" in telling.quiet(rule, 50, count)[1]


def test_the_host_of_its_site(make_rule: MakeRule) -> None:
    """Private networks exist more than once."""
    hosts = Hosts((Host("10.0.0.1/32", "pc1", "south", (), ""), Host("10.0.0.1/32", "pc2", "north", (), "")))

    assert line(make_rule(), {"SrcIpAddr": "10.0.0.1"}, "north", hosts).startswith("10.0.0.1 (pc2, site north): ")
    assert line(make_rule(), {"SrcIpAddr": "10.0.0.1"}, "", hosts).startswith("10.0.0.1: ")


def test_what_the_daemon_measures(make_rule: MakeRule) -> None:
    """Has no window."""
    text = line(make_rule(group_by=("rule",), counter="", unit="alerts held back"), {"rule": "many"})

    assert f"many: 5,203 alerts held back (limit 5,000); collectord alerts show {ID}" == text


def test_a_port(make_port_rule: MakeRule) -> None:
    """Named as people do; a source beside it is looked up."""
    key: dict[str, KeyValue] = {
        "Name": "Burst",
        "SrcIpAddr": "10.0.0.1",
        "DstPortNumber": 445,
        "NetworkProtocol": "TCP",
    }

    text = line(make_port_rule(), key, hosts=Hosts((Host("10.0.0.0/8", "pc1", "", (), ""),)), evidence=EVIDENCE)
    assert text.startswith(
        "port 445/TCP, Burst, 10.0.0.1 (pc1): 5,203 sessions in 20 min (limit 5,000), to 198.51.100.7,"
    )


def test_a_name_that_dns_tells(make_rule: MakeRule) -> None:
    """Said to be one; the site's own name goes first."""
    judgement = Judgement(5203, 5000, Severity.MEDIUM, Mode.NOTIFY)
    names = {"192.0.2.10": "mail.example.net", "192.0.2.11": "x" * 250}

    def who(address: str, *hosts: Host) -> str:
        finding = Finding("", {"SrcIpAddr": address}, judgement, judgement, {})
        return telling.summary(make_rule(), ID, finding, judgement, Hosts(hosts), names).partition(": ")[0]

    assert who("192.0.2.10") == "192.0.2.10 (DNS mail.example.net)"
    assert who("192.0.2.10", Host("192.0.2.10/32", "mail1", "", (), "")) == "192.0.2.10 (mail1)"
    assert who("192.0.2.10", Host("192.0.2.0/24", "", "", ("nat",), "")) == "192.0.2.10 (DNS mail.example.net, nat)"
    assert who("192.0.2.11") == f"192.0.2.11 (DNS {'x' * 57}...)"
    assert who("192.0.2.12") == "192.0.2.12"


def test_addresses_without_a_name() -> None:
    """Those that the site's own list does not name; each once."""
    hosts = Hosts((Host("192.0.2.1/32", "mail1", "north", (), ""), Host("192.0.2.2/32", "", "", ("nat",), "")))
    key: dict[str, KeyValue] = {
        "SrcIpAddr": "192.0.2.1",
        "DstIpAddr": "192.0.2.2",
        "DstNatIpAddr": "192.0.2.2",
        "SrcNatIpAddr": "",
        "DstPortNumber": 22,
    }

    assert telling.nameless(key, "north", hosts) == ("192.0.2.2",)
    assert telling.nameless(key, "south", hosts) == ("192.0.2.1", "192.0.2.2")


@pytest.mark.parametrize("evidence", [None, {}, 5, {"top": {}}, {"top": {"Dvc": [], "DstPortNumber": []}}])
def test_no_evidence(make_rule: MakeRule, evidence: Any) -> None:
    """Then nothing is said of it."""
    assert line(make_rule(), {"SrcIpAddr": "192.0.2.10"}) == line(
        make_rule(), {"SrcIpAddr": "192.0.2.10"}, evidence=evidence
    )


@pytest.mark.parametrize(
    ("split", "want"),
    [
        ({"denied": 4100, "reset": 901, "timed_out": 0, "other": 2}, "4,100 denied, 901 reset, 2 other"),
        ({"denied": 0, "reset": 0, "timed_out": 7, "other": 0}, "7 timed out"),
        ({"denied": 0, "reset": 0, "timed_out": 0, "other": 9}, ""),
        (None, ""),
    ],
)
def test_how_its_sessions_ended(make_rule: MakeRule, split: Any, want: str) -> None:
    """Last, as the first to be left out; nothing where nothing is known of it."""
    assert want == telling.split_words({"split": split})
    text = line(make_rule(), {"SrcIpAddr": "192.0.2.10"}, evidence={"top": {"Dvc": [["fw1", 3]]}, "split": split})
    told = f", of those seen {want}" if want else ""
    assert f", reported by fw1{told}; collectord alerts show" in text


@given(st.text(), st.text(), st.text(), st.lists(st.text(), max_size=4), st.lists(st.tuples(st.text(), st.integers(1))))
def test_always_one_bounded_line(
    value: str, site: str, name: str, roles: list[str], seen: list[tuple[str, int]]
) -> None:
    """Whatever the wire and the administrator wrote: how much, of how much, and the command are there."""
    rule = Rule("r", "t", "c", {}, ("SrcUsername", "DstIpAddr"), 300, 60, 5000, Mode.NOTIFY, Severity.LOW)
    evidence = {"top": {"Dvc": seen, "DstPortNumber": seen, "SrcIpAddr": seen}}
    hosts = Hosts((Host("192.0.2.0/24", name, "", tuple(roles), ""),))
    text = line(rule, {"SrcUsername": value, "DstIpAddr": "192.0.2.7"}, site, hosts, evidence=evidence)

    assert text.isprintable()
    assert len(text) <= 255
    assert text.endswith(f"; collectord alerts show {ID}")
    assert "5,203 sessions in 5 min (limit 5,000)" in text
