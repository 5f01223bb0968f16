"""What the engine notes beside counters: devices, unread messages, unmapped words; how it remembers connections."""

import json
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from collectord import plan, toml
from collectord.engine import Engine, Plan, PlanError
from collectord.model import NS_PER_S, OUTCOMES, Changes, DeviceSighting, UnreadGroup

NOW_NS = 1_800_000_000 * NS_PER_S
"""2027-01-15 08:00:00 UTC."""

PEER, RELAY = "192.0.2.1", "192.0.2.200"

ACME = """
name = "acme"
title = "Acme Wall"
EventVendor = "Acme"
EventProduct = "Wall"
detect = [{ starts = "acme " }]
reader = "kv"
id = "type"

[fields]
DvcHostname = "devname"
SrcIpAddr = "from"
DstIpAddr = "to"
DstPortNumber = "port"
EventCount = "count"

[[map]]
from = "verdict"
to.yes = { DvcAction = "Allow" }
to.no = { DvcAction = "Deny" }

[[message]]
id = "note"
session = false

[[message]]
id = "*"
"""

FLOW = """
name = "flow"
title = "Built and torn down"
EventVendor = "Acme"
EventProduct = "Flow"
detect = [{ starts = "%FLOW-" }]
reader = "template"
prefix = "%FLOW-{EventOriginalType}: "
id = "EventOriginalType"

[[message]]
id = "302013"
template = "Built {direction_word} {NetworkSessionId} for {SrcIpAddr}/{SrcPortNumber} to {DstIpAddr}/{DstPortNumber}"
orient = "opens"
set = { DvcAction = "Deny" }
[[message.map]]
from = "direction_word"
to.outbound = { swap = true }

[[message]]
id = "302014"
template = "Teardown {NetworkSessionId} for {SrcIpAddr}/{SrcPortNumber} to {DstIpAddr}/{DstPortNumber}"
orient = "ends"
set = { DvcAction = "Deny" }
"""

MANY = """
name = "many"
title = "Several sessions in one message"
EventVendor = "Acme"
EventProduct = "Cloud"
detect = [{ starts = '{"flows"' }]
reader = "json"
each = "flows[]"

[fields]
DvcHostname = "flows[].dev"
SrcIpAddr = "flows[].src"
DstIpAddr = "flows[].dst"
DstPortNumber = "flows[].port"

[[map]]
from = "flows[].verdict"
to.yes = { DvcAction = "Allow" }
to.no = { DvcAction = "Deny" }
"""

Make = Callable[..., Engine]


@pytest.fixture(scope="module")
def setup() -> plan.Setup:
    """The shipped rules and their counters; profiles are the tests' own."""
    return plan.load(None)


@pytest.fixture
def make(setup: plan.Setup) -> Make:
    """Makes an engine with the profiles above; any value of the plan can be given."""

    def make(**values: Any) -> Engine:
        profiles = [toml.parse(text, "profile").values for text in (ACME, FLOW, MANY)]
        wanted: Plan = replace(setup.plan, **{"profiles": profiles, **values})
        return Engine(wanted, setup.definitions)

    return make


def send(
    engine: Engine, *messages: bytes | str, peer: str = PEER, now_ns: int = NOW_NS, listener: int = 0
) -> None:  # fmt: skip
    """Messages of one peer as datagrams, without a socket."""
    wire = [(message.encode() if isinstance(message, str) else message, peer) for message in messages]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as empty:
        engine.receive(listener, empty.fileno(), now_ns, len(wire) + 1, wire)


def acme(rest: str = "verdict=no", header: str = "<13>") -> str:
    return f"{header}acme from=203.0.113.1 to=198.51.100.1 port=22 {rest}"


def taken(engine: Engine, now_ns: int = NOW_NS) -> Changes:
    """A batch, acknowledged."""
    changes = engine.changes(now_ns)
    engine.ack(changes.seq)
    return changes


def devices(changes: Changes) -> dict[str, DeviceSighting]:
    found = {seen.name: seen for seen in changes.devices}
    assert len(found) == len(changes.devices)
    return found


def groups(changes: Changes) -> dict[str, UnreadGroup]:
    return {group.shape: group for group in changes.quarantine}


def sources(changes: Changes) -> dict[str, int]:
    """Source -> failed sessions."""
    return {row[2]: row[3] for row in changes.rows.get("failures_by_source", [])}


