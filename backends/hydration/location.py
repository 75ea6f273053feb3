"""Where a module is in a store: its keys, and the reading and replacing of its head."""

from __future__ import annotations

from dataclasses import dataclass, replace

from backends.blobstore import BlobStore, Guard
from backends.errors import BackendsError, BlobNotFound, CorruptData
from backends.hydration.head import LIMIT, Head, fresh_nonce
from backends.hydration.manifest import BLOB_LIMIT, MANIFEST_LIMIT, Manifest
from backends.identity import module_prefix


@dataclass(frozen=True, slots=True)
class Location:
    """One module's place in one store.

    Attributes:
        store: The store.
        prefix: The module's prefix, with its slash.
    """

    store: BlobStore
    prefix: str

    @classmethod
    def of(cls, store: BlobStore, module_id: str) -> Location:
        """The place of a module by its id."""
        return cls(store, module_prefix(module_id))

    @property
    def head_key(self) -> str:
        """Key of the head."""
        return self.prefix + "head"

    @property
    def blobs(self) -> str:
        """Prefix of the blobs."""
        return self.prefix + "blobs/"

    def guard(self, head: Head) -> Guard:
        """The fence that holds while this head is the module's."""
        return Guard.unchanged(self.head_key, head.etag)

    def read_head(self) -> Head | None:
        """The head, or None where there is none.

        Raises:
            CorruptData: It is not a head.
            BackendsError: The store failed.
        """
        try:
            data, etag = self.store.get(self.head_key, limit=LIMIT)
        except BlobNotFound:
            return None
        try:
            return Head.from_json(data, etag)
        except CorruptData as error:
            raise CorruptData(f"{self.head_key}: {error}", blob=self.head_key, hint=error.hint) from error

    def peek_head(self) -> Head | None:
        """The head for the details of an error that is under way; None also where it can't be read."""
        try:
            return self.read_head()
        except BackendsError:
            return None

    def write_head(self, head: Head, *, over: str | None) -> Head:
        """Write a head in place of the one with etag `over`, or of none.

        A write whose outcome is unknown (an error after it was applied) is settled by its nonce: where it did happen,
        it is repeated under a condition until it is acknowledged, because only that makes it durable.

        Args:
            head: The new head; its nonce and etag are given here.
            over: Etag of the head that it replaces; None to create one.

        Returns:
            The head as written.

        Raises:
            PreconditionFailed: Another head is there; nothing was written.
            BackendsError: The store failed.
        """
        head = replace(head, nonce=fresh_nonce())
        data = head.to_json()
        try:
            etag = self.store.put(self.head_key, data, if_match=over, if_none_match=over is None)
        except BackendsError as error:  # whichever it is, an attempt before the last may have been applied
            current = self.peek_head()
            if current is None or current.nonce != head.nonce:
                raise error from None
            etag = self.store.put(self.head_key, data, if_match=current.etag)
        return replace(head, etag=etag)

    def read_manifest(self, digest: str) -> Manifest:
        """Read and check a manifest.

        Raises:
            CorruptData: It is missing or invalid.
            BackendsError: The store failed.
        """
        return Manifest.decode(self.read_blob(digest, limit=MANIFEST_LIMIT), blob=self.blobs + digest)

    def read_blob(self, digest: str, *, limit: int = BLOB_LIMIT) -> bytes:
        """Read a blob that must exist; its hash is the caller's to check.

        Raises:
            CorruptData: It is missing or too large.
            BackendsError: The store failed.
        """
        key = self.blobs + digest
        try:
            return self.store.get(key, limit=limit)[0]
        except BlobNotFound as error:
            raise CorruptData(f"the blob {key} is missing", blob=key) from error

    def read_range(self, digest: str, offset: int, length: int) -> bytes:
        """Read part of a blob that must exist; the hashes in it are the caller's to check.

        Raises:
            CorruptData: It is missing or too short.
            BackendsError: The store failed.
        """
        key = self.blobs + digest
        try:
            data = self.store.get_range(key, offset, length)
        except BlobNotFound as error:
            raise CorruptData(f"the blob {key} is missing", blob=key) from error
        if len(data) != length:
            raise CorruptData(f"the blob {key} is shorter than the manifest says", blob=key)
        return data

    def list_blobs(self) -> dict[str, int]:
        """Size in bytes of every blob, by digest.

        Raises:
            BackendsError: The store failed.
        """
        return {info.key.removeprefix(self.blobs): info.size for info in self.store.list(self.blobs)}
