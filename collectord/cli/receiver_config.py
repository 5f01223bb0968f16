"""``collectord snmp receiver-config``: files for the programs that receive the notifications."""

import json
import os
from pathlib import Path

import click

from collectord import plan
from collectord.cli.options import config_option
from collectord.config import Config
from collectord.errors import EX_USAGE, StoreError, UnavailableError
from collectord.model import Mode
from collectord.output_settings import SnmpOutput
from collectord.outputs import mib, receivers


@click.command("receiver-config")
@click.option("--for", "tool", type=click.Choice(list(receivers.TOOLS)), required=True, help="The receiving program.")
@config_option
@click.option("--root", metavar="OID", help="Where COLLECTORD-MIB stands. Default: [snmp] root of the configuration.")
@click.option("--output", "name", metavar="NAME", help="Only this SNMP output. Default: all of them.")
@click.option("--dir", "folder", type=click.Path(path_type=Path, file_okay=False), help="Write all files there.")
@click.option("--force", is_flag=True, help="Replace files in that folder that differ.")
@click.option("--with-secrets", is_flag=True, help="Write communities and passwords out, instead of places for them.")
def receiver_config(
    tool: str,
    config_path: Path | None,
    root: str | None,
    name: str | None,
    folder: Path | None,
    force: bool,
    with_secrets: bool,
) -> None:
    """
    Write the files with which a receiver names, raises and clears our alarms; each comes with a README.md.

    Without --dir the main file goes to standard output. A snmptrapd that takes SNMPv3 traps must know the engine ID
    that the daemon makes at its first start; before that there is nothing to write for it, and the exit status is 69.

    \b
    Examples:
      collectord snmp receiver-config --for snmptrapd --with-secrets >> /etc/snmp/snmptrapd.conf
      collectord snmp receiver-config --for zabbix > zabbix_collectord.yaml
      collectord snmp receiver-config --for icinga --dir icinga --config collectord.toml
    """
    setup = plan.load(config_path)
    try:
        mib.arcs(root or setup.config.snmp.root)
    except ValueError as error:
        click.echo(f"collectord: {error}", err=True)
        raise SystemExit(EX_USAGE) from error
    facts = _facts(setup, tool, root, name, with_secrets)
    files = receivers.files(tool, facts)
    if folder is None:
        main, *others = files
        click.echo(files[main], nl=False)
        click.echo(f"collectord: this is {main}; with --dir there is also {', '.join(others)}", err=True)
        return
    _write(folder, files, force)


def _facts(setup: plan.Setup, tool: str, root: str | None, name: str | None, with_secrets: bool) -> receivers.Facts:
    config = setup.config
    with_users = tool in receivers.WITH_USERS
    outputs = [output for output in config.output if isinstance(output, SnmpOutput)]
    if name is not None:
        outputs = [output for output in outputs if output.name == name]
        if not outputs:
            raise click.UsageError(f'there is no SNMP output "{name}" in the configuration')
    targets = tuple(_target(output, with_secrets and with_users) for output in outputs)
    traps_v3 = with_users and any(target.version == "3" and not target.inform for target in targets)
    return receivers.Facts(
        root=root or config.snmp.root,
        targets=targets or receivers.Facts().targets,
        engine_id=_engine_id(config) if traps_v3 else None,
        heartbeat_s=config.snmp.heartbeat_s,
        rules=tuple(rule.name for rule in setup.rules if rule.mode is Mode.NOTIFY),
    )


def _target(output: SnmpOutput, with_secrets: bool) -> receivers.Target:
    """The output as its receiver has to know it; secrets only if they are asked for."""
    version3 = output.version == "3"
    return receivers.Target(
        name=output.name,
        version=output.version,
        port=output.port,
        inform=output.notification == "inform",
        report_as=output.report_as,
        community=output.read_community() if with_secrets and not version3 else None,
        user=output.user or "",
        auth=output.auth,
        priv=output.priv,
        auth_password=output.read_auth_password() if with_secrets and version3 else None,
        priv_password=output.read_priv_password() if with_secrets and version3 else None,
    )


def _engine_id(config: Config) -> bytes:
    path = config.state_dir / "snmp_engine.json"
    try:
        return bytes.fromhex(json.loads(path.read_text(encoding="utf-8"))["engine_id"])
    except FileNotFoundError as error:
        raise UnavailableError(
            f"there is no SNMP engine ID yet ({path}): the daemon makes it at its first start with an SNMP output; "
            "start it once, then run this again"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"can't read {path}: {getattr(error, 'strerror', None) or 'damaged'}") from error


def _write(folder: Path, files: dict[str, str], force: bool) -> None:
    """
    Write the files, readable by their owner alone where they may hold secrets.

    Raises:
        StoreError: one can't be written, or stands there with another content.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            path = folder / name
            if path.exists() and not force and path.read_text(encoding="utf-8") != content:
                raise StoreError(f"{path} is there and differs; --force replaces it")
        for name, content in files.items():
            mode = 0o755 if content.startswith("#!") else 0o600 if name == "snmptrapd.conf" else 0o644
            path = folder / name
            path.unlink(missing_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            with open(descriptor, "w", encoding="utf-8") as stream:
                stream.write(content)
            click.echo(str(path))
    except OSError as error:
        raise StoreError(f"can't write to {folder}: {error.strerror}") from error
