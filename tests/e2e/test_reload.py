"""A changed configuration while the daemon works: taken up without a loss, or refused whole."""

import json
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from .daemon import LISTENERS, Daemon, collectord_here, denied, ended, running, syslog_output
from .servers import PATIENCE_S

RULE = """
name = "many"
title = "Many failures of {{SrcIpAddr}}"
type = "event_count"
counter = "failures_again"
where = {{ EventResult = "Failure" }}
group_by = ["SrcIpAddr"]
timespan = "1h"
step = "1m"
condition = {{ gt = {above} }}
mode = "notify"
severity = "medium"
"""
A, B, C, D = (f"203.0.113.{number}" for number in range(1, 5))
BURST = 50
FAR = 1_000_000


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with running(tmp_path / "collector", LISTENERS, {"many": RULE.format(above=FAR)}) as daemon:
        yield daemon


def write(daemon: Daemon, above: int, rest: str = "") -> None:
    """The site's rule with another limit."""
    (daemon.folder / "rules.d" / "many.toml").write_text(RULE.format(above=above) + rest)


def last(daemon: Daemon) -> dict[str, Any]:
    """What the daemon says of its last reload."""
    found: dict[str, Any] | None = daemon.status()["reload"]
    return found or {}


def hang_up(daemon: Daemon) -> dict[str, Any]:
    """Reload by SIGHUP; what became of it."""
    before = last(daemon)
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait(lambda: last(daemon) != before, "the reload")
    return last(daemon)


def wait_event(daemon: Daemon, source: str, *events: str) -> dict[str, Any]:
    """Until the newest state of a source's alert is one of these; the alert."""
    sql = "SELECT event FROM alerts WHERE rule = 'many' AND key LIKE ?"
    daemon.wait(lambda: daemon.rows(sql, f'%"{source}"%') in [[(event,)] for event in events], f"{source} {events}")
    found = [each for each in daemon.objects("alerts", "list", "--all") if each["rule"] == "many"]
    (alert,) = [each for each in found if each["key"]["SrcIpAddr"] == source]
    return alert


@contextmanager
def traffic(daemon: Daemon) -> Iterator[dict[str, int]]:
    """Failures of A over UDP and of B over one TCP connection, one burst after the other; how many were sent."""
    sent = {"udp": 0, "tcp": 0}
    over = threading.Event()
    stream = daemon.connect()

    def send_udp() -> None:
        while not over.is_set():
            daemon.send_udp([denied(A, number) for number in range(BURST)])
            sent["udp"] += BURST

    def send_tcp() -> None:
        while not over.is_set():
            stream.sendall(ended([denied(B, number) for number in range(BURST)]))
            sent["tcp"] += BURST
            daemon.wait_received("tcp", sent["tcp"])

    threads = [threading.Thread(target=target) for target in (send_udp, send_tcp)]
    for thread in threads:
        thread.start()
    try:
        yield sent
    finally:
        over.set()
        for thread in threads:
            thread.join()
        with stream:
            assert daemon.listener("tcp")["connections"] == 1, "the connection of the beginning"


@contextmanager
def traffic_over_tcp(daemon: Daemon) -> Iterator[dict[str, int]]:
    """Failures of B over one connection, one burst after the other; how many were sent."""
    sent = {"tcp": 0}
    over = threading.Event()

    def send() -> None:
        while not over.wait(0.01):
            stream.sendall(ended([denied(B, number) for number in range(BURST)]))
            sent["tcp"] += BURST

    with daemon.connect() as stream:
        thread = threading.Thread(target=send)
        thread.start()
        try:
            yield sent
        finally:
            over.set()
            thread.join()
        assert daemon.listener("tcp")["connections"] == 1, "the connection of the beginning"


