"""A real server on an event loop in a thread, with an application whose every path does something telling."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hub.http.config_sources import configure_http
from hub.http.server import Server

DEADLINE_S = 10.0


class App:
    """`/` greets, `/wait` answers when `go` is set, `/body` counts, `/flood` never ends, `/headers` tells the names."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.gone = threading.Event()
        self.entered = threading.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close"})
            return
        body = b"hello"
        self.entered.set()
        match scope["path"]:
            case "/wait":
                hearing = asyncio.ensure_future(self._hear(receive))
                try:
                    while not self.go.is_set() and not self.gone.is_set():  # noqa: ASYNC110 - another thread sets them
                        await asyncio.sleep(0.005)
                finally:
                    hearing.cancel()
            case "/body":
                body = str(await self._length(receive)).encode()
            case "/headers":
                await self._length(receive)
                body = b" ".join(name for name, _ in scope["headers"])
            case "/flood":
                await send({"type": "http.response.start", "status": 200, "headers": []})
                try:
                    for _ in range(1000):
                        await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
                finally:
                    self.gone.set()
                return
            case _:
                pass
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _hear(self, receive: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.gone.set()

    async def _length(self, receive: Any) -> int:
        length = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.gone.set()
                return -1
            length += len(message.get("body", b""))
            if not message.get("more_body"):
                return length


class Running:
    def __init__(self, server: Server, app: App, loop: asyncio.AbstractEventLoop) -> None:
        self.server, self.app, self._loop = server, app, loop
        self._stopping: Future[None] | None = None

    def connect(self) -> socket.socket:
        made = socket.create_connection(("127.0.0.1", self.server.port), timeout=DEADLINE_S)
        made.settimeout(DEADLINE_S)
        return made

    def stop(self) -> Future[None]:
        if self._stopping is None:
            self._stopping = asyncio.run_coroutine_threadsafe(self.server.stop(), self._loop)
        return self._stopping


@contextmanager
def serving(app: Any = None, **options: Any) -> Generator[Running]:
    """Serve until the block ends, and prove that nothing of it is left."""
    chosen = App() if app is None else app
    server = Server(configure_http(**{"port": 0, "drain_timeout": 0.2, **options}))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(server.start(chosen), loop).result(DEADLINE_S)
        running = Running(server, chosen, loop)
        try:
            yield running
        finally:
            running.stop().result(DEADLINE_S)
            left = asyncio.run_coroutine_threadsafe(_tasks(), loop).result(DEADLINE_S)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
    assert not left
    assert server.connections == 0


async def _tasks() -> list[str]:
    return [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()]


def read_all(connection: socket.socket) -> bytes:
    """Read until the server closes."""
    text = b""
    while chunk := connection.recv(65536):
        text += chunk
    return text


def read_response(connection: socket.socket) -> bytes:
    """Read a response that has a length; returns its body."""
    return read_whole_response(connection)[1]


def read_whole_response(connection: socket.socket) -> tuple[bytes, bytes]:
    """Read a response that has a length; returns its head and its body."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)  # no more than this response: another one may follow
        assert byte, head
        head += byte
    body = b""
    length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    while len(body) < length:
        chunk = connection.recv(length - len(body))
        assert chunk, body
        body += chunk
    return head, body


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {DEADLINE_S} s: {what}"
        time.sleep(0.005)


def make_certificate(folder: Path, name: str, *, key: str = "rsa:2048", days: int = 30) -> tuple[Path, Path]:
    """Make a certificate for `localhost` and 127.0.0.1, signed by itself."""
    certificate, private = folder / f"{name}.pem", folder / f"{name}.key"
    curve = ["-pkeyopt", "ec_paramgen_curve:prime256v1"] if key == "ec" else []
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", key, *curve, "-nodes", "-days", str(days)),
            *("-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            *("-out", str(certificate), "-keyout", str(private)),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, private


def peer_certificate(port: int, *, version: ssl.TLSVersion | None = None) -> bytes:
    """Return the certificate that a server shows now."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if version is not None:
        context.maximum_version = version
    with (
        socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as plain,
        context.wrap_socket(plain) as wrapped,
    ):
        return wrapped.getpeercert(binary_form=True) or b""
