"""
What a message costs in the engine, in instructions, per product and class of input, with all shipped profiles.

`make bench` prints the table beside the figures of ``recorded.json``, and stores it in ``.cache/bench``. With
COLLECTORD_RECORD=1 it becomes the recorded one: do that in the commit that changes a figure, which tells both.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from collectord import plan

from .instructions import REPOSITORY, Counter
from .messages import LONG, PRODUCTS, Workload, classes
from .report import QUICK, Report

RECORDED = Path(__file__).with_name("recorded.json")
RESULTS = REPOSITORY / ".cache" / "bench" / "instructions.json"

MOST_MORE = 1.1
"""How much more than recorded a product may cost: compilers differ by less."""

PASSES = 1 if QUICK else 4
OTHERS = 64
"""Messages of each other product."""

OF_A_CLASS = 2_000
"""Messages; of forged sources as many as this, so the counters are far from full."""

Figures = dict[str, dict[str, float]]
"""By kind of message: ``messages``, ``per_message``, ``per_byte``."""


def _suricata(number: int) -> str:
    return (
        f'{{"timestamp":"2026-11-22T08:20:00.{number:06}+0000","flow_id":{900_100 + number},"in_iface":"eth1",'
        f'"event_type":"flow","src_ip":"10.12.0.{number}","src_port":{51_200 + number},"dest_ip":"198.51.100.120",'
        f'"dest_port":443,"proto":"TCP","app_proto":"tls","host":"ids-1","flow":{{"pkts_toserver":4,"pkts_toclient":5,'
        f'"bytes_toserver":400,"bytes_toclient":{500 + number},"start":"2026-11-22T08:19:00.000001+0000",'
        f'"end":"2026-11-22T08:19:30.000001+0000","age":30,"alerted":false,"state":"closed","reason":"timeout"}}}}'
    )


def _sophos(number: int) -> str:
    return (
        '<134>device="SFW" date=2026-11-22 time=08:20:01 timezone="CET" device_name="fw-branch-01" '
        'device_id=SN00000000001 log_id=010101600001 log_type="Firewall" log_component="Firewall Rule" '
        f'log_subtype="Allowed" status="Allow" priority=Information duration=30 fw_rule_id=5 fw_rule_name="lan-wan" '
        f'in_interface="Port1" out_interface="Port2" src_ip=10.0.9.{number} dst_ip=198.51.100.1 protocol="TCP" '
        f"src_port={50_000 + number} dst_port=443 sent_pkts=10 recv_pkts=20 sent_bytes=1000 recv_bytes={number} "
        'srczonetype="LAN" srczone="LAN" dstzonetype="WAN" dstzone="WAN" connevent="Stop" connid="7701"'
    )


def _windows(number: int) -> str:
    data = {
        "ProcessID": 401,
        "Application": r"\device\harddiskvolume3\apps\agent.exe",
        "Direction": "%%14593",
        "SourceAddress": f"10.0.13.{number}",
        "SourcePort": 52_000 + number,
        "DestAddress": "198.51.100.1",
        "DestPort": 443,
        "Protocol": 6,
        "LayerName": "%%14611",
    }
    return (
        "<14>Nov 22 10:50:01 ws-1 Microsoft-Windows-Security-Auditing: <Event xml:lang='en-US'><System><Provider "
        "Name='Microsoft-Windows-Security-Auditing'/><EventID>5156</EventID><Version>1</Version><Level>0</Level>"
        f"<TimeCreated SystemTime='2026-11-22T10:50:01.000Z'/><EventRecordID>{9_000 + number}</EventRecordID>"
        "<Channel>Security</Channel><Computer>ws-1.example.net</Computer></System><EventData>"
        + "".join(f"<Data Name='{name}'>{value}</Data>" for name, value in data.items())
        + "</EventData></Event>"
    )


def _unknown(number: int) -> str:
    return f"<30>Nov 22 10:20:30 host{number} app[{number}]: nothing that is known of request {number} took {number} ms"


OTHER_PRODUCTS = {"Suricata JSON": _suricata, "Sophos": _sophos, "Windows XML": _windows, "unknown": _unknown}


def _measured(counter: Counter, kinds: dict[str, Sequence[bytes]]) -> Figures:
    counted = counter.count(list(kinds.values()), "datagrams", PASSES)
    return {
        name: {
            "messages": len(messages),
            "per_message": round(instructions / len(messages)),
            "per_byte": round(instructions / sum(map(len, messages)), 1),
        }
        for (name, messages), instructions in zip(kinds.items(), counted, strict=True)
    }


def test_instructions_per_message(setup: plan.Setup, workload: Workload, report: Report, tmp_path: Path) -> None:
    """The table, and that nothing costs much more than what was recorded."""
    source = workload.name
    kinds: dict[str, Sequence[bytes]] = {
        name: [line for line in workload.messages if belongs(line)] for name, belongs in PRODUCTS.items()
    }
    kinds |= {name: [make(number).encode() for number in range(OTHERS)] for name, make in OTHER_PRODUCTS.items()}
    engine = setup.engine()
    for name, messages in kinds.items():
        want = "unparsed" if name == "unknown" else "session"
        assert {json.loads(engine.parse(message, None))["Outcome"] for message in messages} == {want}, name

    figures = _measured(Counter("release", setup.plan.as_json(), tmp_path), kinds)
    recorded: dict[str, Figures] = json.loads(RECORDED.read_text(encoding="utf-8")) if RECORDED.is_file() else {}
    before = recorded.get(source, {})
    print(f"\ninstructions, {source}    per message   per byte   recorded   change")
    for name, figure in figures.items():
        report.add(f"instructions, {source}", name, figure["per_message"], "instructions per message")
        was = before.get(name, {}).get("per_message")
        change = f"{was:10,.0f} {(figure['per_message'] / was - 1) * 100:+7.1f} %" if was else "         -"
        print(f"{name:24} {figure['per_message']:14,} {figure['per_byte']:10.1f} {change}")
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps({source: figures}, indent=1) + "\n", encoding="utf-8")
    if os.environ.get("COLLECTORD_RECORD"):
        RECORDED.write_text(json.dumps(recorded | {source: figures}, indent=1) + "\n", encoding="utf-8")
        return
    costlier = {
        name: (figure["per_message"], before[name]["per_message"])
        for name, figure in figures.items()
        if name in before and figure["per_message"] > MOST_MORE * before[name]["per_message"]
    }
    assert costlier == {}, "costs more than recorded; if it is worth it, record anew: make bench COLLECTORD_RECORD=1"


def test_instructions_by_class(setup: plan.Setup, report: Report, tmp_path: Path) -> None:
    """Clean, unknown, hostile and so on; the long ones by the byte, too."""
    found = classes(setup, OF_A_CLASS)
    batches = [[message for message, _ in cases] for cases in found.values()]
    counter = Counter("release", setup.plan.as_json(), tmp_path)
    for name, batch, counted in zip(found, batches, counter.count(batches, "datagrams"), strict=True):
        report.add("instructions, classes of input", name, counted / len(batch), "instructions per message")
        if name.startswith(LONG):
            report.add("instructions, by the byte", name, counted / sum(map(len, batch)), "instructions per byte")
