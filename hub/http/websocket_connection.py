"""A connection that became a WebSocket, held to what uvicorn's own does not know: heads that it can't read, hoarders."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from hub.http.crowd import Crowd
from hub.http.early_answers import MALFORMED
from hub.http.reader_watch import ReaderWatch


class GuardedWebSocket(WebSocketsSansIOProtocol):
    """A WebSocket, from its handshake until it is closed.

    What uvicorn leaves open, and this closes:

    - a handshake that its parser of WebSockets refuses is never answered, nor is the connection closed;
    - a client that does not read what it is sent keeps the connection, its request and the one to the instance, also
      when it does not answer pings: a connection that is closed waits for what was not sent yet.

    Args:
        config: uvicorn's.
        server_state: what the connections of a server have in common.
        app_state: what the application left there when it started.
        send_timeout: seconds that a client may not read what it is sent.
    """

    def __init__(self, config: Config, server_state: Crowd, app_state: dict[str, Any], *, send_timeout: float) -> None:
        super().__init__(config, server_state, app_state)
        self._crowd = server_state
        self._ending = False
        self._sending = ReaderWatch(self.loop, send_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever works for this client that it is gone."""
        self._sending.stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what the client sent."""
        super().data_received(data)
        if not self.handshake_initiated and not self.transport.is_closing():
            answer = b"".join(self.conn.data_to_send()) or MALFORMED.write(self._crowd.default_headers)
            self.transport.write(answer)
            self.transport.close()
            self._see_it_end()

    def eof_received(self) -> None:
        """Close, as the client will not say any more."""
        self._see_it_end()

    def pause_writing(self) -> None:
        """The client does not keep up: see whether it reads at all."""
        super().pause_writing()
        self._sending.start(self.transport)

    def resume_writing(self) -> None:
        """The client has read enough to be sent more."""
        super().resume_writing()
        self._sending.stop()
        if self._ending:
            self._sending.start(self.transport)

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        """Close, at once or when the client agrees."""
        super().on_task_complete(task)
        self._see_it_end()

    def _see_it_end(self) -> None:
        self._ending = True
        if not self.disconnected:
            self._sending.start(self.transport)
