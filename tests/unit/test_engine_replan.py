"""Another plan while the engine works: what counts as before goes on, what does not begins anew."""

from dataclasses import replace

import pytest

from collectord import plan
from collectord.detect.rules import Rule
from collectord.engine import Engine, PlanError
from collectord.model import NS_PER_S

NOW_NS = 1_800_000_000 * NS_PER_S
DENIED = b'<164>%ASA-4-106023: Deny tcp src outside:203.0.113.1/40000 dst inside:10.0.0.1/445 by access-group "in"'


@pytest.fixture(scope="module")
def setup() -> plan.Setup:
    """The shipped configuration with one rule, on failures by source."""
    shipped = plan.load(None)
    return plan.check(shipped.config, [rule for rule in shipped.rules if rule.name == "excessive-failures"])


def changed(setup: plan.Setup, **values: object) -> plan.Setup:
    """The setup with other values of its rule."""
    (rule,) = setup.rules
    rule = replace(rule, **values)  # type: ignore[arg-type]
    assert isinstance(rule, Rule)
    return plan.check(setup.config, [rule])


def send(engine: Engine, count: int) -> None:
    """That many failures of one source, over a connection of their own."""
    stream = engine.connect(1, "192.0.2.1")
    block = bytearray((DENIED + b"\n") * count)
    assert engine.feed(stream, block, len(block), NOW_NS) == count
    engine.disconnect(stream, NOW_NS)


def over(engine: Engine) -> int:
    """The sum of the source in the open window; 0 if it is not over the rule's level."""
    changes = engine.changes(NOW_NS)
    engine.ack(changes.seq)
    return sum(key.count for window in changes.windows if not window.closed for key in window.keys)


def rows(engine: Engine) -> dict[str, list[tuple[object, ...]]]:
    changes = engine.changes(NOW_NS)
    engine.ack(changes.seq)
    return changes.rows


@pytest.mark.parametrize("values", [{"threshold": 10}, {"timespan_s": 3600, "threshold": 10}])
def test_the_same_counter_keeps_what_it_holds(setup: plan.Setup, values: dict[str, object]) -> None:
    """Another threshold, another window: no other count."""
    engine, other = setup.engine(), changed(setup, **values)
    send(engine, 9)
    assert over(engine) == 0
    engine.replan(other.plan, other.definitions)
    assert over(engine) == 9
    send(engine, 2)
    assert over(engine) == 11


@pytest.mark.parametrize(
    "values",
    [
        {"where": {"EventResult": "Failure", "DstPortNumber": 445}, "threshold": 1},
        {"group_by": ("SrcIpAddr", "DstPortNumber"), "threshold": 1},
        {"step_s": 30, "threshold": 1},
        {"weight": "records", "threshold": 1},
    ],
)
def test_another_counter_of_the_same_name_begins_anew(setup: plan.Setup, values: dict[str, object]) -> None:
    """Also what the old one had not handed over is not told as the new one's."""
    engine, other = setup.engine(), changed(setup, **values)
    send(engine, 9)
    engine.replan(other.plan, other.definitions)
    assert rows(engine) == {}
    send(engine, 2)
    found = rows(engine)["failures_by_source"]
    (definition,) = other.definitions
    assert [row[-3:] for row in found] == [(2, 2, 0)]
    assert len(found[0]) == 2 + len(definition.group_by) + 3
    assert not definition.counts_as(setup.definitions[0])


def test_rows_may_be_given_back_to_a_counter_that_is_new(setup: plan.Setup) -> None:
    """Although messages were counted meanwhile; they are added, and not handed over again."""
    none = plan.check(setup.config, [])
    engine, other = none.engine(), changed(setup, threshold=10)
    over(engine)
    engine.replan(other.plan, other.definitions)
    send(engine, 2)
    assert engine.restore("failures_by_source", [(NOW_NS // NS_PER_S, "", "203.0.113.1", 9, 9, 0)]) == 1
    changes = engine.changes(NOW_NS)
    assert [row[-3:] for row in changes.rows["failures_by_source"]] == [(2, 2, 0)]
    assert [key.count for window in changes.windows for key in window.keys] == [11]


def test_evicted_keys_of_a_new_counter_have_its_columns(setup: plan.Setup) -> None:
    config = setup.config.model_copy(update={"bounds": setup.config.bounds.model_copy(update={"keys_per_counter": 16})})
    (rule,) = setup.rules
    other = plan.check(config, [replace(rule, group_by=("SrcIpAddr", "DstPortNumber"))])
    engine = setup.engine()
    engine.replan(other.plan, other.definitions)
    stream = engine.connect(1, "192.0.2.1")
    for number in range(40):
        message = bytearray(DENIED.replace(b"113.1/", b"113.%d/" % number) + b"\n")
        engine.feed(stream, message, len(message), NOW_NS)
    assert {len(row) for row in rows(engine)["failures_by_source"]} == {7}


def test_a_wrong_plan_is_refused_whole(setup: plan.Setup) -> None:
    engine, other = setup.engine(), changed(setup, threshold=10)
    send(engine, 11)
    wrong = replace(other.plan, listeners=other.plan.listeners[:1])
    with pytest.raises(PlanError) as caught:
        engine.replan(wrong, ())
    assert [path for path, _ in caught.value.problems] == ["listeners"]
    assert rows(engine)["failures_by_source"], "rows of the definition before are still understood"
    assert over(engine) == 0
