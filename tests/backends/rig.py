"""One module in one file store, with the paths that an owner uses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from backends import BlobStore, Dehydrated, Head, Hydrated, LeaseObserver, RemoteModule, open_store
from backends.hydration.location import Location
from backends.hydration.manifest import Manifest


def listed(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class Rig:
    def __init__(
        self,
        path: Path,
        store: BlobStore | None = None,
        *,
        owner: str = "one",
        observer: LeaseObserver | None = None,
    ) -> None:
        self.path = path
        self.store = store or open_store((path / "store").as_uri())
        self.module = RemoteModule(self.store, "Tenant-1", owner=owner, observer=observer)
        self.scratch, self.index = path / "scratch", path / "index"

    def using(self, store: BlobStore) -> Rig:
        """The same module through another store."""
        return Rig(self.path, store, owner=self.module.owner)

    def claimed(self) -> Head:
        """The head as this owner's: claimed, unless it is that already."""
        head = self.module.read_head()
        if head is not None and head.owner == self.module.owner and not head.tombstone:
            return head
        return self.module.claim(head, "store")

    def save(self, source: Path, *, keep_previous: bool = False) -> Dehydrated:
        return self.module.dehydrate(self.claimed(), source, index=self.index, keep_previous=keep_previous)

    def load(self, name: str, head: Head | None = None) -> Path:
        self.fetch(self.path / name, head)
        return self.path / name

    def fetch(self, destination: Path, head: Head | None = None) -> Hydrated:
        head = head or self.claimed()
        return self.module.hydrate(head, destination, scratch=self.scratch, index=self.index)

    def load_previous(self, name: str) -> Path:
        head = self.claimed()
        assert head.previous is not None
        return self.load(name, replace(head, manifest=head.previous))

    def scraps(self) -> list[str]:
        """What is left in scratch."""
        return listed(self.scratch) if self.scratch.exists() else []

    def manifest(self, digest: str) -> Manifest:
        return Location.of(self.store, "Tenant-1").read_manifest(digest)

    def orphans(self) -> set[str]:
        """What is stored but needed by no manifest, unfinished writes included."""
        head = self.module.read_head()
        needed = {"_tenant-1/", "_tenant-1/blobs", "_tenant-1/head"}
        for manifest in (head.manifest, head.previous) if head else ():
            if manifest is not None:
                needed.add("_tenant-1/blobs/" + manifest)
                refs = self.manifest(manifest).blobs
                needed |= {"_tenant-1/blobs/" + ref.digest.hex() for ref in refs}
        return {item.name for item in self.store.remains("_tenant-1/")} - needed
