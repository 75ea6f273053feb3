"""A consistent copy of the database, made while it is used.

By SQLite's online backup, on a thread of its own, but over the one connection there is: the store holds its database
exclusively, and another connection would find it locked. What is written over the same connection meanwhile goes into
the copy as well, so the copy holds all that was acknowledged before it was complete, and never begins anew.

Imported when the first copy is asked for, not at the start.
"""

from __future__ import annotations

import _sqlite3
import _thread
import os
import time

from .blobs import NotNow

# Half a MiB a step, and after each a moment in which the thread that serves gets at the connection: a mutex is given to
# whoever is awake, and that would be this thread again and again.
_PAGES = 128
_PAUSE_S = 0.001


class Backup:
    """One copy, from its beginning to the end of its thread. Made only where a directory waits, empty, for it."""

    def __init__(self, source: _sqlite3.Connection, directory: str, wake: int) -> None:
        self._source = source
        self._path = directory + "/store.db"
        self._wake = wake
        self._cancelled = False
        self._error: Exception | None = None
        try:
            # Never over a copy that is there: it may be on its way to the backend.
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(self._path, flags, 0o600)
        except FileExistsError:
            raise NotNow("a checkpoint is there already") from None
        except OSError as error:
            raise NotNow(f"no checkpoint is wanted: {error.strerror}") from error
        self._file = _identity(os.fstat(descriptor))
        os.close(descriptor)
        self._running = _thread.allocate_lock()
        self._running.acquire()
        _thread.start_new_thread(self._run, ())

    @property
    def done(self) -> bool:
        """Whether its thread has ended."""
        return not self._running.locked()

    @property
    def abandoned(self) -> bool:
        """Whether it is about to end without a copy."""
        if self._cancelled:
            return True
        try:
            return _identity(os.stat(self._path)) != self._file  # noqa: PTH116 - no pathlib in the store
        except OSError:
            return True

    def cancel(self) -> None:
        """End it at its next step."""
        self._cancelled = True

    def join(self) -> None:
        """Wait until its thread has ended."""
        with self._running:
            pass

    def result(self) -> int:
        """Bytes of the copy, once it is done; raises what ended it before."""
        if self._error is not None:
            raise self._error
        return os.stat(self._path).st_size  # noqa: PTH116 - as above

    def _run(self) -> None:
        try:
            self._copy()
        except Exception as error:  # noqa: BLE001 - whatever it is, it goes to who asked, on the thread that serves
            self._error = error
        finally:
            self._running.release()
            _tell(self._wake)

    def _copy(self) -> None:
        # No journal and no sync: a copy that is not complete is of no use to anybody.
        target = _sqlite3.connect(self._path, isolation_level=None)
        try:
            target.execute("PRAGMA journal_mode = OFF")
            target.execute("PRAGMA synchronous = OFF")
            self._source.backup(target, pages=_PAGES, progress=self._pause, sleep=_PAUSE_S)
        finally:
            target.close()

    def _pause(self, _status: int, _remaining: int, _total: int) -> None:
        if self.abandoned:
            raise NotNow("nobody waits for the checkpoint any more")
        time.sleep(_PAUSE_S)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _tell(pipe: int) -> None:
    try:
        os.write(pipe, b"\0")
    except BlockingIOError:
        return  # it is full, and so the thread that serves will not sleep
