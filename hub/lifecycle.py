"""The lifecycle of a module, as data, and the pure functions that read it.

Code, tests and the diagram in the docs all follow from the tables here; nothing else decides which state comes next.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class State(enum.StrEnum):
    """State of a module. Stable states wait for a request; each transitional one is held by exactly one operation."""

    UNPROVISIONED = "unprovisioned"
    PROVISIONING = "provisioning"
    PROVISIONED = "provisioned"
    HIBERNATING = "hibernating"
    HIBERNATED = "hibernated"
    WAKING = "waking"
    DEPROVISIONING = "deprovisioning"
    CRASHED = "crashed"
    RECOVERING = "recovering"
    OBLITERATING = "obliterating"

    @property
    def stable(self) -> bool:
        """Whether no operation holds the module in this state."""
        return self in STABLE


STABLE = frozenset({State.UNPROVISIONED, State.PROVISIONED, State.HIBERNATED, State.CRASHED})


class Request(enum.StrEnum):
    """What may be asked of a module. `RECOVER` is the watchdog's, the rest is anybody's."""

    PROVISION = "provision"
    HIBERNATE = "hibernate"
    WAKE = "wake"
    DEPROVISION = "deprovision"
    OBLITERATE = "obliterate"
    CHECKPOINT = "checkpoint"
    RECOVER = "recover"


class Outcome(enum.StrEnum):
    """How an operation ended, or what happened to the process of a provisioned module."""

    READY = "ready"
    STOPPED = "stopped"
    DONE = "done"
    FAILED = "failed"
    ATTEMPT_FAILED = "attempt failed"
    EXITED = "process exited"


class Pending(enum.StrEnum):
    """An intent that outlives the operation which began it; the watchdog retries it until it is complete."""

    DEPROVISION = "deprovision"
    OBLITERATE = "obliterate"


class Guard(enum.StrEnum):
    """A condition on a row of the table, beyond the state itself."""

    DIRTY = "dirty"
    OBLITERATION_PENDING = "obliteration pending"


@dataclass(frozen=True, slots=True)
class Transition:
    """One row of the table."""

    source: State
    on: Request | Outcome
    target: State
    when: Guard | None = None


S, R, O = State, Request, Outcome  # noqa: E741 - the table below is read as a table; O is never a number here

TABLE: tuple[Transition, ...] = (
    Transition(S.UNPROVISIONED, R.PROVISION, S.PROVISIONING),
    Transition(S.UNPROVISIONED, R.OBLITERATE, S.OBLITERATING),
    Transition(S.UNPROVISIONED, R.DEPROVISION, S.DEPROVISIONING, Guard.DIRTY),
    Transition(S.PROVISIONING, O.READY, S.PROVISIONED),
    Transition(S.PROVISIONING, O.FAILED, S.UNPROVISIONED),
    Transition(S.PROVISIONED, R.HIBERNATE, S.HIBERNATING),
    Transition(S.PROVISIONED, R.DEPROVISION, S.DEPROVISIONING),
    Transition(S.PROVISIONED, R.OBLITERATE, S.OBLITERATING),
    Transition(S.PROVISIONED, O.EXITED, S.CRASHED),
    Transition(S.HIBERNATING, O.STOPPED, S.HIBERNATED),
    Transition(S.HIBERNATING, O.FAILED, S.PROVISIONED),
    Transition(S.HIBERNATED, R.WAKE, S.WAKING),
    Transition(S.HIBERNATED, R.PROVISION, S.WAKING),
    Transition(S.HIBERNATED, R.DEPROVISION, S.DEPROVISIONING),
    Transition(S.HIBERNATED, R.OBLITERATE, S.OBLITERATING),
    Transition(S.WAKING, O.READY, S.PROVISIONED),
    Transition(S.WAKING, O.FAILED, S.HIBERNATED),
    Transition(S.DEPROVISIONING, O.DONE, S.UNPROVISIONED),
    Transition(S.DEPROVISIONING, O.FAILED, S.CRASHED),
    Transition(S.CRASHED, R.RECOVER, S.RECOVERING),
    Transition(S.CRASHED, R.PROVISION, S.RECOVERING),
    Transition(S.CRASHED, R.DEPROVISION, S.DEPROVISIONING),
    Transition(S.CRASHED, R.DEPROVISION, S.OBLITERATING, Guard.OBLITERATION_PENDING),
    Transition(S.CRASHED, R.OBLITERATE, S.OBLITERATING),
    Transition(S.RECOVERING, O.READY, S.PROVISIONED),
    Transition(S.RECOVERING, O.ATTEMPT_FAILED, S.CRASHED),
    Transition(S.RECOVERING, O.FAILED, S.UNPROVISIONED),
    Transition(S.OBLITERATING, O.DONE, S.UNPROVISIONED),
    Transition(S.OBLITERATING, O.FAILED, S.CRASHED),
)

# Success without side effects: what was asked for is already so.
NOTHING_TO_DO: frozenset[tuple[State, Request]] = frozenset(
    {
        (S.UNPROVISIONED, R.DEPROVISION),
        (S.PROVISIONED, R.PROVISION),
        (S.PROVISIONED, R.WAKE),
        (S.HIBERNATED, R.HIBERNATE),
        # The watchdog's word about a module that has moved on meanwhile.
        (S.UNPROVISIONED, R.RECOVER),
        (S.PROVISIONED, R.RECOVER),
        (S.HIBERNATED, R.RECOVER),
    }
)

# Done beside whatever else happens, and leaves the module in its state.
ALONGSIDE: frozenset[tuple[State, Request]] = frozenset({(S.PROVISIONED, R.CHECKPOINT), (S.HIBERNATED, R.CHECKPOINT)})

# Refused in this state; on an untracked module the refusal is "not found".
REFUSED: frozenset[tuple[State, Request]] = frozenset(
    {
        (S.UNPROVISIONED, R.HIBERNATE),
        (S.UNPROVISIONED, R.WAKE),
        (S.UNPROVISIONED, R.CHECKPOINT),
        (S.CRASHED, R.HIBERNATE),
        (S.CRASHED, R.WAKE),
        (S.CRASHED, R.CHECKPOINT),
    }
)


@dataclass(frozen=True, slots=True)
class Condition:
    """What a decision needs to know of a module: its state and what hangs over it."""

    state: State
    dirty: bool = False
    pending: Pending | None = None

    @property
    def tracked(self) -> bool:
        """Whether the hub holds anything of the module (an operation running or queued aside)."""
        return is_tracked(self.state, dirty=self.dirty)


def is_tracked(state: State, *, dirty: bool) -> bool:
    """Tell whether the hub holds anything of a module in this state."""
    return state is not State.UNPROVISIONED or dirty


@dataclass(frozen=True, slots=True)
class Begin:
    """The request starts an operation that holds the module in `target`."""

    target: State


@dataclass(frozen=True, slots=True)
class Alongside:
    """The request is done without holding the module, which stays in its state."""


@dataclass(frozen=True, slots=True)
class Nothing:
    """The request is met already."""


@dataclass(frozen=True, slots=True)
class Wait:
    """An operation holds the module; the request is judged anew by the state which that leaves."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """The request is not open to the module; `not_found` where the module is not tracked at all."""

    not_found: bool


Verdict = Begin | Alongside | Nothing | Wait | Refuse

_ROWS: dict[tuple[State, Request | Outcome, Guard | None], State] = {(t.source, t.on, t.when): t.target for t in TABLE}


def decide(condition: Condition, request: Request) -> Verdict:
    """Judge a request by the condition of the module.

    Args:
        condition: state of the module and what hangs over it.
        request: what is asked.

    Returns:
        What to do: begin an operation, do it alongside, nothing, wait, or refuse. Defined for every state and request.
    """
    state = condition.state
    if not state.stable:
        return Wait()
    if condition.pending is Pending.OBLITERATE:
        # Once begun, obliteration is the module's only future: what does not lead there is refused.
        target = _ROWS.get((state, request, Guard.OBLITERATION_PENDING)) or _ROWS.get((state, request, None))
        return Begin(target) if target is State.OBLITERATING else Refuse(not_found=False)
    target = _ROWS.get((state, request, None))
    if target is None and condition.dirty:
        target = _ROWS.get((state, request, Guard.DIRTY))
    if target is not None:
        return Begin(target)
    if (state, request) in ALONGSIDE:
        return Alongside()
    if (state, request) in NOTHING_TO_DO:
        return Nothing()
    return Refuse(not_found=not condition.tracked)


class IllegalTransition(AssertionError):
    """An outcome that the table does not know in this state: a defect of modhub, never of its caller."""


def advance(state: State, outcome: Outcome) -> State:
    """Return the state that follows an outcome.

    Args:
        state: state in which the outcome happened.
        outcome: how the operation ended.

    Returns:
        The next state.

    Raises:
        IllegalTransition: the table has no such row.
    """
    try:
        return _ROWS[state, outcome, None]
    except KeyError:
        raise IllegalTransition(f"no transition from {state} on {outcome!r}") from None


def mermaid() -> str:
    """Draw the table as a Mermaid state diagram, for the docs."""
    lines = ["stateDiagram-v2", "    [*] --> unprovisioned"]
    merged: dict[tuple[State, State], list[str]] = {}
    for t in TABLE:
        label = str(t.on) + (f" ({t.when})" if t.when else "")
        merged.setdefault((t.source, t.target), []).append(label)
    lines += [f"    {source} --> {target}: {', '.join(labels)}" for (source, target), labels in merged.items()]
    return "\n".join(lines)
