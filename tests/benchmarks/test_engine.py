"""
How long a message takes in the engine, on one core: per product, and per class of input.

Each benchmark checks its own answer: the ledger must say what became of every message, and the workload's failures must
all be counted. The best of some rounds is told: whatever else the machine does can only lengthen it.
"""

import time
from collections import Counter
from collections.abc import Sequence

import pytest

from collectord import plan
from collectord.engine import Engine

from .messages import LONG, PRODUCTS, Case, Workload, classes, octets
from .report import QUICK, Report

NOW_NS = 1_800_000_000_000_000_000
CHUNK_BYTES = 256 * 1024
"""As much as a busy TCP connection hands over at once."""

PASSES = 10 if QUICK else 40
BEST_OF = 3 if QUICK else 5
MESSAGES = 10_000 if QUICK else 50_000


def _feed(engine: Engine, wire: bytes) -> float:
    """
    Feeds all bytes over one stream; returns the seconds it took.

    Of the processor, on this thread: what else the machine does counts as little as can be.
    """
    stream = engine.connect(1, "192.0.2.1")
    chunks = [bytearray(wire[at : at + CHUNK_BYTES]) for at in range(0, len(wire), CHUNK_BYTES)]
    began = time.thread_time()
    for chunk in chunks:
        engine.feed(stream, chunk, len(chunk), NOW_NS)
    elapsed_s = time.thread_time() - began
    engine.disconnect(stream, NOW_NS)
    return elapsed_s


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_product(setup: plan.Setup, workload: Workload, report: Report, product: str) -> None:
    """The workload's messages of a product, again and again."""
    messages = [message for message in workload.messages if PRODUCTS[product](message)]
    wire = octets(messages) * PASSES
    best_s = float("inf")
    for _ in range(BEST_OF):
        engine = setup.engine()
        best_s = min(best_s, _feed(engine, wire))
        changes = engine.changes(NOW_NS)

        assert [(outcome, count) for _, outcome, count, _ in changes.ledger] == [("session", PASSES * len(messages))]
        if product == "all":
            rows = changes.rows["failures_by_source"]
            assert (sum(row[3] for row in rows), len(rows)) == (PASSES * workload.failures, workload.sources)
    report.add(f"engine, {workload.name}", product, best_s * 1e9 / (PASSES * len(messages)), "ns per message")


def test_classes_of_input(setup: plan.Setup, report: Report) -> None:
    """Clean, unknown, hostile and so on."""
    for name, cases in classes(setup, MESSAGES).items():
        _class(setup, report, name, cases)


def _class(setup: plan.Setup, report: Report, name: str, cases: Sequence[Case]) -> None:
    wire = octets([message for message, _ in cases])
    want = Counter(outcome for _, outcome in cases)
    best_s = float("inf")
    for _ in range(BEST_OF):
        engine = setup.engine()
        best_s = min(best_s, _feed(engine, wire))
        ledger = {outcome: messages for _, outcome, messages, _ in engine.changes(NOW_NS).ledger if messages}
        assert ledger == want, name
    report.add("engine, classes of input", name, best_s * 1e9 / len(cases), "ns per message")
    if name.startswith(LONG):
        report.add("engine, by the byte", name, best_s * 1e9 / len(wire), "ns per byte")
