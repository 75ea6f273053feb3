"""Keeping this hub's leases: what it holds by which claim until when, renewing it, and giving it back.

Entries' `claim` and `lease_until` are written here and nowhere else, on the loop.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress

from backends import BackendsError, Head, HeadConflict
from backends.cancellation import watching
from backends.errors import backend_errors
from backends.hydration.lease import boottime
from hub.backend_errors import data_conflict, translated
from hub.config import HubConfig
from hub.directory import Directory, Entry
from hub.errors import BackendError
from hub.events import EventBus
from hub.layout import Layout
from hub.leases import LeasePolicy, Schedule, keeps_claim, renewal_due, retry_due, shortening_due, spread_first
from hub.operation import Operation, Phase
from hub.transfers import Transfers
from hub.workers import Workers

SERVE = "serve"


class _Renewal:
    """A renewal under way.

    Args:
        asked_until: until when the lease is to run at the least, once it is answered.

    Attributes:
        asked_until: as given.
        until: until when the lease may be believed in at the most, whatever is answered.
        ended: set when it has ended.
    """

    def __init__(self, asked_until: float) -> None:
        self.asked_until = asked_until
        self.until = math.inf
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class LeaseKeeper:
    """The leases of one hub.

    Args:
        config: how long they are, and what happens when one runs out unrenewed.
        layout: the hub's directories.
        directory: the modules.
        transfers: the way to the backend.
        workers: threads for single requests.
        bus: for events.
        clock: seconds of CLOCK_BOOTTIME.
        chance: gives numbers in [0, 1).

    Attributes:
        policy: how long leases are.
        schedule: which is renewed when.
        clock: as given.
        chance: as given.
        lost: modules that were lost, for the watch to have stopped, whoever found it out: an order may meet a module in
            the midst of something, and become stale.
    """

    def __init__(
        self,
        config: HubConfig,
        *,
        layout: Layout,
        directory: Directory,
        transfers: Transfers,
        workers: Workers,
        bus: EventBus,
        clock: Callable[[], float] = boottime,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.policy = LeasePolicy(config.lease, config.hibernated_lease)
        self.schedule = Schedule()
        self.lost: set[str] = set()
        self.clock = clock
        self.chance = chance
        self._lapse = config.lease_lapse
        self._layout = layout
        self._directory = directory
        self._transfers = transfers
        self._workers = workers
        self._bus = bus
        self._in_flight: dict[str, set[_Renewal]] = {}
        # What is being given back, and in what state of the head a renewal found that it was gone.
        self._giving_back: dict[str, tuple[Head | None] | None] = {}

    def plan_all(self) -> None:
        """Plan the renewal of every lease that is not planned: at the start of the hub, little by little."""
        unknown: list[Entry] = []
        for entry in self._directory.tracked():
            record = entry.record
            if record.base is None or not keeps_claim(record) or self.schedule.planned(record.module_id) is not None:
                continue
            if entry.claim is None:
                if record.base == entry.given_up:
                    continue  # given back a moment ago: the record follows
                entry.claim = record.base
                unknown.append(entry)
            else:
                self.schedule.plan(record.module_id, self.clock())
        for module_id, at in spread_first(self.policy, [entry.record for entry in unknown], self.clock()):
            self.schedule.plan(module_id, at)

    def noting(self, entry: Entry) -> Callable[[str, float], None]:
        """Return what a transfer calls, on its thread, when it has claimed a module.

        Args:
            entry: the module.

        Returns:
            A function of the claim and the time before it was asked for.
        """
        loop = asyncio.get_running_loop()

        def note(claim: str, asked_at: float) -> None:
            loop.call_soon_threadsafe(self._hold, entry, claim, asked_at, self.policy.lease_s)

        return note

    async def ensure(self, operation: Operation, entry: Entry) -> None:
        """See to it that a process may start on the kept data of a module. While its lease runs, nothing is asked.

        Args:
            operation: the operation that it belongs to.
            entry: the module.

        Raises:
            DataConflict: the claim that the data grew from is not the module's any more.
            BackendError: the backend can't be asked, the lease may have run out, and `lease_lapse` says "stop".
            OperationCancelled: what waits for the module ended it.
        """
        module_id, now = operation.module_id, self.clock()
        if self.runs(entry):
            planned = self.schedule.planned(module_id)
            self.schedule.plan(module_id, shortening_due(now, planned, self.policy.lease_s, self.chance))
            return
        if entry.claim is None:
            entry.claim = entry.record.base
        if entry.claim is None:
            raise data_conflict(module_id, None, None, self._layout.data(module_id))
        operation.phase = Phase.HYDRATING
        try:
            with translated(module_id, operation):
                self._transfers.availability.require(module_id)
                await self.renew(entry, operation)
        except BackendError as error:
            self._go_on_without(entry, operation, error)
        finally:
            operation.phase = Phase.OTHER

    def _go_on_without(self, entry: Entry, operation: Operation, error: BackendError) -> None:
        module_id, now = entry.record.module_id, self.clock()
        if self._lapse != SERVE:
            raise BackendError(
                f"{error.message}; its lease may have run out, and another hub may have the module",
                hint="try again when the backend can be reached; lease_lapse decides that nothing is served without",
                retry_after_s=error.retry_after_s,
            ) from error
        # The local data is the newest that this hub can know of. If that is wrong, the next renewal stops the process,
        # and the commit is conditional.
        self.schedule.plan(module_id, retry_due(now, entry.lease_until, self.policy.lease_s, self.chance))
        self._bus.publish("module.lease_lapsed", module_id, operation.op_id, action=self._lapse, error=str(error))

    async def renew(self, entry: Entry, operation: Operation | None = None) -> None:
        """Renew the lease of a module once.

        Args:
            entry: the module, which has a claim.
            operation: whose start waits for it; it then goes past those that merely keep what they have.

        Raises:
            DataConflict: the claim is not the module's any more: the lease is lost, if it was still wanted.
            BackendsError: the backend failed.
        """
        module_id, claim = entry.record.module_id, entry.claim
        assert claim is not None, "who renews has a claim"
        lease_s = self.policy.wanted_s(entry.record.state)
        # Where the answer is lost the lease may have been made a shorter one: nothing is believed that is not certain.
        entry.lease_until = min(entry.lease_until, self.clock() + lease_s)
        remote = self._transfers.remote(module_id)
        token = None if operation is None else operation.cancelled

        def ask() -> tuple[float, Head]:
            # The token of the operation, where there is one: what waits for the module ends its repetitions.
            with watching(token) if token is not None else nullcontext(), backend_errors("renewing a lease"):
                asked_at = self.clock()
                return asked_at, remote.renew(claim, lease_s=lease_s)

        request = self._workers.renew if operation is None else self._workers.request
        with self._under_way(module_id, self.clock() + lease_s) as renewal:
            try:
                with self._transfers.availability.learning():
                    asked_at, head = await request(ask)
            except HeadConflict as error:
                if entry.claim == claim:
                    self._lose(entry, error.current)
                raise data_conflict(module_id, claim, error.current, self._layout.data(module_id)) from error
            if entry.claim == claim:
                self._hold(entry, claim, asked_at, max(0.0, min(lease_s, renewal.until - asked_at)))
            elif entry.claim is None:
                # It was given back while this was under way, which has taken it again.
                with suppress(BackendsError):
                    await request(remote.release, head)

    @contextmanager
    def _under_way(self, module_id: str, asked_until: float) -> Generator[_Renewal]:
        renewal = _Renewal(asked_until)
        beside = self._in_flight.setdefault(module_id, set())
        for other in beside:
            # Which of the two the backend takes last nobody knows: that may be the one that makes the lease shorter.
            other.until = min(other.until, asked_until)
            renewal.until = min(renewal.until, other.asked_until)
        beside.add(renewal)
        try:
            yield renewal
        finally:
            renewal.ended.set_result(None)
            self._in_flight[module_id].discard(renewal)
            if not self._in_flight[module_id]:
                del self._in_flight[module_id]

    def runs(self, entry: Entry) -> bool:
        """Tell whether this hub holds a module for certain: nobody else can have taken it."""
        return entry.claim is not None and entry.lease_until > self.clock()

    def forget(self, entry: Entry) -> None:
        """Hold a module no longer: it is not renewed any more."""
        entry.claim, entry.given_up, entry.lease_until = None, entry.record.base, 0.0
        self.schedule.drop(entry.record.module_id)

    async def let_go(self, entry: Entry) -> None:
        """Hold a module no longer, and wait for what of it is under way: afterwards nothing takes its lease again."""
        self.forget(entry)
        if under_way := self._in_flight.get(entry.record.module_id):
            await asyncio.wait([renewal.ended for renewal in under_way])

    @asynccontextmanager
    async def giving_back(self, entry: Entry) -> AsyncGenerator[None]:
        """Hold a module no longer when the block ends, which gives its lease back; until then it is renewed.

        Where the block fails, the lease may be given back all the same, by a write of which the answer was lost. Then
        nothing is believed of it, not even what a renewal under way will say, until it was renewed.
        """
        module_id, claim, before = entry.record.module_id, entry.record.base, entry.lease_until
        self._giving_back[module_id] = None
        try:
            yield
        except BaseException:
            if (lost := self._giving_back[module_id]) is not None:
                self._tell_lost(module_id, *lost)
            if entry.claim is not None:
                entry.lease_until = 0.0
                self.schedule.plan(module_id, self.clock())
            for renewal in self._in_flight.get(module_id, ()):
                renewal.until = 0.0
            raise
        finally:
            del self._giving_back[module_id]
        renewed = entry.lease_until != before
        await self.let_go(entry)
        if renewed and claim is not None:
            # By a renewal that came before it was given back, or after: while garbage was deleted.
            await self._transfers.release(module_id, claim)

    def _hold(self, entry: Entry, claim: str, asked_at: float, lease_s: float) -> None:
        entry.claim, entry.lease_until = claim, asked_at + lease_s
        wanted_s = self.policy.wanted_s(entry.record.state)
        self.schedule.plan(entry.record.module_id, renewal_due(asked_at, lease_s, wanted_s, self.chance))

    def _lose(self, entry: Entry, found: Head | None) -> None:
        module_id, claim = entry.record.module_id, entry.claim
        self.forget(entry)
        if entry.record.base == claim:
            self.lost.add(module_id)
            self.schedule.plan(module_id, self.clock())
        if module_id in self._giving_back:
            self._giving_back[module_id] = (found,)  # another hub may have what was just given back, and rightly so
        else:
            self._tell_lost(module_id, found)

    def _tell_lost(self, module_id: str, found: Head | None) -> None:
        holder = None if found is None or found.tombstone else found.owner
        self._bus.publish("module.lease_lost", module_id, holder=holder)
