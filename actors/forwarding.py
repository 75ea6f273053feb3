"""Handing a message that is being handled to another actor, with its reply and its deadline. On the loop's thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.errors import ActorError, ForeignActor, MailboxFull, NothingToForward
from actors.message import QUEUED, STARTED, WITHDRAWN, Envelope, OnDropped

if TYPE_CHECKING:
    from actors.cell import Cell


def forward(cell: Cell, target: Cell, message: object | None, on_dropped: OnDropped | None) -> None:
    """Hand the envelope that a cell handles now to another cell; arguments as of `Actor.forward`.

    Raises:
        NothingToForward: It handles none, or has forwarded it already.
        ForeignActor: The other cell belongs to another system.
    """
    envelope = cell.current
    if envelope is None:
        raise NothingToForward(cell.name)
    if target.system is not cell.system:
        raise ForeignActor(target.name)
    cell.current = None
    if on_dropped is not None:
        envelope.on_dropped = on_dropped
    with cell.dispatcher.lock:
        if envelope.state == STARTED:
            envelope.state = QUEUED
    if envelope.state == WITHDRAWN:  # its deadline has passed while it was handled here
        cell.dropped(envelope, "deadline")
        return
    if message is not None:
        envelope.message = message
    # Not under the lock: a refusal may call the host's code. A deadline that passes just now, in a thread that asks,
    # resolves the reply, and no drain starts what is resolved.
    refusal = target.deliver(envelope)
    if refusal is not None:
        _refused(cell, target, envelope, refusal)


def _refused(cell: Cell, target: Cell, envelope: Envelope, refusal: ActorError) -> None:
    """Tell the asker of a forwarded message that its new actor refused it."""
    with cell.dispatcher.lock:
        if envelope.state == QUEUED:  # else its deadline has passed meanwhile
            envelope.state = STARTED
    cell.answer_error(envelope, refusal)
    if isinstance(refusal, MailboxFull) and envelope.reply is None:
        cell.system.dead_letter(envelope, target.name, "full")
    cell.dropped(envelope, "full" if isinstance(refusal, MailboxFull) else "dead")
