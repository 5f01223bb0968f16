"""The port watchlist: a Sentinel user's file drops in, everything wrong is told at once."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectord.detect import csv_file, watchlist
from collectord.detect.watchlist import COLUMNS, RowType, ThresholdType, Watchlist, WatchRow
from collectord.errors import ConfigError
from collectord.model import Severity

HEADER = ",".join(COLUMNS)
SMB = '"139,445",smb,*,*,*,Detection,Static,1000,High,Lateral Movement,Burst of SMB,"Much, fast"'


def parse(*lines: str) -> Watchlist:
    return watchlist.parse("\n".join((HEADER, *lines)) + "\n", "w.csv")


def reasons(*lines: str) -> list[str]:
    with pytest.raises(ConfigError) as error:
        parse(*lines)
    return [str(problem) for problem in error.value.problems]


def line(**cells: str) -> str:
    values = dict(
        zip(
            COLUMNS,
            ("445", "*", "TCP", "*", "Allow", "Hunting", "Static", "0", "Low", "Discovery", "N", "D"),
            strict=True,
        )
    )
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow((values | cells).values())
    return text.getvalue().removesuffix("\n")


def test_line_is_multiplied_out() -> None:
    """Quoted lists, blanks, tactics with a space; each combination is a row."""
    rows = parse(
        SMB, line(Ports=" 53 , 5353", Protocol="TCP, UDP", Action="Allow,Deny", Tactic="InitialAccess,Execution")
    ).rows

    assert (
        WatchRow(
            name="Burst of SMB",
            port=139,
            protocol="*",
            direction="*",
            action="*",
            app="smb",
            type=RowType.DETECTION,
            threshold_type=ThresholdType.STATIC,
            threshold=1000,
            severity=Severity.HIGH,
            tactics=("LateralMovement",),
            description="Much, fast",
            line=2,
        )
        == rows[0]
    )
    assert [139, 445] + [53] * 4 + [5353] * 4 == [row.port for row in rows]
    assert {("TCP", "Allow"), ("TCP", "Deny"), ("UDP", "Allow"), ("UDP", "Deny")} == {
        (r.protocol, r.action) for r in rows[2:]
    }
    assert ("InitialAccess", "Execution") == rows[2].tactics


def test_matching_is_equality() -> None:
    """Case does not matter, parts of a word do, and an empty value fits only the star."""
    [row] = parse(line(Protocol="tcp", Action="Drop ICMP")).rows
    assert row.matches("TCP", "Inbound", "drop icmp")
    assert not row.matches("TCP", "Inbound", "Drop")
    assert not row.matches("TCP", "Inbound", "")
    assert not row.matches("", "Inbound", "Drop ICMP")
    assert not row.matches("UDP", "Inbound", "Drop ICMP")

    [reset] = parse(line(Action="Reset")).rows
    assert not reset.matches("TCP", "", "Reset Source")

    [anything] = parse(line(Protocol="*", Action="*")).rows
    assert anything.matches("", "", "")


def test_found_by_port() -> None:
    """Rows are found by how they decide, and by port."""
    found = parse(SMB, line(Ports="445"), line(Ports="389", ThresholdType="Anomaly", Threshold=""))

    def matching(kind: ThresholdType, port: int, protocol: str) -> list[str]:
        cell: dict[str, str | int] = {"DstPortNumber": port, "NetworkProtocol": protocol}
        return [row.name for row in found.matching(kind, cell | {"NetworkDirection": "", "DvcAction": "Allow"})]

    static, anomaly = ThresholdType.STATIC, ThresholdType.ANOMALY
    assert ([139, 445], [389], [139, 389, 445]) == (found.ports(static), found.ports(anomaly), found.all_ports)
    assert ["Burst of SMB", "N"] == matching(static, 445, "TCP")
    assert ["Burst of SMB"] == matching(static, 445, "UDP")
    assert ([], ["N"]) == (matching(static, 389, "TCP"), matching(anomaly, 389, "TCP"))
    assert [None] == [row.threshold for row in found.rows if row.port == 389]


def test_disabled_rows_are_off_and_equal_rows_are_one() -> None:
    """Where a row stands does not matter."""
    assert () == parse(line(Severity="Disabled")).rows
    assert 1 == len(parse(line(), line()).rows)
    assert parse(line(), SMB).rows[0] == parse(SMB, line()).rows[2]


def test_files_of_all_editors(tmp_path: Path) -> None:
    """Byte order mark, CRLF, blank lines, columns in another order and case, a star among other values."""
    header = "name,description,PORTS,App,Protocol,Direction,Action,Type,ThresholdType,Threshold,Severity,Tactic"
    content = f'\ufeff{header}\r\n\r\nN,D,445,*,"TCP,*",*,,detection,STATIC, 5 ,high,\r\n , \r\n'
    path = tmp_path / "w.csv"
    path.write_bytes(content.encode())

    [row] = watchlist.load(path).rows

    assert ("*", "*", "*", 5, ()) == (row.protocol, row.direction, row.action, row.threshold, row.tactics)


def test_everything_wrong_at_once() -> None:
    """Each with line and column; a record over several lines has the line where it starts."""
    found = reasons(
        line(Ports="445,http", Type="Hunt"),
        line(Description="two\nlines"),
        line(Ports="65536", Severity="Severe", Threshold=""),
        line(Ports="", Name=" ", Tactic="Sideways", ThresholdType="Guess"),
        line(Ports="0", Threshold="1.5"),
        "445,*",
    )

    assert [
        'w.csv:2: Ports: expected a port from 1 to 65535, got "http"',
        'w.csv:2: Type: expected one of Detection, Hunting, got "Hunt"',
        'w.csv:5: Ports: expected a port from 1 to 65535, got "65536"',
        'w.csv:5: Severity: expected one of Informational, Low, Medium, High, Disabled, got "Severe"',
        "w.csv:5: Threshold: is empty (a Static row needs one; only Anomaly goes without)",
        "w.csv:6: Name: is empty",
        "w.csv:6: Ports: is empty",
        'w.csv:6: Tactic: unknown tactic "Sideways"',
        'w.csv:6: ThresholdType: expected one of Static, Anomaly, got "Guess"',
        'w.csv:7: Ports: expected a port from 1 to 65535, got "0"',
        'w.csv:7: Threshold: expected a whole number from 0, got "1.5"',
        "w.csv:8: expected 12 cells, got 2 (a cell with a comma in it stands in quotes)",
    ] == [text.replace(".csv:8:  ", ".csv:8: ").partition(" (known: ")[0] for text in found]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty (the first line is Ports,App,"),
        ("\n\n", "is empty"),
        ("Ports,App\n445,*\n", "the column Protocol is missing"),
        (f"{HEADER},Extra\n", 'unknown column "Extra"'),
        (f"{HEADER},Ports\n", "the column Ports is there twice"),
        (f'{HEADER}\n"445,*\n', "is not CSV: unexpected end of data"),
        (f'{HEADER}\n"445"x,*\n', "is not CSV: "),
        (f"{HEADER}\n{line(Name='x' * 129)}\n", "Name: expected at most 128 characters, got 129"),
        (f"{HEADER}\n{line(Name='a' + chr(27) + 'b')}\n", "Name: control characters are not allowed"),
        (f"{HEADER}\n{line(Ports='9' * 5000)}\n", "expected a port from 1 to 65535"),
        (f"{HEADER}\n{line(Ports=chr(0x664))}\n", "expected a port from 1 to 65535"),
        (f"{HEADER}\n{line(Threshold='9' * 16)}\n", "expected a whole number from 0"),
    ],
)  # fmt: skip
def test_refused(text: str, reason: str) -> None:
    """In words that lead to the cell."""
    with pytest.raises(ConfigError) as error:
        watchlist.parse(text, "w.csv")
    assert reason in str(error.value)


def test_too_many_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slip with many lists in one line must not fill memory."""
    monkeypatch.setattr(watchlist, "MAX_ROWS", 10)

    assert "makes more than 10 rows" in reasons(line(Ports=",".join(str(n) for n in range(1, 12))))[0]


