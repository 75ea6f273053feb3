"""A connection to an instance: one request and its answer at a time, parsed strictly, with back-pressure both ways."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import Any, cast

import httptools

from hub.http.proxy.answer_head import AnswerHead
from hub.http.proxy.errors import BadInstanceAnswer, InstanceTimeout, InstanceUnreachable
from hub.http.proxy.request_head import NAME, TOKEN, VALUE

_MAX_HEAD = 65536
_MAX_FIELDS = 256
_MAX_INTERIM = 32
# Bytes of an answer that wait for the client before the instance is made to wait.
_HIGH_WATER = 256 * 1024
_PIECE = 65536

IDLE, HEAD, BODY, DONE = range(4)


class InstanceConnection(asyncio.Protocol):
    """A connection to an instance.

    What does not belong to the answer of the running request taints it: it is closed, never used again.

    Args:
        authority: the instance's `host:port`.
    """

    __slots__ = (
        "_body_to_end",
        "_codings",
        "_continued",
        "_drained",
        "_field_bytes",
        "_fields",
        "_head_bytes",
        "_interim",
        "_keeps",
        "_lengths",
        "_loop",
        "_no_body",
        "_parser",
        "_pieces",
        "_queued",
        "_reading",
        "_status",
        "_tainted",
        "_transport",
        "_waiter",
        "authority",
        "error",
        "heard_at",
        "idle_since",
        "reused",
        "sent_all",
        "state",
    )

    def __init__(self, authority: bytes, loop: asyncio.AbstractEventLoop) -> None:
        self.authority = authority
        self.error: Exception | None = None
        self.state = IDLE
        self.reused = False
        self.sent_all = False
        self.heard_at = self.idle_since = loop.time()
        self._loop = loop
        self._transport: asyncio.Transport = cast("asyncio.Transport", None)
        self._parser: Any = None
        self._waiter: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._continued: asyncio.Future[None] | None = None
        self._pieces: list[bytes] = []
        self._fields: list[tuple[bytes, bytes]] = []
        self._reset(no_body=False)

    def _reset(self, *, no_body: bool) -> None:
        self._queued = 0
        self._reading = True
        self._head_bytes = self._field_bytes = 0
        self._interim = 0
        self._status = 0
        self._no_body = no_body
        self._body_to_end = False
        self._keeps = False
        self._tainted = False
        self._lengths = self._codings = 0

    # The exchange's side

    def begin(self, head: bytes, *, no_body: bool) -> None:
        """Send the head of a request.

        Args:
            head: all of it.
            no_body: whether its answer has no body whatever its fields say: that of HEAD.
        """
        self._reset(no_body=no_body)
        self._fields = []
        self._pieces = []
        self.sent_all = False
        # A parser for each answer: nothing of one can be left over in the next. It costs a third of a microsecond.
        self._parser = httptools.HttpResponseParser(self)
        self.state = HEAD
        self.write(head)

    def write(self, data: bytes) -> None:
        """Send bytes of the request's body, framed already."""
        self.heard_at = self._loop.time()
        if not self._transport.is_closing():
            self._transport.write(data)

    async def drain(self) -> None:
        """Wait until the instance has taken most of what was written."""
        if self._drained is not None:
            await self._drained

    async def continued(self, patience_s: float) -> None:
        """Wait until the instance asks for the body or answers without it; after a while the body is sent anyway."""
        self._continued = self._loop.create_future()
        await asyncio.wait((self._continued,), timeout=patience_s)
        self._continued = None

    async def head(self) -> AnswerHead:
        """Wait for the head of the answer.

        Raises:
            InstanceUnreachable: the connection ended before.
            BadInstanceAnswer: what came is no valid answer.
            InstanceTimeout: nothing came for too long.
            Exception: what `fail` was given.
        """
        while self.state == HEAD:
            if self.error is not None:
                raise self.error
            await self._wait()
        return AnswerHead(self._status, self._fields)

    async def piece(self) -> tuple[bytes, bool]:
        """Wait for the next bytes of the answer's body; returns them, and whether they are the last.

        Raises:
            Exception: as `head`; the body is not complete.
        """
        while not self._pieces:
            if self.state == DONE:
                return b"", True
            if self.error is not None:
                raise self.error
            await self._wait()
        pieces, self._pieces = self._pieces, []
        self._queued = 0
        if not self._reading:
            self._reading = True
            self._transport.resume_reading()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces), self.state == DONE

    @property
    def reusable(self) -> bool:
        """Whether another request may follow: both messages are complete, and nothing else has come."""
        return (
            self.state == DONE
            and self.sent_all
            and self._keeps
            and not self._tainted
            and self._reading
            and not self._transport.is_closing()
        )

    def rest(self) -> None:
        """Note that the connection waits for its next request."""
        self.state = IDLE
        self.reused = True
        self._parser = None
        self.idle_since = self._loop.time()

    @property
    def closed(self) -> bool:
        """Whether it is of no use any more."""
        return self._transport.is_closing()

    def close(self) -> None:
        """End the connection at once, whatever is on its way."""
        self._transport.abort()

    def fail(self, error: Exception) -> None:
        """End the connection at once, and whoever waits for it by this error."""
        if self.state != DONE and self.error is None:
            self.error = error
        self._transport.abort()
        self._wake()

    def check(self, now: float, timeout_s: float) -> None:
        """Give up an instance that is silent although it is its turn."""
        its_turn = (self._waiter is not None and self.sent_all) or self._drained is not None
        if its_turn and now - self.heard_at >= timeout_s:
            self.fail(InstanceTimeout(f"the instance was silent for {timeout_s:g} s"))

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        for future in (self._waiter, self._drained, self._continued):
            if future is not None and not future.done():
                future.set_result(None)
        self._drained = None

    def _wake_reader(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # The transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=_HIGH_WATER)

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        self.heard_at = self._loop.time()
        if self.state in {IDLE, DONE}:
            # Nobody asked: left over from an earlier answer, or made up. It must not become the next one's beginning.
            self._tainted = True
            self._transport.abort()
            return
        if self.state == HEAD:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if self.state == DONE:
                self._tainted = True
            else:
                cause = error.__context__
                self.fail(cause if isinstance(cause, BadInstanceAnswer) else _malformed(str(error)))
            return
        if self.state == HEAD and self._head_bytes > _MAX_HEAD:
            self.fail(_malformed(f"its head is longer than {_MAX_HEAD} bytes"))
        elif self._queued > _HIGH_WATER and self._reading and self.state == BODY:
            self._reading = False
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """Take the end of a body that nothing else delimits."""
        if self.state == BODY and self._body_to_end:
            self._complete()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits."""
        if exc is not None and self.state in {HEAD, BODY} and self.error is None:
            self._read_rest()
        if self.state in {HEAD, BODY} and self.error is None:
            self.error = InstanceUnreachable("the instance ended the connection before its answer was complete")
        self._wake()

    def pause_writing(self) -> None:
        """Make the sender wait."""
        self._drained = self._loop.create_future()

    def resume_writing(self) -> None:
        """Let the sender go on."""
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._drained = None

    def _read_rest(self) -> None:
        """Take what came before a failed write: an instance may refuse a body and close without reading it."""
        with suppress(OSError):
            number = self._transport.get_extra_info("socket").fileno()
            while self.state in {HEAD, BODY} and self.error is None and (data := os.read(number, _PIECE)):
                self.data_received(data)

    # The parser's side

    def on_message_begin(self) -> None:
        """Refuse a second answer."""
        if self.state == DONE:
            self._tainted = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field of the head; those of trailers are dropped."""
        if self.state != HEAD:
            return
        self._field_bytes += len(name) + len(value)
        if len(self._fields) >= _MAX_FIELDS or self._field_bytes > _MAX_HEAD:
            raise _malformed(f"its head has more than {_MAX_FIELDS} fields, or {_MAX_HEAD} bytes")
        name = name.lower()
        if name == b"transfer-encoding":
            self._codings += 1 if value.strip().lower() == b"chunked" else 2
        elif name == b"content-length":
            self._lengths += 1
        if not VALUE.fullmatch(value):
            raise _malformed("a field has control characters")
        if NAME.fullmatch(name):
            self._fields.append((name, value))
        elif not TOKEN.fullmatch(name):
            raise _malformed("a field's name is none")

    def on_headers_complete(self) -> None:
        """Decide how the body is framed."""
        if self.state != HEAD:
            return
        status: int = self._parser.get_status_code()
        version: str = self._parser.get_http_version()
        if 100 <= status < 200:
            self._take_interim(status)
            return
        if not 200 <= status <= 599 or version not in {"1.0", "1.1"}:
            raise _malformed("its status or version is none of HTTP/1.1")
        if self._codings > 1 or self._lengths > 1 or (self._codings and (self._lengths or version == "1.0")):
            raise _malformed("its framing is ambiguous")
        self._status = status
        options = {
            part.strip().lower() for name, value in self._fields if name == b"connection" for part in value.split(b",")
        }
        self._keeps = b"close" not in options if version == "1.1" else b"keep-alive" in options
        empty = self._no_body or status in {204, 304}
        self._body_to_end = not empty and not self._codings and not self._lengths
        if self._body_to_end:
            self._keeps = False
        self.state = BODY
        if self._no_body:
            self._complete()
        elif self._continued is not None and not self._continued.done():
            self._continued.set_result(None)
        self._wake_reader()

    def on_body(self, data: bytes) -> None:
        """Queue a part of the body."""
        if self.state != BODY:
            self._tainted = True
            return
        self._pieces.append(data)
        self._queued += len(data)
        self._wake_reader()

    def on_message_complete(self) -> None:
        """Note that the answer is complete; one that only says that there is more to come is not."""
        if self.state == BODY:
            self._complete()

    def _take_interim(self, status: int) -> None:
        if status == 101:
            raise _malformed("it changes the protocol, which nobody asked for")
        self._interim += 1
        if self._interim > _MAX_INTERIM:
            raise _malformed(f"it has more than {_MAX_INTERIM} interim answers")
        self._fields = []
        self._lengths = self._codings = 0
        self._head_bytes = self._field_bytes = 0
        if status == 100 and self._continued is not None and not self._continued.done():
            self._continued.set_result(None)

    def _complete(self) -> None:
        self.state = DONE
        self._wake_reader()
        if self._continued is not None and not self._continued.done():
            self._continued.set_result(None)


def _malformed(why: str) -> BadInstanceAnswer:
    return BadInstanceAnswer(f"the instance's answer is no valid HTTP: {why}", hint="see the module's log")
