"""``collectord alerts``."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from collectord.cli.options import local_time
from collectord.clock import SystemClock
from collectord.errors import RequestError, StoreError
from collectord.model import NS_PER_S, Alert, AlertMark, AlertState, MarkKind, Mode, Severity
from collectord.store import marks, names
from collectord.store.alerts import Alerts
from collectord.store.db import Database
from collectord.store.outbox import Outbox

DOCUMENTED = (
    "id", "episode", "rule", "state", "severity", "site", "key", "count", "threshold", "window_s", "first_time",
    "last_time", "summary",
)  # fmt: skip


T0_NS = 1_800_000_000 * NS_PER_S


def alert(number: int, **fields: Any) -> Alert:
    values: dict[str, Any] = {
        "id": f"{number:016x}",
        "episode": 1,
        "event": "raised",
        "rule": "excessive-failures",
        "state": AlertState.RAISED,
        "severity": Severity.MEDIUM,
        "mode": Mode.NOTIFY,
        "site": "north",
        "key": {"SrcIpAddr": f"192.0.2.{number}"},
        "count": 5001,
        "threshold": 5000,
        "window_s": 300,
        "first_time_ns": 1_800_000_000 * 10**9,
        "last_time_ns": (1_800_000_000 + number) * 10**9,
        "title": f"Failures from 192.0.2.{number}",
        "summary": f"192.0.2.{number}: 5,001 failed connections",
        "tactics": ("Impact",),
        "techniques": ("T1499",),
        "details": {"error": 3},
    }
    return Alert(**(values | fields))


@pytest.fixture
def store(config: Path) -> Callable[..., None]:
    """Stores states of alerts, as the daemon does."""

    def store(*alerts: Alert) -> None:
        with Database(config.parent / "state" / "collectord.db") as database:
            Alerts(database).record(alerts, [()] * len(alerts))

    return store


@pytest.fixture
def three(store: Callable[..., None]) -> list[Alert]:
    """Two active alerts and a cleared one."""
    cleared = alert(3, rule="port-misuse", site="south")
    alerts = [
        alert(1),
        alert(2, severity=Severity.HIGH),
        cleared,
        replace(cleared, event="cleared", state=AlertState.CLEARED, reason="at or below 4,000 for 15 min"),
    ]
    store(*alerts)
    return alerts


def ids(result: Any) -> list[str]:
    return [json.loads(line)["id"] for line in result.stdout.splitlines()]


@pytest.mark.parametrize("words", [("alerts",), ("alerts", "list")])
@pytest.mark.usefixtures("three")
def test_the_active_ones(run: Any, words: tuple[str, ...]) -> None:
    result = run(*words)

    assert result.exit_code == 0
    assert "192.0.2.1: 5,001 failed connections" in result.stdout
    assert f"{2:016x}" in result.stdout
    assert f"{3:016x}" not in result.stdout


@pytest.mark.usefixtures("three")
def test_for_programs(run: Any) -> None:
    result = run("alerts", "list", "--json")
    first = json.loads(result.stdout.splitlines()[0])

    assert ids(result) == [f"{2:016x}", f"{1:016x}"], "the newest first"
    assert set(DOCUMENTED) <= set(first)
    assert first["first_time"] == "2027-01-15T08:00:00.000Z"
    assert first["key"] == {"SrcIpAddr": "192.0.2.2"}


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("--all",), [3, 2, 1]),
        (("--all", "--rule", "port-misuse"), [3]),
        (("--all", "--site", "north"), [2, 1]),
        (("--site", "south"), []),
        (("--limit", "1"), [2]),
    ],
)
def test_filters(run: Any, words: tuple[str, ...], found: list[int]) -> None:
    assert ids(run("alerts", "list", "--json", *words)) == [f"{number:016x}" for number in found]


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize("words", [("alerts", "--json"), ("alerts", "--json", "list"), ("alerts", "list", "--json")])
def test_options_stand_anywhere(run: Any, words: tuple[str, ...]) -> None:
    """Before the command, behind it, or without one."""
    assert ids(run(*words)) == [f"{2:016x}", f"{1:016x}"]


class TestPeriod:
    """``--since`` and ``--until``: what was active between, cleared or not."""

    @pytest.mark.usefixtures("three")
    @pytest.mark.parametrize(
        ("words", "found"),
        [
            (("--since", "2027-01-15T08:00:00Z"), [3, 2, 1]),
            (("--since", "2027-01-16T08:00:00Z"), [2, 1]),
            (("--until", "2027-01-15T07:59:59Z"), []),
            (("--until", "2027-01-15T08:00:00Z"), [3, 2, 1]),
            (("--since", "2027-01-01", "--until", "2027-01-31", "--rule", "port-misuse"), [3]),
        ],
    )
    def test_moments(self, run: Any, words: tuple[str, ...], found: list[int]) -> None:
        expected = [f"{number:016x}" for number in found]
        assert ids(run("alerts", "list", "--json", *words)) == expected

    @pytest.mark.usefixtures("three")
    def test_without_the_word_list(self, run: Any) -> None:
        assert len(run("alerts", "--since", "2027-01-15T08:00:00Z", "--csv").stdout.splitlines()) == 4

    def test_how_long_ago(self, run: Any, store: Callable[..., None]) -> None:
        now_ns = SystemClock().now_ns()
        ended = {"event": "cleared", "state": AlertState.CLEARED}
        for number, age_s in ((1, 60), (2, 7200)):
            store(alert(number, first_time_ns=now_ns - age_s * 10**9, last_time_ns=now_ns - age_s * 10**9, **ended))
        assert ids(run("alerts", "list", "--json", "--since", "1h")) == [f"{1:016x}"]

    @pytest.mark.usefixtures("three")
    def test_no_time(self, run: Any) -> None:
        result = run("alerts", "list", "--since", "yesterday")
        assert result.exit_code == 2
        assert "expected a time such as" in result.output

    @pytest.mark.usefixtures("three")
    def test_options_of_the_list_alone(self, run: Any) -> None:
        result = run("alerts", "--csv", "show", f"{1:016x}")
        assert result.exit_code == 2
        assert "--csv belongs behind the command" in result.output

    def test_nothing_was(self, run: Any, store: Callable[..., None]) -> None:
        store()
        assert run("alerts", "list", "--since", "1h").stdout == "No alerts.\n"


class TestCsv:
    """``--csv``: for spreadsheets."""

    @pytest.mark.usefixtures("three")
    def test_rows(self, run: Any) -> None:
        rows = list(csv.DictReader(io.StringIO(run("alerts", "list", "--all", "--csv").stdout)))

        assert [row["id"] for row in rows] == [f"{number:016x}" for number in (3, 2, 1)]
        assert rows[1]["key"] == "SrcIpAddr=192.0.2.2"
        assert rows[0]["state"] == "cleared"
        assert rows[0]["first_time"] == "2027-01-15T08:00:00.000Z"
        assert rows[0]["reason"] == "at or below 4,000 for 15 min"

    def test_nothing(self, run: Any, store: Callable[..., None]) -> None:
        """A header all the same."""
        store()
        (header,) = run("alerts", "list", "--csv").stdout.splitlines()
        assert header.startswith("id,episode,rule,")

    def test_what_a_spreadsheet_would_run(self, run: Any, store: Callable[..., None]) -> None:
        """A sender can have a formula in a name; a line end or a quote stays in its cell."""
        store(alert(1, summary='=HYPERLINK("http://x")', site="@x", reason='a "b",\x1b[2J\nc'))
        (row,) = csv.DictReader(io.StringIO(run("alerts", "list", "--csv").stdout))
        assert (row["summary"], row["site"]) == ('\'=HYPERLINK("http://x")', "'@x")
        assert '"b"' in row["reason"]
        assert "\x1b" not in row["reason"]


EVIDENCE = {
    "top": {"DstPortNumber": [[445, 4000], [139, 1001]], "DstIpAddr": [["198.51.100.7", 5001]],
            "Dvc": [["fw1", 5001]], "ThreatName": [["worm", 2]]},
    "lines": ["<164>Deny tcp \x1b[2J", "<164>Deny udp"],
    "messages": 5001,
    "first_time": "2027-01-15T08:00:00.000Z",
    "last_time": "2027-01-15T08:00:59.000Z",
}  # fmt: skip


def test_evidence(run: Any, store: Callable[..., None]) -> None:
    """Who reported it, what its sessions have in common, and a few raw lines."""
    store(alert(1, details={"evidence": EVIDENCE, "error": 3}))
    text = run("alerts", "show", f"{1:016x}").stdout

    last_ns = T0_NS + 59 * NS_PER_S
    for line in (
        "ports:         445 (4,000), 139 (1,001)", "destinations:  198.51.100.7 (5,001)", "reported by:   fw1 (5,001)",
        "ThreatName:    worm (2)", f"messages:      5,001 from {local_time(T0_NS)} to {local_time(last_ns)}",
        "  <164>Deny udp", "error:         3",
    ):  # fmt: skip
        assert f"\n{line}\n" in text
    assert "\x1b" not in text
    assert "evidence:" not in text


def test_hosts(run: Any, config: Path, store: Callable[..., None]) -> None:
    """What the site's list says of its addresses now; a list that can't be read keeps nothing from being shown."""
    store(alert(1))
    hosts = config.parent / "hosts.csv"
    config.write_text(f'{config.read_text()}hosts = "hosts.csv"\n')
    for line, text, told in [
        ('192.0.2.0/24,office,,"nat,lb",it', "192.0.2.1: office, role nat, lb, owner it", ["nat", "lb"]),
        ("192.0.2.0/24,,,,", "192.0.2.1: 192.0.2.0/24", []),
        ("198.51.100.0/24,office,,,it", "", None),
        ("here,office,,,it", "", None),
    ]:
        hosts.write_text(f"CIDR,name,site,role,owner\n{line}\n")
        shown = run("alerts", "show", f"{1:016x}").stdout
        assert (f"host:          {text}\n" in shown) if text else ("host:" not in shown)
        known = json.loads(run("alerts", "show", "--json", f"{1:016x}").stdout)["hosts"]
        assert [each["roles"] for each in known.values()] == ([] if told is None else [told])


def test_names(run: Any, config: Path, store: Callable[..., None]) -> None:
    """What DNS calls its addresses; nothing where it was not asked."""
    store(alert(1), alert(2))
    with Database(config.parent / "state" / "collectord.db") as database:
        names.keep(database, f"{1:016x}", 1, {"192.0.2.1": "scan.example"})
    for words in (("alerts",), ("alerts", "show", f"{1:016x}")):
        assert "192.0.2.1 is scan.example (reverse DNS)" in run(*words).stdout
    assert "reverse DNS" not in run("alerts", "show", f"{2:016x}").stdout
    second, first = [json.loads(line)["names"] for line in run("alerts", "--json").stdout.splitlines()]
    assert (first, second) == ({"192.0.2.1": "scan.example"}, {})
    assert json.loads(run("alerts", "show", "--json", f"{1:016x}").stdout)["names"] == first


def test_how_its_sessions_ended(run: Any, store: Callable[..., None]) -> None:
    """Said to be of what was seen; for programs all four numbers."""
    split = {"denied": 4100, "reset": 901, "timed_out": 0, "other": 0}
    store(alert(1, details={"evidence": EVIDENCE | {"split": split}}))

    text = run("alerts", "show", f"{1:016x}").stdout
    assert "\nended:         4,100 denied, 901 reset (of the messages seen while it was near its limit)\n" in text
    assert split == json.loads(run("alerts", "show", "--json", f"{1:016x}").stdout)["details"]["evidence"]["split"]


@pytest.mark.parametrize("evidence", [None, 5, {}, {"top": {}}])
def test_no_evidence(run: Any, store: Callable[..., None], evidence: Any) -> None:
    store(alert(1, details={"evidence": evidence}))

    assert run("alerts", "show", f"{1:016x}").exit_code == 0


def test_marks(run: Any, config: Path, store: Callable[..., None]) -> None:
    """Who looks after it, until when it is shelved, and why it is not sent; what is past is not told."""
    store(alert(1, details={"held": "learning"}, mode=Mode.REPORT), alert(2, episode=3))
    far_ns = 4_000_000_000 * 10**9
    with Database(config.parent / "state" / "collectord.db") as database:
        marks.put(database, AlertMark(f"{1:016x}", MarkKind.ACK, 1, "ada", 10**18, "calling"))
        marks.put(database, AlertMark(f"{1:016x}", MarkKind.SHELVE, 1, "bob", 10**18, "known", far_ns))
        marks.put(database, AlertMark(f"{2:016x}", MarkKind.ACK, 2, "ada", 10**18, ""))
        marks.put(database, AlertMark(f"{2:016x}", MarkKind.SHELVE, 2, "bob", 10**18, "known", 10**18 + 1))
    for words in (("alerts",), ("alerts", "show", f"{1:016x}")):
        text = run(*words).stdout
        assert "not sent: learning" in text
        assert "acknowledged by ada at 2001" in text
        assert "shelved by bob until 2096" in text
    second, first = [json.loads(line) for line in run("alerts", "--json").stdout.splitlines()]
    assert (second["held"], second["ack"], second["shelved"]) == (None, None, None)
    assert first["held"] == "learning"
    assert first["ack"] == {"who": "ada", "when": "2001-09-09T01:46:40.000Z", "reason": "calling", "until": None}
    assert first["shelved"]["until"] == "2096-10-02T07:06:40.000Z"


def test_deliveries(run: Any, config: Path, store: Callable[..., None]) -> None:
    """What was sent where and when, and what is still waiting for what reason."""
    store()
    with Database(config.parent / "state" / "collectord.db") as database:
        Alerts(database).record([alert(1)], [("noc", "siem", "log")])
        outbox = Outbox(database)
        outbox.delivered([1], 1_800_000_005 * 10**9)
        outbox.failed(2, "nobody there", 0)
    text = run("alerts", "show", f"{1:016x}").stdout

    assert "raised     to noc (number 1): delivered, 1 try\n" in text
    assert "raised     to siem (number 1): waiting, 1 try: nobody there\n" in text
    assert "raised     to log (number 1): waiting, 0 tries\n" in text
    (shown,) = [json.loads(line) for line in run("alerts", "show", "--json", f"{1:016x}").stdout.splitlines()]
    assert shown["deliveries"][-1] == {
        "output": "noc", "episode": 1, "event": "raised", "sequence": 1, "created": "2027-01-15T08:00:01.000Z",
        "delivered": "2027-01-15T08:00:05.000Z", "attempts": 1, "error": "", "dropped": None,
    }  # fmt: skip


def test_what_was_not_sent(run: Any, store: Callable[..., None]) -> None:
    """The history says of each state why outputs were not told; a clear of what was sent always is."""
    states = [
        alert(1),
        alert(1, event="updated:2", state=AlertState.UPDATED, details={"held": "shelved"}),
        alert(1, event="cleared", state=AlertState.CLEARED, summary="it is over"),
    ]
    store(*states)
    lines = run("alerts", "show", f"{1:016x}").stdout.splitlines()

    assert [line.endswith("(not sent: shelved)") for line in lines if " episode 1  " in line] == [False, True, False]
    assert "  nothing" in lines


def test_why_nothing_is_sent(run: Any, store: Callable[..., None]) -> None:
    """Held back it is the alert of a rule that notifies; one that is only reported says so, too."""
    store(
        alert(1, mode=Mode.REPORT, details={"held": "learning"}),
        alert(2, mode=Mode.REPORT, rule="port-scan"),
    )
    told = run("alerts").stdout

    assert told.count("[not sent: learning (collectord learn") == 1
    assert told.count("[not sent: mode report]") == 1
    shown = run("alerts", "show", f"{1:016x}").stdout
    assert "\nrule:          excessive-failures (notify)\n" in shown
    assert "\n               not sent: learning (collectord learn" in shown
    assert "port-scan (report)" in run("alerts", "show", f"{2:016x}").stdout


def test_a_narrow_terminal(run: Any, store: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    """What an alert is about is set in below its line; how to ask for more stands there already, as its id."""
    monkeypatch.setenv("COLUMNS", "60")
    words = "203.0.113.77: 5,001 failed connections in 5 min (limit 5,000), port 22"
    store(alert(1, summary=f"{words}; collectord alerts show {1:016x}"))
    first, *others = run("alerts").stdout.splitlines()

    assert first.startswith(f"{1:016x}  raised  medium  2027-01-15")
    assert all(line.startswith("    ") for line in others)
    assert " ".join(line.strip() for line in others) == words


def test_none(run: Any, store: Callable[..., None]) -> None:
    store()

    assert run("alerts").stdout == "No active alerts. (--all shows the cleared ones)\n"
    assert run("alerts", "list", "--all").stdout == "No alerts.\n"
    assert run("alerts", "list", "--json").stdout == ""


@pytest.mark.usefixtures("three")
def test_show(run: Any) -> None:
    result = run("alerts", "show", f"{3:016x}")

    assert result.exit_code == 0
    for text in (
        f"{3:016x} (episode 1)", "cleared: at or below 4,000 for 15 min", "port-misuse (notify)", "SrcIpAddr=192.0.2.3",
        "5,001 in 300 s, limit 5,000", "Impact, T1499", "history:", "raised", "error:",
    ):  # fmt: skip
        assert text in result.stdout


@pytest.mark.parametrize(("address", "text"), [("192.0.2.1", "fw-1 (192.0.2.1)\n"), ("", "fw-1\n")])
def test_the_device_that_it_is_about(run: Any, store: Callable[..., None], address: str, text: str) -> None:
    store(alert(1, details={"device": {"name": "fw-1", "address": address}}))
    assert text in run("alerts", "show", f"{1:016x}").stdout


@pytest.mark.usefixtures("three")
def test_show_for_programs(run: Any) -> None:
    (line,) = run("alerts", "show", "--json", f"{3:016x}").stdout.splitlines()
    shown = json.loads(line)

    assert set(DOCUMENTED) <= set(shown)
    assert [state["event"] for state in shown["history"]] == ["cleared", "raised"]


@pytest.mark.usefixtures("three")
def test_an_id_that_is_none(run: Any) -> None:
    with pytest.raises(RequestError, match="there is no alert") as caught:
        run("alerts", "show", "\x1b[2Jnone")
    assert caught.value.exit_status == 64
    assert "\x1b" not in str(caught.value)


def test_what_came_from_the_wire_can_not_write_to_the_terminal(run: Any, store: Callable[..., None]) -> None:
    evil = "\x1b]0;owned\x07[bold]x[/bold]"
    store(alert(1, summary=evil, title=evil, site=evil, key={"SrcAppName": evil}, details={"a": evil}))
    for words in (("alerts",), ("alerts", "show", f"{1:016x}")):
        result = run(*words)
        assert result.exit_code == 0
        assert "\x1b" not in result.stdout
        assert "\x07" not in result.stdout
        assert "[bold]x[/bold]" in result.stdout, "no markup of ours either"


@pytest.mark.parametrize("words", [("alerts",), ("alerts", "list"), ("alerts", "show", "x")])
def test_without_database(run: Any, words: tuple[str, ...]) -> None:
    with pytest.raises(StoreError, match="the daemon has not run with this configuration") as caught:
        run(*words)
    assert caught.value.exit_status == 74


@pytest.mark.usefixtures("three")
def test_an_id_by_its_beginning(run: Any, store: Callable[..., None]) -> None:
    """As far as it takes to tell it from the others; an id that is whole is never taken for the beginning of one."""
    store(alert(4, id="3f2a91c07d5be148"), alert(5, id="3f2a91ff00000000", rule="port-scan"), alert(6, id="3f2a"))

    def told(*words: str) -> tuple[int, str]:
        result = run("alerts", "show", *words, "--json")
        return result.exit_code, json.loads(result.stdout)["id"]

    assert told("3f2a91c") == told("3F2A91C0") == (0, "3f2a91c07d5be148")
    assert told("3f2a") == (0, "3f2a")
    for words, reason in (
        ("3f2a91", "several alerts begin with 3f2a91: 3f2a91ff00000000 (port-scan), 3f2a91c07d5be148 ("),
        ("3f2", "there is no alert 3f2; of an id at least 4 characters are needed"),
        ("%%%%", "there is no alert %%%%"),
        ("3f2a91c07d5be1480", "there is no alert 3f2a91c07d5be1480"),
        ("\udcff\udcff\udcff\udcff", "there is no alert \\udcff"),
    ):
        with pytest.raises(RequestError) as caught:
            run("alerts", "show", words)
        assert str(caught.value).startswith(reason)
