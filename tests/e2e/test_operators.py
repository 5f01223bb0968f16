"""What an operator does by command: acknowledge, shelve, exempt, maintenance; and that a restart keeps it."""

import functools
import json
import os
import pwd
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .daemon import LISTENERS, Daemon, collectord_here, denied, running

RULE = """
name = "many"
title = "Many failures of {SrcIpAddr}"
type = "event_count"
counter = "failures_again"
where = { EventResult = "Failure" }
group_by = ["SrcIpAddr"]
timespan = "1h"
step = "1m"
condition = { gt = 4 }
clear = { after = "0s" }
mode = "notify"
severity = "medium"
unit = "failures"
"""
A, B = "203.0.113.1", "203.0.113.2"
ME = pwd.getpwuid(os.getuid()).pw_name


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with running(tmp_path / "collector", LISTENERS, {"many": RULE}) as daemon:
        yield daemon


def alert(daemon: Daemon, source: str = A) -> dict[str, Any]:
    """The alert about a source, whatever its state."""
    (found,) = [each for each in daemon.objects("alerts", "list", "--all") if each["key"]["SrcIpAddr"] == source]
    return found


def fail(daemon: Daemon, source: str = A, times: int = 5) -> None:
    daemon.send_udp([denied(source, number) for number in range(times)])


def wait_event(daemon: Daemon, event: str, source: str = A, mode: str = "notify") -> None:
    """Until the newest state of a source's alert is this one."""
    sql = "SELECT event, mode FROM alerts WHERE key LIKE ?"
    daemon.wait(lambda: daemon.rows(sql, f'%"{source}"%') == [(event, mode)], f"{source} {event} {mode}")


def sent(daemon: Daemon, source: str = A) -> list[str]:
    """What the output was given of a source's alert, in order."""
    found = daemon.rows(
        "SELECT o.event FROM outbox o JOIN alerts a ON a.id = o.alert_id WHERE a.key LIKE ? ORDER BY o.id",
        f'%"{source}"%',
    )
    return [event for (event,) in found]


@pytest.mark.e2e
def test_ack(daemon: Daemon) -> None:
    """Noted with who did it, shown with the alert, and still there after a restart."""
    fail(daemon)
    wait_event(daemon, "raised")
    found = alert(daemon)
    assert (found["ack"], found["shelved"], found["held"]) == (None, None, None)
    daemon.command("alerts", "ack", found["id"], "--note", "calling the branch")
    for _ in range(2):
        ack = alert(daemon)["ack"]
        assert (ack["who"], ack["reason"]) == (ME, "calling the branch")
        assert f"acknowledged by {ME}" in daemon.command("alerts", "show", found["id"]).stdout.decode()
        daemon.kill()
        daemon.start()
    (shown,) = daemon.objects("alerts", "show", found["id"])
    assert [(each["output"], each["event"], each["attempts"]) for each in shown["deliveries"]] == [("log", "raised", 1)]


@pytest.mark.e2e
def test_shelve(daemon: Daemon) -> None:
    """Nothing is sent while it is shelved, restart or not; unshelved, what changed is sent."""
    fail(daemon)
    wait_event(daemon, "raised")
    alert_id = alert(daemon)["id"]
    daemon.command("alerts", "shelve", alert_id, "--for", "2h", "--reason", "known scan")
    wait_event(daemon, "updated:2")
    daemon.stop()
    daemon.start()
    fail(daemon, times=50)
    wait_event(daemon, "updated:3")
    found = alert(daemon)
    assert (found["held"], found["shelved"]["who"], found["shelved"]["reason"]) == ("shelved", ME, "known scan")
    assert sent(daemon) == ["raised"]
    daemon.command("alerts", "unshelve", alert_id)
    wait_event(daemon, "updated:4")
    assert sent(daemon) == ["raised", "updated:4"]
    assert [each["what"] for each in daemon.objects("audit")] == ["alerts unshelve", "alerts shelve"]


@pytest.mark.e2e
def test_exempt(daemon: Daemon) -> None:
    """An active alert that becomes exempt clears, and is raised when the exempt is taken back."""
    for source in (A, B):
        fail(daemon, source)
        wait_event(daemon, "raised", source)
    (added,) = daemon.objects("exempt", "add", "many", f"SrcIpAddr={A}", "--reason", "our scanner", "--for", "2h")
    wait_event(daemon, "cleared")
    assert (alert(daemon)["reason"], sent(daemon)) == ("exempt: our scanner", ["raised", "cleared"])
    daemon.kill()
    daemon.start()
    daemon.wait_ticks(1)
    wait_event(daemon, "cleared")
    wait_event(daemon, "raised", B)
    (listed,) = daemon.objects("exempt", "list", "--rule", "many")
    assert listed == added
    daemon.command("exempt", "remove", str(added["number"]))
    wait_event(daemon, "raised")
    assert sent(daemon) == ["raised", "cleared", "raised"]
    assert alert(daemon)["episode"] == 2


