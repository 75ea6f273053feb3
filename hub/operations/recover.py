"""Recover: a new process on the data of a crashed one; or, with the budget spent, its data sent home."""

from __future__ import annotations

from hub.errors import ModhubError
from hub.info import ModuleInfo
from hub.lifecycle import Outcome, Pending, State
from hub.operations.deprovision import send_home
from hub.operations.provision import check_conflict
from hub.operations.work import NO_PROCESS, Work, as_asked, port_and_process


async def recover(work: Work) -> ModuleInfo:
    """Start the process of a crashed module again.

    Args:
        work: the operation.

    Returns:
        The module.

    Raises:
        RecoverFailed: it did not become ready; the module is crashed, and the watchdog decides what follows.
    """
    # Dirty again where a deprovision had committed the data and failed after that: a process is about to write.
    await work.begin(State.RECOVERING, "recover", restarts=work.record.restarts + 1, dirty=True)
    try:
        if work.record.pending is Pending.DEPROVISION:
            await check_conflict(work)
        # A deprovision that failed may have left it with a process that is going down.
        await work.stop_instance(force=True)
        instance = await work.start_instance()
    except ModhubError as error:
        await work.advance(Outcome.ATTEMPT_FAILED, "attempt_failed", last_error=str(error), **NO_PROCESS)
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
