"""The addresses of the machine, from the kernel's tables."""

from pathlib import Path

from collectord import own_addresses

FIB_TRIE = """\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     |-- 192.0.2.0
        /24 link UNICAST
Local:
  +-- 0.0.0.0/0 3 0 5
     |-- 127.0.0.1
        /32 host LOCAL
     |-- 127.255.255.255
        /32 link BROADCAST
     |-- 192.0.2.7
        /32 host LOCAL
     |-- 192.0.2.7
        /32 host LOCAL
"""
IF_INET6 = """\
00000000000000000000000000000001 01 80 10 80       lo
20010db8000000000000000000000007 02 40 00 80     eth0
"""


def test_both_tables(tmp_path: Path) -> None:
    """Each address once; networks and broadcasts are none of ours."""
    ipv4, ipv6 = tmp_path / "fib_trie", tmp_path / "if_inet6"
    ipv4.write_text(FIB_TRIE)
    ipv6.write_text(IF_INET6)

    assert own_addresses.of_this_machine(ipv4, ipv6) == ("127.0.0.1", "192.0.2.7", "::1", "2001:db8::7")


def test_without_tables(tmp_path: Path) -> None:
    """Nothing, and no failure."""
    assert own_addresses.of_this_machine(tmp_path / "a", tmp_path / "b") == ()


def test_this_machine() -> None:
    """Loopback is always there."""
    assert "127.0.0.1" in own_addresses.of_this_machine()