def messages(changes: Changes) -> dict[str, int]:
    """Messages by outcome."""
    found: Counter[str] = Counter()
    for _, outcome, count, _ in changes.ledger:
        found[outcome] += count
    return dict(found)


class TestDevices:
    """Who a message is from, and what is kept of it."""

    def test_by_what_the_message_says(self, make: Make) -> None:
        engine = make(relays=[f"{RELAY}/32"])
        send(engine, acme("devname=fw-1"), acme("devname=fw-1", "<13>Jan 15 08:00:00 other-host "), peer=RELAY)

        assert list(devices(taken(engine))) == ["fw-1"]

    def test_by_the_header_behind_a_relay(self, make: Make) -> None:
        engine = make(relays=["192.0.2.192/26"])
        send(engine, acme(header="<13>Jan 15 08:00:00 fw-2 "), peer=RELAY)
        (seen,) = taken(engine).devices

        assert (seen.name, seen.peer) == ("fw-2", RELAY)

    @pytest.mark.parametrize("inner", ["<13>Jan 15 07:59:00 fw-2 ", "Jan 15 07:59:00 fw-2 "])
    def test_by_the_header_that_a_relay_put_its_own_in_front_of(self, make: Make, inner: str) -> None:
        """Its time is that of the device's clock; from anybody else neither is taken."""
        engine = make(relays=[RELAY])
        message = acme(header=f"<13>Jan 15 08:00:00 log-1 {inner}")
        send(engine, message, peer=RELAY)
        (seen,) = taken(engine).devices
        send(engine, message)
        (stranger,) = taken(engine).devices

        assert (seen.name, seen.clock_off_ms, seen.messages["session"]) == ("fw-2", -60_000, 1)
        assert (stranger.name, stranger.clock_off_ms) == (PEER, 0)

    @pytest.mark.parametrize("header", ["<13>", "<13>Jan 15 08:00:00 fw-2 "])
    def test_else_by_the_peer(self, make: Make, header: str) -> None:
        """Anybody can write any host into a header."""
        engine = make(relays=["198.51.100.0/24"])
        send(engine, acme(header=header))

        assert list(devices(taken(engine))) == [PEER]

    def test_a_relay_that_names_nobody(self, make: Make) -> None:
        engine = make(relays=[RELAY])
        send(engine, acme(), peer=RELAY)

        assert list(devices(taken(engine))) == [RELAY]

    def test_unread_and_unknown_messages_are_a_device_s_too(self, make: Make) -> None:
        engine = make()
        send(engine, acme(), acme("type=note"), "%FLOW-302013: else", "unknown to all", "")
        (seen,) = taken(engine).devices

        # What is empty tells nothing of its sender.
        assert seen.messages == {**dict.fromkeys(OUTCOMES, 0), "session": 1, "event": 1, "unparsed": 2}
        assert (seen.profile, seen.last_ns, seen.listener, seen.site) == ("flow", NOW_NS, 0, "")

    def test_counts_are_increments(self, make: Make) -> None:
        engine = make()
        send(engine, acme(), acme())
        assert devices(taken(engine))[PEER].messages["session"] == 2
        assert taken(engine).devices == ()
        send(engine, acme(), now_ns=NOW_NS + 5)
        seen = devices(taken(engine))[PEER]
        assert (seen.messages["session"], seen.last_ns) == (1, NOW_NS + 5)

    def test_streams_have_peers_as_well(self, make: Make) -> None:
        engine = make()
        stream = engine.connect(1, "2001:db8::7")
        line = bytearray(acme().encode() + b"\n")
        engine.feed(stream, line, len(line), NOW_NS)
        (seen,) = taken(engine).devices

        assert (seen.name, seen.listener) == ("2001:db8::7", 1)

    def test_a_name_that_is_no_text(self, make: Make) -> None:
        engine = make()
        for _ in range(2):
            send(engine, acme("devname=fw").encode().replace(b"=fw", b'="fw\xff\x1b[2J"'))
        (seen,) = taken(engine).devices

        assert (seen.name, seen.messages["session"]) == ("fw\ufffd\x1b[2J", 2)

    def test_an_unacknowledged_batch_is_handed_over_again(self, make: Make) -> None:
        engine = make()
        send(engine, acme(), "unknown", acme("verdict=maybe"), acme("count=9999999999"))
        first = engine.changes(NOW_NS)
        send(engine, acme("devname=late"), "unknown 2")
        again = engine.changes(NOW_NS)

        for name in ("devices", "quarantine", "unmapped", "clamped", "not_quarantined"):
            assert getattr(first, name) == getattr(again, name)
        engine.ack(first.seq)
        rest = taken(engine)
        assert list(devices(rest)) == ["late", PEER]
        assert (rest.unmapped, rest.clamped, len(rest.quarantine)) == ([], 0, 1)


