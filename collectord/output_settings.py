"""What the tables of the configuration say about outputs, and the secrets that those need."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationInfo,
    model_validator,
)

from collectord import secret_files
from collectord.errors import SecretError
from collectord.model import Severity
from collectord.policy import OutputPolicy, WhenFull
from collectord.quantity import duration_s
from collectord.schema import FilePath, Host, Name, Refused, Strict, Text, duration
from collectord.settings import Site, TlsFile

HEARTBEAT_AT_LEAST_S = 30

PASSWORD_CHARACTERS = 8
"""Of an SNMPv3 password at least (RFC 3414 section 11.2)."""

ACKNOWLEDGED_WITHIN_S = 20
"""All tries of an inform together: with the search for an address they have to fit into what a delivery may take."""

SecretPath = Annotated[FilePath, BeforeValidator(secret_files.credential)]
"""A file with a secret: a path, or the name of a credential that systemd hands the service."""

if TYPE_CHECKING:
    from collectord.certificates import TlsFiles

Facility = Literal[
    # RFC 5424 section 6.2.1, in the order of their codes.
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
    "ntp", "audit", "alert", "clock",
    "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
]  # fmt: skip


def _community_file(path: Path) -> Path:
    return _secret_file(path, 1)


def _password_file(path: Path) -> Path:
    return _secret_file(path, PASSWORD_CHARACTERS)


def _secret_file(path: Path, least_characters: int) -> Path:
    """The same look at the file as when the output starts, so that a wrong one is found before."""
    try:
        secret_files.read(path, least_characters=least_characters)
    except SecretError as error:
        raise Refused(str(error), error.hint) from error
    return path


def _user(name: str) -> str:
    if not (1 <= len(name) <= 32 and name.isascii() and not any(mark in name for mark in ' "\\')):
        raise Refused("expected 1 to 32 ASCII characters without blanks, quotes and backslashes")
    return name


def _oid(text: str) -> str:
    """RFC 2578 section 3.5: arcs are below 2^32. So many that a notification with all its objects is one datagram."""
    arcs = text.split(".")
    if not all(arc.isascii() and arc.isdigit() and str(int(arc[:12])) == arc and int(arc) < 2**32 for arc in arcs):
        raise Refused('expected numbers with dots between, such as "1.3.6.1.4.1.32473.1"')
    if len(arcs) < 7 or not text.startswith("1.3.6.1.4.1."):
        raise Refused("expected an OID below 1.3.6.1.4.1 (enterprises)")
    if len(arcs) > 12:
        raise Refused(f"expected an OID of at most 12 numbers, got {len(arcs)}")
    return text


def _heartbeat(seconds: int) -> int:
    if 0 < seconds < HEARTBEAT_AT_LEAST_S:
        raise Refused(f'{seconds} s is too often; expected "{HEARTBEAT_AT_LEAST_S}s" or more, or "0s" for none')
    return seconds


_V2C_KEYS = ("community_file", "community")
_V3_KEYS = ("user", "auth", "priv", "weak", "auth_password_file", "priv_password_file")
_BROKEN = ("MD5", "SHA", "DES")


def _resend(value: object) -> int:
    """A duration of a minute or more, or none at all."""
    seconds = duration_s(value)
    if seconds and not 60 <= seconds <= 30 * 86_400:
        raise Refused(f'expected "0s" (never) or "1m" to "30d", got {value}')
    return seconds


class _AnyOutput(Strict):
    name: Name
    min_severity: Annotated[Severity, Field(strict=False)] = Severity.LOW
    """Alerts below are not sent here."""
    sites: Annotated[tuple[Site, ...], Field(strict=False)] = ()
    """Only alerts of these sites are sent here; empty: of all."""
    when_full: Annotated[WhenFull, Field(strict=False)] = WhenFull.DROP_OLDEST
    max_waiting: Annotated[int, Field(ge=100, le=10_000_000)] = 10_000
    max_age_s: Annotated[int, duration("1h", "400d")] = Field(default=7 * 86_400, alias="max_age")
    resend_s: Annotated[int, BeforeValidator(_resend)] = Field(default=0, alias="resend")
    """After so long without a notification of an active alert its raise is repeated; 0: never."""

    @property
    def policy(self) -> OutputPolicy:
        """What it is told, and how much may wait for it."""
        return OutputPolicy(self.sites, self.when_full, self.max_waiting, self.max_age_s, self.resend_s)


class LogOutput(_AnyOutput):
    """Alerts to the daemon's own log."""

    type: Literal["log"]


def _only_for_tls(value: Any, info: ValidationInfo) -> Any:
    if info.data.get("transport", "tls") != "tls":
        raise Refused('only for transport = "tls"')
    return value


def _framing(value: str, info: ValidationInfo) -> str:
    if value == "lf" and info.data.get("transport") == "tls":
        raise Refused('expected "octet-counting", as TLS has no other framing (RFC 5425)', "leave it out")
    return value


_ForTls = AfterValidator(_only_for_tls)
_TlsFile = Annotated[TlsFile, _ForTls]


