"""
The addresses of this machine, as the kernel lists them (Linux, proc(5)).

Other systems, and a /proc that is not mounted, give none: whoever asks does without.
"""

from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

IPV4_TABLE = Path("/proc/net/fib_trie")
"""The routing table as a tree; a leaf ``|-- ADDRESS`` is ours where a line ``/32 host LOCAL`` stands below it."""
IPV6_TABLE = Path("/proc/net/if_inet6")
"""A line for each address, which is 32 hexadecimal digits in the first column."""


def of_this_machine(ipv4_table: Path = IPV4_TABLE, ipv6_table: Path = IPV6_TABLE) -> tuple[str, ...]:
    """
    All addresses of all interfaces, loopback included, IPv4 first.

    Args:
        ipv4_table: Of the form of ``/proc/net/fib_trie``; tests name another file.
        ipv6_table: Of the form of ``/proc/net/if_inet6``.
    """
    ipv4: set[IPv4Address] = set()
    leaf = ""
    for line in _lines(ipv4_table):
        words = line.split()
        if words[:1] == ["|--"]:
            leaf = words[1]
        elif words == ["/32", "host", "LOCAL"]:
            ipv4.add(IPv4Address(leaf))
    ipv6 = {IPv6Address(int(line.split()[0], 16)) for line in _lines(ipv6_table)}
    return tuple(str(address) for address in (*sorted(ipv4), *sorted(ipv6)))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("ascii").splitlines()
    except OSError:
        return []
