"""The hub's own truth: one SQLite file, one row a tracked module, written before effects and before replies.

One thread owns the connection and the file. Writes that arrive while a commit runs go into the next one together, so
many modules at once do not wait for as many fsyncs.
"""

from __future__ import annotations

import asyncio
import os
import queue
import sqlite3
import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from hub.errors import JournalError
from hub.record import ModuleRecord
from hub.schema import backups, migrate, version_of

_RESERVED = 8 * 1024 * 1024
"""Twice what the write-ahead log grows to before it is folded into the database."""

_BUSY_TIMEOUT_MS = 5000  # that of the sqlite3 module


@dataclass(frozen=True, slots=True)
class _Write:
    """Rows to store: module id, state and record; without a record the row is removed.

    Attributes:
        ends: whether a module among them is not tracked any more.
        erase: whether no byte of the rows that are removed is to be left.
    """

    rows: tuple[tuple[str, str, bytes | None], ...]
    ends: bool
    erase: bool
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[None]


class Journal:
    """The journal of one hub. Made by `open_journal`; `close` joins its thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ballast = path.with_name(path.name + "-reserve")
        self._queue: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._opened = threading.Event()
        self._failure: JournalError | None = None
        self._loaded: list[ModuleRecord] = []
        self._backups: list[Path] = []
        self._reserved = False
        self._log_is_stale = False  # erased rows still stand in it
        self.hub_id = ""
        self._thread = threading.Thread(target=self._run, name="modhub-journal")

    def open(self) -> list[ModuleRecord]:
        """Open the file, made if it is not there. Blocks.

        Returns:
            Every module that is remembered.

        Raises:
            JournalError: the file can't be opened, is damaged, or was written by a newer modhub.
        """
        self._thread.start()
        self._opened.wait()
        if self._failure is not None:
            self._thread.join()
            raise self._failure
        loaded, self._loaded = self._loaded, []
        return loaded

    async def write(self, *records: ModuleRecord, erase: bool = False) -> None:
        """Store records, all or none of them; one of which nothing is to be remembered is removed. Returns when it is durable.

        Cancelling the caller does not take the write back.

        Args:
            *records: what is stored.
            erase: leave no byte of what is removed or replaced, neither in the database nor in the write-ahead log.
                Where another program reads the journal at that moment, the log follows with a later write.

        Raises:
            JournalError: the disk did not take it.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        # Encoded here: what can't be is its writer's defect, and must not end the thread of all.
        rows = tuple((r.module_id, r.state.value, _encode(r) if r.remembered else None) for r in records)
        self._queue.put(_Write(rows, not all(r.tracked for r in records), erase, loop, done))
        await done

    def close(self) -> None:
        """Finish what is queued, close the file, join the thread. Blocks. Nothing happens where it was not opened."""
        if self._thread.ident is not None:
            self._queue.put(None)
            self._thread.join()

    def _run(self) -> None:
        spare = self._ballast.exists()
        try:
            self._ballast.unlink(missing_ok=True)
            connection = self._connect()
        except Exception as error:  # noqa: BLE001 - whatever a damaged file leads to, `open` waits for an answer
            if spare:  # for the hub that can read it
                with suppress(OSError):
                    _allocate(self._ballast)
            hint = "the modules' data is untouched: restore the journal, or look with `modhub doctor`"
            reason = str(error)
            if isinstance(error, JournalError):
                reason, hint = error.message, f"{error.hint}; the modules' data is untouched"
            self._failure = JournalError(f"the journal {self._path} can't be opened: {reason}", hint=hint)
            self._failure.__cause__ = error
            self._opened.set()
            return
        self._opened.set()
        open_ = True
        try:
            while open_:
                batch = [self._queue.get()]
                with suppress(queue.Empty):
                    while True:
                        batch.append(self._queue.get_nowait())
                writes = [item for item in batch if item is not None]
                open_ = len(writes) == len(batch)
                self._commit(connection, writes)
        finally:
            connection.close()
            # The log, and with it what was reserved, is gone now; the next start may find the disk full.
            with suppress(OSError):
                _allocate(self._ballast)

    def _connect(self) -> sqlite3.Connection:
        self._path.touch(mode=0o600)
        connection = sqlite3.connect(self._path, isolation_level=None)
        try:
            version_of(connection)  # first of all: what a newer modhub wrote is left as it is
            connection.execute("PRAGMA journal_mode = WAL")
            # Durable at each commit: with NORMAL a power cut could take back an outcome that was already told.
            connection.execute("PRAGMA synchronous = FULL")
            # What is removed is overwritten: an obliterated module leaves no row in a free page.
            connection.execute("PRAGMA secure_delete = ON")
            # One transaction: a hub that is killed in the midst leaves an empty file, or the older version.
            migrate(connection, self._path)
            (self.hub_id,) = connection.execute("SELECT hub_id FROM hub").fetchone()
            rows = connection.execute("SELECT record FROM modules ORDER BY module_id")
            decoder = msgspec.json.Decoder(ModuleRecord)
            self._loaded = [decoder.decode(row[0]) for row in rows]
            self._backups = backups(self._path)
            self._empty_log(connection)  # killed, a hub leaves it as it was
            self._reserve()
        except BaseException:
            connection.close()
            raise
        return connection

    def _commit(self, connection: sqlite3.Connection, writes: list[_Write]) -> None:
        failure: JournalError | None = None
        try:
            connection.execute("BEGIN IMMEDIATE")
            for write in writes:
                _store(connection, write.rows)
            # First: where it can't be done, nothing is to have happened; and a hub may be killed between the two.
            self._drop_backups(writes)
            connection.execute("COMMIT")
            if self._log_is_stale or any(write.erase for write in writes):
                self._empty_log(connection)
            if not self._reserved:
                self._reserve()
        except Exception as error:  # noqa: BLE001 - this thread must not end: nobody would be answered any more
            self._reserved = False
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            failure = JournalError(f"the journal {self._path} can't be written: {error}", hint="is the disk full?")
            failure.__cause__ = error
        for write in writes:
            with suppress(RuntimeError):  # the loop of that writer is closed: nobody waits any more
                write.loop.call_soon_threadsafe(_answer, write.done, failure)

    def _drop_backups(self, writes: list[_Write]) -> None:
        """Delete the copies of older versions as soon as a module goes: they would bring back what is obliterated."""
        if self._backups and any(write.ends for write in writes):
            for copy in self._backups:
                copy.unlink(missing_ok=True)
            self._backups = []

    def _empty_log(self, connection: sqlite3.Connection) -> None:
        """Fold the log into the database, and give its pages back: they name modules that were removed since.

        It may fail, but not the write before it, which is durable: then it is tried again with the next one.
        """
        # Not waiting for who reads: all writers would.
        connection.execute("PRAGMA busy_timeout = 0")
        try:
            (busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            self._log_is_stale = bool(busy)
        except sqlite3.Error:
            self._log_is_stale = True
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
        self._reserved = False  # what was reserved is a part of the log

    def _reserve(self) -> None:
        """Take the disk space that the write-ahead log needs before it needs it.

        On a full disk the hub can then still write for long what gives space back: that data has gone home. A ballast
        that is deleted in need was rejected but for the time when no hub runs: the servers that fill the disk take it
        before the journal does.
        """
        # Zeros behind the log's last frame mean nothing to SQLite: it reads up to the first frame that is none.
        with suppress(OSError):
            _allocate(self._path.with_name(self._path.name + "-wal"))
            self._reserved = True


def _allocate(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, _RESERVED)
    finally:
        os.close(descriptor)


def _store(connection: sqlite3.Connection, rows: Iterable[tuple[str, str, bytes | None]]) -> None:
    for row in rows:
        if row[2] is not None:
            connection.execute("INSERT OR REPLACE INTO modules VALUES (?, ?, ?)", row)
        else:
            connection.execute("DELETE FROM modules WHERE module_id = ?", row[:1])


def _encode(record: ModuleRecord) -> bytes:
    try:
        return msgspec.json.encode(record)
    except UnicodeEncodeError:
        # A failure may quote a file's name, whose bytes need not be text.
        error = str(record.last_error).encode(errors="backslashreplace").decode()
        return msgspec.json.encode(msgspec.structs.replace(record, last_error=error))


def _answer(done: asyncio.Future[None], failure: JournalError | None) -> None:
    if done.done():  # its writer was cancelled
        return
    if failure is None:
        done.set_result(None)
    else:
        done.set_exception(failure)
