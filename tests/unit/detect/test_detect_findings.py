"""What one window says about each key."""

from collections.abc import Callable

from collectord.detect.findings import MAX_CELLS_SHOWN, Finding, judge_window, modes_of_rows
from collectord.detect.rules import Rule
from collectord.detect.watchlist import RowType, Watchlist, WatchRow
from collectord.model import KeyValue, Mode, Severity, Window, WindowKey

MakeRule = Callable[..., Rule]
MakeRow = Callable[..., WatchRow]


def window(*keys: tuple[str, tuple[KeyValue, ...], int], error: int = 0) -> Window:
    return Window("r", 0, 1, True, tuple(WindowKey(site, key, count, error) for site, key, count in keys))


def judge(rule: Rule, judged: Window, *rows: WatchRow) -> list[Finding]:
    return list(judge_window(rule, Watchlist(rows), judged))


def test_one_threshold(make_rule: MakeRule) -> None:
    """5000 is warm, 5001 is over, 4000 is nothing; the row of no key is passed over."""
    found = judge(
        make_rule(),
        window(("", ("192.0.2.1",), 5000), ("", ("192.0.2.2",), 5001), ("", ("192.0.2.3",), 4000), ("*", ("",), 9999)),
    )

    assert ["192.0.2.1", "192.0.2.2"] == [finding.key["SrcIpAddr"] for finding in found]
    assert found[0].over is None
    assert found[1].over is not None
    assert 5001 == found[1].over.count


def test_error_is_told(make_rule: MakeRule) -> None:
    """Only where there is one."""
    key = ("", ("192.0.2.1",), 5001)

    assert {"error": 7} == judge(make_rule(), window(key, error=7))[0].details
    assert {} == judge(make_rule(), window(key))[0].details


def test_cells_do_not_add_up(make_port_rule: MakeRule, make_row: MakeRow) -> None:
    """600 allowed and 600 denied on one port are not 1,200: the threshold is per cell."""
    cells = [("", (445, "TCP", "Inbound", action), 600) for action in ("Allow", "Deny")]

    assert [] == judge(make_port_rule(), window(*cells), make_row())


def test_cells_of_one_alert(make_port_rule: MakeRule, make_row: MakeRow) -> None:
    """Row name, port and protocol are the key; the largest cell is the count; all over the threshold are listed."""
    found = judge(
        make_port_rule(),
        window(
            ("", (445, "TCP", "Inbound", "Allow"), 1500),
            ("", (445, "TCP", "Outbound", "Deny"), 2500),
            ("", (445, "TCP", "Local", "Allow"), 900),
            ("", (445, "UDP", "Local", "Allow"), 1001),
            ("south", (445, "TCP", "Local", "Allow"), 1001),
            ("", (446, "TCP", "Local", "Allow"), 99_999),
        ),
        make_row(),
    )

    assert [("", "TCP", 2500), ("", "UDP", 1001), ("south", "TCP", 1001)] == [
        (finding.site, finding.key["NetworkProtocol"], finding.warm.count) for finding in found
    ]
    assert {
        "description": "Many file sharing sessions.",
        "type": "Detection",
        "cells": [
            {"NetworkDirection": "Outbound", "DvcAction": "Deny", "count": 2500},
            {"NetworkDirection": "Inbound", "DvcAction": "Allow", "count": 1500},
        ],
    } == found[0].details


def test_order_of_fields_follows_the_rule(make_port_rule: MakeRule, make_row: MakeRow) -> None:
    """A rule may name the four fields in any order."""
    rule = make_port_rule(group_by=("DvcAction", "DstPortNumber", "NetworkDirection", "NetworkProtocol"))

    [finding] = judge(rule, window(("", ("Allow", 445, "Inbound", "TCP"), 1001)), make_row(action="Allow"))

    assert {"Name": "Burst of SMB", "DstPortNumber": 445, "NetworkProtocol": "TCP"} == finding.key


def test_rows_of_equal_name_are_one_alert(make_port_rule: MakeRule, make_row: MakeRow) -> None:
    """The gravest that is over leads: sent before reported, then severity."""
    rows = [
        make_row(threshold=0, severity=Severity.HIGH, type=RowType.HUNTING),
        make_row(threshold=1000, severity=Severity.LOW),
        make_row(threshold=2000, severity=Severity.MEDIUM),
    ]

    def over(count: int) -> tuple[Mode, Severity, int] | None:
        [finding] = judge(make_port_rule(), window(("", (445, "TCP", "", "Allow"), count)), *rows)
        return (finding.over.mode, finding.over.severity, finding.over.threshold) if finding.over else None

    assert (Mode.REPORT, Severity.HIGH, 0) == over(1)
    assert (Mode.REPORT, Severity.HIGH, 0) == over(1000)
    assert (Mode.NOTIFY, Severity.LOW, 1000) == over(1001)
    assert (Mode.NOTIFY, Severity.MEDIUM, 2000) == over(2001)


def test_details_are_bounded(make_port_rule: MakeRule, make_row: MakeRow) -> None:
    """The largest cells."""
    cells = [("", (445, "TCP", f"d{n}", "Allow"), 2000 + n) for n in range(50)]

    [finding] = judge(make_port_rule(), window(*cells), make_row())

    assert MAX_CELLS_SHOWN == len(finding.details["cells"])
    assert 2049 == finding.details["cells"][0]["count"]


def test_modes_of_rows(make_port_rule: MakeRule, make_row: MakeRow) -> None:
    """Hunting rows never notify; a row that is gone leaves no mode."""
    key: dict[str, KeyValue] = {"Name": "Burst of SMB", "DstPortNumber": 445, "NetworkProtocol": "TCP"}
    hunting, detection = make_row(type=RowType.HUNTING), make_row()

    assert {Mode.REPORT} == modes_of_rows(make_port_rule(), Watchlist([hunting]), key)
    assert {Mode.NOTIFY, Mode.REPORT} == modes_of_rows(make_port_rule(), Watchlist([hunting, detection]), key)
    assert {Mode.REPORT} == modes_of_rows(make_port_rule(mode=Mode.REPORT), Watchlist([detection]), key)
    assert set() == modes_of_rows(make_port_rule(), Watchlist([make_row(name="other"), make_row(protocol="UDP")]), key)
    assert {Mode.NOTIFY} == modes_of_rows(make_port_rule(), Watchlist([make_row(action="Deny")]), key)
