"""The simulated firewalls say what the profiles read, and their story raises the alerts that it promises."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest

from collectord import config as configuration
from collectord import data, plan
from collectord.cli.demo import CLEAR_AFTER_S, faster
from collectord.detect import rule_files
from collectord.detect.alerts import AlertStates
from collectord.detect.rules import Rule
from collectord.engine import Engine
from collectord.model import NS_PER_S, AlertState, Mode
from collectord.plan import Setup
from collectord.simulation.firewalls import FIREWALLS, Firewall
from collectord.simulation.senders import MOST_PER_TURN, TURN_S, framed
from collectord.simulation.traffic import (
    ATTACK_BEGINS_S,
    ATTACK_ENDS_S,
    EXPECTED_ALERTS,
    SCANNER,
    STORY,
    Flow,
    Session,
    Share,
)

MOMENT = datetime(2026, 11, 2, 8, 5, 9, tzinfo=UTC)
T0_S = 1_795_341_600

DIRECTIONS = {"outbound": {"Outbound"}, "inbound": {"Inbound", "External"}, "local": {"Local"}}
"""What comes to the public addresses is Inbound where the product says so, by the addresses alone it is External."""


@pytest.fixture(scope="module")
def setup() -> Setup:
    """The demo's rules and the defaults."""
    rules = [faster(rule) for rule in rule_files.load(data.rules()) if rule.name in EXPECTED_ALERTS]
    return plan.check(configuration.load(None), rules)


@pytest.fixture(scope="module")
def engine(setup: Setup) -> Engine:
    """It keeps nothing of what it parses."""
    return setup.engine()


@pytest.mark.parametrize("flow", STORY, ids=lambda flow: flow.name)
@pytest.mark.parametrize("firewall", FIREWALLS, ids=lambda firewall: firewall.profile)
def test_every_message_is_read_as_it_was_meant(engine: Engine, firewall: Firewall, flow: Flow) -> None:
    lot = Random(1)
    for number in range(400):
        session = flow.make(lot)
        raw = firewall.message(session, number, MOMENT)
        # Without a peer: an ASA's messages name it in the header alone, for which only a relay is believed.
        answer = json.loads(engine.parse(raw.encode(), None))
        assert (answer["Outcome"], answer["Profile"]) == ("session", firewall.profile), raw
        (read,) = answer["Sessions"]
        _compare(read, session, firewall, raw)


def _compare(read: dict[str, Any], session: Session, firewall: Firewall, raw: str) -> None:
    assert read["SrcIpAddr"] == session.source, raw
    assert read["SrcPortNumber"] == session.source_port, raw
    # An ASA names the inner address of what it translates, and the public one beside it.
    assert session.destination in (read["DstIpAddr"], read.get("DstNatIpAddr")), raw
    assert read["DstPortNumber"] == session.destination_port, raw
    assert read["NetworkProtocol"] == session.protocol.upper(), raw
    assert read["NetworkDirection"] in DIRECTIONS[session.direction], raw
    assert read["EventResult"] == ("Success" if session.allowed else "Failure"), raw
    # FortiOS's "close" is an end, not an action of the device.
    allowed = {"Allow", None} if firewall.profile == "fortinet-fortigate" else {"Allow"}
    assert read.get("DvcAction") in (allowed if session.allowed else {"Deny", "Drop"}), raw
    assert read["AdditionalFields"] == {"blocked": not session.allowed, "counted": True}, raw
    assert read["Dvc"] == firewall.name, raw


def test_surge_is_one_cell(engine: Engine) -> None:
    """The watchlist adds up per port, protocol, direction and action: the firewalls must say the same of the surge."""
    (surge,) = (flow for flow in STORY if flow.name == "smb")
    cells = set()
    for firewall in FIREWALLS:
        raw = firewall.message(surge.make(Random(1)), 1, MOMENT)
        (read,) = json.loads(engine.parse(raw.encode(), None))["Sessions"]
        cells.add(tuple(read[field] for field in ("DstPortNumber", "NetworkProtocol", "NetworkDirection", "DvcAction")))
    assert cells == {(445, "TCP", "Local", "Deny")}


def test_device_time_is_the_moment(engine: Engine) -> None:
    (ordinary, *_) = STORY
    for firewall in FIREWALLS:
        raw = firewall.message(ordinary.make(Random(1)), 1, MOMENT)
        assert "08:05:09" in raw
    assert "<14>Nov  2 08:05:09 PA-DC-01 1," in FIREWALLS[2].message(ordinary.make(Random(1)), 1, MOMENT)


