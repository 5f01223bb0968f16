"""``collectord init``: a first configuration from five questions."""

import importlib
import re
import stat
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from collectord import config, data
from collectord.cli import cli, first_steps
from collectord.clock import SystemClock
from collectord.errors import ConfigError
from collectord.output_settings import LogOutput, SnmpOutput, SyslogOutput
from collectord.settings import TcpListener, UdpListener

# The package's name for it is the command.
command: Any = importlib.import_module("collectord.cli.init")

Init = Callable[..., Result]
WEEK_S = 7 * 86_400


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What is written; the loader that takes a second is the subject of one test alone."""
    monkeypatch.setattr(command, "plan", SimpleNamespace(load=config.load))
    return tmp_path / "etc" / "collectord.toml"


@pytest.fixture
def init(path: Path) -> Init:
    """Runs it with these options and answers."""

    def run(*words: str, answers: str = "") -> Result:
        return CliRunner().invoke(cli, ["init", "--config", str(path), *words], input=answers, catch_exceptions=False)

    return run


def test_proposals(init: Init, path: Path) -> None:
    """Enter, five times."""
    result = init(answers="\n" * 5)
    written = config.load(path)

    assert result.exit_code == 0
    assert [line[:2] for line in re.findall(r"[1-9]\. ", result.stdout)] == ["1.", "2.", "3.", "4.", "5."]
    assert written.internal_networks == config.Config().internal_networks
    assert written.listener == (
        UdpListener(type="udp", name="udp", host="0.0.0.0"),
        TcpListener(type="tcp", name="tcp", host="0.0.0.0"),
    )
    assert written.output == (LogOutput(type="log", name="log"),)
    assert written.http.enabled
    assert (written.port_watchlist, written.hosts) == (
        path.with_name("port-watchlist.csv"),
        path.with_name("hosts.csv"),
    )


def test_it_learns_for_a_week(init: Init, path: Path) -> None:
    init("--yes")
    now_ns = SystemClock().now_ns()

    assert now_ns + (WEEK_S - 3600) * 10**9 < config.load(path).learn_until_ns <= now_ns + WEEK_S * 10**9


def test_it_learns_as_long_as_told(init: Init, path: Path) -> None:
    result = init("--yes", "--learn", "0s")

    assert config.load(path).learn_until is None
    assert "It learns" not in result.stdout


def test_answers(init: Init, path: Path) -> None:
    result = init(answers="192.0.2.0/24 2001:db8::/32\n514, 5514\nbranch-7\nnoc.example.net\n[2001:db8::5]:1514\n")
    written = config.load(path)

    assert result.exit_code == 0
    assert written.internal_networks == ("192.0.2.0/24", "2001:db8::/32")
    assert [(each.name, each.port, each.site) for each in written.listener] == [
        (name, port, "branch-7") for name, port in (("udp", 514), ("tcp", 514), ("udp-5514", 5514), ("tcp-5514", 5514))
    ]
    _, snmp, syslog = written.output
    assert isinstance(snmp, SnmpOutput)
    assert (snmp.host, snmp.port, snmp.version, snmp.read_community()) == ("noc.example.net", 162, "2c", "public")
    assert isinstance(syslog, SyslogOutput)
    assert (syslog.host, syslog.port, syslog.transport) == ("2001:db8::5", 1514, "udp")
    assert "Port 514 needs" in result.stdout


def test_a_wrong_answer_is_told_at_once(init: Init, path: Path) -> None:
    """And the question comes again."""
    wrong = "10.0.0.1/8\n\n0\n99999\n\n" + "x" * 65 + "\n\nnoc example\nnoc:x\nnoc\n\n"
    result = init(answers=wrong)

    assert result.exit_code == 0
    for told in ("10.0.0.1/8 is no network", "ports from 1 to 65535", "at most 64 characters", "a name or an address"):
        assert f"Error: {told}" in result.output or told in result.output
    assert config.load(path).output[1].name == "noc"


def test_options_answer(init: Init, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are left are asked; the community can stay out of the list of processes."""
    monkeypatch.setenv("COLLECTORD_COMMUNITY", "s3cret")
    result = init(
        "--network", "192.0.2.0/24", "--port", "1514", "--host", "127.0.0.1", "--site", "", "--snmp", "192.0.2.9:1162",
        answers="none\n",
    )  # fmt: skip
    written = config.load(path)

    assert "1." not in result.stdout
    assert "5." in result.stdout
    assert [(each.host, each.port) for each in written.listener] == [("127.0.0.1", 1514)] * 2
    assert isinstance(written.output[1], SnmpOutput)
    assert (written.output[1].port, written.output[1].read_community()) == (1162, "s3cret")
    assert "s3cret" not in path.read_text() + result.output


