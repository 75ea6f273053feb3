"""A connection to the server whose small requests to instances take the fast lane, below the application."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol
from urllib.parse import unquote

import httptools
from uvicorn.config import Config

from hub.http.config import HttpConfig
from hub.http.connection import MAX_HEADERS, GuardedConnection
from hub.http.crowd import Crowd
from hub.http.framing import is_ambiguous
from hub.http.proxy.lane import Carried, Lane
from hub.http.proxy.route import FIRST_LINE, Route

# Of one connection. A client sends much the same fields with each request; what differs each time is decided each time.
_MAX_ROUTES = 8
_MAX_REMEMBERED = 4096
_MAX_TAKEN = 32768  # bytes of a head; longer ones are rare, and go the long way
# With one of these a request is not plain: it has a body, waits for something or changes the protocol.
_NOT_PLAIN = frozenset({b"content-length", b"transfer-encoding", b"upgrade", b"expect", b"trailer", b"http2-settings"})


class Access(Protocol):
    """The way to the proxy, as an application offers it in `app.state.lane`."""

    @property
    def lane(self) -> Lane | None:
        """The lane; none as long as nothing went the long way."""
        ...

    def route(self, scope: dict[str, Any]) -> Route | None:
        """Decide about a request; `None` = it has to go the long way, be it to be refused there."""
        ...


class _Head:
    """The head of one request without a body, as the server's own parser reads it."""

    def __init__(self) -> None:
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.complete = 0
        self.plain = True
        self.parser = httptools.HttpRequestParser(self)

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name in _NOT_PLAIN:
            self.plain = False
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        # Asked here: when the message is complete, the parser has forgotten it.
        self.plain &= self.parser.should_keep_alive() and not self.parser.should_upgrade()
        self.plain &= not is_ambiguous(self.headers)

    def on_message_complete(self) -> None:
        self.complete += 1


class LaneConnection(GuardedConnection, asyncio.BufferedProtocol):  # pyright: ignore[reportIncompatibleMethodOverride] - uvicorn's own signature
    """A connection, of whose requests those take the fast lane that come alone, are plain, and for whom it is open.

    Its requests are parsed by a parser of their own; where one goes the long way after all, the connection takes it as
    if it had just come.

    Args:
        config: uvicorn's.
        server_state: what the connections of a server have in common.
        app_state: what the application left there when it started.
        limits: the limits.
        access: the way to the proxy; none = there is no lane.
        _loop: the event loop.

    Attributes:
        ending: whether it ends with the request that is carried out.
    """

    def __init__(
        self,
        config: Config,
        server_state: Crowd,
        app_state: dict[str, Any],
        *,
        limits: HttpConfig,
        access: Access | None = None,
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, limits=limits, _loop=_loop)
        self._access = access
        self._routes: dict[tuple[bytes, bytes, bytes], Route] = {}
        self._carried: Carried | None = None
        self._ahead = b""  # what came while a request was carried out
        self._used_at = 0.0
        self._max_taken = min(_MAX_TAKEN, limits.max_header_bytes)
        self.ending = False

    # The client's side

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the transport's signature
        """Return where to read to."""
        return self._crowd.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was read."""
        self.data_received(bytes(self._crowd.buffer[:nbytes]))

    def data_received(self, data: bytes) -> None:
        """Take what the client sent."""
        if self._carried is not None:
            self._ahead += data
            self.flow.pause_reading()
        elif self._access is None or not self._take(data, self._access):
            super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell all who work for this client that it is gone."""
        carried, self._carried = self._carried, None
        if carried is not None:
            carried.abandon()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client does not keep up: make the instance wait, and see whether it reads at all."""
        super().pause_writing()
        if self._carried is not None:
            self._carried.pause()

    def resume_writing(self) -> None:
        """The client has read enough to be sent more."""
        super().resume_writing()
        if self._carried is not None:
            self._carried.resume()

    def shutdown(self) -> None:
        """Close when what is under way has been answered."""
        self.ending = True
        super().shutdown()

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that nobody used for a while."""
        # One timer for many requests: to set one for each costs as much as parsing it.
        self.timeout_keep_alive_task = None
        if self._carried is not None:
            return
        left = self._used_at + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self._await_request(left)
        else:
            super().timeout_keep_alive_handler()

    @property
    def carrying(self) -> bool:
        """Whether a request is carried out in the lane."""
        return self._carried is not None

    @property
    def _busy(self) -> bool:
        return self._carried is not None or super()._busy

    def _take(self, data: bytes, access: Access) -> bool:
        """Begin with a request in the lane, if it may go there."""
        lane = access.lane
        if lane is None or (line := FIRST_LINE.match(data)) is None or len(data) > self._max_taken:
            return False
        if (
            self._in_head
            or self._in_body
            or self._deaf
            or self._crowded
            or super()._busy
            or self.flow.write_paused
            or self.transport.is_closing()
        ):
            return False
        method, name, target = line.groups()
        # The fields, byte for byte: a decision holds for the very same ones on the same connection, and for no others.
        key = method, name, data[line.end() :]
        route = self._routes.get(key)
        if route is None:
            if not lane.open(name.decode()) or (scope := self._read(data, method, line[0])) is None:
                return False
            route = access.route(scope)
            if route is None:
                return False
            if len(self._routes) >= _MAX_ROUTES:
                self._routes.clear()
            if len(data) <= _MAX_REMEMBERED:
                self._routes[key] = route
        carried = lane.carry(self, route, target, data)
        if carried is None:
            return False
        self._carried = carried
        if self._head_timer is not None:
            self._stop_waiting_for_head()
        return True

    def _read(self, data: bytes, method: bytes, line: bytes) -> dict[str, Any] | None:
        """Make the ASGI scope of a request, if its head is all that came, and plain."""
        if data.find(b"\r\n\r\n") != len(data) - 4:
            return None
        head = _Head()
        try:
            head.parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            return None
        if head.complete != 1 or not head.plain or len(head.headers) > MAX_HEADERS or head.url != line.split(b" ")[1]:
            return None
        raw_path, _, query = head.url.partition(b"?")
        return {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": "1.1",
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "root_path": "",
            "method": method.decode(),
            "path": unquote(raw_path.decode()),
            "raw_path": raw_path,
            "query_string": query,
            "headers": head.headers,
            "state": {},
        }

    # The lane's side

    def common_fields(self) -> bytes:
        """Return the lines that stand in every answer."""
        return self._crowd.common_fields()

    def write(self, data: bytes) -> None:
        """Send a part of the answer."""
        self.transport.write(data)

    def carried_out(self) -> None:
        """Go on with the next request."""
        self._carried = None
        self.server_state.total_requests += 1
        if self.ending:
            self._close()
            return
        self._used_at = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._await_request(self.timeout_keep_alive)
        if self._ahead:
            self._read_ahead()

    def cut_off(self) -> None:
        """End the connection: nothing else tells that the answer is not complete."""
        self._carried = None
        self._close()

    def go_round(self, request: bytes) -> None:
        """Take the request the long way: nothing of an answer was sent."""
        self._carried = None
        super().data_received(request)
        if self.ending:
            super().shutdown()
        if self._ahead:
            self._read_ahead()

    def _read_ahead(self) -> None:
        ahead, self._ahead = self._ahead, b""
        self.flow.resume_reading()
        self.data_received(ahead)

    def _await_request(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)
