"""
Secrets from files: where systemd puts them, who may read them, what may stand in them.

A secret never stands in an error message, a log line or the settings; those hold its path.
"""

import os
import stat
from pathlib import Path

from collectord.errors import SecretError

SERVICE = "collectord"
"""User and group that the service runs as (``systemd/sysusers.conf``)."""

PUBLIC = "public"
"""The SNMP community that everybody knows."""

MAX_BYTES = 4096
"""More is no password, but the wrong file."""


def credential(value: object) -> object:
    """
    A bare name that is a credential of the service (systemd.exec(5), ``LoadCredential=``) becomes its path.

    Everything else stays as it is; the file's owner is looked at by ``read`` alone.
    """
    folder = _credentials()
    if folder is None or not isinstance(value, str) or not value or "/" in value or value in (".", ".."):
        return value
    path = folder / value
    return path if path.exists() else value


def read(path: Path, *, least_characters: int = 1) -> str:
    """
    The secret that the file holds: one line of UTF-8 without the blanks around it.

    Args:
        path: A file that not everybody may read or write. In the service's folder of credentials systemd sees to that.
        least_characters: A shorter secret is refused.

    Raises:
        SecretError: it can't be read, others may read it, or it holds no such line.
    """
    try:
        # Without O_NONBLOCK a named pipe would hold us up until somebody writes to it.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            mode = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(mode):
                raise SecretError(f"{path} is not a file")
            content = os.read(descriptor, MAX_BYTES + 1)
        finally:
            os.close(descriptor)
    except OSError as error:
        hint = ""
        if isinstance(error, FileNotFoundError):
            hint = f"a file, or a credential of the service: LoadCredential={path.name}:/path/to/it"
        elif isinstance(error, PermissionError):
            hint = f"for the service: chgrp {SERVICE} {path}"
        raise SecretError(f"can't read {path}: {error.strerror or error}".lower(), hint) from error
    if is_for_everybody(mode) and path.parent != _credentials():
        raise SecretError(
            f"everybody can read or write {path} (mode {mode & 0o777:04o})",
            f"chmod 640 {path}; for the service also chgrp {SERVICE} {path}",
        )
    return _line(path, content, least_characters)


def is_for_everybody(mode: int) -> bool:
    """Whether others than owner and group may read a file, or put another secret into it."""
    return bool(mode & (stat.S_IROTH | stat.S_IWOTH))


def _line(path: Path, content: bytes, least_characters: int) -> str:
    if len(content) > MAX_BYTES:
        raise SecretError(f"{path} has more than {MAX_BYTES} bytes")
    try:
        text = content.decode().strip()
    except UnicodeDecodeError:
        # The error holds the bytes: it is not handed on as the cause.
        text = None
    if text is None:
        raise SecretError(f"can't read {path}: not utf-8")
    if not text:
        raise SecretError(f"{path} is empty")
    if not text.isprintable():
        raise SecretError(f"{path} has more than one line, or control characters")
    if len(text) < least_characters:
        raise SecretError(f"the secret in {path} has {len(text)} characters, expected at least {least_characters}")
    return text


def _credentials() -> Path | None:
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    return Path(folder) if folder else None
