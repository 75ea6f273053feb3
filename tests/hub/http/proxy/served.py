"""A real hub and the proxy on a real server, in a thread; and a client that sends what it is told to."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import socket
import sys
import threading
from collections.abc import Coroutine, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from hub import AsyncHub, Kind, ModuleInfo
from hub.http.config import HttpConfig
from hub.http.proxy import ProxyApp
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

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def client(self, timeout: float = 10.0) -> Client:
        return Client(self.port, timeout)

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
    """One connection to the server."""

    def __init__(self, port: int, timeout: float) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=timeout)
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
def serving(directory: Path, config: HttpConfig | None = None, **options: Any) -> Generator[Served]:
    """Serve the proxy of a real hub."""
    kinds = options.pop("kinds", None) or [raw_kind(), tiny_kind()]
    started: list[Served] = []
    ready, failures = threading.Event(), list[BaseException]()
    stop: list[uvicorn.Server] = []

    async def main() -> None:
        hub = AsyncHub(directory / "data", f"file://{directory}/backend", kinds=kinds, restart_delay=0.02, **options)
        async with hub:
            proxy = ProxyApp(hub.registry, config or HttpConfig())
            app = Starlette(routes=[Mount("/hub/proxy", proxy)])
            server = uvicorn.Server(
                uvicorn.Config(
                    app,
                    port=0,
                    http="httptools",
                    lifespan="off",
                    log_config=None,
                    access_log=False,
                    proxy_headers=False,
                )
            )
            sock = socket.create_server(("127.0.0.1", 0), backlog=256)
            stop.append(server)
            started.append(Served(hub, sock.getsockname()[1], asyncio.get_running_loop(), proxy))
            ready.set()
            try:
                with sock:
                    # serve() would take over the process's signals.
                    await server._serve([sock])  # pyright: ignore[reportPrivateUsage]
            finally:
                await proxy.aclose()

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
        for server in stop:
            server.should_exit = server.force_exit = True
        thread.join(30)
    if failures:
        raise failures[0]
