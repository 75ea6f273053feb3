"""The life of a cell: start, stop, kill, crash, restart, end. All on the loop's thread unless said otherwise."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from actors.errors import ActorCrashed, ActorDead, HandlerCancelled
from actors.group import Interrupted, advance, end_rest, interrupt_rest, members
from actors.inspection import ActorFailure, ActorState
from actors.message import Envelope, Escalated, StopRequest
from actors.supervision import Restart, RestForOne, decide
from actors.watch import EndReason, Terminated, Watches

if TYPE_CHECKING:
    from actors.cell import Cell

Hook: TypeAlias = Callable[[], Awaitable[None] | None]


def as_exception(name: str, error: BaseException) -> Exception:
    """Return what a handler or hook raised as an `Exception`, as supervision and watchers get it."""
    return error if isinstance(error, Exception) else HandlerCancelled(name, error)


async def guarded(name: str, awaitable: Awaitable[Any]) -> Any:
    """Await what a handler or hook returned, for its task."""
    try:
        return await awaitable
    except SystemExit as error:
        # asyncio would re-raise it out of the loop, and with it end every other actor.
        raise HandlerCancelled(name, error) from error


def drain_unready(cell: Cell) -> None:
    """Do what a drain means for a cell that takes no messages now."""
    if cell.state is ActorState.STARTING and cell.task is None and cell.behaviour is not None:
        _run_hook(cell, cell.behaviour.on_start)
    elif cell.state is ActorState.RESTARTING and _stop_waits(cell):
        end(cell, "stopped")


def _stop_waits(cell: Cell) -> bool:
    with cell.dispatcher.lock:
        return cell.urgent is not None and any(type(envelope.message) is StopRequest for envelope in cell.urgent)


def _run_hook(cell: Cell, hook: Hook) -> None:
    cell.scheduled = True  # nothing is drained before the hook has ended
    cell.draining = True
    try:
        result = hook()
    except BaseException as error:  # one actor's SystemExit must not end the others
        cell.draining = False
        _hook_ended(cell, error)
        if isinstance(error, KeyboardInterrupt):
            raise
    else:
        cell.draining = False
        if result is not None and hasattr(type(result), "__await__"):
            cell.start_task(result)
        else:
            _hook_ended(cell, None)


def _hook_ended(cell: Cell, error: BaseException | None) -> None:
    cell.scheduled = False
    if cell.killed:
        if error is not None and not isinstance(error, asyncio.CancelledError):
            _report_at_end(cell, error, None)
        end(cell, "killed")
    elif cell.state is ActorState.STOPPING:
        if error is not None:
            _report_at_end(cell, error, None)
        end(cell, "stopped")
    elif cell.defect is not None:
        defect, cell.defect = cell.defect, None
        crash(cell, defect)
    elif error is not None:
        crash(cell, as_exception(cell.name, error))
    else:
        cell.state = ActorState.IDLE
        if isinstance(cell.supervision, RestForOne):
            advance(cell, _restart)
        cell.drain()


def task_finished(cell: Cell, error: BaseException | None, value: object) -> None:
    """Go on after the end of a hook's task, or of whatever ran when the actor was killed."""
    envelope, cell.current = cell.current, None
    if envelope is None:
        _hook_ended(cell, error)
        return
    cell.processed += 1
    declared = cell.behaviour is not None and isinstance(error, cell.behaviour.domain_errors)
    # An answer, if it was done before the kill could hit it: that is the true outcome.
    if error is None:
        cell.answer(envelope, value)
    elif declared and isinstance(error, Exception):
        cell.answer_error(envelope, error)
    else:
        dead = ActorDead(cell.name, "killed")
        dead.__cause__ = error
        cell.answer_error(envelope, dead)
        if not isinstance(error, asyncio.CancelledError):
            _report_at_end(cell, error, envelope.message)
    end(cell, "killed")


def stop(cell: Cell, envelope: Envelope) -> None:
    """Stop taking messages, call `on_stop`, end."""
    cell.current = None
    _close(cell, "stopped")
    with cell.dispatcher.lock:
        if cell.urgent is None:
            cell.urgent = deque()
        cell.urgent.appendleft(envelope)  # answered at the end
    cell.state = ActorState.STOPPING
    if cell.behaviour is not None:
        _run_hook(cell, cell.behaviour.on_stop)


def kill(cell: Cell) -> None:
    """End the actor at once, or as soon as its handler's task has ended."""
    if cell.ended or cell.killed:
        return
    cell.killed = True
    _close(cell, "killed")
    if cell.task is not None:
        cell.task.cancel()
    elif not cell.draining:  # else the drain, or the hook, that is on the stack now ends it
        end(cell, "killed")


