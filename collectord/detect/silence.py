"""
Devices that stopped sending.

Sightings and the time go in, windows for the rules of type ``silence`` come out. A device is given the larger of the
rule's ``after`` and ``factor`` times its longest pause of the last seven days. When all devices of a site, or all
behind a relay, are silent, that is one alert: what failed is the way to them. Each sent its last message at another
time, so whoever is silent first waits for the others as long as none of them sends.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network

from collectord.detect.rules import Known, Rule
from collectord.model import NS_PER_S, DevicePauses, Window, WindowKey

GAP_DAYS = 7

DAY_NS = 86_400 * NS_PER_S

MAX_WATCHED = 16_384
"""As many devices as the engine tells apart."""

GIVES_WAY_AFTER_NS = 3_600 * NS_PER_S
"""Silence after which a device that is not listed, and was seen for less than a day, gives way to a new one."""

ROOM_EVERY_NS = 60 * NS_PER_S
"""Between two searches for room: not with each name of a flood."""

MIN_TOGETHER = 2
"""Devices that make a group; one alone speaks for itself."""

TOGETHER_WITHIN_S = 300
"""
How much earlier than the others a device may fall silent and still be one of them. Whoever is given 15 minutes pauses
for a third of it at most, so that is how far apart their last messages may lie; a third, too, where less is given.
"""


@dataclass(slots=True)
class _Watched:
    """A device, and its longest pause of each of the last days."""

    peer: str
    first_seen_ns: int
    last_seen_ns: int
    listed: bool
    unheard: bool = False
    """Nothing came from it since the start, or since the clock was set."""
    gaps: dict[int, int] = field(default_factory=dict)
    """Longest pause (ns) by day since the epoch."""


class Silences:
    """
    The devices that are watched.

    Args:
        listed: Site (None: any) and name or address of the devices that the configuration lists.
        relays: Networks of the relays.
        started_ns: Since when this run listens; before that nobody could be heard.
    """

    def __init__(self, listed: Iterable[tuple[str | None, str]], relays: Sequence[str], started_ns: int) -> None:
        self._listed: set[tuple[str | None, str]] = set()
        self._started_ns = started_ns
        self._devices: dict[tuple[str, str], _Watched] = {}
        self._changed: set[tuple[str, str]] = set()
        self._made_room_ns = -ROOM_EVERY_NS
        self._watched: dict[tuple[str, str], set[tuple[str, str]]] = {}
        self.take_up(listed, relays, started_ns)

    def take_up(self, listed: Iterable[tuple[str | None, str]], relays: Sequence[str], now_ns: int) -> None:
        """
        Another list, and other relays, from now on; what was seen of devices stays.

        A device that is new on the list and was never seen is missed from ``now_ns`` on.
        """
        before, self._listed = self._listed, {(site, name.casefold()) for site, name in listed}
        self._relays = [ip_network(network) for network in relays]
        for (site, name), device in list(self._devices.items()):
            device.listed = self._is_listed(site, name, device.peer)
            if not device.listed and not device.last_seen_ns:
                del self._devices[site, name]
        heard: set[tuple[str | None, str]] = set()
        for (place, name), device in self._devices.items():
            heard.update((where, each.casefold()) for where in (place, None) for each in (name, device.peer))
        for where, name in sorted(self._listed - before - heard, key=lambda device: device[1]):
            # Until it sends something, it goes by what the configuration calls it.
            self._devices[where or "", name] = _Watched("", now_ns, 0, listed=True, unheard=True)

    def restore(
        self, site: str, name: str, peer: str, first_seen_ns: int, last_seen_ns: int, gaps: Mapping[int, int]
    ) -> None:
        """Takes up a device that an earlier run saw; one that was gone for a week before the start is given up."""
        watched = self._place(site, name, peer, first_seen_ns, last_seen_ns)
        watched.gaps.update(gaps)
        watched.unheard = True
        if not watched.listed and self._started_ns - last_seen_ns > GAP_DAYS * DAY_NS:
            del self._devices[site, name]

    def restart(self, now_ns: int) -> None:
        """The wall clock was stepped and shows this now: what it showed before tells no silence from a step."""
        self._started_ns = now_ns
        for device in self._devices.values():
            device.last_seen_ns = min(device.last_seen_ns, now_ns)
            device.first_seen_ns = min(device.first_seen_ns, now_ns)
            device.unheard = True

    def seen(self, site: str, name: str, peer: str, at_ns: int) -> None:
        """Notes that a device sent something."""
        watched = self._devices.get((site, name))
        if watched is None:
            if len(self._devices) >= MAX_WATCHED and not self._is_listed(site, name, peer):
                self._make_room(at_ns)
                if len(self._devices) >= MAX_WATCHED:
                    return
            watched = self._place(site, name, peer, at_ns, at_ns)
        watched.peer = peer or watched.peer
        watched.unheard = False
        # A pause that this run did not hear from its beginning to its end may have been ours.
        gap_ns = at_ns - max(watched.last_seen_ns, self._started_ns)
        if watched.last_seen_ns and gap_ns > 0:
            self._note_gap(site, name, watched, at_ns // DAY_NS, gap_ns)
        watched.last_seen_ns = max(watched.last_seen_ns, at_ns)

    def address(self, site: str, name: str) -> str:
        """Where a device sends from; empty where that is not known, or a relay's."""
        watched = self._devices.get((site, name))
        return "" if watched is None or self._is_relay(watched.peer) else watched.peer

    def known(self, site: str, name: str) -> Known:
        """What the last window knew of this device, or of what a group of them is called together."""
        members = self._watched.get((site, name))
        if members is None:
            return Known.NO_MORE
        devices = (self._devices.get(each) for each in members)
        return Known.NOT_YET if all(device is None or device.unheard for device in devices) else Known.YES

    def changed(self) -> list[DevicePauses]:
        """What is to be stored since the last call."""
        told = [DevicePauses(site, name, dict(self._devices[site, name].gaps)) for site, name in sorted(self._changed)]
        self._changed.clear()
        return told

    def window(self, rule: Rule, now_ns: int) -> Window:
        """How the devices stand: those that are silent for longer than the clear level of the rule."""
        return Window(
            rule=rule.name,
            start_ns=now_ns - rule.timespan_s * NS_PER_S,
            end_ns=now_ns,
            closed=False,
            keys=tuple(self._keys(rule, now_ns)),
        )

    def _keys(self, rule: Rule, now_ns: int) -> Iterator[WindowKey]:
        silent: dict[tuple[str, str], WindowKey] = {}
        soon: set[tuple[str, str]] = set()
        watched = {place: device for place, device in self._devices.items() if _is_watched(rule, device)}
        for (site, name), device in watched.items():
            silence_s, limit_s, longest_s = self._silence(rule, device, now_ns)
            if silence_s + min(TOGETHER_WITHIN_S, limit_s // 3) >= limit_s:
                soon.add((site, name))
            if silence_s > rule.clear_level(limit_s):
                seen_ns, peer = device.last_seen_ns, device.peer
                details = {"last_seen_ns": seen_ns, "longest_pause_s": longest_s, "peer": peer}
                silent[site, name] = WindowKey(site, (name,), silence_s, 0, limit_s, details)
        groups = self._groups(watched)
        self._watched = groups | {place: {place} for place in watched}
        together: set[tuple[str, str]] = set()
        waiting: set[tuple[str, str]] = set()
        for (site, label), members in groups.items():
            if len(members) < MIN_TOGETHER or not members <= soon or members <= together:
                continue
            if not members <= silent.keys():
                waiting |= members
                continue
            together |= members
            keys = [silent[member] for member in members]
            newest = min(keys, key=lambda key: key.count)
            names = sorted(name for _, name in members)[:10]
            details = {"devices": names, "number_of_devices": len(members)}
            yield WindowKey(site, (label,), newest.count, 0, newest.threshold, details)
        for member, key in silent.items():
            # What was told of a member by itself stays, so that no clear says that it is back.
            yield (
                key
                if member not in together | waiting
                else WindowKey(key.site, key.key, key.count, 0, key.threshold, key.details, keeps_only=True)
            )

    def _groups(self, watched: Mapping[tuple[str, str], _Watched]) -> dict[tuple[str, str], set[tuple[str, str]]]:
        """The devices of each site, and of each relay, by (site, what they are called together); the largest first."""
        groups: dict[tuple[str, str], set[tuple[str, str]]] = {}
        behind: dict[str, set[tuple[str, str]]] = {}
        for (site, name), device in watched.items():
            of_site = f"every device of site {site}" if site else "every device"
            groups.setdefault((site, of_site), set()).add((site, name))
            if self._is_relay(device.peer):
                behind.setdefault(device.peer, set()).add((site, name))
        for relay, members in behind.items():
            # A relay of several sites is of none of them, and one alert all the same.
            sites = {site for site, _ in members}
            groups[sites.pop() if len(sites) == 1 else "", f"every device behind {relay}"] = members
        return dict(sorted(groups.items(), key=lambda item: -len(item[1])))

    def _is_relay(self, peer: str) -> bool:
        return bool(peer and self._relays) and any(ip_address(peer) in network for network in self._relays)

    def _silence(self, rule: Rule, device: _Watched, now_ns: int) -> tuple[int, int, int]:
        """For how long a device is silent, how long it may be, and its longest pause of the last days, in seconds."""
        quiet = rule.silence
        silence_ns = now_ns - max(device.last_seen_ns or device.first_seen_ns, self._started_ns)
        today = now_ns // DAY_NS
        longest_ns = max((gap for day, gap in device.gaps.items() if day > today - GAP_DAYS), default=0)
        limit_s = max(quiet.after_s, int(quiet.factor * longest_ns) // NS_PER_S) if quiet else 0
        return silence_ns // NS_PER_S, limit_s, longest_ns // NS_PER_S

    def _make_room(self, now_ns: int) -> None:
        """Gives up who is not listed and long gone: names may be forged, and new devices come."""
        if abs(now_ns - self._made_room_ns) < ROOM_EVERY_NS:
            return
        self._made_room_ns = now_ns
        for place, device in list(self._devices.items()):
            passing = device.last_seen_ns - device.first_seen_ns < DAY_NS
            kept_ns = GIVES_WAY_AFTER_NS if passing else GAP_DAYS * DAY_NS
            if not device.listed and now_ns - device.last_seen_ns > kept_ns:
                del self._devices[place]
                self._changed.discard(place)

    def _place(self, site: str, name: str, peer: str, first_seen_ns: int, last_seen_ns: int) -> _Watched:
        for each in {name.casefold(), peer.casefold()}:
            # From now on it goes by the name that its messages give it.
            for place in {site, ""}:
                placeholder = self._devices.get((place, each))
                if placeholder is not None and not placeholder.last_seen_ns:
                    del self._devices[place, each]
        watched = self._devices[site, name] = _Watched(
            peer, first_seen_ns, last_seen_ns, self._is_listed(site, name, peer)
        )
        return watched

    def _is_listed(self, site: str, name: str, peer: str) -> bool:
        names = {name.casefold(), peer.casefold()}
        return any((place, each) in self._listed for place in (site, None) for each in names)

    def _note_gap(self, site: str, name: str, watched: _Watched, day: int, gap_ns: int) -> None:
        if gap_ns <= watched.gaps.get(day, 0):
            return
        watched.gaps[day] = gap_ns
        for old in [each for each in watched.gaps if each <= day - GAP_DAYS]:
            del watched.gaps[old]
        self._changed.add((site, name))


def _is_watched(rule: Rule, device: _Watched) -> bool:
    known_ns = device.last_seen_ns - device.first_seen_ns
    return device.listed or (rule.silence is not None and known_ns >= rule.silence.seen_for_s * NS_PER_S)
