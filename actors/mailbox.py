"""Two lanes, a bound, and who may still answer an envelope: everything about messages that races between threads."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from contextvars import Context
from functools import partial
from threading import get_ident
from typing import TYPE_CHECKING, Any

from actors.errors import ActorDead, ActorError, DeadlineExceeded, FutureResolved, MailboxFull
from actors.message import ANSWERED, QUEUED, SYSTEM_LANE, WITHDRAWN, DropReason, Envelope, Reply, StopRequest

if TYPE_CHECKING:
    import asyncio

    from actors.system import ActorSystem


class Mailbox:
    """Takes envelopes from any thread, and schedules one loop callback when it becomes non-empty.

    An envelope leaves a lane by an atomic `popleft` (its handler starts) or, under the lock, by `remove` (it is
    withdrawn). Whoever took it out decides; so "never runs" is certain without a lock for each message handled.
    """

    __slots__ = (
        "accepting",
        "announces",
        "capacity",
        "context",
        "dispatcher",
        "draining",
        "end_reason",
        "ended",
        "name",
        "scheduled",
        "system",
        "task",
        "urgent",
        "user",
    )

    def __init__(self, system: ActorSystem, name: str, capacity: int, context: Context) -> None:
        self.system = system
        self.dispatcher = system.dispatcher
        self.name = name
        self.capacity = capacity
        # A context for each actor, as each thread has one: a handler must see neither the context variables of
        # whoever happened to wake the actor nor those that another actor has set.
        self.context = context
        self.user: deque[Envelope] = deque()
        self.urgent: deque[Envelope] | None = None  # made when needed: an idle deque takes 0.6 KiB
        self.accepting = True
        self.ended = False
        self.end_reason = "stopped"
        self.scheduled = False  # a drain is scheduled, or whoever runs now will drain when done
        self.announces = False
        self.draining = False  # a synchronous handler or hook of this actor is on the stack
        self.task: asyncio.Task[Any] | None = None

    def drain(self) -> None:
        """Handle what waits."""
        raise NotImplementedError

    def announce(self, envelope: Envelope) -> None:
        """Tell the running handler that a user message was queued."""
        raise NotImplementedError

    def enter(self) -> None:
        """Schedule a drain, on the loop's thread."""
        self.dispatcher.loop.call_soon(self.drain, context=self.context)

    def woken(self) -> None:
        """Drain, in the wake-up that another thread caused: one turn of the loop less for whoever waits there."""
        self.context.run(self.drain)

    def send(self, envelope: Envelope, timeout: float | None) -> ActorError | None:
        """Deliver an ask with its deadline.

        Args:
            envelope: The ask.
            timeout: Seconds until the deadline; None for none.

        Returns:
            Why it was refused; None if it was queued.
        """
        if timeout is None:
            return self.deliver(envelope)
        if timeout <= 0:
            return DeadlineExceeded(self.name, started=False, timeout_s=timeout)
        envelope.timeout_s = timeout
        envelope.deadline = self.dispatcher.loop.time() + timeout
        refusal = self.deliver(envelope)
        if refusal is None:
            if self.dispatcher.on_loop():
                self.system.deadlines.add(envelope)
            else:
                self.dispatcher.post(partial(self.system.deadlines.add, envelope))
        return refusal

    def deliver(self, envelope: Envelope) -> ActorError | None:
        """Queue an envelope in the lane of its message; from any thread.

        Returns:
            Why it was refused; None if it was queued.
        """
        dispatcher = self.dispatcher
        with dispatcher.lock:
            if self.accepting or (type(envelope.message) is StopRequest and not self.ended):
                urgent = isinstance(envelope.message, SYSTEM_LANE)
                if urgent:
                    if self.urgent is None:
                        self.urgent = deque()
                    lane = self.urgent
                else:
                    lane = self.user
                    if len(lane) >= self.capacity:
                        self.system.tally.refused += 1
                        return MailboxFull(self.name, self.capacity)
                lane.append(envelope)
                envelope.mailbox = self
                if self.announces and not urgent and (self.task is not None or self.draining):
                    dispatcher.post(partial(self.announce, envelope))
                if self.scheduled:
                    return None
                # First the wake-up, then the flag: a signal handler may raise between any two steps here, and a flag
                # without its wake-up would leave this actor deaf for ever. A wake-up too many does no harm.
                if get_ident() == dispatcher.thread_id:
                    dispatcher.loop.call_soon(self.drain, context=self.context)
                    self.scheduled = True
                    return None
                if dispatcher.post(self.woken):
                    self.scheduled = True
                    return None
                lane.remove(envelope)  # nobody will drain it: the loop is closed
        self.system.dead_letter(envelope, self.name, "dead")
        return ActorDead(self.name, self.end_reason)

    def take_out(self, envelope: Envelope) -> bool:
        """Remove an envelope that waits. Call it under the lock.

        Returns:
            False when it waits no longer.
        """
        lane = self.urgent if isinstance(envelope.message, SYSTEM_LANE) else self.user
        if lane is None:
            return False
        try:
            lane.remove(envelope)
        except ValueError:
            return False
        return True

    def dropped(self, envelope: Envelope, reason: DropReason) -> None:
        """Tell whoever forwarded an envelope that no handler will start on it. From any thread; not under the lock."""
        callback, envelope.on_dropped = envelope.on_dropped, None
        if callback is None:
            return
        if self.dispatcher.on_loop():
            callback(reason)
        else:
            self.dispatcher.post(partial(callback, reason))

    def put(self, envelope: Any, /) -> None:
        """Take an envelope of pykka's own; its refs use it, ours do not."""
        own = Envelope(envelope.message)
        if envelope.reply_to is not None:
            own.reply = _PykkaReply(envelope.reply_to)
        refusal = self.deliver(own)
        if refusal is not None:
            if own.reply is None:
                raise refusal
            own.reply.set_exception(refusal)

    def get(self) -> Any:
        """Refuse: nobody takes messages from a cell.

        Raises:
            ActorError: Always.
        """
        raise ActorError("A cell hands its messages to its behaviour itself. Use ask or tell to talk to the actor.")

    def empty(self) -> bool:
        """Tell whether no message waits."""
        return not self.user and not self.urgent

    def answer(self, envelope: Envelope, value: Any) -> None:
        """Give the asker the reply, if there is one who still waits."""
        reply = envelope.reply
        if reply is None:
            envelope.state = ANSWERED
        elif self._settle(envelope):
            reply.set_result(value)

    def answer_error(self, envelope: Envelope, error: Exception) -> None:
        """Give the asker an error, if there is one who still waits."""
        reply = envelope.reply
        if reply is None:
            envelope.state = ANSWERED
        elif self._settle(envelope):
            fail(reply, error)

    def _settle(self, envelope: Envelope) -> bool:
        """Decide between the answer and the deadline, once."""
        reply = envelope.reply
        if envelope.deadline is None:
            envelope.state = ANSWERED
        else:
            with self.dispatcher.lock:
                if envelope.state != WITHDRAWN:
                    envelope.state = ANSWERED
                self.system.deadlines.answered()
        if envelope.state != ANSWERED or reply is None or reply.done():
            self.system.tally.late_replies += 1
            return False
        return True


