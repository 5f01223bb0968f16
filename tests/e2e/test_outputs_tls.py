"""Alerts to the real rsyslogd over TLS in which both sides show certificates, by GnuTLS and by OpenSSL; and in CEF."""

import asyncio
import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from collectord.certificates import TlsFiles
from collectord.errors import DeliveryError
from collectord.model import AlertState, Severity
from collectord.outputs.syslog import SyslogOutput

from ..certificates import Authority
from ..playbooks.playbook import shipped
from ..reference.syslog_messages import cef, rfc5424
from .daemon import LISTENERS, counted, denied, failures_rule, running, syslog_output
from .servers import PATIENCE_S, Server, Tls, rsyslogd
from .test_outputs_real import alert, understood

CLIENT, SERVER = "collector.example.net", "siem.example.net"
DRIVERS = ["gtls", "ossl"]


class Site:
    """A CA, and the files of both sides."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority("NOC CA")
        (folder / "ca.pem").write_bytes(self.authority.certificate_pem)
        self.client(self.authority)
        self.server(self.authority)

    def client(self, authority: Authority, name: str = CLIENT, **ends: float) -> None:
        """Our certificate, in place of the one before."""
        authority.signs(name, **ends).write(self.folder, "client")

    def server(self, authority: Authority, name: str = SERVER, **ends: float) -> None:
        """rsyslogd's."""
        authority.signs(name, **ends).write(self.folder, "server")

    def listening(self, driver: str) -> Tls:
        files = (self.folder / name for name in ("ca.pem", "server.pem", "server.key"))
        return Tls(driver, *files, clients=(CLIENT,))

    @property
    def files(self) -> TlsFiles:
        return TlsFiles(*(self.folder / name for name in ("ca.pem", "client.pem", "client.key")))

    def output(self, server: Server, **changes: Any) -> SyslogOutput:
        options: dict[str, Any] = {
            "name": "siem",
            "host": "127.0.0.1",
            "port": server.tls_port,
            "transport": "tls",
            "server_name": SERVER,
            "files": self.files,
            "collector_host": "collector-1",
        }
        return SyslogOutput(**(options | changes))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


STATES = (
    alert(),
    alert(state=AlertState.UPDATED, severity=Severity.HIGH, event="updated:2"),
    alert(state=AlertState.CLEARED, reason="below 4000 for 15 min"),
)


@pytest.mark.parametrize("driver", DRIVERS)
async def test_structured_data_over_tls(tmp_path: Path, site: Site, driver: str) -> None:
    """rsyslogd believes our certificate, we believe its, and every part arrives."""
    with rsyslogd(tmp_path, tls=site.listening(driver)) as server:
        output = site.output(server)
        for sequence, state in enumerate(STATES, 7):
            await output.send(state, sequence)
        await output.close()
        lines = server.wait_for_lines(3)
    for line, state in zip(lines, STATES, strict=True):
        received = understood(line)
        ours = received["data"]["collectord@32473"]
        assert (ours["alarmId"], ours["state"], ours["site"]) == (state.id, state.state.value, state.site)
        assert received["data"]["alarm"]["resource"] == "collector-1"
        assert received["msg"].lstrip("\ufeff") == state.summary
        # And the reader that the properties trust reads what rsyslogd got.
        assert rfc5424(json.loads(line)["raw"].encode()).data == received["data"]


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
async def test_cef(tmp_path: Path, site: Site, transport: Literal["udp", "tcp", "tls"]) -> None:
    """rsyslogd finds ``CEF:`` where the tag stands, as what feeds Sentinel needs it; our own engine reads the rest."""
    engine = shipped().engine()
    with rsyslogd(tmp_path, tls=site.listening("ossl") if transport == "tls" else None) as server:
        port = server.tls_port or server.port
        output = site.output(server, port=port, transport=transport, format="cef")
        for sequence, state in enumerate(STATES, 7):
            await output.send(replace(state, site="a|b=c\\d]"), sequence)
        await output.close()
        lines = server.wait_for_lines(3)
    for line, state in zip(lines, STATES, strict=True):
        received: dict[str, Any] = json.loads(line)
        assert (received["hostname"], received["appname"]) == ("collector-1", "CEF")
        assert received["msg"].startswith("0|collectord|collectord|")
        raw = received["raw"].encode()
        read = cef(raw)
        assert read.extension["externalId"] == state.id
        assert (read.extension["cs1"], read.extension["cs2"]) == (state.state.value, "a|b=c\\d]")
        assert read.extension["msg"] == state.summary
        parsed = json.loads(engine.parse(raw, "127.0.0.1"))
        (session,) = parsed["Sessions"]
        assert parsed["Profile"] == "generic-cef"
        assert {
            name: session.get(name) for name in ("SrcIpAddr", "DstPortNumber", "EventOriginalUid", "EventMessage")
        } == {
            "SrcIpAddr": "192.0.2.10",
            "DstPortNumber": 445,
            "EventOriginalUid": state.id,
            "EventMessage": state.summary,
        }


