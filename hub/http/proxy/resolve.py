"""Which process serves a module now, woken if need be."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

from actors import Ref
from hub.answers import translated
from hub.awake import Awakener
from hub.errors import ModhubError, ModuleNotFound, OperationTimeout
from hub.http.proxy.errors import WakeTimeout
from hub.info import ModuleInfo
from hub.lifecycle import State
from hub.messages import Describe, Touch

_RETRY_AFTER_S = 5.0
_POLL_S = 0.02
_RECENT_S = 0.1
_MAX_SEEN = 4096


class Live(NamedTuple):
    """A process that serves a module. Another process, or the module on another port, is another one.

    Attributes:
        module_id: the module.
        host: address that it listens on.
        port: its port.
        pid: its process.
    """

    module_id: str
    host: str
    port: int
    pid: int

    @property
    def authority(self) -> bytes:
        """`host:port`."""
        return f"{self.host}:{self.port}".encode()


class Resolver:
    """Finds out which process serves a module; host and port come from the hub alone, never from a request.

    Args:
        registry: the registry's ref.
        awakener: brings modules up.
        wake_timeout: seconds that a request waits for that.
    """

    def __init__(self, registry: Ref[Any], awakener: Awakener, wake_timeout: float) -> None:
        self._registry = registry
        self._awakener = awakener
        self._wake_timeout = wake_timeout
        self._seen: dict[str, tuple[Live, float]] = {}

    def recent(self, module_id: str) -> Live | None:
        """Return the process that a moment ago served a module, without asking.

        Asking costs more than all else that the proxy does for a small request. So of a quick succession of them only
        some ask: idle time is counted to a tenth of a second. It is good only for a connection to that very process
        that is open still, and for requests that may be repeated: it may be about to end.
        """
        found = self._seen.get(module_id)
        if found is None or asyncio.get_running_loop().time() - found[1] > _RECENT_S:
            return None
        return found[0]

    def forget(self, module_id: str) -> None:
        """Ask at the next request."""
        self._seen.pop(module_id, None)

    async def live(self, module_id: str, asked_by: str) -> Live:
        """Return the process that serves a module, brought up if need be. Counts as activity.

        Args:
            module_id: the module.
            asked_by: who asks, for the log.

        Raises:
            ModuleNotFound: the hub does not track it, or it is being obliterated.
            WakeTimeout: it is not up yet.
            ModhubError: it can't be brought up.
        """
        message = Touch(module_id)
        with translated(message):
            info = await self._registry.ask_async(message)
        found = _serving(info)
        if found is not None:
            if len(self._seen) >= _MAX_SEEN:
                self._seen.clear()
            self._seen[module_id] = found, asyncio.get_running_loop().time()
            return found
        if info.state is State.OBLITERATING:  # a provision behind it would begin the module anew, empty
            raise ModuleNotFound(f"module {module_id!r} is being obliterated")
        try:
            info = await self._awakener.up(module_id, self._wake_timeout, asked_by=asked_by)
        except OperationTimeout as error:
            raise WakeTimeout(error.message, hint="ask again", retry_after_s=_RETRY_AFTER_S) from error
        found = _serving(info)
        if found is None:
            raise WakeTimeout(
                f"module {module_id!r} came up and went away again", hint="ask again", retry_after_s=_RETRY_AFTER_S
            )
        return found

    async def serves(self, live: Live) -> bool:
        """Tell whether this process serves its module still."""
        message = Describe(live.module_id)
        try:
            with translated(message):
                return _serving(await self._registry.ask_async(message)) == live
        except ModhubError:
            return False

    async def gone(self, live: Live, patience_s: float) -> bool:
        """Wait until the hub has noticed that a process does not serve any more.

        Args:
            live: the process, which a request failed at.
            patience_s: seconds to wait.

        Returns:
            Whether it noticed; else the process runs on, and merely did not answer.
        """
        deadline = asyncio.get_running_loop().time() + patience_s
        while await self.serves(live):
            if asyncio.get_running_loop().time() >= deadline:
                return False
            await asyncio.sleep(_POLL_S)
        return True


def _serving(info: ModuleInfo) -> Live | None:
    if info.state is not State.PROVISIONED or info.host is None or info.port is None or info.pid is None:
        return None
    return Live(info.module_id, info.host, info.port, info.pid)
