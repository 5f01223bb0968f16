"""net-snmp's snmptrapd: who may send to it, and what it does with a notification."""

from collectord.outputs.receivers.facts import (
    PLACE_FOR_AUTH,
    PLACE_FOR_COMMUNITY,
    PLACE_FOR_ENGINE_ID,
    PLACE_FOR_PRIV,
    Facts,
    Target,
    filled,
)

USUAL_PORT = 162

# net-snmp calls AES-128 just AES; every other name is the same in both.
_PRIV_NAMES = {"AES-128": "AES"}


def files(facts: Facts) -> dict[str, str]:
    """``snmptrapd.conf`` and how to install it."""
    return {
        "snmptrapd.conf": filled(
            "snmptrapd", "snmptrapd.conf", root=facts.root, senders="\n".join(senders(facts)) + "\n"
        ),
        "README.md": filled("snmptrapd", "README.md", root=facts.root),
    }


def senders(facts: Facts) -> list[str]:
    """
    The lines that let the collector's notifications in, an output after the other.

    A trap's authority is its sender, so the receiver must know our engine ID; an inform's is the receiver itself
    (RFC 3414 section 1.5.1), and a user made for our engine ID would not fit.
    """
    lines: list[str] = []
    for target in facts.targets:
        lines += ["", f"# Output {target.name}: {_described(target)}"]
        if target.port != USUAL_PORT:
            at = f"udp:{target.port}"
            lines.append(
                f"# It sends to port {target.port}: end snmptrapd's command line with {at}, or take the # away:"
            )
            lines.append(f"#snmpTrapdAddr {at}")
        if target.version == "3":
            lines += _user(target, facts.engine_id)
        else:
            if target.community is None:
                lines.append("# Write your community below; it stands in the collector's configuration.")
            lines.append(f"authCommunity log,execute,net {_quoted(target.community or PLACE_FOR_COMMUNITY)}")
    return lines[1:]


def _described(target: Target) -> str:
    kind = "informs" if target.inform else "traps"
    return f"SNMPv{target.version} {kind}" + (", in the name of the device" if target.report_as == "device" else "")


def _user(target: Target, engine_id: bytes | None) -> list[str]:
    words = ["createUser"]
    if not target.inform:
        words += ["-e", f"0x{engine_id.hex()}" if engine_id else PLACE_FOR_ENGINE_ID]
    words += [_quoted(target.user), target.auth, _quoted(target.auth_password or PLACE_FOR_AUTH)]
    if target.priv:
        words += [_PRIV_NAMES.get(target.priv, target.priv), _quoted(target.priv_password or PLACE_FOR_PRIV)]
    lines = []
    if target.auth_password is None:
        lines.append("# Write your passwords below; they stand in the files that the collector's configuration names.")
    lines.append(" ".join(words))
    level = "priv" if target.priv else "auth"
    return [*lines, f"authUser log,execute,net {_quoted(target.user)} {level}"]


def _quoted(word: str) -> str:
    """A word as net-snmp's configuration reader takes it: bare where nothing in it could end it."""
    if word and all(c.isascii() and (c.isalnum() or c in "-_.:@/+") for c in word):
        return word
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'
