"""Names that addresses of alerts have."""

from collections.abc import Callable
from dataclasses import replace

from collectord.model import Alert, AlertState
from collectord.store import names
from collectord.store.alerts import Alerts
from collectord.store.db import Database

ID, OTHER = "00000000000000aa", "00000000000000bb"
A, B = "192.0.2.1", "192.0.2.2"


def test_of_one_episode(database: Database, make_alert: Callable[..., Alert]) -> None:
    """A later name takes the place of the earlier; an address may belong to somebody else when it comes again."""
    first = make_alert(ID)
    Alerts(database).record([first], [()])
    names.keep(database, ID, 1, {A: "a.example", B: "b.example"})
    names.keep(database, ID, 1, {A: "c.example"})
    assert names.of(database, [first, make_alert(OTHER)]) == {ID: {A: "c.example", B: "b.example"}}

    second = replace(first, episode=2)
    assert names.of(database, [second]) == {}
    names.keep(database, ID, 2, {A: "d.example"})
    assert names.of(database, [second]) == {ID: {A: "d.example"}}


def test_they_go_with_their_alert(database: Database, make_alert: Callable[..., Alert]) -> None:
    """And do not come after it is gone."""
    Alerts(database).record([make_alert(ID, "cleared", state=AlertState.CLEARED)], [()])
    names.keep(database, ID, 1, {A: "a.example"})
    Alerts(database).expire(10**18)
    names.keep(database, ID, 1, {B: "b.example"})

    assert names.of(database, [make_alert(ID)]) == {}
