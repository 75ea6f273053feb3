"""A proxy between an HTTP client and its server that does to chosen requests what networks and servers do to some.

It speaks enough of HTTP/1.1 to know where a request and its answer begin and end, and passes every byte on as it is:
the Host header too, which S3's signatures cover. So a client is given the proxy's address for the server's.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from tests.fault_rules import DRIPS, OF_ANSWER_BODY, OF_REQUEST_BODY, REFUSALS, Fault, Rule, damaged
from tests.http_wire import Answer, Broken, Message, Piece, Request, Wire

_TIMEOUT_S = 60.0


@dataclass
class Exchange:
    """A request that came by.

    Attributes:
        method: Its method.
        target: Path and query.
        fault: What was to happen to it.
        struck: Whether it did: there may have been no body to damage.
    """

    method: str
    target: str
    fault: Fault | None
    struck: bool = False


class FaultProxy:
    """Owns a listener and its threads; a context manager that ends them all.

    Args:
        server: The server's endpoint, `http://host:port`.
        *rules: What happens to which requests. The first rule that strikes counts.

    Attributes:
        endpoint: What clients are given.
        exchanges: The requests since the last `script`, in the order of their arrival.
    """

    def __init__(self, server: str, *rules: Rule) -> None:
        parts = urlsplit(server)
        assert parts.hostname
        assert parts.port
        self._server = (parts.hostname, parts.port)
        self.exchanges: list[Exchange] = []
        self._lock = threading.Lock()
        self._rules: tuple[Rule, ...] = ()
        self._counts: Counter[Rule] = Counter()
        self.script(*rules)
        self._closing = threading.Event()
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._acceptor = threading.Thread(target=self._accept, name="fault-proxy")

    def __enter__(self) -> Self:
        self._acceptor.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._listener.close()
        with self._lock:
            for sock in self._sockets:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def script(self, *rules: Rule) -> None:
        """Replace the rules, and count from anew."""
        with self._lock:
            self._rules, self._counts = rules, Counter()
            self.exchanges = []

    @property
    def struck(self) -> list[Exchange]:
        """What was damaged since the last `script`."""
        return [exchange for exchange in self.exchanges if exchange.struck]

    def decide(self, request: Request) -> tuple[Rule | None, Exchange]:
        """What happens to a request, which is noted."""
        exchange = Exchange(request.method, request.target, None)
        with self._lock:
            self.exchanges.append(exchange)
            about = [rule for rule in self._rules if rule.is_about(request.method, request.target)]
            chosen = next((rule for rule in about if rule.strikes(self._counts[rule])), None)
            self._counts.update(about)
        if chosen is not None:
            exchange.fault = chosen.fault
        return chosen, exchange

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            thread = threading.Thread(target=self._serve, args=(client,), name="fault-proxy-connection")
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        """One connection of a client, with one to the server that lives as long."""
        with contextlib.ExitStack() as stack:
            client = stack.enter_context(self._wire(sock))
            try:
                server = stack.enter_context(self._wire(socket.create_connection(self._server)))
                # The server ends idle connections when it likes; the client must see that before its next request.
                while server.sock not in select.select([client.sock, server.sock], [], [])[0]:
                    request = client.request()
                    if request is None or not _Exchange(self, client, server, request).run():
                        return
            except (OSError, Broken):
                return

    @contextlib.contextmanager
    def _wire(self, sock: socket.socket) -> Generator[Wire]:
        sock.settimeout(_TIMEOUT_S)
        # Heads and bodies are small writes, which would wait for each other's acknowledgement.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._sockets.add(sock)
            if self._closing.is_set():
                sock.shutdown(socket.SHUT_RDWR)
        try:
            yield Wire(sock)
        finally:
            with self._lock:
                self._sockets.discard(sock)
            sock.close()

    def pause(self, seconds: float) -> None:
        """Wait, but not beyond the proxy's end."""
        self._closing.wait(seconds)


class _Exchange:
    """One request and its answer."""

    def __init__(self, proxy: FaultProxy, client: Wire, server: Wire, request: Request) -> None:
        self.proxy, self.client, self.server, self.request = proxy, client, server, request
        self.rule, self.note = proxy.decide(request)
        self.fault = self.rule.fault if self.rule else None

    def run(self) -> bool:
        """Whether the connections go on."""
        refusal = REFUSALS.get(self.fault) if self.fault else None
        if refusal:
            return self._refuse(*refusal)
        if self.fault is Fault.RESET_BEFORE:
            return self._reset()
        if self.fault is Fault.LATENCY:
            assert self.rule
            self.note.struck = True
            self.proxy.pause(self.rule.seconds)
        self.server.send(self.request.head)
        answer = self._first_answer() if self.request.expects else None
        if answer is None:
            if not self._send_body():
                return False
            answer = self._final_answer()
        return self._give(answer)

    def _first_answer(self) -> Answer | None:
        """The server's word on a client that asks before it sends its body: None if it may."""
        answer = self.server.answer(self.request.method)
        if answer.status != 100:
            return answer
        self.client.send(answer.head)
        return None

    def _final_answer(self) -> Answer:
        while (answer := self.server.answer(self.request.method)).status < 200:
            self.client.send(answer.head)
        return answer

    def _send_body(self) -> bool:
        damaged = self._damaged(self.client, self.request, OF_REQUEST_BODY)
        try:
            for piece in damaged:
                self.server.send(piece.data)
        except (BrokenPipeError, ConnectionResetError):
            # A server may refuse without reading to the end: its answer is what counts.
            return True
        return not (self.fault is Fault.RESET_MID_REQUEST and self.note.struck) or self._reset()

    def _give(self, answer: Answer) -> bool:
        if self.fault is Fault.LOST_ACKNOWLEDGEMENT:
            for _ in self.server.body(answer):
                pass
            return self._reset()
        self.client.send(answer.head)
        for number, piece in enumerate(self._damaged(self.server, answer, OF_ANSWER_BODY)):
            if self.fault is Fault.DRIP and number < DRIPS:
                assert self.rule
                self.proxy.pause(self.rule.seconds / DRIPS)
            self.client.send(piece.data)
        cut = self.fault is Fault.TRUNCATED and self.note.struck
        return not (cut or answer.closes or self.request.closes)

    def _damaged(self, source: Wire, message: Message, ours: set[Fault]) -> Iterator[Piece]:
        """The body's pieces, those of the fault as it leaves them."""
        pieces = source.body(message)
        if self.rule is None or self.rule.fault not in ours:
            return pieces
        return damaged(pieces, message.length, self.rule, self._strike)

    def _strike(self) -> None:
        self.note.struck = True

    def _refuse(self, status: int, reason: str, code: str) -> bool:
        self.note.struck = True
        # Who waits to be told to go on is told no instead, and sends no body.
        if not self.request.expects:
            for _ in self.client.body(self.request):
                pass
        text = (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f"<Error><Code>{code}</Code><Message>injected</Message><RequestId>0</RequestId></Error>"
        )
        lines = [
            f"HTTP/1.1 {status} {reason}",
            "Content-Type: application/xml",
            f"Content-Length: {len(text)}",
            *(["Connection: close"] if self.request.expects else []),
        ]
        body = "" if self.request.method == "HEAD" else text
        self.client.send(("\r\n".join(lines) + "\r\n\r\n" + body).encode())
        return not self.request.expects and not self.request.closes

    def _reset(self) -> bool:
        """End the connection as a crash does: with RST."""
        self.note.struck = True
        for wire in (self.client, self.server):
            wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False
