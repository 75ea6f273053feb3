"""The application behind a real server on a real socket, and clients of it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import urllib3
import uvicorn

from hub.http import HttpConfig, Role, Token, drain

TOKENS = {role: f"the-token-that-may-{role}" for role in Role}


def tokens() -> tuple[Token, ...]:
    return tuple(
        Token(name=f"{role}-er", role=role, sha256=hashlib.sha256(token.encode()).hexdigest())
        for role, token in TOKENS.items()
    )


def bearer(role: Role) -> dict[str, str]:
    return {"Authorization": f"Bearer {TOKENS[role]}"}


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def listener() -> socket.socket:
    """A socket on any free port, to listen on."""
    # With the protocol named, or asyncio leaves Nagle's delay on: 40 ms for each request after a connection's first.
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.bind(("127.0.0.1", 0))
    bound.listen(128)
    return bound


class Served:
    """An application while a server of its own serves it."""

    def __init__(self, app: Any, drained: Any = None) -> None:
        self.app = app
        self._drained = drained if drained is not None else app
        self._socket = listener()
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        config = uvicorn.Config(
            app, log_config=None, access_log=False, lifespan="on", proxy_headers=False, ws="websockets-sansio"
        )
        self.server = uvicorn.Server(config)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="served")
        self._pool = urllib3.PoolManager(retries=False)

    def _run(self) -> None:
        with asyncio.Runner() as runner:
            self._loop = runner.get_loop()
            runner.run(self.server.serve(sockets=[self._socket]))

    def start(self) -> Self:
        self._thread.start()
        wait_until(lambda: self.server.started)
        return self

    def call(self, function: Callable[..., object], *args: object) -> None:
        """Call something on the server's loop."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(function, *args)

    def stop(self) -> None:
        self._pool.clear()
        if self._thread.is_alive():
            self.call(drain, self._drained)
            self.server.should_exit = True
        self._thread.join(15)
        assert not self._thread.is_alive(), "the server did not end"
        self._socket.close()

    def request(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None, timeout: float = 30
    ) -> Answer:
        """Send a request; a body that is not bytes goes as JSON."""
        fields = dict(headers or {})
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            fields.setdefault("Content-Type", "application/json")
        answer = self._pool.request(method, self.url + path, body=body, headers=fields, timeout=timeout, redirect=False)
        return Answer(answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.data)

    def get(self, path: str, **options: Any) -> Answer:
        return self.request("GET", path, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> Answer:
        return self.request("POST", path, body, **options)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    @contextlib.contextmanager
    def events(self, query: str = "", **headers: str) -> Generator[Stream]:
        """Listen to the stream of events."""
        with self.connect() as connection:
            fields = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
            connection.sendall(f"GET /hub/events{query} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n".encode())
            stream = Stream(connection)
            try:
                yield stream
            finally:
                stream.close()


@dataclass(frozen=True)
class Frame:
    event: str
    id: str | None
    data: Any

    @property
    def number(self) -> int:
        return int((self.id or "").rpartition("-")[2])


class Stream:
    """A stream of server-sent events as it comes; `status` and `headers` are there at once."""

    def __init__(self, connection: socket.socket) -> None:
        self._file = connection.makefile("rb")
        self.status = int(self._file.readline().split()[1])
        self.headers: dict[str, str] = {}
        while line := self._file.readline().strip():
            name, _, value = line.decode().partition(":")
            self.headers[name.lower()] = value.strip()

    def close(self) -> None:
        self._file.close()

    def _lines(self) -> Iterator[str]:
        rest = b""
        while size := int(self._file.readline().strip() or b"0", 16):
            rest += self._file.read(size)
            self._file.readline()
            *lines, rest = rest.split(b"\n")
            yield from (line.decode() for line in lines)

    def frames(self) -> Iterator[Frame]:
        """Yield events until the stream ends; comments and the retry time are left out."""
        fields: dict[str, str] = {}
        for line in self._lines():
            if line:
                name, _, value = line.partition(": ")
                fields[name] = value
                continue
            if "data" in fields:
                yield Frame(fields.get("event", ""), fields.get("id"), json.loads(fields["data"]))
            fields = {}

    def take(self, wanted: Callable[[Frame], bool]) -> list[Frame]:
        """Return the events up to the first wanted one."""
        taken: list[Frame] = []
        for frame in self.frames():
            taken.append(frame)
            if wanted(frame):
                return taken
        raise AssertionError(f"the stream ended after {[frame.event for frame in taken]}")


def wait_until(condition: Callable[[], object], timeout: float = 20.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.01)


def config(**options: Any) -> HttpConfig:
    return HttpConfig(**options)