class TestTable:
    """What the operator says of a device wins."""

    def test_site(self, make: Make) -> None:
        table = [{"name": PEER, "site": "branch"}]
        engine = make(devices=table, listeners=[("udp", "north", ()), ("tcp", "south", ())])
        send(engine, acme())
        send(engine, acme(), peer="192.0.2.2")
        changes = taken(engine)

        assert {seen.name: seen.site for seen in changes.devices} == {PEER: "branch", "192.0.2.2": "north"}
        assert sorted(row[1] for row in changes.rows["failures_by_source"]) == ["branch", "north"]

    def test_by_host_behind_a_relay(self, make: Make) -> None:
        """Host names know no case (RFC 4343); who is no relay can't claim one."""
        engine = make(relays=[RELAY], devices=[{"name": "FW-2", "site": "branch"}])
        message = acme(header="<13>Jan 15 08:00:00 fw-2 ")
        send(engine, message, peer=RELAY)
        send(engine, message)

        assert {seen.name: seen.site for seen in taken(engine).devices} == {"fw-2": "branch", PEER: ""}

    @pytest.mark.parametrize("name", ["2001:DB8:0::7", "2001:db8::7"])
    def test_any_spelling_of_an_address(self, make: Make, name: str) -> None:
        engine = make(devices=[{"name": name, "site": "branch"}])
        send(engine, acme(), peer="2001:db8::7")

        assert [seen.site for seen in taken(engine).devices] == ["branch"]

    def test_profile(self, make: Make) -> None:
        """It reads all that the device sends, and nothing that others send."""
        engine = make(devices=[{"name": PEER, "profile": "acme"}])
        bare = "<13>from=203.0.113.1 to=198.51.100.1 verdict=no"
        send(engine, bare, "%FLOW-302014: Teardown 1 for 203.0.113.9/1 to 10.0.0.1/2")
        send(engine, bare, peer="192.0.2.2")
        changes = taken(engine)

        assert sources(changes) == {"203.0.113.1": 1}
        assert {seen.name: seen.profile for seen in changes.devices} == {PEER: "acme", "192.0.2.2": ""}
        assert json.loads(engine.parse(bare.encode(), PEER))["Profile"] == "acme"
        assert json.loads(engine.parse(bare.encode(), "192.0.2.2"))["Profile"] is None

    def test_a_profile_that_is_none(self, make: Make) -> None:
        with pytest.raises(PlanError) as caught:
            make(devices=[{"name": "fw"}, {"name": PEER, "profile": "acne"}])
        assert caught.value.problems == [("devices[1].profile", 'there is no profile "acne"')]


class TestClock:
    """How far a device's clock is off."""

    @pytest.mark.parametrize(
        ("stamp", "utc_offset_s", "off_ms"),
        [
            ("Jan 15 08:00:00", None, 0),
            ("Jan 15 07:59:58", None, -2000),
            ("Jan 15 09:00:00", None, 3_600_000),
            ("Jan 15 09:00:00", 3600, 0),
            ("Jan 15 02:30:07", -19_800, 7000),
            # With a zone of its own the table is not asked.
            ("2027-01-15T08:00:00.250Z", 3600, 250),
            ("2027-01-15T10:00:00+02:00", None, 0),
            # The year is that which brings the stamp nearest.
            ("Dec 31 08:00:00", None, -15 * 86_400_000),
        ],
    )
    def test_less_ours(self, make: Make, stamp: str, utc_offset_s: int | None, off_ms: int) -> None:
        table = [] if utc_offset_s is None else [{"name": PEER, "utc_offset_s": utc_offset_s}]
        engine = make(devices=table)
        send(engine, acme(header=f"<13>{stamp} fw "))

        assert [seen.clock_off_ms for seen in taken(engine).devices] == [off_ms]

    def test_without_a_time(self, make: Make) -> None:
        engine = make()
        send(engine, acme())

        assert [seen.clock_off_ms for seen in taken(engine).devices] == [None]


