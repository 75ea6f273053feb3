"""A connection to the server, held to limits that uvicorn's own does not know: slow and long heads, crowds, hoarders."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from hub.http.config import HttpConfig
from hub.http.crowd import Crowd
from hub.http.early_answers import CROWDED, MALFORMED, SLOW, EarlyAnswer, too_long, too_many_pipelined
from hub.http.encrypted import unsent
from hub.http.framing import is_ambiguous
from hub.http.reader_watch import ReaderWatch

MAX_HEADERS = 100
_MAX_PIPELINED = 32
TURNED_AWAY = 100  # connections beyond the limit that still get an answer; those beyond these are just closed
_TURNED_AWAY_TIMEOUT_S = 1.0
_LINGER_S = 1.0
_CLOSE_TIMEOUT_S = 5.0


class _Refused(Exception):
    pass


class GuardedConnection(HttpToolsProtocol):
    """A connection, from when it is accepted until it is closed or becomes a WebSocket.

    What uvicorn leaves open, and this closes:

    - a client may take any time for a request's head, or send nothing at all;
    - a head may be of any length, and its trailers become headers;
    - a client that does not read what it is sent keeps the connection, also one that is closing;
    - a malformed request in a pipeline is answered in the midst of the response before it;
    - whoever runs for a pipelined request is not told when the client is gone.

    Args:
        config: uvicorn's.
        server_state: what the connections of a server have in common.
        app_state: what the application left there when it started.
        limits: the limits.
        _loop: the event loop.
    """

    def __init__(
        self,
        config: Config,
        server_state: Crowd,
        app_state: dict[str, Any],
        *,
        limits: HttpConfig,
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._limits = limits
        self._crowd = server_state
        self._crowded = False  # it came when there were enough
        self._deaf = False  # nothing that still comes is read
        self._in_head = self._in_body = False
        self._head_bytes = self._header_count = 0
        self._refusal: EarlyAnswer | None = None  # why the parser was left, or what is answered after the responses
        self._running: RequestResponseCycle | None = None
        self._sending = ReaderWatch(self.loop, limits.send_timeout)
        self._head_timer: asyncio.TimerHandle | None = None
        self._close_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # uvicorn's own signature
        """Give the client a while for its first request; or none, where there are too many."""
        super().connection_made(transport)
        excess = len(self.connections) - self._limits.max_connections
        if self._crowd.ending or excess > TURNED_AWAY:
            transport.abort()
            return
        self._crowded = excess > 0
        self._await_head(_TURNED_AWAY_TIMEOUT_S if self._crowded else self._limits.header_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell all who work for this client that it is gone."""
        self._cancel_timers()
        self._deaf = True
        for cycle in (self._running, *(cycle for cycle, _ in self.pipeline)):
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what the client sent."""
        if self._deaf:
            return
        if self._crowded:
            self._refuse(CROWDED)
            return
        self._unset_keepalive_if_required()
        in_head = self._in_head
        try:
            self.parser.feed_data(data)  # pyright: ignore[reportOptionalMemberAccess] - uvicorn drops it when the connection is lost, and then nothing comes
        except httptools.HttpParserUpgrade:
            self._upgrade()
            return
        except httptools.HttpParserError:
            self._refuse(self._refusal or MALFORMED)
            return
        if in_head and self._in_head:
            # The parser shows a header when it has it whole: until then it is counted as it comes.
            self._head_bytes += len(data)
            if self._head_bytes > self._limits.max_header_bytes:
                self._refuse(too_long(self._limits.max_header_bytes, MAX_HEADERS))
                return
        if self._in_head or not self._busy:  # a body that was answered before its end is waited for no longer either
            self._await_head(self._limits.header_timeout)

    def eof_received(self) -> None:
        """Close, as the client will not say any more; soon, as TLS is in the midst of its own end."""
        self.loop.call_soon(self._close)

    def on_message_begin(self) -> None:
        """Begin to count."""
        super().on_message_begin()
        self._in_head, self._head_bytes, self._header_count = True, 0, 0

    def on_url(self, url: bytes) -> None:
        """Take a part of the target."""
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header. What comes after a body is none: a trailer must not pass for one that was checked."""
        if not self._in_head:
            return
        super().on_header(name, value)
        self._header_count += 1
        self._count(len(name) + len(value) + len(b": \r\n"))

    def on_headers_complete(self) -> None:
        """Start the request, or let it wait for those before it."""
        self._in_head = False
        self._stop_waiting_for_head()
        if len(self.pipeline) >= _MAX_PIPELINED:
            self._refusal = too_many_pipelined()
            raise _Refused
        if is_ambiguous(self.headers):
            self._refusal = MALFORMED
            raise _Refused
        if self.parser.should_upgrade() and self._should_upgrade() and self._busy:  # pyright: ignore[reportOptionalMemberAccess] - as above
            # A WebSocket takes the connection as it is, from the requests before it too: their answers would go
            # among its frames, and nobody would tell them when the client is gone.
            self._refusal = MALFORMED
            raise _Refused
        super().on_headers_complete()
        self._in_body = True  # not where that raised: then the request never began

    def on_message_complete(self) -> None:
        """The request is there whole."""
        self._in_body = False
        self._stop_waiting_for_head()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Go on with the next request, or say at last what was wrong with it."""
        super().on_response_complete()
        if self._refusal is not None and not self._busy and not self.transport.is_closing():
            self._unset_keepalive_if_required()
            self._answer(self._refusal)

    def shutdown(self) -> None:
        """Close when what is under way has been answered."""
        if not self._busy:
            self._close()
            return
        for cycle in (self._running, *(cycle for cycle, _ in self.pipeline)):
            if cycle is not None:
                cycle.keep_alive = False

    def pause_writing(self) -> None:
        """The client does not keep up: see whether it reads at all."""
        super().pause_writing()
        self._sending.start(self.transport)

    def resume_writing(self) -> None:
        """The client has read enough to be sent more."""
        super().resume_writing()
        self._sending.stop()

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that nobody used for a while."""
        self._close()

    def abort(self) -> None:
        """Close at once, whatever is under way."""
        if not self._lost:
            self.transport.abort()

    @property
    def answering(self) -> bool:
        """Whether a response has begun and not ended."""
        running = self._running
        return running is not None and running.response_started and not running.response_complete

    @property
    def _lost(self) -> bool:
        return self not in self.connections

    @property
    def _busy(self) -> bool:
        running = self._running
        return bool(self.pipeline) or (running is not None and not running.response_complete)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        task = self.loop.create_task(cycle.run_asgi(app))
        self.tasks.add(task)
        task.add_done_callback(self._request_ended)

    def _request_ended(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if self.transport.is_closing():
            self._close()

    def _upgrade(self) -> None:
        if self._should_upgrade():
            self._cancel_timers()
            self.handle_websocket_upgrade()
            return
        # Another protocol, which may be declined: answered as a plain request. What follows on this connection could
        # be of either, so nothing of it is read.
        self._deaf = True
        for cycle in (self.cycle, self._running):
            if cycle is not None and not cycle.response_complete:
                cycle.keep_alive = False

    def _count(self, length: int) -> None:
        self._head_bytes += length
        if self._head_bytes > self._limits.max_header_bytes or self._header_count > MAX_HEADERS:
            self._refusal = too_long(self._limits.max_header_bytes, MAX_HEADERS)
            raise _Refused

    def _refuse(self, refusal: EarlyAnswer) -> None:
        """Answer that a request can't be taken, after those before it, and read nothing any more."""
        self._deaf = True
        self._stop_waiting_for_head()
        cycle = self.cycle
        if self._in_body and not cycle.response_complete:
            # Its body is broken, and it may be at work already.
            cycle.disconnected = True
            cycle.waiting_for_100_continue = False  # it would be written behind the refusal
            cycle.message_event.set()
            if cycle is self._running:
                if cycle.response_started:
                    self.transport.abort()
                else:
                    self._answer(refusal)
                return
            self.pipeline = type(self.pipeline)(entry for entry in self.pipeline if entry[0] is not cycle)
        if self._busy:
            self._refusal = refusal
        else:
            self._answer(refusal)

    def _answer(self, refusal: EarlyAnswer) -> None:
        self._refusal = None
        self.transport.write(refusal.write(self.server_state.default_headers))
        # Closed at once, what the client has still under way would be answered by a reset, and the answer lost by it.
        if self.transport.can_write_eof():
            with contextlib.suppress(OSError):  # the client has gone just now, of which the transport is told next
                self.transport.write_eof()
        self._close_timer = self.loop.call_later(_LINGER_S, self._close)

    def _await_head(self, seconds: float) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(seconds, self._head_is_late)

    def _stop_waiting_for_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        self._head_timer = None
        if self._busy:
            if self._in_head:  # it waits behind a response, and may not have been read on
                self._await_head(self._limits.header_timeout)
        elif self._in_head:
            self._refuse(SLOW)
        else:
            self._close()  # it asked nothing: a browser opens connections ahead

    def _close(self) -> None:
        """Close, and at once where the client does not take what is left for it."""
        self.transport.close()
        self._watch_closing()

    def _watch_closing(self) -> None:
        if self._close_timer is not None:
            self._close_timer.cancel()
        if not self._lost:
            self._close_timer = self.loop.call_later(_CLOSE_TIMEOUT_S, self._look_at_closing, unsent(self.transport))

    def _look_at_closing(self, before: int) -> None:
        if 0 < unsent(self.transport) < before:
            self._watch_closing()  # it is slow, but reads: an end now would cost it the rest of its answer
        else:
            self.abort()

    def _cancel_timers(self) -> None:
        self._stop_waiting_for_head()
        self._unset_keepalive_if_required()
        self._sending.stop()
        if self._close_timer is not None:
            self._close_timer.cancel()
