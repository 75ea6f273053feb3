"""A connection to an instance: one request and its answer at a time, with back-pressure both ways."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import cast

from hub.http.proxy.answer_head import AnswerHead
from hub.http.proxy.answer_reader import AnswerReader, Stage
from hub.http.proxy.errors import BadInstanceAnswer, BodyTimeout, InstanceTimeout, InstanceUnreachable
from hub.http.proxy.listener import Listener

# Bytes of an answer that wait for the client before the instance is made to wait.
_HIGH_WATER = 256 * 1024
_PIECE = 65536
# Bound here: a look into an enumeration is slow.
_HEAD, _BODY, _DONE = Stage


class InstanceConnection(asyncio.BufferedProtocol):
    """A connection to an instance.

    What does not belong to the answer of the running request taints it: it is closed, never used again.

    Args:
        authority: the instance's `host:port`.
        loop: the running loop.
        buffer: into which it reads; the pool's connections share one.

    Attributes:
        authority: as given.
        listener: who is told of the answer as it comes, instead of waiting for it.
        sent_all: whether the request was sent whole: it is the instance's turn.
        idle_since: since when it waits for a request, by the loop's clock.
    """

    __slots__ = (
        "_buffer",
        "_continued",
        "_drained",
        "_error",
        "_heard_at",
        "_loop",
        "_no_body",
        "_reader",
        "_reading",
        "_transport",
        "_waiter",
        "authority",
        "idle_since",
        "listener",
        "sent_all",
    )

    def __init__(self, authority: bytes, loop: asyncio.AbstractEventLoop, buffer: memoryview) -> None:
        self.authority = authority
        self.sent_all = False
        self.idle_since = self._heard_at = loop.time()
        self._loop = loop
        self._buffer = buffer
        self._transport: asyncio.Transport = cast("asyncio.Transport", None)
        self._reader: AnswerReader | None = None  # none while no request runs
        self._reading = True
        self._no_body = False
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._continued: asyncio.Future[None] | None = None
        self.listener: Listener | None = None

    # The exchange's side

    def begin(self, head: bytes, *, no_body: bool, listener: Listener | None = None) -> None:
        """Send the head of a request.

        Args:
            head: all of it.
            no_body: whether its answer has no body whatever its fields say: that of HEAD.
            listener: who is told of the answer, for a request without a body.
        """
        # For a listener not before something comes that it does not know.
        self._reader = AnswerReader(no_body=no_body) if listener is None else None
        self._no_body = no_body
        self.listener = listener
        self.sent_all = listener is not None
        self.write(head)

    def pause(self) -> None:
        """Make the instance wait."""
        self._reading = False
        self._transport.pause_reading()

    def resume(self) -> None:
        """Let the instance go on."""
        self._heard_at = self._loop.time()
        self._reading = True
        self._transport.resume_reading()

    def write(self, data: bytes) -> None:
        """Send bytes of the request's body, framed already."""
        self._heard_at = self._loop.time()
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
        assert self._reader is not None, "a request has begun"
        while self._reader.stage is _HEAD:
            await self._more()
        return AnswerHead(self._reader.status, self._reader.fields)

    async def piece(self) -> tuple[bytes, bool]:
        """Wait for the next bytes of the answer's body; returns them, and whether they are the last.

        Raises:
            Exception: as `head`; the body is not complete.
        """
        reader = self._reader
        assert reader is not None, "a request has begun"
        while not reader.pieces and reader.stage is not _DONE:
            await self._more()
        data = reader.take()
        if not self._reading:
            self._reading = True
            self._transport.resume_reading()
        return data, reader.stage is _DONE

    @property
    def reusable(self) -> bool:
        """Whether another request may follow: both messages are complete, and nothing else has come."""
        reader = self._reader
        return (
            reader is not None
            and reader.stage is _DONE
            and reader.keeps
            and not reader.tainted
            and self.sent_all
            and self._reading
            and not self._transport.is_closing()
        )

    def rest(self) -> None:
        """Note that the connection waits for its next request."""
        self._reader = None
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
        if self._error is None:
            self._error = error
        self._transport.abort()
        if self.listener is not None:
            self.listener.lost(self._error)
        self._wake()

    def check(self, now: float, timeout_s: float, body_timeout_s: float) -> None:
        """Give up an instance that is silent although it is its turn, and a client that sends no more of its body."""
        waited_for = self._waiter is not None or (self.listener is not None and self._reading)
        silent_s = now - self._heard_at
        if (waited_for and self.sent_all) or self._drained is not None:
            if silent_s >= timeout_s:
                self.fail(InstanceTimeout(f"the instance was silent for {timeout_s:g} s"))
        elif waited_for and silent_s >= body_timeout_s:
            self.fail(BodyTimeout(f"the body paused for {body_timeout_s:g} s"))

    async def _more(self) -> None:
        if self._error is not None:
            raise self._error
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

    # The transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=_HIGH_WATER)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the transport's signature
        """Return where to read to."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Read what came, and wake whoever waits for it."""
        data = bytes(self._buffer[:nbytes])
        self._heard_at = self._loop.time()
        reader = self._reader
        if reader is None and self.listener is not None:
            if self.listener.recall(data):
                return
            reader = self._reader = AnswerReader(no_body=self._no_body)
        if reader is None or reader.stage is _DONE:
            # Nobody asked: left over from an earlier answer, or made up. It must not become the next one's beginning.
            self._transport.abort()
            return
        try:
            reader.feed(data)
        except BadInstanceAnswer as error:
            if self.listener is not None:
                self.listener.heard(reader)
            self.fail(error)
            return
        if self.listener is not None:
            self.listener.heard(reader)
            return
        if reader.queued > _HIGH_WATER and self._reading:
            self._reading = False
            self._transport.pause_reading()
        self._tell(reader)

    def eof_received(self) -> bool:
        """Take the end of a body that nothing else delimits."""
        if self._reader is not None:
            self._reader.finish()
            self._tell(self._reader)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits."""
        if exc is not None and self._error is None:
            self._read_rest()
        if self._error is None:
            self._error = InstanceUnreachable(
                "the instance ended the connection before its answer was complete",
                hint="its log may say why; a server that speaks no HTTP is reached by its own port",
            )
        if self.listener is not None:
            self.listener.lost(self._error)
        self._wake()

    def pause_writing(self) -> None:
        """Make the sender wait."""
        self._drained = self._loop.create_future()

    def resume_writing(self) -> None:
        """Let the sender go on."""
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._drained = None

    def _tell(self, reader: AnswerReader) -> None:
        if self.listener is not None:
            self.listener.heard(reader)
            return
        if self._waiter is not None and reader.stage is not _HEAD and not self._waiter.done():
            self._waiter.set_result(None)
        if self._continued is not None and reader.continues and not self._continued.done():
            self._continued.set_result(None)

    def _read_rest(self) -> None:
        """Take what came before a failed write: an instance may refuse a body and close without reading it."""
        reader = self._reader
        if reader is None:
            return
        with suppress(OSError, BadInstanceAnswer):
            number = self._transport.get_extra_info("socket").fileno()
            while reader.stage is not _DONE and (data := os.read(number, _PIECE)):
                reader.feed(data)
        self._tell(reader)