@pytest.mark.e2e
def test_no_names_to_be_had(tmp_path: Path) -> None:
    """Nobody answers for documentation addresses: the alert is sent all the same, and nothing waits at the stop."""
    with running(tmp_path / "collector", f"{LISTENERS}[alerts]\nreverse_dns = true\n", {"many": RULE}) as daemon:
        for source in (A, B, "2001:db8::1"):
            fail(daemon, source)
            wait_event(daemon, "raised", source)
            daemon.wait(functools.partial(sent, daemon, source), f"{source} queued")
            assert (alert(daemon, source)["names"], sent(daemon, source)) == ({}, ["raised"])
        daemon.stop()
        assert "Traceback" not in daemon.said()


@pytest.mark.e2e
def test_maintenance(daemon: Daemon) -> None:
    """Alerts of the time are stored; what is still there at its end is sent."""
    (window,) = daemon.objects("maintenance", "add", "--all", "--for", "2h", "--reason", "core switch")
    fail(daemon)
    wait_event(daemon, "raised", mode="report")
    daemon.stop()
    daemon.start()
    daemon.wait_ticks(1)
    wait_event(daemon, "raised", mode="report")
    assert alert(daemon)["held"] == f"maintenance {window['number']}: core switch"
    assert sent(daemon) == []
    assert [each["reason"] for each in daemon.objects("maintenance", "list")] == ["core switch"]
    daemon.command("maintenance", "end", str(window["number"]))
    wait_event(daemon, "raised", mode="notify")
    assert sent(daemon) == ["raised"]
    assert daemon.objects("maintenance", "list") == []


@pytest.mark.e2e
def test_learning_and_storm(tmp_path: Path) -> None:
    """What is learned is told by key with what makes it quiet; over the cap it is stored and not sent."""
    folder = tmp_path / "collector"
    daemon = Daemon(folder, LISTENERS, {"many": RULE})
    learning = daemon.config.read_text()
    daemon.config.write_text(f"learn_until = 2125-01-01T00:00:00Z\n{learning}")
    try:
        daemon.start()
        fail(daemon)
        wait_event(daemon, "raised", mode="report")
        (learned,) = daemon.objects("learn")
        assert (learned["key"], learned["raises"], learned["learning"]) == ({"SrcIpAddr": A}, 1, True)
        assert learned["exempt"].startswith(f'[[exempt]]\nSrcIpAddr = "{A}"\n')
        assert learned["condition"] == "condition = { gt = 5 }"
        assert sent(daemon) == []
        daemon.stop()
        daemon.config.write_text(f"{learning}\n[alerts]\nstorm_cap = 1\n")
        daemon.start()
        wait_event(daemon, "raised", mode="notify")
        fail(daemon, B)
        wait_event(daemon, "raised", B, mode="report")
        daemon.stop()
        daemon.start()
        daemon.wait_ticks(1)
        assert alert(daemon, B)["held"].startswith("storm cap: 1 alerts of this rule were sent within 10 min")
        assert (sent(daemon), sent(daemon, B)) == (["raised"], [])
    finally:
        daemon.close()


@pytest.mark.e2e
def test_what_makes_no_sense(daemon: Daemon) -> None:
    """The daemon refuses, and says why; without it nothing is changed."""

    def refused(*words: str) -> tuple[int, str]:
        result = collectord_here(*words, "--config", str(daemon.config))
        return result.returncode, result.stderr.decode()

    assert refused("alerts", "ack", "none") == (64, "collectord: there is no alert none\n")
    status, text = refused("exempt", "add", "many", "DstPortNumber=445", "--reason", "r")
    assert (status, "don't say DstPortNumber" in text) == (64, True)
    status, text = refused("exempt", "add", "mny", "site=x", "--reason", "r")
    assert (status, "there is no rule 'mny'" in text) == (64, True)
    assert refused("maintenance", "end", "7")[0] == refused("exempt", "remove", "7")[0] == 64
    assert daemon.objects("audit") == []
    daemon.stop()
    for words in (
        ("alerts", "ack", "none"), ("alerts", "shelve", "none", "--for", "1h", "--reason", "r"),
        ("alerts", "unshelve", "none"), ("exempt", "add", "many", "site=x", "--reason", "r"), ("exempt", "remove", "1"),
        ("maintenance", "add", "--all", "--for", "1h", "--reason", "r"), ("maintenance", "end", "1"),
    ):  # fmt: skip
        assert refused(*words)[0] == 69
    assert json.loads(daemon.command("alerts", "--json").stdout or b"null") is None
