"""A real hub and the proxy on a real server, in a thread; and a client that sends what it is told to."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import json
import socket
import sys
import threading
from collections.abc import Coroutine, Generator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self, TypeVar

import uvicorn
from starlette.responses import PlainTextResponse

from hub import AsyncHub, Kind, ModuleInfo
from hub.http import create_app
from hub.http.config import HttpConfig
from hub.http.proxied import ProxyAccess
from hub.http.proxy import ProxyApp
from hub.http.proxy.lane import Lane
from hub.http.proxy.route import Route, route_of
from hub.http.server import Server
from tests.hub.conftest import tiny_kind

T = TypeVar("T")
RAW = Path(__file__).with_name("raw_instance.py")


def raw_kind(name: str = "raw", script: Path = RAW, *arguments: str, **options: Any) -> Kind:
    command = [sys.executable, str(script), "{port}", "{data_dir}", *arguments]
    defaults: dict[str, Any] = {"stop_timeout": 5.0, "start_timeout": 20.0}
    return Kind(name, command, **defaults | options)


@dataclass
class Served:
    """The hub, and the port of the server before it."""

    hub: AsyncHub
    port: int
    loop: asyncio.AbstractEventLoop
    app: ProxyApp
    lane: Lane
    warm: bool = False  # whether each client's first own request finds the fast lane open

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def client(self, timeout: float = 10.0, *, window: int | None = None) -> Client:
        client = Client(self.port, timeout, window)
        if self.warm:
            # The first learns which process serves the module, and leaves a connection to it.
            try:
                client.ask("/hub/proxy/m/warm")
            except BaseException:
                client.sock.close()
                raise
        return client

    def provision(self, module_id: str, kind: str = "raw") -> ModuleInfo:
        return self.run(self.hub.provision(module_id, kind=kind))

    def get(self, path: str, *headers: str, method: str = "GET", body: bytes = b"") -> Answer:
        with self.client() as client:
            return client.ask(path, *headers, method=method, body=body)


@dataclass
class Answer:
    """An answer as it came."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]

    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """One connection to the server; the system keeps about `window` bytes that were not read yet."""

    def __init__(self, port: int, timeout: float, window: int | None) -> None:
        self.sock = socket.socket()
        self.sock.settimeout(timeout)
        if window is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        self.sock.connect(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def fill(self) -> bool:
        data = self.sock.recv(1 << 18)
        self.buffer += data
        return bool(data)

    def line(self) -> bytes:
        while b"\r\n" not in self.buffer:
            if not self.fill():
                raise EOFError(self.buffer)
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        return line

    def exactly(self, size: int) -> bytes:
        while len(self.buffer) < size:
            if not self.fill():
                raise EOFError(self.buffer)
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def head(self) -> tuple[int, list[tuple[str, str]]]:
        status = int(self.line().split(b" ")[1])
        headers: list[tuple[str, str]] = []
        while line := self.line():
            name, _, value = line.decode("latin-1").partition(":")
            headers.append((name.lower(), value.strip()))
        return status, headers

    def chunk(self) -> bytes:
        """The next chunk; empty at the end."""
        size = int(self.line(), 16)
        data = self.exactly(size)
        assert self.line() == b""
        return data

    def answer(self, method: str = "GET") -> Answer:
        status, headers = self.head()
        fields = dict(headers)
        body = b""
        if method == "HEAD" or status < 200 or status in {204, 304}:
            pass
        elif fields.get("transfer-encoding") == "chunked":
            while data := self.chunk():
                body += data
        elif "content-length" in fields:
            body = self.exactly(int(fields["content-length"]))
        return Answer(status, headers, body)

    def ask(self, path: str, *headers: str, method: str = "GET", body: bytes = b"") -> Answer:
        lines = [f"{method} {path} HTTP/1.1", "Host: hub.test:8558", *headers]
        if body or method in {"POST", "PUT"}:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        return self.answer(method)

    def ended(self) -> bool:
        """Whether the server ends the connection without another byte."""
        try:
            return not self.buffer and not self.fill()
        except ConnectionResetError:
            return True


def say(answer: bytes, *, how: str = "say", module_id: str = "m") -> str:
    """The path at which a raw instance answers these bytes."""
    return f"/hub/proxy/{module_id}/{how}/{base64.urlsafe_b64encode(answer).decode()}"


def seen(info: ModuleInfo) -> list[dict[str, Any]]:
    """What a raw instance has seen."""
    assert info.data_dir is not None
    path = info.data_dir / "seen.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@contextlib.contextmanager
def serving(
    directory: Path, config: HttpConfig | None = None, *, whole: bool = False, lane: bool = False, **options: Any
) -> Generator[Served]:
    """Serve the proxy of a real hub.

    With `whole` behind the hub's own application, which refuses some requests before; else alone. With `lane` on the
    hub's own server, whose fast lane is open; else on uvicorn as it is, or with `whole` on a server without the lane.
    """
    kinds = options.pop("kinds", None) or [raw_kind(), tiny_kind()]
    config = config or HttpConfig()
    started: list[Served] = []
    ready, failures = threading.Event(), list[BaseException]()
    stop = asyncio.Event()

    async def main() -> None:
        hub = AsyncHub(directory / "data", f"file://{directory}/backend", kinds=kinds, restart_delay=0.02, **options)
        async with hub, contextlib.AsyncExitStack() as running:
            proxy = ProxyApp(hub.registry, config)
            running.push_async_callback(proxy.aclose)
            used = proxy.lane
            if whole:
                port, used = await serve_whole(hub, config, running, lane=lane, closed=used)
            elif lane:
                port = await serve_lane(proxy, config, running)
            else:
                port = await serve_bare(proxy, running)
            started.append(Served(hub, port, asyncio.get_running_loop(), proxy, used, warm=lane and not whole))
            ready.set()
            await stop.wait()

    def run() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:
            failures.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=run, name="served")
    thread.start()
    ready.wait(30)
    try:
        if started:
            yield started[0]
    finally:
        if started:
            started[0].loop.call_soon_threadsafe(stop.set)
        thread.join(30)
    if failures:
        raise failures[0]


