"""What all tests share: how many examples a property gets, and where things lie."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

REPOSITORY = Path(__file__).resolve().parent.parent

# fast: the same few examples on every run, so that a red test is the change's doing. slow: more, and new ones each
# time. fuzz: as many as there is patience. Time limits are pytest's, not hypothesis': machines differ.
settings.register_profile("fast", max_examples=50, derandomize=True, deadline=None, database=None)
settings.register_profile("slow", max_examples=2_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("fuzz", max_examples=50_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))


LAST_WAITING = 0.6
"""Where in the order the last file that waits is: what is short and computes fills the end, and no process is alone."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """
    The order of the files when several processes share them.

    Those that wait for daemons (``e2e``) or have a long test (``slow``) are spread among those that compute, so that
    the processors are busy from the beginning to the end; xdist's own order has them together, at the end.
    """
    if not hasattr(config, "workerinput"):
        return
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    waiting = [path for path, tests in files.items() if any(_is_long(test) for test in tests)]
    computing = sorted(files.keys() - {*waiting}, key=lambda path: (-len(files[path]), path))
    # The longest first.
    waiting.sort(key=lambda path: not any(test.get_closest_marker("slow") for test in files[path]))
    place = {path: LAST_WAITING * number / len(waiting) for number, path in enumerate(waiting)}
    place |= {path: number / len(computing) for number, path in enumerate(computing)}
    items[:] = [item for path in sorted(place, key=lambda path: (place[path], path)) for item in files[path]]


def _is_long(test: pytest.Item) -> bool:
    return test.get_closest_marker("e2e") is not None or test.get_closest_marker("slow") is not None


@pytest.fixture(scope="session")
def repository() -> Path:
    """The folder with ``pyproject.toml``."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared() -> Path:
    """
    A folder with recorded logs and their expected sessions, beside the repository or where COLLECTORD_SHARED says.

    Recorded logs are other people's data, so they are no part of the project; without them the test is skipped.
    """
    folder = Path(os.environ.get("COLLECTORD_SHARED") or REPOSITORY.parent / "shared")
    if not (folder / "corpus").is_dir():
        pytest.skip(f"no recorded logs: expected a folder {folder / 'corpus'}, or COLLECTORD_SHARED to name another")
    return folder
