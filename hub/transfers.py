"""The hub's way to the backend: hydration, dehydration and erasure of a module, with the hub's own errors."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from backends import (
    BackendsError,
    BlobStore,
    Closeable,
    CorruptData,
    Dehydrated,
    Erased,
    Head,
    LeaseObserver,
    Progress,
    RemoteModule,
    TransferPool,
    open_store,
)
from backends.hydration.lease import boottime
from hub.availability import Availability
from hub.backend_errors import data_conflict, translated
from hub.breaker import BreakerPolicy
from hub.config import HubConfig
from hub.disk import Disk
from hub.errors import KindMismatch
from hub.events import EventBus
from hub.layout import Layout
from hub.lifecycle import Request
from hub.operation import Operation, Phase
from hub.transfer_queue import TransferQueue, Turn
from hub.workers import Workers

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Fetched:
    """A module's data, in place.

    Attributes:
        kind: kind that it belongs to.
        base: whose claim on the backend it grew from.
    """

    kind: str
    base: str


class Transfers:
    """Transfers between the hub's directories and one backend.

    Args:
        config: the backend, and how much may be in transfer at a time.
        hub_id: in whose name modules are claimed.
        layout: the hub's directories.
        workers: threads for what is no transfer.
        disk: how much room there is for hydrations.
        bus: for events.
        clock: monotonic seconds.

    Attributes:
        availability: whether the backend is asked at all.
    """

    def __init__(
        self,
        config: HubConfig,
        hub_id: str,
        layout: Layout,
        workers: Workers,
        *,
        disk: Disk,
        bus: EventBus,
        clock: Callable[[], float],
    ) -> None:
        self._store: BlobStore = open_store(config.backend, **config.backend_options)
        self._hub_id = hub_id
        self._lease_s = config.lease
        # One for as long as the hub lives: a lease can be taken as run out only by who has watched it for so long.
        self._observer = LeaseObserver()
        self._layout = layout
        self._workers = workers
        self._disk = disk
        self._bus = bus
        policy = BreakerPolicy(config.breaker_failures, config.breaker_delay, config.breaker_delay_max)
        self.availability = Availability(policy, bus, clock, on_open=self._on_open)
        self._queue = TransferQueue(config.max_transfers, around=self.availability.learning)
        self._pool = TransferPool(config.transfer_threads)

    def close(self) -> None:
        """Join all threads, and end the store's connections. Blocks until running transfers have ended."""
        self._queue.close()
        self._pool.close()
        # Not left to the collector: the host may hold the hub, and with it the store, for as long as it likes.
        if isinstance(self._store, Closeable):
            self._store.close()

    def _on_open(self) -> None:
        self._queue.refuse_waiting(self.availability.error)

    def remote(self, module_id: str) -> RemoteModule:
        """Return a module in the backend, as this hub sees it."""
        return RemoteModule(self._store, module_id, owner=self._hub_id, observer=self._observer, pool=self._pool)

    async def check(self) -> None:
        """Find out whether the backend can be used now.

        Raises:
            BackendError: it can't.
        """
        self.availability.require("backend")
        # Who can list may still be unable to write: a look that succeeds tells nothing about work.
        with translated("backend"), self.availability.learning(work=False):
            await self._workers.request(self._store.check)

    async def look(self) -> None:
        """Find out whether a backend that work has just failed on is there at all."""
        with self.availability.looking():
            await self._workers.request(self._store.check)

    async def attempt(self) -> None:
        """Find out whether a backend that was unavailable is back."""
        with self.availability.attempting():
            await self._workers.request(self._store.check)

    async def fetch(
        self, operation: Operation, kind: str | None, default_kind: str, *, on_claim: Callable[[str, float], None]
    ) -> Fetched:
        """Take a module in the backend, by a lease, and bring its data into place.

        Args:
            operation: the operation that it belongs to.
            kind: kind asked for; `None` = whatever it is.
            default_kind: kind of a module that has none recorded.
            on_claim: told on a thread, once it is taken, by which claim, and the time of CLOCK_BOOTTIME before that was
                asked for. Once told, it is the caller's to release, also where the fetch fails.

        Returns:
            What was fetched.

        Raises:
            KindMismatch: its data belongs to another kind; nothing was changed.
            LeaseHeld: another hub has it; nothing was changed.
            BudgetExceeded: the disk has no room for it.
            ModhubError: the backend, the local disk or a cancellation ended it; there is no local data.
        """
        module_id = operation.module_id
        started = time.monotonic()

        def work(turn: Turn) -> tuple[Fetched, int, int]:
            def report(progress: Progress) -> None:
                turn.on_progress(progress)
                self._disk.note_written(module_id, progress.bytes_done)

            remote = self.remote(module_id)
            head = remote.read_head()
            recorded = head.kind if head is not None and head.manifest is not None else None
            if recorded is not None and kind is not None and recorded != kind:
                raise KindMismatch(
                    f"module {module_id!r} is of kind {recorded!r}, not {kind!r}",
                    hint="leave the kind out, or obliterate the module to begin anew",
                )
            asked_at = boottime()
            head = remote.claim(head, recorded or kind or default_kind, lease_s=self._lease_s)
            on_claim(head.claim, asked_at)
            self._layout.module(module_id).mkdir(mode=0o700, exist_ok=True)
            try:
                hydrated = remote.hydrate(
                    head,
                    self._layout.data(module_id),
                    scratch=self._layout.scratch_of(module_id),
                    index=self._layout.index(module_id),
                    admit=lambda needed: self._disk.promise(module_id, needed),
                    progress=report,
                    cancelled=turn.cancelled,
                )
            finally:
                self._disk.end(module_id)
            return Fetched(head.kind, head.claim), hydrated.bytes, hydrated.files

        fetched, size, files = await self._run(operation, Phase.HYDRATING, work)
        self._bus.publish(
            "hydration.completed",
            module_id,
            operation.op_id,
            bytes=size,
            files=files,
            duration_ms=_milliseconds_since(started),
        )
        return fetched

    async def release(self, module_id: str, claim: str) -> None:
        """Give back what a fetch took, and delete what it made of a module of which the backend had nothing."""
        if not self.availability.available:
            return  # the lease runs out by itself

        def release() -> None:
            remote = self.remote(module_id)
            head = remote.read_head()
            if head is not None and head.claim == claim:
                remote.release(head)

        try:
            await self._workers.request(release)
        except BackendsError as error:
            # The lease runs out, and an empty claim is no data: the next provision takes it over, obliterate deletes it.
            self._bus.publish("backend.failed", module_id, error=str(error))

    def _head_of(self, module_id: str, base: str | None) -> Head:
        head = self.remote(module_id).read_head()
        if head is None or head.tombstone or head.claim != base:
            raise data_conflict(module_id, base, head, self._layout.data(module_id))
        return head

    async def send(
        self, operation: Operation, base: str | None, *, keep_previous: bool, release: bool = False, copy: bool = False
    ) -> str:
        """Send a module's data home and have the commit verified.

        Args:
            operation: the operation that it belongs to.
            base: the claim that the data grew from.
            keep_previous: whether the manifest before it is kept beside the new one.
            release: give the lease back with the commit: any hub may take the module from then on.
            copy: whether what is sent in the data's place is the copy that a checkpoint made of it.

        Returns:
            The claim that the local data now equals.

        Raises:
            ModhubError: it was not committed; the local data and the previous commit are as they were.
        """
        module_id, layout = operation.module_id, self._layout
        started = time.monotonic()
        whole = operation.request is Request.CHECKPOINT

        def work(turn: Turn) -> Dehydrated:
            layout.forget_untraceable(module_id)
            return self.remote(module_id).dehydrate(
                self._head_of(module_id, base),
                layout.checkpoint(module_id) if copy else layout.data(module_id),
                index=layout.checkpoint_index(module_id) if copy else layout.index(module_id),
                keep_previous=keep_previous,
                release=release,
                progress=turn.on_progress,
                cancelled=turn.cancelled,
            )

        sent = await self._run(operation, Phase.DEHYDRATING, work)
        self._bus.publish(
            "checkpoint.completed" if whole else "dehydration.completed",
            module_id,
            operation.op_id,
            bytes=sent.stats.bytes,
            files=sent.stats.files,
            uploaded_bytes=sent.stats.bytes_sent,
            duration_ms=round(operation.duration_s * 1000, 3) if whole else _milliseconds_since(started),
        )
        return sent.head.claim

    async def held_elsewhere_s(self, operation: Operation) -> float:
        """Return for how many seconds, at the most, another hub holds a module by a lease; 0.0 = none does.

        Raises:
            ModhubError: the backend can't be asked.
        """

        def look(_: Turn) -> float:
            try:
                head = self.remote(operation.module_id).read_head()
            except CorruptData:
                return 0.0  # no hub can work under it
            # A tombstone keeps the lease that it overrode, whoever wrote it.
            return 0.0 if head is None or (head.owner == self._hub_id and not head.tombstone) else head.lease_ms / 1000

        return await self._run(operation, Phase.OTHER, look)

    async def erase(self, operation: Operation) -> Erased:
        """Delete everything that the backend holds of a module, proven by listing.

        Raises:
            ModhubError: something is left, or may be.
        """
        remote = self.remote(operation.module_id)
        # Its progress goes past the turn: an erasure never yields, since it moves nothing.
        return await self._run(operation, Phase.OTHER, lambda _: remote.erase(progress=operation.on_progress))

    async def erase_stragglers(self, module_id: str) -> Erased:
        """Delete what arrived in the backend of a module after its erasure, unless it was made anew.

        Raises:
            BackendError: it can't be told whether anything has.
        """
        self.availability.require(module_id)
        with translated(module_id), self.availability.learning():
            return await self._workers.request(self.remote(module_id).erase_stragglers)

    async def _run(self, operation: Operation, phase: Phase, work: Callable[[Turn], T]) -> T:
        await self.availability.require_soon(operation.module_id)
        operation.phase = phase
        try:
            with translated(operation.module_id, operation):
                return await self._queue.run(operation, work)
        finally:
            operation.phase = Phase.OTHER


def _milliseconds_since(started: float) -> float:
    return round((time.monotonic() - started) * 1000, 3)
