"""``collectord status``: of the running daemon, from its database, and as a monitoring plugin."""

import json
from pathlib import Path
from typing import Any

import pytest

from collectord.errors import ConfigError, UnavailableError
from collectord.model import Changes
from collectord.store.counters import Counters
from collectord.store.db import Database

NOW_NS = 1_800_000_000 * 10**9


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the running daemon answers; a test may change it."""
    answer: dict[str, Any] = {
        "version": "1",
        "engine": "release",
        "running": True,
        "started": "2027-01-15T08:00:00.000Z",
        "uptime_s": 61,
        "database": "/var/lib/collectord/collectord.db",
        "listeners": [
            {
                "type": "udp", "name": "udp", "host": "127.0.0.1", "port": 5514, "received": 1234567,
                "outcomes": {"session": 1234560, "unparsed": 7}, "kernel_drops": 0, "receive_buffer": 65536,
                "idle_s": 2,
            },
            {
                "type": "tcp", "name": "tcp", "host": "127.0.0.1", "port": 5514, "received": 0,
                "outcomes": {}, "connections": 3, "refused": 0, "idle_s": None,
            },
        ],
        "outputs": [
            {
                "name": "noc", "local": False, "up": True, "delivered": 1, "failures": 0, "waiting": 0,
                "dropped": {"age": 1200, "oldest": 1}, "owed": 0, "last_error": "",
            },
        ],
        "alerts": {"active": 2, "refused": {}, "ailing": {}},
        "database_bytes": 4096,
        "tick": {
            "age_s": 0, "ticks": 61, "last_ms": 1.5, "longest_ms": 20.0, "carried_rows": 0, "store_failures": 0,
            "unstored_alerts": 0, "lost_alerts": 0,
        },
        "counters": [{"name": "port_volume", "evicted": 4, "without_key": 5, "exempted": 6}],
    }  # fmt: skip

    def ask(path: Path, command: str) -> dict[str, Any]:
        assert (path.name, command) == ("control.sock", "status")
        return answer

    monkeypatch.setattr("collectord.control.ask", ask)
    return answer


@pytest.fixture
def stored(config: Path) -> None:
    """A database that a daemon left."""
    ledger = [(0, "session", 9, 900), (0, "empty", 1, 0)]
    with Database(config.parent / "state" / "collectord.db") as database:
        changes = Changes(
            seq=1, now_ns=NOW_NS, rows={}, ledger=ledger, windows=(), evicted={}, without_key={}, carried=0
        )
        Counters(database, "run").write(changes, (), ["udp"])


REFUSED: dict[str, Any] = {
    "time": "2027-01-15T08:00:00.000Z", "taken": False, "who": "ada", "config": "/etc/c.toml", "elapsed_s": 0.2,
    "problems": [
        {"file": "rules.d/many.toml", "line": number, "key": "severity", "reason": "is missing", "hint": ""}
        for number in range(1, 13)
    ],
    "problems_left_out": 4,
}  # fmt: skip


class TestReload:
    """What became of a changed configuration."""

    def test_taken(self, run: Any, answer: dict[str, Any]) -> None:
        answer["reload"] = {**REFUSED, "taken": True, "problems": [], "problems_left_out": 0}
        assert "configuration taken up 2027-01-15 " in run("status").stdout
        assert run("status", "--check").stdout.startswith("OK - ")

    def test_refused(self, run: Any, answer: dict[str, Any]) -> None:
        """The first ten problems, and how many more."""
        answer["reload"] = REFUSED
        lines = run("status").stdout.splitlines()
        assert "CONFIGURATION REFUSED 2027-01-15 " in lines[1]
        assert lines[2] == "  rules.d/many.toml:1: severity: is missing"
        assert lines[11:13] == [
            "  rules.d/many.toml:10: severity: is missing",
            "  and 6 more: collectord check tells all",
        ]
        result = run("status", "--check")
        assert (result.exit_code, result.stdout.partition(" |")[0]) == (
            1, "WARNING - the changed configuration is refused: collectord status",
        )  # fmt: skip

    def test_of_a_daemon_whose_configuration_is_wrong_now(self, run: Any, answer: dict[str, Any], config: Path) -> None:
        """It runs on with what it had, and is asked all the same."""
        answer["reload"] = REFUSED
        config.write_text(f"{config.read_text()}relays = 5\n")
        assert "CONFIGURATION REFUSED" in run("status").stdout

    def test_a_wrong_configuration_and_no_daemon(self, run: Any, config: Path) -> None:
        config.write_text(f"{config.read_text()}relays = 5\n")
        with pytest.raises(ConfigError):
            run("status")


class TestRunning:
    """The daemon answers."""

    def test_bugs_of_the_engine(self, run: Any, answer: dict[str, Any]) -> None:
        assert "BUG" not in run("status").stdout
        answer["tick"]["engine_bugs"] = 1_234
        assert "THE ENGINE MET A BUG (1,234 so far) and went on" in run("status").stdout

    def test_snmp_engine(self, run: Any, answer: dict[str, Any]) -> None:
        """Shown where there is one; receivers of SNMPv3 need it."""
        assert "SNMP" not in run("status").stdout
        answer["snmp"] = {"engine_id": "0x80007ed905", "boots": 1234, "ignored_datagrams": 0}
        assert "SNMP engine ID 0x80007ed905, boots 1,234" in run("status").stdout

    def test_for_people(self, run: Any, answer: dict[str, Any]) -> None:
        answer["outputs"][0].update(up=False, last_error="\x1b[2Jrefused")
        answer["tick"]["clamped"] = 5_678
        result = run("status")

        assert result.exit_code == 0
        for text in (
            "up 61 s", "udp (udp)", "1,234,567", "unparsed", "3 connections", "noc", "DOWN", "2 active alerts",
            "4 keys evicted", "5 sessions without its key", "6 exempt", "5,678 records claimed",
        ):  # fmt: skip
            assert text in result.stdout
        assert "too_long" not in result.stdout, "only outcomes that occurred"
        assert "\x1b" not in result.stdout

    def test_limited_peers(self, run: Any, answer: dict[str, Any]) -> None:
        """The first ten, and how many more; a warning for the monitoring."""
        answer["limited_peers"] = [
            {"peer": f"192.0.2.{n}", "listener": "udp", "since": "2027-01-15T08:00:00.000Z", "dropped": 9_000 - n}
            for n in range(1, 13)
        ]
        lines = [
            line for line in run("status").stdout.splitlines() if " sends too much to udp since 2027-01-15" in line
        ]
        assert (len(lines), lines[0].endswith(": 8,999 messages not read")) == (10, True)
        assert "and 2 more (--json)" in run("status").stdout
        result = run("status", "--check")
        assert (result.exit_code, result.stdout.partition(" |")[0]) == (
            1, "WARNING - 12 peers send more than bounds.peer_rate, first 192.0.2.1",
        )  # fmt: skip

    def test_for_programs(self, run: Any, answer: dict[str, Any]) -> None:
        (line,) = run("status", "--json").stdout.splitlines()

        assert json.loads(line) == answer

    @pytest.mark.parametrize(("up", "told"), [(True, "before: refused"), (False, " refused")])
    def test_what_is_over_is_told_as_that(self, run: Any, answer: dict[str, Any], up: bool, told: str) -> None:
        answer["outputs"][0] |= {"up": up, "last_error": "refused"}
        out = run("status").stdout

        assert told in out
        assert ("before: " in out) is up

    def test_learning(self, run: Any, answer: dict[str, Any]) -> None:
        """Whoever misses an alert at the NOC looks here first."""
        assert "learning" not in run("status").stdout
        answer["learn_until"] = "2027-01-22T08:00:00.000Z"
        assert "learning until 2027-01-2" in run("status").stdout


class TestNotRunning:
    """The database tells what it can."""

    def test_nothing_yet(self, run: Any) -> None:
        result = run("status")

        assert result.exit_code == 0
        assert result.stdout.startswith("The daemon does not run (nobody answers on ")
        assert "journalctl -u collectord" in result.stdout
        assert "There is no database yet." in result.stdout

    @pytest.mark.usefixtures("stored")
    def test_for_people(self, run: Any) -> None:
        result = run("status")

        assert "The daemon does not run" in result.stdout
        for text in ("last written 2027-01-15", "udp", "session", "9", "0 active alerts"):
            assert text in result.stdout

    @pytest.mark.usefixtures("stored")
    def test_for_programs(self, run: Any) -> None:
        stored = json.loads(run("status", "--json").stdout)

        assert stored["running"] is False
        assert "nobody answers" in stored["reason"]
        assert stored["ledger"] == {"udp": {"session": 9, "empty": 1}}
        assert stored["last_tick_ns"] == NOW_NS
        assert stored["alerts"] == {"active": 0}


class TestPlugin:
    """``--check``: one line and a status for Nagios and Icinga."""

    def check(self, run: Any, *words: str) -> tuple[int, str]:
        result = run("status", "--check", *words)
        (line,) = result.stdout.splitlines()
        return result.exit_code, line

    def told(self, run: Any, *words: str) -> tuple[int, str]:
        """Without the figures."""
        status, line = self.check(run, *words)
        return status, line.partition(" | ")[0]

    def test_ok(self, run: Any, answer: dict[str, Any]) -> None:
        """With performance data: label=value[unit];warn;crit;min."""
        assert self.check(run) == (
            0,
            "OK - 2 active alerts | received=1234567c;;;0 dropped=0c;;;0 unparsed=7c;;;0 limited=0c;;;0 alerts=2;;;0 "
            "waiting=0;;;0 tick=1.5ms;;;0 database=4096B;;;0",
        )

    def test_an_output_is_down(self, run: Any, answer: dict[str, Any]) -> None:
        """A warning as long as another tells somebody; the log alone does not."""
        answer["outputs"].append(answer["outputs"][0] | {"name": "siem"})
        answer["outputs"].append(answer["outputs"][0] | {"name": "log", "local": True})
        answer["outputs"][0]["up"] = False
        assert self.told(run) == (1, "WARNING - down: noc")
        answer["outputs"][1]["up"] = False
        assert self.told(run) == (2, "CRITICAL - down: noc, siem")

    def test_an_output_that_was_not_used_yet_is_not_down(self, run: Any, answer: dict[str, Any]) -> None:
        answer["outputs"][0]["up"] = None
        assert self.check(run)[0] == 0

    def test_messages_are_lost(self, run: Any, answer: dict[str, Any]) -> None:
        """As long as the alert about it is active: what was dropped last week is no trouble of now."""
        answer["listeners"][0]["kernel_drops"] = 5
        assert self.check(run)[0] == 0
        answer["alerts"]["ailing"] = {"messages-lost": 1}
        status, line = self.told(run)
        assert status == 2
        assert line.startswith("CRITICAL - messages are lost: the kernel dropped 5, raise receive_buffer")

    def test_alerts_were_given_up(self, run: Any, answer: dict[str, Any]) -> None:
        answer["alerts"]["ailing"] = {"alerts-dropped": 1}
        assert self.told(run) == (1, "WARNING - alerts were given up undelivered: collectord outbox list")

    @pytest.mark.parametrize("what", ["unstored_alerts", "lost_alerts"])
    def test_the_database_can_not_be_written(self, run: Any, answer: dict[str, Any], what: str) -> None:
        answer["tick"][what] = 1
        assert self.told(run) == (2, "CRITICAL - the database can't be written")

    def test_ticks_stand_still(self, run: Any, answer: dict[str, Any]) -> None:
        answer["tick"]["age_s"] = 16
        assert self.told(run) == (2, "CRITICAL - no tick has ended for 16 s")

    def test_the_worst_comes_first(self, run: Any, answer: dict[str, Any]) -> None:
        answer["alerts"]["ailing"] = {"alerts-dropped": 1}
        answer["tick"]["unstored_alerts"] = 1
        status, line = self.told(run)
        assert (status, line.split("; ")[0]) == (2, "CRITICAL - the database can't be written")
        assert "given up" in line

    def test_no_messages(self, run: Any, answer: dict[str, Any]) -> None:
        """No listener had one for too long, the time before the start not counted."""
        answer["uptime_s"] = 5000
        assert self.check(run)[0] == 0, "the other listener is never used"
        answer["listeners"][0]["idle_s"] = 901
        assert self.told(run) == (1, "WARNING - no message for 901 s")
        assert self.check(run, "--idle", "1h")[0] == 0
        assert self.check(run, "--idle", "0s")[0] == 0
        assert run("status", "--check", "--idle", "1").exit_code == 2, "click's own: it is no duration"
        answer["uptime_s"] = 10
        answer["listeners"][0]["idle_s"] = None
        assert self.check(run)[0] == 0

    def test_a_certificate_that_ends(self, run: Any, answer: dict[str, Any]) -> None:
        """The one that ends first is told of."""
        answer["listeners"][0]["certificate"] = {"days_left": 30}
        assert self.check(run)[0] == 0
        answer["outputs"][0]["certificate"] = {"days_left": 29}
        name = answer["outputs"][0]["name"]
        assert self.told(run) == (1, f"WARNING - the certificate of output {name} ends in 29 days")
        answer["listeners"][0]["certificate"] = {"days_left": -1}
        name = answer["listeners"][0]["name"]
        assert self.told(run) == (2, f"CRITICAL - the certificate of listener {name} has expired")

    def test_a_line_has_one_bar(self, run: Any, answer: dict[str, Any]) -> None:
        """What follows it is taken for figures; and old runners cut at 1024 bytes."""
        answer["limited_peers"] = [{"peer": "a|b" * 1000}]
        _, line = self.check(run)
        assert line.count("|") == 1
        assert len(line) <= 1000
        assert line.endswith("database=4096B;;;0")

    def test_the_database_fails(self, run: Any, answer: dict[str, Any]) -> None:
        answer["store"] = {"failing_s": 12, "reason": "no space left", "replaced": 0, "moved_to": None}
        assert self.told(run) == (2, "CRITICAL - the database fails for 12 s: no space left")
        assert "THE DATABASE FAILS for 12 s" in run("status").stdout

    def test_the_database_is_a_new_one(self, run: Any, answer: dict[str, Any]) -> None:
        answer["store"] = {"failing_s": 0, "reason": "", "replaced": 1, "moved_to": "/x/collectord.db.corrupt-1"}
        status, line = self.check(run)
        assert (status, line.partition(" | ")[0]) == (
            1,
            "WARNING - the database was damaged and is new; the old one is /x/collectord.db.corrupt-1",
        )
        assert "the old one is /x/collectord.db.corrupt-1" in run("status").stdout

    def test_no_place_for_alerts(self, run: Any, answer: dict[str, Any]) -> None:
        answer["alerts"]["refused"] = {"10,000 alerts of mine are active": 1234}
        text = "no place for 1,234 raises so far: 10,000 alerts of mine are active; they follow when there is room"
        assert text in run("status").stdout

    def test_it_does_not_run(self, run: Any) -> None:
        status, line = self.check(run)
        assert status == 2
        assert line.startswith("CRITICAL - the daemon does not run")

    def test_it_can_not_be_told(self, run: Any, config: Path) -> None:
        config.write_text("surprise = 1\nanother = 2\n")
        status, line = self.check(run)
        assert status == 3
        assert line.startswith(f"UNKNOWN - {config}:1: surprise")

    def test_it_is_stuck(self, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        def ask(*_: Any) -> None:
            raise UnavailableError("the daemon does not answer within 10 s")

        monkeypatch.setattr("collectord.control.ask", ask)
        assert self.check(run) == (2, "CRITICAL - the daemon does not answer within 10 s")
