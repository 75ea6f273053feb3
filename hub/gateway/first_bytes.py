"""What a client has sent while its module came up, handed on by whoever connected it."""

from __future__ import annotations

import socket
from contextlib import suppress

_MOST = 64 * 1024


def pass_on(client: socket.socket, server: socket.socket) -> None:
    """Hand on what a client has sent already, as far as the server's socket takes it. Does not block.

    The server has it a turn of a thread sooner than by the splice, which goes on where this ends. Whatever is not plain
    bytes, an end or an error, is left to the splice.

    Args:
        client: the connection that came in; nobody else reads from it yet.
        server: the connection to the instance; both do not block.
    """
    with suppress(OSError):  # nothing is there, or the splice meets it too
        # Looked at first and taken afterwards: of what the server does not take, nothing has to be kept.
        if waiting := client.recv(_MOST, socket.MSG_PEEK):
            sent = server.send(waiting)
            client.recv(sent)
