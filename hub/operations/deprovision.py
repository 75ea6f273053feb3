"""Deprovision: the data goes home, and only when its commit is verified, away from here."""

from __future__ import annotations

import os

from hub.errors import DataConflict, ModhubError
from hub.info import ModuleInfo
from hub.lifecycle import Outcome, Pending, Request, State
from hub.operations.work import NO_PROCESS, Work
from hub.orders import LEASE_LOST


async def deprovision(work: Work, reason: str = "deprovision") -> ModuleInfo:
    """Stop a module's process, send its data home, delete it here.

    Args:
        work: the operation.
        reason: why, for the log.

    Returns:
        The module, `unprovisioned`.

    Raises:
        ModhubError: the data could not be sent home; the module is crashed, its data dirty and kept, and the watchdog
            tries again. A backend that is known to be unavailable is a `BackendError` before anything is touched:
            stopped, the module could be neither served nor sent home. One whose lease is lost is stopped all the same,
            and asked for nothing before: every moment that it serves on is another hub's.
    """
    lost = reason == LEASE_LOST
    if work.record.dirty and not lost:
        await work.services.transfers.availability.require_soon(f"deprovision of module {work.module_id!r}")
    await work.begin(State.DEPROVISIONING, reason, pending=Pending.DEPROVISION)
    try:
        if not lost:
            await _collect_garbage(work)
        await work.stop_instance(force=True)
        await send_home(work)
    except ModhubError as error:
        await work.advance(Outcome.FAILED, "failed", last_error=str(error), **NO_PROCESS)
        raise
    await work.advance(Outcome.DONE, "done", pending=None, port=None, last_error=None, **NO_PROCESS)
    await work.clean_up()
    return work.services.directory.describe(work.entry)


async def send_home(work: Work) -> None:
    """Commit the local data to the backend, give the module back there, and take the data away from here.

    Raises:
        ModhubError: it was not committed, or could not be taken away; nothing is lost.
    """
    record, services = work.record, work.services
    if record.dirty:
        work.check_wanted(Request.OBLITERATE)
        work.operation.step = "dehydrating"
        try:
            async with services.leases.giving_back(work.entry):
                base = await services.transfers.send(
                    work.operation, record.base, keep_previous=record.suspect, release=True
                )
        except DataConflict:
            services.leases.forget(work.entry)
            # One way out of a conflict is that a person takes the data here away: then this side is decided.
            if await services.workers.run(os.path.lexists, services.layout.data(work.module_id)):
                raise
            base = None
            await services.leases.let_go(work.entry)
        await work.note("committed", dirty=False, base=base, suspect=False)
    await work.discard()


async def _collect_garbage(work: Work) -> None:
    """Ask the process to tidy up what need not travel. Whatever goes wrong here never blocks."""
    instance = work.entry.instance
    if instance is None or not instance.alive:
        return
    work.operation.step = "collecting garbage"
    try:
        await instance.collect_garbage()
    except (RuntimeError, OSError, ModhubError) as error:
        work.services.bus.publish(
            "instance.hook_failed", work.module_id, work.operation.op_id, hook="gc", error=str(error) or repr(error)
        )
