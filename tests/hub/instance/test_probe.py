"""Probes against real local servers, friendly, garbled and mute."""

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hub.instance.ports import LOOPBACK
from hub.instance.probe import Probe, http_request, make_probe, tcp_answers


async def ask(probe: Probe) -> bool:
    return await probe()


class Server:
    """Answers each request with fixed bytes; `None` never answers."""

    def __init__(self, answer: bytes | None) -> None:
        self.answer = answer
        self.requests: list[bytes] = []
        self.asked = asyncio.Event()
        self.ended = asyncio.Event()
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.requests.append(await reader.readuntil(b"\r\n\r\n"))
            self.asked.set()
            if self.answer is None:
                await reader.read()
            else:
                writer.write(self.answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.ended.set()
            writer.close()


@asynccontextmanager
async def serving(answer: bytes | None) -> AsyncGenerator[Server]:
    server = Server(answer)
    listener = await asyncio.start_server(server.serve, LOOPBACK, 0)
    server.port = listener.sockets[0].getsockname()[1]
    async with listener:
        yield server


@pytest.fixture
def closed_port() -> int:
    with socket.create_server((LOOPBACK, 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def status_of(answer: bytes) -> int | None:
    async def scenario() -> int | None:
        async with serving(answer) as server:
            return await http_request(server.port, "/")

    return asyncio.run(scenario())


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200),
        (b"HTTP/1.0 204 No Content\r\n\r\n", 204),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", 503),
        (b"HTTP/1.1 200\r\n", 200),
        (b"HTTP/1.1 200 OK\n", 200),
        (b"", None),
        (b"\r\n", None),
        (b"HTTP/1.1 2000 OK\r\n", None),
        (b"HTTP/1.1 999 OK\r\n", None),
        (b"HTTP/1.1 abc\r\n", None),
        (b"HTTP/2 200\r\n", None),
        (b"SSH-2.0-OpenSSH_9.6\r\n", None),
        (b"-ERR unknown command\r\n", None),
        (b"\xff\xfe\x00 garbage without an end", None),
        (b"HTTP/1.1 200 " + b"x" * 100_000 + b"\r\n", None),
        (b"x" * 100_000, None),
    ],
)
def test_an_answer_is_its_status_or_none(answer: bytes, status: int | None) -> None:
    """A status line is understood, garbage and endless lines of any other server are no answer and no error."""
    assert status_of(answer) == status


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_request_is_a_plain_one(method: str) -> None:
    """Method, path with query, and the headers that a server needs; no body."""

    async def scenario() -> list[bytes]:
        async with serving(b"HTTP/1.1 200 OK\r\n\r\n") as server:
            await http_request(server.port, "/health?deep=1", method)
            head = b"%s /health?deep=1 HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % (method.encode(), server.port)
            assert server.requests[0].startswith(head)
            return server.requests

    (request,) = asyncio.run(scenario())
    assert b"\r\nConnection: close\r\n" in request
    assert b"\r\nContent-Length: 0\r\n" in request


def test_no_server_is_no_answer(closed_port: int) -> None:
    """A closed port is neither a status nor an error, for both kinds of probe."""
    assert asyncio.run(http_request(closed_port, "/")) is None
    assert asyncio.run(tcp_answers(closed_port)) is False


def test_a_mute_server_is_left_when_the_caller_gives_up() -> None:
    """A hung server holds a probe until its caller's time-out; then the connection is closed at once."""

    async def scenario() -> None:
        async with serving(None) as server:
            probing = asyncio.ensure_future(make_probe("http:/", port=server.port, log=Path(), log_offset=0)())
            await server.asked.wait()
            assert not probing.done()
            probing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await probing
            await server.ended.wait()

    asyncio.run(scenario())


def test_a_tcp_probe_needs_a_listener_only() -> None:
    """A server that accepts and says nothing answers a TCP probe."""

    async def scenario() -> bool:
        async with serving(None) as server:
            return await make_probe("tcp", port=server.port, log=Path(), log_offset=0)()

    assert asyncio.run(scenario()) is True


@pytest.mark.parametrize(
    ("status", "live"), [(200, True), (204, True), (299, True), (199, False), (302, False), (404, False), (500, False)]
)
def test_an_http_probe_wants_a_2xx(status: int, live: bool) -> None:
    """Any 2xx is an answer; redirects and errors are none."""

    async def scenario() -> bool:
        async with serving(b"HTTP/1.1 %d X\r\n\r\n" % status) as server:
            probe = make_probe("http:/health", port=server.port, log=Path(), log_offset=0)
            answered = await probe()
            assert server.requests[0].startswith(b"GET /health ")
            return answered

    assert asyncio.run(scenario()) is live


@pytest.mark.parametrize(
    ("pattern", "log", "found"),
    [
        ("Ready", b"starting\nReady to accept\n", True),
        ("Ready", b"starting\n", False),
        ("Ready", b"", False),
        (r"^port \d+$", b"the port 1\nport 7000\n", True),
        (r"^port \d+$", b"the port 1\nport x\n", False),
        ("a.*b", b"a\nb\n", False),
        ("gr\u00fc\u00dfe", "gr\u00fc\u00dfe\n".encode(), True),
        ("Ready", b"\xff\xfe Ready", True),
        ("^caf. is open$", "caf\u00e9 is open\n".encode(), True),
        (r"(?i)CAF\u00c9 \w+$", "caf\u00e9 ouvert\u00e9\n".encode(), True),
    ],
)
def test_a_log_probe_looks_for_a_line(pattern: str, log: bytes, found: bool, tmp_path: Path) -> None:
    """The expression is searched in each line of the output, which need not be text."""
    path = tmp_path / "log"
    path.write_bytes(log)
    probe = make_probe(f"log:{pattern}", port=0, log=path, log_offset=0)
    assert asyncio.run(ask(probe)) is found


def test_a_log_probe_does_not_see_earlier_runs(tmp_path: Path) -> None:
    """Yesterday's "Ready" makes nobody ready today; a log that is not there yet is no error."""
    path = tmp_path / "log"
    probe = make_probe("log:Ready", port=0, log=path, log_offset=6)
    assert asyncio.run(ask(probe)) is False
    path.write_bytes(b"Ready\n")
    assert asyncio.run(ask(probe)) is False
    path.write_bytes(b"Ready\nReady\n")
    assert asyncio.run(ask(probe)) is True
