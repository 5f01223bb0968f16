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
