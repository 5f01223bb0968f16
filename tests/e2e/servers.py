"""
The real programs that the daemon talks to, started on loopback for a test: snmptrapd, rsyslogd; and net-snmp's and
libsmi's tools for the MIB.

They are taken from PATH, else from the folder that ``tests/fetch_servers.sh`` unpacks. Where neither has them the
tests that need them are skipped with the reason.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

T = TypeVar("T")

UNPACKED = Path(__file__).resolve().parents[2] / ".cache" / "servers"
FOLDERS = ("usr/sbin", "usr/bin")

# Machines differ: a slow one sets a factor.
TIME_FACTOR = float(os.environ.get("COLLECTORD_TEST_TIME_FACTOR", "1"))
PATIENCE_S = 10.0 * TIME_FACTOR


@dataclass(frozen=True, slots=True)
class Program:
    """A program and the environment it runs in."""

    path: Path
    environment: dict[str, str]

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run to the end; output as text."""
        return subprocess.run(
            [self.path, *arguments],
            env=self.environment | environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )


def find_program(name: str, *, of_system: bool = True) -> Program:
    """The program from PATH (if ``of_system``) or from the unpacked packages; skips the test without it."""
    environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8", "SNMPCONFPATH": "/nonexistent"}
    # Daemons are often in a folder that a user's PATH lacks.
    if of_system and (found := shutil.which(name, path=f"{environment['PATH']}:/usr/sbin:/usr/local/sbin")):
        return Program(Path(found), environment)
    for folder in FOLDERS:
        path = UNPACKED / folder / name
        if path.is_file():
            libraries = {str(library.parent) for library in (UNPACKED / "usr/lib").rglob("*.so*")}
            return Program(path, environment | {"LD_LIBRARY_PATH": ":".join(sorted(libraries))})
    pytest.skip(f"no {name}: neither on PATH nor in {UNPACKED}; tests/fetch_servers.sh unpacks it")


def find_library(name: str) -> Path:
    """A library from the system's folders or from the unpacked packages; skips the test without it."""
    for folder in (Path("/usr/lib"), UNPACKED / "usr/lib"):
        for found in folder.glob(f"*/**/{name}"):
            return found
    pytest.skip(f"no {name}: neither in /usr/lib nor in {UNPACKED}; tests/fetch_servers.sh unpacks it")


def smi_modules() -> Path:
    """A folder with the base modules of the SMI (SNMPv2-SMI, SNMPv2-TC, SNMPv2-CONF); skips the test without it."""
    for folder in (Path("/usr/share/snmp/mibs/ietf"), Path("/usr/share/mibs/ietf"), UNPACKED):
        for module in folder.rglob("SNMPv2-SMI*"):
            return module.parent
    pytest.skip(f"no SNMPv2-SMI module in the system's folders or in {UNPACKED}; tests/fetch_servers.sh unpacks it")


@contextlib.contextmanager
def snmptrapd_with(folder: Path, configuration: str, port: int, arguments: tuple[str, ...] = ()) -> "Iterator[Server]":
    """snmptrapd with a configuration as it is, on a port of loopback; its log is as ``arguments`` say."""
    program = find_program("snmptrapd")
    path = folder / "snmptrapd.conf"
    path.write_text(configuration)
    command = [str(program.path), "-f", "-C", "-c", str(path), "-Lf", str(folder / "traps"), *arguments]
    environment = program.environment | {"SNMP_PERSISTENT_DIR": str(folder / "persistent")}
    with _running([*command, f"udp:127.0.0.1:{port}"], environment, folder, port, folder / "traps") as server:
        _wait_until_bound(server, ("udp",))
        yield server


def free_port(kind: socket.SocketKind) -> int:
    """A port that nobody has on 127.0.0.1 just now."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], T], what: str, patience_s: float = PATIENCE_S) -> T:
    """The condition's first true value; fails the test when that does not come."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.02)
    pytest.fail(f"waited {patience_s:g} s for {what}")


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path
    """What it writes: traps for snmptrapd, one message per line for rsyslogd."""
    errors: Path
    tls_port: int = 0
    """Of a rsyslogd that has one."""

    def lines(self) -> list[str]:
        """Complete lines so far."""
        content = self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        return content.split("\n")[:-1]

    def wait_for_lines(self, count: int, with_text: str = "", patience_s: float = PATIENCE_S) -> list[str]:
        """The lines that hold ``with_text``, as soon as there are ``count``."""

        def enough() -> list[str]:
            lines = [line for line in self.lines() if with_text in line]
            return lines if len(lines) >= count else []

        try:
            return wait_for(enough, f"{count} lines with {with_text!r}", patience_s)
        except pytest.fail.Exception as failure:
            failure.msg = f"{failure.msg}; it has {self.lines()}; it said {self.errors.read_text()}"
            raise


