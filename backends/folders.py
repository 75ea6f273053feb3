"""The folders of a file store: the root, one folder for each module, and what is below; opened, created, locked.

Everything below the root is opened by descriptor, component by component, and never through a link: whoever can plant
a link in the root must not make an erasure delete elsewhere.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import NamedTuple

from backends.directory import DIRECTORY
from backends.errors import BackendUnavailable


class Opened(NamedTuple):
    """Descriptors of the root, of a module's folder in it, and of the folder that was asked for."""

    root: int
    module: int
    folder: int


class Folders:
    """The folders below one root.

    Args:
        root: Absolute path of the root. Once it was seen, its absence is `BackendUnavailable`.
        create: Whether the first write may create it; if not, it counts as seen from the start.
    """

    def __init__(self, root: Path, *, create: bool = True) -> None:
        self.root = root
        try:
            self.seen = not create or root.is_dir()
        except OSError:
            self.seen = False  # not even visible; the first use says why, as a typed error

    @contextlib.contextmanager
    def open(self, parts: Sequence[str], *, create: bool = False, below: bool = False) -> Generator[Opened]:
        """Open a folder by its components, the first of which is the module's.

        Args:
            parts: The components; none for the root itself.
            create: Create what is missing, durably.
            below: Create what is missing below a module's folder, but not that one.

        Yields:
            Descriptors, valid inside the `with`.

        Raises:
            FileNotFoundError: Something is missing and was not to be created.
            BackendUnavailable: The root was there before and is gone.
            OSError: Anything else.
        """
        with contextlib.ExitStack() as stack:
            fds = [self._open_root(create=create)]
            stack.callback(os.close, fds[0])
            for index, part in enumerate(parts):
                if create or (below and index):
                    try:
                        os.mkdir(part, 0o700, dir_fd=fds[-1])
                        created = True
                    except FileExistsError:
                        created = False
                    # A folder found here may be another process's that has not synced it yet. That matters for the
                    # creation of a head (`create`); blobs are made durable by the commit that follows them.
                    if created or create:
                        os.fsync(fds[-1])
                fds.append(os.open(part, DIRECTORY, dir_fd=fds[-1]))
                stack.callback(os.close, fds[-1])
            yield Opened(fds[0], fds[min(1, len(fds) - 1)], fds[-1])

    def exists(self, parts: Sequence[str]) -> bool:
        """Whether a folder is there."""
        try:
            with self.open(parts):
                return True
        except FileNotFoundError:
            return False

    def remove_empty(self, parts: Sequence[str]) -> None:
        """Remove a folder and those above it, up to the module's, as far as they are empty."""
        for depth in range(len(parts), 0, -1):
            with self.open(parts[: depth - 1]) as opened:
                try:
                    os.rmdir(parts[depth - 1], dir_fd=opened.folder)
                except OSError:
                    return  # not empty: somebody's write is under way; the erasure looks again
                os.fsync(opened.folder)

    def _open_root(self, *, create: bool) -> int:
        if create and not self.seen:
            self._create_root()
        seen = self.seen  # before the look: another thread may create it right after that
        try:
            fd = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            if seen:
                raise BackendUnavailable(f"the folder {self.root} has disappeared") from None
            raise
        self.seen = True
        return fd

    def _create_root(self) -> None:
        missing = [path for path in (self.root, *self.root.parents) if not path.exists()]
        for path in reversed(missing):
            path.mkdir(0o700, exist_ok=True)
            parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(parent)
            finally:
                os.close(parent)


@contextlib.contextmanager
def locked(opened: Opened, name: str) -> Generator[None]:
    """Hold the lock of a module's folder against all other processes and threads.

    Args:
        opened: The module's descriptors.
        name: The folder's name in the root.

    Raises:
        FileNotFoundError: The folder is no longer the one in the root: an erasure removed it before the lock was ours.
    """
    fcntl.flock(opened.module, fcntl.LOCK_EX)
    try:
        now = os.stat(name, dir_fd=opened.root, follow_symlinks=False)
        if not os.path.samestat(now, os.fstat(opened.module)):
            raise FileNotFoundError(name)
        yield
    finally:
        fcntl.flock(opened.module, fcntl.LOCK_UN)
