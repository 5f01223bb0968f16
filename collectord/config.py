"""
The daemon's configuration: every key, every default, and the loader that reports everything that is wrong at once.

``conf/collectord.toml`` shows the same keys with the same defaults for administrators; a test holds both together.
Durations and sizes stand in the file as text with a unit; here their names end in the unit they were turned into.
"""

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, TypeGuard

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from collectord import data, schema, toml
from collectord.errors import ConfigError, Problem
from collectord.model import NS_PER_S, Severity
from collectord.schema import Address, FilePath, Name, Network, Port, Refused, Strict, Text, duration, size
from collectord.toml import KeyPath

MIB = 1024 * 1024
MAX_SOCKET_PATH_BYTES = 107
"""Linux unix(7): ``sun_path`` has 108 bytes, the closing NUL included."""

Facility = Literal[
    # RFC 5424 section 6.2.1, in the order of their codes.
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
    "ntp", "audit", "alert", "clock",
    "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
]  # fmt: skip


def _existing_file(path: Path) -> Path:
    if not path.is_file():
        raise Refused(f"there is no file {path}")
    return path


def _existing_folder(path: Path) -> Path:
    if not path.is_dir():
        raise Refused(f"there is no folder {path}")
    return path


def _secret_file(path: Path) -> Path:
    """A file that holds a secret: readable by us, not by everybody."""
    try:
        mode = path.stat().st_mode
        content = _read_secret(path)
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"can't read {path}: {getattr(error, 'strerror', None) or 'not UTF-8'}".lower()) from error
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        raise Refused(f"everybody can read or write {path} (mode {mode & 0o777:04o})", f"chmod 640 {path}")
    if not content:
        raise Refused(f"{path} is empty")
    return path


def _read_secret(path: Path) -> str:
    with path.open(encoding="utf-8") as stream:
        return stream.read(4096).strip()


def _site(label: str) -> str:
    # "*" is the site of the row that holds what evicted keys had not yet reported.
    if label == "*" or len(label) > 64:
        raise Refused('expected at most 64 characters, and not "*"')
    return label


def _host(name: str) -> str:
    if not name or len(name) > 253 or any(character.isspace() for character in name):
        raise Refused("expected a host name or an IP address")
    return name


def _oid(text: str) -> str:
    """RFC 2578 section 3.5: at most 128 arcs, each below 2^32. Ours needs room for what stands below the root."""
    arcs = text.split(".")
    if not all(arc.isascii() and arc.isdigit() and str(int(arc[:12])) == arc and int(arc) < 2**32 for arc in arcs):
        raise Refused('expected numbers with dots between, such as "1.3.6.1.4.1.32473.1"')
    if not (7 <= len(arcs) <= 100) or not text.startswith("1.3.6.1.4.1."):
        raise Refused("expected an OID below 1.3.6.1.4.1 (enterprises)")
    return text


def offset_s(text: object) -> int:
    """``+01:00`` or ``-05:30`` in seconds; UTC offsets reach from -12 to +14 hours (ISO 8601)."""
    refused = Refused('expected an offset from UTC such as "+01:00"')
    if not isinstance(text, str) or len(text) != 6 or text[0] not in "+-" or text[3] != ":":
        raise refused
    hours, minutes = text[1:3], text[4:6]
    # Other scripts have digits as well.
    if not (text.isascii() and hours.isdigit() and minutes.isdigit()) or int(minutes) > 59:
        raise refused
    offset_s = (1 if text[0] == "+" else -1) * (int(hours) * 3600 + int(minutes) * 60)
    if not -12 * 3600 <= offset_s <= 14 * 3600:
        raise refused
    return offset_s


def _moment(value: object) -> datetime:
    """TOML's date-times are without a zone where nobody wrote one, and then mean something else on each machine."""
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise Refused("expected a time with its zone", "such as 2026-12-31T18:00:00+01:00, without quotes")
    return value


def _socket_path(path: Path) -> Path:
    length = len(os.fsencode(path))
    if length > MAX_SOCKET_PATH_BYTES:
        raise Refused(f"{path} has {length} bytes, a socket's path may have {MAX_SOCKET_PATH_BYTES} at most")
    return path


Site = Annotated[Text, AfterValidator(_site)]
Host = Annotated[Text, AfterValidator(_host)]
Networks = Annotated[tuple[Network, ...], Field(strict=False)]


class Device(Strict):
    """What you know of a device; it wins over what messages say."""

    name: Host
    """Its address, or its host name where it sends through a relay."""
    site: Site | None = None
    """In place of the listener's."""
    profile: Text | None = None
    """The profile that reads all its messages."""
    utc_offset_s: Annotated[int, BeforeValidator(offset_s)] | None = Field(default=None, alias="utc_offset")
    """What its clock is ahead of UTC, where its messages do not say it."""


