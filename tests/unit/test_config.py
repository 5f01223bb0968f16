"""The configuration: defaults, the shipped file, several files, and everything that is wrong at once."""

import re
from pathlib import Path

import pytest

from collectord import data
from collectord.config import Config, load, problems_at
from collectord.errors import EX_CONFIG, ConfigError
from collectord.model import Severity
from collectord.output_settings import LogOutput, SnmpOutput, SyslogOutput
from collectord.settings import Alerts, Bounds, Device, Http, Store, TcpListener, TlsListener, UdpListener

from ..certificates import Authority


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The same machine for every test: no systemd, a home of its own."""
    for name in ("STATE_DIRECTORY", "RUNTIME_DIRECTORY", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/somebody")


def written(folder: Path, text: str, name: str = "collectord.toml") -> Path:
    """A file of a configuration."""
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def loaded(folder: Path, text: str) -> Config:
    """The configuration in this text."""
    return load(written(folder, text))


def refused(path: Path) -> list[str]:
    """Everything that is said of a configuration, without the folder."""
    with pytest.raises(ConfigError) as raised:
        load(path)
    assert raised.value.exit_status == EX_CONFIG
    return [str(problem).replace(f"{path.parent}/", "") for problem in raised.value.problems]


def only_problem(folder: Path, text: str) -> str:
    """The one thing that is said of this text."""
    (problem,) = refused(written(folder, text))
    return problem


# Defaults


def test_without_a_file() -> None:
    """UDP and TCP 5514 on loopback, state in the user's folder, alerts to the log."""
    config = load(None)

    assert Config() == config
    assert config.listener == (
        UdpListener(type="udp", name="udp", host="127.0.0.1", port=5514, site=""),
        TcpListener(type="tcp", name="tcp", host="127.0.0.1", port=5514, site=""),
    )
    assert (LogOutput(type="log", name="log", min_severity=Severity.LOW),) == config.output
    assert Path("/home/somebody/.local/state/collectord") == config.state_dir
    assert config.state_dir / "control.sock" == config.control_socket
    assert config.state_dir / "collectord.db" == config.database
    assert data.conf("port-watchlist.csv") == config.port_watchlist
    assert (None, None) == (config.profiles_dir, config.rules_dir)
    assert (65_536, 67_108_864, 3600) == (
        config.bounds.message_bytes,
        config.bounds.unfinished_bytes,
        config.bounds.tcp_idle_s,
    )


