"""
The daemon's configuration: every key, every default, and the loader that reports everything that is wrong at once.

``conf/collectord.toml`` shows the same keys with the same defaults for administrators; a test holds both together.
Durations and sizes stand in the file as text with a unit; here their names end in the unit they were turned into.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, TypeGuard

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from collectord import data, schema, secret_files, toml
from collectord.errors import ConfigError, Problem
from collectord.model import NS_PER_S
from collectord.output_settings import LogOutput, Output, Snmp, SnmpOutput
from collectord.schema import FilePath, Refused, Strict
from collectord.settings import Alerts, Bounds, Device, Http, Listener, Log, Networks, Store, TcpListener, UdpListener
from collectord.toml import KeyPath

MAX_SOCKET_PATH_BYTES = 107
"""Linux unix(7): ``sun_path`` has 108 bytes, the closing NUL included."""


def _existing_file(path: Path) -> Path:
    if not path.is_file():
        raise Refused(f"there is no file {path}")
    return path


def _existing_folder(path: Path) -> Path:
    if not path.is_dir():
        raise Refused(f"there is no folder {path}")
    return path


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
    http: Http = Http()
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
    config, _ = load_with_sources(path)
    return config


def load_with_sources(path: Path | None) -> tuple[Config, "Sources"]:
    """
    As ``load``, and where every value came from.

    Raises:
        ConfigError: as ``load``.
    """
    if path is None:
        return _validated(Sources(), Path(), "defaults"), Sources()
    found: list[Problem] = []
    sources = _read(path, found)
    try:
        config = _validated(sources, path.absolute().parent, str(path))
    except ConfigError as error:
        raise ConfigError(found + error.problems) from error
    found += _secrets_for_everybody(config, sources, str(path))
    if found:
        raise ConfigError(found)
    return config, sources


def control_socket(path: Path | None) -> Path:
    """
    Where the daemon of a configuration answers, also while something else in it is wrong.

    Raises:
        ConfigError: as ``load``, where it can't be told.
    """
    try:
        return load(path).control_socket
    except ConfigError as error:
        unread: list[Problem] = []
        sources = Sources() if path is None else _read(path, unread)
        if path is None or unread:
            raise
        told = {name: value for name, value in sources.values.items() if name in ("state_dir", "control_socket")}
        try:
            return _validated(Sources(told), path.absolute().parent, str(path)).control_socket
        except ConfigError:
            raise error from None


def problems_at(path: Path | None, keys: Iterable[KeyPath], reason: str, hint: str) -> list[Problem]:
    """
    The same problem of several keys, each where it stands in the files.

    Args:
        path: As ``load`` takes it.
        keys: Their paths; one that no file has is told with the file alone.
        reason: What is wrong.
        hint: What to do.
    """
    sources = Sources() if path is None else _read(path, [])
    return [sources.problem(key, reason, hint, str(path or "defaults")) for key in keys]


def _read(path: Path, found: list[Problem]) -> "Sources":
    """What the files say; ``found`` takes what can't be read of them."""
    sources = Sources()
    for file in _files(path, found):
        try:
            sources.add(toml.load(file))
        except ConfigError as error:
            found += error.problems
    return sources


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
class Sources:
    """The merged values of several files, and where each came from."""

    values: dict[str, Any] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    """In the order in which they were read."""
    _origins: dict[KeyPath, tuple[toml.Document, KeyPath]] = field(default_factory=dict)

    def add(self, document: toml.Document) -> None:
        """Lay a file over what is there."""
        self.files.append(document.file)
        self._merge(self.values, document.values, document, (), ())

    def where(self, path: KeyPath) -> str:
        """File and line of the value of a key; empty where no file has it."""
        if (origin := self._origins.get(path)) is None:
            # Keys below a table of an array are known by the table alone.
            for length in range(len(path) - 1, 0, -1):
                if (above := self._origins.get(path[:length])) is not None:
                    origin = (above[0], (*above[1], *path[length:]))
                    break
        if origin is None or (line := origin[0].line(origin[1])) is None:
            return ""
        return f"{origin[0].file}:{line}"

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


def _validated(sources: Sources, folder: Path, file: str) -> Config:
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
        kind = str(table.get("type"))
        port = table.get("port", 6514 if kind == "tls" else 5514)
        if not isinstance(port, int) or port == 0:  # 0 is a free port each time.
            continue
        host = _normal(table.get("host", "127.0.0.1"))
        address = (_protocol(kind), host, port)
        # All addresses of IPv6 are those of IPv4 as well.
        both = (address[0], {"::": "0.0.0.0", "0.0.0.0": "::"}.get(host, host), port)  # noqa: S104
        if (first_one := taken.get(address, taken.get(both))) is not None:
            reason = f"listens where listener[{first_one}] does already"
            yield problem(("listener", number), reason, "another type, host or port")
        taken.setdefault(address, number)
    yield from _users_with_other_keys(outputs, problem)
    for number, table in outputs:
        transport = str(table.get("transport", "udp"))
        host, port = _normal(table.get("host")), table.get("port", 6514 if transport == "tls" else 514)
        if table.get("type") != "syslog" or not isinstance(port, int):
            continue
        if _reaches(_protocol(transport), host, port, taken):
            yield problem(("output", number), "would send our alerts to our own listener", "another host or port")


def _users_with_other_keys(
    outputs: list[tuple[int, dict[str, Any]]], problem: Callable[[KeyPath, str, str], Problem]
) -> Iterator[Problem]:
    """An SNMPv3 user is known by engine ID and name (RFC 3414 section 2.1), and all outputs share an engine."""
    keys = {"auth": "SHA-256", "priv": "AES-128", "auth_password_file": None, "priv_password_file": None}
    first: dict[str, tuple[int, dict[str, Any]]] = {}
    for number, table in outputs:
        user = table.get("user")
        if table.get("type") != "snmp" or not isinstance(user, str):
            continue
        other, known = first.setdefault(user, (number, table))
        for key, default in keys.items():
            if known.get(key, default) != table.get(key, default):
                reason = f"output[{other}] has this user with another {key}"
                yield problem(("output", number, "user"), reason, "a user has one set of keys; take another name")
                break


def _secrets_for_everybody(config: Config, sources: Sources, file: str) -> Iterator[Problem]:
    """Communities that stand in a file which everybody may read; the one that everybody knows is no secret."""
    for number, output in enumerate(config.output):
        secret = output.community if isinstance(output, SnmpOutput) else None
        if secret is not None and secret.get_secret_value() != secret_files.PUBLIC:
            problem = sources.problem(("output", number, "community"), "", "", file)
            if secret_files.is_for_everybody(mode := os.stat(problem.file).st_mode):
                reason = f"everybody can read or write this file (mode {mode & 0o777:04o})"
                yield replace(problem, reason=reason, hint=f"chmod 640 {problem.file}, or community_file")


def _tables(values: dict[str, Any], section: str) -> list[tuple[int, dict[str, Any]]]:
    tables = values.get(section)
    if not isinstance(tables, list):
        return []
    return [(number, table) for number, table in enumerate(tables) if isinstance(table, dict)]


def _protocol(kind: str) -> str:
    """What a type of listener, or an output's transport, takes of the machine's ports."""
    return "udp" if kind == "udp" else "tcp"


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
