"""The kinds that ship with modhub, as data."""

from __future__ import annotations

from collections.abc import Mapping

from hub.instance.kind import Kind
from hub.kinds.store import store_command

DEFAULT_KIND = "store"

STORE = Kind(
    name="store",
    command=store_command(),
    ready="http:/health",
    live="http:/health",
    gc="http:/gc",
)

REDIS = Kind(
    name="redis",
    command=[
        "redis-server",
        *("--port", "{port}"),
        *("--bind", "127.0.0.1"),
        *("--dir", "{data_dir}"),
        *("--appendonly", "yes"),
        # Redis' default (everysec) may hold an acknowledged write back for up to two seconds while an fsync runs, and
        # kill -9 would lose it.
        *("--appendfsync", "always"),
        *("--save", ""),
        *("--daemonize", "no"),
    ],
    # The port opens before the data is loaded; this line comes after.
    ready="log:Ready to accept connections",
    live="tcp",
)

SHIPPED: Mapping[str, Kind] = {kind.name: kind for kind in (STORE, REDIS)}
