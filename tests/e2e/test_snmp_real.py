"""SNMPv3 and informs as net-snmp's trap daemon understands, acknowledges and refuses them."""

import asyncio
import json
import shutil
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from collectord.errors import DeliveryError
from collectord.model import AlertState
from collectord.outputs import mib
from collectord.outputs.snmp import SnmpOutput
from collectord.outputs.snmp_engine import NotificationEngine, Patience
from collectord.outputs.snmp_users import Community, User

from ..alerts import alert
from .daemon import LISTENERS, Daemon, counted, denied, failures_rule, running, snmp_output
from .servers import PATIENCE_S, Server, free_port, snmptrapd

AUTH_PASSWORD = "authenticate-me"
PRIV_PASSWORD = "hide-me-from-them"
MIB = mib.text(standalone=True)
PATIENCE = Patience(1.0, 2)


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


async def test_wrong_passwords(tmp_path: Path, engine: NotificationEngine) -> None:
    """The receiver of an inform says what is wrong; a trap is just not there."""
    with snmptrapd(tmp_path / "receiver", MIB, users=(create_user(),)) as server:
        for credentials, expected in (
            (user(auth_password="not this one"), "authentication failure: the auth password or algorithm of user noc"),
            (user(auth="SHA-512"), "authentication failure: the auth password or algorithm of user noc"),
            (user("nobody"), "it does not know user nobody"),
            (user(priv_password="not this one"), "is the priv password or algorithm of user noc another there?"),
        ):
            noc = output(engine, server.port, credentials=credentials, patience=PATIENCE)
            await noc.start()
            with pytest.raises(DeliveryError) as caught:
                await noc.send(alert(), 7)
            await noc.close()
            assert expected in str(caught.value)
            assert "not this one" not in str(caught.value)
        assert engine.incoming.failed == 0
        noc = output(engine, server.port, patience=PATIENCE)
        await noc.start()
        await noc.send(alert(), 8)
        await noc.close()
        (line,) = server.wait_for_lines(1, "TRAP")
        assert names(line)["collectordNotificationSequence.0"] == "Counter32: 8"


async def test_receiver_with_new_boots(tmp_path: Path, engine: NotificationEngine) -> None:
    """A receiver that restarted is found out anew, on the socket that is there, within one send."""
    port, noc = 0, None
    links = set()
    for sequence in (1, 2, 3):
        with snmptrapd(tmp_path / "receiver", MIB, users=(create_user(),), port=port) as server:
            port = server.port
            noc = noc or output(engine, port, patience=Patience(2.0, 3))
            if sequence == 1:
                await noc.start()
            await noc.send(alert(), sequence)
            (line,) = server.wait_for_lines(1, "TRAP")
        assert names(line)["collectordNotificationSequence.0"] == f"Counter32: {sequence}"
        links.add(noc._alerts.link.domain if noc._alerts.link else ())
    assert noc is not None
    await noc.close()
    assert len(links) == 1


async def test_receiver_with_a_new_engine_id(tmp_path: Path, engine: NotificationEngine) -> None:
    """A receiver that was installed anew is found out by the second delivery."""
    port, noc = 0, None
    for folder in ("receiver", "another"):
        with snmptrapd(tmp_path / folder, MIB, users=(create_user(),), port=port) as server:
            port = server.port
            if noc is None:
                noc = output(engine, port, patience=Patience(1.0, 0))
                await noc.start()
            else:
                with pytest.raises(DeliveryError, match="no acknowledgement"):
                    await noc.send(alert(), 2)
            await noc.send(alert(), 2)
            server.wait_for_lines(1, "TRAP")
    assert noc is not None
    await noc.close()


