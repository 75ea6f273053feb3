"""Hibernate and wake: the process goes and comes, the data stays. No backend traffic while the lease runs."""

from __future__ import annotations

from hub.errors import HibernateFailed, ModhubError
from hub.info import ModuleInfo
from hub.lifecycle import Outcome, State
from hub.operations.work import NO_PROCESS, Work, as_asked, port_and_process


async def hibernate(work: Work, *, force: bool = False, reason: str = "hibernate") -> ModuleInfo:
    """Stop the process and keep the data.

    Args:
        work: the operation.
        force: end the process by SIGKILL when its `stop_timeout` is over; for the end of the hub, or of its lease.
        reason: why, for the log.

    Returns:
        The module.

    Raises:
        HibernateFailed: it did not stop cleanly; the module is still provisioned.
        StopFailed: not even SIGKILL ended it; the module is still provisioned.
    """
    await work.begin(State.HIBERNATING, reason)
    try:
        stopped = await work.stop_instance(force=force)
    except ModhubError as error:
        # If it ended after all, its exit is waiting and makes the module crashed.
        await work.advance(Outcome.FAILED, "failed", last_error=str(error))
        raise
    if not stopped:
        message = f"the process of module {work.module_id!r} did not stop within its stop_timeout"
        await work.advance(Outcome.FAILED, "not_stopped", last_error=message)
        raise HibernateFailed(message, hint="the module stays provisioned; deprovision stops it by force")
    await work.advance(Outcome.STOPPED, "stopped", **NO_PROCESS)
    return work.services.directory.describe(work.entry)


async def wake(work: Work) -> ModuleInfo:
    """Start the process on the kept data, on its old port if that is free.

    Args:
        work: the operation.

    Returns:
        The module.

    Raises:
        WakeFailed: it did not become ready; the module stays hibernated.
        DataConflict: its lease had run out, and another hub has it.
        BackendError: its lease had run out, the backend can't be asked, and nothing is to be served without a lease.
    """
    await work.begin(State.WAKING, "wake")
    try:
        await work.services.leases.ensure(work.operation, work.entry)
        instance = await work.start_instance()
    except ModhubError as error:
        await work.advance(Outcome.FAILED, "failed", last_error=str(error), **NO_PROCESS)
        raise as_asked(work, error) from error.__cause__
    await work.advance(Outcome.READY, "ready", last_error=None, **port_and_process(instance))
    return work.services.directory.describe(work.entry)