class Log(Strict):
    """What the daemon says of itself, on stderr."""

    level: Literal["debug", "info", "warning", "error"] = "info"


class UdpListener(Strict):
    """A UDP socket that devices send to."""

    type: Literal["udp"]
    name: Name
    host: Address = "127.0.0.1"
    port: Port = 5514
    site: Site = ""
    allow: Networks = ()
    """Whom it takes messages from; empty: everybody."""
    receive_buffer_bytes: Annotated[int, size("64KiB", "1GiB")] = Field(default=16 * MIB, alias="receive_buffer")
    """What we ask the kernel for; it may give less (``net.core.rmem_max``)."""


class TcpListener(Strict):
    """A TCP port that devices connect to."""

    type: Literal["tcp"]
    name: Name
    host: Address = "127.0.0.1"
    port: Port = 5514
    site: Site = ""
    allow: Networks = ()


Listener = UdpListener | TcpListener


class _AnyOutput(Strict):
    name: Name
    min_severity: Annotated[Severity, Field(strict=False)] = Severity.LOW
    """Alerts below are not sent here."""


class LogOutput(_AnyOutput):
    """Alerts to the daemon's own log."""

    type: Literal["log"]


class SyslogOutput(_AnyOutput):
    """Alerts as syslog messages (RFC 5424)."""

    type: Literal["syslog"]
    host: Host
    port: Annotated[int, Field(ge=1, le=65535)] = 514
    transport: Literal["udp", "tcp"] = "udp"
    framing: Literal["octet-counting", "lf"] = "octet-counting"
    """How TCP frames end (RFC 6587 section 3.4); UDP has none."""
    facility: Facility = "local4"


class SnmpOutput(_AnyOutput):
    """Alerts as SNMP notifications."""

    type: Literal["snmp"]
    host: Host
    port: Annotated[int, Field(ge=1, le=65535)] = 162
    version: Literal["2c"] = "2c"
    community_file: Annotated[FilePath, AfterValidator(_secret_file)] | None = None
    community: SecretStr | None = None

    @model_validator(mode="after")
    def _one_community(self) -> "SnmpOutput":
        if (self.community_file is None) == (self.community is None):
            raise Refused("expected either community_file or community", "community_file keeps it out of this file")
        if self.community is not None and not self.community.get_secret_value():
            raise Refused("community is empty")
        return self

    def read_community(self) -> str:
        """The community; from its file as that is now."""
        if self.community_file is not None:
            return _read_secret(self.community_file)
        return self.community.get_secret_value() if self.community else ""


Output = LogOutput | SyslogOutput | SnmpOutput


class Alerts(Strict):
    """When an alert that was found is sent."""

    storm_cap: Annotated[int, Field(ge=1, le=100_000)] = 30
    """Raises of a rule that are sent within ``storm_window_s``; health rules and high severity pass."""
    storm_window_s: Annotated[int, duration("1m", "1d")] = Field(default=600, alias="storm_window")
    reverse_dns: bool = False
    """Whether the names of raised alerts' addresses are asked for."""


class Snmp(Strict):
    """What all SNMP outputs share."""

    root: Annotated[str, AfterValidator(_oid)] = "1.3.6.1.4.1.32473.1"
    """Root of COLLECTORD-MIB; 32473 is the enterprise number for documentation (RFC 5612)."""


class Bounds(Strict):
    """The most that anything may take."""

    message_bytes: Annotated[int, size("1KiB", "1MiB")] = Field(default=64 * 1024, alias="message")
    unfinished_bytes: Annotated[int, size("64KiB", "16GiB")] = Field(default=64 * MIB, alias="unfinished")
    """Frames of streams that have not ended yet, all connections together."""
    keys_per_counter: Annotated[int, Field(ge=16, le=16_777_216)] = 65_536
    rows_per_tick: Annotated[int, Field(ge=1_000, le=1_000_000)] = 50_000
    event_count: Annotated[int, Field(ge=1, le=1_000_000_000_000)] = 1_000_000
    """What one record may count for."""
    tcp_connections: Annotated[int, Field(ge=1, le=65_535)] = 1024
    tcp_idle_s: Annotated[int, duration("10s", "30d")] = Field(default=3600, alias="tcp_idle")

    @field_validator("unfinished_bytes")
    @classmethod
    def _room_for_one(cls, unfinished: int, info: ValidationInfo) -> int:
        message = info.data.get("message_bytes", 0)
        if unfinished < message:
            raise Refused(f"expected at least one message ({message} bytes), got {unfinished} bytes")
        return unfinished


