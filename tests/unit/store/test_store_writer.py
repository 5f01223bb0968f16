"""The writer thread: one, in order, bounded, and nothing that was decided on is dropped."""

import asyncio
import os
import threading

import pytest

from collectord.errors import StoreError
from collectord.store.writer import NICE, Writer


async def test_runs_in_order_on_one_thread() -> None:
    """Results and exceptions come back to the caller."""
    writer = Writer()
    threads: list[int] = []
    order: list[int] = []

    def note(number: int) -> int:
        threads.append(threading.get_ident())
        order.append(number)
        return number * 2

    def fail() -> None:
        raise StoreError("disk full")

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(writer.run(note, number)) for number in range(20)]
    with pytest.raises(StoreError, match="disk full"):
        await writer.run(fail)
    await writer.stop()

    assert list(range(0, 40, 2)) == [task.result() for task in tasks]
    assert list(range(20)) == order
    assert 1 == len(set(threads))
    assert threading.get_ident() not in threads
    assert 21 == writer.completed


async def test_lets_others_go_first() -> None:
    """Its thread alone steps back."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    writer = Writer()
    assert await writer.run(os.getpriority, os.PRIO_PROCESS, 0) == min(before + NICE, 19)
    assert os.getpriority(os.PRIO_PROCESS, 0) == before
    await writer.stop()


async def test_is_bounded() -> None:
    """Callers beyond the bound wait for a place."""
    writer = Writer(waiting_calls=2)
    go_on = threading.Event()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(writer.run(go_on.wait)) for _ in range(5)]
        await asyncio.sleep(0)
        assert 2 == writer.waiting
        go_on.set()

    assert all(task.result() for task in tasks)
    assert 0 == writer.waiting
    await writer.stop()


async def test_cancelled_caller_does_not_cancel_the_write() -> None:
    """What has a place is run, its failure included, and the place is free again."""
    writer = Writer(waiting_calls=2)
    go_on = threading.Event()
    done: list[str] = []

    def write() -> None:
        done.append("written")
        raise StoreError("nobody listens")

    async with asyncio.TaskGroup() as group:
        blocking = group.create_task(writer.run(go_on.wait))
        cancelled = group.create_task(writer.run(write))
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.wait([cancelled])
        assert [] == done
        go_on.set()
        await blocking
    await writer.stop()

    assert ["written"] == done
    assert 2 == writer.completed


async def test_stop_flushes() -> None:
    """Everything that has a place is done when stop returns; later calls are refused; twice is fine."""
    writer = Writer()
    go_on = threading.Event()
    done: list[int] = []

    async with asyncio.TaskGroup() as group:
        for call in (go_on.wait, lambda: done.append(1), lambda: done.append(2)):
            group.create_task(writer.run(call))
        await asyncio.sleep(0)
        stopping = group.create_task(writer.stop())
        await asyncio.sleep(0)
        assert not stopping.done()
        go_on.set()
        await stopping
        assert [1, 2] == done

    with pytest.raises(StoreError, match="the daemon is stopping"):
        await writer.run(done.append, 3)
    await writer.stop()
    assert [1, 2] == done
