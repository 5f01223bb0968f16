"""What nobody can read: from the wire into the quarantine, a profile for it, and out again."""

import subprocess
import tomllib
from pathlib import Path

import pytest

from .daemon import LISTENERS, Daemon, collectord_here, denied, running

LINE = b"<134>Nov 22 08:15:13 gate-1 vendor=product src=192.0.2.10 dst=198.51.100.20 dport=%d action=%b"
HOSTILE = b"<13>Nov 22 08:15:13 gate-1 \x1b]0;owned\x07 [red]x[/] \xff\x00 nobody reads this"


def group(daemon: Daemon, start: str) -> dict[str, object]:
    """The one group of the quarantine whose messages start so."""
    (found,) = [each for each in daemon.objects("quarantine", "list") if each["shape"].startswith(start)]
    return found


def explained(daemon: Daemon, message: bytes) -> subprocess.CompletedProcess[bytes]:
    """What ``explain`` says of a message on its standard input."""
    result = collectord_here("explain", "--config", str(daemon.config), input=message)
    assert result.returncode == 0, result.stderr.decode()
    return result


@pytest.mark.e2e
def test_from_the_wire_to_a_profile(tmp_path: Path) -> None:
    """Unknown messages are kept, shown and explained; with a profile for them they leave the quarantine."""
    profiles = tmp_path / "profiles.d"
    profiles.mkdir()
    with running(tmp_path / "collector", f'profiles_dir = "{profiles}"\n{LISTENERS}') as daemon:
        messages = [LINE % (443, b"allow"), LINE % (80, b"allow"), LINE % (22, b"deny"), HOSTILE, denied("203.0.113.1")]
        daemon.send_udp(messages)
        found = daemon.wait_stored("udp", len(messages))
        assert found["outcomes"] == {"unparsed": 4, "session": 1}

        # Who sent it.
        (device,) = daemon.objects("devices")
        assert (device["name"], device["peer"], device["listener"]) == ("127.0.0.1", "127.0.0.1", "udp")
        assert (device["sessions"], device["events"], device["unparsed"]) == (1, 0, 4)
        assert (device["profile"], isinstance(device["clock_off_ms"], int)) == ("cisco-asa", True)
        assert b"127.0.0.1" in daemon.command("devices").stdout

        # What it was: three messages of one kind in two groups, and one that plays tricks.
        unread = group(daemon, "vendor=product")
        assert (unread["listener"], unread["peer"], unread["profile"]) == ("udp", "127.0.0.1", "")
        kept = {each["example"]: each["messages"] for each in daemon.objects("quarantine", "list")}
        assert sum(kept.values()) == 4
        number = str(unread["id"])
        raw = daemon.command("quarantine", "show", "--raw", number).stdout
        assert raw == messages[0]
        tricky = str(group(daemon, "?]0;owned")["id"])
        assert b"\x1b" not in daemon.command("quarantine", "list").stdout
        shown = daemon.command("quarantine", "show", tricky).stdout
        assert b"\x1b" not in shown
        assert b"\\x1b]0;owned\\x07 [red]x[/] \\xff" in shown
        assert b"none knows this message" in explained(daemon, raw).stdout

        # A profile for it, beside the running daemon; what explain makes of the example becomes a sample.
        profile = profiles / "gate.toml"
        profile.write_bytes(collectord_here("profile", "new", "gate").stdout)
        said = explained(daemon, raw).stdout.decode()
        assert "profile:  gate\n" in said
        assert "counts:   1 in port_volume under DstPortNumber=443, " in said
        with profile.open("a", encoding="utf-8") as file:
            file.write("\n" + said[said.index("[[sample]]") :])
        assert b"right, all samples as they should be" in daemon.command("profile", "check", str(profile)).stdout
        assert tomllib.loads(profile.read_text())["sample"][-1]["raw"].encode() == raw
        daemon.stop()

        # Without a daemon nothing is taken out.
        refused = collectord_here("quarantine", "replay", "--config", str(daemon.config))
        assert refused.returncode == 69
        assert b"the daemon does not run" in refused.stderr

        daemon.start()
        left = daemon.objects("quarantine", "replay")
        assert [(each["now"], each["by"]) for each in left] == [("session", "gate")] * (len(kept) - 1)
        assert sum(each["messages"] for each in left) == 3
        (rest,) = daemon.objects("quarantine", "list")
        assert str(rest["shape"]).startswith("?]0;owned")
        replayed = daemon.command("quarantine", "replay").stdout
        assert replayed == b"0 of 1 groups can be read now and left the quarantine\n"
        assert "taken out of the quarantine" in daemon.said()

        # Nothing was counted again, and what comes now is read.
        assert daemon.sums("failures_by_source", "SrcIpAddr") == {("203.0.113.1",): 1}
        daemon.send_udp([LINE % (22, b"deny")])
        daemon.wait_stored("udp", 1)
        assert daemon.sums("failures_by_source", "SrcIpAddr") == {("203.0.113.1",): 1, ("192.0.2.10",): 1}
        (device,) = daemon.objects("devices")
        assert (device["sessions"], device["unparsed"], device["profile"]) == (2, 4, "gate")
        daemon.stop()
