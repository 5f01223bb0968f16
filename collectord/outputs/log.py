"""Alerts to the daemon's own log, for installations that have no other output."""

from collectord import log as logs
from collectord.model import Alert, AlertState, Severity
from collectord.outputs.alarm import key_text
from collectord.texts import line

log = logs.get()


class LogOutput:
    """One log line per alert; the level follows the severity, a clear is info."""

    def __init__(self, *, name: str = "log") -> None:
        self.name = name

    def wants(self, alert: Alert) -> bool:
        """Every alert."""
        return True

    async def start(self) -> None:
        """Nothing to get ready."""

    async def send(self, alert: Alert, sequence: int) -> None:
        """Write the line; can't fail."""
        # Looked up now: a method that is kept from before the log's setup would keep its old settings.
        if alert.state is AlertState.CLEARED or alert.severity is Severity.INFORMATIONAL:
            write = log.info
        elif alert.severity is Severity.HIGH:
            write = log.error
        else:
            write = log.warning
        write(
            f"alert {alert.state.value}",
            alert=alert.id,
            rule=alert.rule,
            severity=alert.severity.value,
            site=line(alert.site),
            key=line(key_text(alert)),
            count=alert.count,
            summary=line(alert.summary),
        )

    async def close(self) -> None:
        """Nothing to let go of."""
