"""Where a module is in a store: its keys, and the reading and replacing of its head."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from backends.blobstore import BlobStore, Guard
from backends.errors import BackendsError, BlobNotFound, CorruptData, PreconditionFailed
from backends.hydration.head import LIMIT, Head, fresh_token
from backends.hydration.manifest import BLOB_LIMIT, MANIFEST_LIMIT, Manifest
from backends.identity import module_prefix

_ATTEMPTS = 16  # writes of a head that an owner's own renewals and commits take turns to disturb; each is rare


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
    def place(self) -> str:
        """Names the head among those of all stores."""
        return f"{self.store.uri} {self.head_key}"

    @property
    def blobs(self) -> str:
        """Prefix of the blobs."""
        return self.prefix + "blobs/"

    def guard(self, head: Head) -> Guard:
        """The fence that holds while this head, or a renewal of it, is the module's."""

        def holds(content: bytes, etag: str) -> bool:
            if etag == head.etag:
                return True
            try:
                return Head.from_json(content, etag).term == head.term
            except CorruptData:
                return False

        return Guard(self.head_key, holds, limit=LIMIT)

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

    def write_head(self, head: Head, *, over: str | None, renewing: bool = False) -> Head:
        """Write a head in place of the one with etag `over`, or of none.

        A write whose outcome is unknown (an error after it was applied) is settled by its term, or of a renewal by its
        nonce: where it did happen, it is repeated under a condition until it is acknowledged, because only that makes
        it durable.

        Args:
            head: The new head; its nonce and etag are given here, and its term unless it renews.
            over: Etag of the head that it replaces; None to create one.
            renewing: Keep the term: nothing but the lease differs from the head that it replaces.

        Returns:
            The head as written; or a renewal of it that its owner has made since.

        Raises:
            PreconditionFailed: Another head is there; nothing was written.
            BackendsError: The store failed.
        """
        token = fresh_token()
        head = replace(head, nonce=token, term=head.term if renewing else token)
        try:
            etag = self.store.put(self.head_key, head.to_json(), if_match=over, if_none_match=over is None)
            return replace(head, etag=etag)
        except BackendsError as error:  # whichever it is, an attempt before the last may have been applied
            for _ in range(_ATTEMPTS):
                current = self.peek_head()
                if current is None or token != (current.nonce if renewing else current.term):
                    break
                try:
                    etag = self.store.put(self.head_key, current.to_json(), if_match=current.etag)
                except PreconditionFailed:
                    continue  # it was renewed meanwhile
                return replace(current, etag=etag)
            raise error from None

    def change_head(self, held: Head, change: Callable[[Head], Head], *, renewing: bool = False) -> Head:
        """Replace a head, whatever its own owner has written over it since it was read.

        Args:
            held: The head as last read.
            change: What becomes of it. Asked again with the head that is there, where that is another one by now; what
                it raises ends the attempt.
            renewing: As for `write_head`.

        Returns:
            The head as written.

        Raises:
            PreconditionFailed: The head is gone, or kept changing; nothing was written.
            BackendsError: The store failed.
        """
        attempt = 0
        while True:
            attempt += 1
            head = change(held)
            try:
                return self.write_head(head, over=held.etag, renewing=renewing)
            except PreconditionFailed:
                current = self.read_head()
                if current is None or attempt == _ATTEMPTS:
                    raise
                held = current

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
