"""The ``collectord`` command: one module per noun."""

import contextlib
import errno
import gc
import importlib
import io
import os
import sys
from collections.abc import Iterator
from typing import Any

import click

from collectord.errors import EX_IOERR, EX_OK, EX_SOFTWARE, CollectordError

MODULES = {
    name: name
    for name in (
        "run", "demo", "init", "check", "reload", "parse", "explain", "replay", "status", "alerts", "outbox",
        "test-alert", "learn", "tune", "exempt", "maintenance", "audit", "devices", "quarantine", "profile", "rules",
        "snmp", "backup", "restore",
    )
} | {"test-alert": "tell", "restore": "backup"}  # fmt: skip
"""Commands in the order in which a newcomer meets them, and the module of this package that each is in."""


_NOT_WRITTEN = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""The disk is full, or broken: no fault of ours where a command's output went to a file."""


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """
    Python looks for no garbage meanwhile.

    For loading modules and files: what they make stays, and looking through it again and again as it grows is a sixth
    of what a start costs.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class _Commands(click.Group):
    """Imports the module of a command when it is asked for: all of them together take longer than most commands."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in MODULES:
            return None
        with uncollected():
            module = importlib.import_module(f"{__name__}.{MODULES[cmd_name]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # Whoever read us has gone: nothing is left to say, and Python must not complain at exit. (click's own
            # treatment ends with 1, as if something had failed.)
            sys.stdout = None
            ctx.exit(EX_OK)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="collectord", message="collectord %(version)s")
def cli() -> None:
    """
    Collects syslog from firewalls and routers, counts their sessions, and tells the NOC by SNMP and syslog when a
    source fails too often or a port is used too much.

    \b
    See it work:          collectord demo
    Run it:               collectord run --config collectord.toml
    Is all well?          collectord status
    What was found?       collectord alerts
    Can it read my logs?  collectord parse < log.txt
    And what if ...?      collectord replay log.txt
    """


def main() -> None:
    """The entry point: maps errors to the exit statuses of sysexits.h."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal that is not UTF-8 lacks some characters; that must not end a command. stderr is like this already.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        sys.exit(cli.main(standalone_mode=False) or EX_OK)
    except click.ClickException as error:
        error.show()
        # click's own status for wrong usage is 2; ours is that of sysexits.
        sys.exit(64)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except CollectordError as error:
        _tell(error)
        sys.exit(error.exit_status)
    except OSError as error:
        if error.errno not in _NOT_WRITTEN:
            raise
        # What is left in its buffer can't be written either, and Python must not complain of that at exit.
        sys.stdout = None
        click.echo(f"collectord: can't write: {os.strerror(error.errno).lower()}", err=True)
        sys.exit(EX_IOERR)
    except ExceptionGroup as group:
        known, unknown = group.split(CollectordError)
        if known is None or unknown is not None:
            raise
        found = [leaf for leaf in _leaves(known) if isinstance(leaf, CollectordError)]
        for leaf in found:
            _tell(leaf)
        sys.exit(found[0].exit_status if found else EX_SOFTWARE)


def _tell(error: CollectordError) -> None:
    click.echo(f"collectord: {error}", err=True)


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
