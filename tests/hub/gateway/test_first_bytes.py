"""What a client has sent before it was connected reaches the server once, and in its order."""

import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from hub.gateway.first_bytes import pass_on

Pairs = tuple[socket.socket, socket.socket, socket.socket, socket.socket]


@pytest.fixture
def ends() -> Iterator[Pairs]:
    """The client and its connection, the connection to the server and the server."""
    client, came_in = socket.socketpair()
    goes_out, server = socket.socketpair()
    with closing(client), closing(came_in), closing(goes_out), closing(server):
        for end in (came_in, goes_out, server):
            end.setblocking(False)
        yield client, came_in, goes_out, server


def test_what_waits_is_handed_on_and_taken(ends: Pairs) -> None:
    """The server has it, and the splice will not find it a second time."""
    client, came_in, goes_out, server = ends
    client.sendall(b"PING")
    pass_on(came_in, goes_out)
    assert server.recv(100) == b"PING"
    with pytest.raises(BlockingIOError):
        came_in.recv(1)


def test_what_the_server_does_not_take_stays(ends: Pairs) -> None:
    """Where its socket takes only a part, or nothing, the rest is still the client's, in its order."""
    client, came_in, goes_out, server = ends
    sent = bytes(range(256)) * 128
    for end in (goes_out, server):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    client.sendall(sent)
    for _ in range(4):  # the first calls hand on what fits, the last ones nothing
        pass_on(came_in, goes_out)
    taken = server.recv(len(sent))
    assert 0 < len(taken) < len(sent)
    assert taken + came_in.recv(len(sent)) == sent


def test_an_end_is_left_to_the_splice(ends: Pairs) -> None:
    """Who has sent nothing, or has closed already, is none of its business: the server is told nothing."""
    client, came_in, goes_out, server = ends
    pass_on(came_in, goes_out)
    client.close()
    pass_on(came_in, goes_out)
    with pytest.raises(BlockingIOError):
        server.recv(1)
    assert came_in.recv(1) == b""


def test_a_server_that_is_gone_is_left_to_the_splice(ends: Pairs) -> None:
    """What can't be handed on stays for the splice, which meets the same error and knows what to do."""
    client, came_in, goes_out, server = ends
    server.close()
    client.sendall(b"PING")
    pass_on(came_in, goes_out)
    assert came_in.recv(100) == b"PING"
