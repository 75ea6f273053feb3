"""Provision: data from the backend, then a process on it; or nothing of either."""

from __future__ import annotations

import os

from hub.errors import BackendError, LocalDataError, ModhubError, OperationCancelled
from hub.info import ModuleInfo
from hub.lifecycle import Outcome, Request, State
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
    kept = work.record.dirty
    fetched: Fetched | None = None
    if not kept:
        work.services.transfers.availability.require(f"provision of module {work.module_id!r}")
        await _check_nothing_there(work)
    reason = "provision_of_dirty_data" if kept else "provision"
    await work.begin(State.PROVISIONING, reason, restarts=0, last_error=None)
    try:
        if work.services.closing:
            raise OperationCancelled(f"provision of module {work.module_id!r}: the hub closes")
        work.check_wanted(Request.DEPROVISION, Request.OBLITERATE)
        if kept:
            await check_conflict(work)
        else:
            fetched = await work.services.transfers.fetch(work.operation, kind, work.services.config.default_kind)
            # From here on a process may write: should the hub die now, this data is not thrown away.
            await work.note("starting", kind=fetched.kind, base=fetched.base, dirty=True)
        instance = await work.start_instance()
    except ModhubError as error:
        await _undo(work, error, fetched, kept=kept)
        raise as_asked(work, error) from error.__cause__
    await work.advance(Outcome.READY, "ready", dirty=True, pending=None, **port_and_process(instance))
    return work.services.directory.describe(work.entry)


async def _check_nothing_there(work: Work) -> None:
    """Refuse, before anything is journalled, where there is data that no journal knows: an undo would delete it."""
    data = work.services.layout.data(work.module_id)
    if await work.services.workers.run(os.path.lexists, data):
        raise LocalDataError(
            f"module {work.module_id!r}: {data} is there, but the journal knows nothing of it",
            hint="was the journal lost or replaced? restore it, or move the directory away",
        )


async def check_conflict(work: Work) -> None:
    """Refuse when the backend moved on; where it can't be asked, the local data is the newest that there is.

    A conflict that goes unseen here is caught by the conditional commit, before anything is overwritten.
    """
    try:
        await work.services.transfers.check_base(work.operation, work.record.base)
    except BackendError as error:
        work.services.bus.publish("backend.failed", work.module_id, work.operation.op_id, error=str(error))


async def _undo(work: Work, error: ModhubError, fetched: Fetched | None, *, kept: bool) -> None:
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
    if fetched is not None:
        await work.services.transfers.release(work.module_id, fetched)
    await work.advance(Outcome.FAILED, "failed", dirty=False, base=None, last_error=str(error), **NO_PROCESS)
    await work.clean_up()
