"""What the actors' runtime answers for an operation that was not carried out, as the hub's own errors."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from typing import Any

from actors import ActorCrashed, ActorDead, DeadlineExceeded, MailboxFull, Message
from hub.errors import HubClosed, ModuleBusy, ModuleFault, OperationTimeout


@contextlib.contextmanager
def translated(message: Message[Any]) -> Generator[None]:
    """Turn what the actors' runtime says into the hub's own errors."""
    op_id = getattr(message, "op_id", "")
    what = f"{type(message).__name__.lower()} of module {getattr(message, 'module_id', '')!r}"
    try:
        yield
    except DeadlineExceeded as error:
        state = f"goes on as operation {op_id}" if error.started else "was not started and never will be"
        raise OperationTimeout(
            f"{what} was not done within {error.timeout_s:g} s; it {state}", op_id=op_id, started=error.started
        ) from error
    except MailboxFull as error:
        raise ModuleBusy(f"{what}: {error.capacity} operations wait already", hint="try again later") from error
    except ActorCrashed as error:
        raise ModuleFault(f"{what} was interrupted by a defect: {error.__cause__!r}", hint="see the log") from error
    except ActorDead as error:
        raise HubClosed(f"{what} was not done: the hub has closed") from error