class Store(Strict):
    """How long the database keeps what it was given."""

    keep_slots_s: Annotated[int, duration("1h", "400d")] = Field(default=48 * 3600, alias="keep_slots")
    keep_hours_s: Annotated[int, duration("1d", "400d")] = Field(default=30 * 86_400, alias="keep_hours")
    keep_days_s: Annotated[int, duration("61d", "3650d")] = Field(default=400 * 86_400, alias="keep_days")
    """A rule looks back 60 days at most."""
    max_size_bytes: Annotated[int, size("64MiB", "1024GiB")] = Field(default=4 * 1024 * MIB, alias="max_size")
    """Of counters with everything else; the oldest counters go when it is reached."""
    keep_alerts_s: Annotated[int, duration("1d", "3650d")] = Field(default=400 * 86_400, alias="keep_alerts")


def _default_state_dir() -> Path:
    """systemd's folder (the first, if the unit names several), else the user's (XDG Base Directory Specification)."""
    if systemd := os.environ.get("STATE_DIRECTORY", "").partition(":")[0]:
        return Path(systemd)
    state_home = Path(os.environ.get("XDG_STATE_HOME", ""))
    if not state_home.is_absolute():  # Such values are to be ignored, says the specification.
        state_home = Path(os.path.expanduser("~")) / ".local" / "state"
    return state_home / "collectord"


def _default_control_socket(known: dict[str, Any]) -> Path:
    if systemd := os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]:
        return Path(systemd) / "control.sock"
    return Path(known["state_dir"]) / "control.sock"


class Config(Strict):
    """Everything that the configuration says, defaults filled in."""

    state_dir: FilePath = Field(default_factory=_default_state_dir)
    control_socket: Annotated[FilePath, AfterValidator(_socket_path)] = Field(
        default_factory=_default_control_socket, validate_default=True
    )
    internal_networks: Networks = (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "fc00::/7",
    )
    port_watchlist: Annotated[FilePath, AfterValidator(_existing_file)] = Field(
        default_factory=lambda: data.conf("port-watchlist.csv")
    )
    hosts: Annotated[FilePath, AfterValidator(_existing_file)] = Field(default_factory=lambda: data.conf("hosts.csv"))
    """Names and roles of addresses."""
    profiles_dir: Annotated[FilePath, AfterValidator(_existing_folder)] | None = None
    rules_dir: Annotated[FilePath, AfterValidator(_existing_folder)] | None = None
    relays: Networks = ()
    """Log servers that send for others: the header of their messages names the device."""
    device: Annotated[tuple[Device, ...], Field(strict=False)] = ()
    learn_until: Annotated[datetime, BeforeValidator(_moment)] | None = None
    """Until then alerts are stored and not sent, but for those about the collector's own health."""
    log: Log = Log()
    listener: Annotated[
        tuple[Annotated[Listener, Field(discriminator="type")], ...], Field(strict=False, min_length=1)
    ] = (UdpListener(type="udp", name="udp"), TcpListener(type="tcp", name="tcp"))
    output: Annotated[tuple[Annotated[Output, Field(discriminator="type")], ...], Field(strict=False)] = (
        LogOutput(type="log", name="log"),
    )
    alerts: Alerts = Alerts()
    snmp: Snmp = Snmp()
    bounds: Bounds = Bounds()
    store: Store = Store()

    @property
    def learn_until_ns(self) -> int:
        """Wall time in ns; 0 if nothing has to be learned."""
        return 0 if self.learn_until is None else int(self.learn_until.timestamp()) * NS_PER_S

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.state_dir / "collectord.db"


def load(path: Path | None) -> Config:
    """
    Read the configuration: the file, then ``conf.d/*.toml`` beside it in lexical order.

    A later file wins per key; tables merge, arrays of tables append. Paths are relative to the folder of ``path``.

    Args:
        path: The main file; None for the defaults alone.

    Raises:
        ConfigError: everything that is wrong, in all files.
    """
    if path is None:
        return _validated(_Sources(), Path(), "defaults")
    folder = path.absolute().parent
    found: list[Problem] = []
    sources = _Sources()
    for file in _files(path, found):
        try:
            sources.add(toml.load(file))
        except ConfigError as error:
            found += error.problems
    try:
        config = _validated(sources, folder, str(path))
    except ConfigError as error:
        raise ConfigError(found + error.problems) from error
    if found:
        raise ConfigError(found)
    return config


