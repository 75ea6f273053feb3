"""What a module's entry holds of its checkpoints, and what ends them."""

from __future__ import annotations

import asyncio
from typing import Any

from actors import Ref
from hub.operation import Operation, Phase


class CheckpointRun:
    """The checkpoints of one module while there are any: one is made, others may wait for it.

    Args:
        before: the run before it, which was ended and may not have come to its end; this one waits for that.

    Attributes:
        actor: makes them.
        ending: why no further one is made; empty while it may be.
        operation: the one that is made.
        no_hook: set while no hook runs.
    """

    def __init__(self, before: CheckpointRun | None) -> None:
        self.actor: Ref[Any]
        self.ending = ""
        self.operation: Operation | None = None
        self.no_hook = asyncio.Event()
        self.no_hook.set()
        self._before = before
        self._ended = asyncio.Event()

    def cancel(self, reason: str) -> None:
        """End what is made, and let nothing follow; returns at once."""
        self.ending = self.ending or reason
        if self.operation is not None:
            self.operation.cancel(self.ending, *Phase)

    async def wait_for_earlier(self) -> None:
        """Wait until the run before it has come to its end."""
        if self._before is not None:
            await self._before.wait_ended()
            self._before = None

    async def wait_ended(self) -> None:
        """Wait until nothing of it runs, nor of those before it."""
        await self._ended.wait()
        await self.wait_for_earlier()

    def note_end(self) -> None:
        """Say that nothing of it runs any more."""
        self.no_hook.set()
        self._ended.set()
