"""Sockets of listeners: both kinds of IP, who is at the other end, how many may wait, and who holds a port."""

import os
import socket
from ipaddress import ip_network
from typing import Any

import pytest

from collectord.inputs.sockets import address_of, backlog_of, bound_socket, host_of, is_in, port_holder


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
@pytest.mark.parametrize(("host", "only_ipv6"), [("::", 0), ("::1", 1)])
def test_all_addresses_of_ipv6_are_those_of_ipv4_too(kind: socket.SocketKind, host: str, only_ipv6: int) -> None:
    with bound_socket(host, 0, kind, "test") as ours:
        assert ours.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == only_ipv6
        assert address_of(ours) == (host, ours.getsockname()[1])


@pytest.mark.parametrize(
    ("address", "host"),
    [
        (("192.0.2.1", 5), "192.0.2.1"),
        (("::ffff:192.0.2.1", 5, 0, 0), "192.0.2.1"),
        (("2001:db8::1", 5, 0, 0), "2001:db8::1"),
        (("::ffff:0:1", 5, 0, 0), "::ffff:0:1"),
        (("fe80::1%eth0", 5, 0, 2), "fe80::1"),
        (None, ""),
        ((), ""),
        ("/run/socket", ""),
    ],
)
def test_the_host_of_an_address(address: Any, host: str) -> None:
    assert host_of(address) == host


@pytest.mark.parametrize(
    ("peer", "found"), [("192.0.2.1", True), ("192.0.3.1", False), ("2001:db8::1", True), ("", False), ("x", False)]
)
def test_networks_of_both_kinds(peer: str, found: bool) -> None:
    assert is_in(peer, [ip_network("192.0.2.0/24"), ip_network("2001:db8::/32")]) is found


@pytest.mark.parametrize("waiting", [7, 50])
def test_the_backlog_is_known(waiting: int) -> None:
    with bound_socket("127.0.0.1", 0, socket.SOCK_STREAM, "test") as ours:
        ours.listen(waiting)
        assert backlog_of(ours) == waiting


class TestPortHolder:
    """Who holds a port, from /proc."""

    @pytest.mark.parametrize("protocol", ["udp", "tcp"])
    def test_our_own(self, protocol: str) -> None:
        kind = socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM
        with bound_socket("127.0.0.1", 0, kind, "test") as ours:
            holder = port_holder(protocol, ours.getsockname()[1])
        assert holder is not None
        assert holder.endswith(f"(pid {os.getpid()})")

    def test_nobody(self) -> None:
        with bound_socket("127.0.0.1", 0, socket.SOCK_DGRAM, "test") as ours:
            port = ours.getsockname()[1]
        assert port_holder("udp", port) is None

    def test_a_table_that_is_not_there(self) -> None:
        assert port_holder("no-such-protocol", 514) is None
