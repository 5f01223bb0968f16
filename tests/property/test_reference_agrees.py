"""
Two readings, made apart from each other, agree on what the four products send.

``tests/reference/reader.py`` is slow, obvious and written from the vendors' tables; the engine reads by profiles. The
messages here are made up of whatever a device may put into each place.
"""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectord import plan
from collectord.engine import Engine


@pytest.fixture(scope="module")
def reader(repository: Path) -> ModuleType:
    """tests/reference is no package."""
    spec = importlib.util.spec_from_file_location("collectord_reader", repository / "tests/reference/reader.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # Dataclasses look their module up.
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def engine(setup: plan.Setup) -> Engine:
    """Reads with the shipped profiles and the default networks."""
    return plan.sample_engine(setup.plan)


def one_of(*texts: str) -> st.SearchStrategy[str]:
    return st.sampled_from(texts)


@st.composite
def any_case(draw: st.DrawFn, texts: st.SearchStrategy[str]) -> str:
    """Devices write their words in this case or that; nobody should care."""
    text = draw(texts)
    return draw(st.sampled_from([text, text, text.upper(), text.lower(), text.capitalize()]))


IPV4 = st.one_of(
    st.integers(0, 255).map("192.0.2.{}".format),
    st.integers(0, 255).map("203.0.113.{}".format),
    st.integers(0, 2**24 - 1).map(lambda n: f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}"),
    one_of("172.16.0.0", "172.31.255.255", "172.32.0.1", "192.168.0.1", "192.169.0.1", "127.0.0.1", "224.0.0.251"),
)
IPV6 = st.one_of(
    st.integers(0, 2**64).map(lambda n: f"2001:db8:{n >> 48 & 0xFFFF:x}:{n >> 32 & 0xFFFF:x}::{n & 0xFFFF:x}"),
    one_of(
        "2001:db8::1", "fd00::1", "fc00:1:2:3:4:5:6:7", "fe80::1", "2001:DB8::A", "2001:db8:0:0:1:0:0:1", "ff02::fb"
    ),
)
ADDRESS = st.one_of(IPV4, IPV4, IPV6)
PORT = st.integers(0, 65_535).map(str)
NUMBER = st.integers(0, 10**12).map(str)
PROTOCOL_NUMBER = st.integers(0, 255).map(str)
NAME = st.text("abcXYZ019-_", min_size=1, max_size=12)
COUNT = one_of("0", "1", "2", "17", "999999", "1000000", "1000001", "4294967296", "")
HEADER = one_of("<134>Nov 22 08:30:00 fw-01 ", "<134>1 2026-11-22T08:30:00Z fw-01 - - - - ", "<134>")


@st.composite
def fortigate(draw: st.DrawFn) -> str:
    """A traffic log in any order of its keys, blank or comma separated."""
    pairs = {
        "srcip": ADDRESS,
        "dstip": ADDRESS,
        "srcport": PORT,
        "dstport": PORT,
        "proto": PROTOCOL_NUMBER,
        "action": any_case(
            one_of(
                "accept", "close", "deny", "client-rst", "server-rst", "ip-conn", "timeout", "start", "dns", "else", ""
            )
        ),
        "utmaction": any_case(one_of("allow", "block", "blocked", "reset", "dropped", "detected", "")),
        "policyname": NAME.map('"{}"'.format),
        "service": one_of('"HTTPS"', '"tcp/8080"', '"a b"', '"a=b"', '"srcip=192.0.2.1"'),
        "sentbyte": NUMBER,
        "duration": NUMBER,
    }
    # Without any address there is no session; the reader does not look at that.
    chosen = draw(st.lists(st.sampled_from(sorted(pairs)), unique=True).filter({"srcip", "dstip"}.intersection))
    parts = [f"{key}={draw(pairs[key])}" for key in chosen]
    parts = [
        f'{key}="{value}"' if '"' not in value and draw(st.booleans()) else part
        for part in parts
        for key, _, value in [part.partition("=")]
    ]
    kind = draw(one_of("traffic", "traffic", "traffic", "event"))
    separator = draw(one_of(" ", ","))
    start = ["date=2026-11-22", "time=08:30:00", 'devname="FGT"', 'logid="0000000013"', f'type="{kind}"']
    return "<189>" + separator.join([*start, 'subtype="forward"', 'vd="root"', *parts])


@st.composite
def panos(draw: st.DrawFn) -> str:
    """A TRAFFIC log of 60 columns."""
    columns = [""] * 60
    columns[:7] = ["1", "2026/11/22 08:30:00", "0123", "TRAFFIC", "", "2562", "2026/11/22 08:30:00"]
    columns[4] = draw(any_case(one_of("start", "end", "drop", "deny")))
    columns[7], columns[8] = draw(ADDRESS), draw(ADDRESS)
    columns[11] = draw(one_of("rule", '"a, b"', '"say ""no"""', ""))
    columns[23] = draw(COUNT)
    columns[24], columns[25] = draw(PORT), draw(PORT)
    columns[29] = draw(any_case(one_of("tcp", "udp", "icmp", "esp", "hopopt", "6", "")))
    columns[30] = draw(
        any_case(
            one_of(
                "allow", "deny", "drop", "drop-icmp", "drop icmp", "reset-client", "reset client", "reset-server",
                "reset server", "reset-both", "reset both", "sinkhole", "",
            )
        )
    )  # fmt: skip
    columns[46] = draw(
        any_case(
            one_of(
                "threat", "policy-deny", "decrypt-cert-validation", "decrypt-unsupport-param", "decrypt-error",
                "tcp-rst-from-client", "tcp-rst-from-server", "resources-unavailable", "tcp-fin", "tcp-reuse",
                "decoder", "aged-out", "unknown", "n/a", "",
            )
        )
    )  # fmt: skip
    return draw(HEADER) + ",".join(columns)


@st.composite
def cef(draw: st.DrawFn) -> str:
    """A record of Check Point or of anybody, with any of the keys that matter in any order."""
    is_checkpoint = draw(st.booleans())
    pairs = {
        "src": st.one_of(ADDRESS, one_of("host-01")),
        "dst": ADDRESS,
        "spt": PORT,
        "dpt": st.one_of(PORT, one_of("65536", "x", "-1")),
        "proto": st.one_of(PROTOCOL_NUMBER, any_case(one_of("tcp", "udp", "icmp"))),
        "cnt": COUNT,
        "act": any_case(
            one_of(
                "Accept", "Allow", "Bypass", "Drop", "Reject", "Block", "Encrypt", "Decrypt", "Redirect", "allowed",
                "permit", "start", "deny", "denied", "blocked", "drop icmp", "reset", "rst", "reset source",
                "client-rst", "reset client", "reset destination", "server-rst", "reset server", "vpnroute",
                "close", "closed", "",
            )
        ),
        "reason": one_of("a b", "x", r"rule\=5", r"a\\b", r"two\nlines"),
        "msg": one_of("some text", "a | b", r"src\=192.0.2.1"),
    }  # fmt: skip
    if is_checkpoint:
        zone = any_case(one_of("Internal", "External", "Local", "DMZ", ""))
        pairs |= {
            "inzone": zone,
            "outzone": zone,
            "conn_direction": any_case(one_of("Incoming", "Outgoing", "Internal", "else", "")),
        }
    else:
        pairs |= {"deviceDirection": one_of("0", "1", "2", ""), "c6a2": IPV6, "c6a3": IPV6}
    chosen = draw(st.lists(st.sampled_from(sorted(pairs)), unique=True))
    if is_checkpoint and not {"src", "dst"} & set(chosen):
        chosen.append("dst")
    if "src" in chosen and "dst" not in chosen:
        chosen.append("dst")
    product = (
        draw(one_of("Check Point", "CheckPoint", "check point")) + "|VPN-1 & FireWall-1"
        if is_checkpoint
        else draw(one_of(r"Acme\|Co|Wall", "Acme|Wall"))
    )
    extension = " ".join(f"{key}={draw(pairs[key])}" for key in chosen)
    return f"{draw(HEADER)}CEF:0|{product}|1.2|Log|HTTPS|Unknown|{extension}"


INTERFACE = one_of("inside", "outside", "DMZ-1", "Mgmt")
ASA_USER = one_of("", "", r"(CORP\jdoe)", "(jdoe)")
WORD_PROTOCOL = any_case(one_of("tcp", "udp", "icmp", "esp", "gre"))


@st.composite
def asa(draw: st.DrawFn) -> str:
    """One of the messages that tell of a session."""

    def end(user: bool = True, port: bool = True) -> str:
        return draw(ADDRESS) + (f"/{draw(PORT)}" if port else "") + (draw(ASA_USER) if user else "")

    def named(user: bool = True, port: bool = True) -> str:
        return f"{draw(INTERFACE)}:{end(user, port)}"

    def mapped() -> str:
        return f"{named(user=False)} ({end(user=False)}){draw(ASA_USER)}"

    def icmp_end() -> str:
        return f"{draw(ADDRESS)}/{draw(PORT)}"

    protocol = draw(st.one_of(WORD_PROTOCOL, PROTOCOL_NUMBER.map("protocol {}".format)))
    # Only these two have any; ICMP's numbers stand in parentheses, or are no ports.
    has_ports = protocol.lower() in ("tcp", "udp")
    service_protocol = draw(any_case(one_of("tcp", "udp")))
    direction = draw(one_of("inbound", "outbound"))
    duration = draw(one_of("0:00:01", "1:02:03", "123:59:59"))
    why = draw(
        one_of(
            "", " TCP FINs", " TCP Reset-O", " TCP Reset-I from outside", " SYN Timeout", " Deny Terminate", " Unknown",
            " Flow closed by inspection", " No valid adjacency", " Xlate Clear", " Something new", " TCP FINs (jdoe)",
            " TCP Reset-APPLIANCE from inside (jdoe)",
        )
    )  # fmt: skip
    hits = draw(st.integers(0, 2_000_000))
    texts = {
        "106001": f"Inbound TCP connection denied from {end(False)} to {end(False)} flags SYN  on interface outside",
        "106006": f"Deny inbound UDP from {end()} to {end()} on interface outside",
        "106007": f"Deny inbound UDP from {end()} to {end()} due to DNS {draw(one_of('Query', 'Response'))}",
        "106010": f"Deny inbound {protocol} src {named(port=has_ports)} dst {named(port=has_ports)}",
        "106014": f"Deny inbound icmp src {named(port=False)} dst {named(port=False)} (type 8, code 0)",
        "106015": f"Deny TCP (no connection) from {end(False)} to {end(False)} flags RST  on interface inside",
        "106021": f"Deny {protocol} reverse path check from {draw(ADDRESS)} to {draw(ADDRESS)} on interface outside",
        "106023": f'Deny {protocol} src {named(port=has_ports)} dst {named(port=has_ports)} by access-group "a"',
        "106100": (
            f"access-list {draw(NAME)} {draw(one_of('permitted', 'denied', 'est-allowed'))} "
            f"{draw(one_of('tcp', 'udp', 'icmp'))} "
            f"{draw(INTERFACE)}/{draw(ADDRESS)}({draw(PORT)}){draw(ASA_USER)} -> "
            f"{draw(INTERFACE)}/{draw(ADDRESS)}({draw(PORT)}){draw(ASA_USER)} hit-cnt {hits} first hit [0x0, 0x0]"
        ),
        "302013": f"Built {direction} {draw(one_of('', 'Probe '))}TCP connection 7101 for {mapped()} to {mapped()}",
        "302014": f"Teardown TCP connection 7 for {named()} to {named()} duration {duration} bytes {draw(NUMBER)}{why}",
        "302015": f"Built {direction} UDP connection 7105 for {mapped()} to {mapped()}",
        "302016": f"Teardown UDP connection 7105 for {named()} to {named()} duration {duration} bytes {draw(NUMBER)}",
        "302020": (
            f"Built {direction} ICMP connection for faddr {icmp_end()} gaddr {icmp_end()} laddr {icmp_end()}"
            f"{draw(one_of('', ' type 8 code 0'))}"
        ),
        "302021": f"Teardown ICMP connection for faddr {icmp_end()} gaddr {icmp_end()} laddr {icmp_end()}",
        "710003": f"{service_protocol} access denied by ACL from {end(False)} to {named(False)}",
        "710005": f"{service_protocol} request discarded from {end(False)} to {named(False)}",
        "605005": f"Login permitted from {end(False)} to {named(False)} for user jdoe",
    }
    number = draw(st.sampled_from(sorted(texts)))
    header = draw(one_of("<166>", "<166>Nov 22 2026 08:15:00 asa : ", "<166>Nov 22 2026 08:15:00: "))
    return f"{header}%ASA-6-{number}: {texts[number]}"


def as_read(session: Any) -> dict[str, Any]:
    """A session of the reference reader, under the names of the engine's; what is None is left out."""
    fields = {name: getattr(session, name) for name in session.__slots__ if name not in ("blocked", "counted")}
    told = {name: value for name, value in fields.items() if value is not None}
    return {**told, "AdditionalFields": {"blocked": session.blocked, "counted": session.counted}}


def check(engine: Engine, reader: ModuleType, text: str) -> None:
    session = reader.read(text.encode())
    answer = json.loads(engine.parse(text.encode(), None))
    known = {*reader.Session.__slots__, "AdditionalFields"}
    read = [{name: value for name, value in each.items() if name in known} for each in answer["Sessions"]]

    assert read == ([] if session is None else [as_read(session)])


@given(text=fortigate())
def test_fortigate(engine: Engine, reader: ModuleType, text: str) -> None:
    check(engine, reader, text)


@given(text=panos())
def test_panos(engine: Engine, reader: ModuleType, text: str) -> None:
    check(engine, reader, text)


@given(text=cef())
def test_cef(engine: Engine, reader: ModuleType, text: str) -> None:
    check(engine, reader, text)


@given(text=asa())
def test_asa(engine: Engine, reader: ModuleType, text: str) -> None:
    check(engine, reader, text)