def test_it_tells_the_community_that_nobody_chose(init: Init) -> None:
    """The receiver has to know it; one that somebody chose is not shown."""
    assert "The SNMP community is public" in init("--yes", "--snmp", "noc").stdout
    assert "community is as it was" in init("--yes", "--force", "--snmp", "noc", "--community", "s3cret").stdout
    assert "SNMP community" not in init("--yes", "--force").stdout


def test_version_3_has_passwords_of_its_own(init: Init, path: Path) -> None:
    init("--yes", "--snmp", "noc", "--snmp-version", "3")
    _, snmp = config.load(path).output

    assert isinstance(snmp, SnmpOutput)
    auth, priv = snmp.read_auth_password(), snmp.read_priv_password()
    assert len(auth) == len(priv) == 24
    assert auth != priv
    assert not path.with_name("snmp-community").exists()


@pytest.mark.parametrize(("transport", "port"), [("udp", 514), ("tcp", 514), ("tls", 6514)])
def test_the_usual_port_of_the_transport(init: Init, path: Path, transport: str, port: int) -> None:
    init("--yes", "--syslog", "siem.example.net", "--syslog-transport", transport)
    output = config.load(path).output[1]

    assert isinstance(output, SyslogOutput)
    assert (output.transport, output.port) == (transport, port)


def test_files_are_not_for_everybody(init: Init, path: Path) -> None:
    init("--yes", "--snmp", "noc")

    assert {stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()} == {0o640}
    assert {each.name for each in path.parent.iterdir()} == {
        "collectord.toml", "port-watchlist.csv", "hosts.csv", "snmp-community",
    }  # fmt: skip


