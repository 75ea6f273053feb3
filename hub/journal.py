"""The hub's own truth: one SQLite file, one row a tracked module, written before effects and before replies.

One thread owns the connection and the file. Writes that arrive while a commit runs go into the next one together, so
many modules at once do not wait for as many fsyncs.
"""

from __future__ import annotations

import asyncio
import queue
import secrets
import sqlite3
import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from hub.errors import JournalError
from hub.record import ModuleRecord

SCHEMA_VERSION = 1

_SCHEMA = (
    "CREATE TABLE hub (hub_id TEXT NOT NULL) STRICT",
    "CREATE TABLE modules (module_id TEXT PRIMARY KEY, state TEXT NOT NULL, record BLOB NOT NULL) STRICT, WITHOUT ROWID",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)


@dataclass(frozen=True, slots=True)
class _Write:
    """Rows to store: module id, state and record; without a record the row is removed."""

    rows: tuple[tuple[str, str, bytes | None], ...]
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[None]


class Journal:
    """The journal of one hub. Made by `open_journal`; `close` joins its thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._queue: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._opened = threading.Event()
        self._failure: JournalError | None = None
        self._loaded: list[ModuleRecord] = []
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

    async def write(self, *records: ModuleRecord) -> None:
        """Store records, all or none of them; one of which nothing is to be remembered is removed. Returns when it is durable.

        Cancelling the caller does not take the write back.

        Raises:
            JournalError: the disk did not take it.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        # Encoded here: what can't be is its writer's defect, and must not end the thread of all.
        rows = tuple((r.module_id, r.state.value, _encode(r) if r.remembered else None) for r in records)
        self._queue.put(_Write(rows, loop, done))
        await done

    def close(self) -> None:
        """Finish what is queued, close the file, join the thread. Blocks. Nothing happens where it was not opened."""
        if self._thread.ident is not None:
            self._queue.put(None)
            self._thread.join()

    def _run(self) -> None:
        try:
            connection = self._connect()
        except Exception as error:  # noqa: BLE001 - whatever a damaged file leads to, `open` waits for an answer
            hint = "the modules' data is untouched: restore the journal, or look with `modhub doctor`"
            self._failure = JournalError(f"the journal {self._path} can't be opened: {error}", hint=hint)
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

    def _connect(self) -> sqlite3.Connection:
        self._path.touch(mode=0o600)
        connection = sqlite3.connect(self._path, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            # Durable at each commit: with NORMAL a power cut could take back an outcome that was already told.
            connection.execute("PRAGMA synchronous = FULL")
            # What is removed is overwritten: an obliterated module leaves no row in a free page.
            connection.execute("PRAGMA secure_delete = ON")
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version == 0:
                # One transaction: a hub that is killed in the midst leaves an empty file, not half a journal.
                connection.execute("BEGIN IMMEDIATE")
                for statement in _SCHEMA:
                    connection.execute(statement)
                connection.execute("INSERT INTO hub VALUES (?)", (secrets.token_hex(8),))
                connection.execute("COMMIT")
            elif version != SCHEMA_VERSION:
                raise JournalError(  # noqa: TRY301 - one place closes the connection, whatever failed
                    f"its schema is version {version}, this modhub knows {SCHEMA_VERSION}"
                )
            (self.hub_id,) = connection.execute("SELECT hub_id FROM hub").fetchone()
            rows = connection.execute("SELECT record FROM modules ORDER BY module_id")
            decoder = msgspec.json.Decoder(ModuleRecord)
            self._loaded = [decoder.decode(row[0]) for row in rows]
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
            connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - this thread must not end: nobody would be answered any more
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            failure = JournalError(f"the journal {self._path} can't be written: {error}", hint="is the disk full?")
            failure.__cause__ = error
        for write in writes:
            with suppress(RuntimeError):  # the loop of that writer is closed: nobody waits any more
                write.loop.call_soon_threadsafe(_answer, write.done, failure)


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
