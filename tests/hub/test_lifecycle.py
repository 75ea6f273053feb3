"""The lifecycle table against the contract, written out here a second time by hand: nothing below reads the code's."""

import itertools
import re

import pytest

from hub.lifecycle import (
    ALONGSIDE,
    NOTHING_TO_DO,
    REFUSED,
    STABLE,
    TABLE,
    Alongside,
    Begin,
    Condition,
    Guard,
    IllegalTransition,
    Nothing,
    Outcome,
    Pending,
    Refuse,
    Request,
    State,
    Verdict,
    Wait,
    advance,
    decide,
    mermaid,
)

# What begins is named by the state it enters. `alongside`: done in the state it is in; `nothing`: success
# without side effects; `refused`: InvalidState.
CLEAN = """
                provision     hibernate    wake       deprovision     obliterate    recover     checkpoint
unprovisioned   provisioning  not-found    not-found  nothing         obliterating  nothing     not-found
provisioned     nothing       hibernating  nothing    deprovisioning  obliterating  nothing     alongside
hibernated      waking        nothing      waking     deprovisioning  obliterating  nothing     alongside
crashed         recovering    refused      refused    deprovisioning  obliterating  recovering  refused
provisioning    wait          wait         wait       wait            wait          wait        wait
hibernating     wait          wait         wait       wait            wait          wait        wait
waking          wait          wait         wait       wait            wait          wait        wait
deprovisioning  wait          wait         wait       wait            wait          wait        wait
recovering      wait          wait         wait       wait            wait          wait        wait
obliterating    wait          wait         wait       wait            wait          wait        wait
"""

# Dirty data makes a module tracked: it can be sent home, and what is refused is no longer "not found".
DIRTY = """
                provision     hibernate    wake       deprovision     obliterate    recover     checkpoint
unprovisioned   provisioning  refused      refused    deprovisioning  obliterating  nothing     refused
provisioned     nothing       hibernating  nothing    deprovisioning  obliterating  nothing     alongside
hibernated      waking        nothing      waking     deprovisioning  obliterating  nothing     alongside
crashed         recovering    refused      refused    deprovisioning  obliterating  recovering  refused
provisioning    wait          wait         wait       wait            wait          wait        wait
hibernating     wait          wait         wait       wait            wait          wait        wait
waking          wait          wait         wait       wait            wait          wait        wait
deprovisioning  wait          wait         wait       wait            wait          wait        wait
recovering      wait          wait         wait       wait            wait          wait        wait
obliterating    wait          wait         wait       wait            wait          wait        wait
"""

# Once begun, obliteration is the only future. It rests in `crashed`; the other stable rows say that nothing leaks out
# of the rule even if a defect let one of them appear.
OBLITERATION_PENDING = """
                provision     hibernate    wake       deprovision     obliterate    recover     checkpoint
unprovisioned   refused       refused      refused    refused         obliterating  refused     refused
provisioned     refused       refused      refused    refused         obliterating  refused     refused
hibernated      refused       refused      refused    refused         obliterating  refused     refused
crashed         refused       refused      refused    obliterating    obliterating  refused     refused
provisioning    wait          wait         wait       wait            wait          wait        wait
hibernating     wait          wait         wait       wait            wait          wait        wait
waking          wait          wait         wait       wait            wait          wait        wait
deprovisioning  wait          wait         wait       wait            wait          wait        wait
recovering      wait          wait         wait       wait            wait          wait        wait
obliterating    wait          wait         wait       wait            wait          wait        wait
"""

OUTCOMES = """
                ready        stopped     done           failed         attempt_failed  exited
unprovisioned   -            -           -              -              -               -
provisioning    provisioned  -           -              unprovisioned  -               -
provisioned     -            -           -              -              -               crashed
hibernating     -            hibernated  -              provisioned    -               -
hibernated      -            -           -              -              -               -
waking          provisioned  -           -              hibernated     -               -
deprovisioning  -            -           unprovisioned  crashed        -               -
crashed         -            -           -              -              -               -
recovering      provisioned  -           -              unprovisioned  crashed         -
obliterating    -            -           unprovisioned  crashed        -               -
"""