def crash(cell: Cell, error: Exception) -> None:
    """Answer the interrupted asker, and let supervision decide."""
    system = cell.system
    envelope, cell.current = cell.current, None
    message = None if envelope is None else envelope.message
    if cell.timers is not None:
        cell.timers.cancel_all()
    cause = error.cause if isinstance(error, Interrupted) else error
    if envelope is not None:
        cell.processed += 1
        cell.answer_error(envelope, ActorCrashed(cell.name, type(message).__name__, cause))
    if cause is not error:
        _hold(cell, cause, message)
        if cell.held is not None and _stop_waits(cell):
            end(cell, "stopped")
        return
    cell.failures += 1
    cell.last_error = error
    system.tally.failures += 1
    group = members(cell)
    oldest = group[0]  # it has the history of all
    now = cell.dispatcher.loop.time() - oldest.waited_s
    decision = decide(cell.supervision, oldest.history, now, system.random)
    if not isinstance(decision, Restart):
        system.failed(ActorFailure(cell.ref, error, message, "end", 0.0))
        end_rest(cell, group, kill)
        end(cell, "failed", error)
        if cell.supervision is not None and cell.supervision.escalate_to is not None:
            cell.supervision.escalate_to.cell.deliver(Envelope(Escalated(cell.name, error)))
        return
    waited_s = oldest.waited_s + decision.delay_s
    for other in group:
        other.history, other.waited_s = decision.history, waited_s
    cell.state = ActorState.RESTARTING  # the crashed behaviour stays until then: pykka's proxies look at it
    cell.scheduled = False
    interrupt_rest(cell, group, error, crash)
    system.failed(ActorFailure(cell.ref, error, message, "restart", decision.delay_s))
    if cell.killed:  # by whoever was told of the failure just now
        end(cell, "killed")
        return
    again = partial(_hold, cell, error, message)
    loop = cell.dispatcher.loop
    if _stop_waits(cell):
        end(cell, "stopped")
    elif decision.delay_s > 0:
        cell.restart_timer = loop.call_later(decision.delay_s, again, context=cell.context)
    else:
        cell.restart_timer = loop.call_soon(again, context=cell.context)


def _hold(cell: Cell, error: Exception, interrupted: object | None) -> None:
    """Restart when it is this one's turn in its group."""
    cell.restart_timer = None
    cell.state = ActorState.RESTARTING
    cell.scheduled = False
    cell.held = error, interrupted
    advance(cell, _restart)


def _restart(cell: Cell, error: Exception, interrupted: object | None) -> None:
    cell.restarts += 1
    cell.system.tally.restarts += 1
    cell.state = ActorState.STARTING
    cell.scheduled = True
    cell.draining = True
    try:
        cell.make_behaviour()
    except BaseException as failure:  # as in _run_hook
        cell.draining = False
        _hook_ended(cell, failure)
        if isinstance(failure, KeyboardInterrupt):
            raise
        return
    behaviour = cell.behaviour
    if behaviour is not None:
        _run_hook(cell, partial(behaviour.on_restart, error, interrupted))


def end(cell: Cell, reason: EndReason, error: Exception | None = None) -> None:
    """End for good: answer all that waits, tell the watchers, leave the system."""
    if cell.ended:
        return
    _close(cell, reason)
    terminated = Terminated(cell.ref, reason, error)
    with cell.dispatcher.lock:
        cell.ended = True
        cell.obituary = terminated
        cell.scheduled = True
        urgent, cell.urgent = cell.urgent or (), None
    cell.state = ActorState.FAILED if reason == "failed" else ActorState.STOPPED
    if cell.restart_timer is not None:
        cell.restart_timer.cancel()
        cell.restart_timer = None
    cell.behaviour = None
    cell.args, cell.kwargs = (), {}
    cell.system.forget(cell)
    for envelope in urgent:
        cell.answer(envelope, value=True)  # only stops and kills are left
    if cell.watches is not None:
        _tell_watchers(cell, cell.watches, terminated)
    if isinstance(cell.supervision, RestForOne):
        advance(cell, _restart)  # those behind it no longer wait for it


def _close(cell: Cell, reason: EndReason) -> None:
    """Take no more messages, and answer those that wait. Stop requests stay: the end answers them."""
    with cell.dispatcher.lock:
        cell.accepting = False
        cell.end_reason = reason
        user, cell.user = cell.user, deque()
        urgent = cell.urgent or ()
        left = [envelope for envelope in urgent if type(envelope.message) is not StopRequest]
        cell.urgent = deque(envelope for envelope in urgent if type(envelope.message) is StopRequest) or None
    if cell.timers is not None:
        cell.timers.cancel_all()
    for envelope in (*left, *user):
        cell.answer_error(envelope, ActorDead(cell.name, reason))
        cell.system.dead_letter(envelope, cell.name, "queued")
        cell.dropped(envelope, "dead")


def _report_at_end(cell: Cell, error: BaseException, message: object | None) -> None:
    failure = as_exception(cell.name, error)
    cell.failures += 1
    cell.last_error = failure
    cell.system.tally.failures += 1
    cell.system.failed(ActorFailure(cell.ref, failure, message, "end", 0.0))


def watch(cell: Cell, target: Cell) -> None:
    """Have a cell told when another has ended. The two may belong to different systems."""
    with target.dispatcher.lock:
        if not target.ended:
            if cell.watches is None:
                cell.watches = Watches()
            if target.watches is None:
                target.watches = Watches()
            target.watches.watchers[cell] = None
            cell.watches.watched[target] = None
            return
    # Not under the lock: this takes the lock of the watcher's system.
    cell.deliver(Envelope(target.obituary or Terminated(target.ref, "stopped")))


def unwatch(cell: Cell, target: Cell) -> None:
    """Undo `watch`."""
    with target.dispatcher.lock:
        if target.watches is not None:
            target.watches.watchers.pop(cell, None)
        if cell.watches is not None:
            cell.watches.watched.pop(target, None)


def _tell_watchers(cell: Cell, watches: Watches, terminated: Terminated) -> None:
    with cell.dispatcher.lock:
        watchers = tuple(watches.watchers)
        watches.watchers.clear()
    for watcher in watchers:
        if watcher.watches is not None:
            watcher.watches.watched.pop(cell, None)
        watcher.deliver(Envelope(terminated))
    for target in tuple(watches.watched):
        unwatch(cell, target)
