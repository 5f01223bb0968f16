"""
The certificate that a TLS listener shows: taken up anew when its files change, and watched for its end.

New handshakes get what the files hold; connections that are open keep what they have. Files that can't be used change
nothing, and are told of.
"""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog
from cryptography import x509

from collectord.certificates import TlsFiles, days_left
from collectord.errors import CertificateError

log = structlog.get_logger()

LOOKED_AT_EVERY_S = 1.0
"""Files are used once they were the same at two looks: a certificate and its key are not written at the same moment."""

WARNED_AT_DAYS = (1, 7, 30)
"""Days before its end at which a certificate is warned of; an expired one is told of, too."""

State = tuple[tuple[int, int, int] | None, ...]


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the files held."""

    files: TlsFiles
    clients: ssl.VerifyMode
    context: ssl.SSLContext
    leaf: x509.Certificate | None
    state: State
    """Of the files, to notice that they change."""


def load(files: TlsFiles, clients: ssl.VerifyMode) -> Loaded:
    """
    Read the files; takes some ms.

    Raises:
        CertificateError: one can't be used.
    """
    # Before they are read: what changes meanwhile is noticed.
    state = state_of(files)
    return Loaded(files, clients, files.server_context(clients), files.own(), state)


def state_of(files: TlsFiles) -> State:
    """What tells whether files were changed or put into another's place."""
    return tuple(_state(path) for path in files.paths)


def _state(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size, found.st_ino)


class OwnCertificate:
    """
    What is in force.

    Args:
        listener: Its name.
        loaded: What the files held just now.
        now_ns: Wall clock.
    """

    def __init__(self, listener: str, loaded: Loaded, now_ns: Callable[[], int]) -> None:
        self._listener = listener
        self._now_ns = now_ns
        self._warned_at: int | None = None
        self.loaded = loaded
        self.error = ""
        """Why the files as they are now are not used; empty: they are."""
        self._refused: State | None = None
        self._seen: State = loaded.state

    @property
    def days_left(self) -> int:
        """Whole days until it ends; negative once it has."""
        return 0 if self.loaded.leaf is None else days_left(self.loaded.leaf, self._now_ns())

    def use(self, loaded: Loaded) -> None:
        """From the next handshake on."""
        self.loaded, self.error, self._refused, self._seen = loaded, "", None, loaded.state

    async def watch(self) -> None:
        """Look at the files, and at the time, until cancelled."""
        while True:
            self._warn()
            await asyncio.sleep(LOOKED_AT_EVERY_S)
            await self._look()

    async def _look(self) -> None:
        before, self._seen = self._seen, state_of(self.loaded.files)
        if self._seen != before or self._seen in (self.loaded.state, self._refused):
            return
        in_force = self.loaded
        try:
            loaded = await asyncio.to_thread(load, in_force.files, in_force.clients)
        except CertificateError as error:
            self.error, self._refused = str(error), self._seen
            log.error("changed certificate is not used; the one before stays", listener=self._listener, err=self.error)
            return
        # A reload may have been faster.
        if self.loaded is in_force:
            self.use(loaded)
            log.info(
                "changed certificate is used from now on", listener=self._listener, path=str(loaded.files.cert_file)
            )

    def _warn(self) -> None:
        days = self.days_left
        at = next((limit for limit in (0, *WARNED_AT_DAYS) if days < limit), None)
        if at == self._warned_at:
            return
        self._warned_at = at
        path = str(self.loaded.files.cert_file)
        if at == 0:
            log.error("certificate has expired", listener=self._listener, path=path)
        elif at is not None:
            log.warning("certificate ends soon", listener=self._listener, path=path, reason=f"{days} days left")
