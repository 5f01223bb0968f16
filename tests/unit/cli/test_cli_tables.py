"""Tables and entries on narrow terminals."""

from typing import Any

import pytest
from rich.text import Text

from collectord.cli.tables import plain_table, print_entry, print_whole


@pytest.mark.parametrize("columns", ["20", "200"])
def test_a_table(capsys: Any, monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    """The same lines whatever the width, without blanks at their ends."""
    monkeypatch.setenv("COLUMNS", columns)
    table = plain_table("name", "why")
    table.add_row("a-name-of-some-length", "because of this and that")
    table.add_row("b", "")
    print_whole(table)

    assert capsys.readouterr().out.splitlines() == [
        "name                   why",
        "a-name-of-some-length  because of this and that",
        "b",
    ]


def test_an_entry(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first line is never cut, the others are folded."""
    monkeypatch.setenv("COLUMNS", "20")
    print_entry(Text("3f2a91c07d5be148  raised"), ["of two words", "2001:db8:1:2:3:4:5:6"])

    head, *body = capsys.readouterr().out.splitlines()
    assert head == "3f2a91c07d5be148  raised"
    assert [line.strip() for line in body] == ["of two words", "2001:db8:1:2:3:4", ":5:6"]
