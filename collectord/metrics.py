"""
What the daemon counts, for Prometheus; and whether it makes progress, for health checks.

Everything comes from memory: nothing here reads the database, asks the store's thread or waits for a tick. Labels are
names of the configuration and of the rules, and words of closed lists; never what the wire says, so that a stranger
can't add a series.

Source: Prometheus, "Metric and label naming": base units, `_total` for what only rises.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Protocol, runtime_checkable

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from collectord import __version__
from collectord.clock import Clock
from collectord.engine import BUILD
from collectord.http_server import Page
from collectord.inputs.stream import TcpListener
from collectord.inputs.udp import UdpListener
from collectord.liveness import Liveness
from collectord.model import NS_PER_S, OUTCOMES, Mode, Severity
from collectord.outputs.delivery import DeliveryWorker
from collectord.outputs.heartbeat import HeartbeatCounters
from collectord.reload import Reload
from collectord.tick import Tick
from collectord.tick_counters import DURATION_BOUNDS_S

Listener = UdpListener | TcpListener
Samples = Iterable[tuple[Sequence[str], float]]


@runtime_checkable
class Certified(Protocol):
    """A listener or an output with a certificate of its own."""

    certificate_end_s: int | None


class Metrics(Collector):
    """
    Looks at the parts of a running daemon; changes nothing. Calls may come from any thread.

    Args:
        clock: The time.
        listeners: In the order of the configuration.
        workers: One for each output.
        tick: The pass.
        last_reload: What became of the newest change of the configuration.
        heartbeats: Signs of life, by output.
        liveness: Whether all of it makes progress.
    """

    def __init__(
        self,
        clock: Clock,
        listeners: Sequence[Listener],
        workers: Sequence[DeliveryWorker],
        tick: Tick,
        last_reload: Callable[[], Reload | None],
        heartbeats: Mapping[str, HeartbeatCounters],
        liveness: Liveness,
    ) -> None:
        self._listeners = listeners
        self._workers = workers
        self._tick = tick
        self._last_reload = last_reload
        self._heartbeats = heartbeats
        self._liveness = liveness
        self._started_s = clock.now_ns() / NS_PER_S
        # Of our own: the library's has more, and is shared by everything in the process.
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        _Process(registry=self._registry)

    def page(self) -> Page:
        """Everything as text; takes some ms."""
        return Page(generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4)

    def health(self) -> Page:
        """``ok``, or what stands still with the status 503; at once."""
        problem = self._liveness.problem()
        return Page(f"{problem or 'ok'}\n".encode(), status=503 if problem else 200)

    def collect(self) -> Iterator[Metric]:
        """The library's way to ask."""
        yield _gauge(
            "build_info", "Always 1; what runs is in the labels.", [((__version__, BUILD), 1)], "version engine"
        )
        yield _gauge("start_time_seconds", "When the daemon was started, since 1970.", [((), self._started_s)])
        yield from self._inputs()
        yield from self._ticks()
        yield from self._store()
        yield from self._alerts()
        yield from self._outputs()
        yield from self._configuration()

    def _inputs(self) -> Iterator[Metric]:
        yield _counter(
            "input_received_messages",
            "Messages that the listener took; once stored, each is in one outcome.",
            [((each.name,), each.received) for each in self._listeners],
            "listener",
        )
        for what, totals, words in (
            ("messages", self._tick.outcomes, "Messages by what became of them."),
            ("bytes", self._tick.bytes, "Their bytes."),
        ):
            of = {listener: dict(outcomes) for listener, outcomes in dict(totals).items()}
            samples = (
                ((each.name, outcome), of.get(each.name, {}).get(outcome, 0))
                for each in self._listeners
                for outcome in OUTCOMES
            )
            yield _counter(f"input_{what}", words, samples, "listener outcome")
        udp = [each for each in self._listeners if isinstance(each, UdpListener)]
        tcp = [each for each in self._listeners if isinstance(each, TcpListener)]
        yield _counter(
            "input_kernel_dropped_messages",
            "Datagrams that the kernel dropped because the receive buffer was full.",
            [((each.name,), each.kernel_drops()) for each in udp],
            "listener",
        )
        buffers = [((each.name,), each.receive_buffer_bytes) for each in udp]
        yield _gauge("input_receive_buffer_bytes", "Receive buffer that the kernel gave.", buffers, "listener")
        connections = [((each.name,), each.connections) for each in tcp]
        yield _gauge("input_connections", "Connections that are open.", connections, "listener")
        limits = [((each.name,), each.limit) for each in tcp]
        yield _gauge(
            "input_connections_limit", "Most connections at once (bounds.tcp_connections).", limits, "listener"
        )
        refused = [((each.name,), each.refused) for each in tcp]
        words = "Connections closed at once: too many, or their peer is not allowed."
        yield _counter("input_refused_connections", words, refused, "listener")
        limited = [((), len(self._tick.limited.now))]
        yield _gauge("input_limited_peers", "Peers over bounds.peer_rate now, UDP; 100 at most.", limited)

    def _ticks(self) -> Iterator[Metric]:
        counters = self._tick.counters
        duration = HistogramMetricFamily("collectord_tick_duration_seconds", "How long a pass took.")
        passes = [*accumulate(counters.durations)]
        bounds = [*(str(bound) for bound in DURATION_BOUNDS_S), "+Inf"]
        duration.add_metric((), list(zip(bounds, passes, strict=True)), counters.duration_sum_ns / NS_PER_S)
        yield duration
        lag = self._liveness.loop_lag_s
        yield _gauge("loop_lag_seconds", "How late the event loop came back, the last time.", [((), lag)])
        names = [definition.name for definition in self._tick.setup.definitions]
        for name, words, totals in (
            ("evicted_keys", "Keys that lost their place to others.", counters.evicted),
            ("sessions_without_key", "Sessions without the fields that the counter counts by.", counters.without_key),
            ("exempted_sessions", "Sessions that an exempt left out.", counters.exempted),
        ):
            yield _counter(f"counter_{name}", words, [((each,), totals.get(each, 0)) for each in names], "counter")
        words = "Bugs that the engine met outside of messages, and went on; of messages see the outcome panic."
        yield _counter("engine_bugs", words, [((), counters.engine_bugs)])
        words = "Records that claimed a larger EventCount than one may count for (bounds.event_count, limits of rules)."
        yield _counter("counter_clamped_records", words, [((), counters.clamped)])
        words = "Unread messages that the quarantine had no place for."
        yield _counter("quarantine_skipped_messages", words, [((), counters.not_quarantined)])

    def _store(self) -> Iterator[Metric]:
        counters, figures = self._tick.counters, self._tick.figures
        store = self._tick.setup.config.store
        yield _counter("store_failures", "Passes that could not write the database.", [((), counters.store_failures)])
        yield _gauge("store_carried_rows", "Rows that the last pass left for the next.", [((), counters.carried)])
        words = "Rows deleted before their time because the database was full (store.max_size)."
        yield _counter("store_shed_rows", words, [((), counters.shed_rows)])
        yield _gauge("store_database_used_bytes", "What the database holds.", [((), figures.used_bytes)])
        yield _gauge("store_database_file_bytes", "Its file, free pages included.", [((), figures.file_bytes)])
        yield _gauge("store_database_limit_bytes", "The most that it may hold.", [((), store.max_size_bytes)])

    def _alerts(self) -> Iterator[Metric]:
        counters = self._tick.counters
        active = counters.active
        modes = (Mode.NOTIFY, Mode.REPORT)
        samples = [((s.value, m.value), active.get((s, m), 0)) for s in Severity for m in modes]
        words = "Alerts that are active; mode report: stored and shown, not sent."
        yield _gauge("alerts_active", words, samples, "severity mode")
        rules = [rule.name for rule in self._tick.setup.rules if rule.mode is not Mode.OFF]
        raised = [((rule,), counters.raised.get(rule, 0)) for rule in rules]
        yield _counter("alerts_raised", "Alerts raised, those of mode report included.", raised, "rule")
        words = "Raises for which there was no place among the active alerts; a key counts again in each window."
        yield _counter("alerts_refused", words, [((), sum(counters.refused.values()))])
        words = "States of alerts that wait in memory for the database."
        yield _gauge("alerts_unstored", words, [((), counters.unstored_alerts)])
        words = "States of alerts given up because the database could not be written."
        yield _counter("alerts_lost", words, [((), counters.lost_alerts)])

    def _outputs(self) -> Iterator[Metric]:
        figures = self._tick.figures
        names = [worker.output.name for worker in self._workers]
        up = [((each.output.name,), float(each.up)) for each in self._workers if each.up is not None]
        yield _gauge("output_up", "Whether the last try went well; absent before the first.", up, "output")
        delivered = [((each.output.name,), each.counters.delivered) for each in self._workers]
        yield _counter("output_delivered_alerts", "States of alerts that the output took.", delivered, "output")
        failures = [((each.output.name,), each.counters.failures) for each in self._workers]
        yield _counter("output_failures", "Tries that failed.", failures, "output")
        waiting = [((name,), figures.waiting.get(name, 0)) for name in names]
        yield _gauge("output_waiting_alerts", "States of alerts that wait for the output.", waiting, "output")
        dropped = [(key, count) for key, count in figures.dropped.items() if key[0] in names]
        words = "States given up undelivered, since the database was made."
        yield _counter("output_dropped_alerts", words, dropped, "output reason")
        beats = dict(self._heartbeats)
        for name, words in (("sent", "Heartbeats sent."), ("failed", "Heartbeats that were not sent.")):
            samples = [((output,), getattr(counters, name)) for output, counters in beats.items()]
            yield _counter(f"output_heartbeats_{name}", words, samples, "output")
        parts: list[tuple[str, str, object]] = [("listener", each.name, each) for each in self._listeners]
        parts += [("output", worker.output.name, worker.output) for worker in self._workers]
        ends = [
            ((kind, name), part.certificate_end_s)
            for kind, name, part in parts
            if isinstance(part, Certified) and part.certificate_end_s is not None
        ]
        words = "When our own certificate ends, since 1970."
        yield _gauge("certificate_expiry_timestamp_seconds", words, ends, "kind name")

    def _configuration(self) -> Iterator[Metric]:
        reload = self._last_reload()
        taken = [((), 1.0 if reload is None or reload.taken else 0.0)]
        yield _gauge("config_last_reload_successful", "0: the changed configuration is refused.", taken)
        if reload is not None:
            words = "When a changed configuration was read last, since 1970."
            yield _gauge("config_last_reload_timestamp_seconds", words, [((), reload.at_ns / NS_PER_S)])


class _Process(ProcessCollector):
    """Memory, processor time and open files of the process, as all of Prometheus' libraries name them."""

    def collect(self) -> Iterator[Metric]:
        """Without the start, which would need /proc/stat: the service sees only processes (ProcSubset=pid)."""
        return (metric for metric in super().collect() if metric.name != "process_start_time_seconds")


def _gauge(name: str, words: str, samples: Samples, labels: str = "") -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"collectord_{name}", words, labels=labels.split())
    for values, value in samples:
        family.add_metric(values, value)
    return family


def _counter(name: str, words: str, samples: Samples, labels: str = "") -> CounterMetricFamily:
    """Its samples get the suffix ``_total``."""
    family = CounterMetricFamily(f"collectord_{name}", words, labels=labels.split())
    for values, value in samples:
        family.add_metric(values, value)
    return family
