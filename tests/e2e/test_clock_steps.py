"""
Somebody sets the machine's clock, by an hour either way: what is counted and told stays right.

libfaketime shows the daemon another wall clock than ours, and leaves the monotonic one alone, as a step does.
"""

import contextlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from .daemon import LISTENERS, Daemon, denied, failures_rule, syslog_output
from .servers import Server, find_library, rsyslogd

ABOVE = 10


class SteppedDaemon(Daemon):
    """One whose wall clock can be set."""

    def __init__(self, folder: Path, tables: str) -> None:
        library = find_library("libfaketime.so.1")
        super().__init__(folder, tables, {"excessive-failures": failures_rule(ABOVE)})
        self._offset = folder / "offset"
        self._show(0)
        # Files keep their real times; the daemon compares none of them with its clock.
        given = {"FAKETIME_NO_CACHE": "1", "DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1"}
        given |= {"LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(self._offset)}
        self.prefix = ("env", *(f"{name}={value}" for name, value in given.items()))
        self._sent = 0

    def _show(self, ahead_s: int) -> None:
        beside = self._offset.with_suffix(".new")
        beside.write_text(f"{ahead_s:+d}\n")
        beside.replace(self._offset)

    def step_to(self, ahead_s: int) -> None:
        """From now on the wall clock is so far ahead of ours; returns when the daemon goes by it."""
        self._show(ahead_s)
        self.wait(lambda: _near(self.status()["outbox_time"], ahead_s), "the step to be followed")

    def fail(self, source: str, count: int) -> None:
        """So many failures of a source; returns when they are stored, and judged with that."""
        self.send_udp([denied(source, self._sent + number) for number in range(count)])
        self._sent += count
        self.wait_stored("udp", self._sent)


def _near(shown: str, ahead_s: int) -> bool:
    """Whether that is a time of just now by a clock that is so far ahead of ours."""
    return abs(datetime.fromisoformat(shown) - datetime.now(UTC) - timedelta(seconds=ahead_s)) < timedelta(minutes=1)


@pytest.mark.e2e
def test_by_an_hour_and_back(tmp_path: Path) -> None:
    """What came before a step and after it is no one window; each failure is counted once, and alerts go on."""
    sources = {"192.0.2.1": 3600, "192.0.2.2": 0}
    (tmp_path / "noc").mkdir()
    with rsyslogd(tmp_path / "noc") as noc:
        daemon = SteppedDaemon(tmp_path / "collector", LISTENERS + syslog_output("noc", noc.port, "udp"))
        with contextlib.closing(daemon):
            daemon.start()
            for source, ahead_s in sources.items():
                daemon.fail(source, ABOVE)
                daemon.step_to(ahead_s)
                daemon.fail(source, ABOVE)
                daemon.wait_ticks(1)
                assert daemon.rows("SELECT * FROM alerts WHERE key LIKE ?", f"%{source}%") == []
                daemon.fail(source, 1)
                assert _near(_told(noc, source), ahead_s)
            said, store = daemon.said(), daemon.status()["store"]
            daemon.stop()
    assert "wall clock was stepped; open windows start anew" in said
    assert (store["failing_s"], store["replaced"]) == (0, 0)
    assert daemon.sums("failures_by_source", "SrcIpAddr") == {(source,): 2 * ABOVE + 1 for source in sources}
    assert daemon.rows("PRAGMA integrity_check") == [("ok",)]


def _told(noc: Server, source: str) -> str:
    """When, as our own clock saw it, the NOC was told of a source."""
    messages = [json.loads(line) for line in noc.wait_for_lines(1, f"SrcIpAddr={source}")]
    return str(messages[0]["timestamp"])
