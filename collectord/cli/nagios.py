"""
``collectord status --check``: one line and an exit status for Nagios, Icinga and what else runs such plugins.

Source: Monitoring Plugins Development Guidelines, "Plugin Output for Nagios", "Plugin Return Codes" and "Performance
data".
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from collectord.errors import CollectordError

OK, WARNING, CRITICAL, UNKNOWN = range(4)
_WORDS = ("OK", "WARNING", "CRITICAL", "UNKNOWN")

TICK_AGE_S = 15
"""A pass a second is due; the service's watchdog ends a daemon that stands still for 30 s."""

EXPIRES_SOON_DAYS = 30
"""From then on the end of a certificate is a warning."""

LINE_CHARACTERS = 1000
"""Old plugin runners read 1024 bytes."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the plugin says."""

    line: str
    state: int


def unknown(error: CollectordError) -> Verdict:
    """It can't be told."""
    return Verdict(f"UNKNOWN - {str(error).splitlines()[0]}"[:LINE_CHARACTERS], UNKNOWN)


def verdict(answer: Mapping[str, Any], idle_s: int) -> Verdict:
    """
    Judge what the daemon, or the database of one that does not run, answered.

    Args:
        answer: As ``collectord status --json`` writes it.
        idle_s: A warning if no listener had a message for so long; 0: never.
    """
    if not answer["running"]:
        return Verdict(f"CRITICAL - {answer['reason']}"[:LINE_CHARACTERS], CRITICAL)
    found = sorted(_problems(answer, idle_s), key=lambda each: -each[0])
    state = found[0][0] if found else OK
    text = "; ".join(text for _, text in found) or f"{answer['alerts']['active']} active alerts"
    figures = " ".join(_figures(answer))
    text = text[: LINE_CHARACTERS - len(figures) - 20].replace("|", "/")
    return Verdict(f"{_WORDS[state]} - {text} | {figures}", state)


def _problems(answer: Mapping[str, Any], idle_s: int) -> Iterator[tuple[int, str]]:
    tick = answer["tick"]
    yield from _of_the_store(answer)
    if (tick["age_s"] or 0) > TICK_AGE_S:
        yield CRITICAL, f"no tick has ended for {tick['age_s']} s"
    ailing = answer["alerts"]["ailing"]
    if "messages-lost" in ailing:
        dropped = _dropped(answer)
        yield CRITICAL, f"messages are lost: the kernel dropped {dropped}, raise receive_buffer; see collectord alerts"
    down = [output["name"] for output in answer["outputs"] if output["up"] is False]
    if down:
        # The log takes everything, and tells nobody who is not looking.
        others = [output for output in answer["outputs"] if output["up"] is not False and not output.get("local")]
        yield (WARNING if others else CRITICAL), f"down: {', '.join(down)}"
    if "alerts-dropped" in ailing:
        yield WARNING, "alerts were given up undelivered: collectord outbox list"
    reload = answer.get("reload")
    if reload and not reload["taken"]:
        yield WARNING, "the changed configuration is refused: collectord status"
    yield from _ending(answer)
    if limited := answer.get("limited_peers"):
        yield WARNING, f"{len(limited)} peers send more than bounds.peer_rate, first {limited[0]['peer']}"
    quiet_s = min(
        answer["uptime_s"] if listener["idle_s"] is None else listener["idle_s"] for listener in answer["listeners"]
    )
    if idle_s and quiet_s > idle_s:
        yield WARNING, f"no message for {quiet_s} s"


def _of_the_store(answer: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    tick, store = answer["tick"], answer.get("store") or {}
    if store.get("failing_s"):
        yield CRITICAL, f"the database fails for {store['failing_s']} s: {store['reason']}"
    elif tick["unstored_alerts"] or tick["lost_alerts"]:
        yield CRITICAL, "the database can't be written"
    if moved_to := store.get("moved_to"):
        yield WARNING, f"the database was damaged and is new; the old one is {moved_to}"


def _ending(answer: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    """Of our certificates, the one that ends first, if that is soon."""
    for where, certificate in certificates(answer)[:1]:
        if certificate["days_left"] < 0:
            yield CRITICAL, f"the certificate of {where} has expired"
        elif certificate["days_left"] < EXPIRES_SOON_DAYS:
            yield WARNING, f"the certificate of {where} ends in {certificate['days_left']} days"


def certificates(answer: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Our own, each with whose it is; the one that ends first comes first."""
    found = [
        (f"{kind[:-1]} {each['name']}", each["certificate"])
        for kind in ("listeners", "outputs")
        for each in answer[kind]
        if "certificate" in each
    ]
    return sorted(found, key=lambda one: one[1]["days_left"])


def _dropped(answer: Mapping[str, Any]) -> int:
    return sum(listener.get("kernel_drops", 0) for listener in answer["listeners"])


def _figures(answer: Mapping[str, Any]) -> Iterator[str]:
    """``label=value[unit];warn;crit;min``: a counter has the unit c."""
    outcomes = [listener["outcomes"] for listener in answer["listeners"]]
    for name, value, unit in (
        ("received", sum(listener["received"] for listener in answer["listeners"]), "c"),
        ("dropped", _dropped(answer), "c"),
        ("unparsed", sum(each.get("unparsed", 0) for each in outcomes), "c"),
        ("limited", sum(each.get("rate_limited", 0) for each in outcomes), "c"),
        ("alerts", answer["alerts"]["active"], ""),
        ("waiting", sum(output["waiting"] for output in answer["outputs"]), ""),
        ("tick", answer["tick"]["last_ms"], "ms"),
        ("database", answer["database_bytes"], "B"),
    ):
        yield f"{name}={value}{unit};;;0"
