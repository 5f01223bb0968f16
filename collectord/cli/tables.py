"""
Tables and entries that lose nothing on a narrow terminal, where people copy ids and names from.

rich makes a table as wide as the terminal: on a narrow one it cuts names and folds each column a few letters at a time.
"""

from collections.abc import Iterable

import click
from rich.console import Console
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

WIDEST = 1000
"""Far more characters than a line of a table can have; as much of one text as commands show."""


def plain_table(*heads: str | Column) -> Table:
    """A table without lines between, so that more of it fits a terminal."""
    columns = (Column(head) if isinstance(head, str) else head for head in heads)
    return Table(*columns, box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="")


def print_whole(table: Table) -> None:
    """Where it is too wide the terminal wraps whole lines, instead of each column a letter at a time."""
    console = Console(width=max(Console().width, Console(width=WIDEST).measure(table).maximum))
    with console.capture() as written:
        console.print(table)
    # A cell that is empty at the end of a line would be wrapped as well.
    click.echo("\n".join(line.rstrip() for line in written.get().splitlines()))


def print_entry(head: Text, body: Iterable[str]) -> None:
    """A line with what one types next, which is never cut, then texts, folded and set in."""
    console = Console()
    console.print(head, soft_wrap=True)
    # An address or a name that is longer than the line goes on in the next one, none of it is lost.
    console.print(Padding(Text("\n".join(body), overflow="fold"), (0, 0, 0, 4), expand=False))
