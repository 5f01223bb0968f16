"""
Files for the programs that receive our notifications: what they must know to name, raise, update and clear our alarms.

The files of the default root stand in ``packaging/integrations``, made by this code (``make integrations``). Of each
tool the folder ``templates`` holds the texts; the module of its name fills them from the MIB's names and numbers.
"""

from collections.abc import Callable

from collectord.outputs.receivers import icinga, librenms, opennms, snmptrapd, snmptt, zabbix
from collectord.outputs.receivers.facts import Facts, Target

__all__ = ["TOOLS", "WITH_USERS", "Facts", "Target", "files"]

TOOLS: dict[str, Callable[[Facts], dict[str, str]]] = {
    "snmptrapd": snmptrapd.files,
    "snmptt": snmptt.files,
    "zabbix": zabbix.files,
    "librenms": librenms.files,
    "icinga": icinga.files,
    "opennms": opennms.files,
}

WITH_USERS = frozenset({"snmptrapd", "librenms"})
"""Tools whose files hold communities, users and the engine ID; the others come after a snmptrapd or have a place."""


def files(tool: str, facts: Facts) -> dict[str, str]:
    """
    Content by file name, the tool's main file first, its README.md last.

    Raises:
        KeyError: the tool is not one of ``TOOLS``.
    """
    return TOOLS[tool](facts)
