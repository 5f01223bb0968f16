"""``collectord run``: the daemon in the foreground."""

import asyncio
import functools
import gc
import sys
from pathlib import Path

import click

from collectord import activation, log, plan
from collectord.app import App
from collectord.cli import uncollected
from collectord.cli.options import config_option

SWITCH_S = 0.001
"""After so long a busy thread gives the interpreter to another one that waits: to who receives, while a tick is under
way. Python's own 5 ms would be waited for several times in each turn of the loop."""


@click.command()
@config_option
def run(config_path: Path | None) -> None:
    """
    Run the daemon in the foreground until SIGTERM or Ctrl-C; SIGHUP takes up a changed configuration.

    Without a configuration it listens on UDP and TCP port 5514 of loopback, keeps its database in the state folder, and
    writes alerts to its log (stderr). Sockets that systemd hands over (socket units) are read in place of its own.

    \b
    Examples:
      collectord run
      collectord run --config /etc/collectord/collectord.toml
    """
    inherited = activation.taken()
    with uncollected():
        setup = plan.load(config_path)
        log.setup(setup.config.log.level)
        load = functools.partial(plan.load, config_path)
        # What is loaded by now lives as long as the process. Looked at again with each batch of counters, it would keep
        # messages waiting.
        gc.freeze()
    sys.setswitchinterval(SWITCH_S)
    asyncio.run(App(setup, load=load, path=config_path, inherited=inherited).run())
