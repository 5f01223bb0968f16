"""Ten passes of the benchmark's workload, counted by the daemon and by the reference reader: exactly the same."""

import importlib.util
import json
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from .daemon import Daemon, counted, ended, running

PASSES = 10

REFERENCE = Path(__file__).resolve().parents[1] / "reference"


def load(name: str) -> ModuleType:
    """A module of tests/reference, which is no package."""
    spec = importlib.util.spec_from_file_location(f"collectord_e2e_{name}", REFERENCE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # Dataclasses look their module up.
    spec.loader.exec_module(module)
    return module


reader = load("reader")
workload_differences = load("workload_differences")


@pytest.fixture
def workload(shared: Path) -> tuple[list[bytes], dict[str, Any]]:
    """The lines of one pass, and what their generator expects of it."""
    folder = shared / "bench"
    if not (folder / "workload.txt").is_file():
        pytest.skip(f"no workload: expected {folder / 'workload.txt'}")
    lines = (folder / "workload.txt").read_bytes().splitlines()
    return lines, json.loads((folder / "workload.expected.json").read_text("utf-8"))


def one_pass(sums: dict[tuple[Any, ...], int]) -> dict[tuple[Any, ...], int]:
    """What one of the equal passes has counted."""
    assert all(value % PASSES == 0 for value in sums.values())
    return {key: value // PASSES for key, value in sums.items()}


def check(daemon: Daemon, lines: list[bytes], expected: dict[str, Any]) -> None:
    """Tables, ledger and expectation agree."""
    failures = daemon.sums("failures_by_source", "SrcIpAddr")
    volume = daemon.sums("port_volume", "DstPortNumber", "NetworkProtocol", "NetworkDirection", "DvcAction")
    ours, others = reader.count(lines)
    assert failures == {key: PASSES * count for key, count in ours.items()}
    assert volume == {key: PASSES * count for key, count in others.items()}

    failures, volume = one_pass(failures), one_pass(volume)
    found = workload_differences.differences(lines, expected, reader.read, failures, volume)
    assert [] == [difference for difference in found if not difference.explained]
    assert (sum(failures.values()), len(failures)) == (391, 262)

    # Each message is one record here, so the tables know as many messages as were counted.
    (messages,) = daemon.rows("SELECT sum(messages) FROM failures_by_source")[0]
    assert messages == PASSES * sum(session_fails(line) for line in lines)


def session_fails(line: bytes) -> bool:
    session = reader.read(line)
    return session.counted and session.EventResult == "Failure"


@pytest.mark.e2e
def test_workload_over_udp(tmp_path: Path, workload: tuple[list[bytes], dict[str, Any]]) -> None:
    """Datagrams that are not lost on the way are counted exactly, and the status says that none was lost."""
    lines, expected = workload
    with running(tmp_path) as daemon:
        daemon.send_udp(lines * PASSES)
        listener = daemon.wait_stored("udp", PASSES * len(lines))

        assert listener["kernel_drops"] == 0
        assert listener["outcomes"] == {"session": PASSES * len(lines)}
        check(daemon, lines, expected)
        (shown,) = daemon.objects("status")
        assert shown["running"]
        # Nothing came since, so that it is idle for as long or longer.
        assert daemon.listener("udp", shown) == listener | {"idle_s": daemon.listener("udp", shown)["idle_s"]}
        assert daemon.listener("udp", shown)["idle_s"] >= listener["idle_s"]
        assert {counter["evicted"] for counter in shown["counters"]} == {0}
        daemon.stop()
        # What was counted is the same after the last tick.
        check(daemon, lines, expected)
        ledger = daemon.rows("SELECT * FROM ledger")
        assert ledger == [("udp", "session", PASSES * len(lines), PASSES * sum(map(len, lines)))]


@pytest.mark.e2e
def test_workload_over_tcp(tmp_path: Path, workload: tuple[list[bytes], dict[str, Any]]) -> None:
    """Frames of both kinds, on several connections at once."""
    lines, expected = workload
    with running(tmp_path) as daemon:
        streams = [counted(lines * 4), ended(lines * 3), ended(lines * 3, b"\0")]
        connections = [daemon.connect() for _ in streams]
        for start in range(0, max(map(len, streams)), 100_003):
            for connection, stream in zip(connections, streams, strict=True):
                connection.sendall(stream[start : start + 100_003])
        for connection in connections:
            connection.close()
        listener = daemon.wait_stored("tcp", PASSES * len(lines))

        assert Counter(listener["outcomes"]) == Counter({"session": PASSES * len(lines)})
        assert listener["refused"] == 0
        check(daemon, lines, expected)
        daemon.stop()
        check(daemon, lines, expected)
