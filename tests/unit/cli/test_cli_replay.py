"""``collectord replay``."""

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest
import zstandard
from click.testing import CliRunner, Result

from collectord.cli import cli
from collectord.replay import Replay

START_S = 1_800_000_000

RULE = """\
name = "{name}"
title = "Failures from {{SrcIpAddr}}"
type = "event_count"
counter = "failed_by_source"
where = {{ EventResult = "Failure" }}
group_by = ["SrcIpAddr"]
timespan = "5m"
step = "1m"
condition = {{ gt = 10 }}
mode = "{mode}"
severity = "high"
"""


def denied(second: int, source: str = "203.0.113.1", year: str = "%Y ") -> str:
    """A failed session, that many seconds after the start."""
    stamp = datetime.fromtimestamp(START_S + second, UTC).strftime(f"%b %d {year}%H:%M:%S")
    return (
        f"<164>{stamp} asa-1 : %ASA-4-106023: Deny tcp src outside:{source}/40000 dst inside:10.0.0.1/22 "
        'by access-group "in"\n'
    )


ATTACK = "".join(denied(second) for second in range(20))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration with one rule more."""
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "few-failures.toml").write_text(RULE.format(name="few-failures", mode="notify"))
    path = tmp_path / "collectord.toml"
    path.write_text('state_dir = "state"\nrules_dir = "rules"\n')
    return path


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log with an attack."""
    path = tmp_path / "fw.log"
    path.write_text(ATTACK)
    return path


def run(config: Path, *words: object, input: bytes | None = None) -> Result:
    """The command with that configuration; stdout and stderr apart."""
    all_words = ["replay", "--config", str(config), *map(str, words)]
    return CliRunner(env={"COLUMNS": "200", "TZ": "UTC"}).invoke(cli, all_words, input=input, catch_exceptions=False)


def test_table_for_people(config: Path, log: Path) -> None:
    """What, when, and the counts."""
    result = run(config, log)
    assert result.exit_code == 0
    head, text, *_ = result.stdout.splitlines()
    assert "few-failures" in head and "high" in head and "still active" in head
    assert datetime.fromtimestamp(START_S + 11, UTC).astimezone().strftime("%H:%M:%S") in head
    assert text.startswith("    203.0.113.1: 20 sessions" if "20 sess" in text else "    203.0.113.1: 11 sessions")
    assert "collectord alerts show" not in result.stdout
    assert "alerts    1 raised, 1 still active at the end" in result.stdout
    assert "messages  20: 20 session" in result.stdout
    assert "(0:00:19)" in result.stdout
    assert result.stderr == ""


def test_json_has_each_state(config: Path, log: Path) -> None:
    """As they come about; the counts are not among them."""
    log.write_text(ATTACK + denied(1_800, "203.0.113.2"))
    result = run(config, "--json", log)
    states = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(state["event"], state["rule"], state["count"]) for state in states] == [
        ("raised", "few-failures", 11),
        ("cleared", "few-failures", 20),
    ]
    assert states[0]["last_time"] == "2027-01-15T08:00:11.000Z"
    assert "messages  21" in result.stderr


@pytest.mark.parametrize("as_json", [False, True])
def test_ctrl_c_shows_what_was_found(config: Path, log: Path, monkeypatch: pytest.MonkeyPatch, as_json: bool) -> None:
    """A log may be large, and the alerts of the last half hour are there."""
    judge = Replay._judge

    def interrupted(self: Replay, now_s: int) -> None:
        judge(self, now_s)
        if now_s == START_S + 15:
            raise KeyboardInterrupt

    monkeypatch.setattr(Replay, "_judge", interrupted)
    result = run(config, log, *(["--json"] if as_json else []))
    assert result.exit_code == 130
    assert "few-failures" in result.stdout
    told = result.stderr if as_json else result.stdout
    assert "alerts    1 raised, 1 still active at the end" in told
    assert "stopped   by Ctrl-C" in told
    assert "messages  15: 15 session" in told


def test_nothing_of_the_site_is_touched(config: Path, log: Path) -> None:
    """No state folder is made."""
    run(config, log)
    assert sorted(path.name for path in config.parent.iterdir()) == ["collectord.toml", "fw.log", "rules"]


def test_compressed_files_and_standard_input_are_merged(config: Path, tmp_path: Path) -> None:
    """By time, whatever they are called."""
    lines = ATTACK.splitlines(keepends=True)
    (tmp_path / "a").write_bytes(gzip.compress("".join(lines[::3]).encode()))
    (tmp_path / "b").write_bytes(zstandard.ZstdCompressor().compress("".join(lines[1::3]).encode()))
    result = run(config, tmp_path / "b", "-", tmp_path / "a", input="".join(lines[2::3]).encode())
    assert "messages  20: 20 session" in result.stdout
    assert "alerts    1 raised" in result.stdout


