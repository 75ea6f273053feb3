"""An S3 server that answers as it is told: for what no real one can be made to do."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from backends import BlobStore, open_store


@dataclass(frozen=True)
class Answer:
    """What to answer.

    Attributes:
        status: Of HTTP; 0 resets the connection instead.
        body: What is sent.
        headers: Besides the length.
        length: What the header says of the body's length; None is the truth. Then the connection ends.
        chunked: Whether the body comes in pieces, with no word of its length.
    """

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    length: int | None = None
    chunked: bool = False


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


RESET = Answer(0)
ETAG = '"1"'
DONE = Answer(headers={"ETag": ETAG})


def failure(code: str, status: int = 400, words: str = "words", *, extra: str = "", **headers: str) -> Answer:
    body = f"<Error><Code>{code}</Code><Message>{words}</Message>{extra}</Error>"
    return Answer(status, body.encode(), headers)


def xml(root: str, content: str = "") -> Answer:
    return Answer(body=f"<?xml version='1.0'?><{root}>{content}</{root}>".encode())


def listing(root: str, content: str = "") -> Answer:
    return xml(root, f"<Name>demo</Name><Bucket>demo</Bucket>{content}")


class Scripted:
    """The answers to come, the last of which is given again and again, and the requests so far."""

    def __init__(self, port: int) -> None:
        self.endpoint = f"http://127.0.0.1:{port}"
        self.answers: list[Answer] = []
        self.requests: list[Request] = []
        self.date: str | None = None
        self.lock = threading.Lock()

    def then(self, *answers: Answer) -> None:
        self.answers.extend(answers)

    def take(self, request: Request) -> Answer:
        with self.lock:
            self.requests.append(request)
            return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def store(self, **options: object) -> BlobStore:
        return open_store(f"s3://demo/p?endpoint={self.endpoint}&region=us-east-1&addressing=path", **options)

    @property
    def made(self) -> list[str]:
        return [request.method for request in self.requests]


@contextlib.contextmanager
def scripted() -> Generator[Scripted]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            if self.headers.get("Expect"):
                self.send_response_only(100)
                self.end_headers()
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            answer = server.take(Request(self.command, self.path, dict(self.headers.items()), body))
            if answer.status == 0:
                # An end without lingering is a reset.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if answer.chunked:
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                self.wfile.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(answer.body), answer.body))
                return
            self.send_header("Content-Length", str(len(answer.body) if answer.length is None else answer.length))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)
            self.close_connection = answer.length is not None

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_any  # noqa: N815  # names of the standard library

        def date_time_string(self, timestamp: float | None = None) -> str:
            return server.date or super().date_time_string(None if timestamp is None else int(timestamp))

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name of the standard library
            """Say nothing."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    server = Scripted(http.server_address[1])
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
