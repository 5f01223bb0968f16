"""No shipped rule goes without a playbook."""

import ast
from pathlib import Path

from collectord import data


def test_every_shipped_rule_has_a_playbook() -> None:
    """A rule's name stands in one of the playbooks, as what a story is about."""
    playbooks = [path for path in Path(__file__).parent.glob("test_*.py") if path != Path(__file__)]
    told = {
        node.value
        for path in playbooks
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    shipped = {path.stem for path in data.rules()}

    assert shipped
    assert shipped - told == set()
