"""The event vocabulary and the bus that carries it: structured log, subscribers.

`VOCABULARY` is the one list of what the hub reports; the reference page and the tests follow from it.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog

LOGGER_NAME = "modhub"

# Silent unless the host configures logging: an embedded library writes nothing to stderr of its own accord.
logging.getLogger(LOGGER_NAME).addHandler(logging.NullHandler())


@dataclass(frozen=True, slots=True)
class EventSpec:
    """One name of the vocabulary.

    Attributes:
        level: level of the log record.
        fields: its attributes beyond `module_id` and `op_id`; units stand in the names.
        meaning: one line for the reference page.
    """

    level: int
    fields: tuple[str, ...]
    meaning: str


_I, _W, _E = logging.INFO, logging.WARNING, logging.ERROR

VOCABULARY: Mapping[str, EventSpec] = {
    "hub.started": EventSpec(_I, ("pid", "run_id", "modules", "duration_ms"), "The hub takes operations."),
    "hub.stopping": EventSpec(_I, ("on_exit",), "No new operations; running ones end."),
    "hub.stopped": EventSpec(_I, ("duration_ms",), "Nothing of the hub runs any more."),
    "hub.loop_stalled": EventSpec(_W, ("stalled_ms", "stack"), "The event loop did not turn for too long."),
    "hub.orphan_killed": EventSpec(_W, ("pid", "command"), "A process of an earlier hub was found and ended."),
    "hub.actor_failed": EventSpec(
        _E, ("actor", "error", "traceback", "restarts"), "A defect in an actor's own code; its behaviour is replaced."
    ),
    "hub.dead_letter": EventSpec(_I, ("actor", "message_type", "reason"), "A message could not be delivered."),
    "hub.journal_failed": EventSpec(
        _E, ("error",), "The journal can't be written: what has happened to the module is told when it can."
    ),
    "hub.log_dropped": EventSpec(
        _W,
        ("records",),
        "`modhub serve`: the log's reader took nothing for so long that so many lines before this are lost.",
    ),
    "hub.disk_low": EventSpec(
        _W, ("free_bytes", "reserve_bytes"), "The disk is below its reserve: modules are sent home, none are started."
    ),
    "hub.disk_ok": EventSpec(_I, ("free_bytes", "reserve_bytes"), "The disk is above its reserve again."),
    "module.transition": EventSpec(
        _I, ("from_state", "to_state", "reason", "kind", "dirty", "port", "pid", "duration_ms"), "The state changed."
    ),
    "module.resolved": EventSpec(_I, ("from_state", "to_state", "reason"), "An interrupted operation was resolved."),
    "module.crashed": EventSpec(_W, ("reason", "exit_status", "output"), "The process of a provisioned module ended."),
    "module.hung": EventSpec(_W, ("misses",), "Liveness probes were missed; the process is killed."),
    "module.parked": EventSpec(_E, ("reason",), "The module's actor failed too often; a person has to act."),
    "module.idle": EventSpec(_I, ("idle_s", "state"), "Unused for its timeout; the data is sent home."),
    "module.restart.scheduled": EventSpec(_I, ("delay_ms", "attempt"), "A recovery will be tried."),
    "module.restart.exhausted": EventSpec(_E, ("restarts", "period_s"), "The restart budget is spent."),
    "module.retry.scheduled": EventSpec(_I, ("delay_ms", "attempt", "operation"), "An unfinished intent is retried."),
    "module.lease_lost": EventSpec(
        _W,
        ("holder",),
        "Another hub holds the module, or it was obliterated: its process is stopped, its data here kept.",
    ),
    "module.lease_lapsed": EventSpec(
        _W,
        ("action", "error"),
        "The backend is out of reach and the lease may have run out; by `lease_lapse` it is served on, or stopped.",
    ),
    "module.relisted": EventSpec(
        _I,
        ("blobs", "versions", "bytes"),
        "Obliterated while another hub held it, it was listed again; what had arrived late was deleted.",
    ),
    "module.obliterated": EventSpec(
        _I, ("blobs", "versions", "bytes", "local_bytes", "duration_ms"), "Nothing of the module is left anywhere."
    ),
    "operation.requested": EventSpec(
        _I, ("operation", "asked_by"), "Somebody asked for an operation, and it was accepted; it may wait for its turn."
    ),
    "operation.failed": EventSpec(
        _W, ("operation", "error", "error_type", "asked_by", "duration_ms"), "An operation failed."
    ),
    "instance.started": EventSpec(_I, ("pid", "port", "duration_ms"), "A process became ready."),
    "instance.adopted": EventSpec(_I, ("pid", "port"), "A process that an earlier hub left still serves; it goes on."),
    "instance.stopped": EventSpec(_I, ("pid", "exit_status", "clean", "duration_ms"), "A process was stopped."),
    "instance.limits_unenforced": EventSpec(
        _W, ("limits",), "A process runs without these limits of its kind: the hub may make no cgroups for them."
    ),
    "instance.hook_failed": EventSpec(
        _W, ("hook", "error"), "A hook of the kind failed; only a checkpoint fails with it."
    ),
    "hydration.completed": EventSpec(_I, ("bytes", "files", "duration_ms"), "Data came from the backend."),
    "dehydration.completed": EventSpec(
        _I, ("bytes", "files", "uploaded_bytes", "duration_ms"), "Data was committed to the backend."
    ),
    "checkpoint.completed": EventSpec(
        _I,
        ("bytes", "files", "uploaded_bytes", "duration_ms"),
        "A copy of the data was committed to the backend; the module stays as it is.",
    ),
    "backend.failed": EventSpec(_W, ("error",), "A request failed that nobody waited for; what it was for is put off."),
    "backend.unavailable": EventSpec(
        _W,
        ("error", "delay_ms"),
        "It failed several times in a row; until it answers again nothing else is asked of it.",
    ),
    "backend.available": EventSpec(_I, ("duration_ms",), "It answers again, after so long."),
    "plugin.failed": EventSpec(_E, ("plugin", "error"), "A plugin could not be started."),
    "http.starting": EventSpec(
        _I, ("url", "data_dir", "backend", "config"), "The server has its address, and answers when the hub runs."
    ),
    "http.listening": EventSpec(_I, ("url",), "The server answers."),
    "http.stopping": EventSpec(_I, ("reason",), "No new connections; running requests end."),
    "http.closed": EventSpec(_I, ("url", "cut_off"), "The server is gone; so many requests had to be cut off."),
    "http.tls_reloaded": EventSpec(_I, (), "The certificate was read again, for connections from now on."),
    "http.tls_failed": EventSpec(_E, ("error",), "The certificate can't be read again; the one of before goes on."),
    "http.refused": EventSpec(
        _W,
        ("method", "path", "status", "code", "client", "asked_by", "suppressed"),
        "A request was refused: who may not, or too much; `suppressed` others before it were not logged.",
    ),
    "http.failed": EventSpec(
        _E,
        ("method", "path", "error", "traceback"),
        "A defect in answering a request; its sender is told nothing of it.",
    ),
    "gateway.opened": EventSpec(_I, ("port",), "The module's gateway port takes connections."),
    "gateway.closed": EventSpec(_I, ("port",), "The module's gateway port is closed: it is being obliterated."),
    "gateway.failed": EventSpec(
        _E, ("port", "error", "delay_ms"), "The module's gateway port can't be opened; it is tried again."
    ),
    "gateway.refused": EventSpec(
        _W,
        ("reason", "error", "connections"),
        "So many connections to the module's gateway port were reset since the last event for this reason.",
    ),
}


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, as subscribers get it.

    Attributes:
        name: a name of the vocabulary.
        module_id: the module it is about, if any.
        op_id: the operation it belongs to, if any.
        fields: the attributes that the vocabulary lists.
        number: counts the events of this run of the hub, from 1.
        at: when it was published: seconds since the epoch.
    """

    name: str
    module_id: str | None = None
    op_id: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])
    # Which one it is, not what it says: two events that say the same are equal.
    number: int = field(default=0, compare=False)
    at: float = field(default=0.0, compare=False)


