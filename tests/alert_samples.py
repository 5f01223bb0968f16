"""
An alert of every shipped rule in each of its states, as the playbooks raise them: what outputs have to put into words.
"""

import functools
import importlib
import inspect
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from collectord import data
from collectord.detect.rules import Rule
from collectord.model import Alert, AlertState

from .playbooks.playbook import Story, rule


@functools.cache
def shipped_alerts() -> tuple[Alert, ...]:
    """
    For each shipped rule its first raise, and an update and a clear of it; those that no playbook tells are made of it.

    Takes some seconds, once in a process.
    """
    wanted = {path.stem for path in data.rules()}
    told: dict[tuple[str, AlertState], Alert] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, (source, play_out) in enumerate(_playbooks()):
            missing = wanted - {name for name, state in told if state is AlertState.RAISED}
            if any(name in source for name in missing):
                for alert in _told_by(play_out, Path(folder) / str(number)):
                    told.setdefault((alert.rule, alert.state), alert)
    return tuple(alert for name in sorted(wanted) for alert in _states(name, told))


def _states(name: str, told: dict[tuple[str, AlertState], Alert]) -> Iterator[Alert]:
    first = told[name, AlertState.RAISED]
    yield first
    yield told.get((name, AlertState.UPDATED), replace(first, state=AlertState.UPDATED, event="updated:2"))
    yield told.get(
        (name, AlertState.CLEARED),
        replace(first, state=AlertState.CLEARED, event="cleared", reason="quiet for 15 min: below 80 % of the limit"),
    )


def _playbooks() -> Iterator[tuple[str, Callable[..., Any]]]:
    """The stories, each with its words and what is filled into it."""
    for path in sorted((Path(__file__).parent / "playbooks").glob("test_*.py")):
        module = importlib.import_module(f".playbooks.{path.stem}", __package__)
        for name, found in inspect.getmembers(module, inspect.isfunction):
            if not name.startswith("test_") or "play" not in inspect.signature(found).parameters:
                continue
            # Some playbooks name their rule once for all their stories.
            helpers = [helper for helper in vars(module).values() if _is_helper(helper, module)]
            constants = [value for name, value in vars(module).items() if name.isupper() and isinstance(value, str)]
            source = "".join([*map(inspect.getsource, [found, *helpers]), *constants])
            marks = [mark for mark in getattr(found, "pytestmark", ()) if mark.name == "parametrize"]
            if not marks:
                yield source, found
            for mark in marks[:1]:
                names, values = mark.args
                for value in values:
                    several = [each.strip() for each in names.split(",")] if isinstance(names, str) else names
                    filled = dict(zip(several, value if len(several) > 1 else [value], strict=True))
                    yield f"{source} {filled}", functools.partial(found, **filled)


def _is_helper(found: object, module: ModuleType) -> bool:
    return inspect.isfunction(found) and found.__module__ == module.__name__ and not found.__name__.startswith("test_")


def _told_by(play_out: Callable[..., Any], folder: Path) -> list[Alert]:
    folder.mkdir()
    told: list[Alert] = []

    class Overheard(Story):
        def _receivers(self, alert: Alert) -> list[str]:
            told.append(alert)
            return super()._receivers(alert)

    stories: list[Story] = []

    def play(*rules: str | Rule, **options: Any) -> Story:
        some = [rule(each) if isinstance(each, str) else each for each in rules]
        stories.append(Overheard(folder / f"story {len(stories)}.db", some, **options))
        return stories[-1]

    try:
        play_out(play=play)
    finally:
        for story in stories:
            story.close()
    return told
