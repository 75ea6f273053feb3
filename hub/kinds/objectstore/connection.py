"""One client's connection: what it sent, what it is owed, and whose turn it is."""

from __future__ import annotations

import _socket
import select
import time

from .blobs import BlobStore, StorageError
from .http1 import CONTINUE, ChunkedBody, HttpError, Response, SizedBody, failure, split_head
from .report import complain
from .routes import Exchange, begin

TYPE_CHECKING = False  # as typing's, without importing it
if TYPE_CHECKING:
    from .routes import Job
    from .transfer import Reader

_RECEIVE = 64 * 1024
# Nothing more is read or produced for a client while this much waits on either side of it.
_HIGH_WATER = 64 * 1024
# So many steps, then the others have their turn.
_STEPS = 16
_LINGER_S = 1.0
_SQLITE_FULL = 13


class Connection:
    """Never blocks. The server calls `handle` when the socket is ready, and `advance` when `hungry`.

    A `job` it steps at every turn; while that is `waiting` it makes no turn for it.
    """

    def __init__(self, sock: _socket.socket, blobs: BlobStore, *, max_body: int, patience_s: float) -> None:
        self.sock = sock
        self.number = sock.fileno()
        self.closed = False
        self.closing = False
        self.hungry = False
        self.job: Job | None = None
        self.waiting = False
        self.deadline = time.monotonic() + patience_s
        self._blobs = blobs
        self._max_body = max_body
        self._patience_s = patience_s
        self._inbox = bytearray()
        self._outbox = bytearray()
        self._eof = False
        self._lingering = False
        self._exchange: Exchange | None = None
        self._body: SizedBody | ChunkedBody | None = None
        self._received = 0
        self._stream: Reader | None = None
        self._without_body = False

    @property
    def idle(self) -> bool:
        """Nothing asked, nothing owed."""
        return not (self._exchange or self._stream or self._outbox or self._inbox or self.hungry)

    @property
    def busy(self) -> bool:
        """Owes an answer to a request whose head has come, or the quiet end of a connection."""
        return bool(self._exchange or self._stream or self._outbox or self.hungry or self._lingering)

    def interest(self) -> int:
        """What to wait for on the socket."""
        events = 0
        if not self._eof and (self._lingering or len(self._inbox) < _HIGH_WATER):
            events |= select.EPOLLIN
        if self._outbox:
            events |= select.EPOLLOUT
        return events

    def handle(self, events: int) -> None:
        """The socket is ready."""
        if events & select.EPOLLIN and not self._eof:
            self._read()
        elif events & (select.EPOLLHUP | select.EPOLLERR):
            self.close()
        self.advance()

    def _read(self) -> None:
        try:
            data = self.sock.recv(_RECEIVE)
        except BlockingIOError:
            return
        except OSError:  # gone, and with it whoever could be told
            self.close()
            return
        if not data:
            self._eof = True
        if self._lingering:
            return
        if not self._inbox or self._exchange:
            # A head has to be complete within one deadline; a body only has to go on.
            self.deadline = time.monotonic() + self._patience_s
        self._inbox += data

    def advance(self) -> None:
        """Go on as far as what came and what the client takes allow."""
        self.hungry = False
        for _ in range(_STEPS):
            if self.closed:
                return
            # What waited for room can go on when a flush has made some. Else stop: nothing is owed, or EPOLLOUT comes.
            if not self._step() and not (self._outbox and self._flush()):
                break
        else:
            self.hungry = True
        if self._lingering and self._eof and not self._outbox:
            self.close()

    def _step(self) -> bool:
        """One step; False when there is none to do now."""
        if self._lingering:
            return False
        if len(self._outbox) >= _HIGH_WATER:
            return self._flush()
        if self._stream is not None:
            return self._next_piece()
        if self.job is not None:
            return False
        try:
            return self._next_body() if self._exchange else self._next_head()
        except HttpError as error:
            self._refuse(error)
        except StorageError as error:
            self._refuse(_storage_failure(error))
        return True

    def _next_head(self) -> bool:
        self._body = None
        self._without_body = False
        if self.closing:
            return self._end()
        request = split_head(self._inbox)
        if request is None:
            return self._end() if self._eof else False
        self.closing = not request.keep_alive
        self._without_body = request.method == b"HEAD"
        self._received = 0
        self._body = ChunkedBody() if request.chunked else SizedBody(request.length or 0)
        self._exchange = begin(self._blobs, request, self._max_body)
        if request.expects and not self._body.done and not self._inbox:
            self._outbox += CONTINUE
        return True

    def _next_body(self) -> bool:
        assert self._exchange is not None
        assert self._body is not None
        data = self._body.take(self._inbox)
        self._received += len(data)
        if self._received > self._exchange.max_body:
            raise HttpError(413, f"a body has at most {self._exchange.max_body} bytes here")
        self._exchange.receive(data)
        if not self._body.done:
            if self._eof:
                self.close()
            return bool(data)
        answer = self._exchange.finish()
        if isinstance(answer, Response):
            self._answer(answer)
        else:
            self.job = answer
        return True

    def step_job(self) -> None:
        """One step of a request that takes many."""
        assert self.job is not None
        try:
            self.waiting = bool(next(self.job))
        except StopIteration as end:
            self.job, self.waiting = None, False
            self._answer(end.value)
            self.advance()
        except StorageError as error:
            self.job, self.waiting = None, False
            self._refuse(_storage_failure(error))
            self.advance()

    def _answer(self, response: Response) -> None:
        self._exchange = None
        self._outbox += response.head(close=self.closing)
        self.deadline = time.monotonic() + self._patience_s
        if self._without_body:
            if response.stream is not None:
                response.stream.close()
            return
        self._outbox += response.body
        self._stream = response.stream

    def _next_piece(self) -> bool:
        assert self._stream is not None
        try:
            data = self._stream.next_piece()
        except StorageError as error:
            # The head has promised more: only a broken connection says that it is not coming.
            complain(str(error))
            self.close()
            return False
        self._outbox += data
        if not data:
            self._stream.close()
            self._stream = None
        return True

    def _refuse(self, error: HttpError) -> None:
        """Answer with an error. Where the next request begins is not known any more, unless the body had come."""
        if self._exchange is not None:
            self._exchange.abort()
        # A PUT without a length may have a body all the same.
        whole = self._body is not None and self._body.done and error.status != 411
        self.closing = self.closing or not whole
        self._answer(failure(error))
        if not whole:
            self._end_after_flush()

    def time_out(self) -> None:
        """The client was silent for too long: say so if it is owed a word, then close."""
        if (self._exchange is None and not self._inbox) or self._outbox or self._stream or self._lingering:
            self.close()
            return
        self._refuse(HttpError(408, "the request did not come to its end in time"))
        self.advance()

    def _end_after_flush(self) -> None:
        # Closing with unread bytes would reset the connection, and the client might never see why. So say that nothing
        # more will come, and read on for a moment.
        self._inbox.clear()
        self._lingering = True
        self.deadline = time.monotonic() + _LINGER_S
        self._flush()
        if not self._outbox:
            self._say_end()

    def _say_end(self) -> None:
        try:
            self.sock.shutdown(_socket.SHUT_WR)
        except OSError:
            self.close()

    def _end(self) -> bool:
        """No further request; closes once the last answer is out."""
        if self._flush():
            if self._inbox and not self._eof:
                self._end_after_flush()
            else:
                self.close()
        return False

    def _flush(self) -> bool:
        """Send what the socket takes; True when nothing is left."""
        if not self._outbox:
            return True
        try:
            sent = self.sock.send(self._outbox)
        except BlockingIOError:
            return False
        except OSError:
            self.close()
            return False
        del self._outbox[:sent]
        if self._outbox:
            if not self._lingering:
                self.deadline = time.monotonic() + self._patience_s
            return False
        if self._lingering:
            self._say_end()
        return True

    def close(self) -> None:
        """Let go of everything."""
        if self.closed:
            return
        self.closed = True
        self._outbox.clear()
        if self._stream is not None:
            self._stream.close()
        if self.job is not None:
            self.job.close()
            self.job = None
        if self._exchange is not None:
            self._exchange.abort()
        self.sock.close()


def _storage_failure(error: Exception) -> HttpError:
    """Tell the operator, and the client as much as it can use."""
    complain(str(error))
    if getattr(error, "sqlite_errorcode", 0) == _SQLITE_FULL:
        return HttpError(507, "the disk is full")
    return HttpError(500, "the database refused; its message is in the store's log")
