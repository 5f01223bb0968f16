"""The ``collectord`` command as a whole: help, version, and exit statuses (sysexits.h)."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from collectord import __version__, errors
from collectord import cli as module
from collectord.cli import cli, main
from collectord.errors import ConfigError, ListenError, Problem, StoreError, UnavailableError


def commands(group: click.Group, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command with the words that call it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*above, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*above, name))


ALL = list(commands(cli))


@pytest.mark.parametrize("words", [words for words, _ in ALL], ids=" ".join)
def test_help_shows_an_example(words: tuple[str, ...]) -> None:
    """The example is the part of a help text that people read; it calls the command itself."""
    result = CliRunner().invoke(cli, [*words, "--help"])

    assert result.exit_code == 0
    assert f"collectord {' '.join(words)}" in result.stdout.partition("Example")[2]


@pytest.mark.parametrize("words", [words for words, _ in ALL], ids=" ".join)
def test_every_option_has_a_help(words: tuple[str, ...]) -> None:
    command = dict(ALL)[words]
    options = [option for option in command.params if isinstance(option, click.Option)]

    assert [option.name for option in options if not option.help] == []


def test_help_reads_like_a_table_of_contents() -> None:
    result = CliRunner().invoke(cli, ["--help"])

    assert result.stdout.index("  run ") < result.stdout.index("  check ") < result.stdout.index("  alerts ")
    assert CliRunner().invoke(cli, ["-h"]).stdout == result.stdout


def test_only_what_is_asked_for_is_imported() -> None:
    """A command that reads one table does not wait for all that the daemon needs."""
    code = "import sys; from collectord.cli import main; sys.argv = ['collectord', 'audit', '--help']\n"
    code += "try: main()\nfinally: print(*sys.modules)"
    result = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)

    imported = result.stdout.split()
    assert "collectord.cli.audit" in imported
    assert not {"pysnmp", "structlog", "collectord.app", "collectord._engine"} & {*imported}


def test_version() -> None:
    assert CliRunner().invoke(cli, ["--version"]).stdout == f"collectord {__version__}\n"


@pytest.fixture
def exit_status(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """Calls ``main`` with words and gives the status that the process would end with."""
    monkeypatch.setattr(sys, "stdout", sys.stdout)  # Put back, should main take it away.

    def call(*words: str) -> object:
        monkeypatch.setattr(sys, "argv", ["collectord", *words])
        with pytest.raises(SystemExit) as caught:
            main()
        return caught.value.code

    yield call


class TestExitStatus:
    """Programs go by it."""

    def test_all_is_well(self, exit_status, capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
        assert exit_status("--version") in (None, 0)
        assert exit_status("parse", "--help") in (None, 0)
        assert capsys.readouterr().err == ""

    @pytest.mark.parametrize("words", [("no-such-command",), ("parse", "--no-such-option"), ("alerts", "show"), ()])
    def test_wrong_usage(self, exit_status, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
        assert exit_status(*words) == errors.EX_USAGE == 64
        assert "Usage: " in capsys.readouterr().err

    def test_wrong_configuration(  # type: ignore[no-untyped-def]
        self, exit_status, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "c.toml"
        path.write_text("surprise = 1\nlistener = []\n")
        assert exit_status("run", "--config", str(path)) == errors.EX_CONFIG == 78
        told = capsys.readouterr().err
        assert f"{path}:1: surprise" in told
        assert f"{path}:2: listener" in told

    @pytest.mark.parametrize(
        ("error", "status"),
        [
            (ConfigError([Problem("f", 1, "k", "r")]), 78),
            (StoreError("x"), 74),
            (ListenError("x"), 71),
            (ListenError("x", permission=True), 77),
            (UnavailableError("x"), 69),
            (ExceptionGroup("g", [ExceptionGroup("h", [StoreError("one"), ListenError("two")])]), 74),
            (KeyboardInterrupt(), 130),
            (click.Abort(), 130),
            (click.BadParameter("x"), 64),
        ],
    )
    def test_errors(  # type: ignore[no-untyped-def]
        self,
        exit_status,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        error: BaseException,
        status: int,
    ) -> None:
        def fail(**_: object) -> None:
            raise error

        monkeypatch.setattr(module.cli, "main", fail)
        assert exit_status() == status
        assert "Traceback" not in capsys.readouterr().err

    def test_all_of_a_group_are_told(  # type: ignore[no-untyped-def]
        self, exit_status, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def fail(**_: object) -> None:
            raise ExceptionGroup("g", [StoreError("one"), ExceptionGroup("h", [ListenError("two")])])

        monkeypatch.setattr(module.cli, "main", fail)
        exit_status()
        assert capsys.readouterr().err == "collectord: one\ncollectord: two\n"

    def test_a_bug_is_shown_as_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(**_: object) -> None:
            raise ExceptionGroup("g", [StoreError("one"), ZeroDivisionError()])

        monkeypatch.setattr(module.cli, "main", fail)
        with pytest.raises(ExceptionGroup):
            main()


@pytest.mark.parametrize("words", [("snmp", "mib"), ("--version",), ("rules", "list")])
def test_a_full_disk_is_told(words: tuple[str, ...]) -> None:
    """As in `collectord snmp mib > file`."""
    with open("/dev/full", "wb") as full:
        command = [sys.executable, "-P", "-m", "collectord", *words]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (errors.EX_IOERR, b"collectord: can't write: no space left on device\n")


def test_a_reader_that_goes_away_is_no_error() -> None:
    """As in `collectord parse < log | head -1`."""
    messages = b"\n".join(b"<13>Nov 22 10:20:30 h app: %d" % number for number in range(20_000))
    command = [sys.executable, "-P", "-m", "collectord", "parse"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(messages[:100_000])
        process.stdin.flush()
        assert process.stdout.readline().startswith(b'{"Outcome"')
        process.stdout.close()
        try:
            process.stdin.write(messages[100_000:])
            process.stdin.close()
        except BrokenPipeError:
            pass
        assert process.stderr.read() == b""
        assert process.wait() == 0