@pytest.mark.parametrize(
    ("variables", "state_dir", "control_socket"),
    [
        ({"STATE_DIRECTORY": "/var/lib/c:/var/lib/d"}, "/var/lib/c", "/var/lib/c/control.sock"),
        ({"STATE_DIRECTORY": "/s", "RUNTIME_DIRECTORY": "/run/c:/run/d"}, "/s", "/run/c/control.sock"),
        ({"STATE_DIRECTORY": "/s", "XDG_STATE_HOME": "/x"}, "/s", "/s/control.sock"),
        ({"XDG_STATE_HOME": "/x"}, "/x/collectord", "/x/collectord/control.sock"),
        (
            {"XDG_STATE_HOME": "relative"},
            "/home/somebody/.local/state/collectord",
            "/home/somebody/.local/state/collectord/control.sock",
        ),
    ],
)
def test_folders_of_the_machine(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], state_dir: str, control_socket: str
) -> None:
    """systemd's folders first, then the user's."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    config = load(None)

    assert (Path(state_dir), Path(control_socket)) == (config.state_dir, config.control_socket)


def test_frozen() -> None:
    """Nobody changes a configuration; a reload makes a new one."""
    with pytest.raises(ValueError, match="frozen"):
        Config().state_dir = Path("/x")  # type: ignore[misc]


# The shipped file


def shipped(tmp_path: Path, *, optional: bool) -> Path:
    """A copy of the shipped file; ``optional``: with the keys that are commented out."""
    text = data.conf("collectord.toml").read_text(encoding="utf-8")
    if optional:
        text = re.sub(r"^#(?=\S)", "", text, flags=re.MULTILINE)
        for name in ("profiles.d", "rules.d"):
            (tmp_path / name).mkdir()
        for name in ("snmp-community", "snmp-auth-password", "snmp-priv-password"):
            written(tmp_path, "not-public\n", name).chmod(0o640)
        authority = Authority("NOC CA")
        (tmp_path / "siem-ca.pem").write_bytes(authority.certificate_pem)
        (tmp_path / "devices-ca.pem").write_bytes(authority.certificate_pem)
        for name in ("collectord", "listener"):
            authority.signs("collector.example.net").write(tmp_path, name)
    written(tmp_path, "", "port-watchlist.csv")
    written(tmp_path, "", "hosts.csv")
    return written(tmp_path, text)


def test_shipped_file_holds_the_defaults(tmp_path: Path) -> None:
    """What it sets is what the code does without it; only the lists are the copies beside it."""
    config = load(shipped(tmp_path, optional=False))

    assert (tmp_path / "port-watchlist.csv", tmp_path / "hosts.csv") == (config.port_watchlist, config.hosts)
    shipped_lists = {"port_watchlist": Config().port_watchlist, "hosts": Config().hosts}
    assert Config() == config.model_copy(update=shipped_lists)


def test_optional_keys_of_the_shipped_file_load(tmp_path: Path) -> None:
    """Taking the # away gives a configuration that works, with each output's defaults."""
    config = load(shipped(tmp_path, optional=True))
    expected = (
        LogOutput(type="log", name="log"),
        SyslogOutput(type="syslog", name="noc-syslog", host="192.0.2.50"),
        SyslogOutput(
            type="syslog",
            name="siem",
            host="siem.example.net",
            port=6514,
            transport="tls",
            ca_file=tmp_path / "siem-ca.pem",
            cert_file=tmp_path / "collectord.pem",
            key_file=tmp_path / "collectord.key",
            server_name="siem.example.net",
        ),
        SnmpOutput(type="snmp", name="noc-traps", host="192.0.2.51", community_file=tmp_path / "snmp-community"),
        SnmpOutput(
            type="snmp",
            name="noc-v3",
            host="192.0.2.52",
            version="3",
            user="collectord",
            auth_password_file=tmp_path / "snmp-auth-password",
            priv_password_file=tmp_path / "snmp-priv-password",
        ),
    )

    assert expected == config.output
    assert config.listener[2:] == (
        TlsListener(
            type="tls",
            name="tls",
            ca_file=tmp_path / "devices-ca.pem",
            cert_file=tmp_path / "listener.pem",
            key_file=tmp_path / "listener.key",
            client_certificates="required",
        ),
    )
    assert Path("/var/lib/collectord") == config.state_dir
    assert Path("/run/collectord/control.sock") == config.control_socket
    assert (tmp_path / "profiles.d", tmp_path / "rules.d") == (config.profiles_dir, config.rules_dir)
    assert [("192.0.2.1", "branch-7", "cisco-asa", 3600)] == [
        (device.name, device.site, device.profile, device.utc_offset_s) for device in config.device
    ]


def test_shipped_file_shows_every_key() -> None:
    """A key that nobody can read of might as well not exist."""
    text = data.conf("collectord.toml").read_text(encoding="utf-8")
    inputs, outputs = (UdpListener, TcpListener, TlsListener), (LogOutput, SyslogOutput, SnmpOutput)
    models = (Config, Alerts, Bounds, Http, Store, *inputs, *outputs)
    keys = {field.alias or name for model in models for name, field in model.model_fields.items()}

    assert set() == {key for key in keys if not re.search(rf"^#?(\[+{key}\]|{key} = )|{key} = ", text, re.MULTILINE)}


# Several files


def test_conf_d(tmp_path: Path) -> None:
    """In lexical order: a later file wins per key, tables merge, arrays of tables append; others are not read."""
    text = '[log]\nlevel = "debug"\n[bounds]\nevent_count = 5\n[[listener]]\nname = "a"\ntype = "udp"\nport = 0\n'
    path = written(tmp_path, text)
    text = '[bounds]\nevent_count = 6\ntcp_connections = 7\n[[listener]]\nname = "b"\ntype = "tcp"\nport = 0\n'
    written(tmp_path, text, "conf.d/10-a.toml")
    written(tmp_path, "[bounds]\nevent_count = 8\n[snmp]\n", "conf.d/20-b.toml")
    written(tmp_path, "nonsense", "conf.d/30.toml.bak")
    written(tmp_path, "nonsense", "conf.d/.40.toml")
    config = load(path)

    assert ("debug", 8, 7) == (config.log.level, config.bounds.event_count, config.bounds.tcp_connections)
    assert ["a", "b"] == [listener.name for listener in config.listener]


