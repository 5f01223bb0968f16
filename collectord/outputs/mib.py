"""COLLECTORD-MIB as text: for the site's own enterprise number, and for receivers that have no IETF modules."""

import re
from importlib.resources import files

DEFAULT_ROOT = "1.3.6.1.4.1.32473.1"
"""32473 is the enterprise number for documentation (RFC 5612)."""

_ENTERPRISES = (1, 3, 6, 1, 4, 1)
_SUBIDENTIFIER_MAX = 2**32 - 1  # RFC 2578 section 3.5
_ARCS_MAX = 12  # Keeps a notification with its 17 objects inside one datagram; above any registration that we know.

_IMPORTS = re.compile(r"^IMPORTS\b.*?;\n\n", re.DOTALL | re.MULTILINE)
_COLLECTORD_OID = "::= { collectordEnterprise 1 }"
_ENTERPRISE_NODE = "collectordEnterprise    OBJECT IDENTIFIER ::= { enterprises 32473 }\n\n"

# The labelled form defines the nodes on its way, so net-snmp needs no SNMPv2-SMI; the macros are words of its parser.
# What we send of other modules gets its names too, as it is below such a node.
_INTERNET = "iso org(3) dod(6) internet(1)"
_ENTERPRISES_STANDALONE = f"{_INTERNET} private(4) enterprises(1)"
_STANDALONE_NODES = (
    f"sysUpTime   OBJECT IDENTIFIER ::= {{ {_INTERNET} mgmt(2) mib-2(1) system(1) 3 }}\n"
    "snmpTrapOID OBJECT IDENTIFIER ::=\n"
    f"    {{ {_INTERNET} snmpV2(6) snmpModules(3) snmpMIB(1) snmpMIBObjects(1) snmpTrap(4) 1 }}\n"
    "coldStart   OBJECT IDENTIFIER ::=\n"
    f"    {{ {_INTERNET} snmpV2(6) snmpModules(3) snmpMIB(1) snmpMIBObjects(1) snmpTraps(5) 1 }}\n"
    "snmpTrapAddress OBJECT IDENTIFIER ::=\n"
    f"    {{ {_INTERNET} snmpV2(6) snmpModules(3) snmpCommunityMIB(18) snmpCommunityMIBObjects(1) 3 }}\n\n"
)


def arcs(root: str) -> tuple[int, ...]:
    """
    The numbers of a root OID in dotted form.

    Raises:
        ValueError: it is not a dotted OID below ``1.3.6.1.4.1``, or longer than 12 numbers.
    """
    if not re.fullmatch(r"[0-9]{1,10}(\.[0-9]{1,10})*", root):
        raise ValueError(f"root {root!r} is not an OID in dotted form, such as {DEFAULT_ROOT}")
    numbers = tuple(int(number) for number in root.split("."))
    if numbers[: len(_ENTERPRISES)] != _ENTERPRISES or len(numbers) == len(_ENTERPRISES):
        raise ValueError(f"root {root} is not below 1.3.6.1.4.1, where enterprises register")
    if max(numbers) > _SUBIDENTIFIER_MAX or len(numbers) > _ARCS_MAX:
        raise ValueError(f"root {root} has a number over {_SUBIDENTIFIER_MAX} or more than {_ARCS_MAX} numbers")
    return numbers


def text(root: str = DEFAULT_ROOT, standalone: bool = False) -> str:
    """
    The module's source.

    Args:
        root: OID of ``collectord``, below ``1.3.6.1.4.1``; notifications are ``root.0.n``, objects ``root.1.n``.
        standalone: True leaves out the imports and gives the way from ``iso`` down, so that net-snmp resolves the
            module with nothing else (Debian ships no IETF modules). Strict compilers want the module with imports.

    Raises:
        ValueError: as for ``arcs``.
    """
    own = arcs(root)[len(_ENTERPRISES) :]
    module = files("collectord").joinpath("mibs/COLLECTORD-MIB.txt").read_text(encoding="ascii")
    # A node with a name for each number, as strict compilers warn of numbers that skip one.
    names = ["collectordEnterprise", *(f"collectordBranch{n}" for n in range(2, len(own)))][: len(own) - 1]
    parents = [_ENTERPRISES_STANDALONE if standalone else "enterprises", *names]
    nodes = [
        f"{name:<23} OBJECT IDENTIFIER ::= {{ {parent} {number} }}\n"
        for name, parent, number in zip(names, parents, own, strict=False)
    ]
    module = _replaced(module, _COLLECTORD_OID, f"::= {{ {parents[-1]} {own[-1]} }}")
    if nodes:
        nodes.append("\n")
    if standalone:
        nodes.append(_STANDALONE_NODES)
    module = _replaced(module, _ENTERPRISE_NODE, "".join(nodes))
    return _IMPORTS.sub("", module, count=1) if standalone else module


def _replaced(module: str, old: str, new: str) -> str:
    """``module`` with ``old``, which it holds exactly once, replaced."""
    if module.count(old) != 1:
        raise AssertionError(f"COLLECTORD-MIB does not hold {old!r} exactly once")
    return module.replace(old, new)
