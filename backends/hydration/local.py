"""A directory that is proven to hold nothing but committed data: a source of contents, and fit to be replaced.

Dirty data is never overwritten. So a copy counts as clean only if its stat cache proves every name of it; it is looked
at again before it is replaced, and once more when it is out of everybody's way and before it is removed.
"""

from __future__ import annotations

import errno
import os
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from blake3 import blake3

from backends.directory import DIRECTORY, DirTree
from backends.errors import DestinationExists, SourceChanged, UnsupportedFile
from backends.hydration import index as stat_index
from backends.hydration.chunk import Opener, read_at
from backends.hydration.manifest import Chunk
from backends.hydration.progress import Meter
from backends.hydration.scan import Found, Scan, scan

_HINT = "Dehydrate it, or move it away, and then hydrate again."


class LocalCopy:
    """A clean directory, held by its descriptor wherever it is moved. Used as a context.

    Args:
        path: The directory.
        index: Its stat cache.
        meter: Progress and cancellation.

    Raises:
        DestinationExists: It is not proven to be clean.
        OSError: It could not be read.
        TransferCancelled: The token was set.
    """

    def __init__(self, path: Path, index: Path, meter: Meter) -> None:
        self._path, self._meter = path, meter.quiet()  # its looks are no progress
        self.index = stat_index.load(index)
        try:
            self.tree = DirTree(os.open(path, DIRECTORY))
        except OSError as error:
            if error.errno not in {errno.ENOTDIR, errno.ELOOP}:
                raise
            raise DestinationExists(f"{path} exists already and is no directory") from error
        try:
            self._found = self._prove()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close its descriptors."""
        self.tree.__exit__(None, None, None)

    @cached_property
    def _places(self) -> dict[bytes, stat_index.Local]:
        return self.index.local(self._found)

    def has(self, chunk: Chunk) -> bool:
        """Whether a chunk's content should be there."""
        place = self._places.get(chunk.content)
        return place is not None and place.length == chunk.length

    def read(self, source: Opener, chunk: Chunk) -> bytes | None:
        """A chunk's content, checked; None where it is not there after all (then it is in the backend).

        Args:
            source: The caller's own place in `tree`.
            chunk: One that `has` said is there.
        """
        place = self._places[chunk.content]
        try:
            data = read_at(source, place.item, place.offset, place.length)
        except (SourceChanged, OSError):
            return None
        return data if blake3(data).digest() == chunk.content else None

    def check(self, root: os.stat_result | None = None) -> None:
        """Make sure that it is still what it was.

        Args:
            root: Status of what should be this very directory.

        Raises:
            DestinationExists: It was changed meanwhile.
            OSError: It could not be read.
        """
        now, before = self._scan().found, self._found
        # The root's own times may change when it is moved.
        same = (now[0].mode, now[0].inode, now[0].device) == (before[0].mode, before[0].inode, before[0].device)
        if root is not None:
            same = same and (root.st_ino, root.st_dev) == (now[0].inode, now[0].device)
        if not same or now[1:] != before[1:]:
            raise DestinationExists(f"{self._path} was changed while it was to be replaced", hint=_HINT)

    def _prove(self) -> list[Found]:
        scanned = self._scan()
        if not self.index.proves(scanned):
            raise DestinationExists(f"{self._path} exists already and may hold what was never sent home", hint=_HINT)
        return scanned.found

    def _scan(self) -> Scan:
        try:
            return scan(self.tree, self._meter)
        except (SourceChanged, UnsupportedFile) as error:
            raise DestinationExists(f"{self._path} is not what was sent home: {error}", hint=_HINT) from error
