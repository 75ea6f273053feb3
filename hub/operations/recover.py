"""Recover: a new process on the data of a crashed one; or, with the budget spent, its data sent home."""

from __future__ import annotations

from hub.errors import DataConflict, ModhubError
from hub.info import ModuleInfo
from hub.lifecycle import Outcome, Pending, State
from hub.operations.deprovision import send_home
from hub.operations.work import NO_PROCESS, Work, as_asked, port_and_process


async def recover(work: Work) -> ModuleInfo:
    """Start the process of a crashed module again.

    Args:
        work: the operation.

    Returns:
        The module.

    Raises:
        RecoverFailed: it did not become ready; the module is crashed, and the watchdog decides what follows.
        DataConflict: another hub has it; it is crashed, its data kept, and no recovery is tried any more.
        BackendError: its lease had run out, the backend can't be asked, and nothing is to be served without a lease.
    """
    await work.begin(State.RECOVERING, "recover", restarts=work.record.restarts + 1)
    try:
        await work.services.leases.ensure(work.operation, work.entry)
        # A deprovision that failed may have left it with a process that is going down.
        await work.stop_instance(force=True)
        if not work.record.dirty:
            # A deprovision had committed the data and failed after that; now a process is about to write again.
            await work.note("starting", dirty=True)
        instance = await work.start_instance()
    except ModhubError as error:
        # In a conflict no start will ever do: what is left to try, ever more rarely, is to send the data home.
        pending = Pending.DEPROVISION if isinstance(error, DataConflict) else work.record.pending
        await work.advance(
            Outcome.ATTEMPT_FAILED, "attempt_failed", pending=pending, last_error=str(error), **NO_PROCESS
        )
        raise as_asked(work, error) from error.__cause__
    # Serving again, it is wanted here: an earlier try to send it home is off.
    await work.advance(Outcome.READY, "ready", pending=None, **port_and_process(instance))
    return work.services.directory.describe(work.entry)


async def give_up(work: Work) -> ModuleInfo:
    """End a module whose restart budget is spent: its data goes home, or stays here as dirty.

    The crash may lie in the data, so the manifest before it is kept beside the new one.

    Args:
        work: the operation.

    Returns:
        The module.
    """
    await work.begin(State.RECOVERING, "restart_budget_spent", suspect=True)
    try:
        await work.stop_instance(force=True)
        await send_home(work)
    except ModhubError as error:
        # Dirty also when only the move away failed: what is still here must stay tracked.
        await work.advance(
            Outcome.FAILED, "failed", dirty=True, pending=Pending.DEPROVISION, last_error=str(error), **NO_PROCESS
        )
    else:
        await work.advance(Outcome.FAILED, "failed", pending=None, **NO_PROCESS)
        await work.clean_up()
    return work.services.directory.describe(work.entry)