def cells(table: str) -> list[tuple[str, str, str]]:
    """Row, column and content of every cell."""
    head, *rows = table.strip("\n").splitlines()
    columns = head.split()
    return [
        (row.split()[0], column, content)
        for row in rows
        for column, content in zip(columns, row.split()[1:], strict=True)
    ]


def verdict(content: str) -> Verdict:
    fixed: dict[str, Verdict] = {
        "nothing": Nothing(),
        "alongside": Alongside(),
        "wait": Wait(),
        "refused": Refuse(not_found=False),
        "not-found": Refuse(not_found=True),
    }
    return fixed.get(content) or Begin(State(content))


JUDGED: list[tuple[Condition, Request, Verdict]] = [
    (Condition(State(state), dirty=dirty, pending=pending), Request(request), verdict(content))
    for table, dirty, pending in (
        (CLEAN, False, None),
        (DIRTY, True, None),
        # A deprovision that is retried closes nothing.
        (CLEAN, False, Pending.DEPROVISION),
        (DIRTY, True, Pending.DEPROVISION),
        (OBLITERATION_PENDING, False, Pending.OBLITERATE),
        (OBLITERATION_PENDING, True, Pending.OBLITERATE),
    )
    for state, request, content in cells(table)
]


@pytest.mark.parametrize(("condition", "request_", "expected"), JUDGED)
def test_every_request_in_every_condition_gets_the_verdict_of_the_contract(
    condition: Condition, request_: Request, expected: Verdict
) -> None:
    """Each cell of states x requests x dirty x pending is judged as the contract says, the refused ones too."""
    assert decide(condition, request_) == expected


def test_the_expectation_covers_the_whole_space() -> None:
    """No state, request or condition is missing from the table above: a new one has to be written into it."""
    judged = {(c.state, c.dirty, c.pending, r) for c, r, _ in JUDGED}
    assert judged == set(itertools.product(State, (False, True), (None, *Pending), Request))


@pytest.mark.parametrize(("state", "outcome", "target"), cells(OUTCOMES))
def test_every_outcome_in_every_state_leads_where_the_contract_says(state: str, outcome: str, target: str) -> None:
    """A legal outcome gives the contract's next state; any other raises instead of inventing one."""
    if target == "-":
        with pytest.raises(IllegalTransition, match=state):
            advance(State(state), Outcome[outcome.upper()])
    else:
        assert advance(State(state), Outcome[outcome.upper()]) is State(target)


def test_the_outcomes_expected_above_are_all_there_are() -> None:
    """Every state meets every outcome in the expectation."""
    assert {(s, o) for s, o, _ in cells(OUTCOMES)} == {(s.value, o.name.lower()) for s in State for o in Outcome}


def test_table_alongside_nothing_and_refused_part_the_stable_cells_among_them() -> None:
    """Each stable state and request stands in exactly one of the four data sets, guarded rows aside."""
    begun = {(t.source, t.on) for t in TABLE if isinstance(t.on, Request) and t.when is None}
    parts = (begun, ALONGSIDE, NOTHING_TO_DO, REFUSED)
    for one, other in itertools.combinations(parts, 2):
        assert not one & other
    assert set().union(*parts) == set(itertools.product(STABLE, Request))


def test_a_guarded_row_changes_a_cell_that_exists_without_its_guard() -> None:
    """A guard only overrides: each guarded cell has an answer also when the guard does not hold."""
    begun = {(t.source, t.on) for t in TABLE if t.when is None}
    guarded = {(t.source, t.on, t.when) for t in TABLE if t.when is not None}
    assert guarded == {
        (State.UNPROVISIONED, Request.DEPROVISION, Guard.DIRTY),
        (State.CRASHED, Request.DEPROVISION, Guard.OBLITERATION_PENDING),
    }
    assert {(source, on) for source, on, _ in guarded} <= begun | ALONGSIDE | NOTHING_TO_DO | REFUSED


