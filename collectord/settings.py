"""What the tables of the configuration say: devices, listeners, alerts, bounds, how long what is kept."""

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from collectord import secret_files
from collectord.errors import CertificateError
from collectord.schema import Address, FilePath, Host, Name, Network, Port, Refused, Strict, Text, duration, size

if TYPE_CHECKING:
    from collectord.certificates import TlsFiles

MIB = 1024 * 1024


def _site(label: str) -> str:
    # "*" is the site of the row that holds what evicted keys had not yet reported.
    if label == "*" or len(label) > 64:
        raise Refused('expected at most 64 characters, and not "*"')
    return label


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


def _tls_file(path: Path, info: ValidationInfo) -> Path:
    """What is wrong with a file is told as the connection would tell it; a key is held against its certificate."""
    # It takes a while to load, and most configurations have no use for it.
    from collectord.certificates import TlsFiles

    paths = {str(info.field_name): path}
    if info.field_name == "key_file":
        if info.data.get("cert_file") is None:
            return path
        paths["cert_file"] = info.data["cert_file"]
    try:
        TlsFiles(**paths).check()
    except CertificateError as error:
        raise Refused(str(error)) from error
    return path


TlsFile = Annotated[FilePath, BeforeValidator(secret_files.credential), AfterValidator(_tls_file)]
"""``ca_file``, ``cert_file``, then ``key_file`` of TLS: a path, or the name of a credential of the service."""
Site = Annotated[Text, AfterValidator(_site)]
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


class _AnyListener(Strict):
    """What they all have."""

    type: str
    name: Name
    host: Address = "127.0.0.1"
    port: Port = 5514
    site: Site = ""
    allow: Networks = ()
    """Whom it takes messages from; empty: everybody."""


class UdpListener(_AnyListener):
    """A UDP socket that devices send to."""

    type: Literal["udp"]
    receive_buffer_bytes: Annotated[int, size("64KiB", "1GiB")] = Field(default=16 * MIB, alias="receive_buffer")
    """What we ask the kernel for; it may give less (``net.core.rmem_max``)."""


class TcpListener(_AnyListener):
    """A TCP port that devices connect to."""

    type: Literal["tcp"]


class TlsListener(_AnyListener):
    """A TCP port that devices connect to with TLS (RFC 5425)."""

    type: Literal["tls"]
    port: Port = 6514
    ca_file: TlsFile | None = None
    """PEM: the CAs whose client certificates are believed."""
    cert_file: TlsFile
    """PEM: our certificate, and after it the intermediate ones."""
    key_file: TlsFile
    client_certificates: Literal["none", "optional", "required"] = "none"
    """Whether a device shows one; it is named by it then."""

    @model_validator(mode="after")
    def _ca_of_clients(self) -> "TlsListener":
        if self.client_certificates == "none" and self.ca_file is not None:
            raise Refused('ca_file is of no use with client_certificates = "none"', 'write "optional" or "required"')
        if self.client_certificates != "none" and self.ca_file is None:
            raise Refused(f'client_certificates = "{self.client_certificates}" needs ca_file', "the CA of your devices")
        return self

    @property
    def tls_files(self) -> "TlsFiles":
        """Who we are and whom we believe; not read yet."""
        from collectord.certificates import TlsFiles

        return TlsFiles(self.ca_file, self.cert_file, self.key_file)

    @property
    def verify_mode(self) -> ssl.VerifyMode:
        """What is asked of clients, in OpenSSL's words."""
        return {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}[
            self.client_certificates
        ]

    def warnings(self, now_ns: int) -> Iterator[str]:
        """What is not wrong yet, but will be, or is for the devices to judge."""
        yield from self.tls_files.warnings(now_ns, "certificate")


Listener = UdpListener | TcpListener | TlsListener


class Alerts(Strict):
    """When an alert that was found is sent."""

    storm_cap: Annotated[int, Field(ge=1, le=100_000)] = 30
    """Raises of a rule that are sent within ``storm_window_s``; health rules and high severity pass."""
    storm_window_s: Annotated[int, duration("1m", "1d")] = Field(default=600, alias="storm_window")
    reverse_dns: bool = False
    """Whether the names of raised alerts' addresses are asked for."""


class Http(Strict):
    """Pages for monitoring: /metrics and /healthz."""

    enabled: bool = False
    host: Address = "127.0.0.1"
    port: Port = 9514


class Bounds(Strict):
    """The most that anything may take."""

    message_bytes: Annotated[int, size("1KiB", "1MiB")] = Field(default=64 * 1024, alias="message")
    unfinished_bytes: Annotated[int, size("64KiB", "16GiB")] = Field(default=64 * MIB, alias="unfinished")
    """Frames of streams that have not ended yet, all connections together."""
    keys_per_counter: Annotated[int, Field(ge=16, le=16_777_216)] = 65_536
    rows_per_tick: Annotated[int, Field(ge=1_000, le=1_000_000)] = 50_000
    event_count: Annotated[int, Field(ge=1, le=1_000_000_000_000)] = 1_000_000
    """What one record may count for."""
    peer_rate: Annotated[int, Field(ge=0, le=1_000_000)] = 20_000
    """Messages per second that a peer may send, relays apart; 0: any number."""
    peer_burst: Annotated[int, Field(ge=1, le=100_000_000)] = 100_000
    """Those that it may send at once: more than the kernel holds for us while we are busy."""
    tcp_connections: Annotated[int, Field(ge=1, le=65_535)] = 1024
    """For each listener, with TLS or without."""
    tcp_connections_per_peer: Annotated[int, Field(ge=1, le=65_535)] = 256
    """Of them from one address, relays apart."""
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
    min_free_bytes: Annotated[int, size("0B", "1024GiB")] = Field(default=256 * MIB, alias="min_free")
    """Of the disk; counters make the database no larger then, alerts may."""
    keep_alerts_s: Annotated[int, duration("1d", "3650d")] = Field(default=400 * 86_400, alias="keep_alerts")
