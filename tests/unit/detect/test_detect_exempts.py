"""Exempts that the key of an alert decides."""

from collections.abc import Callable
from typing import Any

import pytest

from collectord.detect import exempts as module
from collectord.detect.exempts import Exempts
from collectord.detect.hosts import Host, Hosts
from collectord.detect.rules import Exempt, Rule, names_of_key
from collectord.model import AddedExempt, KeyValue

MakeRule = Callable[..., Rule]
KEY: dict[str, KeyValue] = {"SrcIpAddr": "192.0.2.10"}


def added(where: dict[str, Any], until_ns: int | None = None, rule: str = "excessive-failures") -> AddedExempt:
    return AddedExempt(1, rule, where, "our scanner", until_ns, "ada", 1)


def reason(exempts: Exempts, rule: Rule, site: str = "", key: dict[str, KeyValue] = KEY, now_ns: int = 0) -> str | None:
    return exempts.reason(rule, f"{rule.name} {site} {key}", site, key, now_ns)


@pytest.mark.parametrize(
    ("where", "exempt"),
    [
        ({"SrcIpAddr": "192.0.2.10"}, True),
        ({"SrcIpAddr": ["198.51.100.0/24", "192.0.2.0/24"]}, True),
        ({"SrcIpAddr": "192.0.2.11"}, False),
        ({"SrcIpAddr": {"not": "192.0.2.11"}}, True),
        ({"site": "north"}, True),
        ({"site": ["east", "south"]}, False),
        ({"SrcIpAddr": "192.0.2.10", "site": "south"}, False),
        ({"role": "scanner"}, True),
        ({"role": ["dns", "monitoring"]}, True),
        ({"role": "proxy"}, False),
        # What the key does not say is not known, whichever way it is asked.
        ({"DstIpAddr": {"not": "192.0.2.11"}}, False),
        ({"device": {"not": "fw1"}}, False),
    ],
)
def test_tests(make_rule: MakeRule, where: dict[str, Any], exempt: bool) -> None:
    """All must pass."""
    exempts = Exempts(Hosts((Host("192.0.2.10/32", "probe", "north", ("scanner", "monitoring"), ""),)))
    exempts.set_added([added(where)])

    assert ("our scanner" if exempt else None) == reason(exempts, make_rule(), "north")


def test_of_the_rule_and_added(make_rule: MakeRule) -> None:
    """Both hold, each for its rule; what a session decides is not for here."""
    rule = make_rule(
        exempt=(Exempt({"SrcIpAddr": "192.0.2.10"}, "of the file"), Exempt({"DstPortNumber": 443}, "session"))
    )
    exempts = Exempts(Hosts())
    exempts.set_rules([rule, make_rule(name="other")])
    exempts.set_added([added({"SrcIpAddr": "192.0.2.20"}), added({"SrcIpAddr": "192.0.2.30"}, rule="other")])

    found = [reason(exempts, rule, key={"SrcIpAddr": f"192.0.2.{number}"}) for number in (10, 20, 30)]
    assert ["of the file", "our scanner", None] == found


def test_until(make_rule: MakeRule) -> None:
    """It ends by itself, though it is remembered that it fits."""
    exempts = Exempts(Hosts())
    exempts.set_added([added(dict(KEY), until_ns=100)])

    assert ["our scanner", None] == [reason(exempts, make_rule(), now_ns=now_ns) for now_ns in (99, 100)]


def test_a_change_counts_at_once(make_rule: MakeRule, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was decided before is decided anew; memory is bounded."""
    monkeypatch.setattr(module, "MAX_DECIDED", 3)
    exempts, rule = Exempts(Hosts()), make_rule()
    assert reason(exempts, rule) is None
    exempts.set_added([added(dict(KEY))])
    assert "our scanner" == reason(exempts, rule)
    for number in range(10):
        assert reason(exempts, rule, key={"SrcIpAddr": f"198.51.100.{number}"}) is None
    exempts.set_added([])
    assert reason(exempts, rule) is None


def test_device(make_rule: MakeRule) -> None:
    """Rules about devices have it in their key."""
    rule = make_rule(group_by=("Dvc",), counter="")
    exempts = Exempts(Hosts())
    exempts.set_added([added({"device": ["fw1", "fw2"]})])

    assert ["our scanner", None] == [reason(exempts, rule, key={"Dvc": name}) for name in ("fw1", "fw3")]


def test_names_of_key(make_rule: MakeRule, make_port_rule: MakeRule) -> None:
    """What may be asked so that the key can answer."""
    assert {"SrcIpAddr", "site", "role"} == names_of_key(make_rule())
    assert {"Dvc", "site", "device"} == names_of_key(make_rule(group_by=("Dvc",)))
    assert {"Name", "DstPortNumber", "NetworkProtocol", "site"} == names_of_key(make_port_rule())


def test_other_hosts(make_rule: MakeRule) -> None:
    """Also for keys that were decided already."""
    exempts = Exempts(Hosts())
    exempts.set_added([added({"role": "scanner"})])
    assert reason(exempts, make_rule()) is None
    exempts.set_hosts(Hosts((Host("192.0.2.10/32", "probe", "", ("scanner",), ""),)))
    assert reason(exempts, make_rule()) == "our scanner"
