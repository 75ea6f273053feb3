"""Running a kind's `init` where a module has no data yet; `first_data` tells how it stays all or nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path

import anyio

from hub.errors import StartFailed
from hub.instance import first_data
from hub.instance.conditions import Conditions
from hub.instance.ending import describe_exit
from hub.instance.process import Process
from hub.instance.protocol import InstanceSpec
from hub.workers import Workers


class Initialisation:
    """Makes the first data of one instance.

    Args:
        spec: the instance.
        conditions: under what conditions its kind's command runs.
        workers: for what blocks.
        spawn: starts a command on a directory that stands in for its data.
        sweep: ends what the command has left behind.
        last_output: returns what it wrote last.
    """

    def __init__(
        self,
        spec: InstanceSpec,
        conditions: Conditions,
        workers: Workers,
        *,
        spawn: Callable[[Sequence[str], Path], Process],
        sweep: Callable[[], Awaitable[object]],
        last_output: Callable[[], str],
    ) -> None:
        self._spec = spec
        self._conditions = conditions
        self._workers = workers
        self._spawn = spawn
        self._sweep = sweep
        self._last_output = last_output

    async def run(self) -> bool:
        """Run the kind's `init` where the data directory is empty.

        Returns:
            Whether it was run.

        Raises:
            StartFailed: it failed, or took longer than its `init_timeout`; the data directory is still empty.
        """
        spec = self._spec
        command, run = spec.kind.init, self._workers.run
        if command is None or not await run(first_data.is_wanted, spec.data_dir):
            return False
        try:
            directory = await run(first_data.begin, spec.data_dir, self._conditions.confinement.account)
            await self._run_command(command, directory)
            await run(first_data.finish, spec.data_dir)
        except BaseException:
            with anyio.CancelScope(shield=True), suppress(OSError):  # then the next attempt deletes it
                await run(first_data.discard, spec.data_dir)
            raise
        return True

    async def _run_command(self, command: Sequence[str], directory: Path) -> None:
        process = self._spawn(command, directory)
        try:
            async with asyncio.timeout(self._spec.kind.init_timeout):
                await process.exited.wait()
        except TimeoutError:
            raise self._failed(f"was not done within {self._spec.kind.init_timeout:g} s") from None
        finally:
            with anyio.CancelScope(shield=True):
                await process.kill()
                await self._sweep()
        if process.exit_status != 0:
            raise self._failed(f"ended with {describe_exit(process.exit_status)}")

    def _failed(self, what: str) -> StartFailed:
        hint = self._conditions.explain(self._spec.data_dir)
        return StartFailed(f"init of kind {self._spec.kind.name!r} {what}", hint=hint, output=self._last_output())
