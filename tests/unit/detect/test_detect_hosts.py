"""The list of hosts: the longest prefix of the site counts; what is wrong is told with its line."""

from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectord.detect import hosts
from collectord.detect.hosts import Host, Hosts
from collectord.errors import ConfigError

HEADER = "CIDR,name,site,role,owner\n"
LIST = (
    HEADER
    + """\
10.0.0.0/8,campus,,,network team
10.1.0.0/16,branch net,branch-7,,
10.1.2.3,scan-1,,"scanner, Monitoring",security
10.1.2.3,till-9,branch-7,,shop
2001:db8::/32,lab,,dns,
"""
)


@pytest.mark.parametrize(
    ("address", "site", "want"),
    [
        ("10.9.9.9", "", "campus"),
        ("10.1.9.9", "", "campus"),
        ("10.1.9.9", "branch-7", "branch net"),
        ("10.1.2.3", "", "scan-1"),
        ("10.1.2.3", "branch-7", "till-9"),
        ("2001:db8::7", "anywhere", "lab"),
        ("192.0.2.1", "", None),
        ("::a09:909", "", None),
        ("no address", "", None),
    ],
)
def test_find(address: str, site: str, want: str | None) -> None:
    """The longest prefix; of two of the same length the site's own."""
    found = hosts.parse(LIST, "hosts.csv").find(address, site)
    assert want == (found.name if found else None)


def test_roles() -> None:
    """Several in one cell, whatever the case."""
    found = hosts.parse(LIST, "hosts.csv")
    assert ("scanner", "monitoring") == found.roles("10.1.2.3", "")
    assert () == found.roles("192.0.2.1", "")


@given(st.ip_addresses(), st.lists(st.ip_addresses(network="10.0.0.0/8") | st.ip_addresses(v=6), max_size=5), st.data())
def test_longest_prefix(address: object, others: list[object], data: st.DataObject) -> None:
    """As looking at every line would find."""
    networks = [
        ip_network((ip, data.draw(st.integers(0, ip_address(str(ip)).max_prefixlen))), strict=False)  # type: ignore[arg-type]
        for ip in [*others, address]
    ]
    listed = tuple(Host(text, text, "", (), "") for text in dict.fromkeys(str(network) for network in networks))
    holding = [network for network in networks if ip_address(str(address)) in network]
    found = Hosts(listed).find(str(address), "")
    assert (found.network if found else None) == str(max(holding, key=lambda network: network.prefixlen))


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("", ": is empty (the first line is CIDR,"),
        ("CIDR,name\n", ":1: the column site is missing"),
        (HEADER + "10.1.0.0/8,x,,,\n", ':2: CIDR: expected an address or a network, got "10.1.0.0/8" (write "10.'),
        (HEADER + "10.0.0.1/255.0.0.0,x,,,\n", ':2: CIDR: expected an address or a network, got "10.0.0.1/255.'),
        (HEADER + "::ffff:10.0.0.1,x,,,\n", ':2: CIDR: expected an address or a network, got "::ffff:10.0.0.1" (such'),
        (HEADER + "fe80::1%eth0,x,,,\n", ':2: CIDR: expected an address or a network, got "fe80::1%eth0" (such as'),
        (HEADER + "here,x,,,\n", ':2: CIDR: expected an address or a network, got "here" (such as'),
        (HEADER + "10.0.0.1,x\n", ":2: expected 5 cells, got 2"),
        (HEADER + f"10.0.0.1,{'x' * 129},,,\n", ":2: name: expected at most 128 characters, got 129"),
        (HEADER + "10.0.0.1,\x1b[2J,,,\n", ":2: name: control characters are not allowed"),
        (HEADER + "10.0.0.1,a,,,\n10.0.0.1/32,b,,,\n", ":3: CIDR: 10.0.0.1/32 stands in line 2 as well"),
    ],
)  # fmt: skip
def test_refused(tmp_path: Path, text: str, want: str) -> None:
    """File, line, column, reason and what to do."""
    path = tmp_path / "hosts.csv"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        hosts.load(path)
    assert want == str(error.value.problems[0]).removeprefix(str(path))[: len(want)]


def test_the_shipped_list_is_empty() -> None:
    """Nobody's addresses but the site's own."""
    shipped = Path(__file__).parents[3] / "conf" / "hosts.csv"
    assert () == hosts.load(shipped).hosts