def test_no_two_rows_answer_the_same_question() -> None:
    """The table is a function: a source, trigger and guard stand in it once."""
    keys = [(t.source, t.on, t.when) for t in TABLE]
    assert len(keys) == len(set(keys))


def test_the_stable_states_are_the_four_of_the_contract() -> None:
    """Stable and transitional states are told apart as the contract lists them."""
    assert {s.value for s in State if s.stable} == {"unprovisioned", "provisioned", "hibernated", "crashed"}
    assert {s.value for s in State if not s.stable} == {
        *("provisioning", "hibernating", "waking", "deprovisioning", "recovering", "obliterating")
    }


def test_every_state_is_reachable_from_unprovisioned() -> None:
    """Requests and outcomes alone lead from a fresh module to every state."""
    seen: set[State] = set()
    waiting = [State.UNPROVISIONED]
    while waiting:
        state = waiting.pop()
        if state in seen:
            continue
        seen.add(state)
        for request in Request:
            answer = decide(Condition(state), request)
            if isinstance(answer, Begin):
                waiting.append(answer.target)
        waiting += [State(target) for source, _, target in cells(OUTCOMES) if source == state and target != "-"]
    assert seen == set(State)


@pytest.mark.parametrize("state", [s for s in State if not s.stable])
def test_a_transitional_state_is_left_for_stable_ones_only(state: State) -> None:
    """An operation ends in a stable state, whether it succeeded or failed; none hands over to another operation."""
    targets = {t.target for t in TABLE if t.source is state}
    assert targets
    assert targets <= STABLE
    succeeded = {Outcome.READY, Outcome.STOPPED, Outcome.DONE}
    assert {t.on for t in TABLE if t.source is state} & succeeded
    assert Outcome.FAILED in {t.on for t in TABLE if t.source is state}


@pytest.mark.parametrize("request_", list(Request))
def test_a_request_begins_transitional_states_only(request_: Request) -> None:
    """What begins holds the module in a transitional state, so that nothing else runs on it meanwhile."""
    assert not {t.target for t in TABLE if t.on is request_} & STABLE


@pytest.mark.parametrize(
    ("condition", "tracked"),
    [
        (Condition(State.UNPROVISIONED), False),
        (Condition(State.UNPROVISIONED, dirty=True), True),
        *((Condition(state), True) for state in State if state is not State.UNPROVISIONED),
    ],
)
def test_tracked_means_not_unprovisioned_or_dirty(condition: Condition, tracked: bool) -> None:
    """A module is tracked while it is anything but unprovisioned, or holds dirty data."""
    assert condition.tracked is tracked


def test_the_diagram_shows_each_row_of_the_contract_once() -> None:
    """The Mermaid text has one edge for each pair of states, labelled with all that leads along it."""
    head, start, *edges = mermaid().splitlines()
    assert (head, start.strip()) == ("stateDiagram-v2", "[*] --> unprovisioned")
    drawn: list[tuple[str, str, str]] = []
    for edge in edges:
        match = re.fullmatch(r" {4}(\w+) --> (\w+): (.+)", edge)
        assert match, edge
        drawn += [(match[1], match[2], label) for label in match[3].split(", ")]
    expected = {
        (state, content, request)
        for state, request, content in cells(CLEAN)
        if content in set(State) and content != state
    }
    expected |= {(s, target, Outcome[o.upper()].value) for s, o, target in cells(OUTCOMES) if target != "-"}
    expected |= {
        ("unprovisioned", "deprovisioning", "deprovision (dirty)"),
        ("crashed", "obliterating", "deprovision (obliteration pending)"),
    }
    assert sorted(drawn) == sorted(expected)
