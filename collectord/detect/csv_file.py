"""CSV files (RFC 4180) that an administrator edits: read whole, and whatever is wrong is told with its line."""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from collectord.errors import ConfigError, Problem

MAX_FILE_BYTES = 4 * 1024 * 1024
"""Far above any real list; keeps a slip (a database in place of the list) from filling memory."""

SHOWN_CHARACTERS = 60
"""Most of a wrong cell that a report repeats."""


def read_text(path: Path) -> str:
    """
    The text of a file in UTF-8, with or without a byte order mark.

    Raises:
        ConfigError: it can't be read, is too large, or is not UTF-8.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError([Problem(str(path), None, "", f"can't be read: {error.strerror}".lower())]) from error
    if len(content) > MAX_FILE_BYTES:
        raise ConfigError([Problem(str(path), None, "", f"is larger than {MAX_FILE_BYTES // 1024 // 1024} MiB")])
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        problem = Problem(str(path), line, "", f"byte 0x{content[error.start]:02x} is not UTF-8", "save it as UTF-8")
        raise ConfigError([problem]) from error


def records(text: str, file: str, problems: list[Problem]) -> Iterator[tuple[int, list[str]]]:
    """(line where it starts, cells) of each record that is not blank; ends with a problem at broken CSV."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            hint = "a quote opened there is closed nowhere, or something stands behind a closing one"
            problems.append(Problem(file, line, "", f"is not CSV: {error}", hint))
            return
        if any(cell.strip() for cell in cells):
            yield line, cells


def columns(header: tuple[int, list[str]], names: Sequence[str], file: str, problems: list[Problem]) -> list[str]:
    """The names in the header line, spelt as in ``names``; empty if they are not exactly these."""
    line, cells = header
    known = {name.casefold(): name for name in names}
    found = [known.get(cell.strip().casefold(), cell.strip()) for cell in cells]
    reasons = [f"the column {name} is missing" for name in names if name not in found]
    reasons += [f"unknown column {shown(name)}" for name in found if name not in names]
    reasons += [f"the column {name} is there twice" for name in names if found.count(name) > 1]
    problems.extend(Problem(file, line, "", reason, f"columns: {', '.join(names)}") for reason in reasons)
    return [] if reasons else found


def shown(text: str) -> str:
    """A cell as a report shows it: in quotes, on one line, not too long."""
    found = text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."
    return f'"{found if found.isprintable() else found.encode("unicode_escape").decode()}"'
