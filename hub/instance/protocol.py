"""Instances behind one small protocol: the hub knows no other way to start, probe or stop a server."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hub.instance.kind import Kind
from hub.instance.procfs import ProcessIdentity


@dataclass(frozen=True, slots=True)
class InstanceSpec:
    """What to run.

    Attributes:
        module_id: the module.
        kind: how to run it.
        data_dir: its data, also the working directory.
        log: its output log.
        epoch: number of this start; no other start of the hub has it.
        port: taken if it is free.
    """

    module_id: str
    kind: Kind
    data_dir: Path
    log: Path
    epoch: int
    port: int | None = None


@dataclass(frozen=True, slots=True)
class Stopped:
    """How a stop ended.

    Attributes:
        clean: it ended by itself on its stop signal, within its time.
        exit_status: exit code, or minus the signal; `None` if it still runs, or nobody can tell.
    """

    clean: bool
    exit_status: int | None


@dataclass(frozen=True, slots=True)
class ResourceUse:
    """What a server uses, with all its processes.

    Attributes:
        memory_bytes: their resident memory.
        cpu_s: the processor time that they have used so far, in seconds.
        age_s: seconds since its first process started.
    """

    memory_bytes: int
    cpu_s: float
    age_s: float


class Instance(Protocol):
    """A running server."""

    @property
    def epoch(self) -> int:
        """Number of its start."""
        ...

    @property
    def host(self) -> str:
        """Address it listens on."""
        ...

    @property
    def port(self) -> int:
        """Port it listens on."""
        ...

    @property
    def pid(self) -> int:
        """Process id."""
        ...

    @property
    def started_ticks(self) -> int:
        """Start time in clock ticks since boot."""
        ...

    @property
    def boot_id(self) -> str:
        """The boot that `started_ticks` count from."""
        ...

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        ...

    @property
    def exit_status(self) -> int | None:
        """Exit code, or minus the signal; `None` while it runs, or where nobody can tell: it was adopted."""
        ...

    @property
    def exit_reason(self) -> str:
        """Why it ended, such as `out of memory`; `process exited` where nothing more is known."""
        ...

    @property
    def unenforced(self) -> frozenset[str]:
        """Names of limits of its kind that can't be had on this machine."""
        ...

    def describe_exit(self) -> str:
        """Say in words how it ended."""
        ...

    def last_output(self) -> str:
        """Return the last lines it wrote."""
        ...

    async def probe(self) -> bool:
        """Tell whether it is live; `True` for a kind without a liveness probe."""
        ...

    async def collect_garbage(self) -> None:
        """Run the kind's `gc` hook; raises whatever goes wrong."""
        ...

    async def checkpoint(self) -> None:
        """Have the kind's `checkpoint` hook fill the checkpoint directory, made anew; raises whatever goes wrong."""
        ...

    async def stop(self, *, force: bool) -> Stopped:
        """Stop it by its stop signal; with `force`, by SIGKILL when its time is over."""
        ...

    async def kill(self) -> None:
        """End it at once, with all that it started."""
        ...

    def leave(self) -> None:
        """Watch it no longer, and let it run on for a later hub to adopt."""
        ...


OnExit = Callable[[Instance], None]


class InstanceRunner(Protocol):
    """Starts instances, and takes over those of an earlier hub. The hub knows no other way to them."""

    async def start(self, spec: InstanceSpec, on_exit: OnExit) -> Instance:
        """Start an instance and wait until it is ready.

        Args:
            spec: what to run.
            on_exit: called once when it ends, whoever ended it.

        Returns:
            The ready instance.

        Raises:
            StartFailed: it did not become ready; nothing of it is left.
        """
        ...

    async def adopt(
        self, spec: InstanceSpec, identity: ProcessIdentity, on_exit: OnExit, *, timeout_s: float
    ) -> Instance | None:
        """Take over an instance that an earlier hub left running, if it still serves. It is not signalled.

        Args:
            spec: what it runs; its port is the one that it was started on.
            identity: its process.
            on_exit: called once when it ends, whoever ended it.
            timeout_s: seconds that it gets to answer its probe.

        Returns:
            The instance; `None` if it is gone, or runs and does not serve.

        Raises:
            OSError: that can't be found out: no descriptor is left, for instance.
        """
        ...

    async def end(self, spec: InstanceSpec, identity: ProcessIdentity) -> bool:
        """End what an earlier hub left running, in good order if it can be.

        Args:
            spec: what it runs.
            identity: its process; no other is signalled.

        Returns:
            Whether it ran.

        Raises:
            StopFailed: not even SIGKILL ended it.
            OSError: it can't be watched.
        """
        ...

    async def measure(self, instances: Sequence[Instance]) -> Mapping[int, ResourceUse]:
        """Find out what instances use, all by one look.

        Args:
            instances: of this runner.

        Returns:
            What each one uses, by its process id; those that have ended are left out.
        """
        ...
