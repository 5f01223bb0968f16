"""``collectord explain``."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from collectord.errors import ConfigError

DENIED = (
    '<164>Nov 22 2026 10:20:30 fw : %ASA-4-106023: Deny tcp src o:203.0.113.1/1 dst i:10.0.0.1/22 by access-group "a"'
)
ACME = "<13>vendor=product src=192.0.2.10 sport=40000 dst=198.51.100.20 dport=443 proto=tcp action=allow"
HOSTILE = ["\x1b]0;owned\x07", "\x9b2J", "[red]x[/red]", "[/]", "\u202e", "\x7f", "\u2028"]


@pytest.fixture
def own(config: Path, run: Any) -> Path:
    """A site's profile, ``my-firewall``, in use."""
    folder = config.parent / "profiles.d"
    folder.mkdir()
    path = folder / "my-firewall.toml"
    path.write_text(run("profile", "new", "my-firewall").stdout)
    config.write_text(f'profiles_dir = "profiles.d"\n{config.read_text()}')
    return path


def block(stdout: str) -> str:
    """The sample to paste."""
    return stdout[stdout.index("[[sample]]") :]


def pasted(result: Any, profile: Path) -> None:
    with profile.open("a", encoding="utf-8") as file:
        file.write("\n" + block(result.stdout).replace('name = ""', 'name = "pasted"'))


def is_safe(text: str) -> bool:
    return all(character.isprintable() or character == "\n" for character in text)


def test_each_step(run: Any) -> None:
    lines = run("explain", DENIED).stdout.splitlines()

    assert lines[:5] == [
        f"frame:    {len(DENIED)} bytes",
        "header:   facility 20, severity 4, timestamp Nov 22 2026 10:20:30, hostname fw, appname %ASA-4-106023",
        "profile:  cisco-asa",
        "outcome:  session",
        "session 1:",
    ]
    assert "  SrcIpAddr:                   203.0.113.1" in lines
    assert "  DvcAction:                   Deny" in lines
    assert "counts:   1 in failures_by_source under SrcIpAddr=203.0.113.1; judged by excessive-failures" in lines
    assert (
        "counts:   1 in port_volume under DstPortNumber=22, NetworkProtocol=TCP, NetworkDirection=Inbound, "
        "DvcAction=Deny; judged by port-anomaly, port-misuse"
    ) in lines


def test_standard_input(run: Any) -> None:
    """With the line end that an editor leaves there."""
    assert run("explain", input=DENIED.encode() + b"\r\n").stdout == run("explain", DENIED).stdout


def test_what_no_profile_knows(run: Any) -> None:
    result = run("explain", "hello")

    assert "no priority (PRI); none is invented" in result.stdout
    assert "none knows this message" in result.stdout
    assert "collectord profile new NAME" in result.stdout
    assert "outcome:  unparsed\n" in result.stdout
    assert "counts:" not in result.stdout


@pytest.mark.parametrize(
    ("message", "outcome"),
    [
        ("%ASA-4-106023: else", "unparsed: cisco-asa knows it by its start, but its text is not what the profile says"),
        ("%ASA-6-605005: Login permitted", "event: understood, but it tells of no session"),
        ("", "empty"),
        ("x" * 70_000, "too_long"),
    ],
)
def test_no_session(run: Any, message: str, outcome: str) -> None:
    result = run("explain", input=message.encode())

    assert f"outcome:  {outcome}\n" in result.stdout
    assert "counts:" not in result.stdout
    sample = tomllib.loads(block(result.stdout))["sample"][0]
    assert (sample["want"], sample["want_outcome"]) == ([], outcome.partition(":")[0])


def test_a_session_without_a_key(run: Any) -> None:
    message = "<163>%ASA-3-106010: Deny inbound protocol 47 src outside:203.0.113.1 dst inside:10.0.0.1"
    result = run("explain", message)

    assert "counts:   1 in failures_by_source" in result.stdout
    assert "counts:   not in port_volume: an address or port of its key is missing" in result.stdout


def test_the_counters_of_a_site(run: Any, config: Path) -> None:
    """The engine itself says what counts, by the site's rules and under the listener's site."""
    rules = config.parent / "rules.d"
    rules.mkdir()
    for name, where in (("port", "DstPortNumber = 22"), ("other", "DstPortNumber = 80"), ("all", "")):
        (rules / f"{name}-rule.toml").write_text(
            f'name = "{name}-rule"\ntitle = "{{SrcIpAddr}}"\ntype = "event_count"\ncounter = "{name}"\n'
            f'where = {{ {where} }}\ngroup_by = ["SrcIpAddr"]\ntimespan = "5m"\nstep = "1m"\n'
            'condition = { gt = 10 }\nseverity = "low"\n'
        )
    config.write_text(
        f'rules_dir = "rules.d"\n{config.read_text()}[[listener]]\ntype = "udp"\nname = "udp"\nsite = "north"\n'
    )
    result = run("explain", DENIED)

    counted = re.findall(r"counts:   1 in (\w+) under SrcIpAddr=203.0.113.1, site=north; judged by (.+)", result.stdout)
    assert sorted(counted) == [
        ("all", "all-rule"),
        ("failures_by_source", "excessive-failures"),
        ("port", "port-rule"),
    ]