def test_problems_name_their_own_file(tmp_path: Path) -> None:
    """Also in an array that several files filled, and beside a syntax error in another file."""
    path = written(tmp_path, 'x = 1\n[[listener]]\nname = "a"\ntype = "udp"\nport = 0\n[log]\nlevel = "info"\n')
    written(tmp_path, '\n[[listener]]\nname = "a"\ntype = "tcp"\nport = -1\nsite = "*"\n', "conf.d/1.toml")
    written(tmp_path, '[log]\nlevel = "loud"\n[[output]]\nname = "o"\ntype = "log"\ny = 1\n', "conf.d/2.toml")
    written(tmp_path, "[[output]]\nname = unquoted\n", "conf.d/3.toml")

    assert refused(path) == [
        f"collectord.toml:1: x: unknown key (known keys: {', '.join(Config.model_fields)})",
        'conf.d/1.toml:3: listener[1].name: "a" is the name of listener[0] already',
        "conf.d/1.toml:5: listener[1].port: expected at least 0, got the number -1",
        'conf.d/1.toml:6: listener[1].site: expected at most 64 characters, and not "*"',
        'conf.d/2.toml:2: log.level: expected "debug", "info", "warning" or "error", got "loud"',
        "conf.d/2.toml:6: output[0].y: unknown key (known keys: name, min_severity, sites, "
        "when_full, max_waiting, max_age, resend, type)",
        'conf.d/3.toml:2: invalid value, at column 8 (text stands in quotes: key = "value")',
    ]


def test_later_file_replaces_what_is_no_table(tmp_path: Path) -> None:
    """Lists of values and whole types; an empty list takes the tables away."""
    path = written(tmp_path, 'internal_networks = ["192.0.2.0/24"]\nlog = 5\n[[output]]\nname = "a"\ntype = "log"\n')
    written(
        tmp_path, 'internal_networks = ["198.51.100.0/24"]\noutput = []\nlog = {level = "error"}\n', "conf.d/1.toml"
    )
    config = load(path)

    assert (("198.51.100.0/24",), (), "error") == (config.internal_networks, config.output, config.log.level)


def test_syntax_error_alone(tmp_path: Path) -> None:
    """The defaults that would be left are no configuration."""
    assert "collectord.toml:1: " in only_problem(tmp_path, "a b\n")


def test_absent_file(tmp_path: Path) -> None:
    """Named, but not there."""
    assert ["collectord.toml: can't be read: no such file or directory"] == refused(tmp_path / "collectord.toml")


def test_unreadable_conf_d(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that can't be looked into is an error, not an empty folder."""
    path = written(tmp_path, "")

    def denied(self: Path) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "iterdir", denied)

    with pytest.raises(ConfigError) as raised:
        load(path)

    assert f"{tmp_path}/conf.d: can't be read: permission denied" == str(raised.value)


# Values


def test_paths_are_relative_to_the_main_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those in conf.d, too; and wherever the daemon was started."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r").mkdir()
    written(tmp_path, "", "w.csv")
    written(tmp_path, 'rules_dir = "r"\n', "conf.d/1.toml")
    written(tmp_path, 'state_dir = "state"\nport_watchlist = "w.csv"\n')
    config = load(Path("collectord.toml"))

    assert (tmp_path / "state", tmp_path / "w.csv", tmp_path / "r") == (
        config.state_dir,
        config.port_watchlist,
        config.rules_dir,
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('state_dri = "/x"', '1: state_dri: unknown key (did you mean "state_dir"?)'),
        ('state_dir = 5', "1: state_dir: expected a path in quotes, got the number 5"),
        ('port_watchlist = "absent.csv"', "1: port_watchlist: there is no file absent.csv"),
        ('profiles_dir = "absent"', "1: profiles_dir: there is no folder absent"),
        ('rules_dir = "collectord.toml"', "1: rules_dir: there is no folder collectord.toml"),
        ("listener = []", "1: listener: expected at least 1, got a list of 0"),
        ("listener = 5", "1: listener: expected a list, got the number 5"),
        ('[log]\nstate_dir = "/x"', "2: log.state_dir: unknown key (belongs at the top of the file, above the first"),
        ('[[listener]]\ntype = "udp"\nname = "a"\nhost = "localhost"', '4: listener[0].host: expected an IP'),
        ('[[listener]]\ntype = "tcp"\nname = "a"\nreceive_buffer = "1MiB"', '4: listener[0].receive_buffer: unknown'),
        ('[[listener]]\ntype = "udp"\nname = "a"\nreceive_buffer = 9', "4: listener[0].receive_buffer: expected a"),
        ('[[listener]]\ntype = "udp"\nname = "a"\nport = 65536', "4: listener[0].port: expected at most 65535"),
        ('[[listener]]\ntype = []\nname = "a"', "2: listener[0].type: expected one of"),
        ('[bounds]\nunfinished = "64KiB"\nmessage = "1MiB"', "2: bounds.unfinished: expected at least one message"),
        ('[bounds]\ntcp_idle = "1s"', "2: bounds.tcp_idle: expected 10s to 30d, got 1s"),
        ('[snmp]\nroot = "1.3.6.1.4.1.x"', "2: snmp.root: expected numbers with dots between"),
        ('[snmp]\nroot = "1.3.6.1.4.1.01"', "2: snmp.root: expected numbers with dots between"),
        ('[snmp]\nroot = "1.3.6.1.4.1.4294967296"', "2: snmp.root: expected numbers with dots between"),
        ('[snmp]\nroot = "1.3.6.1.4.1.1.2.3.4.5.6.7"', "2: snmp.root: expected an OID of at most 12 numbers, got 13"),
        ('[snmp]\nroot = "1.3.6.1.2.1.1"', "2: snmp.root: expected an OID below 1.3.6.1.4.1 (enterprises)"),
        ('[[output]]\ntype = "syslog"\nname = "a"\nhost = "a b"', "4: output[0].host: expected a host name"),
        ('[[output]]\ntype = "syslog"\nname = "a"\nhost = "h"\nport = 0', "5: output[0].port: expected at least 1"),
        (
            '[[output]]\ntype = "log"\nname = "a"\nmin_severity = "hihg"',
            "4: output[0].min_severity: expected 'informational', 'low', 'medium' or 'high', got \"hihg\""
            .replace("'", '"') + ' (did you mean "high"?)',
        ),
        ('control_socket = "' + "x" * 108 + '"', "1: control_socket: xxx"),
    ],
)  # fmt: skip
def test_refused_value(tmp_path: Path, text: str, expected: str) -> None:
    """File, line, key, reason, hint."""
    problem = only_problem(tmp_path, text + "\n").replace(f"{tmp_path}/", "")

    assert problem.startswith(f"collectord.toml:{expected}")


