"""The files for receivers with the receivers themselves: net-snmp, SNMPTT, and Nagios's handler below snmptrapd."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from collectord.outputs import mib, receivers
from collectord.outputs.mib_names import NOTIFICATIONS, OBJECTS, Kind

from .daemon import LISTENERS, Daemon, collectord_here, counted, denied, failures_rule, running
from .servers import PATIENCE_S, UNPACKED, Program, find_program, free_port, snmptrapd_with, wait_for
from .test_snmp_real import engine_of

ROOTS = (mib.DEFAULT_ROOT, "1.3.6.1.4.1.99999.7.1")

# The shipped rule with a small limit and a short window.
RULE = failures_rule(20, timespan="5s", step="1s", clear_after="1s")


def script(name: str) -> Program:
    """A Perl script of the unpacked packages with the modules beside it; skips the test if Perl can't load it."""
    program = find_program(name)
    folders = {str(path) for path in (UNPACKED / "usr/share").glob("perl*")}
    folders |= {str(path) for path in (UNPACKED / "usr/lib").glob("*/perl5/*")}
    tools = str(find_program("snmptranslate").path.parent)
    program.environment["PERL5LIB"] = ":".join(sorted(folders))
    program.environment["PATH"] = f"{program.environment['PATH']}:{tools}"
    checked = subprocess.run(["perl", "-c", program.path], env=program.environment, capture_output=True, check=False)
    if shutil.which("perl") is None or checked.returncode != 0:
        pytest.skip(f"perl can't run {name}: {checked.stderr.decode()[:200]}")
    return program


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    """A folder with our module and nothing else."""
    folder = tmp_path / "mibs"
    folder.mkdir()
    (folder / "COLLECTORD-MIB.txt").write_text(mib.text(standalone=True))
    return folder


# --- names and numbers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("root", ROOTS)
def test_snmpttconvertmib_makes_the_same_names_and_oids(tmp_path: Path, modules: Path, root: str) -> None:
    converter = script("snmpttconvertmib")
    (modules / "COLLECTORD-MIB.txt").write_text(mib.text(root, standalone=True))
    made = tmp_path / "made"
    result = converter.run(
        f"--in={modules / 'COLLECTORD-MIB.txt'}",
        f"--out={made}",
        MIBDIRS=str(modules),
        SNMP_PERSISTENT_DIR=str(tmp_path / "persistent"),
    )
    assert "Failed translations:       0" in result.stdout, result.stdout + result.stderr

    theirs = set(re.findall(r"^EVENT (\S+) (\S+) ", made.read_text(), re.MULTILINE))
    ours_text = receivers.files("snmptt", receivers.Facts(root=root))["snmptt.conf.collectord"]
    ours = set(re.findall(r"^EVENT (\S+) (\S+) ", ours_text, re.MULTILINE))
    defined = set(re.findall(r"^(\w+) NOTIFICATION-TYPE$", mib.text(), re.MULTILINE))
    assert theirs == {(name, oid) for name, oid in ours if name in defined}
    assert len(theirs) == len(defined)


@pytest.mark.parametrize("root", ROOTS)
def test_snmptranslate_resolves_what_the_files_use(tmp_path: Path, modules: Path, root: str) -> None:
    snmptranslate = find_program("snmptranslate")
    (modules / "COLLECTORD-MIB.txt").write_text(mib.text(root, standalone=True))
    defined = set(re.findall(r"^(\w+) (?:NOTIFICATION|OBJECT)-TYPE$", mib.text(), re.MULTILINE))
    numbers = {each.name: each.oid(root) for each in NOTIFICATIONS}
    numbers |= {name: f".{root}.1.{at}" for at, name in enumerate(OBJECTS, start=1)}

    used = set()
    for tool in receivers.TOOLS:
        for content in receivers.files(tool, receivers.Facts(root=root)).values():
            used |= {name for name in numbers if re.search(rf"\b{name}\b", content)}
            shown = content.replace("[.]", ".")
            used |= {name for name, oid in numbers.items() if re.search(rf"{re.escape(oid)}(?![.0-9])", shown)}
    assert used >= {each.name for each in NOTIFICATIONS}
    for name in sorted(used & defined):
        result = snmptranslate.run(
            *("-M", str(modules), "-m", "COLLECTORD-MIB", "-On", f"COLLECTORD-MIB::{name}"),
            SNMP_PERSISTENT_DIR=str(tmp_path / "persistent"),
        )
        assert result.stdout.strip() == numbers[name], result.stderr


