"""
The life of the Debian package on a clean Debian 12, from the first install to the purge; `make package-test`.

Needs root (chroot, mount), debootstrap, a Debian mirror the first time, snmptrapd (``tests/fetch_servers.sh``), and
ports 5514 of loopback, as the daemon runs with the shipped configuration.
"""

import gzip
import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..e2e.daemon import counted, denied, snmp_output
from ..e2e.servers import PATIENCE_S, free_port, snmptrapd, wait_for
from .machine import Machine, Service, removed

DIST = Path(__file__).resolve().parents[2] / "dist"
SOURCE = "198.51.100.7"
LIMIT = 5_000
"""Of the shipped rule excessive-failures."""

LATER = "2099.1.0"

pytestmark = pytest.mark.timeout(0)


@pytest.fixture(scope="module")
def package() -> Path:
    """What `make package` built."""
    (found,) = DIST.glob("collectord_*.deb")
    return found


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """A clean machine; pytest's own folders are closed to other users, so it has one beside them."""
    assert os.geteuid() == 0, "make package-test needs root, for chroot and mounts"
    folder = Path(tempfile.mkdtemp(prefix="collectord-machine-"))
    folder.chmod(0o755)
    try:
        yield Machine(folder / "root")
    finally:
        removed(folder)


STEP = """
@MIGRATIONS()
def m9999_of_a_later_version(db: sqlite_utils.Database) -> None:
    \"\"\"Something that this version does not know.\"\"\"
    db.execute("CREATE TABLE of_a_later_version (what TEXT)")


"""


def later(package: Path, folder: Path) -> Path:
    """The same package as a later version, which changes the tables of the database."""
    tree = folder / "later"
    subprocess.run(["dpkg-deb", "-R", str(package), str(tree)], check=True)
    control = tree / "DEBIAN" / "control"
    control.write_text(re.sub(r"^Version: .*$", f"Version: {LATER}", control.read_text(), flags=re.MULTILINE))
    (steps,) = tree.glob("opt/collectord/lib/*/site-packages/collectord/store/migrations.py")
    (compiled,) = (steps.parent / "__pycache__").glob("migrations.*.pyc")
    compiled.unlink()
    sums = tree / "DEBIAN" / "md5sums"
    sums.write_text("".join(line for line in sums.read_text().splitlines(True) if "/store/" not in line))
    text = steps.read_text()
    place = text.index("with sqlite_utils.Database(memory=True)")
    steps.write_text(text[:place] + STEP.lstrip() + text[place:])
    path = folder / f"collectord_{LATER}_all.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "-b", str(tree), str(path)], check=True)
    return path


def step(text: str) -> None:
    """Tell the reader of the run what was shown."""
    print(f"  {text}", flush=True)


