"""
The engine meets a bug of its own while it hands over a batch: the daemon goes on, and nothing that was counted is lost.

A release build has no bug that a test could bring about. So the daemon's process is given one: ``sitecustomize``, which
Python imports first, puts a panic, as our own layer would pass it on, before the real call while a file is there.
"""

import contextlib
from pathlib import Path

import pytest

from .daemon import LISTENERS, Daemon, denied, syslog_output
from .servers import PATIENCE_S, rsyslogd

BUG = """\
import pathlib

from collectord import engine
from collectord.errors import EngineError

changes = engine.Engine.changes


def with_bug(self, now_ns):
    if pathlib.Path("bug").exists():
        raise EngineError("a bug that the test brings about")
    return changes(self, now_ns)


engine.Engine.changes = with_bug
"""


@pytest.mark.e2e
def test_a_batch_that_can_not_be_handed_over(tmp_path: Path) -> None:
    """The NOC hears of it, messages are received meanwhile, and all are stored when the bug is over."""
    source, folder = "192.0.2.1", tmp_path / "collector"
    (tmp_path / "noc").mkdir()
    with rsyslogd(tmp_path / "noc") as noc:
        daemon = Daemon(folder, LISTENERS + syslog_output("noc", noc.port, "udp"))
        (folder / "sitecustomize.py").write_text(BUG)
        daemon.prefix = ("env", f"PYTHONPATH={folder}")
        with contextlib.closing(daemon):
            daemon.start()
            daemon.send_udp([denied(source, number) for number in range(100)])
            daemon.wait_stored("udp", 100)

            (folder / "bug").touch()
            daemon.wait(lambda: daemon.status()["tick"]["engine_bugs"], "the bug to be met")
            daemon.send_udp([denied(source, number) for number in range(100, 300)])
            (told,) = noc.wait_for_lines(1, "listener=(engine)", 2 * PATIENCE_S)
            assert "messages-lost" in told
            assert "the engine met a bug and goes on; please report it" in daemon.said()
            assert "THE ENGINE MET A BUG" in daemon.command("status").stdout.decode()

            (folder / "bug").unlink()
            listener = daemon.wait_stored("udp", 300)
            daemon.stop()
    assert listener["outcomes"] == {"session": 300}
    assert daemon.sums("failures_by_source", "SrcIpAddr") == {(source,): 300}
