"""The reference reader reads what the samples say, and how it differs from the benchmark's expectation is known."""

import importlib.util
import json
import re
import sys
import tomllib
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent.parent
PROFILES = ("checkpoint-cef", "cisco-asa", "fortinet-fortigate", "generic-cef", "paloalto-panos")


def load(name: str) -> ModuleType:
    """A module of tests/reference, which is no package."""
    spec = importlib.util.spec_from_file_location(
        f"collectord_reference_{name}", REPOSITORY / "tests" / "reference" / f"{name}.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # Dataclasses look their module up.
    spec.loader.exec_module(module)
    return module


reader = load("reader")
workload_differences = load("workload_differences")


BEYOND = {
    # Other blades of Check Point, and a header with one bar too many.
    "two bars behind the version",
    "two bars behind the version, and a blank",
    "blade: IPS",
    "blade: Identity Awareness",
    "blade: URL Filtering",
    "blade: URL Filtering, newer vendor",
    # Names in place of addresses, and an older form of a message.
    "access group, both ends by name",
    "icmp built, no direction",
    # Records beside a session's own.
    "statistics of a session that goes on",
    "transaction of a proxy",
}
"""Samples that profiles read and the reader's tables do not speak of."""


def in_scope(profile: str, raw: str) -> bool:
    """Whether the reader's tables speak of the message: plain traffic records, and not all else that profiles read."""
    match profile:
        case "cisco-asa":
            found = re.search(r"%ASA-\d-(\d{6}): ", raw)
            return found is not None and found[1] in reader.ASA_MESSAGES
        case "fortinet-fortigate":
            return re.search(r'\btype="?traffic"?[ ]', raw) is not None
        case "paloalto-panos":
            return ",TRAFFIC," in raw
        case "checkpoint-cef":
            found = re.search(r"\bact=(\w+)", raw)
            return found is not None and found[1].lower() in reader.CHECKPOINT_ACTIONS
        case _:
            return re.search(r"\b(?:dpt|proto)=", raw) is not None


def samples() -> list[Any]:
    """Each profile's samples, but for the lines that the profile must not take."""
    found = []
    for name in PROFILES:
        profile = tomllib.loads((REPOSITORY / "collectord" / "profiles" / f"{name}.toml").read_text("utf-8"))
        taken = [each for each in profile["sample"] if each.get("match", True) and each["name"] not in BEYOND]
        found += [
            pytest.param(sample, id=f"{name}: {sample['name']}") for sample in taken if in_scope(name, sample["raw"])
        ]
    return found


def as_want(session: Any) -> dict[str, Any]:
    """A session of the reader with the names of a sample's ``want``; what is None is left out."""
    names = [name for name in session.__slots__ if name not in ("blocked", "counted")]
    fields = {name: getattr(session, name) for name in names if getattr(session, name) is not None}
    return {**fields, "AdditionalFields": {"blocked": session.blocked, "counted": session.counted}}


@pytest.mark.parametrize("sample", samples())
def test_reads_the_samples(sample: dict[str, Any]) -> None:
    """Two readings, made apart from each other, agree on every sample, in the fields that the reader knows."""
    session = reader.read(sample["raw"].encode())
    known = {*reader.Session.__slots__, "AdditionalFields"}
    expected = [{key: value for key, value in want.items() if key in known} for want in sample["want"]]

    actual = [] if session is None else [as_want(session)]
    assert expected == actual


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"<134>",
        b"\xff\xfe\x00",
        b"%ASA-6-302013: Built",
        b"CEF:0|a|b|c",
        b"CEF:0|a|b|c|d|e|f|",
        b"CEF:0|a|b|c|d|e|f|no key",
        b"1,2,3,TRAFFIC",
        b'1,2,3,TRAFFIC,"',
        b"<189>date=1 logid=1 subtype=forward vd=root type=traffic",
        b"<14>Nov 22 00:00:00 host sshd[1]: Accepted publickey for root from 192.0.2.1 port 22",
    ],
)
def test_never_raises(line: bytes) -> None:
    """Whatever comes from the wire reads as a session or as none."""
    session = reader.read(line)

    assert session is None or session.EventResult in ("NA", "Failure", "Success")