class TestQuarantine:
    """What could not be read."""

    def test_by_peer_and_shape_with_the_first_as_example(self, make: Make) -> None:
        engine = make()
        send(engine, "<13>app[12]: port 99 up", "<13>app[7]: port 1 up", "<13>app: down", now_ns=NOW_NS)
        send(engine, "<13>app[1]: port 5 up", peer="192.0.2.2", now_ns=NOW_NS + 1)
        send(engine, "<13>app[1]: port 5 up", listener=1)
        found = taken(engine).quarantine

        assert sorted((group.listener, group.peer, group.messages, group.example) for group in found) == [
            (0, PEER, 1, b"<13>app: down"),
            (0, PEER, 2, b"<13>app[12]: port 99 up"),
            (0, "192.0.2.2", 1, b"<13>app[1]: port 5 up"),
            (1, PEER, 1, b"<13>app[1]: port 5 up"),
        ]
        assert {group.profile for group in found} == {""}
        assert taken(engine).quarantine == ()

    def test_the_profile_that_could_not(self, make: Make) -> None:
        engine = make()
        send(engine, "%FLOW-302013: something else", "%FLOW-302013: something else", now_ns=NOW_NS + 7)
        (group,) = taken(engine).quarantine

        assert (group.profile, group.messages, group.last_ns) == ("flow", 2, NOW_NS + 7)
        assert group.shape.endswith("FLOW-0: something else")

    def test_what_is_read_is_not_there(self, make: Make) -> None:
        engine = make()
        send(engine, acme(), acme("type=note"), "", "x" * 70_000)

        assert taken(engine).quarantine == ()

    def test_bytes_of_any_kind(self, make: Make) -> None:
        """The example is what was sent; the shape is safe to show."""
        engine = make()
        message = b"<13>\xff\x1b[2J[red]" + bytes(range(256))
        send(engine, message)
        (group,) = taken(engine).quarantine

        assert group.example == message
        assert group.shape.isprintable()
        assert group.shape.isascii()

    def test_a_long_one_is_cut(self, make: Make) -> None:
        engine = make()
        send(engine, "<13>unknown " + "x" * 60_000)
        (group,) = taken(engine).quarantine

        assert len(group.example) == 8192

    def test_a_flood_of_shapes(self, make: Make) -> None:
        """A thousand groups a batch; all others are in the ledger, and are told."""
        engine = make()
        letters = str.maketrans("0123456789", "abcdefghij")
        send(engine, *(f"<13>{number}".translate(letters) + ": up" for number in range(1200)))
        changes = taken(engine)

        assert (len(changes.quarantine), changes.not_quarantined) == (1000, 200)
        assert messages(changes) == {"unparsed": 1200}
        assert taken(engine).not_quarantined == 0


class TestWords:
    """Vendors' words that no map knows."""

    def test_counted_by_profile_and_source(self, make: Make) -> None:
        engine = make()
        send(engine, acme("verdict=Maybe"), acme("verdict=MAYBE"), acme("verdict=never"), acme(), acme(""))
        found = taken(engine).unmapped

        assert sorted(found) == [("acme", "verdict", "maybe", 2), ("acme", "verdict", "never", 1)]
        assert taken(engine).unmapped == []

    def test_bounded(self, make: Make) -> None:
        engine = make()
        send(engine, *(acme(f"verdict=w{number}{'x' * 100}") for number in range(1500)))
        found = taken(engine).unmapped

        assert len(found) == 1024
        assert {len(word) for _, _, word, _ in found} == {64}

    def test_bytes_that_are_no_text(self, make: Make) -> None:
        engine = make()
        send(engine, acme("verdict=x").encode().replace(b"=x", b'="\xff\x1b[2J"'))

        assert list(taken(engine).unmapped) == [("acme", "verdict", "\ufffd\x1b[2j", 1)]


