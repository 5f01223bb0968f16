"""``collectord snmp``: what the NOC's SNMP tools need."""

from pathlib import Path

import click

from collectord import config as configuration
from collectord.cli.options import config_option
from collectord.cli.receiver_config import receiver_config
from collectord.errors import EX_USAGE
from collectord.outputs import mib as module


@click.group()
def snmp() -> None:
    """
    What the NOC's SNMP tools need.

    \b
    Examples:
      collectord snmp mib > COLLECTORD-MIB.txt
      collectord snmp receiver-config --for zabbix --dir zabbix
    """


@snmp.command()
@click.option(
    "--root",
    metavar="OID",
    help="Where the module stands; by default root of [snmp]. 32473 in it is the enterprise number for documentation: "
    "ask IANA for your own.",
)
@click.option("--standalone", is_flag=True, help="A form that needs no other module; Debian ships none of the IETF's.")
@config_option
def mib(root: str | None, standalone: bool, config_path: Path | None) -> None:
    """
    Write COLLECTORD-MIB to standard output.

    \b
    Examples:
      collectord snmp mib > /usr/share/snmp/mibs/COLLECTORD-MIB.txt
      collectord snmp mib --standalone > COLLECTORD-MIB.txt && snmptrapd -f -Lo -M . -m COLLECTORD-MIB
    """
    if root is None:
        root = configuration.load(config_path).snmp.root
    try:
        click.echo(module.text(root, standalone), nl=False)
    except ValueError as error:
        click.echo(f"collectord: {error}", err=True)
        raise SystemExit(EX_USAGE) from error


snmp.add_command(receiver_config)