def test_socket_path_too_long_by_default(tmp_path: Path) -> None:
    """The one made from state_dir is checked, too."""
    problem = only_problem(tmp_path, f'state_dir = "/{"s" * 100}"\n')

    assert problem.startswith("collectord.toml: control_socket: /sss")
    assert problem.endswith("has 114 bytes, a socket's path may have 107 at most")


# What only several tables together show

LISTENER = '[[listener]]\nname = "{}"\ntype = "{}"\nhost = "{}"\nport = {}\n'


def listeners(*each: tuple[str, str, str, int]) -> str:
    """Tables of listeners: name, type, host, port."""
    return "".join(LISTENER.format(*one) for one in each)


@pytest.fixture
def listener_tls(tmp_path: Path) -> str:
    """A listener with its files, to which keys may be added."""
    Authority("Site CA").signs("collector.example.net").write(tmp_path, "own")
    return '[[listener]]\ntype = "tls"\nname = "t"\ncert_file = "own.pem"\nkey_file = "own.key"\n'


def test_tls_listener(tmp_path: Path, listener_tls: str) -> None:
    """What needs no word: the port, and that no device needs a certificate."""
    (listener,) = loaded(tmp_path, listener_tls).listener
    assert isinstance(listener, TlsListener)
    assert (listener.port, listener.client_certificates, listener.ca_file) == (6514, "none", None)
    assert list(listener.warnings(0)) == [
        f"the certificate {tmp_path}/own.pem is not valid before {listener.tls_files.own().not_valid_before_utc:%F}"  # type: ignore[union-attr]
    ]


def test_a_key_that_everybody_may_read(tmp_path: Path, listener_tls: str) -> None:
    (tmp_path / "own.key").chmod(0o644)
    assert "listener[0].key_file: everybody can read or write own.key" in only_problem(tmp_path, listener_tls)


def test_a_key_as_credential_of_the_service(tmp_path: Path, listener_tls: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "credentials").mkdir()
    (tmp_path / "own.key").rename(tmp_path / "credentials" / "own.key")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    (listener,) = loaded(tmp_path, listener_tls).listener
    assert isinstance(listener, TlsListener)
    assert listener.key_file == tmp_path / "credentials" / "own.key"


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ('client_certificates = "required"', 'client_certificates = "required" needs ca_file (the CA of your devices)'),
        ('client_certificates = "optional"', 'client_certificates = "optional" needs ca_file (the CA of your devices)'),
        (
            'ca_file = "own.pem"',
            'ca_file is of no use with client_certificates = "none" (write "optional" or "required")',
        ),
        ('client_certificates = "some"', 'expected "none", "optional" or "required", got "some"'),
    ],
)
def test_clients_and_their_ca_go_together(tmp_path: Path, listener_tls: str, keys: str, reason: str) -> None:
    assert reason in only_problem(tmp_path, f"{listener_tls}{keys}\n")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a", "tcp", "0.0.0.0", 514), ("b", "tcp", "::", 514)),
        (("a", "udp", "::", 514), ("b", "udp", "0.0.0.0", 514)),
        (("a", "tls", "127.0.0.1", 514), ("b", "tcp", "127.0.0.1", 514)),
    ],
)
def test_the_same_port_in_other_words(
    tmp_path: Path, listener_tls: str, one: tuple[str, str, str, int], other: tuple[str, str, str, int]
) -> None:
    """All of IPv6 is all of IPv4 as well, and TLS runs over TCP."""
    text = listeners(one, other).replace('type = "tls"', 'type = "tls"\ncert_file = "own.pem"\nkey_file = "own.key"')
    assert "listener[1]: listens where listener[0] does already" in only_problem(tmp_path, text)


