"""What the hub knows of one module: the row of the journal, immutable; every change is a new record."""

from __future__ import annotations

import msgspec

from hub.lifecycle import Condition, Pending, State, is_tracked


class ModuleRecord(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One module as journalled.

    Attributes:
        module_id: name of the module.
        kind: name of the kind its data belongs to; empty until it is known.
        state: state in the lifecycle.
        dirty: local data that the backend has not acknowledged; it is never overwritten, and deleted only by obliterate.
        base: the claim on the backend (owner and epoch) that the local data grew from.
        pending: intent that the watchdog retries until it is complete.
        suspect: the restart budget was spent on this data, so its next dehydration keeps the manifest before it.
        op_id: operation that holds the module in a transitional state.
        port: port of the process, kept while it sleeps so that it wakes on the same one.
        pid: process id of the leader while one runs.
        started_ticks: its start time in clock ticks since boot: another process of the same id has another.
        boot_id: the boot of the machine that both are of.
        restarts: recoveries begun since the module was provisioned.
        last_error: the last failure, for people.
        since: wall clock time of the last change of state, seconds since the epoch.
        checkpointed_at: wall clock time at which the backend last had the data as it was then: hydrated, or copied.
        parked: the actor failed too often; only a person's operation takes the module out of it.
        relist_s: seconds from its obliteration, or from the start of the hub if that is later, until its place in the
            backend is listed again; 0.0 = it need not be. A duration, since no clock goes on over a restart by itself.
    """

    module_id: str
    kind: str = ""
    state: State = State.UNPROVISIONED
    dirty: bool = False
    base: str | None = None
    pending: Pending | None = None
    suspect: bool = False
    op_id: str = ""
    port: int | None = None
    pid: int | None = None
    started_ticks: int | None = None
    boot_id: str = ""
    restarts: int = 0
    last_error: str | None = None
    since: float = 0.0
    checkpointed_at: float = 0.0
    parked: bool = False
    relist_s: float = 0.0

    @property
    def condition(self) -> Condition:
        """What the lifecycle's decisions need."""
        return Condition(self.state, dirty=self.dirty, pending=self.pending)

    @property
    def tracked(self) -> bool:
        """Whether there is anything to remember of the module."""
        return is_tracked(self.state, dirty=self.dirty)

    @property
    def remembered(self) -> bool:
        """Whether the journal keeps a row of the module; beyond the tracked ones those that are to be listed again."""
        return self.tracked or self.relist_s > 0
