"""What Prometheus is told: parsed by Prometheus' own library, with names and labels that stay bounded."""

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from collectord import __version__, plan
from collectord.clock import ManualClock
from collectord.config import Config
from collectord.errors import Problem
from collectord.inputs.stream import TcpListener
from collectord.inputs.udp import UdpListener
from collectord.metrics import Metrics
from collectord.model import OUTCOMES, Mode, Severity
from collectord.outputs.heartbeat import HeartbeatCounters
from collectord.reload import Reload
from collectord.store.figures import Figures
from collectord.tick_counters import DURATION_BOUNDS_S, TickCounters

START_S = 1_800_000_000
Labels = frozenset[tuple[str, str]]


def parsed(text: bytes) -> dict[str, dict[Labels, float]]:
    """By name of the sample and labels; the library refuses what is no exposition."""
    found: dict[str, dict[Labels, float]] = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            labels = frozenset(sample.labels.items())
            assert labels not in found.setdefault(sample.name, {}), f"{sample.name} twice"
            found[sample.name][labels] = sample.value
    return found


def of(**labels: str) -> Labels:
    return frozenset(labels.items())


class Parts:
    """A daemon with something in every figure."""

    def __init__(self, listeners: list[UdpListener | TcpListener], folder: Path) -> None:
        counters = TickCounters(
            ticks=3, duration_sum_ns=1_500_000_000, carried=4, store_failures=5, unstored_alerts=6, lost_alerts=7,
            refused={"a": 20, "b": 3}, shed_rows=8, clamped=9, not_quarantined=10, evicted={"port_volume": 11},
            without_key={}, exempted={}, raised={"excessive-failures": 12},
            active={(Severity.HIGH, Mode.NOTIFY): 13}, engine_bugs=14,
        )  # fmt: skip
        counters.durations[0], counters.durations[-1] = 2, 1
        seed = [rule for rule in plan.load(None).rules if rule.name in ("excessive-failures", "port-misuse")]
        self.tick = SimpleNamespace(
            counters=counters,
            figures=Figures(100, 200, {"noc": 14}, {("noc", "age"): 15, ("gone", "age"): 1}),
            outcomes={"udp": {"session": 16}},
            bytes={"udp": {"session": 1600}},
            limited=SimpleNamespace(now=({"peer": "192.0.2.9"},)),
            setup=plan.check(Config(state_dir=folder), seed),
        )
        listeners[0].received = 17
        output = SimpleNamespace(name="noc", certificate_end_s=START_S + 86400)
        self.worker = SimpleNamespace(
            output=output, up=True, counters=SimpleNamespace(delivered=18, failures=19), last_error=""
        )
        self.liveness = SimpleNamespace(loop_lag_s=0.25, problem=lambda: "")
        self.reloads: list[Reload] = []
        tick: Any = self.tick
        workers: Any = [self.worker]
        liveness: Any = self.liveness
        self.metrics = Metrics(
            ManualClock(START_S * 10**9),
            listeners,
            workers,
            tick,
            lambda: self.reloads[-1] if self.reloads else None,
            {"noc": HeartbeatCounters(sent=20, failed=21)},
            liveness,
        )

    @property
    def now(self) -> Mapping[str, Mapping[Labels, float]]:
        page = self.metrics.page()
        assert (page.status, page.content_type) == (200, "text/plain; version=0.0.4; charset=utf-8")
        return parsed(page.body)


@pytest.fixture
def parts(listeners: list[UdpListener | TcpListener], tmp_path: Path) -> Parts:
    return Parts(listeners, tmp_path)


def test_figures(parts: Parts) -> None:
    """Each in its place."""
    now = parts.now
    ((build, always),) = now["collectord_build_info"].items()
    assert (always, dict(build)["version"]) == (1, __version__)
    expected = {
        "start_time_seconds": (START_S, {}),
        "input_received_messages_total": (17, {"listener": "udp"}),
        "input_messages_total": (16, {"listener": "udp", "outcome": "session"}),
        "input_bytes_total": (1600, {"listener": "udp", "outcome": "session"}),
        "input_kernel_dropped_messages_total": (0, {"listener": "udp"}),
        "input_connections_limit": (5, {"listener": "tcp"}),
        "input_limited_peers": (1, {}),
        "tick_duration_seconds_sum": (1.5, {}),
        "tick_duration_seconds_count": (3, {}),
        "loop_lag_seconds": (0.25, {}),
        "store_carried_rows": (4, {}),
        "store_failures_total": (5, {}),
        "alerts_unstored": (6, {}),
        "alerts_lost_total": (7, {}),
        "alerts_refused_total": (23, {}),
        "store_shed_rows_total": (8, {}),
        "engine_bugs_total": (14, {}),
        "counter_clamped_records_total": (9, {}),
        "quarantine_skipped_messages_total": (10, {}),
        "counter_evicted_keys_total": (11, {"counter": "port_volume"}),
        "alerts_raised_total": (12, {"rule": "excessive-failures"}),
        "alerts_active": (13, {"severity": "high", "mode": "notify"}),
        "output_waiting_alerts": (14, {"output": "noc"}),
        "output_dropped_alerts_total": (15, {"output": "noc", "reason": "age"}),
        "output_up": (1, {"output": "noc"}),
        "output_delivered_alerts_total": (18, {"output": "noc"}),
        "output_failures_total": (19, {"output": "noc"}),
        "output_heartbeats_sent_total": (20, {"output": "noc"}),
        "output_heartbeats_failed_total": (21, {"output": "noc"}),
        "store_database_used_bytes": (100, {}),
        "store_database_file_bytes": (200, {}),
        "store_database_limit_bytes": (4 * 2**30, {}),
        "certificate_expiry_timestamp_seconds": (START_S + 86400, {"kind": "output", "name": "noc"}),
        "config_last_reload_successful": (1, {}),
    }
    assert {name: now[f"collectord_{name}"].get(of(**labels)) for name, (_, labels) in expected.items()} == {
        name: value for name, (value, _) in expected.items()
    }


