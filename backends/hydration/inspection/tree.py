"""A manifest as a tree of names, to be looked at. Pure: no store, no disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from backends.hydration.head import Head
from backends.hydration.manifest import Chunk, Entry, Kind, Manifest


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """One name of a module's tree.

    Attributes:
        path: Any bytes but NUL, components separated by slashes; empty for the root.
        kind: "d"irectory, "f"ile, symbolic "l"ink, "h"ard link.
        mode: Permission bits and the sticky bit; of a hard link, those of its file.
        mtime_ns: Modification time in ns since 1970; of a hard link, that of its file.
        size: Length in bytes of a file, also under its other names.
        target: A symbolic link's text, verbatim, or the path of the file that a hard link shares.
    """

    path: bytes
    kind: Kind
    mode: int
    mtime_ns: int
    size: int
    target: bytes


class Snapshot:
    """What one manifest says, and the head that named it.

    Args:
        head: The head.
        digest: Blob id of the manifest.
        manifest: The manifest, which has passed its gate.
    """

    def __init__(self, head: Head, digest: str, manifest: Manifest) -> None:
        self.head = head
        self.digest = digest
        self.manifest = manifest
        self._entries = {entry.path: entry for entry in manifest.entries}

    @property
    def files(self) -> int:
        """How many files there are, each once however many names it has."""
        return sum(entry.kind == "f" for entry in self.manifest.entries)

    @property
    def total_bytes(self) -> int:
        """Sum of the files' lengths."""
        return self.manifest.total_bytes

    def find(self, path: bytes) -> TreeEntry | None:
        """The entry of a name.

        Args:
            path: Relative to the root; slashes and dots that change nothing (`./a//b/`) are allowed.

        Returns:
            The entry, or None where there is none.
        """
        entry = self._entries.get(normal(path))
        return None if entry is None else self._resolved(entry)

    def children(self, path: bytes, *, recursive: bool = False) -> Iterator[TreeEntry]:
        """What a directory holds, in the order of path components; nothing for what is no directory.

        Args:
            path: The directory, as for `find`.
            recursive: With all that is below its directories.
        """
        prefix = normal(path)
        prefix = prefix + b"/" if prefix else b""
        for entry in self.manifest.entries:
            below = entry.path[len(prefix) :] if entry.path.startswith(prefix) else b""
            if below and (recursive or b"/" not in below):
                yield self._resolved(entry)

    def content(self, path: bytes) -> tuple[Chunk, ...]:
        """The chunks of a file, also by another of its names; none for what has no content."""
        entry = self._entries[normal(path)]
        return self._entries[entry.target].chunks if entry.kind == "h" else entry.chunks

    def _resolved(self, entry: Entry) -> TreeEntry:
        source = self._entries[entry.target] if entry.kind == "h" else entry
        return TreeEntry(entry.path, entry.kind, source.mode, source.mtime_ns, source.size, entry.target)


def normal(path: bytes) -> bytes:
    """A path as manifests have it: no slashes at its ends or twice, no `.`. A `..` stays, and is then no name."""
    return b"/".join(part for part in path.split(b"/") if part not in {b"", b"."})
