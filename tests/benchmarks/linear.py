"""Whether the work that messages make grows in proportion to their size."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from .hostile import Shape
from .instructions import Counter, Way

MOST_GROWTH = 1.3
"""How much more a byte may cost in a long message than in a short one; a square would be at 4 or more."""
SLACK_PER_BYTE = 1.5
"""Instructions: what a shape with next to no work of its own may gain, by a larger copy or a page more of memory."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one shape costs at each size."""

    shape: Shape
    way: Way
    instructions: Mapping[int, int]
    """By bytes of the message, smallest first."""

    def per_byte(self) -> list[float]:
        """Instructions per byte at each size, what does not depend on the size included."""
        return [instructions / size for size, instructions in self.instructions.items()]

    def per_more_byte(self) -> list[float]:
        """Instructions per byte that a message has more than the next smaller one: without what every one costs."""
        return [
            (after - before) / (size - smaller)
            for (smaller, before), (size, after) in pairwise(self.instructions.items())
        ]

    def is_linear(self) -> bool:
        """Whether no further byte costs much more than those between the two smallest sizes."""
        first, *others = self.per_more_byte()
        return max(others) <= MOST_GROWTH * max(first, 0.0) + SLACK_PER_BYTE


def costs(counter: Counter, shapes: Sequence[Shape], sizes: Sequence[int], way: Way) -> list[Cost]:
    """What each shape costs at about these sizes."""
    messages = [shape.message(size) for shape in shapes for size in sizes]
    instructions = iter(counter.count([[message] for message in messages], way))
    lengths = iter(map(len, messages))
    return [Cost(shape, way, {next(lengths): next(instructions) for _ in sizes}) for shape in shapes]


def told(cost: Cost) -> str:
    """One line for people."""
    per_byte = " ".join(f"{value:9.2f}" for value in cost.per_byte())
    growth = " ".join(f"{value:9.2f}" for value in cost.per_more_byte())
    return f"{cost.way:9} {cost.shape.name:48} {per_byte}   each byte more: {growth}"
