"""
Exempts that the key of an alert decides: those of the rules' files, and those that operators added.

What only a session can decide, the engine leaves out of the counter (``rules.plan``).
"""

from collections.abc import Iterable, Mapping

from collectord.detect import where
from collectord.detect.hosts import Hosts
from collectord.detect.rules import Exempt, Rule, decided_by_key
from collectord.model import AddedExempt, KeyValue

MAX_DECIDED = 100_000
"""Keys whose exempts are remembered; then it is begun anew. About 30 MB."""


class Exempts:
    """
    Answers whether an alert is exempt.

    Args:
        hosts: For exempts of hosts by their role.
    """

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts
        self._of_rules: dict[str, tuple[Exempt, ...]] = {}
        self._added: dict[str, tuple[Exempt, ...]] = {}
        self._decided: dict[str, tuple[Exempt, ...]] = {}

    def set_hosts(self, hosts: Hosts) -> None:
        """What is known of addresses from now on."""
        self._hosts = hosts
        self._decided.clear()

    def set_rules(self, rules: Iterable[Rule]) -> None:
        """The rules from now on, ``internal`` resolved."""
        self._of_rules = {
            rule.name: tuple(exempt for exempt in rule.exempt if decided_by_key(exempt, rule)) for rule in rules
        }
        self._decided.clear()

    def set_added(self, added: Iterable[AddedExempt]) -> None:
        """What operators added, in place of what they had."""
        found: dict[str, list[Exempt]] = {}
        for each in added:
            found.setdefault(each.rule, []).append(Exempt(each.where, each.reason, each.until_ns))
        self._added = {rule: tuple(exempts) for rule, exempts in found.items()}
        self._decided.clear()

    def reason(self, rule: Rule, alert_id: str, site: str, key: Mapping[str, KeyValue], now_ns: int) -> str | None:
        """Why an alert with this key is none; None if it is one."""
        fitting = self._decided.get(alert_id)
        if fitting is None:
            fitting = self._fitting(rule, site, key)
            if len(self._decided) >= MAX_DECIDED:
                self._decided.clear()
            self._decided[alert_id] = fitting
        for exempt in fitting:
            if exempt.until_ns is None or now_ns < exempt.until_ns:
                return exempt.reason
        return None

    def _fitting(self, rule: Rule, site: str, key: Mapping[str, KeyValue]) -> tuple[Exempt, ...]:
        exempts = self._of_rules.get(rule.name, ()) + self._added.get(rule.name, ())
        if not exempts:
            return ()
        values: dict[str, KeyValue | tuple[str, ...]] = {**key, "site": site}
        if "SrcIpAddr" in key:
            values["role"] = self._hosts.roles(str(key["SrcIpAddr"]), site)
        if "Dvc" in key:
            values["device"] = key["Dvc"]
        # What the key does not say is not known, and "not" would take that for granted.
        return tuple(
            exempt
            for exempt in exempts
            if where.fields(exempt.where) <= values.keys() and where.fits(exempt.where, values)
        )
