"""
Tells systemd how the daemon is doing.

Source: sd_notify(3), "Description" for the words and "Notes" for the transport: one datagram of ``NAME=value`` lines
to the AF_UNIX socket that ``$NOTIFY_SOCKET`` names; a leading ``@`` stands for the NUL of an abstract socket.
"""

import os
import socket
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

# STATUS= is one line for `systemctl status`; longer text is cut there anyway.
STATUS_BYTES = 512

US_PER_S = 1_000_000


class Notifier:
    """
    The way to the service manager; does nothing when there is none.

    No call raises or blocks: a manager that can't be reached must not stop the collector. Every call says whether
    the datagram was handed to the kernel.
    """

    def __init__(self, address: str | None, *, watchdog_s: float | None = None) -> None:
        """
        Inert until the first call.

        Args:
            address: ``$NOTIFY_SOCKET``; None or empty: no service manager.
            watchdog_s: The manager's patience in seconds; None: it does not watch.
        """
        self._address = _socket_address(address)
        self._socket: socket.socket | None = None
        self._status = ""
        self.watchdog_s = watchdog_s
        """The manager ends the daemon when no ``watchdog`` came for so long, in seconds; None: never."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ, *, pid: int | None = None) -> Self:
        """
        As systemd set it up for this process.

        Args:
            environment: Read for ``NOTIFY_SOCKET``, ``WATCHDOG_USEC`` and ``WATCHDOG_PID``; never changed.
            pid: Whose watchdog; by default this process'.
        """
        return cls(
            environment.get("NOTIFY_SOCKET"),
            watchdog_s=_watchdog_s(environment, os.getpid() if pid is None else pid),
        )

    @property
    def watchdog_interval_s(self) -> float | None:
        """How often to call ``watchdog``, in seconds: half the manager's patience (sd_watchdog_enabled(3))."""
        return None if self.watchdog_s is None else self.watchdog_s / 2

    def ready(self, status: str = "") -> bool:
        """Started, or done reloading; with a status line if there is one."""
        if not status:
            return self._send("READY=1")
        self._status = _one_line(status)
        return self._send("READY=1", f"STATUS={self._status}")

    def status(self, text: str) -> bool:
        """One line for ``systemctl status``; a line that did not change is not sent again."""
        line = _one_line(text)
        if line == self._status:
            return False
        self._status = line
        return self._send(f"STATUS={line}")

    def watchdog(self) -> bool:
        """Still alive; call it only when the parts that matter have made progress."""
        return self._send("WATCHDOG=1")

    def needs(self, seconds: float) -> bool:
        """Start or stop goes on for so long at least, in seconds, whatever the manager's limit is; may be repeated."""
        return self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * US_PER_S)}")

    def reloading(self) -> bool:
        """
        The configuration is being read again; ``ready`` ends it.

        Without the time stamp a ``Type=notify-reload`` unit waits until its start time-out.
        """
        # The protocol names the kernel's clock, whatever clock the rest of the daemon goes by.
        monotonic_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        return self._send("RELOADING=1", f"MONOTONIC_USEC={monotonic_us}")

    def stopping(self) -> bool:
        """On the way out."""
        return self._send("STOPPING=1")

    def close(self) -> None:
        """Let the socket go; may be called twice, and a later call opens it again."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, *lines: str) -> bool:
        if self._address is None:
            return False
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
                self._socket.setblocking(False)
            self._socket.sendto("\n".join(lines).encode(), self._address)
        except OSError:
            # Nobody listens, or the manager is behind: the next status says it all again.
            self._status = ""
            return False
        return True


def _socket_address(address: str | None) -> bytes | None:
    """The address as the kernel wants it; None for what is no AF_UNIX address (other families are not ours)."""
    if not address or address[0] not in "@/":
        return None
    path = os.fsencode(address)
    return b"\0" + path[1:] if address[0] == "@" else path


def _watchdog_s(environment: Mapping[str, str], pid: int) -> float | None:
    """The manager's patience in seconds, None if it does not watch or watches another process."""
    try:
        usec = int(environment.get("WATCHDOG_USEC", ""))
        watched = int(environment.get("WATCHDOG_PID", pid))
    except ValueError:
        return None
    return usec / US_PER_S if usec > 0 and watched == pid else None


def _one_line(text: str) -> str:
    """Blanks for line ends (each line of the datagram is a field of its own), cut to what is shown."""
    return " ".join(text.split()).encode()[:STATUS_BYTES].decode(errors="ignore")
