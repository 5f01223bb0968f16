"""What is going on, in one object: the answer of ``collectord status`` from the running daemon."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cryptography.x509 import Certificate

from collectord import __version__
from collectord.certificates import TlsFiles, days_left
from collectord.clock import Clock
from collectord.detect.alerts import AlertStates
from collectord.engine import BUILD
from collectord.errors import CertificateError, StoreError
from collectord.inputs.stream import TcpListener
from collectord.inputs.tls import TlsListener
from collectord.inputs.udp import UdpListener
from collectord.model import NS_PER_S, rfc3339
from collectord.outputs.delivery import DeliveryWorker
from collectord.outputs.heartbeat import HeartbeatCounters
from collectord.outputs.log import LogOutput
from collectord.outputs.snmp import SnmpOutput
from collectord.outputs.syslog import SyslogOutput
from collectord.reload import Reload
from collectord.store.outbox import Outbox, OutboxCounts
from collectord.store.writer import Writer
from collectord.tick import Tick

STORE_LIMIT_S = 1.0
"""Most that an answer waits for the store's thread, which a long tick or a slow disk may keep busy."""


class DaemonStatus:
    """Looks at the parts of a running daemon; changes nothing."""

    def __init__(
        self,
        clock: Clock,
        listeners: Sequence[UdpListener | TcpListener],
        workers: Sequence[DeliveryWorker],
        tick: Tick,
        states: AlertStates,
        writer: Writer,
        outbox: Outbox,
        last_reload: Callable[[], Reload | None],
        heartbeats: Mapping[str, HeartbeatCounters] | None = None,
    ) -> None:
        self._clock = clock
        self._listeners = listeners
        self._workers = workers
        self._tick = tick
        self._states = states
        self._writer = writer
        self._outbox = outbox
        self._heartbeats = {} if heartbeats is None else heartbeats
        self._last_reload = last_reload
        self._asked: asyncio.Future[dict[str, OutboxCounts]] | None = None
        self._counts: dict[str, OutboxCounts] = {}
        self._counted_ns: int | None = None
        self._started_ns = clock.now_ns()
        self._started_mono_ns = clock.mono_ns()

    async def answer(self, arguments: dict[str, Any], user: int) -> dict[str, Any]:
        """
        Everything, as documented in the README; for the control socket.

        All of it is in memory but what waits in the outbox: where the store does not tell that in time, the answer has
        what it told last, and says so.
        """
        busy = not await self._count()
        certificates = await asyncio.to_thread(self._of_outputs)
        tick, standing = self._tick.counters, self._tick.standing
        setup = self._tick.setup
        until_ns = setup.config.learn_until_ns
        reload = self._last_reload()
        return {
            "version": __version__,
            "engine": BUILD,
            "running": True,
            "started": rfc3339(self._started_ns),
            "uptime_s": (self._clock.mono_ns() - self._started_mono_ns) // NS_PER_S,
            "reload": None if reload is None else reload.as_json(),
            "learn_until": rfc3339(until_ns) if until_ns > self._clock.now_ns() else None,
            "database": str(setup.config.database),
            "store": {
                "failing_s": standing.failing_s,
                "reason": standing.reason,
                "replaced": standing.replaced,
                "moved_to": None if standing.moved_to is None else str(standing.moved_to),
            },
            "listeners": [self._listener(listener) for listener in self._listeners],
            "store_busy": busy,
            "outbox_time": None if self._counted_ns is None else rfc3339(self._counted_ns),
            "limited_peers": list(self._tick.limited.now),
            "outputs": [
                {
                    "name": worker.output.name,
                    # One that tells nobody outside.
                    "local": isinstance(worker.output, LogOutput),
                    "up": worker.up,
                    "delivered": worker.counters.delivered,
                    "failures": worker.counters.failures,
                    **_of_outbox(self._counts.get(worker.output.name)),
                    "last_error": worker.last_error,
                    **self._heartbeat(worker.output.name),
                    **certificates.get(worker.output.name, {}),
                }
                for worker in self._workers
            ],
            "snmp": self._snmp(),
            "alerts": {
                "active": self._states.active_count,
                "refused": dict(tick.refused),
                "ailing": dict(tick.ailing),
            },
            "database_bytes": self._tick.figures.used_bytes,
            "tick": {
                "age_s": self._since_s(tick.ended_mono_ns),
                "ticks": tick.ticks,
                "under_way_ms": round(self._tick.under_way_ns() / 1e6, 3),
                "last_ms": round(tick.last_duration_ns / 1e6, 3),
                "longest_ms": round(tick.longest_duration_ns / 1e6, 3),
                "carried_rows": tick.carried,
                "store_failures": tick.store_failures,
                "unstored_alerts": tick.unstored_alerts,
                "lost_alerts": tick.lost_alerts,
                "not_quarantined": tick.not_quarantined,
                "clamped": tick.clamped,
                "shed_rows": tick.shed_rows,
                "engine_bugs": tick.engine_bugs,
            },
            "counters": [
                {
                    "name": definition.name,
                    "evicted": tick.evicted.get(definition.name, 0),
                    "without_key": tick.without_key.get(definition.name, 0),
                    "exempted": tick.exempted.get(definition.name, 0),
                }
                for definition in setup.definitions
            ],
        }

    def _since_s(self, mono_ns: int | None) -> int | None:
        """Whole seconds; None for what has not been yet."""
        return None if not mono_ns else (self._clock.mono_ns() - mono_ns) // NS_PER_S

    async def _count(self) -> bool:
        """Asks the store for the outbox; False if it does not answer in time, or can't read the database."""
        # One question at a time: those of many who ask while the store is busy must not fill its queue.
        if self._asked is None or self._asked.done():
            self._asked = await self._writer.ask(self._outbox.counts)
            if self._asked is None:
                return False
            # Also an answer that comes too late is the newest one.
            self._asked.add_done_callback(self._counted)
        asked = self._asked
        done, _ = await asyncio.wait([asked], timeout=STORE_LIMIT_S)
        return bool(done) and not asked.cancelled() and asked.exception() is None

    def _counted(self, asked: "asyncio.Future[dict[str, OutboxCounts]]") -> None:
        if asked.cancelled() or isinstance(asked.exception(), StoreError):
            return
        self._counts = asked.result()
        self._counted_ns = self._clock.now_ns()

    def _heartbeat(self, output: str) -> dict[str, int]:
        """Of an output that has heartbeats."""
        counters = self._heartbeats.get(output)
        return {} if counters is None else {"heartbeats": counters.sent, "heartbeats_failed": counters.failed}

    def _of_outputs(self) -> dict[str, dict[str, Any]]:
        """Our own certificates as their files are now, by output: those are read for each connection."""
        found: dict[str, dict[str, Any]] = {}
        for worker in self._workers:
            files = worker.output.files if isinstance(worker.output, SyslogOutput) else TlsFiles()
            try:
                leaf = files.own()
            except CertificateError:
                continue  # The output tells of it.
            if leaf is not None:
                shown = _certificate(files.cert_file, leaf, days_left(leaf, self._clock.now_ns()))
                found[worker.output.name] = {"certificate": shown}
        return found

    def _snmp(self) -> dict[str, Any] | None:
        """What receivers of SNMPv3 have to know of the engine that all SNMP outputs share; None without one."""
        for worker in self._workers:
            output = worker.output
            if isinstance(output, SnmpOutput) and (identity := output.engine_identity) is not None:
                return {
                    "engine_id": f"0x{identity.engine_id.hex()}",
                    "boots": identity.boots,
                    "ignored_datagrams": output.datagrams_ignored,
                }
        return None

    def _listener(self, listener: UdpListener | TcpListener) -> dict[str, Any]:
        host, port = listener.address
        outcomes = self._tick.outcomes.get(listener.name, {})
        common = {
            "name": listener.name,
            "host": host,
            "port": port,
            "addresses": [{"host": each, "port": port} for each, port in listener.addresses],
            "inherited": listener.inherited,
            "received": listener.received,
            "idle_s": self._since_s(self._tick.counters.message_mono_ns.get(listener.name)),
            "outcomes": outcomes,
        }
        if isinstance(listener, UdpListener):
            return {
                "type": "udp",
                **common,
                "kernel_drops": listener.kernel_drops(),
                "receive_buffer": listener.receive_buffer_bytes,
            }
        return {
            "type": listener.kind,
            **common,
            "connections": listener.connections,
            "limit": listener.limit,
            "refused": listener.refused,
            "refused_for": dict(sorted(listener.refusals.items())),
            "held_back": listener.held_back(),
            **(_handshakes(listener) if isinstance(listener, TlsListener) else {}),
        }

    def line(self) -> str:
        """One line for the service manager."""
        received = sum(listener.received for listener in self._listeners)
        dropped = sum(listener.kernel_drops() for listener in self._listeners if isinstance(listener, UdpListener))
        down = [worker.output.name for worker in self._workers if worker.up is False]
        parts = [
            f"{received} messages",
            f"{self._states.active_count} active alerts",
            f"{dropped} dropped by the kernel",
        ]
        if down:
            parts.append(f"down: {', '.join(down)}")
        if failing_s := self._tick.standing.failing_s:
            parts.append(f"database can't be written for {failing_s} s")
        reload = self._last_reload()
        if reload is not None and not reload.taken:
            parts.append(f"reload refused: {reload.count}")
        return ", ".join(parts)


def _handshakes(listener: TlsListener) -> dict[str, Any]:
    """What a TLS listener has beside what all stream listeners have."""
    own = listener.certificate
    shown = _certificate(own.loaded.files.cert_file, own.loaded.leaf, own.days_left)
    return {"handshakes": listener.handshakes, "certificate": {**shown, "error": own.error}}


def _certificate(path: Path | None, leaf: Certificate | None, days_left: int) -> dict[str, Any]:
    ends = None if leaf is None else rfc3339(int(leaf.not_valid_after_utc.timestamp()) * NS_PER_S)
    return {"file": str(path), "ends": ends, "days_left": days_left}


def _of_outbox(counts: OutboxCounts | None) -> dict[str, Any]:
    """What waits for an output, what was given up, and what it is told again once there is room."""
    if counts is None:
        return {"waiting": 0, "dropped": {}, "owed": 0}
    return {"waiting": counts.waiting, "dropped": dict(counts.dropped), "owed": counts.owed}