def test_the_peer(run: Any) -> None:
    result = run("explain", "--peer", "192.0.2.9", DENIED)

    assert "  Dvc:                         192.0.2.9\n" in result.stdout
    assert tomllib.loads(block(result.stdout))["sample"][0]["peer"] == "192.0.2.9"


def test_a_relay(run: Any, own: Path) -> None:
    """Whose word about the device counts, and what it put in front."""
    config = own.parents[1] / "collectord.toml"
    config.write_text(f'relays = ["192.0.2.9"]\n{config.read_text()}')
    inner = "<164>Nov 22 2026 10:20:30 fw-01 : %ASA-4-106023: Deny udp src wan:192.0.2.1/1 dst lan:192.0.2.2/2"
    message = f'<13>Nov 22 10:20:31 log-01 {inner} by access-group "out"'

    relayed = run("explain", "--peer", "192.0.2.9", message).stdout
    direct = run("explain", "--peer", "192.0.2.9", message.partition("log-01 ")[2]).stdout
    stranger = run("explain", "--peer", "192.0.2.10", message).stdout

    front = "          the relay's own header, in front of the device's: timestamp Nov 22 10:20:31, hostname log-01\n"
    assert "peer:     192.0.2.9 is a configured relay: the header's host and time are the device's\n" in relayed
    assert front in relayed
    assert "timestamp Nov 22 2026 10:20:30, hostname fw-01," in relayed
    assert "  Dvc:                         fw-01\n" in relayed
    assert "is a configured relay" in direct
    assert front[:40] not in direct
    assert "peer:     192.0.2.10 is no configured relay: no host in a header names the device\n" in stranger
    assert "  Dvc:                         192.0.2.10\n" in stranger


@pytest.mark.parametrize("words", [(), ("--peer", "192.0.2.9")])
def test_the_sample_can_be_pasted(run: Any, own: Path, words: tuple[str, ...]) -> None:
    """Though the site has other networks, which samples do not depend on."""
    config = own.parents[1] / "collectord.toml"
    config.write_text(f'internal_networks = ["192.0.2.0/24"]\nrelays = ["192.0.2.9"]\n{config.read_text()}')
    result = run("explain", *words, ACME)
    assert "NetworkDirection:            Outbound" in result.stdout
    pasted(result, own)

    assert run("profile", "check", str(own)).exit_code == 0
    assert len(tomllib.loads(own.read_text())["sample"]) == 3


@pytest.mark.parametrize("text", [*HOSTILE, '"', "\\", "'''", '"""', "\t", "\ufffd", "\U0001f525", "\u00e9"])
def test_any_text_can_be_pasted(run: Any, own: Path, text: str) -> None:
    own.write_text(own.read_text().replace("[fields]", '[fields]\nNetworkRuleName = "rule"'))
    result = run("explain", f"{ACME} rule=\"{text}\" user='{text}'")
    pasted(result, own)
    check = run("profile", "check", str(own))

    assert (check.exit_code, check.stderr) == (0, "")
    assert text in tomllib.loads(block(result.stdout))["sample"][0]["raw"]


@pytest.mark.parametrize(
    "message",
    ["<13>vendor=product action=allow", "<13>vendor=product \xff"],
)
def test_what_is_no_session_can_be_pasted(run: Any, own: Path, message: str) -> None:
    pasted(run("explain", input=message.encode("latin-1")), own)

    assert run("profile", "check", str(own)).stderr == ""


@pytest.mark.parametrize("text", HOSTILE)
def test_the_wire_can_not_write_to_the_terminal(run: Any, own: Path, text: str) -> None:
    own.write_text(own.read_text().replace("[fields]", '[fields]\nNetworkRuleName = "rule"'))
    for message in (
        f'<13>1 2026-11-22T10:00:00Z h{text} a{text} p{text} m{text} [x@1 a="{text}"] {text}',
        f'{ACME} rule="{text}"',
        text,
    ):
        result = run("explain", message)
        assert result.exit_code == 0
        assert is_safe(result.stdout)
        assert "owned" not in result.stdout or "\\x1b]0;owned" in result.stdout or "001b]0;owned" in result.stdout


def test_bytes_that_are_no_text(run: Any) -> None:
    result = run("explain", input=b"<13>\xff\xfe\x00\x80 x")

    assert is_safe(result.stdout)
    assert "frame:    10 bytes" in result.stdout


def test_a_wrong_configuration(run: Any, config: Path) -> None:
    config.write_text("surprise = 1\n")
    with pytest.raises(ConfigError, match="surprise"):
        run("explain", DENIED)


@pytest.mark.parametrize(
    ("extension", "recovered"), [("src=192.0.2.1 act=deny", False), ("src=192.0.2.1 act=x=y", True)]
)
def test_a_message_that_does_not_keep_its_format(run: Any, extension: str, recovered: bool) -> None:
    result = run("explain", f"<13>CEF:0|Any|Thing|1|7|Name|5|dst=198.51.100.1 {extension}")

    assert ("it was read as well as it can be" in result.stdout) is recovered
