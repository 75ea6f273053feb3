"""A splice passes on all that one end does: bytes, half-closes, resets, and slowness."""

from __future__ import annotations

import hashlib
import itertools
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hub.gateway.buffers import LARGE, SMALL, Buffers
from hub.gateway.plane import DataPlane
from hub.loop_thread import LoopThread
from tests.hub.gateway.client import await_that, read_all, reset

Spliced = Callable[[], tuple[socket.socket, socket.socket]]


class Rig:
    """A data plane, and what has ended on it."""

    def __init__(self) -> None:
        self.plane = DataPlane()
        self.thread = LoopThread("data-plane", self.plane)
        self.thread.start()
        self.ended: list[int] = []
        self._numbers = itertools.count(1)
        self._open: list[socket.socket] = []

    def splice(self) -> tuple[socket.socket, socket.socket]:
        """The outer ends of two connections that are spliced: the client's and the server's."""
        client, near_client = tcp_pair()
        near_server, server = tcp_pair()
        near_client.setblocking(False)
        near_server.setblocking(False)
        number = next(self._numbers)
        self.plane.begin(number, near_client, near_server, lambda: self.ended.append(number))
        self._open += [client, server]
        return client, server

    def close(self) -> None:
        self.thread.close()
        for connection in self._open:
            connection.close()


@pytest.fixture
def rig() -> Iterator[Rig]:
    before = descriptors()
    rig = Rig()
    yield rig
    rig.close()
    assert descriptors() == before


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one = socket.create_connection(listener.getsockname(), timeout=10)
        other, _ = listener.accept()
        other.settimeout(10)
        return one, other


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def push(connection: socket.socket, limit: int) -> int:
    """Send until nothing goes through for a while, at most so much; returns how much went."""
    connection.settimeout(0.5)
    sent = 0
    chunk = bytes(LARGE)
    try:
        while sent < limit:
            sent += connection.send(chunk)
    except TimeoutError:
        pass
    connection.settimeout(10)
    return sent


