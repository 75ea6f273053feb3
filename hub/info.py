"""What the hub tells about itself: immutable, plain, serialisable data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hub.lifecycle import State


@dataclass(frozen=True, slots=True)
class ModuleInfo:
    """A module as its callers see it.

    Attributes:
        module_id: name of the module.
        kind: kind of server that runs on its data; empty while unknown.
        state: state in the lifecycle.
        host: address the process listens on, while it runs.
        port: port of the process; kept while it sleeps.
        url: `http://host:port` while it runs.
        pid: process id while it runs.
        data_dir: the local data, while there is any.
        dirty: whether local data waits to be sent home.
        restarts: recoveries begun since it was provisioned.
        idle_s: seconds since the last activity.
        last_error: the last failure, if any.
    """

    module_id: str
    kind: str
    state: State
    host: str | None
    port: int | None
    url: str | None
    pid: int | None
    data_dir: Path | None
    dirty: bool
    restarts: int
    idle_s: float
    last_error: str | None


@dataclass(frozen=True, slots=True)
class Obliterated:
    """What an obliteration deleted; it is returned only after the listings came back empty.

    Attributes:
        module_id: name of the module.
        blobs: objects deleted from the backend.
        versions: old versions and delete markers among them.
        bytes: bytes deleted from the backend.
        local_bytes: bytes deleted from local disk.
        remaining: objects that the listing afterwards still showed; always 0.
    """

    module_id: str
    blobs: int
    versions: int
    bytes: int
    local_bytes: int
    remaining: int = 0


@dataclass(frozen=True, slots=True)
class BackendStatus:
    """Whether the backend is in use.

    Attributes:
        available: `False` after several failures in a row, until it answers again; what needs it fails at once then.
        since: when that last changed, or the hub started: seconds since the epoch.
        error: the last reason why it is unavailable.
        retry_after_s: seconds until the hub tries again to reach it; `None` while it is available.
    """

    available: bool
    since: float
    error: str | None
    retry_after_s: float | None


@dataclass(frozen=True, slots=True)
class OperationInfo:
    """A running or recent operation.

    Attributes:
        op_id: its id.
        module_id: the module it works on.
        operation: name of the request.
        status: `running`, `done`, `failed` or `cancelled`.
        step: the step it is at, or ended at.
        duration_s: seconds it runs, or ran.
        bytes_done: bytes transferred so far.
        bytes_total: bytes to transfer, as far as known.
        files_done: files transferred so far.
        files_total: files to transfer, as far as known.
        error: its failure, if it failed.
    """

    op_id: str
    module_id: str
    operation: str
    status: str
    step: str
    duration_s: float
    bytes_done: int = 0
    bytes_total: int = 0
    files_done: int = 0
    files_total: int = 0
    error: str | None = None
