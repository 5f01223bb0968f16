"""SNMPv3 and informs as net-snmp's trap daemon understands, acknowledges and refuses them."""

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from collectord.errors import DeliveryError
from collectord.model import NS_PER_S, Alert, AlertState, Mode, Severity
from collectord.outputs import mib
from collectord.outputs.snmp import SnmpOutput
from collectord.outputs.snmp_engine import NotificationEngine, Patience
from collectord.outputs.snmp_users import Community, User

from .servers import snmptrapd

AUTH_PASSWORD = "authenticate-me"
PRIV_PASSWORD = "hide-me-from-them"
MIB = mib.text(standalone=True)
PATIENCE = Patience(1.0, 2)


def alert(**changes: Any) -> Alert:
    """An alert with a summary."""
    fields: dict[str, Any] = {
        "id": "0123456789abcdef",
        "episode": 1,
        "event": "raised",
        "rule": "excessive-failures",
        "state": AlertState.RAISED,
        "severity": Severity.MEDIUM,
        "mode": Mode.NOTIFY,
        "site": "",
        "key": {"SrcIpAddr": "192.0.2.10"},
        "count": 5001,
        "threshold": 5000,
        "window_s": 300,
        "first_time_ns": 1_795_341_600 * NS_PER_S,
        "last_time_ns": 1_795_341_899 * NS_PER_S,
        "title": "Excessive number of failed connections from 192.0.2.10",
        "summary": "192.0.2.10: 5001 failed connections in 5 min (limit 5000)",
    }
    return Alert(**(fields | changes))


def user(name: str = "noc", auth: str = "SHA-256", priv: str = "AES-128", **passwords: str) -> User:
    """A user with our passwords."""
    auth_password, priv_password = passwords.get("auth_password", AUTH_PASSWORD), passwords.get("priv_password")
    return User(name, lambda: auth_password, lambda: priv_password or PRIV_PASSWORD, auth, priv)


def create_user(name: str = "noc", auth: str = "SHA-256", priv: str = "AES-128", engine_id: bytes = b"") -> str:
    """The same user in snmptrapd's words; with an engine ID for our traps, without for our informs."""
    engine = f"-e 0x{engine_id.hex()} " if engine_id else ""
    words = {"SHA-1": "SHA", "AES-128": "AES"}
    return f'{engine}{name} {auth} "{AUTH_PASSWORD}" {words.get(priv, priv)} "{PRIV_PASSWORD}"'


def names(line: str) -> dict[str, str]:
    """Name without its module -> value of each varbind of a trap line."""
    pairs = (part.split(" = ", 1) for part in line.split("\t")[1:])
    return {name.removeprefix("COLLECTORD-MIB::"): value for name, value in pairs}


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[NotificationEngine]:
    """A started engine, whose ID can be told to receivers."""
    engine = NotificationEngine(tmp_path / "snmp_engine.json", mono_ns=time.monotonic_ns)
    await engine.acquire("test")
    yield engine
    await engine.release("test")


def engine_id(engine: NotificationEngine) -> bytes:
    """As receivers have to know it."""
    assert engine.identity is not None
    return engine.identity.engine_id


def output(engine: NotificationEngine, port: int, **changes: Any) -> SnmpOutput:
    """An output for user noc on loopback."""
    options: dict[str, Any] = {"name": "noc", "host": "127.0.0.1", "port": port, "credentials": user()}
    return SnmpOutput(engine, **(options | changes))


@pytest.mark.parametrize("inform", [False, True], ids=["trap", "inform"])
@pytest.mark.parametrize("version", ["2c", "3"])
async def test_decoded_by_name(tmp_path: Path, engine: NotificationEngine, version: str, inform: bool) -> None:
    """Each version and kind; the objects of an inform are a trap's."""
    users = (create_user(engine_id=b"" if inform else engine_id(engine)),)
    with snmptrapd(tmp_path / "receiver", MIB, users=users, community="not-public") as server:
        noc = output(
            engine,
            server.port,
            credentials=user() if version == "3" else Community(lambda: "not-public"),
            patience=PATIENCE if inform else None,
        )
        await noc.start()
        await noc.send(alert(), 7)
        await noc.send(alert(state=AlertState.CLEARED), 8)
        await noc.close()
        raised, cleared = [names(line) for line in server.wait_for_lines(2, "TRAP")]

    assert raised["snmpTrapOID.0"] == "OID: COLLECTORD-MIB::collectordAlarmRaise"
    assert raised["collectordAlarmId.0"] == "STRING: 0123456789abcdef"
    assert raised["collectordAlarmSummary.0"] == f"STRING: {alert().summary}"
    assert raised["collectordNotificationSequence.0"] == "Counter32: 7"
    assert cleared["snmpTrapOID.0"] == "OID: COLLECTORD-MIB::collectordAlarmClear"
    assert list(cleared) == list(raised)
    assert len(raised) == 19


@pytest.mark.parametrize("inform", [False, True], ids=["trap", "inform"])
@pytest.mark.parametrize(
    ("auth", "priv"),
    [
        ("SHA-224", "AES-128"),
        ("SHA-224", "AES-256"),
        ("SHA-224", "AES-256-C"),
        ("SHA-256", "AES-256"),
        ("SHA-384", "AES-192"),
        ("SHA-512", "AES-256"),
        ("SHA", "AES-128"),
        ("SHA", "AES-192"),
        ("SHA", "AES-256"),
        ("SHA", "AES-256-C"),
        ("MD5", "DES"),
        ("MD5", "AES-192-C"),
    ],
)
async def test_algorithms(tmp_path: Path, engine: NotificationEngine, auth: str, priv: str, inform: bool) -> None:
    """Ours are net-snmp's of the same name."""
    users = (create_user(auth=auth, priv=priv, engine_id=b"" if inform else engine_id(engine)),)
    with snmptrapd(tmp_path / "receiver", MIB, users=users) as server:
        noc = output(engine, server.port, credentials=user(auth=auth, priv=priv), patience=PATIENCE if inform else None)
        await noc.start()
        await noc.send(alert(), 7)
        await noc.close()
        (line,) = server.wait_for_lines(1, "TRAP")
        assert names(line)["collectordNotificationSequence.0"] == "Counter32: 7"