class SyslogOutput(_AnyOutput):
    """Alerts as syslog messages."""

    type: Literal["syslog"]
    host: Host
    port: Annotated[int, Field(ge=1, le=65535)] = 514
    """6514 for TLS (RFC 5425 section 4.1)."""
    transport: Literal["udp", "tcp", "tls"] = "udp"
    framing: Annotated[Literal["octet-counting", "lf"], AfterValidator(_framing)] = "octet-counting"
    """How TCP frames end (RFC 6587 section 3.4); UDP has none."""
    format: Literal["rfc5424", "cef"] = "rfc5424"
    facility: Facility = "local4"
    ca_file: _TlsFile | None = None
    """PEM; the CAs that the system trusts if None."""
    cert_file: _TlsFile | None = None
    """PEM: our client certificate, and after it the intermediate ones."""
    key_file: _TlsFile | None = None
    server_name: Annotated[Host, _ForTls] | None = None
    """Name that the receiver's certificate must be for; ``host`` if None."""

    @model_validator(mode="before")
    @classmethod
    def _port_of_transport(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("transport") == "tls":
            return {"port": 6514, **values}
        return values

    @model_validator(mode="after")
    def _certificate_with_key(self) -> "SyslogOutput":
        if (self.cert_file is None) != (self.key_file is None):
            raise Refused("expected cert_file and key_file together, or neither")
        return self

    def tls_files(self) -> "TlsFiles":
        """Whom to believe and who we are; not read yet."""
        from collectord.certificates import TlsFiles

        return TlsFiles(self.ca_file, self.cert_file, self.key_file)

    def warnings(self, now_ns: int) -> Iterator[str]:
        """What is not wrong, but will be, or is for the receiver to judge."""
        if self.transport == "tls":
            yield from self.tls_files().warnings(now_ns)


class SnmpOutput(_AnyOutput):
    """Alerts as SNMP notifications."""

    type: Literal["snmp"]
    host: Host
    port: Annotated[int, Field(ge=1, le=65535)] = 162
    version: Literal["2c", "3"] = "2c"
    notification: Literal["trap", "inform"] = "trap"
    """A trap is sent once and has no receipt; an inform is repeated until the receiver acknowledges it."""
    timeout_s: Annotated[int, duration("1s", "20s")] = Field(default=5, alias="timeout")
    """Wait for an acknowledgement, each time."""
    retries: Annotated[int, Field(ge=0, le=9)] = 3
    """Repeats of an inform before the output counts as down."""
    community_file: Annotated[SecretPath, AfterValidator(_community_file)] | None = None
    community: SecretStr | None = None
    user: Annotated[Text, AfterValidator(_user)] | None = None
    auth: Literal["SHA-224", "SHA-256", "SHA-384", "SHA-512", "SHA", "MD5"] = "SHA-256"
    priv: Literal["AES-128", "AES-192", "AES-256", "AES-192-C", "AES-256-C", "DES"] = "AES-128"
    weak: bool = False
    """Whether what is broken (MD5, SHA-1, DES) may be used."""
    auth_password_file: Annotated[SecretPath, AfterValidator(_password_file)] | None = None
    priv_password_file: Annotated[SecretPath, AfterValidator(_password_file)] | None = None
    report_as: Literal["collector", "device"] = "collector"
    """Whom the receiver is to take for the sender: us, or the device that an alert is about."""

    @model_validator(mode="after")
    def _keys_of_the_version(self) -> "SnmpOutput":
        if found := [key for key in self.unused_keys if key in self.model_fields_set]:
            raise Refused(f"version {self.version} has no {found[0]}", 'version = "3" has users, "2c" a community')
        if self.version == "2c":
            self._one_community()
        else:
            self._whole_user()
        if (self.retries + 1) * self.timeout_s > ACKNOWLEDGED_WITHIN_S:
            raise Refused(
                f"{self.retries + 1} tries of {self.timeout_s} s are over {ACKNOWLEDGED_WITHIN_S} s",
                "lower retries or timeout; a failed delivery is tried again anyway",
            )
        return self

    @property
    def unused_keys(self) -> tuple[str, ...]:
        """Keys that say nothing in this version, and may not stand in the file."""
        return _V3_KEYS if self.version == "2c" else _V2C_KEYS

    def _one_community(self) -> None:
        if (self.community_file is None) == (self.community is None):
            raise Refused("expected either community_file or community", "community_file keeps it out of this file")
        if self.community is not None and not self.community.get_secret_value():
            raise Refused("community is empty")

    def _whole_user(self) -> None:
        needed = ("user", "auth_password_file", "priv_password_file")
        if missing := [key for key in needed if getattr(self, key) is None]:
            raise Refused(f"version 3 needs {' and '.join(missing)}")
        broken = [name for name in (self.auth, self.priv) if name in _BROKEN]
        if broken and not self.weak:
            raise Refused(f"{' and '.join(broken)} can be broken", "weak = true if the receiver knows nothing better")

    def read_community(self) -> str:
        """The community; from its file as that is now."""
        if self.community_file is not None:
            return secret_files.read(self.community_file)
        return self.community.get_secret_value() if self.community else ""

    def read_auth_password(self) -> str:
        """A user's password; from its file as that is now."""
        return self._read_password(self.auth_password_file)

    def read_priv_password(self) -> str:
        """The other password."""
        return self._read_password(self.priv_password_file)

    def _read_password(self, path: Path | None) -> str:
        return secret_files.read(path, least_characters=PASSWORD_CHARACTERS) if path else ""


Output = LogOutput | SyslogOutput | SnmpOutput


class Snmp(Strict):
    """What all SNMP outputs share."""

    root: Annotated[str, AfterValidator(_oid)] = "1.3.6.1.4.1.32473.1"
    """Root of COLLECTORD-MIB; 32473 is the enterprise number for documentation (RFC 5612)."""
    heartbeat_s: Annotated[int, duration("0s", "1d"), AfterValidator(_heartbeat)] = Field(300, alias="heartbeat")
    """Time between two heartbeats to each SNMP output; 0: none."""
