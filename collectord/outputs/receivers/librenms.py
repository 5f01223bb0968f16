"""LibreNMS: snmptrapd with the MIB, notifications as event log lines, and rules on those."""

from collectord.outputs.mib_names import ACTIVE_SEVERITIES, NOTIFICATIONS, Kind
from collectord.outputs.receivers.facts import Facts, filled
from collectord.outputs.receivers.snmptrapd import senders


def files(facts: Facts) -> dict[str, str]:
    """snmptrapd's configuration and its unit's drop-in, alert rules, and how to install them."""
    raised = _names(Kind.RAISE, Kind.UPDATE)
    serious = "|".join(word for word in ACTIVE_SEVERITIES.values() if word in {"critical", "major"})
    return {
        "snmptrapd.conf": filled("librenms", "snmptrapd.conf", senders="\n".join(senders(facts)) + "\n"),
        "snmptrapd.service.d-collectord.conf": filled("librenms", "snmptrapd.service.d-collectord.conf"),
        "README.md": filled("librenms", "README.md", raised=raised, serious=serious, late_m=str(facts.late_s // 60)),
    }


def _names(*kinds: Kind) -> str:
    """An alternation of the notifications of these kinds; none is the start of another that is not of them."""
    return "|".join(each.name for each in NOTIFICATIONS if each.kind in kinds)
