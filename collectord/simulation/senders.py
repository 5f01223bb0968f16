"""From simulated firewalls to the daemon, over the sockets that real ones use."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Protocol

import asyncio_dgram

from collectord.clock import Clock
from collectord.model import NS_PER_S
from collectord.simulation.firewalls import FIREWALLS, Firewall, Transport
from collectord.simulation.traffic import Share

TURN_S = 0.05
"""Time between two turns of a firewall: steady traffic, and 20 wake-ups a second."""

MOST_PER_TURN = 40
"""Messages of a firewall in one turn; twice what the attack needs, and far less than a small receive buffer holds."""

SEED = 20_261_122


class _Send(Protocol):
    async def __call__(self, messages: Sequence[bytes]) -> None: ...


class Simulation:
    """
    The firewalls at work.

    Args:
        udp: Address and port of the daemon's UDP listener.
        tcp: Address and port of its TCP listener.
        clock: The devices' time.
        firewalls: Those that share the story.
        seed: Of what the traffic draws by lot.
    """

    def __init__(
        self,
        *,
        udp: tuple[str, int],
        tcp: tuple[str, int],
        clock: Clock,
        firewalls: Sequence[Firewall] = FIREWALLS,
        seed: int = SEED,
    ) -> None:
        self.sent = {firewall.name: 0 for firewall in firewalls}
        """Messages handed to the kernel, by firewall."""
        self._udp = udp
        self._tcp = tcp
        self._clock = clock
        self._firewalls = firewalls
        self._seed = seed

    async def run(self) -> None:
        """
        Tell the story, then go on with ordinary traffic until cancelled; what was begun is still sent.

        Raises:
            OSError: the daemon can't be reached.
        """
        began_s = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as firewalls:
            for number, firewall in enumerate(self._firewalls):
                share = Share(number, len(self._firewalls), self._seed)
                firewalls.create_task(self._log_sessions(firewall, share, began_s))

    async def _log_sessions(self, firewall: Firewall, share: Share, began_s: float) -> None:
        loop = asyncio.get_running_loop()
        number = 0
        async with self._connected(firewall.transport) as send:
            while True:
                moment = datetime.fromtimestamp(self._clock.now_ns() // NS_PER_S, UTC)
                messages = []
                for session in share.until(loop.time() - began_s, MOST_PER_TURN):
                    number += 1
                    messages.append(firewall.message(session, number, moment).encode())
                # Before the wait, which may be cancelled: what was written is sent all the same.
                self.sent[firewall.name] += len(messages)
                await send(messages)
                await asyncio.sleep(TURN_S)

    @contextlib.asynccontextmanager
    async def _connected(self, transport: Transport) -> AsyncIterator[_Send]:
        if transport == "udp":
            socket = await asyncio_dgram.connect(self._udp)

            async def send_datagrams(messages: Sequence[bytes]) -> None:
                for message in messages:
                    await socket.send(message)

            try:
                yield send_datagrams
            finally:
                socket.close()
            return
        _, writer = await asyncio.open_connection(*self._tcp)

        async def send_frames(messages: Sequence[bytes]) -> None:
            writer.write(b"".join(framed(message, transport) for message in messages))
            await writer.drain()

        try:
            yield send_frames
        finally:
            writer.close()
            await writer.wait_closed()


def framed(message: bytes, transport: Transport) -> bytes:
    """A message as it goes onto the wire (RFC 6587 section 3.4: its length before it, or a line end behind it)."""
    if transport == "octet-counting":
        return b"%d %b" % (len(message), message)
    return message + b"\n" if transport == "lf" else message
