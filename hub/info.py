"""What the hub tells about itself: immutable, plain, serialisable data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
        since: when its state last changed: seconds since the epoch.
        op_id: the operation that holds it, if one does.
        uptime_s: seconds since its process became ready, while it serves.
        memory_bytes: resident memory of its processes, as last sampled; `None` where it does not run.
        cpu_percent: processor time of its processes between the last two samples, 100 = one core.
        gateway_port: its stable TCP port, if its kind has a gateway.
        checkpointed_at: when the backend last had its data as it was then: seconds since the epoch; 0.0 = never.
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
    since: float = 0.0
    op_id: str | None = None
    uptime_s: float | None = None
    memory_bytes: int | None = None
    cpu_percent: float | None = None
    gateway_port: int | None = None
    checkpointed_at: float = 0.0


@dataclass(frozen=True, slots=True)
class ModulePage:
    """A page of the tracked modules.

    Attributes:
        modules: the modules.
        total: modules that match, on all pages.
        offset: modules before this page.
        limit: modules that were asked for.
        states: number of tracked modules by state, matching or not.
    """

    modules: tuple[ModuleInfo, ...]
    total: int
    offset: int
    limit: int
    states: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class UsageSample:
    """What a module's processes used at a moment.

    Attributes:
        at: the moment: seconds since the epoch.
        memory_bytes: their resident memory.
        cpu_percent: their processor time since the sample before, 100 = one core.
    """

    at: float
    memory_bytes: int
    cpu_percent: float


@dataclass(frozen=True, slots=True)
class LogChunk:
    """A part of a module's output.

    Attributes:
        module_id: the module.
        text: the output, what is no UTF-8 in it replaced; it ends with a whole character.
        offset: where it begins: bytes since the log was begun. Greater than what was asked for where what was before it
            is gone by rotation; less where another log was begun, or this one has lost its end.
        next_offset: where what follows begins.
        size: where the log ends.
        log_id: which log it is: a module that was sent home or obliterated begins another one.
    """

    module_id: str
    text: str
    offset: int
    next_offset: int
    size: int
    log_id: str = ""


@dataclass(frozen=True, slots=True)
class EventRecord:
    """An event of late, as plain data.

    Attributes:
        number: counts the events of this run of the hub, from 1.
        at: when: seconds since the epoch.
        name: its name, of the vocabulary.
        module_id: the module it is about, if any.
        op_id: the operation it belongs to, if any.
        fields: its attributes, as the vocabulary lists them.
    """

    number: int
    at: float
    name: str
    module_id: str | None
    op_id: str | None
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class EventPage:
    """Events of late.

    Attributes:
        run_id: identifies this run of the hub: another one counts its events anew.
        events: the events, by number.
        last: number of the newest event, read or not.
        missed: whether events before the first one of these, which were asked for, are not remembered any more.
    """

    run_id: str
    events: tuple[EventRecord, ...]
    last: int
    missed: bool


@dataclass(frozen=True, slots=True)
class HubStats:
    """The hub's counters; those that count something up do so since it started.

    Attributes:
        version: version of modhub.
        run_id: identifies this run of the hub.
        started_at: when it started: seconds since the epoch.
        uptime_s: seconds since it started.
        pid: its process.
        memory_bytes: its own resident memory.
        cpu_s: its own processor time, in seconds.
        states: number of tracked modules by state.
        dirty: modules whose data is dirty.
        operations_running: operations that run.
        operations_waiting: operations that wait for their module.
        operations: ended operations by name, then by outcome: `{"wake": {"done": 7}}`.
        events: events by name.
        uploaded_bytes: bytes sent to the backend.
        downloaded_bytes: bytes hydrated from the backend.
        backend: whether the backend is in use.
    """

    version: str
    run_id: str
    started_at: float
    uptime_s: float
    pid: int
    memory_bytes: int
    cpu_s: float
    states: Mapping[str, int]
    dirty: int
    operations_running: int
    operations_waiting: int
    operations: Mapping[str, Mapping[str, int]]
    events: Mapping[str, int]
    uploaded_bytes: int
    downloaded_bytes: int
    backend: BackendStatus


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
        status: `waiting`, `running`, `done`, `failed` or `cancelled`.
        step: the step it is at, or ended at.
        duration_s: seconds it runs, or ran.
        bytes_done: bytes transferred so far.
        bytes_total: bytes to transfer, as far as known.
        files_done: files transferred so far.
        files_total: files to transfer, as far as known.
        error: its failure, if it failed.
        error_code: the stable name of that kind of error: `ModhubError.code`.
        hint: what can be done about it, which `error` holds too; empty where there is nothing.
        output: the last lines of a process that did not start, which `error` holds too.
        asked_by: who asked for it, if that is known.
        obliterated: what it deleted, if it was an obliteration and is done.
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
    error_code: str | None = None
    hint: str = ""
    output: str = ""
    asked_by: str = ""
    obliterated: Obliterated | None = None
