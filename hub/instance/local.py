"""One instance as a process of this machine."""

from __future__ import annotations

import asyncio
import functools
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import anyio

from hub.errors import StartFailed
from hub.instance import beside, checkpoint_dir, output, procfs
from hub.instance.adopted import adopt_process
from hub.instance.conditions import Conditions
from hub.instance.confinement import HELD
from hub.instance.ending import EXITED, describe_exit, reason_of
from hub.instance.initialisation import Initialisation
from hub.instance.kind import render
from hub.instance.leftovers import kill_marked
from hub.instance.ports import LOOPBACK, is_free
from hub.instance.probe import http_request, make_probe
from hub.instance.process import DATA_MARKER, HOOK_MARKER, Process, child_environment, spawn
from hub.instance.procfs import ProcessIdentity
from hub.instance.protocol import InstanceSpec, Stopped
from hub.instance.serving import Serving
from hub.instance.shared_memory import remove_segments
from hub.instance.watched import RunningProcess
from hub.workers import Workers

_ERROR_LINES = 20


class LocalInstance:
    """An instance that runs as a process of this machine. `launch` or `adopt` comes first, once."""

    def __init__(self, spec: InstanceSpec, port: int, hub_id: str, workers: Workers, conditions: Conditions) -> None:
        self._spec = spec
        self._hub_id = hub_id
        self._workers = workers
        self._conditions = conditions
        self._log_offset = output.size(spec.log)
        self._process: RunningProcess
        self._started_at = time.time()
        self._out_of_memory_before = False
        self._killed = False
        self._reason = EXITED
        self.epoch = spec.epoch
        self.host = LOOPBACK
        self.port = port

    def launch(self, on_exit: Callable[[], None], *, outlives: bool) -> None:
        """Start the process.

        Args:
            on_exit: called once on the loop when it has ended.
            outlives: it runs on when the hub ends or is killed.

        Raises:
            StartFailed: the program does not exist or can't be run.
        """
        self._process = self._spawn(self._spec.kind.command, self._and_say_why(on_exit), outlives=outlives)

    def adopt(self, identity: ProcessIdentity, on_exit: Callable[[], None]) -> bool:
        """Take over the process that an earlier hub left running.

        Args:
            identity: the process.
            on_exit: called once on the loop when it has ended.

        Returns:
            Whether it runs; else there is nothing to take over.

        Raises:
            OSError: it can't be watched: no descriptor is left, for instance.
        """
        process = adopt_process(identity, self._and_say_why(on_exit))
        if process is None:
            return False
        self._process = process
        self._started_at = identity.started_at()
        self._log_offset = 0
        self._out_of_memory_before = self._conditions.out_of_memory()
        return True

    def _and_say_why(self, on_exit: Callable[[], None]) -> Callable[[], None]:
        def exited() -> None:
            self._reason = reason_of(
                self.exit_status,
                self._spec.kind.limits,
                out_of_memory=self._conditions.out_of_memory() and not self._out_of_memory_before,
                ours=self._killed,
            )
            on_exit()

        return exited

    def _spawn(
        self,
        command: Sequence[str],
        on_exit: Callable[[], None],
        data_dir: Path | None = None,
        *,
        outlives: bool = False,
        hook: bool = False,
    ) -> Process:
        """Start a program; `data_dir` is another than the module's own while its first data is made."""
        spec, directory = self._spec, data_dir or self._spec.data_dir
        reached = HELD if self._conditions.confinement.held else str(directory)
        fill = functools.partial(
            render,
            port=self.port,
            data_dir=reached,
            module_id=spec.module_id,
            checkpoint_dir=str(checkpoint_dir.place_beside(spec.data_dir)),
        )
        extra = dict(zip(spec.kind.env, fill(tuple(spec.kind.env.values())), strict=True))
        # The marker names the module's own directory in any case: by that it is found.
        environment = child_environment(self._hub_id, spec.data_dir, {"HOME": reached, **extra})
        return spawn(
            fill(command),
            environment=environment | ({HOOK_MARKER: "1"} if hook else {}),
            directory=directory,
            log=spec.log,
            on_exit=on_exit,
            confinement=self._conditions.confinement,
            outlives=outlives,
        )

    async def make_first_data(self) -> None:
        """Run the kind's `init` where the data directory is empty.

        Raises:
            StartFailed: it failed, or took longer than its `init_timeout`; the data directory is still empty.
        """
        initialisation = Initialisation(
            self._spec,
            self._conditions,
            self._workers,
            spawn=lambda command, directory: self._spawn(command, lambda: None, directory),
            sweep=self._sweep,
            last_output=self.last_output,
        )
        if await initialisation.run():
            # What it said must not make the server ready.
            self._log_offset = output.size(self._spec.log)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def started_ticks(self) -> int:
        """Start time in clock ticks since boot."""
        return self._process.started_ticks

    @property
    def boot_id(self) -> str:
        """The boot that `started_ticks` count from."""
        return procfs.boot_id()

    @property
    def alive(self) -> bool:
        """Whether the process has not ended."""
        return not self._process.exited.is_set()

    @property
    def exit_status(self) -> int | None:
        """Exit code, or minus the signal; `None` while it runs, or where nobody can tell."""
        return self._process.exit_status

    @property
    def exit_reason(self) -> str:
        """Why it ended."""
        return self._reason

    @property
    def unenforced(self) -> frozenset[str]:
        """Limits of its kind that can't be had on this machine."""
        return self._conditions.unenforced

    @property
    def cgroup_directories(self) -> tuple[Path, ...]:
        """Where all its processes are found, those too that left its process group; none where it has no cgroup."""
        return self._conditions.cgroup.directories if self._conditions.cgroup is not None else ()

    def describe_exit(self) -> str:
        """Say in words how it ended."""
        text = describe_exit(self.exit_status)
        return text if self._reason == EXITED else f"{text}: {self._reason}"

    def last_output(self) -> str:
        """Return the last lines that this run wrote."""
        return output.tail(self._spec.log, lines=_ERROR_LINES, offset=self._log_offset)

    async def wait_ready(self) -> None:
        """Wait until this process, and no other, answers on its port.

        Raises:
            StartFailed: it ended, or did not get there in its `start_timeout`.
        """
        kind = self._spec.kind
        try:
            await Serving(self._process, self._spec, self.port, self._workers).wait_ready(self._log_offset)
        except TimeoutError:
            listens = await self._workers.run(procfs.listener_in_group, self.port, self.pid)
            raise self._start_failed(
                f"was not ready ({kind.ready}) within {kind.start_timeout:g} s",
                "the kind's `start_timeout` gives it longer"
                if listens
                else f"it does not listen on port {self.port}: give it longer by `start_timeout`, or {{port}} in its `command`",
            ) from None
        if not self.alive:
            raise self._start_failed(f"ended with {self.describe_exit()} before it was ready")

    async def still_serves(self, timeout_s: float) -> bool:
        """Tell whether an adopted process, and no other, still answers on its port.

        Args:
            timeout_s: seconds that it gets to answer its probe.

        Raises:
            OSError: it could not be asked.
        """
        return await Serving(self._process, self._spec, self.port, self._workers).still(timeout_s)

    def _start_failed(self, what: str, hint: str = "") -> StartFailed:
        hint = self._conditions.explain(self._spec.data_dir) or hint
        if not is_free(self.port) and not procfs.listener_in_group(self.port, self.pid):
            hint = f"another process listens on port {self.port}"
        message = f"{self._spec.kind.command[0]!r} {what}"
        return StartFailed(message, hint=hint, output=self.last_output())

    async def probe(self) -> bool:
        """Tell whether it is live; `True` for a kind without a liveness probe."""
        live = self._spec.kind.live
        if live is None:
            return True
        return await make_probe(live, port=self.port, log=self._spec.log, log_offset=0)()

    async def collect_garbage(self) -> None:
        """Run the kind's `gc` hook.

        Raises:
            RuntimeError: it answered no.
            TimeoutError: it did not answer in its `gc_timeout`.
            OSError: it could not be run.
        """
        await self._call_hook(self._spec.kind.gc, self._spec.kind.gc_timeout)

    async def checkpoint(self) -> None:
        """Have the kind's `checkpoint` hook copy the data, which goes on being used, to the checkpoint directory.

        Raises:
            RuntimeError: it answered no, or copied nothing.
            TimeoutError: it did not answer in its `checkpoint_timeout`.
            OSError: it could not be run, or the disk refused.
        """
        directory = checkpoint_dir.place_beside(self._spec.data_dir)
        await self._workers.run(beside.make_empty, directory, self._conditions.confinement.account)
        await self._call_hook(self._spec.kind.checkpoint, self._spec.kind.checkpoint_timeout)
        if not await self._workers.run(checkpoint_dir.holds_a_file, directory):
            # Sent home it would take the place of the data.
            raise RuntimeError(f"there is no file in {directory}")

    async def _call_hook(self, hook: str | Sequence[str] | None, timeout_s: float) -> None:
        if hook is None:
            return
        async with asyncio.timeout(timeout_s):
            if isinstance(hook, str):
                status = await http_request(self.port, hook.removeprefix("http:"), "POST")
                if status is None or not 200 <= status < 300:
                    raise RuntimeError(f"{hook} answered {status}")
                return
            await self._run_hook(hook)

    async def _run_hook(self, command: Sequence[str]) -> None:
        process = self._spawn(command, on_exit=lambda: None, hook=True)
        try:
            await process.exited.wait()
        finally:
            with anyio.CancelScope(shield=True):
                await process.kill()
        if process.exit_status != 0:
            raise RuntimeError(f"{command[0]!r} ended with {describe_exit(process.exit_status)}")

    async def stop(self, *, force: bool) -> Stopped:
        """Stop it by its stop signal; with `force`, by SIGKILL when its `stop_timeout` is over."""
        self._process.send(signal.Signals[self._spec.kind.stop_signal])
        try:
            async with asyncio.timeout(self._spec.kind.stop_timeout):
                await self._process.exited.wait()
        except TimeoutError:
            if force:
                await self.kill()
            return Stopped(clean=False, exit_status=self.exit_status)
        await self.kill()  # what it had started and left behind
        return Stopped(clean=True, exit_status=self.exit_status)

    def resume(self) -> None:
        """Let it go on if it is stopped (SIGSTOP): until then it takes no signal but SIGKILL."""
        self._process.send(signal.SIGCONT)

    def leave(self) -> None:
        """Watch it no longer, and let it run on."""
        self._process.leave()

    async def kill(self) -> None:
        """End it at once, with all that it started, in its process group or not: nothing may still write its data."""
        self._killed = True
        await self._process.kill()
        await self._sweep()
        await self._workers.run(remove_segments, self.pid, self._started_at)
        if self._conditions.cgroup is not None:
            await self._workers.run(self._conditions.cgroup.end)

    async def _sweep(self) -> None:
        await self._workers.run(kill_marked, DATA_MARKER, str(self._spec.data_dir), self._spec.log)
