"""What the hub reports while the demo runs, taken from its log: the timeline is drawn from that alone."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from hub.events import LOGGER_NAME, VOCABULARY


@dataclass(frozen=True, slots=True)
class Reported:
    """One event of the hub.

    Attributes:
        at: when, in seconds of the monotonic clock.
        level: its level.
        name: its name.
        fields: its attributes, `module_id` among them.
    """

    at: float
    level: int
    name: str
    fields: MappingProxyType[str, Any]


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of a module's state."""

    at: float
    module_id: str
    from_state: str
    to_state: str


class Recording(logging.Handler):
    """Keeps every event. The hub's loop appends, the demo's thread reads."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.events: list[Reported] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep an event."""
        name = record.getMessage()
        spec = VOCABULARY.get(name)
        keys = ("module_id", *spec.fields) if spec else ()
        fields = {key: record.__dict__[key] for key in keys if key in record.__dict__}
        self.events.append(Reported(time.monotonic(), record.levelno, name, MappingProxyType(fields)))

    @property
    def transitions(self) -> list[Transition]:
        """All changes of state so far."""
        return [
            Transition(e.at, e.fields["module_id"], e.fields["from_state"], e.fields["to_state"])
            for e in tuple(self.events)
            if e.name in {"module.transition", "module.resolved"}
        ]

    @property
    def defects(self) -> list[str]:
        """What the hub reported as an error of its own."""
        return [e.name for e in tuple(self.events) if e.level >= logging.ERROR]


@contextmanager
def recording() -> Generator[Recording]:
    """Record what hubs of this process report, until the block ends."""
    logger = logging.getLogger(LOGGER_NAME)
    handler, level, propagate = Recording(), logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield handler
    finally:
        logger.propagate = propagate
        logger.setLevel(level)
        logger.removeHandler(handler)