@pytest.mark.e2e
def test_during_traffic(daemon: Daemon) -> None:
    """Taken and refused ones, by signal and by command: no connection is lost, and every message is counted once."""
    others = RULE.format(above=FAR).replace("many", "others").replace("failures_again", "other_failures")
    with traffic(daemon) as sent:
        for above in range(FAR + 1, FAR + 4):
            before = dict(sent)
            write(daemon, above)
            assert hang_up(daemon)["taken"]
            # A counter that comes, counts something else, and goes.
            where = "Success" if above % 2 else "Failure"
            (daemon.folder / "rules.d" / "others.toml").write_text(others.replace('"Failure"', f'"{where}"'))
            daemon.command("reload")
            write(daemon, above, "severity = 5\n")
            assert collectord_here("reload", "--config", str(daemon.config)).returncode == 78
            (daemon.folder / "rules.d" / "others.toml").unlink()
            daemon.wait(lambda: all(sent[name] > before[name] for name in sent), "further bursts")  # noqa: B023
    for name, count in sent.items():
        assert daemon.wait_stored(name, count)["outcomes"] == {"session": count}
    sums = daemon.sums("failures_again", "SrcIpAddr")
    assert sums == {(A,): sent["udp"], (B,): sent["tcp"]}
    assert "Traceback" not in daemon.said()


@pytest.mark.e2e
def test_refused_whole(daemon: Daemon) -> None:
    """The last good one stays in force, `status` says so, and the mended one is taken."""
    write(daemon, 4)
    daemon.command("reload")
    daemon.send_udp([denied(A, number) for number in range(5)])
    wait_event(daemon, A, "raised")

    rule = daemon.folder / "rules.d" / "many.toml"
    write(daemon, 9, '[[exempt]]\nrole = "scanner"\n[[exempt]]\nSrcIpAddr = "203.0.113.300"\nreason = "ours"\n')
    (daemon.folder / "hosts.csv").write_text("CIDR,name,site,role,owner\nmars,x,,,\n")
    good = daemon.config.read_text()
    daemon.config.write_text(f'hosts = "hosts.csv"\n{good}')
    result = collectord_here("reload", "--config", str(daemon.config))
    assert (result.returncode, result.stdout) == (78, b"")
    lines = result.stderr.decode().splitlines()
    assert [line.partition(": ")[0] for line in lines] == [
        f"{daemon.folder}/hosts.csv:2", f"{rule}:13", f"{rule}:16", "collectord",
    ]  # fmt: skip
    told = last(daemon)
    assert (told["taken"], told["config"], len(told["problems"])) == (False, str(daemon.config), 3)
    assert json.loads(collectord_here("reload", "--json", "--config", str(daemon.config)).stdout)["taken"] is False
    shown = daemon.command("status").stdout.decode()
    assert "CONFIGURATION REFUSED" in shown
    assert f"{rule}:13: exempt[0].reason: expected a text that says why" in shown
    plugin = collectord_here("status", "--check", "--config", str(daemon.config))
    assert (plugin.returncode, plugin.stdout[:10]) == (1, b"WARNING - ")
    assert "configuration refused; what was in force stays so" in daemon.said()
    assert f"{rule}:13" in daemon.said()

    daemon.send_udp([denied(B, number) for number in range(5)])
    wait_event(daemon, B, "raised")

    (daemon.folder / "hosts.csv").write_text(f"CIDR,name,site,role,owner\n{A},nessus,,scanner,\n")
    write(daemon, 9, '[[exempt]]\nrole = "scanner"\nreason = "by order"\n')
    daemon.command("reload")
    assert wait_event(daemon, A, "cleared")["reason"] == "exempt: by order"
    assert wait_event(daemon, B, "cleared")["reason"] == "the rule's limit is now 9"
    daemon.send_udp([denied(C, number) for number in range(9)])
    daemon.wait_ticks(1)
    daemon.send_udp([denied(D, number) for number in range(10)])
    wait_event(daemon, D, "raised")
    assert daemon.rows("SELECT count(*) FROM alerts WHERE key LIKE ?", f'%"{C}"%') == [(0,)]

    rule.unlink()
    assert hang_up(daemon)["taken"]
    assert wait_event(daemon, D, "cleared")["reason"] == "the rule was removed"
    assert daemon.sums("failures_again", "SrcIpAddr") == {(A,): 5, (B,): 5, (C,): 9, (D,): 10}
    audited = [(each["what"], each["reason"]) for each in daemon.objects("audit")]
    assert ("reload", "taken") in audited
    assert ("reload", "refused: 3 problems") in audited


