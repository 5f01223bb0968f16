"""``collectord explain``: each step of reading one message, in words."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from collectord import plan
from collectord.cli.options import config_option, shown
from collectord.model import CounterDefinition
from collectord.plan import SAME_FOR_ALL, Setup


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
    answer = json.loads(setup.engine().parse(raw, peer))
    for line in lines(setup, raw, answer):
        click.echo(line)


def lines(setup: Setup, raw: bytes, answer: dict[str, Any]) -> list[str]:
    """The explanation, line by line."""
    told = [f"frame:    {len(raw)} bytes", *_header(answer["Header"])]
    profile = answer["Profile"]
    if profile is None:
        told += [
            "profile:  none knows this message, so it ends as unparsed and goes into the quarantine",
            "          write one: collectord profile new NAME (collectord/profiles/README.md tells how)",
        ]
    else:
        told.append(f"profile:  {profile}")
    told.append(f"outcome:  {answer['Outcome']}{_why(answer)}")
    for number, session in enumerate(answer["Sessions"], 1):
        told.append(f"session {number}:")
        told += [
            f"  {field + ':':28} {shown(value)}" for field, value in session.items() if field != "AdditionalFields"
        ]
        told += _counters(setup, session)
    return [*told, "", *sample(raw, answer)]


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


def _counters(setup: Setup, session: dict[str, Any]) -> list[str]:
    if not session["AdditionalFields"]["counted"]:
        return ["  not counted: another record of the same session is the one that counts"]
    told = []
    for definition in setup.definitions:
        if not _fits(definition, session):
            continue
        key = ", ".join(f"{field}={shown(session.get(field, ''))}" for field in definition.group_by)
        rules = [rule.name for rule in setup.rules if rule.counter == definition.name]
        told.append(f"  counts in {definition.name} under {key}; judged by {', '.join(rules)}")
    return told or ["  touches no counter"]


def _fits(definition: CounterDefinition, session: dict[str, Any]) -> bool:
    needed = [field for field in definition.group_by if field.endswith(("IpAddr", "PortNumber"))]
    equal = all(session.get(field, "") == value for field, value in definition.where.items())
    return equal and all(field in session for field in needed)


def sample(raw: bytes, answer: dict[str, Any]) -> list[str]:
    """A ``[[sample]]`` block of the message as it is read now; replace its addresses before you share it."""
    told = ["# Replace addresses and names by documentation ones (RFC 5737, RFC 2606) before you share this."]
    told += ["[[sample]]", 'name = ""', f"raw = {_toml(raw.decode('utf-8', 'replace'))}"]
    if answer["Outcome"] != "session":
        return [*told, "want = []", f"want_outcome = {_toml(answer['Outcome'])}"]
    told.append("want = [")
    for session in answer["Sessions"]:
        fields = {field: value for field, value in session.items() if field not in SAME_FOR_ALL}
        told.append(f"  {_toml(fields)},")
    return [*told, "]"]


def _toml(value: Any) -> str:
    """TOML text of a value; a JSON string is a TOML basic string but for the escape of DEL."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {_toml(inner)}" for name, inner in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
