"""Whatever goes wrong with secrets: nothing that anybody can read of the collector repeats one."""

import socket
from pathlib import Path

import pytest

from collectord.outputs import mib

from .daemon import LISTENERS, Daemon, collectord, collectord_here, counted, denied, failures_rule, running
from .servers import PATIENCE_S, snmptrapd

# Recognised by what all of them hold, however they are cut.
MARK = "hush4711"
COMMUNITY, AUTH, PRIV = (f"{MARK}{kind}" for kind in ("community", "auth", "priv"))

INLINE = f"""
[[output]]
type = "snmp"
name = "inline"
host = "127.0.0.1"
port = 9
community = "{COMMUNITY}"
"""
V3 = """
[[output]]
type = "snmp"
name = "user"
host = "127.0.0.1"
port = {port}
version = "3"
user = "noc"
notification = "inform"
timeout = "1s"
retries = 0
auth_password_file = "auth"
priv_password_file = "priv"
"""
OTHER_KEYS = V3.format(port=9).replace('"user"', '"other"').replace('"auth"', '"priv"')
RULE = failures_rule(10)


def secrets(folder: Path, mode: int = 0o600, **content: str) -> None:
    """The files that the configurations name."""
    for name, text in ({"auth": AUTH, "priv": PRIV, "community": COMMUNITY} | content).items():
        (folder / name).write_text(text)
        (folder / name).chmod(mode)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (INLINE, "community: everybody can read or write this file (mode 0644)"),
        (INLINE.replace(f'"{COMMUNITY}"', f'["{COMMUNITY}"]'), "community: expected text in quotes, got a secret"),
        (INLINE.replace(f'"{COMMUNITY}"', f'{{ x = "{COMMUNITY}" }}'), "community"),
        (INLINE.replace(f'"{COMMUNITY}"', f'"{COMMUNITY}'), ":"),
        (INLINE.replace("community =", "comunity ="), "comunity: unknown key"),
        (INLINE + f'community = "{COMMUNITY}"\n', ":"),
        (INLINE + 'community_file = "community"\n', "expected either community_file or community"),
        (INLINE + 'version = "3"\n', "version 3 has no community"),
        (V3.format(port=9) + f'auth_password = "{AUTH}"\n', "auth_password: unknown key"),
        (V3.format(port=9).replace('"auth"', '"absent"'), "absent: no such file"),
        (V3.format(port=9).replace('"auth"', '"long"'), "has more than 4096 bytes"),
        (V3.format(port=9).replace('"auth"', '"lines"'), "has more than one line"),
        (V3.format(port=9).replace('"auth"', '"open"'), "everybody can read or write"),
        (V3.format(port=9).replace('"auth"', '"binary"'), "not utf-8"),
        (
            V3.format(port=9) + V3.format(port=9).replace('"user"', '"other"').replace('"auth"', '"priv"'),
            "another auth_",
        ),
    ],
)
def test_refused_configurations(tmp_path: Path, table: str, expected: str) -> None:
    """``check``, which is the daemon's own loader, says what is wrong, where, and no more."""
    secrets(tmp_path, long=AUTH * 400, lines=f"{AUTH}\n{AUTH}")
    (tmp_path / "binary").write_bytes(AUTH.encode() + b"\xff")
    (tmp_path / "binary").chmod(0o600)
    (tmp_path / "open").write_text(AUTH)
    (tmp_path / "open").chmod(0o644)
    config = tmp_path / "collectord.toml"
    config.write_text(f'state_dir = "state"\n{LISTENERS}{table}')
    config.chmod(0o644)
    result = collectord_here("check", "--config", str(config))
    said = (result.stdout + result.stderr).decode()

    assert result.returncode == 78, said
    assert expected in said
    assert MARK not in said


@pytest.mark.e2e
@pytest.mark.timeout(120)
def test_running(tmp_path: Path) -> None:
    """Down, refused, silent, wrong passwords, a file that is not what it was: neither told nor stored."""
    folder = tmp_path / "collector"
    folder.mkdir()
    secrets(folder)
    # Another auth password than ours; and one that never answers.
    receiver = f'noc SHA-256 "{MARK[::-1]}another" AES "{PRIV}"'
    with (
        snmptrapd(tmp_path / "receiver", mib.text(standalone=True), users=(receiver,)) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent,
    ):
        silent.bind(("127.0.0.1", 0))
        quiet = V3.format(port=silent.getsockname()[1]).replace('"user"', '"quiet"')
        tables = f'{LISTENERS}{INLINE}{V3.format(port=server.port)}{quiet}[log]\nlevel = "debug"\n'
        with running(folder, tables, {"excessive-failures": RULE}) as daemon:
            daemon.send_tcp(counted([denied("203.0.113.1", number) for number in range(11)]))
            for name, expected in (
                ("inline", "refused"),
                ("user", "authentication failure"),
                ("quiet", "no acknowledgement"),
            ):
                _wait_error(daemon, name, expected)
            said = [
                daemon.command(*command).stdout.decode()
                for command in (("check",), ("status",), ("status", "--json"), ("alerts",), ("alerts", "--json"))
            ]
            daemon.stop()

            (folder / "auth").chmod(0o644)
            result = collectord("run", "--config", str(daemon.config))
            assert result.returncode == 78
            assert b"everybody can read or write" in result.stderr
            said.append((result.stdout + result.stderr).decode())

        assert "authentication failure" in said[1] + said[2]
        assert MARK not in "".join(said)
        ours = [path for path in (folder / "log", *(folder / "state").rglob("*")) if path.is_file()]
        assert folder / "state" / "collectord.db" in ours
        for path in ours:
            assert MARK.encode() not in path.read_bytes(), path


def _wait_error(daemon: Daemon, name: str, expected: str) -> None:
    def failed() -> bool:
        (found,) = [each for each in daemon.status()["outputs"] if each["name"] == name]
        return expected in found["last_error"]

    daemon.wait(failed, f"{name} to fail with {expected!r}", 2 * PATIENCE_S)
