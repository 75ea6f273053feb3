"""Plugins: actor classes that get the registry's ref, under supervision. None of them can take the hub down."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.metadata import entry_points
from typing import Any

from actors import Actor, ActorSystem, OneForOne, Ref
from hub.events import EventBus

GROUP = "modhub.plugins"

# Called with the registry's ref when it is started, and again at each restart.
Plugin = type[Actor]


def load_plugins(
    system: ActorSystem, registry: Ref[Any], given: Sequence[Plugin], bus: EventBus, supervision: OneForOne
) -> None:
    """Start the plugins that were given and those that are installed as entry points.

    One that can't be loaded or started is reported as `plugin.failed`; the others, and the hub, go on.

    Args:
        system: where they run.
        registry: the registry, their way to the hub.
        given: plugins of the host.
        bus: for the report.
        supervision: what becomes of one that crashes.
    """
    for name, load in _all(given):
        try:
            plugin = load()
            if not (isinstance(plugin, type) and issubclass(plugin, Actor)):
                raise TypeError(f"{plugin!r:.100} is no subclass of actors.Actor")  # noqa: TRY301 - reported like any other
            system.spawn(plugin, registry, name=f"plugin/{name}", supervision=supervision)
        except Exception as error:  # noqa: BLE001 - somebody else's code: whatever it raises, it is reported below
            bus.publish("plugin.failed", plugin=name, error=repr(error))


def _all(given: Sequence[Plugin]) -> Iterator[tuple[str, Any]]:
    for number, plugin in enumerate(given):
        yield f"{plugin.__name__}-{number}", lambda plugin=plugin: plugin
    for entry_point in entry_points(group=GROUP):
        yield entry_point.name, entry_point.load
