"""Where contents go: large chunks are blobs of their own, small ones share packs; known contents go nowhere.

A pack is the plain concatenation of chunks and a salt, filled greedily in the order of the tree, and named by the hash
of the whole. Many tiny files thus cost few requests (measured: 24 times s5cmd's rate).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from blake3 import blake3

from backends.hydration.manifest import PACK_SIZE, PACKED_BELOW

_WASTE_LIMIT = 1024 * 1024  # dead bytes in a pack that are never worth a rewrite
_LIVE_SHARE = 4  # a pack is rewritten when less than one in so many of its bytes is live
_SMALL_PACKS = 32  # more small packs than this are merged


class Place(NamedTuple):
    """Where a content is stored: blob (digest), offset and length in bytes."""

    blob: bytes
    offset: int
    length: int


class Packer:
    """Places contents into blobs and sends those that the store does not have.

    Args:
        send: Called with digest and content of each new blob; may return before it is stored.
        known: Places of contents that are stored already.
        sizes: Sizes in bytes of the blobs that are stored already, by digest.
        salt: Ends each new blob.
    """

    def __init__(
        self,
        send: Callable[[bytes, bytes | bytearray], None],
        known: dict[bytes, Place],
        sizes: dict[bytes, int],
        salt: bytes,
    ) -> None:
        self._salt = salt
        self.places = known
        self.sizes = sizes
        self._send = send
        self._pack = bytearray()
        self._waiting: dict[bytes, tuple[int, int]] = {}

    def has(self, content: bytes) -> bool:
        """Whether a content has its place, in a blob or in the pack that is being filled."""
        return content in self.places or content in self._waiting

    def add(self, content: bytes, data: bytes) -> None:
        """Place a content; nothing happens for one that has its place."""
        if self.has(content):
            return
        if len(data) >= PACKED_BELOW:
            digest = self._store(data + self._salt)
            self.places[content] = Place(digest, 0, len(data))
            return
        if len(self._pack) + len(data) > PACK_SIZE:
            self.flush()
        self._waiting[content] = (len(self._pack), len(data))
        self._pack += data

    def move(self, content: bytes, data: bytes) -> None:
        """Place a content anew, in the pack that is being filled."""
        del self.places[content]
        self.add(content, data)

    def flush(self) -> None:
        """Close the pack that is being filled."""
        if not self._pack:
            return
        self._pack += self._salt
        digest = self._store(self._pack)
        for content, (offset, length) in self._waiting.items():
            self.places[content] = Place(digest, offset, length)
        self._pack = bytearray()
        self._waiting = {}

    def _store(self, data: bytes | bytearray) -> bytes:
        digest = blake3(data).digest()
        if self.sizes.get(digest) != len(data):
            self.sizes[digest] = len(data)
            self._send(digest, data)
        return digest


def worth_rewriting(live: Mapping[bytes, int], sizes: Mapping[bytes, int]) -> set[bytes]:
    """Which packs to replace, so that neither dead bytes nor the number of packs grow without bound.

    This is the one exception from "unchanged content is never sent again": bytes in a pack that is mostly dead, and
    packs that many small commits have left behind, are sent once more, in full packs.

    Args:
        live: Bytes that the new manifest needs of each blob, by digest.
        sizes: Size in bytes of each blob.

    Returns:
        Digests of the packs whose live contents should move.
    """
    wasted = {
        blob for blob, used in live.items() if sizes[blob] - used > _WASTE_LIMIT and used * _LIVE_SHARE < sizes[blob]
    }
    small = {blob for blob, used in live.items() if used < PACKED_BELOW}
    return wasted | small if len(small) > _SMALL_PACKS else wasted