def test_attack_is_over_the_limits_between_its_ends() -> None:
    _, scan, smb = STORY
    for flow, limit in ((scan, 5_000), (smb, 1_000)):
        assert flow.due(ATTACK_BEGINS_S) == 0
        assert flow.due(ATTACK_BEGINS_S + 7) > limit
        assert flow.due(ATTACK_ENDS_S) == flow.due(3_600)


def _sessions(share: Share, seconds: float, turn_s: float) -> Iterator[Session]:
    for turn in range(1, round(seconds / turn_s) + 1):
        yield from share.until(turn * turn_s, 1_000_000)


def test_same_sessions_each_time() -> None:
    first, second = (list(_sessions(Share(0, 4, seed=7), 9, 0.05)) for _ in range(2))
    assert first == second
    assert first != list(_sessions(Share(1, 4, seed=7), 9, 0.05))
    assert first != list(_sessions(Share(0, 4, seed=8), 9, 0.05))


def test_same_sessions_however_often_they_are_asked_for() -> None:
    """A slow machine turns less often; each flow still has the same sessions in the same order."""
    often, seldom = (list(_sessions(Share(0, 4, seed=7), 9, turn_s)) for turn_s in (0.05, 0.5))
    for belongs in (lambda s: s.source == SCANNER, lambda s: s.destination_port == 445):
        assert [s for s in often if belongs(s)] == [s for s in seldom if belongs(s)]
    assert len(often) == len(seldom)


def test_held_up_firewall_catches_up_in_bounded_bursts() -> None:
    share = Share(0, 4, seed=7)
    due = sum(flow.due(10, 1 / 4) for flow in STORY)
    bursts = []
    while burst := list(share.until(10, MOST_PER_TURN)):
        bursts.append(len(burst))
    assert max(bursts) == MOST_PER_TURN
    assert sum(bursts) == due


def test_turns_have_room_for_the_attack() -> None:
    busiest = sum(flow.per_s for flow in STORY) / len(FIREWALLS) * TURN_S
    assert busiest * 1.5 < MOST_PER_TURN


def test_frames() -> None:
    assert framed(b"<1>a b", "octet-counting") == b"6 <1>a b"
    assert framed(b"<1>a b", "lf") == b"<1>a b\n"
    assert framed(b"<1>a b", "udp") == b"<1>a b"


def test_demo_keeps_the_limits() -> None:
    shipped: dict[str, Rule] = {rule.name: rule for rule in rule_files.load(data.rules())}
    assert set(EXPECTED_ALERTS) <= set(shipped)
    for name in EXPECTED_ALERTS:
        quick = faster(shipped[name])
        assert (quick.threshold, quick.clear_below) == (shipped[name].threshold, shipped[name].clear_below)
        assert (quick.timespan_s, quick.step_s, quick.clear_after_s, quick.mode) == (10, 1, 15, Mode.NOTIFY)


def test_story(setup: Setup) -> None:
    """A minute of it, in the time that the machine needs: both alerts within 20 s, both clear, and nothing else."""
    engine = setup.engine()
    states = AlertStates(setup.rules, setup.watchlist)
    listener = [each.type for each in setup.config.listener].index("tcp")
    connections = [engine.connect(listener, "127.0.0.1") for _ in FIREWALLS]
    shares = [Share(number, len(FIREWALLS), seed=1) for number in range(len(FIREWALLS))]
    told: dict[tuple[str, AlertState], tuple[float, dict[str, Any]]] = {}
    for turn in range(1, 60 * 4 + 1):
        elapsed_s = turn / 4
        # Off the second, as a real start is.
        now_ns = T0_S * NS_PER_S + round((elapsed_s + 0.4) * NS_PER_S)
        for firewall, connection, share in zip(FIREWALLS, connections, shares, strict=True):
            frames = bytearray(
                b"".join(
                    framed(firewall.message(session, turn, MOMENT).encode(), "lf")
                    for session in share.until(elapsed_s, 10_000)
                )
            )
            if frames:
                engine.feed(connection, frames, len(frames), now_ns)
        if turn % 4 == 0:
            changes = engine.changes(now_ns)
            for alert in states.judge(changes.windows, now_ns):
                assert (alert.rule, alert.state) not in told
                told[alert.rule, alert.state] = (elapsed_s, alert.key)
            engine.ack(changes.seq)
    assert {(rule, state): key for (rule, state), (_, key) in told.items()} == {
        (rule, state): key for rule, key in EXPECTED_ALERTS.items() for state in (AlertState.RAISED, AlertState.CLEARED)
    }
    for rule in EXPECTED_ALERTS:
        raised_s, cleared_s = (told[rule, state][0] for state in (AlertState.RAISED, AlertState.CLEARED))
        assert ATTACK_BEGINS_S < raised_s < 15
        assert ATTACK_ENDS_S + CLEAR_AFTER_S < cleared_s < 45