def test_life_of_a_package(package: Path, machine: Machine, tmp_path: Path) -> None:
    """Install, run, alert, upgrade, back again, remove, purge."""
    print()
    before = machine.files()
    accounts = (machine.root / "etc/passwd").read_text()
    said = machine.install(package)
    assert "errors" not in said, said
    step(f"installed {package.name} without network")
    assert "collectord:" in (machine.root / "etc/passwd").read_text()
    assert machine.run("collectord", "--version").stdout.startswith("collectord 20")
    wanted = machine.root / "etc/systemd/system/multi-user.target.wants/collectord.service"
    assert wanted.is_symlink()
    mode = machine.run("stat", "-c", "%a %U %G", "/etc/collectord", "/etc/collectord/collectord.toml").stdout
    assert mode.splitlines() == ["750 root collectord", "640 root collectord"]
    assert not list((machine.root / "opt/collectord").rglob("pip"))
    config = machine.root / "etc/collectord/collectord.toml"
    shipped = config.read_bytes()
    assert "is written" in machine.run("collectord", "init", "--yes").stdout
    for key in ("profiles_dir", "rules_dir"):
        assert f'\n{key} = "{key.removesuffix("_dir")}.d"\n' in config.read_text()
    config.write_bytes(shipped)
    step("init replaces the configuration that nobody has changed, and goes on naming the folders of the site's own")

    traps = free_port(socket.SOCK_DGRAM)
    (machine.root / "etc/collectord/conf.d/noc.toml").write_text(snmp_output("noc", traps))
    service = Service(machine, tmp_path / "log")
    mib = machine.run("collectord", "snmp", "mib", "--standalone").stdout
    with snmptrapd(tmp_path / "noc", mib, port=traps) as noc:
        with service.running():
            step("the daemon runs by the unit's command line, as its user, and says that it is ready")
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.sendto(denied(SOURCE), ("127.0.0.1", 5514))
            with socket.create_connection(("127.0.0.1", 5514), PATIENCE_S) as sender:
                sender.sendall(counted([denied(SOURCE, number) for number in range(1, LIMIT + 1)]))
            (trap,) = noc.wait_for_lines(1, SOURCE, 3 * PATIENCE_S)
            assert "AlarmRaise" in trap and "excessive-failures" in trap
            said = [part.partition("::")[2] for part in trap.split("\t") if "snmpTrapOID" in part or "Summary" in part]
            step(f"{LIMIT + 1:,} messages by UDP and TCP 5514; snmptrapd has the trap: {'; '.join(said)}")
            alerts = service.command("alerts", "list", "--json")
            failures = _failures(service)
            assert failures == LIMIT + 1
        mistake = machine.root / "etc/collectord/conf.d/zz.toml"
        mistake.write_text('colour = "blue"\n')
        said = machine.install(later(package, tmp_path))
        assert "zz.toml:1" in said
        assert "the configuration has errors" in said
        mistake.unlink()
        step("an upgrade on a configuration with a mistake names it, and does not restart anything")
        assert LATER in machine.run("dpkg-query", "-W", "collectord").stdout
        with service.running():
            assert _failures(service) == failures
            assert service.command("alerts", "list", "--json").split('"updated"')[0] == alerts.split('"updated"')[0]
            (kept,) = (machine.root / "var/lib/collectord/backups").iterdir()
        # The commands of above and the daemon wrote nothing into the package.
        assert "/opt/" not in machine.run("dpkg", "--verify", "collectord", expect=None).stdout
        step(f"upgraded to {LATER}, which changes the tables: counters and alerts are there, and a backup {kept.name}")

        machine.install(package, "--allow-downgrades")
        service.start()
        assert service.ended() == os.EX_IOERR
        assert "written by a newer collectord" in service.said()
        step("back to the version of before: it refuses the newer database and says why")
        said = service.command("restore", f"/var/lib/collectord/backups/{kept.name}")
        with service.running():
            assert _failures(service) == failures
            assert service.command("alerts", "list", "--json").split('"updated"')[0] == alerts.split('"updated"')[0]
        step(f"restored the backup, counters and alerts are there: {' '.join(said.split())}")

    machine.run("apt-get", "remove", "-y", "collectord")
    assert not (machine.root / "opt/collectord").exists()
    assert (machine.root / "var/lib/collectord/collectord.db").exists()
    assert (machine.root / "etc/collectord/conf.d/noc.toml").exists()
    assert not wanted.exists()
    step("removed: state and configuration are kept")
    machine.install(package)
    with service.running():
        assert _failures(service) == failures
    step("installed again: counters are there")
    machine.run("apt-get", "purge", "-y", "collectord")
    after = machine.files()
    assert {name: (before.get(name), after.get(name)) for name in before.keys() ^ after.keys()} == {}
    assert (machine.root / "etc/passwd").read_text() == accounts
    step("purged: no file is left, nor the user")


def _failures(service: Service) -> int:
    database = service.machine.root / "var/lib/collectord/collectord.db"
    sql = f"SELECT sum(EventCount) FROM failures_by_source WHERE SrcIpAddr = '{SOURCE}'"
    with sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True) as connection:
        return int(connection.execute(sql).fetchone()[0])


SYSTEMCTL = """#!/bin/sh
case "$*" in
*is-active*--quiet* | *--quiet*is-active*) [ "$(cat /run/state)" = active ] ;;
*is-active*) cat /run/state ;;
*) echo "systemctl $*" >>/run/asked ;;
esac
"""


