"""The manifest: an immutable blob that lists a tree and where its contents are. docs/format.md is its specification.

`Manifest.decode` accepts only what `docs/format.md` allows, so that whoever uses a decoded manifest may rely on every
invariant there: it is the one gate that untrusted names, links and ranges pass.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from blake3 import blake3

from backends.errors import CorruptData
from backends.hydration.head import SALT_SIZE

FORMAT = 1
CHUNK_SIZE = 4 * 1024 * 1024
"""Files are cut at multiples of this many bytes. A changed page costs at most one such chunk."""
PACKED_BELOW = 1024 * 1024
"""Chunks shorter than this many bytes (small files, tails) go into packs."""
PACK_SIZE = 8 * 1024 * 1024
"""A pack is filled up to this many bytes, without its salt."""
BLOB_LIMIT = 16 * 1024 * 1024
"""No blob but a manifest is larger, its salt included; readers hold whole blobs in memory."""
MANIFEST_LIMIT = 512 * 1024 * 1024
"""No manifest is larger."""
HOLE = -1
"""The blob index of a chunk of zeros that is stored nowhere."""

TIME_LIMIT = 2**63 - 1
"""Times are within so many ns of 1970, either way (to the year 2262); writers clamp what lies beyond."""

_MAX_SIZE = 2**62
_BLOCK = 4096
_NO_NAMES = frozenset({b"", b".", b".."})
_MODES = 0o1777  # set-uid and set-gid are never kept: owners are not either

Kind = Literal["d", "f", "l", "h"]


class Chunk(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True, gc=False):
    """A run of a file's bytes: BLAKE3 of them, and the range of a blob that holds them (`HOLE`: zeros, no hash)."""

    content: bytes
    blob: int
    offset: int
    length: int


class Entry(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True, gc=False):
    """One name of the tree.

    Attributes:
        path: Relative, components separated by slashes; empty for the root.
        kind: "d"irectory, "f"ile, symbolic "l"ink, "h"ard link to an earlier file.
        mode: Permission bits and the sticky bit.
        mtime_ns: Modification time in ns since the epoch.
        size: A file's length in bytes.
        target: A symbolic link's text, or the path that a hard link shares.
        chunks: A file's content, in order.
    """

    path: bytes
    kind: Kind
    mode: int = 0
    mtime_ns: int = 0
    size: int = 0
    target: bytes = b""
    chunks: tuple[Chunk, ...] = ()


class BlobRef(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True, gc=False):
    """A blob that the manifest needs: BLAKE3 of it, which is its name, and its size in bytes; both with its salt."""

    digest: bytes
    size: int


