"""``collectord parse``: how messages are read."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import click

from collectord import plan
from collectord.cli.options import config_option

CHUNK_BYTES = 64 * 1024

MESSAGE_BYTES = 16 * 1024 * 1024
"""A longer piece without a separator is cut here and read as too long, so that endless input can't fill memory."""


@click.command()
@click.option("-0", "--null", "by_null", is_flag=True, help="Messages end with NUL, not with a line end.")
@click.option("--peer", metavar="ADDRESS", help="Address that the messages came from; the device where none is named.")
@config_option
def parse(by_null: bool, peer: str | None, config_path: Path | None) -> None:
    """
    Read messages on standard input and say how each is understood: one JSON object a line, in order.

    Outcome is session, event (understood, but no session), unparsed, empty or too_long. Recovered: the message does not
    keep its format (CEF, LEEF) and was read as well as it can be. Header is that of the device; Relay is the time and
    host that a configured relay (--peer) put in front, null of any other peer. Sessions hold the ASIM NetworkSession
    fields; AdditionalFields.counted says whether the record counts for the rules.

    \b
    Examples:
      collectord parse < firewall.log
      collectord parse --peer 192.0.2.1 < firewall.log | jq .Sessions[]
      printf '%s\\0' "$MESSAGE" | collectord parse -0
    """
    engine = plan.load(config_path).engine()
    # Bytes, as JSON is UTF-8 whatever the locale's encoding is.
    out = sys.stdout.buffer
    for message in messages(sys.stdin.buffer, b"\0" if by_null else b"\n"):
        out.write(engine.parse(message, peer).encode() + b"\n")
        out.flush()


def messages(stream: BinaryIO, separator: bytes) -> Iterator[bytes]:
    """
    The messages of a stream, each without its separator; what follows the last separator is a message if not empty.

    A message comes out as soon as its separator was read.
    """
    rest = bytearray()
    searched = 0
    while chunk := stream.read1(CHUNK_BYTES):  # type: ignore[attr-defined]
        rest += chunk
        start = 0
        while (end := rest.find(separator, max(start, searched))) >= 0:
            yield bytes(rest[start:end])
            start = end + 1
        del rest[:start]
        searched = len(rest)
        if searched > MESSAGE_BYTES:
            yield bytes(rest)
            rest.clear()
            searched = 0
    if rest:
        yield bytes(rest)
