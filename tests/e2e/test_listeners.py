"""Listeners of all kinds: whom they take, what a device is called, and certificates that change."""

import contextlib
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ..certificates import Authority, Pair
from .daemon import Daemon, counted, denied, ended, running
from .servers import PATIENCE_S, Tls, rsyslogd_relaying

pytestmark = pytest.mark.e2e

ALLOW = 'allow = ["127.0.0.0/16", "::1"]'
TABLES = f"""
relays = ["127.0.0.9"]

[[listener]]
type = "udp"
name = "udp"
host = "::"
port = 0
{ALLOW}

[[listener]]
type = "tcp"
name = "tcp"
host = "::"
port = 0
{ALLOW}

[[listener]]
type = "tls"
name = "tls"
host = "::"
port = 0
{ALLOW}
cert_file = "own.pem"
key_file = "own.key"
ca_file = "ca.pem"
client_certificates = "required"

[[output]]
type = "log"
name = "log"
"""
OURS, FORGED = "203.0.113.1", "198.51.100.1"
ROUND = 100


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority("Site CA")


@pytest.fixture
def daemon(tmp_path: Path, authority: Authority) -> Iterator[Daemon]:
    (tmp_path / "collector").mkdir()
    (tmp_path / "collector" / "ca.pem").write_bytes(authority.certificate_pem)
    authority.signs("collector.example.net").write(tmp_path / "collector", "own")
    with running(tmp_path / "collector", TABLES) as daemon:
        yield daemon


class Client:
    """A device's side of TLS."""

    def __init__(self, daemon: Daemon, authority: Authority, pair: Pair | None = None) -> None:
        self.port = daemon.listener("tls")["port"]
        self.context = ssl.create_default_context(cadata=authority.certificate_pem.decode())
        if pair is not None:
            self.context.load_cert_chain(*pair.write(daemon.folder.parent, "client"))

    def connect(self, host: str = "127.0.0.1", source: str = "") -> ssl.SSLSocket:
        """A connection, through with its own part of the handshake."""
        raw = socket.create_connection((host, self.port), PATIENCE_S, (source, 0) if source else None)
        return self.context.wrap_socket(raw, server_hostname="collector.example.net")

    def is_refused(self) -> bool:
        """Whether it is closed before a message can be sent; with TLS 1.3 after its own part of the handshake."""
        try:
            with self.connect() as stream:
                return stream.recv(1) == b""
        except (ssl.SSLError, ConnectionError):
            return True


def failures(count: int, source: str = OURS) -> list[bytes]:
    return [denied(source, number) for number in range(count)]


