"""A TLS connection that counts from when it is accepted, and not only from the end of its handshake."""

from __future__ import annotations

import asyncio
import ssl
from asyncio.sslproto import SSLProtocol, _SSLProtocolTransport  # pyright: ignore[reportPrivateUsage] - the server's own TLS has no other
from typing import Any, cast

_BELOW = "modhub_below_tls"


def unsent(transport: asyncio.Transport) -> int:
    """Return how many bytes a client has not been sent yet, those below TLS too, where all of its progress shows."""
    below: asyncio.Transport | None = transport.get_extra_info(_BELOW)
    return transport.get_write_buffer_size() + (below.get_write_buffer_size() if below is not None else 0)


class _Transport(_SSLProtocolTransport):
    """asyncio's own, but that it may be closed twice: that one forgets its connection then, and can't be aborted."""

    def close(self) -> None:
        """Close when what is left was sent."""
        if not self.is_closing():
            super().close()


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
        self._left = 0
        self._patience_s = shutdown_timeout

    def connection_made(self, transport: Any) -> None:
        """Begin the handshake, or close where there are too many."""
        self._below = transport
        if len(self._accepted) >= self._limit:
            transport.abort()
            return
        self._accepted.add(self)
        self._extra[_BELOW] = transport
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Give the place back."""
        self._accepted.discard(self)
        super().connection_lost(exc)

    def _get_app_transport(self) -> _SSLProtocolTransport:
        made = cast("_SSLProtocolTransport | None", self._app_transport)
        if made is None:
            made = self._app_transport = _Transport(self._loop, self)
        return made

    def _start_shutdown(self) -> None:
        super()._start_shutdown()
        self._left = self._unsent()

    def _check_shutdown_timeout(self) -> None:
        left = self._unsent()
        if 0 < left < self._left:
            # The client is slow, but reads: an end now would cost it the rest of its answer.
            self._left = left
            self._shutdown_timeout_handle = self._loop.call_later(self._patience_s, self._check_shutdown_timeout)
        else:
            self.abort()

    def _unsent(self) -> int:
        return unsent(self._app_transport)

    def abort(self) -> None:
        """Close at once, in the midst of a handshake too."""
        self._below.abort()
