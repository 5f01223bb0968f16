"""No shipped rule goes without a playbook, and each says of itself what was published of it."""

import ast
from pathlib import Path

import pytest

from collectord import data
from collectord.model import Mode

from .playbook import shipped

MISUSE = ("CommandAndControl", "Execution", "InitialAccess")
TRAFFIC = ("CommandAndControl", "Discovery", "Exfiltration", "LateralMovement")

PUBLISHED: dict[str, tuple[str, tuple[str, ...], str]] = {
    "excessive-failures": ("medium", ("Impact",), "T1499"),
    "port-misuse": ("medium", MISUSE, "T1095 T1059 T1203 T1190"),
    "port-anomaly": ("medium", (*MISUSE, "LateralMovement"), "T1095 T1059 T1203 T1190"),
    "traffic-anomaly-action": ("medium", TRAFFIC, "T1095 T1071 T1046 T1030 T1210"),
    "traffic-anomaly-direction": ("medium", TRAFFIC, "T1095 T1071 T1046 T1030 T1210"),
    "traffic-anomaly-protocol": ("medium", TRAFFIC, "T1095 T1071 T1046 T1030 T1210"),
    "traffic-anomaly-total": ("medium", TRAFFIC, "T1095 T1071 T1046 T1030 T1210"),
    "port-sweep": ("high", ("Reconnaissance", "Discovery"), "T1590 T1046"),
    "port-scan": ("medium", ("Discovery",), "T1046"),
    "port-scan-internal": ("medium", ("Discovery",), "T1046"),
    "beaconing": ("low", ("CommandAndControl",), "T1071 T1571"),
    "rdp-brute-force": ("medium", ("CredentialAccess",), "T1110"),
    "smb-anomaly": ("medium", ("LateralMovement",), "T1021 T1021.002"),
    "smb-spread": ("medium", ("LateralMovement",), "T1021 T1021.002"),
    "app-port-mismatch": ("low", ("Discovery",), ""),
    "outbound-ldap": ("medium", ("InitialAccess", "Execution"), "T1071 T1059"),
    "outbound-ldap-success": ("high", ("InitialAccess", "Execution"), "T1071 T1059"),
    "cleartext-authentication": ("low", ("CommandAndControl",), "T1071"),
    "outbound-rdp": ("low", ("LateralMovement",), "T1021 T1021.001"),
}
"""
Severity, tactics and techniques of the Network Session Essentials solution, in the newest version of each rule; the
hunting queries, from app-port-mismatch on, have no severity of their own.
"""

OF_ITSELF: dict[str, str] = {
    "device-silent": "medium",
    "device-clock-off": "low",
    "messages-lost": "high",
    "output-down": "high",
    "alerts-held-back": "medium",
    "alerts-dropped": "high",
    "database-failing": "high",
    "database-replaced": "high",
}
"""The severities of what the collector tells of itself and its devices."""

NOTIFIES = {"excessive-failures", "port-misuse", "rdp-brute-force", *OF_ITSELF}
OFF = {"app-port-mismatch", "outbound-ldap", "outbound-ldap-success", "cleartext-authentication", "outbound-rdp"}


def test_every_shipped_rule_has_a_playbook() -> None:
    """A rule's name stands in one of the playbooks, as what a story is about."""
    playbooks = [path for path in Path(__file__).parent.glob("test_*.py") if path != Path(__file__)]
    told = {
        node.value
        for path in playbooks
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    names = {path.stem for path in data.rules()}

    assert names
    assert names - told == set()


@pytest.mark.parametrize("name", [path.stem for path in data.rules()])
def test_every_shipped_rule_is_as_published(name: str) -> None:
    """Severity, tactics and techniques, whether it is sent at install, and what neither learning nor a storm holds."""
    (rule,) = [rule for rule in shipped().rules if rule.name == name]
    severity, tactics, techniques = PUBLISHED[name] if name in PUBLISHED else (OF_ITSELF[name], (), "")

    assert (rule.severity.value, rule.tactics, rule.techniques) == (severity, tactics, tuple(techniques.split()))
    assert rule.mode is (Mode.NOTIFY if name in NOTIFIES else Mode.OFF if name in OFF else Mode.REPORT)
    # A device's clock says nothing about the collector.
    assert rule.health is (name in OF_ITSELF and name != "device-clock-off")
