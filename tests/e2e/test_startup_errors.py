"""A daemon that can't start says what is wrong, where, and touches nothing; its exit status says whose turn it is."""

import json
import os
import socket
import stat
from pathlib import Path
from typing import Any

import pytest

from .daemon import LISTENERS, Daemon, collectord, collectord_here, denied, running

PROFILE = """
name = "broken"
title = "Broken"
EventVendor = "Vendor"
EventProduct = "Product"
source = ["https://example.com/"]
detect = [{ starts = "BROKEN" }]
reader = "kv"
[fields]
SrcIpAdr = "src"

[[sample]]
name = "sample"
raw = "<13>BROKEN src=192.0.2.1"
want = []
"""

PROFILE_OF_ANOTHER_MIND = """
name = "other"
title = "Other"
EventVendor = "Vendor"
EventProduct = "Product"
source = ["https://example.com/"]
detect = [{ starts = "OTHER" }]
reader = "kv"
[fields]
SrcIpAddr = "src"
[set]
EventType = "NetworkSession"
EventResult = "Failure"
[[message]]

[[sample]]
name = "first"
raw = "<13>OTHER src=192.0.2.1"
want = [{ SrcIpAddr = "192.0.2.2" }]
"""

RULE = """
name = "excessive-failures"
title = "Failures of {SrcIpAddr}"
type = "event_count"
counter = "failures_by_source"
where = { EventResult = "Failure" }
group_by = ["SrcIpAddress"]
timespan = "5m"
step = "2m"
condition = { gt = 5000 }
severity = "medum"
"""

WATCHLIST = """\
Ports,App,Protocol,Direction,Action,Type,ThresholdType,Threshold,Severity,Tactic,Name,Description
445,*,*,*,*,Detection,Static,1000,High,LateralMovement,Good,Good
70000,*,*,*,*,Detection,Static,1000,High,LateralMovement,Bad port,
22,*,*,*,*,Detection,Static,many,High,LateralMovement,Bad threshold,
"""


@pytest.mark.e2e
@pytest.mark.parametrize(("kind", "protocol"), [(socket.SOCK_DGRAM, "udp"), (socket.SOCK_STREAM, "tcp")])
def test_port_in_use(tmp_path: Path, kind: socket.SocketKind, protocol: str) -> None:
    """The port, and the process that has it."""
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        if protocol == "tcp":
            taken.listen()
        port = taken.getsockname()[1]
        daemon = Daemon(tmp_path, f'[[listener]]\ntype = "{protocol}"\nname = "edge"\nport = {port}\n')
        result = collectord("run", "--config", str(daemon.config))

    said = result.stderr.decode()
    assert result.returncode == 71, said
    name = Path(f"/proc/{os.getpid()}/comm").read_text().strip()
    assert (
        f"collectord: listener edge: {protocol} port {port} on 127.0.0.1 is in use by {name} (pid {os.getpid()})"
        in said
    )
    assert "Traceback" not in said


@pytest.mark.e2e
def test_state_folder_is_a_file(tmp_path: Path) -> None:
    """What stands in the way is named and left alone."""
    daemon = Daemon(tmp_path)
    (tmp_path / "state").write_text("not a folder")
    result = collectord("run", "--config", str(daemon.config))

    said = result.stderr.decode()
    assert result.returncode == 74, said
    assert str(tmp_path / "state") in said
    assert "state_dir" in said
    assert "Traceback" not in said
    assert (tmp_path / "state").read_text() == "not a folder"


@pytest.mark.e2e
@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_state_folder_is_read_only(tmp_path: Path) -> None:
    """The folder is named, and whom it should belong to."""
    daemon = Daemon(tmp_path)
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(stat.S_IRUSR | stat.S_IXUSR)
    result = collectord("run", "--config", str(daemon.config))

    assert result.returncode == 74, result.stderr
    assert f"the folder {tmp_path / 'state'} can't be written" in result.stderr.decode()


@pytest.mark.e2e
def test_database_is_garbage(tmp_path: Path) -> None:
    """A file that is no database is somebody's: it stays as it is, to the byte."""
    daemon = Daemon(tmp_path)
    daemon.database.parent.mkdir()
    garbage = b"my holiday photos\n" * 1000
    daemon.database.write_bytes(garbage)
    # The second time there is a lock file of ours beside it, which says nothing of whose it is.
    for _ in range(2):
        result = collectord("run", "--config", str(daemon.config))

        said = result.stderr.decode()
        assert result.returncode == 74, said
        assert f"{daemon.database} is not an SQLite database" in said
        assert "Traceback" not in said
        assert daemon.database.read_bytes() == garbage


