"""
Names and roles of addresses, from the site's own list (``hosts.csv``).

A CSV file (RFC 4180) with a line for each address or network. The longest prefix that holds an address names it; a line
with a site is for that site alone, and goes before one of the same length for all sites.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from pathlib import Path

from collectord.detect import csv_file, where
from collectord.errors import ConfigError, Problem

COLUMNS = ("CIDR", "name", "site", "role", "owner")

ROLES = ("scanner", "monitoring", "dns", "proxy", "nat", "lb", "backup")
"""Roles that shipped rules know; a site may use words of its own."""

MAX_HOSTS = 100_000
MAX_CHARACTERS = 128
"""Of a cell; names go into one-line summaries."""


@dataclass(frozen=True, slots=True)
class Host:
    """A line of the list."""

    network: str
    name: str
    site: str
    """Empty: any."""
    roles: tuple[str, ...]
    owner: str
    line: int = field(compare=False, default=0)


class Hosts:
    """Finds the line that speaks of an address."""

    def __init__(self, hosts: tuple[Host, ...] = ()) -> None:
        self.hosts = hosts
        by_prefix: dict[tuple[int, int], dict[tuple[int, str], Host]] = {}
        for host in hosts:
            network = ip_network(host.network)
            of_length = by_prefix.setdefault((network.version, network.prefixlen), {})
            of_length[int(network.network_address), host.site] = host
        # Longest first: the first that holds an address is the one that counts.
        self._by_prefix = dict(sorted(by_prefix.items(), reverse=True))

    def find(self, address: str, site: str) -> Host | None:
        """
        The line for an address at a site.

        Args:
            address: IPv4 or IPv6; what is none has no line.
            site: Where it was seen.
        """
        try:
            ip = ip_address(address)
        except ValueError:
            return None
        number = int(ip)
        for (version, prefix), hosts in self._by_prefix.items():
            if version != ip.version:
                continue
            network = number >> (ip.max_prefixlen - prefix) << (ip.max_prefixlen - prefix)
            host = hosts.get((network, site)) or hosts.get((network, ""))
            if host is not None:
                return host
        return None

    def roles(self, address: str, site: str) -> tuple[str, ...]:
        """The roles of an address; empty where nothing is known of it."""
        host = self.find(address, site)
        return host.roles if host else ()


def load(path: Path) -> Hosts:
    """
    Reads a list of hosts (UTF-8, at most 4 MiB).

    Raises:
        ConfigError: everything that is wrong in it, each with its line.
    """
    return parse(csv_file.read_text(path), str(path))


def parse(text: str, file: str) -> Hosts:
    """
    Reads the text of a list of hosts; ``file`` names it in reports.

    Raises:
        ConfigError: everything that is wrong in it, each with its line.
    """
    problems: list[Problem] = []
    records = csv_file.records(text, file, problems)
    header = next(records, None)
    if header is None:
        raise ConfigError(problems or [Problem(file, None, "", "is empty", f"the first line is {','.join(COLUMNS)}")])
    columns = csv_file.columns(header, COLUMNS, file, problems)
    found: dict[tuple[str, str], Host] = {}
    for line, cells in records if columns else ():
        if len(cells) != len(columns):
            reason = f"expected {len(columns)} cells, got {len(cells)}"
            problems.append(Problem(file, line, "", reason, "a cell with a comma in it stands in quotes"))
            continue
        values = {name: " ".join(cell.split()) for name, cell in zip(columns, cells, strict=True)}
        wrong = list(_wrong(values))
        problems += [Problem(file, line, column, reason, hint) for column, reason, hint in wrong]
        if wrong:
            continue
        roles = tuple(dict.fromkeys(role for part in values["role"].split(",") if (role := part.strip().casefold())))
        host = Host(str(ip_network(values["CIDR"])), values["name"], values["site"], roles, values["owner"], line)
        earlier = found.setdefault((host.network, host.site), host)
        if earlier is not host:
            problems.append(Problem(file, line, "CIDR", f"{host.network} stands in line {earlier.line} as well"))
        if len(found) > MAX_HOSTS:
            problems.append(Problem(file, line, "", f"more than {MAX_HOSTS:,} lines"))
            break
    if problems:
        raise ConfigError(problems)
    return Hosts(tuple(found.values()))


def _wrong(values: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """(column, what was expected, hint) of each cell that is wrong."""
    try:
        right = where.is_network(str(ip_network(values["CIDR"])))
    except ValueError:
        right = False
    if not right:
        hint = _as_meant(values["CIDR"])
        yield "CIDR", f"expected an address or a network, got {csv_file.shown(values['CIDR'])}", hint
    for column, text in values.items():
        if len(text) > MAX_CHARACTERS:
            yield column, f"expected at most {MAX_CHARACTERS} characters, got {len(text)}", ""
        if not text.isprintable():
            yield column, "control characters are not allowed", ""


def _as_meant(text: str) -> str:
    try:
        meant = str(ip_network(text, strict=False))
    except ValueError:
        meant = ""
    return f'write "{meant}"' if where.is_network(meant) else 'such as "192.0.2.7" or "10.1.0.0/16"'
