"""One thread, one loop: clients, the database and signals. Usable from the moment that the port answers."""

from __future__ import annotations

import _socket
import os
import select
import time

from .blobs import BlobStore, StorageError, Unusable
from .connection import Connection
from .report import complain

TYPE_CHECKING = False  # as typing's, without importing it
if TYPE_CHECKING:
    from collections.abc import Callable

MAX_CONNECTIONS = 256
_BACKLOG = 512
_GRACE_S = 3.0
_TICK_S = 1.0
_SWEEP_RETRY_S = 10.0
_DEFAULTS = {
    "--port": "",
    "--data-dir": "",
    "--checkpoint-dir": "",
    "--max-body": str(5 * 1024**3),
    "--client-timeout": "30",
}
_USAGE = "usage: store --port N --data-dir DIR [--checkpoint-dir DIR] [--max-body BYTES] [--client-timeout SECONDS]"


class Server:
    """Serves until it is told to stop."""

    def __init__(self, listener: _socket.socket, blobs: BlobStore, *, max_body: int, patience_s: float) -> None:
        self._listener = listener
        # What socket.accept is made of; type checkers know only the public one.
        self._take: Callable[[], tuple[int, object]] = getattr(listener, "_accept")  # noqa: B009 - an attribute that checkers do not know
        self._blobs = blobs
        self._max_body = max_body
        self._patience_s = patience_s
        self._epoll = select.epoll()
        self._connections: dict[int, Connection] = {}
        self._interests: dict[int, int] = {}
        self._stop_by = 0.0
        self._sweep_at = 0.0
        self._accepting = True
        self._next_tick = time.monotonic() + _TICK_S
        self._wakeup, write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        _on_signals(write_end)
        blobs.wake = write_end
        self._epoll.register(self._wakeup, select.EPOLLIN)
        self._epoll.register(listener.fileno(), select.EPOLLIN)

    def run(self) -> None:
        """Until a signal has come and what was asked before it is answered."""
        while not self._stop_by or self._connections:
            touched = self._turn(self._epoll.poll(self._timeout_s()))
            for connection in touched:
                self._settle(connection)
            now = time.monotonic()
            if now >= self._next_tick:
                self._next_tick = now + _TICK_S
                self._tick(now)

    def _timeout_s(self) -> float | None:
        """None while nobody is connected: an idle store does not wake up."""
        if self._sweeps() or any(c.hungry or (c.job and not c.waiting) for c in self._connections.values()):
            return 0
        return _TICK_S if self._connections or self._blobs.has_garbage or not self._accepting else None

    def _turn(self, events: list[tuple[int, int]]) -> set[Connection]:
        touched: set[Connection] = set()
        ready = dict(events)
        for number, mask in events:
            connection = self._connections.get(number)
            if connection is not None:
                connection.handle(mask)
                touched.add(connection)
        # Only now: a new connection may get the number of one that was closed just above, but not its events.
        # What a signal writes is its number; 0 is from a thread of ours that has ended, whose job goes on below.
        if self._wakeup in ready and any(os.read(self._wakeup, 64)):
            touched |= self._stop()
        elif not self._stop_by and self._listener.fileno() in ready:
            self._accept()
        for connection in self._connections.values():
            if connection.job is not None:
                connection.step_job()
                touched.add(connection)
            elif connection.hungry:
                connection.advance()
                touched.add(connection)
        if self._sweeps():
            self._sweep()
        return touched

    def _sweeps(self) -> bool:
        return self._blobs.has_garbage and time.monotonic() >= self._sweep_at

    def _sweep(self) -> None:
        try:
            self._blobs.sweep()
        except StorageError as error:
            # A full disk, say. Garbage can wait; those who only read need not notice.
            complain(f"cannot remove garbage yet: {error}")
            self._sweep_at = time.monotonic() + _SWEEP_RETRY_S

    def _accept(self) -> None:
        while True:
            if len(self._connections) >= MAX_CONNECTIONS and not self._evict():
                self._pause()
                return
            try:
                number, _ = self._take()
            except BlockingIOError:
                return
            except ConnectionAbortedError:
                continue
            except OSError:  # out of descriptors; try again with the next tick instead of at once, for ever
                self._pause()
                return
            sock = _socket.socket(fileno=number)
            sock.setblocking(False)
            sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
            connection = Connection(sock, self._blobs, max_body=self._max_body, patience_s=self._patience_s)
            self._connections[number] = connection
            self._interests[number] = connection.interest()
            self._epoll.register(number, connection.interest())

    def _pause(self) -> None:
        self._accepting = False
        self._epoll.modify(self._listener.fileno(), 0)

    def _evict(self) -> bool:
        """Close the connection that has idled longest; False when none idles."""
        idle = [connection for connection in self._connections.values() if connection.idle]
        if not idle:
            return False
        connection = min(idle, key=lambda idler: idler.deadline)
        connection.close()
        self._settle(connection)
        return True

    def _settle(self, connection: Connection) -> None:
        """After a connection was worked on: forget it, or wait for what it wants next."""
        number = connection.number
        if self._connections.get(number) is not connection:
            return
        if self._stop_by and not connection.busy:
            connection.close()
        if connection.closed:
            # Closing has taken it out of the epoll set.
            del self._connections[number], self._interests[number]
            return
        interest = connection.interest()
        if interest != self._interests[number]:
            self._epoll.modify(number, interest)
            self._interests[number] = interest

    def _stop(self) -> set[Connection]:
        """Take what has already arrived, and nothing after it."""
        first = not self._stop_by
        if first:
            self._stop_by = time.monotonic() + _GRACE_S
            self._accept()
        for connection in self._connections.values():
            connection.handle(select.EPOLLIN)
            connection.closing = True
        if first:
            # Last: once newcomers are refused, every answer says that its connection ends.
            self._epoll.unregister(self._listener.fileno())
            self._listener.close()
        return set(self._connections.values())

    def _tick(self, now: float) -> None:
        for connection in list(self._connections.values()):
            if self._stop_by and now >= self._stop_by:
                connection.close()
            elif now >= connection.deadline and connection.job is None:
                connection.time_out()
            self._settle(connection)
        if not self._accepting and not self._stop_by:
            self._accepting = True
            self._epoll.modify(self._listener.fileno(), select.EPOLLIN)