def fail(reply: Reply, error: Exception) -> None:
    """Give a reply an error. One that another thread has resolved in this very moment keeps what it has."""
    with suppress(FutureResolved):
        reply.set_exception(error)


def expire(envelope: Envelope, *, taken: bool = False) -> None:
    """End an ask at its deadline: withdraw it if it waits, else leave its handler alone. From any thread.

    Args:
        envelope: The ask.
        taken: The caller has taken it out of its lane and will not start it.
    """
    mailbox = envelope.mailbox
    if mailbox is None:
        return
    with mailbox.dispatcher.lock:
        if envelope.state in (ANSWERED, WITHDRAWN):
            return
        mailbox = envelope.mailbox or mailbox  # it may have been forwarded before we had the lock
        started = not taken and not mailbox.take_out(envelope)
        envelope.state = WITHDRAWN
        mailbox.system.tally.expired += 1
    if not started:
        mailbox.dropped(envelope, "deadline")
    reply = envelope.reply
    if reply is not None and not reply.done():
        fail(reply, DeadlineExceeded(mailbox.name, started=started, timeout_s=envelope.timeout_s))


def withdraw(envelope: Envelope) -> None:
    """Take an ask back whose waiter was cancelled, if it has not started. From any thread."""
    mailbox = envelope.mailbox
    if mailbox is None:
        return
    with mailbox.dispatcher.lock:
        mailbox = envelope.mailbox or mailbox
        if envelope.state != QUEUED or not mailbox.take_out(envelope):
            return
        envelope.state = WITHDRAWN
        mailbox.system.tally.withdrawn += 1
    mailbox.dropped(envelope, "cancelled")


class _PykkaReply:
    """A pykka future as the target of an answer."""

    __slots__ = ("_done", "_future")

    def __init__(self, future: Any) -> None:
        self._future = future
        self._done = False

    def done(self) -> bool:
        return self._done

    def set_result(self, result: Any, /) -> None:
        self._done = True
        self._future.set(result)

    def set_exception(self, exception: BaseException, /) -> None:
        self._done = True
        self._future.set_exception((type(exception), exception, exception.__traceback__))
