"""What several unit tests stand on."""

from collections.abc import Iterator
from typing import Any

import pytest

from collectord.inputs.stream import TcpListener
from collectord.inputs.udp import UdpListener


@pytest.fixture
def listeners() -> Iterator[list[UdpListener | TcpListener]]:
    """One of each kind, bound."""
    common: dict[str, Any] = {"host": "127.0.0.1", "port": 0, "engine": None, "now_ns": lambda: 0}
    listeners: list[UdpListener | TcpListener] = [
        UdpListener(number=0, name="udp", receive_buffer_bytes=65536, **common),
        TcpListener(number=1, name="tcp", connections=5, idle_s=60, allow=(), **common),
    ]
    for listener in listeners:
        listener.bind()
    yield listeners
    for listener in listeners:
        listener.close()
