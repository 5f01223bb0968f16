"""What the receivers' files depend on, and how their texts are filled in."""

from dataclasses import dataclass
from importlib.resources import files
from string import Template

from collectord.outputs.mib import DEFAULT_ROOT

HEARTBEAT_S = 300

PLACE_FOR_COMMUNITY = "COMMUNITY"
PLACE_FOR_ENGINE_ID = "0xENGINEID"
PLACE_FOR_AUTH = "AUTH-PASSWORD"
PLACE_FOR_PRIV = "PRIV-PASSWORD"


@dataclass(frozen=True, slots=True)
class Target:
    """An SNMP output of the configuration, as its receiver has to know it."""

    name: str
    version: str = "2c"
    """``2c`` or ``3``."""
    port: int = 162
    inform: bool = False
    report_as: str = "collector"
    """``device``: the last varbind is snmpTrapAddress.0 with the device's address."""
    community: str | None = None
    """None: a place to write it stands in the file."""
    user: str = ""
    auth: str = "SHA-256"
    priv: str = "AES-128"
    """Empty: not encrypted."""
    auth_password: str | None = None
    priv_password: str | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """Of one collector; the defaults are what ``packaging/integrations`` holds."""

    root: str = DEFAULT_ROOT
    targets: tuple[Target, ...] = (Target("noc"),)
    engine_id: bytes | None = None
    """SNMP engine ID of the collector; needed for SNMPv3 traps, of which the sender is the authority."""
    heartbeat_s: int = HEARTBEAT_S
    """0: none is sent, and nothing may wait for one."""
    rules: tuple[str, ...] = ()
    """Names of the rules that send alerts."""

    @property
    def late_s(self) -> int:
        """Without a heartbeat for so long the collector is taken for dead: three missed, and a minute."""
        return 3 * (self.heartbeat_s or HEARTBEAT_S) + 60


class _Text(Template):
    """Places are written ``@{key}``: nothing else in these files has that form."""

    delimiter = "@"


def filled(tool: str, name: str, **values: str) -> str:
    """
    The text of a template with its places filled; a value is put in as it is.

    Raises:
        KeyError: a place has no value.
    """
    text = files("collectord").joinpath(f"outputs/receivers/templates/{tool}/{name}").read_text(encoding="utf-8")
    return _Text(text).substitute(values)
