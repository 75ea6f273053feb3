"""The owner of a set of actors: names them, starts them, ends them."""

from __future__ import annotations

import asyncio
import logging
import random as chance
import uuid
from collections.abc import Callable, Generator
from contextlib import AbstractAsyncContextManager, contextmanager
from contextvars import Context, copy_context
from dataclasses import fields
from itertools import count
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

import anyio
from anyio.from_thread import start_blocking_portal

from actors.actor import Actor
from actors.cell import Cell
from actors.deadline import DeadlineHeap
from actors.dispatcher import Dispatcher
from actors.errors import DuplicateName, SystemNotRunning
from actors.inspection import ActorFailure, ActorInfo, Counters, DeadLetter
from actors.mailbox import expire
from actors.message import Envelope, StopRequest
from actors.ref import Ref

if TYPE_CHECKING:
    from actors.supervision import OneForOne

A = TypeVar("A", bound=Actor)

logger = logging.getLogger("modhub.actors")


class Tally:
    """The running totals behind `Counters`. Changed on the loop, or under the dispatcher's lock."""

    def __init__(self) -> None:
        self.spawned = self.ended = self.failures = self.restarts = self.domain_errors = 0
        self.dead_letters = self.refused = self.expired = self.withdrawn = self.late_replies = 0


class ActorSystem:
    """Owns actors that run on one event loop; several systems live side by side in a process.

    Enter it on the loop that shall run the actors: `async with ActorSystem() as system`. Leaving stops all actors, the
    last started first. `ActorSystem.in_thread()` gives a system with a loop of its own in a thread.

    Args:
        name: For logs and errors.
        drain_budget: Messages that one actor may handle before the others get their turn.
        stop_timeout_s: Seconds that leaving the system gives its actors to stop one after the other, and again as much
            to those that are left to stop side by side, before it kills them; None for ever.
        on_dead_letter: Called for each message that nobody will handle, in the thread that noticed. It must not block.
        on_failure: Called on the loop for each crash. By default crashes are logged with their traceback.
        random: Returns a number in [0, 1), for the jitter of backoffs.
    """

    def __init__(
        self,
        name: str = "actors",
        *,
        drain_budget: int = 64,
        stop_timeout_s: float | None = 10.0,
        on_dead_letter: Callable[[DeadLetter], None] | None = None,
        on_failure: Callable[[ActorFailure], None] | None = None,
        random: Callable[[], float] = chance.random,
    ) -> None:
        if drain_budget < 1:
            raise ValueError("drain_budget counts messages: give 1 or more.")
        self.name = name
        self.uuid = uuid.uuid4()
        self.drain_budget = drain_budget
        self.random = random
        self.tally = Tally()
        self._stop_timeout_s = stop_timeout_s
        self._on_dead_letter = on_dead_letter
        self._on_failure = on_failure
        self._cells: dict[str, Cell] = {}  # by name, in the order of their start
        self._serials = count(1)
        self._dispatcher: Dispatcher | None = None
        self._deadlines: DeadlineHeap | None = None
        self._context: Context = copy_context()
        self._running = False

    @classmethod
    @contextmanager
    def in_thread(
        cls,
        name: str = "actors",
        *,
        drain_budget: int = 64,
        stop_timeout_s: float | None = 10.0,
        on_dead_letter: Callable[[DeadLetter], None] | None = None,
        on_failure: Callable[[ActorFailure], None] | None = None,
        random: Callable[[], float] = chance.random,
    ) -> Generator[Self]:
        """Run a system on an event loop of its own, in a thread that is joined on leaving. Parameters as the class's.

        Yields:
            The system.
        """
        system = cls(
            name,
            drain_budget=drain_budget,
            stop_timeout_s=stop_timeout_s,
            on_dead_letter=on_dead_letter,
            on_failure=on_failure,
            random=random,
        )
        with start_blocking_portal(name=name) as portal:
            entered: AbstractAsyncContextManager[ActorSystem, None] = system
            with portal.wrap_async_context_manager(entered):
                yield system

    async def __aenter__(self) -> Self:
        if self._dispatcher is not None:
            raise SystemNotRunning(self.name)
        loop = asyncio.get_running_loop()
        self._dispatcher = Dispatcher(loop)
        self._deadlines = DeadlineHeap(loop, expire)
        self._context = copy_context()
        self._running = True
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        del exc_type, exc, traceback
        with self.dispatcher.lock:
            self._running = False  # from here on nothing is spawned
        try:
            with anyio.move_on_after(self._stop_timeout_s):
                while self._cells:
                    await next(reversed(self._cells.values())).ref.stop(block=False)
            with anyio.move_on_after(self._stop_timeout_s):
                # One that hangs has used up the time. It costs the others their order, not their on_stop.
                for ended in [cell.ref.stop(block=False) for cell in self._last_first()]:
                    await ended
        finally:
            # Also when this very task is being cancelled: no actor's task may outlive its system.
            with anyio.CancelScope(shield=True):
                for ended in [cell.ref.kill(block=False) for cell in self._last_first()]:
                    await ended
            self.deadlines.close()

    def _last_first(self) -> list[Cell]:
        return self.cells()[::-1]  # a copy: an idle actor that is killed leaves at once

    @property
    def dispatcher(self) -> Dispatcher:
        """The way on to the loop.

        Raises:
            SystemNotRunning: The system was not entered yet.
        """
        if self._dispatcher is None:
            raise SystemNotRunning(self.name)
        return self._dispatcher

    @property
    def deadlines(self) -> DeadlineHeap:
        """The deadlines of all asks.

        Raises:
            SystemNotRunning: The system was not entered yet.
        """
        if self._deadlines is None:
            raise SystemNotRunning(self.name)
        return self._deadlines

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop that runs the actors."""
        return self.dispatcher.loop

    @property
    def dead_letters(self) -> int:
        """How many messages nobody will handle."""
        return self.tally.dead_letters

    def clock(self) -> float:
        """Return the system's monotonic time in seconds: the loop's."""
        return self.dispatcher.loop.time()

    def counters(self) -> Counters:
        """Return the totals since the system was entered."""
        return Counters(**{field.name: getattr(self.tally, field.name) for field in fields(Counters)})

    def spawn(
        self,
        actor_class: type[A],
        *args: Any,
        name: str | None = None,
        supervision: OneForOne | None = None,
        **kwargs: Any,
    ) -> Ref[A]:
        """Start an actor; from any thread. Its constructor runs in the caller's thread, everything else on the loop.

        Args:
            actor_class: Its behaviour.
            *args: For the constructor, at each restart too.
            name: Unique among the live actors of this system; None for a generated one.
            supervision: What becomes of it after a crash; None: it ends as failed.
            **kwargs: For the constructor, at each restart too.

        Returns:
            Its ref. Messages sent before `on_start` has ended wait.

        Raises:
            DuplicateName: A live actor has this name.
            SystemNotRunning: The system was not entered, or is being left.
            Exception: What the constructor raised; then nothing was started.
        """
        dispatcher = self.dispatcher
        serial = next(self._serials)
        name = name if name is not None else f"{actor_class.__name__}-{serial}"
        if name in self._cells:  # before the constructor can have an effect; decided below
            raise DuplicateName(name, self.name)
        cell = Cell(
            self, serial, name, self._context.copy(), actor_class, args=args, kwargs=kwargs, supervision=supervision
        )
        cell.make_behaviour()
        with dispatcher.lock:
            if not self._running:
                raise SystemNotRunning(self.name)
            if name in self._cells:
                raise DuplicateName(name, self.name)
            self._cells[name] = cell
            self.tally.spawned += 1
            if dispatcher.on_loop():
                cell.enter()
            elif not dispatcher.post(cell.enter):
                del self._cells[name]
                raise SystemNotRunning(self.name)
        return cell.ref

    def get(self, name: str) -> Ref[Any] | None:
        """Return the live actor of that name, None if there is none; from any thread."""
        cell = self._cells.get(name)
        return None if cell is None else cell.ref

    def actors(self) -> list[ActorInfo]:
        """Return a snapshot of each live actor in the order of their start; from any thread."""
        return [cell.inspect() for cell in self.cells()]

    def inspect(self, ref: Ref[Any]) -> ActorInfo:
        """Return a snapshot of an actor, also of one that has ended; from any thread."""
        return ref.inspect()

    # For the cells

    def cells(self) -> list[Cell]:
        """Return the live cells in the order of their start."""
        with self.dispatcher.lock:
            return list(self._cells.values())

    def forget(self, cell: Cell) -> None:
        """Drop a cell that has ended."""
        with self.dispatcher.lock:
            if self._cells.get(cell.name) is cell:
                del self._cells[cell.name]
            self.tally.ended += 1

    def failed(self, failure: ActorFailure) -> None:
        """Report a crash."""
        if self._on_failure is None:
            logger.warning(
                "actor %s crashed on %s: %s in %.3f s",
                failure.ref.name,
                type(failure.message).__name__ if failure.message is not None else "a hook",
                failure.action,
                failure.delay_s,
                exc_info=failure.error,
            )
            return
        try:
            self._on_failure(failure)
        except Exception:
            logger.exception("on_failure of actor system %s failed", self.name)

    def dead_letter(
        self, envelope: Envelope, actor: str, reason: Literal["dead", "queued", "full", "unhandled"]
    ) -> None:
        """Count and report a message that nobody will handle. Not under the lock: it calls the host's code."""
        if type(envelope.message) is StopRequest:
            return
        with self.dispatcher.lock:
            self.tally.dead_letters += 1
        letter = DeadLetter(envelope.message, actor, reason, asked=envelope.reply is not None)
        logger.debug("dead letter: %s to %s (%s)", type(letter.message).__name__, actor, reason)
        if self._on_dead_letter is None:
            return
        try:
            self._on_dead_letter(letter)
        except Exception:
            logger.exception("on_dead_letter of actor system %s failed", self.name)