def test_bytes_arrive_as_they_were_sent_in_both_directions(rig: Rig) -> None:
    """Many buffers full, both ways at once, with pieces of all lengths: each end gets what the other sent, in order."""
    client, server = rig.splice()
    data = os.urandom(24 * LARGE + 12345)
    received: dict[str, str] = {}

    def send(connection: socket.socket, step: int) -> None:
        for start in range(0, len(data), step):
            connection.sendall(data[start : start + step])
        connection.shutdown(socket.SHUT_WR)

    def receive(name: str, connection: socket.socket) -> None:
        received[name] = hashlib.sha256(read_all(connection)).hexdigest()

    threads = [
        threading.Thread(target=send, args=(client, 70_001)),
        threading.Thread(target=send, args=(server, 3 * LARGE + 1)),
        threading.Thread(target=receive, args=("client", client)),
        threading.Thread(target=receive, args=("server", server)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = hashlib.sha256(data).hexdigest()
    assert received == {"client": expected, "server": expected}
    await_that(lambda: rig.ended == [1])


@pytest.mark.parametrize("first", ["client", "server"])
def test_a_half_close_is_passed_on_and_the_other_direction_goes_on(rig: Rig, first: str) -> None:
    """Who has sent all it had still gets the answer; both are closed when both have ended."""
    client, server = rig.splice()
    one, other = (client, server) if first == "client" else (server, client)
    one.sendall(b"question")
    one.shutdown(socket.SHUT_WR)
    assert read_all(other) == b"question"
    assert rig.ended == []
    other.sendall(b"answer")
    other.close()
    assert read_all(one) == b"answer"
    await_that(lambda: rig.ended == [1])


@pytest.mark.parametrize("first", ["client", "server"])
def test_a_reset_is_passed_on_as_a_reset(rig: Rig, first: str) -> None:
    """An end that breaks off is an error at the other end, and no clean end."""
    client, server = rig.splice()
    one, other = (client, server) if first == "client" else (server, client)
    one.sendall(b"x")
    assert other.recv(1) == b"x"
    reset(one)
    with pytest.raises(ConnectionResetError):
        other.recv(1)
    await_that(lambda: rig.ended == [1])


def test_a_reset_after_a_half_close_is_passed_on(rig: Rig) -> None:
    """An end that had sent all it had, and breaks off then, is an error at the other end too."""
    client, server = rig.splice()
    client.shutdown(socket.SHUT_WR)
    assert server.recv(1) == b""
    reset(client)
    await_that(lambda: rig.ended == [1])  # though nobody reads or writes
    with pytest.raises(
        (ConnectionResetError, BrokenPipeError)
    ):  # which of them, once its own side is closed, is the kernel's
        server.sendall(b"x")


def test_an_answer_reaches_the_client_whose_request_the_server_did_not_read_to_its_end(rig: Rig) -> None:
    """A server that answers and breaks off in the midst of a request: the answer arrives, then the error."""
    client, server = rig.splice()
    client.sendall(b"x" * 1000)
    assert server.recv(10) == b"x" * 10
    server.sendall(b"too long")
    server.close()  # with something unread: the kernel sends a reset
    assert client.recv(100) == b"too long"
    with pytest.raises(ConnectionResetError):
        client.recv(100)
    await_that(lambda: rig.ended == [1])


def test_a_reader_that_does_not_read_holds_its_sender_back(rig: Rig) -> None:
    """Nothing is taken from the sender that can't be passed on: one buffer beyond the kernel's own; then all arrives."""
    client, server = rig.splice()
    sent = push(client, 256 * LARGE)
    assert sent < 64 * LARGE
    client.shutdown(socket.SHUT_WR)
    assert len(read_all(server)) == sent


def test_one_that_does_not_read_holds_nobody_else_up(rig: Rig) -> None:
    """While one splice is stuck, another moves as before."""
    stuck, _ = rig.splice()
    push(stuck, 256 * LARGE)
    client, server = rig.splice()
    client.sendall(b"ping")
    assert server.recv(4) == b"ping"


def test_many_bulk_transfers_leave_room_for_a_small_one(rig: Rig) -> None:
    """A byte gets through beside several streams that never pause: each turn is bounded."""
    ended = threading.Event()

    def flood(connection: socket.socket) -> None:
        chunk = bytes(LARGE)
        while not ended.is_set():
            connection.sendall(chunk)

    def drink(connection: socket.socket) -> None:
        buffer = bytearray(LARGE)
        while connection.recv_into(buffer):
            pass

    pairs = [rig.splice() for _ in range(4)]
    floods = [threading.Thread(target=flood, args=(client,)) for client, _ in pairs]
    drinks = [threading.Thread(target=drink, args=(server,)) for _, server in pairs]
    for thread in (*drinks, *floods):
        thread.start()
    client, server = rig.splice()
    for _ in range(20):
        client.sendall(b"p")
        assert server.recv(1) == b"p"
        server.sendall(b"q")
        assert client.recv(1) == b"q"
    ended.set()
    for thread in floods:
        thread.join()
    for outer, _ in pairs:
        outer.shutdown(socket.SHUT_WR)
    for thread in drinks:
        thread.join()


def test_the_end_of_a_server_lets_its_last_words_through(rig: Rig) -> None:
    """Drained, a splice passes on what the server had sent, and then ends, though the client keeps its own side open."""
    client, server = rig.splice()
    server.sendall(b"last words")
    server.close()
    rig.plane.drain(1)
    assert read_all(client) == b"last words"
    await_that(lambda: rig.ended == [1])


def test_a_drained_splice_whose_client_does_not_read_ends(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client can't keep what is left of a server for ever."""
    monkeypatch.setattr("hub.gateway.splice._DRAIN_S", 0.1)
    client, server = rig.splice()
    push(server, 256 * LARGE)
    rig.plane.drain(1)
    await_that(lambda: rig.ended == [1])
    with pytest.raises(ConnectionResetError):
        read_all(client)


def test_what_runs_when_the_plane_ends_is_reset(rig: Rig) -> None:
    """Neither end hangs, and neither takes it for a clean end."""
    client, server = rig.splice()
    client.sendall(b"x")
    assert server.recv(1) == b"x"
    rig.thread.close()
    rig.thread = LoopThread("data-plane", DataPlane())
    rig.thread.start()
    for end in (client, server):
        with pytest.raises(ConnectionResetError):
            end.recv(1)
    assert rig.ended == [1]


def test_a_thousand_idle_splices_cost_two_descriptors_each_and_no_buffer(rig: Rig) -> None:
    """What has nothing to move holds nothing but its two sockets."""
    rig.splice()
    before, memory = descriptors(), resident()
    for _ in range(1000):
        client, server = rig.splice()
        client.sendall(b"x")
        assert server.recv(1) == b"x"
    assert descriptors() - before == 1000 * 4  # two of the splice, and the test's own two ends
    assert resident() - memory < 1000 * 20 * 1024


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_buffers_are_bounded_however_many_directions_wait() -> None:
    """Beyond the large ones, each further one is small; what is given back is lent again."""
    buffers = Buffers()
    lent = [buffers.take() for _ in range(100)]
    assert sum(len(buffer) for buffer in lent) <= 64 * LARGE + 36 * SMALL
    for buffer in lent:
        buffers.give(buffer)
    assert len(buffers.take()) == LARGE
