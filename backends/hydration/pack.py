"""Where contents go: large chunks are blobs of their own, small ones share packs; known contents go nowhere.

A pack is the plain concatenation of chunks and a salt, filled greedily in the order of the tree, and named by the hash
of the whole. Many tiny files thus cost few requests (measured: 24 times s5cmd's rate).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import NamedTuple

from blake3 import blake3

from backends.hydration.head import SALT_SIZE
from backends.hydration.manifest import PACK_SIZE, PACKED_BELOW
from backends.hydration.pool import Lane

_WASTE_LIMIT = 1024 * 1024  # dead bytes in a pack that are never worth a rewrite
_LIVE_SHARE = 4  # a pack is rewritten when less than one in so many of its bytes is live
_SMALL_PACKS = 32  # more small packs than this are merged


class Place(NamedTuple):
    """Where a content is stored: blob (digest), offset and length in bytes."""

    blob: bytes
    offset: int
    length: int


class Packer:
    """Places the contents of one reading into blobs, and sends those that the store does not have.

    Contents are *taken* once, by whoever comes first, and have a place when their blob was acknowledged. Packs are
    filled by one thread, in the order of the tree, so the same tree makes the same packs.

    Args:
        lane: Runs the requests.
        send: Called on the lane's threads with digest and content of each new blob; returns when it is stored.
        places: Places of contents that are stored already; added to.
        sizes: Sizes in bytes of the blobs that are stored already, by digest; added to.
        salt: Ends each new blob.
    """

    def __init__(
        self,
        lane: Lane,
        send: Callable[[bytes, bytearray], None],
        places: dict[bytes, Place],
        sizes: dict[bytes, int],
        salt: bytes,
    ) -> None:
        self.places = places
        self.sizes = sizes
        self._lane, self._send, self._salt = lane, send, salt
        self._lock = threading.Lock()
        self._taken = set(places)
        self._pack = bytearray()
        self._members: list[tuple[bytes, int, int]] = []

    def has(self, content: bytes) -> bool:
        """Whether a content has its place, or will have."""
        return content in self._taken

    def take(self, content: bytes) -> bool:
        """Whether it is the caller who has to place a content, since nobody has yet."""
        with self._lock:
            if content in self._taken:
                return False
            self._taken.add(content)
            return True

    def add(self, content: bytes, data: bytes) -> None:
        """Put a small content into the pack that is being filled; nothing happens for one that is taken."""
        if not self.take(content):
            return
        if len(self._pack) + len(data) > PACK_SIZE:
            self.flush()
        self._members.append((content, len(self._pack), len(data)))
        self._pack += data

    def move(self, content: bytes, data: bytes) -> None:
        """Place a small content anew, in the pack that is being filled."""
        self._taken.discard(content)
        del self.places[content]
        self.add(content, data)

    def flush(self) -> None:
        """Close the pack that is being filled, and send it."""
        if self._members:
            self._lane.submit(self._send_pack, self._pack, self._members)
            self._pack, self._members = bytearray(), []

    def send_chunk(self, content: bytes, hasher: blake3, buffer: bytearray) -> None:
        """Send a large chunk that was taken, as a blob of its own, on the calling thread.

        Args:
            content: The chunk's hash.
            hasher: Has seen the chunk, so that only the salt is left to hash.
            buffer: The chunk, and room for the salt at its end; nobody else may use it any more.
        """
        buffer[-SALT_SIZE:] = self._salt
        digest = hasher.update(self._salt).digest()
        self._store(digest, buffer, [(content, 0, len(buffer) - SALT_SIZE)])

    def _send_pack(self, pack: bytearray, members: list[tuple[bytes, int, int]]) -> None:
        pack += self._salt
        self._store(blake3(pack).digest(), pack, members)

    def _store(self, digest: bytes, data: bytearray, members: list[tuple[bytes, int, int]]) -> None:
        # What the listing has under this name was sent under this very head, whole: by an attempt that was interrupted.
        if self.sizes.get(digest) != len(data):
            self._send(digest, data)
        with self._lock:
            self.sizes[digest] = len(data)
            for content, offset, length in members:
                self.places[content] = Place(digest, offset, length)


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