def test_same_address_twice(tmp_path: Path) -> None:
    """However it is spelled; the second one is reported."""
    text = listeners(("a", "udp", "2001:db8::1", 514), ("b", "udp", "2001:DB8:0::1", 514))

    expected = "collectord.toml:6: listener[1]: listens where listener[0] does already (another type, host or port)"
    assert expected == only_problem(tmp_path, text)


def test_different_addresses(tmp_path: Path) -> None:
    """Type, host or port differ, or the port is any free one."""
    text = listeners(
        ("a", "udp", "192.0.2.1", 514),
        ("b", "tcp", "192.0.2.1", 514),
        ("c", "udp", "192.0.2.2", 514),
        ("d", "udp", "192.0.2.1", 515),
        ("e", "udp", "192.0.2.1", 0),
        ("f", "udp", "192.0.2.1", 0),
    )

    assert [514, 514, 514, 515, 0, 0] == [listener.port for listener in loaded(tmp_path, text).listener]


def test_names_are_unique(tmp_path: Path) -> None:
    """Within listeners and within outputs."""
    text = listeners(("a", "udp", "192.0.2.1", 1), ("a", "udp", "192.0.2.1", 2))
    text += '[[output]]\nname = "a"\ntype = "log"\n' * 2

    assert refused(written(tmp_path, text)) == [
        'collectord.toml:7: listener[1].name: "a" is the name of listener[0] already',
        'collectord.toml:15: output[1].name: "a" is the name of output[0] already',
    ]


@pytest.mark.parametrize(
    ("listener", "output"),
    [
        (("a", "udp", "192.0.2.1", 514), 'host = "192.0.2.1"'),
        (("a", "udp", "0.0.0.0", 514), 'host = "localhost"'),
        (("a", "tcp", "::", 6000), 'host = "127.0.0.1"\nport = 6000\ntransport = "tcp"'),
    ],
)
def test_output_to_our_own_listener(tmp_path: Path, listener: tuple[str, str, str, int], output: str) -> None:
    """Each alert would be the next message."""
    text = listeners(listener) + f'[[output]]\nname = "o"\ntype = "syslog"\n{output}\n'

    assert "output[0]: would send our alerts to our own listener" in only_problem(tmp_path, text)


@pytest.mark.parametrize(
    "output",
    ['host = "192.0.2.9"', 'host = "192.0.2.1"\ntransport = "tcp"', 'host = "noc.example"', 'host = "localhost"'],
)
def test_output_elsewhere(tmp_path: Path, output: str) -> None:
    """Another address, transport or machine."""
    text = listeners(("a", "udp", "192.0.2.1", 514)) + f'[[output]]\nname = "o"\ntype = "syslog"\n{output}\n'

    assert 1 == len(loaded(tmp_path, text).output)


def test_conflicts_stand_beside_other_problems(tmp_path: Path) -> None:
    """Tables that are wrong in themselves do not hide what is wrong between them, nor break the search."""
    text = "output = [5]\n" + listeners(("a", "udp", "192.0.2.1", 1), ("a", "x", "192.0.2.1", 1))
    problems = refused(written(tmp_path, text + '[[listener]]\nname = []\ntype = "udp"\nhost = 5\nport = "x"\n'))

    assert ["output[0]", "listener[1].name", "listener[1].type", "listener[2].name", "listener[2].host",
            "listener[2].port"] == [re.sub(r"^[^ ]* ([^ ]*): .*", r"\1", problem) for problem in problems]  # fmt: skip


def test_output_with_a_port_that_is_none(tmp_path: Path) -> None:
    """The port is reported, once."""
    problem = only_problem(tmp_path, '[[output]]\nname = "o"\ntype = "syslog"\nhost = "127.0.0.1"\nport = "x"\n')

    assert 'collectord.toml:5: output[0].port: expected a whole number, got "x"' == problem


# Learning


def test_learn_until(tmp_path: Path) -> None:
    """A moment, whatever its zone; without it nothing is held back."""
    assert 0 == Config().learn_until_ns
    for text in ("2027-01-15T08:00:00Z", "2027-01-15T09:00:00+01:00"):
        assert 1_800_000_000 * 10**9 == loaded(tmp_path, f"learn_until = {text}\n").learn_until_ns


