"""What ``collectord demo`` does beside the daemon: its folder, its lines, its commands."""

import io
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from collectord import config as configuration
from collectord.cli.demo import CONFIG, Story, TerminalOutput, command, demo
from collectord.clock import SystemClock
from collectord.errors import EnvironmentProblem
from collectord.model import Alert, AlertState

from .. import alerts

# The package's attribute of that name is the command.
demo_module = sys.modules["collectord.cli.demo"]


def alert(**changes: Any) -> Alert:
    """One that the demo's attack raises."""
    demo = {
        "key": {"SrcIpAddr": "203.0.113.66"},
        "count": 5_204,
        "window_s": 10,
        "first_time_ns": 0,
        "last_time_ns": 0,
        "title": "Excessive number of failed connections from 203.0.113.66",
        "summary": "203.0.113.66: 5,204 failed connections in 10 s (limit 5,000); collectord alerts show 0123",
    }
    return alerts.alert(**(demo | changes))


@pytest.fixture
def lines() -> io.StringIO:
    """What was written."""
    return io.StringIO()


@pytest.fixture
def output(lines: io.StringIO) -> TerminalOutput:
    """An output that is no terminal."""
    story = Story(Console(file=lines, width=80, highlight=False), SystemClock(), gone=pytest.fail)
    return TerminalOutput(story, Path("/srv/my demo/collectord.toml"))


async def test_alert_has_severity_counts_and_a_command(output: TerminalOutput, lines: io.StringIO) -> None:
    await output.start()
    await output.send(alert(), 1)
    await output.close()
    first, second, third = lines.getvalue().splitlines()
    assert "ALERT" in first
    assert "medium severity: Excessive number of failed connections from 203.0.113.66" in first
    assert second.strip() == "203.0.113.66: 5,204 failed connections in 10 s (limit 5,000)"
    words = shlex.split(third.partition("more: ")[2])
    assert words[-5:] == ["alerts", "show", "0123456789abcdef", "--config", "/srv/my demo/collectord.toml"]


async def test_output_counts_what_it_told(output: TerminalOutput) -> None:
    assert output.wants(alert())
    await output.send(alert(), 1)
    assert output.active == 1
    await output.send(alert(state=AlertState.UPDATED, event="updated:2"), 2)
    assert output.active == 1
    await output.send(alert(state=AlertState.CLEARED, event="cleared"), 3)
    assert output.active == 0


async def test_nothing_from_the_wire_reaches_the_terminal(output: TerminalOutput, lines: io.StringIO) -> None:
    await output.send(alert(title="a\x1b[2Jb[bold]c", summary="d\x1b[2Je; command"), 1)
    assert "\x1b" not in lines.getvalue()
    assert "[bold]" in lines.getvalue()


class _Closed(io.StringIO):
    """A pipe that nobody reads any more."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_story_ends_when_nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    # rich would point standard output elsewhere, which is pytest's here.
    monkeypatch.setattr("os.dup2", lambda *_: None)
    ends: list[bool] = []
    story = Story(Console(file=_Closed()), SystemClock(), gone=lambda: ends.append(True))
    story.begin()
    story.tell("NORMAL", "nobody reads this")
    assert ends == [True]


def test_command_is_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    assert command("status", config_file=Path("/srv/a b/c.toml")) == "collectord status --config '/srv/a b/c.toml'"


def test_command_is_beside_python(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "collectord").touch()
    monkeypatch.setattr("sys.executable", str(tmp_path / "bin" / "python"))
    assert command("status", config_file=Path("/c.toml")).startswith(f"{tmp_path}/bin/collectord status")
    monkeypatch.chdir(tmp_path)
    assert command("status", config_file=Path("/c.toml")) == "bin/collectord status --config /c.toml"


def test_command_is_a_module(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    assert command("alerts", config_file=Path("/c.toml")) == f"{tmp_path}/python -m collectord alerts --config /c.toml"


def test_configuration_is_valid(tmp_path: Path) -> None:
    file = tmp_path / "collectord.toml"
    file.write_text(CONFIG.format(port=0))
    config = configuration.load(file)
    assert config.database == tmp_path / "collectord.db"
    assert config.control_socket == tmp_path / "control.sock"
    assert [(listener.type, listener.host, listener.port) for listener in config.listener] == [
        ("udp", "127.0.0.1", 0),
        ("tcp", "127.0.0.1", 0),
    ]


def test_new_folder_each_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    first, second = demo_module._prepared(None), demo_module._prepared(None)
    assert first != second
    assert {first.parent, second.parent} == {tmp_path}


def test_folder_of_an_earlier_demo_is_used_again(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    assert demo_module._prepared(folder) == folder
    (folder / "collectord.toml").write_text(CONFIG.format(port=0))
    for name in ("collectord.db", "collectord.db-wal", "collectord.db-shm"):
        (folder / name).write_text("old")
    (folder / "mine.txt").write_text("kept")
    assert demo_module._prepared(folder) == folder
    assert sorted(path.name for path in folder.iterdir()) == ["collectord.toml", "mine.txt"]


@pytest.mark.parametrize("names", [("collectord.db",), ("collectord.toml",), ("collectord.db", "collectord.toml")])
def test_folder_of_a_real_daemon_is_left_alone(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        (tmp_path / name).write_text("[log]\n")
    with pytest.raises(EnvironmentProblem, match="belongs to a collectord that is no demo"):
        demo_module._prepared(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentProblem, match="can't be used"):
        demo_module._prepared(tmp_path / "file" / "below")


@pytest.mark.parametrize("value", ["60", "1 minute", "0.5s", ""])
def test_duration_needs_its_unit(value: str) -> None:
    result = CliRunner().invoke(demo, ["--for", value])
    assert result.exit_code == 2
    assert 'expected a duration such as "30s"' in result.output
