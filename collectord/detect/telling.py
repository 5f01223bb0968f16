"""The words of an alert: the one line that a person on call reads first, and what it is made from."""

from collections.abc import Mapping
from typing import Any

from collectord.detect import wording
from collectord.detect.findings import Finding, Judgement
from collectord.detect.hosts import Hosts
from collectord.detect.rules import MOST_DISTINCT, Rule, RuleType
from collectord.model import Alert, KeyValue

MAX_WHO_CHARACTERS = 110
MAX_DEVICE_CHARACTERS = 40
MAX_NAME_CHARACTERS = 60
MAX_DEVICES = 2
"""Reporting devices that the line names; the others are a number."""

MOST_TOLD = 10
"""Values of a field that the engine keeps of a key: of so many there may be others."""

_ENDS = {"denied": "denied", "reset": "reset", "timed_out": "timed out"}
"""What an evidence's split says, and the words for it."""


def summary(
    rule: Rule,
    alert_id: str,
    finding: Finding,
    judgement: Judgement,
    hosts: Hosts,
    names: Mapping[str, str] | None = None,
) -> str:
    """
    Who, what, how much against which limit in which time, top port and destination, reporting device, how its sessions
    ended, what shows more.

    What does not fit any more is left out from the end; who and how much is always there, and so is the command.
    ``names`` are those that addresses have by reverse DNS, as far as they are known.
    """
    what = f"{_much(rule, judgement.count)} (limit {judgement.threshold:,})"
    more = _evidence(finding.key, finding.details.get("evidence"))
    return wording.summary(who(finding.key, finding.site, hosts, names), what, alert_id, more)


def clear_summary(alert: Alert, what: str, hosts: Hosts, names: Mapping[str, str] | None = None) -> str:
    """The same of an alert that is over."""
    return wording.summary(who(alert.key, alert.site, hosts, names), what, alert.id)


def quiet(rule: Rule, threshold: int, peak: int, *, watched: bool = True) -> tuple[str, str]:
    """Why an alert cleared, quiet for long enough or of nothing any more: in short, and with what it was."""
    if not watched:
        reason = "it is not watched any more"
        return reason, f"not watched any more (peak {_much(rule, peak)}, limit {threshold:,})"
    if rule.type is RuleType.SILENCE:
        return "it sends again", f"sends again (silent for {peak:,} s, limit {threshold:,} s)"
    reason = f"at or below {rule.clear_level(threshold):,}"
    if rule.clear_after_s:
        reason += f" for {wording.span(rule.clear_after_s)}"
    return reason, f"{rule.unit} {reason} (peak {_much(rule, peak, unit=False)}, limit {threshold:,})"


def _much(rule: Rule, count: int, *, unit: bool = True) -> str:
    """How much that is, in which time."""
    most = f"at least {count:,}" if rule.distinct and count >= MOST_DISTINCT else f"{count:,}"
    if unit:
        most = f"{most} {rule.unit}"
    # These say in their unit what they measure; there is no window that they add up over.
    return f"{most} in {wording.span(rule.timespan_s)}" if rule.counter else most


def nameless(key: Mapping[str, KeyValue], site: str, hosts: Hosts) -> tuple[str, ...]:
    """The addresses of a key that the site's own list has no name for."""
    found = []
    for field, value in key.items():
        if field.endswith("IpAddr") and (text := str(value)) and text not in found:
            host = hosts.find(text, site)
            if host is None or not host.name:
                found.append(text)
    return tuple(found)


def who(key: Mapping[str, KeyValue], site: str, hosts: Hosts, names: Mapping[str, str] | None = None) -> str:
    """The key in a few words, an address alone or a port with its name, and what is known of it."""
    others = [wording.printable(v) for n, v in key.items() if n not in ("DstPortNumber", "NetworkProtocol")]
    if "DstPortNumber" in key and "NetworkProtocol" in key:
        others = [f"port {key['DstPortNumber']}/{wording.printable(key['NetworkProtocol']) or 'any'}", *others]
    else:
        others = [wording.printable(value) for value in key.values()] or ["all sessions"]
    address = next((str(key[name]) for name in ("SrcIpAddr", "DstIpAddr", "DvcIpAddr") if name in key), "")
    host = hosts.find(address, site)
    known = [wording.printable(text, 40) for text in (host.name, *host.roles) if text] if host else []
    if names and address in names and not (host and host.name):
        # Whoever owns the address chose it: it must not pass for a name of the site's own list.
        known.insert(0, f"DNS {wording.printable(names[address], MAX_NAME_CHARACTERS)}")
    if site:
        known.append(f"site {wording.printable(site)}")
    text = ", ".join(others) + (f" ({', '.join(known)})" if known else "")
    return wording.shortened(text, MAX_WHO_CHARACTERS)


def _evidence(key: Mapping[str, KeyValue], evidence: Any) -> list[str]:
    """What the sessions behind an alert have in common, the most telling first."""
    top = evidence.get("top", {}) if isinstance(evidence, Mapping) else {}
    found = []
    for name, word in (("DstPortNumber", "port"), ("DstIpAddr", "to"), ("SrcIpAddr", "from")):
        values = top.get(name)
        if values and name not in key:
            others = f" and {_further(len(values) - 1, MOST_TOLD - 1)}" if len(values) > 1 else ""
            found.append(f"{word} {wording.printable(values[0][0], 45)}{others}")
    devices = [wording.printable(value, MAX_DEVICE_CHARACTERS) for value, _ in top.get("Dvc", ())]
    if devices:
        further = _further(len(devices) - MAX_DEVICES, MOST_TOLD - MAX_DEVICES)
        others = f" and {further}" if len(devices) > MAX_DEVICES else ""
        found.append(f"reported by {', '.join(devices[:MAX_DEVICES])}{others}")
    if ends := split_words(evidence):
        found.append(f"of those seen {ends}")
    return found


def _further(count: int, most: int) -> str:
    return f"at least {count} more" if count >= most else f"{count} more"


def split_words(evidence: Any) -> str:
    """How the sessions of an evidence ended, such as ``4,100 denied, 901 reset``; empty where no more is known."""
    split = evidence.get("split") if isinstance(evidence, Mapping) else None
    if not isinstance(split, Mapping) or not any(split.get(name) for name in _ENDS):
        return ""
    words = _ENDS | {"other": "other"}
    return ", ".join(f"{split[name]:,} {word}" for name, word in words.items() if split.get(name))
