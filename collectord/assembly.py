"""Listeners and outputs, built from what the configuration says of them."""

import socket
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from collectord import activation, output_settings, settings
from collectord.activation import Inherited, Wanted
from collectord.clock import Clock, since_boot_ns
from collectord.config import Config
from collectord.engine import Engine
from collectord.inputs import own_certificate
from collectord.inputs.stream import TcpListener
from collectord.inputs.tls import TlsListener
from collectord.inputs.udp import UdpListener
from collectord.model import Severity
from collectord.outputs.delivery import Output
from collectord.outputs.log import LogOutput
from collectord.outputs.mib import arcs
from collectord.outputs.snmp import SnmpOutput
from collectord.outputs.snmp_engine import NotificationEngine, Patience
from collectord.outputs.snmp_users import Community, Credentials, User
from collectord.outputs.syslog import SyslogOutput
from collectord.policy import OutputPolicy


def listeners(
    config: Config, engine: Engine, clock: Clock, inherited: Sequence[Inherited] = ()
) -> Iterator[UdpListener | TcpListener]:
    """
    In the order of the configuration, which is how the engine numbers them; none is bound yet.

    Args:
        config: Says what they are.
        engine: Reads what comes.
        clock: The time.
        inherited: Sockets of the service manager.

    Raises:
        ConfigError: one of those belongs to no listener.
        CertificateError: a file of TLS can't be used.
    """
    handed_over = activation.assigned(
        inherited,
        [Wanted(each.name, "udp" if each.type == "udp" else "tcp", each.host, each.port) for each in config.listener],
    )
    for number, told in enumerate(config.listener):
        yield listener(config, told, number, engine, clock, handed_over.get(told.name, ()))


def listener(
    config: Config,
    told: settings.Listener,
    number: int,
    engine: Engine,
    clock: Clock,
    inherited: Sequence[socket.socket] = (),
) -> UdpListener | TcpListener:
    """
    One of them; it is not bound yet.

    Raises:
        CertificateError: a file of TLS can't be used.
    """
    common: dict[str, Any] = {
        "number": number,
        "name": told.name,
        "host": told.host,
        "port": told.port,
        "engine": engine,
        "now_ns": clock.now_ns,
        "inherited": inherited,
    }
    if isinstance(told, settings.UdpListener):
        return UdpListener(**common, receive_buffer_bytes=told.receive_buffer_bytes)
    if isinstance(told, settings.TcpListener):
        return TcpListener(**common, **stream_bounds(config, told))
    certificate = own_certificate.load(told.tls_files, told.verify_mode)
    return TlsListener(**common, **stream_bounds(config, told), certificate=certificate)


def stream_bounds(config: Config, listener: settings.TcpListener | settings.TlsListener) -> dict[str, Any]:
    """What a stream listener can take up at any time."""
    return {
        "connections": config.bounds.tcp_connections,
        "connections_per_peer": config.bounds.tcp_connections_per_peer,
        "idle_s": config.bounds.tcp_idle_s,
        "allow": listener.allow,
        "peer_rate": config.bounds.peer_rate,
        "peer_burst": config.bounds.peer_burst,
        "relays": config.relays,
    }


def notification_engine(config: Config) -> NotificationEngine:
    """What all SNMP outputs share, for as long as the daemon runs; not started yet."""
    return NotificationEngine(
        config.state_dir / "snmp_engine.json", mono_ns=since_boot_ns, enterprise=_enterprise(config)
    )


def _enterprise(config: Config) -> int:
    """The site's private enterprise number, or the one for documentation."""
    return arcs(config.snmp.root)[6]


def outputs(
    config: Config, clock: Clock, snmp: NotificationEngine, *, cold_start: bool = True
) -> list[tuple[Output, Severity]]:
    """
    Each with the lowest severity that it takes; none is started yet.

    Args:
        config: Says what they are.
        clock: The time.
        snmp: Of the outputs that send SNMP.
        cold_start: Whether those tell of the start.
    """
    built: list[tuple[Output, Severity]] = []
    for output in config.output:
        made: Output
        if isinstance(output, output_settings.LogOutput):
            made = LogOutput(name=output.name)
        elif isinstance(output, output_settings.SyslogOutput):
            made = SyslogOutput(
                name=output.name,
                host=output.host,
                port=output.port,
                transport=output.transport,
                framing=output.framing,
                format=output.format,
                facility=output.facility,
                enterprise=_enterprise(config),
                files=output.tls_files() if output.transport == "tls" else None,
                server_name=output.server_name,
                now_ns=clock.now_ns,
            )
        else:
            made = SnmpOutput(
                snmp,
                name=output.name,
                host=output.host,
                port=output.port,
                credentials=_credentials(output),
                patience=Patience(output.timeout_s, output.retries) if output.notification == "inform" else None,
                root=config.snmp.root,
                as_device=output.report_as == "device",
                cold_start=cold_start,
            )
        built.append((made, output.min_severity))
    return built


def _credentials(output: output_settings.SnmpOutput) -> Credentials:
    """Their secrets are read later, by the output."""
    if output.version == "2c":
        return Community(output.read_community)
    return User(output.user or "", output.read_auth_password, output.read_priv_password, output.auth, output.priv)


def policies(config: Config, names: Iterable[str]) -> dict[str, OutputPolicy]:
    """What each of these outputs is told and how much may wait for it, by name; defaults for one not configured."""
    configured = {output.name: output.policy for output in config.output}
    return {name: configured.get(name, OutputPolicy()) for name in names}
