"""The start of the gateway, and how it ends with the hub: ports first, connections with their servers, the thread last."""

from __future__ import annotations

import contextlib

import pykka

from actors import ActorSystem, OneForOne, Ref
from hub.awake import Awakener
from hub.events import Event
from hub.gateway.forwarder import Forwarder
from hub.gateway.gateway import Changed, Gateway, Started
from hub.lifecycle import State
from hub.registry import Registry
from hub.services import Services

_HEARD = frozenset({"module.transition", "module.resolved"})


async def start_gateway(
    stack: contextlib.AsyncExitStack,
    system: ActorSystem,
    services: Services,
    registry: Ref[Registry],
    supervision: OneForOne,
) -> None:
    """Start the gateway where any kind has one.

    Args:
        stack: gets how it is ended.
        system: runs its actor.
        services: the hub's parts.
        registry: brings modules up.
        supervision: of its actor.
    """
    if not any(kind.gateway for kind in services.config.kinds.values()):
        return
    stack.callback(services.gateway_ports.close)
    forwarder = Forwarder(services, Awakener(registry, asked_by="gateway"))
    stack.push_async_callback(forwarder.close)
    await forwarder.start()
    gateway = system.spawn(Gateway, services, forwarder, name="gateway", supervision=supervision)

    def hear(event: Event) -> None:
        if event.name == "hub.stopping":
            # Not by way of the actor: before the first module goes to rest no client is to wake it again.
            forwarder.stop_listening()
        elif event.name == "instance.started" and event.module_id is not None:
            # Nor is this: every client of the module waits for it.
            forwarder.note_started(event.module_id)
        elif event.name in _HEARD and event.module_id is not None:
            if event.fields["to_state"] == State.OBLITERATING:
                # Nor is this: its server is killed next, and no client is to take that for the end of an answer.
                forwarder.reset(event.module_id)
            entry = services.directory.find(event.module_id)
            if event.module_id in forwarder or (entry is not None and entry.record.gateway_port is not None):
                with contextlib.suppress(pykka.ActorDeadError):
                    gateway.tell(Changed(event.module_id))

    services.bus.subscribe(hear)
    stack.callback(services.bus.unsubscribe, hear)
    # A client that knows its port need not wait longer than until the hub has started.
    await gateway.ask_async(Started())
