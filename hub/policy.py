"""The watchdog's decisions as pure functions: when to restart, when to retry, who is idle, what a start resolves to."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hub.lifecycle import Pending, State
from hub.record import ModuleRecord


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """How often and how fast a crashed module is recovered.

    Attributes:
        limit: recoveries at the most within `period_s`; one more crash spends the budget.
        period_s: the sliding window of the budget, seconds.
        stable_after_s: a module that stayed up this long starts its backoff anew, seconds.
    """

    limit: int = 5
    period_s: float = 60.0
    stable_after_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Recovery:
    """What follows a crash: a recovery as number `attempt` of its series, or the end of the budget."""

    spent: bool
    attempt: int


@dataclass(frozen=True, slots=True)
class Crash:
    """A crash, or a recovery that failed.

    Attributes:
        at: its monotonic time, seconds.
        up_s: seconds that the module had been provisioned before it; 0 where it had not come up.
    """

    at: float
    up_s: float


def plan_recovery(policy: RestartPolicy, earlier: Sequence[Crash], crash: Crash) -> Recovery:
    """Decide on a crash.

    Args:
        policy: the restart policy.
        earlier: the earlier crashes of the module, oldest first.
        crash: this one.

    Returns:
        The recovery. `attempt` counts from 0 and starts anew after a stable time.
    """
    recent = [c for c in earlier if crash.at - c.at < policy.period_s]
    if len(recent) >= policy.limit:
        return Recovery(spent=True, attempt=len(recent))
    # Only time up is stable: neither what was waited in `crashed` nor what a start took counts.
    backwards = (crash, *reversed(recent))
    stable = next((n for n, c in enumerate(backwards) if c.up_s >= policy.stable_after_s), len(recent))
    return Recovery(spent=False, attempt=min(stable, len(recent)))


def needs_backend(record: ModuleRecord) -> bool:
    """Tell whether what is unfinished about a module can be finished only with the backend.

    Args:
        record: the module.

    Returns:
        Whether it waits for that. An obliteration does to its end, data only until the backend has taken it.
    """
    if record.pending is Pending.OBLITERATE:
        return True
    return record.dirty and (record.pending is Pending.DEPROVISION or record.state is State.UNPROVISIONED)


def spread(count: int, delay_s: float, delay_max_s: float, random: Callable[[], float]) -> list[float]:
    """Spread by chance what has waited for the backend, so that it does not all fall upon it when it is back.

    Args:
        count: how many wait.
        delay_s: seconds for each of them, over the sum of which they are spread.
        delay_max_s: seconds after which all have begun, at the most.
        random: gives a number in [0, 1).

    Returns:
        For each, seconds to wait.
    """
    over_s = min(count * delay_s, delay_max_s)
    return [over_s * random() for _ in range(count)]


def choose_idle(idle: Sequence[float], room: int) -> list[int]:
    """Choose who of many idle modules is sent home now: a module that waits for its transfer serves nobody.

    Args:
        idle: for each, seconds without activity.
        room: how many may go.

    Returns:
        Indices of the longest idle ones.
    """
    return sorted(range(len(idle)), key=lambda index: -idle[index])[: max(0, room)]


@dataclass(frozen=True, slots=True)
class IdlePolicy:
    """When unused modules go home; `None` = never.

    Attributes:
        provisioned_s: seconds without activity while provisioned.
        hibernated_s: seconds since it was hibernated or last used.
    """

    provisioned_s: float | None = None
    hibernated_s: float | None = None


def is_idle(policy: IdlePolicy, record: ModuleRecord, idle_s: float) -> bool:
    """Decide whether a module is to be sent home for lack of use.

    Args:
        policy: the time-outs.
        record: the module.
        idle_s: seconds since its last activity; an open connection is one.

    Returns:
        Whether it goes home.
    """
    if record.state is State.PROVISIONED:
        limit = policy.provisioned_s
    elif record.state is State.HIBERNATED:
        limit = policy.hibernated_s
    else:
        return False
    return limit is not None and idle_s >= limit


# By so much of its interval a checkpoint comes early, by chance: modules that came up together do not stay in step.
CHECKPOINT_SPREAD = 0.2


def checkpoint_overdue_s(
    record: ModuleRecord, taken_at: float, *, has_hook: bool, interval_s: float, now: float
) -> float | None:
    """Decide whether a module's data is to be sent home beside what else it does.

    Args:
        record: the module.
        taken_at: when the backend last had its data as it was then, seconds since the epoch.
        has_hook: whether its kind can copy data in use.
        interval_s: seconds after which that is too long ago.
        now: seconds since the epoch.

    Returns:
        For how many seconds it has been due; `None` = it is not. A sleeper is due once, since nobody writes its data.
    """
    if not record.dirty:
        return None
    in_use = record.state is State.PROVISIONED and has_hook
    # A time that lies ahead says nothing: the clock was set back.
    asleep = record.state is State.HIBERNATED and not record.since < taken_at <= now
    if not in_use and not asleep:
        return None
    if taken_at > now:
        return interval_s
    chance = zlib.crc32(f"{record.module_id} {taken_at}".encode()) / 2**32
    overdue_s = now - taken_at - interval_s * (1 - CHECKPOINT_SPREAD * chance)
    return overdue_s if overdue_s >= 0 else None


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a module interrupted in some state becomes.

    Attributes:
        state: the stable state it becomes.
        keep_data: whether its local data stays; else it goes to the trash.
        reason: one word for the log.
    """

    state: State
    keep_data: bool
    reason: str


