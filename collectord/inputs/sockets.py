"""Sockets that listen: bound by us, or handed over by the service manager, and who is at their other end."""

import errno
import os
import socket
import struct
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any

from collectord.errors import ListenError

BACKLOG = 1024
"""Connections that the kernel takes while we are busy; net.core.somaxconn caps it."""


_TCP_INFO_BACKLOG = 28
"""``include/uapi/linux/tcp.h``: place of ``tcpi_sacked``, which of a listening socket is the length of its queue."""


def address_of(bound: socket.socket) -> tuple[str, int]:
    """Host and port that a socket is bound to."""
    host, port, *_ = bound.getsockname()
    return (host, port)


def host_of(address: Any) -> str:
    """
    The host of a peer's address, as asyncio and the socket module tell it for IPv4 and IPv6; empty for others.

    A socket of both kinds tells IPv4 peers as IPv6 (RFC 4291 section 2.5.5.2); they are what they are. The zone of a
    link-local address (RFC 4007 section 11) is left out: it is ours, and not the peer's.
    """
    if not isinstance(address, tuple) or not address:
        return ""
    host = str(address[0]).partition("%")[0]
    return host[7:] if host.startswith("::ffff:") and "." in host else host


def is_in(peer: str, networks: Sequence[IPv4Network | IPv6Network]) -> bool:
    """Whether a peer's address, as ``host_of`` gives it, is in one of the networks."""
    try:
        address = ip_address(peer)
    except ValueError:
        return False
    return any(address in network for network in networks)


def backlog_of(listening: socket.socket) -> int:
    """How many connections the kernel takes while we are busy, as ``listen`` was told."""
    figures = listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BACKLOG + 4)
    return int(struct.unpack_from("=I", figures, _TCP_INFO_BACKLOG)[0])


def bound_socket(host: str, port: int, kind: socket.SocketKind, name: str) -> socket.socket:
    """
    A non-blocking socket bound to an address; ``::`` takes IPv4 as well, whatever the system's default is.

    Raises:
        ListenError: with the port, and the process that holds it where that can be seen.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, kind)
    bound.setblocking(False)
    if family == socket.AF_INET6:
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, host != "::")
    if kind == socket.SOCK_STREAM:
        # Connections of the last run in TIME_WAIT must not keep a restart from listening.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
        if kind == socket.SOCK_STREAM:
            bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        raise _explained(error, host, port, kind, name) from error
    return bound


def _explained(error: OSError, host: str, port: int, kind: socket.SocketKind, name: str) -> ListenError:
    protocol = "udp" if kind == socket.SOCK_DGRAM else "tcp"
    where = f"listener {name}: {protocol} port {port} on {host}"
    if error.errno == errno.EADDRINUSE:
        holder = port_holder(protocol, port)
        return ListenError(f"{where} is in use" + (f" by {holder}" if holder else " by another process"))
    if error.errno in (errno.EACCES, errno.EPERM):
        reason = "needs a privilege: use a port from 1024, a socket unit of systemd, or CAP_NET_BIND_SERVICE"
        return ListenError(f"{where} {reason}", permission=True)
    if error.errno == errno.EADDRNOTAVAIL:
        return ListenError(f"{where} can't be had: this machine has no address {host}")
    return ListenError(f"{where} can't be had: {error.strerror}")


def port_holder(protocol: str, port: int) -> str | None:
    """
    The process that holds a port, as ``rsyslogd (pid 812)``; None where /proc does not show it (another user's).

    Source: proc(5), ``/proc/net/udp`` and ``/proc/<pid>/fd``.
    """
    inodes = {f"socket:[{inode}]" for table in (protocol, protocol + "6") for inode in _inodes(table, port)}
    if not inodes:
        return None
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if any(os.readlink(f"/proc/{pid}/fd/{fd}") in inodes for fd in os.listdir(f"/proc/{pid}/fd")):
                with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as stream:
                    return f"{stream.read().strip()} (pid {pid})"
        except OSError:
            continue  # It ended meanwhile, or belongs to another user.
    return None


def _inodes(table: str, port: int) -> list[str]:
    try:
        with open(f"/proc/net/{table}", encoding="ascii") as stream:
            rows = [line.split() for line in stream.readlines()[1:]]
    except OSError:
        return []
    return [row[9] for row in rows if int(row[1].rpartition(":")[2], 16) == port]
