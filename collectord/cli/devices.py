"""``collectord devices``: who sends."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from rich.table import Column
from rich.text import Text

from collectord import config as configuration
from collectord.cli.options import config_option, database_reader, echo_json, json_option, local_time, shown
from collectord.cli.tables import plain_table, print_whole
from collectord.clock import SystemClock
from collectord.model import NS_PER_S, rfc3339
from collectord.store import devices as stored

CLOCK_OFF_MS = 5_000
"""A device clock that is further off is marked: windows run on our own time, but people compare logs."""


@click.command()
@config_option
@json_option
def devices(config_path: Path | None, as_json: bool) -> None:
    """
    The devices that send, since when, how much of it is understood, and how far their clocks are off.

    A device is named by what its messages say (host name, serial), else by the header's host where the sender is a
    configured relay, else by the sender's address.

    \b
    Examples:
      collectord devices
      collectord devices --json | jq 'select(.unparsed > 0)'
    """
    with database_reader(configuration.load(config_path)) as database:
        found = stored.everything(database)
    if as_json:
        for device in found:
            pauses = json.loads(device.pop("pauses"))
            device["longest_pause_s"] = max(pauses.values(), default=0) // NS_PER_S
            for key in ("first_seen", "last_seen"):
                device[key] = rfc3339(device.pop(f"{key}_ns"))
            echo_json(device)
        return
    if not found:
        click.echo("No device has sent anything yet.")
        return
    # On a narrow terminal names may fold, addresses are to be found whole.
    sites = any(device["site"] for device in found)
    # A name comes from the wire and may have hundreds of characters.
    name, site, profile = (Column(head, overflow="fold", max_width=40) for head in ("device", "site", "profile"))
    heads = ("since", "last", "understood", "unread", "per s", "clock off")
    table = plain_table(name, *([site] if sites else []), "peer", profile, *heads)
    for device in found:
        understood = device["sessions"] + device["events"]
        table.add_row(
            # A name comes from the wire, and must not be taken for rich's markup.
            Text(shown(device["name"])),
            *([Text(shown(device["site"]))] if sites else []),
            device["peer"],
            Text(shown(device["profile"] or "-")),
            _when(device["first_seen_ns"]),
            _when(device["last_seen_ns"]),
            f"{understood:,}",
            f"{device['unparsed']:,}",
            _rate(device),
            _clock(device["clock_off_ms"]),
        )
    print_whole(table)


def _when(time_ns: int) -> str:
    """Of today the time, else the day; ``--json`` has all of it."""
    day, time = local_time(time_ns)[:19].split()
    return time if day == local_time(SystemClock().now_ns())[:10] else day


def _rate(device: Mapping[str, Any]) -> str:
    """Messages a second since it was first seen."""
    seen_s = (device["last_seen_ns"] - device["first_seen_ns"]) / NS_PER_S
    messages = device["sessions"] + device["events"] + device["unparsed"]
    return f"{messages / seen_s:,.1f}" if seen_s >= 1 else "-"


def _clock(off_ms: int | None) -> str:
    if off_ms is None:
        return "-"
    text = f"{off_ms / 1000:+.1f} s"
    return f"{text} !" if abs(off_ms) > CLOCK_OFF_MS else text
