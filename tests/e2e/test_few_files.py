"""The process may open few files: connections are refused or wait, and nobody else notices."""

import contextlib
import os
import resource
import socket
from pathlib import Path

import pytest

from .daemon import LISTENERS, Daemon, counted, denied
from .servers import PATIENCE_S

FILES = 100
ROOM = 50
"""Half is left to others."""
SENT = 80


def worked_s(daemon: Daemon) -> float:
    """Processor time that it took so far (proc(5), /proc/pid/stat: 14 and 15)."""
    fields = Path(f"/proc/{daemon.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def open_files(daemon: Daemon) -> int:
    return len(os.listdir(f"/proc/{daemon.process.pid}/fd"))


@pytest.mark.e2e
def test_more_connections_than_files(tmp_path: Path) -> None:
    """Who finds no room is closed at once, and counted; UDP, store and commands have their files."""
    daemon = Daemon(tmp_path, LISTENERS)
    daemon.prefix = ("sh", "-c", f'ulimit -n {FILES} && exec "$@"', "sh")
    with contextlib.closing(daemon), contextlib.ExitStack() as stack:
        daemon.start()
        assert "fewer files may be open than connections are allowed" in daemon.said()
        assert daemon.listener("tcp")["limit"] == ROOM
        address = ("127.0.0.1", daemon.listener("tcp")["port"])
        peers = [stack.enter_context(socket.create_connection(address, PATIENCE_S)) for _ in range(SENT)]
        daemon.wait(lambda: daemon.listener("tcp")["refused"] == SENT - ROOM, "the others to be refused")
        assert daemon.listener("tcp")["connections"] == ROOM
        worked = worked_s(daemon)
        for peer in peers:
            with contextlib.suppress(ConnectionError):
                peer.sendall(counted([denied("192.0.2.1", number) for number in range(10)]))
        daemon.wait_received("tcp", 10 * ROOM)
        daemon.send_udp([denied("192.0.2.2", number) for number in range(300)])
        daemon.wait_stored("udp", 300)
        daemon.wait_ticks(1)
        assert worked_s(daemon) - worked < 1, "it waits, it does not spin"
        for peer in peers:
            peer.close()
        daemon.wait(lambda: daemon.listener("tcp")["connections"] == 0, "all connections to end")
        daemon.send_tcp(counted([denied("192.0.2.1", number) for number in range(100)]))
        daemon.wait_stored("tcp", 10 * ROOM + 100)

        # Now somebody else takes the last file: commands are not answered either, all that is open goes on.
        udp = ("127.0.0.1", daemon.listener("udp")["port"])
        resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, (open_files(daemon), FILES))
        with socket.create_connection(address, PATIENCE_S) as peer, socket.socket(type=socket.SOCK_DGRAM) as sender:
            peer.sendall(counted([denied("192.0.2.1", number) for number in range(50)]))
            daemon.wait(lambda: "no more files may be open" in daemon.said(), "the lack to be told")
            worked = worked_s(daemon)
            for number in range(200):
                sender.sendto(denied("192.0.2.2", number), udp)
            ledger = "SELECT sum(messages) FROM ledger WHERE listener = 'udp'"
            daemon.wait(lambda: daemon.rows(ledger) == [(500,)], "UDP to be stored")
            assert worked_s(daemon) - worked < 1, "it waits, it does not spin"
            resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, (FILES, FILES))
            daemon.wait_stored("tcp", 10 * ROOM + 150)
        daemon.stop()
        assert daemon.said().count("no more files may be open") <= 2
        assert daemon.sums("failures_by_source", "SrcIpAddr") == {
            ("192.0.2.1",): 10 * ROOM + 150,
            ("192.0.2.2",): 500,
        }
        assert "Traceback" not in daemon.said()
