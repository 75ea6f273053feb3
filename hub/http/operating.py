"""Operations asked for over HTTP: their messages, and when one that nobody waits for is accepted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from actors import Message
from hub.errors import OperationNotFound
from hub.http.auth import Caller
from hub.http.service import Service
from hub.info import OperationInfo
from hub.messages import Checkpoint, Deprovision, DescribeOperation, Hibernate, Obliterate, Provision, Wake

_MESSAGES: Mapping[str, Callable[..., Message[Any]]] = {
    "provision": Provision,
    "hibernate": Hibernate,
    "wake": Wake,
    "deprovision": Deprovision,
    "checkpoint": Checkpoint,
    "obliterate": Obliterate,
}
_LOOK_S = 0.02


def operation(name: str, module_id: str, caller: Caller, *, kind: str | None = None) -> Message[Any]:
    """Return the message that asks for an operation.

    Args:
        name: name of the operation.
        module_id: the module.
        caller: who asks.
        kind: the kind, for provision alone.
    """
    if name == "provision":
        return Provision(module_id, kind, asked_by=caller.asked_by)
    return _MESSAGES[name](module_id, asked_by=caller.asked_by)


async def accepted(service: Service, message: Message[Any], work: asyncio.Task[Any]) -> OperationInfo:
    """Return an operation as soon as the hub has accepted it.

    Args:
        service: the application's state.
        message: what was asked.
        work: its asking.

    Raises:
        ModhubError: it was not accepted, or has failed already.
    """
    asked: Any = message
    await asyncio.sleep(0)  # until it is sent: the registry has then seen it by the time that it is asked
    looked = False
    while True:
        if looked:
            await asyncio.wait({work}, timeout=_LOOK_S)
        try:
            info = await service.ask(DescribeOperation(asked.op_id))
        except OperationNotFound:
            info = None
        if work.done():
            work.result()  # raises why it was not accepted
            name = type(message).__name__.lower()
            return info or OperationInfo(asked.op_id, asked.module_id, name, "done", "", 0.0, asked_by=asked.asked_by)
        # One that waits for nothing is refused or begun in a moment: the refusal is the better answer.
        if info is not None and (looked or info.status == "running"):
            return info
        looked = True
