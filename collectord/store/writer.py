"""The one thread that writes to the database, for use from the event loop."""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from collectord.errors import StoreError

Result = TypeVar("Result")

WAITING_CALLS = 64
"""Calls that may wait for the thread; further callers wait before they get a place."""

NICE = 10
"""
How far the thread steps back, as nice(2) has it, which on Linux counts for the calling thread alone: messages must not
be lost because a batch is being stored while the processor is short. On two full cores that takes some seconds then.
"""


class Writer:
    """
    Runs calls one after the other, in the order in which they got a place, on one thread.

    A call that has a place is run even if its caller is cancelled meanwhile: a write that was decided on happens.
    """

    def __init__(self, *, waiting_calls: int = WAITING_CALLS) -> None:
        self._executor = ThreadPoolExecutor(
            max_workers=1, thread_name_prefix="store", initializer=os.nice, initargs=(NICE,)
        )
        self._places = asyncio.Semaphore(waiting_calls)
        self._running: set[asyncio.Future[Any]] = set()
        self._stopped = False
        self.completed = 0
        """Calls that have ended; rises as long as the thread makes progress."""

    @property
    def waiting(self) -> int:
        """Calls that have a place and have not ended."""
        return len(self._running)

    async def run(self, call: Callable[..., Result], *args: object) -> Result:
        """
        Runs ``call(*args)`` on the writer thread; returns or raises what it does.

        Raises:
            StoreError: the writer was stopped.
        """
        await self._places.acquire()
        if self._stopped:
            self._places.release()
            raise StoreError("the database is closed: the daemon is stopping")
        return await asyncio.shield(self._start(call, *args))

    async def ask(self, call: Callable[..., Result], *args: object) -> "asyncio.Future[Result] | None":
        """
        Gives ``call(*args)`` a place, without waiting for one or for what the call returns.

        Returns:
            What becomes of it; None: too many calls wait, or the writer was stopped.
        """
        if self._stopped or self._places.locked():
            return None
        await self._places.acquire()
        return self._start(call, *args)

    def _start(self, call: Callable[..., Result], *args: object) -> "asyncio.Future[Result]":
        future = asyncio.get_running_loop().run_in_executor(self._executor, call, *args)
        self._running.add(future)
        future.add_done_callback(self._ended)
        return future

    async def stop(self) -> None:
        """Takes no more calls, waits for those that have a place, and ends the thread; may be called twice."""
        self._stopped = True
        if self._running:
            await asyncio.wait(set(self._running))
        self._executor.shutdown(wait=True)

    def _ended(self, future: asyncio.Future[Any]) -> None:
        self._running.discard(future)
        self._places.release()
        self.completed += 1
        if not future.cancelled():
            # Looked at, so that asyncio does not complain where the caller is gone.
            future.exception()
