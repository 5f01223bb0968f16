"""Blocks of log files, as Python hands them to the engine."""

import pytest

from collectord import plan
from collectord.engine import Engine
from collectord.model import NS_PER_S

START_S = 1_800_000_000  # 2027-01-15T08:00:00Z

DENIED = '%ASA-4-106023: Deny tcp src outside:203.0.113.1/40000 dst inside:10.0.0.1/22 by access-group "in"'


@pytest.fixture(scope="module")
def engine() -> Engine:
    """The shipped one."""
    return plan.load(None).engine()


def test_lines_are_read_and_counted(engine: Engine) -> None:
    """As datagrams are; blank lines are no messages."""
    block = f"<164>asa-1 : {DENIED}\n\n<164>{DENIED}\r\nnonsense".encode()
    assert engine.lines(0, "192.0.2.1", block, START_S * NS_PER_S) == 3
    changes = engine.changes(START_S * NS_PER_S)
    assert [(outcome, messages) for _, outcome, messages, _ in changes.ledger] == [("session", 2), ("unparsed", 1)]
    assert engine.lines(0, "", b"", START_S * NS_PER_S) == 0


def test_stretches_of_a_second(engine: Engine) -> None:
    """Where the second changes, and how many lines say so."""
    first, second = b"<14>Jan 15 08:00:00 fw app: x\n", b"date=2027-01-15 time=08:00:01 x=1\n"
    block = b"no time\n" + first + b"goes on\n" + first + second
    near_ns = START_S * NS_PER_S
    assert engine.stretches("", block, near_ns, None) == [
        (8, None, 1, 0),
        (len(block) - len(second), START_S, 3, 2),
        (len(block), START_S + 1, 1, 1),
    ]
    assert engine.stretches("", first, near_ns, 3_600)[0][1] == START_S - 3_600
