"""What would have been sent: the alerts of rules that report, and those held back while the collector learns."""

import json
from dataclasses import dataclass, field

from collectord.model import KeyValue
from collectord.store.db import Database

# What maintenance, the shelf or the storm cap held back is no question of thresholds.
_LEARNED = """
    SELECT rule, site, key, id, severity, sum(event = 'raised'), max(peak), max(threshold),
           min(first_time_ns), max(last_time_ns), max(coalesce(json_extract(details, '$.held'), '')) = 'learning'
    FROM alert_history
    WHERE mode = 'report' AND last_time_ns > ? AND coalesce(json_extract(details, '$.held'), '') IN ('', 'learning')
    GROUP BY id HAVING sum(event = 'raised') > 0
    ORDER BY rule, 6 DESC, 7 DESC, id
    LIMIT ?
"""


@dataclass(frozen=True, slots=True)
class Learned:
    """One key of one rule."""

    rule: str
    site: str
    key: dict[str, KeyValue] = field(hash=False)
    alert_id: str
    severity: str
    raises: int
    """How often it would have been sent."""
    peak: int
    threshold: int
    first_time_ns: int
    last_time_ns: int
    learning: int
    """1: the rule notifies, and learning alone held it back. 0: the rule only reports."""


def learned(database: Database, since_ns: int, limit: int) -> list[Learned]:
    """By rule; of a rule the most frequent first."""
    with database.reading("read what was learned") as connection:
        rows = connection.execute(_LEARNED, (since_ns, limit)).fetchall()
    return [Learned(row[0], row[1], json.loads(row[2]), *row[3:]) for row in rows]
