"""A module in a backend, as somebody sees it who owns nothing: what is there, is it intact, the content of a file."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

from backends.blobstore import BlobStore
from backends.cancellation import watching
from backends.errors import InvalidName
from backends.hydration.head import Head
from backends.hydration.inspection.content import Piece, read_content
from backends.hydration.inspection.reading import take
from backends.hydration.inspection.tree import Snapshot
from backends.hydration.inspection.usage import Usage, measure
from backends.hydration.inspection.verify import Finding, Verification, Verified
from backends.hydration.location import Location
from backends.hydration.progress import Meter, Progress

THREADS = 4
"""As for transfers: more were measured to be slower on few cores."""


class Inspection:
    """Looks at one module. Writes nothing, takes nothing, and may run beside the module's owner.

    Args:
        store: The backend.
        module_id: The module's id.
        threads: For requests; each holds at most one blob (16 MiB) in memory.
        cancelled: Set it to end what is under way, with `TransferCancelled`.

    Raises:
        InvalidName: Not a module id.
    """

    def __init__(
        self, store: BlobStore, module_id: str, *, threads: int = THREADS, cancelled: threading.Event | None = None
    ) -> None:
        self.module_id = module_id
        self._where = Location.of(store, module_id)
        self._threads = threads
        self._cancelled = cancelled

    def read_head(self) -> Head | None:
        """The module's head, or None where the backend has none.

        Raises:
            CorruptData: What is there is not a head.
            BackendsError: The backend failed.
        """
        with watching(self._cancelled):
            return self._where.read_head()

    def snapshot(self, *, previous: bool = False) -> Snapshot | None:
        """The module's tree.

        Args:
            previous: The earlier one that is kept, instead of the committed one.

        Returns:
            The tree; None where the module has none.

        Raises:
            CorruptData: Head or manifest is missing or damaged.
            HeadConflict: The head kept moving.
            BackendsError: The backend failed.
        """
        with watching(self._cancelled):
            return take(self._where, previous=previous)

    def read_file(self, snapshot: Snapshot, path: bytes) -> Iterator[Piece]:
        """The content of a file in order, verified; only the bytes that it takes are fetched.

        Args:
            snapshot: The tree.
            path: The file, or a hard link to it, relative to the root.

        Yields:
            Each piece, at most 16 MiB of data; a hole is one piece without data, however long.

        Raises:
            InvalidName: The tree has no such file.
            CorruptData: A blob is missing or damaged; it is named. What came before it is good.
            HeadConflict: The module was changed meanwhile, and the file's content collected.
            TransferCancelled: The token was set.
            BackendsError: The backend failed.
        """
        entry = snapshot.find(path)
        if entry is None or entry.kind not in {"f", "h"}:
            raise InvalidName("not a file of this tree", hint="List the tree to see which files there are.")
        return read_content(self._where, snapshot, path, threads=self._threads, cancelled=self._cancelled)

    def verify(
        self, found: Callable[[Finding], None], *, progress: Callable[[Progress], None] | None = None
    ) -> Verified:
        """Read every blob that the module needs, the earlier tree's too, and check sizes and hashes.

        Args:
            found: Told of each finding as it is made, on the caller's thread.
            progress: Told how far it is, from any thread, never from two at once.

        Returns:
            The counts.

        Raises:
            HeadConflict: The module kept changing.
            TransferCancelled: The token was set.
            BackendsError: The backend failed. Damage is found, not raised.
        """
        with watching(self._cancelled):
            return Verification(
                self._where,
                found,
                meter=Meter(progress, self._cancelled),
                threads=self._threads,
                cancelled=self._cancelled,
            ).run()

    def usage(self) -> Usage:
        """Where the module's bytes are.

        Raises:
            CorruptData: The head can't be read.
            HeadConflict: The module kept changing.
            BackendsError: The backend failed.
        """
        with watching(self._cancelled):
            return measure(self._where)
