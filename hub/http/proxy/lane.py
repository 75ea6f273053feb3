"""The fast lane: small requests to instances that were seen a moment ago, carried out by callbacks alone.

A task, ASGI's messages and a chain of middlewares cost several times what such a request takes otherwise. Nothing is
decided here: who may ask, what is passed on and what of it the client gets, the same functions decide as everywhere,
and whatever is not plain goes the long way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from hub.errors import ModhubError
from hub.http.proxy.answer_head import AnswerHead, rewrite
from hub.http.proxy.answer_reader import AnswerReader, Stage
from hub.http.proxy.connection import InstanceConnection
from hub.http.proxy.errors import InstanceUnreachable
from hub.http.proxy.lane_client import Client, write_head
from hub.http.proxy.pool import Pool
from hub.http.proxy.resolve import Live, Resolver
from hub.http.proxy.route import Route

# Bound here: a look into an enumeration is slow.
_HEAD, _BODY, _DONE = Stage
_MAX_KNOWN = 512
_MAX_KNOWN_HEAD = 2048
_JOINED = 65536  # bytes up to which copying a body costs less than a second write

Answer = tuple[int, list[tuple[bytes, bytes]], bytes]


class Known(NamedTuple):
    """The head of an answer that was read before.

    Attributes:
        status: its first line for the client.
        lines: its fields for the client.
        length: bytes of the body.
    """

    status: bytes
    lines: bytes
    length: int


class Lane:
    """Carries out requests on idle connections.

    Args:
        resolver: tells which process was seen a moment ago.
        pool: has connections to it.
        sandbox: whether the instances' pages are to run in an origin of their own.
        tell: makes the answer that tells an error.

    Attributes:
        carried: requests that were carried out here, or tried.
    """

    __slots__ = ("_known", "_pool", "_resolver", "_sandbox", "_tell", "carried")

    def __init__(self, resolver: Resolver, pool: Pool, *, sandbox: bool, tell: Callable[[ModhubError], Answer]) -> None:
        self._resolver = resolver
        self._pool = pool
        self._sandbox = sandbox
        self._tell = tell
        self._known: dict[tuple[bytes, bytes, bytes], Known] = {}
        self.carried = 0

    def open(self, module_id: str) -> bool:
        """Tell whether a request to a module may go this way now, as far as the module goes."""
        return self._resolver.recent(module_id) is not None

    def carry(self, client: Client, route: Route, target: bytes, received: bytes) -> Carried | None:
        """Begin with a request.

        Args:
            client: who gets the answer.
            route: what was decided about it.
            target: path and query for the instance.
            received: the request as it came.

        Returns:
            The request; `None` = it has to go the long way.
        """
        live = self._resolver.recent(route.module_id)
        if live is None:
            return None
        connection = self._pool.reuse(live)
        if connection is None:
            return None
        self.carried += 1
        carried = Carried(self, client, route=route, live=live, connection=connection, received=received)
        connection.begin(route.encode(live, target), no_body=route.no_body, listener=carried)
        return carried

    def head(self, carried: Carried, reader: AnswerReader) -> tuple[bytes, bool]:
        """Return the head of an answer for the client, and whether its body goes in chunks."""
        route, status = carried.route, reader.status
        fields = rewrite(
            AnswerHead(status, reader.fields),
            prefix=route.prefix,
            authority=carried.connection.authority,
            sandbox=self._sandbox,
        )
        chunked = not (route.no_body or status in {204, 304} or any(name == b"content-length" for name, _ in fields))
        return write_head(carried.client, status, fields, chunked=chunked), chunked

    def recall(self, carried: Carried, data: bytes) -> bytes | None:
        """Return an answer for the client, if these bytes are all of it and its head was read before.

        Clients that look time and again whether something has changed get the same answer. The very same head of the
        same instance means the same again, so it is neither parsed nor rewritten another time.
        """
        end = data.find(b"\r\n\r\n") + 4
        known = self._known.get((carried.route.prefix, carried.connection.authority, data[:end]))
        if known is None or len(data) - end != known.length or carried.route.no_body or carried.client.ending:
            return None
        self._pool.settled(carried.live, carried.connection)
        return b"".join((known.status, carried.client.common_fields(), known.lines, data[end:]))

    def learn(self, carried: Carried, data: bytes, reader: AnswerReader, head: bytes, body: bytes) -> None:
        """Remember the head of an answer that came in one piece, its length told, and left the connection in order."""
        end = data.find(b"\r\n\r\n") + 4
        if (
            not data
            or not reader.keeps
            or reader.tainted
            or end > _MAX_KNOWN_HEAD
            or data[end:] != body  # it had an interim answer before it, or chunks
            or not any(name == b"content-length" for name, _ in reader.fields)
            or reader.status in {204, 304}
            or carried.route.no_body
            or carried.client.ending
        ):
            return
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        status = STATUS_LINE[reader.status]
        lines = head[len(status) + len(carried.client.common_fields()) :]
        key = carried.route.prefix, carried.connection.authority, data[:end]
        self._known[key] = Known(status, lines, len(body))

    def release(self, carried: Carried) -> None:
        """Take back the connection to the instance."""
        self._pool.give_back(carried.live, carried.connection)

    def failed(self, carried: Carried, error: Exception) -> None:
        """Answer a request that nothing was answered yet."""
        client = carried.client
        if isinstance(error, InstanceUnreachable):
            # It may have closed an idle connection just now: that says nothing of the instance.
            self._resolver.forget(carried.route.module_id)
            client.go_round(carried.received)
        elif isinstance(error, ModhubError):
            status, fields, body = self._tell(error)
            head = write_head(client, status, fields)
            client.write(head if carried.route.no_body else head + body)
            client.carried_out()
        else:
            client.cut_off()


class Carried:
    """A request on its way to an instance, and its answer on the way back.

    Args:
        lane: whose it is.
        client: who gets the answer.
        route: what was decided about it.
        live: the process that it goes to.
        connection: the connection to that.
        received: the request as it came.
    """

    __slots__ = ("_chunked", "_first", "_lane", "_started", "client", "connection", "live", "received", "route")

    def __init__(
        self,
        lane: Lane,
        client: Client,
        *,
        route: Route,
        live: Live,
        connection: InstanceConnection,
        received: bytes,
    ) -> None:
        self._lane = lane
        self._started = self._chunked = False
        self._first = b""  # what came first of the answer
        self.client = client
        self.route = route
        self.live = live
        self.connection = connection
        self.received = received

    # The client's side

    def pause(self) -> None:
        """The client does not keep up: make the instance wait, unless it has said all.

        Its connection is in the pool by then, or serves another client already: paused there, nothing would resume it.
        """
        if self.connection.listener is self:
            self.connection.pause()

    def resume(self) -> None:
        """The client takes more."""
        if self.connection.listener is self:
            self.connection.resume()

    def abandon(self) -> None:
        """The client is gone: so is the request."""
        self.connection.listener = None
        self.connection.close()
        self._lane.release(self)

    # The instance's side

    def recall(self, data: bytes) -> bool:
        """Pass on an answer whose head is known, if this is all of it."""
        answer = self._lane.recall(self, data)
        if answer is None:
            self._first = data
            return False
        self.connection.listener = None
        self.client.write(answer)
        self.client.carried_out()
        return True

    def heard(self, reader: AnswerReader) -> None:
        """Pass on what came of the answer."""
        stage = reader.stage
        if stage is _HEAD:
            # An interim answer, or a part of a head: remembered as the head of what follows, the next one of its kind
            # would be answered with that, and its own answer be given to another client.
            self._first = b""
            return
        data = reader.take()
        done = stage is _DONE
        if self._started:
            head = b""
        else:
            head, self._chunked = self._lane.head(self, reader)
            self._started = True
            if done:
                self._lane.learn(self, self._first, reader, head, data)
        if self._chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
            if done:
                data += b"0\r\n\r\n"
        client = self.client
        if done:
            # First: what is written may make the client's connection call `pause`, and there is nothing to wait for.
            self.connection.listener = None
            self._lane.release(self)
        if head and len(data) > _JOINED:
            client.write(head)
            client.write(data)
        elif head or data:
            client.write(head + data)
        if done:
            client.carried_out()

    def lost(self, error: Exception) -> None:
        """Tell the client that there is no answer, or that it broke off."""
        self.connection.listener = None
        self._lane.release(self)
        if self._started:
            self.client.cut_off()
        else:
            self._lane.failed(self, error)