def test_direction() -> None:
    """By which ends are inside; unknown ends have none."""
    read = reader.read
    template = "<134>Nov 22 00:00:00 h CEF:0|v|p|1|1|n|1|proto=tcp src={} dst={}"
    pairs = {
        ("10.0.0.1", "192.0.2.1"): "Outbound",
        ("192.0.2.1", "172.16.0.1"): "Inbound",
        ("192.168.0.1", "fd00::1"): "Local",
        ("2001:db8::1", "192.0.2.1"): "External",
        ("192.0.2.1", "name"): "NA",
    }
    for (source, destination), direction in pairs.items():
        assert direction == read(template.format(source, destination).encode()).NetworkDirection


def test_counts_what_counts() -> None:
    """A hit count weighs, a teardown that worked and a start do not count, a port is needed for the volume only."""
    acl = "<166>Nov 22 2026 00:00:00 asa : %ASA-6-106100: access-list a denied tcp i/10.0.0.1(1024) -> o/192.0.2.1(23)"
    end = "<166>Nov 22 2026 00:00:00 asa : %ASA-6-302014: Teardown TCP connection 1 for o:192.0.2.1/23 to i:10.0.0.1/1"
    asa = "<166>Nov 22 2026 00:00:00 asa : %ASA-6-"
    lines = [
        acl + " hit-cnt 7 first hit [0x0, 0x0]",
        acl + " hit-cnt 9000000 300-second interval [0x0, 0x0]",
        end + " duration 0:00:01 bytes 1 TCP FINs",
        end + " duration 0:00:01 bytes 1 SYN Timeout",
        asa + "106014: Deny inbound icmp src o:192.0.2.9 dst i:10.0.0.1 (type 8, code 0)",
        asa + "106015: Deny TCP (no connection) from name/389 to 10.0.0.1/80 flags RST  on interface o",
    ]
    failures, volume = reader.count(line.encode() for line in lines)

    assert failures == {("10.0.0.1",): 7 + 1_000_000 + 1, ("192.0.2.9",): 1}
    assert volume == {
        (23, "TCP", "Outbound", "Deny"): 7 + 1_000_000,
        (23, "TCP", "Outbound", ""): 1,
        (80, "TCP", "NA", "Deny"): 1,
    }


@pytest.fixture
def workload(shared: Path) -> tuple[list[bytes], dict[str, Any]]:
    """The benchmark's lines and what it expects of one pass; recorded nowhere, made up by its generator."""
    folder = shared / "bench"
    if not (folder / "workload.txt").is_file():
        pytest.skip(f"no workload: expected {folder / 'workload.txt'}")
    lines = (folder / "workload.txt").read_bytes().splitlines()
    return lines, json.loads((folder / "workload.expected.json").read_text("utf-8"))


def test_workload_is_counted(workload: tuple[list[bytes], dict[str, Any]]) -> None:
    """One pass holds 391 failures of 262 sources by the vendors' tables."""
    lines, expected = workload
    failures, volume = reader.count(lines)

    assert expected["messages"] == len(lines) == sum(reader.read(line) is not None for line in lines)
    assert failures.total() == 391
    assert len(failures) == 262
    assert volume.total() == sum(reader.read(line).counted for line in lines)


def test_workload_differences_are_explained(workload: tuple[list[bytes], dict[str, Any]]) -> None:
    """What differs from the expectation differs for a reason that adds up, and no other reason is needed."""
    lines, expected = workload
    found = workload_differences.differences(lines, expected, reader.read, *reader.count(lines))
    total = next(difference for difference in found if difference.what == "failures")

    assert [] == [difference for difference in found if not difference.explained]
    assert (307, 391) == (total.expected, total.ours)
    assert dict(total.reasons) == {workload_differences.SERVER_RESET: 63, workload_differences.TCP_RESET: 21}
    reasons = {reason for difference in found for reason, _ in difference.reasons}
    singles = {single for reason in reasons for single in reason.split(" and ")}
    assert singles == {
        workload_differences.SERVER_RESET,
        workload_differences.TCP_RESET,
        workload_differences.WORKED,
    }


def test_an_unexplained_difference_shows(workload: tuple[list[bytes], dict[str, Any]]) -> None:
    """A failure too many, a record too few and a message not read are each found."""
    lines, expected = workload
    failures, volume = reader.count(lines)
    (source,), _ = failures.most_common(1)[0]
    key, _ = volume.most_common(1)[0]
    cases = [
        (lines, failures + Counter({(source,): 1}), volume),
        (lines, failures, volume - Counter({key: 1})),
        ([b"not understood", *lines[1:]], failures, volume),
    ]
    for some_lines, some_failures, some_volume in cases:
        found = workload_differences.differences(some_lines, expected, reader.read, some_failures, some_volume)

        assert any(not difference.explained for difference in found)
