"""
Sockets that the service manager listens with for us, so that a restart refuses nobody.

Source: sd_listen_fds(3) for the descriptors and their names, systemd.socket(5) for ``FileDescriptorName=``.
"""

import os
import socket
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass
from ipaddress import ip_address

from collectord.errors import ConfigError, Problem

FIRST_DESCRIPTOR = 3
"""``SD_LISTEN_FDS_START``."""

MOST_DESCRIPTORS = 1024
"""More is no number of ours, but something else in the variable."""

SOURCE = "LISTEN_FDS"
"""Where a problem is told to be."""

HINT = "FileDescriptorName= of its socket unit is the name of a [[listener]], or type, host and port are those of one"

_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
_KINDS = {socket.SOCK_DGRAM: "udp", socket.SOCK_STREAM: "tcp"}


@dataclass(frozen=True, slots=True)
class Inherited:
    """A socket that was handed over."""

    descriptor: int
    name: str
    """``FileDescriptorName=``."""
    protocol: str
    """``udp`` or ``tcp``."""
    socket: socket.socket

    def __str__(self) -> str:
        host, port, *_ = self.socket.getsockname()
        return f'descriptor {self.descriptor} ("{self.name}", {self.protocol} port {port} on {host})'


@dataclass(frozen=True, slots=True)
class Wanted:
    """A listener as the configuration has it."""

    name: str
    protocol: str
    """``udp`` or ``tcp``; TLS runs over the latter."""
    host: str
    port: int


def taken(environment: MutableMapping[str, str] = os.environ, pid: int | None = None) -> list[Inherited]:
    """
    What was handed over, and is ours from now on; nothing for a process that the variables are not meant for.

    The variables are taken out of the environment, so that no child believes in them.

    Args:
        environment: Of the process.
        pid: Its number; by default this process'.

    Raises:
        ConfigError: a descriptor is no listening socket of IP.
    """
    values = {name: environment.pop(name, "") for name in _VARIABLES}
    if values["LISTEN_PID"] != str(os.getpid() if pid is None else pid):
        return []
    count = values["LISTEN_FDS"]
    if not (count.isascii() and count.isdigit()) or int(count[:9]) > MOST_DESCRIPTORS:
        reason = f'expected a number up to {MOST_DESCRIPTORS}, got "{count[:60]}"'
        raise ConfigError([Problem(SOURCE, None, "", reason)])
    names = values["LISTEN_FDNAMES"].split(":") if values["LISTEN_FDNAMES"] else []
    found: list[Inherited] = []
    problems: list[Problem] = []
    for number in range(int(count)):
        # What sd_listen_fds_with_names(3) calls those without a name.
        name = names[number] if number < len(names) else "unknown"
        one = _inherited(FIRST_DESCRIPTOR + number, name)
        if isinstance(one, Inherited):
            found.append(one)
        else:
            problems.append(one)
    if problems:
        raise ConfigError(problems)
    return found


def _inherited(descriptor: int, name: str) -> Inherited | Problem:
    def problem(reason: str, hint: str = "") -> Problem:
        return Problem(SOURCE, None, "", f'descriptor {descriptor} ("{name}") {reason}', hint)

    try:
        os.set_inheritable(descriptor, False)
        handed = socket.socket(fileno=descriptor)
    except OSError as error:
        return problem(f"is no socket: {(error.strerror or str(error)).lower()}")
    kind = _KINDS.get(socket.SocketKind(handed.type))
    if handed.family not in (socket.AF_INET, socket.AF_INET6) or kind is None:
        handed.detach()
        return problem("is no socket for UDP or TCP", "ListenDatagram= and ListenStream= with a port")
    if kind == "tcp" and not handed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        handed.detach()
        return problem("is a connection, and no socket that listens", "Accept=no, as it is without a word")
    handed.setblocking(False)
    return Inherited(descriptor, name, kind, handed)


def assigned(inherited: Iterable[Inherited], listeners: Iterable[Wanted]) -> dict[str, list[socket.socket]]:
    """
    Which listener reads which sockets: of its own name, else of its protocol and address.

    Args:
        inherited: What was handed over.
        listeners: All of them.

    Returns:
        Sockets by the name of the listener; one may have several, as for IPv4 and IPv6.

    Raises:
        ConfigError: one would be read by nobody.
    """
    wanted = list(listeners)
    by_name = {each.name: each for each in wanted}
    found: dict[str, list[socket.socket]] = {}
    problems = []
    for one in inherited:
        named = by_name.get(one.name)
        if named is not None and named.protocol != one.protocol:
            reason = f"{one} is not for the listener of that name, which takes {named.protocol}"
            problems.append(Problem(SOURCE, None, "", reason))
            continue
        listener = named or next((each for each in wanted if _is_of(one, each)), None)
        if listener is None:
            problems.append(Problem(SOURCE, None, "", f"{one} belongs to no listener", HINT))
        else:
            found.setdefault(listener.name, []).append(one.socket)
    if problems:
        raise ConfigError(problems)
    return found


def _is_of(one: Inherited, listener: Wanted) -> bool:
    host, port, *_ = one.socket.getsockname()
    if (one.protocol, port) != (listener.protocol, listener.port):
        return False
    at, asked = ip_address(host.partition("%")[0]), ip_address(listener.host)
    # All addresses are all addresses: a socket unit has IPv6 with IPv4 where nothing is said.
    return at == asked or (at.is_unspecified and asked.is_unspecified)
