"""``collectord backup`` and ``collectord restore``."""

import contextlib
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from collectord import backup as backups
from collectord import config as configuration
from collectord.cli.options import config_option, shown
from collectord.errors import EX_USAGE, StoreError
from collectord.store.migrations import SCHEMA_VERSION


@click.command()
@click.argument("target", type=click.Path(path_type=Path), metavar="FILE|FOLDER")
@click.option(
    "--with-config",
    is_flag=True,
    help="The configuration as well, without files that hold secrets alone; communities may stand in it.",
)
@click.option("--force", is_flag=True, help="Replace a file of that name.")
@config_option
def backup(target: Path, with_config: bool, force: bool, config_path: Path | None) -> None:
    """
    Keep counters, alerts and the SNMP engine's identity in one file, while the daemon runs.

    In a folder the file is named after the machine and the time. It is readable by its owner alone, and takes the room
    of a copy of the database while it is made. `collectord restore` brings it back.

    \b
    Examples:
      collectord backup /var/backups
      collectord backup --with-config /mnt/usb/collectord.tar.zst
    """
    config = configuration.load(config_path)
    if target.is_dir():
        target /= f"collectord-{socket.gethostname()}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}{backups.SUFFIX}"
    if target.exists() and not force:
        click.echo(f"collectord: {shown(target)} is there already: another name, or --force", err=True)
        raise SystemExit(EX_USAGE)
    if not target.absolute().parent.is_dir():
        raise StoreError(f"there is no folder {target.absolute().parent}")
    files = None
    if with_config:
        if config_path is None:
            raise click.UsageError("there is no configuration to take along: the defaults are in force")
        files = backups.configuration_files(config, config_path)
    with _progress() as progress:
        backups.write(config, target.absolute(), progress, files=files)
    click.echo(f"{shown(target)}: {target.stat().st_size:,} bytes")


@click.command()
@click.argument("archive", type=click.Path(path_type=Path), metavar="FILE")
@click.option(
    "--config-to",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Unpack the configuration that the backup holds into this new folder; /etc is never touched.",
)
@click.option(
    "--take-snmp-engine",
    is_flag=True,
    help="The backup is of a machine that is gone and whose place this one takes: its SNMP engine ID as well, so that "
    "receivers of SNMPv3 know it.",
)
@config_option
def restore(archive: Path, config_to: Path | None, take_snmp_engine: bool, config_path: Path | None) -> None:
    """
    Bring a backup back, in the place of the present counters and alerts.

    The daemon must not run. The backup is looked at first, every page of its database; one of an older version is fine,
    the daemon brings it up to date. The database that was there is kept beside it as collectord.db.replaced. The boots
    of the SNMP engine never get lower, and another machine's engine ID is not taken.

    \b
    Examples:
      systemctl stop collectord
      collectord restore /var/backups/collectord-edge1-20261122T103000Z.tar.zst
      systemctl start collectord
    """
    config = configuration.load(config_path)
    with _progress() as progress:
        done = backups.restore(config, archive, progress, take_engine=take_snmp_engine, config_to=config_to)
    click.echo(f"restored:  {config.database}, as it was at {shown(done.created)}")
    if done.schema < SCHEMA_VERSION:
        click.echo(f"schema:    {done.schema}; the daemon brings it to {SCHEMA_VERSION} when it starts")
    if done.replaced is not None:
        click.echo(f"before:    kept as {done.replaced}")
    if done.engine is not None:
        whose = "this machine's own, not the backup's" if done.engine_kept else "the backup's"
        click.echo(f"SNMP:      engine ID 0x{done.engine.engine_id.hex()} ({whose}), boots {done.engine.boots}")
    elif done.engine_kept:
        click.echo("SNMP:      the backup is another machine's: this one makes an engine ID of its own")
    if config_to is not None:
        click.echo(f"config:    unpacked into {shown(config_to)}")


@contextlib.contextmanager
def _progress() -> Iterator[backups.Progress]:
    """A bar on the terminal; nothing elsewhere."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda what, done, total: bar.update(task, description=what, completed=done, total=total or None)
