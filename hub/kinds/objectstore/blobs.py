"""Blobs in one SQLite file: on disk when acknowledged, replaced as a whole, taken in and given out in pieces."""

from __future__ import annotations

import _sqlite3
import os

from .transfer import PIECE, Upload

TYPE_CHECKING = False  # as typing's, without importing it
if TYPE_CHECKING:
    from collections.abc import Generator

    from .backup import Backup

# A piece's position is its value's id and its number, in one integer key: 2**24 pieces are 4 TiB.
_NUMBER_BITS = 24
_SCHEMA_VERSION = 1
_SWEEP_PIECES = 16
_VACUUM_PAGES = 512

# A value without a key is garbage: an upload that has not ended, or what a newer value replaced. AUTOINCREMENT, because
# an id is also the blob's ETag and must never come back.
_SCHEMA = (
    "CREATE TABLE value (id INTEGER PRIMARY KEY AUTOINCREMENT, key BLOB UNIQUE, size INTEGER NOT NULL)",
    "CREATE TABLE piece (position INTEGER PRIMARY KEY, data BLOB NOT NULL)",
    f"PRAGMA user_version = {_SCHEMA_VERSION}",
)

StorageError = _sqlite3.Error


class Unusable(Exception):
    """The data directory cannot be served; the message says why."""


class NotNow(Exception):
    """A checkpoint is not wanted, or is there already; the message says which."""


class Blob:
    """What is known of a stored value without reading it."""

    __slots__ = ("id", "key", "size")

    def __init__(self, key: bytes, value_id: int, size: int) -> None:
        self.key = key
        self.id = value_id
        self.size = size

    @property
    def etag(self) -> str:
        """Another one for each value ever stored, equal bytes or not."""
        return f'"{self.id:x}"'


