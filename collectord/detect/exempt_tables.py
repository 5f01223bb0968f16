"""Reads the ``[[exempt]]`` tables of a rule file."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from collectord.detect import where, wording
from collectord.detect.rules import Exempt, names_by
from collectord.fields import RULE_FIELDS
from collectord.model import NS_PER_S
from collectord.toml import KeyPath

MAX_EXEMPTS = 1_000
"""Of one rule: each is held against every session that the rule's counter looks at."""

EXEMPT_NAMES = ("device", "site", "role")
"""What an exempt may speak of beside the fields of a session."""

Wrong = Callable[[KeyPath, str, str], None]


def read(
    tables: Iterable[Mapping[str, Any]], key_fields: Sequence[str], *, counting: bool, wrong: Wrong
) -> tuple[Exempt, ...]:
    """
    The exempts of a rule.

    Args:
        tables: As they stand in the file.
        key_fields: What the key of the rule's alerts consists of.
        counting: Whether the engine counts for the rule, and so can leave sessions out.
        wrong: Takes where something is wrong, the reason, and a hint.
    """
    found = []
    for number, table in enumerate(tables):
        tests = {name: value for name, value in table.items() if name not in ("reason", "until")}
        place: KeyPath = ("exempt", number)
        reason, until = table.get("reason"), table.get("until")
        if (
            not isinstance(reason, str)
            or not 0 < len(reason) <= wording.MAX_TITLE_CHARACTERS
            or not reason.isprintable()
        ):
            longest = f"one line of at most {wording.MAX_TITLE_CHARACTERS} characters"
            wrong((*place, "reason"), "expected a text that says why", longest)
            continue
        if until is not None and not (isinstance(until, datetime) and until.tzinfo is not None):
            wrong((*place, "until"), "expected a time with its zone", "such as 2026-12-31T18:00:00Z")
            continue
        if not tests:
            wrong(place, "exempts everything", 'mode = "off" switches a rule off')
        strange: list[tuple[KeyPath, str]] = []
        where.check(
            tests,
            lambda inner, reason, strange=strange: strange.append((inner, reason)),  # type: ignore[misc]
            also=(*EXEMPT_NAMES, *key_fields),
        )
        for inner, what in strange:
            wrong((*place, *inner), what, "")
        if not strange:
            for name, what, hint in _undecided(tests, key_fields, counting=counting, ends=until is not None):
                wrong((*place, name), what, hint)
        until_ns = None if until is None else int(until.timestamp()) * NS_PER_S
        found.append(Exempt(tests, reason, until_ns))
    return tuple(found)


def _undecided(
    tests: Mapping[str, Any], key_fields: Sequence[str], *, counting: bool, ends: bool
) -> Iterable[tuple[str, str, str]]:
    """
    Tests that nobody could decide: (name, reason, hint).

    What the key of an alert does not say is left to the engine, which knows sessions alone, and no end.
    """
    known = names_by(key_fields)
    unsaid = where.fields(tests) - known
    of_session = {*RULE_FIELDS, *where.FLAGS, "device"}
    hint = f"the alerts of this rule say {', '.join(sorted(known))}"
    for name, value in tests.items():
        missing = ", ".join(sorted(where.fields({name: value}) & unsaid))
        if missing and not counting:
            yield name, f"no alert of this rule says {missing}, so this never fits", hint
        elif missing and ends:
            yield name, f"no alert of this rule says {missing}, so with an end this never fits", f"{hint}; or no until"
        elif not unsaid or name in of_session:
            continue
        elif missing:
            yield name, "a role is that of SrcIpAddr, which no alert of this rule says", hint
        else:
            others = ", ".join(sorted(unsaid))
            yield name, f"no session says this, and no alert of this rule says {others}: both at once never fit", hint
