"""A module in a backend, as its owner sees it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from backends.blobstore import BlobStore
from backends.cancellation import watching
from backends.errors import BackendsError, CorruptData, HeadConflict, InvalidName, Tombstoned
from backends.hydration.dehydrate import Dehydrated, Dehydration
from backends.hydration.erase import Erased, Erasure
from backends.hydration.head import Head, valid_name
from backends.hydration.hydrate import Hydrated, Hydration
from backends.hydration.lease import LeaseObserver, lease_ms
from backends.hydration.location import Location
from backends.hydration.ownership import Ownership
from backends.hydration.pool import WORKERS, TransferPool
from backends.hydration.progress import Meter, Progress

Report = Callable[[Progress], None]


class RemoteModule:
    """What a backend holds of one module, and the operations of one owner on it. Cheap to make; keeps nothing open.

    Args:
        store: The backend.
        module_id: The module's id.
        owner: Who this is: unique to a hub, stable over its restarts. Printable ASCII without spaces.
        observer: What this process has seen of others' leases; one for all modules and stores. Without it this object
            begins to look when it is made.
        workers: Threads for the work of each transfer; each holds at most one blob (16 MiB) in memory.
        pool: Threads to share with other transfers, of which each uses at most `workers`; a transfer without has its own.

    Raises:
        InvalidName: Not a module id, or not an owner.
    """

    def __init__(
        self,
        store: BlobStore,
        module_id: str,
        *,
        owner: str,
        observer: LeaseObserver | None = None,
        workers: int = WORKERS,
        pool: TransferPool | None = None,
    ) -> None:
        _check_name(owner, "owner")
        self.module_id = module_id
        self.owner = owner
        self._where = Location.of(store, module_id)
        self._observer = observer or LeaseObserver()
        self._ownership = Ownership(self._where, owner, self._observer)
        self._workers = workers
        self._pool = pool

    def read_head(self) -> Head | None:
        """The module's head, or None where the backend has none.

        Raises:
            CorruptData: What is there is not a head.
            BackendsError: The backend failed.
        """
        return self._where.read_head()

    def claim(self, head: Head | None, kind: str, *, lease_s: float = 0.0) -> Head:
        """Take the module: from now on only this owner can commit, by this very claim.

        Always writes, also over this owner's own head: a new epoch and a new term, which fence off whatever an earlier
        run of this owner may still have under way.

        Args:
            head: The head as read; None to create it.
            kind: The kind of a module that has no data yet; data keeps the kind it was committed with.
            lease_s: For how many seconds no other owner may take it; 0 = one may at any time. Counted by its holder
                from before this call.

        Returns:
            The head to work with.

        Raises:
            Tombstoned: The module is being erased.
            LeaseHeld: Another owner holds it, and this process has not yet seen that head for as long as its lease.
            HeadConflict: Somebody was faster.
            InvalidName: Not a kind.
            BackendsError: The backend failed.
        """
        _check_name(kind, "kind")
        return self._ownership.claim(head, kind, lease_ms(lease_s))

    def renew(self, claim: str, *, lease_s: float) -> Head:
        """Hold the module for longer; whatever is under way for it goes on undisturbed.

        Args:
            claim: `Head.claim` as `claim` gave it.
            lease_s: For how many seconds; counted by its holder from before this call.

        Returns:
            The head as it is now.

        Raises:
            HeadConflict: The module is not held by this claim any more; nothing was written.
            BackendsError: The backend failed; the lease may or may not be renewed.
        """
        return self._ownership.renew(claim, lease_ms(lease_s))

    def release(self, head: Head) -> bool:
        """Give the lease back. A claim that never held data goes altogether, so that nothing of it stays in the backend.

        Args:
            head: The head as `claim`, `renew` or `dehydrate` gave it.

        Returns:
            Whether the backend holds nothing by this claim any more but data; False where it is not the module's.

        Raises:
            BackendsError: The backend failed; the claim may still stand. It costs its few bytes, and that other owners
                have to wait until its lease has run out.
        """
        return self._ownership.release(head)

    def hydrate(
        self,
        head: Head,
        destination: Path,
        *,
        scratch: Path,
        index: Path,
        over_clean: bool = False,
        admit: Callable[[int], object] | None = None,
        progress: Report | None = None,
        cancelled: threading.Event | None = None,
    ) -> Hydrated:
        """Bring the committed data to a directory that does not exist yet; an empty one where nothing is committed.

        Args:
            head: Whose manifest to bring.
            destination: The directory to create; its parent must exist.
            scratch: A directory on the same file system for the work; created if missing.
            index: Where to write the stat cache for the next `dehydrate`.
            over_clean: Let `destination` exist, if `index` proves that it holds nothing but what was sent home: then
                only what differs is fetched, and the whole is exchanged when it is complete. What changed less than
                2 s ago proves nothing.
            admit: Told how many bytes the files will take on the local disk, before any of them is written. What it
                raises ends the transfer.
            progress: Told how far it is, from any thread, never from two at once.
            cancelled: Set it to end the transfer.

        Returns:
            What was brought.

        Raises:
            DestinationExists: There is something at `destination`, or with `over_clean` something that is not proven to
                be clean; it is as it was.
            CorruptData: A blob is missing, corrupt or hostile; it is named.
            LocalDiskError: The local disk failed.
            TransferCancelled: The token was set.
            Tombstoned: The module is being erased.
            HeadConflict: The head has moved meanwhile and took its blobs with it.
            BackendsError: The backend failed. In every case nothing is left behind, in scratch or at `destination`.
        """
        if head.tombstone:
            raise Tombstoned(f"{self.module_id} is being erased")
        try:
            with watching(cancelled), self._threads() as pool:
                return Hydration(
                    self._where,
                    head.manifest,
                    destination,
                    scratch=scratch,
                    index=index,
                    meter=Meter(progress, cancelled),
                    pool=pool,
                    workers=self._workers,
                    admit=admit,
                ).run(over_clean=over_clean)
        except CorruptData as error:
            # What is missing may be what a new owner has collected: then this head is old, and nothing is damaged.
            try:
                current = self._where.read_head()
            except BackendsError:
                raise error from None
            if current is None or current.term != head.term:
                raise HeadConflict(f"{self.module_id} was changed while it was hydrated", current=current) from error
            raise

    def dehydrate(
        self,
        head: Head,
        source: Path,
        *,
        index: Path,
        keep_previous: bool = False,
        release: bool = False,
        progress: Report | None = None,
        cancelled: threading.Event | None = None,
    ) -> Dehydrated:
        """Send a directory home and commit it, whole or not at all. The directory itself is only read.

        Args:
            head: The head that the data grew from, or a renewal of it; it must be this owner's and still the module's.
            source: The directory.
            index: The stat cache that `hydrate` or an earlier dehydration wrote; renewed by a commit.
            keep_previous: Keep the last clean manifest and its blobs (`Head.previous`) until the next clean
                dehydration.
            release: Give the lease back: with the commit, or where nothing had to be written by a write of its own. If
                that one fails, the data is at home all the same, and the lease runs out.
            progress: Told how far it is, from any thread, never from two at once.
            cancelled: Set it to end the transfer; after the commit it only shortens the collection of garbage.

        Returns:
            The new head, and what was done.

        Raises:
            HeadConflict: The head is another's or has moved; nothing was committed.
            SourceChanged: The source would not hold still.
            UnsupportedFile: There is a device in the source.
            LocalDiskError: The source could not be read.
            TransferCancelled: The token was set before the commit.
            BackendsError: The backend failed. In every case the previous head and its data are intact.
        """
        if head.owner != self.owner or head.tombstone:
            raise HeadConflict(f"{self.module_id} is not owned by {self.owner}", current=head)
        with watching(cancelled), self._threads() as pool:
            return Dehydration(
                self._where,
                head,
                source,
                index=index,
                keep_previous=keep_previous,
                release=release,
                meter=Meter(progress, cancelled),
                pool=pool,
                workers=self._workers,
            ).run()

    def erase(self, *, progress: Report | None = None, cancelled: threading.Event | None = None) -> Erased:
        """Remove everything that the backend holds of the module, whoever owns it, and prove it by a listing.

        Done at once, also where another owner holds the module by a lease: it can't commit any more. But where a store
        checks a guard only before a write, one that it had under way may arrive later, so `erase_stragglers` is to be
        called once `Erased.held_s` has passed.

        Args:
            progress: Told how far it is.
            cancelled: Set it to stop; an erasure that has begun stays begun and has to be repeated.

        Returns:
            What was removed; all zeros, and nothing written, where there was nothing.

        Raises:
            EraseIncomplete: Something kept writing there.
            TransferCancelled: The token was set.
            BackendsError: The backend failed; to be repeated.
        """
        with watching(cancelled):
            return Erasure(self._where, self.owner, self._observer, Meter(progress, cancelled)).run()

    def erase_stragglers(self, *, progress: Report | None = None, cancelled: threading.Event | None = None) -> Erased:
        """Remove what arrived after an erasure, unless the module was made anew, whose owner collects it then.

        Args:
            progress: Told how far it is.
            cancelled: Set it to stop; an erasure that has begun stays begun and has to be repeated.

        Returns:
            What was removed; all zeros, and nothing written, where there was nothing or the module was made anew.

        Raises:
            BackendsError: As `erase`; to be repeated, since the module may be a tombstone, which nobody can take.
        """
        with watching(cancelled):
            return Erasure(self._where, self.owner, self._observer, Meter(progress, cancelled)).run(stragglers=True)

    @contextmanager
    def _threads(self) -> Generator[TransferPool]:
        if self._pool is not None:
            yield self._pool
            return
        with TransferPool(self._workers) as own:
            yield own


def _check_name(name: str, what: str) -> None:
    if not valid_name(name):
        raise InvalidName(f"not a name for the {what}", hint="Use 1 to 256 printable ASCII characters without spaces.")