def _files(path: Path, found: list[Problem]) -> Iterator[Path]:
    yield path
    folder = path.parent / "conf.d"
    try:
        names = sorted(entry.name for entry in folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        found.append(Problem(str(folder), None, "", f"can't be read: {error.strerror}".lower()))
        return
    yield from (folder / name for name in names if name.endswith(".toml") and not name.startswith("."))


@dataclass(slots=True)
class _Sources:
    """The merged values of several files, and where each came from."""

    values: dict[str, Any] = field(default_factory=dict)
    _origins: dict[KeyPath, tuple[toml.Document, KeyPath]] = field(default_factory=dict)

    def add(self, document: toml.Document) -> None:
        """Lay a file over what is there."""
        self._merge(self.values, document.values, document, (), ())

    def problem(self, path: KeyPath, reason: str, hint: str, otherwise: str) -> Problem:
        """A Problem in the file that the key came from, or its table; ``otherwise`` names the file if neither did."""
        for length in range(len(path), 0, -1):
            if (origin := self._origins.get(path[:length])) is not None:
                document, there = origin
                line = document.nearest_line((*there, *path[length:]))
                return Problem(document.file, line, toml.key_text(path), reason, hint)
        return Problem(otherwise, None, toml.key_text(path), reason, hint)

    def _merge(
        self, into: dict[str, Any], values: dict[str, Any], document: toml.Document, at: KeyPath, source: KeyPath
    ) -> None:
        for name, value in values.items():
            here, there = (*at, name), (*source, name)
            self._origins[here] = (document, there)
            old = into.get(name)
            if isinstance(value, dict):
                into[name] = old if isinstance(old, dict) else {}
                self._merge(into[name], value, document, here, there)
            elif _are_tables(value) and _are_tables(old):
                for number, table in enumerate(value):
                    self._origins[*here, len(old)] = (document, (*there, number))
                    old.append(table)
            elif _are_tables(value):
                for number in range(len(value)):
                    self._origins[*here, number] = (document, (*there, number))
                into[name] = list(value)
            else:
                into[name] = value


def _are_tables(value: object) -> TypeGuard[list[dict[str, Any]]]:
    return isinstance(value, list) and bool(value) and all(isinstance(each, dict) for each in value)


def _validated(sources: _Sources, folder: Path, file: str) -> Config:
    def problem(path: KeyPath, reason: str, hint: str = "") -> Problem:
        return sources.problem(path, reason, hint, file)

    found = list(_conflicts(sources.values, problem))
    try:
        config = Config.model_validate(sources.values, context={"folder": folder})
    except ValidationError as error:
        raise ConfigError(found + schema.problems(error, Config, problem)) from error
    if found:
        raise ConfigError(found)
    return config


def _conflicts(values: dict[str, Any], problem: Callable[[KeyPath, str, str], Problem]) -> Iterator[Problem]:
    """What only several tables together show. Works on values that are not validated, so that nothing waits."""
    listeners, outputs = _tables(values, "listener"), _tables(values, "output")
    for section, tables in (("listener", listeners), ("output", outputs), ("device", _tables(values, "device"))):
        first: dict[object, int] = {}
        for number, table in tables:
            name = table.get("name")
            if isinstance(name, str) and first.setdefault(name, number) != number:
                reason = f'"{name[:64]}" is the name of {section}[{first[name]}] already'
                yield problem((section, number, "name"), reason, "")
    taken: dict[tuple[str, str, int], int] = {}
    for number, table in listeners:
        port = table.get("port", 5514)
        if not isinstance(port, int) or port == 0:  # 0 is a free port each time.
            continue
        address = (str(table.get("type")), _normal(table.get("host", "127.0.0.1")), port)
        if taken.setdefault(address, number) != number:
            reason = f"listens where listener[{taken[address]}] does already"
            yield problem(("listener", number), reason, "another type, host or port")
    for number, table in outputs:
        host, port = _normal(table.get("host")), table.get("port", 514)
        if table.get("type") != "syslog" or not isinstance(port, int):
            continue
        if _reaches(str(table.get("transport", "udp")), host, port, taken):
            yield problem(("output", number), "would send our alerts to our own listener", "another host or port")


def _tables(values: dict[str, Any], section: str) -> list[tuple[int, dict[str, Any]]]:
    tables = values.get(section)
    if not isinstance(tables, list):
        return []
    return [(number, table) for number, table in enumerate(tables) if isinstance(table, dict)]


def _normal(host: object) -> str:
    """One spelling per address."""
    text = "127.0.0.1" if host == "localhost" else str(host)
    try:
        return str(ip_address(text))
    except ValueError:
        return text


def _reaches(kind: str, host: str, port: int, taken: dict[tuple[str, str, int], int]) -> bool:
    """Whether something sent there ends in one of our listeners, as far as the addresses alone tell."""
    if (kind, host, port) in taken:
        return True
    wildcards = ("0.0.0.0", "::")  # noqa: S104  (compared, not listened on)
    return host in ("127.0.0.1", "::1") and any((kind, wildcard, port) in taken for wildcard in wildcards)
