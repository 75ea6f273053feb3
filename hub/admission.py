"""Who may start now: a hub's budgets, and the decisions on them as pure functions."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from hub.instance.kind import Kind
from hub.instance.limits import parse_limits
from hub.lifecycle import State
from hub.record import ModuleRecord

_RESERVE = 256 * 1024 * 1024
_RESERVE_SHARE = 20
"""A small disk keeps a twentieth of itself free, not the half."""
_LEAST_RETRY_S = 1.0
_MOST_RETRY_S = 300.0
_UNKNOWN_RETRY_S = 30.0
"""Where nothing tells when something will be given back."""
_RUNNING = frozenset({State.PROVISIONING, State.PROVISIONED, State.HIBERNATING, State.WAKING, State.RECOVERING})


class Budget(enum.StrEnum):
    """What may be exhausted."""

    DISK = "disk"
    INSTANCES = "instances"
    MEMORY = "memory"
    STARTS = "starts"


@dataclass(frozen=True, slots=True)
class Budgets:
    """What a hub may use.

    Attributes:
        instances: servers at the most; `None` = no limit.
        memory: bytes that all of them may declare together; `None` = no limit.
        memory_reserve: bytes of the machine's memory that stay available; 0 = not looked at.
        starts: modules that may start or wait for their start.
    """

    instances: int | None = None
    memory: int | None = None
    memory_reserve: int = 0
    starts: int = 1


@dataclass(frozen=True, slots=True)
class Usage:
    """What is in use, without the module that is to be judged.

    Attributes:
        instances: servers that run or come, and crashed ones that will run again by themselves.
        memory: bytes that these declare.
        coming: bytes of those that come, which the machine's figure does not show yet.
        available: bytes of memory that the machine has available; `None` = not known.
        disk_low: whether the disk is below its reserve.
        starts: modules that start or wait for their start.
    """

    instances: int = 0
    memory: int = 0
    coming: int = 0
    available: int | None = None
    disk_low: bool = False
    starts: int = 0


@dataclass(frozen=True, slots=True)
class Excess:
    """A budget that does not allow one more, and why, in words."""

    budget: Budget
    reason: str


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is known of the time after which something is given back.

    Attributes:
        next_idle_s: seconds until the first module goes home for want of use; `None` = none will.
        leaving: whether a module is being stopped just now.
        starts: modules that start or wait for their start.
        slots: starts at one time.
        start_s: seconds that a start takes on average.
    """

    next_idle_s: float | None = None
    leaving: bool = False
    starts: int = 0
    slots: int = 1
    start_s: float = 1.0


def occupies(record: ModuleRecord, *, running: bool) -> bool:
    """Tell whether a module has its place among the instances.

    Args:
        record: the module.
        running: whether a server of it runs.

    Returns:
        Whether it has. A crashed one that the watchdog will recover keeps its place; one that waits for a person, or for
        its data to go home, has none.
    """
    recovers = record.state is State.CRASHED and record.pending is None and not record.parked
    return running or recovers or record.state in _RUNNING


def memory_of(kind: Kind | None, estimate: int) -> int:
    """Return the bytes of memory that a module of a kind is counted with.

    Args:
        kind: its kind; `None` = not configured any more.
        estimate: bytes for a kind that declares no limit.
    """
    declared = parse_limits(kind.limits).memory if kind is not None else None
    return estimate if declared is None else declared


def judge(budgets: Budgets, usage: Usage, memory: int) -> Excess | None:
    """Decide whether one more module may start.

    Args:
        budgets: what may be used.
        usage: what is.
        memory: bytes that the module is counted with.

    Returns:
        The budget that does not allow it; `None` where all do.
    """
    if usage.disk_low:
        return Excess(Budget.DISK, "the disk is below its reserve")
    if budgets.instances is not None and usage.instances >= budgets.instances:
        return Excess(Budget.INSTANCES, f"{usage.instances} of {budgets.instances} instances run or start")
    if excess := judge_memory(budgets, usage, memory):
        return excess
    if usage.starts >= budgets.starts:
        return Excess(Budget.STARTS, f"{usage.starts} modules start or wait for it")
    return None


def judge_memory(budgets: Budgets, usage: Usage, memory: int) -> Excess | None:
    """Decide as `judge`, by the memory alone: once more when a module's kind has turned out to be another."""
    if budgets.memory is not None and usage.memory + memory > budgets.memory:
        return Excess(Budget.MEMORY, f"{usage.memory} bytes are in use and {memory} more needed of {budgets.memory}")
    if budgets.memory_reserve and usage.available is not None:
        left = usage.available - usage.coming - memory
        if left < budgets.memory_reserve:
            reason = f"of {usage.available} bytes available {usage.coming + memory} are needed"
            return Excess(Budget.MEMORY, f"{reason} and {budgets.memory_reserve} reserved")
    return None


def retry_after_s(budget: Budget, outlook: Outlook) -> float:
    """Estimate when a refused request may succeed.

    Args:
        budget: the budget that refused it.
        outlook: what is known.

    Returns:
        Seconds, between one and five minutes; never 0, so that nobody asks in a loop.
    """
    if budget is Budget.STARTS:
        estimate = outlook.starts * outlook.start_s / outlook.slots
    elif outlook.leaving:
        estimate = _LEAST_RETRY_S
    elif outlook.next_idle_s is not None:
        estimate = outlook.next_idle_s
    else:
        estimate = _UNKNOWN_RETRY_S
    return min(max(estimate, _LEAST_RETRY_S), _MOST_RETRY_S)


def disk_reserve_of(configured: int | None, size: int) -> int:
    """Return the bytes that stay free on a disk.

    Args:
        configured: what was asked for; `None` = what suits the disk.
        size: bytes of the whole disk.
    """
    return min(_RESERVE, size // _RESERVE_SHARE) if configured is None else configured


def is_disk_low(free: int, reserve: int, *, before: bool) -> bool:
    """Decide whether a disk is low.

    Args:
        free: bytes free.
        reserve: bytes that are to stay free.
        before: whether it was low before: then it takes a tenth more until it is not, so that it does not flutter.
    """
    return free < (reserve + reserve // 10 if before else reserve)
