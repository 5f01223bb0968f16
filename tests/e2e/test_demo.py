"""``collectord demo`` for real: the daemon, the firewalls and their sockets, as a newcomer starts it."""

import json
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.e2e

COLLECTORD = (sys.executable, "-P", "-m", "collectord")


def started(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COLLECTORD, "demo", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8"
    )


def answer(*arguments: str) -> list[Any]:
    """The JSON objects that a command prints."""
    done = subprocess.run([*COLLECTORD, *arguments], capture_output=True, text=True, check=True, timeout=20)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
def test_alerts_show_within_20_s_and_commands_work(tmp_path: Path) -> None:
    began_s = time.monotonic()
    config = str(tmp_path / "collectord.toml")
    shown_after_s: dict[str, float] = {}
    commands, lines = [], []
    with started("--state", str(tmp_path), "--for", "14s") as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if found := re.search(r"(\S+): ([\d,]+) (failed connections|sessions) in 10 s \(limit ([\d,]+)\)", line):
                shown_after_s[found[4]] = time.monotonic() - began_s
                assert int(found[2].replace(",", "")) > int(found[4].replace(",", ""))
            if "more: " in line:
                commands.append(line.partition("more: ")[2])
            if len(commands) == 2 and "more: " in line:
                # From another terminal, while it runs.
                (status,) = answer("status", "--config", config, "--json")
                assert status["running"]
                assert status["alerts"]["active"] == 2
    text = "".join(lines)
    assert process.returncode == 0, text
    assert set(shown_after_s) == {"5,000", "1,000"}, text
    assert max(shown_after_s.values()) < 20, text

    # Every message is accounted for, and all were understood.
    sent, received, dropped = (
        int(re.findall(rf"^  {word} +([\d,]+)", text, re.MULTILINE)[0].replace(",", ""))
        for word in ("sent", "received", "dropped")
    )
    assert sent == received + dropped, text
    assert received > 10_000, text
    assert re.search(r"received .*: [\d,]+ session$", text, re.MULTILINE), text
    assert "2 raised, 0 cleared, 2 still active" in text

    # What was printed works afterwards, too.
    for printed in commands:
        shown = subprocess.run(shlex.split(printed), capture_output=True, text=True, check=True, timeout=20)
        assert "history:" in shown.stdout
    stored = {alert["rule"]: alert for alert in answer("alerts", "list", "--config", config, "--json")}
    assert set(stored) == {"excessive-failures", "port-misuse"}
    assert stored["excessive-failures"]["key"] == {"SrcIpAddr": "203.0.113.66"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ends_with_a_summary_when_told_to(tmp_path: Path, number: signal.Signals) -> None:
    with started("--state", str(tmp_path)) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "NORMAL" in line:
                process.send_signal(number)
                break
        rest = process.stdout.read()
    assert process.returncode == 0, rest
    assert "0 raised, 0 cleared, 0 still active" in rest
    assert not (tmp_path / "control.sock").exists()


def test_second_demo_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    with started("--state", str(tmp_path)) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "NORMAL" in line:
                break
        second = subprocess.run(
            [*COLLECTORD, "demo", "--state", str(tmp_path), "--for", "1s"], capture_output=True, text=True, timeout=20
        )
        process.send_signal(signal.SIGINT)
        process.stdout.read()
    assert second.returncode == 71
    assert "a demo runs in" in second.stderr
    assert process.returncode == 0