def test_what_is_zero_is_there(parts: Parts) -> None:
    """An alert on a series that appears with its first event would never fire."""
    now = parts.now
    assert len(now["collectord_input_messages_total"]) == 2 * len(OUTCOMES)
    assert len(now["collectord_alerts_active"]) == 2 * len(Severity)
    assert set(now["collectord_alerts_raised_total"]) == {of(rule="excessive-failures"), of(rule="port-misuse")}
    assert set(now["collectord_output_dropped_alerts_total"]) == {of(output="noc", reason="age")}


def test_durations_are_a_histogram(parts: Parts) -> None:
    """Cumulative, with a last bucket that holds all."""
    buckets = parts.now["collectord_tick_duration_seconds_bucket"]
    assert buckets[of(le=str(DURATION_BOUNDS_S[0]))] == 2
    assert buckets[of(le=str(DURATION_BOUNDS_S[-1]))] == 2
    assert buckets[of(le="+Inf")] == 3


def test_names_follow_the_conventions(parts: Parts) -> None:
    """Prometheus, "Metric and label naming": a prefix, base units, `_total` for counters alone."""
    for family in text_string_to_metric_families(parts.metrics.page().body.decode()):
        if family.name.startswith(("process_", "python_")):
            continue
        assert re.fullmatch(r"collectord_[a-z_]+[a-z]", family.name)
        assert not re.search("milli|micro|kilo|mega|minutes|hours|_ms|_ns", family.name)
        assert (family.type == "counter") == all(sample.name.endswith("_total") for sample in family.samples)
        assert family.documentation.endswith(".")


def test_nothing_of_the_wire(parts: Parts) -> None:
    """Labels are of the configuration, the rules and closed lists; addresses and keys never."""
    labels = {name for samples in parts.now.values() for each in samples for name, _ in each}
    assert labels <= {
        "listener", "outcome", "output", "rule", "counter", "severity", "mode", "reason", "version", "engine", "kind",
        "name", "le",
    }  # fmt: skip
    assert b"192.0.2.9" not in parts.metrics.page().body


def test_an_output_that_was_never_tried(parts: Parts) -> None:
    """Neither up nor down."""
    parts.worker.up = None
    assert "collectord_output_up" not in parts.now
    parts.worker.up = False
    assert parts.now["collectord_output_up"] == {of(output="noc"): 0}


def test_without_a_certificate(parts: Parts) -> None:
    parts.worker.output.certificate_end_s = None
    assert "collectord_certificate_expiry_timestamp_seconds" not in parts.now


def test_a_refused_reload(parts: Parts) -> None:
    parts.reloads.append(Reload(START_S * 10**9, "ada", "", 0.1, (Problem("f", 1, "k", "r"),), 0))
    now = parts.now
    assert now["collectord_config_last_reload_successful"] == {of(): 0}
    assert now["collectord_config_last_reload_timestamp_seconds"] == {of(): START_S}


def test_the_process(parts: Parts) -> None:
    """What it takes; its start is ours to tell, as the library would look for it where the service may not."""
    now = parts.now
    assert now["process_resident_memory_bytes"][of()] > 10**6
    assert now["process_open_fds"][of()] > 2
    assert "process_start_time_seconds" not in now


def test_health(parts: Parts) -> None:
    page = parts.metrics.health()
    assert (page.status, page.body) == (200, b"ok\n")
    parts.liveness.problem = lambda: "no tick has ended for 16 s"
    page = parts.metrics.health()
    assert (page.status, page.body) == (503, b"no tick has ended for 16 s\n")


async def test_a_page_takes_no_time_of_the_loop(parts: Parts) -> None:
    """It may be made in any thread."""
    page = await asyncio.to_thread(parts.metrics.page)
    assert page.body.startswith(b"# HELP ")
