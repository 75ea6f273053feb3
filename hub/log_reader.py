"""Reads modules' logs for whoever asks, one after the other, so that no other actor waits for the disk."""

from __future__ import annotations

from typing import Any

from actors import Actor
from hub.errors import InvalidMessage, LocalDataError, ModhubError
from hub.info import LogChunk
from hub.messages import ReadLog
from hub.services import Services

MAX_BYTES = 1024 * 1024


class LogReader(Actor):
    """Answers `ReadLog`; the registry, which knows which modules there are, forwards it."""

    domain_errors = (ModhubError,)

    def __init__(self, services: Services) -> None:
        super().__init__()
        self._services = services

    async def on_receive(self, message: Any) -> LogChunk:
        """Read one part of one log."""
        assert isinstance(message, ReadLog)
        _check(message)
        services = self._services
        try:
            return await services.workers.run(
                services.logs.read, message.module_id, message.offset, message.max_bytes, message.log_id
            )
        except OSError as error:
            raise LocalDataError(f"the log of module {message.module_id!r} can't be read: {error}") from error


def _check(message: ReadLog) -> None:
    for name, lowest, highest in (("offset", 0, None), ("max_bytes", 1, MAX_BYTES)):
        value = getattr(message, name)
        if name == "offset" and value is None:
            continue
        counts = isinstance(value, int) and not isinstance(value, bool)
        if not counts or value < lowest or (highest is not None and value > highest):
            allowed = f"{lowest} or more" if highest is None else f"{lowest} to {highest}"
            raise InvalidMessage(f"ReadLog: {name} = {value!r:.100} can't be used", hint=f"allowed: {allowed}")
    log_id: Any = message.log_id
    if not isinstance(log_id, str):
        raise InvalidMessage(f"ReadLog: log_id = {log_id!r:.100} is no text")
