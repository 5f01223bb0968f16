"""How a playbook begins, and what is asked of every alert at its end."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from collectord.detect.rules import Rule

from . import rendering
from .playbook import Play, Story, rule


@pytest.fixture
def play(tmp_path: Path) -> Iterator[Play]:
    """A story with shipped rules, by name, or with rules that are given whole."""
    stories: list[Story] = []

    def play(*rules: str | Rule, **options: Any) -> Story:
        path = tmp_path / f"story {len(stories)}.db"
        some = [rule(each) if isinstance(each, str) else each for each in rules]
        stories.append(Story(path, some, **options))
        return stories[-1]

    yield play
    for story in stories:
        story.close()
        rendering.check(story.everything)
