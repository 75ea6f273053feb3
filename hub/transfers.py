"""The hub's way to the backend: hydration, dehydration and erasure of a module, with the hub's own errors."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from backends import (
    BackendsError,
    BlobStore,
    Closeable,
    Dehydrated,
    Erased,
    Head,
    HeadConflict,
    LocalDiskError,
    RemoteModule,
    SourceChanged,
    Tombstoned,
    TransferCancelled,
    TransferPool,
    UnsupportedFile,
    open_store,
)
from hub.availability import Availability
from hub.breaker import BreakerPolicy
from hub.config import HubConfig
from hub.errors import BackendError, DataConflict, InvalidState, KindMismatch, LocalDataError, OperationCancelled
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
        created: the head, if this fetch made it: the backend had nothing of the module.
    """

    kind: str
    base: str
    created: Head | None


class Transfers:
    """Transfers between the hub's directories and one backend.

    Args:
        config: the backend, and how much may be in transfer at a time.
        hub_id: in whose name modules are claimed.
        layout: the hub's directories.
        workers: threads for what is no transfer.
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
        bus: EventBus,
        *,
        clock: Callable[[], float],
    ) -> None:
        self._store: BlobStore = open_store(config.backend, **config.backend_options)
        self._hub_id = hub_id
        self._layout = layout
        self._workers = workers
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

    def _remote(self, module_id: str) -> RemoteModule:
        return RemoteModule(self._store, module_id, owner=self._hub_id, pool=self._pool)

    async def check(self) -> None:
        """Find out whether the backend can be used now.

        Raises:
            BackendError: it can't.
        """
        self.availability.require("backend")
        # Who can list may still be unable to write: a look that succeeds tells nothing about work.
        with _translated("backend"), self.availability.learning(work=False):
            await self._workers.request(self._store.check)

    async def attempt(self) -> None:
        """Find out whether a backend that was unavailable is back."""
        with self.availability.attempting():
            await self._workers.request(self._store.check)

    async def fetch(self, operation: Operation, kind: str | None, default_kind: str) -> Fetched:
        """Take a module in the backend and bring its data into place.

        Args:
            operation: the operation that it belongs to.
            kind: kind asked for; `None` = whatever it is.
            default_kind: kind of a module that has none recorded.

        Returns:
            What was fetched.

        Raises:
            KindMismatch: its data belongs to another kind; nothing was changed.
            ModhubError: the backend, the local disk or a cancellation ended it; there is no local data.
        """
        module_id = operation.module_id
        started = time.monotonic()

        def work(turn: Turn) -> tuple[Fetched, int, int]:
            remote = self._remote(module_id)
            found = head = remote.read_head()
            recorded = head.kind if head is not None and head.manifest is not None else None
            if recorded is not None and kind is not None and recorded != kind:
                raise KindMismatch(f"module {module_id!r} is of kind {recorded!r}, not {kind!r}")
            head = remote.claim(head, recorded or kind or default_kind)
            fetched = Fetched(head.kind, claim_of(head), head if found is None else None)
            try:
                self._layout.module(module_id).mkdir(mode=0o700, exist_ok=True)
                hydrated = remote.hydrate(
                    head,
                    self._layout.data(module_id),
                    scratch=self._layout.scratch_of(module_id),
                    index=self._layout.index(module_id),
                    progress=turn.on_progress,
                    cancelled=turn.cancelled,
                )
            except (BackendsError, OSError):
                self._release(module_id, fetched)
                raise
            return fetched, hydrated.bytes, hydrated.files

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

    async def release(self, module_id: str, fetched: Fetched) -> None:
        """Take back what a fetch made in the backend of a module that had nothing there."""
        await self._workers.request(self._release, module_id, fetched)

    def _release(self, module_id: str, fetched: Fetched) -> None:
        if fetched.created is None:
            return
        try:
            self._remote(module_id).release(fetched.created)
        except BackendsError as error:
            # An empty claim is no data: the next provision takes it over, obliterate deletes it.
            self._bus.publish_from_thread("backend.failed", module_id, error=str(error))

    async def check_base(self, operation: Operation, base: str | None) -> None:
        """Make sure that the backend still holds what the local dirty data grew from.

        Raises:
            DataConflict: it holds something else.
            BackendError: it can't be asked.
        """
        await self._run(operation, Phase.HYDRATING, lambda _: self._head_of(operation.module_id, base))

    def _head_of(self, module_id: str, base: str | None) -> Head:
        head = self._remote(module_id).read_head()
        if head is None or head.tombstone or claim_of(head) != base:
            found = "nothing" if head is None else "an obliteration" if head.tombstone else claim_of(head)
            raise DataConflict(
                f"module {module_id!r}: local data grew from {base}, the backend now holds {found}",
                hint="both are kept: copy what is needed from the data directory, then obliterate one side",
            )
        return head

    async def send(self, operation: Operation, base: str | None, *, keep_previous: bool, copy: bool = False) -> str:
        """Send a module's data home and have the commit verified.

        Args:
            operation: the operation that it belongs to.
            base: the claim that the data grew from.
            keep_previous: whether the manifest before it is kept beside the new one.
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
            return self._remote(module_id).dehydrate(
                self._head_of(module_id, base),
                layout.checkpoint(module_id) if copy else layout.data(module_id),
                index=layout.checkpoint_index(module_id) if copy else layout.index(module_id),
                keep_previous=keep_previous,
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
        return claim_of(sent.head)

    async def erase(self, operation: Operation) -> Erased:
        """Delete everything that the backend holds of a module, proven by listing.

        Raises:
            ModhubError: something is left, or may be.
        """
        remote = self._remote(operation.module_id)
        # Its progress goes past the turn: an erasure never yields, since it moves nothing.
        return await self._run(operation, Phase.OTHER, lambda _: remote.erase(progress=operation.on_progress))

    async def _run(self, operation: Operation, phase: Phase, work: Callable[[Turn], T]) -> T:
        self.availability.require(operation.module_id)
        operation.phase = phase
        try:
            with _translated(operation.module_id, operation):
                return await self._queue.run(operation, work)
        finally:
            operation.phase = Phase.OTHER


def claim_of(head: Head) -> str:
    """Return whose claim a head stands for: its owner and epoch, which rises with each new owner and each erasure.

    Not its manifest: a hub that was killed between a commit and its own journal finds the head moved by itself.
    """
    return f"{head.owner}/{head.epoch}"


@contextmanager
def _translated(subject: str, operation: Operation | None = None) -> Generator[None]:
    """Turn the errors of `backends` into the hub's."""
    try:
        yield
    except TransferCancelled as error:
        reason = operation.cancel_reason if operation else ""
        raise OperationCancelled(f"{subject}: {reason or 'the transfer was cancelled'}") from error
    except HeadConflict as error:
        if operation is not None and operation.phase is Phase.HYDRATING:
            hint = "another hub has just taken it, and nothing of it is here: use it there, or try again"
        else:
            hint = "another hub wrote meanwhile; the local data is kept"
        raise DataConflict(f"{subject}: {error}", hint=hint) from error
    except Tombstoned as error:
        raise InvalidState(
            f"{subject}: an obliteration was begun and is not complete", hint="obliterate it again"
        ) from error
    except (LocalDiskError, SourceChanged, UnsupportedFile) as error:
        raise LocalDataError(f"{subject}: {error}", hint=error.hint) from error
    except BackendsError as error:
        raise BackendError(f"{subject}: {error}", hint=error.hint) from error
    except OSError as error:
        raise LocalDataError(f"{subject}: {error}") from error


def _milliseconds_since(started: float) -> float:
    return round((time.monotonic() - started) * 1000, 3)