class BlobStore:
    """The open database. Used by one thread, beside which another may copy it.

    `wake` is the pipe that this other thread writes to when it has ended.
    """

    def __init__(self, directory: str, checkpoint_dir: str = "") -> None:
        self._path = directory.rstrip("/") + "/store.db"
        self._checkpoint_dir = checkpoint_dir
        self.wake = -1
        self._backup: Backup | None = None
        self._readers: dict[int, int] = {}
        try:
            os.makedirs(directory, exist_ok=True)  # noqa: PTH103 - pathlib costs more than the interpreter's own start
            # Not for this thread alone: a copy is made over this connection, which SQLite itself keeps one at a time.
            self._db = _sqlite3.connect(self._path, timeout=1, isolation_level=None, check_same_thread=False)
            self._open()
            self._garbage = {row[0] for row in self._db.execute("SELECT id FROM value WHERE key IS NULL")}
        except OSError as error:
            raise Unusable(f"cannot use {directory}: {error.strerror}") from error
        except _sqlite3.Error as error:
            raise Unusable(f"cannot use {self._path}: {error}") from error

    def _open(self) -> None:
        # Exclusive: a second process on the same data fails at once, and no shared-memory file is needed.
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
        # Only a database without tables takes this one; it is what lets a GC cycle give space back.
        self._db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        (mode,) = self._db.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise Unusable(f"cannot use {self._path}: no write-ahead log on this file system")
        self._db.execute("PRAGMA synchronous = FULL")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version > _SCHEMA_VERSION:
            raise Unusable(f"cannot use {self._path}: written by a newer version ({version})")
        with self._db:
            # Immediate also where nothing is to be created: it takes the exclusive lock now, not at the first write.
            self._db.execute("BEGIN IMMEDIATE")
            if version == 0:
                for statement in _SCHEMA:
                    self._db.execute(statement)

    def find(self, key: bytes) -> Blob | None:
        """The value under a key."""
        row = self._db.execute("SELECT id, size FROM value WHERE key = ?", (key,)).fetchone()
        return None if row is None else Blob(key, row[0], row[1])

    def piece(self, blob: Blob, number: int) -> bytes:
        """One piece of a value."""
        position = (blob.id << _NUMBER_BITS) | number
        data: bytes = self._db.execute("SELECT data FROM piece WHERE position = ?", (position,)).fetchone()[0]
        return data

    def pin(self, blob: Blob) -> None:
        """Keep a value's bytes, whatever happens to its key, until `unpin`."""
        self._readers[blob.id] = self._readers.get(blob.id, 0) + 1

    def unpin(self, blob: Blob) -> None:
        """One `pin` less."""
        self._readers[blob.id] -= 1
        if not self._readers[blob.id]:
            del self._readers[blob.id]

    def scan(self, prefix: bytes, after: bytes, limit: int) -> list[Blob]:
        """Keys that begin with `prefix` and come after `after`, in byte order."""
        # One bound is in effect; a second condition on the same column would keep SQLite from seeking to it.
        bound, value = (">", after) if after >= prefix and after else (">=", prefix)
        upper = prefix.rstrip(b"\xff")  # the last byte that can be counted up ends the range
        conditions = f"key {bound} ?"
        parameters: list[bytes | int] = [value]
        if upper:
            conditions += " AND key < ?"
            parameters.append(upper[:-1] + bytes([upper[-1] + 1]))
        query = f"SELECT key, id, size FROM value WHERE {conditions} ORDER BY key LIMIT ?"  # noqa: S608 - no input in it
        return [Blob(*row) for row in self._db.execute(query, (*parameters, limit))]

    def delete(self, key: bytes) -> None:
        """Forget a key's value; on disk when this returns."""
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            dropped = self._drop(key)
        self._garbage.update(dropped)

    def _drop(self, key: bytes) -> list[int]:
        """Take a key's value out, in the caller's transaction. Returns what is left for `sweep` after its commit."""
        blob = self.find(key)
        if blob is None:
            return []
        if blob.size <= PIECE and blob.id not in self._readers:
            self._db.execute("DELETE FROM piece WHERE position = ?", (blob.id << _NUMBER_BITS,))
            self._db.execute("DELETE FROM value WHERE id = ?", (blob.id,))
            return []
        # Many pieces would hold everyone up, and a reader may still want them: taken away bit by bit.
        self._db.execute("UPDATE value SET key = NULL WHERE id = ?", (blob.id,))
        return [blob.id]

    def store(self, upload: Upload, key: bytes) -> tuple[Blob, bool]:
        """Make an upload the key's value, on disk when this returns; tells whether it replaced one."""
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            replaced = self.find(key) is not None
            dropped = self._drop(key)
            value_id = self._insert_value() if upload.value_id is None else upload.value_id
            self._db.execute("UPDATE value SET key = ?, size = ? WHERE id = ?", (key, upload.size, value_id))
            if upload.buffer:
                self._insert_piece(value_id, upload)
        self._garbage.update(dropped)
        return Blob(key, value_id, upload.size), replaced

    def spill(self, upload: Upload) -> None:
        """Write an upload's full buffer away."""
        # Not synced: nothing is acknowledged yet, and the sync of `store` covers all of the log before it.
        self._db.execute("PRAGMA synchronous = NORMAL")
        try:
            with self._db:
                self._db.execute("BEGIN IMMEDIATE")
                value_id = self._insert_value() if upload.value_id is None else upload.value_id
                self._insert_piece(value_id, upload)
        finally:
            self._db.execute("PRAGMA synchronous = FULL")
        # Only now: a transaction that was rolled back gives its id to the next upload.
        upload.value_id = value_id

    def _insert_value(self) -> int:
        value_id = self._db.execute("INSERT INTO value (key, size) VALUES (NULL, 0)").lastrowid
        assert value_id is not None
        return value_id

    def _insert_piece(self, value_id: int, upload: Upload) -> None:
        position = (value_id << _NUMBER_BITS) | upload.pieces
        self._db.execute("INSERT INTO piece (position, data) VALUES (?, ?)", (position, upload.buffer))

    def discard(self, upload: Upload) -> None:
        """An upload that will not be stored."""
        if upload.value_id is not None:
            self._garbage.add(upload.value_id)
            upload.value_id = None

    @property
    def has_garbage(self) -> bool:
        """Whether `sweep` has something to do now."""
        return any(value_id not in self._readers for value_id in self._garbage)

    def sweep(self) -> None:
        """Delete a few pieces of garbage, so few that nobody waits noticeably."""
        value_id = next((value_id for value_id in self._garbage if value_id not in self._readers), None)
        if value_id is None:
            return
        first, last = value_id << _NUMBER_BITS, ((value_id + 1) << _NUMBER_BITS) - 1
        query = "SELECT position FROM piece WHERE position BETWEEN ? AND ? LIMIT ?"
        positions = [row[0] for row in self._db.execute(query, (first, last, _SWEEP_PIECES))]
        self._db.execute("PRAGMA synchronous = NORMAL")  # what a crash brings back is garbage still
        try:
            with self._db:
                self._db.execute("BEGIN IMMEDIATE")
                if positions:
                    self._db.execute("DELETE FROM piece WHERE position BETWEEN ? AND ?", (first, positions[-1]))
                if len(positions) < _SWEEP_PIECES:
                    self._db.execute("DELETE FROM value WHERE id = ?", (value_id,))
        finally:
            self._db.execute("PRAGMA synchronous = FULL")
        if len(positions) < _SWEEP_PIECES:
            self._garbage.discard(value_id)

    def collect(self) -> Generator[None, None, dict[str, int]]:
        """A GC cycle in small steps: garbage, then free pages, then the log. Returns what it freed."""
        before = self._disk_bytes()
        values = len(self._garbage)
        while self.has_garbage:
            self.sweep()
            yield
        while self._pragma("freelist_count"):
            # Stepped to its end by fetchall: each step frees one page.
            self._db.execute(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})").fetchall()
            yield
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return {
            "freed_bytes": max(0, before - self._disk_bytes()),
            "removed_values": max(0, values - len(self._garbage)),
            "disk_bytes": self._disk_bytes(),
        }

    def back_up(self) -> Generator[bool, None, int]:
        """Copy all that is stored to the checkpoint directory, on another thread. Returns the bytes of the copy.

        One at a time, but one that is about to end for want of anybody who waits for it is waited for. Each step says
        that there is nothing to do until `wake` is written to.
        """
        if not self._checkpoint_dir:
            raise NotNow("no checkpoint is wanted: there is no directory for one")
        try:
            from .backup import Backup  # noqa: PLC0415 - not at the start, which must not pay for what comes later
        except ImportError as error:
            # Replaced or removed while this runs: no reason to end for those who are served.
            raise NotNow(f"this store can't make one any more: {error}") from error
        while self._backup is not None and not self._backup.done:
            if not self._backup.abandoned:
                raise NotNow("a checkpoint is being made already")
            yield True
        backup = self._backup = Backup(self._db, self._checkpoint_dir, self.wake)
        try:
            while not backup.done:
                yield True
        finally:
            backup.cancel()
        return backup.result()

    def stats(self) -> dict[str, int]:
        """Counts and sizes."""
        blobs, size = self._db.execute("SELECT count(key), total(size) FROM value WHERE key IS NOT NULL").fetchone()
        return {
            "blobs": blobs,
            "blob_bytes": int(size),
            "disk_bytes": self._disk_bytes(),
            "free_bytes": self._pragma("freelist_count") * self._pragma("page_size"),
            "garbage_values": len(self._garbage),
        }

    def _pragma(self, name: str) -> int:
        (value,) = self._db.execute(f"PRAGMA {name}").fetchone()
        return int(value)

    def _disk_bytes(self) -> int:
        total = os.stat(self._path).st_size  # noqa: PTH116 - as above, no pathlib
        try:
            return total + os.stat(self._path + "-wal").st_size  # noqa: PTH116 - a string, so that no Path is made for each look
        except FileNotFoundError:
            return total

    def close(self) -> None:
        """Fold the log into the database and close it; one file remains."""
        if self._backup is not None:
            self._backup.cancel()
            self._backup.join()
        self._db.close()