def test_unreadable_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing, not UTF-8, too large."""
    path = tmp_path / "w.csv"
    with pytest.raises(ConfigError, match="can't be read: no such file"):
        watchlist.load(path)

    path.write_bytes(b"Ports\n\xff\n")
    with pytest.raises(ConfigError, match=r"w.csv:2: byte 0xff is not UTF-8"):
        watchlist.load(path)

    monkeypatch.setattr(csv_file, "MAX_FILE_BYTES", 4)
    with pytest.raises(ConfigError, match="is larger than"):
        watchlist.load(path)


def test_shipped_watchlist(repository: Path) -> None:
    """72 lines; the two static Detection lines are about four ports."""
    path = repository / "conf" / "port-watchlist.csv"
    with path.open(newline="", encoding="utf-8") as file:
        assert 72 == len(list(csv.DictReader(file)))

    rows = watchlist.load(path).rows

    assert 85 == len(rows)
    live = [row for row in rows if row.type is RowType.DETECTION and row.threshold_type is ThresholdType.STATIC]
    assert [(9150, 1000), (9151, 1000), (139, 1000), (445, 1000)] == [(row.port, row.threshold) for row in live]
    assert {389, 636, 3389} == {row.port for row in rows if row.type is RowType.DETECTION and row.threshold is None}
    assert 65 == sum(row.threshold == 0 for row in rows)
    assert all(row.description.endswith(".") for row in rows)


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Never anything but a watchlist or the report."""
    for content in (text, f"{HEADER}\n{text}"):
        try:
            watchlist.parse(content, "w.csv")
        except ConfigError as error:
            assert error.problems


_CELLS = st.tuples(
    st.lists(st.integers(1, 65_535), min_size=1, max_size=4, unique=True),
    st.sampled_from(["*", "TCP", "UDP"]),
    st.sampled_from(["*", "Allow", "Deny"]),
    st.integers(0, 10**6),
    st.sampled_from(["one", "two", 'a, "quoted" name']),
)


@given(st.lists(_CELLS, max_size=8), st.randoms())
def test_order_of_lines_does_not_matter(cells: list[tuple[list[int], str, str, int, str]], random: object) -> None:
    """A row is its content."""
    lines = [
        line(Ports=",".join(map(str, ports)), Protocol=protocol, Action=action, Threshold=str(threshold), Name=name)
        for ports, protocol, action, threshold, name in cells
    ]
    shuffled = lines[:]
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    assert set(parse(*lines).rows) == set(parse(*shuffled).rows)
