"""
No message takes more than linear time, in short: some hostile shapes of each reader, counted in instructions.

Counted is the debug build, which `make test-rust` has made already; ``tests/benchmarks/test_hostile.py`` has all shapes
and longer messages.
"""

import pytest

from collectord import plan

from ..benchmarks.hostile import SHAPES
from ..benchmarks.instructions import Counter, Way
from ..benchmarks.linear import costs, told

SIZES = (4096, 8192, 32_768)
STREAM_SIZES = (512, 1024, 4096)

EVERY = 12
"""One in so many shapes is counted by each test, not the same ones: all of them take a minute."""


@pytest.fixture(scope="module")
def counter(tmp_path_factory: pytest.TempPathFactory) -> Counter:
    """The program that is measured."""
    return Counter("debug", plan.load(None).plan.as_json(), tmp_path_factory.mktemp("counts"))


SQUARE = "each: items behind a long device"
"""A shape that cost more than in proportion once, so it is always among them."""


# Without a test run before it, the program has to be built first.
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("way", "first"), [("datagrams", 0), ("parse", EVERY // 2)])
def test_hostile_messages_take_linear_time(counter: Counter, way: Way, first: int) -> None:
    chosen = [shape for number, shape in enumerate(SHAPES) if number % EVERY == first or shape.name == SQUARE]

    assert [told(cost) for cost in costs(counter, chosen, SIZES, way) if not cost.is_linear()] == []


@pytest.mark.timeout(600)
@pytest.mark.parametrize("way", ["octets", "lines"])
def test_a_stream_of_single_bytes_takes_linear_time(counter: Counter, way: Way) -> None:
    chosen = [shape for shape in SHAPES if shape.name == "kv: many pairs"]

    assert [told(cost) for cost in costs(counter, chosen, STREAM_SIZES, way) if not cost.is_linear()] == []
