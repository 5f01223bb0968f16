"""
Names of addresses by reverse DNS (PTR), for alerts that were raised; nothing ever waits for them.

The system's resolver is asked, which can be bounded only from outside: its call can't be ended, and takes what
``resolv.conf`` says. So each lookup has a thread that the end of the process does not wait for (those of an executor
are joined at exit), keeps its place for as long as it lives, and is no longer listened to after :data:`TIMEOUT_S`.

An answer is written by whoever owns the address: it is dropped unless it is a host name.
"""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from collectord import log as logs
from collectord.errors import StoreError
from collectord.model import NS_PER_S

log = logs.get()

Resolve = Callable[[str], str]
"""Blocks; the name of an address. Raises OSError where there is none."""

TIMEOUT_S = 3.0
MAX_AT_ONCE = 16
MAX_WAITING = 4_096
"""Alerts whose names wait to be looked up; further ones go without."""

MAX_CACHED = 4_096
KNOWN_FOR_S = 3_600
UNKNOWN_FOR_S = 600

MAX_NAME_CHARACTERS = 253
"""RFC 1035 section 2.3.4: 255 octets on the wire, which are 253 as text."""
MAX_LABEL_CHARACTERS = 63

_LABEL = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")


def system_name(address: str) -> str:
    """What the system calls an address (``nsswitch.conf``: its hosts file, DNS); blocks."""
    return socket.getnameinfo((address, 0), socket.NI_NAMEREQD)[0]


def host_name(answer: str) -> str:
    """
    The host name in an answer, in small letters and without the dot at its end; empty if it is none.

    RFC 1123 section 2.1, with the underscore that real names have. Its last label is no number: what reads like an
    address is none of ours to show beside one.
    """
    # Small letters of other characters may be ASCII (that of the Kelvin sign is k).
    if len(answer) > MAX_NAME_CHARACTERS + 1 or not answer.isascii():
        return ""
    name = answer.removesuffix(".").lower()
    labels = name.split(".")
    if len(name) > MAX_NAME_CHARACTERS or labels[-1].isdigit() or not all(map(_is_label, labels)):
        return ""
    return name


def _is_label(text: str) -> bool:
    return (
        0 < len(text) <= MAX_LABEL_CHARACTERS
        and _LABEL.issuperset(text)
        and not text.startswith("-")
        and not text.endswith("-")
    )


class ReverseDns:
    """
    Looks names up, and remembers them for a time.

    Args:
        resolve: Asks for one name; tests bring their own.
        mono_ns: Monotonic time.
        timeout_s: How long an answer is waited for.
    """

    def __init__(self, resolve: Resolve, *, mono_ns: Callable[[], int], timeout_s: float = TIMEOUT_S) -> None:
        self._resolve = resolve
        self._mono_ns = mono_ns
        self._timeout_s = timeout_s
        self._places = asyncio.Semaphore(MAX_AT_ONCE)
        self._cache: dict[str, tuple[str, int]] = {}

    async def name(self, address: str) -> str:
        """The name of an address; empty if it has none, or nobody tells in time."""
        name, until_ns = self._cache.get(address, ("", 0))
        if self._mono_ns() < until_ns:
            return name
        name = host_name(await self._ask(address))
        self._cache.pop(address, None)
        self._cache[address] = (name, self._mono_ns() + (KNOWN_FOR_S if name else UNKNOWN_FOR_S) * NS_PER_S)
        if len(self._cache) > MAX_CACHED:
            del self._cache[next(iter(self._cache))]
        return name

    async def _ask(self, address: str) -> str:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[str] = loop.create_future()
        await self._places.acquire()

        def take(name: str) -> None:
            self._places.release()
            if not answer.done():
                answer.set_result(name)

        def work() -> None:
            name = ""
            try:
                name = self._resolve(address)
            except (OSError, UnicodeError):
                pass
            finally:
                # The loop may be gone: the daemon has stopped meanwhile.
                with contextlib.suppress(RuntimeError):
                    loop.call_soon_threadsafe(take, name)

        try:
            threading.Thread(target=work, name="reverse-dns", daemon=True).start()
        except RuntimeError:
            # The system gives no more threads.
            self._places.release()
            return ""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await answer
        except TimeoutError:
            return ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """An alert that was raised, and its addresses without a name."""

    alert_id: str
    episode: int
    addresses: tuple[str, ...]


Keep = Callable[[Wanted, Mapping[str, str]], Awaitable[None]]


class Namer:
    """
    Finds the names of raised alerts' addresses. Made on the event loop.

    Args:
        names: Looks them up.
        keep: Stores the names that an alert's addresses have; may raise StoreError.
    """

    def __init__(self, names: ReverseDns, keep: Keep) -> None:
        self._names = names
        self._keep = keep
        self._loop = asyncio.get_running_loop()
        self._waiting: asyncio.Queue[Wanted] = asyncio.Queue(MAX_WAITING)
        self.left_out = 0
        """Alerts that found no place in the queue."""

    def ask(self, wanted: Wanted) -> None:
        """Hands an alert over and returns at once; for any thread."""
        if wanted.addresses:
            self._loop.call_soon_threadsafe(self._put, wanted)

    async def run(self) -> None:
        """Until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(MAX_AT_ONCE):
                group.create_task(self._work())

    def _put(self, wanted: Wanted) -> None:
        try:
            self._waiting.put_nowait(wanted)
        except asyncio.QueueFull:
            self.left_out += 1
            log.warning("alerts go without names: too many wait for DNS", count=self.left_out, limit=MAX_WAITING)

    async def _work(self) -> None:
        while True:
            wanted = await self._waiting.get()
            found = {address: name for address in wanted.addresses if (name := await self._names.name(address))}
            if not found:
                continue
            try:
                await self._keep(wanted, found)
            except StoreError as error:
                log.warning("names of an alert's addresses are not stored", alert=wanted.alert_id, err=str(error))