class TestClamped:
    """Records that claim a larger EventCount than one may."""

    def test_told_and_counted_as_the_bound(self, make: Make) -> None:
        engine = make(event_count=100)
        send(engine, acme("verdict=no count=100"), acme("verdict=no count=101"), acme("verdict=no count=9" + "9" * 17))
        changes = taken(engine)

        assert (changes.clamped, sources(changes)) == (2, {"203.0.113.1": 300})
        assert taken(engine).clamped == 0

    def test_a_counter_may_take_less_of_a_record(self, make: Make, setup: plan.Setup) -> None:
        """Whatever it is too much for, the record is told once."""
        [failures] = [counter for counter in setup.plan.counters if counter["name"] == "failures_by_source"]
        engine = make(counters=[failures | {"record_max": 7}], event_count=100)
        send(engine, acme("verdict=no count=7"), acme("verdict=no count=8"), acme("verdict=no count=101"))
        changes = taken(engine)

        assert (changes.clamped, sources(changes)) == (2, {"203.0.113.1": 21})

    def test_a_counter_may_take_less_of_a_record_by_port(self, make: Make, setup: plan.Setup) -> None:
        [failures] = [counter for counter in setup.plan.counters if counter["name"] == "failures_by_source"]
        failures = failures | {"group_by": ["DstPortNumber"], "rules": []}
        values = {"field": "DstPortNumber", "values": {"445": 7}}
        for record_max, others in ((values, 50), (values | {"others": 9}, 9)):
            engine = make(counters=[failures | {"record_max": record_max}], event_count=100)
            send(engine, *(acme("verdict=no count=50").replace("=22", f"={port}") for port in (445, 445, 446)))
            changes = taken(engine)
            assert {445: 14, 446: others} == {row[2]: row[3] for row in changes.rows["failures_by_source"]}
            assert changes.clamped == (3 if others < 50 else 2)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"record_max": 0},
            {"record_max": 5, "weight": "records"},
            {"record_max": "5"},
            {"record_max": {"field": "DstPortNumber", "values": {"445": 7}}},
            {"record_max": {"field": "SrcIpAddr", "values": {"445": 7}}},
            {"record_max": {"field": "DstPortNumber"}, "group_by": ["DstPortNumber"]},
            {"record_max": {"field": "DstPortNumber", "values": {"445": 0}}, "group_by": ["DstPortNumber"]},
            {"record_max": {"field": "DstPortNumber", "values": {}, "others": 0}, "group_by": ["DstPortNumber"]},
            {"pinned": {"field": "DstPortNumber", "values": [445]}},
            {"pinned": {"field": "DstPortNumber"}, "group_by": ["DstPortNumber"]},
            {"pinned": {"field": "DstPortNumber", "values": ["445"]}, "group_by": ["DstPortNumber"]},
            {"pinned": {"field": "SrcIpAddr", "values": [445]}, "group_by": ["SrcIpAddr"]},
        ],
    )
    def test_a_bound_that_makes_no_sense_is_refused(self, make: Make, setup: plan.Setup, wrong: dict[str, Any]) -> None:
        [failures] = [counter for counter in setup.plan.counters if counter["name"] == "failures_by_source"]
        with pytest.raises(PlanError, match=r"record_max|pinned"):
            make(counters=[failures | {"rules": []} | wrong])


def built(number: int, direction: str = "outbound", ends: Sequence[str] = ("10.0.0.1", "10.0.0.2")) -> str:
    """An outbound connection stands with its destination first."""
    return f"<166>%FLOW-302013: Built {direction} {number} for {ends[0]}/443 to {ends[1]}/40000"


def torn_down(number: int, ends: Sequence[str] = ("10.0.0.1", "10.0.0.2")) -> str:
    return f"<166>%FLOW-302014: Teardown {number} for {ends[0]}/443 to {ends[1]}/40000"


