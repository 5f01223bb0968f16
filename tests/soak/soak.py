"""
The daemon under mixed load for a time, while it is restarted, killed, reloaded and hindered; and what must hold then.

A fifth of the time goes to short runs that end by SIGTERM and SIGKILL in turn, the rest to one long run in which
configuration, database and receiver change under it. What is asserted:

* TCP: what was sent is what was counted; UDP: what was sent is what was counted and what the kernel dropped. To the
  message over every graceful end; a kill costs what came since the last tick and no more.
* received = the sum of outcomes = what the ledger in the database grew by, whenever the load rests.
* failures_by_source is exact for every source, and the counter of all sessions equals the ledger, also after a kill.
* Memory stays flat once it is warm, file descriptors are those of before, the log has no error that was not provoked.
* Every alert reaches its output (``collectord outbox verify``).
"""

import contextlib
import json
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ..e2e.daemon import LISTENERS, Daemon, syslog_output
from ..e2e.servers import PATIENCE_S
from .load import Load, Receiver

RATE_PER_S = 2_000
"""Ordinary messages; two and a half times as many while there is an attack."""

SHORT_SHARE = 0.2
"""Of the time for runs that are ended."""

SHORT_RUN_S = 15.0
SHORTEST_RUN_S = 2.0
"""A short run is this long, or a tenth of the whole."""

LOOK_EVERY_S = 1.0
TELL_EVERY_S = 5.0

WARM_UP_SHARE = 0.4
"""Of the long run, before memory has to be flat."""

SLOPE_FROM_S = 120.0
"""Of warm time, before a slope says anything."""

FILLING_S = 3_600.0
SLOPE_KIB_PER_MIN = 128.0
SLOPE_FILLING_KIB_PER_MIN = 2_048.0
"""
How fast memory may grow once it is warm; and within the first hour, while counters that look back an hour take up slot
after slot.
"""

MOST_RSS_MIB = 400.0
"""Whatever is done to it."""

TICK_S = 1.0
KILL_SLACK_S = 1.0
"""On top of a tick and the time it takes: for a machine that is busy with something else."""

PROVOKED = (
    "database can't be written; counting goes on in memory",
    "configuration refused; what was in force stays so",
    "wrong in the configuration",
)
"""Errors in the log that the soak asks for."""

UDP_DROPS_COLUMN = 12


@dataclass(slots=True)
class Figures:
    """What is told at the end."""

    sent: dict[str, int] = field(default_factory=lambda: {"udp": 0, "tcp": 0})
    counted: dict[str, int] = field(default_factory=lambda: {"udp": 0, "tcp": 0})
    kernel_drops: int = 0
    cost_of_kills: list[int] = field(default_factory=list)
    starts: int = 0
    graceful: int = 0
    reloads: int = 0
    refused: int = 0
    locks: int = 0
    outages: int = 0
    attacks: int = 0
    longest_tick_ms: float = 0.0
    rss_mib: list[tuple[float, float]] = field(default_factory=list)
    """(seconds since the long run's start, MiB)."""
    descriptors: list[int] = field(default_factory=list)
    """Whenever the load rested in the long run."""
    slope_kib_per_min: float | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """What the database holds."""

    ledger: dict[str, int]
    """Messages by listener."""
    sessions: int
    """Of them those that are sessions."""
    traffic: int
    """Sessions by the counter that takes all of them."""
    failures: dict[str, int]
    """By source; ``*`` is the rest."""

    @property
    def all_failures(self) -> int:
        """Of all sources."""
        return sum(self.failures.values())


