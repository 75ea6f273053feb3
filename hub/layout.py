"""Where things lie in the hub's data directory, the lock on it, and how a module's part of it goes.

journal.sqlite3     what the hub knows; beside it SQLite's own files, disk space for them, a copy of an older version
hub.lock            held while a hub runs; names its process
modules/ID/data     a module's data; beside it what is known of it, data.new while its kind makes the first data, and
                    checkpoint while a copy of the data is sent home
logs/ID             a module's output; beside it what was before it, and where it stands in the whole
scratch/            hydrations that are not complete
trash/              what one rename took away and is being deleted
"""

from __future__ import annotations

import fcntl
import functools
import os
import secrets
import stat
import time
from collections.abc import Collection
from pathlib import Path

import backends
from backends import encode_module_id
from hub.errors import DataDirInUse, InvalidConfig
from hub.instance import beside, checkpoint_dir, procfs
from hub.instance.log_file import LogFile
from hub.lock import holder
from hub.mounts import file_system

_IN_MEMORY = frozenset({"tmpfs", "ramfs", "hugetlbfs"})
_LOCK_PATIENCE_S = 0.5
"""A hub that was killed while it started a process leaves its lock to that process until it has executed its program."""


class Layout:
    """Paths below one data directory. All methods block: call them on worker threads."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._modules = os.fspath(root / "modules")
        # Whoever looks at a page of modules does so again, and to make their paths takes longer than all else of it.
        self._data = functools.lru_cache(maxsize=1024)(self._make_data_path)
        self.journal = root / "journal.sqlite3"
        self.scratch = root / "scratch"
        self.trash = root / "trash"
        self.logs = root / "logs"
        self.lock_file = root / "hub.lock"
        self._lock: int | None = None

    def module(self, module_id: str) -> Path:
        """Return the directory that holds all of a module but its log."""
        return Path(f"{self._modules}/{encode_module_id(module_id)}")

    def data(self, module_id: str) -> Path:
        """Return the directory of a module's data."""
        return self._data(module_id)

    def _make_data_path(self, module_id: str) -> Path:
        return Path(f"{self._modules}/{encode_module_id(module_id)}/data")

    def index(self, module_id: str) -> Path:
        """Return the file that remembers what of the data is known to the backend."""
        return self.module(module_id) / "index"

    def checkpoint(self, module_id: str) -> Path:
        """Return the directory of the copy that a module's checkpoint sends home."""
        return checkpoint_dir.place_beside(self.data(module_id))

    def checkpoint_index(self, module_id: str) -> Path:
        """Return the index of that copy, of no use after it: the next one is all new files."""
        return self.module(module_id) / "checkpoint.index"

    def remove_checkpoint(self, module_id: str) -> None:
        """Delete what is left of a checkpoint; nothing happens where there is nothing.

        Raises:
            OSError: the disk refused.
        """
        beside.remove(self.checkpoint(module_id))
        self.checkpoint_index(module_id).unlink(missing_ok=True)

    def clear_checkpoints(self, module_ids: Collection[str]) -> None:
        """Delete what checkpoints of modules were interrupted and left behind.

        Raises:
            OSError: the disk refused.
        """
        # One look each, by a string: a Path takes longer to make, and nearly all of ten thousand sleepers have none.
        for module_id in module_ids:
            if os.path.lexists(f"{self._modules}/{encode_module_id(module_id)}/checkpoint"):
                self.remove_checkpoint(module_id)

    def scratch_of(self, module_id: str) -> Path:
        """Return the directory in which a module's hydration is built."""
        return self.scratch / encode_module_id(module_id)

    def forget_untraceable(self, module_id: str) -> None:
        """Delete the index where the disk leaves no trace of every write, so that all files are read.

        On a file system in memory, a page that was read through a mapping is written through it without another mtime or
        ctime: by the index the file would be taken as unchanged, and its only copy deleted.
        """
        if file_system(self.root) in _IN_MEMORY:
            self.index(module_id).unlink(missing_ok=True)

    def log(self, module_id: str) -> Path:
        """Return the output log of a module."""
        return self.logs / encode_module_id(module_id)

    def make(self) -> None:
        """Make the directories.

        Raises:
            InvalidConfig: the data directory can't be made or written.
        """
        try:
            for path in (self.root, self.root / "modules", self.logs, self.scratch, self.trash):
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not os.access(self.root, os.W_OK | os.X_OK):
                raise PermissionError(f"{self.root} is not writable")
        except OSError as error:
            raise InvalidConfig(
                f"data_dir = {str(self.root)!r} can't be used: {error.strerror or error}",
                hint="name a directory on a local disk that this user may write",
            ) from error

    def lock(self) -> None:
        """Take the directory for this process until `unlock`, or its death.

        Raises:
            DataDirInUse: another hub has it.
        """
        descriptor = os.open(self.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        patience = time.monotonic() + _LOCK_PATIENCE_S
        while not (taken := _try_lock(descriptor)) and time.monotonic() < patience:
            time.sleep(0.01)
        if not taken:
            os.close(descriptor)
            pid = holder(self.lock_file)
            # The kernel names who took it, who may have died since: then what he had just started has it for an instant.
            alive = pid is not None and procfs.read_stat(pid) is not None
            raise DataDirInUse(
                f"another hub (pid {pid if alive else 'unknown'}) runs on {self.root}",
                hint="one data directory serves one hub at a time",
            )
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._lock = descriptor

    def unlock(self) -> None:
        """Give the directory back. The file stays: removing it would let two hubs hold one lock each."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def discard(self, module_id: str) -> Path | None:
        """Take a module's directory away with one rename.

        Returns:
            Where it is now, for `remove_tree`; `None` where there was nothing.
        """
        target = self.trash / f"{encode_module_id(module_id)}.{secrets.token_hex(4)}"
        try:
            self.module(module_id).rename(target)
        except FileNotFoundError:
            return None
        return target

    def discarded(self, module_id: str) -> list[Path]:
        """Return what the trash still holds of a module."""
        prefix = encode_module_id(module_id) + "."
        return [path for path in self.trash.iterdir() if path.name.startswith(prefix)]

    def erase(self, module_id: str) -> int:
        """Delete everything of a module, whatever state it is in; returns the bytes deleted."""
        self.discard(module_id)
        return sum(remove_tree(path) for path in self.remains(module_id))

    def remains(self, module_id: str) -> list[Path]:
        """Return every path that still holds anything of a module: the proof of an obliteration."""
        paths = (self.module(module_id), self.scratch_of(module_id), *LogFile(self.log(module_id)).paths())
        return [path for path in paths if os.path.lexists(path)] + self.discarded(module_id)

    def clear_temporary(self, tracked: Collection[str]) -> None:
        """Delete what a hub that was killed left to be deleted: its scratch and trash, and logs of modules long gone.

        Args:
            tracked: modules whose logs stay. A directory of data that nothing tracks is not touched, whoever left it.
        """
        for parent in (self.scratch, self.trash):
            for path in parent.iterdir():
                remove_tree(path)
        logs = {encode_module_id(module_id) for module_id in tracked}
        for path in self.logs.iterdir():
            if path.name.partition(".")[0] not in logs:
                path.unlink()


def remove_tree(path: Path) -> int:
    """Delete a file or a directory with all that is in it, closed directories too; links are not followed.

    Args:
        path: what to delete; nothing happens where it does not exist.

    Returns:
        Bytes of the files deleted.
    """
    total = 0

    def count(_name: bytes, status: os.stat_result) -> None:
        nonlocal total
        total += status.st_size if stat.S_ISREG(status.st_mode) else 0

    try:
        parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    try:
        # Not shutil.rmtree, which recurses: a server may leave a tree deeper than Python's stack or the longest path.
        backends.remove_tree(parent, os.fsencode(path.name), removed=count)
    finally:
        os.close(parent)
    return total


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
