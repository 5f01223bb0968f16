"""
The first configuration of a site: a few answers become a file that says only what differs from the defaults.

Nothing is asked or written here; ``collectord init`` does both.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

COMMUNITY_FILE = "snmp-community"
AUTH_FILE = "snmp-auth-password"
PRIV_FILE = "snmp-priv-password"


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where alerts go."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Answers:
    """What a site says of itself."""

    networks: tuple[str, ...]
    host: str
    """Address to listen on."""
    ports: tuple[int, ...]
    site: str
    snmp: Receiver | None = None
    snmp_version: str = "2c"
    syslog: Receiver | None = None
    syslog_transport: str = "udp"
    learn_until: datetime | None = None
    state_dir: str = ""
    """Empty: by default."""
    control_socket: str = ""
    folders: tuple[str, ...] = ()
    """Those beside the file that hold profiles and rules of the site's own: ``profiles.d``, ``rules.d``."""


def text(answers: Answers) -> str:
    """The file, as TOML."""
    return "\n".join(_lines(answers)) + "\n"


def _lines(answers: Answers) -> Iterator[str]:
    yield "# Written by collectord init: what differs from the defaults. conf/collectord.toml of the documentation, and"
    yield "# collectord.toml(5), show every key. After a change: collectord check, then collectord reload."
    yield ""
    for key in ("state_dir", "control_socket"):
        if value := getattr(answers, key):
            yield f"{key} = {json.dumps(value)}"
    if answers.state_dir or answers.control_socket:
        yield ""
    yield "# Your own networks. They decide what is inbound, outbound and local."
    yield f"internal_networks = {json.dumps(answers.networks)}"
    yield ""
    yield "# Ports that are watched, and names and roles of your addresses: lists that you may edit."
    yield 'port_watchlist = "port-watchlist.csv"'
    yield 'hosts = "hosts.csv"'
    yield ""
    if answers.folders:
        yield "# Profiles and rules of your own, one TOML file each."
        for name in answers.folders:
            yield f'{name.removesuffix(".d")}_dir = "{name}"'
        yield ""
    if answers.learn_until is not None:
        yield "# Until then alerts are stored and not sent, so that you see first what would come: collectord learn."
        yield "# Alerts about the collector itself, and test alerts, are sent from the start. To have all sent now,"
        yield "# take the line away, then: collectord reload."
        yield f"learn_until = {answers.learn_until.isoformat()}"
        yield ""
    yield "# /metrics and /healthz on loopback port 9514."
    yield "[http]"
    yield "enabled = true"
    for number, port in enumerate(answers.ports):
        for kind in ("udp", "tcp"):
            yield ""
            yield "[[listener]]"
            yield f'type = "{kind}"'
            yield f'name = "{kind}{f"-{port}" if number else ""}"'
            yield f"host = {json.dumps(answers.host)}"
            yield f"port = {port}"
            if answers.site:
                yield f"site = {json.dumps(answers.site, ensure_ascii=False)}"
    yield from _outputs(answers)


def _outputs(answers: Answers) -> Iterator[str]:
    yield ""
    yield "# Alerts to the collector's own log, whatever happens to the receivers."
    yield "[[output]]"
    yield 'type = "log"'
    yield 'name = "log"'
    if answers.snmp is not None:
        yield ""
        yield "[[output]]"
        yield 'type = "snmp"'
        yield 'name = "noc"'
        yield f"host = {json.dumps(answers.snmp.host)}"
        yield f"port = {answers.snmp.port}"
        yield f'version = "{answers.snmp_version}"'
        if answers.snmp_version == "3":
            yield 'user = "collectord"'
            yield f'auth_password_file = "{AUTH_FILE}"'
            yield f'priv_password_file = "{PRIV_FILE}"'
        else:
            yield f'community_file = "{COMMUNITY_FILE}"'
    if answers.syslog is not None:
        yield ""
        yield "[[output]]"
        yield 'type = "syslog"'
        yield 'name = "noc-syslog"'
        yield f"host = {json.dumps(answers.syslog.host)}"
        yield f"port = {answers.syslog.port}"
        yield f'transport = "{answers.syslog_transport}"'
