"""`make faults`: the hub killed at every crash point of every operation; what is lost is told, with how to repeat it.

python -m tests.faults [--only TEXT] [--point N] [--match REGEX] [--sample N] [--jobs N] [--list]
"""

from __future__ import annotations

import argparse
import itertools
import re
import sys
import time
from collections.abc import Iterator

from tests.faults.edges import operation_names
from tests.faults.runner import Case, Outcome, cases_of, run_all, trace_of
from tests.faults.sabotage import SABOTAGES
from tests.faults.scenarios import SCENARIOS


def main() -> int:
    given = _arguments()
    started = time.monotonic()
    chosen = [
        s.name for s in SCENARIOS if given.only is None or s.name == given.only or s.name.startswith(f"{given.only}/")
    ]
    if not chosen:
        print(f"no scenario {given.only!r}; there are: {', '.join(s.name for s in SCENARIOS)}")
        return 2
    traces: list[Outcome] = []
    run_all((trace_of(name, given.sabotage) for name in chosen), given.jobs, traces.append)
    traces.sort(key=lambda outcome: chosen.index(outcome.case.scenario))
    for trace in traces:
        print(f"{trace.case.scenario}: {len(trace.trace)} crash points, {trace.duration_s:.2f}s")
        if given.list:
            for number, point in enumerate(trace.trace, 1):
                print(f"  {number:4} {point}")
    outcomes = list(traces)
    if not given.list:
        cases = list(itertools.chain.from_iterable(cases_of(trace) for trace in traces))
        if given.point:
            cases = [case for case in cases if case.number == given.point]
        if given.match:
            cases = [case for case in cases if re.search(given.match, str(case.point))]
        spread = _spread(cases, given.sample)
        run_all(_until_lost(spread, outcomes) if given.first else spread, given.jobs, outcomes.append)
    lost = [outcome for outcome in outcomes if outcome.losses]
    for outcome in lost:
        _tell(outcome)
    missed = [outcome.case.name for outcome in outcomes if not outcome.reached]
    if missed:
        print(
            "a race had these passed once, and not again in three runs, which were killed at their ends instead:",
            *missed,
            sep="\n  ",
        )
    covered = {name for trace in traces for name in trace.operations}
    bare = [name for name in operation_names() if name not in covered and not given.only]
    for name in bare:
        print(f"LOST operation {name}: no scenario runs it")
    tried = len(outcomes) - len(traces)
    points = sum(len(trace.trace) for trace in traces)
    print(
        f"scenarios {len(chosen)}, crash points {points}, tried {'all' if tried == points else tried}, "
        f"restarts {sum(o.restarts for o in outcomes)}, checks {sum(o.checks for o in outcomes)}, "
        f"losses {len(lost) + len(bare)}, seconds {time.monotonic() - started:.0f}"
    )
    return 1 if lost or bare else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    parser.add_argument("--only", help="a scenario, or all of an operation")
    parser.add_argument("--point", type=int, help="number of one crash point, as --list shows it")
    parser.add_argument("--match", help="crash points whose names have this regular expression in them")
    parser.add_argument("--sample", type=int, help="so many crash points, spread over all")
    parser.add_argument("--jobs", type=int, default=6, help="hosts at one time")
    parser.add_argument("--first", action="store_true", help="stop at the first loss")
    parser.add_argument("--list", action="store_true", help="show the crash points and try none")
    parser.add_argument("--sabotage", choices=sorted(SABOTAGES), help="break the product, to see that it is noticed")
    return parser.parse_args()


def _spread(cases: list[Case], number: int | None) -> Iterator[Case]:
    if number is None or number >= len(cases):
        return iter(cases)
    return (cases[index * len(cases) // number] for index in range(number))


def _until_lost(cases: Iterator[Case], outcomes: list[Outcome]) -> Iterator[Case]:
    return itertools.takewhile(lambda _: not any(outcome.losses for outcome in outcomes), cases)


def _tell(outcome: Outcome) -> None:
    print(f"LOST {outcome.case.name}\n  repeat: {outcome.case.command}")
    for loss in outcome.losses:
        print("  " + loss.strip().replace("\n", "\n  "))


if __name__ == "__main__":
    sys.exit(main())
