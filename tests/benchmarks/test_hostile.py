"""
No message takes more than linear time: instructions per byte of hostile messages from 8 to 64 KiB.

`make bench` prints the costliest shape of each reader; all of them lie in ``.cache/bench/hostile.json`` then.
``tests/property/test_linear_time.py`` is a short form of it.
"""

import json
from collections.abc import Sequence

import pytest

from collectord import plan

from .hostile import SHAPES, Shape, near_misses, of_samples
from .instructions import REPOSITORY, Counter, Way
from .linear import Cost, costs, told
from .report import QUICK

KIB = 1024
SIZES = (8 * KIB, 16 * KIB, 32 * KIB, 64 * KIB)

RESULTS = REPOSITORY / ".cache" / "bench" / "hostile.json"


@pytest.fixture(scope="module")
def setup() -> plan.Setup:
    """The shipped configuration, profiles and rules."""
    return plan.load(None)


@pytest.fixture(scope="module")
def counter(setup: plan.Setup, tmp_path_factory: pytest.TempPathFactory) -> Counter:
    """The program that is measured, as it is delivered."""
    return Counter("release", setup.plan.as_json(), tmp_path_factory.mktemp("counts"))


def _all(setup: plan.Setup) -> list[Shape]:
    profiles = [document.values for document in setup.profiles]
    return [*SHAPES, near_misses(profiles), *of_samples(profiles)]


def _store(way: str, all_costs: Sequence[Cost]) -> None:
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    stored = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    stored[way] = {cost.shape.name: dict(cost.instructions) for cost in all_costs}
    RESULTS.write_text(json.dumps(stored, indent=1), encoding="utf-8")


@pytest.mark.parametrize("size", SIZES)
def test_each_shape_is_taken_by_its_profile(setup: plan.Setup, size: int) -> None:
    """Otherwise a shape would measure nothing."""
    engine = setup.engine()
    shapes = [*SHAPES, near_misses(document.values for document in setup.profiles)]
    taken = {shape.name: json.loads(engine.parse(shape.message(size), None))["Profile"] for shape in shapes}

    assert taken == {shape.name: shape.profile for shape in shapes}
    assert len(taken) == len(shapes), "two shapes have the same name"


@pytest.mark.skipif(QUICK, reason="takes minutes; tests/property/test_linear_time.py is a short form")
@pytest.mark.parametrize("way", ["datagrams", "parse"])
def test_hostile_messages_take_linear_time(setup: plan.Setup, counter: Counter, way: Way) -> None:
    """Every shape, read as it is counted and as a person asks for it."""
    found = costs(counter, _all(setup), SIZES, way)
    _store(way, found)
    worst: dict[str, Cost] = {}
    # The samples of all profiles are one family.
    made = {shape.name for shape in SHAPES}
    for cost in found:
        family = cost.shape.name.partition(":")[0] if cost.shape.name in made else "samples"
        worst[family] = max(cost, worst.get(family, cost), key=lambda cost: cost.per_byte()[-1])
    print(f"\ninstructions per byte at {', '.join(str(size // KIB) for size in SIZES)} KiB, worst of each family")
    print("\n".join(told(cost) for cost in worst.values()))

    assert [told(cost) for cost in found if not cost.is_linear()] == []


@pytest.mark.skipif(QUICK, reason="takes minutes")
@pytest.mark.parametrize("way", ["octets", "lines"])
def test_a_stream_of_single_bytes_takes_linear_time(counter: Counter, way: Way) -> None:
    """The same message one byte per call, in either framing; and what keeps the framer itself busy."""
    shapes = [
        next(shape for shape in SHAPES if shape.name == "kv: many pairs"),
        Shape("framing: digits", None, b"1", b"1"),
        Shape("framing: returns", None, b"<13>x", b"\r", tail=b"x"),
        Shape("framing: line ends", None, b"<13>x", b"\n"),
        Shape("framing: counts", None, b"<13>x", b" 1"),
    ]
    found = costs(counter, shapes, SIZES, way)
    _store(way, found)
    print("\n" + "\n".join(told(cost) for cost in found))

    assert [told(cost) for cost in found if not cost.is_linear()] == []
