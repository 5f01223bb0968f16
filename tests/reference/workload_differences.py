"""
Why a pass of the benchmark's workload counts otherwise here than its expectation says.

The expectation speaks the vendors' words: each record is one of a port, a protocol and the word for what happened, and
a record has failed when the generator meant it to fail. Ours are ASIM's words and tables. Everything in which the two
differ is listed with the reason, and what has no reason is a mistake in one of them.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

ACTIONS = {
    "accept": "Allow",
    "allow": "Allow",
    "built": "Allow",
    "permitted": "Allow",
    "deny": "Deny",
    "denied": "Deny",
    "reject": "Deny",
    "drop": "Drop",
    "reset-both": "Reset",
    "server-rst": "Reset Destination",
    # These tell how a session ended, not what the device did.
    "close": "",
    "timeout": "",
    "teardown": "",
}
"""The workload's word -> DvcAction."""

MEANT_TO_FAIL = frozenset({"deny", "denied", "drop", "reject", "reset-both", "timeout"})
"""Words of records that the generator counts as failed; a teardown only with the reason SYN Timeout."""

SERVER_RESET = "server-rst: the server reset the session, a failure by the table of the vendor"
TCP_RESET = "TCP Reset-I: the inside reset the session, a failure by the table of the vendor"
WORKED = "a teardown that is no failure does not count, its session has counted when it was built"


@dataclass(frozen=True, slots=True)
class Difference:
    """One number in which we and the expectation differ."""

    what: str
    """``failures``, ``failing sources``, ``failures of ADDRESS`` or ``volume of PORT/PROTOCOL/ACTION``..."""
    expected: int
    ours: int
    reasons: tuple[tuple[str, int], ...]
    """(reason, by how much it alone makes ours differ)."""

    @property
    def explained(self) -> bool:
        """Whether the reasons add up to the difference."""
        return sum(amount for _, amount in self.reasons) == self.ours - self.expected


@dataclass(slots=True)
class _Pass:
    """One pass of the workload: what the generator meant, and by which reason we read it otherwise."""

    records: Counter[str]
    """``PORT/PROTOCOL/WORD`` -> records."""
    meant: Counter[str]
    """Source -> records meant to fail."""
    added: Counter[tuple[str, str]]
    """(source, reason) -> failures that only we count."""
    left_out: Counter[str]
    """``PORT/PROTOCOL/WORD`` -> records that do not count here."""
    unread: int = 0


def differences(
    lines: Iterable[bytes],
    expected: Mapping[str, Any],
    read: Callable[[bytes], Any],
    failures: Mapping[tuple[str], int],
    volume: Mapping[tuple[int, str, str, str], int],
) -> list[Difference]:
    """
    Every number in which a pass differs from the expectation, or should differ and does not.

    Args:
        lines: The workload.
        expected: Its expectation, as the generator wrote it.
        read: Reads one message, as ``reader.read`` does.
        failures, volume: What was counted over one pass, by whomever; keyed as ``reader.count`` returns them.
    """
    seen = _pass(lines, read)
    found = [Difference("messages not read", 0, seen.unread, ())]
    found += _of_records(seen, expected)
    found += _of_failures(seen, expected, failures)
    found += _of_volume(seen, expected, volume)
    return [difference for difference in found if difference.expected != difference.ours or not difference.explained]


def _pass(lines: Iterable[bytes], read: Callable[[bytes], Any]) -> _Pass:
    """Read the workload once, in the generator's words."""
    seen = _Pass(Counter(), Counter(), Counter(), Counter())
    for line in lines:
        session = read(line)
        if session is None:
            seen.unread += 1
            continue
        word = session.DvcOriginalAction.lower()
        key = f"{session.DstPortNumber}/{session.NetworkProtocol.lower()}/{word}"
        seen.records[key] += 1
        if word in MEANT_TO_FAIL or session.EventOriginalResultDetails == "SYN Timeout":
            seen.meant[session.SrcIpAddr] += 1
        elif word == "server-rst":
            seen.added[session.SrcIpAddr, SERVER_RESET] += 1
        elif session.EventOriginalResultDetails == "TCP Reset-I":
            seen.added[session.SrcIpAddr, TCP_RESET] += 1
        if word == "teardown" and session.EventOriginalResultDetails not in ("SYN Timeout", "TCP Reset-I"):
            seen.left_out[key] += 1
    return seen


def _of_records(seen: _Pass, expected: Mapping[str, Any]) -> list[Difference]:
    """Records per port, protocol and word, and meant failures per source: the same by both, without exception."""
    records, sources = expected["by_port_proto_action"], expected["failed_by_src"]
    found = [Difference(f"records of {k}", records.get(k, 0), seen.records[k], ()) for k in {*records, *seen.records}]
    found += [
        Difference(f"meant to fail of {k}", sources.get(k, 0), seen.meant[k], ()) for k in {*sources, *seen.meant}
    ]
    found.append(Difference("meant to fail", expected["failed"], seen.meant.total(), ()))
    return found


def _of_failures(seen: _Pass, expected: Mapping[str, Any], failures: Mapping[tuple[str], int]) -> list[Difference]:
    """Failures in all, the number of sources that have any, and failures per source."""
    sources = expected["failed_by_src"]
    in_all: Counter[str] = Counter()
    new_sources: Counter[str] = Counter()
    for (_, reason), amount in sorted(seen.added.items()):
        in_all[reason] += amount
    for source in sorted({source for source, _ in seen.added} - sources.keys()):
        new_sources[" and ".join(sorted(reason for other, reason in seen.added if other == source))] += 1
    found = [
        Difference("failures", expected["failed"], sum(failures.values()), tuple(sorted(in_all.items()))),
        Difference("failing sources", len(sources), len(failures), tuple(sorted(new_sources.items()))),
    ]
    for source in sorted({*sources, *(key[0] for key in failures)}):
        reasons = tuple((reason, n) for (other, reason), n in sorted(seen.added.items()) if other == source)
        found.append(Difference(f"failures of {source}", sources.get(source, 0), failures.get((source,), 0), reasons))
    return found


def _of_volume(
    seen: _Pass, expected: Mapping[str, Any], volume: Mapping[tuple[int, str, str, str], int]
) -> list[Difference]:
    """Records per port, protocol and action, over all directions, the expectation's words turned into actions."""
    theirs: Counter[str] = Counter()
    ours: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    for key, amount in expected["by_port_proto_action"].items():
        port, protocol, word = key.split("/")
        named = f"{port}/{protocol.upper()}/{ACTIONS[word]}"
        theirs[named] += amount
        left_out[named] += seen.left_out[key]
    for (port, protocol, _, action), amount in volume.items():
        ours[f"{port}/{protocol}/{action}"] += amount
    # A UDP teardown states an action, Allow, but as a success it does not count and so appears nowhere.
    return [
        Difference(f"volume of {k}", theirs[k], ours[k], ((WORKED, -left_out[k]),) if left_out[k] else ())
        for k in sorted({*theirs, *ours})
    ]