async def serve_whole(
    hub: AsyncHub, config: HttpConfig, running: contextlib.AsyncExitStack, *, lane: bool, closed: Lane
) -> tuple[int, Lane]:
    server = Server(config)
    app = create_app(hub, config)
    access: ProxyAccess = app.state.lane
    if not lane:
        app.state.lane = None
    await server.start(app)
    running.push_async_callback(server.stop)
    opened = access._open({}).lane if config.proxy else closed  # pyright: ignore[reportPrivateUsage]
    return server.port, opened


class OpenToAll:
    """The proxy alone, as an application that offers the fast lane; nobody is refused."""

    def __init__(self, proxy: ProxyApp) -> None:
        self.state = SimpleNamespace(lane=self)
        self.lane = proxy.lane
        self._proxy = proxy

    def route(self, scope: dict[str, Any]) -> Route | None:
        return route_of(dict(scope, root_path="/hub/proxy"), self._proxy.read)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while (await receive())["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
        elif scope["path"].startswith("/hub/proxy/"):
            await self._proxy(dict(scope, root_path="/hub/proxy"), receive, send)
        else:
            await PlainTextResponse("no", 404, {"content-type": "application/problem+json"})(scope, receive, send)


async def serve_lane(proxy: ProxyApp, config: HttpConfig, running: contextlib.AsyncExitStack) -> int:
    server = Server(dataclasses.replace(config, port=0))
    await server.start(OpenToAll(proxy))
    running.push_async_callback(server.stop)
    return server.port


async def serve_bare(proxy: ProxyApp, running: contextlib.AsyncExitStack) -> int:
    app = OpenToAll(proxy)
    sock = socket.create_server(("127.0.0.1", 0), backlog=256)
    config = uvicorn.Config(
        app,
        http="httptools",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        ws="websockets-sansio",
    )
    server = uvicorn.Server(config)
    # serve() would take over the process's signals.
    task = asyncio.create_task(server._serve([sock]))  # pyright: ignore[reportPrivateUsage]

    async def end() -> None:
        server.should_exit = server.force_exit = True
        await task
        sock.close()

    running.push_async_callback(end)
    while not server.started:  # noqa: ASYNC110 - uvicorn tells nobody
        await asyncio.sleep(0.005)
    return int(sock.getsockname()[1])
