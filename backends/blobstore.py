"""What a backend is: the protocol that every store implements and that hydration is written against.

Keys are relative paths with forward slashes: `<module>/head`, `<module>/blobs/<hash>`. A *prefix* is the empty string or
ends with a slash, so a store may map it to a folder and needs no string search.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from backends.errors import InvalidName

Data = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """One object of a listing: its key, size in bytes, and its etag where the listing knows it."""

    key: str
    size: int
    etag: str | None = None


@dataclass(frozen=True, slots=True)
class Guard:
    """A fence for writes: they happen only while what object `key` holds is what it has to be.

    The owner of a module guards every write and delete of blobs by the head's term, so that from the instant another
    owner (or an erasure) has replaced the head, no late write can appear and no late delete can strike. Its own renewals
    of the lease, which change the head's etag, do not disturb it.

    Attributes:
        key: The object.
        holds: Told its content and its etag, whether the fence stands. Pure, quick, and never raises. A missing object
            needs no asking: there it does not.
        limit: The most bytes of content that `holds` is given; of an object with more it is given none.
    """

    key: str
    holds: Callable[[bytes, str], bool]
    limit: int = 0

    @classmethod
    def unchanged(cls, key: str, etag: str) -> Guard:
        """The fence that holds while an object is the one that has this etag."""
        return cls(key, lambda _, found: found == etag)


@dataclass(frozen=True, slots=True)
class Purged:
    """What a purge removed: objects, further versions and markers and unfinished uploads, and the bytes of all."""

    blobs: int = 0
    versions: int = 0
    bytes: int = 0

    def __add__(self, other: Purged) -> Purged:
        return Purged(self.blobs + other.blobs, self.versions + other.versions, self.bytes + other.bytes)


@dataclass(frozen=True, slots=True)
class Remnant:
    """Anything that still exists below a prefix.

    Attributes:
        name: Key, or what the store calls it.
        kind: "blob", "version", "marker", "upload" (unfinished) or "folder".
        size: Bytes it holds.
    """

    name: str
    kind: str
    size: int = 0


@runtime_checkable
class BlobStore(Protocol):
    """A flat store of objects with conditional writes. Safe to use from many threads at once.

    Every method raises `BackendUnavailable`, `BackendDenied` or `BackendFull` where the store fails, and `InvalidName`
    for a key or prefix that is not one.
    """

    @property
    def uri(self) -> str:
        """Where this store is, fit to be shown: no credentials."""
        ...

    def put(
        self,
        key: str,
        data: Data,
        *,
        if_match: str | None = None,
        if_none_match: bool = False,
        guard: Guard | None = None,
    ) -> str:
        """Write an object whole; a reader sees the old content or the new, and an acknowledged one is durable.

        Args:
            key: Its key.
            data: Its content.
            if_match: Write only over an object that has this etag (a missing object does not).
            if_none_match: Write only where no object is.
            guard: Write only while this holds. Atomic with the write where the store can do that, else checked
                immediately before it.

        Returns:
            The new object's etag.

        Raises:
            PreconditionFailed: A condition did not hold; nothing was written.
        """
        ...

    def get(self, key: str, *, limit: int | None = None) -> tuple[bytes, str]:
        """Read an object whole.

        Args:
            key: Its key.
            limit: The most bytes to accept; what is larger is refused unread.

        Returns:
            Its content and its etag.

        Raises:
            BlobNotFound: No such object.
            CorruptData: It is larger than `limit`.
        """
        ...

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        """Read part of an object; shorter than `length` where the object ends before.

        Args:
            key: Its key.
            offset: First byte, from 0.
            length: How many bytes.

        Raises:
            BlobNotFound: No such object.
        """
        ...

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """All objects below a prefix, in no particular order; unfinished writes are not among them.

        Args:
            prefix: Empty for the whole store, else it ends with a slash.
        """
        ...

    def delete(self, key: str, *, if_match: str | None = None) -> None:
        """Delete one object; a missing one is no error unless a condition is given.

        Args:
            key: Its key.
            if_match: Delete only an object that has this etag.

        Raises:
            PreconditionFailed: The condition did not hold; nothing was deleted.
        """
        ...

    def delete_many(self, keys: Iterable[str], *, guard: Guard | None = None) -> int:
        """Delete objects; missing ones are no error.

        Args:
            keys: Their keys.
            guard: As for `put`; checked again for every batch that the store makes.

        Returns:
            How many there were to delete.

        Raises:
            PreconditionFailed: The guard did not hold; some batches may have been deleted before.
        """
        ...

    def sweep_unfinished(self, prefix: str) -> int:
        """Remove what crashed writes left below a prefix: temporary files, open uploads.

        May also end a write that is under way; such a write then starts again by itself or fails typed.

        Returns:
            How many were removed.
        """
        ...

    def purge(self, prefix: str, *, keep: str, guard: Guard | None = None) -> Purged:
        """Remove everything below a prefix for good: objects, all their versions, markers, unfinished uploads.

        Args:
            prefix: What to empty; not the whole store.
            keep: Key of the one object whose current version stays.
            guard: Remove only while this holds. A store that can't check it atomically checks it between each listing
                and the removal of what that listing found, so that nothing is removed that was written after the
                guard broke.

        Raises:
            PreconditionFailed: The guard did not hold; some may have been removed before.
        """
        ...

    def expunge(self, key: str, *, if_match: str) -> Purged:
        """Remove one object for good: all its versions, and the folders that become empty by it.

        Args:
            key: Its key.
            if_match: Only while its current version has this etag.

        Raises:
            PreconditionFailed: The condition did not hold; nothing was removed.
        """
        ...

    def remains(self, prefix: str) -> Iterator[Remnant]:
        """Everything that exists below a prefix in any form; empty is the proof that nothing does."""
        ...

    def check(self) -> None:
        """Whether the store can be reached and, as far as can be told without writing, written. Creates nothing.

        Raises:
            BackendsError: It cannot be used; the type says why.
        """
        ...


@runtime_checkable
class Closeable(Protocol):
    """What a store is as well if it keeps anything open between calls, such as connections."""

    def close(self) -> None:
        """Close what no call is using. No end: the next call opens it anew. Safe on any thread."""
        ...


def check_key(key: str) -> str:
    """Refuse what is not a key: it must name an object below a module's prefix, by plain components.

    Args:
        key: `<module>/<name>[/<name>...]`.

    Returns:
        The key.

    Raises:
        InvalidName: It is not a key.
    """
    parts = key.split("/")
    # Names that begin with a dot are the stores' own (temporary files).
    if len(parts) < 2 or any(not part or part[0] == "." or "\0" in part or len(part) > 255 for part in parts):
        raise InvalidName("not an object's key", hint="Keys look like <module>/head or <module>/blobs/<hash>.")
    return key


def check_prefix(prefix: str) -> str:
    """Refuse what is not a prefix: empty, or a folder-like path that ends with a slash.

    Args:
        prefix: `""`, `<module>/`, `<module>/blobs/`.

    Returns:
        The prefix.

    Raises:
        InvalidName: It is not a prefix.
    """
    if prefix:
        if not prefix.endswith("/"):
            raise InvalidName("a prefix must end with a slash", hint="Use module_prefix(module_id).")
        check_key(prefix + "x")
    return prefix
