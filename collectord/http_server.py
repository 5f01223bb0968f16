"""
A small HTTP server: a few pages that are read, nothing that is written.

Who may connect decides the address that it is bound to, loopback by default. Whoever connects can cost little: few
connections at once, a short time for each, one request on each, small headers, no body. A page is made in a thread of
its own, at most once a second, however often it is asked for.
"""

import asyncio
import socket
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from aiohttp import web

from collectord import log as logs
from collectord.errors import ListenError
from collectord.inputs.sockets import bound_socket

log = logs.get()

CONNECTIONS = 16
"""At the same time: Prometheus pairs, a load balancer's probes and a curious person, each with one or two."""

CONNECTION_S = 10.0
"""From the first packet to the last byte; Prometheus' own limit for a scrape is 10 s (``scrape_timeout``)."""

LINE_BYTES = 2048
"""Of the request line and of each header."""

HEADERS = 32
"""A proxy adds some to the ten that a browser has."""

FRESH_S = 1.0
"""A page is made anew after so long: nothing that it tells changes between two ticks."""

RETRY_S = 10.0
"""A port in use costs nobody his messages: it is tried again."""


@dataclass(frozen=True, slots=True)
class Page:
    """What is answered."""

    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    status: int = 200


Make = Callable[[], Page]
"""Makes a page of what is in memory; runs in a thread, or on the loop where it is quick."""


class HttpServer:
    """
    Serves pages.

    Args:
        host: Address to bind.
        port: Port; 0 takes a free one (``address`` tells which).
        quick: Pages that are made on the loop, by path: what they say depends on it.
        pages: Pages that take a thread a while, by path.
    """

    def __init__(self, host: str, port: int, *, quick: Mapping[str, Make], pages: Mapping[str, Make]) -> None:
        self._host = host
        self._port = port
        self._quick = quick
        self._pages = pages
        self._kept: dict[str, tuple[float, Page]] = {}
        self._making = {path: asyncio.Lock() for path in pages}
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="http")
        self.address: tuple[str, int] | None = None
        """Where it listens; None: not now."""
        self.listening = asyncio.Event()

    async def run(self) -> None:
        """Serve until cancelled."""
        try:
            server = _Bounded(
                self._answer,
                access_log=None,
                max_line_size=LINE_BYTES,
                max_field_size=LINE_BYTES,
                max_headers=HEADERS,
                lingering_time=0,
            )
            with await self._bound() as bound:
                host, port, *_ = bound.getsockname()
                listening = await asyncio.get_running_loop().create_server(server, sock=bound)
                self.address = (host, port)
                self.listening.set()
                log.info("serving metrics", address=f"{host} port {port}")
                try:
                    await listening.serve_forever()
                finally:
                    listening.close()
                    self.address = None
                    server.abort()
        finally:
            self._thread.shutdown(wait=False)

    async def _bound(self) -> socket.socket:
        while True:
            try:
                return bound_socket(self._host, self._port, socket.SOCK_STREAM, "http")
            except ListenError as error:
                log.warning("metrics can't be served", err=str(error))
                await asyncio.sleep(RETRY_S)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path in self._quick:
            page = self._quick[request.path]()
        elif request.path in self._pages:
            page = await self._fresh(request.path)
        else:
            page = Page(f"there are {', '.join([*self._quick, *self._pages])}\n".encode(), status=404)
        if request.method not in ("GET", "HEAD"):
            page = Page(b"read only\n", status=405)
        response = web.Response(
            body=page.body,
            status=page.status,
            headers={
                "Content-Type": page.content_type,
                "Cache-Control": "no-store",
                "X-Content-Type-Options": "nosniff",
            },
        )
        response.force_close()
        return response

    async def _fresh(self, path: str) -> Page:
        loop = asyncio.get_running_loop()
        async with self._making[path]:
            made_s, page = self._kept.get(path, (0.0, None))
            if page is None or loop.time() - made_s >= FRESH_S:
                page = await loop.run_in_executor(self._thread, self._pages[path])
                self._kept[path] = (loop.time(), page)
            return page


class _Bounded(web.Server):
    """aiohttp's server with a bound on connections, and on the life of each: it has none for a slow request."""

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        if len(self.connections) >= CONNECTIONS:
            transport.abort()
        else:
            self._loop.call_later(CONNECTION_S, transport.abort)
        super().connection_made(handler, transport)

    def abort(self) -> None:
        """End every connection at once."""
        for transport in self._connections.values():
            transport.abort()
