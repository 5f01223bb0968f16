"""A copy from another syslog server: the README's lines for rsyslog, in a real rsyslogd, and whom they name."""

import re
import socket
from pathlib import Path

import pytest

from .daemon import LISTENERS, denied, running
from .servers import copying_rsyslogd

pytestmark = pytest.mark.e2e

FORTIGATE = (
    b'<189>date=2026-11-22 time=10:20:30 devname="fw-north-1" devid="FGT-EXAMPLE" logid="0000000013" type="traffic" '
    b'subtype="forward" level="notice" vd="root" srcip=10.1.1.5 srcport=50000 dstip=198.51.100.7 dstport=443 proto=6 '
    b'action="deny" policyid=0'
)
CEF = (
    b"<134>CEF:0|Check Point|VPN-1 & FireWall-1|Check Point|Log|site-app|Low|act=Drop src=10.1.1.5 spt=5 "
    b"dst=198.51.100.7 dpt=8443 proto=6 product=VPN-1 & FireWall-1\n"
)


def test_the_sender_stays_known(tmp_path: Path, repository: Path) -> None:
    """By the name in its message, else by the address that it sent from; never the log server."""
    (lines,) = re.findall(
        r"^```\n(template\(name=\"collectord\".*?)^```", (repository / "README.md").read_text(), re.M | re.S
    )
    with running(tmp_path, f'relays = ["127.0.0.1"]\n{LISTENERS}') as daemon:
        lines = lines.replace('port="5514"', f'port="{daemon.listener("tcp")["port"]}"')
        with copying_rsyslogd(tmp_path, lines) as rsyslogd:
            for sender, message in (
                ("127.0.0.2", FORTIGATE),
                ("127.0.0.3", denied("203.0.113.9")),
                ("127.0.0.4", denied("203.0.113.9").replace(b" asa-edge-01", b"")),
                ("127.0.0.5", CEF),
                ("127.0.0.1", b"<13>what rsyslog says itself stays where it is"),
            ):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as device:
                    device.bind((sender, 0))
                    device.sendto(message, ("127.0.0.1", rsyslogd.port))
            stored = daemon.wait_stored("tcp", 4)
        devices = {each["name"]: each["profile"] for each in daemon.objects("devices")}

    assert stored["outcomes"] == {"session": 4}
    assert devices == {
        "fw-north-1": "fortinet-fortigate",
        "asa-edge-01": "cisco-asa",
        "127.0.0.4": "cisco-asa",
        "127.0.0.5": "checkpoint-cef",
    }
