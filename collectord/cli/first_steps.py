"""
What to type where, once the collector has its first configuration; for ``collectord init`` and the README.

Sources: FortiOS CLI Reference, "log syslogd setting"; Cisco ASA Command Reference, "logging host"; PAN-OS CLI, "set
shared log-settings"; Check Point sk122323, "Log Exporter".
"""

from collections.abc import Mapping

DEVICES: Mapping[str, str] = {
    "FortiGate": """\
config log syslogd setting
    set status enable
    set server "{address}"
    set port {port}
    set mode udp
    set format default
end
""",
    "Cisco ASA": """\
logging enable
logging timestamp
logging trap informational
logging host inside {address} 17/{port}
""",
    "PAN-OS": """\
configure
set shared log-settings syslog collectord server collectord server {address} transport UDP port {port} format BSD
set shared log-settings profiles collectord match-list traffic log-type traffic filter "All Logs" send-syslog collectord
set shared log-settings profiles collectord match-list threat log-type threat filter "All Logs" send-syslog collectord
set rulebase security rules RULE log-setting collectord
commit
""",
    "Check Point": """\
cp_log_export add name collectord target-server {address} target-port {port} protocol udp format cef
cp_log_export restart name collectord
""",
}
"""Lines by product; ``{address}`` and ``{port}`` are the collector's."""

REMARKS: Mapping[str, str] = {
    "Cisco ASA": "inside: the interface towards the collector; over TCP first `logging permit-hostdown`",
    "PAN-OS": "the fourth line for each rule that is to be heard of",
    "Check Point": "in expert mode, on the management or log server",
}


def lines(product: str, address: str, port: int) -> str:
    """What to type on a product."""
    return DEVICES[product].format(address=address, port=port)
