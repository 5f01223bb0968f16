"""``collectord reload``: what it asks the daemon, and what it tells of the answer."""

from pathlib import Path
from typing import Any

import pytest

from collectord import control
from collectord.errors import EX_CONFIG, ConfigError, UnavailableError

from .conftest import objects

TAKEN: dict[str, Any] = {
    "time": "2027-01-15T08:00:00.000Z", "taken": True, "who": "ada", "config": "/etc/c.toml", "elapsed_s": 0.2,
    "problems": [], "problems_left_out": 0,
}  # fmt: skip
PROBLEM = {"file": "rules.d/many.toml", "line": 9, "key": "severity", "reason": "is \x1b[2Jmissing", "hint": "add it"}


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the daemon answers; a test may change it."""
    answer = dict(TAKEN)

    def ask(path: Path, command: str, *, limit_s: float) -> dict[str, Any]:
        assert (path.name, command) == ("control.sock", "reload")
        assert limit_s > control.ASK_LIMIT_S
        return answer

    monkeypatch.setattr(control, "ask", ask)
    return answer


def test_taken(run: Any, answer: dict[str, Any]) -> None:
    result = run("reload")
    assert (result.exit_code, result.stdout) == (0, "taken up: /etc/c.toml\n")
    answer["config"] = None
    assert run("reload").stdout == "taken up: the defaults\n"
    assert objects(run("reload", "--json")) == [answer]


def test_refused(run: Any, answer: dict[str, Any]) -> None:
    """Every problem with its place, nothing of it harmful to a terminal."""
    answer.update(taken=False, problems=[PROBLEM], problems_left_out=3)
    result = run("reload")
    assert (result.exit_code, result.stdout) == (EX_CONFIG, "")
    assert result.stderr.splitlines() == [
        "rules.d/many.toml:9: severity: is \\x1b[2Jmissing (add it)",
        "and 3 more: collectord check tells all",
        "collectord: refused; what was in force stays so",
    ]
    result = run("reload", "--json")
    assert (result.exit_code, objects(result)) == (EX_CONFIG, [answer])


def test_a_configuration_that_is_wrong_names_the_socket_all_the_same(
    run: Any, config: Path, answer: dict[str, Any]
) -> None:
    config.write_text(f"{config.read_text()}[bounds]\nmessage = 5\n")
    assert run("reload").exit_code == 0


@pytest.mark.parametrize("text", ["state_dir = ", 'control_socket = 5\n[bounds]\nmessage = "5"\n'])
def test_where_the_socket_is_unknown_the_mistakes_are_told(
    run: Any, config: Path, answer: dict[str, Any], text: str
) -> None:
    """No other daemon than that of this configuration is asked."""
    config.write_text(text)
    with pytest.raises(ConfigError):
        run("reload")


def test_no_daemon(run: Any) -> None:
    with pytest.raises(UnavailableError, match="the daemon does not run"):
        run("reload")
