"""Rules, watchlist rows and exempts that change under active alerts, from one run of the daemon to the next."""

import json
from pathlib import Path
from typing import Any

import pytest

from collectord.detect.watchlist import COLUMNS

from .daemon import LISTENERS, Daemon, denied
from .test_operators import RULE

A, B = "203.0.113.1", "203.0.113.2"
EXEMPT = f'\n[[exempt]]\nSrcIpAddr = "{A}"\nreason = "our scanner"\n'
WEB = "8443,*,*,*,*,Detection,Static,7,High,Impact,Much on 8443,x"
DENIED = "8443,*,TCP,*,Deny,Detection,Static,8,Medium,Impact,Denied on 8443,x"
OTHER = "22,*,*,*,*,Detection,Static,1,Low,Impact,Shell,x"


def watch(daemon: Daemon, *rows: str) -> None:
    (daemon.folder / "ports.csv").write_text("\n".join((",".join(COLUMNS), *rows)) + "\n")


def states(daemon: Daemon) -> list[tuple[Any, ...]]:
    """(source or name of the row, event, why it cleared) of each alert."""
    found = daemon.rows("SELECT key, event, reason FROM alerts")
    named = [(json.loads(key), event, reason) for key, event, reason in found]
    return sorted((key.get("Name") or key["SrcIpAddr"], event, reason) for key, event, reason in named)


@pytest.mark.e2e
def test_what_loses_its_ground_clears_with_the_reason(tmp_path: Path) -> None:
    """And what does not is left alone: a row above it, its place in the file, another alert's exempt."""
    daemon = Daemon(tmp_path / "collector", LISTENERS, {"many": RULE})
    daemon.config.write_text(f'port_watchlist = "ports.csv"\n{daemon.config.read_text()}')
    rules = daemon.folder / "rules.d"
    watch(daemon, WEB, DENIED)
    try:
        daemon.start()
        daemon.send_udp([denied(source, number) for source in (A, B) for number in range(5)])
        daemon.wait(lambda: len(states(daemon)) == 4, "four alerts")
        ids = daemon.rows("SELECT id, episode, key FROM alerts ORDER BY id")
        everything = [(A, "raised", ""), (B, "raised", ""), ("Denied on 8443", "raised", "")]
        everything.append(("Much on 8443", "raised", ""))
        assert states(daemon) == everything

        daemon.stop()
        watch(daemon, OTHER, DENIED, WEB)
        (rules / "many.toml").write_text(RULE + EXEMPT)
        daemon.start()
        everything[0] = (A, "cleared", "exempt: our scanner")
        daemon.wait(lambda: states(daemon) == everything, "the exempt one to clear, and it alone")

        daemon.kill()
        watch(daemon, OTHER, DENIED)
        daemon.start()
        everything[3] = ("Much on 8443", "cleared", "the watchlist row was removed")
        daemon.wait(lambda: states(daemon) == everything, "the row's alert to clear, and it alone")

        daemon.kill()
        (rules / "many.toml").unlink()
        daemon.start()
        everything[1] = (B, "cleared", "the rule was removed")
        daemon.wait(lambda: states(daemon) == everything, "the rule's alert to clear, and it alone")
        daemon.wait_ticks(1)
        assert states(daemon) == everything
        assert daemon.rows("SELECT id, episode, key FROM alerts ORDER BY id") == ids
        sent = daemon.rows("SELECT event, count(*) FROM outbox GROUP BY event ORDER BY event")
        assert sent == [("cleared", 3), ("raised", 4)]
    finally:
        daemon.close()
