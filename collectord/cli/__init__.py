"""The ``collectord`` command: one module per noun."""

import io
import sys
from typing import Any

import click

from collectord import __version__
from collectord.cli.alert_marks import ack, shelve, unshelve
from collectord.cli.alerts import alerts
from collectord.cli.audit import audit
from collectord.cli.check import check
from collectord.cli.demo import demo
from collectord.cli.devices import devices
from collectord.cli.exempt import exempt
from collectord.cli.explain import explain
from collectord.cli.learn import learn
from collectord.cli.maintenance import maintenance
from collectord.cli.outbox import outbox
from collectord.cli.parse import parse
from collectord.cli.profile import profile
from collectord.cli.quarantine import quarantine
from collectord.cli.reload import reload
from collectord.cli.replay import replay
from collectord.cli.rule_trial import try_rule
from collectord.cli.rules import rules
from collectord.cli.run import run
from collectord.cli.snmp import snmp
from collectord.cli.status import status
from collectord.cli.tell import resync, test_alert
from collectord.cli.tune import tune
from collectord.errors import EX_OK, EX_SOFTWARE, CollectordError


class _InOrder(click.Group):
    """Commands in the order in which a newcomer meets them, not of the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # Whoever read us has gone: nothing is left to say, and Python must not complain at exit. (click's own
            # treatment ends with 1, as if something had failed.)
            sys.stdout = None
            ctx.exit(EX_OK)


@click.group(cls=_InOrder, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, message="collectord %(version)s")
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


for _command in (
    run, demo, check, reload, parse, explain, replay, status, alerts, outbox, test_alert, learn, tune, exempt,
    maintenance, audit, devices, quarantine, profile, rules, snmp,
):  # fmt: skip
    cli.add_command(_command)
for _command in (ack, shelve, unshelve, resync):
    alerts.add_command(_command)
rules.add_command(try_rule)


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