class Soak:
    """
    Args:
        folder: For the daemon's files.
        lasts_s: How long all of it takes, starts and ends of the daemon not counted.
        tell: Where progress goes.
    """

    def __init__(self, folder: Path, lasts_s: float, tell: Callable[[str], None] = print) -> None:
        self.figures = Figures()
        self._lasts_s = lasts_s
        self._tell = tell
        self._receiver = Receiver()
        outputs = '[[output]]\ntype = "log"\nname = "log"\n' + syslog_output("noc", self._receiver.port, "tcp")
        self._daemon = Daemon(folder, LISTENERS + outputs)
        self._config = self._daemon.config.read_text()
        self._began_s = time.monotonic()
        self._told_s = 0.0
        self._runs = 0
        self._doing = ""
        self._load: Load | None = None

    def run(self) -> None:
        """All of it; fails with the reason."""
        try:
            short_s = max(SHORTEST_RUN_S, min(SHORT_RUN_S, self._lasts_s / 10))
            for number in range(max(2, round(self._lasts_s * SHORT_SHARE / short_s))):
                with self._running() as (load, before):
                    load.attack(number % 3 == 2)
                    self._watch(short_s)
                    if number % 2:
                        self._kill(load, before)
                    else:
                        self._end(load, before)
            with self._running() as (load, before):
                self._long_run(load, self._lasts_s * (1 - SHORT_SHARE))
                self._end(load, before)
            self._verify_outbox()
            self._check_log()
        finally:
            self._daemon.close()
            with contextlib.suppress(OSError):
                self._receiver.down()
        self._tell(self.summary())

    def summary(self) -> str:
        """What happened, in some lines."""
        all_of = self.figures
        rss = [mib for _, mib in all_of.rss_mib]
        slope = "too short to tell" if all_of.slope_kib_per_min is None else f"{all_of.slope_kib_per_min:+.0f} KiB/min"
        return "\n".join(
            [
                f"soak of {self._lasts_s:.0f} s: {all_of.starts} starts, {all_of.graceful} ends by SIGTERM, "
                f"{len(all_of.cost_of_kills)} by SIGKILL; {all_of.reloads} reloads, {all_of.refused} refused; "
                f"database locked {all_of.locks} times, receiver away {all_of.outages} times, {all_of.attacks} attacks",
                f"  sent      udp {all_of.sent['udp']:,}  tcp {all_of.sent['tcp']:,}",
                f"  counted   udp {all_of.counted['udp']:,} (kernel dropped {all_of.kernel_drops:,})  "
                f"tcp {all_of.counted['tcp']:,}",
                f"  kills cost {', '.join(map(str, all_of.cost_of_kills)) or 'nothing'} messages; "
                "graceful ends and reloads none",
                f"  memory    {rss[0]:.1f} MiB at first, {max(rss):.1f} at most, {rss[-1]:.1f} at last; "
                f"once warm {slope}",
                f"  files     {min(all_of.descriptors)} to {max(all_of.descriptors)} descriptors",
                f"  ticks     {all_of.longest_tick_ms:.0f} ms at most, while the database was locked included",
            ]
        )

    @contextlib.contextmanager
    def _running(self) -> Iterator[tuple[Load, Stored]]:
        """The daemon and the load on it, and what the database held before."""
        before = self._stored()
        self._runs += 1
        self._daemon.start()
        self.figures.starts += 1
        status = self._daemon.status()
        ports = {each["name"]: each["port"] for each in status["listeners"]}
        self._load = load = Load(ports, RATE_PER_S, self._runs)
        try:
            yield load, before
        finally:
            load.close()

    # --- what is done ---

    def _long_run(self, load: Load, lasts_s: float) -> None:
        began_s = time.monotonic()
        events = (self._attack, self._reload, self._lock, self._outage, self._refused, self._rest)
        pause_s = max(0.5, min(10.0, lasts_s / (4 * len(events))))
        number = 0
        self.figures.rss_mib.clear()
        self._rest(load)
        while time.monotonic() - began_s < lasts_s or number < len(events):
            self._watch(pause_s, began_s)
            self._doing = events[number % len(events)].__name__.strip("_")
            events[number % len(events)](load)
            self._doing = ""
            number += 1
        self._watch(pause_s, began_s)
        self._rest(load)
        self._check_memory(lasts_s)

    def _attack(self, load: Load) -> None:
        load.attack(True)
        self._watch(min(10.0, self._lasts_s / 10))
        load.attack(False)
        self.figures.attacks += 1

    def _reload(self, load: Load) -> None:
        """Another cap, and the rules' files looked at."""
        self.figures.reloads += 1
        cap = 30 + self.figures.reloads % 5
        self._daemon.config.write_text(f"{self._config}[alerts]\nstorm_cap = {cap}\n")
        assert self._hang_up()["taken"], "a right configuration was refused"

    def _refused(self, load: Load) -> None:
        self.figures.refused += 1
        self._daemon.config.write_text(f"{self._config}[alerts]\nstorm_cap = {-self.figures.refused}\n")
        assert not self._hang_up()["taken"], "a wrong configuration was taken up"
        self._daemon.config.write_text(self._config)
        assert self._hang_up()["taken"], "the configuration of before was refused"

    def _hang_up(self) -> dict[str, Any]:
        before = self._daemon.status()["reload"]
        self._daemon.process.send_signal(signal.SIGHUP)
        self._daemon.wait(lambda: self._daemon.status()["reload"] != before, "the reload", 3 * PATIENCE_S)
        found: dict[str, Any] = self._daemon.status()["reload"]
        return found

    def _lock(self, load: Load) -> None:
        """Another program holds the database for longer than the daemon waits for it."""
        self.figures.locks += 1
        with contextlib.closing(sqlite3.connect(self._daemon.database, isolation_level=None, timeout=30)) as other:
            other.execute("BEGIN IMMEDIATE")
            # What is in memory is told all the same.
            self._watch(min(7.0, self._lasts_s / 10))
            other.execute("ROLLBACK")
        self._daemon.wait(lambda: self._daemon.status()["tick"]["unstored_alerts"] == 0, "stored alerts")

    def _outage(self, load: Load) -> None:
        """The receiver of alerts is away while there are some, and comes back."""
        self.figures.outages += 1
        self._receiver.down()
        load.attack(True)
        self._watch(min(10.0, self._lasts_s / 10))
        load.attack(False)
        self._receiver.up()
        self._daemon.command("outbox", "retry")
        self._daemon.wait(lambda: self._waiting() == 0, "every alert to be delivered", 3 * PATIENCE_S)

    def _waiting(self) -> int | None:
        """Entries in the outbox; None while the store is too busy to tell."""
        status = self._daemon.status()
        return None if status["store_busy"] else sum(int(output["waiting"]) for output in status["outputs"])

    def _rest(self, load: Load) -> None:
        """Nothing is sent for a moment, and all figures must agree."""
        load.rest()

        def settled() -> bool:
            status = self._daemon.status()
            return status["tick"]["carried_rows"] == 0 and all(
                self._came(load, name, status) == load.sent(name)
                and sum(self._daemon.listener(name, status)["outcomes"].values())
                == self._daemon.listener(name, status)["received"]
                for name in ("udp", "tcp")
            )

        self._daemon.wait(settled, f"received = outcomes = sent ({self._of(load)})", 3 * PATIENCE_S)
        self._check_descriptors()
        load.go()

    def _of(self, load: Load) -> str:
        return ", ".join(f"{name} {load.sent(name)}" for name in ("udp", "tcp"))

    def _came(self, load: Load, name: str, status: dict[str, Any]) -> int:
        """Read, or dropped by the kernel."""
        listener = self._daemon.listener(name, status)
        return int(listener["received"]) + int(listener.get("kernel_drops", 0))

    def _end(self, load: Load, before: Stored) -> None:
        """SIGTERM right behind the last message; nothing may be lost."""
        port = self._daemon.listener("udp")["port"]
        load.stop()
        assert load.broken() == [], "a connection broke while the daemon ran"
        drops = _udp_drops(port)
        self._daemon.stop()
        self.figures.graceful += 1
        after = self._stored()
        sent = {"udp": load.sent("udp") - drops, "tcp": load.sent("tcp")}
        counted = {name: after.ledger.get(name, 0) - before.ledger.get(name, 0) for name in sent}
        assert counted == sent, f"a graceful end lost messages: counted {counted}, sent {sent}"
        self._note(load, counted, drops)
        self._check_exact(after)
        expected = load.failures()
        got = after.all_failures - before.all_failures
        if drops == 0:
            assert got == expected.total(), f"failures_by_source: counted {got}, sent {expected.total()}"
            wrong = {
                source: (after.failures.get(source, 0) - before.failures.get(source, 0), count)
                for source, count in expected.items()
                if after.failures.get(source, 0) - before.failures.get(source, 0) != count
            }
            assert wrong == {}, f"failures_by_source, (counted, sent): {wrong}"

    def _kill(self, load: Load, before: Stored) -> None:
        """SIGKILL in the middle; it may cost what came since the last tick."""
        port = self._daemon.listener("udp")["port"]
        status = self._daemon.status()
        tick, killed_s = status["tick"], time.monotonic()
        drops = _udp_drops(port)
        self._daemon.kill()
        load.stop()
        after = self._stored()
        # Stored is what the last whole pass took, as of its beginning; another one may have been under way.
        allowed_s = TICK_S + (tick["longest_ms"] + tick["under_way_ms"]) / 1000 + KILL_SLACK_S
        counted = {name: after.ledger.get(name, 0) - before.ledger.get(name, 0) for name in ("udp", "tcp")}
        for name, found in counted.items():
            due = load.sent_by(name, killed_s - allowed_s) - (drops if name == "udp" else 0)
            most = load.sent(name) + load.unsure(name)
            assert due <= found <= most, f"a kill: counted {found} of {name}, expected {due} to {most}"
            stored = sum(self._daemon.listener(name, status)["outcomes"].values())
            assert stored <= found, f"a kill: {stored} of {name} were said to be stored, {found} are"
        self._check_exact(after)
        cost = load.sent("udp") - drops + load.sent("tcp") - sum(counted.values())
        got, expected = after.all_failures - before.all_failures, load.failures().total()
        most = expected + load.unsure("udp") + load.unsure("tcp")
        assert expected - cost <= got <= most, f"failures_by_source after a kill: {got}, sent {expected}, lost {cost}"
        self.figures.cost_of_kills.append(cost)
        self._note(load, counted, drops)

    # --- what must hold ---

    def _check_exact(self, stored: Stored) -> None:
        assert stored.traffic == stored.sessions, (
            f"the counter of all sessions holds {stored.traffic}, the ledger {stored.sessions}"
        )

    def _note(self, load: Load, counted: dict[str, int], drops: int) -> None:
        for name, count in counted.items():
            self.figures.sent[name] += load.sent(name)
            self.figures.counted[name] += count
        self.figures.kernel_drops += drops

    def _check_memory(self, lasts_s: float) -> None:
        samples = self.figures.rss_mib
        most = max(mib for _, mib in samples)
        assert most <= MOST_RSS_MIB, f"memory: {most:.1f} MiB, expected at most {MOST_RSS_MIB:.0f}"
        warm_s = max(WARM_UP_SHARE * lasts_s, FILLING_S if lasts_s > 2 * FILLING_S else 0.0)
        warm = [(at_s, mib) for at_s, mib in samples if at_s >= warm_s]
        if not warm or warm[-1][0] - warm[0][0] < SLOPE_FROM_S:
            return
        self.figures.slope_kib_per_min = slope = _slope(warm) * 1024 * 60
        some = ", ".join(f"{mib:.1f}" for _, mib in warm[:: len(warm) // 20 or 1])
        most_slope = SLOPE_KIB_PER_MIN if warm_s >= FILLING_S else SLOPE_FILLING_KIB_PER_MIN
        assert slope <= most_slope, (
            f"memory grows by {slope:.0f} KiB a minute, expected at most {most_slope:.0f}; MiB: {some}"
        )

    def _check_descriptors(self) -> None:
        """
        As many as the first time, and one more: the connection to the receiver.

        What is open for a moment (a file that is read, our own question on the control socket) is waited out.
        """
        limit = (self.figures.descriptors or [len(self._open_files())])[0] + 1
        found = self._open_files()
        deadline_s = time.monotonic() + PATIENCE_S
        while len(found) > limit and time.monotonic() < deadline_s:
            time.sleep(0.1)
            found = self._open_files()
        assert len(found) <= limit, f"open files: expected at most {limit}, got {sorted(found)}"
        self.figures.descriptors.append(len(found))

    def _open_files(self) -> list[str]:
        found = []
        for each in self._proc("fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                found.append(str(each.readlink()))
        return found

    def _verify_outbox(self) -> None:
        """The daemon's own check of its deliveries, on a daemon that is asked nothing else."""
        self._daemon.start()
        self.figures.starts += 1
        self._daemon.wait(lambda: self._waiting() == 0, "every alert to be delivered", 3 * PATIENCE_S)
        self._daemon.command("outbox", "verify")
        self._daemon.stop()
        self.figures.graceful += 1

    def _check_log(self) -> None:
        strange = []
        for line in self._daemon.said().splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                strange.append(line)  # A traceback, say.
                continue
            wrong = entry["level"] in ("error", "critical") or "exception" in entry
            if wrong and "summary" not in entry and entry["event"] not in PROVOKED:
                strange.append(line)
        assert strange == [], "errors in the log that nothing here provoked:\n" + "\n".join(strange[:20])

    # --- looking ---

    def _watch(self, lasts_s: float, long_run_s: float | None = None) -> None:
        """Time passes; looked at once a second."""
        until_s = time.monotonic() + lasts_s
        while (now_s := time.monotonic()) < until_s:
            time.sleep(min(LOOK_EVERY_S, until_s - now_s))
            assert self._daemon.process.poll() is None, f"the daemon ended: {self._daemon.said()[-2000:]}"
            assert self._load is not None
            assert self._load.broken() == [], "a connection broke while the daemon ran"
            rss = self._rss_mib()
            if long_run_s is not None:
                self.figures.rss_mib.append((time.monotonic() - long_run_s, rss))
            if time.monotonic() - self._told_s >= TELL_EVERY_S:
                self._told_s = time.monotonic()
                self._progress(rss)

    def _progress(self, rss: float) -> None:
        assert self._load is not None
        status = self._daemon.status()
        tick = status["tick"]
        self.figures.longest_tick_ms = max(self.figures.longest_tick_ms, tick["longest_ms"])
        received = sum(each["received"] for each in status["listeners"])
        drops = sum(each.get("kernel_drops", 0) for each in status["listeners"])
        self._tell(
            f"{time.monotonic() - self._began_s:6.0f} s  run {self._runs}  sent {self._of(self._load)}  "
            f"received {received}  dropped {drops}  active alerts {status['alerts']['active']}  rss {rss:.1f} MiB  "
            f"tick {tick['last_ms']:.0f}/{tick['longest_ms']:.0f} ms  {self._doing}"
        )

    def _proc(self, name: str) -> Path:
        return Path(f"/proc/{self._daemon.process.pid}/{name}")

    def _rss_mib(self) -> float:
        """Resident memory (proc(5), ``VmRSS`` in KiB)."""
        lines = self._proc("status").read_text(encoding="utf-8", errors="replace").splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:"))

    def _stored(self) -> Stored:
        if not self._daemon.database.exists():
            return Stored({}, 0, 0, {})
        rows = self._daemon.rows
        return Stored(
            ledger=dict(rows("SELECT listener, sum(messages) FROM ledger GROUP BY listener")),
            sessions=rows("SELECT coalesce(sum(messages), 0) FROM ledger WHERE outcome = 'session'")[0][0],
            traffic=rows("SELECT coalesce(sum(EventCount), 0) FROM traffic")[0][0],
            failures={
                ("*" if site == "*" else source): count
                for site, source, count in rows(
                    "SELECT site, SrcIpAddr, sum(EventCount) FROM failures_by_source GROUP BY site, SrcIpAddr"
                )
            },
        )


def _slope(samples: list[tuple[float, float]]) -> float:
    """Of the straight line that fits best."""
    mean_x = sum(x for x, _ in samples) / len(samples)
    mean_y = sum(y for _, y in samples) / len(samples)
    spread = sum((x - mean_x) ** 2 for x, _ in samples)
    return sum((x - mean_x) * (y - mean_y) for x, y in samples) / spread if spread else 0.0


def _udp_drops(port: int) -> int:
    """Datagrams that the kernel dropped on a socket of 127.0.0.1 (proc(5), ``/proc/net/udp``, last column)."""
    with open("/proc/net/udp", encoding="ascii") as stream:
        rows = [line.split() for line in stream.readlines()[1:]]
    found = [int(row[UDP_DROPS_COLUMN]) for row in rows if int(row[1].rpartition(":")[2], 16) == port]
    if not found:
        pytest.fail(f"no socket on UDP port {port}")
    return sum(found)