def test_a_file_counts_once(config: Path, log: Path, tmp_path: Path) -> None:
    """Under whatever name it is given again, as a shell's pattern may do."""
    (tmp_path / "link").symlink_to(log)
    result = run(config, log, tmp_path / "link")
    assert (result.exit_code, result.stdout) == (click.UsageError.exit_code, "")
    assert "link is the same file as " in result.stderr


def test_rules_on_trial(config: Path, log: Path, tmp_path: Path) -> None:
    """Of a folder that is not installed, only those named, also one that is off."""
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "new-rule.toml").write_text(RULE.format(name="new-rule", mode="off"))
    assert "new-rule" not in run(config, "--rules-dir", tmp_path / "new", log).stdout
    result = run(config, "--rules-dir", tmp_path / "new", "--rule", "new-rule", log)
    assert "new-rule (report only)" in result.stdout
    assert "few-failures" not in result.stdout
    result = run(config, "--rule", "nonsense", log)
    assert result.exit_code == 64
    assert "there is no rule nonsense; known: " in result.stderr


def test_time_span_and_what_is_left_out(config: Path, log: Path) -> None:
    """Times without an offset are local."""
    result = run(config, "--from", "2027-01-15T08:00:05Z", "--until", "2027-01-15T09:00:15+01:00", log)
    assert "messages  10: 10 session" in result.stdout
    assert "left out  5 lines" in result.stdout
    local = datetime.fromtimestamp(START_S + 5, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    assert "left out  5 lines" in run(config, "--from", local, log).stdout


@pytest.mark.parametrize("offset", ["+00:00", "+14:00", "-12:00"])
@pytest.mark.parametrize("day", [0, 364])
def test_year_and_offset_of_stamps(config: Path, log: Path, offset: str, day: int) -> None:
    """For the first and the last day of the year as the device sees it."""
    shift = (datetime(2030, 1, 1, tzinfo=UTC).timestamp() - START_S) + day * 86_400
    log.write_text("".join(denied(int(shift) + second, year="") for second in range(20)))
    result = run(config, "--json", "--year", 2025, "--utc-offset", offset, log)
    (state,) = [json.loads(line) for line in result.stdout.splitlines()]
    local = datetime.fromisoformat(state["last_time"]).astimezone(
        datetime.fromisoformat(f"2025-01-01T00:00:00{offset}").tzinfo
    )
    assert (local.year, local.timetuple().tm_yday - 1) == (2025, day)


def test_garbage_is_counted(config: Path, log: Path) -> None:
    """Nothing of it raises."""
    log.write_bytes(ATTACK.encode() + bytes(range(256)) + b"\n" + denied(100 * 3_600).encode())
    result = run(config, log)
    assert result.exit_code == 0
    assert "unread    2 (8.7 %)" in result.stdout
    assert "jumps     1 lines over an hour off" in result.stdout
    assert "no time   2 lines" in result.stdout
    log.write_text(ATTACK + "".join(denied(100 * 3_600 + second) for second in range(3)))
    assert "gaps      1 of over an hour without a line, the longest 4 days, 3:59:41" in run(config, log).stdout


def test_files_that_can_not_be_read(config: Path, log: Path, tmp_path: Path) -> None:
    """66 and nothing done if one can't be opened, 74 and all that could be read if one breaks off."""
    result = run(config, tmp_path / "missing", log, tmp_path)
    assert (result.exit_code, result.stdout) == (66, "")
    assert f"{tmp_path / 'missing'} can't be read: no such file or directory" in result.stderr
    assert f"{tmp_path} can't be read: is a directory" in result.stderr
    whole = gzip.compress(ATTACK.encode())
    (tmp_path / "cut.gz").write_bytes(whole[:-9])
    result = run(config, tmp_path / "cut.gz")
    assert result.exit_code == 74
    assert "alerts    1 raised" in result.stdout
    assert "cut.gz can't be read any further" in result.stderr


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ((), "Missing argument"),
        (("-", "-"), "standard input"),
        (("-", "--from", "yesterday"), "expected a time such as"),
        (("-", "--utc-offset", "CET"), "expected an offset from UTC"),
        (("-", "--year", "12"), "12"),
    ],
)
def test_wrong_usage(config: Path, words: tuple[str, ...], reason: str) -> None:
    """Told as of every command."""
    result = run(config, *words, input=b"")
    assert result.exit_code == 2
    assert reason in result.stderr


def test_nothing_to_read(config: Path) -> None:
    """An empty log is none that is wrong."""
    result = run(config, "-", input=b"")
    assert (result.exit_code, result.stdout) == (0, "alerts    0 raised, 0 still active at the end\nmessages  0\n")
