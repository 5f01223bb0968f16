"""``collectord check``: the daemon's own loader."""

import dataclasses
import os
import pwd
import stat
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import click

from collectord import config as configuration
from collectord import config_text, data, plan
from collectord.cli.options import config_option, echo_json, json_option, local_time, shown
from collectord.clock import SystemClock
from collectord.config import Config
from collectord.errors import ConfigError
from collectord.model import Mode
from collectord.output_settings import SyslogOutput
from collectord.secret_files import SERVICE
from collectord.settings import TlsListener
from collectord.toml import Document


@click.command()
@click.option("--show", is_flag=True, help="The whole resulting configuration as TOML, each value with its origin.")
@config_option
@json_option
def check(config_path: Path | None, show: bool, as_json: bool) -> None:
    """
    Check the configuration and all that it names: profiles with their samples, rules, the port watchlist.

    Everything that is wrong comes in one report, with file, line, key, reason and a hint. Exit status 0: all is well;
    78: something is wrong. Certificates that have expired or soon will are warned of: they stop one output or
    listener, not the daemon. Root is also warned of files that the service's user can't read.

    With --show the configuration that results from all files, defaults filled in, each value with file and line.
    Secrets are hidden.

    \b
    Examples:
      collectord check --config collectord.toml
      collectord check --show                  # and what became of conf.d
      collectord check --json | jq .problems
    """
    try:
        setup = plan.load(config_path, every_sample=True)
    except ConfigError as error:
        if not as_json:
            raise
        echo_json({"ok": False, "problems": [dataclasses.asdict(problem) for problem in error.problems]})
        raise SystemExit(error.exit_status) from error
    config, watchlist = setup.config, setup.watchlist
    _, sources = configuration.load_with_sources(config_path)
    lists = {
        "listeners": [f"{each.name}: {each.type} {each.host} port {each.port}" for each in config.listener],
        "outputs": [f"{each.name}: {each.type}" for each in config.output],
        "profiles": [str(document.values["name"]) for document in setup.profiles],
        "rules": [f"{rule.name}: {rule.mode}" for rule in setup.rules],
    }
    warnings = _warnings(config) + (_not_for_the_service(config, sources.files) if os.geteuid() == 0 else [])
    samples = sum(len(document.values["sample"]) for document in setup.profiles)
    if as_json:
        echo_json(
            {
                "ok": True,
                "problems": [],
                "warnings": warnings,
                "config": str(config_path) if config_path is not None else None,
                "files": sources.files,
                **({"result": "\n".join(config_text.toml(config, sources.where))} if show else {}),
                "state_dir": str(config.state_dir),
                **lists,
                "samples": samples,
                "watchlist": {"file": str(config.port_watchlist), "ports": len(watchlist.all_ports)},
            }
        )
        return
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
    if show:
        for line in config_text.toml(config, sources.where):
            click.echo(shown(line))
        return
    click.echo(f"configuration: {', '.join(sources.files) or 'built-in defaults'}")
    click.echo(f"state folder:  {config.state_dir}")
    for name in ("listeners", "outputs"):
        click.echo(f"{name + ':':14} {', '.join(lists[name])}")
    click.echo(f"profiles:      {_profiles(setup.profiles)}, with {samples:,} samples (collectord profile list)")
    modes = Counter(rule.mode for rule in setup.rules)
    told = ", ".join(f"{modes[mode]} {mode}" for mode in Mode if modes[mode])
    click.echo(f"rules:         {len(setup.rules)}: {told} (collectord rules list)")
    click.echo(f"watchlist:     {len(watchlist.all_ports)} ports judged, from {config.port_watchlist}")
    if SystemClock().now_ns() < config.learn_until_ns:
        click.echo(f"learning:      until {local_time(config.learn_until_ns)} alerts are stored, not sent")
    if not warnings:
        click.echo("Nothing is wrong.")


def _profiles(profiles: Sequence[Document]) -> str:
    """How many, and the names of a site's own."""
    shipped = set(map(str, data.profiles()))
    own = [str(profile.values["name"]) for profile in profiles if profile.file not in shipped]
    return f"{len(profiles)}" + (f" (your own: {', '.join(own)})" if own else "")


def _not_for_the_service(config: Config, files: Sequence[str]) -> list[str]:
    """What root can read and the service can't: it would be found when the service is to start again."""
    try:
        service = pwd.getpwnam(SERVICE)
    except KeyError:
        return []  # It is not installed as a service.
    groups = os.getgrouplist(service.pw_name, service.pw_gid)
    tables = (*config.listener, *config.output)
    named = [value for table in tables for key, value in table if key.endswith("_file")]
    found = []
    for path in dict.fromkeys(map(str, (*files, *filter(None, named)))):
        status = os.stat(path)
        bit = (
            stat.S_IRUSR
            if status.st_uid == service.pw_uid
            else stat.S_IRGRP
            if status.st_gid in groups
            else stat.S_IROTH
        )
        if not status.st_mode & bit:
            found.append(f"the service can't read {path}: chgrp {SERVICE} {path}; chmod 640 {path}")
    return found


def _warnings(config: Config) -> list[str]:
    """What keeps nothing from starting."""
    now_ns = SystemClock().now_ns()
    return [
        f'listener "{listener.name}": {warning}'
        for listener in config.listener
        if isinstance(listener, TlsListener)
        for warning in listener.warnings(now_ns)
    ] + [
        f'output "{output.name}": {warning}'
        for output in config.output
        if isinstance(output, SyslogOutput)
        for warning in output.warnings(now_ns)
    ]
