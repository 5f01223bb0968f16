"""``collectord profile``: how products are read."""

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from collectord import plan
from collectord.cli.options import config_option, echo_json, json_option, shown
from collectord.errors import EX_CONFIG, EX_USAGE

TEMPLATE = """\
# How to read the logs of {name}. collectord/profiles/README.md tells what each key means.

name = "{name}"
title = "Vendor Product, format"
EventVendor = "Vendor"
EventProduct = "Product"
source = ["https://example.com/where-the-vendor-publishes-the-format"]

# Bytes that stand at the start of the content (after the syslog header), or within its first 512 bytes.
detect = [{{ starts = "vendor=product " }}]
reader = "kv"

[set]
EventType = "NetworkSession"

[fields]
SrcIpAddr = "src"
SrcPortNumber = "sport"
DstIpAddr = "dst"
DstPortNumber = "dport"
NetworkProtocol = "proto"
DvcOriginalAction = "action"

[[map]]
from = "action"
to.allow = {{ DvcAction = "Allow" }}
to.deny = {{ DvcAction = "Deny" }}
to."*" = {{ EventResult = "NA" }}

[[sample]]
name = "allowed"
raw = '''<134>vendor=product src=192.0.2.10 sport=40000 dst=198.51.100.20 dport=443 proto=tcp action=allow'''
want = [
  {{ SrcIpAddr = "192.0.2.10", SrcPortNumber = 40000, DstIpAddr = "198.51.100.20", DstPortNumber = 443, \
NetworkProtocol = "TCP", NetworkDirection = "External", DvcAction = "Allow", DvcOriginalAction = "allow", \
EventResult = "Success", EventSeverity = "Informational", EventType = "NetworkSession", EventCount = 1, \
AdditionalFields = {{ blocked = false, counted = true }} }},
]

[[sample]]
name = "another product's line"
raw = '''<134>vendor=other src=192.0.2.10'''
match = false
"""


@click.group()
def profile() -> None:
    """
    How products are read: the shipped profiles, and your own.

    \b
    Examples:
      collectord profile list
      collectord profile new my-firewall > my-firewall.toml
      collectord profile check my-firewall.toml
    """


@profile.command("list")
@config_option
@json_option
def list_profiles(config_path: Path | None, as_json: bool) -> None:
    """
    List the profiles: product, format, number of samples, where the format is published.

    \b
    Examples:
      collectord profile list
      collectord profile list --json | jq .title
    """
    setup = plan.load(config_path)
    rows = []
    for document in setup.profiles:
        values = document.values
        source = values.get("source", [])
        rows.append(
            {
                "name": values["name"],
                "title": values["title"],
                "vendor": values["EventVendor"],
                "product": values["EventProduct"],
                "reader": values["reader"],
                "samples": len(values["sample"]),
                "source": [source] if isinstance(source, str) else list(source),
                "file": document.file,
            }
        )
    if as_json:
        for row in rows:
            echo_json(row)
        return
    table = Table("profile", "product", "format", "samples")
    for row in rows:
        table.add_row(Text(row["name"]), Text(shown(row["title"])), row["reader"], str(row["samples"]))
    Console().print(table)
    click.echo(f"{len(rows)} profiles, {sum(row['samples'] for row in rows)} samples")


@profile.command()
@click.argument("name")
def new(name: str) -> None:
    """
    Write a profile to start from to standard output.

    \b
    Examples:
      collectord profile new my-firewall > my-firewall.toml
    """
    if not name.replace("-", "").isalnum() or not name.isascii() or name != name.lower():
        click.echo("collectord: a name has small letters, digits and - alone", err=True)
        raise SystemExit(EX_USAGE)
    click.echo(TEMPLATE.format(name=name), nl=False)


@profile.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@config_option
def check(files: tuple[Path, ...], config_path: Path | None) -> None:
    """
    Check profile files beside all others, with their samples; errors come with file and line.

    \b
    Examples:
      collectord profile check my-firewall.toml
    """
    setup = plan.load(config_path)
    problems = plan.check_profiles(setup, files)
    for problem in problems:
        click.echo(str(problem), err=True)
    if problems:
        raise SystemExit(EX_CONFIG)
    click.echo(f"{', '.join(str(file) for file in files)}: right, all samples as they should be")
