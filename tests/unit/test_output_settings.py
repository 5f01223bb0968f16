"""What the tables of outputs refuse, and what ``check`` warns of."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from collectord.cli import cli
from collectord.config import load
from collectord.errors import ConfigError
from collectord.output_settings import SyslogOutput

from ..certificates import Authority

TABLE = '[[output]]\ntype = "syslog"\nname = "noc"\nhost = "noc.example.net"\n'


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority("NOC CA")


@pytest.fixture
def folder(tmp_path: Path, authority: Authority) -> Path:
    """With a CA and a client certificate that are fine."""
    (tmp_path / "ca.pem").write_bytes(authority.certificate_pem)
    authority.signs("collector.example.net").write(tmp_path, "own")
    (tmp_path / "none.key").touch(0o600)
    return tmp_path


def written(folder: Path, text: str) -> Path:
    path = folder / "collectord.toml"
    path.write_text(TABLE + text)
    return path


def output(folder: Path, text: str) -> SyslogOutput:
    (found,) = load(written(folder, text)).output
    assert isinstance(found, SyslogOutput)
    return found


def refused(folder: Path, text: str) -> str:
    """The one thing that is said of this text."""
    with pytest.raises(ConfigError) as raised:
        load(written(folder, text))
    (problem,) = raised.value.problems
    return str(problem).replace(f"{folder}/", "")


@pytest.mark.parametrize(
    ("text", "port"),
    [
        ("", 514),
        ('transport = "tcp"', 514),
        ('transport = "tls"', 6514),
        ('transport = "tls"\nport = 514', 514),
        ('port = 6515\ntransport = "tls"', 6515),
    ],
)
def test_the_port_follows_the_transport(tmp_path: Path, text: str, port: int) -> None:
    assert output(tmp_path, text).port == port


def test_everything_for_tls(folder: Path) -> None:
    """Paths are relative to the configuration."""
    found = output(
        folder,
        'transport = "tls"\nformat = "cef"\nserver_name = "siem"\n'
        'ca_file = "ca.pem"\ncert_file = "own.pem"\nkey_file = "own.key"\n',
    )
    files = found.tls_files()
    assert (files.ca_file, files.cert_file, files.key_file) == tuple(
        folder / name for name in ("ca.pem", "own.pem", "own.key")
    )
    assert (found.format, found.server_name) == ("cef", "siem")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('ca_file = "ca.pem"', 'collectord.toml:5: output[0].ca_file: only for transport = "tls"'),
        ('server_name = "siem"', 'collectord.toml:5: output[0].server_name: only for transport = "tls"'),
        (
            'transport = "tls"\nframing = "lf"',
            'collectord.toml:6: output[0].framing: expected "octet-counting", as TLS has no other framing (RFC 5425)',
        ),
        ('transport = "tls"\ncert_file = "own.pem"', "expected cert_file and key_file together, or neither"),
        ('transport = "tls"\nkey_file = "own.key"', "expected cert_file and key_file together, or neither"),
        ('transport = "tls"\nca_file = "no.pem"', "6: output[0].ca_file: can't read no.pem: no such file or directory"),
        ('transport = "tls"\nca_file = "own.key"', "output[0].ca_file: own.key holds no certificate in PEM"),
        (
            'transport = "tls"\ncert_file = "own.pem"\nkey_file = "none.key"',
            "7: output[0].key_file: none.key holds no private key in PEM",
        ),
        ('transport = "ssl"', 'expected "udp", "tcp" or "tls", got "ssl"'),
        ('format = "CEF"', 'expected "rfc5424" or "cef", got "CEF"'),
    ],
)
def test_refused(folder: Path, text: str, problem: str) -> None:
    assert problem in refused(folder, text)


def test_files_without_tls_are_refused_each(folder: Path) -> None:
    path = written(folder, 'transport = "tcp"\ncert_file = "own.pem"\nkey_file = "own.key"')
    with pytest.raises(ConfigError) as raised:
        load(path)
    assert [(problem.line, problem.key) for problem in raised.value.problems] == [
        (6, "output[0].cert_file"),
        (7, "output[0].key_file"),
    ]


def test_a_key_of_another_certificate(folder: Path, authority: Authority) -> None:
    authority.signs("other.example.net").write(folder, "other")
    text = 'transport = "tls"\ncert_file = "own.pem"\nkey_file = "other.key"'
    assert "7: output[0].key_file: the key in other.key does not belong to the certificate in own.pem" in refused(
        folder, text
    )


@pytest.mark.timeout(10)
def test_what_is_no_file(folder: Path) -> None:
    """A pipe that nobody writes to holds nobody up."""
    os.mkfifo(folder / "pipe.key", 0o600)
    text = 'transport = "tls"\ncert_file = "own.pem"\nkey_file = "pipe.key"'
    assert "7: output[0].key_file: pipe.key is not a file" in refused(folder, text)


def test_a_key_that_everybody_may_read(folder: Path) -> None:
    (folder / "own.key").chmod(0o644)
    text = 'transport = "tls"\ncert_file = "own.pem"\nkey_file = "own.key"'
    assert "7: output[0].key_file: everybody can read or write own.key (mode 0644); chmod 640 own.key" in refused(
        folder, text
    )


@pytest.mark.parametrize(
    ("begin_days", "end_days", "warning"),
    [
        (-400, -2.5, 'output "noc": the client certificate {} expired on '),
        (-400, 12.5, 'output "noc": the client certificate {} expires in 12 days, on '),
        (2, 90, 'output "noc": the client certificate {} is not valid before '),
        (-1, 90, None),
    ],
)
def test_check_warns_of_the_ends_of_certificates(
    folder: Path, authority: Authority, begin_days: float, end_days: float, warning: str | None
) -> None:
    """They stop an output at the most, so the daemon may start with them."""
    authority.signs("own.example.net", begin_days=begin_days, end_days=end_days).write(folder, "own")
    path = written(folder, 'transport = "tls"\ncert_file = "own.pem"\nkey_file = "own.key"\n')
    shown = CliRunner().invoke(cli, ["check", "--config", str(path)])
    as_json = CliRunner().invoke(cli, ["check", "--json", "--config", str(path)])
    assert (shown.exit_code, as_json.exit_code) == (0, 0)
    warnings = json.loads(as_json.stdout)["warnings"]
    if warning is None:
        assert (warnings, "warning" in shown.output) == ([], False)
    else:
        assert [each.startswith(warning.format(folder / "own.pem")) for each in warnings] == [True]
        assert f"warning: {warnings[0]}" in shown.stderr