# For every state in which the end of a hub, or a defect in a module's actor, may find a module whose process is gone.
# `dirty` decides where a state allows both: data on which a process has run is never thrown away.
_RESOLUTIONS: dict[tuple[State, bool], Resolution] = {
    (State.UNPROVISIONED, False): Resolution(State.UNPROVISIONED, keep_data=False, reason="nothing_held"),
    (State.UNPROVISIONED, True): Resolution(State.UNPROVISIONED, keep_data=True, reason="dirty_data_kept"),
    (State.PROVISIONING, False): Resolution(State.UNPROVISIONED, keep_data=False, reason="provision_undone"),
    (State.PROVISIONING, True): Resolution(State.UNPROVISIONED, keep_data=True, reason="dirty_data_kept"),
    (State.PROVISIONED, False): Resolution(State.CRASHED, keep_data=True, reason="process_gone"),
    (State.PROVISIONED, True): Resolution(State.CRASHED, keep_data=True, reason="process_gone"),
    (State.HIBERNATING, False): Resolution(State.HIBERNATED, keep_data=True, reason="stopped"),
    (State.HIBERNATING, True): Resolution(State.HIBERNATED, keep_data=True, reason="stopped"),
    (State.HIBERNATED, False): Resolution(State.HIBERNATED, keep_data=True, reason="unchanged"),
    (State.HIBERNATED, True): Resolution(State.HIBERNATED, keep_data=True, reason="unchanged"),
    (State.WAKING, False): Resolution(State.HIBERNATED, keep_data=True, reason="wake_undone"),
    (State.WAKING, True): Resolution(State.HIBERNATED, keep_data=True, reason="wake_undone"),
    # Clean in `deprovisioning` means that the commit was verified: deletion is all that was left to do.
    (State.DEPROVISIONING, False): Resolution(State.UNPROVISIONED, keep_data=False, reason="deprovision_finished"),
    (State.DEPROVISIONING, True): Resolution(State.CRASHED, keep_data=True, reason="deprovision_pending"),
    (State.CRASHED, False): Resolution(State.CRASHED, keep_data=True, reason="unchanged"),
    (State.CRASHED, True): Resolution(State.CRASHED, keep_data=True, reason="unchanged"),
    # As `deprovisioning`: a recovery whose budget was spent sends the data home.
    (State.RECOVERING, False): Resolution(State.UNPROVISIONED, keep_data=False, reason="sent_home"),
    (State.RECOVERING, True): Resolution(State.CRASHED, keep_data=True, reason="recovery_interrupted"),
    (State.OBLITERATING, False): Resolution(State.CRASHED, keep_data=True, reason="obliteration_pending"),
    (State.OBLITERATING, True): Resolution(State.CRASHED, keep_data=True, reason="obliteration_pending"),
}
# For the states in which a process that an earlier hub left, and that still serves, is adopted. In any other state an
# operation was at work on it, and nobody knows how far: it is ended, and the table above holds.
_ADOPTIONS: dict[State, Resolution] = {
    State.PROVISIONED: Resolution(State.PROVISIONED, keep_data=True, reason="adopted"),
}


def may_be_adopted(record: ModuleRecord) -> bool:
    """Decide whether a module's process is adopted if it still serves.

    Args:
        record: the module as last journalled.
    """
    return record.state in _ADOPTIONS and record.pending is not Pending.OBLITERATE


def resolve(record: ModuleRecord, *, serving: bool = False) -> Resolution:
    """Decide what an interrupted module becomes.

    Args:
        record: the module as last journalled.
        serving: its process runs and still serves; else no process of it runs.

    Returns:
        The resolution; it leads to a stable state for every state.
    """
    if record.pending is Pending.OBLITERATE:
        return Resolution(State.CRASHED, keep_data=True, reason="obliteration_pending")
    if serving and record.state in _ADOPTIONS:
        return _ADOPTIONS[record.state]
    return _RESOLUTIONS[record.state, record.dirty]
