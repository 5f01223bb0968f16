"""
What an operator may do to alerts, by command: acknowledge, shelve, exempt, maintenance.

Runs on the store's thread, where alerts are judged as well. Each action is stored first, with who did it, and then
holds for the running state machine; :meth:`Actions.restore` brings all of it back after a restart.
"""

import pwd
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

from collectord import log as logs
from collectord.detect import where
from collectord.detect.alerts import AlertStates
from collectord.detect.exempt_tables import EXEMPT_NAMES, MAX_EXEMPTS
from collectord.detect.rules import names_of_key
from collectord.errors import RequestError
from collectord.model import NS_PER_S, AddedExempt, Alert, AlertMark, MaintenanceWindow, MarkKind
from collectord.store import exceptions, marks
from collectord.store.alerts import Alerts
from collectord.store.db import Database
from collectord.tick import Tick

log = logs.get()

Action = Callable[[dict[str, Any], int], tuple[Any, bool]]
"""Takes a request's arguments and the asking user's id; gives the answer, and whether outputs have something to do."""

MAX_REASON_CHARACTERS = 255

MAX_MAINTENANCE = 1_000
"""Windows that have not ended."""

MAX_AHEAD_S = 3_660 * 86_400
"""Ten years; whoever means "for ever" leaves the end out where that is possible."""