async def refusal(output: SyslogOutput, server: Server) -> str:
    """
    What the output says; whatever was sent.

    A receiver on a busy machine may refuse so late that a message went before; the next one then says so. And the
    OpenSSL driver of rsyslogd 8.2302 does not look at names where it needed more than one turn for the handshake: it
    takes the messages, and then they are delivered.
    """
    try:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                await output.send(alert(), 1)
    except DeliveryError as error:
        return str(error)
    except TimeoutError:
        if server.lines():
            pytest.skip("rsyslogd believed whom it was not to believe, and wrote down what it was sent")
        raise
    finally:
        await output.close()


@pytest.mark.parametrize("driver", DRIVERS)
async def test_what_we_do_not_believe(tmp_path: Path, site: Site, driver: str) -> None:
    """A wrong name, a certificate that has expired, an unknown CA: refused by us, with what was expected and found."""
    with rsyslogd(tmp_path, tls=site.listening(driver)) as server:
        assert await refusal(site.output(server, server_name="noc.example.net"), server) == (
            f"127.0.0.1 port {server.tls_port} (tls): the receiver has the wrong name: "
            f'expected a certificate for "noc.example.net", found one for "{SERVER}"'
        )
        (tmp_path / "other.pem").write_bytes(Authority("Other CA").certificate_pem)
        files = replace(site.files, ca_file=tmp_path / "other.pem")
        assert "is from an unknown CA: expected one from " in await refusal(site.output(server, files=files), server)
        assert server.lines() == []
    site.server(site.authority, begin_days=-30, end_days=-1)
    with rsyslogd(tmp_path, tls=site.listening(driver)) as server:
        assert f'the certificate for "{SERVER}" expired on ' in await refusal(site.output(server), server)
        assert server.lines() == []


@pytest.mark.parametrize("driver", DRIVERS)
async def test_what_rsyslogd_does_not_believe(tmp_path: Path, site: Site, driver: str) -> None:
    """
    Our certificate is for another name, from another CA, has expired, or is missing: nothing counts as delivered.

    rsyslogd looks at names after the handshake, so the connection stands for a moment.
    """
    with rsyslogd(tmp_path, tls=site.listening(driver)) as server:
        said = []
        site.client(site.authority, "other.example.net")
        said.append(await refusal(site.output(server), server))
        site.client(Authority("Other CA"))
        said.append(await refusal(site.output(server), server))
        site.client(site.authority, begin_days=-30, end_days=-1)
        said.append(await refusal(site.output(server), server))
        files = TlsFiles(site.files.ca_file)
        assert "client certificate, and neither cert_file nor key_file is set" in await refusal(
            site.output(server, files=files), server
        )
        assert [bool(re.search("our client certificate|came late", each)) for each in said] == [True] * 3, said
        # A good one is taken at once.
        site.client(site.authority)
        output = site.output(server)
        await output.send(alert(), 2)
        await output.close()
        (line,) = server.wait_for_lines(1)
        assert understood(line)["data"]["collectord@32473"]["sequence"] == "2"


RULE = failures_rule(5, timespan="10s", step="1s", clear_after="1h")


@pytest.mark.e2e
def test_a_renewed_certificate_needs_no_restart(tmp_path: Path, site: Site) -> None:
    """While rsyslogd refuses ours the output is down and the other one goes on; a good file in its place is enough."""
    site.client(site.authority, begin_days=-30, end_days=-1)
    ours = "".join(f'{name} = "{getattr(site.files, name)}"\n' for name in ("ca_file", "cert_file", "key_file"))
    with rsyslogd(tmp_path, tls=site.listening("ossl")) as server:
        tables = (
            LISTENERS
            + syslog_output("siem", server.tls_port, "tls")
            + f'server_name = "{SERVER}"\n{ours}format = "cef"\n'
            + syslog_output("noc", server.port, "tcp")
        )
        with running(tmp_path / "collector", tables, {"excessive-failures": RULE}) as daemon:
            pid = daemon.process.pid
            daemon.send_tcp(counted([denied("203.0.113.77", number) for number in range(20)]))
            server.wait_for_lines(1, "ALARM-RAISE")

            def output(name: str) -> dict[str, Any]:
                (found,) = [each for each in daemon.status()["outputs"] if each["name"] == name]
                return dict(found)

            daemon.wait(lambda: output("siem")["up"] is False, "the output to be down")
            assert output("noc")["up"] is True
            assert "refused our client certificate" in daemon.said()
            assert "client certificate has expired" in daemon.said()
            assert len(server.lines()) == 1
            site.client(site.authority)
            # Tries are up to some tens of seconds apart by now.
            (line,) = server.wait_for_lines(1, "CEF:0|", 6 * PATIENCE_S)
            daemon.wait(lambda: output("siem")["up"] is True, "the output to be up")
            assert daemon.process.pid == pid
            os.kill(pid, 0)
            daemon.stop()
    assert cef(json.loads(line)["raw"].encode()).extension["src"] == "203.0.113.77"