@pytest.mark.parametrize("text", ["2027-01-15T08:00:00", "2027-01-15", '"2027-01-15T08:00:00Z"', "5"])
def test_learn_until_without_its_zone(tmp_path: Path, text: str) -> None:
    """It would be another moment on another machine."""
    problem = only_problem(tmp_path, f"learn_until = {text}\n")

    assert problem.startswith("collectord.toml:1: learn_until: expected a time with its zone (such as 2026-12-31T18")


# Secrets

SNMP = '[[output]]\nname = "o"\ntype = "snmp"\nhost = "192.0.2.9"\n'


def test_community_from_its_file(tmp_path: Path) -> None:
    """Read anew each time, so that a reload sees a change; it never shows in the configuration."""
    secret = written(tmp_path, "first\n", "community")
    secret.chmod(0o640)
    (output,) = loaded(tmp_path, SNMP + 'community_file = "community"\n').output
    assert isinstance(output, SnmpOutput)
    first = output.read_community()
    secret.write_text("second\n", encoding="utf-8")

    assert ("first", "second") == (first, output.read_community())


def test_community_in_the_configuration(tmp_path: Path) -> None:
    """Possible, and not shown by whoever prints the configuration."""
    written(tmp_path, "").chmod(0o640)
    (output,) = loaded(tmp_path, SNMP + 'community = "hush"\n').output
    assert isinstance(output, SnmpOutput)

    assert "hush" == output.read_community()
    assert "hush" not in repr(output)


def test_community_in_a_configuration_for_everybody(tmp_path: Path) -> None:
    """Told with the file that it stands in; what everybody knows may be read by everybody."""
    written(tmp_path, f'{SNMP}community = "public"\n').chmod(0o644)
    (tmp_path / "conf.d").mkdir()
    part = written(tmp_path / "conf.d", SNMP.replace('"o"', '"p"') + 'community = "hush"\n', "noc.toml")
    part.chmod(0o644)
    with pytest.raises(ConfigError) as raised:
        load(tmp_path / "collectord.toml")
    (problem,) = raised.value.problems
    part.chmod(0o640)

    assert (problem.file, problem.line, problem.key) == (str(part), 5, "output[1].community")
    assert problem.reason == "everybody can read or write this file (mode 0644)"
    assert problem.hint == f"chmod 640 {part}, or community_file"
    assert len(load(tmp_path / "collectord.toml").output) == 2


@pytest.mark.parametrize(
    ("mode", "content", "key", "expected"),
    [
        (0o644, b"x", 'community_file = "community"', "everybody can read or write community (mode 0644) (chmod 640 "),
        (0o642, b"x", 'community_file = "community"', "everybody can read or write community (mode 0642) (chmod 640 "),
        (0o600, b" \n", 'community_file = "community"', "community is empty"),
        (0o600, b"\xff", 'community_file = "community"', "can't read community: not utf-8"),
        (0o600, b"x", 'community_file = "absent"', "can't read absent: no such file or directory"),
        (0o600, b"x", "", "expected either community_file or community (community_file keeps it out of this file)"),
        (0o600, b"x", 'community = ""', "community is empty"),
        (0o600, b"x", 'community_file = "community"\ncommunity = "c"', "expected either community_file or community"),
    ],
)
def test_community_refused(tmp_path: Path, mode: int, content: bytes, key: str, expected: str) -> None:
    """A secret that everybody can read is none; exactly one source."""
    path = tmp_path / "community"
    path.write_bytes(content)
    path.chmod(mode)
    problem = only_problem(tmp_path, f"{SNMP}{key}\n").replace(f"{tmp_path}/", "")

    assert expected in problem


V3 = f"""{SNMP}version = "3"
user = "noc"
auth_password_file = "auth"
priv_password_file = "priv"
"""


@pytest.fixture
def passwords(tmp_path: Path) -> None:
    """Two files with passwords, as V3 names them."""
    for name in ("auth", "priv"):
        written(tmp_path, f"{name} password\n", name).chmod(0o600)


@pytest.mark.usefixtures("passwords")
def test_snmp_user(tmp_path: Path) -> None:
    """The algorithms' defaults are those that both ends have nowadays; an inform's patience has a default, too."""
    (output,) = loaded(tmp_path, V3).output

    assert isinstance(output, SnmpOutput)
    assert ("noc", "SHA-256", "AES-128") == (output.user, output.auth, output.priv)
    assert (tmp_path / "auth", tmp_path / "priv") == (output.auth_password_file, output.priv_password_file)
    assert ("trap", 5, 3) == (output.notification, output.timeout_s, output.retries)