class TestConnections:
    """A teardown does not say who began; the message that its connection was built with does."""

    @pytest.mark.parametrize(("direction", "source"), [("outbound", "10.0.0.2"), ("inbound", "10.0.0.1")])
    def test_a_teardown_takes_the_direction_of_the_start(self, make: Make, direction: str, source: str) -> None:
        """Although both ends are internal, so that addresses tell nothing."""
        engine = make()
        send(engine, built(17, direction))
        assert sources(taken(engine)) == {source: 1}
        send(engine, torn_down(17))
        assert sources(taken(engine)) == {source: 1}

    def test_it_wins_over_the_networks(self, make: Make) -> None:
        ends = ("203.0.113.9", "10.0.0.1")
        engine = make()
        send(engine, built(17, "inbound", ends), torn_down(17, ends))

        assert sources(taken(engine)) == {"203.0.113.9": 2}

    @pytest.mark.parametrize(
        ("ends", "source"),
        [
            (("203.0.113.9", "10.0.0.1"), "10.0.0.1"),
            (("10.0.0.1", "203.0.113.9"), "10.0.0.1"),
            (("10.0.0.1", "10.0.0.2"), "10.0.0.1"),
        ],
    )
    def test_one_that_nobody_knows_goes_by_the_networks(self, make: Make, ends: Sequence[str], source: str) -> None:
        engine = make()
        send(engine, built(17), torn_down(18, ends))

        assert sources(taken(engine))[source] >= 1
        send(engine, torn_down(18, ends))
        assert sources(taken(engine)) == {source: 1}

    def test_numbers_belong_to_a_device(self, make: Make) -> None:
        engine = make()
        send(engine, built(17))
        taken(engine)
        send(engine, torn_down(17), peer="192.0.2.2")

        assert sources(taken(engine)) == {"10.0.0.1": 1}

    def test_a_number_used_again(self, make: Make) -> None:
        engine = make()
        send(engine, built(17), built(17, "inbound"))
        taken(engine)
        send(engine, torn_down(17))

        assert sources(taken(engine)) == {"10.0.0.1": 1}

    def test_the_oldest_are_forgotten(self, make: Make) -> None:
        """65,536 are remembered; a teardown of one before goes by the networks."""
        engine = make()
        send(engine, *(built(number) for number in range(65_537)))
        taken(engine)
        send(engine, torn_down(0))
        assert sources(taken(engine)) == {"10.0.0.1": 1}
        send(engine, torn_down(1), torn_down(65_536))
        assert sources(taken(engine)) == {"10.0.0.2": 2}

    def test_a_new_plan_does_not_forget(self, setup: plan.Setup, make: Make) -> None:
        engine = make()
        send(engine, built(17))
        taken(engine)
        raw = replace(setup.plan, profiles=[toml.parse(FLOW, "profile").values]).as_json()
        engine._engine.replan(raw)
        send(engine, torn_down(17))

        assert sources(taken(engine)) == {"10.0.0.2": 1}

    def test_parse_knows_no_other_message(self, make: Make) -> None:
        engine = make()
        send(engine, built(17))
        (session,) = json.loads(engine.parse(torn_down(17).encode(), PEER))["Sessions"]

        assert session["SrcIpAddr"] == "10.0.0.1"


def flows(*sessions: dict[str, Any]) -> bytes:
    return json.dumps({"flows": list(sessions)}).encode()


def flow(source: int, verdict: str = "no", **more: Any) -> dict[str, Any]:
    return {"src": f"203.0.113.{source}", "dst": "10.0.0.1", "port": 22, "verdict": verdict, **more}


class TestEach:
    """Several sessions in one message."""

    def test_one_message_has_one_outcome(self, make: Make) -> None:
        engine = make()
        message = flows(flow(1), flow(1), flow(2), flow(3, "yes"))
        send(engine, message)
        changes = taken(engine)

        assert changes.ledger == [(0, "session", 1, len(message))]
        assert sources(changes) == {"203.0.113.1": 2, "203.0.113.2": 1}
        assert sum(row[-3] for row in changes.rows["port_volume"]) == 4
        assert devices(changes)[PEER].messages["session"] == 1

    def test_received_is_the_sum_of_outcomes(self, make: Make) -> None:
        engine = make()
        wire = [
            flows(*(flow(number) for number in range(250))),
            flows(flow(1), {"port": 22}, flow(2)),
            flows({"port": 22}),
            flows(),
            b'{"flows": "none"}',
            b'{"flows": [{"src": "203.0.113.1"',
            b'{"flows" ',
            b"",
        ]
        send(engine, *wire)
        changes = taken(engine)

        assert sum(messages(changes).values()) == len(wire)
        assert sum(size for *_, size in changes.ledger) == sum(map(len, wire))
        assert messages(changes)["session"] >= 2
        assert sources(changes)["203.0.113.1"] >= 2
        # What is empty has no device; every other message is one device's.
        assert sum(sum(seen.messages.values()) for seen in changes.devices) == len(wire) - 1
        assert sum(group.messages for group in changes.quarantine) == messages(changes).get("unparsed", 0)

    def test_sessions_do_not_leak_into_each_other(self, make: Make) -> None:
        engine = make()
        message = flows(flow(1, "no", dev="fw-1"), {"src": "203.0.113.2", "dst": "10.0.0.1"})
        first, second = json.loads(engine.parse(message))["Sessions"]

        assert (first["DvcAction"], first["DstPortNumber"], first["DvcHostname"]) == ("Deny", 22, "fw-1")
        assert not {"DvcAction", "DstPortNumber", "DvcHostname"} & set(second)

    def test_parse_tells_all_of_them(self, make: Make) -> None:
        answer = json.loads(make().parse(flows(*(flow(number) for number in range(20)))))

        assert answer["Outcome"] == "session"
        assert [session["SrcIpAddr"] for session in answer["Sessions"]] == [f"203.0.113.{n}" for n in range(20)]
