"""The demo's voice: a numbered line a step, told when it is done, with what was checked and how long it took."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn, ParamSpec, TypeVar

from hub.cli.demo.errors import CheckFailed
from hub.cli.demo.recording import Recording, Reported
from hub.cli.demo.timeline import Mark
from hub.cli.terminal import Terminal, duration

P = ParamSpec("P")
T = TypeVar("T")

_ACTION_WIDTH = 12
_MODULE_WIDTH = 6
_TIME_WIDTH = 7


@dataclass(slots=True)
class Step:
    """One step of the demo.

    Attributes:
        number: its number.
        action: what is done, in one word or two.
        module_id: the module it is done to; empty = the hub.
        at: when it began, in seconds of the monotonic clock.
        took_s: how long the operation itself took.
        text: what was done and checked, for people.
        listing: lines below the text.
        checks: how many checks held.
        ok: whether all did.
    """

    number: int
    action: str
    module_id: str
    at: float
    took_s: float = 0.0
    text: str = ""
    listing: list[str] = field(default_factory=list[str])
    checks: int = 0
    ok: bool = False

    def timed(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function; the time it takes is the step's."""
        started = time.monotonic()
        try:
            return function(*args, **kwargs)
        finally:
            self.took_s += time.monotonic() - started

    def check(self, holds: object, otherwise: str) -> None:
        """Check something.

        Args:
            holds: whether it holds.
            otherwise: what to say if it does not.

        Raises:
            CheckFailed: it does not hold.
        """
        if not holds:
            self.fail(otherwise)
        self.checks += 1

    def fail(self, message: str, cause: Exception | None = None) -> NoReturn:
        """End the demo at this step.

        Args:
            message: what did not hold.
            cause: what it came from.

        Raises:
            CheckFailed: always.
        """
        raise CheckFailed(f"{self._place}{message}") from cause

    @property
    def _place(self) -> str:
        return f"step {self.number}, {f'{self.action} {self.module_id}'.strip()}: "

    def tell_failure(self, error: Exception) -> None:
        """Say what failed. The whole error comes last, on stderr; here it shows where in the story it happened."""
        message: str = getattr(error, "message", "") or str(error) or repr(error)
        self.text = message.removeprefix(self._place)

    def tell(self, text: str, *listing: str) -> None:
        """Say what was done and checked; `listing` is shown below, as it is."""
        self.text = text
        self.listing.extend(listing)

    def as_json(self) -> Mapping[str, Any]:
        """Return the step as plain data."""
        return {
            "step": self.number,
            "action": self.action,
            "module_id": self.module_id or None,
            "ok": self.ok,
            "checks": self.checks,
            "duration_ms": round(self.took_s * 1000, 3),
            "text": self.text,
            "listing": self.listing,
        }


class Narrator:
    """Tells the steps on a terminal.

    Args:
        terminal: where to.
        recording: the hub's events.
        silent: tell nothing; the steps are only kept.
        verbose: show the hub's events below each step.
    """

    def __init__(self, terminal: Terminal, recording: Recording, *, silent: bool, verbose: bool) -> None:
        self._terminal = terminal
        self._recording = recording
        self._silent = silent
        self._verbose = verbose
        self._shown = 0
        self.steps: list[Step] = []

    @property
    def marks(self) -> list[Mark]:
        """The beginnings of the steps, for the picture."""
        return [Mark(step.at, str(step.number)) for step in self.steps]

    def say(self, line: str = "") -> None:
        """Tell a line that belongs to no step."""
        if not self._silent:
            self._terminal.write(line)

    @contextmanager
    def step(self, action: str, module_id: str = "") -> Generator[Step]:
        """Do a step; it is told when the block ends, also when it failed."""
        step = Step(len(self.steps) + 1, action, module_id, time.monotonic())
        self.steps.append(step)
        try:
            yield step
            step.ok = True
        except Exception as error:
            step.tell_failure(error)
            raise
        finally:
            if step.text:
                self._tell(step)

    def _tell(self, step: Step) -> None:
        terminal = self._terminal
        symbols = terminal.symbols
        mark = terminal.paint(symbols.ok, "green") if step.ok else terminal.paint(symbols.failed, "red", bold=True)
        plain = f" {step.number:>2}  {step.action:<{_ACTION_WIDTH}} {step.module_id:<{_MODULE_WIDTH}}"
        head = plain.replace(step.action, terminal.paint(step.action, bold=True), 1)
        took = terminal.paint(f"{duration(step.took_s):>{_TIME_WIDTH}}", dim=True)
        indent = len(plain) + _TIME_WIDTH + 3
        first, *rest = textwrap.wrap(step.text, terminal.width - indent) or [""]
        self.say(f"{mark}{head}{took}  {first}".rstrip())
        for line in (*rest, *step.listing):
            self.say(" " * indent + line)
        if self._verbose:
            events = self._recording.events[self._shown :]
            self._shown += len(events)
            for event in events:
                self.say(terminal.paint(f"      {symbols.arrow} {_event(event)}", dim=True))


def _event(event: Reported) -> str:
    fields = " ".join(f"{key}={value}" for key, value in event.fields.items() if key != "output")
    return f"{event.name} {fields}"