@pytest.mark.usefixtures("passwords")
@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (f'{V3}community = "c"', "version 3 has no community (version"),
        (f'{V3}community_file = "auth"', "version 3 has no community_file (version"),
        (f'{SNMP}community = "c"\nuser = "noc"', 'version 2c has no user (version = "3" has users, "2c" a community)'),
        (f'{SNMP}version = "3"', "version 3 needs user and auth_password_file and priv_password_file"),
        (f'{SNMP}version = "3"\nuser = "x"', "version 3 needs auth_password_file and priv_password_file"),
        (f'{SNMP}version = "1"', 'version: expected "2c" or "3", got "1"'),
        (f'{V3}auth = "MD5"', "MD5 can be broken (weak = true if the receiver knows nothing better)"),
        (f'{V3}auth = "SHA"', "SHA can be broken"),
        (f'{V3}auth = "SHA"\npriv = "DES"', "SHA and DES can be broken"),
        (f'{V3}auth = "none"', "auth: expected"),
        (V3.replace('"noc"', '""'), "user: expected 1 to 32 ASCII characters"),
        (V3.replace('"noc"', f'"{33 * "x"}"'), "user: expected 1 to 32 ASCII characters"),
        (V3.replace('"noc"', '"n c"'), "user: expected 1 to 32 ASCII characters"),
        (V3.replace('"noc"', '"nöc"'), "user: expected 1 to 32 ASCII characters"),
        (f'{V3}timeout = "10s"', "4 tries of 10 s are over 20 s (lower retries or timeout"),
        (f'{V3}timeout = "0s"', "timeout: expected 1s to 20s"),
        (f"{V3}retries = 10", "retries: expected at most 9"),
        (f'{V3}notification = "get"', 'notification: expected "trap" or "inform"'),
        (f'{V3}auth_password = "hushhush"', "auth_password: unknown key (did you mean"),
    ],
)
def test_snmp_output_refused(tmp_path: Path, table: str, expected: str) -> None:
    """Keys of the other version are a mistake that would leave something unprotected."""
    problem = only_problem(tmp_path, f"{table}\n")

    assert expected in problem
    assert "hushhush" not in problem


@pytest.mark.usefixtures("passwords")
def test_broken_algorithms_by_consent(tmp_path: Path) -> None:
    """For receivers that know nothing better."""
    (output,) = loaded(tmp_path, f'{V3}auth = "MD5"\npriv = "DES"\nweak = true\n').output

    assert isinstance(output, SnmpOutput)
    assert ("MD5", "DES") == (output.auth, output.priv)


@pytest.mark.usefixtures("passwords")
def test_short_password_refused(tmp_path: Path) -> None:
    """RFC 3414 section 11.2."""
    (tmp_path / "priv").write_text("seven77\n", encoding="utf-8")
    problem = only_problem(tmp_path, V3)

    assert "output[0].priv_password_file: the secret in " in problem
    assert "has 7 characters, expected at least 8" in problem
    assert "seven77" not in problem


@pytest.mark.usefixtures("passwords")
def test_one_user_has_one_set_of_keys(tmp_path: Path) -> None:
    """Users are known by engine and name (RFC 3414 section 2.1), and for traps the engine is ours."""
    other = V3.replace('name = "o"', 'name = "p"')
    assert 2 == len(loaded(tmp_path, V3 + other).output)
    assert 2 == len(loaded(tmp_path, V3 + other.replace('"noc"', '"nod"') + 'auth = "SHA-512"\n').output)

    problem = only_problem(tmp_path, f'{V3}{other}auth = "SHA-512"\n')
    assert "output[1].user: output[0] has this user with another auth (a user has one set of keys" in problem
    problem = only_problem(tmp_path, V3 + other.replace('"auth"', '"priv"'))
    assert "output[1].user: output[0] has this user with another auth_password_file" in problem


@pytest.mark.usefixtures("passwords")
def test_secrets_as_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bare name is looked for among the service's credentials first, a path never."""
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "auth").write_text("from systemd\n", encoding="utf-8")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    (output,) = loaded(tmp_path, V3).output
    assert isinstance(output, SnmpOutput)
    assert (folder / "auth", tmp_path / "priv") == (output.auth_password_file, output.priv_password_file)

    (output,) = loaded(tmp_path, V3.replace('"auth"', '"./auth"')).output
    assert isinstance(output, SnmpOutput)
    assert tmp_path / "auth" == output.auth_password_file


# Relays and devices


def test_relays(tmp_path: Path) -> None:
    """Networks in one spelling; an address alone is one of itself."""
    config = loaded(tmp_path, 'relays = ["192.0.2.0/24", "198.51.100.7/32", "2001:DB8::/32"]\n')

    assert ("192.0.2.0/24", "198.51.100.7/32", "2001:db8::/32") == config.relays
    assert () == loaded(tmp_path, "").relays


