"""``collectord snmp``: what the NOC's SNMP tools need."""

import click

from collectord.errors import EX_USAGE
from collectord.outputs import mib as module


@click.group()
def snmp() -> None:
    """
    What the NOC's SNMP tools need.

    \b
    Example:
      collectord snmp mib > COLLECTORD-MIB.txt
    """


@snmp.command()
@click.option(
    "--root",
    default=module.DEFAULT_ROOT,
    show_default=True,
    metavar="OID",
    help="Where the module stands. 32473 is the enterprise number for documentation: ask IANA for your own.",
)
@click.option("--standalone", is_flag=True, help="A form that needs no other module; Debian ships none of the IETF's.")
def mib(root: str, standalone: bool) -> None:
    """
    Write COLLECTORD-MIB to standard output.

    \b
    Examples:
      collectord snmp mib > /usr/share/snmp/mibs/COLLECTORD-MIB.txt
      collectord snmp mib --standalone > COLLECTORD-MIB.txt && snmptrapd -f -Lo -M +. -m +COLLECTORD-MIB
    """
    try:
        click.echo(module.text(root, standalone), nl=False)
    except ValueError as error:
        click.echo(f"collectord: {error}", err=True)
        raise SystemExit(EX_USAGE) from error