@pytest.mark.e2e
def test_what_needs_a_restart_is_named(daemon: Daemon) -> None:
    """And a configuration that is no TOML at all is told of, too."""
    good = daemon.config.read_text()
    write(daemon, 4)
    daemon.config.write_text(f"{good}[bounds]\nrows_per_tick = 1000\n")
    result = collectord_here("reload", "--config", str(daemon.config))
    assert result.returncode == 78
    assert b"bounds.rows_per_tick: was changed, which needs a restart" in result.stderr
    daemon.config.write_text(f"{good}[bounds\n")
    assert collectord_here("reload", "--config", str(daemon.config)).returncode == 78
    assert not hang_up(daemon)["taken"]
    daemon.config.write_text(good)
    daemon.send_udp([denied(A, number) for number in range(5)])
    daemon.wait_ticks(1)
    assert daemon.rows("SELECT count(*) FROM alerts WHERE rule = 'many'") == [(0,)]
    daemon.command("reload")
    wait_event(daemon, A, "raised")
    daemon.stop()
    assert collectord_here("reload", "--config", str(daemon.config)).returncode == 69


OUTPUT = '[[output]]\ntype = "log"\nname = "log"\n'


def listener(kind: str, name: str, port: int, rest: str = "") -> str:
    """The table of a listener."""
    return f'[[listener]]\ntype = "{kind}"\nname = "{name}"\nport = {port}\n{rest}'


def free_port(kind: socket.SocketKind) -> int:
    """One that nobody has at the moment."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.e2e
def test_listeners_and_outputs_change(tmp_path: Path) -> None:
    """While a connection goes on sending: new ones at once, or none; a removed one leaves nothing unread."""
    head = 'state_dir = "state"\nrules_dir = "rules.d"\n'
    kept = listener("tcp", "tcp", 0)
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind(("127.0.0.1", 0))
    receiver.settimeout(PATIENCE_S)
    siem = syslog_output("siem", receiver.getsockname()[1], "udp")
    tables, rules = kept + listener("udp", "udp", 0) + OUTPUT, {"many": RULE.format(above=4)}
    with receiver, running(tmp_path / "collector", tables, rules) as daemon:
        with traffic_over_tcp(daemon) as sent:
            daemon.send_udp([denied(A, number) for number in range(BURST)])
            second = listener("udp", "second", free_port(socket.SOCK_DGRAM), 'site = "north"\n')
            with socket.socket() as taken:
                taken.bind(("127.0.0.1", 0))
                taken.listen()
                daemon.config.write_text(head + kept + second + listener("tcp", "third", taken.getsockname()[1]) + siem)
                (problem,) = daemon.reload()["problems"]
                assert "listener third: tcp port" in problem["reason"]
                assert [each["name"] for each in daemon.status()["listeners"]] == ["tcp", "udp"]
            daemon.config.write_text(head + second + kept + siem)
            assert daemon.reload()["taken"]
            status = daemon.status()
            assert [each["name"] for each in status["listeners"]] == ["second", "tcp"]
            assert [each["name"] for each in status["outputs"]] == ["siem"]
            port = daemon.listener("second")["port"]
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                for number in range(BURST):
                    sender.sendto(denied(C, number), ("127.0.0.1", port))
            # At the output that came; an update of another alert may be before it.
            while C.encode() not in receiver.recv(10_000):
                pass
            daemon.config.write_text(head + kept + OUTPUT)
            assert daemon.reload()["taken"]
            (tmp_path / "collector" / "rules.d" / "many.toml").write_text(RULE.format(above=5))
            assert daemon.reload()["taken"]
        daemon.wait_stored("tcp", sent["tcp"])
        daemon.stop()
        found = dict(daemon.rows("SELECT listener, sum(messages) FROM ledger GROUP BY 1"))
        assert found == {"tcp": sent["tcp"], "udp": BURST, "second": BURST}
        assert daemon.rows("SELECT site, sum(EventCount) FROM failures_again WHERE SrcIpAddr = ? GROUP BY 1", C) == [
            ("north", BURST)
        ]
        assert "Traceback" not in daemon.said()
