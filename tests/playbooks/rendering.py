"""
What every alert of the playbooks has to fit into: a notification that cuts nothing but the summary.

There is a playbook for every shipped rule, so this looks at every alert that these rules make.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from pyasn1.codec.ber import encoder  # type: ignore[import-untyped]
from pysnmp.proto.api import v2c  # type: ignore[import-untyped]

from collectord.model import Alert, AlertState
from collectord.outputs.alarm import key_text
from collectord.outputs.notification import PDU_LIMIT_BYTES, trap_pdu

ROOT = (1, 3, 6, 1, 4, 1, 32473, 1)
HOST = "collector-1.north.example.net"


def check(told: Iterable[Alert]) -> None:
    """Each of the alerts' states, and of each alert also the states that its story did not come to."""
    identities: dict[tuple[str, int], Any] = {}
    for alert in told:
        texts = _notification(alert)
        # What a manager takes an alarm for must not change while it lives.
        identity = [texts[number] for number in (1, 4, 5, 6, 7, 13, 17)]
        assert identities.setdefault((alert.id, alert.episode), identity) == identity
        for state in AlertState:
            assert _notification(replace(alert, state=state))[1] == alert.id


def _notification(alert: Alert) -> dict[int, str]:
    """The texts of an alert's notification, by the number of the object."""
    pdu = trap_pdu(alert, 2**32 - 1, root=ROOT, uptime_ticks=2**32 - 1, collector_host=HOST, as_device=True)
    assert len(encoder.encode(pdu)) <= PDU_LIMIT_BYTES
    varbinds = [(tuple(name), value) for name, value in v2c.apiTrapPDU.get_varbinds(pdu)]
    assert [name for name, _ in varbinds[2:19]] == [(*ROOT, 1, number, 0) for number in range(1, 18)]
    texts = {name[-2]: bytes(value).decode() for name, value in varbinds[2:19] if isinstance(value, v2c.OctetString)}
    device = alert.details.get("device", {"name": HOST, "address": ""})
    whole = {1: alert.id, 4: alert.rule, 5: device["name"], 6: device["address"], 7: key_text(alert), 17: alert.site}
    assert {number: texts[number] for number in whole} == whole
    assert texts[14] and alert.summary.startswith(texts[14])
    assert len(varbinds) == 19 + ("." in device["address"])
    return texts
