"""``collectord explain``: each step of reading one message, in words."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from collectord import data, plan
from collectord.cli.options import config_option, shown
from collectord.model import NS_PER_S
from collectord.plan import SAME_FOR_ALL, Setup

RECEIVED_NS = 43_200 * NS_PER_S
"""When the message is taken to have come; any time will do."""


@click.command()
@click.argument("message", required=False)
@click.option("--peer", metavar="ADDRESS", help="Address that the message came from.")
@config_option
def explain(message: str | None, peer: str | None, config_path: Path | None) -> None:
    """
    Explain how one message is read: header, profile, fields, the counters it touches and the rules that judge them.

    The message is the argument, else standard input. At the end stands a [[sample]] block to paste into a profile.

    \b
    Examples:
      collectord explain '<164>%ASA-4-106023: Deny tcp src outside:192.0.2.7/4711 dst ...'
      collectord quarantine show --raw 17 | collectord explain
    """
    raw = message.encode("utf-8", "surrogateescape") if message is not None else sys.stdin.buffer.read()
    raw = raw.rstrip(b"\r\n\0")
    setup = plan.load(config_path)
    for line in [*lines(setup, raw, peer), "", *sample(setup, raw, peer)]:
        click.echo(line)


def lines(setup: Setup, raw: bytes, peer: str | None = None) -> list[str]:
    """The explanation, line by line."""
    answer = json.loads(setup.engine().parse(raw, peer))
    told = [f"frame:    {len(raw)} bytes", *_peer(answer, peer), *_header(answer["Header"])]
    profile = answer["Profile"]
    if profile is None:
        told += [
            "profile:  none knows this message, so it ends as unparsed and goes into the quarantine",
            f"          write one: collectord profile new NAME ({data.PACKAGE / 'profiles' / 'README.md'} tells how)",
        ]
    else:
        told.append(f"profile:  {profile}")
        if answer["Recovered"]:
            told.append("          the message does not keep its format; it was read as well as it can be")
    told.append(f"outcome:  {answer['Outcome']}{_why(answer)}")
    for number, session in enumerate(answer["Sessions"], 1):
        told.append(f"session {number}:")
        told += [
            f"  {field + ':':28} {shown(value)}" for field, value in session.items() if field != "AdditionalFields"
        ]
        if not session["AdditionalFields"]["counted"]:
            told.append("  not counted: another record of the same session is the one that counts")
    if answer["Outcome"] == "session":
        told += _counters(setup, raw, peer)
    return told


def _peer(answer: dict[str, Any], peer: str | None) -> list[str]:
    """Whether the sender's word about the device is believed."""
    if peer is None:
        return []
    relay, header = answer["Relay"], answer["Header"]
    if relay is None:
        return [f"peer:     {shown(peer)} is no configured relay: no host in a header names the device"]
    told = [f"peer:     {shown(peer)} is a configured relay: the header's host and time are the device's"]
    if (relay["timestamp"], relay["hostname"]) != (header["timestamp"], header["hostname"]):
        own = [f"{name} {shown(value)}" for name, value in relay.items() if value is not None]
        told.append(f"          the relay's own header, in front of the device's: {', '.join(own) or 'priority alone'}")
    return told


def _header(header: dict[str, Any]) -> list[str]:
    parts = [
        f"{name} {shown(value)}" for name, value in header.items() if value not in (None, "") and name != "message"
    ]
    told = [f"header:   {', '.join(parts) or 'none'}"]
    if header["facility"] is None:
        told.append("          no priority (PRI); none is invented")
    return told


def _why(answer: dict[str, Any]) -> str:
    match answer["Outcome"], answer["Profile"]:
        case "event", _:
            return ": understood, but it tells of no session"
        case "unparsed", str(profile):
            return f": {profile} knows it by its start, but its text is not what the profile says"
        case _:
            return ""


def _counters(setup: Setup, raw: bytes, peer: str | None) -> list[str]:
    """What an engine counts that receives this message and no other."""
    engine = setup.engine()
    frame = bytearray(b"%d %b" % (len(raw), raw))
    engine.feed(engine.connect(0, peer or ""), frame, len(frame), RECEIVED_NS)
    changes = engine.changes(RECEIVED_NS)
    told = []
    for definition in setup.definitions:
        rules = ", ".join(rule.name for rule in setup.rules if rule.counter == definition.name)
        for _, site, *values, count, _, _ in changes.rows.get(definition.name, []):
            pairs = zip(definition.group_by, values, strict=True)
            key = ", ".join([f"{field}={shown(value)}" for field, value in pairs] + [f"site={site}"] * bool(site))
            told.append(f"counts:   {count} in {definition.name} under {key}; judged by {rules}")
        for state in changes.states:
            if state.counter == definition.name and state.kind != "evidence":
                what = definition.distinct if state.kind == "values" else "interval"
                pairs = zip(definition.group_by, state.key, strict=True)
                key = ", ".join(f"{field}={shown(value)}" for field, value in pairs)
                told.append(f"counts:   its {what} in {definition.name} under {key}; judged by {rules}")
        if definition.name in changes.without_key:
            told.append(f"counts:   not in {definition.name}: an address or port of its key is missing")
        if definition.name in changes.exempted:
            told.append(f"counts:   not in {definition.name}: it is exempt")
    return told or ["counts:   in no counter"]


def sample(setup: Setup, raw: bytes, peer: str | None = None) -> list[str]:
    """
    A ``[[sample]]`` block of the message as it is read now; replace its addresses before you share it.

    Samples are read without what a site knows of its networks and devices, and so is this one.
    """
    text = raw.decode("utf-8", "replace")
    answer = json.loads(plan.sample_engine(setup.plan).parse(text.encode(), peer))
    told = ["# Replace addresses and names by documentation ones (RFC 5737, RFC 2606) before you share this."]
    told += ["[[sample]]", 'name = ""', f"raw = {_toml(text)}"]
    if peer is not None:
        told.append(f"peer = {_toml(peer)}")
    if answer["Outcome"] != "session":
        return [*told, "want = []", f"want_outcome = {_toml(answer['Outcome'])}"]
    told.append("want = [")
    for session in answer["Sessions"]:
        fields = {field: value for field, value in session.items() if field not in SAME_FOR_ALL}
        told.append(f"  {_toml(fields)},")
    return [*told, "]"]


def _toml(value: Any) -> str:
    """TOML text of a value, safe to write to a terminal: strings are basic ones, what is not printable is escaped."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {_toml(inner)}" for name, inner in value.items()) + " }"
    text = json.dumps(value, ensure_ascii=False)
    return "".join(each if each.isprintable() else f"\\U{ord(each):08x}" for each in text)
