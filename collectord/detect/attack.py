"""Names of MITRE ATT&CK tactics (attack.mitre.org, matrices Enterprise and ICS) as rules and watchlists use them."""

TACTICS = (
    "Reconnaissance",
    "ResourceDevelopment",
    "InitialAccess",
    "Execution",
    "Persistence",
    "PrivilegeEscalation",
    "DefenseEvasion",
    "CredentialAccess",
    "Discovery",
    "LateralMovement",
    "Collection",
    "CommandAndControl",
    "Exfiltration",
    "Impact",
    "ImpairProcessControl",
    "InhibitResponseFunction",
)

_BY_FOLDED_NAME = {name.casefold(): name for name in TACTICS}


def tactic(text: str) -> str | None:
    """The tactic that a text names, spaces and case ignored (``Lateral Movement``); None if it names none."""
    return _BY_FOLDED_NAME.get("".join(text.split()).casefold())


def is_technique(text: str) -> bool:
    """True for the id of a technique (``T1499``) or sub-technique (``T1021.001``)."""
    technique, dot, sub = text.partition(".")
    is_sub = not dot or (len(sub) == 3 and sub.isdigit())
    return text.isascii() and len(technique) == 5 and technique[0] == "T" and technique[1:].isdigit() and is_sub
