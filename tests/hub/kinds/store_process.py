"""The real store in a process of its own, and a client that sends exactly the bytes it is given."""

import http.client
import json
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from hub.instance.kind import render
from hub.kinds.store import store_command

DEADLINE_S = 20.0


def wait_for(condition: Callable[[], bool]) -> None:
    """Poll until the condition holds; fails after the deadline."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.002)


def command(data_dir: Path, port: int, *options: str) -> list[str]:
    place = str(data_dir.with_name("checkpoint"))
    filled = render(store_command(), port=port, data_dir=str(data_dir), module_id="m", checkpoint_dir=place)
    return [*filled, *options]


class Store:
    """A running store on a port of the system's choice."""

    def __init__(self, data_dir: Path, *options: str) -> None:
        self.data_dir = data_dir
        self.process = subprocess.Popen(command(data_dir, 0, *options), stderr=subprocess.PIPE, text=True, env={})
        assert self.process.stderr is not None
        # It says where it listens once it does.
        line = self.process.stderr.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)", line)
        if found is None:
            self.kill()
            raise AssertionError(f"the store did not start: {line}")
        self.port = int(found[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()

    def terminate(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE_S)

    def pause(self) -> None:
        """Stop the process where it is, so that it finds at once what is sent until `resume`."""
        self.process.send_signal(signal.SIGSTOP)
        stat = Path(f"/proc/{self.process.pid}/stat")
        wait_for(lambda: stat.read_text(encoding="ascii").rpartition(") ")[2].startswith("T"))

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)

    def request(self, method: str, path: str, body: bytes | None = None, **headers: str) -> "Answer":
        connection = self.connect()
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named)
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    def stats(self) -> dict[str, int]:
        found: dict[str, int] = self.request("GET", "/stats").json()
        return found

    def resident_bytes(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) * 1024

    def raw(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE_S)

    def exchange(self, data: bytes) -> bytes:
        """Send these bytes on a new connection, end the sending side, and read all that comes."""
        with self.raw() as client:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            return read_all(client)


class Answer:
    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def json(self) -> Any:
        return json.loads(self.body)


def read_all(client: socket.socket) -> bytes:
    received = bytearray()
    while data := client.recv(65536):
        received += data
    return bytes(received)


def read_until(client: socket.socket, end: bytes) -> bytes:
    received = bytearray()
    while not received.endswith(end):
        data = client.recv(65536)
        assert data, f"closed after {bytes(received)!r}"
        received += data
    return bytes(received)


def statuses(answers: bytes) -> list[int]:
    """The statuses of answers in a row whose bodies contain no status line."""
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answers)]