@pytest.mark.parametrize(
    "before, state, mistake, asked, told",
    [
        ("", "inactive", False, "start", "'collectord init' makes a configuration"),
        ("", "inactive", True, "", "the service is not started"),
        ("2026.10.0", "active", False, "restart", ""),
        ("2026.10.0", "failed", False, "restart", ""),
        ("2026.10.0", "inactive", False, "", ""),
        ("2026.10.0", "active", True, "", "the version before goes on running"),
    ],
)
def test_postinst_where_systemd_runs(
    package: Path, machine: Machine, before: str, state: str, mistake: bool, asked: str, told: str
) -> None:
    """What it asks of systemd; on a configuration with a mistake nothing is started or ended, and it says so."""
    if not (machine.root / "opt/collectord").exists():
        machine.install(package)
    run, commands = machine.root / "run", machine.root / "usr/local/bin"
    (run / "systemd/system").mkdir(parents=True, exist_ok=True)
    (run / "state").write_text(f"{state}\n")
    (run / "asked").write_text("")
    for name, text in (("systemctl", SYSTEMCTL), ("deb-systemd-invoke", '#!/bin/sh\necho "$*" >>/run/asked\n')):
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)
    wrong = machine.root / "etc/collectord/conf.d/zz.toml"
    try:
        if mistake:
            wrong.write_text('colour = "blue"\n')
        path = {"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
        done = machine.run("/var/lib/dpkg/info/collectord.postinst", "configure", before, environment=path)
    finally:
        wrong.unlink(missing_ok=True)
        shutil.rmtree(run / "systemd")
        for name in ("systemctl", "deb-systemd-invoke"):
            (commands / name).unlink()
    lines = (run / "asked").read_text().splitlines()
    assert lines[0] == "systemctl --system daemon-reload"
    assert lines[1:] == ([f"{asked} collectord.service"] if asked else [])
    assert told in done.stderr
    assert ("zz.toml:1" in done.stderr) is mistake
    step(
        f"postinst after {before or 'nothing'}, {state}{', with a mistake' if mistake else ''}: {asked or told or '-'}"
    )


def test_papers(package: Path, tmp_path: Path) -> None:
    """The bill of materials has the parts of both languages, every part has a licence; lintian finds no error."""
    subprocess.run(["dpkg-deb", "-x", str(package), str(tmp_path)], check=True)
    papers = tmp_path / "usr/share/doc/collectord"
    bill = json.loads((papers / "sbom.cdx.json").read_text())
    assert (bill["bomFormat"], bill["metadata"]["component"]["name"]) == ("CycloneDX", "collectord")
    kinds = {each["purl"].partition("/")[0] for each in bill["components"]}
    assert {"pkg:pypi", "pkg:cargo"} <= kinds
    names = {each["name"] for each in bill["components"]}
    assert {"cryptography", "pysnmp", "pyo3", "memchr"} <= names
    licences = gzip.decompress((papers / "third-party-licences.txt.gz").read_bytes()).decode()
    assert [name for name in names if name not in licences] == []
    step(f"bill of materials: {len(bill['components'])} parts, their licences beside it")
    if (lintian := shutil.which("lintian")) is not None:
        said = subprocess.run([lintian, str(package)], capture_output=True, text=True, check=False).stdout
        assert [line for line in said.splitlines() if line.startswith("E:")] == []
        step("lintian finds no error")


def test_read_only(package: Path, machine: Machine, tmp_path: Path) -> None:
    """As the container runs it: nothing can be written but the volume, the user is nobody special."""
    if not (machine.root / "opt/collectord").exists():
        machine.install(package)
    volume = machine.root / "var/lib/collectord"
    config = machine.root / "etc/collectord/collectord.toml"
    config.write_text(re.sub("^control_socket", "#control_socket", config.read_text(), flags=re.MULTILINE))
    environment = {"PATH": "/opt/collectord/bin:/usr/sbin:/usr/bin:/bin", "TMPDIR": "/var/lib/collectord"}
    as_user = ["setpriv", "--reuid=collectord", "--regid=collectord", "--clear-groups", "--no-new-privs", "collectord"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            machine.read_only(*as_user, "run"), env=environment, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        wait_for((volume / "control.sock").exists, "the daemon to answer", 3 * PATIENCE_S)
        with socket.create_connection(("127.0.0.1", 5514), PATIENCE_S) as sender:
            sender.sendall(counted([denied(SOURCE)]))
        status = machine.read_only(*as_user, "status", "--json")

        def counts() -> bool:
            done = subprocess.run(status, env=environment, capture_output=True, text=True, check=False)
            return '"session": 1' in done.stdout

        wait_for(counts, "the message to be counted", 3 * PATIENCE_S)
        process.terminate()
        assert process.wait(3 * PATIENCE_S) == 0, (tmp_path / "log").read_text()
    finally:
        process.kill()
        process.wait()
    step("on a read-only file system the daemon counts, answers and ends well")
