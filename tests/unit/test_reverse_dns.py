"""Names by reverse DNS: bounded in time, number and memory; hostile answers; nobody waits."""

import asyncio
import string
import threading
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectord import reverse_dns
from collectord.errors import StoreError
from collectord.model import NS_PER_S
from collectord.reverse_dns import MAX_AT_ONCE, Namer, ReverseDns, Wanted, host_name

A, B = "203.0.113.1", "203.0.113.2"


class Resolver:
    """Knows some names, counts who asks, and answers when it is let."""

    def __init__(self, names: Mapping[str, str] | None = None) -> None:
        self.names = dict(names or {})
        self.asked: list[str] = []
        self.at_once = self.most_at_once = 0
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Semaphore(0)
        self._lock = threading.Lock()

    def __call__(self, address: str) -> str:
        with self._lock:
            self.asked.append(address)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        self.entered.release()
        self.open.wait()
        with self._lock:
            self.at_once -= 1
        if address not in self.names:
            raise OSError("Name or service not known")
        return self.names[address]


class Mono:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = 0

    def __call__(self) -> int:
        return self.now_s * NS_PER_S


@pytest.mark.parametrize(
    ("answer", "want"),
    [
        ("mail.example.net", "mail.example.net"),
        ("Mail.Example.NET.", "mail.example.net"),
        ("host_7.xn--bcher-kva.example", "host_7.xn--bcher-kva.example"),
        ("3com.example", "3com.example"),
        (".".join(["a" * 61] * 4) + ".bcdef", ".".join(["a" * 61] * 4) + ".bcdef"),
        (".".join(["a" * 63] * 4), ""),
        ("a" * 64 + ".example", ""),
        ("a" * 100_000, ""),
        ("", ""),
        (".", ""),
        ("a..example", ""),
        ("-a.example", ""),
        ("a-.example", ""),
        ("a b.example", ""),
        ("a.example\n", ""),
        ("\x1b[2Ja.example", ""),
        ("<b>.example", ""),
        ("bücher.example", ""),
        ("a\u202e.example", ""),
        ("a\udc80.example", ""),
        ("\u0661.example", ""),
        ("\N{KELVIN SIGN}.example", ""),
        ("198.51.100.7", ""),
        ("10", ""),
        ("2001:db8::1", ""),
    ],
)
def test_what_is_a_name(answer: str, want: str) -> None:
    """Anything else is dropped, whole."""
    assert host_name(answer) == want


@given(st.text() | st.text("ab1-_.", max_size=300))
def test_a_name_is_harmless(answer: str) -> None:
    """Whatever comes: nothing, or letters, digits, hyphens, dots and underscores, not too many."""
    name = host_name(answer)

    assert len(name) <= 253
    assert set(name) <= set(string.ascii_lowercase + string.digits + "-._")
    assert name == host_name(name)


def test_an_address_of_ours() -> None:
    """The system is asked; an answer it does not have is an OSError, also for what is no address."""
    for address in ("192.0.2.1.example", "not an address"):
        with pytest.raises(OSError):
            reverse_dns.system_name(address)


async def test_remembered_for_a_time() -> None:
    """A name for an hour, none for ten minutes."""
    resolver, mono = Resolver({A: "a.example"}), Mono()
    names = ReverseDns(resolver, mono_ns=mono)
    for now_s, asked in ((0, [A, B]), (599, []), (600, [B]), (3_599, [B]), (3_600, [A])):
        mono.now_s = now_s
        resolver.asked.clear()
        assert (await names.name(A), await names.name(B)) == ("a.example", "")
        assert resolver.asked == asked


async def test_not_too_many_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest goes."""
    monkeypatch.setattr(reverse_dns, "MAX_CACHED", 2)
    resolver = Resolver()
    names = ReverseDns(resolver, mono_ns=Mono())
    for address in ("192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.2", "192.0.2.1"):
        await names.name(address)
    assert resolver.asked == ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.1"]


async def test_a_resolver_that_does_not_answer() -> None:
    """Is given up, and asked again later; its late answer disturbs nobody."""
    resolver = Resolver({A: "a.example"})
    resolver.open.clear()
    mono = Mono()
    names = ReverseDns(resolver, mono_ns=mono, timeout_s=0.01)

    assert await names.name(A) == ""
    resolver.open.set()
    assert await names.name(A) == ""
    mono.now_s = 600
    names = ReverseDns(resolver, mono_ns=mono)
    assert await names.name(A) == "a.example"


@pytest.mark.parametrize("error", [OSError("no"), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x")])
async def test_a_resolver_that_fails(error: Exception) -> None:
    def resolve(address: str) -> str:
        raise error

    assert await ReverseDns(resolve, mono_ns=Mono()).name(A) == ""


async def test_no_more_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then there is no name, as often as one asks."""

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    names = ReverseDns(Resolver({A: "a.example"}), mono_ns=Mono())
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        for number in range(MAX_AT_ONCE + 1):
            assert await names.name(f"192.0.2.{number}") == ""
    assert await names.name(A) == "a.example"


class Kept:
    """What was stored, and a way to wait for it."""

    def __init__(self, count: int, err: StoreError | None = None) -> None:
        self.found: dict[str, dict[str, str]] = {}
        self.full = asyncio.Event()
        self._count = count
        self._err = err

    async def __call__(self, wanted: Wanted, names: Mapping[str, str]) -> None:
        self.found[wanted.alert_id] = dict(names)
        if len(self.found) == self._count:
            self.full.set()
        if self._err:
            raise self._err


async def serve(namer: Namer, ask: Callable[[], Any], kept: Kept) -> None:
    """The namer runs until all that is expected was stored."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(namer.run())
        await asyncio.to_thread(ask)
        await kept.full.wait()
        task.cancel()


@pytest.mark.parametrize("err", [None, StoreError("disk full")])
async def test_alerts_get_their_names(err: StoreError | None) -> None:
    """From another thread; what has no name is not stored, what can't be stored ends nothing."""
    kept = Kept(2, err)
    namer = Namer(ReverseDns(Resolver({A: "a.example", B: "b.example"}), mono_ns=Mono()), kept)

    def ask() -> None:
        namer.ask(Wanted("none", 1, ()))
        namer.ask(Wanted("unknown", 1, ("192.0.2.9",)))
        namer.ask(Wanted("one", 1, (A, "192.0.2.9")))
        namer.ask(Wanted("two", 1, (A, B)))

    await serve(namer, ask, kept)
    assert kept.found == {"one": {A: "a.example"}, "two": {A: "a.example", B: "b.example"}}


async def test_not_too_many_at_once() -> None:
    """Threads that are given up still have their place; the other addresses wait for one."""
    resolver = Resolver()
    resolver.open.clear()
    names = ReverseDns(resolver, mono_ns=Mono(), timeout_s=0.01)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(names.name(f"192.0.2.{number}")) for number in range(40)]
        assert await asyncio.gather(*tasks[:MAX_AT_ONCE]) == [""] * MAX_AT_ONCE
        assert not any(task.done() for task in tasks[MAX_AT_ONCE:])
        resolver.open.set()
    assert len(resolver.asked) == 40
    assert resolver.most_at_once == MAX_AT_ONCE


async def test_not_too_many_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks never waits; the last ones go without."""
    monkeypatch.setattr(reverse_dns, "MAX_WAITING", 2)
    namer = Namer(ReverseDns(Resolver(), mono_ns=Mono()), Kept(1))
    for number in range(5):
        namer.ask(Wanted(str(number), 1, (A,)))
    await asyncio.sleep(0)
    assert namer.left_out == 3
