"""Names that the addresses of alerts had by reverse DNS when the alerts were raised."""

from collections.abc import Iterable, Mapping

from collectord.model import Alert
from collectord.store.db import Database

_KEEP = """
    INSERT OR REPLACE INTO alert_names (alert_id, address, episode, name)
    SELECT :id, :address, :episode, :name WHERE EXISTS (SELECT 1 FROM alerts WHERE id = :id)
"""
_OF = "SELECT address, name FROM alert_names WHERE alert_id = ? AND episode = ?"


def keep(database: Database, alert_id: str, episode: int, names: Mapping[str, str]) -> None:
    """Store the names that an alert's addresses have in this episode; of an alert that is gone nothing is kept."""
    with database.transaction("store the names of addresses") as connection:
        for address, name in names.items():
            connection.execute(_KEEP, {"id": alert_id, "address": address, "episode": episode, "name": name})


def of(database: Database, alerts: Iterable[Alert]) -> dict[str, dict[str, str]]:
    """The names by address, of each alert's present episode; alerts without any are not in it."""
    found: dict[str, dict[str, str]] = {}
    with database.reading("read the names of addresses") as connection:
        for alert in alerts:
            if names := dict(connection.execute(_OF, (alert.id, alert.episode)).fetchall()):
                found[alert.id] = names
    return found
