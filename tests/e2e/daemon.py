"""
The real daemon as a process of its own, and senders, for the end-to-end tests.

Everything is on loopback and below one folder. Tests wait for conditions that the daemon tells of itself (its control
socket, its database), never for time to pass.
"""

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from click.testing import CliRunner

from collectord import cli

from ..socket_holder import handing_over
from .servers import PATIENCE_S, wait_for

COMMAND = (sys.executable, "-P", "-m", "collectord")

LISTENERS = """
[[listener]]
type = "udp"
name = "udp"
port = 0

[[listener]]
type = "tcp"
name = "tcp"
port = 0
"""


def failures_rule(above: int, *, timespan: str = "5m", step: str = "1m", clear_after: str = "") -> str:
    """The shipped rule ``excessive-failures`` with another limit and window, as a file of ``rules.d``."""
    clear = f'clear = {{ after = "{clear_after}", below = 0.8 }}\n' if clear_after else ""
    return f"""
name = "excessive-failures"
title = "Excessive number of failed connections from {{SrcIpAddr}}"
type = "event_count"
counter = "failures_by_source"
where = {{ EventResult = "Failure" }}
group_by = ["SrcIpAddr"]
timespan = "{timespan}"
step = "{step}"
condition = {{ gt = {above} }}
{clear}mode = "notify"
severity = "medium"
unit = "failed connections"
"""


DATAGRAMS_AT_ONCE = 200
"""Fits a receive buffer of the kernel's default size, so that nothing is lost however busy the machine is."""


