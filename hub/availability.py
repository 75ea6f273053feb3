"""Whether the backend can be used, learnt from how work on it ends; the effects around `breaker`. Lives on the loop."""

from __future__ import annotations

import datetime as dt
import random
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

import anyio

from backends import (
    BackendsError,
    BackendUnavailable,
    InvalidName,
    LocalDiskError,
    SourceChanged,
    TransferCancelled,
    UnsupportedFile,
)
from hub import breaker
from hub.breaker import BreakerPolicy, Circuit, Closed, Open
from hub.errors import BackendError
from hub.events import EventBus
from hub.info import BackendStatus

_PATIENCE_S = 2.0
# They say nothing about the backend. Everything else but `BackendUnavailable` is an answer of it: denied, full, corrupt.
_NO_ANSWER = (TransferCancelled, LocalDiskError, SourceChanged, UnsupportedFile, InvalidName)


class Availability:
    """Keeps the breaker's state, and tells of its changes.

    Args:
        policy: when it opens, and how long it waits.
        bus: for `backend.unavailable` and `backend.available`.
        clock: monotonic seconds.
        on_open: called when it has opened.
        wall_clock: seconds since the epoch.
        chance: gives numbers in [0, 1).

    Attributes:
        on_doubt: called after a first failure of work; who sees to a look at the backend is not there from the beginning.
    """

    def __init__(
        self,
        policy: BreakerPolicy,
        bus: EventBus,
        clock: Callable[[], float],
        *,
        on_open: Callable[[], None] = lambda: None,
        wall_clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._policy = policy
        self._bus = bus
        self._clock = clock
        self._on_open = on_open
        self._wall_clock = wall_clock
        self._chance = chance
        self._circuit: Circuit = Closed()
        self.on_doubt: Callable[[], object] = lambda: None
        self._changed_at = wall_clock()
        self._attempted = anyio.Event()  # of the next attempt; each has its own

    @property
    def available(self) -> bool:
        """Whether the backend is asked at all."""
        return isinstance(self._circuit, Closed)

    @property
    def next_attempt_s(self) -> float | None:
        """Seconds until the next attempt to reach a backend that is unavailable; `None` while it is available."""
        match self._circuit:
            case Closed():
                return None
            case Open(next_at=next_at):
                return max(0.0, next_at - self._clock())
            case _:  # under way: who asks again at once would ask for nothing
                return self._policy.delay_s

    def status(self) -> BackendStatus:
        """Return what callers are told of it."""
        error = None if isinstance(self._circuit, Closed) else self._circuit.error
        return BackendStatus(self.available, self._changed_at, error, self.next_attempt_s)

    def error(self, subject: str) -> BackendError:
        """Return the error of what needs the backend while it is unavailable.

        Args:
            subject: what needs it.
        """
        status = self.status()
        since = dt.datetime.fromtimestamp(status.since, dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        return BackendError(
            f"{subject}: the backend has been unavailable since {since}: {status.error}",
            hint=f"it was not asked; it will be tried again in {status.retry_after_s or 0:.1f} s",
            retry_after_s=status.retry_after_s,
        )

    def require(self, subject: str) -> None:
        """Refuse, before anything is touched, what needs the backend while it is unavailable.

        Raises:
            BackendError: it is unavailable.
        """
        if not self.available:
            raise self.error(subject)

    async def require_soon(self, subject: str) -> None:
        """As `require`, but after the next attempt where that is due in a moment: the backend may be back.

        So who mends it and asks again is not refused for what was. It costs the backend nothing.

        Raises:
            BackendError: it is unavailable.
        """
        due_s = self.next_attempt_s
        if due_s is not None and due_s <= _PATIENCE_S:
            with anyio.move_on_after(_PATIENCE_S):
                await self._attempted.wait()
        self.require(subject)

    @contextmanager
    def learning(self, *, work: bool = True) -> Generator[None]:
        """Learn from how the block ends.

        Args:
            work: whether its success tells that work on the backend succeeds; a mere look at it does not.
        """
        try:
            yield
        except BackendUnavailable as error:
            before = self._circuit
            self._enter(breaker.fail(self._policy, before, self._clock(), str(error), self._chance))
            if work and breaker.in_doubt(before, self._circuit):
                self.on_doubt()
            raise
        except BackendsError as error:
            if work and not isinstance(error, _NO_ANSWER):
                self._enter(breaker.succeed(self._circuit))
            raise
        if work:
            self._enter(breaker.succeed(self._circuit))

    @contextmanager
    def looking(self) -> Generator[None]:
        """Learn from the look that is made after a first failure; its errors end here."""
        try:
            yield
        except (BackendUnavailable, OSError) as error:
            self._enter(breaker.fail_look(self._policy, self._circuit, self._clock(), str(error), self._chance))
        except BackendsError:
            pass  # an answer, as for an attempt

    @contextmanager
    def attempting(self) -> Generator[None]:
        """Learn from the one attempt that is made while the backend is unavailable; its errors end here."""
        self._enter(breaker.begin_attempt(self._circuit))
        try:
            yield
        except (BackendUnavailable, OSError) as error:
            self._enter(breaker.fail_attempt(self._policy, self._circuit, self._clock(), str(error), self._chance))
        except BackendsError:
            # It answers. What it refuses, the next operation's own error tells better than this one could.
            self._enter(breaker.succeed_attempt(self._circuit))
        else:
            self._enter(breaker.succeed_attempt(self._circuit))
        finally:
            self._attempted.set()
            self._attempted = anyio.Event()

    def _enter(self, circuit: Circuit) -> None:
        before, self._circuit = self._circuit, circuit
        if isinstance(before, Closed) is isinstance(circuit, Closed):
            return
        self._changed_at = self._wall_clock()
        if isinstance(circuit, Closed):
            assert not isinstance(before, Closed), "the two differ"
            duration_ms = round((self._clock() - before.since) * 1000, 3)
            self._bus.publish("backend.available", duration_ms=duration_ms)
        else:
            delay_ms = round((self.next_attempt_s or 0.0) * 1000, 3)
            self._bus.publish("backend.unavailable", error=circuit.error, delay_ms=delay_ms)
            self._on_open()
