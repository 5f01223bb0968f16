"""``collectord init``: a first configuration from five questions."""

import os
import secrets
import shutil
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import datetime, timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, TypeVar

import click

from collectord import data, first_config, plan
from collectord.cli import first_steps
from collectord.cli.options import INSTALLED_CONFIG, shown
from collectord.clock import SystemClock
from collectord.errors import EX_IOERR, ConfigError, Problem
from collectord.first_config import Answers, Receiver
from collectord.model import NS_PER_S
from collectord.quantity import duration_s
from collectord.secret_files import PUBLIC, SERVICE

MODE = 0o640
"""Of everything that is written: it may hold secrets, and names what the site has."""

NETWORKS = "10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, fc00::/7"
NOBODY = Receiver("", 0)
"""The answer that there is no receiver, which is not the same as none yet."""

LISTS = ("port-watchlist.csv", "hosts.csv")

FOLDERS = ("profiles.d", "rules.d")
"""Of an installed package, for what the site adds: profiles and rules."""

_NAMED_BY_PACKAGES = tuple(
    f"#{key} = ".encode() for key in ("state_dir", "control_socket", "profiles_dir", "rules_dir")
)
"""Lines of the shipped configuration: a package sets these keys, to what stands there."""

Value = TypeVar("Value")


def _words(text: str) -> list[str]:
    return text.replace(",", " ").split()


def _networks(text: str) -> tuple[str, ...]:
    found = []
    for word in _words(text):
        try:
            found.append(str(ip_network(word)))
        except ValueError as error:
            raise click.BadParameter(f"{shown(word)} is no network such as 10.0.0.0/8: {error}") from error
    if not found:
        raise click.BadParameter("expected a network at least, as 10.0.0.0/8")
    return tuple(found)


def _ports(text: str) -> tuple[int, ...]:
    words = _words(text)
    if not words or any(not (word.isascii() and word.isdigit() and 1 <= int(word[:6]) <= 65535) for word in words):
        raise click.BadParameter("expected ports from 1 to 65535, as 5514 or 514, 5514")
    return tuple(dict.fromkeys(int(word) for word in words))


def _site(text: str) -> str:
    label = text.strip()
    if label == "*" or len(label) > 64 or not label.isprintable():
        raise click.BadParameter("expected a label of at most 64 characters, or nothing")
    return label


def _host(text: str) -> str:
    try:
        return str(ip_address(text.strip()))
    except ValueError as error:
        raise click.BadParameter(
            "expected an address of this machine, 0.0.0.0 for all, :: for all with IPv6"
        ) from error


def _receiver(default_port: int) -> Callable[[str], Receiver]:
    def parse(text: str) -> Receiver:
        text = text.strip()
        if text in ("", "none"):
            return NOBODY
        host, colon, port = text.rpartition(":")
        if not colon or (":" in host and not host.startswith("[")):
            host, port = text, str(default_port)  # A name, or an IPv6 address without brackets.
        host = host.strip("[]")
        if not host or len(host) > 253 or any(c.isspace() or not c.isprintable() or c in '/"\\' for c in host):
            raise click.BadParameter("expected a name or an address, with a port if it is not the usual one: noc:1162")
        return Receiver(host, _ports(port)[0] if colon and port != str(default_port) else default_port)

    return parse


