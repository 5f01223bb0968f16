"""Open files: the limit is raised as far as it may be, and a warning where that is not enough."""

import resource

import pytest
import structlog

from collectord import open_files


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The soft and the hard limit; tests may change them before."""
    limits = [1024, 4096]
    monkeypatch.setattr(resource, "getrlimit", lambda _: tuple(limits))
    monkeypatch.setattr(resource, "setrlimit", lambda _, both: limits.__setitem__(slice(None), both))
    return limits


@pytest.mark.parametrize(
    ("before", "connections", "after", "missing"),
    [
        ([1024, 4096], 100, [1024, 4096], 0),
        ([1024, 4096], 1024, [1280, 4096], 0),
        ([1024, 4096], 5000, [4096, 4096], 1160),
        ([1024, resource.RLIM_INFINITY], 5000, [5256, resource.RLIM_INFINITY], 0),
        ([resource.RLIM_INFINITY, resource.RLIM_INFINITY], 5000, [resource.RLIM_INFINITY] * 2, 0),
    ],
)
def test_room(limits: list[int], before: list[int], connections: int, after: list[int], missing: int) -> None:
    limits[:] = before
    with structlog.testing.capture_logs() as logs:
        assert open_files.make_room(connections) == missing
    assert list(limits) == after
    assert len(logs) == bool(missing)
