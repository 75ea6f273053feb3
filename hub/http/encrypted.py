"""A TLS connection that counts from when it is accepted, and not only from the end of its handshake."""

from __future__ import annotations

import asyncio
import ssl
from asyncio.sslproto import SSLProtocol
from typing import Any


class EncryptedConnection(SSLProtocol):
    """TLS below another protocol, as asyncio's own servers have it.

    With `ssl=` they tell nobody of a connection before its handshake is over: any number of silent ones would each take
    a descriptor and a buffer of 256 KB until the handshake's deadline, and the hub would have none left for its own.

    Args:
        inner: the protocol above.
        context: with what to serve.
        accepted: those that are there; this one adds itself.
        limit: how many there may be; one more is closed at once.
        handshake_timeout: seconds.
        shutdown_timeout: seconds.
    """

    def __init__(
        self,
        inner: asyncio.Protocol,
        context: ssl.SSLContext,
        accepted: set[EncryptedConnection],
        *,
        limit: int,
        handshake_timeout: float,
        shutdown_timeout: float,
    ) -> None:
        super().__init__(
            asyncio.get_running_loop(),
            inner,
            context,
            None,  # type: ignore[arg-type] # nobody waits for the handshake  # pyright: ignore[reportArgumentType] - the same
            server_side=True,
            ssl_handshake_timeout=handshake_timeout,  # type: ignore[arg-type] # any number  # pyright: ignore[reportArgumentType] - the same
            ssl_shutdown_timeout=shutdown_timeout,
        )
        self._accepted = accepted
        self._limit = limit
        self._below: Any = None

    def connection_made(self, transport: Any) -> None:
        """Begin the handshake, or close where there are too many."""
        self._below = transport
        if len(self._accepted) >= self._limit:
            transport.abort()
            return
        self._accepted.add(self)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Give the place back."""
        self._accepted.discard(self)
        super().connection_lost(exc)

    def abort(self) -> None:
        """Close at once, in the midst of a handshake too."""
        self._below.abort()