def _duration(text: str) -> int:
    try:
        return duration_s(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _parsed(parse: Callable[[str], Value]) -> Callable[[click.Context, click.Parameter, Any], Value | None]:
    return lambda context, parameter, text: None if text is None else parse(text)


def _default_target() -> Path:
    if named := os.environ.get("COLLECTORD_CONFIG"):
        return Path(named)
    return INSTALLED_CONFIG if os.access(INSTALLED_CONFIG.parent, os.W_OK) else Path(INSTALLED_CONFIG.name)


@click.command()
@click.option(
    "--network", "networks", callback=_parsed(_networks), metavar="NETS", help="Your own, with commas between."
)
@click.option("--port", "ports", callback=_parsed(_ports), metavar="PORTS", help="Where devices send to, UDP and TCP.")
@click.option("--host", default="0.0.0.0", callback=_parsed(_host), help="Address to listen on.")  # noqa: S104
@click.option("--site", callback=_parsed(_site), metavar="LABEL", help="Of everything that comes in; may be empty.")
@click.option("--snmp", callback=_parsed(_receiver(162)), metavar="HOST[:PORT]", help='SNMP receiver, or "none".')
@click.option("--snmp-version", type=click.Choice(["2c", "3"]), default="2c", show_default=True, help="3: encrypted.")
@click.option(
    "--community", default=PUBLIC, envvar="COLLECTORD_COMMUNITY", metavar="TEXT", show_default=True,
    help="Of version 2c, for the file snmp-community. $COLLECTORD_COMMUNITY keeps it out of the list of processes.",
)  # fmt: skip
@click.option("--syslog", callback=_parsed(_receiver(0)), metavar="HOST[:PORT]", help='Syslog receiver, or "none".')
@click.option("--syslog-transport", type=click.Choice(["udp", "tcp", "tls"]), default="udp", show_default=True,
              help="How.")  # fmt: skip
@click.option("--learn", "learn_s", default="7d", show_default=True, callback=_parsed(_duration), metavar="DURATION",
              help='Send nothing for so long; "0s" sends from the start.')  # fmt: skip
@click.option("--yes", is_flag=True, help="Ask nothing: what no option says is as proposed.")
@click.option("--force", is_flag=True, help="Replace a configuration that is there.")
@click.option("--config", "config_path", type=click.Path(path_type=Path), default=_default_target, metavar="FILE",
              help="What to write. Default: $COLLECTORD_CONFIG, else /etc/collectord/collectord.toml where that folder "
              "can be written, else collectord.toml here.")  # fmt: skip
def init(
    networks: tuple[str, ...] | None,
    ports: tuple[int, ...] | None,
    host: str,
    site: str | None,
    snmp: Receiver | None,
    snmp_version: str,
    community: str,
    syslog: Receiver | None,
    syslog_transport: str,
    learn_s: int,
    yes: bool,
    force: bool,
    config_path: Path,
) -> None:
    """
    Write a first configuration from five questions, and say what to type on the firewalls and in the NOC.

    An option answers its question. The file is written if the daemon's own loader takes it, readable for you and the
    service alone; one that is there stays without --force, but for the shipped one that nobody has changed.

    \b
    Examples:
      collectord init
      collectord init --yes --network 10.0.0.0/8 --snmp noc.example.net --syslog 192.0.2.50
    """
    _refuse_to_replace(config_path, force)

    def ask(value: Value | None, question: str, proposal: str, parse: Callable[[str], Value]) -> Value:
        if value is not None:
            return value
        if yes:
            return parse(proposal)
        try:
            answer: Value = click.prompt(question, default=proposal, value_proc=parse, show_default=bool(proposal))
        except click.Abort as error:
            if sys.stdin.isatty():
                raise
            words = "nobody answers: --yes takes the proposals, options answer what differs from them"
            raise click.UsageError(words) from error
        return answer

    networks = ask(networks, "1. Your own networks", NETWORKS, _networks)
    ports = ask(ports, "2. Port that devices send to, UDP and TCP", "5514", _ports)
    site = ask(site, "3. Site, a label if you have several (empty: none)", "", _site)
    snmp = ask(snmp, "4. SNMP receiver of the NOC, as noc.example.net or 192.0.2.50:162", "none", _receiver(162))
    usual = 6514 if syslog_transport == "tls" else 514
    if syslog is not None and syslog != NOBODY and not syslog.port:
        syslog = Receiver(syslog.host, usual)
    syslog = ask(syslog, f"5. Syslog receiver of the NOC, as 192.0.2.50:{usual}", "none", _receiver(usual))
    installed = config_path.absolute() == INSTALLED_CONFIG
    answers = Answers(
        networks=networks,
        host=host,
        ports=ports,
        site=site,
        snmp=_somebody(snmp),
        snmp_version=snmp_version,
        syslog=_somebody(syslog),
        syslog_transport=syslog_transport,
        learn_until=_learn_until(learn_s),
        state_dir="/var/lib/collectord" if installed else "",
        control_socket="/run/collectord/control.sock" if installed else "",
        folders=tuple(name for name in FOLDERS if installed and (config_path.parent / name).is_dir()),
    )
    known = config_path.with_name(first_config.COMMUNITY_FILE).exists()
    _write(config_path, answers, community)
    _tell(config_path, answers, "" if known else community)


def _somebody(receiver: Receiver) -> Receiver | None:
    return None if receiver == NOBODY else receiver


def _refuse_to_replace(path: Path, force: bool) -> None:
    if force or not path.exists():
        return
    try:
        unchanged = _as_packaged(path.read_bytes()) == _as_packaged(data.conf("collectord.toml").read_bytes())
    except OSError:
        unchanged = False
    if not unchanged:
        raise click.UsageError(f"{path} is there already; --force replaces it")


def _as_packaged(text: bytes) -> list[bytes]:
    return [line[line.startswith(_NAMED_BY_PACKAGES) :] for line in text.splitlines()]


def _learn_until(learn_s: int) -> datetime | None:
    if not learn_s:
        return None
    now = datetime.fromtimestamp(SystemClock().now_ns() // NS_PER_S).astimezone()
    return (now + timedelta(seconds=learn_s)).astimezone().replace(microsecond=0, second=0, minute=0)


def _secrets(answers: Answers, community: str) -> Mapping[str, str]:
    if answers.snmp is None:
        return {}
    if answers.snmp_version == "3":
        return {name: secrets.token_urlsafe(18) for name in (first_config.AUTH_FILE, first_config.PRIV_FILE)}
    return {first_config.COMMUNITY_FILE: community}


def _write(path: Path, answers: Answers, community: str) -> None:
    """Everything or nothing: the new file gets its name once the loader has taken it."""
    folder, made = path.absolute().parent, []
    new = folder / f".{path.name}.new"
    try:
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        wanted = dict(_secrets(answers, community))
        wanted |= {name: data.conf(name).read_text(encoding="utf-8") for name in LISTS}
        # Lists that somebody has worked on, and secrets that receivers know, are not ours to replace.
        for name, text in wanted.items():
            if not (folder / name).exists():
                made.append(folder / name)
                _put(folder / name, text if text.endswith("\n") else f"{text}\n")
        _put(new, first_config.text(answers))
        try:
            plan.load(new)
        except ConfigError as error:
            for each in made:
                each.unlink(missing_ok=True)
            raise ConfigError([_of(problem, new, path) for problem in error.problems]) from error
        new.replace(path)
    except OSError as error:
        click.echo(f"collectord: {error.filename or path} can't be written: {error.strerror}", err=True)
        raise SystemExit(EX_IOERR) from error
    finally:
        if new.exists():
            new.unlink()


def _put(path: Path, text: str) -> None:
    """A file that never was readable for everybody; the service's group may read what root writes."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE), "w") as stream:
        os.fchmod(stream.fileno(), MODE)
        stream.write(text)
    if os.geteuid() == 0:
        try:
            shutil.chown(path, group=SERVICE)
        except LookupError:
            return  # There is no such group: not installed as a service.


def _of(problem: Problem, new: Path, path: Path) -> Problem:
    file = str(path) if problem.file == str(new) else problem.file
    return Problem(file, problem.line, problem.key, problem.reason, problem.hint)


def _tell(path: Path, answers: Answers, community: str) -> None:
    """What was written and what comes next; ``community`` is the new one, empty where the file was there before."""
    option = "" if path.absolute() == INSTALLED_CONFIG else f" --config {path}"
    address, port = _own_address(answers.host), answers.ports[0]
    click.echo(f"{path} is written.")
    if answers.learn_until is not None:
        until = answers.learn_until.strftime("%Y-%m-%d %H:%M")
        click.echo(f"It learns until {until}: alerts are stored, not sent. `collectord learn` shows what would be, and")
        click.echo("how to have them sent from now on.")
    if answers.snmp is not None and answers.snmp_version == "2c":
        told = {"": "as it was", PUBLIC: PUBLIC}.get(community, "yours")
        click.echo(f"The SNMP community is {told}: {path.with_name(first_config.COMMUNITY_FILE)} holds it.")
    click.echo(f"\nStart it{'' if option else ', also where it runs already'}:\n\n    collectord check{option}")
    if option:
        click.echo(f"    collectord run{option}")
    else:
        click.echo("    systemctl restart collectord")
    if port < 1024:
        click.echo(f"\nPort {port} needs the socket unit or CAP_NET_BIND_SERVICE: see the README.")
    for product in first_steps.DEVICES:
        remark = first_steps.REMARKS.get(product)
        click.echo(f"\nOn {product}{f' ({remark})' if remark else ''}:\n")
        click.echo(
            "".join(f"    {line}\n" for line in first_steps.lines(product, address, port).splitlines()), nl=False
        )
    if answers.snmp is not None:
        click.echo("\nFor the NOC (snmptrapd; also snmptt, zabbix, librenms, icinga, opennms):\n")
        click.echo(f"    collectord snmp mib --standalone{option} > COLLECTORD-MIB.txt")
        click.echo(f"    collectord snmp receiver-config --for snmptrapd --with-secrets{option} > snmptrapd.conf")
        if answers.snmp_version == "3":
            click.echo("\n    The second once the daemon has run: it makes its engine ID at the first start.")
    click.echo(f"\nThen see what arrives, and try the way to the NOC:\n\n    collectord status{option}")
    click.echo(f"    collectord test-alert{option}")


def _own_address(host: str) -> str:
    """The address that devices are to send to; that of the default route if we listen on all."""
    if not ip_address(host).is_unspecified:
        return host
    family, far = (socket.AF_INET6, "2001:db8::1") if ":" in host else (socket.AF_INET, "192.0.2.1")
    with closing(socket.socket(family, socket.SOCK_DGRAM)) as probe:
        try:
            # Nothing is sent: the kernel only chooses the address that it would send from.
            probe.connect((far, 9))
        except OSError:
            return socket.gethostname()
        return str(probe.getsockname()[0])
