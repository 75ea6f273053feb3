"""Provision: data from the backend, then a process on it; or nothing of either."""

from __future__ import annotations

import os

from hub.errors import LeaseHeld, LocalDataError, ModhubError, OperationCancelled
from hub.info import ModuleInfo
from hub.leases import pause_before_take_over
from hub.lifecycle import Outcome, Request, State
from hub.operation import Phase
from hub.operations.work import NO_PROCESS, Work, as_asked, port_and_process
from hub.transfers import Fetched


async def provision(work: Work, kind: str | None) -> ModuleInfo:
    """Bring a module from `unprovisioned` to `provisioned`.

    Args:
        work: the operation.
        kind: kind asked for; `None` = the recorded one, else the default.

    Returns:
        The module.

    Raises:
        ProvisionFailed: its process did not become ready.
        ModhubError: its data could not be had. Either way it is as it was before.
    """
    kept, gateway_port = work.record.dirty, work.record.gateway_port
    if not kept:
        await work.services.transfers.availability.require_soon(f"provision of module {work.module_id!r}")
        await _check_nothing_there(work)
    reason = "provision_of_dirty_data" if kept else "provision"
    await work.begin(State.PROVISIONING, reason, restarts=0, last_error=None)
    try:
        if work.services.closing:
            raise OperationCancelled(f"provision of module {work.module_id!r}: the hub closes")
        work.check_wanted(Request.DEPROVISION, Request.OBLITERATE)
        if kept:
            await work.services.leases.ensure(work.operation, work.entry)
        else:
            fetched = await _fetch(work, kind)
            if work.place is not None:
                work.services.places.change_kind(work.place, fetched.kind)
            # Hydrating may have taken longer than a lease, of which none was renewed while the machine was suspended.
            await work.services.leases.ensure(work.operation, work.entry)
            # From here on a process may write: should the hub die now, this data is not thrown away.
            now = work.entry.checkpointed_at = work.services.wall_clock()
            changes = work.gateway_port(fetched.kind)
            await work.note(
                "starting", kind=fetched.kind, base=fetched.base, dirty=True, checkpointed_at=now, **changes
            )
        instance = await work.start_instance()
    except ModhubError as error:
        await _undo(work, error, kept=kept, gateway_port=gateway_port)
        raise as_asked(work, error) from error.__cause__
    await work.advance(Outcome.READY, "ready", dirty=True, pending=None, **port_and_process(instance))
    return work.services.directory.describe(work.entry)


async def _fetch(work: Work, kind: str | None) -> Fetched:
    """Bring the data, as soon as no other hub holds the module: a short lease of one that is gone is waited out."""
    leases, earlier_s = work.services.leases, None
    while True:
        try:
            return await work.services.transfers.fetch(
                work.operation, kind, _default_kind(work), on_claim=leases.noting(work.entry)
            )
        except LeaseHeld as held:
            pause_s = pause_before_take_over(leases.policy, held.retry_after_s, earlier_s)
            if pause_s is None:
                raise
            earlier_s = held.retry_after_s
        work.operation.step = "waiting for a lease"
        await work.operation.pause(pause_s, Phase.HYDRATING)


def _default_kind(work: Work) -> str:
    # Who knows the port of a module expects the server there that it had, should the backend know it no more.
    return work.record.kind if work.record.gateway_port is not None else work.services.config.default_kind


async def _check_nothing_there(work: Work) -> None:
    """Refuse, before anything is journalled, where there is data that no journal knows: an undo would delete it."""
    data = work.services.layout.data(work.module_id)
    if await work.services.workers.run(os.path.lexists, data):
        raise LocalDataError(
            f"module {work.module_id!r}: {data} is there, but the journal knows nothing of it",
            hint="was the journal lost or replaced? restore it, or move the directory away",
        )


async def _undo(work: Work, error: ModhubError, *, kept: bool, gateway_port: int | None) -> None:
    """Leave nothing behind that this operation brought. Data that was here before stays as it is."""
    if kept:
        await work.advance(Outcome.FAILED, "failed", last_error=str(error), **NO_PROCESS)
        return
    if work.record.dirty:
        # The intent first: dirty with nothing there would be wanted at home for ever, should the hub die in between.
        await work.note("undoing", dirty=False)
    try:
        await work.discard()
    except LocalDataError as failure:
        error.add_note(str(failure))
        # Still there: it stays tracked, and goes home like all dirty data.
        await work.advance(Outcome.FAILED, "failed", dirty=True, last_error=str(error), **NO_PROCESS)
        return
    if (claim := work.entry.claim) is not None:
        await work.services.leases.let_go(work.entry)
        await work.services.transfers.release(work.module_id, claim)
    changes = NO_PROCESS | {"gateway_port": gateway_port}
    await work.advance(Outcome.FAILED, "failed", dirty=False, base=None, last_error=str(error), **changes)
    if gateway_port is None:
        work.services.gateway_ports.release(work.module_id)
    await work.clean_up()