@contextlib.contextmanager
def _running(
    command: list[str], environment: dict[str, str], folder: Path, port: int, log: Path, tls_port: int = 0
) -> Iterator[Server]:
    errors = folder / "errors"
    with errors.open("wb") as sink:
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=sink, stderr=subprocess.STDOUT)
        server = Server(port, process, log, errors, tls_port)
        try:
            yield server
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _is_bound(port: int, protocol: str) -> bool:
    """Whether somebody has the port on loopback or on all addresses (proc(5), /proc/net/tcp)."""
    wanted = f"{port:04X}"
    rows = Path(f"/proc/net/{protocol}").read_text().splitlines()[1:]
    return any(row.split()[1].endswith(f":{wanted}") and row.split()[3] in {"0A", "07"} for row in rows)


def _wait_until_bound(server: Server, protocols: tuple[str, ...], port: int = 0) -> None:
    def ready() -> bool:
        if server.process.poll() is not None:
            pytest.fail(f"ended at start with {server.process.returncode}: {server.errors.read_text()}")
        return all(_is_bound(port or server.port, protocol) for protocol in protocols)

    wait_for(ready, f"port {port or server.port} to be bound")


@contextlib.contextmanager
def snmptrapd(
    folder: Path,
    mib: str,
    *,
    community: str = "public",
    users: tuple[str, ...] = (),
    port: int = 0,
    address: str = "127.0.0.1",
    arguments: tuple[str, ...] = (),
) -> Iterator[Server]:
    """
    snmptrapd with a community, users of SNMPv3 and one MIB module, and no other.

    Each trap is one line of its log: ``TRAP`` and the varbinds as ``name=value`` with tabs between them.

    Args:
        folder: Everything lies there, what it keeps from one start to the next included.
        mib: The module's text.
        community: What SNMPv2c has to come with.
        users: Arguments of ``createUser`` (snmpd.conf(5)); with ``-e`` and an engine ID for traps, without for informs.
        port: 0 is any that is free.
        address: Of this machine, IPv4 or IPv6.
        arguments: Of the program.
    """
    program = find_program("snmptrapd")
    port = port or free_port(socket.SOCK_DGRAM)
    (folder / "mibs").mkdir(parents=True, exist_ok=True)
    (folder / "mibs" / "COLLECTORD-MIB.txt").write_text(mib)
    lines = [f"authCommunity log {community}", "doNotLogTraps no"]
    for user in users:
        words = user.split()
        lines += [f"createUser {user}", f"authUser log {words[2] if words[0] == '-e' else words[0]} priv"]
    (folder / "snmptrapd.conf").write_text("\n".join([*lines, ""]))
    log = folder / "traps"
    command = [
        *(str(program.path), "-f", "-Lf", str(log)),
        *("-M", str(folder / "mibs"), "-m", "COLLECTORD-MIB", "-F", "TRAP\t%v\n", *arguments),
        f"udp6:[{address}]:{port}" if ":" in address else f"udp:{address}:{port}",
    ]
    # Without -C, it reads its own engine ID and boots of last time, too.
    kept = folder / "persistent"
    folders = {"SNMPCONFPATH": f"{folder}:{kept}", "SNMP_PERSISTENT_DIR": str(kept)}
    with _running(command, program.environment | folders, folder, port, log) as server:
        _wait_until_bound(server, ("udp6" if ":" in address else "udp",))
        yield server


# What rsyslogd understood of a message, one JSON object per line.
_TEMPLATE = """
template(name="understood" type="list" option.jsonf="on") {
    property(outname="pri" name="pri" format="jsonf")
    property(outname="severity" name="syslogseverity-text" format="jsonf")
    property(outname="facility" name="syslogfacility-text" format="jsonf")
    property(outname="version" name="protocol-version" format="jsonf")
    property(outname="timestamp" name="timereported" dateFormat="rfc3339" format="jsonf")
    property(outname="hostname" name="hostname" format="jsonf")
    property(outname="appname" name="app-name" format="jsonf")
    property(outname="procid" name="procid" format="jsonf")
    property(outname="msgid" name="msgid" format="jsonf")
    property(outname="structured_data" name="structured-data" format="jsonf")
    property(outname="data" name="$!rfc5424-sd" format="jsonf")
    property(outname="msg" name="msg" format="jsonf")
    property(outname="raw" name="rawmsg" format="jsonf")
}
"""


@dataclass(frozen=True, slots=True)
class Tls:
    """How rsyslogd listens with TLS: both sides show a certificate, and the client's has to be for one of the names."""

    driver: str
    """``gtls`` (GnuTLS) or ``ossl`` (OpenSSL)."""
    ca_file: Path
    cert_file: Path
    key_file: Path
    clients: tuple[str, ...]

    def input(self, port: int) -> str:
        """The listener in rsyslog's language."""
        names = ", ".join(f'"{name}"' for name in self.clients)
        return f"""
input(type="imtcp" address="127.0.0.1" port="{port}" ruleset="received"
      streamDriver.name="{self.driver}" streamDriver.mode="1" streamDriver.authMode="x509/name"
      permittedPeer=[{names}] streamDriver.caFile="{self.ca_file}"
      streamDriver.certFile="{self.cert_file}" streamDriver.keyFile="{self.key_file}")
"""


