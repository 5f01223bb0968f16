"""A compiled engine that panics, as the daemon sees it; that it ends no process is shown by the Rust tests."""

from collections.abc import Callable
from typing import Any

import pytest

from collectord import _engine, plan
from collectord import engine as module
from collectord.engine import Engine
from collectord.errors import EngineError


class Broken:
    """Whatever is asked of it."""

    def __init__(self, *_: object) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: object) -> Any:
            raise _engine.EngineError("the engine panicked: a bug", *([3] if name == "feed" else []))

        return call


CALLS: dict[str, Callable[[Engine], object]] = {
    "receive": lambda engine: engine.receive(0, 0, 1, 1, []),
    "lines": lambda engine: engine.lines(0, "", b"x", 1),
    "stretches": lambda engine: engine.stretches("", b"x", 1, None),
    "connect": lambda engine: engine.connect(0, "192.0.2.1"),
    "feed": lambda engine: engine.feed(0, bytearray(1), 1, 1),
    "disconnect": lambda engine: engine.disconnect(0, 1),
    "changes": lambda engine: engine.changes(1),
    "ack": lambda engine: engine.ack(1),
    "restore": lambda engine: engine.restore("c", [(1,)]),
    "restart_windows": lambda engine: engine.restart_windows(1),
    "parse": lambda engine: engine.parse(b"x"),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_panic_is_an_ordinary_error(monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    setup = plan.load(None)
    monkeypatch.setattr(module._engine, "Engine", Broken)
    with pytest.raises(EngineError, match=r"^the engine panicked: a bug$") as caught:
        CALLS[call](setup.engine())
    assert caught.value.messages == (3 if call == "feed" else 0)


def test_a_row_that_panics() -> None:
    class Rows(list[Any]):
        def __iter__(self) -> Any:
            yield 1
            raise _engine.EngineError("a bug")

        def __getitem__(self, place: Any) -> Any:
            raise _engine.EngineError("a bug")

    rows: module._Lazy[Any] = module._Lazy(Rows([1, 2]))
    with pytest.raises(EngineError, match="a bug"):
        list(rows)
    with pytest.raises(EngineError, match="a bug"):
        rows[0]
