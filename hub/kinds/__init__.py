"""The kinds that ship with modhub, as data."""

from __future__ import annotations

import shutil
from collections.abc import Mapping

from hub.instance.kind import Kind
from hub.kinds import postgresql
from hub.kinds.postgresql import init_command, start_command
from hub.kinds.redis import checkpoint_command
from hub.kinds.store import store_command

DEFAULT_KIND = "store"

STORE = Kind(
    name="store",
    command=store_command(),
    ready="http:/health",
    live="http:/health",
    gc="http:/gc",
    checkpoint="http:/checkpoint",
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
    checkpoint=checkpoint_command(),
)

POSTGRES = Kind(
    name="postgres",
    command=start_command(),
    init=init_command(),
    # It refuses to run as root.
    user="postgres",
    ready="log:LOG:  database system is ready to accept connections",
    live="tcp",
    # Fast shutdown: SIGTERM would wait until every client has left.
    stop_signal="SIGINT",
    # Both may have much to write: the last checkpoint, and what is replayed after a crash.
    stop_timeout=60.0,
    start_timeout=300.0,
)

SHIPPED: Mapping[str, Kind] = {kind.name: kind for kind in (STORE, REDIS, POSTGRES)}


def find_program(kind: Kind, path: str | None) -> tuple[str, str | None]:
    """Tell which program a kind runs, and where it is.

    Args:
        kind: the kind.
        path: where programs are looked for; `None` = `PATH`.

    Returns:
        Its name, and its full path or `None` where it was not found.
    """
    if kind.command[: len(POSTGRES.command)] == POSTGRES.command:
        return "postgres", postgresql.find_program(path)
    return kind.command[0], shutil.which(kind.command[0], path=path)
