"""The server below the application: sockets, TLS, limits of connections, and an end that lets requests finish."""

from __future__ import annotations

import asyncio
import contextlib
from email.utils import formatdate
from functools import partial
from pathlib import Path
from typing import Any

from uvicorn.config import Config
from uvicorn.lifespan.on import LifespanOn

from hub.errors import InvalidConfig, ModhubError
from hub.events import EventBus
from hub.http.config import HttpConfig
from hub.http.config_sources import UNIX_PREFIX, check_exposure
from hub.http.connection import TURNED_AWAY, GuardedConnection
from hub.http.crowd import Crowd
from hub.http.cut_off import CutOff
from hub.http.encrypted import EncryptedConnection
from hub.http.lane_connection import LaneConnection
from hub.http.listening import bind, url_of
from hub.http.tls import Certificate
from hub.http.websocket_connection import GuardedWebSocket

_BACKLOG = 1024
_TLS_CLOSE_TIMEOUT_S = 5.0
_LOOK_S = 0.02
_TURNS_OF_ACCEPTING = 5  # of the loop, until a connection that was just accepted is known, and turned away
_CANCELLED_TIMEOUT_S = 5.0

_log = EventBus()  # nobody listens to this one: these are for the log only


class Server:
    """Serves an application on the running event loop, from `start` to `stop`.

    Of uvicorn it takes what speaks HTTP, not its `Server`: that one takes the process's signals, ends the process where
    it can't start, and knows no deadline for a TLS handshake.

    The address is taken when this is made: so that whoever can't have it learns that before anything else is started.
    Until it is started, connections are refused.

    Args:
        config: the configuration.

    Attributes:
        url: where it is found.
        port: its port; 0 for a socket in the file system.

    Raises:
        InvalidConfig: the address can't be had, the certificate can't be used, or strangers would be let in.
    """

    def __init__(self, config: HttpConfig) -> None:
        check_exposure(config)
        self._config = config
        self._certificate: Certificate | None = None
        if config.tls_cert is not None and config.tls_key is not None:
            self._certificate = Certificate(config.tls_cert, config.tls_key)
        self._state = Crowd()
        self._closed = False
        self._encrypted: set[EncryptedConnection] = set()
        self._sockets = bind(config)
        self.url = url_of(config, self._sockets)
        name: Any = self._sockets[0].getsockname()
        self.port = 0 if config.host.startswith(UNIX_PREFIX) else int(name[1])
        self._servers: list[asyncio.Server] = []
        self._lifespan: LifespanOn
        self._clock: asyncio.Task[None]

    @property
    def connections(self) -> int:
        """How many connections there are."""
        return len(self._state.connections)

    def close(self) -> None:
        """Give the address back. For a server that was not started; `stop` does it as well. Idempotent."""
        if self._closed:
            return  # another server may have the socket's place by now
        self._closed = True
        for bound in self._sockets:
            bound.close()
        if self._config.host.startswith(UNIX_PREFIX):
            with contextlib.suppress(OSError):
                Path(self._config.host.removeprefix(UNIX_PREFIX)).unlink()

    def reload(self) -> None:
        """Read the certificate again, for connections from now on; without TLS nothing happens.

        Raises:
            InvalidConfig: it can't be used; the one of before goes on.
        """
        if self._certificate is not None:
            self._certificate.reload()

    async def start(self, app: Any) -> None:
        """Start the application, then listen.

        Args:
            app: an ASGI application.

        Raises:
            ModhubError: the application did not start; the address is given back.
            InvalidConfig: somebody else was quicker to listen there.
        """
        config = Config(
            CutOff(app),
            http=LaneConnection,
            ws=partial(GuardedWebSocket, send_timeout=self._config.send_timeout),  # type: ignore[arg-type] # called like the class  # pyright: ignore[reportArgumentType] - the same
            lifespan="on",
            log_config=None,
            access_log=False,
            proxy_headers=False,  # whom to believe is decided where it is used
            server_header=False,
            timeout_keep_alive=self._config.keep_alive,  # type: ignore[arg-type] # seconds, for a timer that takes a float  # pyright: ignore[reportArgumentType] - the same
        )
        config.load()
        self._lifespan = LifespanOn(config)
        await self._lifespan.startup()
        if self._lifespan.should_exit:
            self.close()
            raise ModhubError("the HTTP application did not start", hint="its error stands in the log")
        self._state.default_headers = _date()
        loop = asyncio.get_running_loop()
        factory = partial(
            LaneConnection,
            config=config,
            server_state=self._state,
            app_state=self._lifespan.state,
            limits=self._config,
            access=getattr(getattr(app, "state", None), "lane", None),  # any application will do, also one without
            _loop=loop,
        )
        certificate = self._certificate

        def encrypted() -> asyncio.BaseProtocol:
            assert certificate is not None
            return EncryptedConnection(
                factory(),
                certificate.context,
                self._encrypted,
                limit=self._config.max_connections + TURNED_AWAY,
                handshake_timeout=self._config.header_timeout,
                shutdown_timeout=_TLS_CLOSE_TIMEOUT_S,
            )

        made = factory if certificate is None else encrypted
        try:
            for bound in self._sockets:
                self._servers.append(await loop.create_server(made, sock=bound, backlog=_BACKLOG))
        except OSError as error:
            # Two may have the same address until one of them listens.
            for server in self._servers:
                server.close()
            await self._lifespan.shutdown()
            self.close()
            raise InvalidConfig(f"http: {self.url} can't be had: {error.strerror}", hint="name another port") from error
        self._clock = loop.create_task(self._tick(), name="modhub-http-clock")
        _log.publish_from_thread("http.listening", url=self.url)

    async def stop(self) -> None:
        """Take no new connections, let running requests end within `drain_timeout`, then end them; stop the application."""
        self._state.ending = True
        for server in self._servers:
            server.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._config.drain_timeout
        for _ in range(_TURNS_OF_ACCEPTING):
            await asyncio.sleep(0)
        # Looked at, since uvicorn's connections tell nobody when they end.
        while (self._state.connections or self._state.tasks) and loop.time() < deadline:  # noqa: ASYNC110 - see above
            await asyncio.sleep(_LOOK_S)
        tasks = list(self._state.tasks)
        for connection in list(self._state.connections):
            if isinstance(connection, GuardedConnection) and connection.answering:
                connection.abort()  # nothing else tells that the answer is not complete
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_CANCELLED_TIMEOUT_S)
        cut_off = len(tasks)
        for connection in list(self._state.connections):
            cut_off += isinstance(connection, LaneConnection) and connection.carrying
            connection.transport.abort()
        for encrypted in list(self._encrypted):  # those whose handshake goes on
            encrypted.abort()
        for server in self._servers:
            await server.wait_closed()
        while self._state.connections:  # noqa: ASYNC110 - aborted: each is told at the loop's next turn
            await asyncio.sleep(0)
        await self._lifespan.shutdown()
        self._clock.cancel()
        await asyncio.wait((self._clock,))
        self.close()
        _log.publish_from_thread("http.closed", url=self.url, cut_off=cut_off)

    async def _tick(self) -> None:
        while True:
            self._state.default_headers = _date()
            await asyncio.sleep(1.0)


def _date() -> list[tuple[bytes, bytes]]:
    return [(b"date", formatdate(usegmt=True).encode())]