@pytest.mark.e2e
def test_second_daemon(tmp_path: Path) -> None:
    """A state has one daemon: the second one goes and the first does not notice."""
    with running(tmp_path) as daemon:
        second = collectord("run", "--config", str(daemon.config))
        said = second.stderr.decode()
        assert second.returncode == 74, said
        assert f"{daemon.database} is in use by another collectord (process {daemon.process.pid})" in said
        assert "Traceback" not in said
        daemon.send_udp([denied("198.51.100.1", number) for number in range(200)])
        daemon.wait_stored("udp", 200)
        daemon.stop()


@pytest.mark.e2e
def test_everything_wrong_at_once(tmp_path: Path) -> None:
    """
    One report of all that is wrong in all files, each with file and line; ``check`` and the daemon say the same.

    The configuration comes first: without it nobody knows which other files are meant.
    """
    daemon = Daemon(tmp_path, LISTENERS.replace("port = 0", 'port = "5514"', 1) + "[store]\nkeep_slots = 48\nkep = 1\n")
    config = daemon.config.read_text()
    problems = problems_of(daemon)
    assert [(problem["file"], problem["line"], problem["key"]) for problem in problems] == [
        (str(daemon.config), line_of(config, 'port = "5514"'), "listener[0].port"),
        (str(daemon.config), line_of(config, "keep_slots = 48"), "store.keep_slots"),
        (str(daemon.config), line_of(config, "kep = 1"), "store.kep"),
    ]
    assert all(problem["reason"] for problem in problems)

    (tmp_path / "profiles.d").mkdir()
    files = {
        "profiles.d/broken.toml": PROFILE,
        "profiles.d/other.toml": PROFILE_OF_ANOTHER_MIND,
        "rules.d/excessive-failures.toml": RULE,
        "watchlist.csv": WATCHLIST,
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    daemon.config.write_text(
        f'state_dir = "state"\nrules_dir = "rules.d"\nprofiles_dir = "profiles.d"\n'
        f'port_watchlist = "watchlist.csv"\n{LISTENERS}'
    )
    problems = problems_of(daemon)
    said = said_by_both(daemon)
    assert "Traceback" not in said
    for problem in problems:
        where = problem["file"] if problem["line"] is None else f"{problem['file']}:{problem['line']}"
        assert any(
            line.removeprefix("collectord: ").startswith(where) and problem["reason"] in line
            for line in said.splitlines()
        )
    places = {(str(Path(problem["file"]).relative_to(tmp_path)), problem["line"]) for problem in problems}
    assert places >= {
        ("profiles.d/broken.toml", line_of(PROFILE, "SrcIpAdr")),
        ("rules.d/excessive-failures.toml", line_of(RULE, "group_by")),
        ("rules.d/excessive-failures.toml", line_of(RULE, "severity")),
        ("watchlist.csv", 3),
        ("watchlist.csv", 4),
    }
    assert not daemon.database.exists()

    # A profile that loads, but does not read its sample as it says it does.
    (tmp_path / "profiles.d/broken.toml").unlink()
    (tmp_path / "rules.d/excessive-failures.toml").unlink()
    (tmp_path / "watchlist.csv").write_text("\n".join(WATCHLIST.splitlines()[:2]) + "\n")
    (tmp_path / "profiles.d/other.toml").write_text(PROFILE_OF_ANOTHER_MIND.replace("[[message]]\n", ""))
    problems = problems_of(daemon)
    assert {problem["file"] for problem in problems} == {str(tmp_path / "profiles.d/other.toml")}
    assert any('SrcIpAddr is "192.0.2.1", expected "192.0.2.2"' in problem["reason"] for problem in problems)


def line_of(text: str, piece: str) -> int:
    return next(number for number, line in enumerate(text.splitlines(), 1) if line.startswith(piece))


def problems_of(daemon: Daemon) -> list[dict[str, Any]]:
    """What ``check --json`` lists."""
    result = collectord_here("check", "--json", "--config", str(daemon.config))
    assert (result.returncode, result.stderr) == (78, b""), result
    report = json.loads(result.stdout)
    assert report["ok"] is False
    problems: list[dict[str, Any]] = report["problems"]
    return problems


def said_by_both(daemon: Daemon) -> str:
    """What ``check`` and ``run`` say: the same."""
    told, ran = (collectord(command, "--config", str(daemon.config)) for command in ("check", "run"))
    assert [told.returncode, ran.returncode] == [78, 78], (told, ran)
    assert told.stderr == ran.stderr
    return told.stderr.decode()