def test_the_service_may_read_what_root_writes(init: Init, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[str] = []

    def chown(path: Path, group: str) -> None:
        given.append(f"{path.name} {group}")
        raise LookupError

    monkeypatch.setattr(command.shutil, "chown", chown)
    monkeypatch.setattr(command.os, "geteuid", lambda: 0)
    assert init("--yes").exit_code == 0
    assert given == ["port-watchlist.csv collectord", "hosts.csv collectord", ".collectord.toml.new collectord"]


class TestWhatIsThere:
    """Nobody's work is lost."""

    def test_a_configuration_stays(self, init: Init, path: Path) -> None:
        path.parent.mkdir()
        path.write_text("# mine\n")
        result = CliRunner().invoke(cli, ["init", "--yes", "--config", str(path)])

        assert "is there already; --force replaces it" in result.output
        assert result.exit_code != 0
        assert path.read_text() == "# mine\n"
        assert init("--yes", "--force").exit_code == 0
        assert config.load(path).http.enabled

    def test_the_shipped_one_goes(self, init: Init, path: Path) -> None:
        """A package installs it; nothing of anybody's is in it."""
        path.parent.mkdir()
        path.write_bytes(data.conf("collectord.toml").read_bytes())

        assert init("--yes").exit_code == 0
        assert config.load(path).http.enabled

    def test_the_one_that_a_package_made_goes(self, init: Init, path: Path) -> None:
        """It names state, socket and folders, and is otherwise the shipped one; once changed it is yours."""
        path.parent.mkdir()
        packaged = data.conf("collectord.toml").read_text()
        for key in ("state_dir", "control_socket", "profiles_dir", "rules_dir"):
            assert packaged.count(f"\n#{key} = ") == 1
            packaged = packaged.replace(f"\n#{key} = ", f"\n{key} = ")
        path.write_text(packaged.replace('profiles_dir = "profiles.d"', 'profiles_dir = "mine"'))
        assert init("--yes").exit_code != 0

        path.write_text(packaged)
        assert init("--yes").exit_code == 0
        assert config.load(path).http.enabled

    def test_lists_and_secrets_stay(self, init: Init, path: Path) -> None:
        path.parent.mkdir()
        path.with_name("hosts.csv").write_text("CIDR,name,site,role,owner\n192.0.2.1,mine,,,\n")
        path.with_name("snmp-community").write_text("known\n")
        path.with_name("snmp-community").chmod(0o600)
        init("--yes", "--force", "--snmp", "noc", "--community", "other")

        assert "mine" in path.with_name("hosts.csv").read_text()
        assert path.with_name("snmp-community").read_text() == "known\n"


def test_what_the_loader_refuses_is_not_written(init: Init, path: Path, tmp_path: Path) -> None:
    """The problem is told as that of the file that it would be; nothing is left behind."""
    (path.parent / "conf.d").mkdir(parents=True)
    (path.parent / "conf.d" / "1.toml").write_text('[[output]]\ntype = "log"\nname = "log"\n')
    with pytest.raises(ConfigError) as raised:
        init("--yes", "--snmp", "noc")

    assert 'conf.d/1.toml:3: output[2].name: "log" is the name of output[0] already' in str(raised.value)
    assert [each.name for each in path.parent.iterdir()] == ["conf.d"]


def test_a_folder_that_can_not_be_written(init: Init, path: Path) -> None:
    path.parent.write_text("a file")
    result = init("--yes")

    assert result.exit_code == 74
    assert "can't be written: File exists" in result.output


def test_nobody_to_ask(init: Init, path: Path) -> None:
    result = CliRunner().invoke(cli, ["init", "--config", str(path)], input="")

    assert "nobody answers: --yes takes the proposals" in result.output
    assert not path.exists()


def test_the_daemon_takes_it(tmp_path: Path) -> None:
    """With everything that `collectord check` looks at."""
    path = tmp_path / "c.toml"
    words = ["--network", "10.0.0.0/8", "--snmp", "noc", "--syslog", "siem:1514"]
    assert CliRunner().invoke(cli, ["init", "--yes", "--config", str(path), *words]).exit_code == 0
    result = CliRunner().invoke(cli, ["check", "--config", str(path)])

    assert result.exit_code == 0, result.output
    assert "noc: snmp, noc-syslog: syslog" in result.stdout


@pytest.mark.parametrize("product", first_steps.DEVICES)
def test_next_steps(init: Init, path: Path, product: str) -> None:
    """What to type on each product, with our address and port."""
    out = init("--yes", "--host", "192.0.2.10", "--port", "1514", "--snmp", "noc").stdout
    steps = first_steps.lines(product, "192.0.2.10", 1514)

    assert "192.0.2.10" in steps
    assert "1514" in steps
    assert "".join(f"    {line}\n" for line in steps.splitlines()) in out
    assert f"collectord snmp receiver-config --for snmptrapd --with-secrets --config {path}" in out


def test_where_it_is_written_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the folder of the service for who may, else here."""
    monkeypatch.delenv("COLLECTORD_CONFIG", raising=False)
    monkeypatch.setattr(command, "INSTALLED_CONFIG", tmp_path / "absent" / "collectord.toml")
    assert command._default_target() == Path("collectord.toml")
    monkeypatch.setattr(command, "INSTALLED_CONFIG", tmp_path / "collectord.toml")
    assert command._default_target() == tmp_path / "collectord.toml"
    monkeypatch.setenv("COLLECTORD_CONFIG", "/x/y.toml")
    assert command._default_target() == Path("/x/y.toml")


def test_as_a_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands by hand find the service's state and socket, whose folders only systemd knows otherwise."""
    path = tmp_path / "collectord.toml"
    for name in ("profiles.d", "rules.d"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(command, "INSTALLED_CONFIG", path)
    monkeypatch.setattr(command, "plan", SimpleNamespace(load=config.load))
    out = CliRunner().invoke(cli, ["init", "--yes", "--config", str(path)]).stdout
    written = config.load(path)

    assert (str(written.state_dir), str(written.control_socket)) == (
        "/var/lib/collectord",
        "/run/collectord/control.sock",
    )
    assert (written.profiles_dir, written.rules_dir) == (tmp_path / "profiles.d", tmp_path / "rules.d")
    # It may run already, with the configuration of before.
    assert "systemctl restart collectord" in out
    assert "--config" not in out


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("noc", ("noc", 162)),
        ("noc:1162", ("noc", 1162)),
        ("192.0.2.1:1162", ("192.0.2.1", 1162)),
        ("2001:db8::1", ("2001:db8::1", 162)),
        ("[2001:db8::1]:1162", ("2001:db8::1", 1162)),
        ("none", ("", 0)),
        ("", ("", 0)),
    ],
)
def test_receivers(text: str, expected: tuple[str, int]) -> None:
    found = command._receiver(162)(text)
    assert (found.host, found.port) == expected


@pytest.mark.parametrize("text", ["a b", "noc:", "noc:0", "noc:70000", 'a"b', "x" * 254, "\x1b[2J"])
def test_no_receivers(text: str) -> None:
    with pytest.raises(click.BadParameter):
        command._receiver(162)(text)


def test_the_address_to_send_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's choice; the name of the machine where it has no route."""

    class Probe:
        def __init__(self, *_: Any) -> None:
            pass

        def connect(self, address: tuple[str, int]) -> None:
            raise OSError

        def close(self) -> None:
            pass

    assert command._own_address("192.0.2.10") == "192.0.2.10"
    assert command._own_address("0.0.0.0")
    monkeypatch.setattr(command.socket, "socket", Probe)
    assert command._own_address("::") == command.socket.gethostname()