def _on_signals(write_end: int) -> None:
    # The C module: `signal` would import enum. Its name is hidden from type checkers, which know only the public one.
    signal = __import__("_signal")
    signal.set_wakeup_fd(write_end)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _note)


def _note(_number: int, _frame: object) -> None:
    """The wake-up is all that is needed; without a handler the default one would end the process."""


def _options(arguments: list[str]) -> tuple[int, str, str, int, float]:
    options = dict(_DEFAULTS)
    pairs = iter(arguments)
    for name in pairs:
        if name not in options:
            raise ValueError(f"unknown option {name}")
        options[name] = next(pairs, "")
    if not options["--data-dir"]:
        raise ValueError("--data-dir is missing")
    port = int(options["--port"])
    if not 0 <= port < 65536:
        raise ValueError("a port is a number below 65536")
    directories = options["--data-dir"], options["--checkpoint-dir"]
    return port, *directories, int(options["--max-body"]), float(options["--client-timeout"])


def main(arguments: list[str]) -> int:
    """Run the store; returns the exit code."""
    try:
        port, data_dir, checkpoint_dir, max_body, patience_s = _options(arguments)
    except ValueError as error:
        complain(f"{error}\n{_USAGE}")
        return 2
    listener = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM | _socket.SOCK_NONBLOCK)
    listener.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
    try:
        # Bound but not listening, clients are refused: the port is ours, and answers only when the data is there.
        listener.bind(("127.0.0.1", port))
        blobs = BlobStore(data_dir, checkpoint_dir)
        server = Server(listener, blobs, max_body=max_body, patience_s=patience_s)
        listener.listen(_BACKLOG)
    except OSError as error:
        complain(f"cannot listen on 127.0.0.1:{port}: {error.strerror}")
        return 1
    except Unusable as error:
        complain(str(error))
        return 1
    complain(f"serves {data_dir} on http://127.0.0.1:{listener.getsockname()[1]}")
    server.run()
    try:
        blobs.close()
    except StorageError as error:
        # Nothing that was acknowledged is lost: it is in the log, which the next start reads.
        complain(f"cannot fold the log into the database: {error}")
        return 1
    return 0