def _rsyslogd_with(driver: str) -> Program:
    """The system's if it has the driver for TLS, which is a package of its own, else the unpacked one."""
    module = f"**/rsyslog/lmnsd_{driver}.so"
    program = find_program("rsyslogd", of_system=any(Path("/usr/lib").glob(module)))
    if UNPACKED in program.path.parents and not any((UNPACKED / "usr/lib").glob(module)):
        pytest.skip(f"no lmnsd_{driver}.so: neither in /usr/lib nor in {UNPACKED}; tests/fetch_servers.sh unpacks it")
    return program


@contextlib.contextmanager
def rsyslogd(folder: Path, port: int = 0, *, tls: Tls | None = None) -> Iterator[Server]:
    """
    rsyslogd on one port (0: any that is free), UDP and TCP (both framings), and with ``tls`` on one more.

    Each message is one JSON object per line of its log; ``data`` holds, as JSON in a string, what rsyslog's own module
    made of the structured data, ``raw`` all as it came in.
    """
    program = find_program("rsyslogd") if tls is None else _rsyslogd_with(tls.driver)
    tls_port = 0 if tls is None else free_port(socket.SOCK_STREAM)
    # The port has to be free for both.
    port = port or wait_for(lambda: _port_for_both(), "a port that is free for UDP and TCP")
    log = folder / "messages"
    configuration = folder / "rsyslog.conf"
    configuration.write_text(
        f"""
global(workDirectory="{folder}" processInternalMessages="off" maxMessageSize="8k")
module(load="imudp")
module(load="imtcp")
module(load="mmpstrucdata")
{_TEMPLATE}
ruleset(name="received") {{
    action(type="mmpstrucdata" sd_name.lowercase="off")
    action(type="omfile" file="{log}" template="understood" asyncWriting="off" flushOnTXEnd="on")
}}
input(type="imudp" address="127.0.0.1" port="{port}" ruleset="received")
input(type="imtcp" address="127.0.0.1" port="{port}" ruleset="received")
{"" if tls is None else tls.input(tls_port)}
"""
    )
    command = [str(program.path), "-n", "-f", str(configuration), "-i", str(folder / "pid")]
    if UNPACKED in program.path.parents:
        command += ["-M", str(next(UNPACKED.glob("usr/lib/**/rsyslog/imudp.so")).parent)]
    with _running(command, program.environment, folder, port, log, tls_port) as server:
        _wait_until_bound(server, ("udp", "tcp"))
        if tls_port:
            _wait_until_bound(server, ("tcp",), tls_port)
        yield server


@contextlib.contextmanager
def copying_rsyslogd(folder: Path, lines: str) -> Iterator[Server]:
    """rsyslogd on a UDP port, with lines of a site's own configuration that send a copy somewhere."""
    program = find_program("rsyslogd")
    port = free_port(socket.SOCK_DGRAM)
    lines = f'''
global(workDirectory="{folder}" processInternalMessages="off")
module(load="imudp")
input(type="imudp" address="127.0.0.1" port="{port}")
{lines}'''
    with _rsyslogd_of(folder, program, lines, "udp", port) as server:
        yield server


@contextlib.contextmanager
def rsyslogd_relaying(folder: Path, tls: Tls, target: int) -> Iterator[Server]:
    """
    rsyslogd on a TCP port, which sends each message on over TLS as it came, with octet counting.

    Args:
        folder: Everything lies there.
        tls: Its driver and files; ``clients`` is the name of the server that it believes.
        target: Port on loopback.
    """
    program = _rsyslogd_with(tls.driver)
    port = free_port(socket.SOCK_STREAM)
    (name,) = tls.clients
    lines = f"""
global(workDirectory="{folder}" processInternalMessages="off" maxMessageSize="8k"
       defaultNetstreamDriverCAFile="{tls.ca_file}" defaultNetstreamDriverCertFile="{tls.cert_file}"
       defaultNetstreamDriverKeyFile="{tls.key_file}")
module(load="imtcp")
template(name="raw" type="string" string="%rawmsg%")
ruleset(name="relay") {{
    action(type="omfwd" target="127.0.0.1" port="{target}" protocol="tcp" tcp_framing="octet-counted" template="raw"
           streamDriver="{tls.driver}" streamDriverMode="1" streamDriverAuthMode="x509/name"
           streamDriverPermittedPeers="{name}")
}}
input(type="imtcp" address="127.0.0.1" port="{port}" ruleset="relay")
"""
    with _rsyslogd_of(folder, program, lines, "tcp", port) as server:
        yield server


@contextlib.contextmanager
def _rsyslogd_of(folder: Path, program: Program, lines: str, kind: str, port: int) -> Iterator[Server]:
    """rsyslogd with this configuration, once it has bound its port."""
    configuration = folder / "rsyslog.conf"
    configuration.write_text(lines)
    command = [str(program.path), "-n", "-f", str(configuration), "-i", str(folder / "pid")]
    if UNPACKED in program.path.parents:
        command += ["-M", str(next(UNPACKED.glob("usr/lib/**/rsyslog/imudp.so")).parent)]
    with _running(command, program.environment, folder, port, folder / "messages") as server:
        _wait_until_bound(server, (kind,))
        yield server


def _port_for_both() -> int:
    port = free_port(socket.SOCK_STREAM)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return 0
    return port