async def test_several_addresses(tmp_path: Path, engine: NotificationEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a name's addresses the first that works is used, whether the others refuse or stay silent."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        with snmptrapd(tmp_path / "receiver", MIB, users=(create_user(),), address="::1") as server:
            silent.bind(("127.0.0.1", server.port))

            async def found(*_: object, **__: object) -> list[Any]:
                return [
                    (socket.AF_INET, socket.SOCK_DGRAM, 17, "", ("127.0.0.2", server.port)),
                    (socket.AF_INET, socket.SOCK_DGRAM, 17, "", ("127.0.0.1", server.port)),
                    (socket.AF_INET6, socket.SOCK_DGRAM, 17, "", ("::1", server.port, 0, 0)),
                ]

            monkeypatch.setattr(loop, "getaddrinfo", found)
            noc = output(engine, server.port, host="noc.example", patience=Patience(0.2, 0))
            await noc.start()
            with pytest.raises(DeliveryError, match=r"no acknowledgement from noc\.example port \d+ \(127\.0\.0\.1\)"):
                await noc.send(alert(), 1)
            await noc.send(alert(), 1)
            await noc.close()
            assert names(server.wait_for_lines(1, "TRAP")[0])["collectordNotificationSequence.0"] == "Counter32: 1"


# The daemon

THRESHOLD = 10
RULE = failures_rule(THRESHOLD)


def secret(folder: Path, name: str, content: str) -> str:
    """A file that only we may read; gives its name."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).touch(0o600)
    (folder / name).write_text(f"{content}\n")
    return name


def v3_output(folder: Path, name: str, port: int, user_name: str = "noc", **keys: object) -> str:
    """The table of an output of version 3, with files for its passwords in the daemon's folder."""
    keys = {
        "host": "127.0.0.1",
        "port": port,
        "version": "3",
        "user": user_name,
        "auth_password_file": secret(folder, f"{name}-auth", AUTH_PASSWORD),
        "priv_password_file": secret(folder, f"{name}-priv", PRIV_PASSWORD),
    } | keys
    lines = [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
    return "\n".join(["[[output]]", 'type = "snmp"', f'name = "{name}"', *lines, ""])


def attack(daemon: Daemon, source: str) -> None:
    """Raise one alert about a source."""
    daemon.send_tcp(counted([denied(source, number) for number in range(THRESHOLD + 1)]))


def sources(server: Server, count: int) -> list[str]:
    """Whom a receiver was told of, as soon as it has so many notifications."""
    lines = server.wait_for_lines(count, "SrcIpAddr=", 2 * PATIENCE_S)
    return [names(line)["collectordAlarmKey.0"].removeprefix("STRING: SrcIpAddr=") for line in lines]


def wait_delivered(daemon: Daemon, name: str, count: int) -> None:
    """Until an output has handed over so many."""

    def delivered() -> bool:
        (found,) = [each for each in daemon.status()["outputs"] if each["name"] == name]
        return bool(found["delivered"] == count)

    daemon.wait(delivered, f"{name} to deliver {count}")


def engine_of(daemon: Daemon) -> dict[str, Any]:
    """What the status says of the SNMP engine, as soon as an output has started it."""
    found: dict[str, Any] = daemon.wait(lambda: daemon.status()["snmp"], "the SNMP engine")
    return found


@pytest.mark.e2e
@pytest.mark.timeout(180)
@pytest.mark.slow
def test_traps_are_accepted_after_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The receiver goes on, the daemon comes again: accepted as long as boots rise, whatever became of temporary files.
    With boots set back the receiver takes no more of them, which shows that it does look.
    """
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    folder = tmp_path / "collector"
    port = free_port(socket.SOCK_DGRAM)
    tables = LISTENERS + v3_output(folder, "v3", port) + snmp_output("v2c", port)
    identity = folder / "state" / "snmp_engine.json"
    with running(folder, tables, {"excessive-failures": RULE}) as daemon:
        snmp = engine_of(daemon)
        assert snmp["boots"] == 1
        assert f"SNMP engine ID {snmp['engine_id']}, boots 1" in daemon.command("status").stdout.decode()
        users = (create_user(engine_id=bytes.fromhex(snmp["engine_id"][2:])),)
        # It says what it refuses; what it takes of version 2c comes after what it would have taken of version 3.
        with snmptrapd(tmp_path / "receiver", MIB, users=users, port=port, arguments=("-Dusm",)) as server:
            attack(daemon, "203.0.113.1")
            assert sources(server, 2) == ["203.0.113.1"] * 2
            daemon.stop()
            assert [path.name for path in temporary.rglob("*") if "pysnmp" in path.name] == []

            shutil.rmtree(temporary)
            temporary.mkdir()
            daemon.start()
            assert engine_of(daemon) == snmp | {"boots": 2}
            attack(daemon, "203.0.113.2")
            assert sources(server, 4)[2:] == ["203.0.113.2"] * 2
            daemon.stop()
            assert not [line for line in server.lines() if "boot count" in line]

            identity.write_text(json.dumps(json.loads(identity.read_text()) | {"boots": 0}))
            daemon.start()
            assert engine_of(daemon) == snmp
            attack(daemon, "203.0.113.3")
            wait_delivered(daemon, "v3", 1)
            wait_delivered(daemon, "v2c", 1)
            assert sources(server, 5)[4:] == ["203.0.113.3"]
            server.wait_for_lines(1, "Remote boot count invalid")
            daemon.stop()

            identity.write_text(json.dumps(json.loads(identity.read_text()) | {"boots": 2}))
            daemon.start()
            attack(daemon, "203.0.113.4")
            assert sources(server, 7)[5:] == ["203.0.113.4"] * 2
            daemon.stop()


@pytest.mark.e2e
@pytest.mark.timeout(120)
def test_informs_wait_for_the_receiver(tmp_path: Path) -> None:
    """
    While nobody acknowledges, the output is down and the alert waits; then it comes with the number that it had. The
    other output has other keys and goes on.
    """
    folder = tmp_path / "collector"
    port = free_port(socket.SOCK_DGRAM)
    patience = {"notification": "inform", "timeout": "1s", "retries": 1}
    with snmptrapd(tmp_path / "other", MIB, users=(create_user("other", "SHA-512", "AES-256"),)) as other:
        tables = (
            LISTENERS
            + v3_output(folder, "noc", port, **patience)
            + v3_output(folder, "other", other.port, "other", auth="SHA-512", priv="AES-256", **patience)
        )
        with running(folder, tables, {"excessive-failures": RULE}) as daemon:
            attack(daemon, "203.0.113.1")
            assert sources(other, 1) == ["203.0.113.1"]
            daemon.wait(lambda: outputs(daemon)["noc"]["up"] is False, "the output to be down")
            assert "refused" in outputs(daemon)["noc"]["last_error"]
            assert outputs(daemon)["noc"]["waiting"] == 1
            # Somebody has the port, and says nothing.
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
                silent.bind(("127.0.0.1", port))
                daemon.wait(
                    lambda: "no acknowledgement from 127.0.0.1" in outputs(daemon)["noc"]["last_error"],
                    "the output to notice that nobody answers",
                    3 * PATIENCE_S,
                )
            with snmptrapd(tmp_path / "receiver", MIB, users=(create_user(),), port=port) as server:
                (line,) = server.wait_for_lines(1, "SrcIpAddr=", 4 * PATIENCE_S)
                wait_delivered(daemon, "noc", 1)
                attack(daemon, "203.0.113.2")
                assert sources(server, 2) == ["203.0.113.1", "203.0.113.2"]
                assert names(line)["collectordNotificationSequence.0"] == "Counter32: 1"
                assert outputs(daemon)["noc"]["up"] is True
            assert sources(other, 2) == ["203.0.113.1", "203.0.113.2"]
            daemon.stop()


def outputs(daemon: Daemon) -> dict[str, dict[str, Any]]:
    """Name -> the output's part of the status."""
    return {each["name"]: each for each in daemon.status()["outputs"]}
