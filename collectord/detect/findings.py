"""What one window says about each key: over its threshold, or at least over the level at which an alert may clear."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from collectord.detect.rules import Rule
from collectord.detect.watchlist import RowType, Watchlist, WatchRow
from collectord.model import OTHER_SITE, KeyValue, Mode, Severity, Window, WindowKey

MAX_CELLS_SHOWN = 20
"""Cells that an alert's details list; the largest ones."""

_RANK = {severity: rank for rank, severity in enumerate(Severity)}


@dataclass(frozen=True, slots=True)
class Judgement:
    """A sum and what it is held against."""

    count: int
    threshold: int
    severity: Severity
    mode: Mode
    tactics: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """What a window says about the key of an alert."""

    site: str
    key: dict[str, KeyValue] = field(hash=False)
    over: Judgement | None
    """None if nothing is over its threshold."""
    warm: Judgement
    """The gravest of what is over its clear level."""
    details: dict[str, Any] = field(hash=False)


def judge_window(rule: Rule, watchlist: Watchlist, window: Window) -> Iterator[Finding]:
    """Everything in a window that is over a clear level; each key of an alert at most once."""
    return _judge_cells(rule, watchlist, window) if rule.uses_watchlist else _judge_keys(rule, window)


def modes_of_rows(rule: Rule, watchlist: Watchlist, key: Mapping[str, KeyValue]) -> set[Mode]:
    """The modes in which an alert with this key may stand: one for each kind of row that it can come from."""
    protocol = str(key["NetworkProtocol"])
    return {
        _mode(rule, row)
        for row in watchlist.at(int(key["DstPortNumber"]))
        if row.name == key["Name"] and row.matches(protocol, row.direction, row.action)
    }


def _judge_keys(rule: Rule, window: Window) -> Iterator[Finding]:
    """A rule with one threshold: each key by itself."""
    threshold = rule.threshold or 0
    level = rule.clear_level(threshold)
    for found in _keys(window):
        if found.count <= level:
            continue
        judgement = Judgement(found.count, threshold, rule.severity, rule.mode)
        yield Finding(
            site=found.site,
            key=dict(zip(rule.group_by, found.key, strict=True)),
            over=judgement if found.count > threshold else None,
            warm=judgement,
            details={"error": found.error} if found.error else {},
        )


def _judge_cells(rule: Rule, watchlist: Watchlist, window: Window) -> Iterator[Finding]:
    """
    A rule with the watchlist: each cell (port, protocol, direction, action) against each row that fits it.

    Cells and rows of equal site, row name, port and protocol make one finding.
    """
    together: dict[tuple[str, str, int, str], list[tuple[WatchRow, WindowKey, dict[str, KeyValue]]]] = {}
    for found in _keys(window):
        cell = dict(zip(rule.group_by, found.key, strict=True))
        port, protocol = int(cell["DstPortNumber"]), str(cell["NetworkProtocol"])
        rows = watchlist.matching(port, protocol, str(cell["NetworkDirection"]), str(cell["DvcAction"]))
        for row in rows:
            if found.count > rule.clear_level(row.threshold or 0):
                together.setdefault((found.site, row.name, port, protocol), []).append((row, found, cell))
    for (site, name, port, protocol), matches in together.items():
        over = [match for match in matches if match[1].count > (match[0].threshold or 0)]
        leading = _gravest(rule, over or matches)
        yield Finding(
            site=site,
            key={"Name": name, "DstPortNumber": port, "NetworkProtocol": protocol},
            over=_judgement(rule, over) if over else None,
            warm=_judgement(rule, matches),
            details={
                "description": leading.description,
                "type": leading.type.value,
                "cells": _cells((found, cell) for _, found, cell in over or matches),
            },
        )


def _keys(window: Window) -> Iterator[WindowKey]:
    """The keys of a window, without the row that belongs to none."""
    return (found for found in window.keys if found.site != OTHER_SITE)


def _mode(rule: Rule, row: WatchRow) -> Mode:
    """Hunting rows are for looking through, whatever the rule's mode."""
    return rule.mode if row.type is RowType.DETECTION else Mode.REPORT


def _gravest(rule: Rule, matches: list[tuple[WatchRow, WindowKey, dict[str, KeyValue]]]) -> WatchRow:
    rows = (row for row, _, _ in matches)
    return max(rows, key=lambda row: (_mode(rule, row) is Mode.NOTIFY, _RANK[row.severity], -(row.threshold or 0)))


def _judgement(rule: Rule, matches: list[tuple[WatchRow, WindowKey, dict[str, KeyValue]]]) -> Judgement:
    """The gravest row, and the largest cell that it met."""
    leading = _gravest(rule, matches)
    count = max(found.count for row, found, _ in matches if row == leading)
    return Judgement(count, leading.threshold or 0, leading.severity, _mode(rule, leading), leading.tactics)


def _cells(matches: Iterable[tuple[WindowKey, dict[str, KeyValue]]]) -> list[dict[str, KeyValue]]:
    """Direction, action and sum of each cell once, the largest first."""
    cells = {(str(cell["NetworkDirection"]), str(cell["DvcAction"])): found.count for found, cell in matches}
    largest = sorted(cells.items(), key=lambda item: (-item[1], item[0]))[:MAX_CELLS_SHOWN]
    return [
        {"NetworkDirection": direction, "DvcAction": action, "count": count} for (direction, action), count in largest
    ]
