"""Journalling what has happened already, whenever the disk takes it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from hub.errors import JournalError
from hub.services import Services

_FIRST_DELAY_S = 0.05
_LAST_DELAY_S = 1.0


class EffectNotJournalled(Exception):
    """An effect has happened that the journal does not know; the module has to be resolved anew."""


async def journalled(
    services: Services, module_id: str, op_id: str | None, write: Callable[[], Awaitable[None]]
) -> None:
    """Journal an effect: until the disk takes it nothing of it is told.

    A disk may be full for an hour, through no fault of the module's: it is not parked, and its server serves on.

    Args:
        services: the hub's parts.
        module_id: the module.
        op_id: the operation that had the effect, if one did.
        write: journals it; repeated until it has.

    Raises:
        EffectNotJournalled: the hub closes.
    """
    delay_s = _FIRST_DELAY_S
    while True:
        try:
            return await write()
        except JournalError as error:
            if services.closing:
                # No domain error: it can't be told. The next start resolves it, as after the hub's own death.
                raise EffectNotJournalled(str(error)) from error
            if delay_s == _FIRST_DELAY_S:
                services.bus.publish("hub.journal_failed", module_id, op_id, error=str(error))
        await anyio.sleep(delay_s)
        delay_s = min(2 * delay_s, _LAST_DELAY_S)
