"""
Every exception of the product.

    CollectordError
    +-- ConfigError          something an administrator wrote is wrong; holds every Problem; exit 78
    +-- EnvironmentProblem   the machine does not give what we need; fatal only at start
    |   +-- ListenError      an address is in use or not ours; exit 71 (77 without permission)
    |   +-- StoreError       the database can't be opened, read or written; exit 74
    |   |   +-- DamagedError its content is broken; a new one can be started
    |   |   +-- FullError    there is no room for more; there may be again
    |   +-- InputError       a log file can't be read; exit 66 if it can't be opened, else 74
    |   +-- DeliveryError    an output could not hand over an alert; retried, never fatal
    |   +-- CertificateError a certificate, a key or a CA file can't be used
    |   +-- SecretError      a file with a secret can't be used; its content is never told
    +-- EngineError          the engine met a bug of its own, and goes on; exit 70
    +-- UnavailableError     the daemon does not run or does not answer; exit 69
    +-- RequestError         the control socket was asked for something that can't be; told to who asked

Input from the wire never raises: it ends in an outcome.
"""

from collections.abc import Sequence
from dataclasses import dataclass

# Exit statuses, sysexits.h.
EX_OK = 0
EX_USAGE = 64
EX_NOINPUT = 66
EX_UNAVAILABLE = 69
EX_SOFTWARE = 70
EX_OSERR = 71
EX_IOERR = 74
EX_NOPERM = 77
EX_CONFIG = 78


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong in a file an administrator wrote."""

    file: str
    line: int | None
    """1-based; None where the file as a whole is meant."""
    key: str
    """Dotted key, as ``listener[1].port``; empty where the file as a whole is meant."""
    reason: str
    hint: str = ""

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        key = f" {self.key}:" if self.key else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{where}:{key} {self.reason}{hint}"


class CollectordError(Exception):
    """Base of all; ``exit_status`` is what a command ends with."""

    exit_status = EX_SOFTWARE


class ConfigError(CollectordError):
    """Everything that is wrong in the configuration, in one report."""

    exit_status = EX_CONFIG

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = sorted(problems, key=lambda p: (p.file, p.line or 0, p.key))
        super().__init__("\n".join(str(p) for p in self.problems))


class EnvironmentProblem(CollectordError):
    """The machine does not give what we need."""

    exit_status = EX_OSERR


class ListenError(EnvironmentProblem):
    """An address can't be listened on."""

    def __init__(self, message: str, *, permission: bool = False) -> None:
        super().__init__(message)
        self.exit_status = EX_NOPERM if permission else EX_OSERR


class StoreError(EnvironmentProblem):
    """The database can't be opened, read or written; the message says what to do."""

    exit_status = EX_IOERR


class DamagedError(StoreError):
    """The database's content is broken: what is left to do is to go on with a new one."""


class FullError(StoreError):
    """There is no room for what was to be stored; later there may be."""


class InputError(EnvironmentProblem):
    """A log file can't be read."""

    def __init__(self, message: str, *, missing: bool = False) -> None:
        super().__init__(message)
        self.exit_status = EX_NOINPUT if missing else EX_IOERR


class DeliveryError(EnvironmentProblem):
    """An output could not hand over an alert; it may work later."""


class CertificateError(EnvironmentProblem):
    """A certificate, its key, or the file of CAs can't be used; it says which and why."""


class SecretError(EnvironmentProblem):
    """A file with a secret can't be used. Tells the path, never what the file holds."""

    exit_status = EX_CONFIG

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class EngineError(CollectordError):
    """
    The engine met a bug of its own (a panic) and goes on without what the call was about; what it counted stays.

    Args:
        message: Where.
        messages: That the call had read until then; they are counted.
    """

    def __init__(self, message: str, messages: int = 0) -> None:
        super().__init__(message)
        self.messages = messages


class RequestError(CollectordError):
    """A request on the control socket makes no sense; who asked is told."""

    exit_status = EX_USAGE


class UnavailableError(CollectordError):
    """The daemon does not run, or does not answer on its control socket."""

    exit_status = EX_UNAVAILABLE