class Manifest(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A whole tree.

    Attributes:
        format: Version of the format, 1.
        salt: Salt of the head that it was written under; it makes the manifest's name that head's alone.
        blobs: The blobs that it needs.
        entries: Its entries, in the order of their path components.
    """

    format: int
    salt: bytes
    blobs: tuple[BlobRef, ...]
    entries: tuple[Entry, ...]

    def encode(self) -> bytes:
        """The stored form: MessagePack."""
        return msgspec.msgpack.encode(self)

    @classmethod
    def decode(cls, data: bytes, *, blob: str) -> Manifest:
        """Read and check a stored manifest.

        Args:
            data: The blob's content.
            blob: Its key, for the errors.

        Returns:
            A manifest that satisfies every invariant of docs/format.md.

        Raises:
            CorruptData: It does not.
        """
        if blake3(data).hexdigest() != blob.rpartition("/")[2]:
            raise CorruptData(f"the manifest {blob} does not match its hash", blob=blob)
        try:
            manifest = msgspec.msgpack.decode(data, type=cls)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise CorruptData(f"the manifest {blob} is not readable: {error}", blob=blob) from error
        problem = _problem(manifest)
        if problem is not None:
            raise CorruptData(f"the manifest {blob} is invalid: {problem}", blob=blob)
        return manifest

    def describes_same(self, other: Manifest) -> bool:
        """Whether another manifest says the same of the tree and of where its contents are; salts aside."""
        return self.entries == other.entries and self.blobs == other.blobs

    @property
    def total_bytes(self) -> int:
        """Sum of the files' lengths."""
        return sum(entry.size for entry in self.entries)

    @property
    def allocated_bytes(self) -> int:
        """What the tree takes on a disk, about: holes take nothing, and what is left of an entry's last block is lost."""
        return sum(
            -(-sum(chunk.length for chunk in entry.chunks if chunk.blob != HOLE) // _BLOCK) * _BLOCK
            + (_BLOCK if entry.kind == "d" else 0)
            for entry in self.entries
        )


def _problem(manifest: Manifest) -> str | None:
    if manifest.format != FORMAT:
        return f"format {manifest.format}, this version reads {FORMAT}"
    if len(manifest.salt) != SALT_SIZE:
        return "a salt of the wrong length"
    if any(len(ref.digest) != 32 or not SALT_SIZE < ref.size <= BLOB_LIMIT for ref in manifest.blobs):
        return "a blob's name or size is out of bounds"
    if len({ref.digest for ref in manifest.blobs}) != len(manifest.blobs):
        return "a blob is named twice"
    if not manifest.entries or manifest.entries[0].path != b"" or manifest.entries[0].kind != "d":
        return "the first entry is not the root directory"
    directories = {b""}
    files: set[bytes] = set()
    last = b""
    total = 0
    for index, entry in enumerate(manifest.entries):
        if index:
            # What comes before the last component has been checked: it is the path of a directory among the entries.
            parent, slash, name = entry.path.rpartition(b"/")
            if name in _NO_NAMES or b"\0" in name or len(name) > 255 or (slash and not parent):
                return f"the path {entry.path!r} is not a plain relative path"
            if parent not in directories:
                return f"the parent of {entry.path!r} is not a directory of the manifest"
            # Ascending order of components: no name occurs twice, and parents come before their children. NUL is in no
            # component and before all that is, so this compares components and not bytes of the slash.
            key = entry.path.replace(b"/", b"\0")
            if key <= last:
                return f"the path {entry.path!r} is out of order or occurs twice"
            last = key
        problem = _entry_problem(entry, manifest.blobs, files)
        if problem is not None:
            return f"{problem} in {entry.path!r}"
        total += entry.size
        if entry.kind == "d":
            directories.add(entry.path)
        elif entry.kind == "f":
            files.add(entry.path)
    return "the files' total size is out of bounds" if total > _MAX_SIZE else None


def _entry_problem(entry: Entry, blobs: tuple[BlobRef, ...], files: set[bytes]) -> str | None:
    if entry.mode & ~_MODES or abs(entry.mtime_ns) > TIME_LIMIT:
        return "mode or time out of bounds"
    if entry.kind != "f" and (entry.chunks or entry.size):
        return "content where there can't be any"
    if entry.kind in "df" and entry.target:
        return "a link's target where there can't be one"
    if entry.kind == "l" and (not entry.target or b"\0" in entry.target or len(entry.target) > 4095):
        return "an impossible link target"
    if entry.kind == "h" and (entry.target not in files or entry.mode or entry.mtime_ns):
        return "a hard link to what is no earlier file"
    length = 0
    for chunk in entry.chunks:
        if chunk.length <= 0:
            return "an empty chunk"
        length += chunk.length
        if chunk.blob == HOLE:
            if chunk.content or chunk.offset:
                return "a hole with content"
            continue
        if not 0 <= chunk.blob < len(blobs) or len(chunk.content) != 32:
            return "a chunk of no blob"
        if chunk.offset < 0 or chunk.offset + chunk.length > blobs[chunk.blob].size - SALT_SIZE:
            return "a chunk beyond its blob"
    if not 0 <= entry.size <= _MAX_SIZE or length != entry.size:
        return "chunks that don't add up to the size"
    return None
