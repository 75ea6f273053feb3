"""The permanent part of an actor: its mailbox, and the behaviour inside, which a restart replaces."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextvars import Context
from functools import partial
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from actors import life
from actors.actor import Actor
from actors.errors import UnhandledMessage
from actors.inspection import ActorInfo, ActorState, snapshot
from actors.mailbox import Mailbox, expire
from actors.message import PROXY_MESSAGES, QUEUED, STARTED, WITHDRAWN, Envelope, StopRequest
from actors.ref import Ref
from actors.timer import TimerHandle, Timers

if TYPE_CHECKING:
    from actors.supervision import OneForOne
    from actors.system import ActorSystem
    from actors.watch import Terminated, Watches

_READY = ActorState.IDLE


class Cell(Mailbox):
    """Drains the mailbox into the behaviour, one message at a time. Its methods run on the loop's thread."""

    __slots__ = (
        "__weakref__",
        "actor_class",
        "args",
        "awaited",
        "behaviour",
        "current",
        "defect",
        "failures",
        "held",
        "history",
        "killed",
        "kwargs",
        "last_error",
        "obituary",
        "processed",
        "ref",
        "restart_timer",
        "restarts",
        "serial",
        "started_at",
        "state",
        "supervision",
        "timers",
        "waited_s",
        "watches",
    )

    def __init__(
        self,
        system: ActorSystem,
        serial: int,
        name: str,
        context: Context,
        actor_class: type[Actor],
        *,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        supervision: OneForOne | None,
    ) -> None:
        super().__init__(system, name, actor_class.mailbox_capacity, context)
        self.serial = serial
        self.actor_class = actor_class
        self.args = args
        self.kwargs = kwargs
        self.supervision = supervision
        self.ref: Ref[Any] = Ref(self)
        self.behaviour: Actor | None = None
        self.announces = actor_class.on_queued is not Actor.on_queued
        self.scheduled = True  # whoever spawned it schedules the first drain
        self.state = ActorState.STARTING
        self.current: Envelope | None = None  # what is handled now, unless it was forwarded
        self.awaited: object = None  # what the task runs
        self.killed = False
        self.defect: Exception | None = None  # raised beside the running handler, which is being cancelled for it
        self.held: tuple[Exception, object | None] | None = None  # what its restart waits with for its group
        self.processed = 0
        self.failures = 0
        self.restarts = 0
        self.history: tuple[float, ...] = ()
        self.waited_s = 0.0
        self.restart_timer: asyncio.Handle | None = None
        self.started_at = time.time()
        self.last_error: Exception | None = None
        self.timers: Timers | None = None
        self.watches: Watches | None = None
        self.obituary: Terminated | None = None  # for those who begin to watch when it has ended

    @property
    def urn(self) -> str:
        """Identifies the actor for ever."""
        return f"urn:uuid:{self.system.uuid}:{self.serial}"

    def make_behaviour(self) -> None:
        """Construct the behaviour.

        Raises:
            Exception: What its constructor raised.
        """
        behaviour = self.actor_class.__new__(self.actor_class, *self.args, **self.kwargs)
        behaviour._actor_cell = self  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] # the two are one thing
        self.behaviour = behaviour
        behaviour.__init__(*self.args, **self.kwargs)  # type: ignore[misc] # the class's own constructor, after __new__

    # Draining

    def drain(self) -> None:
        """Handle what waits, at most the system's budget of messages; then give others their turn."""
        if self.task is not None:
            return  # scheduled just before the task was started; its end drains
        self.scheduled = False
        behaviour = self.behaviour
        if self.state is not _READY or behaviour is None:
            life.drain_unready(self)
            return
        user = self.user
        loop = self.dispatcher.loop
        on_receive = behaviour.on_receive
        handle_proxy = behaviour._handle_receive  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] # pykka's
        self.draining = True
        try:
            for _ in range(self.system.drain_budget):
                urgent = self.urgent
                try:
                    envelope = urgent.popleft() if urgent else user.popleft()
                except IndexError:
                    if user or self.urgent:
                        continue  # only what stood first was withdrawn, by another thread, just now
                    return
                reply = envelope.reply
                if reply is not None and reply.done():
                    envelope.state = WITHDRAWN  # its waiter was cancelled in this very turn of the loop
                    with self.dispatcher.lock:
                        self.system.tally.withdrawn += 1
                    self.dropped(envelope, "cancelled")
                    continue
                if envelope.deadline is not None and loop.time() >= envelope.deadline:
                    expire(envelope, taken=True)  # the loop is late: its timer has not come round yet
                    # Another thread may have withdrawn it on its way here, when it could not know that nobody begins.
                    self.dropped(envelope, "deadline")
                    continue
                message: object = envelope.message
                kind = type(message)
                envelope.state = STARTED
                if kind is StopRequest:
                    life.stop(self, envelope)
                    return
                self.current = envelope
                try:
                    result: object = handle_proxy(message) if kind in PROXY_MESSAGES else on_receive(message)
                except BaseException as error:  # one actor's SystemExit must not end the others
                    goes_on = self._raised(error)
                    if isinstance(error, KeyboardInterrupt):
                        raise  # it is addressed to the process; the actor only happened to run
                    if goes_on:
                        continue
                    return
                if result is not None and hasattr(type(result), "__await__"):
                    self.start_task(result)
                    return
                if self.current is envelope:
                    self.current = None
                    self.answer(envelope, result)
                self.processed += 1
                if self.killed:
                    life.end(self, "killed")
                    return
        finally:
            self.draining = False
        if (user or self.urgent) and not self.scheduled:
            self.scheduled = True
            self.enter()

    def start_task(self, awaitable: Any) -> None:
        """Run an asynchronous handler or hook; the actor takes no other message until it has ended."""
        self.scheduled = True
        self.awaited = awaitable
        task = self.dispatcher.loop.create_task(life.guarded(self.name, awaitable), name=self.name)
        self.task = task
        task.add_done_callback(self._finished, context=self.context)
        if self.killed:
            task.cancel()

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self.task = None
        self.scheduled = False
        awaited, self.awaited = self.awaited, None
        error: BaseException | None
        try:
            error = task.exception()
        except asyncio.CancelledError as cancelled:
            error = cancelled
            if isinstance(awaited, CoroutineType):
                awaited.close()  # cancelled before its first step: it would warn that it was never awaited
        if self.killed or self.state is not _READY:
            life.task_finished(self, error, None if error is not None else task.result())
            return
        envelope, defect = self.current, self.defect
        if error is None:
            self.current = None
            self.processed += 1
            if envelope is not None:
                self.answer(envelope, task.result())
        if defect is not None:
            self.defect = None
            life.crash(self, defect)
        elif error is None or self._raised(error):
            self.drain()

    def _raised(self, error: BaseException) -> bool:
        """Deal with what a handler raised; return whether the actor goes on."""
        envelope = self.current
        behaviour = self.behaviour
        if self.killed:
            life.task_finished(self, error, None)
            return False
        declared = behaviour is not None and isinstance(error, behaviour.domain_errors)
        # A StopIteration can't be set on a future: declared or not, it is a crash.
        if isinstance(error, Exception) and not isinstance(error, StopIteration):
            if declared:
                self.system.tally.domain_errors += 1
            elif isinstance(error, UnhandledMessage) and error.actor == self.name:
                declared = True
                if envelope is not None and envelope.reply is None:
                    self.system.dead_letter(envelope, self.name, "unhandled")
            if declared:
                self.current = None
                self.processed += 1
                if envelope is not None:
                    self.answer_error(envelope, error)
                return True
        life.crash(self, life.as_exception(self.name, error))
        return False

    # Services of the behaviour

    def announce(self, envelope: Envelope) -> None:
        """Tell the running handler that a user message was queued."""
        if envelope.state != QUEUED or self.task is None or self.state is not _READY or self.behaviour is None:
            return
        try:
            self.context.copy().run(self.behaviour.on_queued, envelope.message)
        except Exception as error:  # noqa: BLE001 # any exception in a hook is a crash
            self.defect = error
            self.task.cancel()

    def after(self, delay_s: float, message: object) -> TimerHandle:
        """Tell the actor itself a message later."""
        if self.timers is None:
            self.timers = Timers()
        return self.timers.add(self, delay_s, message)

    def request_kill(self, envelope: Envelope) -> bool:
        """Kill the actor at once; its end answers the envelope. From any thread. False: it has ended already."""
        with self.dispatcher.lock:
            if self.ended:
                return False
            if self.urgent is None:
                self.urgent = deque()
            self.urgent.append(envelope)
            envelope.mailbox = self
            if not self.dispatcher.on_loop():
                return self.dispatcher.post(partial(life.kill, self))
        life.kill(self)
        return True

    # What others may ask of the cell

    def inspect(self) -> ActorInfo:
        """Return a snapshot; from any thread."""
        return snapshot(self)