@pytest.mark.parametrize("relay", ['"log-server"', '"192.0.2.1/33"', '"192.0.2.1/24"', "5", '""'])
def test_relays_refused(tmp_path: Path, relay: str) -> None:
    """A relay is trusted to name devices, so only addresses will do."""
    problem = only_problem(tmp_path, f'relays = ["192.0.2.0/24", {relay}]\n')

    assert problem.startswith("collectord.toml:1: relays[1]: ")


def device(keys: str, name: str = '"192.0.2.1"') -> str:
    """The table of a device."""
    return f"[[device]]\nname = {name}\n{keys}\n"


def test_a_device_needs_only_its_name(tmp_path: Path) -> None:
    (found,) = loaded(tmp_path, device("")).device

    assert Device(name="192.0.2.1") == found
    assert (None, None, None) == (found.site, found.profile, found.utc_offset_s)


@pytest.mark.parametrize(
    ("text", "offset_s"),
    [
        ("+00:00", 0),
        ("-00:00", 0),
        ("+01:00", 3600),
        ("-05:30", -19_800),
        ("+05:45", 20_700),
        ("-12:00", -43_200),
        ("+14:00", 50_400),
    ],
)
def test_utc_offset(tmp_path: Path, text: str, offset_s: int) -> None:
    """In seconds, ahead of UTC."""
    assert offset_s == loaded(tmp_path, device(f'utc_offset = "{text}"')).device[0].utc_offset_s


@pytest.mark.parametrize(
    "value",
    [
        *('""', '"1"', '"01:00"', '"+1:00"', '"+01.00"', '"+0100"', '"+01:60"', '"+14:01"', '"-12:01"', '"+15:00"'),
        *(
            '"+01:00 "',
            '"+01:00:00"',
            '"Z"',
            '"UTC"',
            '"Europe/Berlin"',
            '"+-1:00"',
            '"+0\u00b2:00"',
            '"+\u0660\u0661:00"',
        ),
        *("1", "3600", "1.0", "true", "01:00:00", "[]", "{}"),
    ],
)
def test_utc_offset_refused(tmp_path: Path, value: str) -> None:
    problem = only_problem(tmp_path, device(f"utc_offset = {value}"))

    assert problem.startswith('collectord.toml:3: device[0].utc_offset: expected an offset from UTC such as "+01:00"')


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (device("", '""'), ":2: device[0].name: expected a host name or an IP address"),
        (device("", '"two words"'), ":2: device[0].name: expected a host name or an IP address"),
        (device("", "5"), ":2: device[0].name: expected text"),
        ("[[device]]\nsite = 'x'\n", ":1: device[0].name: is missing"),
        (device('site = "*"'), ":3: device[0].site: expected at most 64 characters, and not"),
        (device('address = "x"'), ":3: device[0].address: unknown key"),
        (device("utc_offset_s = 3600"), ":3: device[0].utc_offset_s: unknown key"),
        (device("") + device('site = "x"'), ':5: device[1].name: "192.0.2.1" is the name of device[0] already'),
    ],
)
def test_devices_refused(tmp_path: Path, text: str, expected: str) -> None:
    assert only_problem(tmp_path, text).startswith(f"collectord.toml{expected}")


class TestProblemsAt:
    """Problems of keys that are right in themselves."""

    def test_each_at_its_place(self, tmp_path: Path) -> None:
        """In whichever file it stands; where none has it, the table's place or the file alone is told."""
        path = tmp_path / "c.toml"
        path.write_text('[[listener]]\ntype = "udp"\nname = "a"\nport = 1\n')
        (tmp_path / "conf.d").mkdir()
        (tmp_path / "conf.d" / "a.toml").write_text('[snmp]\nroot = "1.3.6"\n')
        keys: list[tuple[str | int, ...]] = [
            ("listener", 0, "port"), ("listener", 0, "host"), ("snmp", "root"), ("state_dir",),
        ]  # fmt: skip
        found = problems_at(path, keys, "was changed", "restart")
        assert [str(problem).replace(f"{tmp_path}/", "") for problem in found] == [
            "c.toml:4: listener[0].port: was changed (restart)",
            "c.toml:1: listener[0].host: was changed (restart)",
            "conf.d/a.toml:2: snmp.root: was changed (restart)",
            "c.toml: state_dir: was changed (restart)",
        ]

    def test_without_a_file(self) -> None:
        (problem,) = problems_at(None, [("relays",)], "was changed", "")
        assert str(problem) == "defaults: relays: was changed"
