"""What the tables of the configuration say about outputs, and the secrets that those need."""

import stat
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, model_validator

from collectord.model import Severity
from collectord.schema import FilePath, Host, Name, Refused, Strict, duration

HEARTBEAT_AT_LEAST_S = 30

Facility = Literal[
    # RFC 5424 section 6.2.1, in the order of their codes.
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
    "ntp", "audit", "alert", "clock",
    "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
]  # fmt: skip


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
    report_as: Literal["collector", "device"] = "collector"
    """Whom the receiver is to take for the sender: us, or the device that an alert is about."""

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


class Snmp(Strict):
    """What all SNMP outputs share."""

    root: Annotated[str, AfterValidator(_oid)] = "1.3.6.1.4.1.32473.1"
    """Root of COLLECTORD-MIB; 32473 is the enterprise number for documentation (RFC 5612)."""
    heartbeat_s: Annotated[int, duration("0s", "1d"), AfterValidator(_heartbeat)] = Field(300, alias="heartbeat")
    """Time between two heartbeats to each SNMP output; 0: none."""