def collectord(*arguments: str, input: bytes = b"", **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run a command to its end."""
    return subprocess.run(
        [*COMMAND, *arguments],
        input=input,
        env=_environment() | environment,
        capture_output=True,
        timeout=3 * PATIENCE_S,
        check=False,
    )


def collectord_here(*arguments: str, input: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """
    The same without a process of its own, which takes half a second of work to load Python.

    For commands that ask a daemon or read its files. Those whose start, environment or end is looked at need
    ``collectord``.
    """
    # A command that is not on a terminal has 80 columns.
    environment: dict[str, str | None] = {"COLUMNS": "80"}
    environment |= {name: None for name in os.environ.keys() - _environment().keys()}
    status: object = 0
    with CliRunner().isolation(input, environment) as (stdout, stderr, _):
        with mock.patch.object(sys, "argv", ["collectord", *arguments]):
            try:
                cli.main()
            except SystemExit as end:
                status = end.code
        sys.stdout.flush()
        sys.stderr.flush()
        assert isinstance(status, int)
        return subprocess.CompletedProcess(arguments, status, stdout.getvalue(), stderr.getvalue())


def denied(source: str, number: int = 0) -> bytes:
    """An ASA's message that a connection of ``source`` was denied just now; ``number`` tells them apart."""
    ports = f"{1024 + number % 60_000} dst inside:10.0.0.5/8443"
    text = f'%ASA-4-106023: Deny tcp src outside:{source}/{ports} by access-group "outside_in" [0x0, 0x0]'
    return f"<164>{datetime.now(UTC):%b %d %Y %H:%M:%S} asa-edge-01 : {text}".encode()


def counted(messages: Sequence[bytes]) -> bytes:
    """A stream of octet-counted frames (RFC 6587 section 3.4.1)."""
    return b"".join(b"%d %b" % (len(message), message) for message in messages)


def ended(messages: Sequence[bytes], end: bytes = b"\n") -> bytes:
    """A stream of frames with a trailer (RFC 6587 section 3.4.2)."""
    return b"".join(message + end for message in messages)


def syslog_output(name: str, port: int, transport: str) -> str:
    """The table of an output."""
    return (
        f'[[output]]\ntype = "syslog"\nname = "{name}"\nhost = "127.0.0.1"\nport = {port}\ntransport = "{transport}"\n'
    )


def snmp_output(name: str, port: int) -> str:
    """The table of an output, version 2c with the community ``public``."""
    return f'[[output]]\ntype = "snmp"\nname = "{name}"\nhost = "127.0.0.1"\nport = {port}\ncommunity = "public"\n'


class Daemon:
    """
    A daemon with a folder of its own; it may be started again and again on the same state.

    Args:
        folder: Configuration, state, rules and log lie here.
        tables: TOML that follows the first keys: listeners and outputs.
        rules: The site's rules: file name without suffix -> TOML.
    """

    def __init__(self, folder: Path, tables: str = LISTENERS, rules: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.config = folder / "collectord.toml"
        self.database = folder / "state" / "collectord.db"
        self.socket = folder / "state" / "control.sock"
        self.log = folder / "log"
        (folder / "rules.d").mkdir(parents=True)
        for name, text in (rules or {}).items():
            (folder / "rules.d" / f"{name}.toml").write_text(text)
        self.config.write_text(f'state_dir = "state"\nrules_dir = "rules.d"\n{tables}')
        # There may be a community in it.
        self.config.chmod(0o640)
        self.held: dict[str, socket.socket] = {}
        """Sockets that it is handed at each start, by the name that their unit would give them."""
        self.prefix: tuple[str, ...] = ()
        """Stands before the command."""
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process that was started last."""
        assert self._process is not None
        return self._process

    def start(self) -> None:
        """Start, and wait until it answers."""
        command = [*self.prefix, *COMMAND, "run", "--config", str(self.config)]
        descriptors = [each.fileno() for each in self.held.values()]
        handed = {"LISTEN_FDS": str(len(descriptors)), "LISTEN_FDNAMES": ":".join(self.held)} if self.held else {}
        with self.log.open("ab") as sink:
            self._process = subprocess.Popen(
                handing_over(descriptors, command) if self.held else command,
                env=_environment() | handed,
                pass_fds=descriptors,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
            )
        # A busy machine takes its time to load Python.
        self.wait(lambda: self._ask("status") is not None, "the daemon to answer", 3 * PATIENCE_S)

    def stop(self) -> None:
        """End it gracefully (SIGTERM), and expect that it ends well."""
        self.process.send_signal(signal.SIGTERM)
        self.wait_end()

    def wait_end(self) -> None:
        """Until it has ended, as it was told to, and well."""
        assert self.process.wait(2 * PATIENCE_S) == 0, self.said()

    def kill(self) -> None:
        """End it without a warning (SIGKILL)."""
        self.process.kill()
        self.process.wait(PATIENCE_S)

    def close(self) -> None:
        """Whatever happened, nothing is left running."""
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def said(self) -> str:
        """Its log so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def status(self) -> dict[str, Any]:
        """What it says of itself, asked on the control socket."""
        answer = self._ask("status")
        assert answer is not None, self.said()
        return answer

    def reload(self) -> dict[str, Any]:
        """Have it read its files anew; what became of it."""
        answer = self._ask("reload")
        assert answer is not None, self.said()
        return answer

    def listener(self, name: str, status: dict[str, Any] | None = None) -> dict[str, Any]:
        """The part of the status about one listener."""
        (found,) = [each for each in (status or self.status())["listeners"] if each["name"] == name]
        return found

    def wait(self, condition: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> Any:
        """The condition's first true value; fails when it does not come, or when the daemon ends."""

        def looked_at() -> Any:
            if self.process.poll() is not None:
                pytest.fail(f"the daemon ended with {self.process.returncode}: {self.said()}")
            return condition()

        try:
            return wait_for(looked_at, what, patience_s)
        except pytest.fail.Exception as failure:
            failure.msg = f"{failure.msg}; it answers {self._ask('status')}; it said {self.said()}"
            raise

    def wait_received(self, name: str, count: int) -> None:
        """Until a listener has read so many messages since the start."""
        self.wait(lambda: self.listener(name)["received"] >= count, f"{name} to receive {count}")
        assert self.listener(name)["received"] == count

    def wait_stored(self, name: str, count: int) -> dict[str, Any]:
        """Until so many messages of a listener are in the database; returns the listener's status."""

        def stored() -> dict[str, Any] | None:
            status = self.status()
            found = self.listener(name, status)
            done = sum(found["outcomes"].values()) >= count and status["tick"]["carried_rows"] == 0
            return found if done else None

        found: dict[str, Any] = self.wait(stored, f"{count} messages of {name} to be stored")
        assert (found["received"], sum(found["outcomes"].values())) == (count, count)
        return found

    def wait_ticks(self, count: int) -> None:
        """Until so many more ticks have passed, the one that may be under way not counted."""
        until = self.status()["tick"]["ticks"] + count + 1
        self.wait(lambda: self.status()["tick"]["ticks"] >= until, f"{count} ticks", PATIENCE_S + 2 * count)

    def send_udp(self, messages: Sequence[bytes]) -> None:
        """Send datagrams, no faster than they are read."""
        listener = self.listener("udp")
        sent = listener["received"]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.connect(("127.0.0.1", listener["port"]))
            for start in range(0, len(messages), DATAGRAMS_AT_ONCE):
                batch = messages[start : start + DATAGRAMS_AT_ONCE]
                for message in batch:
                    sender.send(message)
                sent += len(batch)
                self.wait_received("udp", sent)

    def connect(self) -> socket.socket:
        """A connection to the TCP listener that the daemon has accepted."""
        listener = self.listener("tcp")
        stream = socket.create_connection(("127.0.0.1", listener["port"]), PATIENCE_S)
        self.wait(lambda: self.listener("tcp")["connections"] > listener["connections"], "the connection")
        return stream

    def send_tcp(self, stream: bytes) -> None:
        """Send a stream over a connection of its own."""
        with socket.create_connection(("127.0.0.1", self.listener("tcp")["port"]), PATIENCE_S) as sender:
            sender.sendall(stream)

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Read the database, as any program beside the daemon may."""
        with contextlib.closing(sqlite3.connect(f"{self.database.as_uri()}?mode=ro", uri=True)) as connection:
            return connection.execute(sql, values).fetchall()

    def sums(self, counter: str, *columns: str) -> dict[tuple[Any, ...], int]:
        """A counter's EventCount by key, added up over slots; no row may stand for others or be inexact."""
        assert self.rows(f"SELECT * FROM {counter} WHERE site <> '' OR error <> 0") == []
        keys = ", ".join(columns)
        found = self.rows(f"SELECT {keys}, sum(EventCount) FROM {counter} GROUP BY {keys}")
        return {row[:-1]: row[-1] for row in found}

    def command(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """Run a command with this daemon's configuration; it has to work."""
        result = collectord_here(*arguments, "--config", str(self.config))
        assert result.returncode == 0, result.stderr.decode()
        return result

    def objects(self, *arguments: str) -> list[dict[str, Any]]:
        """What a command with ``--json`` writes, an object a line."""
        return [json.loads(line) for line in self.command(*arguments, "--json").stdout.splitlines()]

    def _ask(self, command: str) -> dict[str, Any] | None:
        """
        An answer of the control socket, spoken to as its documentation says and not by our own client.

        None: nobody answers.
        """
        with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(ConnectionError, FileNotFoundError):
            client.settimeout(PATIENCE_S)
            client.connect(str(self.socket))
            client.sendall(json.dumps({"command": command}).encode() + b"\n")
            with client.makefile("rb") as stream:
                line = stream.readline()
            if line:
                answer = json.loads(line)
                assert answer["ok"], answer
                found: dict[str, Any] = answer["answer"]
                return found
        return None


@contextlib.contextmanager
def running(folder: Path, tables: str = LISTENERS, rules: dict[str, str] | None = None) -> Iterator[Daemon]:
    """A daemon that has been started; ended with the block."""
    daemon = Daemon(folder, tables, rules)
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.close()


def _environment() -> dict[str, str]:
    """Ours without what would reach into the daemon: systemd's and its own variables."""
    strange = (
        *("NOTIFY_SOCKET", "WATCHDOG_USEC", "STATE_DIRECTORY", "RUNTIME_DIRECTORY", "CREDENTIALS_DIRECTORY"),
        *("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "COLLECTORD_CONFIG"),
    )
    return {name: value for name, value in os.environ.items() if name not in strange}