Listener = Callable[[Event], None]


class EventBus:
    """Carries events from the loop to the log and to listeners. Listeners must not block and must not raise.

    Args:
        wall_clock: tells seconds since the epoch.

    Attributes:
        run_id: identifies this run of the hub, 8 hexadecimal digits: another one counts its events anew.
    """

    def __init__(self, wall_clock: Callable[[], float] = time.time) -> None:
        self.run_id = secrets.token_hex(4)
        self._wall_clock = wall_clock
        self._number = 0
        self._from_threads = Counter[str]()
        self._thread_lock = threading.Lock()
        self._listeners: list[Listener] = []
        # Bound here and not by structlog.configure(): the host's own structlog settings are none of our business.
        self._log: structlog.stdlib.BoundLogger = structlog.wrap_logger(
            logging.getLogger(LOGGER_NAME),
            wrapper_class=structlog.stdlib.BoundLogger,
            processors=[structlog.stdlib.filter_by_level, structlog.stdlib.render_to_log_kwargs],
        )

    def subscribe(self, listener: Listener) -> None:
        """Call `listener` with every event from now on."""
        self._listeners.append(listener)

    def unsubscribe(self, listener: Listener) -> None:
        """End a subscription; nothing happens if there is none."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    def publish(self, name: str, module_id: str | None = None, op_id: str | None = None, **fields: Any) -> None:
        """Log an event and hand it to every listener.

        Args:
            name: a name of the vocabulary.
            module_id: the module it is about.
            op_id: the operation it belongs to.
            **fields: attributes, all of them listed in the vocabulary.
        """
        self._write(name, {"module_id": module_id, "op_id": op_id, **fields})
        self._number += 1
        event = Event(name, module_id, op_id, fields, self._number, self._wall_clock())
        for listener in tuple(self._listeners):
            listener(event)

    def publish_from_thread(self, name: str, module_id: str | None = None, **fields: Any) -> None:
        """Log an event from another thread than the loop's, and count it.

        It has no number. Listeners, who live on the loop, do not hear it: to hand it over to the loop was weighed, but
        most such events tell that the loop stalls, or that a listener's mailbox is full, which would then get one more.
        """
        self._write(name, {"module_id": module_id, **fields})
        with self._thread_lock:
            self._from_threads[name] += 1

    def counted_from_threads(self) -> Counter[str]:
        """Return how many events were published from threads, by name."""
        with self._thread_lock:
            return self._from_threads.copy()

    def _write(self, name: str, attributes: Mapping[str, Any]) -> None:
        spec = VOCABULARY[name]
        unknown = attributes.keys() - {"module_id", "op_id", *spec.fields}
        assert not unknown, f"{name} has no field {sorted(unknown)}: add it to the vocabulary"
        self._log.log(spec.level, name, **{key: value for key, value in attributes.items() if value is not None})
