"""What one window says about each key: over its threshold, or at least over the level at which an alert may clear."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from collectord.detect.rules import Rule
from collectord.detect.watchlist import RowType, ThresholdType, Watchlist, WatchRow
from collectord.model import OTHER_SITE, KeyValue, Mode, Severity, Window, WindowKey

MAX_CELLS_SHOWN = 20
"""Cells that an alert's details list; the largest ones."""


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
    return {_mode(rule, row) for row in _rows_of(rule, watchlist, key)}


def limit_of_rows(rule: Rule, watchlist: Watchlist, key: Mapping[str, KeyValue], mode: Mode) -> int | None:
    """The lowest threshold of the rows that an alert in this mode can come from; None where each day has its own."""
    rows = (row for row in _rows_of(rule, watchlist, key) if _mode(rule, row) is mode)
    limits = [row.threshold for row in rows if row.threshold is not None]
    return min(limits, default=None)


def _rows_of(rule: Rule, watchlist: Watchlist, key: Mapping[str, KeyValue]) -> Iterator[WatchRow]:
    kind, protocol = rule.rows or ThresholdType.STATIC, str(key["NetworkProtocol"])
    for row in watchlist.at(kind, int(key["DstPortNumber"])):
        fits = row.protocol == protocol if rule.aggregate_rows else row.matches(protocol, row.direction, row.action)
        if fits and row.name == key["Name"]:
            yield row


def _judge_keys(rule: Rule, window: Window) -> Iterator[Finding]:
    """A rule with one threshold, or one of each key's own: each key by itself."""
    for found in _keys(window):
        threshold = _threshold(rule, found)
        if found.count <= rule.clear_level(threshold):
            continue
        judgement = Judgement(found.count, threshold, rule.severity, rule.mode)
        yield Finding(
            site=found.site,
            key=dict(zip(rule.key_fields, found.key, strict=True)),
            over=judgement if found.count > threshold and not found.keeps_only else None,
            warm=judgement,
            details=({"error": found.error} if found.error else {}) | found.details,
        )


_Counted = tuple[WindowKey, dict[str, KeyValue]]
"""A key of the counter with its sum, and the same by field."""

_Cell = tuple[KeyValue, KeyValue] | None
"""Direction and action where each cell is held against a row by itself."""


@dataclass(frozen=True, slots=True)
class _Met:
    """A row of the watchlist, and what it met in a window: a cell, or all cells that fit it together."""

    row: WatchRow
    count: int
    threshold: int
    cells: tuple[_Counted, ...]


def _judge_cells(rule: Rule, watchlist: Watchlist, window: Window) -> Iterator[Finding]:
    """
    A rule with the watchlist: each cell (port, protocol, direction, action) against each row that fits it.

    What has the same site, row name, port and protocol (and source, where the rule counts each by itself) makes one
    finding.
    """
    kind = rule.rows or ThresholdType.STATIC
    together: dict[tuple[str, tuple[tuple[str, KeyValue], ...]], list[_Met]] = {}
    added_up: dict[tuple[str, WatchRow, tuple[tuple[str, KeyValue], ...], _Cell], list[_Counted]] = {}
    for found in _keys(window):
        cell = dict(zip(rule.group_by, found.key, strict=True))
        for row in watchlist.matching(kind, cell):
            key = key_of(rule, row, cell)
            if rule.adds_up_cells:
                by_itself = None if rule.aggregate_rows else (cell["NetworkDirection"], cell["DvcAction"])
                added_up.setdefault((found.site, row, key, by_itself), []).append((found, cell))
            else:
                met = _Met(row, found.count, _threshold(rule, found, row), ((found, cell),))
                together.setdefault((found.site, key), []).append(met)
    for (site, row, key, _), cells in added_up.items():
        met = _Met(row, sum(found.count for found, _ in cells), row.threshold or 0, tuple(cells))
        together.setdefault((site, key), []).append(met)
    for (site, key), mets in together.items():
        warm = [met for met in mets if met.count > rule.clear_level(met.threshold)]
        if not warm:
            continue
        over = [met for met in warm if met.count > met.threshold]
        leading = _gravest(rule, over or warm)
        yield Finding(
            site=site,
            key=dict(key),
            over=_judgement(rule, over) if over else None,
            warm=_judgement(rule, warm),
            details={
                "description": leading.row.description,
                "type": leading.row.type.value,
                "cells": _cells(cell for met in over or warm for cell in met.cells),
            }
            | leading.cells[0][0].details,
        )


def key_of(rule: Rule, row: WatchRow, cell: Mapping[str, KeyValue]) -> tuple[tuple[str, KeyValue], ...]:
    """The key of the alert that a cell is about where it is held against a row."""
    protocol = row.protocol if rule.aggregate_rows else cell["NetworkProtocol"]
    values = {**cell, "Name": row.name, "NetworkProtocol": protocol}
    return tuple((name, values[name]) for name in rule.key_fields)


def _threshold(rule: Rule, found: WindowKey, row: WatchRow | None = None) -> int:
    """What a sum is held against: the key's own threshold, else the row's, else the rule's."""
    if found.threshold is not None:
        return found.threshold
    return (row.threshold if row else rule.threshold) or 0


def _keys(window: Window) -> Iterator[WindowKey]:
    """The keys of a window, without the row that belongs to none."""
    return (found for found in window.keys if found.site != OTHER_SITE)


def _mode(rule: Rule, row: WatchRow) -> Mode:
    """Hunting rows are for looking through, whatever the rule's mode."""
    return rule.mode if row.type is RowType.DETECTION else Mode.REPORT


def _gravest(rule: Rule, mets: list[_Met]) -> _Met:
    def gravity(met: _Met) -> tuple[bool, int, int]:
        return (_mode(rule, met.row) is Mode.NOTIFY, met.row.severity.rank, -met.threshold)

    return max(mets, key=gravity)


def _judgement(rule: Rule, mets: list[_Met]) -> Judgement:
    """The gravest row, and the largest sum that it met."""
    leading = _gravest(rule, mets)
    largest = max((met for met in mets if met.row == leading.row), key=lambda met: met.count)
    row = leading.row
    return Judgement(largest.count, largest.threshold, row.severity, _mode(rule, row), row.tactics)


def _cells(matches: Iterable[_Counted]) -> list[dict[str, KeyValue]]:
    """Direction, action and sum of each cell once, the largest first."""
    # Rows of one name may have met the same cell; several protocols or apps make one together.
    each = {found.key: (str(cell["NetworkDirection"]), str(cell["DvcAction"]), found.count) for found, cell in matches}
    cells: dict[tuple[str, str], int] = {}
    for direction, action, count in each.values():
        cells[direction, action] = cells.get((direction, action), 0) + count
    largest = sorted(cells.items(), key=lambda item: (-item[1], item[0]))[:MAX_CELLS_SHOWN]
    return [
        {"NetworkDirection": direction, "DvcAction": action, "count": count} for (direction, action), count in largest
    ]