class Actions:
    """
    The actions, by the name of their request.

    Args:
        database: The writing side.
        states: The state machine that they hold for.
        tick: Stores what they do to active alerts, and knows the rules and the site's networks.
        now_ns: Wall time.
    """

    def __init__(
        self,
        *,
        database: Database,
        states: AlertStates,
        tick: Tick,
        now_ns: Callable[[], int],
    ) -> None:
        self._added: Sequence[AddedExempt] = ()
        self._database = database
        self._alerts = Alerts(database)
        self._states = states
        self._tick = tick
        self._now_ns = now_ns
        self.by_name: dict[str, Action] = {
            "alert-ack": self._ack,
            "alert-shelve": self._shelve,
            "alert-unshelve": self._unshelve,
            "exempt-add": self._add_exempt,
            "exempt-remove": self._remove_exempt,
            "maintenance-add": self._add_maintenance,
            "maintenance-end": self._end_maintenance,
        }

    def restore(self) -> None:
        """What was done before the start holds again."""
        self._hold()
        self._exempt()

    def _hold(self) -> None:
        now_ns = self._now_ns()
        self._states.holds.set_shelved(marks.shelved(self._database, now_ns))
        self._states.holds.set_maintenance(exceptions.maintenance(self._database, now_ns))

    def _exempt(self) -> None:
        self._added = exceptions.exempts(self._database, self._now_ns())
        self.resolve()

    def resolve(self) -> None:
        """The exempts that were added hold with the site's networks of now."""
        networks = self._tick.setup.config.internal_networks
        self._states.exempts.set_added(
            replace(each, where=where.resolved(each.where, networks)) for each in self._added
        )

    def _ack(self, arguments: dict[str, Any], user: int) -> tuple[Any, bool]:
        alert = self._alert(arguments)
        mark = self._mark(alert, MarkKind.ACK, user, _text(arguments, "note", needed=False))
        return _answer(mark), False

    def _shelve(self, arguments: dict[str, Any], user: int) -> tuple[Any, bool]:
        alert = self._alert(arguments)
        until_ns = self._until_ns(arguments)
        mark = self._mark(alert, MarkKind.SHELVE, user, _text(arguments, "reason"), until_ns)
        self._hold()
        return _answer(mark), False

    def _unshelve(self, arguments: dict[str, Any], user: int) -> tuple[Any, bool]:
        alert, who = self._alert(arguments), user_name(user)
        if not marks.unshelve(self._database, alert.id, who, self._now_ns()):
            raise RequestError(f"the alert {alert.id} is not shelved")
        self._hold()
        log.info("alert unshelved", alert=alert.id, user=user)
        return alert.id, False

    def _add_exempt(self, arguments: dict[str, Any], user: int) -> tuple[Any, bool]:
        name = _text(arguments, "rule")
        rules = {rule.name: rule for rule in self._tick.setup.rules}
        rule = rules.get(name)
        if rule is None:
            raise RequestError(f"there is no rule {name!r}; known: {', '.join(sorted(rules))}")
        tests = arguments.get("where")
        if not isinstance(tests, dict) or not tests:
            raise RequestError("an exempt needs at least one FIELD=VALUE")
        wrong: list[str] = []
        where.check(
            tests,
            lambda place, reason: wrong.append(f"{'.'.join(map(str, place))}: {reason}"),
            also=(*EXEMPT_NAMES, *rule.key_fields),
        )
        known = names_of_key(rule)
        unknown = [] if wrong else sorted(where.fields(tests) - known)
        if unknown:
            wrong.append(
                f"the alerts of {name} don't say {', '.join(unknown)}, they say {', '.join(sorted(known))}: what only "
                "a session says is exempted in the rule's file"
            )
        if wrong:
            raise RequestError("; ".join(wrong))
        now_ns = self._now_ns()
        others = sum(each.rule == name for each in exceptions.exempts(self._database, now_ns))
        if others >= MAX_EXEMPTS:
            raise RequestError(f"the rule {name} has {MAX_EXEMPTS:,} exempts already")
        until_ns = self._until_ns(arguments) if arguments.get("until_ns") is not None else None
        reason, who = _text(arguments, "reason"), user_name(user)
        added = exceptions.add_exempt(self._database, AddedExempt(0, name, tests, reason, until_ns, who, now_ns))
        self._exempt()
        queued = self._tick.reconcile(self._states.review(now_ns))
        log.info("exempt added", id=str(added.number), rule=name, key=str(tests), user=user)
        return asdict(added), queued

    def _remove_exempt(self, arguments: dict[str, Any], user: int) -> tuple[Any, bool]:
        number, who = _number(arguments), user_name(user)
        if not exceptions.remove_exempt(self._database, number, who, self._now_ns()):
            raise RequestError(f"there is no exempt {number} that was added by command")
        self._exempt()
        log.info("exempt removed", id=str(number), user=user)
        return number, False

    def _add_maintenance(self, arguments: dict[str, Any], user: int) -> tuple[Any, bool]:
        site = arguments.get("site")
        if site is not None and (not isinstance(site, str) or len(site) > 64 or site == "*"):
            raise RequestError("site must be the name of a site")
        now_ns = self._now_ns()
        until_ns, from_ns = self._until_ns(arguments), arguments.get("from_ns")
        if from_ns is None:
            from_ns = now_ns
        if not isinstance(from_ns, int) or isinstance(from_ns, bool) or not 0 <= from_ns < until_ns:
            raise RequestError("it must begin before it ends")
        if len(exceptions.maintenance(self._database, now_ns)) >= MAX_MAINTENANCE:
            raise RequestError(f"there are {MAX_MAINTENANCE:,} maintenance windows already")
        zone, reason, who = _text(arguments, "zone", needed=False), _text(arguments, "reason"), user_name(user)
        window = MaintenanceWindow(0, site, from_ns, until_ns, zone, reason, who, now_ns)
        added = exceptions.add_maintenance(self._database, window)
        self._hold()
        log.info("maintenance added", id=str(added.number), site="all" if site is None else site, user=user)
        return asdict(added), False

    def _end_maintenance(self, arguments: dict[str, Any], user: int) -> tuple[Any, bool]:
        number, who = _number(arguments), user_name(user)
        if not exceptions.end_maintenance(self._database, number, who, self._now_ns()):
            raise RequestError(f"there is no maintenance {number} that has not ended")
        self._hold()
        log.info("maintenance ended", id=str(number), user=user)
        return number, False

    def _alert(self, arguments: dict[str, Any]) -> Alert:
        return self._alerts.meant(_text(arguments, "id"))

    def _mark(self, alert: Alert, kind: MarkKind, user: int, reason: str, until_ns: int | None = None) -> AlertMark:
        who = user_name(user)
        mark = AlertMark(alert.id, kind, alert.episode, who, self._now_ns(), reason, until_ns)
        marks.put(self._database, mark)
        if kind is MarkKind.SHELVE:
            log.info("alert shelved", alert=alert.id, user=user)
        else:
            log.info("alert acknowledged", alert=alert.id, user=user)
        return mark

    def _until_ns(self, arguments: dict[str, Any]) -> int:
        until_ns, now_ns = arguments.get("until_ns"), self._now_ns()
        if not isinstance(until_ns, int) or isinstance(until_ns, bool):
            raise RequestError("the end is missing")
        if not now_ns < until_ns <= now_ns + MAX_AHEAD_S * NS_PER_S:
            raise RequestError("the end must lie ahead, by ten years at most")
        return until_ns


def user_name(user: int) -> str:
    """The name of a user of this machine; ``uid 1000`` where it has none."""
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"uid {user}"


def _answer(mark: AlertMark) -> dict[str, Any]:
    return asdict(mark) | {"kind": mark.kind.value}


def _text(arguments: dict[str, Any], name: str, *, needed: bool = True) -> str:
    value = arguments.get(name, "")
    if not isinstance(value, str) or len(value) > MAX_REASON_CHARACTERS or not value.isprintable():
        raise RequestError(f"{name} must be one line of at most {MAX_REASON_CHARACTERS} characters")
    if needed and not value.strip():
        raise RequestError(f"{name} is missing")
    return value


def _number(arguments: dict[str, Any]) -> int:
    number = arguments.get("number")
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < 2**63:
        raise RequestError("number must be a whole number")
    return number
