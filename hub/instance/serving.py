"""Whether a process, and no other, serves on its port: while it starts, and when an earlier hub has left it running."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from hub.instance import procfs
from hub.instance.probe import make_probe
from hub.instance.protocol import InstanceSpec
from hub.instance.watched import RunningProcess
from hub.workers import Workers

# The loop rounds its timers up to whole milliseconds. A thread that measures shorter ones saved half of one of a start's
# thirteen, and cost more where the processors are busy.
_FIRST_POLL_S = 0.0002
_LAST_POLL_S = 0.05


class Serving:
    """Asks whether a process serves.

    Args:
        process: the process.
        spec: what it runs.
        port: where it is to listen.
        workers: for what blocks.
    """

    def __init__(self, process: RunningProcess, spec: InstanceSpec, port: int, workers: Workers) -> None:
        self._process = process
        self._spec = spec
        self._port = port
        self._workers = workers

    async def wait_ready(self, log_offset: int) -> None:
        """Wait until it serves, or has ended.

        Args:
            log_offset: where its output begins in the log.

        Raises:
            TimeoutError: it did neither in its `start_timeout`.
        """
        kind = self._spec.kind
        probe = make_probe(kind.ready, port=self._port, log=self._spec.log, log_offset=log_offset)
        started = time.monotonic()
        async with asyncio.timeout(kind.start_timeout):
            ours = False
            # First whose port it is, then whether it answers: most servers listen long before they serve, so the
            # look at whose it is costs the start nothing.
            while not (ours := ours or await self._has_port()) or not await probe():
                # Never later than a twentieth of what the start took anyway.
                poll = min(max(_FIRST_POLL_S, (time.monotonic() - started) / 20), _LAST_POLL_S)
                with suppress(TimeoutError):
                    async with asyncio.timeout(poll):
                        await self._process.exited.wait()
                        break

    async def still(self, timeout_s: float) -> bool:
        """Tell whether it still serves.

        Args:
            timeout_s: seconds that it gets to answer its probe.

        Raises:
            OSError: it could not be asked.
        """
        stat = procfs.read_stat(self._process.pid)
        # One that is stopped keeps its port, and the kernel accepts connections in its name.
        if stat is None or stat.state == "T" or not await self._is_ours():
            return False
        kind = self._spec.kind
        # What it logged when it became ready may be rotated away.
        ready = "tcp" if kind.ready.startswith("log:") else kind.ready
        probe = make_probe(kind.live or ready, port=self._port, log=self._spec.log, log_offset=0)
        try:
            async with asyncio.timeout(timeout_s):
                while not self._process.exited.is_set() and not await probe():  # noqa: ASYNC110 - no server tells that it answers again
                    await asyncio.sleep(_LAST_POLL_S)
        except TimeoutError:
            return False
        return not self._process.exited.is_set()

    async def _has_port(self) -> bool:
        # Asked of the kernel and not by a connection: that would be one to whoever has the port, at each look.
        takes = procfs.takes_connections(self._process.pid, self._port)
        return takes is not None and (takes or await self._is_ours())

    async def _is_ours(self) -> bool:
        return await self._workers.run(procfs.listener_in_group, self._port, self._process.pid)
