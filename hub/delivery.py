"""What brings the events to one subscriber."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pykka

from actors import MailboxFull
from hub.events import Event, EventBus


@dataclass(frozen=True, slots=True)
class Delivery:
    """A listener that tells an actor of each event, until it ends. Two to the same actor are equal.

    Attributes:
        urn: which actor.
        subscriber: its ref.
        bus: where it listens.
    """

    urn: str
    subscriber: pykka.ActorRef[Any] = field(compare=False)
    bus: EventBus = field(compare=False)

    def __call__(self, event: Event) -> None:
        """Tell the subscriber."""
        try:
            self.subscriber.tell(event)
        except pykka.ActorDeadError:
            self.bus.unsubscribe(self)
        except MailboxFull:
            # Not delivered, and said in the log alone: told as an event it would meet the same full mailbox.
            self.bus.publish_from_thread(
                "hub.dead_letter", actor=str(self.subscriber), message_type=event.name, reason="full"
            )
