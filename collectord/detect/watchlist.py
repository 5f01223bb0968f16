"""
The port watchlist: which volume on which port is worth an alert.

A CSV file (RFC 4180) with the columns of the Microsoft Sentinel watchlist of the Network Session Essentials solution,
so that a file made for that drops in. A cell may hold several values with commas between; ``*`` stands for any value.
A line with several ports, protocols, directions or actions is multiplied out: each combination is a row of its own.

The column App is not compared (as in the original rules): the port alone decides, unless a rule counts by apps.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from collectord.detect import csv_file
from collectord.detect.attack import TACTICS, tactic
from collectord.errors import ConfigError, Problem
from collectord.model import KeyValue, Severity

COLUMNS = (
    "Ports",
    "App",
    "Protocol",
    "Direction",
    "Action",
    "Type",
    "ThresholdType",
    "Threshold",
    "Severity",
    "Tactic",
    "Name",
    "Description",
)

ANY = "*"

MAX_ROWS = 100_000
"""Rows after multiplying out: far above any real list, keeps a slip from filling memory."""
MAX_THRESHOLD = 10**15
MAX_NAME_CHARACTERS = 128
MAX_DESCRIPTION_CHARACTERS = 1_000


class RowType(StrEnum):
    """What a row is for: alerts that are sent, or findings to look through."""

    DETECTION = "Detection"
    HUNTING = "Hunting"


class ThresholdType(StrEnum):
    """How a row decides: a fixed number, or today against the past days."""

    STATIC = "Static"
    ANOMALY = "Anomaly"


@dataclass(frozen=True, slots=True)
class WatchRow:
    """One combination of a line. Equal rows are equal wherever they stand in the file."""

    name: str
    port: int
    protocol: str
    """An IANA protocol name, or ``*``."""
    direction: str
    action: str
    app: str
    """As written; compared only where a rule counts by apps."""
    type: RowType
    threshold_type: ThresholdType
    threshold: int | None
    """The largest sum that is still quiet; None for Anomaly."""
    severity: Severity
    tactics: tuple[str, ...]
    description: str
    line: int = field(compare=False)

    def matches(self, protocol: str, direction: str, action: str) -> bool:
        """True if the row is about this cell: values equal, case ignored; an empty one is matched by ``*`` alone."""
        return _fits(self.protocol, protocol) and _fits(self.direction, direction) and _fits(self.action, action)

    def matches_app(self, app: str) -> bool:
        """True if the row names this app, or any; what has none is matched by each row."""
        apps = [name.strip() for name in self.app.split(",") if name.strip()]
        return not app or not apps or any(_fits(name, app) for name in apps)


class Watchlist:
    """The rows that are switched on, found by port."""

    def __init__(self, rows: Sequence[WatchRow] = ()) -> None:
        self.rows = tuple(dict.fromkeys(rows))
        by_port: dict[ThresholdType, dict[int, list[WatchRow]]] = {kind: {} for kind in ThresholdType}
        for row in self.rows:
            by_port[row.threshold_type].setdefault(row.port, []).append(row)
        self._by_port = by_port

    def ports(self, kind: ThresholdType) -> Sequence[int]:
        """Ports that a row of this kind is about, rising."""
        return sorted(self._by_port[kind])

    @property
    def all_ports(self) -> Sequence[int]:
        """Ports that any row is about, rising."""
        return sorted({row.port for row in self.rows})

    def at(self, kind: ThresholdType, port: int) -> Sequence[WatchRow]:
        """The rows of this kind that are about a port."""
        return self._by_port[kind].get(port, ())

    def matching(self, kind: ThresholdType, cell: Mapping[str, KeyValue]) -> Iterator[WatchRow]:
        """The rows of this kind that are about a cell (``DstPortNumber``, ``NetworkProtocol``, ...)."""
        protocol, direction, action = (str(cell[name]) for name in ("NetworkProtocol", "NetworkDirection", "DvcAction"))
        app = str(cell.get("DstAppName", ""))
        rows = self.at(kind, int(cell["DstPortNumber"]))
        return (row for row in rows if row.matches(protocol, direction, action) and row.matches_app(app))


def load(path: Path) -> Watchlist:
    """
    Reads a watchlist file (UTF-8, at most 4 MiB).

    Raises:
        ConfigError: everything that is wrong in it, each with its line.
    """
    return parse(csv_file.read_text(path), str(path))


def parse(text: str, file: str) -> Watchlist:
    """
    Reads the text of a watchlist; ``file`` names it in reports.

    Raises:
        ConfigError: everything that is wrong in it, each with its line.
    """
    problems: list[Problem] = []
    rows: list[WatchRow] = []
    records = csv_file.records(text, file, problems)
    header = next(records, None)
    if header is None:
        raise ConfigError(problems or [Problem(file, None, "", "is empty", f"the first line is {','.join(COLUMNS)}")])
    columns = csv_file.columns(header, COLUMNS, file, problems)
    if columns:
        for line, cells in records:
            if len(cells) != len(columns):
                reason = f"expected {len(columns)} cells, got {len(cells)}"
                problems.append(Problem(file, line, "", reason, "a cell with a comma in it stands in quotes"))
                continue
            reader = _Line(dict(zip(columns, cells, strict=True)), file, line, problems)
            rows.extend(itertools.islice(reader.rows(), MAX_ROWS + 1 - len(rows)))
            if len(rows) > MAX_ROWS:
                problems.append(Problem(file, line, "", f"makes more than {MAX_ROWS:,} rows, multiplied out"))
                break
    if problems:
        raise ConfigError(problems)
    return Watchlist(rows)


def _fits(wanted: str, value: str) -> bool:
    return wanted == ANY or (value != "" and wanted.casefold() == value.casefold())


class _Line:
    """Reads the cells of one line; what is wrong is noted, not raised."""

    def __init__(self, cells: Mapping[str, str], file: str, line: int, problems: list[Problem]) -> None:
        self._cells = cells
        self._file = file
        self._line = line
        self._problems = problems
        self._fine = True

    def rows(self) -> Iterator[WatchRow]:
        """The line multiplied out; nothing where it is wrong or switched off."""
        ports = self._ports()
        protocols, directions, actions = (self._list(name) or [ANY] for name in ("Protocol", "Direction", "Action"))
        kind = self._word("Type", list(RowType))
        threshold_type = self._word("ThresholdType", list(ThresholdType))
        threshold = self._threshold() if threshold_type == ThresholdType.STATIC else None
        severity = self._word("Severity", [*Severity, "Disabled"])
        tactics = self._tactics()
        name = self._text("Name", MAX_NAME_CHARACTERS)
        description = self._text("Description", MAX_DESCRIPTION_CHARACTERS)
        if not name:
            self._wrong("Name", "is empty")
        if not self._fine or severity == "Disabled":
            return
        app = self._cells["App"].strip()
        for port, protocol, direction, action in itertools.product(ports, protocols, directions, actions):
            yield WatchRow(
                name=name,
                port=port,
                protocol=protocol,
                direction=direction,
                action=action,
                app=app,
                type=RowType(kind),
                threshold_type=ThresholdType(threshold_type),
                threshold=threshold,
                severity=Severity(severity),
                tactics=tactics,
                description=description,
                line=self._line,
            )

    def _ports(self) -> list[int]:
        ports = []
        for text in self._list("Ports"):
            # 0 is what a session without a port has.
            if text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= 65_535 and len(text) <= 9:
                ports.append(int(text))
            else:
                self._wrong("Ports", f"expected a port from 1 to 65535, got {csv_file.shown(text)}")
        if not self._list("Ports"):
            self._wrong("Ports", "is empty")
        return list(dict.fromkeys(ports))

    def _threshold(self) -> int | None:
        text = self._cells["Threshold"].strip()
        if not text:
            self._wrong("Threshold", "is empty", "a Static row needs one; only Anomaly goes without")
        elif text.isascii() and text.isdigit() and len(text) <= 16 and int(text) <= MAX_THRESHOLD:
            return int(text)
        else:
            self._wrong("Threshold", f"expected a whole number from 0, got {csv_file.shown(text)}")
        return None

    def _tactics(self) -> tuple[str, ...]:
        found = []
        for text in self._list("Tactic"):
            name = tactic(text)
            if name is None:
                self._wrong("Tactic", f"unknown tactic {csv_file.shown(text)}", f"known: {', '.join(TACTICS)}")
            elif name not in found:
                found.append(name)
        return tuple(found)

    def _word(self, column: str, known: Sequence[str]) -> str:
        text = self._cells[column].strip()
        for word in known:
            if word.casefold() == text.casefold():
                return word
        names = ", ".join(word.capitalize() for word in known)
        self._wrong(column, f"expected one of {names}, got {csv_file.shown(text)}")
        return ""

    def _text(self, column: str, most_characters: int) -> str:
        text = " ".join(self._cells[column].split())
        if len(text) > most_characters:
            self._wrong(column, f"expected at most {most_characters:,} characters, got {len(text):,}")
        if not text.isprintable():
            self._wrong(column, "control characters are not allowed")
        return text

    def _list(self, column: str) -> list[str]:
        """The values of a cell, trimmed; ``*`` among others makes the others needless."""
        values = [value for value in (part.strip() for part in self._cells[column].split(",")) if value]
        return [ANY] if ANY in values else list(dict.fromkeys(values))

    def _wrong(self, column: str, reason: str, hint: str = "") -> None:
        self._fine = False
        self._problems.append(Problem(self._file, self._line, column, reason, hint))