def send_udp(daemon: Daemon, source: str, messages: list[bytes], to: str = "127.0.0.1") -> None:
    with socket.socket(socket.AF_INET6 if ":" in to else socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind((source, 0))
        for message in messages:
            sender.sendto(message, (to, daemon.listener("udp")["port"]))


def devices(daemon: Daemon) -> set[str]:
    return {each["name"] for each in daemon.objects("devices")}


def test_who_is_not_believed_has_no_effect_on_others(daemon: Daemon, authority: Authority) -> None:
    """Wrong, expired and missing certificates, no TLS, peers outside `allow`, a header that no relay wrote."""
    pairs = {
        "unknown_ca": Authority("Site CA").signs("fw-1.example.net"),
        "expired": authority.signs("fw-1.example.net", begin_days=-9, end_days=-1),
        "no_certificate": None,
    }
    good = Client(daemon, authority, authority.signs("FW-7.example.net"))
    header = b"<13>Nov 22 12:00:00 forged-1 "
    with contextlib.ExitStack() as stack:
        honest = stack.enter_context(good.connect())
        plain = stack.enter_context(daemon.connect())
        for reason, pair in pairs.items():
            bad = Client(daemon, authority, pair)
            for _ in range(3):
                assert bad.is_refused(), reason
            honest.sendall(counted(failures(ROUND)))
            plain.sendall(ended(failures(ROUND)))
            send_udp(daemon, "127.0.0.1", failures(ROUND))
            # Outside `allow`.
            send_udp(daemon, "127.5.0.1", failures(ROUND, FORGED))
            for name in ("tcp", "tls"):
                address = ("127.0.0.1", daemon.listener(name)["port"])
                with socket.create_connection(address, PATIENCE_S, ("127.5.0.1", 0)) as stranger:
                    assert stranger.recv(1) == b""
            with socket.create_connection(("127.0.0.1", good.port), PATIENCE_S) as no_tls:
                no_tls.sendall(ended(failures(1, FORGED)))
                with contextlib.suppress(ConnectionError):
                    assert no_tls.recv(100)[:1] in (b"", b"\x15"), "an alert (RFC 8446 section 6), or nothing"
            # Whom a peer writes into the header is believed of a relay alone.
            send_udp(daemon, "127.0.0.8", [header + denied(OURS)])
            send_udp(daemon, "127.0.0.9", [header.replace(b"forged", b"branch") + denied(OURS)])
    rounds = len(pairs)
    outcomes = daemon.wait_stored("udp", rounds * (2 * ROUND + 2))["outcomes"]
    assert outcomes == {"session": rounds * (ROUND + 2), "not_allowed": rounds * ROUND}
    for name in ("tcp", "tls"):
        assert daemon.wait_stored(name, rounds * ROUND)["outcomes"] == {"session": rounds * ROUND}
    assert daemon.listener("tcp")["refused_for"] == {"not_allowed": rounds}
    refused = daemon.listener("tls")["refused_for"]
    assert refused == {**dict.fromkeys(pairs, 3), "not_allowed": rounds, "no_tls": rounds}
    assert devices(daemon) == {"fw-7.example.net", "127.0.0.1", "127.0.0.8", "asa-edge-01"}
    for reason in pairs:
        assert f'"reason": "{reason}"' in daemon.said()
    assert b"certificate of listener tls ends in 89 days" in daemon.command("status").stdout
    daemon.stop()
    assert daemon.sums("failures_by_source", "SrcIpAddr") == {(OURS,): rounds * (3 * ROUND + 2)}
    assert "Traceback" not in daemon.said()


def test_both_kinds_of_ip(daemon: Daemon, authority: Authority) -> None:
    """At one socket each; an IPv4 peer is called by its IPv4 address."""
    client = Client(daemon, authority, authority.signs("fw-1.example.net"))
    for host in ("127.0.0.1", "::1"):
        send_udp(daemon, host, failures(5), host)
        with socket.create_connection((host, daemon.listener("tcp")["port"]), PATIENCE_S) as stream:
            stream.sendall(ended(failures(5)))
        with client.connect(host) as secure:
            secure.sendall(counted(failures(5)))
    for name in ("udp", "tcp", "tls"):
        assert daemon.listener(name)["host"] == "::"
        assert daemon.wait_stored(name, 10)["outcomes"] == {"session": 10}
    assert devices(daemon) == {"127.0.0.1", "::1", "fw-1.example.net"}


def test_certificates_change(daemon: Daemon, authority: Authority) -> None:
    """By reload, all or nothing, and by themselves; an open connection keeps what it has."""
    client = Client(daemon, authority, authority.signs("fw-1.example.net"))

    def shown() -> Any:
        with client.connect() as stream:
            return int(stream.getpeercert()["serialNumber"], 16)  # type: ignore[index, arg-type]

    with client.connect() as first:
        first.sendall(counted(failures(1)))
        good = daemon.config.read_text()
        reloaded = authority.signs("collector.example.net")
        reloaded.write(daemon.folder, "reloaded")
        daemon.config.write_text(good.replace("own.pem", "reloaded.pem"))
        (problem,) = daemon.reload()["problems"]
        assert problem["key"] == "listener[2].key_file"
        assert "own.key does not belong to the certificate" in problem["reason"]
        assert shown() != reloaded.certificate.serial_number
        daemon.config.write_text(good.replace("own.", "reloaded."))
        assert daemon.reload()["taken"]
        assert shown() == reloaded.certificate.serial_number
        renewed = authority.signs("collector.example.net")
        renewed.write(daemon.folder, "reloaded")
        daemon.wait(lambda: shown() == renewed.certificate.serial_number, "the renewed certificate")
        # Another CA of devices is for those who come from now on.
        (daemon.folder / "ca.pem").write_bytes(Authority("Other CA").certificate_pem)
        assert daemon.reload()["taken"]
        assert client.is_refused()
        first.sendall(counted(failures(1)))
        daemon.wait_received("tls", 2)


@pytest.mark.parametrize("driver", ["gtls", "ossl"])
def test_rsyslogd_as_a_device(daemon: Daemon, authority: Authority, tmp_path: Path, driver: str) -> None:
    """By GnuTLS and by OpenSSL: it believes us, and is called by its certificate."""
    folder = tmp_path / "rsyslogd"
    folder.mkdir()
    (folder / "ca.pem").write_bytes(authority.certificate_pem)
    tls = Tls(
        driver,
        folder / "ca.pem",
        *authority.signs("log-1.example.net").write(folder, "own"),
        ("collector.example.net",),
    )
    with rsyslogd_relaying(folder, tls, daemon.listener("tls")["port"]) as server:
        with socket.create_connection(("127.0.0.1", server.port), PATIENCE_S) as stream:
            stream.sendall(counted(failures(ROUND)))
        daemon.wait(lambda: daemon.listener("tls")["received"] == ROUND, f"all; it said {server.errors.read_text()}")
    assert daemon.wait_stored("tls", ROUND)["outcomes"] == {"session": ROUND}
    assert (devices(daemon), daemon.listener("tls")["refused"]) == ({"log-1.example.net"}, 0)