# --- the whole way --------------------------------------------------------------------------------------------------

CAPTURE = """#!/bin/sh
# Keeps what snmptrapd hands to a handler, a file each, under the number of its coming.
n=$(ls "$1" | wc -l)
cat > "$1/.new" && mv "$1/.new" "$1/$n"
"""


def receiver_config(daemon: Daemon, tool: str, folder: Path, *words: str) -> dict[str, str]:
    """The files of a tool as the command writes them for the daemon's configuration."""
    daemon.command("snmp", "receiver-config", "--for", tool, "--dir", str(folder), *words)
    return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.fixture
def captured(tmp_path: Path) -> Path:
    """The folder into which the handler below writes."""
    folder = tmp_path / "captured"
    folder.mkdir()
    handler = tmp_path / "capture"
    handler.write_text(CAPTURE)
    handler.chmod(0o755)
    return folder


def attack(daemon: Daemon, source: str = "203.0.113.77", count: int = 21) -> None:
    """Just enough failures for the rule."""
    daemon.send_tcp(counted([denied(source, number) for number in range(count)]))


def snmptt(tmp_path: Path, notification: str) -> str:
    """SNMPTT's line of log about a notification, in standalone mode with Debian's settings but for where files lie."""
    program = script("snmptt")
    for settings in (UNPACKED / "etc/snmp/snmptt.ini", Path("/etc/snmp/snmptt.ini")):
        if settings.exists():
            break
    else:
        pytest.skip("no snmptt.ini")
    files = {
        "log_file": tmp_path / "snmptt.log",
        "log_system_file": tmp_path / "snmptt.system",
        "unknown_trap_log_file": tmp_path / "snmptt.unknown",
    }
    values = {name: str(path) for name, path in files.items()}
    # Net::IP is needed for IPv6 alone.
    values |= {"unknown_trap_log_enable": "1", "syslog_enable": "0", "syslog_system_enable": "0", "ipv6_enable": "0"}
    text = settings.read_text()
    for name, value in values.items():
        text = re.sub(rf"^{name} *=.*$", f"{name} = {value}", text, flags=re.MULTILINE)
    traps = tmp_path / "snmptt.conf.collectord"
    text = re.sub(
        r"^snmptt_conf_files = <<END\n.*?^END$", f"snmptt_conf_files = <<END\n{traps}\nEND", text, flags=re.M | re.S
    )
    (tmp_path / "snmptt.ini").write_text(text)
    files["log_file"].unlink(missing_ok=True)
    done = subprocess.run(
        ["perl", program.path, f"--ini={tmp_path / 'snmptt.ini'}"],
        input=notification.encode(),
        env=program.environment,
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert not files["unknown_trap_log_file"].exists(), files["unknown_trap_log_file"].read_text()
    assert files["log_file"].exists(), done.stderr.decode()
    return files["log_file"].read_text()


@pytest.mark.e2e
@pytest.mark.slow
def test_from_the_daemon_to_snmptt_and_nagios(tmp_path: Path, captured: Path, modules: Path) -> None:
    """
    A raise and its clear come to snmptrapd with our configuration; SNMPTT names them and gives them their severities;
    Nagios's service turns and is well again.
    """
    ports = [free_port(socket.SOCK_DGRAM) for _ in range(2)]
    outputs = "".join(
        f'[[output]]\ntype = "snmp"\nname = "noc{at}"\nhost = "127.0.0.1"\nport = {port}\ncommunity = "not public"\n'
        for at, port in enumerate(ports)
    )
    os.mkfifo(tmp_path / "nagios.cmd")
    fifo = os.open(tmp_path / "nagios.cmd", os.O_RDWR | os.O_NONBLOCK)
    arguments = ("-M", str(modules), "-m", "COLLECTORD-MIB")
    with running(tmp_path / "collector", LISTENERS + outputs, {"excessive-failures": RULE}) as daemon:
        trapd = receiver_config(daemon, "snmptrapd", tmp_path / "snmptrapd", "--with-secrets", "--output", "noc0")
        receiver_config(daemon, "snmptt", tmp_path / "snmptt")
        shutil.copy(tmp_path / "snmptt" / "snmptt.conf.collectord", tmp_path)
        icinga = receiver_config(daemon, "icinga", tmp_path / "icinga")
        settings = json.loads(icinga["collectord_icinga.json"])
        settings |= {
            "to": "nagios",
            "command_file": str(tmp_path / "nagios.cmd"),
            "state_dir": str(tmp_path / "active"),
        }
        (tmp_path / "settings.json").write_text(json.dumps(settings))
        handler = f"{sys.executable} -I {tmp_path / 'icinga/collectord_icinga.py'} {tmp_path / 'settings.json'}"
        root = mib.DEFAULT_ROOT
        to_nagios = f"{trapd['snmptrapd.conf']}traphandle .{root}.0.* {handler}\n"
        to_capture = f"{trapd['snmptrapd.conf']}traphandle default {tmp_path / 'capture'} {captured}\n"
        folders = [tmp_path / f"receiver{at}" for at in range(2)]
        for folder in folders:
            folder.mkdir()
        with (
            snmptrapd_with(folders[0], to_capture, ports[0], ("-On", *arguments)),
            snmptrapd_with(folders[1], to_nagios, ports[1], arguments),
        ):
            attack(daemon)
            raised, cleared = ours(captured, 2)
            lines = nagios_lines(fifo, 2)
            (alert,) = daemon.objects("alerts", "list", "--all")
            daemon.stop()
    os.close(fifo)

    numbers = {each.name: each.oid(root) for each in NOTIFICATIONS}
    identity = f"[id={alert['id']} rule=excessive-failures resource="
    line = snmptt(tmp_path, raised)
    assert f' {numbers["collectordAlarmRaise"]} Minor "collectord" ' in line
    assert identity in line
    assert "203.0.113.77" in line
    line = snmptt(tmp_path, cleared)
    assert f' {numbers["collectordAlarmClear"]} Normal "collectord" ' in line
    assert " - cleared: " in line
    assert identity in line

    assert [re.sub(r"^\[\d+\] ", "", each).split(";")[2:4] for each in lines] == [
        ["collectord excessive-failures", "1"],
        ["collectord excessive-failures", "0"],
    ]
    assert lines[0].split(";")[4].startswith("MINOR: ")
    assert lines[1].split(";")[4].startswith("OK: cleared: ")


def ours(folder: Path, count: int) -> list[str]:
    """The notifications that are about an alarm: no coldStart, no heartbeat."""
    alarms = [each.oid(mib.DEFAULT_ROOT) for each in NOTIFICATIONS if each.kind is not Kind.HEARTBEAT]

    def found() -> list[str]:
        paths = sorted(folder.glob("[0-9]*"), key=lambda path: int(path.name))
        texts = [path.read_text() for path in paths]
        texts = [text for text in texts if any(f".4.1.0 {oid}\n" in text for oid in alarms)]
        return texts if len(texts) >= count else []

    return wait_for(found, f"{count} alarms in {folder}", 5 * PATIENCE_S)


def nagios_lines(fifo: int, count: int) -> list[str]:
    """The results about alarms that came through the command file."""
    lines: list[str] = []

    def enough() -> bool:
        try:
            lines.extend(os.read(fifo, 65536).decode().splitlines())
        except BlockingIOError:
            pass
        return sum("heartbeat" not in line for line in lines) >= count

    wait_for(enough, f"{count} results", 3 * PATIENCE_S)
    return [line for line in lines if "heartbeat" not in line]


def test_snmptt_is_not_confused_by_a_text(tmp_path: Path) -> None:
    """Marks that mean something to SNMPTT, Perl or a shell change neither name, nor severity, nor id."""
    (tmp_path / "snmptt.conf.collectord").write_text(
        receivers.files("snmptt", receivers.Facts())["snmptt.conf.collectord"]
    )
    root = mib.DEFAULT_ROOT
    hostile = (
        f'$1 $Fz `touch {tmp_path}/a` $(touch {tmp_path}/b) | touch {tmp_path}/c ; "x" \\n EVENT x .1 "y" Critical'
    )
    values = {1: "0123456789abcdef", 2: "raised", 3: "major", 4: "excessive-failures", 14: hostile, 16: "col"}
    rows = [f".{root}.1.{at}.0 {values.get(at, '')}" for at in range(1, len(OBJECTS) + 1)]
    first = ["localhost", "UDP: [192.0.2.9]:40000->[127.0.0.1]:162", ".1.3.6.1.2.1.1.3.0 0:0:00:01.00"]
    line = snmptt(tmp_path, "\n".join([*first, f".1.3.6.1.6.3.1.1.4.1.0 .{root}.0.20", *rows, ""]))
    assert f' .{root}.0.20 Major "collectord" ' in line
    assert "[id=0123456789abcdef rule=excessive-failures " in line
    assert not [name for name in ("a", "b", "c") if (tmp_path / name).exists()]

    device = ".1.3.6.1.6.3.18.1.3.0 192.0.2.77"
    line = snmptt(tmp_path, "\n".join([*first, f".1.3.6.1.6.3.1.1.4.1.0 .{root}.0.10", *rows, device, ""]))
    assert ' Major "collectord" 192.0.2.77 - ' in line


def _version3(tmp_path: Path, port: int, notification: str) -> str:
    """The table of an output of version 3."""
    for name in ("auth", "priv"):
        (tmp_path / name).write_text(f"{name}-password with 'marks\" \\ in it\n")
        (tmp_path / name).chmod(0o600)
    return (
        f'[[output]]\ntype = "snmp"\nname = "noc"\nhost = "127.0.0.1"\nport = {port}\nversion = "3"\n'
        f'notification = "{notification}"\nuser = "collector"\n'
        f'auth_password_file = "{tmp_path / "auth"}"\npriv_password_file = "{tmp_path / "priv"}"\n'
    )


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.parametrize("notification", ["trap", "inform"])
def test_snmptrapd_accepts_version_3_with_our_configuration(
    tmp_path: Path, captured: Path, modules: Path, notification: str
) -> None:
    """`createUser` as we write it, with the engine ID for traps and without for informs, lets them in."""
    port = free_port(socket.SOCK_DGRAM)
    output = _version3(tmp_path, port, notification)
    folder = tmp_path / "collector"
    daemon = Daemon(folder, LISTENERS + output, {"excessive-failures": RULE})
    if collectord_here("check", "--config", str(daemon.config)).returncode == 78:
        pytest.skip("this version knows no SNMPv3")
    if notification == "trap":
        early = collectord_here("snmp", "receiver-config", "--for", "snmptrapd", "--config", str(daemon.config))
        assert early.returncode == 69
        assert b"no SNMP engine ID yet" in early.stderr
    try:
        daemon.start()
        engine_id = engine_of(daemon)["engine_id"]
        quiet = receiver_config(daemon, "snmptrapd", tmp_path / "quiet")["snmptrapd.conf"]
        assert "password with" not in quiet
        text = receiver_config(daemon, "snmptrapd", tmp_path / "files", "--with-secrets")["snmptrapd.conf"]
        assert (f"createUser -e {engine_id} collector SHA-256 " in text) == (notification == "trap")
        receiver = tmp_path / "receiver"
        receiver.mkdir()
        text += f"traphandle default {tmp_path / 'capture'} {captured}\n"
        with snmptrapd_with(receiver, text, port, ("-On", "-M", str(modules), "-m", "COLLECTORD-MIB")):
            attack(daemon)
            (raised, *_) = ours(captured, 1)
            daemon.stop()
    finally:
        daemon.close()
    assert f".{mib.DEFAULT_ROOT}.1.4.0 excessive-failures" in raised
